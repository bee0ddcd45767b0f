"""What of the archive a filter leaves out of an import: set aside with the reason, and no failure.

A later run without the filter sends it: what is set aside is looked at by every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.transfers import Transfer, TransferState
from waystation.model import SpecialUse, split_name
from waystation.selection import choose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.job import Job
    from store.archive import Archive
    from store.index import ArchivedFolder, ArchivedMessage
    from waystation.selection import Choice, Selection

_PAGE = 500


def choice_of(archive: Archive, selection: Selection) -> Choice:
    """Return what a selection means for the folders of an archive."""
    return choose(
        selection,
        [(split_name(each.name), each.special_use) for each in archive.index.folders()],
    )


def why_excluded(choice: Choice, message: ArchivedMessage) -> str | None:
    """Return why an archived message is left out, as the ledger says it; None where it is not."""
    reason = choice.reason(
        message.folder,
        message.size,
        message.internaldate,
        (*message.flags, *message.keywords),
    )
    return None if reason is None else f"excluded: {reason}"


def why_left(
    archive: Archive, choice: Choice, folder: ArchivedFolder, message: ArchivedMessage
) -> str | None:
    """Return the same, or that a message is sent from another folder that shows it too.

    Gmail's All Mail shows every message, and Starred many; one that got its label only after it
    was archived from there would arrive twice.
    """
    reason = why_excluded(choice, message)
    if reason is None and _shows_others(folder):
        there = archive.index.also_in(message.id)
        reason = f"excluded: it lies in {there} too, and is sent from there" if there else None
    return reason


def _shows_others(folder: ArchivedFolder) -> bool:
    return folder.special_use in (SpecialUse.ALL, SpecialUse.FLAGGED)


def excluded(
    archive: Archive, target_id: int | None, choice: Choice
) -> Iterator[tuple[ArchivedMessage, str]]:
    """Yield what is still to be sent and left out, with the reason."""
    for folder in archive.index.folders():
        if not choice.asks_for_messages(folder.name) and not _shows_others(folder):
            continue
        ids = archive.transfers.unsent(target_id if target_id is not None else -1, folder.id)
        for start in range(0, len(ids), _PAGE):
            for message in archive.index.some(ids[start : start + _PAGE]):
                reason = why_left(archive, choice, folder, message)
                if reason is not None:
                    yield message, reason


def set_excluded_aside(job: Job) -> None:
    """Record what is left out in this run; none of it is sent, tried or counted again."""
    waiting: list[Transfer] = []
    for message, reason in excluded(job.archive, job.target.id, job.choice):
        if message.id in job.done:
            continue  # this run has met it before, on another connection
        name = job.names[message.folder_id]
        state = TransferState.SET_ASIDE
        waiting.append(Transfer(message.id, job.target.id, state, name, reply=reason))
        job.done.add(message.id)
        job.result.set_aside += 1
        job.result.excluded += 1
        if len(waiting) >= _PAGE:
            _record(job, waiting)
            waiting = []
    _record(job, waiting)


def _record(job: Job, excluded: list[Transfer]) -> None:
    """Record what the ledger does not say already."""
    ids = [each.message_id for each in excluded]
    known = {
        (each.message_id, each.folder, each.reply)
        for each in job.archive.transfers.some(job.target.id, ids)
        if each.state is TransferState.SET_ASIDE
    }
    new = [each for each in excluded if (each.message_id, each.folder, each.reply) not in known]
    if new:
        job.archive.transfers.record((), new)
        job.steps += len(new)
