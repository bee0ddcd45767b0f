"""How many mailboxes are worked on at once: in all, and per host. Who sleeps gives it back."""

from __future__ import annotations

from collections import Counter
from threading import Condition
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Places(Protocol):
    """Where a mailbox at work gives its slot back, and takes it again."""

    def give(self, host: str) -> None:
        """Give a slot back."""

    def take_back(self, host: str, is_stopped: Callable[[], bool]) -> bool:
        """Wait for a slot to go on with what was begun; False where all is stopped meanwhile."""


class Slots:
    """Slots to work in, by host; used from many threads."""

    def __init__(self, most: int, most_of: Callable[[str], int]) -> None:
        """Grant ``most`` in all and ``most_of(host)`` of each host; 0 is no ceiling."""
        self._most = most
        self._most_of = most_of
        self._taken: Counter[str] = Counter()
        self._coming_back: Counter[str] = Counter()
        self.changed = Condition()
        """Notified when a slot is free, or anything else that a batch waits for has happened."""

    @property
    def taken(self) -> int:
        """How many slots are taken."""
        return self._taken.total()

    def try_take(self, host: str) -> bool:
        """Take a slot for a mailbox that begins, if one is free and nobody waits to go on."""
        with self.changed:
            if self._coming_back.total() and not self._has_room_for_all(host):
                return False
            return self._take(host)

    def take_back(self, host: str, is_stopped: Callable[[], bool]) -> bool:
        """Wait for a slot to go on with what was begun; False where all is stopped meanwhile."""
        with self.changed:
            self._coming_back[host] += 1
            try:
                while not is_stopped():
                    if self._take(host):
                        return True
                    self.changed.wait(1.0)
                return False
            finally:
                self._coming_back[host] -= 1

    def give(self, host: str) -> None:
        """Give a slot back."""
        with self.changed:
            self._taken[host] -= 1
            self.changed.notify_all()

    def _take(self, host: str) -> bool:
        of_host = self._most_of(host)
        if self._most and self._taken.total() >= self._most:
            return False
        if of_host and self._taken[host] >= of_host:
            return False
        self._taken[host] += 1
        return True

    def _has_room_for_all(self, host: str) -> bool:
        """Tell whether those who wait to go on would not be held up by one who begins."""
        of_host = self._most_of(host)
        in_all = not self._most or self._taken.total() + self._coming_back.total() < self._most
        here = self._taken[host] + self._coming_back[host]
        return in_all and (not of_host or here < of_host)
