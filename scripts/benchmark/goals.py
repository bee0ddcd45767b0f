"""What a cell is to show, and whether it did. A goal is told; nothing fails because of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scripts.benchmark.turns import Ratio


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure beside its bound."""

    what: str
    figure: float
    bound: float
    unit: str
    is_ceiling: bool
    """Whether the bound is the most that is allowed, and not the least."""
    spread: tuple[float, float] | None = None

    @property
    def is_met(self) -> bool:
        """Whether the figure keeps to the bound."""
        return self.figure <= self.bound if self.is_ceiling else self.figure >= self.bound

    def __str__(self) -> str:
        spread = f" ({self.spread[0]:.2f}-{self.spread[1]:.2f})" if self.spread else ""
        bound = f"{self.bound:g} {self.unit} or {'less' if self.is_ceiling else 'more'}"
        verdict = "met" if self.is_met else "NOT MET"
        return f"{self.what}: {self.figure:.2f} {self.unit}{spread}; goal {bound}: {verdict}"


def at_least(what: str, ratio: Ratio, bound: float) -> Goal:
    """Return the goal of being so many times as fast."""
    return Goal(what, ratio.value, bound, "x", is_ceiling=False, spread=(ratio.low, ratio.high))


def ratio_at_most(what: str, ratio: Ratio, bound: float) -> Goal:
    """Return the goal of taking no more than so many times as long."""
    return Goal(what, ratio.value, bound, "x", is_ceiling=True, spread=(ratio.low, ratio.high))


def at_most(what: str, figure: float, bound: float, unit: str) -> Goal:
    """Return the goal of needing no more than so much."""
    return Goal(what, figure, bound, unit, is_ceiling=True)
