"""What all mailboxes together may do in a second: messages, and octets."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Ceilings:
    """Says how long to wait after what was done, so that the whole stays under its ceilings.

    What was done is paid for afterwards, since nobody knows beforehand how large a message is; so
    each mailbox may be ahead by one step. Used from many threads.
    """

    def __init__(self, messages: float, octets: float, clock: Callable[[], float]) -> None:
        """Allow so many messages and octets per second; 0 is no ceiling."""
        self._messages = messages
        self._octets = octets
        self._clock = clock
        self._lock = Lock()
        self._paid_until = 0.0

    def change(self, messages: float, octets: float) -> None:
        """Allow so many from now on."""
        with self._lock:
            self._messages, self._octets = messages, octets

    def pay(self, messages: int, octets: int) -> float:
        """Return the seconds to wait, now that so much is done."""
        cost = 0.0
        if self._messages > 0:
            cost = messages / self._messages
        if self._octets > 0:
            cost = max(cost, octets / self._octets)
        if not cost:
            return 0.0
        with self._lock:
            now = self._clock()
            self._paid_until = max(self._paid_until, now) + cost
            return self._paid_until - now
