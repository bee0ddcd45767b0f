"""Counts how often a message made trouble, and says when it has to wait, and when it is left.

So no message holds up the others, and none is tried for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_PUT_OFF = 2
_GIVEN_UP = 4
"""So often may a message break the connection, or be refused for the time being, before it has
to wait for all others, and before the run goes on without it."""


@dataclass(slots=True)
class Trouble:
    """How often each message broke the connection, or was refused for the time being."""

    _times: dict[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._times)

    def blame(self, message_id: int) -> None:
        """Count that a message made trouble once more."""
        self._times[message_id] = self._times.get(message_id, 0) + 1

    def forget(self, message_id: int) -> None:
        """Forget what was counted, since the message has arrived."""
        self._times.pop(message_id, None)

    def is_put_off(self, message_id: int) -> bool:
        """Whether a message has to wait for all others."""
        return self._times.get(message_id, 0) >= _PUT_OFF

    def is_given_up(self, message_id: int) -> bool:
        """Whether the run goes on without a message."""
        return self._times.get(message_id, 0) >= _GIVEN_UP
