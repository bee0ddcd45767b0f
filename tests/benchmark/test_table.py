"""A table is read in a terminal, and by programs."""

from __future__ import annotations

import json

from scripts.benchmark.goals import at_least
from scripts.benchmark.measure import Run
from scripts.benchmark.table import WIDTH, Table
from scripts.benchmark.turns import FSYNC_PER_MESSAGE, SYNC_PER_BATCH, Ratio, Series


def table() -> Table:
    ours = Series("waystation export, 4 conn.", SYNC_PER_BATCH, 20_000, [Run(102.5, 201.7, 123e6)])
    theirs = Series("mbsync", FSYNC_PER_MESSAGE, 20_000, [Run(1010.0, 1005.25, 1015e6)] * 2)
    gone = Series("getmail", FSYNC_PER_MESSAGE, failure="3 of 20 by getmail " * 40)
    goal = at_least("rate, against mbsync's default", Ratio(9.85, 9.8, 9.9), 4.5)
    return Table("export-small", "20,000 messages; 2 rounds", [ours, theirs, gone], [goal])


def test_it_fits_a_terminal_of_100_columns() -> None:
    assert max(map(len, table().lines())) <= WIDTH == 100


def test_each_row_says_how_durable_its_contender_is() -> None:
    lines = list(table().lines())

    assert lines[2].endswith("sync per batch")
    assert lines[3].endswith("fsync per message")


def test_speeds_are_those_against_the_first_row() -> None:
    _, titles, ours, theirs, *_ = table().lines()

    assert titles.split()[:5] == ["msgs/s", "wall", "s", "min-max", "speed"]
    assert ours.split()[-6:] == ["1.00", "202", "123.0", "sync", "per", "batch"]
    assert theirs.split()[1:5] == ["20", "1010", "1010-1010", "0.10"]


def test_one_that_gave_up_has_no_row_but_a_reason() -> None:
    lines = list(table().lines())

    assert not any(line.startswith("  getmail ") and "fsync" in line for line in lines)
    assert any(line.startswith("  getmail gave up: 3 of 20") for line in lines)


def test_the_goal_stands_beside_the_ratio() -> None:
    goal = "  rate, against mbsync's default: 9.85 x (9.80-9.90); goal 4.5 x or more: met"

    assert goal in table().lines()


def test_json_has_every_run_and_whether_the_goal_is_met() -> None:
    found = json.loads(json.dumps(table().as_json()))

    assert found["series"][1]["runs"] == [{"wall": 1010.0, "cpu": 1005.25, "peak": 1015e6}] * 2
    assert found["series"][1]["durable"] == "fsync per message"
    assert found["goals"][0]["is_met"] is True
    assert found["goals"][0]["bound"] == 4.5
