"""``waystation batch report``: one page for many mailboxes, over archives of all kinds."""

from __future__ import annotations

import json
import re
import shutil
import stat
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from store.archive import Archive
from store.transfers import TransferState
from tests.report.reading import Page, text
from tests.report.test_hostile import ODD
from tests.store.filling import filled

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine, Result


@dataclass
class Many:
    """A ROOT with archives, and how its report is written and read."""

    waystation: CommandLine
    root: Path
    model: Path

    def add(self, name: str) -> Path:
        return shutil.copytree(self.model, self.root / name)

    def write(self, *words: object) -> Result:
        return self.waystation("batch", "report", self.root, "--locale", "en", *words)

    def page(self, out: Path | None = None) -> Page:
        html = ((out or self.root / "batch-report") / "index.html").read_text("utf-8")
        return Page.of(html)

    def status(self, of: list[dict[str, Any]], code: int | None = 3) -> None:
        values = {
            "command": "batch import",
            "begun": "2100-01-01T00:00:00+00:00",
            "written": "2100-01-02T00:00:00+00:00",
            "exit_code": code,
            "of": of,
        }
        (self.root / "status.json").write_text(json.dumps(values))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("many") / "model")


@pytest.fixture
def many(waystation: CommandLine, tmp_path: Path, model: Path) -> Many:
    (tmp_path / "root").mkdir()
    return Many(waystation, tmp_path / "root", model)


def all_sent(path: Path, state: TransferState) -> None:
    """Have the ledger say that all messages are in this state at every target."""
    with Archive.write(path, "test") as archive:
        archive.database.execute("UPDATE transfers SET state = ?", (state.value,))


def test_one_page_tells_of_all_mailboxes_and_leads_to_a_page_of_each(many: Many) -> None:
    for name in ("ada@x.org", "bob@x.org"):
        many.add(name)
    many.root.with_suffix(".csv").write_text("mailbox\nada@x.org\nbob@x.org\nzoe@x.org\n")

    result = many.write("--list", many.root.with_suffix(".csv"), "--json")
    page = many.page()

    assert result.code == 0, result.err
    rows = page.rows(page.by_id("mailboxes"))
    single = many.waystation("report", many.model, many.root / "one.json", "--json").summary
    assert list(rows) == ["zoe@x.org", "ada@x.org", "bob@x.org"]  # the most pressing first
    assert rows["ada@x.org"]["Messages"] == str(single["messages"])
    assert rows["zoe@x.org"]["Messages"] == ""
    assert rows["zoe@x.org"]["Why, and what to do"] == "Begin the export There is no archive yet."
    assert page.addresses() == ["mailboxes/ada%40x.org.html", "mailboxes/bob%40x.org.html"]
    for link in ("ada@x.org", "bob@x.org"):
        own = Page.of((many.root / "batch-report" / "mailboxes" / f"{link}.html").read_text())
        assert own.sentence in rows[link]["Why, and what to do"]
    assert page.scripts() == []
    assert result.summary["mailboxes"] == 3
    assert result.summary["messages"] == 2 * single["messages"]
    assert {row["mailbox"]: row["file"] for row in result.of_type("mailbox")} == {
        "ada@x.org": "mailboxes/ada@x.org.html",
        "bob@x.org": "mailboxes/bob@x.org.html",
        "zoe@x.org": None,
    }


def test_a_report_is_written_again_in_place_of_itself_and_of_nothing_else(many: Many) -> None:
    many.add("ada")
    assert many.write().code == 0
    page = many.root / "batch-report" / "mailboxes" / "ada.html"
    page.write_text("somebody's own")

    foreign = many.write()
    forced = many.write("--force")
    again = many.write()

    assert (foreign.code, "is no such report" in foreign.one_error) == (2, True)
    assert (forced.code, again.code) == (0, 0)
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert not list((many.root / "batch-report").rglob("*part*"))
    (many.root / "batch-report" / "index.html").write_text("somebody's own")
    assert many.write().code == 2


def test_no_report_is_written_into_an_archive(many: Many) -> None:
    many.add("ada")

    into = many.write(many.root / "ada" / "out")
    through = many.root / "link"
    through.symlink_to(many.root / "ada" / "maildir", target_is_directory=True)
    linked = many.write(through / "out")

    assert (into.code, linked.code) == (2, 2)
    assert "lies in an archive" in into.one_error
    assert not (many.root / "ada" / "maildir" / "out").exists()


def test_no_name_leads_out_of_the_report_or_does_anything_in_it(many: Many) -> None:
    names = [
        re.sub(r"[/\x00]", "_", name.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
        for name in ODD
    ]
    names += ["..%2F..%2Fescape", "a%3Ab", "a:b", "con", "-rf", " .", "x" * 200]
    for name in names:
        many.add(name)
    out = many.root / "aside" / "out"

    result = many.write(out, "--json")
    page = many.page(out)

    assert result.code == 0, result.err
    written = sorted(path.relative_to(out) for path in out.rglob("*.html"))
    assert len(written) == len(names) + 1
    assert {str(path.parent) for path in written} == {".", "mailboxes"}
    assert len(page.addresses()) == len(names)
    assert all(re.fullmatch(r"mailboxes/[^/?#:]+\.html", each) for each in page.addresses())
    assert page.scripts() == []
    assert sorted(path.name for path in out.parent.iterdir()) == ["out"]
    for line in result.out.splitlines():
        assert line.isprintable()


def test_what_the_last_batch_said_is_told_and_what_to_do(many: Many) -> None:
    for name in ("ada", "bob", "eve"):
        all_sent(many.add(name), TransferState.VERIFIED)
    many.root.with_suffix(".csv").write_text("mailbox\nada\nbob\neve\nzoe\n")
    refused = "sign-in refused: <b>no</b>\u202e"
    many.status(
        [
            {"mailbox": "bob", "state": "failed", "text": refused},
            {"mailbox": "zoe", "state": "failed", "text": refused},
            {"mailbox": "eve", "state": "done", "text": ""},
        ]
    )

    result = many.write("--list", many.root.with_suffix(".csv"), "--json")
    page = many.page()

    needs = {row["mailbox"]: row["need"] for row in result.of_type("mailbox")}
    assert (needs["bob"], needs["zoe"]) == ("tried", "tried")
    assert needs["eve"] != "tried"
    assert "sign-in refused: <b>no</b>⟨U+202E⟩" in text(page.by_id("is-tried"))
    assert "2 mailboxes" in text(page.by_id("steps"))
    assert page.tone == "is-attention"
    assert re.search(r"2 need a look", page.sentence)


def test_who_was_left_out_of_the_move_is_not_called_done(many: Many) -> None:
    for name in ("ada", "bob", "eve"):
        many.add(name)
    for name in ("ada", "eve"):
        with Archive.write(many.root / name, "test") as archive:
            target = archive.transfers.target("imaps://new@y.org", "imaps://new@y.org:993")
            ids = [row[0] for row in archive.database.rows("SELECT id FROM messages")]
            for number in ids:
                archive.database.execute(
                    "INSERT INTO transfers"
                    " (message_id, target_id, state, folder, passed, changed_at)"
                    """ VALUES (?, ?, 'verified', 'INBOX', '["flags"]', '2026-01-01T00:00:00')""",
                    (number, target.id),
                )

    result = many.write("--json")

    rows = {row["mailbox"]: row for row in result.of_type("mailbox")}
    assert (rows["bob"]["need"], rows["bob"]["tone"]) == ("import", "open")
    assert "2 of 3 mailboxes are accounted for" in result.summary["verdict"]
    assert {name: row["tone"] for name, row in rows.items() if name != "bob"} == {
        "ada": "good", "eve": "good",
    }  # fmt: skip
    assert rows["ada"]["compared"] == rows["ada"]["arrived"] == 6


def test_a_batch_that_has_not_ended_is_told(many: Many) -> None:
    many.add("ada")
    many.status([], code=None)

    many.write()

    assert "The last batch (batch import, Jan 1, 2100" in text(many.page().by_id("verdict"))


@pytest.mark.parametrize("octets", [b"", b"{", b"[]", b'{"of": 3}', b"\xff" * 9, b"[" * 99999])
def test_a_status_file_that_makes_no_sense_is_left_out(many: Many, octets: bytes) -> None:
    many.add("ada")
    (many.root / "status.json").write_bytes(octets)

    assert many.write().code == 0


def test_an_archive_that_cannot_be_read_or_does_not_add_up_is_seen_in_the_exit_code(
    many: Many,
) -> None:
    many.add("ada")
    broken = many.add("bob") / "index.sqlite"
    broken.write_bytes(b"no database at all" * 100)
    unread = many.write("--json")

    with Archive.write(many.root / "ada", "test") as archive:
        archive.database.execute("DELETE FROM messages WHERE uid = 2")
    wrong = many.write("--json")

    assert unread.code == 3
    assert {row["mailbox"]: row["need"] for row in unread.of_type("mailbox")}["bob"] == "unreadable"
    assert "! bob: " in unread.err
    assert many.page().tone == "is-bad"
    assert (wrong.code, wrong.summary["outcome"]) == (14, "discrepancies")


def test_more_mailboxes_cost_hardly_more_memory(many: Many) -> None:
    def peak(*numbers: int) -> int:
        for number in numbers:
            many.add(f"u{number}")
        many.write()  # what is loaded once is not counted
        tracemalloc.start()
        many.write()
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    few, more = peak(*range(10)), peak(*range(10, 60))

    assert more - few < 50 * 5_000
