"""Long lines and NUL: the parts that hold them are encoded anew, and mean the same as before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from importer.mending.encodings import (
    rewrap_base64,
    soften_quoted_printable,
    write_base64,
    write_quoted_printable,
)
from importer.mending.folding import write_wrapped
from importer.mending.headers import empty_line, field_name, lines_without, write_line
from importer.mending.parts import Kind, regions
from waystation.errors import plain

if TYPE_CHECKING:
    from importer.mending.output import Output
    from importer.mending.parts import Entity, Region
    from importer.mending.source import Source

_ASCII = bytes(range(1, 128))
_MOSTLY = 5
"""Where more than one octet in so many would need three in quoted-printable, base64 is shorter."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What stands in a stretch of a message."""

    longest: int
    """Octets of its longest line without the line end."""
    has_nul: bool
    beyond: int
    """Octets beyond ASCII, and NUL."""
    size: int


def survey(source: Source, start: int, end: int) -> Survey:
    """Return what stands in a stretch."""
    longest = length = beyond = 0
    has_nul, ends_in_cr = False, False
    for block in source.blocks(start, end):
        has_nul = has_nul or b"\0" in block
        if not block.isascii() or has_nul:
            beyond += len(block.translate(None, _ASCII))
        # of all but the last line of a block, the CR before the LF is no part
        lines = block.split(b"\n")
        first = length + len(lines[0])
        if len(lines) > 1:
            had_cr = lines[0].endswith(b"\r") if lines[0] else ends_in_cr
            longest = max(longest, first - had_cr)
            last = lines.pop()
            most = max(map(len, lines[1:]), default=0)
            if most > longest:
                longest = max(longest, max(len(x) - x.endswith(b"\r") for x in lines[1:]))
            first = len(last)
        length, ends_in_cr = first, block.endswith(b"\r")
    return Survey(max(longest, length), has_nul, beyond, end - start)


def mend_long_lines(source: Source, output: Output, longest: int) -> None:
    """Write a message in which no line exceeds ``longest`` octets."""
    _Rewriter(source, output, longest).run(drops_nul=False)


def mend_nul(source: Source, output: Output, longest: int) -> None:
    """Write a message without NUL: parts keep theirs in an encoding that can hold it."""
    _Rewriter(source, output, longest).run(drops_nul=True)


class _Rewriter:
    def __init__(self, source: Source, output: Output, longest: int) -> None:
        self._source = source
        self._output = output
        self._longest = longest
        self._drops_nul = False

    def run(self, *, drops_nul: bool) -> None:
        self._drops_nul = drops_nul
        held: Region | None = None
        for region in regions(self._source):
            found = survey(self._source, region.start, region.end)
            is_sound = not (found.has_nul if drops_nul else found.longest > self._longest)
            if region.kind is Kind.BODY and held is not None and not is_sound:
                self._reencode(held, region, found)
                held = None
                continue
            if held is not None:
                self._header(held)
                held = None
            if region.kind is Kind.HEADER:
                held = region
            elif is_sound:
                self._output.copy(self._source, region.start, region.end)
            else:
                self._around(region)
        if held is not None:
            self._header(held)

    # Headers

    def _header(self, header: Region, encoding: bytes = b"") -> None:
        """Write a header, with another Content-Transfer-Encoding if one is given."""
        replaced = (b"content-transfer-encoding",) if encoding else ()
        for start, end, line in lines_without(self._source, header, replaced):
            self._header_line(start, end, line)
        if encoding:
            entity = header.entity
            if entity.is_message and not entity.has_mime_version:
                self._output.write(b"MIME-Version: 1.0\r\n")
            self._output.write(b"Content-Transfer-Encoding: " + encoding + b"\r\n")
        self._output.write(empty_line(self._source, header))

    def _header_line(self, start: int, end: int, line: bytes) -> None:
        name = plain(field_name(line))
        if not self._drops_nul:
            if write_line(self._source, start, end, self._output, self._longest):
                called = f"the header {name}" if name else "a header line"
                self._output.changed(f"folded {called}, {end - start:,} octets long")
        elif any(b"\0" in block for block in self._source.blocks(start, end)):
            called = f"the header {name}" if name else "a header line"
            self._output.changed(f"removed NUL from {called}")
            blocks = self._source.blocks(start, end)
            if not any(block.translate(None, b"\0 \t\r\n") for block in blocks):
                return  # a line of nothing but NUL would become the end of the header
            for block in self._source.blocks(start, end):
                self._output.write(block.replace(b"\0", b""))
        else:
            self._output.copy(self._source, start, end)

    # Bodies

    def _reencode(self, header: Region, body: Region, found: Survey) -> None:
        entity, source, output = body.entity, self._source, self._output
        start, end = body.start, body.end
        trouble = "NUL in it" if self._drops_nul else f"a line of {found.longest:,} octets"
        called = f"{_part(entity)} that had {trouble}"
        match _new_encoding(entity, found):
            case b"":
                self._header(header)
                self._around(body)
                return
            case b"base64" if entity.encoding == b"base64":
                self._header(header)
                rewrap_base64(source.blocks(start, end), output)
                self._close(end)
                output.changed(f"wrapped the base64 of {called} anew")
            case b"quoted-printable" if entity.encoding == b"quoted-printable":
                self._header(header)
                soften_quoted_printable(source.lines(start, end), output, self._longest)
                output.changed(f"put soft line ends into the quoted-printable of {called}")
            case b"quoted-printable":
                self._header(header, b"quoted-printable")
                write_quoted_printable(source.lines(start, end), output)
                output.changed(f"encoded {called} as quoted-printable")
            case encoding:
                self._header(header, encoding)
                write_base64(source.blocks(start, end), output)
                self._close(end)
                output.changed(f"encoded {called} as base64")

    def _close(self, end: int) -> None:
        """End the last line of base64 where no boundary does it."""
        if end == self._source.size:
            self._output.write(b"\r\n")

    # What cannot be encoded

    def _around(self, region: Region) -> None:
        """Mend text that no transfer encoding applies to."""
        source, output = self._source, self._output
        start, end = region.start, region.end
        called = "text outside of the parts"
        if region.kind is Kind.BOUNDARY:
            called = "a boundary line"
        elif region.kind is Kind.BODY:
            called = f"broken MIME, {_part(region.entity)}"
        if self._drops_nul:
            # a blank in its place: nothing moves together that could be read as a boundary
            for block in source.blocks(start, end):
                output.write(block.replace(b"\0", b" "))
            output.changed(f"replaced NUL by a blank in {called}")
        elif region.kind is Kind.BOUNDARY:
            self._boundary(region)
        elif region.entity.type in _FIELDS and region.kind is Kind.BODY:
            self._fields(start, end)
            output.changed(f"folded long lines of {_part(region.entity)}")
        else:
            write_wrapped(source.lines(start, end, self._longest), output)
            output.changed(f"cut long lines in {called}, as nothing better can be done")

    def _fields(self, start: int, end: int) -> None:
        at = start
        while at < end:
            first, piece = at, b""
            while at < end and not piece.endswith(b"\n"):
                piece = self._source.line(at, end)
                at += len(piece)
            write_line(self._source, first, at, self._output, self._longest)

    def _boundary(self, region: Region) -> None:
        """Write a boundary line without what follows it, which is blanks for the most part."""
        line = self._source.line(region.start, region.end)
        before = b""
        if line in {b"\r\n", b"\n"}:
            before = line
            line = self._source.line(region.start + len(line), region.end)
        self._output.write(before + line.rstrip(b" \t\r\n") + b"\r\n")
        self._output.changed("removed blanks after a boundary")


def _part(entity: Entity) -> str:
    article = "an" if entity.type[:1] in b"aeiou" else "a"
    return f"{article} {plain(entity.type)} part"


_FIELDS = frozenset(
    # made of header fields: RFC 3464 section 2.1, RFC 8098 section 3.1
    {b"message/delivery-status", b"message/disposition-notification"}
)


def _new_encoding(entity: Entity, found: Survey) -> bytes:
    """Return the encoding that a part can have instead of its own; none for what has parts."""
    if entity.encoding in {b"base64", b"quoted-printable"}:
        return entity.encoding
    if entity.type.startswith((b"multipart/", b"message/")):
        return b""
    if entity.type.startswith(b"text/") and found.beyond * _MOSTLY <= found.size:
        return b"quoted-printable"
    return b"base64"
