"""Octets of messages: in memory up to a mebibyte, in a file of the server's above that."""

from __future__ import annotations

import hashlib
import mmap
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

Buffer = bytes | mmap.mmap
LARGEST_IN_MEMORY = 1024 * 1024


class Blob:
    """Octets that do not change once they are complete."""

    def __init__(self, memory: bytes, file: Path | None, size: int, sha256: str) -> None:
        self._memory = memory
        self._file = file
        self.size = size
        self.sha256 = sha256

    @property
    def octets(self) -> bytes:
        """All octets; read from the file each time for a large blob."""
        return self._memory if self._file is None else self._file.read_bytes()

    @contextmanager
    def opened(self) -> Iterator[Buffer]:
        """Show the octets without holding a large blob in memory."""
        if self._file is None:
            yield self._memory
            return
        with (
            self._file.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
        ):
            yield view

    def discard(self) -> None:
        """Remove the file of a large blob."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)


class BlobWriter:
    """Takes octets as they come; ``finish`` makes a blob of them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._memory = bytearray()
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, octets: bytes) -> None:
        """Add octets."""
        self._hash.update(octets)
        self.size += len(octets)
        if self._file is None and self.size > LARGEST_IN_MEMORY:
            handle, name = tempfile.mkstemp(dir=self._directory, prefix="message-")
            self._path, self._file = Path(name), os.fdopen(handle, "wb")
            self._file.write(self._memory)
            self._memory.clear()
        if self._file is None:
            self._memory += octets
        else:
            self._file.write(octets)

    def finish(self) -> Blob:
        """Return what was written; nothing can be added after that."""
        if self._file is not None:
            self._file.close()
        return Blob(bytes(self._memory), self._path, self.size, self._hash.hexdigest())

    def abandon(self) -> None:
        """Forget what was written."""
        self.finish().discard()


def blob_of(octets: bytes, directory: Path) -> Blob:
    """Return a blob of these octets."""
    writer = BlobWriter(directory)
    writer.write(octets)
    return writer.finish()
