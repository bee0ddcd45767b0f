"""The ledger's rows and the totals of status are the same numbers, and they add up."""

from __future__ import annotations

import io
import json
import tempfile
from collections import Counter
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.archive import Archive
from store.transfers import Transfer, TransferState
from tests.servers.dovecot import PASSWORD
from tests.store.filling import create
from waystation import cli
from waystation.model import FolderState

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine, Server
    from tests.servers.dovecot import Dovecot


def test_a_folder_that_does_not_add_up_is_an_alarm_with_its_own_exit_code(
    waystation: CommandLine, exported: Path, new: Server, old: Server
) -> None:
    with Archive.write(exported, "test") as archive:
        archive.database.execute("DELETE FROM messages WHERE folder_id = 1 AND uid = 2")

    shown = waystation("status", exported)
    as_json = waystation("status", exported, "--json")

    assert shown.code == as_json.code == 14
    assert (
        "! INBOX: 3 archived + 0 skipped + 0 failed - 0 vanished = 3, and the source showed 4: "
        "1 too few" in shown.err
    )
    assert "'waystation export ARCHIVE' looks through these folders again" in shown.err
    assert "not finished" not in shown.err
    assert (as_json.summary["outcome"], as_json.summary["wrong"]) == ("discrepancies", 1)
    assert not as_json.summary["adds_up"]
    [row] = [row for row in as_json.of_type("folder") if row["folder"] == "INBOX"]
    assert (row["left_over"], row["is_settled"], row["adds_up"]) == (-1, True, False)
    [alarm] = as_json.of_type("alarm")
    assert alarm["folder"] == "INBOX"


def test_an_interrupted_export_is_not_finished_and_no_alarm(
    waystation: CommandLine, exported: Path
) -> None:
    with Archive.write(exported, "test") as archive:
        archive.index.unsettle(1)
        archive.database.execute("DELETE FROM messages WHERE folder_id = 1 AND uid = 2")

    shown = waystation("status", exported, "--json")

    assert (shown.code, shown.summary["outcome"], shown.summary["unfinished"]) == (
        0,
        "incomplete",
        1,
    )
    assert "not finished: INBOX" in shown.err


def test_a_state_too_many_at_a_target_says_which(
    waystation: CommandLine, exported: Path, new: Server
) -> None:
    waystation("import", exported, *new.target)
    with Archive.write(exported, "test") as archive:
        archive.database.execute(
            "UPDATE messages SET state = 'failed', file = NULL, sha256 = NULL, size = NULL"
            " WHERE folder_id = 1 AND uid = 2"
        )

    shown = waystation("status", exported)

    assert shown.code == 14
    assert f"3 archived, and for {new.name} there are 4 appended: 1 too many" in shown.err


def test_status_tells_in_which_folders_what_was_left_out(
    waystation: CommandLine, archive: Path, old: Server
) -> None:
    waystation("export", archive, *old.source, "--not-flag", "seen")

    shown = waystation("status", archive)
    rows = waystation("status", archive, "--json").of_type("folder")

    assert "4 skipped: with seen (--not-flag) (Gesendet 2, INBOX 2)" in shown.out
    assert {row["folder"]: row["skipped_by"] for row in rows if row["skipped_by"]} == {
        "Gesendet": {"with seen (--not-flag)": 2},
        "INBOX": {"with seen (--not-flag)": 2},
    }


STATES = [None, *(s for s in TransferState)]
messages = st.lists(
    st.tuples(
        st.sampled_from(["A", "B/C", "ä"]),
        st.sampled_from(["archived", "skipped", "failed"]),
        st.sampled_from(["why", "larger than 1 octets (--max-size)", None]),
        st.booleans(),
        st.tuples(st.sampled_from(STATES), st.sampled_from(STATES)),
    ),
    max_size=25,
)
NAMES = ("imaps://bob@example.net", "office365:bob@contoso.com")


@settings(max_examples=40, deadline=None)
@given(messages)
def test_the_rows_of_the_ledger_are_the_totals_of_status(
    mail: list[tuple[str, str, str | None, bool, tuple[Any, Any]]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "archive"
        write(path, mail)

        rows, told = output("ledger", path), output("status", path)

    summary = told[-1]
    assert (summary["exit_code"], summary["adds_up"]) == (0, True)
    assert len(rows) - 1 == len(mail)
    agree(rows[:-1], told)


def write(path: Path, mail: list[tuple[str, str, str | None, bool, tuple[Any, Any]]]) -> None:
    with closing(create(path)) as archive:
        archive.database.execute("PRAGMA synchronous = OFF")
        targets = [archive.transfers.target(name, name) for name in NAMES]
        folders: dict[str, int] = {}
        for uid, (name, state, reason, has_vanished, reached) in enumerate(mail, start=1):
            if name not in folders:
                folders[name] = archive.index.add_folder(name, f"maildir/{uid}", None)
            is_there = state == "archived"
            number = archive.database.execute(
                "INSERT INTO messages (folder_id, uidvalidity, uid, state, reason, file, sha256,"
                " size, last_seen) VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?)",
                (
                    folders[name],
                    uid,
                    state,
                    None if is_there else reason,
                    "cur/x" if is_there else None,
                    "00" if is_there else None,
                    1 if is_there else None,
                    "" if has_vanished else None,
                ),
            )
            archive.transfers.record(
                (),
                [
                    Transfer(number, target.id, way, name, reply=reason)
                    for target, way in zip(targets, reached, strict=True)
                    if way is not None and is_there
                ],
            )
        for number in folders.values():
            state_ = FolderState(1, 100, archive.index.present(number, 1))
            archive.index.settle(number, state_, "2024-05-02T00:00:00+00:00", is_settled=True)


def output(command: str, path: Path) -> list[dict[str, Any]]:
    out = io.StringIO()
    with redirect_stdout(out):
        cli.run([command, str(path), "--json"])
    return [json.loads(line) for line in out.getvalue().splitlines()]


def agree(rows: list[dict[str, Any]], told: list[dict[str, Any]]) -> None:
    """Count the rows of the ledger, and compare them with what status says."""
    folders = {row["folder"]: row for row in told if row["type"] == "folder"}
    counted: dict[str, Counter[str]] = {name: Counter() for name in folders}
    reasons: dict[str, Counter[str]] = {name: Counter() for name in folders}
    targets: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        counted[row["folder"]][row["state"]] += 1
        counted[row["folder"]]["vanished"] += row["last_seen"] is not None
        if row["reason"] is not None:
            reasons[row["folder"]][row["reason"]] += 1
        for target, way in row["targets"].items():
            targets.setdefault((row["folder"], target), Counter())[way["state"]] += 1
    for name, folder in folders.items():
        for key in ("archived", "skipped", "failed", "vanished"):
            assert folder[key] == counted[name][key], (name, key)
        assert folder["reasons"] == reasons[name]
        for target, states in folder["targets"].items():
            assert states == targets[name, target]
            assert sum(states.values()) == folder["archived"]
        rows_of_it = folder["archived"] + folder["skipped"] + folder["failed"]
        assert rows_of_it - folder["vanished"] == folder["on_source"]
    summary = told[-1]
    for key in ("archived", "skipped", "failed", "vanished"):
        assert summary[key] == sum(folder[key] for folder in folders.values())


@pytest.mark.server
def test_the_numbers_of_a_real_server_add_up_after_every_step(
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
    for name, count in (("INBOX", 5), ("Work", 3), ("Old", 2)):
        if name != "INBOX":
            dovecot.doveadm("mailbox", "create", "-u", user, name)
        for number in range(count):
            body = b"Subject: %d\r\n\r\n" % number + b"x" * 1000 * number
            dovecot.doveadm("save", "-u", user, "-m", name, data=body)
    small = ("--max-size", "3K")

    def exists() -> dict[str, int]:
        lines = dovecot.doveadm("-f", "flow", "mailbox", "status", "-u", user, "messages", "*")
        return {
            line.rpartition(" messages=")[0]: int(line.rpartition("=")[2])
            for line in lines.splitlines()
        }

    def settled() -> None:
        told = waystation("status", archive, "--json")
        assert told.code == 0
        assert told.summary["adds_up"]
        agree(waystation("ledger", archive, "--json").of_type("message"), told.lines)
        shown = {row["folder"]: row["on_source"] for row in told.of_type("folder")}
        assert {name: count for name, count in shown.items() if count} == {
            name: count for name, count in exists().items() if count
        }

    assert waystation("export", archive, "--from", source, *secret, *small).code == 0
    settled()
    assert waystation("import", archive, "--to", target, *secret, "--exclude", "Work").code == 0
    settled()
    dovecot.doveadm("expunge", "-u", user, "mailbox", "INBOX", "1:2")
    dovecot.doveadm("mailbox", "delete", "-u", user, "Old")
    dovecot.doveadm("save", "-u", user, "-m", "Work", data=b"Subject: new\r\n\r\n")
    assert waystation("export", archive, *secret, *small).code == 0
    settled()
    assert waystation("import", archive, *secret).code == 0
    waystation("verify", archive, "--target", *secret)
    settled()
    assert waystation("export", archive, *secret).code == 0
    settled()
