"""MIME that a strict converter stumbles over, rewritten so that its content stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from importer.mending.encodings import write_base64
from importer.mending.headers import empty_line, header_lines, lines_without
from importer.mending.parts import KNOWN, Kind, regions
from importer.mending.words import undecodable
from waystation.errors import plain

if TYPE_CHECKING:
    from importer.mending.output import Output
    from importer.mending.parts import Region
    from importer.mending.source import Source

_NOTIFICATION = b"message/disposition-notification"
_TYPE, _ENCODING = b"content-type", b"content-transfer-encoding"
_BASE64 = b"Content-Transfer-Encoding: base64\r\n"


@dataclass(slots=True)
class _Found:
    has_bad_message: bool = False
    has_notification: bool = False
    has_unclosed: bool = False
    has_unknown_encoding: bool = False

    @property
    def nothing(self) -> bool:
        return not (
            self.has_bad_message
            or self.has_notification
            or self.has_unclosed
            or self.has_unknown_encoding
        )


def mend_structure(source: Source, output: Output) -> None:
    """Write a message whose MIME is plain.

    - A message in a message becomes a file ``*.eml`` if an encoded word in its header cannot be
      decoded; if nothing at all is found to be wrong, every message in the message does.
    - A receipt (RFC 8098) becomes an ordinary multipart with a text.
    - A multipart without its last boundary gets it.
    - A part in an unknown encoding becomes base64 of its octets as they are.
    """
    found = _look(source)
    _Rewriter(source, output, found).run()


def _look(source: Source) -> _Found:
    found = _Found()
    before: Region | None = None
    for region in regions(source):
        if region.kind is Kind.UNCLOSED:
            found.has_unclosed = True
        elif region.kind is Kind.HEADER:
            if _is_held(before) and _is_bad(source, region):
                found.has_bad_message = True
            if region.entity.type == _NOTIFICATION or _is_receipt(region):
                found.has_notification = True
            if _is_unknown(region):
                found.has_unknown_encoding = True
        before = region
    return found


def _is_held(before: Region | None) -> bool:
    """Whether the header after a region is that of a message in it."""
    return (
        before is not None
        and before.kind is Kind.HEADER
        and before.has_end
        and before.entity.holds_message
    )


def _is_bad(source: Source, header: Region) -> bool:
    return any(any(undecodable(line)) for _, _, line in header_lines(source, header))


def _is_receipt(header: Region) -> bool:
    entity = header.entity
    return (
        entity.type == b"multipart/report"
        and b"disposition-notification" in entity.content_type.lower()
    )


def _is_unknown(header: Region) -> bool:
    entity = header.entity
    return entity.encoding not in KNOWN and not entity.is_multipart and header.has_end


class _Rewriter:
    def __init__(self, source: Source, output: Output, found: _Found) -> None:
        self._source = source
        self._output = output
        self._found = found
        self._wrapped = 0
        self._encodes = False

    def run(self) -> None:
        """Write the message."""
        source = self._source
        before: Region | None = None
        wrap: Region | None = None  # the header of the message that becomes a file
        for region in regions(source):
            if wrap is not None:
                if region.kind not in _ENDS or region.depth >= wrap.depth:
                    continue
                self._encode(wrap.start, region.start)
                wrap = None
            if before is not None:
                # held back until the header of the message in it is seen
                if self._found.nothing or _is_bad(source, region):
                    self._file_header(before)
                    before, wrap = None, region
                    continue
                self._header(before)
                before = None
            if region.kind is not Kind.HEADER:
                self._other(region)
            elif _is_held(region):
                before = region
            else:
                self._header(region)
        if wrap is not None:
            self._encode(wrap.start, source.size)

    def _other(self, region: Region) -> None:
        source, output = self._source, self._output
        if region.kind is Kind.UNCLOSED:
            self._close(region)
        elif region.kind is Kind.BODY and self._encodes:
            self._encode(region.start, region.end)
        else:
            output.copy(source, region.start, region.end)

    def _encode(self, start: int, end: int) -> None:
        write_base64(self._source.blocks(start, end), self._output)
        if end == self._source.size:
            self._output.write(b"\r\n")

    def _close(self, region: Region) -> None:
        """Write the boundary that is missing; the line end before it is its own."""
        line = b"--" + region.boundary + b"--"
        if region.start == self._source.size:
            is_open = self._source.octet(region.start - 1) != b"\n"
            line = (b"\r\n" if is_open else b"") + line + b"\r\n"
        elif self._source.octet(region.start) == b"-":
            line += b"\r\n"
        else:
            line = b"\r\n" + line
        self._output.write(line)
        self._output.changed("closed a multipart whose last boundary was missing")

    def _header(self, header: Region) -> None:
        entity, output = header.entity, self._output
        self._encodes = False
        if entity.is_multipart and (
            _is_receipt(header)
            or (self._found.has_notification and entity.type == b"multipart/report")
        ):
            boundary = entity.boundary.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            self._replaced(
                header, (_TYPE,), b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n'
            )
            output.changed("made a receipt an ordinary multipart")
        elif entity.type == _NOTIFICATION and header.has_end:
            fields = b"Content-Type: text/plain; charset=utf-8\r\n"
            if _is_unknown(header):
                self._encodes = True
                self._replaced(header, (_TYPE, _ENCODING), fields + _BASE64)
            else:
                self._replaced(header, (_TYPE,), fields)
            output.changed("made the notification of a receipt a text")
        elif _is_unknown(header):
            self._encodes = True
            self._replaced(header, (_ENCODING,), _BASE64)
            output.changed(f"encoded as base64 what was in the encoding {plain(entity.encoding)}")
        else:
            output.copy(self._source, header.start, header.end)

    def _file_header(self, header: Region) -> None:
        self._wrapped += 1
        name = b"message-%d.eml" % self._wrapped
        self._replaced(
            header,
            (_TYPE, _ENCODING, b"content-disposition"),
            b'Content-Type: application/octet-stream; name="' + name + b'"\r\n'
            b'Content-Disposition: attachment; filename="' + name + b'"\r\n' + _BASE64,
        )
        self._output.changed(f"made a message in the message the file {plain(name)}")

    def _replaced(self, header: Region, names: tuple[bytes, ...], fields: bytes) -> None:
        for start, end, _ in lines_without(self._source, header, names):
            self._output.copy(self._source, start, end)
        if header.entity.is_message and not header.entity.has_mime_version:
            self._output.write(b"MIME-Version: 1.0\r\n")
        self._output.write(fields)
        self._output.write(empty_line(self._source, header))


_ENDS = {Kind.BOUNDARY, Kind.UNCLOSED}
