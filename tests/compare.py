"""What an IMAP server holds, read by the standard library alone, and how two servers differ.

It shares no code with the product, so that a mistake there cannot hide itself here.
"""

from __future__ import annotations

import base64
import hashlib
import imaplib
import re
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Iterable, Iterator, Mapping

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LIST_LINE = re.compile(rb'\((?P<attributes>[^)]*)\) (?P<delimiter>NIL|"(?:\\.|[^"])+") ?')
_FLAGS = re.compile(rb"[( ]FLAGS \((?P<flags>[^)]*)\)")
_DATE = re.compile(
    rb'[( ]INTERNALDATE "(?P<day>[ \d]\d)-(?P<month>[A-Z][a-z][a-z])-(?P<year>\d{4}) '
    rb'(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d) (?P<sign>[+-])(?P<zone>\d{4})"'
)
_SHORT_BODY = re.compile(rb'[( ]BODY\[\] (?:NIL|"(?P<text>(?:\\.|[^"\\])*)")')
_NEW_ANSWER = re.compile(rb"\d+ \(")


class Message(NamedTuple):
    """A message reduced to what has to survive a move."""

    sha256: str
    flags: frozenset[str]
    keywords: frozenset[str]
    internaldate: datetime


Snapshot = dict[str, list[Message]]
"""The messages of each folder, in the order of their UIDs."""


def snapshot(
    host: str,
    port: int,
    user: str,
    password: str,
    *,
    tls: ssl.SSLContext | None = None,
    folders: Collection[str] | None = None,
    prefix: str = "",
    batch: int = 500,
) -> Snapshot:
    """Return all that a mailbox holds, or only the named folders, without changing it.

    Folder names are decoded, their levels joined by `/` (a `/` or `%` inside a level is
    percent-encoded); `prefix` is the server's namespace prefix, which is left out.
    """
    client = (
        imaplib.IMAP4(host, port) if tls is None else imaplib.IMAP4_SSL(host, port, ssl_context=tls)
    )
    with client:
        client.login(user, password)
        found = {
            name: wire_name
            for name, wire_name in _selectable(client, prefix)
            if folders is None or name in folders
        }
        return {name: list(_messages(client, found[name], batch)) for name in sorted(found)}


def differences(a: Snapshot, b: Snapshot) -> list[str]:
    """Return one sentence for each difference; none when both hold the same messages."""
    sentences = [f"{name}: only in the first" for name in sorted(a.keys() - b.keys())]
    sentences += [f"{name}: only in the second" for name in sorted(b.keys() - a.keys())]
    for name in sorted(a.keys() & b.keys()):
        first, second = Counter(a[name]), Counter(b[name])
        if first != second:
            missing, extra = (first - second).elements(), (second - first).elements()
            sentences += [f"{name}: {text}" for text in _pairwise(missing, extra)]
    return sentences


def encode_name(text: str) -> str:
    """Return a folder name, or one level of it, in modified UTF-7 (RFC 3501 section 5.1.3)."""
    parts = re.split(r"([^\x20-\x7e]+)", text)
    return "".join(
        _encoded_run(part) if index % 2 else part.replace("&", "&-")
        for index, part in enumerate(parts)
    )


def decode_name(wire: str) -> str:
    """Return the text of a name in modified UTF-7."""
    return re.sub(r"&([^-]*)-", lambda match: _decoded_run(match[1]), wire)


def join_levels(levels: Iterable[str]) -> str:
    """Return a folder's name as one text, each level percent-encoded where it must be."""
    return "/".join(level.replace("%", "%25").replace("/", "%2F") for level in levels)


def split_levels(name: str) -> list[str]:
    """Return the levels of a name made by `join_levels`."""
    return [level.replace("%2F", "/").replace("%25", "%") for level in name.split("/")]


def quoted(wire_name: str) -> str:
    """Return a name as an IMAP quoted string."""
    return '"' + wire_name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def as_flag(word: str) -> str:
    """Return a flag in the spelling of RFC 3501, a keyword as it is."""
    return "\\" + word[1:].capitalize() if word.startswith("\\") else word


def _selectable(client: imaplib.IMAP4, prefix: str) -> Iterator[tuple[str, str]]:
    status, lines = client.list()
    _demand(status == "OK", f"LIST: {lines!r}")
    for line in lines:
        head, literal = line if isinstance(line, tuple) else (line or b"", None)
        match = _LIST_LINE.match(head)
        if match is None:  # what follows a literal, or an empty list
            continue
        attributes = match["attributes"].lower().split()
        if b"\\noselect" in attributes or b"\\nonexistent" in attributes:
            continue
        wire_name = (literal if literal is not None else _unquoted(head[match.end() :])).decode()
        delimiter = None if match["delimiter"] == b"NIL" else _unquoted(match["delimiter"])
        yield _plain_name(wire_name.removeprefix(prefix), delimiter), wire_name


def _plain_name(wire_name: str, delimiter: bytes | None) -> str:
    levels = wire_name.split(delimiter.decode()) if delimiter else [wire_name]
    return join_levels(decode_name(level) for level in levels)


def _messages(client: imaplib.IMAP4, wire_name: str, batch: int) -> Iterator[Message]:
    status, answer = client.select(quoted(wire_name), readonly=True)
    _demand(status == "OK", f"EXAMINE {wire_name}: {answer!r}")
    exists = int(answer[0] or b"0")
    count = 0
    for start in range(1, exists + 1, batch):
        numbers = f"{start}:{min(start + batch - 1, exists)}"
        status, answers = client.fetch(numbers, "(FLAGS INTERNALDATE BODY.PEEK[])")
        _demand(status == "OK", f"FETCH {numbers} in {wire_name}: {answers!r}")
        for text, body in _fetched(answers):
            count += 1
            yield _message(text, body)
    _demand(count == exists, f"{wire_name}: {exists} messages, {count} answers")


def _fetched(answers: Iterable[object]) -> Iterator[tuple[bytes, bytes]]:
    """Put together what imaplib hands out in pieces; leave out answers without a body."""
    text, body = b"", None
    for answer in (*answers, b"0 ("):
        before, literal = answer if isinstance(answer, tuple) else (answer, None)
        if not isinstance(before, bytes):
            continue
        if _NEW_ANSWER.match(before):
            if body is None and (short := _SHORT_BODY.search(text)):
                body = re.sub(rb"\\(.)", rb"\1", short["text"] or b"")
            if body is not None:
                yield text, body
            text, body = b"", None
        text += before
        if literal is not None:
            body = literal


def _message(text: bytes, body: bytes) -> Message:
    flags, date = _FLAGS.search(text), _DATE.search(text)
    if flags is None or date is None:
        raise AssertionError(f"FETCH without FLAGS or INTERNALDATE: {text!r}")
    words = {as_flag(word) for word in flags["flags"].decode().split()} - {"\\Recent"}
    return Message(
        hashlib.sha256(body).hexdigest(),
        frozenset(word for word in words if word.startswith("\\")),
        frozenset(word for word in words if not word.startswith("\\")),
        _instant({key: value.decode() for key, value in date.groupdict().items()}),
    )


def _instant(part: Mapping[str, str]) -> datetime:
    offset = timedelta(hours=int(part["zone"][:2]), minutes=int(part["zone"][2:]))
    return datetime(
        int(part["year"]),
        _MONTHS.index(part["month"]) + 1,
        int(part["day"]),
        int(part["hour"]),
        int(part["minute"]),
        int(part["second"]),
        tzinfo=timezone(-offset if part["sign"] == "-" else offset),
    ).astimezone(UTC)


def _pairwise(missing: Iterable[Message], extra: Iterable[Message]) -> Iterator[str]:
    waiting: dict[str, list[Message]] = {}
    for message in extra:
        waiting.setdefault(message.sha256, []).append(message)
    for message in missing:
        if others := waiting.get(message.sha256):
            yield _changes(message, others.pop(0))
        else:
            yield f"{_words(message)}: only in the first"
    for others in waiting.values():
        yield from (f"{_words(message)}: only in the second" for message in others)


def _changes(a: Message, b: Message) -> str:
    changes = [
        f"{what} {_value(one)} became {_value(other)}"
        for what, one, other in zip(Message._fields[1:], a[1:], b[1:], strict=True)
        if one != other
    ]
    return f"{a.sha256[:12]}: {', '.join(changes)}"


def _words(message: Message) -> str:
    values = " ".join(_value(value) for value in message[1:])
    return f"{message.sha256[:12]} {values}"


def _value(value: object) -> str:
    if isinstance(value, frozenset):
        return f"({' '.join(sorted(value))})"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _unquoted(token: bytes) -> bytes:
    if not token.startswith(b'"'):
        return token
    return re.sub(rb"\\(.)", rb"\1", token[1:-1])


def _encoded_run(text: str) -> str:
    code = base64.b64encode(text.encode("utf-16-be", "surrogatepass")).decode()
    return f"&{code.rstrip('=').replace('/', ',')}-"


def _decoded_run(code: str) -> str:
    if not code:
        return "&"
    padded = code.replace(",", "/") + "=" * (-len(code) % 4)
    return base64.b64decode(padded).decode("utf-16-be", "surrogatepass")


def _demand(is_fine: bool, sentence: str) -> None:
    if not is_fine:
        raise AssertionError(sentence)
