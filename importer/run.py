"""Stage two: bring a target up to what the archive holds.

Whatever cuts the run off, the next one looks into the target before it sends again: nothing
twice, nothing left out. On a broken connection the run itself begins anew, with what is left.
"""

from __future__ import annotations

from array import array
from functools import partial
from typing import TYPE_CHECKING

from importer.careful import CarefulSender
from importer.carry import carry_flags
from importer.connecting import Connecting
from importer.doubt import look_through_all, settle_all
from importer.excluded import set_excluded_aside
from importer.job import Imported, Job, Options
from importer.lanes import Errand, Lanes, lanes_for
from importer.mapping import prepare_folders
from importer.plan import rank, slices
from importer.routine import NewConnectionError
from importer.send import Sender
from waystation.errors import WaystationError
from waystation.retry import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from importer.target import MailTarget
    from store.archive import Archive
    from store.index import ArchivedFolder
    from store.transfers import Target
    from waystation.progress import Progress

    Connect = Callable[[], AbstractContextManager[MailTarget]]

DELAYS = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds before each new try: never at once, since a server may still be storing what it got
when the line broke, and nobody could find that yet."""


def replay(
    archive: Archive,
    connect: Connect,
    target: Target,
    progress: Progress,
    options: Options | None = None,
    patience: Patience | None = None,
) -> Imported:
    """Bring the target up to what the archive holds.

    Args:
        archive: open for writing.
        connect: opens a signed-in target; called again when the connection breaks.
        target: as the transfer log knows it.
        progress: is told how it goes.
        options: see ``Options``.
        patience: how long to wait between tries.

    Raises:
        WaystationError: the run could not go on; the same call goes on from there.
    """
    patience = patience or Patience(progress, delays=DELAYS)
    job = Job(archive, target, progress, options or Options(), patience)
    for pattern in job.choice.unmatched:
        progress.alarm(pattern, "the archive has no folder that this pattern names")
    connecting = Connecting(job)
    while True:
        connecting.begin()
        try:
            with connect() as mail_target:
                is_first, connecting.has_connected = not connecting.has_connected, True
                _work(job, connect, mail_target, is_first=is_first)
        except WaystationError as error:
            connecting.failed(error)
        else:
            return job.result


def _work(job: Job, connect: Connect, mail_target: MailTarget, *, is_first: bool) -> None:
    """Do all that is left to do, on one connection; send over several where that is of use."""
    house = job.options.house
    sender = CarefulSender(job, mail_target, house) if house else Sender(job, mail_target)
    prepare_folders(job, mail_target)
    settle_all(job, mail_target)
    look_through_all(job, mail_target)
    set_excluded_aside(job)
    carried = carry_flags(job, mail_target)
    if is_first:  # later, it is what this run has sent itself
        job.result.flags_carried += carried
    _announce(job)
    folders = sorted(job.archive.index.folders(), key=rank)
    errands = _errands(job, folders)
    count = 1 if house else lanes_for(job)
    if count == 1:
        for errand in errands:
            if errand.name not in job.failed:
                sender.send(errand.source, errand.name, errand.ids())
    elif not Lanes(job, connect, errands).send(count, mail_target):
        raise NewConnectionError("one of several has broken")
    _send_what_made_trouble(job, sender, folders)
    if house:
        settle_all(job, mail_target)  # what showed late has a UID by now
    carry_flags(job, mail_target)


def _announce(job: Job) -> None:
    waiting = job.archive.transfers.unsent_totals(job.target.id)
    left = sum(count for count, _ in waiting.values()) - job.result.excluded
    job.progress.expect(job.result.appended + left)


def _errands(job: Job, folders: Iterable[ArchivedFolder]) -> Iterator[Errand]:
    """Yield what is to be sent: span of time after span of time, each from all folders."""
    # Where nothing is left to be sent, no row is looked at.
    waiting = job.archive.transfers.unsent_totals(job.target.id)
    for low, high in slices(job.archive.transfers.newest(), job.options.newest_first):
        for folder in folders:
            if folder.id in waiting:
                ids = partial(_unsent, job, folder.id, low, high, troubled=False)
                yield Errand(folder.name, job.names[folder.id], ids)


def _send_what_made_trouble(
    job: Job, sender: Sender | CarefulSender, folders: Iterable[ArchivedFolder]
) -> None:
    """Send what was put off, each message alone, so that it can hold up nothing else."""
    if not job.trouble:
        return
    for folder in folders:
        name = job.names[folder.id]
        if name not in job.failed:
            for number in _unsent(job, folder.id, None, None, troubled=True):
                if job.trouble.is_given_up(number):
                    sender.give_up(number, name)
                else:
                    sender.send(folder.name, name, array("Q", [number]))


def _unsent(
    job: Job, folder_id: int, low: int | None, high: int | None, *, troubled: bool
) -> array[int]:
    ids = job.archive.transfers.unsent(
        job.target.id, folder_id, low, high, newest_first=job.options.newest_first
    )
    if not job.done and not job.trouble:
        return ids
    return array(
        "Q",
        (
            number
            for number in ids
            if number not in job.done and job.trouble.is_put_off(number) is troubled
        ),
    )
