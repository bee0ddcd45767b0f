"""A report of a large archive, without the files that it does not read."""

from __future__ import annotations

import csv
import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from tests.report.reading import Page, text
from tests.store.filling import create
from waystation.report.formats import ReportFormat
from waystation.report.words import Words
from waystation.report.writing import companion_of, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = "2026-11-23T12:00:00+00:00"
MESSAGES = 10_000
LONG = "\u202e" * 40
"""Eight times as long where it is shown."""
_STATES = ("verified",) * 7 + ("refused", "set_aside", "appended")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of 10,000 rows in 600 folders, three in ten messages not fine, three targets."""
    path = tmp_path_factory.mktemp("large") / "archive"
    with create(path) as archive:
        database = archive.database
        with database.atomic():
            database.execute_many(
                "INSERT INTO folders (id, name, directory, uidvalidity, exists_on_source,"
                " is_settled) VALUES (?, ?, ?, 1, ?, 1)",
                (
                    (at, f"{'folder with a long name ' * 8}{at}", f"maildir/{at}", 0)
                    for at in range(1, 601)
                ),
            )
            database.execute_many(
                "INSERT INTO messages (id, folder_id, uidvalidity, uid, state, file, sha256, size,"
                " internaldate, received, sender, subject)"
                " VALUES (?1, 1 + ?1 % 600, 1, ?1, 'archived', 'cur/' || ?1, 'f', ?1, ?2, 0, ?3,"
                " ?3)",
                ((at, f"{1990 + at % 35}-05-01T00:00:00+00:00", LONG) for at in range(MESSAGES)),
            )
            database.execute(
                "UPDATE folders SET exists_on_source = (SELECT count(*) FROM messages"
                " WHERE folder_id = folders.id)"
            )
            for number in range(3):
                target = archive.transfers.target(f"imaps://{number}@example.net", str(number))
                folders = ((each, f"{'x' * 250}{each}", ("y" * 250,)) for each in range(1, 601))
                archive.transfers.map_folders(target.id, folders)
                database.execute_many(
                    "INSERT INTO transfers (message_id, target_id, state, folder, uidvalidity, uid,"
                    " reply, lost, repairs, passed, changed_at)"
                    " VALUES (?, ?, ?, 'x', 1, 1, ?, ?, ?, ?, ?)",
                    rows(target.id),
                )
    return path


def rows(target: int) -> Iterator[tuple[object, ...]]:
    repair = json.dumps([{"step": "s", "what": LONG, "before": "", "after": ""}])
    for at in range(MESSAGES):
        state = _STATES[at % len(_STATES)]
        reply = f"NO {at} " + LONG if state in ("refused", "set_aside") else None
        passed = '["headers"]' if state == "verified" else "[]"
        when = f"2026-05-{1 + at % 28:02}T{at % 24:02}:00:00+00:00"
        yield at, target, state, reply, '["$Forwarded"]', repair, passed, when


def test_the_page_stays_small_and_the_rest_is_in_the_table_beside_it(
    large: Path, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"

    with Archive.read(large) as opened:
        written = write(opened, file, ReportFormat.HTML, Words.of("en"), NOW, with_subjects=True)

    assert written.octets < 2_000_000
    assert written.companion == companion_of(file)
    page = Page.of(file.read_text("utf-8"))
    assert page.addresses() == [companion_of(file).name] * (1 + len(page.cases_in_all()))
    with companion_of(file).open(newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == sum(page.cases_in_all())
    assert sum(row["case"] == "refused" for row in table) == 3 * MESSAGES // 10
    assert "more folders are counted in the totals" in text(page.root)


def test_memory_does_not_grow_with_the_archive(large: Path, tmp_path: Path) -> None:
    with Archive.read(large) as opened:
        write(opened, tmp_path / "before.html", ReportFormat.HTML, Words.of("en"), NOW)
        for form in (ReportFormat.HTML, ReportFormat.JSON):
            tracemalloc.start()
            write(opened, tmp_path / f"report.{form}", form, Words.of("en"), NOW)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()

            assert peak < 16_000_000, form
