"""A line with a length: when each octet that goes in at one end comes out at the other.

Distance is not bandwidth: any number of pieces are under way at once, and each comes out its own
`delay` after it went in. With `bandwidth` they queue before the line, one behind the other.
"""

from __future__ import annotations

from collections import deque


class Line:
    """One direction of a line; the time is told to it, in seconds of any clock that only rises."""

    def __init__(self, delay: float, bandwidth: float | None = None) -> None:
        """Take the seconds from end to end, and octets per second, None for no limit."""
        self._delay = delay
        self._bandwidth = bandwidth
        self._is_free_at = 0.0
        self._under_way: deque[tuple[float, bytes]] = deque()
        self.octets = 0
        """How many are on the line."""

    def put(self, now: float, piece: bytes) -> None:
        """Let a piece go in; an empty one is the end of what is said."""
        begins = max(now, self._is_free_at)
        taken = len(piece) / self._bandwidth if self._bandwidth else 0.0
        self._is_free_at = begins + taken
        self._under_way.append((self._is_free_at + self._delay, piece))
        self.octets += len(piece)

    def next_due(self) -> float | None:
        """Return when the next piece comes out."""
        return self._under_way[0][0] if self._under_way else None

    def take(self, now: float) -> bytes | None:
        """Return the next piece that has come out, None when none has."""
        due = self.next_due()
        if due is None or due > now:
            return None
        _, piece = self._under_way.popleft()
        self.octets -= len(piece)
        return piece
