"""Where the parts of a message are: a reader of MIME that copies nothing and never raises.

It is made for hostile mail: what it cannot read as multipart stays a leaf, and beyond
``DEEPEST`` levels it looks no further.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.exchange_online.blob import Buffer

DEEPEST = 60
LARGEST_HEADER = 4 * 1024 * 1024

_HEADER_END = re.compile(rb"\n\r?\n")
_FIELD_NAME = re.compile(rb"[\x21-\x39\x3b-\x7e]+")
_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;]*)', re.DOTALL)
_MEDIA_TYPE = re.compile(rb"\s*([^\s/;]+)\s*/\s*([^\s/;]+)")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_BROKEN_QP = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?\n)")


@dataclass(frozen=True, slots=True)
class Field:
    """A header field; ``name`` is None for a line that is none."""

    name: bytes | None
    value: bytes
    """What follows the colon, folding and all, without the last line end."""

    @property
    def key(self) -> str:
        """The name in lower case; empty for a line that is no field."""
        return self.name.decode("ascii", "replace").lower() if self.name else ""

    @property
    def unfolded(self) -> bytes:
        """The value on one line, without blanks at its ends."""
        return re.sub(rb"\r?\n(?=[ \t])", b"", self.value).strip(b" \t\r\n")


@dataclass(slots=True)
class Part:
    """A message or a part of one, by its places in the buffer."""

    start: int
    body: int
    end: int
    fields: list[Field]
    kind: str = "text/plain"
    params: dict[str, bytes] = field(default_factory=dict)
    encoding: str = "7bit"
    children: list[Part] = field(default_factory=list)

    @property
    def main(self) -> str:
        """The type without its subtype."""
        return self.kind.partition("/")[0]

    @property
    def is_file(self) -> bool:
        """Whether it is marked as an attachment, or has the name of a file."""
        disposition = self.value("content-disposition")
        is_attachment = disposition.lower().startswith(b"attachment")
        return is_attachment or "name" in self.params or b"filename" in disposition.lower()

    def value(self, key: str) -> bytes:
        """Return the first field of this name on one line, or nothing."""
        return next((each.unfolded for each in self.fields if each.key == key), b"")

    def has(self, key: str) -> bool:
        """Whether there is a field of this name."""
        return any(each.key == key for each in self.fields)

    def walk(self) -> Iterator[Part]:
        """Yield this part and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def parse(buffer: Buffer) -> Part:
    """Return the message that the buffer holds."""
    return _part(buffer, 0, len(buffer), 0, "text/plain")


def header_fields(header: bytes) -> list[Field]:
    """Return the fields of a header block, in their order."""
    chunks: list[bytearray] = []
    for line in header.split(b"\n"):
        if line.strip(b"\r") == b"":
            continue
        if line[:1] in (b" ", b"\t") and chunks:
            chunks[-1] += b"\n" + line
        else:
            chunks.append(bytearray(line))
    fields = []
    for chunk in chunks:
        name, colon, value = bytes(chunk).partition(b":")
        name = name.rstrip(b" \t")
        if colon and _FIELD_NAME.fullmatch(name):
            fields.append(Field(name, value.rstrip(b"\r")))
        else:
            fields.append(Field(None, bytes(chunk).rstrip(b"\r")))
    return fields


def header_of(buffer: Buffer, part: Part) -> bytes:
    """Return the header block of a part, with the empty line if there is one."""
    return buffer[part.start : part.body]


def parameters(value: bytes) -> dict[str, bytes]:
    """Return the parameters of a Content-Type or Content-Disposition."""
    found: dict[str, bytes] = {}
    for name, raw in _PARAMETER.findall(value):
        text = raw
        if raw[:1] == b'"':
            text = re.sub(rb"\\(.)", rb"\1", raw[1:-1], flags=re.DOTALL)
        found.setdefault(name.decode("latin-1").lower(), text)
    return found


def decoded(octets: bytes, encoding: str) -> bytes | None:
    """Return what a transfer encoding stands for, or None where it is broken or unknown."""
    if encoding in ("7bit", "8bit", "binary"):
        return octets
    if encoding == "base64":
        packed = bytes(octets).translate(None, b" \t\r\n")
        if len(packed) % 4 or not _BASE64.fullmatch(packed):
            return None
        return base64.b64decode(packed)
    if encoding == "quoted-printable" and not _BROKEN_QP.search(octets + b"\n"):
        return binascii.a2b_qp(octets)
    return None


def _part(buffer: Buffer, start: int, end: int, depth: int, default: str) -> Part:
    body = _body(buffer, start, end)
    part = Part(
        start, body, end, header_fields(bytes(buffer[start : min(body, start + LARGEST_HEADER)]))
    )
    content_type = part.value("content-type")
    part.kind = default
    if match := _MEDIA_TYPE.match(content_type):
        part.kind = b"/".join(match.groups()).decode("latin-1").lower()
        part.params = parameters(content_type)
    part.encoding = part.value("content-transfer-encoding").decode("latin-1").lower() or "7bit"
    if depth >= DEEPEST:
        return part
    if part.main == "multipart" and part.params.get("boundary"):
        inner = "message/rfc822" if part.kind == "multipart/digest" else "text/plain"
        part.children = [
            _part(buffer, first, last, depth + 1, inner)
            for first, last in _between(buffer, body, end, part.params["boundary"])
        ]
    elif part.kind == "message/rfc822" and part.encoding in ("7bit", "8bit", "binary"):
        part.children = [_part(buffer, body, end, depth + 1, "text/plain")]
    return part


def _body(buffer: Buffer, start: int, end: int) -> int:
    if buffer[start : min(start + 2, end)] == b"\r\n":
        return start + 2
    if buffer[start : min(start + 1, end)] == b"\n":
        return start + 1
    match = _HEADER_END.search(buffer, start, end)
    return match.end() if match else end


def _between(buffer: Buffer, start: int, end: int, boundary: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the parts between boundary lines begin and end."""
    mark = b"--" + boundary
    begin: int | None = None
    at = buffer.find(mark, start, end)
    while at >= 0:
        line_end = buffer.find(b"\n", at, end)
        rest = bytes(buffer[at + len(mark) : min(end if line_end < 0 else line_end, at + 2000)])
        is_line = at == start or buffer[at - 1 : at] == b"\n"
        if is_line and rest.strip() in (b"", b"--"):
            if begin is not None:
                yield begin, max(begin, _before_line_end(buffer, begin, at))
            if rest.strip() == b"--" or line_end < 0:
                return
            begin = line_end + 1
        at = buffer.find(mark, at + 1, end)
    if begin is not None:
        yield begin, end


def _before_line_end(buffer: Buffer, begin: int, at: int) -> int:
    if buffer[max(begin, at - 2) : at] == b"\r\n":
        return at - 2
    return at - 1 if buffer[max(begin, at - 1) : at] == b"\n" else at
