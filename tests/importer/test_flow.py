"""The window of an import follows the speed of the target."""

from __future__ import annotations

from importer.flow import Ceiling, Flow
from importer.target import Window


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def room(flow: Flow) -> int:
    return next(number for number in range(1000) if not flow.has_room(number, 0))


def test_a_target_that_has_answered_nothing_gets_few_messages() -> None:
    assert room(Flow(Window(128, 8_000_000), Clock())) == 2


def test_a_fast_target_gets_as_many_as_it_answers_in_half_a_second() -> None:
    clock = Clock()
    flow = Flow(Window(128, 8_000_000), clock)
    for _ in range(40):
        clock.now += 0.01
        flow.answered(1000)

    assert room(flow) == 42


def test_no_target_gets_more_than_its_window() -> None:
    clock = Clock()
    flow = Flow(Window(128, 8_000_000), clock)
    for _ in range(1000):
        clock.now += 0.0001
        flow.answered(1000)

    assert room(flow) == 128


def test_a_target_that_becomes_slow_gets_few_again() -> None:
    clock = Clock()
    flow = Flow(Window(128, 8_000_000), clock)
    for _ in range(100):
        flow.answered(1000)
    clock.now += 10

    assert room(flow) == 2


def test_large_messages_fill_the_window_by_their_octets() -> None:
    flow = Flow(Window(128, 8_000_000), Clock())

    assert flow.has_room(0, 0)
    assert flow.has_room(1, 100_000)
    assert not flow.has_room(1, 200_000)


def test_one_by_one_waits_for_every_answer() -> None:
    flow = Flow(Window(1, 0), Clock())

    assert flow.has_room(0, 0)
    assert not flow.has_room(1, 10)


def test_a_target_that_complains_gets_half_as_much_and_then_slowly_more() -> None:
    ceiling = Ceiling()
    flow = Flow(Window(128, 8_000_000), Clock(), ceiling)
    for _ in range(100):
        flow.answered(1000)
    assert room(flow) == 102

    ceiling.complained(100)
    assert room(flow) == 50
    ceiling.complained(50)
    assert room(flow) == 25
    for _ in range(16):
        ceiling.taken()
    assert room(flow) == 27


def test_a_target_that_complains_all_the_time_still_gets_one_message() -> None:
    ceiling = Ceiling()
    for _ in range(20):
        ceiling.complained(3)

    assert room(Flow(Window(128, 8_000_000), Clock(), ceiling)) == 1
