"""Seals, manifests, signatures and the history, as a person asks for them."""

from __future__ import annotations

import fcntl
import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import letter

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine, Server


def tamper(archive: Path, statement: str) -> None:
    with closing(sqlite3.connect(archive / "index.sqlite", isolation_level=None)) as index:
        index.execute(statement)


def records(archive: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (archive / "journal.jsonl").read_text().splitlines()]


def test_every_run_leaves_a_record_of_who_and_what_and_how_it_ended(
    waystation: CommandLine, old: Server, new: Server, exported: Path
) -> None:
    waystation("import", exported, *new.target, "--folder", "INBOX")
    waystation("check", exported)
    waystation("rollback", exported, *new.target, "--yes")
    waystation("export", exported, *old.secret, "--since", "2024-01-01")

    told = records(exported)
    commands = ["export", "import", "check", "rollback", "export"]
    assert [record["command"] for record in told] == commands
    assert [record["account"] for record in told] == [old.name, new.name, None, new.name, old.name]
    assert told[1]["asked"] == {"selection": {"folders": ["INBOX"]}}
    assert told[4]["asked"] == {"selection": {"since": "2024-01-01"}}
    (sent,) = told[1]["counts"]["transfers"].values()
    assert sum(sent.values()) == 7
    assert {record["outcome"] for record in told} == {"done"}
    text = (exported / "journal.jsonl").read_text()
    assert "s3cret" not in text
    assert "PASSWORD" not in text


def test_a_seal_on_paper_proves_the_archive_and_tells_what_followed(
    waystation: CommandLine, old: Server, exported: Path
) -> None:
    seal = waystation("seal", exported)
    noted = seal.out.splitlines()[0]
    old.mailbox.folder("INBOX").append(letter(20))
    waystation("export", exported, *old.secret)

    checked = waystation("check", exported, "--seal", noted.lower().replace("-", " "))

    assert seal.code == 0
    assert len(noted) == 39
    assert "record 1 of " in seal.out
    assert "7 messages archived" in seal.out
    assert checked.code == 0
    assert "The seal is that of record 1 of " in checked.err
    assert "what was there then is as it was." in checked.err
    assert "1 run since then:" in checked.err
    assert checked.out.splitlines()[1].split()[-3:] == ["1", "0", "0"]


def test_a_seal_of_something_else_is_refused(waystation: CommandLine, exported: Path) -> None:
    other = waystation("check", exported, "--seal", "0" * 32, "--json")
    wrong = waystation("check", exported, "--seal", "hello")

    assert other.code == 13
    assert other.summary["kinds"] == {"noted": 1}
    assert other.summary["noted"] is None
    assert wrong.code == 2
    assert "a seal has 32 letters and digits" in wrong.one_error


def test_an_altered_row_is_found_and_the_record_says_so(
    waystation: CommandLine, exported: Path
) -> None:
    tamper(exported, "UPDATE messages SET subject = 'never mind' WHERE id = 3")

    checked = waystation("check", exported)
    again = waystation("check", exported)

    assert checked.code == again.code == 13
    assert checked.err.count("altered-row: ") == 1
    assert "its row was altered since it was sealed" in checked.err
    assert records(exported)[-1]["totals"]["kinds"] == {"altered-row": 1}


def test_a_manifest_is_compared_message_by_message(
    waystation: CommandLine, old: Server, exported: Path, tmp_path: Path
) -> None:
    file = tmp_path / "alice.sha256"
    written = waystation("seal", exported, "--manifest", file, "--json")
    old.mailbox.folder("INBOX").append(letter(20))
    waystation("export", exported, *old.secret)

    same = waystation("check", exported, "--manifest", file, "--json")
    file.write_text(file.read_text().replace("  maildir/INBOX/cur/", "0  maildir/INBOX/cur/", 1))
    wrong = waystation("check", exported, "--manifest", file)
    inside = waystation("seal", exported, "--manifest", exported / "manifest")

    assert written.summary["manifest"] == str(file)
    assert same.code == 0
    assert (same.summary["same"], same.summary["came_since"]) == (7, 1)
    assert wrong.code == 2
    assert "of the manifest is none that sha256sum would read" in wrong.one_error
    assert "proves nothing" in inside.one_error


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
def test_an_ssh_key_signs_and_ssh_keygen_verifies(
    waystation: CommandLine, exported: Path, tmp_path: Path
) -> None:
    key, file = tmp_path / "key", tmp_path / "alice.sha256"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text()
    (tmp_path / "signers").write_text(f'alice namespaces="waystation" {public}')

    shown = waystation("seal", exported, "--sign", key)
    (tmp_path / "record.sig").write_text("\n".join(shown.out.splitlines()[2:]) + "\n")
    signed = waystation("seal", exported, "--manifest", file, "--sign", key, "--json")
    twice = waystation("seal", exported, "--manifest", file, "--sign", key)

    def is_good(signature: Path, content: bytes) -> bool:
        verify = ["ssh-keygen", "-Y", "verify", "-n", "waystation", "-I", "alice"]
        verify += ["-f", str(tmp_path / "signers"), "-s", str(signature)]
        return (
            subprocess.run(verify, input=content, capture_output=True, check=False).returncode == 0
        )

    line = (exported / "journal.jsonl").read_bytes().splitlines(keepends=True)[0]
    assert (shown.code, signed.code, twice.code) == (0, 0, 0)
    assert is_good(tmp_path / "record.sig", line)
    assert not is_good(tmp_path / "record.sig", line.replace(b"export", b"import"))
    assert signed.summary["signature"] == f"{file}.sig"
    assert is_good(tmp_path / "alice.sha256.sig", file.read_bytes())
    assert not is_good(tmp_path / "alice.sha256.sig", file.read_bytes() + b"\n")


@pytest.mark.skipif(shutil.which("minisign") is None, reason="minisign is not installed")
def test_a_key_of_minisign_signs_and_minisign_verifies(
    waystation: CommandLine, exported: Path, tmp_path: Path
) -> None:
    key, public, file = tmp_path / "key", tmp_path / "key.pub", tmp_path / "alice.sha256"
    subprocess.run(
        ["minisign", "-G", "-W", "-p", str(public), "-s", str(key)], check=True, capture_output=True
    )

    signed = waystation("seal", exported, "--manifest", file, "--sign", key)

    verify = ["minisign", "-V", "-p", str(public), "-m", str(file)]
    told = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert signed.code == 0
    assert told.returncode == 0
    assert "waystation seal of record 1" in told.stdout
    file.write_text(file.read_text() + "\n")
    assert subprocess.run(verify, capture_output=True, check=False).returncode != 0


def test_a_key_that_nobody_can_use_is_an_error_that_says_what_to_do(
    waystation: CommandLine, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    missing = waystation("seal", exported, "--sign", key)
    key.write_text("hello")
    foreign = waystation("seal", exported, "--sign", key)
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nnothing\n")
    if shutil.which("ssh-keygen"):
        broken = waystation("seal", exported, "--sign", key)
        assert broken.code == 1
        assert "ssh-keygen does not sign" in broken.one_error
    monkeypatch.setenv("PATH", str(tmp_path))
    absent = waystation("seal", exported, "--sign", key)
    key.write_text("untrusted comment: minisign encrypted secret key\n")
    other = waystation("seal", exported, "--sign", key)

    assert missing.code == foreign.code == 2
    assert "is neither an SSH key" in foreign.one_error
    assert "apt-get install openssh-client" in absent.one_error
    assert "apt-get install minisign" in other.one_error


def test_two_runs_are_compared_message_by_message(
    waystation: CommandLine, old: Server, new: Server, exported: Path
) -> None:
    inbox = old.mailbox.folder("INBOX")
    inbox.append(letter(20, "confidential"))
    inbox.set_flags(1, {"\\Flagged", "\\Seen"})
    inbox.expunge(2)
    waystation("export", exported, *old.secret)
    waystation("import", exported, *new.target)

    listed = waystation("diff", exported)
    shown = waystation("diff", exported, 1, 2)
    told = waystation("diff", exported, 3, 2, "--json")
    same = waystation("diff", exported, 3)
    unknown = waystation("diff", exported, 1, 9)

    counts = [line.split() for line in listed.out.splitlines()[1:]]
    assert [(each[0], *each[-3:]) for each in counts] == [
        ("1", "7", "0", "0"),
        ("2", "1", "2", "0"),
        ("3", "0", "8", "0"),
    ]
    assert "came: INBOX UID 5 (archived)" in shown.out
    assert "changed: INBOX UID 1: flags +\\Flagged +\\Seen" in shown.out
    assert "changed: INBOX UID 2: vanished from the source" in shown.out
    assert "Between record 1 and record 2: 1 came, 2 changed." in shown.err
    assert "confidential" not in shown.out
    assert len(told.of_type("turn")) == told.summary["changed"] == 8
    assert "pending became appended at" in told.of_type("turn")[0]["changes"][0]
    assert "no change" in same.err
    assert unknown.code == 2


def test_a_check_beside_another_run_leaves_no_record_and_says_so(
    waystation: CommandLine, exported: Path
) -> None:
    with (exported / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        checked = waystation("check", exported, "--json")
    freely = waystation("check", exported, "--json")

    assert checked.code == 0
    assert "is in use by another run" in checked.summary["not_recorded"]
    assert freely.summary["not_recorded"] is None
    assert [record["command"] for record in records(exported)] == ["export", "check"]


def test_an_archive_without_a_seal_says_how_it_gets_one(
    waystation: CommandLine, exported: Path
) -> None:
    for table in ("records", "sealed", "blocks", "changes", "unsealed", "before"):
        tamper(exported, f"DROP TABLE {table}")
    for index in ("messages_not_archived", "transfers_in_doubt"):
        tamper(exported, f"DROP INDEX {index}")
    tamper(exported, "DELETE FROM _sqlite_migrations WHERE name IN ('seals', 'tallies')")
    (exported / "journal.jsonl").unlink()

    no_seal = waystation("seal", exported)
    no_history = waystation("diff", exported)
    first = waystation("check", exported)
    second = waystation("seal", exported)

    assert "is not sealed yet" in no_seal.one_error
    assert "has no history yet" in no_history.one_error
    assert first.code == second.code == 0
    assert "Not sealed yet" in first.err


def test_a_rebuilt_index_is_told_of(waystation: CommandLine, exported: Path) -> None:
    noted = waystation("seal", exported).out.splitlines()[0]

    rebuilt = waystation("check", exported, "--rebuild", "--seal", noted)
    compared = waystation("diff", exported, 1)

    assert rebuilt.code == 0
    assert "The index was made anew by run 2" in rebuilt.err
    assert [record["command"] for record in records(exported)][:2] == ["export", "check --rebuild"]
    assert compared.code == 1
    assert "the index was made anew by run 2" in compared.one_error


@pytest.mark.parametrize("kept", [0, 1, -40])
@pytest.mark.parametrize("looks_first", [False, True])
def test_a_journal_that_was_lost_or_cut_is_written_back_from_the_index(
    waystation: CommandLine, old: Server, exported: Path, kept: int, looks_first: bool
) -> None:
    waystation("export", exported, *old.secret)
    journal = exported / "journal.jsonl"
    whole = journal.read_bytes()
    end = whole.index(b"\n") + 1 if kept == 1 else kept
    journal.write_bytes(whole[:end])
    if not kept:
        journal.unlink()
    if looks_first:
        assert waystation("check", exported).code == 13

    repaired = waystation("check", exported, "--repair")
    after = waystation("check", exported, "--json")

    assert "The journal has its records again" in repaired.err
    assert journal.read_bytes().startswith(whole)
    # A run that found the journal cut has said so, and that stays for good.
    assert set(after.summary["kinds"]) == ({"doubt"} if looks_first else set())
    assert repaired.code == (13 if looks_first else 0)


def test_a_journal_with_a_line_of_its_own_is_not_written_anew(
    waystation: CommandLine, old: Server, exported: Path
) -> None:
    waystation("export", exported, *old.secret)
    journal = exported / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"outcome":"done"', b'"outcome":"gone"', 1))
    altered = journal.read_bytes()

    repaired = waystation("check", exported, "--repair", "--json")

    assert repaired.code == 13
    assert repaired.summary["restored"] == 0
    assert journal.read_bytes().startswith(altered)
