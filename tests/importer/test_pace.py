"""The pace against a bucket as Exchange Online is thought to keep, in a time that is not real."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importer.pace import Pace, PaceLimits

_OCTETS_A_UNIT = 65_536


class Time:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Bucket:
    """The server's: who empties it gets nothing for the whole backoff."""

    burst: float
    recharge: float
    backoff: float
    jitter: float = 0.0
    changes: list[tuple[float, float]] = field(default_factory=list)
    """Seconds, and the recharge from then on."""
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    now: float = 0.0
    level: float = 0.0
    closed_until: float = 0.0
    refused: int = 0
    sent_inside: int = 0
    let_through: float = 0.0
    """What the burst and the recharge so far come to."""

    def __post_init__(self) -> None:
        self.level = self.let_through = self.burst

    def ask(self, now: float, octets: int) -> float | None:
        """Return the backoff, or None where the message is taken."""
        self.refill(now)
        if now < self.closed_until:
            self.sent_inside += 1
            return self.closed_until - now
        if self.level <= 0:
            self.refused += 1
            self.closed_until = now + self.backoff
            return self.backoff
        spread = self.chance.uniform(-self.jitter, self.jitter)
        self.level -= (1 + octets / _OCTETS_A_UNIT) * (1 + spread)
        return None

    def refill(self, now: float) -> None:
        while self.changes and now >= self.changes[0][0]:
            at, recharge = self.changes.pop(0)
            self._flow(at)
            self.recharge = recharge
        self._flow(now)

    def _flow(self, now: float) -> None:
        gained = self.recharge * (now - self.now)
        self.level = min(self.burst, self.level + gained)
        self.let_through += gained
        self.now = now


@dataclass(frozen=True)
class Run:
    efficiency: float
    """Of what the bucket, the line and the ceiling would have let through."""
    throttles: int
    sent_inside: int


def run(
    bucket: Bucket,
    seconds: float,
    *,
    octets: float = 5_000,
    varied: float = 0.0,
    latency: float = 0.03,
    most: float = 0.0,
) -> Run:
    time = Time()
    began = time.now
    chance = random.Random(2)
    pace = Pace(PaceLimits(most=most), time.clock, time.sleep)
    units, messages = 0.0, 0
    while True:
        size = int(min(octets * chance.lognormvariate(0, varied), 2_000_000))
        pace.wait(size)
        time.now += latency
        if time.now - began >= seconds:
            break
        told = bucket.ask(time.now - began, size)
        if told is None:
            pace.taken(size)
            units += 1 + size / _OCTETS_A_UNIT
            messages += 1
        else:
            time.sleep(pace.throttled(told))
            pace.resumed()
    bucket.refill(seconds)
    mean = units / messages
    possible = min(bucket.let_through, seconds / latency * mean)
    if most:
        possible = min(possible, seconds * most * mean)
    return Run(units / possible, bucket.refused, bucket.sent_inside)


REAL = 300.0
"""Seconds, as Exchange Online tells them."""


def test_over_long_backoffs_19_of_20_messages_go_that_could() -> None:
    ended = run(Bucket(120, 4, REAL), 70 * REAL, octets=65_536)

    assert ended.efficiency >= 0.95
    assert ended.sent_inside == 0


@pytest.mark.long
@pytest.mark.parametrize("most", [0.0, 4.0])
@pytest.mark.parametrize(("burst", "recharge"), [(120, 4), (60, 1), (60, 2), (480, 4), (240, 1)])
def test_whatever_the_budget_is_it_is_found_out(burst: float, recharge: float, most: float) -> None:
    ended = run(Bucket(burst, recharge, REAL), 70 * REAL, most=most)

    assert ended.efficiency >= (0.94 if burst == 480 else 0.95)  # a throttle more comes just then
    assert ended.sent_inside == 0


@pytest.mark.long
def test_even_a_tiny_burst_costs_no_more_than_a_tenth() -> None:
    ended = run(Bucket(30, 4, REAL), 70 * REAL)

    assert ended.efficiency >= 0.9


def test_in_twenty_backoffs_two_throttles_at_the_most_are_paid_for_learning() -> None:
    ended = run(Bucket(120, 4, REAL), 20 * REAL, octets=65_536)

    assert ended.throttles <= 2
    assert ended.efficiency >= 0.87


@pytest.mark.parametrize("backoff", [30.0, 3.0, 0.3])
def test_over_short_backoffs_19_of_20_messages_go_that_could(backoff: float) -> None:
    ended = run(Bucket(120, 4, backoff), 2000)

    assert ended.efficiency >= 0.95
    assert ended.sent_inside == 0


@pytest.mark.long
def test_a_server_that_counts_unevenly_is_understood() -> None:
    ended = run(Bucket(120, 4, REAL, jitter=0.3), 70 * REAL, octets=20_000, varied=1.5)

    assert ended.efficiency >= 0.93
    assert ended.sent_inside == 0


def test_large_messages_are_paced_by_their_octets() -> None:
    ended = run(Bucket(120, 4, REAL), 70 * REAL, octets=400_000, varied=0.5, latency=0.3)

    assert ended.efficiency >= 0.95


def test_a_budget_that_is_halved_is_found_out() -> None:
    changes = [(50 * REAL, 2.0)]

    ended = run(Bucket(120, 4, REAL, changes=changes), 100 * REAL, octets=130_000)

    assert ended.efficiency >= 0.9
    assert ended.sent_inside == 0


def test_a_ceiling_below_the_budget_is_never_throttled() -> None:
    ended = run(Bucket(120, 8, REAL), 3000, most=4)

    assert ended.throttles == 0
    assert ended.efficiency >= 0.95


def test_a_line_slower_than_the_budget_is_used_whole() -> None:
    ended = run(Bucket(120, 8, REAL), 3000, latency=0.4)

    assert ended.throttles == 0
    assert ended.efficiency >= 0.95


def test_a_backoff_is_waited_for_to_its_end_and_hardly_longer() -> None:
    time = Time()
    pace = Pace(PaceLimits(), time.clock, time.sleep)

    assert 0.3 <= pace.throttled(0.3) <= 0.3 * 1.03
    time.sleep(pace.throttled(0.3))
    pace.taken(1)
    assert 299.609 <= pace.throttled(299.609) <= 299.609 * 1.03
    assert pace.throttled(1e9) <= 600 * 1.03


def test_a_server_that_says_no_and_no_time_is_not_hammered() -> None:
    time = Time()
    pace = Pace(PaceLimits(), time.clock, time.sleep)

    waits = []
    for _ in range(12):
        waits.append(pace.throttled(0))
        time.sleep(waits[-1])

    assert waits[0] >= 0.1
    assert waits[-1] >= 60
    assert pace.throttles == 1


def test_many_throttles_in_an_hour_lower_the_pace_for_the_day() -> None:
    time = Time()
    pace = Pace(PaceLimits(), time.clock, time.sleep)
    last = pace.rate
    for _ in range(5):
        for _ in range(50):
            pace.wait(1000)
            pace.taken(1000)
        assert not pace.needs_lift
        last = pace.rate
        time.sleep(pace.throttled(300))
        pace.resumed()

    assert pace.needs_lift
    assert pace.throttles == 5
    assert 1500 <= pace.paused <= 1500 * 1.03
    for _ in range(500):
        pace.wait(1000)
        pace.taken(1000)
    assert pace.rate <= 0.9 * last
    time.now += 90_000
    assert not pace.needs_lift
    assert pace.throttles == 0


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["wait", "taken", "throttled", "jump"]),
            st.floats(-1000, 1000),
        ),
        max_size=60,
    ),
    most=st.sampled_from([0.0, 4.0]),
)
@settings(max_examples=60, deadline=None)
def test_nothing_goes_inside_a_backoff_whatever_the_clock_does(
    steps: list[tuple[str, float]], most: float
) -> None:
    time = Time()
    real = 0.0  # what passed in truth, jumps of the clock apart

    def sleep(seconds: float) -> None:
        nonlocal real
        assert seconds >= 0
        real += seconds
        time.now += seconds

    pace = Pace(PaceLimits(most=most), time.clock, sleep)
    closed_until = 0.0
    for step, value in steps:
        match step:
            case "wait":
                pace.wait(int(abs(value) * 1000))
                assert real >= closed_until - 1e-6
            case "taken":
                pace.taken(int(abs(value) * 1000))
            case "throttled":
                told = pace.throttled(value)
                assert told >= max(0.0, min(value, 600))
                closed_until = max(closed_until, real + max(0.0, min(value, 600)))
            case "jump":
                time.now -= abs(value)
            case _:
                pytest.fail(step)
        assert pace.rate > 0
        assert pace.paused >= 0


def test_a_clock_that_stands_still_or_jumps_back_in_a_pause_ends_all_the_same() -> None:
    naps: list[float] = []
    readings = iter([100.0, 100.0, 100.0, 50.0])
    pace = Pace(PaceLimits(), lambda: next(readings, 50.0), naps.append)

    seconds = pace.throttled(300)
    pace.wait(1)

    assert sum(naps) == pytest.approx(seconds)
