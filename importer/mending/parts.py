"""The MIME structure of a message, told as regions in the order in which they lie in the file.

A region says where something begins and ends: a header with its empty line, the body of a part, a
boundary line together with the line end before it, or text around the parts. Together they cover
the file without a gap. Only the open multiparts are remembered, and no more than a hundred of
them; what is nested more deeply is one body. Lines end in LF or CRLF.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.mending.source import Source

DEEPEST = 100
_LONGEST_BOUNDARY = 998
_LONGEST_VALUE = 8 * 1024

IDENTITY = frozenset({b"", b"7bit", b"8bit", b"binary"})
KNOWN = IDENTITY | {b"base64", b"quoted-printable", b"x-uuencode", b"uuencode", b"uue", b"x-uue"}


class Kind(Enum):
    """What a region is."""

    HEADER = auto()
    """Of the message, of a part or of a message in a message; the empty line is part of it."""
    BODY = auto()
    """Of a part that has no parts, or none that can be told."""
    AROUND = auto()
    """Text before the first part or after the last one."""
    BOUNDARY = auto()
    UNCLOSED = auto()
    """No octets: here ends a multipart whose last boundary is missing."""


@dataclass(frozen=True, slots=True)
class Entity:
    """What a header says of the body that follows; all in lower case but the boundary."""

    type: bytes
    encoding: bytes
    boundary: bytes
    """Empty where there is none, or one that cannot be."""
    content_type: bytes
    """The whole value as written, unfolded."""
    is_message: bool
    """Whether the header is a message's, not a part's."""
    has_mime_version: bool

    @property
    def is_multipart(self) -> bool:
        """Whether parts are to be looked for."""
        return self.type.startswith(b"multipart/") and bool(self.boundary)

    @property
    def holds_message(self) -> bool:
        """Whether the body begins with a header of its own."""
        return self.type in {b"message/rfc822", b"message/global"} and self.encoding in IDENTITY


TEXT = Entity(b"text/plain", b"", b"", b"", is_message=False, has_mime_version=False)


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of the file."""

    kind: Kind
    start: int
    end: int
    depth: int
    """Multiparts around it; for a boundary, those around its own multipart."""
    entity: Entity = TEXT
    """Of a header, or of the body."""
    has_end: bool = True
    """Of a header: whether an empty line ends it."""
    boundary: bytes = b""
    """Of a boundary, and of the missing one."""


@dataclass(slots=True)
class _Level:
    boundary: bytes
    is_digest: bool
    is_begun: bool = False


@dataclass(slots=True)
class _Stack:
    levels: list[_Level] = field(default_factory=list)
    _of: dict[bytes, int] = field(default_factory=dict)

    def push(self, level: _Level) -> None:
        self.levels.append(level)
        self._of[level.boundary] = len(self.levels) - 1

    def cut(self, depth: int) -> None:
        del self.levels[depth:]
        self._of = {level.boundary: number for number, level in enumerate(self.levels)}

    def match(self, line: bytes) -> tuple[int, bool] | None:
        """Return the level that a line is the boundary of, and whether it is the last one."""
        if not line.startswith(b"--"):
            return None
        text = line[2:].rstrip(b" \t\r\n")
        number = self._of.get(text)
        if number is not None:
            return number, False
        if text.endswith(b"--"):
            number = self._of.get(text[:-2])
            if number is not None:
                return number, True
        return None


def regions(source: Source) -> Iterator[Region]:
    """Yield a message's regions."""
    stack = _Stack()
    at = 0
    default, is_message = b"text/plain", True
    while True:
        header = _header(source, at, stack, default, is_message=is_message)
        yield header
        at, entity = header.end, header.entity
        kind = Kind.BODY
        if header.has_end:
            if entity.holds_message:
                default, is_message = b"text/plain", True
                continue
            if entity.is_multipart and len(stack.levels) < DEEPEST:
                stack.push(_Level(entity.boundary, entity.type == b"multipart/digest"))
                kind = Kind.AROUND
        while True:
            found = _boundary(source, at, stack)
            end = source.size if found is None else found[0]
            depth = len(stack.levels)
            if end > at:
                yield Region(kind, at, end, depth, entity if kind is Kind.BODY else TEXT)
            keep = 0 if found is None else found[2] + 1
            for number in range(depth - 1, keep - 1, -1):
                level = stack.levels[number]
                if level.is_begun:
                    yield Region(Kind.UNCLOSED, end, end, number, boundary=level.boundary)
            if found is None:
                return
            _, at, number, is_closing = found
            stack.cut(keep)
            level = stack.levels[number]
            yield Region(Kind.BOUNDARY, end, at, number, boundary=level.boundary)
            if not is_closing:
                level.is_begun = True
                default = b"message/rfc822" if level.is_digest else b"text/plain"
                is_message = False
                break
            stack.cut(number)
            kind = Kind.AROUND


def _boundary(source: Source, at: int, stack: _Stack) -> tuple[int, int, int, bool] | None:
    """Return the next boundary from a line's begin: its start, its end, its level, if it closes."""
    if not stack.levels:
        return None
    start = line = at
    while line < source.size:
        piece = source.line(line, source.size)
        match = stack.match(piece)
        if match is not None:
            end = line + len(piece)
            while end < source.size and not piece.endswith(b"\n"):
                piece = source.line(end, source.size)
                end += len(piece)
            return start, end, *match
        found = source.find(b"\n--", line, source.size)
        if found < 0:
            return None
        line = found + 1
        # the line end before a boundary belongs to it: RFC 2046 section 5.1.1
        has_cr = found > at and source.octet(found - 1) == b"\r"
        start = max(at, found - has_cr)
    return None


_FIELD = re.compile(
    rb"(content-type|content-transfer-encoding|mime-version)[ \t]*:(.*)", re.IGNORECASE | re.DOTALL
)


def _header(source: Source, at: int, stack: _Stack, default: bytes, *, is_message: bool) -> Region:
    """Return the header that begins there; an empty line, a boundary or the end ends it."""
    values: dict[bytes, bytes] = {}
    name = b""
    start, has_end, is_line_start = at, False, True
    while at < source.size:
        piece = source.line(at, source.size)
        if is_line_start:
            if stack.levels and stack.match(piece):
                break
            if piece in {b"\r\n", b"\n"}:
                has_end = True
                at += len(piece)
                break
            if piece[:1] not in b" \t":
                name = b""
                match = _FIELD.match(piece)
                if match is not None and match[1].lower() not in values:
                    name = match[1].lower()
                    values[name] = match[2]
            elif name:
                values[name] += piece
        elif name:
            values[name] += piece
        if name and len(values[name]) > _LONGEST_VALUE:
            name = b""
        at += len(piece)
        is_line_start = piece.endswith(b"\n")
    entity = _entity(values, default, is_message=is_message)
    return Region(Kind.HEADER, start, at, len(stack.levels), entity, has_end)


_BOUNDARY = re.compile(
    rb';[ \t]*boundary(?:\*(\d{1,3}))?(\*)?[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))',
    re.IGNORECASE,
)
_TYPE = re.compile(rb"[ \t]*([!#-'*+.0-9a-z^_`{-~-]+/[!#-'*+.0-9a-z^_`{-~-]+)", re.IGNORECASE)
_TOKEN = re.compile(rb"[^\s;(]+")


def _entity(values: dict[bytes, bytes], default: bytes, *, is_message: bool) -> Entity:
    written = values.get(b"content-type", b"")
    content_type = b"".join(written.splitlines()).replace(b"\0", b"")
    match = _TYPE.match(content_type)
    kind = match[1].lower() if match else (b"text/plain" if content_type.strip() else default)
    encoding = _TOKEN.search(values.get(b"content-transfer-encoding", b"").replace(b"\0", b""))
    return Entity(
        type=kind,
        encoding=encoding[0].lower() if encoding else b"",
        boundary=boundary_of(b"".join(written.splitlines())),
        content_type=content_type.strip(),
        is_message=is_message,
        has_mime_version=b"mime-version" in values,
    )


def boundary_of(content_type: bytes) -> bytes:
    """Return the boundary that an unfolded Content-Type names; empty when it names none."""
    pieces: dict[int, bytes] = {}
    for number, star, quoted, token in _BOUNDARY.findall(content_type):
        piece = token or re.sub(rb"\\(.)", rb"\1", quoted)
        if star:
            # RFC 2231 section 4: a charset and a language may stand before it
            piece = unquote_to_bytes(piece.rpartition(b"'")[2])
        pieces.setdefault(int(number or 0), piece)
    boundary = b"".join(piece for _, piece in sorted(pieces.items())).rstrip(b" \t")
    return boundary if len(boundary) <= _LONGEST_BOUNDARY else b""
