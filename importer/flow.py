"""How much may be on its way to a target: no more than it stores in about half a second.

Whatever is in flight when we are killed, the server may still be working off while the next run
looks for it. So the window follows the speed of the target: wide where answers come fast, so
that no round trip is waited for, and narrow where each message takes its time. Where a target
says that it is too much, it gets half of that, and then slowly more again.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.target import Window

_SPAN = 0.5
"""Seconds of the target's work that may be outstanding."""
_MESSAGES = 2
_OCTETS = 128 * 1024
"""So much more than in the last span may be sent in the next, so that the window can grow."""
_CALM = 8
"""So many messages that are taken make room for one more, where a target has had too much."""


@dataclass(slots=True)
class Ceiling:
    """How many messages a target bears at once, by what it has said itself in this run."""

    _messages: int | None = None
    """None until it has complained."""
    _taken: int = 0

    @property
    def messages(self) -> int | None:
        """How many may be outstanding; None where the target has never complained."""
        return self._messages

    def complained(self, outstanding: int) -> None:
        """Note that so many were too much for the target."""
        most = outstanding if self._messages is None else min(outstanding, self._messages)
        self._messages = max(1, most // 2)
        self._taken = 0

    def taken(self) -> None:
        """Note that the target took a message."""
        if self._messages is None:
            return
        self._taken += 1
        if self._taken >= _CALM:
            self._messages += 1
            self._taken = 0


class Flow:
    """A window that follows the pace at which messages are answered."""

    def __init__(
        self,
        most: Window,
        clock: Callable[[], float] = time.monotonic,
        ceiling: Ceiling | None = None,
    ) -> None:
        self._most = most
        self._clock = clock
        self._ceiling = ceiling or Ceiling()
        self._answers: deque[tuple[float, int]] = deque()
        self._octets = 0

    @property
    def width(self) -> int:
        """How many messages may be outstanding now."""
        since = self._clock() - _SPAN
        while self._answers and self._answers[0][0] < since:
            self._octets -= self._answers.popleft()[1]
        width = min(self._most.messages, len(self._answers) + _MESSAGES)
        ceiling = self._ceiling.messages
        return width if ceiling is None else min(width, ceiling)

    def answered(self, size: int) -> None:
        """Note that a message of so many octets was answered."""
        self._answers.append((self._clock(), size))
        self._octets += size

    def has_room(self, messages: int, octets: int) -> bool:
        """Whether one more may be sent while so much is outstanding."""
        if not messages:
            return True
        return messages < self.width and octets <= min(self._most.octets, self._octets + _OCTETS)
