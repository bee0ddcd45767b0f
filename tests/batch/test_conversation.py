"""What a worker tells of a mailbox, and what is made of it where the batch was begun."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any, cast

import pytest

from waystation.batch.ceilings import Ceilings
from waystation.batch.cluster import LostError
from waystation.batch.mailboxes import Mailbox
from waystation.batch.run import Ending, State
from waystation.batch.slots import Slots
from waystation.batch.turn import ClosedError, HaltedError, Turn
from waystation.cli.batch_dask import Conversation, Elsewhere, FailedThereError
from waystation.cli.board import Board
from waystation.cli.output import JsonLines

if TYPE_CHECKING:
    from waystation.batch.cluster import Errand
    from waystation.cli.batch_dask import Workers

BOB = Mailbox(1, "bob", "bob")


class Cluster:
    """What a conversation asks of all workers; also the errand."""

    failure = ""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.granted = Event()

    def is_at(self, key: str, worker: str) -> None:
        self.places.append(worker)

    def grant(self, key: str) -> None:
        self.granted.set()


class Talk:
    """A conversation, and both ends of it."""

    def __init__(self, opens_in: float = 0.0) -> None:
        self.cluster = Cluster()
        self.told: SimpleQueue[tuple[str, list[Any]]] = SimpleQueue()
        self.stopping = Event()
        self.slots = Slots(1, lambda _: 0)
        assert self.slots.try_take("")
        ceilings = Ceilings(0, 0, time.monotonic)
        self.turn = Turn("", self.slots, ceilings, self.stopping, lambda: opens_in)
        self.board = Board("batch import", [BOB], JsonLines("batch import"))
        self.conversation = Conversation(
            cast("Workers", self.cluster),
            "k",
            BOB,
            self.turn,
            self.board,
            self.told,
            cast("Errand", self.cluster),
        )

    def tell(self, name: str, *words: object) -> None:
        self.told.put((name, list(words)))


def test_what_is_told_from_there_is_seen_here() -> None:
    talk = Talk()
    talk.tell("begun", "tcp://a:1")
    talk.tell("lease", "taken", 1, "tcp://a:1")
    talk.tell("expect", 3)
    talk.tell("advance", 2, 100)
    talk.tell("close", "no word of a listener's that counts")
    talk.tell("say", "three sent")
    talk.tell("summary", "done", 0, {"appended": 3})
    talk.tell("over")
    talk.tell("lease", "released", 1, "tcp://a:1")
    talk.tell("finished")

    assert talk.conversation.follow() == Ending(0, "done", "three sent", {"appended": 3})
    row = talk.board.rows["bob"]
    assert (row.done, row.octets, row.expected, row.state) == (2, 100, 3, State.WORKING)
    assert (talk.turn.messages, talk.cluster.places) == (2, ["tcp://a:1"])


def test_a_mailbox_that_begins_again_elsewhere_goes_on_counting() -> None:
    talk = Talk()
    for worker in ("tcp://a:1", "tcp://b:1"):
        talk.tell("begun", worker)
        talk.tell("advance", 2, 100)
    talk.tell("over")
    talk.tell("finished")

    talk.conversation.follow()

    assert talk.board.rows["bob"].done == 4
    assert talk.cluster.places == ["tcp://a:1", "tcp://b:1"]


def test_what_failed_there_fails_here_with_all_that_counts() -> None:
    talk = Talk()
    talk.tell("begun", "tcp://a:1")
    talk.tell("failed", "refused\x1b[2J", 12, False, None)

    with pytest.raises(FailedThereError) as caught:
        talk.conversation.follow()

    assert (str(caught.value), caught.value.exit_code) == ("refused?[2J", 12)
    assert not caught.value.retriable
    talk.conversation.await_end()  # it has ended, and is not waited for


def test_a_pause_that_a_server_asks_for_there_is_kept_here() -> None:
    talk = Talk()
    talk.tell("failed", "throttled", 1, True, 120)

    with pytest.raises(FailedThereError) as caught:
        talk.conversation.follow()

    assert (caught.value.retriable, caught.value.backoff) == (True, 120.0)


@pytest.mark.parametrize("words", [("halted",), ("finished",)])
def test_a_mailbox_that_comes_back_without_an_end_is_tried_again(words: tuple[str]) -> None:
    talk = Talk()
    talk.tell(*words)

    with pytest.raises(LostError) as caught:
        talk.conversation.follow()

    assert caught.value.retriable


def test_who_goes_on_after_a_pause_waits_for_a_slot_of_the_whole_batch() -> None:
    talk = Talk()
    talk.tell("begun", "tcp://a:1")
    talk.tell("gives")
    follower = threading.Thread(target=talk.conversation.follow)
    follower.start()
    while talk.slots.taken:
        time.sleep(0)
    assert talk.slots.try_take("another")
    talk.tell("wants")
    assert not talk.cluster.granted.wait(0.05)

    talk.slots.give("another")

    assert talk.cluster.granted.wait(10)
    assert [talk.slots.taken] == [1]
    talk.tell("over")
    talk.tell("finished")
    follower.join(10)
    assert not follower.is_alive()


def test_a_batch_that_ends_calls_back_and_waits_for_the_worker_a_little() -> None:
    talk = Talk()
    talk.tell("begun", "tcp://a:1")
    talk.stopping.set()
    talk.conversation.cut()
    talk.tell("finished")  # for the scheduler it is over at once
    talk.tell("lease", "released", 1, "tcp://a:1")
    talk.tell("halted")

    with pytest.raises(HaltedError):
        talk.conversation.follow()
    talk.conversation.await_end()


def test_outside_of_its_hours_a_mailbox_is_called_back() -> None:
    talk = Talk(opens_in=3600)
    talk.tell("begun", "tcp://a:1")

    with pytest.raises(ClosedError):
        talk.conversation.follow()


def test_the_environment_of_other_machines_is_not_judged_here() -> None:
    environment = Elsewhere()

    assert environment.get("ANY_PASSWORD")
    assert (len(environment), list(environment)) == (0, [])
