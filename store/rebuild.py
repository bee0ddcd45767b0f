"""A new index from the files alone, where the old one is lost or not to be trusted."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from store.archive import (
    INDEX,
    MAILDIR,
    Archive,
    from_file,
    is_file,
    lock_to_write,
    names_in,
    now,
    read_description,
)
from store.database import Database
from store.index import Index
from store.journal import Records, append, ends_with, read_journal, read_line, write_waiting
from store.maildir import Maildir, parse_name, sync_directory
from store.seal import Told
from store.uidls import Uidls
from store.walk import is_text, name_of, special_use, walk
from waystation.errors import ArchiveError, StorageError, plain
from waystation.model import join_levels

if TYPE_CHECKING:
    from pathlib import Path

    from store.index import ArchivedFolder, NewMessage
    from waystation.progress import Progress

_MESSAGES = 500


def rebuild(path: Path, progress: Progress) -> tuple[int, int]:
    """Make a new index from the files alone; return messages and folders found.

    The old index stays beside the new one, under a name that tells when it was replaced, and
    is moved there only when the new one stands. What could not be taken in is told to
    ``progress``.

    Raises:
        NoArchiveError, ArchiveLockedError, NewerFormatError, StorageError
    """
    lock = lock_to_write(path, "check --rebuild")
    began = now()
    try:
        part = path / f"{INDEX}.new"
        for end in _ENDS:
            (path / f"{part.name}{end}").unlink(missing_ok=True)
        _complete_journal(path)
        with Database.create(part) as database:
            counts = _Rebuilding(path, database, progress).fill()
            Uidls(database).take_over(path / INDEX)
            _take_over_journal(path, database)
            _seal(path, database, counts, began)
        _replace_index(path, part)
        with Database.write(path / INDEX) as database:
            write_waiting(path, Records(database))
    except OSError as error:
        raise StorageError(error.filename or path, error) from None
    finally:
        lock.release()
    return counts


def _seal(path: Path, database: Database, counts: tuple[int, int], began: str) -> None:
    """Seal the new index before it takes its place: from its first moment on it has its record."""
    archive = Archive(path, read_description(path), database, None)
    totals = {"messages": counts[0], "folders": counts[1]}
    command = "check --rebuild"
    run = archive.index.run_begins(command, None, version("waystation"), began)
    archive.end_run(Told(run, command, None, began, "done", totals, {}), is_rebuilt=True)


def _complete_journal(path: Path) -> None:
    """Have the journal get what a crash has kept from it, while the old index still tells it."""
    with suppress(ArchiveError), Database.read(path / INDEX) as old:
        records = Records(old)
        waiting = [line for _, line in records.waiting()]
        last = records.last()
        if waiting and last is not None and not ends_with(path, last.line):
            append(path, waiting)


def _take_over_journal(path: Path, database: Database) -> None:
    """Let the new index know the records that the journal has, so that the chain goes on."""
    number = 0
    with database.atomic():
        for octets in read_journal(path):
            line = octets.decode("utf-8", "replace")
            record = read_line(line)
            number = max(number + 1, record.number if record else 0)
            Records(database).add(number, line, is_in_journal=True)


class _Rebuilding:
    """A new index on its way."""

    def __init__(self, root: Path, database: Database, progress: Progress) -> None:
        self._root = root
        self._database = database
        self._index = Index(database)
        self._progress = progress
        self._names: set[str] = set()

    def fill(self) -> tuple[int, int]:
        """Take in every folder; return messages and folders."""
        messages = folders = 0
        for relative, is_folder in walk(self._root):
            if not is_text(relative):
                text = f"{plain(relative)} has a name that is no text, and is left out"
                self._progress.problem(plain(relative), None, text)
            elif is_folder is None:
                text = f"{plain(relative)} is a symbolic link, and is left out"
                self._progress.problem(name_of(self._root, relative), None, text)
            elif is_folder and relative != MAILDIR:
                messages += self._folder(relative)
                folders += 1
        return messages, folders

    def _folder(self, relative: str) -> int:
        name = name_of(self._root, relative)
        if name in self._names:
            wanted, name = name, join_levels((relative.removeprefix(f"{MAILDIR}/"),))
            while name in self._names:
                name += "~"
            text = f"two directories claim this name; {plain(relative)} is now {plain(name)}"
            self._progress.alarm(wanted, text)
        self._names.add(name)
        self._progress.folder(name, 0)
        directory = self._root / relative
        self._index.add_folder(name, relative, special_use(directory))
        folder = self._index.folder(name)
        if folder is None:
            raise StorageError(self._root / INDEX, f"{plain(name)} could not be recorded")
        maildir = Maildir(directory)
        files = [
            f"{sub}/{file}" for sub in ("cur", "new") for file in sorted(names_in(directory / sub))
        ]
        seen: set[tuple[int, int]] = set()
        rows: list[NewMessage] = []
        for file in files:
            row = self._message(folder, maildir, file, seen)
            if row is None:
                continue
            rows.append(row)
            self._progress.advance(1, row.size)
            if len(rows) >= _MESSAGES:
                self._index.add_messages(rows)
                rows.clear()
        self._index.add_messages(rows)
        return len(seen)

    def _message(
        self, folder: ArchivedFolder, maildir: Maildir, file: str, seen: set[tuple[int, int]]
    ) -> NewMessage | None:
        said = parse_name(file[4:])
        if said is None:
            return None  # none of ours; check names it
        location = (said.uidvalidity, said.uid)
        path = maildir.path / file
        try:
            if not is_file(path):
                text = f"{plain(file)} is no file, and is left out"
            # A file of another size than its name says was cut off, and never a message of ours.
            elif (size := path.lstat().st_size) != said.size:
                text = f"{plain(file)} has {size:,} of {said.size:,} octets, and is left out"
            elif location in seen:
                text = f"{plain(file)} is a second file of this message, and is left out"
            else:
                row = from_file(folder, maildir, file)
                seen.add(location)
                return row
        except OSError as error:
            text = f"{plain(file)} cannot be read: {error.strerror}"
        self._progress.problem(folder.name, said.uid, text)
        return None


_ENDS = ("", "-wal", "-shm")


def _replace_index(path: Path, part: Path) -> None:
    kept = f"{INDEX}.old-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    number = 1
    while any((path / f"{kept}{end}").exists() for end in _ENDS):
        number += 1
        kept = f"{kept.partition('~')[0]}~{number}"
    # The write-ahead log goes with its database: what was committed last may stand there, and
    # beside the new one it would be taken for that one's. The database goes first, so that none
    # is ever found without its log.
    for end in _ENDS:
        if os.path.lexists(path / f"{INDEX}{end}"):
            os.replace(path / f"{INDEX}{end}", path / f"{kept}{end}")  # noqa: PTH105
    os.replace(part, path / INDEX)  # noqa: PTH105 - one name for renames throughout
    sync_directory(path)
