"""The archive against itself, offline: every file proven against its row, and back.

``check`` finds and names, one by one, what does not agree; ``repair`` undoes what a mail reader
or a copy did to names and times; ``rebuild`` makes a new index from the files alone.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from store.archive import INDEX, MAILDIR, Archive, from_file, names_in, read_description
from store.batch import file_sha256
from store.database import Database
from store.index import Index
from store.lock import Lock
from store.maildir import PART, SIDECAR, SUBDIRECTORIES, Maildir, base_of, parse_name
from store.names import levels_of
from waystation.errors import IndexDamagedError, StorageError
from waystation.model import SpecialUse, join_levels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.index import ArchivedFolder, ArchivedMessage
    from waystation.progress import Progress


class Kind(StrEnum):
    """What can be wrong with a file or a row."""

    ALTERED = "altered"
    MISSING = "missing"
    FOREIGN = "foreign"
    HALF_WRITTEN = "half-written"
    UNRECORDED = "unrecorded"
    RENAMED = "renamed"
    DATE = "date"


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
        return self.kind in (Kind.RENAMED, Kind.DATE)


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
    folders = archive.index.folders()
    totals = archive.index.totals()
    progress.expect(sum(count for _, state, _, _, count, _ in totals if state == "archived"))
    known = {folder.directory for folder in folders}
    for folder in folders:
        yield from _folder(archive, folder, progress, counted)
    yield from _unknown_directories(archive.path, known)


def _folder(
    archive: Archive, folder: ArchivedFolder, progress: Progress, counted: Checked
) -> Iterator[Discrepancy]:
    directory = archive.path / folder.directory
    # What lies there and no row names: few in a sound archive, so it may be held in memory.
    spare = _spare(archive, folder, directory)
    for message in archive.index.in_folder(folder.id):
        if message.state != "archived" or message.path is None:
            counted.failed += message.state == "failed"
            counted.skipped += message.state == "skipped"
            continue
        counted.messages += 1
        counted.octets += message.size or 0
        path = archive.path / message.path
        if not path.is_file() and (other := spare.pop(base_of(path.name), None)) is not None:
            path = directory / other
            text = f"is now {other}: a mail reader changed its flags; the message is whole"
            yield _about(message, Kind.RENAMED, text)
        yield from _message(message, path)
        progress.advance(1, message.size or 0)
    for other in spare.values():
        yield _spare_file(folder, directory, other)


def _message(message: ArchivedMessage, path: Path) -> Iterator[Discrepancy]:
    try:
        found = path.stat()
        if found.st_size != message.size:
            text = f"has {found.st_size:,} octets, was archived with {message.size:,}"
            yield _about(message, Kind.ALTERED, text)
            return
        sha256 = file_sha256(path)
    except FileNotFoundError:
        yield _about(message, Kind.MISSING, "the file is gone, its row is there")
        return
    except OSError as error:
        yield _about(message, Kind.ALTERED, f"cannot be read: {error.strerror}")
        return
    if sha256 != message.sha256:
        text = f"sha256 is {sha256}, was archived with {message.sha256}"
        yield _about(message, Kind.ALTERED, text)
    if message.internaldate is not None and int(found.st_mtime) != int(
        message.internaldate.timestamp()
    ):
        changed = datetime.fromtimestamp(int(found.st_mtime), UTC).isoformat()
        text = f"the file's time is {changed}, INTERNALDATE was {message.internaldate.isoformat()}"
        yield _about(message, Kind.DATE, text)


def _spare(archive: Archive, folder: ArchivedFolder, directory: Path) -> dict[str, str]:
    """Return the files that no row names, as ``cur/NAME`` by their name without flags."""
    spare: dict[str, str] = {}
    for sub in SUBDIRECTORIES:
        for name in names_in(directory / sub):
            file = f"{sub}/{name}"
            if sub == "tmp" or archive.index.by_file(folder.id, file) is None:
                key = base_of(name)
                spare[file if key in spare or sub == "tmp" else key] = file
    return spare


def _spare_file(folder: ArchivedFolder, directory: Path, file: str) -> Discrepancy:
    said = parse_name(file.partition("/")[2])
    kind, text = Kind.FOREIGN, "no message of this archive"
    if file.endswith(PART) or (file.startswith("tmp/") and said is not None):
        kind, text = Kind.HALF_WRITTEN, "left by a run that was cut off; the next export clears it"
    elif said is not None:
        kind, text = Kind.UNRECORDED, "a message without a row; the next export takes care of it"
        with suppress(OSError):
            size = (directory / file).stat().st_size
            if size != said.size:
                kind = Kind.HALF_WRITTEN
                text = f"a message without a row, with {size:,} of {said.size:,} octets"
    return Discrepancy(
        kind,
        folder.name,
        said.uidvalidity if said else None,
        said.uid if said else None,
        f"{folder.directory}/{file}",
        text,
    )


def _unknown_directories(root: Path, known: set[str]) -> Iterator[Discrepancy]:
    for directory in maildirs_below(root):
        relative = directory.relative_to(root).as_posix()
        if relative not in known:
            for sub in SUBDIRECTORIES:
                for name in names_in(directory / sub):
                    text = "the index knows no such folder"
                    path = f"{relative}/{sub}/{name}"
                    yield Discrepancy(
                        Kind.FOREIGN, _name_of(directory, root), None, None, path, text
                    )


def _about(message: ArchivedMessage, kind: Kind, text: str) -> Discrepancy:
    return Discrepancy(
        kind, message.folder, message.uidvalidity, message.uid, message.path or "", text
    )


def repair(archive: Archive, found: list[Discrepancy]) -> int:
    """Undo what a mail reader or a copy did to names and times; return how many.

    No octet of a message changes.
    """
    repaired = 0
    for discrepancy in found:
        if not discrepancy.can_be_undone:
            continue
        folder = archive.index.folder(discrepancy.folder)
        message = folder and archive.index.by_location(
            folder.id, discrepancy.uidvalidity or 0, discrepancy.uid or 0
        )
        if folder is None or not message or message.path is None:
            continue
        path = archive.path / message.path
        try:
            if not path.is_file():
                directory = archive.path / folder.directory
                base = base_of(path.name)
                for sub in ("cur", "new"):
                    for name in names_in(directory / sub):
                        if base_of(name) == base:
                            (directory / sub / name).replace(path)
            if message.internaldate is not None:
                seconds = message.internaldate.timestamp()
                os.utime(path, (seconds, seconds))
        except OSError as error:
            raise StorageError(path, error) from None
        repaired += 1
    return repaired


def rebuild(path: Path, progress: Progress) -> tuple[int, int]:
    """Make a new index from the files alone; return messages and folders found.

    The old index stays beside the new one, under a name that tells when it was replaced, and
    is moved there only when the new one stands.

    Raises:
        NoArchiveError, ArchiveLockedError, StorageError
    """
    read_description(path)
    lock = Lock(path / "lock")
    lock.take("check --rebuild")
    try:
        part = path / f"{INDEX}.new"
        for leftover in (part, *(path / f"{INDEX}.new{end}" for end in ("-wal", "-shm"))):
            leftover.unlink(missing_ok=True)
        with Database.create(part) as database:
            counts = _fill(path, database, progress)
        _replace_index(path, part)
    except OSError as error:
        raise StorageError(error.filename or path, error) from None
    finally:
        lock.release()
    return counts


def _fill(root: Path, database: Database, progress: Progress) -> tuple[int, int]:
    index = Index(database)
    messages = folders = 0
    for directory in maildirs_below(root):
        name = _name_of(directory, root)
        relative = directory.relative_to(root).as_posix()
        folder_id = index.add_folder(name, relative, _special_use(directory))
        folder = index.folder(name)
        if folder is None or folder.id != folder_id:
            continue
        folders += 1
        maildir = Maildir(directory)
        progress.folder(name, 0)
        rows = []
        for file in sorted(names_in(directory / "cur")):
            said = parse_name(file)
            target = directory / "cur" / file
            found = target.stat()
            # A file of another size than its name says was cut off, and never a message of ours.
            if said is None or found.st_size != said.size:
                continue
            rows.append(from_file(folder, maildir, file, target, found.st_mtime))
            progress.advance(1, found.st_size)
            messages += 1
            if len(rows) == 500:
                index.add_messages(rows)
                rows = []
        index.add_messages(rows)
    return messages, folders


def _replace_index(path: Path, part: Path) -> None:
    old = path / INDEX
    if old.exists():
        kept = path / f"{INDEX}.old-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        # The write-ahead log goes with its database: what was committed last may stand there.
        for end in ("-wal", "-shm"):
            beside = path / f"{INDEX}{end}"
            if beside.exists():
                beside.replace(path / f"{kept.name}{end}")
        old.replace(kept)
    part.replace(old)


def maildirs_below(root: Path) -> Iterator[Path]:
    """Yield every directory of a folder, in a fixed order."""
    for directory, children, _ in os.walk(root / MAILDIR):
        children.sort()
        if "cur" in children:
            yield (root / directory)
        children[:] = [child for child in children if child not in SUBDIRECTORIES]


def _name_of(directory: Path, root: Path) -> str:
    sidecar = _sidecar(directory)
    if sidecar.get("name"):
        return str(sidecar["name"])
    relative = directory.relative_to(root / MAILDIR).as_posix()
    levels = levels_of(relative)
    return join_levels(levels) if levels else relative


def _special_use(directory: Path) -> SpecialUse | None:
    said = _sidecar(directory).get("special_use")
    return next((use for use in SpecialUse if use.value == said), None)


def _sidecar(directory: Path) -> dict[str, object]:
    with suppress(OSError, ValueError):
        values = json.loads((directory / SIDECAR).read_text("utf-8"))
        if isinstance(values, dict):
            return values
    return {}
