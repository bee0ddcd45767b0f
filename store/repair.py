"""What a mail reader or a copy did to names, times, sidecars and the journal, undone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from store.archive import is_file, same_base, write_sidecar
from store.batch import file_sha256
from store.finds import Kind
from store.journal import NOTHING, Records, read_journal, read_line, rewrite
from store.maildir import KEYWORDS, SIDECAR, is_within, set_time, sync_directories, sync_files
from store.sealcheck import check_records
from waystation.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from store.archive import Archive
    from store.finds import Discrepancy
    from store.index import ArchivedFolder, ArchivedMessage


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


def restore_journal(archive: Archive) -> int:
    """Write records that the journal has lost back from the index; return how many findings less.

    Only where the index has the whole chain, each record naming the hash of the one before, and
    the journal nothing but lines of it in their order, or the beginning of one. Else it stays.

    Raises:
        StorageError: the journal cannot be read or written.
    """
    before = sum(found.kind is Kind.RECORD for found in check_records(archive))
    lines = [line for _, line, _ in Records(archive.database).all()]
    if not before or not _is_chain(lines) or not _holds_only(archive.path, lines):
        return 0
    rewrite(archive.path, lines)
    Records(archive.database).has_journal(len(lines))
    return before - sum(found.kind is Kind.RECORD for found in check_records(archive))


def _is_chain(lines: list[str]) -> bool:
    before = NOTHING
    for number, line in enumerate(lines, 1):
        record = read_line(line)
        if record is None or record.number != number or record.previous != before:
            return False
        before = record.hash
    return bool(lines)


def _holds_only(path: Path, lines: list[str]) -> bool:
    """Whether a journal lacks lines of a chain, and has nothing else."""
    places = {line.encode(): place for place, line in enumerate(lines)}
    at = 0
    for octets in read_journal(path):
        place = places.get(octets)
        if place is None:
            # One that was cut off: all that it says, the whole line says too.
            if at < len(lines) and lines[at].encode().startswith(octets):
                continue
            return False
        if place < at:
            return False
        at = place + 1
    return True


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
