"""Files under names that a stranger chose: saved where we say, and nowhere else.

A name becomes one that Linux, macOS and Windows take for an ordinary file. Nothing that is there
is replaced, and no symbolic link is followed.
"""

from __future__ import annotations

import os
import re
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING

from waystation.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_NAME = 120
"""Octets; file systems take 255, and a number may have to fit in."""
_LONGEST_END = 16
_MOST_DOUBLES = 10_000
_CREATE = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)


def safe_name(name: str, otherwise: str) -> str:
    """Return a name for a file: that of the sender as far as it is harmless, or ``otherwise``."""
    name = unicodedata.normalize("NFC", name)
    # What Windows takes for a path or a stream, what drives a terminal, what is no character.
    name = "".join(
        "_" if char in _UNFIT or unicodedata.category(char)[0] == "C" else char for char in name
    )
    name = " ".join(name.split()).strip(" .")
    if not name.strip("_. "):
        name = otherwise
    stem, dot, end = name.rpartition(".")
    if not dot or not stem or len(end.encode()) > _LONGEST_END:
        stem, dot, end = name, "", ""
    stem = _shortened(stem, LONGEST_NAME - len((dot + end).encode())).rstrip(" .")
    if _DEVICE.fullmatch(stem.partition(".")[0].rstrip()):
        stem = f"_{stem}"
    # A leading dash is an option to many programs, a leading dot hides the file.
    return re.sub(r"^[-~.]", "_", stem + dot + end)


class NewFile:
    """A file that is being written. Where its name is taken, it gets a number in its name.

    Raises:
        StorageError: it cannot be written, here and in each method.
    """

    def __init__(self, directory: Path, name: str) -> None:
        try:
            self.path, number = _created(directory, name)
        except OSError as error:
            raise StorageError(directory / name, error) from None
        self.size = 0
        self._file = os.fdopen(number, "wb")

    def write(self, octets: bytes) -> None:
        """Append octets."""
        try:
            self._file.write(octets)
        except OSError as error:
            raise StorageError(self.path, error) from None
        self.size += len(octets)

    def close(self) -> None:
        """End the file."""
        try:
            self._file.close()
        except OSError as error:
            raise StorageError(self.path, error) from None

    def discard(self) -> None:
        """Remove what was written."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.path.unlink()


def _created(directory: Path, name: str) -> tuple[Path, int]:
    stem, dot, end = name.rpartition(".")
    if not stem:
        stem, dot, end = name, "", ""
    for count in range(1, _MOST_DOUBLES):
        path = directory / (name if count == 1 else f"{stem} ({count}){dot}{end}")
        with suppress(FileExistsError):
            return path, os.open(path, _CREATE, 0o600)
    raise FileExistsError(17, "too many files of that name", str(directory / name))


def _shortened(text: str, octets: int) -> str:
    return text.encode()[:octets].decode("utf-8", "ignore")


_UNFIT = frozenset('/\\:*?"<>|')

_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])", re.IGNORECASE)
