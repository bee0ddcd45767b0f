r"""Carries to the target what has changed in the flags on the source since they were last carried.

A comparison of three: the flags that source and target last agreed on, those that the source has
now, and, since only the difference of these two is stored, whatever the user has made of the rest
in the target. So nothing that was done there is undone. ``\Draft`` can be given to a new message
only, and ``\Deleted`` is never carried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.flags import carried
from waystation.errors import RefusedError
from waystation.model import split_name
from waystation.wire import uid_sets

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator
    from typing import Literal

    from importer.house import HouseRules
    from importer.job import Job
    from importer.target import MailTarget
    from store.index import ArchivedMessage
    from store.transfers import Transfer
    from waystation.imap import Selected

    Change = tuple[Literal["+", "-"], str]

_MESSAGES_A_COMMAND = 200
_PAGE = 200
_NEVER = frozenset({"\\Draft", "\\Deleted"})


def carry_flags(job: Job, mail_target: MailTarget, name: str | None = None) -> int:
    """Store what has changed on the source, in one folder of the target or in all.

    Returns how many messages were brought up to that.

    Raises:
        WaystationError: nothing more can be done on this connection.
    """
    count = 0
    for folder, ids in job.archive.transfers.with_other_flags(job.target.id, name).items():
        if folder in job.failed:
            continue
        try:
            selected = mail_target.open(split_name(folder))
            for page in _pages(ids):
                count += _carry(job, mail_target, selected, page)
        except RefusedError as error:
            if error.retriable:
                raise
            job.progress.alarm(folder, f"changed flags could not be carried: {error}")
    return count


def _carry(job: Job, mail_target: MailTarget, selected: Selected, ids: list[int]) -> int:
    transfers, house = job.archive.transfers, job.options.house
    messages = {message.id: message for message in job.archive.index.some(ids)}
    wanted: dict[Change, list[int]] = {}
    done: list[tuple[int, tuple[str, ...]]] = []
    for transfer in transfers.some(job.target.id, ids):
        if transfer.uidvalidity != selected.state.uidvalidity:
            continue  # renumbered since: the next verification finds it again
        message = messages[transfer.message_id]
        for change in changes(message, transfer, selected, house):
            wanted.setdefault(change, []).append(transfer.uid or 0)
        done.append((message.id, _lost(message, transfer, selected, house)))
    for (sign, flag), uids in wanted.items():
        for some in uid_sets(sorted(uids), _MESSAGES_A_COMMAND):
            mail_target.store(some, sign, flag)
    transfers.carried(job.target.id, done)
    job.steps += len(done)
    return len(done)


def changes(
    message: ArchivedMessage, transfer: Transfer, selected: Selected, house: HouseRules | None
) -> Iterator[Change]:
    """Yield what the source has added to a message's flags or taken away, and the folder keeps."""
    now = set(carried(message, selected, house)[0]) - _NEVER
    before = {*(transfer.flags or ()), *(transfer.keywords or ())} - _NEVER
    for flag in sorted(now - before):
        yield "+", flag
    still = {*message.flags, *message.keywords}
    for flag in sorted(before - still):
        if flag.lower() in selected.permanent_flags or selected.takes_keywords:
            yield "-", flag


def _lost(
    message: ArchivedMessage, transfer: Transfer, selected: Selected, house: HouseRules | None
) -> tuple[str, ...]:
    lost = carried(message, selected, house)[1]
    missed = (set(message.flags) - set(transfer.flags or ())) & _NEVER
    return tuple(dict.fromkeys((*lost, *sorted(missed))))


def _pages(ids: array[int]) -> Iterable[list[int]]:
    return (list(ids[start : start + _PAGE]) for start in range(0, len(ids), _PAGE))
