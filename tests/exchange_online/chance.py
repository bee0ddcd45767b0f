"""Chance that threads do not disturb: each decision is fixed by the seed and its own name."""

from __future__ import annotations

from random import Random


class Chance:
    """Decisions by seed, kind and counters, such as ``("cut", "bob@contoso.com", 17)``."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def random(self, kind: str, *keys: str | int) -> Random:
        """Return the generator that belongs to this decision alone."""
        return Random("\0".join(map(str, (self._seed, kind, *keys))))

    def roll(self, kind: str, *keys: str | int) -> float:
        """Return a number from 0 up to, not including, 1."""
        return self.random(kind, *keys).random()

    def happens(self, probability: float, kind: str, *keys: str | int) -> bool:
        """Tell whether something of this probability happens here."""
        return probability > 0 and self.roll(kind, *keys) < probability

    def between(self, bounds: tuple[float, float], kind: str, *keys: str | int) -> float:
        """Return a number within bounds."""
        return self.random(kind, *keys).uniform(*bounds)
