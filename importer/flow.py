"""How much may be on its way to a target: no more than it stores in about half a second.

Whatever is in flight when we are killed, the server may still be working off while the next run
looks for it. So the window follows the speed of the target: wide where answers come fast, so
that no round trip is waited for, and narrow where each message takes its time.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.target import Window

_SPAN = 0.5
"""Seconds of the target's work that may be outstanding."""
_MESSAGES = 2
_OCTETS = 128 * 1024
"""So much more than in the last span may be sent in the next, so that the window can grow."""


class Flow:
    """A window that follows the pace at which messages are answered."""

    def __init__(self, most: Window, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._answers: deque[tuple[float, int]] = deque()
        self._octets = 0

    def answered(self, size: int) -> None:
        """Note that a message of so many octets was answered."""
        self._answers.append((self._clock(), size))
        self._octets += size

    def has_room(self, messages: int, octets: int) -> bool:
        """Whether one more may be sent while so much is outstanding."""
        if not messages:
            return True
        since = self._clock() - _SPAN
        while self._answers and self._answers[0][0] < since:
            self._octets -= self._answers.popleft()[1]
        return messages < min(self._most.messages, len(self._answers) + _MESSAGES) and (
            octets <= min(self._most.octets, self._octets + _OCTETS)
        )
