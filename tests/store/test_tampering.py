"""The tampering drill: each kind is done to an archive, found, and named."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from store.check import check
from store.finds import Checked, Discrepancy, Kind
from store.journal import short
from store.manifest import Compared, compare, manifest
from store.rebuild import rebuild
from store.sealcheck import Sealed, check_seal, noted
from tests.store import forging
from tests.store.forging import (
    file,
    forge_blocks,
    forge_content,
    forge_everything,
    forge_history,
    forge_leaves,
    forge_records,
    lines,
    message_id,
    overwrite,
    records,
    sql,
    unseal,
    write_lines,
)
from waystation.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Named = tuple[Kind, str, int | None]
"""What is found: the kind, the folder (or a part of the text), the UID."""


@dataclass(frozen=True)
class Original:
    """The archive as it was, and what its owner noted."""

    path: Path
    seal: str
    manifest: list[str]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    path = forging.sealed_archive(tmp_path_factory.mktemp("drill") / "archive")
    with Archive.read(path) as archive:
        sealed = Sealed()
        assert list(check(archive, Silent(), Checked(), sealed)) == []
        assert sealed.record is not None
        assert sealed.notices == []
        return Original(path, short(sealed.record.hash), list(manifest(archive, sealed.record)))


@pytest.fixture
def path(original: Original, tmp_path: Path) -> Path:
    return shutil.copytree(original.path, tmp_path / "archive")


def found(path: Path) -> list[Discrepancy]:
    with Archive.read(path) as archive:
        return list(check(archive, Silent(), Checked()))


def found_with(path: Path, original: Original) -> list[Discrepancy]:
    """What only the seal on paper and the manifest in the safe show."""
    with Archive.read(path) as archive:
        sealed = Sealed()
        list(check_seal(archive, sealed))
        return [
            *noted(archive, original.seal, sealed),
            *compare(archive, original.manifest, Compared()),
        ]


def names(discrepancies: list[Discrepancy], named: Named) -> bool:
    kind, place, uid = named
    return any(
        each.kind is kind and place in (each.folder or each.text) and each.uid == uid
        for each in discrepancies
    )


# Octets and files


def one_bit(path: Path) -> None:
    content = bytearray(file(path, 3).read_bytes())
    content[30] ^= 1
    overwrite(file(path, 3), bytes(content))


def one_byte(path: Path) -> None:
    overwrite(file(path, 3), file(path, 3).read_bytes().replace(b"003", b"004", 1))


def truncated(path: Path) -> None:
    overwrite(file(path, 3), file(path, 3).read_bytes()[:-1])


def appended(path: Path) -> None:
    overwrite(file(path, 3), file(path, 3).read_bytes() + b"\n")


def emptied(path: Path) -> None:
    overwrite(file(path, 3), b"")


def file_removed(path: Path) -> None:
    file(path, 3).unlink()


def file_added(path: Path) -> None:
    there = file(path, 3)
    there.with_name(there.name.replace("U=3", "U=77")).write_bytes(there.read_bytes())


def files_exchanged(path: Path) -> None:
    three, five = file(path, 3), file(path, 5)
    first, second = three.read_bytes(), five.read_bytes()
    overwrite(three, second)
    overwrite(five, first)


def file_time(path: Path) -> None:
    os.utime(file(path, 3), (1_000_000_000, 1_000_000_000))


def date_in_name(path: Path) -> None:
    there = file(path, 3)
    there.rename(there.with_name("1" + there.name))


def flags_in_name(path: Path) -> None:
    there = file(path, 3)
    there.rename(there.with_name(there.name + "T"))


def moved_to_other_folder(path: Path) -> None:
    there = file(path, 3)
    there.rename(path / "maildir" / "Sent" / "cur" / there.name)


def replaced_by_link(path: Path) -> None:
    there = file(path, 3)
    there.unlink()
    there.symlink_to(file(path, 5))


def sidecar(path: Path) -> None:
    values = {"name": "Drafts", "special_use": "\\Drafts"}
    (path / "maildir" / "Sent" / ".folder.json").write_text(json.dumps(values))


def keywords(path: Path) -> None:
    (path / "maildir" / "INBOX" / "dovecot-keywords").write_text("0 paid\n")


# Rows


def column(name: str, value: object) -> Callable[[Path], None]:
    def tamper(path: Path) -> None:
        sql(path, f"UPDATE messages SET {name} = ? WHERE id = ?", value, message_id(path, 3))

    return tamper


def date_in_row_and_file(path: Path) -> None:
    there = file(path, 3)
    received = int(there.name.partition(".")[0]) + 86_400
    later = there.with_name(f"{received}.{there.name.partition('.')[2]}")
    there.rename(later)
    os.utime(later, (received, received))
    sql(
        path,
        "UPDATE messages SET received = ?, internaldate = ?, file = ? WHERE id = ?",
        received,
        "2024-05-02T12:00:00+02:00",
        f"cur/{later.name}",
        message_id(path, 3),
    )


def flags_in_row_and_name(path: Path) -> None:
    there = file(path, 3)
    there.rename(there.with_name(there.name.replace(":2,S", ":2,FS")))
    sql(
        path,
        """UPDATE messages SET flags = '["\\\\Flagged","\\\\Seen"]', file = ? WHERE id = ?""",
        f"cur/{there.name.replace(':2,S', ':2,FS')}",
        message_id(path, 3),
    )


def row_removed(path: Path) -> None:
    sql(path, "DELETE FROM transfers WHERE message_id = ?", message_id(path, 3))
    sql(path, "DELETE FROM messages WHERE id = ?", message_id(path, 3))


def row_and_file_removed(path: Path) -> None:
    row_removed(path)
    file(path, 3).unlink()


def failed_row_removed(path: Path) -> None:
    sql(path, "DELETE FROM messages WHERE id = ?", message_id(path, 9))


def row_added(path: Path) -> None:
    sql(
        path,
        "INSERT INTO messages (folder_id, uidvalidity, uid, state, reason)"
        " VALUES (1, 1, 50, 'failed', 'never seen')",
    )


def row_and_file_added(path: Path) -> None:
    there = file(path, 3)
    name = there.name.replace("U=3", "U=50")
    overwrite_time = there.stat().st_mtime_ns
    there.with_name(name).write_bytes(there.read_bytes())
    os.utime(there.with_name(name), ns=(overwrite_time, overwrite_time))
    columns = "folder_id, uidvalidity, state, sha256, size, internaldate, received, flags, keywords"
    sql(
        path,
        f"INSERT INTO messages (uid, file, {columns}) SELECT 50, ?, {columns} FROM messages"
        " WHERE id = ?",
        f"cur/{name}",
        message_id(path, 3),
    )


def locations_swapped(path: Path) -> None:
    """Two rows exchange their places, and their files the names."""
    three, five = message_id(path, 3), message_id(path, 5)
    first, second = file(path, 3), file(path, 5)
    sql(path, "UPDATE messages SET uid = 1000 WHERE id = ?", three)
    sql(path, "UPDATE messages SET uid = 3, file = ? WHERE id = ?", f"cur/{first.name}", five)
    sql(path, "UPDATE messages SET uid = 5, file = ? WHERE id = ?", f"cur/{second.name}", three)
    files_exchanged(path)


def files_and_rows_exchanged(path: Path) -> None:
    """Two files exchange their octets, and the rows the hashes."""
    files_exchanged(path)
    three, five = message_id(path, 3), message_id(path, 5)
    ((first,),) = sql(path, "SELECT sha256 FROM messages WHERE id = ?", three)
    ((second,),) = sql(path, "SELECT sha256 FROM messages WHERE id = ?", five)
    sql(path, "UPDATE messages SET sha256 = ? WHERE id = ?", second, three)
    sql(path, "UPDATE messages SET sha256 = ? WHERE id = ?", first, five)


def content(path: Path) -> None:
    forge_content(path, 3)


def content_and_leaf(path: Path) -> None:
    forge_content(path, 3)
    forge_leaves(path)


def content_leaf_and_block(path: Path) -> None:
    content_and_leaf(path)
    forge_blocks(path)


def content_to_the_chain(path: Path) -> None:
    forge_content(path, 3)
    forge_everything(path)


def content_and_all_history(path: Path) -> None:
    forge_content(path, 3)
    forge_history(path)


def message_and_all_history(path: Path) -> None:
    row_and_file_removed(path)
    forge_history(path)


def leaf(path: Path) -> None:
    sql(
        path,
        "UPDATE sealed SET leaf = zeroblob(32) WHERE tree = 0 AND row = ?",
        message_id(path, 3),
    )


def leaf_removed(path: Path) -> None:
    unseal(path, 3)


def block(path: Path) -> None:
    sql(path, "UPDATE blocks SET hash = zeroblob(32) WHERE tree = 0")


def content_laundered(path: Path) -> None:
    """The forged leaf is in place when the next run seals its block again."""
    content_and_leaf(path)
    with (
        Archive.write(path, "export") as archive,
        archive.run("export", "imaps://alice@example.org", {}),
    ):
        archive.index.set_vanished([message_id(path, 5)])


def row_laundered(path: Path) -> None:
    """A run changes the row that somebody altered before."""
    sql(path, "UPDATE messages SET subject = 'lies' WHERE id = ?", message_id(path, 3))
    with (
        Archive.write(path, "export") as archive,
        archive.run("export", "imaps://alice@example.org", {}),
    ):
        archive.index.set_vanished([message_id(path, 3)])


# Folders, transfers, runs


def folder_name(path: Path) -> None:
    sql(path, "UPDATE folders SET name = 'Gone' WHERE name = 'Sent'")


def folder_exists(path: Path) -> None:
    sql(path, "UPDATE folders SET exists_on_source = 6 WHERE name = 'INBOX'")


def folder_added(path: Path) -> None:
    sql(path, "INSERT INTO folders (name, directory) VALUES ('Extra', 'maildir/Extra')")


def transfer(name: str, value: object) -> Callable[[Path], None]:
    def tamper(path: Path) -> None:
        number = message_id(path, 3)
        sql(path, f"UPDATE transfers SET {name} = ? WHERE message_id = ?", value, number)

    return tamper


def transfer_removed(path: Path) -> None:
    sql(path, "DELETE FROM transfers WHERE message_id = ?", message_id(path, 3))


def transfer_added(path: Path) -> None:
    sql(
        path,
        "INSERT INTO transfers (message_id, target_id, state, folder, changed_at)"
        " VALUES (?, 1, 'verified', 'Sent', '2024-05-01T00:00:00+00:00')",
        message_id(path, 1, "Sent"),
    )


def target(path: Path) -> None:
    sql(path, "UPDATE targets SET key = 'eve@imap.example.com:993'")


def history_entry(path: Path) -> None:
    sql(path, "DELETE FROM changes WHERE tree = 0")


def first_seen(path: Path) -> None:
    sql(path, "UPDATE sealed SET since = 3 WHERE tree = 0 AND row = ?", message_id(path, 3))


# The journal


def record_altered(path: Path) -> None:
    write_lines(path, [line.replace('"new":9', '"new":8') for line in lines(path)])


def record_altered_in_both(path: Path) -> None:
    record_altered(path)
    sql(path, """UPDATE records SET line = replace(line, '"new":9', '"new":8')""")


def record_removed(path: Path) -> None:
    write_lines(path, [line for line in lines(path) if '"number":2' not in line])


def record_removed_in_both(path: Path) -> None:
    record_removed(path)
    sql(path, "DELETE FROM records WHERE number = 2")


def record_removed_and_chained(path: Path) -> None:
    forge_records(path, [record for record in records(path) if record["number"] != 2])


def records_swapped(path: Path) -> None:
    first, second, third, *rest = lines(path)
    write_lines(path, [first, third, second, *rest])


def record_added(path: Path) -> None:
    write_lines(path, [*lines(path), lines(path)[-1].replace('"number":4', '"number":5')])


def record_doubled(path: Path) -> None:
    write_lines(path, [*lines(path), lines(path)[-1]])


def last_record_removed(path: Path) -> None:
    write_lines(path, lines(path)[:-1])


def last_record_removed_in_both(path: Path) -> None:
    last_record_removed(path)
    sql(path, "DELETE FROM records WHERE number = 4")


def last_record_altered_in_both(path: Path) -> None:
    forge_records(path, [*records(path)[:-1], {**records(path)[-1], "outcome": "failed"}])


def journal_cut(path: Path) -> None:
    journal = path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])


def journal_removed(path: Path) -> None:
    (path / "journal.jsonl").unlink()


def journal_is_noise(path: Path) -> None:
    (path / "journal.jsonl").write_bytes(b"\xff\0noise\n" * 3)


def seals_removed(path: Path) -> None:
    for table in ("records", "sealed", "blocks", "changes", "unsealed", "before"):
        sql(path, f"DROP TABLE {table}")


def of_another_archive(path: Path) -> None:
    described = path / "archive.toml"
    text = described.read_text()
    described.write_text(text.replace('id = "', 'id = "f'))


PLAIN: list[tuple[Callable[[Path], None], Named]] = [
    (one_bit, (Kind.ALTERED, "INBOX", 3)),
    (one_byte, (Kind.ALTERED, "INBOX", 3)),
    (truncated, (Kind.ALTERED, "INBOX", 3)),
    (appended, (Kind.ALTERED, "INBOX", 3)),
    (emptied, (Kind.ALTERED, "INBOX", 3)),
    (replaced_by_link, (Kind.ALTERED, "INBOX", 3)),
    (file_removed, (Kind.MISSING, "INBOX", 3)),
    (file_added, (Kind.UNRECORDED, "INBOX", 77)),
    (files_exchanged, (Kind.ALTERED, "INBOX", 5)),
    (file_time, (Kind.DATE, "INBOX", 3)),
    (date_in_name, (Kind.MISSING, "INBOX", 3)),
    (flags_in_name, (Kind.RENAMED, "INBOX", 3)),
    (moved_to_other_folder, (Kind.MISSING, "INBOX", 3)),
    (sidecar, (Kind.SIDECAR, "Sent", None)),
    (keywords, (Kind.SIDECAR, "INBOX", None)),
    (column("sha256", "0" * 64), (Kind.ALTERED_ROW, "INBOX", 3)),
    (column("internaldate", "2020-01-01T00:00:00+00:00"), (Kind.ALTERED_ROW, "INBOX", 3)),
    (column("internaldate", "2024-05-01T10:00:00+00:00"), (Kind.ALTERED_ROW, "INBOX", 3)),
    (column("date_from", "received"), (Kind.ALTERED_ROW, "INBOX", 3)),
    (column("flags", "[]"), (Kind.ALTERED_ROW, "INBOX", 3)),
    (column("keywords", '["todo","Junk"]'), (Kind.ALTERED_ROW, "INBOX", 3)),
    (column("message_id", "<other@example.org>"), (Kind.ALTERED_ROW, "INBOX", 3)),
    (column("date", None), (Kind.ALTERED_ROW, "INBOX", 3)),
    (column("sender", "eve@example.org"), (Kind.ALTERED_ROW, "INBOX", 3)),
    (column("recipients", "eve@example.org"), (Kind.ALTERED_ROW, "INBOX", 3)),
    (column("subject", "number 004"), (Kind.ALTERED_ROW, "INBOX", 3)),
    (column("last_seen", "2024-01-01T00:00:00+00:00"), (Kind.ALTERED_ROW, "INBOX", 3)),
    (column("uid", 33), (Kind.ALTERED_ROW, "INBOX", 33)),
    (column("uidvalidity", 2), (Kind.ALTERED_ROW, "INBOX", 3)),
    (column("folder_id", 2), (Kind.ALTERED_ROW, "Sent", 3)),
    (date_in_row_and_file, (Kind.ALTERED_ROW, "INBOX", 3)),
    (flags_in_row_and_name, (Kind.ALTERED_ROW, "INBOX", 3)),
    (row_removed, (Kind.UNRECORDED, "INBOX", 3)),
    (row_removed, (Kind.REMOVED_ROW, "message 3", None)),
    (row_and_file_removed, (Kind.REMOVED_ROW, "message 3", None)),
    (failed_row_removed, (Kind.REMOVED_ROW, "message 9", None)),
    (row_added, (Kind.ADDED_ROW, "INBOX", 50)),
    (row_and_file_added, (Kind.ADDED_ROW, "INBOX", 50)),
    (locations_swapped, (Kind.ALTERED_ROW, "INBOX", 3)),
    (locations_swapped, (Kind.ALTERED_ROW, "INBOX", 5)),
    (files_and_rows_exchanged, (Kind.ALTERED_ROW, "INBOX", 3)),
    (files_and_rows_exchanged, (Kind.ALTERED_ROW, "INBOX", 5)),
    (content, (Kind.ALTERED_ROW, "INBOX", 3)),
    (content_and_leaf, (Kind.LEAF, "INBOX UID 1 (UIDVALIDITY 1) to", None)),
    (content_leaf_and_block, (Kind.ROOT, "messages", None)),
    (content_to_the_chain, (Kind.HISTORY, "messages", None)),
    (content_laundered, (Kind.DOUBT, "record 5", None)),
    (row_laundered, (Kind.DOUBT, "INBOX UID 3", None)),
    (leaf, (Kind.ALTERED_ROW, "INBOX", 3)),
    (leaf_removed, (Kind.ADDED_ROW, "INBOX", 3)),
    (block, (Kind.LEAF, "INBOX UID 1", None)),
    (folder_name, (Kind.ALTERED_ROW, "Gone", None)),
    (folder_exists, (Kind.ALTERED_ROW, "INBOX", None)),
    (folder_added, (Kind.ADDED_ROW, "Extra", None)),
    (transfer("state", "refused"), (Kind.TRANSFER, "INBOX", 3)),
    (transfer("uid", 99), (Kind.TRANSFER, "INBOX", 3)),
    (transfer("reply", "arrived, believe me"), (Kind.TRANSFER, "INBOX", 3)),
    (transfer("changed_at", "2020-01-01T00:00:00+00:00"), (Kind.TRANSFER, "INBOX", 3)),
    (transfer_removed, (Kind.TRANSFER, "INBOX", 3)),
    (transfer_added, (Kind.TRANSFER, "Sent", 1)),
    (target, (Kind.ROOT, "eve@imap.example.com:993", None)),
    (history_entry, (Kind.HISTORY, "messages", None)),
    (first_seen, (Kind.HISTORY, "messages", None)),
    (record_altered, (Kind.RECORD, "record 1: was altered", None)),
    (record_altered_in_both, (Kind.RECORD, "record 2: does not follow", None)),
    (record_removed, (Kind.RECORD, "record 2: was removed", None)),
    (record_removed_in_both, (Kind.RECORD, "record 3: does not follow", None)),
    (record_removed_and_chained, (Kind.RECORD, "the run export that ended", None)),
    (records_swapped, (Kind.RECORD, "record 2: stands after record 3", None)),
    (record_added, (Kind.RECORD, "record 5: was added", None)),
    (record_doubled, (Kind.RECORD, "record 4: is there twice", None)),
    (last_record_removed, (Kind.RECORD, "record 4: was removed", None)),
    (last_record_removed_in_both, (Kind.RECORD, "the run verify that ended", None)),
    (last_record_removed_in_both, (Kind.ROOT, "bob@imap.example.net:993", None)),
    (journal_cut, (Kind.RECORD, "record 4: was altered", None)),
    (journal_removed, (Kind.RECORD, "record 1: was removed", None)),
    (journal_is_noise, (Kind.RECORD, "record 1: was altered", None)),
    (seals_removed, (Kind.RECORD, "the index knows of no records", None)),
    (of_another_archive, (Kind.RECORD, "record 1: is of another archive", None)),
]
"""What ``check`` finds by itself."""

NOTED: list[tuple[Callable[[Path], None], Named]] = [
    (content_to_the_chain, (Kind.NOTED, "not in the history", None)),
    (content_and_all_history, (Kind.NOTED, "not in the history", None)),
    (content_and_all_history, (Kind.MANIFEST, "INBOX", 3)),
    (message_and_all_history, (Kind.NOTED, "not in the history", None)),
    (message_and_all_history, (Kind.MANIFEST, "is in the manifest, and not", None)),
    (last_record_altered_in_both, (Kind.NOTED, "not in the history", None)),
    (last_record_removed_in_both, (Kind.NOTED, "not in the history", None)),
    (record_removed_and_chained, (Kind.NOTED, "not in the history", None)),
    (content, (Kind.MANIFEST, "INBOX", 3)),
    (files_and_rows_exchanged, (Kind.MANIFEST, "INBOX", 5)),
    (row_and_file_added, (Kind.MANIFEST, "INBOX", 50)),
    (row_and_file_removed, (Kind.MANIFEST, "is in the manifest, and not", None)),
    (record_altered, (Kind.MANIFEST, "does not begin with", None)),
]
"""What the seal on paper and the manifest show, however well the forger worked."""


def _said(case: tuple[Callable[[Path], None], Named]) -> str:
    return f"{case[0].__qualname__.replace('.<locals>.tamper', '')}-{case[1][0]}"


@pytest.mark.parametrize("case", PLAIN, ids=_said)
def test_what_was_done_to_the_archive_is_found_and_named(
    path: Path, case: tuple[Callable[[Path], None], Named]
) -> None:
    tamper, named = case
    tamper(path)

    assert names(found(path), named), found(path)


@pytest.mark.parametrize("case", NOTED, ids=_said)
def test_what_was_done_by_somebody_who_forges_all_of_it_is_found_by_what_was_noted_elsewhere(
    path: Path, original: Original, case: tuple[Callable[[Path], None], Named]
) -> None:
    tamper, named = case
    tamper(path)

    assert names(found_with(path, original), named), found_with(path, original)


def test_a_history_that_was_forged_as_a_whole_agrees_with_itself(path: Path) -> None:
    content_and_all_history(path)

    assert found(path) == []


def test_the_archive_as_it_was_agrees_with_what_was_noted(path: Path, original: Original) -> None:
    assert found(path) == []
    assert found_with(path, original) == []


def test_what_runs_do_after_the_seal_was_noted_is_no_tampering(
    path: Path, original: Original
) -> None:
    with (
        Archive.write(path, "export") as archive,
        archive.run("export", "imaps://alice@example.org", {}),
    ):
        inbox = archive.index.folder("INBOX")
        assert inbox is not None
        forging.put_one(archive, inbox, 60)
        archive.index.set_vanished([message_id(path, 3)])
        archive.index.renumber(message_id(path, 9), 2, 9)

    assert found(path) == []
    assert found_with(path, original) == []


def test_a_rebuilt_index_is_named_and_the_contents_are_still_proven(
    path: Path, original: Original
) -> None:
    forge_content(path, 3)
    rebuild(path, Silent())

    assert found(path) == []
    with Archive.read(path) as archive:
        sealed = Sealed()
        list(check_seal(archive, sealed))
        assert list(noted(archive, original.seal, sealed)) == []
        assert "the index was made anew by run 5" in sealed.notices[0]
    assert names(found_with(path, original), (Kind.MANIFEST, "INBOX", 3))


def test_a_record_that_a_crash_kept_from_the_journal_is_no_tampering(path: Path) -> None:
    whole = (path / "journal.jsonl").read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for count in (0, 1, 100, len(last) - 1, len(last)):
        (path / "journal.jsonl").write_bytes(whole[: len(whole) - len(last) + count])
        sql(path, "UPDATE records SET is_in_journal = 0 WHERE number = 4")

        assert found(path) == []
        Archive.write(path, "export").close()
        assert (path / "journal.jsonl").read_bytes() == whole
        assert found(path) == []


def test_rows_of_a_run_that_was_killed_are_told_as_not_sealed_and_sealed_by_the_next(
    path: Path,
) -> None:
    with Archive.write(path, "export") as archive:
        archive.index.run_begins("export", "alice", "0", "2024-01-01T00:00:00+00:00")
        archive.index.set_vanished([message_id(path, 3)])
    with Archive.read(path) as archive:
        sealed = Sealed()
        assert list(check_seal(archive, sealed)) == []
        assert "1 rows are not sealed yet" in sealed.notices[0]

    with Archive.write(path, "export") as archive, archive.run("export", "alice", {}):
        pass

    with Archive.read(path) as archive:
        sealed = Sealed()
        assert list(check_seal(archive, sealed)) == []
        assert sealed.notices == []
