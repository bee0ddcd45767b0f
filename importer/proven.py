"""Opens a message's file for sending, once it is proven to be what was archived.

Nothing goes out whose octets do not hash to their row.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from store.maildir import READ

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from store.archive import Archive
    from store.index import ArchivedMessage

_WHOLE = 1024 * 1024
"""Up to this size a file is read once, and sent from memory."""
_BLOCK = 1024 * 1024


@contextmanager
def proven(archive: Archive, message: ArchivedMessage) -> Iterator[BinaryIO | None]:
    """Open a message's file; None where it is not what was archived, or cannot be read."""
    file: BinaryIO | None = None
    try:
        path = archive.find(message)
        if path is not None:
            file = path.open("rb", buffering=0)
            file = _proven(file, message)
    except OSError:
        file = None
    try:
        yield file
    finally:
        if file is not None:
            file.close()


def read_ahead(archive: Archive, messages: Iterable[ArchivedMessage]) -> None:
    """Have the system fetch the files of small messages from the disk, all at the same time.

    One after the other, a disk takes longer to give them than a network to take them.
    """
    for message in messages:
        if (message.size or 0) <= _WHOLE:
            with suppress(OSError):
                file = os.open(f"{archive.path}{os.sep}{message.path}", READ)
                try:
                    _fetch(file)
                finally:
                    os.close(file)


def _fetch(file: int) -> None:
    if sys.platform == "linux":
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)


def proven_octets(archive: Archive, message: ArchivedMessage) -> bytes | None:
    """Return the octets of a small message; None where they are not, or not found as, expected.

    The fast way, for very many. What it does not find, ``proven`` may.
    """
    size = message.size or 0
    try:
        # Octets of this hash are what was archived, wherever they come from.
        file = os.open(f"{archive.path}{os.sep}{message.path}", READ)
        try:
            octets = os.read(file, size + 1)
        finally:
            os.close(file)
    except OSError:
        return None
    is_same = len(octets) == size and hashlib.sha256(octets).hexdigest() == message.sha256
    return octets if is_same else None


def _proven(file: BinaryIO, message: ArchivedMessage) -> BinaryIO | None:
    """Return a message's file to be sent, or None where it is not what was archived."""
    is_same = False
    try:
        if (message.size or 0) <= _WHOLE:
            octets = file.read((message.size or 0) + 1)
            is_same = (
                len(octets) == message.size and hashlib.sha256(octets).hexdigest() == message.sha256
            )
            file.close()
            return io.BytesIO(octets) if is_same else None
        digest = hashlib.sha256()
        size = 0
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
        file.seek(0)
        is_same = size == message.size and digest.hexdigest() == message.sha256
        return file if is_same else None
    finally:
        if not is_same:
            file.close()
