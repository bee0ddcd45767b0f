"""What the careful sender remembers from one connection of a run to the next."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Memory:
    """The tries that came to nothing. The next run begins anew, with the least intrusive way."""

    replies: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By message: how each way to send it was refused so far."""
    forms: defaultdict[int, set[tuple[str, ...]]] = field(default_factory=lambda: defaultdict(set))
    """By message: the forms in which it was sent, as sha256 and flags."""
    puzzles: Counter[int] = field(default_factory=Counter)
    """By message: how often it met an answer that a new connection may mend."""
    unavailable: list[int] = field(default_factory=list)
    """The last messages in a row for which the server was unavailable to the end of all waits."""
