"""Many mailboxes side by side in one process: who begins when, and what follows a failure.

Each mailbox is one conversation in a thread of its own. What is done there is a task that is
handed in; it says how it ended, or raises. A mailbox that fails stops alone. For what passes it is
tried again, later each time; what does not pass (a wrong password) is not.
"""

from __future__ import annotations

import logging
import time
import traceback
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Protocol

from waystation.batch.ceilings import Ceilings
from waystation.batch.slots import Slots
from waystation.batch.turn import ClosedError, HaltedError, Turn
from waystation.errors import (
    ArchiveLockedError,
    NotConnectedError,
    ProtocolError,
    UnreachableError,
    WaystationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waystation.batch.mailboxes import Mailbox
    from waystation.batch.window import Window

log = logging.getLogger(__name__)

_PAUSES = (1, 5, 15)
"""Before each new try of a mailbox, in units of ``Limits.retry_after``."""
_FAREWELL = 3.0
"""Seconds that an interrupted batch waits for its mailboxes; they lose nothing when it does not."""


class State(StrEnum):
    """Where a mailbox is."""

    WAITING = "waiting"
    """for its turn"""
    WORKING = "working"
    PAUSED = "paused"
    """in a pause that the server asked for, or between two connections"""
    RETRYING = "retrying"
    """has failed, and waits for its next try"""
    CLOSED = "closed"
    """waits for the hours of the batch"""
    DONE = "done"
    INCOMPLETE = "incomplete"
    """is done as far as can be; some messages could not be"""
    FOUND = "found"
    """check or verify found something"""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Ending:
    """How the work on a mailbox ended."""

    exit_code: int
    """As of the single command."""
    outcome: str
    text: str
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """What that means for the mailbox."""
        return _STATES.get(self.exit_code, State.FAILED)


_STATES = {0: State.DONE, 3: State.INCOMPLETE, 13: State.FOUND}


@dataclass(frozen=True, slots=True)
class Limits:
    """What all mailboxes together may do; 0 is no ceiling."""

    connections: int = 0
    """Mailboxes at work at once. Who pauses does not count."""
    per_host: int = 0
    """The same for one host, where ``Batch`` is not told otherwise."""
    messages: float = 0
    """Per second."""
    octets: float = 0
    """Per second."""
    between: Window | None = None
    tries: int = 4
    """How often a mailbox is tried without a single message in between."""
    retry_after: float = 60.0
    """Seconds before the second try; then five and fifteen times that."""


class Watch(Protocol):
    """Who is told how each mailbox fares; called from many threads."""

    def state(self, mailbox: Mailbox, state: State, text: str, seconds: float | None) -> None:
        """A mailbox has come to another state, for so many seconds, where that is known."""

    def ended(self, mailbox: Mailbox, ending: Ending) -> None:
        """A mailbox has come to its end; nothing more will be done to it."""


@dataclass(slots=True)
class _Item:
    mailbox: Mailbox
    host: str
    not_before: float = 0.0
    tries: int = 0
    turn: Turn | None = None


class Batch:
    """Works on all mailboxes; ``run`` returns when each has come to its end."""

    def __init__(
        self,
        mailboxes: Sequence[Mailbox],
        task: Callable[[Mailbox, Turn], Ending],
        watch: Watch,
        limits: Limits = Limits(),
        *,
        host_of: Callable[[Mailbox], str] = lambda _: "",
        most_of: Callable[[str], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._task = task
        self._watch = watch
        self._limits = limits
        self._clock = clock
        self._now = now
        self._slots = Slots(limits.connections, most_of or (lambda _: limits.per_host))
        self._ceilings = Ceilings(limits.messages, limits.octets, clock)
        self._stopping = Event()
        ordered = sorted(mailboxes, key=lambda mailbox: -mailbox.priority)
        self._waiting = [_Item(mailbox, host_of(mailbox)) for mailbox in ordered]
        self._at_work: dict[int, tuple[_Item, Thread]] = {}
        self._endings: dict[str, Ending] = {}
        self._failure: BaseException | None = None
        """What went wrong outside of the task: nobody can be told any more, say."""

    def run(self) -> dict[str, Ending]:
        """Work until all mailboxes have come to their end; return the ends by mailbox.

        Raises:
            KeyboardInterrupt: somebody interrupted; all mailboxes have stopped at a safe point.
        """
        try:
            with self._slots.changed:
                while self._waiting or self._at_work:
                    self._slots.changed.wait(self._begin_who_can())
                    self._raise_failure()
        except BaseException:
            self._stop()
            raise
        return self._endings

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _begin_who_can(self) -> float:
        """Begin with all who have a slot; return the seconds to wait for something to happen."""
        closed = self._opens_in()
        if closed:
            for item in self._waiting:
                if item.not_before != float("inf"):
                    item.not_before = float("inf")
                    text = "waits for the hours of the batch"
                    self._watch.state(item.mailbox, State.CLOSED, text, closed)
            return min(closed, 1.0)  # the clock on the wall may be set
        now = self._clock()
        rest: list[_Item] = []
        full: set[str] = set()
        for item in self._waiting:
            if item.not_before == float("inf"):
                item.not_before = now
            if item.not_before > now or item.host in full:
                rest.append(item)
            elif self._slots.try_take(item.host):
                self._begin(item)
            else:
                full.add(item.host)
                rest.append(item)
        self._waiting = rest
        due = [item.not_before - now for item in rest if item.not_before > now]
        return max(0.01, min([1.0, *due]))

    def _begin(self, item: _Item) -> None:
        mailbox = item.mailbox
        item.turn = Turn(
            item.host,
            self._slots,
            self._ceilings,
            self._stopping,
            self._opens_in,
            lambda: self._watch.state(mailbox, State.WORKING, "", None),
        )
        # A daemon: whoever hangs in a connection that is not open yet must not keep us from ending.
        thread = Thread(target=self._work, args=(item, item.turn), daemon=True)
        thread.name = f"mailbox-{mailbox.line}"
        self._at_work[mailbox.line] = (item, thread)
        thread.start()

    def _work(self, item: _Item, turn: Turn) -> None:
        ending: Ending | None = None
        try:
            self._watch.state(item.mailbox, State.WORKING, "", None)
            try:
                ending = self._once(item, turn)
            except ClosedError:
                item.not_before = 0.0
            except HaltedError:
                item.not_before = float("inf")
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits for us
            self._failure = error
        finally:
            turn.give_slot()
            with self._slots.changed:
                del self._at_work[item.mailbox.line]
                if ending is not None:
                    self._endings[item.mailbox.name] = ending
                elif not self._stopping.is_set():
                    self._waiting.append(item)
                    self._waiting.sort(key=lambda other: -other.mailbox.priority)
                self._slots.changed.notify_all()

    def _once(self, item: _Item, turn: Turn) -> Ending | None:
        """Return how a try ended; None where another one is to follow."""
        try:
            ending = self._task(item.mailbox, turn)
        except WaystationError as error:
            self._check(error)
            seconds = self._pause_after(error, item, turn)
            if seconds is not None:
                self._watch.state(item.mailbox, State.RETRYING, str(error), seconds)
                item.not_before = self._clock() + seconds
                return None
            ending = Ending(error.exit_code, "failed", str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the others
            if isinstance(error, OSError):
                self._check(error)
            ending = fault(error)
        self._watch.ended(item.mailbox, ending)
        return ending

    def _check(self, error: Exception) -> None:
        """See that an error is not only the echo of a connection that we have cut ourselves."""
        if self._stopping.is_set():
            raise HaltedError from error

    def _pause_after(self, error: WaystationError, item: _Item, turn: Turn) -> float | None:
        """Return the seconds after which a mailbox is tried again; None where it is not."""
        item.tries = 1 if turn.messages else item.tries + 1
        if not passes(error) or item.tries >= self._limits.tries:
            return None
        pause = _PAUSES[min(item.tries, len(_PAUSES)) - 1] * self._limits.retry_after
        return max(pause, error.backoff or 0.0)

    def _opens_in(self) -> float:
        window = self._limits.between
        return 0.0 if window is None else window.opens_in(self._now())

    def _stop(self) -> None:
        """Have all mailboxes end at a safe point, and wait a little for them."""
        self._stopping.set()
        with self._slots.changed:
            self._slots.changed.notify_all()
            at_work = list(self._at_work.values())
        until = self._clock() + _FAREWELL
        for item, _ in at_work:
            if item.turn is not None:
                item.turn.cut()
        for _, thread in at_work:
            thread.join(max(0.0, until - self._clock()))


def fault(error: Exception) -> Ending:
    """Return how a mailbox ends that met what is no ``WaystationError``."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Ending(1, "failed", f"{where}{error.strerror or type(error).__name__}")
    if isinstance(error, MemoryError):
        return Ending(1, "failed", "out of memory; nothing that is recorded is lost")
    # Without its words: they may hold anything, also a secret.
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
    log.debug("a fault of ours", exc_info=error)
    return Ending(1, "failed", f"a fault of waystation: {type(error).__name__} at {where}")


def passes(error: WaystationError) -> bool:
    """Whether what went wrong may be over after a while.

    A refused sign-in is not: to try it again may lock the account.
    """
    return error.retriable or isinstance(
        error, UnreachableError | ProtocolError | NotConnectedError | ArchiveLockedError
    )
