"""One message, as a person and a program get it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from email.message import EmailMessage
from functools import cache
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from tests.store.filling import add, create, remote
from waystation.model import SpecialUse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine, Server


@cache
def letter(subject: str = "Bericht für März") -> bytes:
    made = EmailMessage()
    made["From"] = "Åsa Köhler <asa@example.org>"
    made["To"] = "bob@example.org"
    made["Subject"] = subject
    made["Message-ID"] = "<one@example.org>"
    made["X-Mailer"] = "hand"
    made.set_content("Grüße aus Köln")
    made.add_alternative("<p>Grüße aus <b>Köln</b>, schöner</p>", subtype="html")
    made.add_attachment(b"%PDF-1", maintype="application", subtype="pdf", filename="Köln.pdf")
    return made.as_bytes()


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """An archive of four messages in two folders."""
    path = tmp_path / "shelf"
    with create(path) as archive:
        inbox = archive.ensure_folder(("INBOX",), SpecialUse.INBOX)
        odd = archive.ensure_folder(("a:b", "12"), None)
        add(archive, inbox, remote(17, ("\\Seen",), ("todo",)), letter())
        add(archive, inbox, remote(18), b"Content-Type: text/html\r\n\r\n<p>only <i>HTML</i>")
        add(archive, odd, remote(17), letter())
        add(archive, inbox, remote(17), letter("anew"), uidvalidity=2)
    return path


def test_a_message_shows_header_place_text_and_attachments(
    waystation: CommandLine, shelf: Path
) -> None:
    shown = waystation("show", shelf, "1")

    assert shown.code == 0
    assert "From:       Åsa Köhler <asa@example.org>\n" in shown.out
    assert "Subject:    Bericht für März\n" in shown.out
    assert "X-Mailer" not in shown.out
    assert "Archived:   INBOX, UIDVALIDITY 1, UID 17 (id 1)\n" in shown.out
    assert "Flags:      \\Seen todo\n" in shown.out
    assert "\nGrüße aus Köln\n" in shown.out
    assert "schöner" not in shown.out
    assert "  2  Köln.pdf (application/pdf, 6 B)\n" in shown.out
    assert "X-Mailer:   hand\n" in waystation("show", shelf, "1", "--headers").out


def test_html_without_a_plain_text_is_shown_without_its_tags(
    waystation: CommandLine, shelf: Path
) -> None:
    assert waystation("show", shelf, "INBOX:18").out.endswith("\n\nonly HTML\n")


@pytest.mark.parametrize(
    "name", ["3", "a:b/12:17", "a:b/12:1:17", "sha256:{sha256}", "{sha256}", " 3 "]
)
def test_a_message_has_many_names(waystation: CommandLine, shelf: Path, name: str) -> None:
    with Archive.read(shelf) as archive:
        message = archive.index.message(3 if "sha256" not in name else 2)
    assert message is not None
    name = name.format(sha256=(message.sha256 or "")[:12])

    shown = waystation("show", shelf, name, "--json")

    assert [line["id"] for line in shown.of_type("message")] == [message.id]


@pytest.mark.parametrize("name", ["INBOX:17", "inbox:17", "<one@example.org>", "one@example.org"])
def test_a_name_of_several_messages_lists_them(
    waystation: CommandLine, shelf: Path, name: str
) -> None:
    shown = waystation("show", shelf, name, "--json")

    assert (shown.code, shown.summary["outcome"]) == (2, "failed")
    ids = [line["id"] for line in shown.of_type("candidate")]
    assert ids == ([1, 4] if ":" in name else [1, 3, 4])
    assert "name one by its id: 1, " in waystation("show", shelf, name).err


@pytest.mark.parametrize("name", ["99", "INBOX:99", "nobody@example.org", "deadbeef", "x:", ""])
def test_what_is_not_there_is_said(waystation: CommandLine, shelf: Path, name: str) -> None:
    shown = waystation("show", shelf, name)

    assert shown.code == 1
    assert "no message is named" in shown.one_error


def test_raw_writes_the_exact_octets(shelf: Path) -> None:
    command = [sys.executable, "-m", "waystation", "show", str(shelf), "INBOX:1:17", "--raw"]

    out = subprocess.run(command, capture_output=True, check=True, timeout=60)

    assert out.stdout == letter()
    assert not out.stderr


def test_attachments_are_saved_and_replace_nothing(
    waystation: CommandLine, shelf: Path, tmp_path: Path
) -> None:
    there = tmp_path / "new" / "out"

    first = waystation("show", shelf, "1", "--attachments", there)
    again = waystation("show", shelf, "1", "--attachments", there, "--json")

    assert first.out == f"{there / 'Köln.pdf'} (6 B)\n"
    (saved,) = again.of_type("attachment")
    assert saved["path"] == str(there / "Köln (2).pdf")
    assert {file.read_bytes() for file in there.iterdir()} == {b"%PDF-1"}


def test_a_message_drives_no_terminal(waystation: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "evil"
    evil = (
        b"From: \x1b[31mred <a@b>\r\nSubject: =?utf-8?q?=1B]0;title=07?=\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
        b"\x1b[2J\x9b31m \xe2\x80\xaeevil\x00\x08 \rtext\r\n--b\r\n"
        b'Content-Disposition: attachment; filename="\x1b[2J.pdf"\r\n\r\nx\r\n--b--\r\n'
    )
    with create(path) as archive:
        add(archive, archive.ensure_folder(("\x1b[5m",), None), remote(1), evil)

    for words in ([], ["--headers"], ["--json"], ["--attachments", tmp_path / "out"]):
        shown = waystation("show", path, "1", *words)
        assert shown.code == 0
        assert all(char.isprintable() or char == "\n" for char in shown.out + shown.err), words


def test_an_altered_file_is_told(waystation: CommandLine, shelf: Path) -> None:
    with Archive.read(shelf) as archive:
        message = archive.index.message(1)
        assert message is not None
        found = archive.find(message)
    assert found is not None
    found.chmod(0o600)
    found.write_bytes(letter("forged"))

    for words in ([], ["--raw"]):
        shown = waystation("show", shelf, "1", *words)
        assert shown.code == 13
        assert "the file is not the one that was archived" in shown.err
    assert waystation("show", shelf, "1", "--json").of_type("message")[0]["is_as_archived"] is False


def test_a_missing_file_still_shows_where_it_should_lie(
    waystation: CommandLine, shelf: Path
) -> None:
    with Archive.read(shelf) as archive:
        message = archive.index.message(1)
        assert message is not None
        found = archive.find(message)
    assert found is not None
    found.unlink()
    (found.parent / found.name).symlink_to("/etc/hostname")

    shown = waystation("show", shelf, "1")

    assert shown.code == 1
    assert "UID 17 (id 1)" in shown.out
    assert "its file is missing" in shown.one_error


def test_what_became_of_a_message_at_its_target_is_shown(
    waystation: CommandLine, exported: Path, new: Server
) -> None:
    assert waystation("import", exported, *new.target).code == 0

    shown = waystation("show", exported, "INBOX:1")

    assert f"Target:     {new.name}: " in shown.out
    row = waystation("ledger", exported, "--json").of_type("message")[0]
    told = waystation("show", exported, str(row["id"]), "--json").of_type("message")[0]
    assert {key: told[key] for key in row} == row


def test_a_message_that_is_not_archived_shows_why(waystation: CommandLine, tmp_path: Path) -> None:
    with create(tmp_path / "a") as archive:
        inbox = archive.ensure_folder(("INBOX",), None)
        archive.index.add_failed(inbox.id, 1, 5, "the server says no")

    shown = waystation("show", tmp_path / "a", "INBOX:5")

    assert shown.code == 0
    assert "State:      failed: the server says no\n" in shown.out
    assert waystation("show", tmp_path / "a", "INBOX:5", "--raw").code == 1


def test_raw_goes_with_nothing_else(waystation: CommandLine, shelf: Path) -> None:
    assert waystation("show", shelf, "1", "--raw", "--json").code == 2


def test_the_sha256_that_is_shown_is_that_of_the_octets(
    waystation: CommandLine, shelf: Path
) -> None:
    digest = hashlib.sha256(letter()).hexdigest()

    assert f"SHA-256:    {digest}\n" in waystation("show", shelf, "1").out
