"""One folder of an archive on disk: a Maildir that any mail program reads.

A message is written to ``tmp``, made durable, then renamed into ``cur`` under its final name; it
is never changed afterwards but for the flag letters in its name. The grammar of names stands in
FORMAT.md, chapter 5.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waystation.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

SEPARATOR = "!" if sys.platform == "win32" else ":"
"""What parts a name from its flag letters; a file name on Windows cannot hold a colon."""

SUBDIRECTORIES = ("cur", "new", "tmp")
SIDECAR = ".folder.json"
"""What the folder is really called; no folder name maps to a leading dot."""
KEYWORDS = "dovecot-keywords"
PART = ".waystation-part"
"""How the names of our files in ``tmp`` end: what is left of them is half-written."""

_HEAD = 16 * 1024
_LETTERS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}
_FLAGS = {letter: flag for flag, letter in _LETTERS.items()}
_NAME = re.compile(
    r"(?P<base>\d+\.V(?P<uidvalidity>\d{1,20})\.waystation,U=(?P<uid>\d{1,20}),S=(?P<size>\d{1,20}))"
    r"(?:[:!;]2,(?P<letters>[A-Za-z]*))?"
)
_MOST_KEYWORDS = 26


@dataclass(frozen=True, slots=True)
class FileName:
    """What the name of a message file says."""

    base: str
    """The name without flag letters; it never changes."""
    uidvalidity: int
    uid: int
    size: int
    letters: str


def parse_name(name: str) -> FileName | None:
    """Return what a file name says, or None where it is none of ours."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return FileName(
        match["base"],
        int(match["uidvalidity"]),
        int(match["uid"]),
        int(match["size"]),
        match["letters"] or "",
    )


def base_of(name: str) -> str:
    """Return a file name without its flag letters."""
    return re.split(r"[:!;]2,", name, maxsplit=1)[0]


def flags_of(letters: str) -> list[str]:
    """Return the system flags that flag letters stand for, sorted."""
    return sorted(_FLAGS[letter] for letter in set(letters) if letter in _FLAGS)


class Draft:
    """A message on its way in: a file in ``tmp``, hashed while it is written."""

    __slots__ = ("_file", "_hash", "head", "path", "size")

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = 0
        self.head = b""
        """The first octets, for the headers people search by."""
        self._hash = hashlib.sha256()
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
        except OSError as error:
            raise StorageError(path, error) from None

    def write(self, piece: memoryview) -> None:
        """Take the next octets."""
        if len(self.head) < _HEAD:
            self.head += piece[: _HEAD - len(self.head)]
        self._hash.update(piece)
        self.size += len(piece)
        try:
            while piece:
                piece = piece[os.write(self._file, piece) :]
        except OSError as error:
            raise StorageError(self.path, error) from None

    def finish(self, received: datetime | None) -> str:
        """Close the file, set its time to INTERNALDATE, return the sha256 in hex."""
        try:
            os.close(self._file)
            self._file = -1
            if received is not None:
                seconds = received.timestamp()
                os.utime(self.path, (seconds, seconds))
        except OSError as error:
            raise StorageError(self.path, error) from None
        return self._hash.hexdigest()

    def discard(self) -> None:
        """Forget the message: it did not come to its end, or is stored already."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        with suppress(OSError):
            os.unlink(self.path)  # noqa: PTH108 - a Path for each message costs


class Maildir:
    """The directory of one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tmp = str(path / "tmp")
        self._count = 0
        self._run = f"{os.getpid():x}-{os.urandom(4).hex()}"
        self._keywords: list[str] | None = None

    def make(self) -> None:
        """Create what is missing of the directory."""
        for name in SUBDIRECTORIES:
            try:
                (self.path / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(self.path / name, error) from None

    def draft(self, _size: int = 0) -> Draft:
        """Begin a message."""
        self._count += 1
        return Draft(f"{self._tmp}{os.sep}{self._run}-{self._count}{PART}")

    def name_for(
        self,
        uidvalidity: int,
        uid: int,
        size: int,
        received: datetime | None,
        flags: Iterable[str],
        keywords: Iterable[str],
    ) -> str:
        """Return the file name, below the folder's directory, that says all this."""
        seconds = max(0, int(received.timestamp())) if received is not None else 0
        base = f"{seconds}.V{uidvalidity}.waystation,U={uid},S={size}"
        return f"cur/{base}{SEPARATOR}2,{self.letters(flags, keywords)}"

    def letters(self, flags: Iterable[str], keywords: Iterable[str]) -> str:
        """Return flags and keywords as letters; a new keyword gets the next free one."""
        letters = {_LETTERS[flag] for flag in flags if flag in _LETTERS}
        for keyword in keywords:
            number = self._keyword_number(keyword)
            if number is not None:
                letters.add(chr(ord("a") + number))
        return "".join(sorted(letters))

    def keywords_of(self, letters: str) -> list[str]:
        """Return the keywords that lower-case letters stand for in this folder, sorted."""
        known = self._known_keywords()
        numbers = {ord(letter) - ord("a") for letter in letters if letter.islower()}
        return sorted(known[number] for number in numbers if number < len(known) and known[number])

    def _keyword_number(self, keyword: str) -> int | None:
        known = self._known_keywords()
        if keyword in known:
            return known.index(keyword)
        # Dovecot's file is one keyword a line; what would break a line stays in the index alone.
        if len(known) >= _MOST_KEYWORDS or not keyword.isprintable() or " " in keyword:
            return None
        known.append(keyword)
        text = "".join(f"{number} {name}\n" for number, name in enumerate(known) if name)
        write_durably(self.path / KEYWORDS, text)
        return len(known) - 1

    def _known_keywords(self) -> list[str]:
        if self._keywords is None:
            self._keywords = []
            with suppress(FileNotFoundError):
                text = (self.path / KEYWORDS).read_text("utf-8", "replace")
                for line in text.splitlines():
                    number, _, name = line.partition(" ")
                    if number.isdecimal() and int(number) < _MOST_KEYWORDS:
                        self._keywords += [""] * (int(number) + 1 - len(self._keywords))
                        self._keywords[int(number)] = name
        return self._keywords


def write_durably(path: Path, text: str) -> None:
    """Write a small file such that it holds the old or the new text, whatever happens."""
    part = path.with_name(path.name + PART)
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(text.encode("utf-8", "surrogatepass"))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StorageError(path, error) from None


def sync_files(paths: list[str]) -> None:
    """Make the content of many files durable.

    On Linux one ``syncfs`` does for all of them what an ``fsync`` each would do several times
    slower; a few files are synced singly, since ``syncfs`` waits for other programs' data too.

    Raises:
        StorageError: the disk did not take them.
    """
    if not paths:
        return
    try:
        if len(paths) > _SINGLY and _syncfs is not None:
            file = os.open(paths[0], os.O_RDONLY)
            try:
                _syncfs(file)
            finally:
                os.close(file)
            return
        for path in paths:
            # Windows flushes only what was opened for writing.
            file = os.open(path, os.O_RDWR)
            try:
                os.fsync(file)
            finally:
                os.close(file)
    except OSError as error:
        raise StorageError(error.filename or paths[0], error) from None


def sync_directories(paths: list[str]) -> None:
    """Make the names in several directories durable."""
    if len(paths) > _SINGLY and _syncfs is not None:
        sync_files([*paths])
        return
    for path in paths:
        sync_directory(path)


def sync_directory(path: Path | str) -> None:
    """Make the names in a directory durable; on Windows the file system sees to that."""
    if sys.platform == "win32":
        return
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


_SINGLY = 8
_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

if sys.platform == "linux":
    import ctypes

    _libc = ctypes.CDLL(None, use_errno=True)

    def _syncfs_linux(file: int) -> None:
        if _libc.syncfs(file) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    _syncfs = _syncfs_linux if hasattr(_libc, "syncfs") else None
else:
    _syncfs = None
