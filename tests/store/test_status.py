"""The totals of the ledger, and what shows where they do not add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from store.status import NO_FOLDER, FolderTotals, status
from store.transfers import Transfer, TransferState
from tests.store.filling import filled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """An archive that is done with: four messages in INBOX, two in another folder."""
    with Archive.write(filled(tmp_path / "archive"), "test") as archive:
        yield archive


def inbox(archive: Archive) -> FolderTotals:
    return next(each for each in status(archive) if each.name == "INBOX")


def tampered(archive: Archive, sql: str) -> FolderTotals:
    archive.database.execute("PRAGMA foreign_keys = OFF")
    archive.database.execute(sql)
    return inbox(archive)


def test_a_folder_that_is_done_with_adds_up(archive: Archive) -> None:
    totals = inbox(archive)

    assert (totals.is_settled, totals.left_over, totals.is_wrong) == (True, 0, False)


@pytest.mark.parametrize(
    ("sql", "left_over"),
    [
        ("DELETE FROM messages WHERE uid = 2 AND folder_id = 1", -1),
        ("UPDATE folders SET exists_on_source = 2 WHERE id = 1", 2),
        ("UPDATE messages SET last_seen = '' WHERE uid = 2 AND folder_id = 1", -1),
        (
            "INSERT INTO messages (folder_id, uidvalidity, uid, state) VALUES (1, 1, 99, 'failed')",
            1,
        ),
    ],
)
def test_a_row_more_or_less_shows_with_its_number(
    archive: Archive, sql: str, left_over: int
) -> None:
    totals = tampered(archive, sql)

    assert (totals.left_over, totals.is_wrong) == (left_over, True)


def test_a_folder_that_a_run_is_still_at_is_not_wrong(archive: Archive) -> None:
    archive.index.unsettle(1)

    totals = tampered(archive, "DELETE FROM messages WHERE uid = 2 AND folder_id = 1")

    assert (totals.adds_up, totals.is_wrong) == (False, False)


def test_a_folder_that_is_gone_holds_nothing_on_the_source(archive: Archive) -> None:
    archive.index.folder_vanished(1)

    totals = inbox(archive)

    assert (totals.on_source, totals.vanished, totals.is_wrong) == (0, 4, False)


def test_a_state_for_what_is_not_archived_shows(archive: Archive) -> None:
    target = archive.transfers.target("imaps://bob@example.net", "bob")
    archive.index.add_failed(1, 1, 50, "NO")
    row = archive.index.by_location(1, 1, 50)
    assert row is not None
    transfer = Transfer(row.id, target.id, TransferState.VERIFIED, "INBOX")
    archive.transfers.record((), [transfer])

    totals = inbox(archive)

    assert totals.targets_left_over == {target.name: 1}
    assert totals.is_wrong


def test_what_belongs_to_no_folder_shows(archive: Archive) -> None:
    archive.transfers.target("imaps://bob@example.net", "bob")
    archive.database.execute("PRAGMA foreign_keys = OFF")
    archive.database.execute(
        "INSERT INTO messages (folder_id, uidvalidity, uid, state) VALUES (77, 1, 1, 'failed')"
    )
    archive.database.execute(
        "INSERT INTO transfers (message_id, target_id, state, folder, changed_at)"
        " VALUES (999, 1, 'verified', 'INBOX', '')"
    )

    nowhere = next(each for each in status(archive) if each.name == NO_FOLDER)

    assert (nowhere.left_over, nowhere.is_wrong) == (1, True)
    assert nowhere.targets_left_over == {"imaps://bob@example.net": 1}
