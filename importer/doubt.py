"""Sees to it that nothing is in doubt when sending begins.

What an earlier connection left unanswered is waited for and settled, and a folder that held mail
before us is looked through once. How a message is known again is the business of ``settle``; here
it is decided when to ask, and what follows where a folder does not answer. Into a folder that
could not be looked into nothing is sent.
"""

from __future__ import annotations

from itertools import islice
from math import ceil
from typing import TYPE_CHECKING

from importer.recognise import recognise
from importer.settle import Settled, look_through, settle
from store.transfers import TransferState
from waystation.errors import RefusedError
from waystation.model import split_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from importer.house import HouseRules
    from importer.job import Job
    from importer.target import MailTarget
    from waystation.imap import Selected

_PAGE = 200
_STORING = 3.0
"""Seconds that a target is given to store what it got before the line broke. What is in flight
is never more than about half a second of its work (see ``flow``)."""
_LOOK_EVERY = 0.5
_PARTS = (1 / 60, 1 / 30, 1 / 15, 2 / 15, 1 / 4, 1 / 2)
"""Waits between two looks into a house, in parts of ``HouseRules.lateness``, which they make up."""
_QUIET_LOOKS = 2
_MOST_LOOKS = 240


def settle_all(job: Job, mail_target: MailTarget, among: Collection[str] | None = None) -> None:
    """Find out what has become of every message in doubt, and record it.

    ``among`` are the target's folders to look into; None is all of them.
    """
    transfers, target_id = job.archive.transfers, job.target.id
    for name in transfers.in_doubt(target_id):
        if among is not None and name not in among:
            continue
        try:
            _await(job, mail_target, name)
            ids = transfers.in_doubt(target_id).get(name)
            if ids:
                settle_folder(job, mail_target, mail_target.open(split_name(name)), name, ids)
        except RefusedError as error:
            if error.retriable or name in job.listed:
                job.fail(name, name, error)
            else:
                _forget(job, transfers.in_doubt(target_id)[name])


def settle_folder(
    job: Job,
    mail_target: MailTarget,
    selected: Selected,
    name: str,
    ids: Iterable[int],
    *,
    is_final: bool = True,
) -> int:
    """Settle what is in doubt in the open folder; return how many were not found."""
    house, numbers = job.options.house, list(ids)
    with job.looking:
        if house is not None and _is_same_folder(job, selected, numbers):
            done = _settle_in_house(job, mail_target, selected, numbers, house, is_final=is_final)
        else:
            done = settle(
                job.archive,
                mail_target,
                selected,
                job.target.id,
                name,
                numbers,
                house=house,
                is_final=is_final,
            )
    job.result.settled += done.found
    job.steps += done.found
    return done.pending


def _is_same_folder(job: Job, selected: Selected, ids: list[int]) -> bool:
    """Whether the folder still has the UIDVALIDITY under which these were sent."""
    return all(
        each.uidvalidity == selected.state.uidvalidity
        for each in job.archive.transfers.some(job.target.id, ids)
    )


def _settle_in_house(
    job: Job,
    mail_target: MailTarget,
    selected: Selected,
    ids: list[int],
    house: HouseRules,
    *,
    is_final: bool,
) -> Settled:
    """Settle what is in doubt in the open folder of a house that makes its own MIME."""
    transfers = job.archive.transfers
    in_doubt = transfers.some(job.target.id, ids)
    arrived = recognise(job.archive, mail_target, selected, in_doubt, house)
    found = {each.message_id for each in arrived}
    missing = [
        each
        for each in in_doubt
        if each.message_id not in found and each.state is TransferState.SENDING
    ]
    transfers.record((), [*arrived, *(each.undone() for each in missing if is_final)])
    was_sending = {each.message_id for each in in_doubt if each.state is TransferState.SENDING}
    return Settled(len(found & was_sending), len(missing))


def look_through_all(job: Job, mail_target: MailTarget) -> None:
    """Take note of what the target had before us, once for each folder."""
    transfers = job.archive.transfers
    unsent = transfers.unsent_totals(job.target.id)
    left_out = {f.id for f in job.archive.index.folders() if f.name in job.choice.left_out}
    for mapped in transfers.folder_map(job.target.id).values():
        if mapped.folder_id in left_out:
            continue  # it may not even be there
        if mapped.looked_through or mapped.folder_id not in unsent:
            continue
        try:
            selected = mail_target.open(split_name(mapped.name))
            if selected.state.exists:
                found = look_through(
                    job.archive, mail_target, selected, job.target.id, mapped, job.options.house
                )
                job.result.already_there += found
        except RefusedError as error:
            # To send into a folder that nobody has looked into might double what is there.
            job.fail(mapped.name, mapped.name, error)
        else:
            transfers.looked_through(job.target.id, mapped.folder_id)
            job.steps += 1


def _await(job: Job, mail_target: MailTarget, name: str) -> None:
    """Wait for what a target may still be storing of what it got before the line broke.

    Over when all is found, or when some seconds have gone by since it was sent and the
    folder has stopped growing.
    """
    if job.options.house is not None:
        _await_in_house(job, mail_target, name, job.options.house.lateness)
        return
    transfers = job.archive.transfers
    looks = ceil(max(0.0, _STORING - transfers.seconds_in_doubt(job.target.id, name)) / _LOOK_EVERY)
    before: tuple[int, int] | None = None
    quiet = 0
    for look in range(_MOST_LOOKS):
        ids = transfers.in_doubt(job.target.id).get(name)
        if not ids:
            return
        selected = mail_target.open(split_name(name))
        state = (selected.state.uidnext, selected.state.exists)
        if state != before:
            left = settle_folder(job, mail_target, selected, name, ids, is_final=False)
            if not left:
                return
        quiet = quiet + 1 if state == before else 0
        before = state
        if look >= looks and quiet >= min(_QUIET_LOOKS, looks):
            return
        if not look:
            job.progress.waiting(_STORING, "the target may still be storing what was sent before")
        job.patience.sleep(_LOOK_EVERY)


def _await_in_house(job: Job, mail_target: MailTarget, name: str, lateness: float) -> None:
    """Look again and again, each time later, until all is found or would have shown by now."""
    waited = job.archive.transfers.seconds_in_doubt(job.target.id)
    for part in _PARTS:
        ids = job.archive.transfers.in_doubt(job.target.id).get(name)
        if not ids or waited >= lateness:
            return
        settle_folder(
            job, mail_target, mail_target.open(split_name(name)), name, ids, is_final=False
        )
        if not job.archive.transfers.in_doubt(job.target.id).get(name):
            return
        seconds = min(part * lateness, lateness - waited)
        if part is _PARTS[0]:
            why = "a message whose answer was lost may show late"
            job.progress.waiting(lateness - waited, why)
        job.patience.sleep(seconds)
        waited += seconds


def _forget(job: Job, message_ids: Iterable[int]) -> None:
    """Record that what was on its way into a folder that is gone has not arrived."""
    transfers = job.archive.transfers
    ids = iter(message_ids)
    while step := list(islice(ids, _PAGE)):
        gone = transfers.some(job.target.id, step)
        sending = [each for each in gone if each.state is TransferState.SENDING]
        transfers.record((), [each.undone() for each in sending])
