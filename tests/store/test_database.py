from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from store.database import Database
from tests.store.filling import filled, found_in
from waystation.errors import IndexDamagedError, StorageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Database.create(tmp_path / "index.sqlite").close()
    return tmp_path / "index.sqlite"


@pytest.mark.parametrize(
    "content", [b"", b"no database at all\n" * 500, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_what_is_no_index_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "index.sqlite"
    path.write_bytes(content)

    for opened in (Database.read, Database.write):
        with pytest.raises(IndexDamagedError, match="--rebuild"):
            opened(path)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE photos (id INTEGER PRIMARY KEY)")
    other.close()
    content = path.read_bytes()

    for opened in (Database.read, Database.write):
        with pytest.raises(IndexDamagedError, match="no tables"):
            opened(path)
    assert path.read_bytes() == content


def test_a_missing_index_is_not_made_by_opening_it(tmp_path: Path) -> None:
    for opened in (Database.read, Database.write):
        with pytest.raises(IndexDamagedError, match="missing"):
            opened(tmp_path / "index.sqlite")
    assert not [*tmp_path.iterdir()]


def test_a_reader_sees_what_is_committed_while_a_writer_works(path: Path) -> None:
    with Database.write(path) as writer, Database.read(path) as reader:
        count = "SELECT count(*) FROM targets"
        with writer.atomic():
            writer.execute("INSERT INTO targets (name, key) VALUES ('a', 'a')")
            assert reader.row(count) == (0,)
        assert reader.row(count) == (1,)


def test_a_reader_cannot_write(path: Path) -> None:
    with Database.read(path) as reader, pytest.raises(StorageError, match="readonly"):
        reader.execute("DELETE FROM targets")


def test_what_belongs_together_is_recorded_together_or_not_at_all(path: Path) -> None:
    with Database.write(path) as database:
        with pytest.raises(IndexDamagedError, match="UNIQUE"), database.atomic():
            database.execute_many("INSERT INTO targets (name, key) VALUES (?, 'a')", ["a", "b"])
        assert database.row("SELECT count(*) FROM targets") == (0,)


def test_a_row_must_name_a_folder_that_is_there(path: Path) -> None:
    with Database.write(path) as database, pytest.raises(IndexDamagedError, match="FOREIGN KEY"):
        database.execute(
            "INSERT INTO messages (folder_id, uidvalidity, uid, state) VALUES (9, 1, 1, 'failed')"
        )


def test_an_archive_is_read_where_nobody_can_write(tmp_path: Path, read_only: Path) -> None:
    filled(tmp_path / "writable" / "archive")

    assert found_in(read_only / "archive") == []
    with pytest.raises(StorageError, match="Read-only"):
        Archive.write(read_only / "archive", "export")


CUT_OFF = """
import os, sys
from pathlib import Path
from store.database import Database
database = Database.write(Path(sys.argv[1]))
database.execute("INSERT INTO targets (name, key) VALUES ('a', 'a')")
os._exit(0)
"""


def test_what_a_cut_off_run_committed_is_not_overlooked_where_nobody_can_write(
    tmp_path: Path, read_only: Path
) -> None:
    path = tmp_path / "writable" / "index.sqlite"
    Database.create(path).close()
    subprocess.run([sys.executable, "-c", CUT_OFF, str(path)], check=True)
    assert path.with_name("index.sqlite-wal").stat().st_size

    with Database.read(read_only / "index.sqlite") as reader:
        assert reader.row("SELECT count(*) FROM targets") == (1,)

    path.with_name("index.sqlite-shm").unlink()
    with pytest.raises(StorageError, match="copy the archive"):
        Database.read(read_only / "index.sqlite")


def test_who_keeps_the_frames_of_others_does_not_hold_up_a_commit(tmp_path: Path) -> None:
    frames = []
    sys.setprofile(lambda frame, *_: frames.append(frame))  # as a sampling profiler does
    try:
        Database.create(tmp_path / "index.sqlite").close()
        with Database.write(tmp_path / "index.sqlite") as database, database.atomic():
            database.execute("DELETE FROM messages")
    finally:
        sys.setprofile(None)

    assert frames


def test_an_index_that_is_up_to_date_is_opened_without_the_library_for_migrations(
    path: Path,
) -> None:
    script = (
        "import sys; from pathlib import Path; from store.database import Database\n"
        "Database.write(Path(sys.argv[1])).close()\n"
        "sys.exit('sqlite_utils' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_what_fails_inside_is_undone_and_the_rest_stays(path: Path) -> None:
    with Database.write(path) as database:
        with database.atomic():
            database.execute("INSERT INTO targets (name, key) VALUES ('one', '1')")
            with suppress(StorageError), database.atomic():
                database.execute("INSERT INTO targets (name, key) VALUES ('two', '2')")
                with database.atomic():
                    database.execute("INSERT INTO targets (name, key) VALUES ('three', '3')")
                    raise StorageError(path, "no more")
            database.execute("INSERT INTO targets (name, key) VALUES ('four', '4')")

        assert list(database.rows("SELECT name FROM targets")) == [("one",), ("four",)]
