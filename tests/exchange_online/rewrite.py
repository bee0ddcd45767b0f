"""How Exchange shows a message: made anew from what it stored, stable, but never the octets sent.

The same message always comes out the same. Decoded text and the octets of attachments stay as
they were; the order and folding of headers, boundaries, transfer encodings of text and the
headers of parts do not. What is too broken to be made anew comes as it is.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.exchange_online.mime import Field, Part, decoded, header_of, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.exchange_online.blob import Buffer

Segment = bytes | tuple[int, int]
"""Octets of our own, or from where to where they stand in the original."""

_FIRST = ("from", "sender", "reply-to", "to", "cc", "bcc", "subject", "thread-topic")
_THEN = ("thread-index", "date", "message-id", "references", "in-reply-to")
_LAST = ("content-type", "content-transfer-encoding", "content-disposition", "content-id")
_PART_FIELDS = frozenset(
    {
        "content-type",
        "content-transfer-encoding",
        "content-disposition",
        "content-description",
        "content-id",
        "content-location",
    }
)
_WIDE_CHARSETS = re.compile(rb"utf-?(16|32)|ucs|iso-10646", re.IGNORECASE)
_BOUNDARY = re.compile(rb'(boundary\s*=\s*)("(?:[^"\\]|\\.)*"|[^\s;]*)', re.IGNORECASE | re.DOTALL)
_PREFIX = re.compile(rb"\s*((re|aw|fw|fwd|wg|sv|tr)\s*:\s*)*", re.IGNORECASE)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_CHUNK = 64 * 1024


@dataclass(slots=True)
class Rewriting:
    """A message as it is shown, in segments."""

    segments: list[Segment] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Octets in all."""
        return sum(
            len(each) if isinstance(each, bytes) else each[1] - each[0] for each in self.segments
        )

    def pieces(self, buffer: Buffer) -> Iterator[bytes]:
        """Yield the octets, at most 64 KiB of the original at a time."""
        for each in self.segments:
            if isinstance(each, bytes):
                yield each
            else:
                for at in range(each[0], each[1], _CHUNK):
                    yield bytes(buffer[at : min(at + _CHUNK, each[1])])


def rewriting(buffer: Buffer, key: str, level: int, *, nested: bool = True) -> Rewriting:
    """Return how a message is shown; ``key`` is fixed for the message, such as its hash."""
    if level == 0:
        return Rewriting([(0, len(buffer))])
    message = parse(buffer)
    if any(each.name is None for each in message.fields):
        # no header to rely on: the content stays, only line ends of the header are mended
        header = _LINE_END.sub(b"\r\n", bytes(header_of(buffer, message)))
        return Rewriting([header, (message.body, message.end)])
    return Rewriting(list(_Writer(buffer, key, level, nested).message(message, is_top=True)))


class _Writer:
    def __init__(self, buffer: Buffer, key: str, level: int, nested: bool) -> None:
        self._buffer = buffer
        self._key = key
        self._level = level
        self._nested = nested
        self._boundaries = 0

    def message(self, part: Part, *, is_top: bool) -> Iterator[Segment]:
        new_type, encoding, body = self._body(part)
        fields = [
            each for each in part.fields if each.name and not each.name.lower().startswith(b"from ")
        ]
        yield from self._top_header(fields, new_type, encoding, is_top=is_top)
        yield b"\r\n"
        yield from body

    def _top_header(
        self, fields: list[Field], new_type: bytes | None, encoding: str | None, *, is_top: bool
    ) -> Iterator[bytes]:
        named: dict[str, list[Field]] = {}
        for each in fields:
            named.setdefault(each.key, []).append(each)
        for key in ("x-ms-exchange-organization-scl", "mime-version"):
            named.pop(key, None)
        subject = named["subject"][0].unfolded if "subject" in named else b""
        if subject and is_top:
            topic = _PREFIX.sub(b"", subject, count=1)
            named["thread-topic"] = [Field(b"Thread-Topic", topic)]
            index = base64.b64encode(bytes.fromhex(self._key)[:22].ljust(22, b"\0"))
            named["thread-index"] = [Field(b"Thread-Index", index)]
        if "message-id" not in named and self._level > 1 and is_top:
            invented = (
                b"<%s@AM0PR01MB0001.eurprd01.prod.exchangelabs.com>" % self._key[:32].encode()
            )
            named["message-id"] = [Field(b"Message-ID", invented)]
        if new_type is not None:
            named["content-type"] = [Field(b"Content-Type", new_type)]
        if encoding is not None:
            named["content-transfer-encoding"] = [
                Field(b"Content-Transfer-Encoding", encoding.encode())
            ]
        fixed = {"received", *_FIRST, *_THEN, *_LAST}
        order = [
            "received",
            *_FIRST,
            *_THEN,
            *(key for key in named if key not in fixed),
            *_LAST,
        ]
        for key in order:
            for each in named.get(key, ()):
                yield _line(each)
        if is_top:
            yield b"X-MS-Exchange-Organization-SCL: -1\r\n"
            yield b"X-MS-TNEF-Correlator:\r\n"
        yield b"MIME-Version: 1.0\r\n"

    def _body(self, part: Part) -> tuple[bytes | None, str | None, list[Segment]]:
        """Return a new Content-Type and encoding, where they change, and the new body."""
        as_it_is: list[Segment] = [(part.body, part.end)]
        if _is_smime(part):
            return None, None, as_it_is
        if part.main == "multipart" and part.children:
            return self._multipart(part)
        if part.kind == "message/rfc822" and part.children and self._nested:
            inner = part.children[0]
            if any(each.name is None for each in inner.fields):
                return None, None, as_it_is
            return None, None, list(self.message(inner, is_top=False))
        if part.main == "text" and not part.is_file:
            return self._text(part) or (None, None, as_it_is)
        return None, None, as_it_is

    def _multipart(self, part: Part) -> tuple[bytes, None, list[Segment]]:
        self._boundaries += 1
        boundary = b"_%03d_%s_" % (self._boundaries - 1, self._key[:40].encode())
        children = part.children
        content_type = part.value("content-type")
        if self._level > 1:
            if part.kind == "multipart/alternative" and len(children) > 1:
                children = [each for each in children if each.kind != "text/plain"] or children
            if part.kind == "multipart/encrypted":
                content_type = re.sub(
                    rb"^\s*multipart\s*/\s*encrypted",
                    b"multipart/mixed",
                    content_type,
                    flags=re.IGNORECASE,
                )
        content_type = _BOUNDARY.sub(rb'\g<1>"' + boundary + rb'"', content_type, count=1)
        out: list[Segment] = []
        for child in children:
            out.append(b"--" + boundary + b"\r\n")
            out += self._child(child)
            out.append(b"\r\n")
        out.append(b"--" + boundary + b"--\r\n")
        return content_type, None, out

    def _child(self, part: Part) -> Iterator[Segment]:
        if any(each.name is None for each in part.fields):
            yield (part.start, part.end)
            return
        new_type, encoding, body = self._body(part)
        for each in part.fields:
            if each.key not in _PART_FIELDS:
                continue
            if each.key == "content-type" and new_type is not None:
                yield _line(Field(each.name, new_type))
            elif each.key != "content-transfer-encoding" or encoding is None:
                yield _line(each)
        if encoding is not None:
            yield b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n"
        yield b"\r\n"
        yield from body

    def _text(self, part: Part) -> tuple[None, str, list[Segment]] | None:
        if _WIDE_CHARSETS.match(part.params.get("charset", b"")):
            return None  # its line ends are not those of octets
        content = decoded(bytes(self._buffer[part.body : part.end]), part.encoding)
        if content is None:
            return None
        content = _LINE_END.sub(b"\r\n", content)
        if part.encoding == "quoted-printable":
            return None, "base64", [_wrapped(content)]
        return None, "quoted-printable", [_quoted_printable(content)]


def _is_smime(part: Part) -> bool:
    protocol = part.params.get("protocol", b"").lower()
    is_signed = part.kind == "multipart/signed" and b"pkcs7" in protocol
    return is_signed or part.kind in ("application/pkcs7-mime", "application/x-pkcs7-mime")


def _line(each: Field) -> bytes:
    """Return a field folded anew: at blanks, before column 78 where that can be."""
    name = each.name or b""
    value = _LINE_END.sub(b" ", re.sub(rb"\r?\n(?=[ \t])", b"", each.value)).strip(b" \t")
    lines, line = [], name + b":"
    for word in re.findall(rb"[ \t]*[^ \t]+", b" " + value if value else b""):
        if len(line) + len(word) > 78 and line != name + b":":
            lines.append(line)
            line = word
        else:
            line += word
    return b"\r\n".join([*lines, line]) + b"\r\n"


def _wrapped(content: bytes) -> bytes:
    packed = base64.b64encode(content)
    return b"".join(packed[at : at + 76] + b"\r\n" for at in range(0, len(packed), 76))


def _quoted_printable(content: bytes) -> bytes:
    # b2a_qp breaks lines by LF where the content has none, so line ends are made alike after it
    return re.sub(rb"\r?\n", b"\r\n", binascii.b2a_qp(content, istext=True))
