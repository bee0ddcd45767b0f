"""A message's octets by offset, through one window of bounded size."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 256 * 1024
"""Octets held at a time: few enough that even their lines, split, are no more than some MB."""

PIECE = 8 * 1024
"""Octets of a line that are looked at together; a longer line comes in several pieces."""


class Source:
    """A seekable file that does not change, read at any offset."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)
        self._start = 0
        self._window = b""

    def blocks(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the octets from ``start`` to ``end``, in pieces of any size."""
        while start < end:
            at = self._open(start)
            block = self._window[at : at + end - start]
            yield block
            start += len(block)

    def lines(self, start: int, end: int, most: int = PIECE) -> Iterator[bytes]:
        """Yield lines with their ends; one longer than ``most`` comes in pieces without an end.

        Where a line is cut depends on its own octets alone, and never lies between CR and LF.
        """
        while start < end:
            piece = self.line(start, end, most)
            yield piece
            start += len(piece)

    def line(self, start: int, end: int, most: int = PIECE) -> bytes:
        """Return the line at ``start``, or its first piece."""
        at = self._open(start)
        stop = min(end, start + most) - start
        found = self._window.find(b"\n", at, at + stop)
        if found < 0 and at + stop > len(self._window):
            at = self._load(start)
            found = self._window.find(b"\n", at, at + stop)
        if found >= 0:
            return self._window[at : found + 1]
        piece = self._window[at : at + stop]
        if start + stop < end and len(piece) > 1 and piece.endswith(b"\r"):
            return piece[:-1]
        return piece

    def find(self, needle: bytes, start: int, end: int) -> int:
        """Return where ``needle`` begins at or after ``start``, or -1."""
        while start < end:
            at = self._open(start)
            found = self._window.find(needle, at, at + end - start)
            if found >= 0:
                return self._start + found
            beyond = self._start + len(self._window)
            if beyond >= end:
                return -1
            start = max(start + 1, beyond - len(needle) + 1)
            self._load(start)
        return -1

    def octet(self, offset: int) -> bytes:
        """Return the octet at an offset that lies within."""
        at = self._open(offset)
        return self._window[at : at + 1]

    def _open(self, offset: int) -> int:
        """Return where in the window an offset lies, which is read if need be."""
        at = offset - self._start
        return at if 0 <= at < len(self._window) else self._load(offset)

    def _load(self, offset: int) -> int:
        self._file.seek(offset)
        parts: list[bytes] = []
        wanted = BLOCK
        while wanted and (some := self._file.read(wanted)):
            parts.append(some)
            wanted -= len(some)
        self._start, self._window = offset, b"".join(parts)
        if not self._window:
            raise OSError("the file became shorter while it was read")
        return 0
