"""Line ends: every one becomes CRLF, and the last line gets one.

LF alone and CR alone end a line. CR CR LF is one line end, since that is what a text-mode copy
makes of CRLF; taken apart it would put an empty line after each line, and so end the header after
the first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.mending.output import Output

_BLOCK = 64 * 1024
"""Octets split into lines at a time: as many lines of no length take some MB."""

_LINE_END = re.compile(rb"\r?\r\n|\r|\n")


class LineEnds:
    """Makes line ends CRLF block by block, and remembers what the lines were like."""

    def __init__(self) -> None:
        self.size = 0
        """Octets taken so far."""
        self.is_crlf = True
        self.has_lone_cr = False
        """CR alone, or CR CR LF: what few readers of MIME take for a line end."""
        self.longest = 0
        """Octets of the longest line without its end."""
        self._length = 0  # of the line that is open

    def blocks(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield a file's octets with CRLF for each line end; no CR is parted from its LF."""
        held = b""
        while block := file.read(_BLOCK):
            self.size += len(block)
            if held:
                block = held + block
                held = b""
            if block.endswith(b"\r"):
                held = b"\r\r" if block.endswith(b"\r\r") else b"\r"
                block = block[: -len(held)]
                if not block:
                    continue
            yield self._mended(block)
        if held:
            self.is_crlf, self.has_lone_cr = False, True
            yield b"\r\n" * len(held)
        elif self._length:
            self.is_crlf = False
            yield b"\r\n"

    def _mended(self, block: bytes) -> bytes:
        lengths = list(map(len, block.splitlines()))
        is_open = not block.endswith((b"\r", b"\n"))
        ends = len(lengths) - is_open
        # an end has one octet or two: all have two if, and only if, all are CRLF
        in_ends = len(block) - sum(lengths)
        if in_ends != 2 * ends:
            self.is_crlf = False
            if in_ends == ends and b"\r" not in block:
                block = block.replace(b"\n", b"\r\n")
            else:
                has_lone_cr = block.count(b"\r") != block.count(b"\r\n")
                block = _LINE_END.sub(b"\r\n", block)
                self.has_lone_cr = self.has_lone_cr or has_lone_cr
                lengths = list(map(len, block.splitlines()))
        lengths[0] += self._length
        self._length = lengths[-1] if is_open else 0
        self.longest = max(self.longest, max(lengths))
        return block


def mend_line_ends(file: BinaryIO, output: Output) -> None:
    """Write a message with CRLF for each line end."""
    file.seek(0)
    ends = LineEnds()
    for block in ends.blocks(file):
        output.write(block)
    if not ends.is_crlf:
        output.changed("made every line end CRLF")
