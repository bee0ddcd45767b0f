"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """The numbers of messages, octets and rounds of one run of the bench."""

    small: int = 20_000
    mixed: int = 5_000
    folders: int = 20
    large: int = 200_000_000
    """Octets of the one large message."""
    many: int = 200_000
    """Rows of the index where their number is what matters."""
    million: int = 1_000_000
    few: int = 200
    slow: int = 2_000
    """Messages for a contender that is slow, so that its rate is extrapolated."""
    crawling: int = 200
    """Messages for one that waits for each of them, at a distance."""
    rounds: int = 5
    starts: int = 11
    """Rounds of what takes no time."""
    slow_rounds: int = 2
    patience: float = 3600.0
    """Seconds after which one run is given up."""


FULL = Sizes()
QUICK = Sizes(
    small=1_500,
    mixed=300,
    large=20_000_000,
    many=3_000,
    million=20_000,
    slow=60,
    crawling=20,
    rounds=2,
    starts=3,
    slow_rounds=1,
    patience=60.0,
)
