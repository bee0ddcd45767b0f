"""The source compared with the archive, message by message, on a server in the test's process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from export.verify import verify
from store.archive import Archive
from store.finding import Cause, Compared, Finding
from tests.export.support import Stage, connector
from tests.fakes.imap_server import ImapServer, Raw
from tests.fakes.mailbox import FakeFolder, Mailboxes
from waystation.errors import ProtocolError
from waystation.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def mailboxes() -> Mailboxes:
    return Mailboxes({"alice": "secret"})


@pytest.fixture
def inbox(mailboxes: Mailboxes) -> FakeFolder:
    folder = mailboxes["alice"].folder("INBOX")
    for number in range(4):
        text = f"Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nNumber {number}.\r\n"
        folder.append(text.encode(), flags={"\\Seen"})
    return folder


@pytest.fixture
def server(mailboxes: Mailboxes, inbox: FakeFolder) -> Iterator[ImapServer]:
    with ImapServer(mailboxes) as running:
        yield running


@pytest.fixture
def stage(server: ImapServer, tmp_path: Path) -> Stage:
    stage = Stage(tmp_path / "archive", connector(server.port))
    stage.run()
    return stage


def found(stage: Stage, *, deep: bool = False) -> tuple[list[Finding], Compared]:
    compared = Compared()
    with Archive.read(stage.path) as archive, stage.connect() as source:
        return list(verify(archive, source, Silent(), compared, deep=deep)), compared


def causes(stage: Stage, *, deep: bool = False) -> list[tuple[Cause, int | None]]:
    return [(finding.cause, finding.uid) for finding in found(stage, deep=deep)[0]]


@pytest.mark.parametrize("deep", [False, True])
def test_what_was_just_archived_is_the_same(stage: Stage, *, deep: bool) -> None:
    findings, compared = found(stage, deep=deep)

    assert findings == []
    assert (compared.messages, compared.equal) == (4, 4)


def test_new_vanished_and_flagged_messages_are_each_named(stage: Stage, inbox: FakeFolder) -> None:
    inbox.append(b"Subject: new\r\n\r\n")
    inbox.expunge(1)
    inbox.set_flags(2, {"\\Flagged"})

    assert sorted(causes(stage)) == [
        (Cause.FLAGS, 2),
        (Cause.NOT_ARCHIVED, 5),
        (Cause.VANISHED, 1),
    ]


def test_other_content_under_the_same_headers_is_found_by_looking_deep(
    stage: Stage, inbox: FakeFolder
) -> None:
    message = inbox.message(3)
    message.body = message.body.replace(b"Number", b"NUMBER")

    assert causes(stage) == []
    assert causes(stage, deep=True) == [(Cause.CONTENT, 3)]


def test_another_header_is_found_at_once(stage: Stage, inbox: FakeFolder) -> None:
    message = inbox.message(3)
    message.body = message.body.replace(b"Subject: 2", b"Subject: two")

    assert causes(stage) == [(Cause.HEADER, 3)]


def test_a_size_that_the_server_only_estimates_is_settled_by_the_content(
    stage: Stage, server: ImapServer
) -> None:
    server.script.fetch.size_error = 7

    assert causes(stage) == []


def test_a_folder_that_is_gone_is_named(stage: Stage, mailboxes: Mailboxes) -> None:
    mailboxes["alice"].create("Work").append(b"Subject: x\r\n\r\n")
    stage.run()
    mailboxes["alice"].delete("Work")

    assert causes(stage) == [(Cause.FOLDER, None)]


def test_folders_of_other_users_are_left_out_of_an_archive(
    server: ImapServer, mailboxes: Mailboxes, tmp_path: Path
) -> None:
    mailboxes["alice"].create("Other Users/bob/INBOX").append(b"Subject: bob's\r\n\r\n")
    server.script.on(
        "NAMESPACE",
        Raw(
            b'* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Shared/" "/"))\r\n%TAG% OK done\r\n'
        ),
    )
    stage = Stage(tmp_path / "own", connector(server.port))

    stage.run()

    assert {row.folder for row in stage.rows()} == {"INBOX"}


def test_a_folder_whose_name_no_command_can_hold_is_an_alarm(
    server: ImapServer, tmp_path: Path
) -> None:
    server.script.list_literals = True
    server.script.list_lines = [b'* LIST () "/" {9}\r\nevil\r\nX Y']
    stage = Stage(tmp_path / "evil", connector(server.port))

    result = stage.run()

    assert (result.new, result.alarms, result.is_complete) == (4, 1, False)
    assert all("DELETE" not in os.fsdecode(line) for line in server.requests())


def test_a_server_that_answers_garbage_from_the_start_is_given_up_at_once(
    server: ImapServer, tmp_path: Path
) -> None:
    server.script.on("LIST", Raw(b"HTTP/1.1 400 Bad Request\r\n"))
    stage = Stage(tmp_path / "garbage", connector(server.port))

    with pytest.raises(ProtocolError):
        stage.run()

    assert stage.heard.waits == []
