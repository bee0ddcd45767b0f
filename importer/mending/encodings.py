"""Writes a part's body in another transfer encoding, in which it decodes to the same octets."""

from __future__ import annotations

import re
from binascii import b2a_base64
from typing import TYPE_CHECKING

from importer.mending.folding import line_end

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from importer.mending.output import Output

_LINE = 57
"""Octets that make a line of 76 in base64: RFC 2045 section 6.8."""

_ROOM = 73
"""Octets of a line in quoted-printable before a soft line end, which must not exceed 76."""

_UNSAFE = re.compile(rb"[^\t -<>-~]")
_CHUNK = re.compile(rb"(?s).{1,%d}(?<!=)(?<!=.)|.{1,3}" % _ROOM)
"""Never ends between a "=" and the two octets after it."""
_BASE64_BLANKS = b"\r\n \t\0"


def write_base64(blocks: Iterable[bytes], output: Output) -> None:
    """Write octets as base64, in lines with a CRLF between them and none at the end."""
    _join((b2a_base64(line, newline=False) for line in _every(_LINE, blocks)), output)


def rewrap_base64(blocks: Iterable[bytes], output: Output) -> None:
    """Write what is base64 already in lines of 76; blanks and NUL decode to nothing."""
    _join(_every(76, (block.translate(None, _BASE64_BLANKS) for block in blocks)), output)


def _every(length: int, blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        block = rest + block
        whole = len(block) - len(block) % length
        for start in range(0, whole, length):
            yield block[start : start + length]
        rest = block[whole:]
    if rest:
        yield rest


def _join(lines: Iterable[bytes], output: Output) -> None:
    separator = b""
    for line in lines:
        output.write(separator + line)
        separator = b"\r\n"


def write_quoted_printable(pieces: Iterable[bytes], output: Output) -> None:
    """Write text as quoted-printable; its line ends stay line ends.

    Args:
        pieces: lines, or pieces of lines, which get a soft line end after them.
        output: takes the text.
    """
    is_open = False
    for piece in pieces:
        if is_open:
            output.write(b"=\r\n")
        end = line_end(piece)
        text = _UNSAFE.sub(_hex, piece[: len(piece) - len(end)])
        if text[-1:] in {b" ", b"\t"}:
            text = text[:-1] + _hex_octet(text[-1])
        output.write(_softened(text) + end)
        is_open = not end


def _softened(text: bytes) -> bytes:
    """Return a line with soft line ends in it, none of which begins what looks like a boundary."""
    if len(text) <= _ROOM:
        return text
    return b"=\r\n".join(_CHUNK.findall(text)).replace(b"=\r\n--", b"=\r\n=2D-")


def _hex(match: re.Match[bytes]) -> bytes:
    return _hex_octet(match[0][0])


def _hex_octet(octet: int) -> bytes:
    return b"=%02X" % octet


def soften_quoted_printable(pieces: Iterable[bytes], output: Output, longest: int) -> None:
    """Write what is quoted-printable already, with soft line ends in lines that are too long.

    NUL is written as ``=00``.
    """
    waiting = b""
    is_cut = False
    for piece in pieces:
        end = line_end(piece)
        text = waiting + piece[: len(piece) - len(end)].replace(b"\0", b"=00")
        waiting = b""
        if end and not is_cut and len(text) + len(end) <= longest:
            output.write(text + end)
            continue
        cut = len(text)
        if end and text.endswith(b"="):
            cut -= 1  # a soft line end that is there already
        elif not end and b"=" in text[-2:]:
            cut = text.rindex(b"=")  # what belongs to it may be in the next piece
        if is_cut:
            output.write(b"=\r\n")
        output.write(_softened(text[:cut]))
        if end:
            output.write(text[cut:] + end)
        else:
            waiting = text[cut:]
        is_cut = not end
    if waiting:
        output.write(waiting)
