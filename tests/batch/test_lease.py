"""A mailbox belongs to one worker at a time; clocks and waiting are passed in."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from waystation.batch.lease import (
    USUAL,
    Lease,
    LeaseLostError,
    Record,
    Sight,
    Take,
    Wait,
    boot_clock,
    decide,
    is_safe,
)
from waystation.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

ADA = Record("worker-a", "t1", 60.0)


class Clock:
    """The clock of one machine."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float, owner: str, left: float) -> None:
        self.now += seconds


def not_at_all(seconds: float, owner: str, left: float) -> None:
    raise AssertionError(f"nobody has to wait, and it waits for {owner}")


def test_who_finds_no_lease_takes_the_first() -> None:
    assert decide(Sight(), 0) == Take(1)


def test_a_lease_is_left_alone_until_it_has_not_changed_for_as_long_as_it_says() -> None:
    sight = Sight(7, ADA.octets())

    assert decide(sight, 0) == Wait(60, "worker-a")
    assert decide(sight, 59.5) == Wait(0.5, "worker-a")
    assert decide(sight, 60) == Take(8)


def test_a_lease_that_was_given_back_is_free_at_once() -> None:
    assert decide(Sight(7, replace(ADA, is_released=True).octets()), 0) == Take(8)


@pytest.mark.parametrize(
    "octets", [b"", b"{", b"[]", b"null", b"\xff" * 512, b'{"owner": 1}', b"9" * 500]
)
def test_a_lease_that_says_nothing_counts_as_one_just_made(octets: bytes) -> None:
    assert decide(Sight(7, octets), 0) == Wait(USUAL, "unknown")
    assert decide(Sight(7, octets), USUAL) == Take(8)


def test_no_lease_can_say_that_it_lasts_for_ever() -> None:
    forged = replace(ADA, seconds=1e12, owner="a\x1b[2J\nb")

    assert decide(Sight(1, forged.octets()), 0) == Wait(3600, "a?[2J?b")


@pytest.mark.parametrize("seconds", [1.0, 60.0, 3600.0])
def test_an_owner_gives_up_before_it_is_given_up_though_its_clock_is_a_tenth_slow(
    seconds: float,
) -> None:
    by_the_owners_clock = next(t for t in range(36_000) if not is_safe(seconds, t * seconds / 1000))
    in_truth = by_the_owners_clock * seconds / 1000 / 0.9
    by_the_watchers_clock = in_truth * 1.1

    decision = decide(Sight(1, replace(ADA, seconds=seconds).octets()), by_the_watchers_clock)

    assert isinstance(decision, Wait)


def test_a_dead_workers_mailbox_goes_on_elsewhere_however_far_their_clocks_are_apart(
    tmp_path: Path,
) -> None:
    dead = Lease(tmp_path / "bob", "dead", 60, Clock(1e9))
    dead.take(not_at_all)
    clock = Clock(-5000.0)
    next_one = Lease(tmp_path / "bob", "next", 60, clock)

    next_one.take(clock.wait)

    assert (next_one.number, next_one.is_held) == (2, True)
    assert clock.now == pytest.approx(-5000 + 60)
    with pytest.raises(LeaseLostError):
        dead.renew()
    assert not dead.is_held


def test_an_owner_that_renews_is_never_given_up(tmp_path: Path) -> None:
    clock = Clock()
    owner = Lease(tmp_path / "bob", "owner", 60, clock)
    owner.take(not_at_all)
    other = Lease(tmp_path / "bob", "other", 60, clock)

    class EnoughError(Exception):
        pass

    def wait(seconds: float, name: str, left: float) -> None:
        clock.now += seconds
        if owner.renews_in <= 0:
            owner.renew()
        if clock.now > 1000:
            raise EnoughError

    with pytest.raises(EnoughError):
        other.take(wait)

    assert owner.is_held
    owner.release()
    other.take(not_at_all)
    assert other.number == 2


def test_an_owner_that_could_not_renew_in_time_has_lost_it_before_anybody_takes_it(
    tmp_path: Path,
) -> None:
    clock = Clock()
    owner = Lease(tmp_path / "bob", "owner", 60, clock)
    owner.take(not_at_all)
    clock.now = 45.0

    assert not owner.is_held
    with pytest.raises(LeaseLostError):
        owner.renew()


def test_a_disk_that_does_not_answer_for_a_moment_costs_no_lease(tmp_path: Path) -> None:
    clock = Clock()
    owner = Lease(tmp_path / "bob", "owner", 60, clock)
    owner.take(not_at_all)
    clock.now = 20.0
    file = tmp_path / "bob" / "1"
    kept = file.read_bytes()
    file.unlink()
    file.mkdir()  # opening it for writing fails, and it is not missing

    owner.renew()

    assert owner.is_held
    file.rmdir()
    file.write_bytes(kept)
    clock.now = 40.0
    owner.renew()
    clock.now = 80.0
    assert owner.is_held


def test_a_lease_that_was_taken_is_neither_renewed_nor_given_back_over_its_new_owner(
    tmp_path: Path,
) -> None:
    frozen = Lease(tmp_path / "bob", "frozen", 60, Clock())
    frozen.take(not_at_all)
    clock = Clock()
    thief = Lease(tmp_path / "bob", "thief", 60, clock)
    thief.take(clock.wait)
    before = (tmp_path / "bob" / "2").read_bytes()

    frozen.release()

    assert [path.name for path in (tmp_path / "bob").iterdir()] == ["2"]
    assert (tmp_path / "bob" / "2").read_bytes() == before
    thief.renew()


def test_who_was_frozen_between_looking_and_making_withdraws(tmp_path: Path) -> None:
    folder = tmp_path / "bob"
    slow = Lease(folder, "slow", 60, Clock())
    folder.mkdir()
    (folder / "3").write_bytes(ADA.octets())

    assert not slow._make(2)
    assert [path.name for path in folder.iterdir()] == ["3"]


def test_of_many_who_want_a_mailbox_one_works_on_it_at_a_time(tmp_path: Path) -> None:
    at_work = [0, 0]
    numbers = []
    pause = threading.Event()

    def a_moment(seconds: float, owner: str, left: float) -> None:
        pause.wait(0.001)

    def turn(name: str) -> None:
        for _ in range(5):
            lease = Lease(tmp_path / "bob", name, 30, boot_clock)
            lease.take(a_moment)
            at_work[0] += 1
            at_work[1] = max(at_work)
            lease.renew()
            numbers.append(lease.number)
            at_work[0] -= 1
            lease.release()

    threads = [threading.Thread(target=turn, args=(f"w{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert at_work == [0, 1]
    assert len(set(numbers)) == len(numbers) == 30
    assert numbers == sorted(numbers)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "bob").write_text("")

    with pytest.raises(StorageError, match="bob"):
        Lease(tmp_path / "bob", "a").take(not_at_all)
