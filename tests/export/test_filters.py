"""Stage one that takes a part: what is left out is accounted for, and taken when it is wanted."""

from __future__ import annotations

import imaplib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.run import Options
from store.archive import Archive
from store.status import status
from tests.export.support import Stage, connector
from tests.export.test_dovecot import stage as stage_on
from tests.fakes.imap_server import ImapServer
from tests.fakes.mailbox import FakeUser, Mailboxes
from tests.fakes.memory_source import MemorySource
from tests.servers.dovecot import PASSWORD, Dovecot
from waystation.errors import ConnectionLostError
from waystation.selection import Selection

DAY = datetime(2024, 5, 1, 12, tzinfo=UTC)
NO_TRASH = Options(selection=Selection(exclude=("@trash",)))


def mail(number: int, size: int = 100) -> bytes:
    text = f"Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\n"
    return (text + "x" * (size - len(text) - 2) + "\r\n").encode()


def fill(user: FakeUser) -> None:
    """Ten messages in INBOX, one a day and each larger; four in Trash, every second one seen."""
    inbox, trash = user.folder("INBOX"), user.create("Trash", ["\\Trash"])
    for number in range(10):
        flags = ["\\Seen"] if number % 2 else []
        inbox.append(mail(number, 100 * (number + 1)), flags, DAY + timedelta(days=number))
    for number in range(10, 14):
        flags = ["\\Seen", "old"] if number % 2 else ["\\Flagged"]
        trash.append(mail(number), flags, DAY + timedelta(days=number))


def adds_up(stage: Stage) -> bool:
    with Archive.read(stage.path) as archive:
        return all(folder.adds_up for folder in status(archive))


def skipped(stage: Stage) -> dict[str, int]:
    """Return how many messages are left out, by their reason."""
    with Archive.read(stage.path) as archive:
        reasons: dict[str, int] = {}
        for folder in status(archive):
            for reason, count in folder.reasons.items():
                reasons[reason] = reasons.get(reason, 0) + count
        return reasons


def content(stage: Stage) -> list[tuple[object, ...]]:
    """Return all that the archive says of each message, and its octets."""
    return [
        (
            *(row.folder, row.uidvalidity, row.uid, row.state, row.reason, row.sha256, row.size),
            *(row.internaldate, row.flags, row.keywords, row.message_id, row.last_seen, row.path),
            (stage.path / row.path).read_bytes() if row.path else None,
        )
        for row in stage.rows()
    ]


@pytest.fixture
def alice() -> FakeUser:
    user = Mailboxes({"alice": "secret"})["alice"]
    fill(user)
    return user


@pytest.fixture(params=[True, False], ids=["condstore", "no condstore"])
def source(request: pytest.FixtureRequest, alice: FakeUser) -> MemorySource:
    return MemorySource(alice, condstore=request.param)


@pytest.fixture
def stage(tmp_path: Path, source: MemorySource) -> Stage:
    return Stage(tmp_path / "archive", lambda: source)


def test_a_folder_that_is_left_out_is_accounted_for_without_a_body(
    stage: Stage, source: MemorySource
) -> None:
    result = stage.run(NO_TRASH)

    assert (result.new, result.skipped, result.failed, result.alarms) == (10, 4, 0, 0)
    assert result.is_complete
    assert len(source.fetched) == 10
    assert skipped(stage) == {"in a folder left out by --exclude @trash": 4}
    assert adds_up(stage)
    assert stage.discrepancies() == []


def test_a_second_run_with_the_same_filter_asks_nothing_of_what_it_leaves_out(
    stage: Stage, source: MemorySource
) -> None:
    options = Options(selection=Selection(exclude=("@trash",), since=date(2024, 5, 5)))
    stage.run(options)
    source.outlined.clear()
    source.fetched.clear()
    source.opened.clear()

    result = stage.run(options)

    assert (source.outlined, source.fetched) == ([], [])
    assert (result.new, result.skipped) == (0, 8)
    assert "Trash" not in source.opened


def test_a_later_run_without_the_filter_takes_what_was_left_out_and_no_more(
    stage: Stage, source: MemorySource
) -> None:
    stage.run(NO_TRASH)
    source.fetched.clear()

    result = stage.run()

    assert (result.new, result.skipped, len(source.fetched)) == (4, 0, 4)
    assert skipped(stage) == {}
    assert adds_up(stage)
    assert stage.discrepancies() == []


@pytest.mark.parametrize(
    ("selection", "reasons", "new"),
    [
        (Selection(since=date(2024, 5, 4)), {"received before 2024-05-04 (--since)": 3}, 11),
        (
            Selection(before=date(2024, 5, 4)),
            {"received on 2024-05-04 or later (--before)": 11},
            3,
        ),
        (Selection(max_size=300), {"larger than 300 octets (--max-size)": 7}, 7),
        (Selection(flags=("seen",)), {"without seen (--flag)": 7}, 7),
        (
            Selection(not_flags=("old", "Flagged")),
            {"with old (--not-flag)": 2, "with Flagged (--not-flag)": 2},
            10,
        ),
        (
            Selection(("INBOX",), max_size=300),
            {
                "larger than 300 octets (--max-size)": 7,
                "in a folder not named by --folder INBOX": 4,
            },
            3,
        ),
    ],
)
def test_each_filter_gives_its_reason(
    stage: Stage, selection: Selection, reasons: dict[str, int], new: int
) -> None:
    result = stage.run(Options(selection=selection))

    assert result.new == new
    assert skipped(stage) == reasons
    assert adds_up(stage)


def test_a_wider_filter_takes_only_what_it_adds(stage: Stage, source: MemorySource) -> None:
    stage.run(Options(selection=Selection(since=date(2024, 5, 9))))
    source.fetched.clear()

    result = stage.run(Options(selection=Selection(since=date(2024, 5, 7))))

    assert (result.new, sorted(source.fetched)) == (2, [7, 8])
    assert skipped(stage) == {"received before 2024-05-07 (--since)": 6}


def test_a_narrower_filter_takes_nothing_away(stage: Stage) -> None:
    stage.run()

    result = stage.run(Options(selection=Selection(("INBOX",), since=date(2025, 1, 1))))

    assert (result.new, result.skipped) == (0, 0)
    assert len(stage.rows()) == 14
    assert all(row.state == "archived" for row in stage.rows())


def test_a_message_is_taken_once_its_flags_say_so(stage: Stage, alice: FakeUser) -> None:
    flagged = Options(selection=Selection(flags=("flagged",)))
    stage.run(flagged)
    alice.folder("INBOX").set_flags(3, ["\\Flagged"])

    result = stage.run(flagged)

    assert (result.new, result.skipped) == (1, 11)
    assert stage.bodies("INBOX").keys() == {3}


def test_a_message_that_was_left_out_and_has_gone_still_counts(
    stage: Stage, alice: FakeUser
) -> None:
    stage.run(NO_TRASH)
    alice.folder("Trash").expunge(1, 2)

    result = stage.run(NO_TRASH)

    assert (result.vanished, result.skipped) == (0, 2)
    assert stage.vanished("Trash") == [1, 2]
    assert adds_up(stage)


def test_a_folder_that_is_left_out_may_be_emptied_without_an_alarm(
    stage: Stage, alice: FakeUser
) -> None:
    stage.run(NO_TRASH)
    alice.folder("Trash").expunge(1, 2, 3, 4)

    result = stage.run(NO_TRASH)

    assert (result.alarms, result.skipped) == (0, 0)
    assert adds_up(stage)


def test_a_folder_that_is_left_out_may_refuse_to_open(stage: Stage, source: MemorySource) -> None:
    source.lies.refused.add("Trash")

    assert stage.run(NO_TRASH).is_complete
    assert not stage.run().is_complete


def test_what_was_left_out_is_known_again_after_the_folder_was_renumbered(
    stage: Stage, alice: FakeUser
) -> None:
    options = Options(selection=Selection(since=date(2024, 5, 6)))
    stage.run(options)
    alice.folder("INBOX").renumber()

    result = stage.run(options)

    assert (result.new, result.renumbered, result.skipped, result.vanished) == (0, 5, 5, 0)
    assert len(stage.rows()) == 14
    assert adds_up(stage)


def test_a_pattern_that_names_no_folder_is_told_once(stage: Stage, source: MemorySource) -> None:
    source.lies.lost_after = 3

    stage.run(Options(selection=Selection(exclude=("Trahs",))))

    text = "the source has no folder that this pattern names"
    assert stage.heard.alarms == [("Trahs", text)]


def test_files_of_a_run_that_was_cut_off_get_their_rows_whatever_the_filter_says(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.run(NO_TRASH)
    with monkeypatch.context() as patch:
        # The files are in place, and the rows are not: as a crash between the two leaves it.
        def fail(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("store.index.Index.add_messages", fail)
        with pytest.raises(KeyboardInterrupt):
            stage.run()

    stage.run(NO_TRASH)

    assert adds_up(stage)
    assert stage.discrepancies() == []
    assert not stage.vanished("Trash")


selections = st.builds(
    Selection,
    st.sampled_from([(), ("INBOX",), ("@trash", "Sent")]),
    st.sampled_from([(), ("@trash",), ("*",)]),
    st.none() | st.sampled_from([date(2024, 5, 3), date(2024, 5, 8)]),
    st.none() | st.sampled_from([date(2024, 5, 6), date(2024, 5, 12)]),
    st.none() | st.sampled_from([150, 600]),
    st.sampled_from([(), ("seen",)]),
    st.sampled_from([(), ("old",)]),
)
steps = st.lists(
    st.tuples(
        selections,
        st.none() | st.integers(0, 9),
        st.sampled_from(["nothing", "arrives", "goes", "is flagged", "is renumbered"]),
    ),
    max_size=4,
)


def happens(user: FakeUser, what: str, number: int) -> None:
    folder = user.folder(("INBOX", "Trash")[number % 2])
    if what == "arrives":
        folder.append(mail(100 + number, 100 + 90 * number), ["old"], DAY + timedelta(days=number))
    elif what == "goes" and len(folder.uids) > 2:
        folder.expunge(folder.uids[0])
    elif what == "is flagged":
        folder.set_flags(folder.uids[0], ["\\Seen"])
    elif what == "is renumbered":
        folder.renumber()


@settings(max_examples=40, deadline=None)
@given(steps, st.booleans())
def test_any_runs_with_any_filters_end_in_the_archive_of_one_run_without(
    runs: list[tuple[Selection, int | None, str]], condstore: bool
) -> None:
    user = Mailboxes({"alice": "secret"})["alice"]
    fill(user)
    source = MemorySource(user, condstore=condstore)
    with TemporaryDirectory() as directory:
        stage = Stage(Path(directory) / "archive", lambda: source, delays=())
        for number, (selection, lost_after, what) in enumerate(runs):
            source.lies.lost_after = lost_after
            try:
                stage.run(Options(selection=selection))
            except ConnectionLostError:
                pass
            else:
                assert adds_up(stage)
            assert stage.discrepancies() == []
            happens(user, what, number)
        source.lies.lost_after = None
        stage.run()
        at_once = Stage(Path(directory) / "other", lambda: source)
        at_once.run()

        assert adds_up(stage)
        assert stage.discrepancies() == []
        assert still_there(stage) == still_there(at_once)


def still_there(stage: Stage) -> list[tuple[object, ...]]:
    return [row for row in content(stage) if row[11] is None]


def test_the_server_is_asked_for_sizes_and_dates_in_one_listing(
    tmp_path: Path,
) -> None:
    mailboxes = Mailboxes({"alice": "secret"})
    fill(mailboxes["alice"])
    with ImapServer(mailboxes) as server:
        stage = Stage(tmp_path / "archive", connector(server.port))
        stage.run(NO_TRASH)
        fetches = server.requests("FETCH")
        server.forget()
        again = stage.run(NO_TRASH)

        assert b"UID FETCH 1:4 (UID FLAGS INTERNALDATE RFC822.SIZE)" in fetches
        assert sum(b"BODY" in line for line in fetches) == 1
        assert again.unchanged == again.folders == 2
        assert server.commands("EXAMINE") == server.commands("FETCH") == 0
        assert stage.run().new == 4


@pytest.fixture
def filled(dovecot: Dovecot, user: str) -> tuple[Dovecot, str]:
    with imaplib.IMAP4(dovecot.host, dovecot.port) as client:
        client.login(user, PASSWORD)
        client.create('"Bin (SPECIAL)"')
        for number in range(12):
            folder = "INBOX" if number % 3 else '"Bin (SPECIAL)"'
            day = f'"{number + 1:02d}-May-2024 12:00:00 +0000"'
            flags = "(\\Seen)" if number % 2 else ""
            client.append(folder, flags, day, mail(number, 200 * (number + 1)))
    return dovecot, user


@pytest.mark.server
def test_dovecot_is_taken_from_in_parts_and_then_whole(
    filled: tuple[Dovecot, str], tmp_path: Path
) -> None:
    server, user = filled
    stage = stage_on(server, user, tmp_path / "parts")
    whole = stage_on(server, user, tmp_path / "whole")

    for selection in (
        Selection(exclude=("Bin*",), max_size=1500),
        Selection(since=date(2024, 5, 8)),
        Selection(flags=("seen",)),
    ):
        stage.run(Options(selection=selection))
        assert adds_up(stage)
    first = stage.run(Options(selection=Selection(flags=("seen",))))
    assert first.new == 0
    assert first.skipped > 0
    stage.run()
    whole.run()

    assert content(stage) == content(whole)
    assert len(stage.rows()) == 12
    assert stage.discrepancies() == []


def test_what_was_left_out_and_is_gone_is_not_asked_for_when_it_would_be_wanted(
    stage: Stage, alice: FakeUser
) -> None:
    stage.run(Options(selection=Selection(max_size=500)))
    alice.folder("INBOX").expunge(10)

    result = stage.run()

    assert (result.new, result.vanished, result.failed) == (4, 0, 0)
