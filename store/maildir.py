"""One folder of an archive on disk: a Maildir that any mail program reads.

A message is written to ``tmp``, made durable, then renamed into ``cur`` under its final name; it
is never changed afterwards but for the flag letters in its name. The grammar of names stands in
FORMAT.md, chapter 5.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.writing import LARGEST
from waystation.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from store.writing import Writer

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
    r"(?P<base>(?P<received>\d{1,18})\.V(?P<uidvalidity>\d{1,18})"
    r"\.waystation,U=(?P<uid>\d{1,18}),S=(?P<size>\d{1,18}))"
    r"(?:[:!;]2,(?P<letters>[A-Za-z]*))?",
    re.ASCII,  # 18 digits: what SQLite can hold
)
_FLAGS_MARK = re.compile("[:!;]2,")
_MOST_KEYWORDS = 26
_LONGEST_SIDECAR = 64 * 1024


@dataclass(frozen=True, slots=True)
class FileName:
    """What the name of a message file says."""

    base: str
    """The name without flag letters; it never changes."""
    received: int
    """INTERNALDATE in seconds; 0 where there is none, or it lies before 1970."""
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
        int(match["received"]),
        int(match["uidvalidity"]),
        int(match["uid"]),
        int(match["size"]),
        match["letters"] or "",
    )


def base_of(name: str) -> str:
    """Return a file name without its flag letters."""
    return _FLAGS_MARK.split(name, maxsplit=1)[0]


def base_name(uidvalidity: int, uid: int, size: int, received: int | None) -> str:
    """Return the file name, without flag letters, of a message."""
    return f"{max(0, received or 0)}.V{uidvalidity}.waystation,U={uid},S={size}"


def flags_of(letters: str) -> list[str]:
    """Return the system flags that flag letters stand for, sorted."""
    return sorted(_FLAGS[letter] for letter in set(letters) if letter in _FLAGS)


class Draft:
    """A message on its way in: a file in ``tmp``, hashed while it is written.

    A small one is held until it is finished, and then written by ``writer``, where there is one.
    """

    __slots__ = (
        "_digest", "_file", "_hash", "_held", "_is_finished", "_seconds", "_writer", "head",
        "is_stored", "path", "size",
    )  # fmt: skip

    def __init__(self, path: str, writer: Writer | None = None) -> None:
        self.path = path
        self.size = 0
        self.head = b""
        """The first octets, for the headers people search by; there when it is finished."""
        self.is_stored = False
        """Whether the file is there, and whole."""
        self._held = bytearray()
        self._seconds: int | None = None
        self._writer = writer
        self._file = -1
        self._digest = b""
        self._is_finished = False

    def sha256(self) -> str:
        """The hash of the finished message, in hex; waits until it is written.

        Raises:
            StorageError: it was not, or another one before it.
        """
        if not self._digest and self._writer is not None:
            self._writer.flush()
        return self._digest.hex()

    def write(self, piece: memoryview) -> None:
        """Take the next octets."""
        self.size += len(piece)
        if self._file < 0:
            self._held += piece
            if self.size <= LARGEST:
                return
            self._begin()
            piece, self._held = memoryview(self._held), bytearray()
        self._hash.update(piece)
        try:
            _write(self._file, piece)
        except OSError as error:
            raise StorageError(self.path, error) from None

    def finish(self, received: datetime | None) -> None:
        """Have the file's time set to INTERNALDATE and the file closed.

        A small one may still be on its way to the disk then; see ``is_stored``.
        """
        self._is_finished = True
        self._seconds = None if received is None else int(received.timestamp())
        if self._file >= 0:
            self._end()
            return
        self.head = bytes(self._held[:_HEAD])
        if self._writer is None:
            self._store()
        else:
            self._writer.do(self._store, self.size)

    def _store(self) -> None:
        """Write and hash what was held."""
        try:
            self._file = os.open(self.path, _NEW, 0o600)
            _write(self._file, self._held)
        except OSError as error:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
            self._remove()
            raise StorageError(self.path, error) from None
        self._hash = hashlib.sha256(self._held)
        self._held = bytearray()
        self._end()

    def discard(self) -> None:
        """Forget the message: it did not come to its end, or is stored already."""
        if self.is_stored:
            self._remove()
        elif self._is_finished and self._writer is not None:
            self._writer.do(self._remove)  # which may be at work on it now
        else:
            self._held = bytearray()
            if self._file >= 0:
                with suppress(OSError):
                    os.close(self._file)
                self._file = -1
                self._remove()

    def _begin(self) -> None:
        """Go on in a file, since the message is not small."""
        self.head = bytes(self._held[:_HEAD])
        self._hash = hashlib.sha256()
        try:
            self._file = os.open(self.path, _NEW, 0o600)
        except OSError as error:
            raise StorageError(self.path, error) from None

    def _end(self) -> None:
        """Close the file, with its time set."""
        file, self._file = self._file, -1
        self._digest = self._hash.digest()
        del self._hash  # many finished drafts wait
        try:
            try:
                if self._seconds is not None and _TAKES_OPEN_FILES:
                    set_seconds(file, self._seconds)
            finally:
                os.close(file)
            if self._seconds is not None and not _TAKES_OPEN_FILES:
                set_seconds(self.path, self._seconds)
        except OSError as error:
            raise StorageError(self.path, error) from None
        self.is_stored = True

    def _remove(self) -> None:
        self.is_stored = False
        with suppress(OSError):
            os.unlink(self.path)  # noqa: PTH108 - a Path for each message costs


def _write(file: int, octets: bytearray | memoryview) -> None:
    written = os.write(file, octets)
    if written < len(octets):
        rest = memoryview(octets)[written:]
        while rest:
            rest = rest[os.write(file, rest) :]


class Maildir:
    """The directory of one folder."""

    def __init__(self, path: Path, writer: Writer | None = None) -> None:
        self.path = path
        self._writer = writer
        self.directory = str(path)
        """The path as text: to make one of a ``Path`` for each message costs."""
        self.cur = str(path / "cur")
        self._tmp = str(path / "tmp")
        self._count = 0
        self._run = f"{os.getpid():x}-{os.urandom(4).hex()}"
        self._keywords: list[str] | None = None
        self._usual: tuple[tuple[str, ...], tuple[str, ...], str] = ((), (), "")

    def make(self) -> None:
        """Create what is missing of the directory, durably.

        Raises:
            StorageError: it cannot be made, or a symbolic link stands in its place.
        """
        for name in SUBDIRECTORIES:
            make_directory(self.path / name)

    def draft(self, _size: int = 0) -> Draft:
        """Begin a message."""
        self._count += 1
        return Draft(f"{self._tmp}{os.sep}{self._run}-{self._count}{PART}", self._writer)

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
        seconds = int(received.timestamp()) if received is not None else None
        base = base_name(uidvalidity, uid, size, seconds)
        return f"cur/{base}{SEPARATOR}2,{self.letters(flags, keywords)}"

    def letters(self, flags: Iterable[str], keywords: Iterable[str]) -> str:
        """Return flags and keywords as letters; a new keyword gets the next free one."""
        if flags == self._usual[0] and keywords == self._usual[1]:
            return self._usual[2]  # as those of the message before, like most
        flags, keywords = tuple(flags), tuple(keywords)
        found = self._letters(flags, keywords)
        self._usual = (flags, keywords, found)
        return found

    def _letters(self, flags: Iterable[str], keywords: Iterable[str]) -> str:
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

    def keywords(self) -> list[str]:
        """Return the keywords that have a letter in this folder."""
        return [keyword for keyword in self._known_keywords() if keyword]

    def forget_keywords(self) -> None:
        """Read the keywords anew when next asked: their file was changed."""
        self._keywords = None
        self._usual = ((), (), "")

    def _keyword_number(self, keyword: str) -> int | None:
        known = self._known_keywords()
        # Keywords have no case (RFC 3501 section 2.3.2); Dovecot takes a second line for damage.
        folded = keyword.casefold()
        number = next((n for n, name in enumerate(known) if name.casefold() == folded), None)
        if number is not None and keyword:
            return number
        # Dovecot's file is one keyword a line; what would break a line stays in the index alone.
        if not keyword or not keyword.isprintable() or " " in keyword:
            return None
        if "" in known:
            number = known.index("")
        elif len(known) < _MOST_KEYWORDS:
            number = len(known)
        else:
            return None
        changed = [*known, ""]
        changed[number] = keyword
        text = "".join(f"{n} {name}\n" for n, name in enumerate(changed) if name)
        write_durably(self.path / KEYWORDS, text)
        known[number:] = [keyword, *known[number + 1 :]]
        return number

    def _known_keywords(self) -> list[str]:
        if self._keywords is None:
            known: list[str] = []
            text = (read_small(self.path / KEYWORDS) or b"").decode("utf-8", "replace")
            for line in text.split("\n"):
                number, _, name = line.partition(" ")
                if re.fullmatch("[0-9]{1,2}", number) and int(number) < _MOST_KEYWORDS:
                    known += [""] * (int(number) + 1 - len(known))
                    known[int(number)] = name
            self._keywords = known
        return self._keywords


def set_time(path: str | Path, received: datetime) -> None:
    """Set a file's time to INTERNALDATE, as far as the file system can hold it."""
    set_seconds(path, int(received.timestamp()))


def set_seconds(file: int | str | Path, seconds: int) -> None:
    """Set the time of a file, open or by its name, as far as the file system can hold it."""
    try:
        os.utime(file, (seconds, seconds))
    except (OverflowError, ValueError):
        pass  # the year 1 or 9999: the index has it
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def make_directory(path: Path) -> None:
    """Create a directory for its owner alone, and what is missing above it, durably.

    Raises:
        StorageError: it cannot be made, or something else stands in its place.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        make_directory(path.parent)
        try:
            path.mkdir(mode=0o700)
            # Its name must not be younger than what is recorded of its content.
            sync_directory(path.parent)
        except OSError as error:
            raise StorageError(path, error) from None
        return
    except OSError as error:
        raise StorageError(path, error) from None
    if stat.S_ISLNK(found.st_mode):
        raise StorageError(path, "it is a symbolic link, and what lies behind is not the archive")
    if not stat.S_ISDIR(found.st_mode):
        raise StorageError(path, "it is no directory")


def is_within(root: Path, relative: str) -> bool:
    """Whether a path below the root goes through no symbolic link and does not climb."""
    at = str(root)
    for component in relative.split("/"):
        if component in ("", ".", ".."):
            return False
        at = f"{at}{os.sep}{component}"
        try:
            if stat.S_ISLNK(os.lstat(at).st_mode):
                return False
        except OSError:
            return True  # nothing there leads nowhere
    return True


def read_small(path: str | Path, longest: int = _LONGEST_SIDECAR) -> bytes | None:
    """Return a small file of ours; None where it is missing, none, too long or not readable."""
    try:
        file = os.open(path, READ)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return None
        content = os.read(file, longest + 1)
        return content if len(content) <= longest else None
    except OSError:
        return None
    finally:
        os.close(file)


def write_durably(path: Path, text: str) -> None:
    """Write a small file such that it holds the old or the new text, whatever happens."""
    part = path.with_name(path.name + PART)
    try:
        part.unlink(missing_ok=True)  # of a run that was cut off; or a link that leads elsewhere
        file = os.open(part, _NEW, 0o600)
        try:
            with os.fdopen(file, "wb") as stream:
                stream.write(text.encode("utf-8", "surrogatepass"))
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, path)  # noqa: PTH105 - one name for renames throughout
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
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
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
_TAKES_OPEN_FILES = os.utime in os.supports_fd

READ = os.O_RDONLY | _BINARY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""How a file of an archive is opened: no link is followed, and a pipe is not waited for."""

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
