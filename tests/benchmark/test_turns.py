"""Who runs when, and what the runs say together."""

from __future__ import annotations

import pytest

from scripts.benchmark.goals import at_least, at_most, ratio_at_most
from scripts.benchmark.measure import Incomplete, Run
from scripts.benchmark.turns import (
    Contender,
    Ratio,
    Series,
    measured_in_turns,
    times_as_fast,
    turns,
    wall_ratio,
)


def series(name: str, *walls: float, messages: int = 0) -> Series:
    return Series(name, messages=messages, runs=[Run(wall, wall / 2, wall * 1e6) for wall in walls])


def contender(name: str, log: list[str], *, rounds: int | None = None) -> Contender:
    def work() -> Run:
        log.append(name)
        return Run(1, 1, 1)

    return Contender(name, "", work, rounds=rounds)


def test_the_median_the_spread_and_the_highest_peak_of_several_runs() -> None:
    runs = series("x", 3.0, 1.0, 9.0, messages=30)

    assert runs.wall == 3.0
    assert runs.spread == (1.0, 9.0)
    assert runs.cpu == 1.5
    assert runs.peak == 9e6
    assert runs.rate == 10.0


def test_of_two_runs_the_median_is_their_middle() -> None:
    assert series("x", 1.0, 2.0).wall == 1.5


def test_a_ratio_is_one_of_medians_and_its_spread_is_that_within_a_round() -> None:
    ours, theirs = series("we", 1.0, 2.0, 4.0), series("they", 10.0, 10.0, 20.0)

    assert times_as_fast(ours, theirs) == Ratio(5.0, 5.0, 10.0)
    assert wall_ratio(ours, theirs) == Ratio(0.2, 0.1, 0.2)


def test_rates_are_compared_where_one_had_fewer_messages() -> None:
    ours, theirs = series("we", 2.0, messages=20_000), series("they", 20.0, messages=200)

    assert times_as_fast(ours, theirs) == Ratio(1000.0, 1000.0, 1000.0)


def test_one_with_fewer_rounds_is_paired_with_all_rounds_of_the_other() -> None:
    ours, theirs = series("we", 1.0, 2.0, 3.0), series("they", 6.0)

    assert times_as_fast(ours, theirs) == Ratio(3.0, 2.0, 6.0)


def test_every_round_runs_everybody_once_and_begins_with_another_one() -> None:
    log: list[str] = []
    everybody = [contender(name, log) for name in "abc"]

    orders = ["".join(each.name for each in order) for order in turns(everybody, 4)]

    assert orders == ["abc", "bca", "cab", "abc"]


def test_a_slow_one_takes_part_in_the_first_rounds_only() -> None:
    log: list[str] = []

    found = measured_in_turns([contender("a", log), contender("slow", log, rounds=1)], 3)

    assert log == ["a", "slow", "a", "a"]
    assert [len(each.runs) for each in found] == [3, 1]


def failing(name: str, *, is_peer: bool) -> Contender:
    def work() -> Run:
        raise Incomplete("17 of 20 by it")

    return Contender(name, "", work, is_peer=is_peer)


def test_a_peer_that_fails_is_left_out_and_says_why() -> None:
    log: list[str] = []

    ours, theirs = measured_in_turns([contender("we", log), failing("it", is_peer=True)], 2)

    assert len(ours.runs) == 2
    assert theirs.runs == []
    assert theirs.failure == "17 of 20 by it"


def test_a_failure_of_our_own_ends_the_bench() -> None:
    with pytest.raises(Incomplete, match="17 of 20"):
        measured_in_turns([failing("we", is_peer=False)], 1)


def test_a_goal_is_met_on_its_bound() -> None:
    assert at_least("rate", Ratio(4.5, 4.0, 5.0), 4.5).is_met
    assert not at_least("rate", Ratio(4.49, 4.0, 5.0), 4.5).is_met
    assert ratio_at_most("wall", Ratio(1.4, 1.3, 1.6), 1.4).is_met
    assert not at_most("peak memory", 64.1, 64.0, "MB").is_met


def test_a_goal_says_figure_spread_bound_and_verdict() -> None:
    told = str(at_least("rate, against it", Ratio(5.123, 4.0, 6.0), 4.5))

    assert told == "rate, against it: 5.12 x (4.00-6.00); goal 4.5 x or more: met"
