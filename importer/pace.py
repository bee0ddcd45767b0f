"""How fast stage two may go towards a server that throttles, such as Exchange Online.

Exchange Online gives every user a budget that it does not publish: a bucket of some burst, which
refills at some recharge (the terms are those of Microsoft's New-ThrottlingPolicy). Who empties it
gets nothing for about five minutes, which is far longer than the bucket takes to fill. So a
throttle costs much, and the pace has to stay just under the recharge.

The pace grows until the first throttle comes. How much went through until then allows a guess at
the recharge; the second throttle makes the guess good to a few per cent. From then on the pace is
held under it, and tries to grow again only when the last throttle has long been made good. Where
backoffs are so short that nothing is lost by them, it tries again at once.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_OCTETS_A_UNIT = 65_536
"""A message counts as one unit, and one more for so many octets: Exchange counts server time, and
many small commands use it up as well as large uploads do."""

_LONGEST_BACKOFF = 600.0
"""Twice the longest that was ever reported (299,961 ms); whoever says more is asked again then."""
_JITTER = 0.03
_GOLDEN = 0.618_034
_SHORTEST = 0.1
_LONGEST_OWN = 60.0

_CATCH_UP = 2.0
"""Seconds of lateness that are made good, so that a slow answer does not lower the pace."""

_FIRST_GROWTH = 60.0
"""Seconds in which the pace grows e-fold before the first throttle. 10 % per 200 messages would
need 15 minutes to double, and lose more by that than a throttle costs."""
_LATER_GROWTH = 300.0
_HELD = 100.0
"""The pace is held for so many times of what a throttle costs: trying costs 1 % at the most."""
_SURE = 0.06
"""Up to such a relative error of the recharge there is nothing to gain by trying."""
_BELOW_THE_LAST = 0.97
_MESSAGES_AN_ESTIMATE = 100

_FEW = 30.0
"""Where fewer units went through before a throttle, that says little: somebody else, or we a
moment ago, may have used the budget up. The pace is halved then, and nothing is learned."""
_FEW_TIMES = 3
_SLOWEST = 10.0
"""Seconds for a unit at the most, whatever the throttles seem to tell."""

_HOUR = 3600.0
_DAY = 24 * _HOUR
_MANY = 5
_MUCH = 600.0
_LOWERED = 0.9

_LOWEST = math.log(0.02)
_STEP = 0.08
_RECHARGES = tuple(math.exp(_LOWEST + n * _STEP) for n in range(131))
"""Units per second that are thought possible: 0.02 to 650."""
_PARTS = 8
_USUAL = math.log(30.0)
"""A bucket is taken to fill in 30 seconds, until throttles tell more; it is a guess, and weighs
little (a factor of 3 is one standard deviation)."""
_USUAL_SPREAD = 1.1
_NOISE = 0.1
_CONTRADICTION = 6.0
_REMEMBERED = 8
_FALL = 0.75
_UNSURE = 0.3


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """Where the pace starts, and what it never exceeds."""

    start: float = 2.0
    """Messages per second."""
    most: float = 4.0
    """Messages per second; 0 is no ceiling."""
    octets: float = 250_000.0
    """Octets per second to start with."""


class Pace:
    """The pace towards one mailbox, over all its connections.

    Clock and sleep are seconds. A clock that jumps back counts as one that stands still.
    """

    def __init__(
        self, limits: PaceLimits, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._sleep = sleep
        self._read = clock()
        self._now = 0.0
        self._due = 0.0
        self._closed_until = 0.0
        # Before the first throttle: how many times the pace of the start.
        self._ease = 1.0
        # From then on: units per second, and what it may grow to while it is held.
        self._units: float | None = None
        self._units_held = 0.0
        self._held_until = 0.0
        self._too_fast = 0.0
        self._few = 0
        self._since_throttle = 0.0
        self._told = _LONGEST_BACKOFF
        self._lowered_until = 0.0
        self._budget = _Budget()
        self._messages = 0
        self._mean_octets = 0.0
        self._throttles: deque[float] = deque()
        self._in_a_row = 0
        self._refusals = 0
        self._pause_began: float | None = None
        self._paused = 0.0

    def wait(self, octets: int) -> None:
        """Sleep until a message of so many octets may go; never returns inside a backoff."""
        self._look_at_clock()
        interval = self._interval(octets)
        waits = self._due > self._now
        self._due = max(self._due, self._now - _CATCH_UP)
        self._rest(max(self._due, self._closed_until) - self._now)
        self.resumed()
        self._due += interval
        if waits:  # where the line is slower than the pace, nothing is learned by growing
            self._grow(interval)

    def taken(self, octets: int) -> None:
        """Count a message, or another command, that went through."""
        self._look_at_clock()
        self._budget.spend(_cost(octets), self._now)
        self._in_a_row = 0
        self._since_throttle += _cost(octets)
        self._messages += 1
        share = max(1 / self._messages, 0.02)
        self._mean_octets += (octets - self._mean_octets) * share
        if self._units is not None and self._messages % _MESSAGES_AN_ESTIMATE == 0:
            self._budget.estimate()
            self._limit()

    def throttled(self, backoff: float) -> float:
        """Take note that the server refuses everything for so many seconds.

        Returns:
            Seconds to wait from now: what was told and up to 3 % more, so that not all mailboxes
            come back at once. More than 600 seconds are believed to be 600. Who is refused again
            and again with no message in between waits a little longer each time.
        """
        self._look_at_clock()
        told = min(backoff, _LONGEST_BACKOFF) if backoff > 0 else 0.0
        own = min(_SHORTEST * 2.0 ** min(self._in_a_row, 20), _LONGEST_OWN)
        self._refusals += 1
        self._in_a_row += 1
        if self._in_a_row == 1:
            self._learn(told)
        seconds = max(told, own) * (1 + _JITTER * (self._refusals * _GOLDEN % 1))
        self._closed_until = max(self._closed_until, self._now + seconds)
        self._due = self._closed_until
        if self._pause_began is None:
            self._pause_began = self._now
        self._last_taken = None
        return max(seconds, self._closed_until - self._now)

    def resumed(self) -> None:
        """Take note that the pause is over, when it is."""
        self._look_at_clock()
        if self._pause_began is not None and self._now >= self._closed_until:
            self._paused += self._now - self._pause_began
            self._pause_began = None

    @property
    def rate(self) -> float:
        """Messages per second that are allowed at present, of the size that was usual lately."""
        return 1 / self._interval(round(self._mean_octets))

    @property
    def throttles(self) -> int:
        """Throttles within the last hour; answers inside one backoff count once."""
        self._look_at_clock()
        self._forget()
        return len(self._throttles)

    @property
    def paused(self) -> float:
        """Seconds spent in backoffs so far."""
        self._look_at_clock()
        began = self._pause_began
        return self._paused + (0.0 if began is None else self._now - began)

    @property
    def needs_lift(self) -> bool:
        """Whether it pays to ask Microsoft's support to lift the throttling for some weeks."""
        self._look_at_clock()
        return self._now < self._lowered_until

    def _look_at_clock(self) -> None:
        read = self._clock()
        self._now += max(0.0, read - self._read)
        self._read = read

    def _rest(self, left: float) -> None:
        while left > 0:
            before = self._now
            self._sleep(left)
            self._look_at_clock()
            if self._now <= before:  # the clock was set back meanwhile, so trust the sleep
                self._now = before + left
            left -= self._now - before

    def _interval(self, octets: float) -> float:
        if self._units is None:
            seconds = max(1 / self._limits.start, octets / self._limits.octets) / self._ease
        else:
            seconds = _cost(octets) / self._units
            # To be throttled each time would cost no more than this.
            seconds = min(seconds, _cost(octets) * min(_SLOWEST, max(self._told, _SHORTEST)))
        return max(seconds, 1 / self._limits.most) if self._limits.most > 0 else seconds

    def _grow(self, seconds: float) -> None:
        if self._units is None:
            self._ease *= math.exp(min(1.0, seconds / _FIRST_GROWTH))
        elif self._now >= self._held_until:
            self._units *= math.exp(min(0.1, seconds / _LATER_GROWTH))
        elif self._units < self._units_held:
            grown = self._units * math.exp(min(0.1, seconds / _LATER_GROWTH))
            self._units = min(grown, self._units_held)

    def _learn(self, told: float) -> None:
        self._told = told
        few, self._since_throttle = self._since_throttle < _FEW, 0.0
        if few and self._units is None and self._few < _FEW_TIMES:
            self._few += 1
            self._ease /= 2
            self._budget = _Budget(self._now)
            self._throttles.append(self._now)
            return
        self._too_fast = self.rate * _cost(self._mean_octets)
        self._budget.empty(self._now, self._too_fast)
        lost = max(0.0, told - self._budget.burst / self._budget.recharge)
        self._held_until = self._now + told + _HELD * lost
        self._throttles.append(self._now)
        self._forget()
        if len(self._throttles) >= _MANY and len(self._throttles) * told >= _MUCH:
            self._lowered_until = self._now + _DAY
        if self._now < self._lowered_until:
            self._held_until = max(self._held_until, self._lowered_until)
        self._limit()
        self._units = min(self._units_held, self._budget.recharge * _below(self._budget.spread))

    def _limit(self) -> None:
        """Set how far the pace may grow while it is held."""
        budget = self._budget
        likely = budget.recharge * _below(budget.spread)
        likely *= math.exp(max(0.0, budget.spread - _SURE))
        self._units_held = min(likely, _BELOW_THE_LAST * self._too_fast)
        if self._now < self._lowered_until:
            self._units_held = min(self._units_held, _LOWERED * self._too_fast)

    def _forget(self) -> None:
        while self._throttles and self._throttles[0] <= self._now - _HOUR:
            self._throttles.popleft()


class _Budget:
    """What the throttles so far tell about burst and recharge of the server's bucket.

    For each recharge that could be, it follows how deep the bucket would have been drained. At a
    throttle this depth is the burst; with the true recharge it is the same at every throttle.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._time = now
        self._has_changed = False
        self._drained = [0.0] * len(_RECHARGES)
        self._deepest = [0.0] * len(_RECHARGES)
        self._bursts: deque[list[float]] = deque(maxlen=_REMEMBERED)
        self.recharge = 1.0
        """Units per second, the likeliest."""
        self.burst = 0.0
        """Units."""
        self.spread = 0.0
        """The relative error of the recharge, one standard deviation."""

    def spend(self, units: float, now: float) -> None:
        """Count what was let through."""
        self._refill(now)
        # The last one may take more than is left, so what counts is what was drained before it.
        self._deepest = list(map(max, self._deepest, self._drained))
        self._drained = [drained + units for drained in self._drained]

    def empty(self, now: float, pace: float) -> None:
        """Learn from a throttle that came at a pace of so many units per second."""
        self._refill(now)
        if 0 < self.spread < _SURE and self._depth() < self.burst / 2:
            # It came much too early: the recharge has fallen, and only the burst is still known.
            self._bursts.clear()
            self._drained = [self.burst] * len(_RECHARGES)
            self._bursts.append(_logs(self._drained))
            self.recharge, self.spread, self._has_changed = pace * _FALL, _UNSURE, True
            return
        self._has_changed = False
        self._bursts.append(_logs(self._drained))
        self._deepest = [0.0] * len(_RECHARGES)
        self.estimate()
        means = (sum(bursts) / len(bursts) for bursts in zip(*self._bursts, strict=True))
        self._drained = [math.exp(mean) for mean in means]

    def _refill(self, now: float) -> None:
        seconds = now - self._time
        self._time = now
        self._drained = [
            left if (left := drained - recharge * seconds) > 0 else 0.0
            for drained, recharge in zip(self._drained, _RECHARGES, strict=True)
        ]

    def _depth(self) -> float:
        """Return how far the bucket was drained, if the recharge was what it is taken to be."""
        place = (math.log(self.recharge) - _LOWEST) / _STEP
        n = min(max(int(place), 0), len(_RECHARGES) - 2)
        return self._drained[n] + (self._drained[n + 1] - self._drained[n]) * (place - n)

    def estimate(self) -> None:
        """Work out recharge and burst anew, with what went through since the last throttle."""
        if self._has_changed:
            return
        guesses = self._guesses()
        least = min(score for score, _, _ in guesses)
        while len(self._bursts) > 1 and least > _CONTRADICTION * len(self._bursts):
            self._bursts.popleft()  # the server changed its mind
            guesses = self._guesses()
            least = min(score for score, _, _ in guesses)
        weighed = [(math.exp((least - score) / 2), log, burst) for score, log, burst in guesses]
        total = sum(weight for weight, _, _ in weighed)
        mean = sum(weight * log for weight, log, _ in weighed) / total
        self.recharge = math.exp(mean)
        self.burst = math.exp(sum(weight * burst for weight, _, burst in weighed) / total)
        square = sum(weight * (log - mean) ** 2 for weight, log, _ in weighed)
        self.spread = math.sqrt(square / total)

    def _guesses(self) -> list[tuple[float, float, float]]:
        """Return for each recharge how unlikely it is, its logarithm, and that of its burst."""
        guesses = []
        columns = zip(*self._bursts, _logs(self._deepest), strict=True)
        for n, (here, there) in enumerate(pairwise(columns)):
            for part in range(_PARTS):
                share = part / _PARTS
                *seen, deepest = [a + (b - a) * share for a, b in zip(here, there, strict=True)]
                recharge = _LOWEST + (n + share) * _STEP
                burst = sum(seen) / len(seen)
                off = sum((each - burst) ** 2 for each in seen) + max(0.0, deepest - burst) ** 2
                unusual = (burst - recharge - _USUAL) / _USUAL_SPREAD
                guesses.append((off / _NOISE**2 + unusual**2, recharge, burst))
        return guesses


def _cost(octets: float) -> float:
    return 1 + octets / _OCTETS_A_UNIT


def _below(spread: float) -> float:
    """Return the share of the likeliest recharge that is used.

    A little: while the error is large, to be throttled again teaches more than it costs.
    """
    return math.exp(-max(0.004, 0.3 * min(0.2, spread)))


def _logs(values: list[float]) -> list[float]:
    return [math.log(max(1.0, value)) for value in values]
