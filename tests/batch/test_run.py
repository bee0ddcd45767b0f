"""Who begins when, who waits for what, what follows a failure; clock and hours are passed in."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING

import pytest

from waystation.batch.ceilings import Ceilings
from waystation.batch.mailboxes import Mailbox
from waystation.batch.run import Batch, Ending, Limits, State
from waystation.batch.slots import Slots
from waystation.batch.turn import HaltedError, Turn
from waystation.batch.window import Window
from waystation.errors import ConnectionLostError, SignInError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DONE = Ending(0, "done", "")
UNLIMITED = Limits()


class Seen:
    """Keeps what a batch tells."""

    def __init__(self) -> None:
        self.states: list[tuple[str, State]] = []
        self.pauses: list[float] = []
        self.lock = threading.Lock()

    def state(self, mailbox: Mailbox, state: State, text: str, seconds: float | None) -> None:
        with self.lock:
            self.states.append((mailbox.name, state))
            if seconds is not None:
                self.pauses.append(seconds)

    def ended(self, mailbox: Mailbox, ending: Ending) -> None:
        with self.lock:
            self.states.append((mailbox.name, ending.state))

    def of(self, name: str) -> list[str]:
        return [state.value for who, state in self.states if who == name]


def mailboxes(names: Iterable[str], priority: int = 0) -> list[Mailbox]:
    return [Mailbox(n, name, name, priority=priority) for n, name in enumerate(names, 1)]


def run(
    task: Callable[[Mailbox, Turn], Ending], limits: Limits = UNLIMITED, names: str = "abc"
) -> tuple[dict[str, Ending], Seen]:
    seen = Seen()
    return Batch(mailboxes(names), task, seen, limits).run(), seen


def test_a_mailbox_that_fails_does_not_hold_up_the_others() -> None:
    def task(mailbox: Mailbox, turn: Turn) -> Ending:
        if mailbox.name == "b":
            raise ZeroDivisionError("the password is hunter2")
        return DONE

    endings, _ = run(task)

    assert {name: ending.exit_code for name, ending in endings.items()} == {"a": 0, "b": 1, "c": 0}
    assert "ZeroDivisionError at test_run.py:" in endings["b"].text
    assert "hunter2" not in endings["b"].text


def test_what_may_pass_is_tried_again_with_growing_pauses() -> None:
    def task(mailbox: Mailbox, turn: Turn) -> Ending:
        raise ConnectionLostError("mail.x.org", "reset")

    endings, seen = run(task, Limits(retry_after=0.001), "a")

    assert seen.of("a") == ["working", "retrying"] * 3 + ["working", "failed"]
    assert seen.pauses == [0.001, 0.005, 0.015]
    assert endings["a"].exit_code == 1


def test_progress_makes_good_for_what_failed_before() -> None:
    turns: list[int] = []

    def task(mailbox: Mailbox, turn: Turn) -> Ending:
        turns.append(len(turns))
        if len(turns) == 7:
            return DONE
        turn.did(1, 100)
        raise ConnectionLostError("mail.x.org", "reset")

    endings, seen = run(task, Limits(tries=2, retry_after=0.001), "a")

    assert endings["a"] == DONE
    assert set(seen.pauses) == {0.001}


def test_a_refused_sign_in_is_not_tried_again() -> None:
    def task(mailbox: Mailbox, turn: Turn) -> Ending:
        raise SignInError("no")

    endings, seen = run(task, names="a")

    assert (seen.of("a"), endings["a"].exit_code) == (["working", "failed"], 12)


def test_never_more_are_at_work_than_there_are_slots() -> None:
    at_work: list[int] = [0, 0]
    lock = threading.Lock()

    def task(mailbox: Mailbox, turn: Turn) -> Ending:
        with lock:
            at_work[0] += 1
            at_work[1] = max(at_work)
        threading.Event().wait(0.005)
        with lock:
            at_work[0] -= 1
        return DONE

    run(task, Limits(connections=3), "abcdefghijkl")

    assert at_work == [0, 3]


def test_who_pauses_lets_another_one_work() -> None:
    others_done = Event()

    class Waited(Event):
        """The pause is as long as the others need."""

        def wait(self, timeout: float | None = None) -> bool:
            return others_done.wait(10)

    slots = Slots(1, lambda _: 0)
    turn = Turn("", slots, Ceilings(0, 0, time.monotonic), Waited(), lambda: 0.0)
    assert slots.try_take("")
    sleeper = threading.Thread(target=turn.sleep, args=(300.0,))
    sleeper.start()
    while slots.taken:
        time.sleep(0)

    assert slots.try_take("other")
    others_done.set()
    sleeper.join(0.05)
    assert sleeper.is_alive()  # it waits for its slot, which the other one has
    assert not slots.try_take("third")
    slots.give("other")
    sleeper.join(10)
    assert not sleeper.is_alive()
    assert [slots.taken] == [1]


def test_who_has_a_connection_that_counts_keeps_the_slot_in_a_pause() -> None:
    class AtOnce(Event):
        def wait(self, timeout: float | None = None) -> bool:
            taken.append(slots.taken)
            return False

    class Session:
        def drop(self) -> None:
            """Nothing to drop."""

        def cut(self) -> None:
            """Nothing to cut."""

    taken: list[int] = []
    slots = Slots(2, lambda _: 1)
    turn = Turn("mail.x.org", slots, Ceilings(0, 0, time.monotonic), AtOnce(), lambda: 0.0)
    assert slots.try_take("mail.x.org")
    turn.opened(Session())
    turn.sleep(300)
    turn.closed()
    turn.sleep(300)

    assert taken == [1, 0]


def test_one_host_does_not_take_the_slots_of_another() -> None:
    slots = Slots(3, lambda host: 1 if host == "slow" else 0)

    assert slots.try_take("slow")
    assert not slots.try_take("slow")
    assert slots.try_take("fast")
    assert slots.try_take("fast")
    assert not slots.try_take("fast")


def test_ceilings_count_for_all_together() -> None:
    now = [0.0]
    ceilings = Ceilings(10, 1000, lambda: now[0])

    assert ceilings.pay(1, 1) == pytest.approx(0.1)
    assert ceilings.pay(1, 500) == pytest.approx(0.6)
    now[0] = 100.0
    assert ceilings.pay(1, 1) == pytest.approx(0.1)
    assert Ceilings(0, 0, lambda: 0.0).pay(1000, 10**9) == 0


@pytest.mark.parametrize(
    ("text", "clock", "seconds"),
    [
        ("20:00-06:00", "21:30", 0),
        ("20:00-06:00", "05:59", 0),
        ("20:00-06:00", "06:00", 14 * 3600),
        ("9:00-17:30", "17:30", 15.5 * 3600),
        ("9:00-17:30", "08:59", 60),
    ],
)
def test_a_window_opens_when_it_says(text: str, clock: str, seconds: float) -> None:
    now = datetime.strptime(f"2026-05-04 {clock} +0000", "%Y-%m-%d %H:%M %z")

    assert Window.of(text).opens_in(now) == seconds


@pytest.mark.parametrize("text", ["", "20-06", "24:00-06:00", "20:00-20:00", "20:00", "x"])
def test_other_words_are_no_window(text: str) -> None:
    with pytest.raises(UsageError):
        Window.of(text)


def test_outside_of_its_hours_a_mailbox_stops_and_goes_on_in_the_next_ones() -> None:
    wall = [datetime(2026, 5, 4, 5, 59, tzinfo=UTC)]
    turns: list[str] = []

    def task(mailbox: Mailbox, turn: Turn) -> Ending:
        turns.append(mailbox.name)
        if len(turns) == 2:
            return DONE
        wall[0] += timedelta(minutes=2)
        turn.did(1, 1)
        raise AssertionError("it works on after six")

    class Opening(Seen):
        def state(self, mailbox: Mailbox, state: State, text: str, seconds: float | None) -> None:
            super().state(mailbox, state, text, seconds)
            if state is State.CLOSED:
                wall[0] = datetime(2026, 5, 4, 20, 0, tzinfo=UTC)
                batch._slots.changed.notify_all()

    seen = Opening()
    limits = Limits(between=Window.of("20:00-06:00"))
    batch = Batch(mailboxes("a"), task, seen, limits, now=lambda: wall[0])

    assert batch.run() == {"a": DONE}
    assert seen.of("a") == ["working", "closed", "working", "done"]


def test_an_interruption_halts_all_and_cuts_their_connections() -> None:
    cut: list[str] = []
    halted: list[str] = []
    opened: list[str] = []

    class Session:
        def __init__(self, name: str) -> None:
            self.name = name
            self.is_cut = Event()

        def drop(self) -> None:
            """Nothing to drop."""

        def cut(self) -> None:
            cut.append(self.name)
            self.is_cut.set()

    def task(mailbox: Mailbox, turn: Turn) -> Ending:
        session = Session(mailbox.name)
        turn.opened(session)
        opened.append(mailbox.name)
        assert session.is_cut.wait(10)
        try:
            raise ConnectionLostError("mail.x.org", "cut")
        finally:
            halted.append(mailbox.name)

    seen = Seen()
    batch = Batch(mailboxes("ab"), task, seen)

    def interrupt(timeout: float | None = None) -> bool:
        while len(opened) < 2:
            batch._slots.changed.release()
            time.sleep(0)
            batch._slots.changed.acquire()
        raise KeyboardInterrupt

    batch._slots.changed.wait = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        batch.run()

    assert sorted(halted) == ["a", "b"]
    assert sorted(cut) == ["a", "b"]
    assert "failed" not in seen.of("a") + seen.of("b")


def test_a_turn_that_is_halted_opens_nothing_more() -> None:
    stopping = Event()
    turn = Turn("", Slots(1, lambda _: 0), Ceilings(0, 0, time.monotonic), stopping, lambda: 0.0)
    dropped: list[str] = []

    class Session:
        def drop(self) -> None:
            dropped.append("dropped")

        def cut(self) -> None:
            """Nothing to cut."""

    stopping.set()
    with pytest.raises(HaltedError):
        turn.opened(Session())

    assert dropped == ["dropped"]


def test_what_nobody_can_be_told_ends_the_batch() -> None:
    class Deaf(Seen):
        def ended(self, mailbox: Mailbox, ending: Ending) -> None:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        Batch(mailboxes("abc"), lambda *_: DONE, Deaf()).run()
