"""After a first import people go on working on both sides: flags are compared three ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.imap_server import Answer
from tests.importer.support import Mail, connector, mail, server
from tests.servers.dovecot import PASSWORD

if TYPE_CHECKING:
    from store.index import ArchivedMessage
    from tests.fakes.memory_target import MemoryServer
    from tests.servers.dovecot import Dovecot


def change(archive: Mail, message: ArchivedMessage, *words: str) -> None:
    """Let stage one find other flags on the source."""
    flags = tuple(sorted(word for word in words if word.startswith("\\")))
    keywords = tuple(sorted(word for word in words if not word.startswith("\\")))
    archive.archive.index.set_flags(message.id, flags, keywords)


def flags_there(target: MemoryServer, name: str = "INBOX") -> list[set[str]]:
    return [set(message.flags) for message in target.user.folder(name).messages]


def test_what_the_source_changes_after_the_import_is_carried_by_the_next(
    mail_archive: Mail, target: MemoryServer
) -> None:
    read = mail_archive.add(mail(1))
    unflagged = mail_archive.add(mail(2), flags=("\\Flagged", "\\Seen"), keywords=("todo",))
    mail_archive.replay(target.connect, newest_first=False)
    change(mail_archive, read, "\\Seen", "\\Answered")
    change(mail_archive, unflagged, "\\Seen")

    result = mail_archive.replay(target.connect)

    assert flags_there(target) == [{"\\Seen", "\\Answered"}, {"\\Seen"}]
    assert (result.flags_carried, result.appended) == (2, 0)


def test_what_the_user_did_in_the_target_is_never_undone(
    mail_archive: Mail, target: MemoryServer
) -> None:
    message = mail_archive.add(mail(1), flags=("\\Flagged",))
    mail_archive.replay(target.connect)
    there = target.user.folder("INBOX").messages[0]
    there.flags.update({"\\Seen", "\\Answered"})
    there.flags.discard("\\Flagged")
    change(mail_archive, message, "\\Flagged", "todo")

    mail_archive.replay(target.connect)

    assert flags_there(target) == [{"\\Seen", "\\Answered", "todo"}]


def test_a_change_is_carried_once_and_left_to_the_user_afterwards(
    mail_archive: Mail, target: MemoryServer
) -> None:
    message = mail_archive.add(mail(1))
    mail_archive.replay(target.connect)
    change(mail_archive, message, "\\Seen")
    mail_archive.replay(target.connect)
    target.user.folder("INBOX").messages[0].flags.discard("\\Seen")

    result = mail_archive.replay(target.connect)

    assert flags_there(target) == [set()]
    assert result.flags_carried == 0


def test_deleted_and_draft_are_never_carried_afterwards(
    mail_archive: Mail, target: MemoryServer
) -> None:
    message = mail_archive.add(mail(1))
    mail_archive.replay(target.connect)
    change(mail_archive, message, "\\Deleted", "\\Draft", "\\Seen")

    mail_archive.replay(target.connect)

    assert flags_there(target) == [{"\\Seen"}]
    assert mail_archive.lost_of(message) == ("\\Deleted", "\\Draft")


def test_a_message_that_is_gone_from_the_target_stops_nothing(
    mail_archive: Mail, target: MemoryServer
) -> None:
    gone = mail_archive.add(mail(1))
    stays = mail_archive.add(mail(2))
    mail_archive.replay(target.connect, newest_first=False)
    del target.user.folder("INBOX").messages[0]
    change(mail_archive, gone, "\\Seen")
    change(mail_archive, stays, "\\Seen")

    mail_archive.replay(target.connect)

    assert flags_there(target) == [{"\\Seen"}]


def test_flags_that_the_target_had_before_us_are_its_own(
    mail_archive: Mail, target: MemoryServer
) -> None:
    target.user.folder("INBOX").append(mail(1), ["\\Seen"], None)
    there = target.user.folder("INBOX").messages[0]
    message = mail_archive.add(mail(1), date=there.internaldate)

    mail_archive.replay(target.connect)
    assert flags_there(target) == [{"\\Seen"}]
    change(mail_archive, message, "\\Flagged")
    mail_archive.replay(target.connect)

    assert flags_there(target) == [{"\\Seen", "\\Flagged"}]


def test_a_server_that_stores_no_flags_is_named_and_asked_again_by_the_next_run(
    mail_archive: Mail,
) -> None:
    message = mail_archive.add(mail(1))
    with server() as running:
        mail_archive.replay(connector(running.port))
        change(mail_archive, message, "\\Seen")
        running.script.on("STORE", Answer(b"NO not now"), times=1)

        mail_archive.replay(connector(running.port))
        assert [folder for folder, _ in mail_archive.listener.alarms] == ["INBOX"]

        mail_archive.replay(connector(running.port))
        assert running.mailboxes["bob"].folder("INBOX").messages[0].flags == {"\\Seen"}


@pytest.mark.server
def test_changed_flags_are_carried_to_dovecot(
    mail_archive: Mail, dovecot: Dovecot, user: str
) -> None:
    message = mail_archive.add(mail(1), flags=("\\Flagged",), keywords=("todo",))
    connect = connector(dovecot.port, user, PASSWORD, ca_file=dovecot.ca_file)
    mail_archive.replay(connect)
    change(mail_archive, message, "\\Seen", "done")

    mail_archive.replay(connect)

    with connect() as target:
        target.folders()
        target.open(("INBOX",), read_only=True)
        (there,) = target.describe(b"1:*")
    assert set(there.message.flags) == {"\\Seen"}
    assert set(there.message.keywords) == {"done"}
