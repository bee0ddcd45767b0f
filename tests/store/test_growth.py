"""What commands cost grows with what has changed, not with what is there."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from store.finds import Kind
from store.ledger import Rows
from store.status import status
from store.tallies import all_tallies
from store.transfers import Transfer, TransferState
from tests.store.effort import effort
from tests.store.filling import found_in
from tests.store.many_rows import TARGET, UIDVALIDITY, fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDERS = 5
FEW, MANY = 1_000, 20_000


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Archives of as many folders, with few rows and with many."""
    directory = tmp_path_factory.mktemp("growth")
    for count in (FEW, MANY):
        fill(directory / str(count), count, FOLDERS)
    return directory / str(FEW), directory / str(MANY)


@pytest.fixture
def copies(archives: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same for a test that writes."""
    copied = [shutil.copytree(path, tmp_path / path.name) for path in archives]
    return copied[0], copied[1]


def steps_to_write(path: Path, work: Callable[[Archive], object]) -> int:
    """Return what a run costs that does some work, its seal included."""
    with (
        Archive.write(path, "test") as archive,
        effort(archive.database) as counted,
        archive.run("import", TARGET, {}),
    ):
        work(archive)
    return counted.steps


def send_one(archive: Archive) -> None:
    target = archive.transfers.target(TARGET, TARGET)
    unsent = archive.index.by_location(1, UIDVALIDITY, 99)
    assert unsent is not None
    sent = Transfer(unsent.id, target.id, TransferState.APPENDED, "INBOX", uid=7)
    archive.transfers.record((), [sent])


def test_a_run_that_sends_one_message_seals_one_message(copies: tuple[Path, Path]) -> None:
    few, many = (steps_to_write(path, send_one) for path in copies)

    # The list of blocks is read, one for 256 rows; their rows are not.
    assert many < few + (MANY - FEW) / 10


def steps_to_read(path: Path, question: Callable[[Archive], object]) -> int:
    """Return what the answer to a question costs."""
    with Archive.read(path) as archive, effort(archive.database) as counted:
        question(archive)
    return counted.steps


def target_id(archive: Archive) -> int:
    return archive.transfers.targets()[0].id


@pytest.mark.parametrize(
    "question",
    [
        status,
        lambda archive: archive.transfers.totals(),
        lambda archive: archive.transfers.unsent_totals(target_id(archive)),
        lambda archive: archive.transfers.arrived_folders(target_id(archive)),
        lambda archive: archive.transfers.in_doubt(target_id(archive)),
        lambda archive: archive.transfers.seconds_in_doubt(target_id(archive)),
        lambda archive: archive.transfers.in_state(target_id(archive), TransferState.SENDING),
        lambda archive: archive.transfers.newest(),
        lambda archive: archive.transfers.with_other_flags(target_id(archive), "no such folder"),
        lambda archive: archive.index.count_skipped(),
    ],
    ids=lambda _: "",
)
def test_a_question_about_sums_reads_no_row(
    archives: tuple[Path, Path], question: Callable[[Archive], object]
) -> None:
    few, many = (steps_to_read(path, question) for path in archives)

    # Some steps for each block of 256 rows, or for each of the few that are skipped.
    assert many < few + (MANY - FEW) / 5


def test_a_run_that_finds_nothing_new_reads_no_row(copies: tuple[Path, Path]) -> None:
    few, many = (
        steps_to_write(
            path,
            lambda archive: archive.index.looked_at(
                [folder.id for folder in archive.index.folders()], "2026-05-03T00:00:00+00:00"
            ),
        )
        for path in copies
    )

    assert many < few + (MANY - FEW) / 10


def vanish(archive: Archive) -> None:
    archive.index.set_vanished([10, 11, 300, 900])


def sent_and_refused(archive: Archive) -> None:
    number = target_id(archive)
    states = (TransferState.VERIFIED, TransferState.REFUSED, TransferState.SENDING)
    archive.transfers.record(
        (),
        [
            Transfer(message_id, number, state, "Elsewhere", reply="NO")
            for message_id, state in zip((12, 13, 800), states, strict=True)
        ],
    )


def a_folder_that_is_gone(archive: Archive) -> None:
    archive.index.folder_vanished(2)


def a_new_target(archive: Archive) -> None:
    other = archive.transfers.target("imaps://bob@example.net", "bob")
    archive.transfers.record((), [Transfer(20, other.id, TransferState.APPENDED, "INBOX", uid=3)])


def agree(archive: Archive) -> None:
    """Compare what is kept with a count of all rows."""
    kept, there = (all_tallies(archive.database, anew=anew) for anew in (False, True))
    assert sorted(map(str, kept.messages)) == sorted(map(str, there.messages))
    assert sorted(map(str, kept.transfers)) == sorted(map(str, there.transfers))


@pytest.mark.parametrize("change", [vanish, sent_and_refused, a_folder_that_is_gone, a_new_target])
def test_what_is_kept_is_what_is_there_during_a_run_and_after_it(
    copies: tuple[Path, Path], change: Callable[[Archive], None]
) -> None:
    path = copies[0]
    with Archive.write(path, "test") as archive:
        with archive.run("test", None, {}):
            change(archive)
            agree(archive)
            with Archive.read(path) as beside:
                agree(beside)
        agree(archive)
    assert [each.kind for each in found_in(path) if each.kind != Kind.MISSING] == []


def test_an_archive_that_nobody_has_counted_is_counted_by_its_next_run(
    copies: tuple[Path, Path],
) -> None:
    path = copies[0]
    with Archive.write(path, "test") as archive:
        told = status(archive)
        archive.database.execute("UPDATE blocks SET tallies = NULL WHERE number != 1")
        assert status(archive) == told

        with archive.run("test", None, {}):
            pass

        left = archive.database.row(
            "SELECT count(*) FROM blocks WHERE tallies IS NULL AND tree != 1"
        )
        assert left == (0,)
        assert status(archive) == told


def test_an_archive_of_before_there_were_counts_is_read_all_the_same(
    copies: tuple[Path, Path],
) -> None:
    with Archive.write(copies[0], "test") as archive:
        told = status(archive)
        for index in ("messages_not_archived", "transfers_in_doubt"):
            archive.database.execute(f"DROP INDEX {index}")
        archive.database.execute("ALTER TABLE blocks DROP COLUMN tallies")
        archive.database.execute("DELETE FROM _sqlite_migrations WHERE name = 'tallies'")

    with Archive.read(copies[0]) as archive:
        assert status(archive) == told

    with Archive.write(copies[0], "test") as archive:
        assert status(archive) == told


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM messages WHERE id = 5",
        "UPDATE messages SET last_seen = '' WHERE id = 700",
        "UPDATE messages SET state = 'skipped', file = NULL WHERE id = 700",
        "DELETE FROM transfers WHERE message_id = 700",
        "INSERT INTO transfers (message_id, target_id, state, folder, changed_at)"
        " VALUES (99999, 1, 'verified', 'INBOX', '')",
    ],
)
def test_rows_that_somebody_else_adds_or_takes_are_counted_one_by_one(
    copies: tuple[Path, Path], sql: str
) -> None:
    with Archive.write(copies[0], "test") as archive:
        before = status(archive)
        archive.database.execute("PRAGMA foreign_keys = OFF")
        archive.database.execute(sql)

        assert status(archive) != before
        agree(archive)


def test_check_finds_counts_that_somebody_has_altered(copies: tuple[Path, Path]) -> None:
    with Archive.write(copies[0], "test") as archive:
        archive.database.execute(
            "UPDATE blocks SET tallies = replace(tallies, 'verified', 'appended') WHERE tree = 2"
        )

    found = [each for each in found_in(copies[0]) if each.kind != Kind.MISSING]

    assert [(each.kind, each.text) for each in found] == [
        (Kind.LEAF, f"{TARGET}: the counts in the index are not those of its rows")
    ]


def test_the_few_that_failed_are_found_without_a_look_at_the_others(
    archives: tuple[Path, Path],
) -> None:
    few, many = (
        steps_to_read(path, lambda archive: list(archive.index.messages("failed")))
        for path in archives
    )

    assert many < few + (MANY - FEW) / 5


@pytest.mark.parametrize(
    "state", ["archived", "skipped", "failed", *(state.value for state in TransferState)]
)
def test_the_ledger_of_one_state_has_each_message_that_is_in_it(
    archives: tuple[Path, Path], state: str
) -> None:
    with Archive.read(archives[0]) as archive:
        rows = Rows(archive)
        everything = [(message, rows.of(message)) for message in archive.index.messages()]

        found = list(archive.index.messages(state))

    assert found == [
        message
        for message, row in everything
        if state in (row["state"], *(each["state"] for each in row["targets"].values()))
    ]
    assert found or state == "sending"
