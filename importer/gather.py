"""Which messages go to a target together, in one command (RFC 3502, MULTIAPPEND).

Such a command is all or nothing, so its size is what a cut costs: few messages, few octets, and
no more than the target stores in a moment. Where one is refused, or its answer is no such answer,
what was in it is looked up, and goes by itself from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.index import ArchivedMessage

MESSAGES = 100
OCTETS = 1_000_000
"""A command holds no more than so many messages, or octets of them."""
_REFUSALS = 3
"""After so many commands in a row that were refused, each message goes by itself."""


@dataclass(slots=True)
class Gathering:
    """What is known of this in a run."""

    _apart: set[int] = field(default_factory=set)
    _refusals: int = 0

    def may_join(self, message: ArchivedMessage, largest: int) -> bool:
        """Whether a message may go with others, of which none is larger than ``largest``."""
        return (
            # One of no octets takes the whole command back (RFC 3502 section 6.3.11).
            0 < (message.size or 0) <= largest
            and self._refusals < _REFUSALS
            and message.id not in self._apart
        )

    def taken(self) -> None:
        """Note that the target took all of a command."""
        self._refusals = 0

    def broken(self, message_ids: Iterable[int]) -> None:
        """Note that a connection broke at these: one of them may be to blame."""
        self._apart.update(message_ids)

    def refused(self, message_ids: Iterable[int]) -> None:
        """Note that the target refused these together: one of them may be to blame."""
        self._apart.update(message_ids)
        self._refusals += 1

    def garbled(self) -> None:
        """Note that an answer does not fit what was sent: the target cannot do this after all."""
        self._refusals = _REFUSALS


def most_together(width: int) -> int:
    """Return how many messages a command may hold, where so many may be in flight.

    No more than half of them: while the target stores one command, the next is on its way.
    """
    return max(1, min(MESSAGES, width // 2))
