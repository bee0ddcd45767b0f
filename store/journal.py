"""The journal: ``journal.jsonl``, one line for each run that worked on the archive, only added to.

Each line names the sha256 of the line before, so none can be changed, taken out or put in without
all that follow (FORMAT.md, chapter 13.1). The index holds every line as well, written first: what
a crash has kept from the file is known there, and is put there by the next who writes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from store.maildir import READ, sync_directory, write_durably
from waystation.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.database import Database

JOURNAL = "journal.jsonl"
NOTHING = "0" * 64
"""What the first record names as the one before."""
_LONGEST = 1024 * 1024
_APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
_APPEND |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no letter looks like a digit."""
_READ_AS = str.maketrans("OIL", "011")
_BITS = 160


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the journal, read."""

    line: str
    """Without its end."""
    values: dict[str, Any]

    @property
    def number(self) -> int:
        """Its place, from 1."""
        number = self.values.get("number")
        return number if isinstance(number, int) else 0

    @property
    def previous(self) -> str:
        """The hash of the record before, as this one has it."""
        return str(self.values.get("previous"))

    @property
    def hash(self) -> str:
        """The sha256 of the line's octets, without the line's end, in hex."""
        return hash_of(self.line)

    def root(self, tree: str) -> str | None:
        """Return the root of ``messages``, ``folders`` or a target's key, in hex."""
        roots = self.values.get("roots")
        if not isinstance(roots, dict):
            return None
        transfers = roots.get("transfers")
        known = {"messages": roots.get("messages"), "folders": roots.get("folders")}
        found = known.get(tree)
        if tree not in known and isinstance(transfers, dict):
            found = transfers.get(tree)
        return found if isinstance(found, str) else None


def line_of(values: dict[str, Any]) -> str:
    """Return a record as its line: keys sorted, no blanks, nothing escaped that need not be."""
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def hash_of(line: str) -> str:
    """Return the hash that the next record names."""
    return sha256(line.encode("utf-8", "surrogatepass")).hexdigest()


def read_line(line: str) -> Record | None:
    """Return what a line says, or None where it is no record as the program writes them."""
    try:
        values = json.loads(line)
        if not isinstance(values, dict) or line_of(values) != line:
            return None
        record = Record(line, values)
    except (ValueError, RecursionError):
        return None
    is_whole = all(isinstance(values.get(key), str) for key in ("previous", "command", "ended"))
    return record if is_whole and record.number > 0 and record.root("messages") else None


def short(record_hash: str) -> str:
    """Return a record's hash to be written on paper: 160 bits in groups of four letters."""
    number = int(record_hash[: _BITS // 4], 16)
    letters = "".join(_LETTERS[number >> bits & 31] for bits in range(_BITS - 5, -1, -5))
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))


def is_hash(record_hash: str, noted: str) -> bool:
    """Whether what somebody noted, in whatever case and grouping, is a record's hash."""
    bare = "".join(char for char in noted if char.isalnum())
    if len(bare) == len(record_hash):
        return bare.lower() == record_hash
    return bare.upper().translate(_READ_AS) == short(record_hash).replace("-", "")


def is_noted(noted: str) -> bool:
    """Whether this can be a seal that somebody noted: 32 letters, or the whole hash in hex."""
    bare = "".join(char for char in noted if char.isalnum())
    if len(bare) == 64:
        return set(bare.lower()) <= set("0123456789abcdef")
    letters = set(bare.upper().translate(_READ_AS))
    return len(bare) == _BITS // 5 and letters <= set(_LETTERS)


class Records:
    """The records as the index holds them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self) -> Record | None:
        """Return the newest record, or None.

        One that cannot be read is followed all the same: what it was is known by its hash.
        """
        if not self._has_table():
            return None
        row = self._database.row("SELECT number, line FROM records ORDER BY number DESC LIMIT 1")
        if row is None:
            return None
        return read_line(row[1]) or Record(row[1], {"number": row[0]})

    def all(self) -> Iterator[tuple[int, str, bool]]:
        """Yield number, line and whether the journal has it, in order."""
        if not self._has_table():
            return
        for number, line, is_there in self._database.rows(
            "SELECT number, line, is_in_journal FROM records ORDER BY number"
        ):
            yield number, line, bool(is_there)

    def _has_table(self) -> bool:
        """Whether the index knows of records: one that is only read is not brought up to date."""
        sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'records'"
        return self._database.row(sql) is not None

    def add(self, number: int, line: str, *, is_in_journal: bool = False) -> None:
        """Record a line that the journal is about to get."""
        self._database.execute(
            "INSERT INTO records (number, line, is_in_journal) VALUES (?, ?, ?)",
            (number, line, int(is_in_journal)),
        )

    def waiting(self) -> list[tuple[int, str]]:
        """Return the records that the journal may not have yet."""
        return [
            (number, line)
            for number, line in self._database.rows(
                "SELECT number, line FROM records WHERE is_in_journal = 0 ORDER BY number"
            )
        ]

    def has_journal(self, number: int) -> None:
        """Record that the journal has these records, up to a number, for good."""
        self._database.execute(
            "UPDATE records SET is_in_journal = 1 WHERE is_in_journal = 0 AND number <= ?",
            (number,),
        )


def read_journal(path: Path) -> Iterator[bytes]:
    """Yield the lines of an archive's journal without their ends; a torn last one as it is.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        descriptor = os.open(path / JOURNAL, READ)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(path / JOURNAL, error) from None
    with os.fdopen(descriptor, "rb") as file:
        try:
            while line := file.readline(_LONGEST):
                yield line.removesuffix(b"\n")
        except OSError as error:
            raise StorageError(path / JOURNAL, error) from None


def write_waiting(path: Path, records: Records) -> None:
    """Add to the journal what the index has and it has not, durably.

    Raises:
        StorageError: it cannot be written.
    """
    waiting = records.waiting()
    if waiting:
        append(path, [line for _, line in waiting])
        records.has_journal(waiting[-1][0])


def append(path: Path, lines: list[str]) -> None:
    """Add lines to an archive's journal, durably; what a crash has let through stays.

    Raises:
        StorageError: it cannot be written.
    """
    text = "".join(f"{line}\n" for line in lines).encode()
    is_new = not os.path.lexists(path / JOURNAL)
    try:
        descriptor = os.open(path / JOURNAL, _APPEND, 0o600)
        with os.fdopen(descriptor, "ab", buffering=0) as file:
            rest = memoryview(text)[_already_there(file.fileno(), text) :]
            if len(rest) == len(text) and not _ends_a_line(file.fileno()):
                # What lies there stays to be seen, apart from what is ours.
                os.write(file.fileno(), b"\n")
            while rest:
                rest = rest[os.write(file.fileno(), rest) :]
            os.fsync(file.fileno())
        if is_new:
            sync_directory(path)
    except OSError as error:
        raise StorageError(path / JOURNAL, error) from None


def rewrite(path: Path, lines: list[str]) -> None:
    """Put these lines in the place of an archive's journal: it holds the old or the new ones.

    Raises:
        StorageError: it cannot be written.
    """
    write_durably(path / JOURNAL, "".join(f"{line}\n" for line in lines))


def _already_there(file: int, text: bytes) -> int:
    """Return how much of a text a crash has let through: the file ends with its beginning."""
    size = os.fstat(file).st_size
    os.lseek(file, max(0, size - len(text) - 1), os.SEEK_SET)
    end = b""
    while block := os.read(file, len(text) + 1):
        end += block
    for count in range(min(len(text), len(end)), 0, -1):
        # Only whole lines lie before it: otherwise it is the end of something else.
        before = end[: len(end) - count]
        if end.endswith(text[:count]) and (before.endswith(b"\n") or size == count):
            return count
    return 0


def _ends_a_line(file: int) -> bool:
    size = os.fstat(file).st_size
    os.lseek(file, max(0, size - 1), os.SEEK_SET)
    return os.read(file, 1) in (b"", b"\n")


def ends_with(path: Path, line: str | None) -> bool:
    """Whether the journal ends with this record, as nobody but us has written it."""
    if line is None:
        return not os.path.lexists(path / JOURNAL)
    expected = f"{line}\n".encode()
    try:
        descriptor = os.open(path / JOURNAL, READ)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(expected) - 1))
        return file.read(len(expected) + 1) in (expected, b"\n" + expected)
