"""The headers that people search by, read from messages of any age and any quality.

Whatever the octets are, there is an answer: a header that cannot be decoded keeps its raw text.
What comes out is always one line that can be stored as UTF-8 and shown on a terminal, and never
longer than a line may be (RFC 5322 section 2.1.1). The message itself is not touched.
"""

from __future__ import annotations

import codecs
import re
from binascii import Error as BinasciiError
from binascii import a2b_base64, a2b_qp
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from typing import TYPE_CHECKING

from store.dates import instant, received_instant

if TYPE_CHECKING:
    from datetime import datetime

    from waystation.model import DateFrom

LONGEST_HEAD = 64 * 1024
"""Octets of a message that are looked at."""

LONGEST_VALUE = 998
"""Characters of a value: the longest line of RFC 5322."""

_LONGEST_ENCODED = 16 * LONGEST_VALUE  # an encoded word may need twelve for a character


@dataclass(frozen=True, slots=True)
class Headers:
    """What the index keeps of a header; None where a field is missing or empty."""

    message_id: str | None
    date: str | None
    """As written: the INTERNALDATE is what folders are sorted by."""
    sender: str | None
    recipients: str | None
    """To and Cc, joined by a comma."""
    subject: str | None


def parse(head: bytes) -> Headers:
    """Return the headers of a message from its first octets, 64 KiB at most."""
    fields = _fields(head)
    to, cc = _text(fields.get(b"to")), _text(fields.get(b"cc"))
    return Headers(
        message_id=_plain_text(fields.get(b"message-id")),
        date=_plain_text(fields.get(b"date")),
        sender=_text(fields.get(b"from")),
        recipients=f"{to}, {cc}"[:LONGEST_VALUE].rstrip() if to and cc else to or cc,
        subject=_text(fields.get(b"subject")),
    )


def header_end(head: bytes) -> int:
    """Return where the body begins: after the first empty line, else at the end of ``head``."""
    end = head.find(b"\r\n\r\n")
    before = head[: max(end, 0)]
    if before and before.count(b"\r\n") == before.count(b"\n") == before.count(b"\r"):
        # nearly every message: CRLF throughout, found at a fifth of the cost
        return 2 if before.startswith(b"\r\n") else end + 4
    blank = _BLANK_LINE.search(head)
    return blank.end() if blank else len(head)


def derived_date(head: bytes) -> tuple[datetime | None, DateFrom | None]:
    """Return when a message was received, for a server that does not say it, and how we know.

    The topmost Received field is the last server's own word; the Date field is the sender's.
    """
    block = b"\n" + head[: header_end(head)]
    # The names are looked for first: at a tenth of what the patterns cost where they are missing.
    lower = block.lower()
    if (at := lower.find(b"received")) > 0:
        found = _RECEIVED.search(block, at - 1)
        if found is not None and (date := received_instant(_unfold(found[1]))) is not None:
            return date, "received"
    if (at := lower.find(b"date")) > 0:
        found = _SENT.search(block, at - 1)
        if found is not None and (date := instant(_unfold(found[1]))) is not None:
            return date, "date"
    return None, None


def _unfold(value: bytes) -> bytes:
    return _FOLD.sub(b" ", value) if b"\n" in value or b"\r" in value else value


def fingerprint(head: bytes) -> str:
    """Return a hash of Message-ID, Date, From and Subject that survives a server's tidying.

    Refolding, other white space, other line ends and another order of the fields make no
    difference; nor does an empty field, which servers add and drop. So a whole header and the
    answer to ``BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)]`` give the same value.
    """
    # Some servers know no field whose name has a blank before its colon, others do.
    fields = _fields(head, is_strict=True)
    # bytes.split() leaves no line end inside a value, so the lines cannot be confused
    values = (b" ".join(fields.get(name, b"").split()) for name in _IDENTIFYING)
    return sha256(b"\n".join(b"=" + value if value else b"-" for value in values)).hexdigest()


def decoded(raw: bytes) -> str:
    """Return a whole value, unfolded and with its encoded words decoded (RFC 2047)."""
    text = _unfolded(raw)
    return _ENCODED_WORDS.sub(_decoded_words, text) if "=?" in text else text


def all_fields(head: bytes) -> list[tuple[str, str]]:
    """Return name and value of every field of a header, in order, as people read them.

    Values are unfolded and decoded, on one line, and as long as they are; lines that are no field
    are passed over.
    """
    block = b"\n" + head[: header_end(head)]
    return [
        (name.decode("ascii"), _clean(decoded(value))) for name, value in _ANY_FIELD.findall(block)
    ]


def codec_of(charset: str) -> str | None:
    """Return Python's name for a charset as mail means it, or None when it is unknown."""
    try:
        codec = codecs.lookup(_SUPERSETS.get(charset, charset)).name
    except (LookupError, ValueError):
        return None
    return None if codec in _NOT_CHARSETS else codec


def _fields(head: bytes, *, is_strict: bool = False) -> dict[bytes, bytes]:
    """Return the raw values by lower-case name; the first field of a name counts."""
    head = head[:LONGEST_HEAD]
    block = b"\n" + head[: header_end(head)]
    fields: dict[bytes, bytes] = {}
    for name, blank, value in _FIELD.findall(block):
        if not (is_strict and blank):
            fields.setdefault(name.lower(), value)
    return fields


def _text(raw: bytes | None) -> str | None:
    """Return a value as people read it, encoded words decoded (RFC 2047)."""
    if raw is None:
        return None
    text = _unfolded(raw)
    if "=?" in text:
        text = _ENCODED_WORDS.sub(_decoded_words, text[:_LONGEST_ENCODED])
    return _one_line(text)


def _plain_text(raw: bytes | None) -> str | None:
    """Return a value in which no encoded words may stand, such as an identifier."""
    return None if raw is None else _one_line(_unfolded(raw))


def _unfolded(raw: bytes) -> str:
    raw = raw.strip()
    if b"\n" in raw or b"\r" in raw:
        raw = _FOLD.sub(b" ", raw)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return _not_utf_8(raw)


def _not_utf_8(raw: bytes) -> str:
    """Return the text of other octets that nobody labelled: Windows, else Latin-1."""
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _clean(text: str) -> str:
    if not text.isprintable():
        text = _UNFIT.sub("\ufffd", _BREAKING.sub(" ", text))
    return text.strip()


def _one_line(text: str) -> str | None:
    text = _clean(text)
    return (text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE].rstrip()) or None


def _decoded_words(run: re.Match[str]) -> str:
    """Return the text of encoded words in a row, or their raw text.

    Neighbours of one charset are decoded together, since many programs split a character
    between two words, against RFC 2047 section 5.
    """
    words: list[tuple[str, bytes]] = []
    for charset, encoding, encoded in _ENCODED_WORD.findall(run[0]):
        octets = _octets(encoding, encoded)
        if octets is None:
            return run[0]
        words.append((charset.partition("*")[0].lower(), octets))  # RFC 2231: =?utf-8*en?…
    texts = [
        _labelled(charset, b"".join(octets for _, octets in neighbours))
        for charset, neighbours in groupby(words, key=lambda word: word[0])
    ]
    known = [text for text in texts if text is not None]
    return "".join(known) if len(known) == len(texts) else run[0]


def _octets(encoding: str, encoded: str) -> bytes | None:
    """Return what an encoded word holds, or None when it is broken."""
    if encoding in "qQ":
        return a2b_qp(encoded.encode("utf-8", "replace"), header=True)
    try:
        return a2b_base64(encoded.rstrip("=") + "===")  # padding is often missing
    except (BinasciiError, ValueError):
        return None


def _labelled(charset: str, octets: bytes) -> str | None:
    """Return the text in a charset, or None when it is unknown or does not fit."""
    codec = codec_of(charset)
    try:
        return None if codec is None else octets.decode(codec)
    except (LookupError, ValueError):
        return None


_IDENTIFYING = (b"message-id", b"date", b"from", b"subject")

_END = rb"(?:\r?\r?\n|\r)"  # CR CR LF is what a text-mode copy makes of CRLF

_FIELD = re.compile(
    # begins with plain sets, so that most lines are skipped without trying the names
    rb"[\r\n](?=[mdftcs])(message-id|date|from|to|cc|subject)([ \t]*):"
    rb"([^\r\n]*(?:" + _END + rb"[ \t][^\r\n]*)*)",
    re.IGNORECASE,
)

_ANY_FIELD = re.compile(rb"[\r\n]([!-9;-~]+)[ \t]*:([^\r\n]*(?:" + _END + rb"[ \t][^\r\n]*)*)")

_RECEIVED = re.compile(
    rb"[\r\n]received[ \t]*:([^\r\n]*(?:" + _END + rb"[ \t][^\r\n]*)*)", re.IGNORECASE
)

_SENT = re.compile(rb"[\r\n]date[ \t]*:([^\r\n]*(?:" + _END + rb"[ \t][^\r\n]*)*)", re.IGNORECASE)

_BLANK_LINE = re.compile(rb"\n(?:\r?\r?\n|\r)|\r(?!\r?\n)\r(?:\r\n)?|\A(?:\r?\r?\n|\r)")

_FOLD = re.compile(rb"[ \t]*[\r\n]+[ \t]*")

_ENCODED_WORD = re.compile(r"=\?([\w.:+*-]{1,60})\?([bBqQ])\?([^?]*)\?=", re.ASCII)

_ENCODED_WORDS = re.compile(rf"{_ENCODED_WORD.pattern}(?:\s*{_ENCODED_WORD.pattern})*", re.ASCII)

_SUPERSETS = {
    # senders name the smaller one and use the larger one
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "shift_jis": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
    "iso-8859-9": "cp1254",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "iso-8859-8-i": "iso-8859-8",
}

_NOT_CHARSETS = frozenset(
    # Python's own ways of writing, which no mail means; some are slow or warn
    {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "mbcs", "oem"}
)

_BREAKING = re.compile("[\t\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]+")

_UNFIT = re.compile(
    # controls, marks that turn the direction of what follows, what is not a character
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
