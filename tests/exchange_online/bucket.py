"""The budget of a user over all connections: a token bucket, and the backoff when it is empty."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.exchange_online.chance import Chance
    from tests.exchange_online.profile import Profile

UNTHROTTLED = frozenset({"LOGOUT", "CAPABILITY", "NOOP"})
"""What a client may send during a backoff."""


@dataclass(frozen=True, slots=True)
class Intrusion:
    """A command that came before the backoff that the user was told of was over."""

    command: str
    at: float
    milliseconds_early: float


@dataclass(frozen=True, slots=True)
class Throttle:
    """An answer that told a backoff."""

    command: str
    at: float
    milliseconds: int


class Bucket:
    """Units that come back with the clock; a command costs one and more for its octets."""

    def __init__(
        self, profile: Profile, scale: float, clock: Callable[[], float], chance: Chance, user: str
    ) -> None:
        self._profile = profile
        self._rate = profile.bucket_recharge / scale
        self._scale = scale
        self._clock = clock
        self._chance = chance
        self._user = user
        self._lock = threading.Lock()
        self._balance = profile.bucket_burst
        self._at: float | None = None
        self._until = -math.inf
        self._backoffs = 0
        self.first: float | None = None
        self.spent = 0.0
        self.intrusions: list[Intrusion] = []
        self.throttles: list[Throttle] = []

    def note(self, command: str) -> None:
        """Record a command, if it should not have come yet."""
        if command in UNTHROTTLED:
            return
        with self._lock:
            now = self._clock()
            if now < self._until:
                self.intrusions.append(Intrusion(command, now, (self._until - now) * 1000))

    def enter(self, command: str, *, forced: bool = False) -> int | None:
        """Let a command through, or return the milliseconds to wait."""
        if command in UNTHROTTLED or not self._profile.throttles:
            return None
        with self._lock:
            now = self._clock()
            self._refill(now)
            if now >= self._until:
                if self._balance > 0 and not forced:
                    return None
                self._backoffs += 1
                near = self._chance.between((0.998, 1), "backoff", self._user, self._backoffs)
                self._until = now + self._profile.backoff_seconds * near * self._scale
            # rounded up, so that whoever waits it out is never early
            milliseconds = max(1, math.ceil((self._until - now) * 1000))
            self.throttles.append(Throttle(command, now, milliseconds))
            return milliseconds

    def charge(self, octets: int) -> None:
        """Take what a command cost that was let through."""
        with self._lock:
            self._refill(self._clock())
            cost = 1 + octets / self._profile.octets_per_unit
            self._balance -= cost
            self.spent += cost

    def allowance(self) -> float:
        """Return the units that the bucket would have given out since the first command."""
        with self._lock:
            if self.first is None:
                return self._profile.bucket_burst
            return self._profile.bucket_burst + self._rate * (self._clock() - self.first)

    def _refill(self, now: float) -> None:
        if self._at is None:
            self._at = self.first = now
        gained = max(0.0, now - self._at) * self._rate
        self._balance = min(self._profile.bucket_burst, self._balance + gained)
        self._at = now
