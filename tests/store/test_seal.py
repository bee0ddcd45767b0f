from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.archive import Archive
from store.history import RebuiltError, demand_one_index, root_at, turns
from store.journal import Records, hash_of, is_hash, is_noted, line_of, read_line, short
from store.manifest import manifest
from store.merkle import tree_hash
from store.rebuild import rebuild
from store.sealcheck import Sealed, check_seal
from store.trees import trees
from tests.store import independent
from tests.store.filling import create, filled, found_in, mail, put, remote
from tests.store.forging import message_id, put_one, sealed_archive, sql
from waystation.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return sealed_archive(tmp_path / "archive")


def last(path: Path) -> str:
    return (path / "journal.jsonl").read_text("utf-8").splitlines()[-1]


def test_somebody_who_knows_only_the_document_comes_to_the_same_roots(path: Path) -> None:
    assert independent.complaints(path) == []
    with Archive.read(path) as archive:
        record = Records(archive.database).last()
    assert record is not None
    assert independent.seal(path) == short(record.hash)


def test_the_same_after_a_thousand_messages_with_words_of_all_kinds(tmp_path: Path) -> None:
    words = ['"', "\\", "\x7f", "\u2028", "😀", "é", "/", "\t", "\x01"]
    with create(tmp_path / "archive") as archive:
        inbox = archive.ensure_folder(("a/b", "ü"), None)
        with archive.run("export", "alice", {"ä": 1}, asked={"folders": ["ü", "/"]}):
            batch = archive.batch()
            for uid in range(1, 1001):
                word = words[uid % len(words)]
                body = f"Subject: {word}{uid}{word}\r\n\r\nText\r\n".encode()
                put(archive, batch, inbox, remote(uid, (), (f"k{word.strip()}",)), body)
            batch.commit()
        with archive.run("export", "alice", {}):
            archive.index.set_vanished(range(250, 260))

    assert independent.complaints(tmp_path / "archive") == []
    assert found_in(tmp_path / "archive") == []


def test_the_independent_checker_is_no_fool(path: Path) -> None:
    sql(path, "UPDATE messages SET subject = 'x' WHERE id = ?", message_id(path, 3))

    assert independent.complaints(path) == ["the rows are not those of the last record"]


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=70))
def test_pairing_from_the_left_gives_the_tree_of_the_rfc(leaves: list[bytes]) -> None:
    assert tree_hash(leaves) == independent.mth(leaves)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]).filter(lambda c: c != "\0")))
def test_sqlite_writes_a_text_as_the_document_says(value: str) -> None:
    with sqlite3.connect(":memory:") as database:
        ((written,),) = database.execute("SELECT CAST(json_array(?, NULL, 7) AS BLOB)", (value,))
    database.close()

    assert written == independent.content((value, None, 7))


def test_a_seal_is_known_again_however_it_was_written_down() -> None:
    digest = "ab" * 32
    seal = short(digest)

    assert len(seal) == 39
    for written in (seal, seal.lower(), seal.replace("-", " "), seal.replace("-", ""), digest):
        assert is_noted(written)
        assert is_hash(digest, written)
    zeros = short("0" * 64)
    assert is_hash("0" * 64, zeros.replace("0", "o"))
    assert is_hash("0" * 64, zeros.replace("0", "O"))
    assert not is_hash(digest, zeros)
    assert not is_noted("hello")
    assert not is_noted("u" * 32)


def test_where_nothing_changed_the_root_stays_and_no_row_is_read(path: Path) -> None:
    before = json.loads(last(path))
    # A row that cannot be read at all would end the run, if anybody looked.
    sql(path, "UPDATE messages SET subject = CAST(x'ff' AS TEXT) WHERE id = 1")

    with Archive.write(path, "export") as archive, archive.run("export", "alice", {}):
        pass

    after = json.loads(last(path))
    assert after["roots"] == before["roots"]
    assert after["counts"] == before["counts"]
    assert after["number"] == before["number"] + 1
    assert "doubts" not in after


@pytest.mark.parametrize(
    ("error", "outcome"), [(KeyboardInterrupt, "interrupted"), (KeyError, "failed")]
)
def test_a_run_that_does_not_come_to_its_end_is_sealed_as_well(
    path: Path, error: type[BaseException], outcome: str
) -> None:
    def work() -> None:
        with archive.run("export", "alice", {"new": 1}, asked={"quick": True}):
            archive.index.set_vanished([message_id(path, 4)])
            raise error

    with Archive.write(path, "export") as archive, pytest.raises(error):
        work()

    record = json.loads(last(path))
    assert record["outcome"] == outcome
    assert record["asked"] == {"quick": True}
    assert record["account"] == "alice"
    assert found_in(path) == []


def test_each_earlier_root_can_be_told_from_what_has_changed_since(path: Path) -> None:
    with Archive.write(path, "export") as archive:
        inbox = archive.index.folder("INBOX")
        assert inbox is not None
        with archive.run("export", "alice", {}):
            put_one(archive, inbox, 40)
            # The skipped row goes, and the next message gets its id.
            archive.index.renumber(message_id(path, 3), 1, 9)
        with archive.run("export", "alice", {}):
            archive.index.set_vanished([message_id(path, 40)])
        with archive.run("export", "alice", {}):
            archive.index.set_returned([message_id(path, 40)])
        # A run that was killed.
        archive.index.set_vanished([message_id(path, 5)])

    with Archive.read(path) as archive:
        for number, line, _ in Records(archive.database).all():
            record = read_line(line)
            assert record is not None
            for tree in trees(archive.database):
                assert root_at(archive.database, tree, number, ()) == record.root(tree.name)


def test_what_became_of_each_message_between_two_runs_is_known(path: Path) -> None:
    with Archive.read(path) as archive:
        found = {turn.message_id: turn for turn in turns(archive.database, 1, 4)}
        nothing = list(turns(archive.database, 4, 4))

    first, second = found[1], found[2]
    assert first.before is not None
    assert first.after is not None
    assert json.loads(first.before["flags"]) == ["\\Seen"]
    assert json.loads(first.after["flags"]) == ["\\Answered", "\\Seen"]
    assert second.before is not None
    assert second.after is not None
    assert second.before["last_seen"] is None
    assert second.after["last_seen"] is not None
    ((was, now),) = found[3].transfers.values()
    assert was is None
    assert now is not None
    assert now["state"] == "verified"
    assert nothing == []


def test_rows_from_before_a_rebuild_are_not_compared(path: Path) -> None:
    rebuild(path, Silent())

    with Archive.read(path) as archive:
        records = [read_line(line) for _, line, _ in Records(archive.database).all()]
    assert records[-1] is not None
    assert records[-1].values["rebuilt"] is True
    *_, before, _ = (path / "journal.jsonl").read_text("utf-8").splitlines()
    assert records[-1].previous == hash_of(before)
    with pytest.raises(RebuiltError, match="run 5"):
        demand_one_index([record for record in records if record], 2)
    assert found_in(path) == []
    assert independent.complaints(path) == []


def test_an_archive_from_before_there_were_seals_is_sealed_by_its_next_run(tmp_path: Path) -> None:
    path = filled(tmp_path / "archive")
    for table in ("records", "sealed", "blocks", "changes", "unsealed", "before"):
        sql(path, f"DROP TABLE {table}")
    for index in ("messages_not_archived", "transfers_in_doubt"):
        sql(path, f"DROP INDEX {index}")
    sql(path, "DELETE FROM _sqlite_migrations WHERE name IN ('seals', 'tallies')")
    with Archive.read(path) as archive:
        sealed = Sealed()
        assert list(check_seal(archive, sealed)) == []
        assert "not sealed yet" in sealed.notices[0]

    with Archive.write(path, "export") as archive, archive.run("export", "alice", {}):
        pass

    assert found_in(path) == []
    assert independent.complaints(path) == []
    assert json.loads(last(path))["counts"]["messages"] == {"archived": 6}


def test_plain_sha256sum_reads_a_manifest(path: Path, tmp_path: Path) -> None:
    with Archive.read(path) as archive:
        record = Records(archive.database).last()
        assert record is not None
        lines = list(manifest(archive, record))
    (tmp_path / "manifest").write_text("".join(f"{line}\n" for line in lines))
    command = ["sha256sum", "--check", "--strict", str(tmp_path / "manifest")]
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")

    whole = subprocess.run(command, cwd=path, capture_output=True, text=True, check=False)
    (file,) = (path / "maildir" / "INBOX" / "cur").glob("*U=3,*")
    file.write_bytes(b"lies")
    altered = subprocess.run(command, cwd=path, capture_output=True, text=True, check=False)

    assert whole.returncode == 0
    assert whole.stdout.count(": OK") == 9
    assert altered.returncode == 1
    assert "U=3" in next(line for line in altered.stdout.splitlines() if "FAILED" in line)


def test_a_record_is_read_only_as_the_program_writes_it() -> None:
    assert read_line("[1]") is None
    assert read_line("[" * 100_000) is None
    assert read_line('{"number": 1}') is None
    assert read_line(line_of({"number": 1})) is None


def test_mail_goes_in_and_the_seal_says_so(tmp_path: Path) -> None:
    with create(tmp_path / "archive") as archive:
        inbox = archive.ensure_folder(("INBOX",), None)
        for number in range(1, 4):
            with archive.run("export", "alice", {}):
                batch = archive.batch()
                put(archive, batch, inbox, remote(number), mail(number))
                batch.commit()

    assert independent.complaints(tmp_path / "archive") == []
    assert found_in(tmp_path / "archive") == []
