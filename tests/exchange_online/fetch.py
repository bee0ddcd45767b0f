"""The items of FETCH: reading them, and answering them from a message as it is shown."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import getaddresses
from typing import TYPE_CHECKING

from tests.exchange_online.arguments import ArgumentError, Arguments
from tests.exchange_online.blob import Blob, BlobWriter
from tests.exchange_online.mime import Part, header_fields, header_of, parameters, parse
from tests.exchange_online.rewrite import rewriting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.exchange_online.blob import Buffer
    from tests.exchange_online.mailbox import Stored
    from tests.exchange_online.profile import Profile

_MACROS = {
    b"ALL": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE"),
    b"FAST": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE"),
    b"FULL": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODY"),
}
_PLAIN = frozenset(
    {b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODYSTRUCTURE", b"BODY", b"UID"}
)
_WHOLE = {b"RFC822": b"", b"RFC822.HEADER": b"HEADER", b"RFC822.TEXT": b"TEXT"}
_ITEM = re.compile(rb"[A-Za-z0-9.-]+")
_SECTION = re.compile(
    rb"\[((?:\d+\.)*\d+)?\.?(HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME)?",
    re.IGNORECASE,
)
_PARTIAL = re.compile(rb"<(\d+)\.(\d+)>")
_CHUNK = 64 * 1024
_MALFORMED = b'(NIL NIL NIL NIL NIL "7BIT" 0 NIL NIL NIL NIL)'


@dataclass(frozen=True, slots=True)
class Item:
    """What the client wants of each message."""

    name: bytes
    label: bytes
    """How the answer calls it."""
    path: tuple[int, ...] = ()
    section: bytes = b""
    names: tuple[str, ...] = ()
    partial: tuple[int, int] | None = None
    marks_seen: bool = False

    @property
    def needs_octets(self) -> bool:
        """Whether the message itself must be read."""
        return self.name in (b"BODY[]", b"ENVELOPE", b"BODYSTRUCTURE", b"BODY")

    @property
    def needs_header_only(self) -> bool:
        """Whether the message's own header is enough."""
        is_header = self.section.startswith(b"HEADER") and not self.path
        return not self.needs_octets or self.name == b"ENVELOPE" or is_header


def read_items(arguments: Arguments) -> list[Item]:
    """Read the items of a FETCH.

    Raises:
        ArgumentError: one of them is unknown, or there is none.
    """
    if not arguments.skip(b"("):
        start = arguments.at
        word = arguments.match(_ITEM, 11)[0].upper()
        if word in _MACROS:
            return [Item(name, name) for name in _MACROS[word]]
        arguments.at = start
        return [_item(arguments)]
    items: list[Item] = []
    while not arguments.skip(b")"):
        if items:
            arguments.space()
        items.append(_item(arguments))
    if not items:
        raise ArgumentError(11)
    return items


def _item(arguments: Arguments) -> Item:
    name = arguments.match(_ITEM, 11)[0].upper()
    if name in (b"BODY", b"BODY.PEEK") and arguments.peek() == b"[":
        return _body_item(arguments, marks_seen=name == b"BODY")
    if name in _WHOLE:
        return Item(b"BODY[]", name, section=_WHOLE[name], marks_seen=name != b"RFC822.HEADER")
    if name not in _PLAIN:
        raise ArgumentError(11)
    return Item(name, name)


def _body_item(arguments: Arguments, *, marks_seen: bool) -> Item:
    start = arguments.at
    match = arguments.match(_SECTION, 11)
    path = tuple(map(int, match[1].split(b"."))) if match[1] else ()
    section = (match[2] or b"").upper()
    names: list[str] = []
    if section.startswith(b"HEADER.FIELDS"):
        arguments.space()
        arguments.expect(b"(")
        while not arguments.skip(b")"):
            names.append(arguments.astring().decode("latin-1").lower())
            arguments.skip(b" ")
    arguments.expect(b"]")
    label = b"BODY" + arguments.text[start : arguments.at]
    partial = None
    if arguments.peek() == b"<":
        first, count = arguments.match(_PARTIAL, 11).groups()
        partial = int(first), int(count)
        label += b"<%d>" % partial[0]
    return Item(b"BODY[]", label, path, section, tuple(names), partial, marks_seen)


class Shown:
    """A message as the server shows it; keeps the last one, for parts fetched one by one."""

    def __init__(self, profile: Profile, directory: Path) -> None:
        self._profile = profile
        self._directory = directory
        self._last: tuple[Stored, Blob] | None = None

    @contextmanager
    def opened(self, message: Stored) -> Iterator[tuple[Buffer, Part]]:
        """Show a message and where its parts are."""
        with self._blob(message).opened() as buffer:
            yield buffer, parse(buffer)

    def size(self, message: Stored) -> int:
        """Return the exact number of octets shown."""
        return self._blob(message).size

    def forget(self) -> None:
        """Remove what is kept."""
        last, self._last = self._last, None
        if last is not None and last[1] is not last[0].blob:
            last[1].discard()

    def _blob(self, message: Stored) -> Blob:
        if self._last is not None and self._last[0] is message:
            return self._last[1]
        self.forget()
        blob = message.blob
        if self._profile.rewriting:
            writer = BlobWriter(self._directory)
            with blob.opened() as buffer:
                new = rewriting(
                    buffer,
                    blob.sha256,
                    self._profile.rewriting,
                    nested=self._profile.rewrites_nested,
                )
                for piece in new.pieces(buffer):
                    writer.write(piece)
            blob = writer.finish()
        self._last = message, blob
        return blob


def section(item: Item, buffer: Buffer, message: Part) -> tuple[int, Iterator[bytes]] | None:
    """Return the size and the octets of a section; None where there is no such part."""
    part: Part | None = message
    for number in item.path:
        part = _child(part, number) if part is not None else None
    if part is None:
        return None
    if item.section and item.section != b"MIME" and item.path:
        if part.kind != "message/rfc822" or not part.children:
            return None
        part = part.children[0]
    if item.section.startswith(b"HEADER.FIELDS"):
        octets = _some_fields(item, bytes(header_of(buffer, part)))
        return _sliced(octets, 0, len(octets), item.partial)
    if item.section in (b"HEADER", b"MIME"):
        return _sliced(buffer, part.start, part.body, item.partial)
    if item.section == b"TEXT" or item.path:
        return _sliced(buffer, part.body, part.end, item.partial)
    return _sliced(buffer, part.start, part.end, item.partial)


def _child(part: Part, number: int) -> Part | None:
    if part.kind == "message/rfc822" and part.children:
        part = part.children[0]
    if part.main == "multipart" and part.children:
        return part.children[number - 1] if 0 < number <= len(part.children) else None
    return part if number == 1 else None


def _sliced(
    buffer: Buffer, start: int, end: int, partial: tuple[int, int] | None
) -> tuple[int, Iterator[bytes]]:
    if partial is not None:
        start = min(end, start + partial[0])
        end = min(end, start + partial[1])

    def pieces() -> Iterator[bytes]:
        for at in range(start, end, _CHUNK):
            yield bytes(buffer[at : min(at + _CHUNK, end)])

    return end - start, pieces()


def _some_fields(item: Item, header: bytes) -> bytes:
    wants_others = item.section.endswith(b"NOT")
    return (
        b"".join(
            (each.name or b"") + b":" + each.value + b"\r\n"
            for each in header_fields(header)
            if each.name and (each.key in item.names) != wants_others
        )
        + b"\r\n"
    )


def nstring(octets: bytes | None) -> bytes:
    """Return octets as a quoted string, a literal, or NIL."""
    if octets is None:
        return b"NIL"
    if re.search(rb"[\x00\r\n\x80-\xff]", octets):
        return b"{%d}\r\n%b" % (len(octets), octets)
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def envelope(part: Part) -> bytes:
    """Return the ENVELOPE of a message."""

    def text(key: str) -> bytes:
        return nstring(part.value(key) if part.has(key) else None)

    senders = _addresses(part, "from")
    return b"(%b)" % b" ".join(
        (
            text("date"),
            text("subject"),
            senders,
            _addresses(part, "sender") if part.has("sender") else senders,
            _addresses(part, "reply-to") if part.has("reply-to") else senders,
            _addresses(part, "to"),
            _addresses(part, "cc"),
            _addresses(part, "bcc"),
            text("in-reply-to"),
            text("message-id"),
        )
    )


def _addresses(part: Part, key: str) -> bytes:
    values = [each.unfolded.decode("latin-1") for each in part.fields if each.key == key]
    try:
        found = [pair for pair in getaddresses(values) if pair[1]]
    except (ValueError, IndexError, AttributeError, TypeError):
        found = []
    if not found:
        return b"NIL"
    out = []
    for name, address in found:
        local, _, host = address.rpartition("@")
        words = [name or None, None, local or host, host if local else None]
        out.append(
            b"(%b)"
            % b" ".join(
                nstring(None if word is None else word.encode("latin-1", "replace"))
                for word in words
            )
        )
    return b"(%b)" % b"".join(out)


def body_structure(buffer: Buffer, part: Part, *, extended: bool) -> bytes:
    """Return the BODYSTRUCTURE (or BODY) of a message."""
    if part.main == "multipart" and part.children:
        out = b"".join(body_structure(buffer, each, extended=extended) for each in part.children)
        out += b" " + _string(part.kind.partition("/")[2])
        if extended:
            out += b" %b %b NIL NIL" % (_parameters(part.params), _disposition(part))
        return b"(%b)" % out
    kind = part.kind if part.main != "multipart" else "text/plain"
    main, _, sub = kind.partition("/")
    has = part.has
    words = [
        _string(main),
        _string(sub),
        _parameters(part.params),
        nstring(part.value("content-id") if has("content-id") else None),
        nstring(part.value("content-description") if has("content-description") else None),
        _string(part.encoding),
        b"%d" % (part.end - part.body),
    ]
    if kind == "message/rfc822" and part.children:
        words += [
            envelope(part.children[0]),
            body_structure(buffer, part.children[0], extended=extended),
        ]
    if main == "text" or (kind == "message/rfc822" and part.children):
        words.append(b"%d" % bytes(buffer[part.body : part.end]).count(b"\n"))
    if extended:
        words += [b"NIL", _disposition(part), b"NIL", b"NIL"]
    return b"(%b)" % b" ".join(words)


def malformed(structure: bytes, which: float) -> bytes:
    """Return a BODYSTRUCTURE as broken as those seen in the wild; ``which`` is from 0 to 1."""
    if which < 0.5 and b'("inline" NIL)' in structure:
        return structure.replace(b'("inline" NIL)', b'"inline"')
    return _MALFORMED


def _string(text: str) -> bytes:
    return nstring(text.encode("latin-1", "replace"))


def _parameters(params: dict[str, bytes]) -> bytes:
    if not params:
        return b"NIL"
    words = (_string(name) + b" " + nstring(value) for name, value in params.items())
    return b"(%b)" % b" ".join(words)


def _disposition(part: Part) -> bytes:
    value = part.value("content-disposition")
    if not value:
        return b"NIL"
    kind = value.partition(b";")[0].strip()
    return b"(%b %b)" % (nstring(kind), _parameters(parameters(value)))
