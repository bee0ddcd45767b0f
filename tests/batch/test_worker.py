"""A mailbox on a worker: what is sent to it, what it tells, and when it stops."""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Any, cast

import pytest

from waystation.batch.cluster import MISSING, Cluster, Here, scheduler_of
from waystation.batch.lease import Lease
from waystation.batch.mailboxes import End, Mailbox, Side, Surroundings, read_list
from waystation.batch.shares import owners, shares
from waystation.cli.batch_work import Export
from waystation.cli.batch_worker import (
    LEASES,
    Listed,
    Needs,
    Order,
    Post,
    Teller,
    attend,
    missing,
    without_password,
)
from waystation.cli.options import NO_SIGN_IN, USUAL_REACH, Reach
from waystation.errors import ConnectionLostError, SignInError, UsageError
from waystation.selection import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from waystation.batch.turn import Turn
    from waystation.cli.batch_work import Desk
    from waystation.cli.output import Listener

BOB = Mailbox(2, "bob", "bob", End("imaps://bob@x.org"))


class Worker:
    """What a worker of dask is to a mailbox; keeps what it is told."""

    address = "tcp://here:1"

    def __init__(self) -> None:
        self.told: list[list[Any]] = []
        self.is_wanted = True
        self.has_left = False

    def tell(self, topic: str, text: str) -> None:
        key, *words = json.loads(text)
        assert (topic, key) == ("b", "k")
        self.told.append(words)

    def wants(self, key: str) -> bool:
        return self.is_wanted

    def leave_pool(self) -> None:
        self.has_left = True

    def rejoin_pool(self) -> None:
        self.has_left = False

    def words(self, name: str) -> list[list[Any]]:
        return [words[1:] for words in self.told if words[0] == name]


@dataclass(frozen=True)
class Doing:
    """Work that a test says."""

    what: Callable[[Turn, Listener], None]

    def __call__(self, desk: Desk, mailbox: Mailbox, turn: Turn, listener: Listener) -> None:
        self.what(turn, listener)


def attended(
    root: Path, what: Callable[[Turn, Listener], None], worker: Worker, lease: float = 60
) -> Worker:
    order = Order("b", str(root), Doing(what), USUAL_REACH, NO_SIGN_IN, None, lease)
    attend(Post(order), BOB, "", Teller(cast("Here", worker), "b", "k"))
    return worker


class Session:
    """A connection that says nothing until it is cut."""

    def __init__(self) -> None:
        self.is_cut = Event()

    def drop(self) -> None:
        """Nothing to drop."""

    def cut(self) -> None:
        self.is_cut.set()


def test_what_is_done_on_a_worker_is_told_in_order_with_its_lease_around(tmp_path: Path) -> None:
    def work(turn: Turn, listener: Listener) -> None:
        listener.folder("INBOX\udcff", 2)
        listener.advance(1, 10)
        listener.advance(1, 20)
        listener.say("two")
        listener.summary("done", 0, {"new": 2})

    worker = attended(tmp_path, work, Worker())

    assert worker.told == [
        ["begun", "tcp://here:1"],
        ["lease", "taken", 1, "tcp://here:1"],
        ["folder", "INBOX\udcff", 2],
        ["advance", 2, 30],
        ["say", "two"],
        ["summary", "done", 0, {"new": 2}],
        ["over"],
        ["lease", "released", 1, "tcp://here:1"],
    ]


@pytest.mark.parametrize(
    ("error", "code", "passes"),
    [
        (ConnectionLostError("x.org", "reset"), 1, True),
        (SignInError("no"), 12, False),
        (PermissionError(13, "Permission denied", "file"), 1, False),
        (ZeroDivisionError("hunter2"), 1, False),
    ],
)
def test_what_goes_wrong_on_a_worker_is_told_without_secrets(
    tmp_path: Path, error: Exception, code: int, passes: bool
) -> None:
    def work(turn: Turn, listener: Listener) -> None:
        raise error

    worker = attended(tmp_path, work, Worker())

    ((text, found, may_pass, _),) = worker.words("failed")
    assert (found, may_pass) == (code, passes)
    assert "hunter2" not in text
    assert worker.words("lease")[-1][0] == "released"


def test_a_worker_whose_lease_was_taken_stops_before_its_next_step(tmp_path: Path) -> None:
    session = Session()
    steps = []

    def work(turn: Turn, listener: Listener) -> None:
        turn.opened(session)
        later = [0.0]

        def wait(seconds: float, owner: str, left: float) -> None:
            later[0] += 3600

        thief = Lease(tmp_path / LEASES / "bob", "thief", 1, lambda: later[0])
        thief.take(wait)
        assert session.is_cut.wait(20)
        steps.append("the connection is cut")
        listener.advance(1, 1)
        steps.append("one step too many")

    worker = attended(tmp_path, work, Worker(), lease=1)

    assert steps == ["the connection is cut"]
    ((text, code, passes, _),) = worker.words("failed")
    assert "lease of bob is lost" in text
    assert (code, passes) == (1, True)
    assert [what for what, *_ in worker.words("lease")] == ["taken", "lost"]


def test_a_mailbox_that_nobody_wants_any_more_stops_at_its_next_step(tmp_path: Path) -> None:
    worker, session = Worker(), Session()

    def work(turn: Turn, listener: Listener) -> None:
        turn.opened(session)
        worker.is_wanted = False
        assert session.is_cut.wait(20)
        raise ConnectionLostError("x.org", "cut")

    attended(tmp_path, work, worker)

    assert worker.told[-1] == ["halted"]
    assert worker.words("lease")[-1][0] == "released"


def test_a_mailbox_that_waits_for_anothers_lease_holds_no_place(tmp_path: Path) -> None:
    other = Lease(tmp_path / LEASES / "bob", "other", 60)
    other.take(lambda *_: None)
    worker = Worker()

    def tell(topic: str, text: str) -> None:
        Worker.tell(worker, topic, text)
        if worker.told[-1] == ["gives"]:
            other.release()
        if worker.told[-1] == ["wants"]:
            places.append(worker.has_left)
            post.grant("k")

    places: list[bool] = []
    worker.tell = tell  # type: ignore[method-assign]
    done: list[str] = []
    order = Order(
        "b", str(tmp_path), Doing(lambda *_: done.append("")), USUAL_REACH, NO_SIGN_IN, None, 2
    )
    post = Post(order)
    attend(post, BOB, "", Teller(cast("Here", worker), "b", "k"))

    assert (places, worker.has_left, done) == ([True], False, [""])
    assert worker.words("waiting")[0][1] == "waits for the lease of other to end"
    assert worker.words("lease")[0][:2] == ["taken", 2]


def test_no_password_is_sent_about(tmp_path: Path) -> None:
    from export.run import Options

    octets = b"mailbox,from,from_password\nbob,imaps://bob@x.org,hunter2\n"
    (tmp_path / "list.csv").write_bytes(octets)
    (bob,) = read_list(octets, Surroundings(Side.SOURCE)).mailboxes
    listed = Listed(str(tmp_path / "list.csv"), hashlib.sha256(octets).hexdigest(), None)
    work = Export(Options(), EVERYTHING)
    order = Order("b", "/r", work, Reach("PASSWORD"), NO_SIGN_IN, Side.SOURCE, 60, listed=listed)

    sent = pickle.dumps((order, without_password(bob)))

    assert b"hunter2" not in sent
    there, mailbox = pickle.loads(sent)
    assert (there, mailbox.source.password) == (order, None)
    assert there.listed.mailboxes()[mailbox.line] == bob


def test_a_list_with_passwords_has_to_be_the_same_one_on_the_worker(tmp_path: Path) -> None:
    listed = Listed(str(tmp_path / "list.csv"), "0" * 64, None)

    with pytest.raises(SignInError, match="cannot read it"):
        listed.mailboxes()
    (tmp_path / "list.csv").write_text("mailbox\nbob\n")
    with pytest.raises(SignInError, match="another one"):
        listed.mailboxes()


def test_a_worker_says_what_it_lacks_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = Order("b", str(tmp_path), Doing(print), USUAL_REACH, NO_SIGN_IN, Side.SOURCE, 60)
    here = cast("Here", Worker())
    needs = Needs(".b", ("OLD_PASSWORD",))
    monkeypatch.delenv("OLD_PASSWORD", raising=False)

    assert "has waystation" in missing(here, replace(order, version="0"), needs)
    assert "does not see" in missing(here, order, needs)
    (tmp_path / LEASES).mkdir()
    (tmp_path / LEASES / ".b").touch()
    assert missing(here, order, needs) == "lacks the environment variable OLD_PASSWORD"
    monkeypatch.setenv("OLD_PASSWORD", "x")
    assert missing(here, order, needs) == ""
    app_only = replace(order, sign_in=replace(NO_SIGN_IN, client_secret_env="NOT_SET_HERE"))
    assert "NOT_SET_HERE" in missing(here, app_only, needs)


def test_what_all_may_do_is_divided_by_who_works_on_how_many() -> None:
    assert shares(["a", "b"], {}) == {"a": 0.5, "b": 0.5}
    assert shares(["a", "b", "c"], {"a": 3, "b": 0, "gone": 9}) == {"a": 0.6, "b": 0.2, "c": 0.2}
    assert shares([], {"gone": 1}) == {}


def test_a_mailbox_stays_with_the_machine_that_has_its_archive() -> None:
    having = {"10.0.0.1": ["ada", "eve"], "10.0.0.2": ["bob"], "10.0.0.3": []}

    found = owners(["ada", "bob", "new", "newer"], having)

    assert found == {
        "ada": "10.0.0.1",
        "bob": "10.0.0.2",
        "new": "10.0.0.3",
        "newer": "10.0.0.1",
    }
    with pytest.raises(ValueError, match=r"ada lies on 10\.0\.0\.1 and on 10\.0\.0\.2"):
        owners(["ada"], {**having, "10.0.0.2": ["ada"]})


@pytest.mark.parametrize(
    ("engine", "address"),
    [
        ("dask://10.0.0.1:8786", "10.0.0.1:8786"),
        ("dask+tls://s.example:8786/", "tls://s.example:8786"),
        ("dask://[::1]:8786", "[::1]:8786"),
    ],
)
def test_an_engine_names_a_scheduler(engine: str, address: str) -> None:
    assert scheduler_of(engine) == address


@pytest.mark.parametrize("engine", ["dask", "dask://host", "tcp://h:1", "dask://h:0", "dask://:1"])
def test_other_words_are_no_engine(engine: str) -> None:
    with pytest.raises(UsageError, match="dask://HOST:PORT"):
        scheduler_of(engine)


def test_without_dask_the_command_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)

    with pytest.raises(UsageError) as caught:
        Cluster.connect("dask://localhost:8786")

    assert str(caught.value) == MISSING
    assert "pip install 'waystation[dask]'" in MISSING
