"""The whole way, command by command, as a person goes it."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Server, letter, tree
from tests.fakes.imap_server import Answer
from tests.servers.dovecot import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.servers.dovecot import Dovecot


def test_a_mailbox_moves_with_the_source_switched_off_in_between(
    waystation: CommandLine, old: Server, new: Server, archive: Path
) -> None:
    exported = waystation("export", archive, *old.source)
    before = {folder.name: folder.bodies for folder in old.mailbox.folders}
    old.fake.__exit__(None, None, None)
    checked = waystation("check", archive)
    planned = waystation("plan", archive, *new.target)
    imported = waystation("import", archive, *new.target)
    verified = waystation("verify", archive, "--target", *new.secret)

    assert [r.code for r in (exported, checked, planned, imported, verified)] == [0] * 5
    assert "7 new messages" in exported.err
    assert "every file is what was archived" in checked.err
    assert "Sent Items" in planned.out
    assert "7 messages" in imported.err
    assert "7 of 7 messages are the same" in verified.err
    assert new.mailbox.folder("INBOX").bodies[::-1] == before["INBOX"]
    assert new.mailbox.folder("Sent Items").bodies[::-1] == before["Gesendet"]
    assert new.mailbox.folder("Projects/2024").bodies == before["Projects/2024"]


def test_an_archive_remembers_its_source_and_its_target(
    waystation: CommandLine, old: Server, new: Server, exported: Path
) -> None:
    old.mailbox.folder("INBOX").append(letter(7))
    waystation("import", exported, *new.target)

    again = waystation("export", exported, *old.secret, "--json")
    moved = waystation("import", exported, *new.secret, "--json")

    assert again.summary["new"] == 1
    assert moved.summary["appended"] == 1
    assert moved.summary["target"] == new.name


def test_a_second_import_sends_nothing(
    waystation: CommandLine, new: Server, exported: Path
) -> None:
    waystation("import", exported, *new.target)
    new.fake.forget()

    second = waystation("import", exported, *new.secret)

    assert second.code == 0
    assert "Nothing was left to send" in second.err
    assert new.fake.commands("APPEND") == 0


def test_what_is_too_large_for_the_target_is_told_before_and_after(
    waystation: CommandLine, old: Server, new: Server, archive: Path
) -> None:
    large = letter(7, "large" * 200)
    old.mailbox.folder("Projects/2024").append(large)
    waystation("export", archive, *old.source)
    new.fake.abilities = replace(new.fake.abilities, append_limit=500)

    planned = waystation("plan", archive, *new.target)
    as_json = waystation("plan", archive, *new.target, "--json")
    done = waystation("import", archive, *new.target)

    assert "7 messages (" in planned.err
    assert "Projects/2024: 1 message (1.1 kB) too large for the target, which takes" in planned.err
    row = next(row for row in as_json.of_type("folder") if row["folder"] == "Projects/2024")
    assert (row["messages"], row["too_large"], row["too_large_octets"]) == (1, 1, len(large))
    summary = as_json.summary
    assert (summary["messages"], summary["too_large"], summary["largest_taken"]) == (7, 1, 500)
    assert done.code == 3
    assert "! Projects/2024 UID 2: too large for the target: " in done.err
    assert "1 set aside, 1 of them too large for it." in done.err


def test_a_folder_that_cannot_be_made_leaves_its_messages_with_a_word(
    waystation: CommandLine, new: Server, exported: Path
) -> None:
    new.script.on("CREATE", Answer(b"NO not here"))

    done = waystation("import", exported, *new.target, "--json")
    again = waystation("import", exported, *new.target)

    assert (done.code, done.summary["not_sent"], done.summary["appended"]) == (3, 1, 6)
    assert "--folder-map FILE.csv gives it another name (1 not sent)" in again.err
    assert "1 not sent: their folder cannot be made or used." in again.err


def test_a_folder_that_gets_a_plainer_name_is_told_and_is_no_problem(
    waystation: CommandLine, old: Server, new: Server, archive: Path
) -> None:
    old.mailbox.create('"quoted"').append(letter(7))
    waystation("export", archive, *old.source)
    new.script.on("CREATE", Answer(b"NO bad name"), containing=b"quoted\\")

    done = waystation("import", archive, *new.target, "--json")

    assert done.code == 0
    [note] = done.of_type("note")
    assert note["text"] == 'goes to "_quoted_": the target refuses the name ""quoted""'
    planned = waystation("plan", archive, "--offline", "--json").of_type("folder")
    assert 'the target refuses the name ""quoted""' in [r for p in planned for r in p["reasons"]]
    old.mailbox.folder('"quoted"').append(letter(8))
    waystation("export", archive)
    assert "quoted" not in waystation("import", archive, "--quiet", *new.secret).err


def test_the_source_is_only_read(waystation: CommandLine, old: Server, archive: Path) -> None:
    waystation("export", archive, *old.source)
    waystation("verify", archive, "--source", "--deep", *old.secret)

    changing = ("SELECT", "STORE", "APPEND", "EXPUNGE", "COPY", "MOVE", "CREATE", "DELETE", "CLOSE")
    assert [name for name in changing if old.fake.commands(name)] == []
    assert all(b"BODY.PEEK" in line for line in old.fake.requests("FETCH") if b"BODY" in line)


def test_status_adds_up_to_what_the_source_held(
    waystation: CommandLine, new: Server, exported: Path
) -> None:
    waystation("import", exported, *new.target)

    status = waystation("status", exported, "--json")

    assert status.summary["adds_up"]
    assert (status.summary["on_source"], status.summary["archived"]) == (7, 7)
    assert status.summary["targets"] == {new.name: {"appended": 7}}
    assert {row["folder"]: row["archived"] for row in status.of_type("folder")} == {
        "INBOX": 4,
        "Gesendet": 2,
        "Projects": 0,
        "Projects/2024": 1,
    }


def test_status_for_people_fits_eighty_columns(
    waystation: CommandLine, new: Server, exported: Path
) -> None:
    waystation("import", exported, *new.target)

    status = waystation("status", exported)

    assert max(map(len, status.out.splitlines())) <= 80
    assert "total                  7         7" in status.out
    assert f"Target: {new.name}" in status.out


def test_status_says_where_an_export_was_not_finished(
    waystation: CommandLine, old: Server, archive: Path
) -> None:
    old.script.refuse_select["Gesendet"] = b"NO broken"

    exported = waystation("export", archive, *old.source)
    status = waystation("status", archive)

    assert exported.code == 3
    assert "! Gesendet: " in exported.err
    assert "not finished: Gesendet" in status.err
    assert waystation("status", archive, "--json").summary["outcome"] == "incomplete"


def test_the_ledger_has_a_row_for_each_message(
    waystation: CommandLine, new: Server, exported: Path
) -> None:
    waystation("import", exported, *new.target)

    rows = waystation("ledger", exported).lines

    assert len(rows) == 7
    row = next(row for row in rows if row["folder"] == "Projects/2024")
    assert list(row)[:5] == ["folder", "uidvalidity", "uid", "sha256", "size"]
    assert (row["flags"], row["message_id"]) == (["\\Flagged"], "<6@example.org>")
    assert (exported / row["path"]).read_bytes() == letter(6)
    target = row["targets"][new.name]
    assert (target["state"], target["folder"], target["uid"]) == ("appended", "Projects/2024", 1)


def test_the_ledger_as_json_ends_with_a_summary(waystation: CommandLine, exported: Path) -> None:
    ledger = waystation("ledger", exported, "--json")

    assert [line["type"] for line in ledger.lines] == ["message"] * 7 + ["summary"]
    assert ledger.summary["messages"] == 7


def test_the_ledger_as_a_table_can_be_read_by_a_spreadsheet(
    waystation: CommandLine, new: Server, exported: Path
) -> None:
    waystation("import", exported, *new.target)

    table = waystation("ledger", exported, "--format", "csv").out

    rows = list(csv.DictReader(io.StringIO(table)))
    assert len(rows) == 7
    assert {row[f"{new.name} state"] for row in rows} == {"appended"}


def test_the_ledger_shows_one_state_alone(
    waystation: CommandLine, old: Server, new: Server, exported: Path
) -> None:
    waystation("import", exported, *new.target)
    old.mailbox.folder("INBOX").append(letter(8))
    waystation("export", exported, *old.secret)

    rows = waystation("ledger", exported, "--state", "pending").lines

    assert [row["message_id"] for row in rows] == ["<8@example.org>"]


def test_a_plan_sends_nothing_and_gives_its_reasons(
    waystation: CommandLine, new: Server, exported: Path
) -> None:
    planned = waystation("plan", exported, *new.target, "--json")

    row = next(row for row in planned.of_type("folder") if row["folder"] == "Gesendet")
    assert (row["target"], row["exists"]) == ("Sent Items", True)
    assert row["reasons"] == ["the target keeps sent mail there"]
    assert planned.summary["messages"] == 7
    assert new.fake.commands("APPEND") + new.fake.commands("CREATE") == 0


def test_an_offline_plan_does_not_even_connect(
    waystation: CommandLine, new: Server, exported: Path
) -> None:
    planned = waystation("plan", exported, "--to", new.name, "--offline", "--json")

    assert planned.code == 0
    assert planned.summary["folders_to_create"] == 3
    assert new.fake.connections == 0


def test_a_plan_after_an_import_has_nothing_left(
    waystation: CommandLine, new: Server, exported: Path
) -> None:
    waystation("import", exported, *new.target)

    planned = waystation("plan", exported, "--offline", "--json")

    assert (planned.summary["messages"], planned.summary["arrived"]) == (0, 7)
    assert all(row["exists"] for row in planned.of_type("folder") if row["folder"] != "Projects")


def test_folders_go_where_the_folder_map_says(
    waystation: CommandLine, new: Server, exported: Path, tmp_path: Path
) -> None:
    wishes = tmp_path / "folders.csv"
    wishes.write_text("source,target\nGesendet,Old/Sent\nNowhere,Somewhere\n")

    imported = waystation("import", exported, *new.target, "--folder-map", wishes)

    assert imported.code == 0
    assert len(new.mailbox.folder("Old/Sent").bodies) == 2
    assert "! Nowhere: the folder map names it" in imported.err


def test_a_refused_message_is_named_and_tried_again(
    waystation: CommandLine, new: Server, exported: Path
) -> None:
    new.script.append.refuse = lambda body: b"NO too odd" if b"number 6" in body else None

    imported = waystation("import", exported, *new.target, "--json")
    status = waystation("status", exported)
    new.script.clear()
    again = waystation("import", exported, *new.secret, "--json")

    assert imported.code == 3
    assert (imported.summary["outcome"], imported.summary["refused"]) == ("incomplete", 1)
    assert "! Projects/2024 UID 1: NO too odd" in imported.err
    assert "1: refused: NO too odd" in status.out
    assert (again.code, again.summary["appended"]) == (0, 1)


def test_verify_names_what_is_missing_from_the_target(
    waystation: CommandLine, new: Server, exported: Path
) -> None:
    waystation("import", exported, *new.target)
    new.mailbox.folder("Projects/2024").expunge(1)

    verified = waystation("verify", exported, "--target", *new.secret, "--json")

    assert verified.code == 13
    assert verified.summary["causes"] == {"missing": 1}
    (difference,) = verified.of_type("difference")
    assert (difference["folder"], difference["uid"]) == ("Projects/2024", 1)
    assert "missing: Projects/2024 UID 1" in verified.err


def test_verify_names_what_has_changed_on_the_source(
    waystation: CommandLine, old: Server, exported: Path
) -> None:
    old.mailbox.folder("INBOX").expunge(2)
    old.mailbox.folder("INBOX").append(letter(9))
    before = tree(exported / "maildir")

    verified = waystation("verify", exported, "--source", *old.secret, "--json")

    assert verified.code == 13
    assert verified.summary["causes"] == {"vanished": 1, "not_archived": 1}
    assert tree(exported / "maildir") == before


def test_what_agrees_becomes_verified(waystation: CommandLine, new: Server, exported: Path) -> None:
    waystation("import", exported, *new.target)
    waystation("verify", exported, "--target", "--deep", *new.secret)

    status = waystation("status", exported, "--json")

    assert status.summary["targets"] == {new.name: {"verified": 7}}


def test_check_names_an_altered_message(waystation: CommandLine, exported: Path) -> None:
    path = exported / waystation("ledger", exported).lines[0]["path"]
    times = path.stat()
    path.write_bytes(path.read_bytes().replace(b"This", b"That"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    checked = waystation("check", exported, "--json")

    assert checked.code == 13
    assert checked.summary["kinds"] == {"altered": 1}
    assert checked.of_type("discrepancy")[0]["is_loss"]


def test_check_undoes_what_a_mail_reader_renamed(waystation: CommandLine, exported: Path) -> None:
    path = exported / waystation("ledger", exported).lines[0]["path"]
    path.rename(path.with_name(f"{path.name}T"))

    found = waystation("check", exported)
    repaired = waystation("check", exported, "--repair")
    checked = waystation("check", exported)

    assert (found.code, repaired.code, checked.code) == (13, 0, 0)
    assert "No message is lost" in found.err
    assert "1 repaired" in repaired.err


def test_check_makes_a_new_index_from_the_files(waystation: CommandLine, exported: Path) -> None:
    (exported / "index.sqlite").write_bytes(b"no database")

    damaged = waystation("check", exported)
    rebuilt = waystation("check", exported, "--rebuild", "--json")

    assert damaged.code == 1
    assert "--rebuild" in damaged.one_error
    assert rebuilt.code == 0
    assert rebuilt.of_type("rebuilt") == [{"type": "rebuilt", "messages": 7, "folders": 4}]


def test_quiet_says_nothing_where_all_is_well(
    waystation: CommandLine, old: Server, new: Server, archive: Path
) -> None:
    results = [
        waystation("export", archive, *old.source, "--quiet"),
        waystation("check", archive, "--quiet"),
        waystation("import", archive, *new.target, "--quiet"),
        waystation("verify", archive, "--target", *new.secret, "--quiet"),
    ]

    assert [(result.code, result.out, result.err) for result in results] == [(0, "", "")] * 4


def test_every_line_of_json_begins_with_its_type(
    waystation: CommandLine, old: Server, new: Server, archive: Path
) -> None:
    results = [
        waystation("export", archive, *old.source, "--json"),
        waystation("check", archive, "--json"),
        waystation("plan", archive, *new.target, "--json"),
        waystation("import", archive, *new.target, "--json"),
        waystation("verify", archive, "--target", *new.secret, "--json"),
        waystation("status", archive, "--json"),
        waystation("ledger", archive, "--json"),
    ]

    assert {next(iter(line)) for result in results for line in result.lines} == {"type"}
    assert all(list(r.summary)[:4] == ["type", "command", "outcome", "exit_code"] for r in results)
    assert [r.summary["exit_code"] for r in results] == [r.code for r in results] == [0] * 7
    assert all(result.err == "" for result in results)


@pytest.mark.server
def test_a_mailbox_moves_between_two_users_of_a_real_server(
    waystation: CommandLine,
    dovecot: Dovecot,
    user: str,
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOVECOT_PASSWORD", PASSWORD)
    secret = ("--password-env", "DOVECOT_PASSWORD", "--ca-file", dovecot.ca_file)
    source = f"imaps://{user}@localhost:{dovecot.tls_port}"
    target = f"imap://{user}-new@localhost:{dovecot.port}"
    dovecot.doveadm("mailbox", "create", "-u", user, "Été & co")
    for number in range(3):
        dovecot.doveadm("save", "-u", user, "-m", "Été & co", data=letter(number))

    results = [
        waystation("export", archive, "--from", source, *secret),
        waystation("verify", archive, "--source", *secret),
        waystation("import", archive, "--to", target, *secret),
        waystation("verify", archive, "--target", "--deep", *secret),
        waystation("check", archive),
    ]

    assert [result.code for result in results] == [0] * 5
    assert "3 of 3 messages are the same" in results[3].err
