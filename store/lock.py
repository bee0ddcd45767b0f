"""One writer at a time: a lock of the operating system, which dies with its process."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from waystation.errors import ArchiveLockedError, StorageError, plain

if TYPE_CHECKING:
    from pathlib import Path

# A link in the lock's place would have another file emptied.
_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_FAR = 1 << 30  # Windows locks octets, also beyond the end: not those that tell who holds it


class Lock:
    """Held from ``take`` until ``release`` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def take(self, purpose: str) -> None:
        """Take the lock, and note in the file who holds it and what for.

        Raises:
            ArchiveLockedError: another process holds it.
            StorageError: the file cannot be written.
        """
        try:
            file = os.open(self._path, _OPEN, 0o600)
        except OSError as error:
            raise StorageError(self._path, error) from None
        try:
            is_ours = _try_lock(file)
            holder = "" if is_ours else os.read(file, 200).decode("utf-8", "replace")
        except OSError as error:
            os.close(file)
            raise StorageError(self._path, error) from None
        if not is_ours:
            os.close(file)
            raise ArchiveLockedError(self._path.parent, plain(holder) or "unknown")
        # It only tells who comes second; a full disk must not keep the lock from being held.
        with suppress(OSError):
            os.ftruncate(file, 0)
            os.write(file, f"{purpose}, process {os.getpid()}".encode())
        self._file = file

    def release(self) -> None:
        """Let the next one work."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int) -> bool:
        try:
            os.lseek(file, _FAR, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            os.lseek(file, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _try_lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
