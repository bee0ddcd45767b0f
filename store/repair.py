"""What a mail reader or a copy did to names, times and sidecars, undone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from store.archive import is_file, same_base, write_sidecar
from store.batch import file_sha256
from store.finds import Kind
from store.maildir import KEYWORDS, SIDECAR, is_within, set_time, sync_directories, sync_files
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
