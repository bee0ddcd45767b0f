"""Gmail shows a message once for each label, and again in All Mail: it comes over the line once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from export.budget import GMAIL_BUDGET
from export.labels import ELSEWHERE
from export.run import Options, export
from store.archive import Archive
from store.status import status
from tests.export.support import Stage, connector
from tests.fakes.imap_server import ImapServer
from tests.fakes.mailbox import FakeUser, Mailboxes
from tests.fakes.memory_source import MemorySource
from waystation.retry import Patience
from waystation.selection import Selection

if TYPE_CHECKING:
    from pathlib import Path

    from store.index import ArchivedMessage

DAY = datetime(2024, 5, 1, 12, tzinfo=UTC)
ALL = "[Gmail]/Alle Nachrichten"
NO_CEILING = Options(budget=0)


def body(number: int, size: int = 200) -> bytes:
    text = f"Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\n"
    return (text + "x" * (size - len(text) - 2) + "\r\n").encode()


def gmail(mailboxes: Mailboxes) -> FakeUser:
    """Return a mailbox as Gmail shows it to a German."""
    user = mailboxes["alice"]
    user.create("[Gmail]", ["\\Noselect"])
    user.create(ALL, ["\\All"])
    user.create("[Gmail]/Papierkorb", ["\\Trash"])
    for label in ("Work", "Ärger"):
        user.create(label)
    return user


def put(user: FakeUser, number: int, *labels: str) -> None:
    """Put a message under labels, and into All Mail as Gmail does."""
    for label in (*labels, ALL):
        user.folder(label).append(body(number), ["\\Seen"], DAY + timedelta(minutes=number))


def drop(user: FakeUser, number: int, label: str) -> None:
    folder = user.folder(label)
    folder.expunge(*(each.uid for each in folder.messages if each.body == body(number)))


@pytest.fixture
def alice() -> FakeUser:
    user = gmail(Mailboxes({"alice": "secret"}))
    put(user, 1, "INBOX", "Work", "Ärger")
    put(user, 2, "Work")
    put(user, 3)
    return user


@pytest.fixture
def source(alice: FakeUser) -> MemorySource:
    return MemorySource(alice, gmail=True)


@pytest.fixture
def stage(tmp_path: Path, source: MemorySource) -> Stage:
    return Stage(tmp_path / "archive", lambda: source)


def states(stage: Stage) -> dict[str, dict[str, int]]:
    with Archive.read(stage.path) as archive:
        folders = status(archive)
        assert all(folder.adds_up for folder in folders)
    return {
        folder.name: {"archived": folder.archived, "skipped": folder.skipped}
        for folder in folders
        if folder.archived or folder.skipped
    }


def files(rows: list[ArchivedMessage], path: Path) -> set[int]:
    return {(path / row.path).stat().st_ino for row in rows if row.path}


def test_two_thousand_messages_in_three_labels_are_fetched_two_thousand_times(
    tmp_path: Path,
) -> None:
    mailboxes = Mailboxes({"alice": "secret"})
    user = gmail(mailboxes)
    for number in range(2000):
        put(user, number, "INBOX", "Work", "Ärger")
    with ImapServer(mailboxes, gmail=True) as server:
        stage = Stage(tmp_path / "archive", connector(server.port))
        result = stage.run()
        sent = sum(b" BODY[] " in line for _, side, line in server.log if side == "S")
        server.forget()
        again = stage.run()

        assert server.commands("FETCH") == 0

    assert sent == 2000
    assert (result.new, result.linked, result.skipped) == (6000, 4000, 2000)
    assert result.fetched == 2000 * 200
    assert states(stage) == {
        "INBOX": {"archived": 2000, "skipped": 0},
        "Work": {"archived": 2000, "skipped": 0},
        "Ärger": {"archived": 2000, "skipped": 0},
        ALL: {"archived": 0, "skipped": 2000},
    }
    assert len(files(stage.rows(), stage.path)) == 2000
    assert (again.new, again.fetched, again.unchanged) == (0, 0, again.folders)
    assert stage.discrepancies() == []


def test_all_mail_holds_only_what_lies_nowhere_else(stage: Stage, source: MemorySource) -> None:
    result = stage.run()

    assert (result.new, result.linked, result.skipped) == (5, 2, 2)
    assert len(source.fetched) == 3
    assert stage.bodies(ALL) == {3: body(3)}
    assert {row.reason for row in stage.rows(ALL) if row.state == "skipped"} == {ELSEWHERE}
    assert stage.bodies("INBOX")[1] == stage.bodies("Work")[1] == body(1)
    assert states(stage)[ALL] == {"archived": 1, "skipped": 2}


def test_a_label_that_imap_does_not_show_is_named_with_what_to_do(tmp_path: Path) -> None:
    mailboxes = Mailboxes({"alice": "secret"})
    user = gmail(mailboxes)
    hidden = user.create("Größe/Nicht gezeigt")
    hidden.is_listed = False
    for number in (1, 2):
        put(user, number, "Größe/Nicht gezeigt")
    put(user, 3, "INBOX", "Work")
    with ImapServer(mailboxes, gmail=True) as server:
        stage = Stage(tmp_path / "archive", connector(server.port))
        stage.run()
        (told,) = stage.heard.notes

        hidden.is_listed = True
        result = stage.run()

    assert told[0] == ALL
    assert told[1].startswith("2 messages bear the label Größe/Nicht gezeigt, which Gmail does not")
    assert (result.fetched, result.linked) == (0, 2)
    assert len(stage.bodies("Größe/Nicht gezeigt")) == 2
    assert states(stage)[ALL] == {"archived": 2, "skipped": 1}


def test_a_star_is_a_flag_and_no_place_of_its_own(
    stage: Stage, source: MemorySource, alice: FakeUser
) -> None:
    alice.create("[Gmail]/Markiert", ["\\Flagged"])
    for number in (2, 3):
        starred = alice.folder("[Gmail]/Markiert")
        starred.append(body(number), ["\\Seen"], DAY + timedelta(minutes=number))

    stage.run()
    again = stage.run()

    assert len(source.fetched) == 3
    assert states(stage)["[Gmail]/Markiert"] == {"archived": 0, "skipped": 2}
    assert stage.bodies(ALL) == {3: body(3)}
    assert (again.new, again.unchanged) == (0, again.folders)


def test_a_label_that_is_put_on_later_costs_no_fetch(
    stage: Stage, source: MemorySource, alice: FakeUser
) -> None:
    stage.run()
    source.fetched.clear()
    alice.folder("Work").append(body(3), ["\\Seen"], DAY + timedelta(minutes=3))

    result = stage.run()

    assert (result.new, result.linked, source.fetched) == (1, 1, [])
    assert stage.bodies("Work")[3] == body(3)


def test_where_the_last_label_is_taken_off_all_mail_takes_the_message_over(
    stage: Stage, source: MemorySource, alice: FakeUser
) -> None:
    put(alice, 4, "INBOX")
    stage.run()
    source.fetched.clear()
    drop(alice, 1, "INBOX")
    drop(alice, 2, "Work")

    result = stage.run()

    assert (result.new, result.linked, source.fetched) == (1, 1, [])
    assert stage.bodies(ALL) == {2: body(2), 3: body(3)}
    assert states(stage)[ALL] == {"archived": 2, "skipped": 2}
    again = stage.run()
    assert (again.new, again.unchanged) == (0, again.folders)


def test_an_inbox_that_is_done_with_is_no_alarm(stage: Stage, alice: FakeUser) -> None:
    stage.run()
    alice.folder("INBOX").expunge(*alice.folder("INBOX").uids)

    result = stage.run()

    assert (result.alarms, result.vanished) == (0, 1)
    assert states(stage)["Work"] == {"archived": 2, "skipped": 0}


def test_filters_and_labels_end_in_the_same_archive_as_a_run_without_filters(
    stage: Stage, alice: FakeUser, tmp_path: Path
) -> None:
    for selection in (
        Selection(("@all",)),
        Selection(exclude=("Work", "@all")),
        Selection(since=date(2030, 1, 1)),
    ):
        stage.run(Options(selection=selection))
        states(stage)

    stage.run()
    whole = Stage(tmp_path / "whole", lambda: MemorySource(alice, gmail=True))
    whole.run()

    assert states(stage) == states(whole)
    assert [row.sha256 for row in stage.rows()] == [row.sha256 for row in whole.rows()]


def test_an_archive_that_knows_no_numbers_yet_learns_them_without_fetching_again(
    stage: Stage, source: MemorySource, alice: FakeUser
) -> None:
    source.has_message_ids = False
    stage.run(Options(selection=Selection(exclude=("@all",))))
    source.has_message_ids = True
    source.fetched.clear()

    result = stage.run()

    assert (result.new, len(source.fetched), result.skipped) == (1, 1, 2)
    assert stage.bodies(ALL) == {3: body(3)}


def test_a_damaged_file_is_not_spread_to_another_label(
    stage: Stage, source: MemorySource, alice: FakeUser
) -> None:
    stage.run()
    source.fetched.clear()
    (damaged,) = (row for row in stage.rows("Work") if row.uid == 2)
    assert damaged.path is not None
    path = stage.path / damaged.path
    path.write_bytes(path.read_bytes().replace(b"x", b"y"))
    alice.folder("Ärger").append(body(2), ["\\Seen"], DAY + timedelta(minutes=2))

    stage.run()

    assert len(source.fetched) == 1
    assert stage.bodies("Ärger")[2] == body(2)


def fill(user: FakeUser, count: int) -> None:
    for number in range(count):
        put(user, number, "INBOX")


def run_of_the_day(stage: Stage, options: Options) -> dict[str, int]:
    """Run as the command does: its numbers are remembered with the archive's runs."""
    result = stage.run(options)
    with Archive.write(stage.path, "test") as archive:
        number = archive.index.run_begins("export", "alice", "1", "2024-05-01T00:00:00+00:00")
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        archive.index.run_ends(number, ended, "done", {"fetched": result.fetched})
    return {"new": result.new, "fetched": result.fetched, "stopped": result.out_of_budget}


def test_a_run_stops_at_the_days_budget_and_a_later_one_goes_on(tmp_path: Path) -> None:
    mailboxes = Mailboxes({"alice": "secret"})
    user = gmail(mailboxes)
    fill(user, 1500)
    with ImapServer(mailboxes, gmail=True) as server:
        stage = Stage(tmp_path / "archive", connector(server.port))
        first = run_of_the_day(stage, Options(budget=300 * 200))
        same_day = run_of_the_day(stage, Options(budget=300 * 200))
        with Archive.write(stage.path, "test") as archive:
            archive.database.execute("UPDATE runs SET ended_at = '2024-05-01T00:00:00+00:00'")
        next_day = run_of_the_day(stage, Options(budget=500 * 200))
        last = stage.run(NO_CEILING)

    assert first["stopped"]
    assert 300 <= first["new"] <= 500  # what was asked for is taken
    assert same_day == {"new": 0, "fetched": 0, "stopped": True}
    assert next_day["stopped"]
    assert 500 <= next_day["new"] <= 700
    assert last.is_complete
    assert first["new"] + next_day["new"] + last.new == 1500
    assert states(stage)[ALL] == {"archived": 0, "skipped": 1500}


def test_what_a_killed_run_has_fetched_counts_and_nothing_counts_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailboxes = Mailboxes({"alice": "secret"})
    fill(gmail(mailboxes), 600)
    stage = Stage(tmp_path / "archive", lambda: lost)
    lost = MemorySource(mailboxes["alice"], gmail=True)
    lost.lies.lost_after = 250
    monkeypatch.setattr("store.index.Index.run_ends", lambda *_: None)

    with stage.archive() as archive, archive.run("export", "alice", {}):
        result = export(
            archive,
            stage.connect,
            stage.name,
            stage.name,
            stage.heard,
            Options(budget=400 * 200),
            Patience(stage.heard, sleep=lambda _: None),
        )
        spent = archive.index.fetched_since("2024-05-01T00:00:00+00:00")

    assert spent == result.fetched
    assert 400 <= result.new <= 600
    assert result.out_of_budget


def test_a_run_that_stopped_at_its_budget_is_not_complete(stage: Stage) -> None:
    result = stage.run(Options(budget=250))

    assert result.out_of_budget
    assert not result.is_complete
    assert GMAIL_BUDGET < 2_500 * 1000**2
