"""Header lines: receipts disarmed, broken lines kept under a name, octets beyond ASCII encoded."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from importer.mending.folding import line_end, write_folded
from importer.mending.source import PIECE
from importer.mending.words import encode
from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from importer.mending.output import Output
    from importer.mending.parts import Region
    from importer.mending.source import Source

RECEIPTS = (b"disposition-notification-to", b"return-receipt-to", b"x-confirm-reading-to")
"""The fields that ask for receipts: RFC 8098 section 2.1, and two that are older than it."""

_DISARMED = b"X-Disarmed-"
_BROKEN = b"X-Waystation-Broken-Header: "

NAME = rb"([!-9;-~]{1,200}+)[ \t]{0,50}+:"
"""How a field begins; what has no colon for so long is no field."""

_NAME = re.compile(NAME)
_ADDRESSES = re.compile(
    rb"(?:resent-)?(?:from|to|cc|bcc|sender|reply-to)[ \t]*:|disposition-notification-to[ \t]*:",
    re.IGNORECASE,
)


def field_name(line: bytes) -> bytes:
    """Return the name of the field that begins in a line, as written; empty when none does."""
    match = _NAME.match(line)
    return match[1] if match else b""


def header_lines(source: Source, header: Region) -> Iterator[tuple[int, int, bytes]]:
    """Yield a header's lines: where each begins and ends, and its first piece.

    The empty line is not among them.
    """
    at, end = header.start, header.end - len(empty_line(source, header))
    while at < end:
        first = piece = source.line(at, end)
        start, at = at, at + len(piece)
        while not piece.endswith(b"\n") and at < end:
            piece = source.line(at, end)
            at += len(piece)
        yield start, at, first


def lines_without(
    source: Source, header: Region, names: Container[bytes]
) -> Iterator[tuple[int, int, bytes]]:
    """Yield a header's lines but for those of fields with these names, in lower case."""
    is_dropped = False
    for start, end, line in header_lines(source, header):
        if line[:1] not in b" \t":
            is_dropped = field_name(line.replace(b"\0", b"")).lower() in names
        if not is_dropped:
            yield start, end, line


def empty_line(source: Source, header: Region) -> bytes:
    """Return the line that ends a header; nothing where there is none."""
    if not header.has_end:
        return b""
    return b"\r\n" if source.octet(max(header.start, header.end - 2)) == b"\r" else b"\n"


def write_line(
    source: Source, start: int, end: int, output: Output, longest: int, before: bytes = b""
) -> bool:
    """Write one line with something before it, folded if it is too long; tell whether it was."""
    last = source.line(max(start, end - 2), end)
    if len(before) + end - start - len(line_end(last)) <= longest:
        output.write(before)
        output.copy(source, start, end)
        return False
    write_folded(chain([before], source.lines(start, end)), output, longest)
    return True


def disarm_receipts(source: Source, header: Region, output: Output, longest: int) -> None:
    """Write a message, its fields that ask for receipts renamed in the header at its top."""
    for start, end, line in header_lines(source, header):
        name = field_name(line.replace(b"\0", b""))  # what it is when NUL is gone
        if name.lower() in RECEIPTS:
            write_line(source, start, end, output, longest, _DISARMED)
            output.changed(f"renamed {plain(name)} to {plain(_DISARMED + name)}")
        else:
            output.copy(source, start, end)
    output.write(empty_line(source, header))
    output.copy(source, header.end, source.size)


def mend_header(source: Source, header: Region, output: Output, longest: int) -> None:
    """Write a message with a legal header at its top.

    A line that is no field becomes the value of a field of ours, so that nothing is lost. What is
    not ASCII becomes encoded words.
    """
    is_first, is_addresses = True, False
    for start, end, line in header_lines(source, header):
        before = b""
        if is_first or line[:1] not in b" \t":
            is_addresses = bool(_ADDRESSES.match(line))
            if not field_name(line):
                before = _BROKEN
                output.changed("kept a header line that is no field as X-Waystation-Broken-Header")
        is_first = False
        if all(block.isascii() for block in source.blocks(start, end)):
            write_line(source, start, end, output, longest, before)
            continue
        pieces = _encoded(before, source.lines(start, end, PIECE), is_addresses=is_addresses)
        write_folded(pieces, output, longest, _LONGEST_ENCODED)
        name = plain(field_name(line)) if not before else ""
        output.changed(f"encoded what is not ASCII in the header{' ' + name if name else ''}")
    output.write(empty_line(source, header))
    output.copy(source, header.end, source.size)


_LONGEST_ENCODED = 76
"""RFC 2047 section 2: the longest line with an encoded word in it."""

_WHITE = re.compile(rb"([ \t]+)")
_ADDRESS_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[<>(),;:"]|[^<>(),;:"]+')


def _encoded(before: bytes, pieces: Iterator[bytes], *, is_addresses: bool) -> Iterator[bytes]:
    """Yield the pieces of a line with encoded words in place of octets beyond ASCII."""
    yield before
    for piece in pieces:
        end = line_end(piece)
        text = piece[: len(piece) - len(end)]
        if text.isascii():
            yield piece
        elif is_addresses:
            yield encoded_addresses(text) + end
        else:
            yield encoded_text(text) + end


def encoded_addresses(text: bytes) -> bytes:
    """Return a list of addresses with encoded words in place of octets beyond ASCII."""
    return b"".join(map(_address_token, _ADDRESS_TOKEN.findall(text)))


def _address_token(token: bytes) -> bytes:
    if token.isascii():
        return token
    if token.startswith(b'"') and token.endswith(b'"') and len(token) > 1:
        # no encoded word may stand in a quoted string: RFC 2047 section 5
        return b" ".join(encode(re.sub(rb"\\(.)", rb"\1", token[1:-1])))
    return encoded_text(token)


def encoded_text(text: bytes) -> bytes:
    """Return text with encoded words in place of words in a row that are not ASCII."""
    tokens = _WHITE.split(text)
    written: list[bytes] = []
    run: list[bytes] = []
    for token, blanks in zip(tokens[::2], [*tokens[1::2], b""], strict=True):
        if not token.isascii():
            run += [token, blanks]
            continue
        if run:
            written += [b" ".join(encode(b"".join(run[:-1]))), run[-1]]
            run.clear()
        written += [token, blanks]
    if run:
        written += [b" ".join(encode(b"".join(run[:-1]))), run[-1]]
    return b"".join(written)
