"""Gives each archived folder its place in the target.

The map is decided and recorded before anything is created, so that later runs find the same
places. A folder that the target refuses to create gets a plainer name; where that is no use, the
run goes on without it and says what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.folders import plainer_names
from importer.house_names import SUFFIX
from importer.plan import folder_map
from waystation.errors import RefusedError
from waystation.model import join_levels, split_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from importer.folders import Levels, TargetFolders
    from importer.job import Job
    from importer.plan import FolderPlan, PlannedFolder
    from importer.target import MailTarget


def prepare_folders(job: Job, mail_target: MailTarget) -> None:
    """Decide where folders go, record it, and create what the target lacks."""
    there = mail_target.folders()
    plan = folder_map(
        job.archive, job.target.id, there, job.options.folder_map, job.choice.left_out
    )
    _record(job, plan)
    job.names = {folder.folder_id: folder.target for folder in plan.folders}
    job.listed = {folder.name for folder in there.folders if folder.is_selectable}
    refused = _create(job, mail_target, plan.to_create)
    if refused:
        _make_do(job, mail_target, plan, refused)


def _record(job: Job, plan: FolderPlan) -> None:
    transfers, target_id = job.archive.transfers, job.target.id
    known = transfers.folder_map(target_id)
    transfers.map_folders(
        target_id,
        (
            (folder.folder_id, folder.target, folder.reasons)
            for folder in plan.folders
            if folder.folder_id not in known
        ),
    )
    for folder in plan.folders:
        earlier = known.get(folder.folder_id)
        if earlier is not None and earlier.name != folder.target:
            transfers.remap_folder(target_id, folder.folder_id, folder.target, folder.reasons)


def _create(
    job: Job, mail_target: MailTarget, folders: Iterable[Levels]
) -> dict[Levels, RefusedError]:
    """Create folders; return those that the target refuses."""
    refused: dict[Levels, RefusedError] = {}
    for levels in folders:
        try:
            mail_target.create(levels)
            job.result.folders_created += 1
        except RefusedError as error:
            if error.retriable:
                raise
            refused[levels] = error
    return refused


def _make_do(
    job: Job, mail_target: MailTarget, plan: FolderPlan, refused: dict[Levels, RefusedError]
) -> None:
    """Give folders that the target refuses to create a plainer name, or go on without them.

    Where it is only a folder above that cannot be made by itself, nothing is amiss.
    """
    there = mail_target.folders()
    usable = {folder.levels for folder in there.folders if folder.is_selectable}
    lacking = [
        (folder, levels)
        for folder in plan.folders
        if (levels := split_name(folder.target)) in refused and levels not in usable
    ]
    plainer = _plainer(job, plan, there, refused)
    known = {f.levels[:depth] for f in there.folders for depth in range(1, len(f.levels) + 1)}
    to_create = {new[:depth] for new in plainer.values() for depth in range(1, len(new) + 1)}
    refused_again = _create(job, mail_target, sorted(to_create - known))
    for folder, levels in lacking:
        new = plainer.get(levels)
        if new is not None and new not in refused_again:
            _rename(job, folder, join_levels(new))
        else:
            _do_without(job, folder, refused[levels])


def _plainer(
    job: Job, plan: FolderPlan, there: TargetFolders, refused: dict[Levels, RefusedError]
) -> dict[Levels, Levels]:
    """Return other names for what was refused; what the user wants stays as it is."""
    planned = {split_name(folder.target) for folder in plan.folders}
    wished = {
        split_name(folder.target)
        for folder in plan.folders
        if folder.source in job.options.folder_map
    }
    listed = {folder.levels for folder in there.folders}
    targets = {
        levels
        for levels in (planned & refused.keys()) - listed
        if not any(levels[:depth] in wished for depth in range(1, len(levels) + 1))
    }
    suffix = SUFFIX if there.is_exchange else ""
    return plainer_names(targets, refused, listed | (planned - refused.keys()), suffix)


def _rename(job: Job, folder: PlannedFolder, name: str) -> None:
    """Send a folder's messages to another name than planned, now and in later runs."""
    reason = f'the target refuses the name "{folder.target}"'
    job.archive.transfers.remap_folder(
        job.target.id, folder.folder_id, name, (*folder.reasons, reason)
    )
    job.names[folder.folder_id] = name
    job.progress.note(folder.source, f'goes to "{name}": {reason}')


def _do_without(job: Job, folder: PlannedFolder, error: RefusedError) -> None:
    """Go on without a folder that cannot be made."""
    if folder.target in job.failed:
        return
    if job.left_behind(folder.target):
        why = f"{error}; --folder-map FILE.csv gives it another name"
        job.leave(folder.target, folder.source, why)
    else:
        job.failed.add(folder.target)
        job.progress.alarm(folder.source, str(error))
