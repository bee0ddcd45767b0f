"""An import over several connections: each folder in one hand, each message exactly once."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from importer import baton
from importer.refusals import TargetFullError
from importer.target import Window
from store.database import Database
from store.transfers import TransferState
from tests.compare import snapshot
from tests.fakes.imap_server import Answer, Cut
from tests.fakes.memory_target import Crash, MemoryServer, MemoryTarget
from tests.importer.support import NOON, Mail, connector, mail, server
from tests.servers.dovecot import Dovecot
from waystation.errors import ConnectionLostError, RefusedError
from waystation.retry import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = ("INBOX", "Projects", "Projects/2024", "Sent", "Old")
EACH = 12
ALL = EACH * len(FOLDERS)


@pytest.fixture(autouse=True)
def _few_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take up connections for few messages; see that nobody waits within a transaction."""
    monkeypatch.setattr("importer.lanes._WORTH", 1)
    passed_on, atomic = baton.Baton.passed_on, Database.atomic
    within = 0

    @contextmanager
    def counted(self: Database) -> Iterator[None]:
        nonlocal within
        within += 1
        try:
            with atomic(self):
                yield
        finally:
            within -= 1

    @contextmanager
    def watched(self: baton.Baton) -> Iterator[None]:
        assert not within
        with passed_on(self):
            yield

    monkeypatch.setattr(Database, "atomic", counted)
    monkeypatch.setattr(baton.Baton, "passed_on", watched)


def fill(archive: Mail) -> None:
    for number in range(ALL):
        folder = FOLDERS[number % len(FOLDERS)]
        archive.add(mail(number // 2), folder, date=NOON + timedelta(days=number % 7 * 60))


def assert_each_once(archive: Mail, target: MemoryServer) -> None:
    assert target.everything() == archive.expected()
    for name in FOLDERS:
        rows = [m for m in archive.archive.index.messages() if m.folder == name]
        uids = [archive.place_of(m)[2] for m in rows]
        assert sorted(uids, key=str) == sorted(target.user.folder(name).uids, key=str)
    assert not [each for each in threading.enumerate() if "lane" in each.name]


def test_all_folders_arrive_over_several_connections(
    mail_archive: Mail, target: MemoryServer
) -> None:
    fill(mail_archive)

    result = mail_archive.replay(target.connect, connections=3)

    assert (result.appended, result.is_complete) == (ALL, True)
    assert target.connections <= 3
    assert (mail_archive.listener.advanced, mail_archive.listener.expected) == (ALL, ALL)
    assert_each_once(mail_archive, target)


def test_each_folder_is_in_one_hand_at_a_time(mail_archive: Mail) -> None:
    fill(mail_archive)
    with server(multiappend=True) as running:

        def wait_for_all(body: bytes) -> bytes | None:
            while running.connections < 4:
                running.stopping.wait(0.01)
            return None

        running.script.append.refuse = wait_for_all
        mail_archive.replay(connector(running.port), connections=4)
        assert running.connections == 4
        opened: dict[int, str] = {}
        for number, side, line in running.log:
            words = line.decode("latin-1").split()
            if side == "C" and words[1:2] == ["SELECT"]:
                opened[number] = " ".join(words[2:])
            elif side == "C" and words[1:2] == ["APPEND"]:
                assert opened[number] == words[2]
                assert sum(words[2] == name for name in opened.values()) == 1
            elif side == "C" and words[1:2] == ["LOGOUT"]:
                opened.pop(number, None)
        held = {folder.name: sorted(folder.bodies) for folder in running.mailboxes["bob"].folders}
    for name, bodies in mail_archive.expected().items():
        assert held[name] == sorted(bodies.elements())


def test_no_more_connections_are_taken_up_than_there_are_folders(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1))
    mail_archive.add(mail(2), "Sent")

    mail_archive.replay(target.connect, connections=9)

    assert target.connections <= 2


def test_a_few_messages_are_not_worth_another_connection(
    mail_archive: Mail, target: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importer.lanes._WORTH", ALL)
    fill(mail_archive)

    mail_archive.replay(target.connect, connections=4)

    assert target.connections == 1
    assert_each_once(mail_archive, target)


def test_folders_that_go_into_one_are_in_one_hand(mail_archive: Mail, target: MemoryServer) -> None:
    fill(mail_archive)

    mail_archive.replay(
        target.connect, connections=4, folder_map={"Old": "Sent", "Projects": "Sent"}
    )

    assert len(target.user.folder("Sent").messages) == 3 * EACH
    assert target.connections <= 3


def test_a_further_connection_that_is_refused_leaves_the_work_to_the_others(
    mail_archive: Mail, target: MemoryServer
) -> None:
    fill(mail_archive)

    @contextmanager
    def connect() -> Iterator[MemoryTarget]:
        if target.connections >= 2:
            raise RefusedError("LOGIN", "[LIMIT] Maximum number of connections exceeded")
        with target.connect() as opened:
            yield opened

    result = mail_archive.replay(connect, connections=4)

    assert (result.appended, result.is_complete) == (ALL, True)
    told = [text.split(":")[0] for _, text in mail_archive.listener.notes]
    assert set(told) <= {f"goes on with {left} connections" for left in (2, 3)}
    assert mail_archive.slept == []
    assert_each_once(mail_archive, target)


@pytest.mark.parametrize("action", [Cut(), Cut(after=True), Answer(b"BYE that is enough")])
def test_a_connection_that_ends_does_not_disturb_the_others(
    mail_archive: Mail, action: Cut | Answer
) -> None:
    fill(mail_archive)
    with server(multiappend=True) as running:
        running.script.on("APPEND", action, first=5, times=1)
        result = mail_archive.replay(connector(running.port), connections=3)

        # one is replaced, and perhaps another taken up at the end for what is left
        assert running.connections <= 5
        held = {folder.name: sorted(folder.bodies) for folder in running.mailboxes["bob"].folders}
    assert result.is_complete
    for name, bodies in mail_archive.expected().items():
        assert held[name] == sorted(bodies.elements())


@pytest.mark.parametrize("uidplus", [True, False])
@pytest.mark.parametrize("gathers", [0, 10_000])
@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("numbers", [{1}, {2, 3}, {9}, {20, 30, 40}, {ALL}, {ALL - 1, 5}])
def test_lines_that_break_at_any_message_cost_and_double_none(
    mail_archive: Mail, numbers: set[int], is_stored: bool, gathers: int, uidplus: bool
) -> None:
    fill(mail_archive)
    target = MemoryServer(uidplus=uidplus, window=Window(20, 10**6), gathers=gathers)
    (target.wrong.lose_after if is_stored else target.wrong.lose_before).update(numbers)

    result = mail_archive.replay(target.connect, connections=3)

    assert result.is_complete
    assert_each_once(mail_archive, target)


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("number", [1, 2, 9, 30, ALL])
def test_a_run_that_dies_in_one_of_its_threads_costs_and_doubles_none(
    mail_archive: Mail, number: int, is_stored: bool
) -> None:
    fill(mail_archive)
    target = MemoryServer(window=Window(20, 10**6), gathers=10_000)
    (target.wrong.crash_after if is_stored else target.wrong.crash_before).add(number)
    with pytest.raises(Crash):
        mail_archive.replay(target.connect, connections=3)

    mail_archive.replay(target.connect, connections=3)

    assert_each_once(mail_archive, target)


def test_lines_that_are_all_dead_end_the_run(mail_archive: Mail, target: MemoryServer) -> None:
    fill(mail_archive)
    target.wrong.lose_before = set(range(1, 1000))

    with pytest.raises(ConnectionLostError):
        mail_archive.replay(target.connect, connections=3)
    target.behave()
    mail_archive.replay(target.connect, connections=3)

    assert_each_once(mail_archive, target)


def test_uids_that_are_not_told_are_looked_up_by_one_after_the_other(mail_archive: Mail) -> None:
    fill(mail_archive)
    target = MemoryServer(uidplus=False, window=Window(20, 10**6), gathers=10_000)

    mail_archive.replay(target.connect, connections=4)

    assert_each_once(mail_archive, target)


def test_a_full_target_ends_the_run_of_all(
    mail_archive: Mail, target: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importer.refusals._FULL_IN_A_ROW", 3)
    fill(mail_archive)
    target.wrong.refuse = lambda body: "NO [OVERQUOTA] full" if target.appends > 20 else None

    with pytest.raises(TargetFullError):
        mail_archive.replay(target.connect, connections=3)
    target.behave()
    mail_archive.replay(target.connect, connections=3)

    assert_each_once(mail_archive, target)


def test_a_folder_that_refuses_everything_holds_up_no_other(
    mail_archive: Mail, target: MemoryServer
) -> None:
    fill(mail_archive)
    target.wrong.refuse_open["Old"] = "[NOPERM] not for you"

    result = mail_archive.replay(target.connect, connections=3)

    assert (result.appended, result.not_sent, result.folders_failed) == (ALL - EACH, EACH, 1)
    assert mail_archive.states() == {"appended": ALL - EACH, "pending": EACH}


def test_a_message_that_is_refused_holds_up_none(mail_archive: Mail, target: MemoryServer) -> None:
    fill(mail_archive)
    bad = mail_archive.add(mail("bad"), "Sent")
    target.wrong.refuse = lambda body: "NO not this one" if body == mail("bad") else None

    result = mail_archive.replay(target.connect, connections=3)

    assert (result.appended, result.refused) == (ALL, 1)
    assert mail_archive.state_of(bad) is TransferState.REFUSED


def test_ctrl_c_leaves_in_doubt_no_more_than_what_had_no_answer(mail_archive: Mail) -> None:
    fill(mail_archive)
    stuck = threading.Event()
    begun = threading.Semaphore(0)

    def hang(body: bytes) -> bytes | None:
        """Let each connection hang, and the person in front of it have enough."""
        begun.release()
        stuck.wait(30)
        return None

    def enough() -> None:
        for _ in range(3):
            begun.acquire()
        os.kill(os.getpid(), signal.SIGINT)

    with server() as running:
        running.script.append.refuse = hang
        person = threading.Thread(target=enough)
        person.start()
        with pytest.raises(KeyboardInterrupt):
            mail_archive.replay(connector(running.port), connections=3)
        stuck.set()
        person.join()
        assert not [each for each in threading.enumerate() if "waystation lane" in each.name]
        running.script.clear()
        for thread, _ in running._connections:
            thread.join(5)
        patience = Patience(mail_archive.listener, sleep=mail_archive.slept.append)
        mail_archive.replay(connector(running.port), patience, connections=3)
        held = {folder.name: sorted(folder.bodies) for folder in running.mailboxes["bob"].folders}
    for name, bodies in mail_archive.expected().items():
        assert held[name] == sorted(bodies.elements())


@pytest.mark.server
def test_dovecot_gets_all_folders_over_several_connections(mail_archive: Mail) -> None:
    fill(mail_archive)
    with Dovecot(extra="mail_max_userip_connections = 3\n") as running:
        connect = connector(running.port, password=running.password, ca_file=running.ca_file)
        result = mail_archive.replay(connect, connections=4)
        held = snapshot(running.host, running.port, "bob", running.password)

    assert (result.appended, result.is_complete) == (ALL, True)
    assert {name: len(each) for name, each in held.items() if each} == dict.fromkeys(FOLDERS, EACH)
    told = [text.split(":")[0] for _, text in mail_archive.listener.notes]
    assert told in ([], ["goes on with 3 connections"])


def test_whoever_waits_for_another_hears_that_the_run_is_over() -> None:
    shared = baton.Baton()
    alone = baton.Alone(shared)
    heard: list[str] = []

    def wait() -> None:
        with shared.held():
            try:
                with alone:
                    heard.append("a turn")
            except baton.StoppedError:
                heard.append("the end")

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(3)]
    with shared.held(), alone:
        for thread in threads:
            thread.start()
        with shared.passed_on():
            pass
        shared.is_stopping = True
    for thread in threads:
        thread.join(5)

    assert heard == ["the end"] * 3
