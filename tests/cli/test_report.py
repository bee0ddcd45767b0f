"""``waystation report``, over archives that real exports and imports have made."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
import stat
from typing import TYPE_CHECKING

import pypdf
import pytest

from tests.cli.conftest import NEW, NEW_PASSWORD, Server, letter
from tests.fakes.imap_server import Body, ImapServer
from tests.fakes.mailbox import Mailboxes
from tests.fakes.pop3_server import Mail, Pop3Server
from tests.report.reading import Page, needs_pango, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.fakes.certificates import TestAuthority


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


@pytest.fixture
def other(authority: TestAuthority) -> Iterator[Server]:
    """A second mailbox to move to."""
    with ImapServer(Mailboxes({NEW: NEW_PASSWORD}), tls=authority) as server:
        yield Server(server, NEW, "NEW_PASSWORD", authority.ca_file)


@pytest.fixture
def page_of(waystation: CommandLine, file: Path) -> Reading:
    return Reading(waystation, file)


class Reading:
    """Writes a report in English and reads it back."""

    def __init__(self, waystation: CommandLine, file: Path) -> None:
        self._waystation = waystation
        self._file = file

    def __call__(self, archive: Path, *words: object) -> Page:
        done = self._waystation("report", archive, self._file, "--locale", "en", *words)
        assert done.code == 0, done.err
        return Page.of(self._file.read_text("utf-8"))


def verified(waystation: CommandLine, archive: Path, server: Server) -> None:
    assert waystation("import", archive, *server.target).code in (0, 3)
    to = ("--to", server.name, *server.secret)
    assert waystation("verify", archive, "--target", *to).code in (0, 13)


def test_an_archive_that_was_only_exported_says_so(exported: Path, page_of: Reading) -> None:
    page = page_of(exported)

    assert page.sentence == (
        "All 7 messages are accounted for: 7 are archived and nothing has been sent to another"
        " mailbox."
    )
    assert page.tone == "is-good"
    assert page.cases() == {}
    assert page.addresses() == []
    assert page.scripts() == []


def test_a_move_that_went_well_is_all_verified(
    waystation: CommandLine, exported: Path, new: Server, page_of: Reading
) -> None:
    new.fake.mailboxes[NEW].folder("INBOX")
    verified(waystation, exported, new)

    page = page_of(exported)

    assert page.sentence == "All 7 messages are accounted for: 7 arrived and were verified."
    (target,) = page.targets()
    assert target["All folders"] == {"Verified": "7"}
    runs = page.rows(page.by_id("timeline"))
    assert {each["Command"] for each in runs.values()} <= {"export", "import", "verify"}
    assert {each["Outcome"] for each in runs.values()} == {"done"}


def test_the_numbers_are_those_of_status(
    waystation: CommandLine, exported: Path, new: Server, page_of: Reading
) -> None:
    new.script.append.refuse = lambda body: b"NO too odd" if b"number 6" in body else None
    verified(waystation, exported, new)

    page = page_of(exported)

    told = waystation("status", exported, "--json")
    of_source = page.rows(page.by_id("folders"))
    (of_target,) = page.targets()
    for folder in told.of_type("folder"):
        cells = of_source[folder["folder"]]
        assert cells["On the source"] == str(folder["on_source"])
        assert cells["Archived"] == str(folder["archived"])
        assert cells["Adds up"] == "✓ yes"
        states = of_target.get(folder["folder"], {})
        known = folder["targets"].get(new.name, {})
        names = {"verified": "Verified", "refused": "Refused"}
        assert {names[state]: str(count) for state, count in known.items()} == {
            name: count for name, count in states.items() if count != "0"
        }
    assert of_source["All folders"]["Archived"] == str(told.summary["archived"])
    assert page.sentence == (
        "All 7 messages are accounted for: 6 arrived and were verified and 1 was refused."
    )
    assert page.tone == "is-attention"


def test_what_was_refused_is_named_with_cause_and_what_to_do(
    waystation: CommandLine, exported: Path, new: Server, page_of: Reading
) -> None:
    new.script.append.refuse = lambda body: b"NO too odd" if b"number 6" in body else None
    verified(waystation, exported, new)

    page = page_of(exported)

    case = page.case("Refused by the target")
    assert page.cases()["Refused by the target"] == 1
    (row,) = page.rows(case).values()
    assert (row["UID"], row["Cause"]) == ("1", "NO too odd")
    assert "waystation import ARCHIVE" in text(case)
    assert "hello 6" not in page.html
    assert "ada@example.org" not in page.html


def test_subject_and_sender_come_only_when_asked_for(
    waystation: CommandLine, exported: Path, new: Server, page_of: Reading
) -> None:
    new.script.append.refuse = lambda body: b"NO too odd" if b"number 6" in body else None
    verified(waystation, exported, new)

    page = page_of(exported, "--with-subjects")

    (row,) = page.rows(page.case("Refused by the target")).values()
    assert (row["Sender"], row["Subject"]) == ("ada@example.org", "hello 6")


def test_an_import_that_was_cut_off_is_not_finished(
    waystation: CommandLine, exported: Path, new: Server, page_of: Reading
) -> None:
    assert waystation("import", exported, *new.target).code == 0
    with sqlite3.connect(exported / "index.sqlite") as index:
        index.execute("DELETE FROM transfers WHERE message_id IN (1, 2)")
        index.execute("UPDATE transfers SET state = 'sending', uid = NULL WHERE message_id = 3")
        index.execute("UPDATE runs SET ended_at = NULL, outcome = NULL WHERE command = 'import'")
    index.close()

    page = page_of(exported)

    assert page.sentence == (
        "Not finished: 3 messages have not been settled at the target: 4 arrived and are not"
        " verified, 1 is still in doubt, and 2 are still to be sent."
    )
    assert page.tone == "is-open"
    assert "is still at work, or was killed" in text(page.by_id("verdict"))
    assert page.cases()["Not sent yet"] == 2
    assert page.cases()["In doubt"] == 1


def test_a_message_that_is_missing_is_the_first_thing_said(
    exported: Path, page_of: Reading
) -> None:
    with sqlite3.connect(exported / "index.sqlite") as index:
        index.execute("UPDATE folders SET exists_on_source = 6 WHERE name = 'INBOX'")
    index.close()

    page = page_of(exported)

    assert page.sentence.startswith("2 messages that the source showed are missing here: 7 are")
    assert page.tone == "is-bad"
    folders = page.rows(page.by_id("folders"))
    assert next(iter(folders)) == "INBOX"
    assert folders["INBOX"]["Adds up"] == "✗ no"


def test_a_folder_that_was_not_looked_through_is_not_called_empty(
    exported: Path, page_of: Reading
) -> None:
    with sqlite3.connect(exported / "index.sqlite") as index:
        index.execute("UPDATE folders SET uidvalidity = NULL WHERE name = 'Gesendet'")
    index.close()

    page = page_of(exported)

    assert page.sentence.startswith(
        "Not finished: 1 folder has not been looked through to the end: 7 are archived"
    )
    assert page.rows(page.by_id("folders"))["Gesendet"]["On the source"] == "—"


def test_each_of_several_targets_has_its_own_sentence(
    waystation: CommandLine, exported: Path, new: Server, other: Server, page_of: Reading
) -> None:
    verified(waystation, exported, new)
    assert waystation("import", exported, *other.target).code == 0

    page = page_of(exported)

    assert page.sentence == "All 7 messages are accounted for: 7 are archived."
    assert page.tone == "is-open"
    said = text(page.by_id("verdict"))
    assert f"{new.name}: 7 arrived and were verified." in said
    assert f"{other.name}: 7 arrived and are not verified." in said
    assert len(page.targets()) == 2


def test_what_a_filter_left_out_is_accounted_for(
    waystation: CommandLine, old: Server, archive: Path, page_of: Reading
) -> None:
    assert waystation("export", archive, *old.source, "--exclude", "Gesendet").code == 0

    page = page_of(archive)

    assert "5 are archived, 2 were left out on purpose, and nothing" in page.sentence
    assert page.cases() == {"Left out of the archive on purpose": 2}


def test_what_the_source_does_not_hand_out_is_named(
    waystation: CommandLine, old: Server, archive: Path, page_of: Reading
) -> None:
    old.script.fetch.body = Body.NIL
    old.script.fetch.only = {2}
    assert waystation("export", archive, *old.source).code == 3

    page = page_of(archive)

    assert "could not be had from the source" in page.sentence
    assert page.tone == "is-attention"
    assert "Could not be had from the source" in page.cases()


def test_what_only_the_source_has_outweighs_that_all_was_verified_until_it_is_settled(
    waystation: CommandLine, exported: Path, old: Server, new: Server, page_of: Reading, file: Path
) -> None:
    verified(waystation, exported, new)
    fine = page_of(exported)
    for number in (20, 21):
        old.mailbox.folder("INBOX").append(letter(number))
    assert waystation("verify", exported, "--source", *old.secret).code == 13
    found = page_of(exported)
    waystation("report", exported, file, "--locale", "de")
    in_german = Page.of(file.read_text("utf-8"))
    assert waystation("export", exported, *old.secret).code == 0
    verified(waystation, exported, new)
    settled = page_of(exported)
    assert waystation("verify", exported, "--source", *old.secret).code == 0
    again = page_of(exported)

    assert fine.tone == again.tone == "is-good"
    assert found.tone == settled.tone == "is-open"
    assert found.sentence.startswith("Not finished: 2 messages are in the source alone")
    said = text(found.by_id("verdict"))
    assert "found at the source: 2 messages that the archive does not hold." in said
    assert in_german.sentence.startswith("Nicht fertig: 2 Nachrichten liegen nur in der Quelle")
    assert "fand bei der Quelle: 2 Nachrichten sind nicht im Archiv." in text(
        in_german.by_id("verdict")
    )
    assert settled.sentence.startswith("All 9 messages are accounted for")
    assert "is older than the last export; not verified since" in text(settled.by_id("verdict"))
    assert "not verified since" not in text(again.by_id("verdict"))


def test_what_is_missing_in_the_target_is_said_first_until_an_import_has_looked_after_it(
    waystation: CommandLine, exported: Path, old: Server, new: Server, page_of: Reading
) -> None:
    verified(waystation, exported, new)
    ledger = waystation("ledger", exported).lines
    lies_at = next(row["targets"][new.name] for row in ledger if row["folder"] == "INBOX")
    new.mailbox.folder("INBOX").expunge(lies_at["uid"])
    waystation("verify", exported, "--target", *new.secret)
    missing = page_of(exported)
    waystation("verify", exported, "--target", *new.secret, "--folder", "Gesendet")
    a_part = page_of(exported)
    waystation("verify", exported, "--source", *old.secret)
    other_side = page_of(exported)
    waystation("import", exported, *new.target)
    imported = page_of(exported)

    for page in (missing, a_part, other_side):
        assert page.tone == "is-attention"
        assert page.sentence.startswith("1 message that had arrived is missing in the target: ")
    said = text(imported.by_id("verdict"))
    assert imported.tone == "is-open"
    assert "is older than the last import; not verified since" in said
    assert "is missing" not in imported.sentence


def test_an_empty_mailbox_is_nothing_to_account_for(
    waystation: CommandLine, new: Server, archive: Path, page_of: Reading
) -> None:
    source = ("--from", new.name, *new.secret)
    assert waystation("export", archive, *source).code == 0

    page = page_of(archive)

    assert page.sentence == "There is nothing to account for: the source showed no message."
    assert page.charts() == {}


def test_mail_that_came_by_pop3_says_where_its_dates_are_from(
    waystation: CommandLine, archive: Path, page_of: Reading
) -> None:
    body = b"Date: Wed, 01 May 2024 08:30:00 +0000\r\nSubject: x\r\n\r\nx\r\n"
    with Pop3Server([Mail("a", body)]) as server:
        source = f"pop3://alice@127.0.0.1:{server.port}"
        words = ("--from", source, "--password-command", "echo secret")
        assert waystation("export", archive, *words, "--allow-plaintext").code == 0

    page = page_of(archive)

    (row,) = page.rows(page.case("Date taken from the message")).values()
    assert (row["Received"], row["Cause"]) == ("May 1, 2024, 8:30 AM +00:00", "Date")
    assert page.sentence.startswith("The one message is accounted for: 1 is archived")


def test_the_same_in_german(waystation: CommandLine, exported: Path, file: Path) -> None:
    done = waystation("report", exported, file, "--locale", "de-AT", "--json")

    page = Page.of(file.read_text("utf-8"))
    assert page.root.get("lang") == "de"
    assert page.sentence == done.summary["verdict"]
    assert page.sentence == (
        "Alle 7 Nachrichten sind nachgewiesen: 7 sind archiviert und in ein anderes Postfach wurde"
        " nichts gesendet."
    )


def test_blanks_of_our_own_are_not_shown_as_foreign(
    waystation: CommandLine, exported: Path, new: Server, file: Path
) -> None:
    assert waystation("import", exported, *new.target).code == 0

    for locale in ("fr", "en", "de"):
        assert waystation("report", exported, file, "--locale", locale).code == 0
        assert "U+" not in file.read_text("utf-8")


def test_nobody_else_can_read_the_file_and_an_earlier_report_is_replaced(
    waystation: CommandLine, exported: Path, file: Path
) -> None:
    for _ in range(2):
        done = waystation("report", exported, file, "--json")

        assert done.code == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert (done.summary["outcome"], done.summary["format"]) == ("done", "html")
    assert [each.name for each in file.parent.iterdir() if "part" in each.name] == []


@pytest.mark.parametrize("ending", ["html", "csv", "json", pytest.param("pdf", marks=needs_pango)])
def test_each_kind_knows_its_own_earlier_report(
    waystation: CommandLine, exported: Path, tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"report.{ending}"

    codes = [waystation("report", exported, file).code for _ in range(2)]

    assert codes == [0, 0]


def test_what_is_no_report_is_not_replaced_unasked(
    waystation: CommandLine, exported: Path, file: Path
) -> None:
    file.write_text("my thesis")

    kept = waystation("report", exported, file)
    text_then = file.read_text()
    forced = waystation("report", exported, file, "--force")

    assert (kept.code, text_then, forced.code) == (2, "my thesis", 0)
    assert "--force" in kept.one_error


def test_a_report_goes_beside_the_archive_not_into_it(
    waystation: CommandLine, exported: Path, tmp_path: Path
) -> None:
    inside = waystation("report", exported, exported / "index.sqlite", "--format", "csv", "--force")
    nowhere = waystation("report", exported, tmp_path / "missing" / "a.html")
    unknown = waystation("report", exported, tmp_path / "report.docx")
    strange = waystation("report", exported, tmp_path / "a.html", "--locale", "tlh-Qo'noS")

    assert [each.code for each in (inside, nowhere, unknown, strange)] == [2, 2, 2, 2]
    assert "lies in the archive" in inside.one_error
    assert ".html, .csv, .json or .pdf" in unknown.one_error


def test_the_table_has_every_message_with_what_ledger_says(
    waystation: CommandLine, exported: Path, new: Server, tmp_path: Path
) -> None:
    new.script.append.refuse = lambda body: b"NO too odd" if b"number 6" in body else None
    verified(waystation, exported, new)
    file = tmp_path / "report.csv"

    assert waystation("report", exported, file, "--with-subjects").code == 0

    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    ledger = [json.loads(line) for line in waystation("ledger", exported).out.splitlines()]
    assert [(row["folder"], row["uid"], row["sha256"]) for row in rows] == [
        (row["folder"], str(row["uid"]), row["sha256"]) for row in ledger
    ]
    assert [row[f"{new.name} state"] for row in rows] == [
        row["targets"][new.name]["state"] for row in ledger
    ]
    (refused,) = (row for row in rows if row[f"{new.name} cases"] == "refused")
    assert (refused["subject"], refused[f"{new.name} reply"]) == ("hello 6", "NO too odd")


def test_the_json_document_holds_the_whole_report(
    waystation: CommandLine, exported: Path, new: Server, tmp_path: Path
) -> None:
    new.script.append.refuse = lambda body: b"NO too odd" if b"number 6" in body else None
    verified(waystation, exported, new)
    file = tmp_path / "report.json"

    done = waystation("report", exported, file, "--json")

    found = json.loads(file.read_text("ascii"))
    assert next(iter(found)) == "waystation_report"
    assert found["verdict"]["sentence"] == done.summary["verdict"]
    assert found["totals"]["archived"] == 7
    assert sum(each["messages"] for each in found["by_year"]) == 7
    assert [run["command"] for run in found["runs"]][:2] == ["export", "import"]
    (refused,) = (each for each in found["cases"] if each["case"] == "refused")
    assert (refused["cause"], refused["weight"]) == ("NO too odd", "loss")
    assert "subject" not in refused


@needs_pango
def test_the_pdf_says_the_same(waystation: CommandLine, exported: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.pdf"

    assert waystation("report", exported, file, "--locale", "en").code == 0

    read = pypdf.PdfReader(file)
    words = " ".join(" ".join(each.extract_text() for each in read.pages).split())
    assert "All 7 messages are accounted for: 7 are archived" in words
    assert "Projects/2024" in words
    assert re.search(r"1 ?/ ?\d", words)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_report_can_be_made_while_another_run_works(
    waystation: CommandLine, exported: Path, file: Path
) -> None:
    from store.archive import Archive

    with Archive.write(exported, "export"):
        assert waystation("report", exported, file).code == 0
