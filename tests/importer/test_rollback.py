"""A rollback takes back what this archive put there, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from importer.rollback import RolledBack, remove, survey
from store.transfers import TransferState
from tests.importer.support import Mail, connector, mail, server
from tests.servers.dovecot import PASSWORD
from waystation.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from importer.target import MailTarget
    from tests.fakes.memory_target import MemoryServer
    from tests.servers.dovecot import Dovecot


def roll_back(
    archive: Mail, connect: Callable[[], AbstractContextManager[MailTarget]]
) -> RolledBack:
    with connect() as mail_target:
        result, removable = survey(
            archive.archive, mail_target, archive.target, archive.listener, None
        )
        remove(
            archive.archive, mail_target, archive.target, archive.listener, None, removable, result
        )
    return result


def test_what_we_sent_is_taken_back_and_can_be_sent_again(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1), flags=("\\Seen",))
    mail_archive.add(mail(2), "Projects/2024")
    mail_archive.replay(target.connect)

    result = roll_back(mail_archive, target.connect)

    assert target.everything() == {}
    assert (result.removed, result.changed, result.gone) == (2, 0, 0)
    assert mail_archive.states() == {"pending": 2}

    mail_archive.replay(target.connect)
    assert target.everything() == mail_archive.expected()


def test_what_was_there_before_us_stays(mail_archive: Mail, target: MemoryServer) -> None:
    target.user.folder("INBOX").append(mail("theirs"), [], None)
    target.user.folder("INBOX").append(mail(1), [], None)
    before = target.user.folder("INBOX").messages[1]
    mail_archive.add(mail(1), date=before.internaldate)
    mail_archive.add(mail(2))
    mail_archive.replay(target.connect)

    result = roll_back(mail_archive, target.connect)

    assert set(target.bodies("INBOX")) == {mail("theirs"), mail(1)}
    assert (result.removed, result.there_before) == (1, 1)


def test_what_somebody_has_touched_since_stays_and_is_named(
    mail_archive: Mail, target: MemoryServer
) -> None:
    for number in range(3):
        mail_archive.add(mail(number))
    mail_archive.replay(target.connect, newest_first=False)
    read, edited, _ = target.user.folder("INBOX").messages
    read.flags.add("\\Seen")
    edited.body = mail("edited")

    result = roll_back(mail_archive, target.connect)

    assert set(target.bodies("INBOX")) == {mail(0), mail("edited")}
    assert (result.removed, result.changed) == (1, 2)
    assert [text for _, _, text in mail_archive.listener.problems] == [
        "stays: has also \\Seen",
        "stays: Message-ID, Date, From or Subject differ",
    ]


def test_a_message_with_another_text_under_the_same_headers_stays(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1))
    mail_archive.replay(target.connect)
    target.user.folder("INBOX").messages[0].body += b"added later\r\n"

    result = roll_back(mail_archive, target.connect)

    assert (result.removed, result.changed) == (0, 1)
    assert [text for _, _, text in mail_archive.listener.problems] == [
        "stays: its content is another one"
    ]


def test_what_is_gone_already_is_noted_and_no_loss(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1))
    mail_archive.replay(target.connect)
    target.user.folder("INBOX").messages.clear()

    result = roll_back(mail_archive, target.connect)

    assert (result.removed, result.gone) == (0, 1)
    assert mail_archive.states() == {"pending": 1}


def test_a_rollback_that_was_killed_after_marking_is_finished_by_the_next(
    mail_archive: Mail, target: MemoryServer
) -> None:
    message = mail_archive.add(mail(1))
    mail_archive.replay(target.connect)
    mail_archive.archive.transfers.removing(mail_archive.target.id, [message.id])
    target.user.folder("INBOX").messages[0].flags.add("\\Deleted")

    assert roll_back(mail_archive, target.connect).removed == 1
    assert target.everything() == {}


def test_a_survey_changes_nothing(mail_archive: Mail, target: MemoryServer) -> None:
    mail_archive.add(mail(1))
    mail_archive.replay(target.connect)

    with target.connect() as mail_target:
        result, _ = survey(
            mail_archive.archive, mail_target, mail_archive.target, mail_archive.listener, None
        )

    assert result.folders == {"INBOX": 1}
    assert len(target.user.folder("INBOX").messages) == 1
    assert mail_archive.states() == {"appended": 1}


def test_a_server_that_cannot_remove_single_messages_is_left_alone(mail_archive: Mail) -> None:
    mail_archive.add(mail(1))
    with server(uidplus=False) as running:
        mail_archive.replay(connector(running.port))

        with pytest.raises(RefusedError, match="UIDPLUS"):
            roll_back(mail_archive, connector(running.port))

        (there,) = running.mailboxes["bob"].folder("INBOX").messages
        assert there.flags == set()
    assert mail_archive.states() == {TransferState.APPENDED: 1}


@pytest.mark.server
def test_dovecot_gives_back_exactly_what_we_sent(
    mail_archive: Mail, dovecot: Dovecot, user: str
) -> None:
    connect = connector(dovecot.port, user, PASSWORD, ca_file=dovecot.ca_file)
    mail_archive.add(mail(1), "Ours")
    mail_archive.replay(connect)
    with connect() as session:
        session.folders()
        session.open(("Ours",))
        session.store(b"1:*", "+", "\\Deleted")  # a reader's own rubbish, or so it seems
    mail_archive.add(mail(2), "Ours")
    mail_archive.replay(connect)

    result = roll_back(mail_archive, connect)

    assert (result.removed, result.changed) == (1, 1)
    with connect() as session:
        session.folders()
        session.open(("Ours",))
        assert [each.message.flags for each in session.describe(b"1:*")] == [("\\Deleted",)]
