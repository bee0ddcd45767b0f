"""The archive against itself, offline: every file proven against its row, and back.

``check`` finds and names, one by one, what does not agree, the seal included. It follows no
symbolic link and changes nothing; ``store.repair`` and ``store.rebuild`` put right what they can.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from store.archive import INDEX, Archive, is_file, is_message_path, names_in
from store.batch import file_sha256
from store.finds import Checked, Discrepancy, Kind
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
)
from store.sealcheck import Sealed, check_seal
from store.walk import name_of, shown_path, sidecar_of, walk
from waystation.errors import IndexDamagedError
from waystation.model import SYSTEM_FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.index import ArchivedFolder, ArchivedMessage, Recorded
    from store.maildir import FileName
    from waystation.progress import Progress

_BLOCK = 1024 * 1024
_MOST_CACHED = 4096
_AT_ONCE = 50
_OCTETS = 4_000_000
"""Progress is told after so many messages or octets: a word for each would cost too much."""
_TIMES = range(-(1 << 31), 1 << 31)
"""The times that every file system of a Unix can hold."""


def check(
    archive: Archive, progress: Progress, counted: Checked, sealed: Sealed | None = None
) -> Iterator[Discrepancy]:
    """Yield every discrepancy of an archive; ``counted`` and ``sealed`` fill up meanwhile.

    Raises:
        IndexDamagedError: the index is not sound as a database.
    """
    row = archive.database.row("PRAGMA quick_check(1)")
    if row is None or row[0] != "ok":
        raise IndexDamagedError(archive.path / INDEX, str(row[0] if row else "no answer"))
    expected = 0
    for _, state, _, _, count, _ in archive.index.totals(anew=True):
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
    yield from check_seal(archive, sealed or Sealed())


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
        messages = octets = 0
        for row in self.archive.index.recorded(self.folder.id):
            if not self._is_sound(row):
                yield from self._row(row)
            messages += 1
            octets += row.size
            if messages >= _AT_ONCE or octets >= _OCTETS:
                self._advance(messages, octets)
                messages = octets = 0
        self._advance(messages, octets)
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

    def _advance(self, messages: int, octets: int) -> None:
        self._counted.messages += messages
        self._counted.octets += octets
        self._progress.advance(messages, octets)

    def _is_sound(self, row: Recorded) -> bool:
        """Whether a row and its file agree in all; of one that does not, ``_row`` tells in what.

        Nearly all do, and this is all that is done for them.
        """
        base = base_name(row.uidvalidity, row.uid, row.size, row.received)
        file, ahead = row.file, 4 + len(base)
        if row.planned is not None or file[:ahead] != f"cur/{base}":
            return False
        if self._agreeing.get((file[ahead:], row.flags, row.keywords)) != (True, True):
            return False
        if _received(row.internaldate) != row.received:
            return False
        try:
            descriptor = os.open(self._prefix + file, READ)
        except OSError:
            return False
        try:
            found = os.fstat(descriptor)
            size = found.st_size
            if size != row.size or not stat.S_ISREG(found.st_mode):
                return False
            digest = hashlib.sha256(os.read(descriptor, min(size + 1, _BLOCK)))
            if size >= _BLOCK:
                while block := os.read(descriptor, _BLOCK):
                    digest.update(block)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        is_dated = (
            row.received is None
            or found.st_mtime_ns // 1_000_000_000 == row.received
            or row.received not in _TIMES
        )
        if not is_dated or digest.hexdigest() != row.sha256:
            return False
        self._in_place += 1
        return True

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
        said = sidecar_of(self.directory)
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
        path = shown_path(f"{self.folder.directory}/{file}")
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
    for relative, is_folder in walk(root):
        if relative in known:
            continue
        name = name_of(root, relative)
        if is_folder is None:
            text = "a symbolic link, not followed"
            yield Discrepancy(Kind.FOREIGN, name, None, None, shown_path(relative), text)
        elif is_folder:
            for sub in SUBDIRECTORIES:
                for file in sorted(names_in(root / relative / sub)):
                    path = shown_path(f"{relative}/{sub}/{file}")
                    text = "the index knows no such folder"
                    yield Discrepancy(Kind.FOREIGN, name, None, None, path, text)
