"""The archive against itself, offline: every file proven against its row, and back.

``check`` finds and names, one by one, what does not agree; ``repair`` undoes what a mail reader
or a copy did to names and times; ``rebuild`` makes a new index from the files alone. None of
them follows a symbolic link, and none alters the octets of a message.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from store.archive import (
    INDEX,
    MAILDIR,
    Archive,
    from_file,
    is_file,
    is_message_path,
    lock_to_write,
    names_in,
    same_base,
    write_sidecar,
)
from store.batch import file_sha256
from store.database import Database
from store.index import Index
from store.maildir import (
    KEYWORDS,
    PART,
    READ,
    SIDECAR,
    SUBDIRECTORIES,
    Maildir,
    base_name,
    base_of,
    flags_of,
    is_within,
    parse_name,
    read_small,
    set_time,
    sync_directories,
    sync_directory,
    sync_files,
)
from store.names import could_be, levels_of
from store.uidls import Uidls
from waystation.errors import IndexDamagedError, StorageError, plain
from waystation.model import SYSTEM_FLAGS, SpecialUse, join_levels, split_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.index import ArchivedFolder, ArchivedMessage, NewMessage, Recorded
    from store.maildir import FileName
    from waystation.progress import Progress

_BLOCK = 1024 * 1024
_MOST_CACHED = 4096
_MESSAGES = 500
_TIMES = range(-(1 << 31), 1 << 31)
"""The times that every file system of a Unix can hold."""


class Kind(StrEnum):
    """What can be wrong with a file or a row."""

    ALTERED = "altered"
    MISSING = "missing"
    FOREIGN = "foreign"
    HALF_WRITTEN = "half-written"
    UNRECORDED = "unrecorded"
    RENAMED = "renamed"
    DATE = "date"
    ROW = "row"
    """The row says something else than the name it gives for the file."""
    SIDECAR = "sidecar"
    """A file that describes a folder is not as it was written."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that does not agree."""

    kind: Kind
    folder: str
    uidvalidity: int | None
    uid: int | None
    path: str
    """Relative to the archive."""
    text: str

    @property
    def is_loss(self) -> bool:
        """Whether a message's octets are not what they were."""
        return self.kind in (Kind.ALTERED, Kind.MISSING)

    @property
    def can_be_undone(self) -> bool:
        """Whether ``repair`` puts it right."""
        return self.kind in (Kind.RENAMED, Kind.DATE, Kind.SIDECAR)


@dataclass(slots=True)
class Checked:
    """How much a check has looked at."""

    messages: int = 0
    octets: int = 0
    failed: int = 0
    skipped: int = 0


def check(archive: Archive, progress: Progress, counted: Checked) -> Iterator[Discrepancy]:
    """Yield every discrepancy of an archive; ``counted`` fills up meanwhile.

    Raises:
        IndexDamagedError: the index is not sound as a database.
    """
    row = archive.database.row("PRAGMA quick_check(1)")
    if row is None or row[0] != "ok":
        raise IndexDamagedError(archive.path / INDEX, str(row[0] if row else "no answer"))
    expected = 0
    for _, state, _, _, count, _ in archive.index.totals():
        expected += count if state == "archived" else 0
        counted.failed += count if state == "failed" else 0
        counted.skipped += count if state == "skipped" else 0
    progress.expect(expected)
    folders = archive.index.folders()
    for name in sorted(names_in(archive.path)):
        if name.endswith(PART):
            yield Discrepancy(Kind.HALF_WRITTEN, "", None, None, name, _LEFT)
    for folder in folders:
        yield from _Folder(archive, folder, progress, counted).discrepancies()
    yield from _unknown_directories(archive.path, {folder.directory for folder in folders})


class _Folder:
    """One folder at the check."""

    def __init__(
        self, archive: Archive, folder: ArchivedFolder, progress: Progress, counted: Checked
    ) -> None:
        self.archive = archive
        self.folder = folder
        self.directory = archive.path / folder.directory
        self._prefix = f"{self.directory}{os.sep}"
        self._progress = progress
        self._counted = counted
        self._maildir = Maildir(self.directory)
        self._agreeing: dict[tuple[str, str, str], tuple[bool, bool]] = {}
        self._lettered_otherwise = 0
        self._in_place = 0
        """Rows whose file lies under the name they give."""
        self._spare: dict[str, list[str]] | None = None

    def discrepancies(self) -> Iterator[Discrepancy]:
        """Yield what does not agree in this folder."""
        self._progress.folder(self.folder.name, 0)
        if not is_within(self.archive.path, self.folder.directory):
            yield self._about_folder(
                Kind.FOREIGN,
                self.folder.directory,
                "leads through a symbolic link; what lies behind is not looked at",
            )
            for row in self.archive.index.recorded(self.folder.id):
                yield self._about(row, Kind.MISSING, "its folder is a symbolic link")
            return
        for row in self.archive.index.recorded(self.folder.id):
            yield from self._row(row)
            self._counted.messages += 1
            self._counted.octets += row.size
            self._progress.advance(1, row.size)
        yield from self._describing_files()
        # As many files as rows that have theirs: then none is left over, and none is looked up.
        if self._spare is not None or self._files() != self._in_place:
            for base in sorted(self._spares()):
                for file in self._spares()[base]:
                    yield self._spare_file(file)
        for name in names_in(self.directory / "tmp"):
            yield self._temporary(name)
        for name in names_in(self.directory):
            if name.endswith(PART):
                path = f"{self.folder.directory}/{name}"
                yield self._about_folder(Kind.HALF_WRITTEN, path, _LEFT)

    def _row(self, row: Recorded) -> Iterator[Discrepancy]:
        if not is_message_path(row.file):
            text = "the row gives a place for its file where no messages lie"
            yield self._about(row, Kind.MISSING, text)
            return
        base = base_name(row.uidvalidity, row.uid, row.size, row.received)
        if not self._agrees(row, base):
            text = (
                "the row says something else than the file's name; 'check --rebuild' makes a new "
                "index from the files"
            )
            yield self._about(row, Kind.ROW, text)
        try:
            file = os.open(self._prefix + row.file, READ)
        except FileNotFoundError:
            yield from self._elsewhere(row)
            return
        except OSError as error:
            self._in_place += 1
            yield self._about(row, Kind.ALTERED, _unreadable(error))
            return
        self._in_place += 1
        yield from self._content(row, file)

    def _content(self, row: Recorded, file: int) -> Iterator[Discrepancy]:
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                yield self._about(row, Kind.ALTERED, "something else than a file is in its place")
                return
            if found.st_size != row.size:
                text = f"has {found.st_size:,} octets, was archived with {row.size:,}"
                yield self._about(row, Kind.ALTERED, text)
                return
            digest = hashlib.sha256()
            while block := os.read(file, _BLOCK):
                digest.update(block)
        except OSError as error:
            yield self._about(row, Kind.ALTERED, _unreadable(error))
            return
        finally:
            os.close(file)
        sha256 = digest.hexdigest()
        if sha256 != row.sha256:
            text = f"sha256 is {sha256}, was archived with {row.sha256}"
            yield self._about(row, Kind.ALTERED, text)
        changed = found.st_mtime_ns // 1_000_000_000
        if row.received is not None and changed != row.received and row.received in _TIMES:
            text = f"the file's time is {_shown(changed)}, INTERNALDATE was {row.internaldate}"
            yield self._about(row, Kind.DATE, text)

    def _elsewhere(self, row: Recorded) -> Iterator[Discrepancy]:
        """A row whose file is not under its name: renamed by us, by a reader, or gone."""
        now = self.archive.index.planned_file(row.id)
        if now is not None and now != row.file and is_message_path(now):
            # A run that was cut off, or one at work beside us, is just renaming it.
            try:
                file = os.open(self._prefix + now, READ)
            except OSError:
                pass
            else:
                self._in_place += 1
                yield from self._content(row, file)
                return
        others = self._spares().get(base_of(row.file.partition("/")[2]), [])
        others = [other for other in others if is_file(self.directory / other)]
        if not others:
            yield self._about(row, Kind.MISSING, "the file is gone, its row is there")
            return
        # A reader's copy may lie beside a damaged one: the whole one is the message.
        other = next((one for one in others if self._is_whole(row, one)), others[0])
        self._spares()[base_of(row.file.partition("/")[2])].remove(other)
        text = f"is now {other}: a mail reader changed its flags"
        yield self._about(row, Kind.RENAMED, text)
        try:
            file = os.open(self._prefix + other, READ)
        except OSError as error:
            yield self._about(row, Kind.ALTERED, _unreadable(error))
            return
        yield from self._content(row, file)

    def _is_whole(self, row: Recorded, file: str) -> bool:
        try:
            return file_sha256(self.directory / file) == row.sha256
        except OSError:
            return False

    def _agrees(self, row: Recorded, base: str) -> bool:
        """Whether a row's columns say the same as the name that it gives for its file."""
        file = row.planned or row.file
        name = file[4:]
        if not name.startswith(base) or _received(row.internaldate) != row.received:
            return False
        key = (name[len(base) :], row.flags, row.keywords)
        agreeing = self._agreeing.get(key)
        if agreeing is None:
            if len(self._agreeing) >= _MOST_CACHED:
                self._agreeing.clear()
            agreeing = self._agreeing[key] = self._compare_flags(name, row)
        # Letters that no longer mean the row's keywords are told once, of the folder.
        self._lettered_otherwise += not agreeing[1]
        return agreeing[0]

    def _compare_flags(self, name: str, row: Recorded) -> tuple[bool, bool]:
        said = parse_name(name)
        flags, keywords = _listed(row.flags), _listed(row.keywords)
        if said is None or flags is None or keywords is None:
            return False, True
        known = {keyword.casefold() for keyword in self._maildir.keywords()}
        letters = {keyword.casefold() for keyword in self._maildir.keywords_of(said.letters)}
        return (
            flags_of(said.letters) == sorted(set(flags) & set(SYSTEM_FLAGS)),
            letters == {keyword.casefold() for keyword in keywords} & known
            and len(letters) == sum(letter.islower() for letter in set(said.letters)),
        )

    def _describing_files(self) -> Iterator[Discrepancy]:
        if not self.directory.is_dir():
            return  # all that was in it is missing, which is said message by message
        said = _sidecar(self.directory)
        found = (said.get("name"), said.get("special_use"))
        if found != (self.folder.name, self.folder.special_use):
            text = "does not say what the folder is called and what it is for"
            yield self._about_folder(Kind.SIDECAR, f"{self.folder.directory}/{SIDECAR}", text)
        if self._lettered_otherwise:
            text = (
                "gives other keywords to the letters in file names: "
                f"{self._lettered_otherwise:,} messages show other keywords than they have"
            )
            yield self._about_folder(Kind.SIDECAR, f"{self.folder.directory}/{KEYWORDS}", text)

    def _files(self) -> int:
        count = 0
        for sub in ("cur", "new"):
            try:
                with os.scandir(self.directory / sub) as entries:
                    count += sum(1 for _ in entries)
            except (FileNotFoundError, NotADirectoryError):
                continue
        return count

    def _spares(self) -> dict[str, list[str]]:
        """Return the files that no row names, by their names without flags."""
        if self._spare is None:
            self._spare = {}
            for sub in ("cur", "new"):
                for name in sorted(names_in(self.directory / sub)):
                    file = f"{sub}/{name}"
                    if self._row_of(file) is None:
                        self._spare.setdefault(base_of(name), []).append(file)
        return self._spare

    def _row_of(self, file: str) -> ArchivedMessage | None:
        said = parse_name(file[4:])
        row = said and self.archive.index.by_location(self.folder.id, said.uidvalidity, said.uid)
        if not row or row.path is None:
            return None
        planned = self.archive.index.planned_file(row.id)
        return (
            row if file in (row.path.removeprefix(f"{self.folder.directory}/"), planned) else None
        )

    def _spare_file(self, file: str) -> Discrepancy:
        said = parse_name(file[4:])
        try:
            found = (self.directory / file).lstat()
        except OSError as error:
            return self._about_file(Kind.FOREIGN, file, said, _unreadable(error))
        if stat.S_ISLNK(found.st_mode):
            return self._about_file(Kind.FOREIGN, file, said, "a symbolic link, not followed")
        if not stat.S_ISREG(found.st_mode):
            return self._about_file(Kind.FOREIGN, file, said, "no file")
        if said is None:
            return self._about_file(Kind.FOREIGN, file, None, "no message of this archive")
        if found.st_size != said.size:
            text = f"a message without a row, with {found.st_size:,} of {said.size:,} octets"
            return self._about_file(Kind.HALF_WRITTEN, file, said, text)
        kind, text = self._whole_spare(said)
        return self._about_file(kind, file, said, text)

    def _whole_spare(self, said: FileName) -> tuple[Kind, str]:
        index = self.archive.index
        row = index.by_location(self.folder.id, said.uidvalidity, said.uid)
        is_cut_off = not self.folder.is_settled
        if row is not None and row.path is not None:
            if is_cut_off:
                return Kind.UNRECORDED, "a second file of a message; the next export clears it"
            return Kind.FOREIGN, "a second file of a message that is archived"
        for other in index.folders():
            there = index.by_location(other.id, said.uidvalidity, said.uid)
            if (
                there is not None
                and there.path is not None
                and there.size == said.size
                and other.id != self.folder.id
                and self.archive.find(there) is None
            ):
                return Kind.FOREIGN, f"seems to be {there.path}, moved here by a mail reader"
        if is_cut_off:
            return Kind.UNRECORDED, "a message without a row; the next export takes care of it"
        return Kind.UNRECORDED, "a message without a row; 'check --rebuild' takes it in"

    def _temporary(self, name: str) -> Discrepancy:
        file = f"tmp/{name}"
        if name.endswith(PART):
            return self._about_file(Kind.HALF_WRITTEN, file, None, _LEFT)
        return self._about_file(Kind.FOREIGN, file, None, "left by another program")

    def _about(self, row: Recorded, kind: Kind, text: str) -> Discrepancy:
        path = f"{self.folder.directory}/{row.file}"
        return Discrepancy(kind, self.folder.name, row.uidvalidity, row.uid, path, text)

    def _about_file(self, kind: Kind, file: str, said: FileName | None, text: str) -> Discrepancy:
        uidvalidity, uid = (said.uidvalidity, said.uid) if said else (None, None)
        path = _shown_path(f"{self.folder.directory}/{file}")
        return Discrepancy(kind, self.folder.name, uidvalidity, uid, path, text)

    def _about_folder(self, kind: Kind, path: str, text: str) -> Discrepancy:
        return Discrepancy(kind, self.folder.name, None, None, path, text)


_LEFT = "left by a run that was cut off; the next export clears it"


def _unreadable(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a symbolic link is in its place, not followed"
    return f"cannot be read: {error.strerror}"


def _shown(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return f"{seconds} seconds from 1970"


def _received(internaldate: str | None) -> int | None:
    try:
        return int(datetime.fromisoformat(internaldate).timestamp()) if internaldate else None
    except ValueError:
        return -1  # no second of a date that could be read


def _listed(text: str) -> list[str] | None:
    if text == "[]":
        return []
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(values, list) and all(isinstance(value, str) for value in values)
    return values if is_list else None


def _unknown_directories(root: Path, known: set[str]) -> Iterator[Discrepancy]:
    for relative, is_folder in _walk(root):
        if relative in known:
            continue
        name = _name_of(root, relative)
        if is_folder is None:
            text = "a symbolic link, not followed"
            yield Discrepancy(Kind.FOREIGN, name, None, None, _shown_path(relative), text)
        elif is_folder:
            for sub in SUBDIRECTORIES:
                for file in sorted(names_in(root / relative / sub)):
                    path = _shown_path(f"{relative}/{sub}/{file}")
                    text = "the index knows no such folder"
                    yield Discrepancy(Kind.FOREIGN, name, None, None, path, text)


def repair(archive: Archive, found: list[Discrepancy]) -> int:
    """Undo what a mail reader or a copy did to names, times and sidecars; return how many.

    No octet of a message changes.

    Raises:
        StorageError: the disk did not take it.
    """
    repaired = 0
    directories: dict[str, None] = {}
    for discrepancy in found:
        folder = archive.index.folder(discrepancy.folder)
        if folder is None or not is_within(archive.path, folder.directory):
            continue
        try:
            match discrepancy.kind:
                case Kind.RENAMED | Kind.DATE:
                    repaired += _repair_file(archive, folder, discrepancy, directories)
                case Kind.SIDECAR if discrepancy.path.endswith(SIDECAR):
                    directory = archive.path / folder.directory
                    write_sidecar(directory, folder.name, folder.special_use)
                    repaired += 1
                case Kind.SIDECAR:
                    _letter_anew(archive, folder)
                    repaired += 1
                case _:
                    continue
        except OSError as error:
            raise StorageError(archive.path / discrepancy.path, error) from None
    try:
        sync_directories(list(directories))
    except OSError as error:
        raise StorageError(error.filename or archive.path, error) from None
    return repaired


def _repair_file(
    archive: Archive,
    folder: ArchivedFolder,
    discrepancy: Discrepancy,
    directories: dict[str, None],
) -> bool:
    message = archive.index.by_location(
        folder.id, discrepancy.uidvalidity or 0, discrepancy.uid or 0
    )
    if message is None or message.path is None:
        return False
    directory, path = archive.path / folder.directory, archive.path / message.path
    if not os.path.lexists(path):
        others = list(same_base(directory, path.name))
        if not others:
            return False
        whole = (one for one in others if _is_message(directory / one, message))
        other = directory / next(whole, others[0])
        os.replace(other, path)  # noqa: PTH105 - one name for renames throughout
        directories[str(other.parent)] = None
        directories[str(path.parent)] = None
    if not is_file(path):
        return False
    if message.internaldate is not None:
        set_time(path, message.internaldate)
        sync_files([str(path)])
    return True


def _is_message(path: Path, message: ArchivedMessage) -> bool:
    try:
        return file_sha256(path) == message.sha256
    except OSError:
        return False


def _letter_anew(archive: Archive, folder: ArchivedFolder) -> None:
    """Give the keywords of a folder letters again, by what the index says."""
    (archive.path / folder.directory / KEYWORDS).unlink(missing_ok=True)
    archive.maildir(folder).forget_keywords()
    with archive.database.atomic():
        for message in archive.index.in_folder(folder.id):
            if message.path is not None:
                archive.plan_name(folder, message)
    archive.carry_out_renames()


def rebuild(path: Path, progress: Progress) -> tuple[int, int]:
    """Make a new index from the files alone; return messages and folders found.

    The old index stays beside the new one, under a name that tells when it was replaced, and
    is moved there only when the new one stands. What could not be taken in is told to
    ``progress``.

    Raises:
        NoArchiveError, ArchiveLockedError, NewerFormatError, StorageError
    """
    lock = lock_to_write(path, "check --rebuild")
    try:
        part = path / f"{INDEX}.new"
        for end in _ENDS:
            (path / f"{part.name}{end}").unlink(missing_ok=True)
        with Database.create(part) as database:
            counts = _Rebuilding(path, database, progress).fill()
            Uidls(database).take_over(path / INDEX)
        _replace_index(path, part)
    except OSError as error:
        raise StorageError(error.filename or path, error) from None
    finally:
        lock.release()
    return counts


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
        for relative, is_folder in _walk(self._root):
            if not _is_text(relative):
                text = f"{plain(relative)} has a name that is no text, and is left out"
                self._progress.problem(plain(relative), None, text)
            elif is_folder is None:
                text = f"{plain(relative)} is a symbolic link, and is left out"
                self._progress.problem(_name_of(self._root, relative), None, text)
            elif is_folder and relative != MAILDIR:
                messages += self._folder(relative)
                folders += 1
        return messages, folders

    def _folder(self, relative: str) -> int:
        name = _name_of(self._root, relative)
        if name in self._names:
            wanted, name = name, join_levels((relative.removeprefix(f"{MAILDIR}/"),))
            while name in self._names:
                name += "~"
            text = f"two directories claim this name; {plain(relative)} is now {plain(name)}"
            self._progress.alarm(wanted, text)
        self._names.add(name)
        self._progress.folder(name, 0)
        directory = self._root / relative
        self._index.add_folder(name, relative, _special_use(directory))
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


def _walk(root: Path) -> Iterator[tuple[str, bool | None]]:
    """Yield every directory of the Maildir tree, in a fixed order.

    With each comes whether it is a folder; None stands for a symbolic link.
    """
    waiting = [MAILDIR]
    while waiting:
        relative = waiting.pop()
        children, is_folder = [], False
        try:
            with os.scandir(root / relative) as entries:
                for entry in entries:
                    if entry.name in SUBDIRECTORIES:
                        is_cur = entry.name == "cur" and entry.is_dir(follow_symlinks=False)
                        is_folder = is_folder or is_cur
                    elif entry.name == SIDECAR:
                        is_folder = True
                    elif entry.is_symlink() and not entry.is_file():
                        yield f"{relative}/{entry.name}", None
                    elif entry.is_dir(follow_symlinks=False):
                        children.append(f"{relative}/{entry.name}")
        except (FileNotFoundError, NotADirectoryError):
            continue
        yield relative, is_folder
        waiting += sorted(children, reverse=True)


def _name_of(root: Path, relative: str) -> str:
    """Return a folder's name: its sidecar's, where that could have led to the directory."""
    directory = relative.removeprefix(f"{MAILDIR}/")
    said = _sidecar(root / relative).get("name")
    if isinstance(said, str) and said and _is_text(said) and could_be(split_name(said), directory):
        return said
    levels = levels_of(directory)
    name = join_levels(levels or (directory,))
    return name if _is_text(name) else join_levels((_shown_path(directory),))


def _is_text(name: str) -> bool:
    """Whether a name can be stored: Linux lets a directory have one that is no UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown_path(path: str) -> str:
    return path if _is_text(path) else os.fsencode(path).decode("utf-8", "backslashreplace")


def _special_use(directory: Path) -> SpecialUse | None:
    said = _sidecar(directory).get("special_use")
    return next((use for use in SpecialUse if use.value == said), None)


def _sidecar(directory: Path) -> dict[str, Any]:
    content = read_small(directory / SIDECAR)
    try:
        values = json.loads(content or b"")
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
