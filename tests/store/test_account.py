"""Every message judged, page by page, and what of it is kept."""

from __future__ import annotations

import tracemalloc
from itertools import count
from typing import TYPE_CHECKING

from store.account import Account, account_for
from store.archive import Archive
from store.evidence import Evidence
from store.finding import Cause, Finding
from store.findings import KEPT, FoundBefore
from store.standing import Standing
from store.transfers import Transfer, TransferState
from tests.store.filling import filled
from waystation.selection import EVERYTHING, Selection

if TYPE_CHECKING:
    from pathlib import Path

    from store.account import Judged


def rows(archive: Archive, folder: str, uids: range, state: str = "failed") -> int:
    """Put rows into the index that need no file; return the folder's id."""
    known = archive.index.folder(folder)
    number = known.id if known else archive.index.add_folder(folder, f"maildir/{folder}", None)
    archive.database.execute_many(
        "INSERT INTO messages (folder_id, uidvalidity, uid, state, reason, size)"
        " VALUES (?, 1, ?, ?, 'why', 1)",
        ((number, uid, state) for uid in uids),
    )
    return number


def judged(
    archive: Archive, evidence: Evidence, selection: Selection = EVERYTHING
) -> tuple[list[Judged], Account]:
    account = Account()
    return list(account_for(archive, evidence, None, account, selection)), account


def test_what_was_found_meets_its_message_across_pages(archive: Archive) -> None:
    rows(archive, "INBOX", range(2, 4002, 2))
    with Evidence() as evidence:
        evidence.ask("source")
        for uid in reversed(range(1, 4001)):
            evidence.found("source", Finding(Cause.NOT_ARCHIVED, "INBOX", 1, uid, "x"))

        found, account = judged(archive, evidence)

    assert [each.uid for each in found] == list(range(1, 4001))
    assert [each.verdict.standing for each in found[:2]] == [
        Standing.SOURCE_ONLY,
        Standing.FAILED,
    ]
    assert account.table.lines == {Standing.SOURCE_ONLY: 2000, Standing.FAILED: 2000}
    assert (account.newcomers, account.walked, account.adds_up) == (2000, 2000, True)


def test_folders_that_only_the_source_has_are_told_in_their_place(archive: Archive) -> None:
    rows(archive, "B", range(1, 3))
    with Evidence() as evidence:
        evidence.ask("source")
        for name in ("C", "A"):
            evidence.found("source", Finding(Cause.NOT_ARCHIVED, name, 9, 1, "x"))

        found, account = judged(archive, evidence)

    assert [(each.folder, each.uid) for each in found] == [("A", 1), ("B", 1), ("B", 2), ("C", 1)]
    assert account.adds_up


def test_what_was_not_asked_for_is_counted_apart(archive: Archive) -> None:
    rows(archive, "A", range(1, 4))
    rows(archive, "B", range(1, 3))
    with Evidence() as evidence:
        found, account = judged(archive, evidence, Selection(folders=("B",)))

    assert {each.folder for each in found} == {"B"}
    assert (account.unselected, account.table.total, account.adds_up) == (3, 2, True)


def test_a_row_that_comes_in_between_makes_the_numbers_not_add_up(archive: Archive) -> None:
    rows(archive, "A", range(1, 3))
    account = Account()
    with Evidence() as evidence:
        walk = account_for(archive, evidence, None, account)
        next(walk)
        rows(archive, "A", range(3, 4))
        rows(archive, "0", range(1, 2))
        list(walk)

    assert not account.adds_up


def test_a_renumbered_folder_is_unseen_where_it_has_its_old_numbers(tmp_path: Path) -> None:
    with Archive.write(filled(tmp_path / "archive"), "test") as archive, Evidence() as evidence:
        evidence.ask("source")
        evidence.found("source", Finding(Cause.FOLDER, "INBOX", 2, None, "UIDVALIDITY was 1"))
        found, account = judged(archive, evidence)

    inbox = [each.verdict for each in found if each.folder == "INBOX"]
    assert {verdict.standing for verdict in inbox} == {Standing.UNSEEN}
    assert "UIDVALIDITY was 1" in inbox[0].text
    assert account.adds_up


def test_what_the_ledger_says_of_a_target_is_taken_in(tmp_path: Path) -> None:
    with Archive.write(filled(tmp_path / "archive"), "test") as archive, Evidence() as evidence:
        target = archive.transfers.target("imaps://bob@example.net", "bob")
        inbox = archive.index.folder("INBOX")
        assert inbox is not None
        ids = [message.id for message in archive.index.in_folder(inbox.id)]
        states = (TransferState.VERIFIED, TransferState.SENDING, TransferState.REFUSED)
        transfers = [
            Transfer(number, target.id, state, "INBOX")
            for number, state in zip(ids, states, strict=False)
        ]
        archive.transfers.record((), transfers)
        evidence.ask("target")
        evidence.looked_at("target", ids[:1])
        account = Account()
        found = list(account_for(archive, evidence, target, account))

    assert [each.verdict.standing for each in found] == [
        Standing.EQUAL,
        Standing.IN_DOUBT,
        Standing.REFUSED,
        *[Standing.NOT_SENT] * 3,
    ]


def test_memory_does_not_grow_with_the_mailbox(archive: Archive) -> None:
    def most(uids: range) -> int:
        rows(archive, "INBOX", uids)
        with Evidence() as evidence:
            evidence.ask("source")
            tracemalloc.start()
            for uid in uids:
                evidence.found("source", Finding(Cause.VANISHED, "INBOX", 1, uid, "x" * 100))
                evidence.looked_at("source", [uid]) if uid % 100 == 0 else None
            for _ in account_for(archive, evidence, None, Account()):
                pass
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return peak

    few, many = most(range(1, 3001)), most(range(3001, 30_001))

    assert many < few * 1.5


numbers = count(1)


def found_before(text: str) -> FoundBefore:
    return FoundBefore("INBOX", 1, next(numbers), "missing", "target", text)


def test_the_findings_of_the_last_verifications_are_kept(archive: Archive) -> None:
    with archive.run("export", "alice", {}):
        pass
    ids = []
    for number in range(KEPT + 5):
        with archive.run("verify", "alice", {}) as run:
            archive.findings.add(run, [found_before(f"run {number}")])
            archive.findings.forget_old()
            ids.append(run)

    kept = [run for run in ids if list(archive.findings.of_run(run))]
    assert kept == ids[-KEPT:]
    assert [each.text for each in archive.findings.of_run(ids[-1])] == [f"run {KEPT + 4}"]
    assert archive.database.row("SELECT count(*) FROM runs") == (KEPT + 6,)


def test_an_index_that_is_too_old_for_findings_has_none(archive: Archive) -> None:
    archive.database.execute("DROP TABLE findings")

    assert list(archive.findings.of_run(1)) == []


def test_what_a_run_found_is_told_by_folder_and_location(archive: Archive) -> None:
    of_folder = FoundBefore("B", None, None, "folder", "source", "gone")
    some = [FoundBefore(name, 1, uid, "date", "source", "x") for name in "BA" for uid in (2, 1)]
    with archive.run("verify", None, {}) as run:
        archive.findings.add(run, [*some, of_folder])

    assert [(each.folder, each.uid) for each in archive.findings.of_run(run)] == [
        ("A", 1), ("A", 2), ("B", None), ("B", 1), ("B", 2),
    ]  # fmt: skip
