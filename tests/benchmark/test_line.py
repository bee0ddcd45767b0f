"""A line delays every octet by its length, and by nothing else."""

from __future__ import annotations

import pytest

from scripts.benchmark.line import Line


def test_each_piece_comes_out_its_delay_after_it_went_in() -> None:
    line = Line(0.02)
    line.put(1.0, b"a")
    line.put(1.005, b"b")

    assert line.next_due() == pytest.approx(1.02)
    assert line.take(1.0199) is None
    assert line.take(1.0201) == b"a"
    assert line.take(1.0201) is None
    assert line.take(1.0251) == b"b"
    assert line.next_due() is None


def test_many_pieces_are_under_way_at_once() -> None:
    line = Line(0.075)
    for number in range(1000):
        line.put(5.0, b"%d" % number)

    out = [line.take(5.0751) for _ in range(1000)]

    assert out == [b"%d" % number for number in range(1000)]


def test_without_a_delay_a_piece_is_through_at_once() -> None:
    line = Line(0.0)
    line.put(7.0, b"a")

    assert line.take(7.0) == b"a"


def test_pieces_queue_before_a_line_of_limited_bandwidth() -> None:
    line = Line(0.02, bandwidth=1000.0)
    line.put(0.0, b"x" * 100)
    line.put(0.0, b"y" * 100)

    assert line.next_due() == pytest.approx(0.12)
    assert line.take(0.1201) == b"x" * 100
    assert line.next_due() == pytest.approx(0.22)


def test_a_line_that_was_idle_does_not_make_up_for_it() -> None:
    line = Line(0.0, bandwidth=1000.0)
    line.put(100.0, b"x" * 100)

    assert line.next_due() == pytest.approx(100.1)


def test_the_end_comes_after_all_that_was_said() -> None:
    line = Line(0.02, bandwidth=1000.0)
    line.put(0.0, b"x" * 100)
    line.put(0.0, b"")

    assert line.take(0.2) == b"x" * 100
    assert line.take(0.2) == b""


def test_what_is_under_way_is_counted() -> None:
    line = Line(1.0)
    line.put(0.0, b"12345")
    line.put(0.0, b"678")
    assert line.octets == 8

    line.take(1.0)

    assert line.octets == 3
