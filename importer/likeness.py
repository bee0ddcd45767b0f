"""A message in the archive against what a server hands out that makes MIME anew.

Exchange keeps properties, not octets (Microsoft: MS-OXCMAIL), so neither size nor sha256 of the
whole can be compared. What has to be the same are the decoded texts and attachments, and the
header fields that people and programs know a message by.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING

from store.headers import LONGEST_HEAD, decoded
from store.mime import fields_of
from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from importer.mime import Leaf, Likeness

_MOST_NAMED = 20


_PLAIN = "text/plain"


class Level(StrEnum):
    """How alike two messages are."""

    EQUAL = "equal"
    """The same texts and attachments under the same names."""
    ALIKE = "alike"
    """Only what such servers are known to change: names, order, the plain-text alternative."""
    DIFFERENT = "different"
    """Something is missing, is changed, or was added."""


def compare(ours: Likeness, theirs: Likeness) -> tuple[Level, tuple[str, ...]]:
    """Return how alike two messages are, and what differs in plain words."""
    if ours == theirs:
        return Level.EQUAL, ()
    left = _unmatched(ours.leaves, theirs.leaves)
    right = _unmatched(theirs.leaves, ours.leaves)
    lesser = list(_renamed(left, right))
    if not left and not right and not lesser and _order(ours) != _order(theirs):
        lesser.append("the parts come in another order")
    lesser += _alternatives(ours, theirs, left, right)
    lesser += _empty(left, right)
    worse = list(_changed(ours, left, right))
    if worse:
        return Level.DIFFERENT, _first(worse + lesser)
    return (Level.ALIKE if lesser else Level.EQUAL), _first(lesser)


def digest(likeness: Likeness) -> str:
    """Return one hash for all messages that are at least ``ALIKE`` by the usual changes.

    Names and order do not count, nor does a plain text beside another alternative.
    """
    has_other = any(each.is_alternative and each.name != _PLAIN for each in likeness.leaves)
    kept = sorted(
        f"{each.kind} {each.sha256}"
        for each in likeness.leaves
        if not (has_other and each.is_alternative and each.name == _PLAIN)
    )
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()


def _unmatched(these: Iterable[Leaf], those: Iterable[Leaf]) -> list[Leaf]:
    """Return the leaves without a counterpart of the same content and, if files, name."""
    there = Counter(_key(leaf) for leaf in those)
    alone = []
    for leaf in these:
        if there[_key(leaf)]:
            there[_key(leaf)] -= 1
        else:
            alone.append(leaf)
    return alone


def _key(leaf: Leaf) -> tuple[str, str, str]:
    return leaf.kind, leaf.sha256, leaf.name


def _order(likeness: Likeness) -> list[str]:
    return [leaf.sha256 for leaf in likeness.leaves]


def _renamed(left: list[Leaf], right: list[Leaf]) -> list[str]:
    """Take out what has the same content under another name, and say so."""
    there: defaultdict[tuple[str, str], list[Leaf]] = defaultdict(list)
    for leaf in reversed(right):
        there[leaf.kind, leaf.sha256].append(leaf)
    said = []
    taken: set[int] = set()
    kept = []
    for leaf in left:
        same = there[leaf.kind, leaf.sha256]
        if not same:
            kept.append(leaf)
            continue
        other = same.pop()
        taken.add(id(other))
        if leaf.kind == "text":
            said.append(f"a text is {plain(other.name)} there, here {plain(leaf.name)}")
        elif not other.name:
            said.append(f"{_attachment(leaf)} has no name there")
        else:
            said.append(f"{_attachment(leaf)} is named {plain(other.name)} there")
    left[:] = kept
    right[:] = [leaf for leaf in right if id(leaf) not in taken]
    return said


def _alternatives(
    ours: Likeness, theirs: Likeness, left: list[Leaf], right: list[Leaf]
) -> list[str]:
    """Take out plain-text alternatives of an HTML part that is equal, and say so."""
    alone = {id(leaf) for leaf in (*left, *right)}
    equal_here, equal_there = (
        [leaf for leaf in each.leaves if leaf.name == "text/html" and id(leaf) not in alone]
        for each in (ours, theirs)
    )
    if not any(leaf.is_alternative for leaf in (*equal_here, *equal_there)):
        return []
    # One plain text may go for each HTML part that is an alternative, no more.
    gone = _plain_alternatives(left)[: sum(leaf.is_alternative for leaf in equal_here)]
    new = _plain_alternatives(right)[: sum(leaf.is_alternative for leaf in equal_there)]
    _take_out(left, gone)
    _take_out(right, new)
    both = min(len(gone), len(new))
    return [
        *["the plain-text alternative was made anew; the HTML part is equal"] * both,
        *["the plain-text alternative is gone; the HTML part is equal"] * (len(gone) - both),
        *["a plain-text alternative was added; the HTML part is equal"] * (len(new) - both),
    ]


def _plain_alternatives(leaves: list[Leaf]) -> list[Leaf]:
    return [leaf for leaf in leaves if leaf.is_alternative and leaf.name == "text/plain"]


def _take_out(leaves: list[Leaf], some: list[Leaf]) -> None:
    gone = {id(leaf) for leaf in some}
    leaves[:] = [leaf for leaf in leaves if id(leaf) not in gone]


def _empty(left: list[Leaf], right: list[Leaf]) -> list[str]:
    """Take out texts in which nothing stands, and say so."""
    said = []
    for leaves, words in ((left, "is gone"), (right, "was added")):
        empty = [leaf for leaf in leaves if leaf.kind == "text" and not leaf.size]
        _take_out(leaves, empty)
        said += [f"an empty text {words}"] * len(empty)
    return said


def _changed(ours: Likeness, left: list[Leaf], right: list[Leaf]) -> Iterable[str]:
    """Yield what is changed, missing or too much."""
    numbers = {
        id(leaf): number
        for number, leaf in enumerate((leaf for leaf in ours.leaves if leaf.kind == "text"), 1)
    }
    there: defaultdict[tuple[str, str], list[Leaf]] = defaultdict(list)
    for leaf in reversed(right):
        there[leaf.kind, leaf.name].append(leaf)
    paired: set[int] = set()
    for leaf in left:
        is_text = leaf.kind == "text"
        what = f"text part {numbers[id(leaf)]}" if is_text else _attachment(leaf)
        same = there[leaf.kind, leaf.name]
        if same:
            other = same.pop()
            paired.add(id(other))
            yield f"{what} differs ({leaf.size} octets, there {other.size})"
        else:
            yield f"{what} is missing ({leaf.size} octets)"
    for leaf in right:
        if id(leaf) not in paired:
            what = "a text" if leaf.kind == "text" else _attachment(leaf)
            yield f"{what} is there only ({leaf.size} octets)"


def _attachment(leaf: Leaf) -> str:
    return f"attachment {plain(leaf.name)}" if leaf.name else "an attachment without a name"


def _first(differences: list[str]) -> tuple[str, ...]:
    if len(differences) <= _MOST_NAMED:
        return tuple(differences)
    others = len(differences) - _MOST_NAMED
    return (*differences[:_MOST_NAMED], f"and {others} differences more")


def same_headers(ours: bytes, theirs: bytes) -> tuple[str, ...]:
    """Return which of Message-ID, Date, From, To, Cc and Subject differ in two headers.

    Folding, encoded words, white space, the quoting of names and the case of addresses make no
    difference, nor does a name that only repeats the address. Dates are compared as instants. A
    Message-ID or Date that the archived message lacks may be invented.
    """
    return differing(identity(ours), identity(theirs))


def identity(head: bytes) -> Mapping[str, object]:
    """Return what a header is known by, as it is compared: see ``same_headers``."""
    fields = fields_of(head[:LONGEST_HEAD])
    return {name: _value(name, fields.get(name.lower().encode(), b"")) for name in _IDENTIFYING}


def differing(ours: Mapping[str, object], theirs: Mapping[str, object]) -> tuple[str, ...]:
    """Return the names of the fields in which two identities differ: see ``same_headers``."""
    return tuple(
        name
        for name in _IDENTIFYING
        if ours[name] != theirs[name] and (ours[name] or name not in _MAY_BE_INVENTED)
    )


def _value(name: str, raw: bytes) -> object:
    """Return what is compared of a field; nothing of an empty one."""
    text = unicodedata.normalize("NFC", " ".join(decoded(raw).split()))
    match name:
        case "Message-ID":
            return text.replace(" ", "")
        case "Date":
            return _instant(text)
        case "From" | "To" | "Cc":
            return _people(text)
        case _:
            return text


def _instant(text: str) -> object:
    from email.utils import mktime_tz, parsedate_tz

    try:
        parsed = parsedate_tz(text)
        return text if parsed is None else mktime_tz(parsed)
    except (ValueError, OverflowError, TypeError, IndexError):
        return text


def _people(text: str) -> object:
    """Return the addresses, and the words that stand beside them."""
    addresses: list[str] = []
    for address in _ADDRESS.findall(text):
        if address.lower() not in addresses[-1:]:  # "a@b" <a@b>
            addresses.append(address.lower())
    words = _ADDRESS.sub(" ", text).translate(_PUNCTUATION).split()
    return (addresses, words) if addresses or words else ""


_IDENTIFYING = ("Message-ID", "Date", "From", "To", "Cc", "Subject")

_MAY_BE_INVENTED = ("Message-ID", "Date")

_ADDRESS = re.compile(r"[^\s<>,;:\"'()\[\]\\@]{1,256}@[^\s<>,;:\"'()\\@]{1,256}")

_PUNCTUATION = str.maketrans(dict.fromkeys("<>,;:\"'()\\", " "))
