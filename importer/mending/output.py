"""Where a mended copy goes, and the words for what was mended."""

from __future__ import annotations

import hashlib
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from importer.mending.source import Source

_TOLD = 3
"""Changes of one step that are named one by one; the others are counted."""

_GATHERED = 64 * 1024


class Output:
    """Takes octets for a file, counts and hashes them, and remembers what was changed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._gathered: list[bytes] = []
        self._waiting = 0
        self.size = 0
        self._changes: dict[str, int] = {}
        self._untold = 0

    def write(self, octets: bytes) -> None:
        """Take the next octets."""
        self._gathered.append(octets)
        self.size += len(octets)
        # an octets object costs more than its octets: many short ones are not kept long
        self._waiting += len(octets) + 64
        if self._waiting >= _GATHERED:
            self._flush()

    def copy(self, source: Source, start: int, end: int) -> None:
        """Take octets as they are."""
        for block in source.blocks(start, end):
            self.write(block)

    def changed(self, what: str) -> None:
        """Remember a change; equal words are counted."""
        if what in self._changes:
            self._changes[what] += 1
        elif len(self._changes) < _TOLD:
            self._changes[what] = 1
        else:
            self._untold += 1

    @property
    def changes(self) -> str:
        """What was changed, as one sentence without a full stop; empty when nothing was."""
        told = [
            f"{what} ({count:,} times)" if count > 1 else what
            for what, count in self._changes.items()
        ]
        if self._untold:
            told.append(f"{self._untold:,} more of the kind")
        return "; ".join(told)

    def finish(self) -> str:
        """Hand all to the file, and return the sha256 in hex of what was taken."""
        self._flush()
        return self._hash.hexdigest()

    def _flush(self) -> None:
        octets = b"".join(self._gathered)
        self._gathered.clear()
        self._waiting = 0
        self._hash.update(octets)
        self._file.write(octets)
