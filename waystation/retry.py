"""How long to wait before the next try, and how fast to go at the most.

Clock and sleep are passed in, so that no test waits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from waystation.errors import WaystationError
    from waystation.progress import Progress

DELAYS = (0.0, 1.0, 3.0, 10.0, 30.0)
"""Seconds before each new try; the first is at once, since most lines break only once."""


class Patience:
    """Waits before a new connection, longer each time, and gives up where nothing helps."""

    def __init__(
        self,
        progress: Progress,
        sleep: Callable[[float], None] = time.sleep,
        delays: tuple[float, ...] = DELAYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._sleep = sleep
        self.clock = clock
        self._delays = delays
        self._failures = 0

    def another(self, sleep: Callable[[float], None]) -> Patience:
        """Return one of the same delays, that has seen no failure yet and waits by ``sleep``."""
        return Patience(self._progress, sleep, self._delays, self.clock)

    def wait(self, error: WaystationError, *, has_progressed: bool) -> None:
        """Wait before the next try; if something was done since the last, start over.

        Raises:
            WaystationError: ``error`` itself, when it came too often in a row.
        """
        if has_progressed:
            self._failures = 0
        if self._failures >= len(self._delays):
            raise error
        delay = self._delays[self._failures]
        self._failures += 1
        if delay:
            self._progress.waiting(delay, str(error))
            self._sleep(delay)

    def sleep(self, seconds: float) -> None:
        """Wait, without counting this as a failure."""
        self._sleep(seconds)


class Rate:
    """A ceiling in messages per second; 0 is none."""

    def __init__(
        self,
        per_second: float,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = 1 / per_second if per_second > 0 else 0.0
        self._sleep = sleep
        self._clock = clock
        self._next = 0.0

    @property
    def is_limited(self) -> bool:
        """Whether there is a ceiling at all."""
        return self._interval > 0

    def wait(self) -> None:
        """Wait until one more message may go."""
        if not self._interval:
            return
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
            now = self._next
        self._next = now + self._interval
