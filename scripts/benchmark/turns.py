"""Contenders in turns, and what their runs say together: medians, spreads, ratios.

A machine that others use has slow minutes: so nobody has a minute for himself. Each round runs
every contender once and begins with another one, and a ratio is one of medians with the least and
the most that it was within one round.
"""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scripts.benchmark.measure import Incomplete, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

SYNC_PER_BATCH = "sync per batch"
FSYNC_PER_MESSAGE = "fsync per message"
JOURNAL = "own journal"
NOTHING = "none"
READS_ONLY = "reads only"


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who can do the work of a cell."""

    name: str
    durable: str
    """What is on the disk for good, and when, as its row says it."""
    work: Callable[[], Run]
    messages: int = 0
    """How many one run has to do with; 0 where a rate says nothing."""
    rounds: int | None = None
    """How often at the most, for one that is slow."""
    is_peer: bool = False
    """Whether the others go on where it fails."""


@dataclass(slots=True)
class Series:
    """The runs of one contender."""

    name: str
    durable: str = ""
    messages: int = 0
    runs: list[Run] = field(default_factory=list)
    failure: str | None = None
    """Why there are no more."""

    @property
    def wall(self) -> float:
        """The median of the seconds by the clock."""
        return statistics.median(run.wall for run in self.runs)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the most seconds by the clock."""
        walls = [run.wall for run in self.runs]
        return min(walls), max(walls)

    @property
    def cpu(self) -> float:
        """The median of the seconds of processor."""
        return statistics.median(run.cpu for run in self.runs)

    @property
    def peak(self) -> float:
        """The highest peak of all runs, in octets."""
        return max(run.peak for run in self.runs)

    @property
    def rate(self) -> float:
        """Messages in a second, of the median."""
        return self.messages / self.wall


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of medians, and its least and its most within one round."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}-{self.high:.2f})"


def times_as_fast(ours: Series, theirs: Series) -> Ratio:
    """Return our rate by theirs: how many times faster we are.

    Where a rate says nothing, the same work took both of them so long.
    """
    scale = ours.messages / theirs.messages if ours.messages and theirs.messages else 1.0
    each = [scale * their.wall / our.wall for our, their in _paired(ours, theirs)]
    return Ratio(scale * theirs.wall / ours.wall, min(each), max(each))


def wall_ratio(ours: Series, theirs: Series) -> Ratio:
    """Return our time by theirs for the same work."""
    each = [our.wall / their.wall for our, their in _paired(ours, theirs)]
    return Ratio(ours.wall / theirs.wall, min(each), max(each))


def _paired(first: Series, second: Series) -> Iterable[tuple[Run, Run]]:
    """Return the runs of the same round; all with all, where one had fewer rounds."""
    if len(first.runs) == len(second.runs):
        return zip(first.runs, second.runs, strict=True)
    return itertools.product(first.runs, second.runs)


def in_words(rounds: int) -> str:
    """Return how often all of them ran."""
    return "1 round" if rounds == 1 else f"{rounds} rounds in turns"


def turns(contenders: Sequence[Contender], rounds: int) -> Iterator[list[Contender]]:
    """Yield who runs in each round, in which order; every round begins with another one."""
    for number in range(rounds):
        begin = number % len(contenders)
        order = [*contenders[begin:], *contenders[:begin]]
        yield [each for each in order if each.rounds is None or number < each.rounds]


def measured_in_turns(contenders: Sequence[Contender], rounds: int) -> list[Series]:
    """Run all of them in turns; return their runs, in the order in which they were given.

    A peer that fails does not run again, and its series tells why.

    Raises:
        Incomplete: one that is no peer failed.
    """
    series = {each.name: Series(each.name, each.durable, each.messages) for each in contenders}
    for order in turns(contenders, rounds):
        for contender in order:
            own = series[contender.name]
            if own.failure is not None:
                continue
            try:
                own.runs.append(contender.work())
            except Incomplete as error:
                if not contender.is_peer:
                    raise
                own.failure = str(error)
    return list(series.values())
