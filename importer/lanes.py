"""Several connections at once, each with a folder of the target to itself.

Each is a lane: a thread that takes the next folder which nobody works on, and sends what is to be
sent into it. No folder is ever in two hands, so what a lost answer leaves in doubt there is looked
up as with one connection. A lane whose connection ends gives its folder back and takes up a new
one; where that is no use, the others go on without it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from importer.baton import Alone, Baton, SharingTarget, StoppedError
from importer.connecting import Connecting
from importer.doubt import settle_all
from importer.mapping import prepare_folders
from importer.send import Sender
from waystation.errors import ProtocolError, UnreachableError, WaystationError

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Collection, Iterable, Iterator
    from contextlib import AbstractContextManager

    from importer.job import Job
    from importer.target import MailTarget

_WORTH = 200
"""Messages that a further connection is worth: to sign in takes as long as to send some."""
_GRACE = 0.6
"""Seconds in which lanes come to their end when the run does; they need no answer for that."""


@dataclass(frozen=True, slots=True)
class Errand:
    """Messages of one archived folder that go into one folder of the target."""

    source: str
    name: str
    ids: Callable[[], array[int]]
    """Which are still to be sent."""


@dataclass(slots=True)
class _Errands:
    """What is to be done, in order, and which target folders are in whose hands."""

    waiting: deque[Errand]
    busy: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    """Folders in which a lane has left something in doubt."""

    @property
    def are_over(self) -> bool:
        return not self.waiting and not self.busy

    def take(self, failed: Collection[str]) -> Errand | None:
        """Return the first whose folder is in nobody's hands, or None where there is none now."""
        self.waiting = deque(each for each in self.waiting if each.name not in failed)
        for errand in self.waiting:
            if errand.name not in self.busy:
                self.waiting.remove(errand)
                self.busy.add(errand.name)
                return errand
        return None

    def put_back(self, errand: Errand) -> None:
        self.busy.discard(errand.name)
        self.doubtful.add(errand.name)
        self.waiting.appendleft(errand)


@dataclass(slots=True)
class _Lane:
    job: Job
    """What all share, with a patience and a progress of its own."""
    connecting: Connecting
    given: MailTarget | None = None
    """A connection that is open already."""
    target: SharingTarget | None = None
    thread: threading.Thread | None = None


def lanes_for(job: Job) -> int:
    """Return how many connections are of use for what is left to send."""
    if job.options.connections == 1:
        return 1
    totals = job.archive.transfers.unsent_totals(job.target.id)
    names = {job.names[number] for number in totals if number in job.names} - job.failed
    messages = sum(count for count, _ in totals.values())
    return max(1, min(job.options.connections, len(names), messages // _WORTH))


class Lanes:
    """One stretch of sending over several connections."""

    def __init__(
        self,
        job: Job,
        connect: Callable[[], AbstractContextManager[MailTarget]],
        errands: Iterable[Errand],
    ) -> None:
        self._job = job
        self._connect = connect
        self._errands = _Errands(deque(errands))
        self._baton = Baton()
        self._door = Alone(self._baton)
        self._looking = Alone(self._baton)
        self._lanes: list[_Lane] = []
        self._alive = 0
        self._ended = threading.Event()
        self._retired: WaystationError | None = None
        self._error: BaseException | None = None

    def send(self, count: int, first: MailTarget) -> bool:
        """Do all errands; return whether the ``first`` connection is still of use.

        Raises:
            WaystationError: no lane can go on, or one has met what ends the run.
        """
        self._lanes = [self._lane(first if number == 0 else None) for number in range(count)]
        self._alive = count
        try:
            for number, lane in enumerate(self._lanes, 1):
                lane.thread = threading.Thread(
                    target=self._run, args=(lane,), name=f"waystation lane {number}", daemon=True
                )
                lane.thread.start()
            self._ended.wait()
        finally:
            self._stop()
            self._job.steps += sum(lane.job.steps for lane in self._lanes)
        if self._error is not None:
            raise self._error
        if self._retired is not None and not self._errands.are_over:
            raise self._retired
        return self._lanes[0].given is not None

    def _lane(self, given: MailTarget | None) -> _Lane:
        job = copy(self._job)
        job.steps = 0
        job.looking = self._looking
        job.patience = self._job.patience.another(self._sleep)
        return _Lane(job, Connecting(job, has_connected=given is not None), given)

    def _sleep(self, seconds: float) -> None:
        with self._baton.passed_on():
            self._job.patience.sleep(seconds)

    def _stop(self) -> None:
        """Let every lane come to its end, and see that none does anything after that."""
        threads = [each.thread for each in self._lanes if each.thread and each.thread.ident]
        self._baton.is_stopping = True
        for lane in self._lanes:
            target = lane.target
            if target is not None:
                target.cut()
        end = time.monotonic() + _GRACE
        self._baton.stop(_GRACE)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            self._baton.take_for_good(_GRACE / 2)

    # What a lane does

    def _run(self, lane: _Lane) -> None:
        with self._baton.held():
            try:
                self._work(lane)
            except StoppedError:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again by ``send``
                self._error = self._error or error
            lane.target = None  # nobody is to break what is of use to others from now on
            self._alive -= 1
            self._baton.changed.notify_all()
            if not self._alive or self._error is not None:
                self._ended.set()

    def _work(self, lane: _Lane) -> None:
        """Do errands over one connection after the other."""
        given = lane.given
        while not self._errands.are_over:
            lane.connecting.begin()
            try:
                if given is not None:
                    self._serve(lane, SharingTarget(given, self._baton))
                else:
                    with self._connection(lane) as target:
                        lane.connecting.has_connected = True
                        prepare_folders(lane.job, target)
                        self._serve(lane, target)
            except WaystationError as error:
                given = lane.given = lane.target = None
                if not self._goes_on(lane, error):
                    return

    def _serve(self, lane: _Lane, target: SharingTarget) -> None:
        """Do errands over one connection until there are no more."""
        lane.target = target
        sender = Sender(lane.job, target)
        while not self._errands.are_over:
            errand = self._errands.take(lane.job.failed)
            if errand is None:
                self._baton.wait()
                continue
            try:
                if errand.name in self._errands.doubtful:
                    settle_all(lane.job, target, {errand.name})
                    self._errands.doubtful.discard(errand.name)
                if errand.name not in lane.job.failed:
                    sender.send(errand.source, errand.name, errand.ids())
            except BaseException:
                self._errands.put_back(errand)
                raise
            else:
                self._errands.busy.discard(errand.name)
            finally:
                self._baton.changed.notify_all()

    def _goes_on(self, lane: _Lane, error: WaystationError) -> bool:
        """Wait as the end of a connection demands; False where the others go on without it.

        Raises:
            WaystationError: what the others would meet as well.
        """
        if self._baton.is_stopping:
            raise StoppedError
        had_connected = lane.connecting.has_connected
        try:
            lane.connecting.failed(error)
        except WaystationError:
            if had_connected and not _is_of_the_line(error):
                raise
            self._retired = error
            if self._alive > 1 and not self._errands.are_over:
                left = self._alive - 1
                words = "one connection" if left == 1 else f"{left} connections"
                lane.job.progress.note(self._job.target.name, f"goes on with {words}: {error}")
            return False
        return True

    @contextmanager
    def _connection(self, lane: _Lane) -> Iterator[SharingTarget]:
        """Open the next connection, one lane after the other, while all others work."""
        opening, inner = self._connect(), None
        try:
            with self._door, self._baton.passed_on():
                inner = opening.__enter__()
        except StoppedError as error:
            if inner is not None:
                opening.__exit__(type(error), error, None)
            raise
        try:
            yield SharingTarget(inner, self._baton)
        except BaseException as error:
            lane.target = None
            opening.__exit__(type(error), error, error.__traceback__)
            raise
        lane.target = None
        with self._baton.passed_on():
            opening.__exit__(None, None, None)


def _is_of_the_line(error: WaystationError) -> bool:
    """Whether an error speaks of one connection, and not of the target or the archive."""
    return error.retriable or isinstance(error, ProtocolError | UnreachableError)
