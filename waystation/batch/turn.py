"""A mailbox's turn: what the work on one mailbox asks of the batch that it is a part of."""

from __future__ import annotations

from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from waystation.errors import WaystationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from waystation.batch.ceilings import Ceilings
    from waystation.batch.slots import Places

_LONG = 2.0
"""Seconds from which on a sleeper gives its slot back."""


class HaltedError(KeyboardInterrupt):
    """The batch is to end: as if the single command had been interrupted."""


class ClosedError(HaltedError):
    """The hours in which the batch may work are over; the mailbox goes on in the next ones."""


class Session(Protocol):
    """A connection that another thread can break."""

    def drop(self) -> None:
        """Close without a word."""

    def cut(self) -> None:
        """Break the connection, from whatever thread; whoever waits for an answer gets none."""


class Turn:
    """The work on one mailbox, from one thread; ``cut`` comes from another.

    Of an empty host, the connections are not counted.
    """

    def __init__(
        self,
        host: str,
        slots: Places,
        ceilings: Ceilings,
        stopping: Event,
        opens_in: Callable[[], float],
        woken: Callable[[], None] = lambda: None,
    ) -> None:
        self._host = host
        self._slots = slots
        self._ceilings = ceilings
        self._stopping = stopping
        self._opens_in = opens_in
        self._woken = woken
        self._session: Session | None = None
        self._lock = Lock()
        self._has_slot = True
        self.messages = 0
        """How many messages were done in this turn."""

    def check(self) -> None:
        """See whether the work may go on.

        Raises:
            HaltedError: it has to end here; all that is recorded stays.
        """
        if self._stopping.is_set():
            raise HaltedError
        if self._opens_in():
            raise ClosedError

    def sleep(self, seconds: float) -> None:
        """Wait; where that is long, without a slot.

        Of a host whose connections are counted, the slot is kept while there is one.

        Raises:
            HaltedError: the batch ends meanwhile.
        """
        is_long = seconds >= _LONG and not (self._host and self._session)
        if is_long:
            self.give_slot()
        self._stopping.wait(seconds)
        if is_long:
            self.take_slot()
        self.check()

    def did(self, messages: int, octets: int) -> None:
        """Count what was done, and wait where the batch has to be slower.

        Raises:
            HaltedError: the batch ends.
        """
        self.messages += messages
        seconds = self._ceilings.pay(messages, octets)
        if seconds > 0:
            self.sleep(seconds)
        else:
            self.check()

    def opened(self, session: Session) -> None:
        """Take note of the connection that is worked on.

        Raises:
            HaltedError: it is not needed any more, and is closed.
        """
        with self._lock:
            self._session = session
        try:
            self.check()
        except HaltedError:
            session.drop()
            raise

    def closed(self) -> None:
        """Take note that the connection is no more."""
        with self._lock:
            self._session = None

    def cut(self) -> None:
        """Break the connection, so that nobody waits for its answer."""
        with self._lock:
            session = self._session
        if session is not None:
            with suppress(OSError, WaystationError):
                session.cut()

    def take_slot(self) -> None:
        """Wait for a slot, where this one holds none; without one where the batch ends."""
        if not self._has_slot:
            self._has_slot = self._slots.take_back(self._host, self._stopping.is_set)
            self._woken()

    def give_slot(self) -> None:
        """Let another mailbox work, where this one held a slot."""
        if self._has_slot:
            self._has_slot = False
            self._slots.give(self._host)
