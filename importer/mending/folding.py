"""Folds header lines that are too long, and cuts other text where nothing better can be done."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from importer.mending.output import Output

_SOFT = 998
"""RFC 5322 section 2.1.1: the longest line without its CRLF."""

_HARD = 9_000
"""Where a line without a blank or comma is cut."""

_BLANKS = re.compile(rb"[ \t]{100,}")
_WORD = re.compile(rb"=\?[^?\s]{1,60}\?[bBqQ]\?[^?\s]*+(?:\?=)?")


def line_end(line: bytes) -> bytes:
    """Return the line end that a line or piece of one has; empty when it has none."""
    if line.endswith(b"\r\n"):
        return b"\r\n"
    return b"\n" if line.endswith(b"\n") else b""


def write_folded(pieces: Iterable[bytes], output: Output, longest: int, soft: int = _SOFT) -> None:
    """Write one header line that comes in pieces, folded so that no line exceeds ``longest``.

    Folded at blanks before ``soft`` octets, else after a comma, else cut at 9,000 octets. A fold
    before a blank adds nothing (RFC 5322 section 2.2.3); the other two add a blank. Encoded words
    stay whole. Blanks in a row beyond a hundred become one, since a line of nothing but blanks
    would end the header for many readers.
    """
    end = b""
    wrote = b""
    for segment in _segments(pieces, min(soft, longest), min(_HARD, longest)):
        if segment in {b"\r\n", b"\n"}:
            end = segment
            continue
        output.write(wrote)
        output.write(segment)
        wrote = b"\r\n"
    output.write(end)


def _segments(pieces: Iterable[bytes], soft: int, hard: int) -> Iterator[bytes]:
    """Yield the lines that a line is folded into, then its own line end."""
    waiting = b""
    is_first = True
    end = b""
    for piece in pieces:
        end = line_end(piece)
        waiting = _BLANKS.sub(b" ", waiting + piece[: len(piece) - len(end)])
        while len(waiting) > hard:
            segment, waiting = _cut(waiting, soft, hard, is_first=is_first)
            is_first = False
            yield segment
    waiting = waiting.rstrip(b" \t")
    while len(waiting) > soft:
        segment, rest = _cut(waiting, soft, max(hard, len(waiting)), is_first=is_first)
        if not rest.strip():
            break
        is_first, waiting = False, rest
        yield segment
    if waiting:
        yield waiting
    if end:
        yield end


def _cut(line: bytes, soft: int, hard: int, *, is_first: bool) -> tuple[bytes, bytes]:
    """Return a line's first segment, and the rest, which begins with a blank."""
    colon = line.find(b":", 0, 300) + 1 if is_first else 0
    low = colon + len(line[colon:]) - len(line[colon:].lstrip(b" \t")) + 1
    for high in (soft, hard):
        at = max(line.rfind(b" ", low, high), line.rfind(b"\t", low, high))
        if at > 0:
            return line[:at], line[at:]
    if len(line) <= hard:
        return line, b""
    at = line.rfind(b",", low, hard - 1) + 1
    if at <= 0:
        at = _beside_word(line, low, hard - 1)
    return line[:at], b" " + line[at:]


def _beside_word(line: bytes, low: int, at: int) -> int:
    """Return where to cut near ``at`` without cutting an encoded word or a character of UTF-8."""
    start = line.rfind(b"=?", max(low, at - 2000), at)
    # the "=?" found last may be the "?=" of a word and what follows it: =?x?q?=?=
    for begin in (start, line.rfind(b"=?", max(low, at - 2000), max(start, 0))):
        word = _WORD.match(line, begin) if begin >= low else None
        if word is not None and word.end() > at:
            return begin
    for back in range(3):
        if line[at - back] & 0xC0 != 0x80:  # not the continuation of a character
            return at - back
    return at


def write_wrapped(pieces: Iterable[bytes], output: Output) -> None:
    """Write text whose pieces are no longer than a line may be, a line end between them."""
    is_open = False
    for piece in pieces:
        if is_open:
            # a blank, lest the cut makes a boundary
            output.write(b"\r\n " if piece.startswith(b"-") else b"\r\n")
        output.write(piece)
        is_open = not piece.endswith(b"\n")
