"""What came by POP3 is replayed like any other mail: nothing downstream knows of POP3."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from export.run import Options
from importer.run import replay
from importer.verify import verify
from store.archive import Archive
from store.finding import Compared
from tests.export.support import Stage, connector, pop3_stage
from tests.fakes.imap_server import ImapServer
from tests.fakes.mailbox import Mailboxes
from tests.fakes.memory_target import MemoryServer
from tests.fakes.pop3_server import Mail, Pop3Server
from waystation.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from importer.job import Imported

RECEIVED = b"Received: from b by c; Wed, 01 May 2024 10:30:00 +0200\r\n"
SENT = b"Date: Tue, 30 Apr 2024 08:00:00 +0000\r\n"
BODIES = [
    RECEIVED + SENT + b"Message-ID: <1@x>\r\nSubject: one\r\n\r\n.dots\r\n",
    SENT + b"Message-ID: <2@x>\r\nSubject: two\r\n\r\n2\r\n",
    b"Message-ID: <3@x>\r\nSubject: no date\r\n\r\n3\r\n",
]


@pytest.fixture
def server() -> Iterator[Pop3Server]:
    with Pop3Server([Mail(f"a{n}", body) for n, body in enumerate(BODIES)]) as running:
        yield running


def into(target: MemoryServer, stage: Stage) -> Imported:
    with stage.archive() as archive:
        to = archive.transfers.target("imap://to", "to")
        result = replay(archive, target.connect, to, Silent())
        with target.connect() as there:
            assert list(verify(archive, there, to, Silent(), Compared(), deep=True)) == []
        return result


def test_mail_that_came_by_pop3_is_sent_once_with_its_derived_dates(
    server: Pop3Server, tmp_path: Path
) -> None:
    stage, target = pop3_stage(tmp_path / "archive", server.port), MemoryServer()
    stage.run()

    assert into(target, stage).appended == 3

    assert target.bodies("INBOX") == Counter(BODIES)
    found = {message.body: message.internaldate for message in target.user.folder("INBOX").messages}
    assert found[BODIES[0]] == datetime(2024, 5, 1, 10, 30, tzinfo=timezone(timedelta(hours=2)))
    assert found[BODIES[1]] == datetime(2024, 4, 30, 8, tzinfo=UTC)
    server.mails.append(Mail("more", BODIES[0].replace(b"<1@x>", b"<4@x>")))
    stage.run()
    assert into(target, stage).appended == 1


def test_new_unique_ids_send_nothing_again(server: Pop3Server, tmp_path: Path) -> None:
    stage, target = pop3_stage(tmp_path / "archive", server.port), MemoryServer()
    stage.run()
    into(target, stage)
    for number, mail in enumerate(server.mails):
        mail.uidl = f"new{number}"
    stage.run()

    assert into(target, stage).appended == 0


def test_where_imap_and_pop3_share_an_archive_each_message_is_sent_once(
    server: Pop3Server, tmp_path: Path
) -> None:
    mailboxes = Mailboxes({"alice": "secret"})
    for body in BODIES[:2]:
        mailboxes["alice"].folder("INBOX").append(
            body, ["\\Seen"], datetime(2020, 1, 1, tzinfo=UTC)
        )
    stage = pop3_stage(tmp_path / "archive", server.port)
    with ImapServer(mailboxes) as imap:
        Stage(stage.path, connector(imap.port)).run()
    stage.run(Options(mix_protocols=True))
    target = MemoryServer()

    assert into(target, stage).appended == 3

    assert target.bodies("INBOX") == Counter(BODIES)
    with Archive.read(stage.path) as archive:
        assert [message.flags for message in archive.index.messages()] == [
            ("\\Seen",), ("\\Seen",), ()
        ]  # fmt: skip
