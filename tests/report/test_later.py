"""What a report says of things that an index may hold, or may be too old to hold."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from store.archive import Archive
from tests.report.reading import Page, text
from tests.store.filling import filled
from waystation.report.formats import ReportFormat
from waystation.report.words import Words
from waystation.report.writing import write

if TYPE_CHECKING:
    from pathlib import Path

NOW = "2026-11-23T12:00:00+00:00"
FINDINGS = """
CREATE TABLE IF NOT EXISTS findings (
    id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    folder TEXT NOT NULL, uidvalidity INTEGER, uid INTEGER, cause TEXT NOT NULL,
    side TEXT NOT NULL, text TEXT NOT NULL
) STRICT
"""
RECORDS = """
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY, line TEXT NOT NULL, is_in_journal INTEGER NOT NULL DEFAULT 0
) STRICT
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return filled(tmp_path / "archive")


def verified(archive: Path, outcome: str, *found: tuple[str, int | None, str, str, str]) -> None:
    """Record a verification as ``waystation verify`` does."""
    with closing(sqlite3.connect(archive / "index.sqlite")) as index, index:
        index.execute(FINDINGS)
        run = index.execute(
            "INSERT INTO runs (command, server, version, started_at, ended_at, outcome)"
            " VALUES ('verify', 'imaps://bob@example.net', '1', ?, ?, ?)",
            (NOW, NOW, outcome),
        ).lastrowid
        index.executemany(
            "INSERT INTO findings (run_id, folder, uid, cause, side, text)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            ((run, *each) for each in found),
        )


def page_of(archive: Path, tmp_path: Path) -> Page:
    file = tmp_path / "report.html"
    with Archive.read(archive) as opened:
        write(opened, file, ReportFormat.HTML, Words.of("en"), NOW)
    return Page.of(file.read_text("utf-8"))


def test_what_the_last_whole_verification_found_is_named(archive: Path, tmp_path: Path) -> None:
    verified(archive, "done", ("INBOX", 9, "flags", "target", "an earlier one"))
    found = [("INBOX", at, "missing", "target", f"missing: {at}") for at in range(1, 50)]
    verified(archive, "done", *found, ("Sent", None, "folder", "source", "shut <b>"))
    verified(archive, "failed", ("INBOX", 9, "date", "target", "a later one, cut off"))

    page = page_of(archive, tmp_path)

    said = text(page.by_id("verification"))
    assert "49: missing (target)" in said
    assert "1: folder (source)" in said
    assert "shut <b>" in said
    assert "and 10 more, in the JSON report" in said
    assert "an earlier one" not in page.html
    assert "cut off" not in text(page.by_id("verification"))


def test_a_verification_that_found_nothing_says_so(archive: Path, tmp_path: Path) -> None:
    verified(archive, "done")

    page = page_of(archive, tmp_path)

    assert "Nothing that differs was found." in text(page.by_id("verification"))


def test_the_seal_to_compare_is_the_one_of_the_newest_record(archive: Path, tmp_path: Path) -> None:
    line = json.dumps({"ended": NOW, "number": 7000})
    with closing(sqlite3.connect(archive / "index.sqlite")) as index, index:
        index.execute(RECORDS)
        index.execute("INSERT INTO records (number, line) VALUES (7000, ?)", (line,))

    page = page_of(archive, tmp_path)
    document = json_of(archive, tmp_path)

    digest = sha256(line.encode()).hexdigest()
    proof = text(page.by_id("proof"))
    assert digest in proof
    assert "record 7,000 of its journal was written (Nov 23, 2026" in proof
    assert re.search(r"--seal ([0-9A-Z]{4}-){7}[0-9A-Z]{4}", proof)
    assert document["seal"] == {"record": 7000, "sha256": digest, "at": NOW}


def test_an_index_that_knows_neither_says_nothing_of_them(archive: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(archive / "index.sqlite")) as index, index:
        for table in ("findings", "records"):
            index.execute(f"DROP TABLE IF EXISTS {table}")

    page = page_of(archive, tmp_path)

    assert "--seal" not in page.html
    assert 'id="verification"' not in page.html
    assert json_of(archive, tmp_path)["verification"] is None


def json_of(archive: Path, tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "report.json"
    with Archive.read(archive) as opened:
        write(opened, file, ReportFormat.JSON, Words.of("en"), NOW)
    found: dict[str, Any] = json.loads(file.read_text("ascii"))
    return found
