"""The language in which people ask for messages, as they know it from Gmail and notmuch.

Words (all of them have to be there), ``"phrases"``, ``word*``, ``OR``, ``-not``, parentheses, and
``field:value``. Any text gives either a query or a ``QueryError`` that points at its place; what
becomes of a query in SQL is decided in ``store.matching``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn
from unicodedata import category

from waystation.errors import UsageError, plain
from waystation.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 4_000
"""Characters of a query."""
MOST_TERMS = 200
_DEEPEST = 20

Column = Literal["body", "subject", "sender", "recipients", "names"]
"""Where words are looked for; ``names`` are the file names of attachments."""


class QueryError(UsageError):
    """A query makes no sense; ``at`` is the place, in characters from its beginning."""

    def __init__(self, query: str, at: int, why: str) -> None:
        self.query = query
        self.at = at
        super().__init__(f"the query makes no sense at character {at + 1}: {why}")


@dataclass(frozen=True, slots=True)
class Words:
    """Words that stand one after the other."""

    text: str
    column: Column | None = None
    """None: anywhere."""
    is_prefix: bool = False
    """Whether the last word may go on."""


@dataclass(frozen=True, slots=True)
class InFolder:
    """A folder, as ``--folder`` names it."""

    glob: str


@dataclass(frozen=True, slots=True)
class Received:
    """INTERNALDATE, in seconds from 1970: from ``since`` on, earlier than ``before``."""

    since: int | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """Octets, more than ``above``, less than ``below``."""

    above: int | None = None
    below: int | None = None


@dataclass(frozen=True, slots=True)
class Flag:
    r"""A flag or keyword, without regard to case; ``\Seen`` with its backslash."""

    name: str


@dataclass(frozen=True, slots=True)
class MessageId:
    """What the header calls the message, without angle brackets."""

    text: str


@dataclass(frozen=True, slots=True)
class Number:
    """What the archive calls the message: ``messages.id``."""

    id: int


@dataclass(frozen=True, slots=True)
class State:
    """A state of the ledger, at the source or at any target."""

    name: str


@dataclass(frozen=True, slots=True)
class HasAttachment:
    """Whether something hangs on the message."""


@dataclass(frozen=True, slots=True)
class Not:
    """Whatever does not match."""

    query: Query


@dataclass(frozen=True, slots=True)
class And:
    """Everything at once; nothing at all matches every message."""

    queries: tuple[Query, ...] = ()


@dataclass(frozen=True, slots=True)
class Or:
    """One of several."""

    queries: tuple[Query, ...]


Query = (
    Words
    | InFolder
    | Received
    | Size
    | Flag
    | MessageId
    | Number
    | State
    | HasAttachment
    | Not
    | And
    | Or
)

EVERYTHING = And()

SOURCE_STATES = ("archived", "skipped", "failed")
TARGET_STATES = (
    "pending", "sending", "appended", "verified", "already_there", "refused", "set_aside",
)  # fmt: skip


def parse(text: str, now: datetime) -> Query:
    """Return what a query means; an empty one matches everything.

    Days begin at midnight UTC, and ``30d`` counts back from ``now``.

    Raises:
        QueryError: it makes no sense.
    """
    if len(text) > LONGEST:
        raise QueryError(text, LONGEST, f"it has more than {LONGEST:,} characters")
    return _Parser(text, now).query()


def terms(query: Query) -> list[Words]:
    """Return the words that a match contains, so that they can be shown in it."""
    match query:
        case Words():
            return [query]
        case And(queries) | Or(queries):
            return [word for each in queries for word in terms(each)]
        case _:
            return []


def is_said(text: str) -> bool:
    """Whether a text has a word in it: SQLite's unicode61 takes letters and digits as such."""
    return any(category(char)[0] in "LN" for char in text)


class _Token(NamedTuple):
    kind: Literal["(", ")", "-", "word", "phrase", "field", "end"]
    text: str
    at: int
    is_tight: bool
    """Whether nothing stands between it and what comes before."""


class _Parser:
    def __init__(self, text: str, now: datetime) -> None:
        self._text = text
        self._now = now.astimezone(UTC)
        self._tokens = _tokens(text)
        self._next = 0
        self._terms = 0

    def query(self) -> Query:
        if self._peek().kind == "end":
            return EVERYTHING
        found = self._either(None, 0)
        left = self._peek()
        if left.kind != "end":
            self._fail(left.at, "this parenthesis closes nothing")
        return found

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += token.kind != "end"
        return token

    def _is_operator(self, *names: str) -> bool:
        token = self._peek()
        return token.kind == "word" and token.text in names

    def _either(self, field: _Token | None, depth: int) -> Query:
        alternatives = [self._all(field, depth)]
        while self._is_operator("OR"):
            self._take()
            alternatives.append(self._all(field, depth))
        return alternatives[0] if len(alternatives) == 1 else Or(tuple(alternatives))

    def _all(self, field: _Token | None, depth: int) -> Query:
        found: list[Query] = []
        while True:
            if self._is_operator("AND"):
                token = self._take()
                if not found or self._peek().kind in ("end", ")") or self._is_operator("OR", "AND"):
                    self._fail(token.at, "AND stands between two things; here one is missing")
                continue
            if self._is_operator("OR") or self._peek().kind in ("end", ")"):
                break
            found.append(self._one(field, depth))
        if not found:
            at = self._peek().at
            self._fail(at, "here something to look for is missing")
        return found[0] if len(found) == 1 else And(tuple(found))

    def _one(self, field: _Token | None, depth: int) -> Query:
        if depth > _DEEPEST:
            self._fail(self._peek().at, "this is nested too deeply")
        if self._peek().kind == "-" or self._is_operator("NOT"):
            token = self._take()
            if self._peek().kind in ("end", ")") or self._is_operator("OR", "AND"):
                self._fail(token.at, "what shall not be there is missing")
            return Not(self._one(field, depth + 1))
        token = self._take()
        if token.kind == "field":
            if field is not None:
                self._fail(token.at, "one field stands in another")
            value = self._peek()
            if not value.is_tight or value.kind not in ("word", "phrase", "("):
                name = token.text
                self._fail(token.at, f"after {name}: its value is missing, with no blank between")
            return self._one(token, depth + 1)
        if token.kind == "(":
            found = self._either(field, depth + 1)
            if self._peek().kind != ")":
                self._fail(token.at, "this parenthesis is not closed")
            self._take()
            return found
        self._terms += 1
        if self._terms > MOST_TERMS:
            self._fail(token.at, f"there are more than {MOST_TERMS} words")
        if field is None:
            return self._words(token, None)
        return self._of_field(field.text, token)

    def _of_field(self, field: str, token: _Token) -> Query:
        if field in _COLUMNS:
            return self._words(token, _COLUMNS[field])
        text = token.text.strip()
        if not text:
            self._fail(token.at, f"{field}: has no value")
        try:
            return _FIELDS[field](text, self._now)
        except UsageError as error:
            self._fail(token.at, str(error))

    def _words(self, token: _Token, column: Column | None) -> Query:
        text = token.text
        if not is_said(text):
            self._fail(token.at, f"{plain(text, 40)!r} has no letter and no digit to look for")
        is_prefix = token.kind == "word" and text.endswith("*") and is_said(text[-2:-1])
        return Words(text.rstrip("*") if is_prefix else text, column, is_prefix)

    def _fail(self, at: int, why: str) -> NoReturn:
        raise QueryError(self._text, min(at, len(self._text)), why)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = end = 0
    while at < len(text):
        char = text[at]
        if char.isspace() or char == "\0":
            at += 1
            continue
        is_tight = at == end and at > 0
        if char in "()":
            tokens.append(_Token("(" if char == "(" else ")", char, at, is_tight))
            at += 1
        elif char in _QUOTES:
            close = next((n for n in range(at + 1, len(text)) if text[n] in _QUOTES[char]), -1)
            if close < 0:
                raise QueryError(text, at, "this quotation mark is not closed")
            tokens.append(_Token("phrase", _clean(text[at + 1 : close]), at, is_tight))
            at = close + 1
        elif char == "-" and not _after_field(tokens, is_tight) and _begins(text[at + 1 : at + 2]):
            tokens.append(_Token("-", char, at, is_tight))
            at += 1
        else:
            is_value = _after_field(tokens, is_tight)
            match = _WORD.match(text, at)
            if match is None:
                raise QueryError(text, at, "here something to look for is missing")
            word = match[0]
            name, colon, _ = word.partition(":")
            if colon and not is_value and name.lower() in _KNOWN:
                tokens.append(_Token("field", name.lower(), at, is_tight))
                at += len(name) + 1
            else:
                if colon and not is_value:
                    _demand_no_field(text, at, name, word)
                tokens.append(_Token("word", _clean(word), at, is_tight))
                at += len(word)
        end = at
    tokens.append(_Token("end", "", len(text), is_tight=False))
    return tokens


def _begins(text: str) -> bool:
    """Whether what comes after a minus is something that it can deny."""
    return bool(text) and not text.isspace() and text not in "-)"


def _after_field(tokens: list[_Token], is_tight: bool) -> bool:
    return is_tight and bool(tokens) and tokens[-1].kind == "field"


def _demand_no_field(text: str, at: int, name: str, word: str) -> None:
    """Make sure that a word with a colon is not a field's misspelt name."""
    if not _NAME.fullmatch(name) or word[len(name) + 1 : len(name) + 3] == "//":
        return
    near = get_close_matches(name.lower(), _KNOWN, 1)
    there_are = f"did you mean {near[0]}:?" if near else f"there are: {', '.join(_KNOWN)}."
    raise QueryError(
        text,
        at,
        f"{plain(name, 40)!r} is no field; {there_are} To look for the words, put them into"
        ' quotation marks: "…"',
    )


def _clean(text: str) -> str:
    """Return a text that SQLite takes as it is: no NUL, and all of it UTF-8."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


# Fields


def _at_least(text: str, now: datetime) -> Query:
    return Received(since=_span(text, now)[0])


def _earlier(text: str, now: datetime) -> Query:
    return Received(before=_span(text, now)[0])


def _on(text: str, now: datetime) -> Query:
    if _AGO.fullmatch(text.lower()):
        start = datetime.combine(_ago(text.lower(), now).date(), time.min, UTC)
        return Received(_seconds(start), _seconds(start + timedelta(days=1)))
    return Received(*_span(text, now))


def _span(text: str, now: datetime) -> tuple[int, int | None]:
    """Return when a day, month, year or instant begins, and when it is over."""
    word = text.lower()
    midnight = datetime.combine(now.date(), time.min, UTC)
    if word in ("today", "yesterday"):
        start = midnight - timedelta(days=word == "yesterday")
        return _seconds(start), _seconds(start + timedelta(days=1))
    if _AGO.fullmatch(word):
        return _seconds(_ago(word, now)), None
    match = _DAY.fullmatch(word)
    try:
        if match is None:
            instant = datetime.fromisoformat(text)
            instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
            return _seconds(instant), _seconds(instant) + 1
        year, month, day = (int(part) if part else 0 for part in match.groups())
        start = datetime(year, month or 1, day or 1, tzinfo=UTC)
        if day:
            return _seconds(start), _seconds(start) + 86_400
        after = (year + (month in (0, 12)), month % 12 + 1 if month else 1)
        end = datetime(*after, 1, tzinfo=UTC) if after[0] <= 9999 else None
        return _seconds(start), _seconds(end) if end else None
    except (ValueError, OverflowError):
        raise UsageError(
            f"{plain(text, 40)!r} is no date. Write 2024-05-01, 2024-05, 2024, 30d, 2w, 6m, 1y,"
            " today or yesterday"
        ) from None


def _ago(word: str, now: datetime) -> datetime:
    match = _AGO.fullmatch(word)
    hours = int(match[1]) * _HOURS[match[2]] if match else 0
    try:
        return now - timedelta(hours=hours)
    except OverflowError:
        return datetime(1, 1, 1, tzinfo=UTC)


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())


def _larger(text: str, _now: datetime) -> Query:
    return Size(above=_octets(text))


def _smaller(text: str, _now: datetime) -> Query:
    return Size(below=_octets(text))


def _octets(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{plain(text, 40)!r} is no size. Write octets, or 500K, 10M, 1G")
    return int(match[1]) * _UNITS[match[2].upper()]


def _is(text: str, _now: datetime) -> Query:
    known = _IS.get(text.lower())
    if known is None:
        raise UsageError(f"nothing is {plain(text, 40)!r}. There are: {', '.join(_IS)}")
    return known


def _has(text: str, _now: datetime) -> Query:
    if text.lower() not in ("attachment", "attachments"):
        raise UsageError(f"has:{plain(text, 40)} is not known; there is has:attachment")
    return HasAttachment()


def _flag(text: str, _now: datetime) -> Query:
    return _IS.get(text.lower(), Flag(text)) if text.lower() in _SYSTEM else Flag(text)


def _folder(text: str, _now: datetime) -> Query:
    Selection(folders=(text,))  # knows what @… there are
    return InFolder(text)


def _message_id(text: str, _now: datetime) -> Query:
    return MessageId(text.removeprefix("<").removesuffix(">"))


def _id(text: str, now: datetime) -> Query:
    return Number(int(text)) if _DIGITS.fullmatch(text) else _message_id(text, now)


def _state(text: str, _now: datetime) -> Query:
    if text.lower() not in (*SOURCE_STATES, *TARGET_STATES):
        known = ", ".join((*SOURCE_STATES, *TARGET_STATES))
        raise UsageError(f"{plain(text, 40)!r} is no state. There are: {known}")
    return State(text.lower())


_WORD = re.compile(r'[^\s()"\u201c\u201d\u201e\0]+')

_QUOTES = {'"': '"', "\u201c": "\u201d\u201c", "\u201d": "\u201d", "\u201e": "\u201c\u201d"}
"""Also those that word processors make of them."""

_NAME = re.compile(r"[A-Za-z][A-Za-z_-]*")
_DIGITS = re.compile(r"\d{1,18}", re.ASCII)
_AGO = re.compile(r"(\d{1,6})([hdwmy])", re.ASCII)
_HOURS = {"h": 1, "d": 24, "w": 24 * 7, "m": 24 * 30, "y": 24 * 365}
_DAY = re.compile(r"(\d{4})(?:[-/](\d{1,2})(?:[-/](\d{1,2}))?)?", re.ASCII)
_SIZE = re.compile(r"(\d{1,15})([KMG]?)i?B?", re.IGNORECASE | re.ASCII)

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}

_COLUMNS: dict[str, Column] = {
    "from": "sender",
    "to": "recipients",
    "cc": "recipients",
    "subject": "subject",
    "body": "body",
    "filename": "names",
}

_SEEN = Flag("\\Seen")
_IS: dict[str, Query] = {
    "unread": Not(_SEEN),
    "read": _SEEN,
    "flagged": Flag("\\Flagged"),
    "answered": Flag("\\Answered"),
    "draft": Flag("\\Draft"),
    "deleted": Flag("\\Deleted"),
    "unseen": Not(_SEEN),
    "seen": _SEEN,
    "starred": Flag("\\Flagged"),
    "replied": Flag("\\Answered"),
}
_SYSTEM = ("seen", "flagged", "answered", "draft", "deleted")

_FIELDS: dict[str, Callable[[str, datetime], Query]] = {
    "after": _at_least,
    "since": _at_least,
    "before": _earlier,
    "on": _on,
    "has": _has,
    "is": _is,
    "flag": _flag,
    "keyword": _flag,
    "folder": _folder,
    "larger": _larger,
    "smaller": _smaller,
    "id": _id,
    "message-id": _message_id,
    "state": _state,
}

_KNOWN = (*_COLUMNS, *_FIELDS)
