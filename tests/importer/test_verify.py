"""The target against the archive: each difference is named, each equal message verified."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from importer.verify import verify
from store.finding import Cause, Compared, Finding
from store.transfers import TransferState
from tests.fakes.memory_target import Crash, MemoryServer, MemoryTarget
from tests.importer.support import NOON, Mail, mail
from waystation.errors import RefusedError

if TYPE_CHECKING:
    from store.index import ArchivedMessage

VERIFIED = TransferState.VERIFIED


class Verified:
    def __init__(self, archive: Mail, target: MemoryServer, *, deep: bool = False) -> None:
        self.compared = Compared()
        with target.connect() as mail_target:
            self.findings: list[Finding] = list(
                verify(
                    archive.archive,
                    mail_target,
                    archive.target,
                    archive.listener,
                    self.compared,
                    deep=deep,
                )
            )

    @property
    def causes(self) -> list[tuple[Cause, int | None]]:
        return [(each.cause, each.uid) for each in self.findings]


@pytest.fixture
def messages(mail_archive: Mail, target: MemoryServer) -> list[ArchivedMessage]:
    """Three messages that have arrived; the last lies in a folder of its own."""
    found = [
        mail_archive.add(mail(1), flags=("\\Seen",), keywords=("todo",)),
        mail_archive.add(mail(2)),
        mail_archive.add(mail(3), "Projects"),
    ]
    mail_archive.replay(target.connect)
    return found


@pytest.mark.usefixtures("messages")
@pytest.mark.parametrize("deep", [False, True])
def test_what_is_equal_becomes_verified(
    mail_archive: Mail, target: MemoryServer, deep: bool
) -> None:
    found = Verified(mail_archive, target, deep=deep)

    assert found.findings == []
    assert (found.compared.messages, found.compared.equal, found.compared.others) == (3, 3, 0)
    assert mail_archive.states() == {"verified": 3}


def test_a_missing_message_is_named_and_no_longer_verified(
    mail_archive: Mail, target: MemoryServer, messages: list[ArchivedMessage]
) -> None:
    Verified(mail_archive, target)
    target.user.folder("INBOX").expunge(2)

    found = Verified(mail_archive, target)

    gone = next(m for m in messages if mail_archive.place_of(m)[::2] == ("INBOX", 2))
    assert found.causes == [(Cause.MISSING, gone.uid)]
    assert mail_archive.state_of(gone) is TransferState.APPENDED
    assert (found.compared.equal, found.compared.different) == (2, 1)


@pytest.mark.usefixtures("messages")
def test_other_peoples_messages_are_only_counted(mail_archive: Mail, target: MemoryServer) -> None:
    target.user.folder("INBOX").append(mail("other"))
    target.user.folder("INBOX").expunge(1)

    found = Verified(mail_archive, target)

    assert [each.cause for each in found.findings] == [Cause.MISSING]
    assert found.compared.others == 1


def test_other_flags_are_named(
    mail_archive: Mail, target: MemoryServer, messages: list[ArchivedMessage]
) -> None:
    uid = mail_archive.place_of(messages[0])[2]
    target.user.folder("INBOX").set_flags(uid or 0, ["\\Seen", "\\Flagged"])

    found = Verified(mail_archive, target)

    assert found.causes == [(Cause.FLAGS, messages[0].uid)]
    assert found.findings[0].text == "lacks todo, has also \\Flagged"


def test_what_the_target_could_not_keep_is_no_difference(
    mail_archive: Mail, target: MemoryServer
) -> None:
    target.user.folder("INBOX").permanent_flags = ("\\Seen",)
    mail_archive.add(mail(1), flags=("\\Flagged", "\\Seen"), keywords=("todo",), date=None)
    target.wrong.lose_after = {1}
    mail_archive.replay(target.connect)

    assert Verified(mail_archive, target).findings == []


def test_a_mark_that_cannot_be_set_and_is_there_already_is_no_difference(
    mail_archive: Mail, target: MemoryServer
) -> None:
    inbox = target.user.folder("INBOX")
    inbox.append(mail(1), ["\\Deleted"], NOON)
    inbox.permanent_flags = ("\\Seen",)
    mail_archive.add(mail(1), flags=("\\Deleted",))
    mail_archive.replay(target.connect)

    found = Verified(mail_archive, target)

    assert mail_archive.states() == {"already_there": 1}
    assert found.findings == []


def test_another_date_header_and_content_are_named(
    mail_archive: Mail, target: MemoryServer, messages: list[ArchivedMessage]
) -> None:
    one, two = (
        target.user.folder("INBOX").message(mail_archive.place_of(each)[2] or 0)
        for each in messages[:2]
    )
    one.internaldate += timedelta(seconds=1)
    two.body = mail("another")

    assert sorted(Verified(mail_archive, target).causes) == [
        (Cause.DATE, messages[0].uid),
        (Cause.HEADER, messages[1].uid),
    ]


def test_the_content_is_compared_deep_or_where_the_size_differs(
    mail_archive: Mail, target: MemoryServer, messages: list[ArchivedMessage]
) -> None:
    there = target.user.folder("Projects").messages[0]
    there.body = mail(3, "Tex!.")
    assert Verified(mail_archive, target).findings == []
    assert Verified(mail_archive, target, deep=True).causes == [(Cause.CONTENT, messages[2].uid)]

    there.body = mail(3, "Longer text.")
    assert Verified(mail_archive, target).causes == [(Cause.CONTENT, messages[2].uid)]


def test_other_line_ends_are_the_same_content(mail_archive: Mail, target: MemoryServer) -> None:
    mail_archive.add(b"Subject: lf\n\nOne.\n")
    target.wrong.rewrite = lambda body: body.replace(b"\n", b"\r\n")
    mail_archive.replay(target.connect)

    assert Verified(mail_archive, target, deep=True).findings == []


@pytest.mark.parametrize("body", [b"Subject: x\r\n\r\nNo end", b"x", mail(1) + b"x\r"])
def test_a_line_end_that_the_server_adds_at_the_end_is_no_difference(
    mail_archive: Mail, target: MemoryServer, body: bytes
) -> None:
    mail_archive.add(body)
    target.wrong.rewrite = lambda body: body.removesuffix(b"\r") + b"\r\n"
    mail_archive.replay(target.connect)

    assert Verified(mail_archive, target, deep=True).findings == []


def test_headers_that_the_server_does_not_find_in_a_message_are_no_difference(
    mail_archive: Mail, target: MemoryServer, messages: list[ArchivedMessage]
) -> None:
    target.wrong.header = lambda head: b"\r\n"
    assert Verified(mail_archive, target).findings == []

    target.user.folder("Projects").messages[0].body = mail(4)
    assert Verified(mail_archive, target).causes == [(Cause.HEADER, messages[2].uid)]


@pytest.mark.parametrize("has_header", [True, False])
def test_a_message_that_is_not_handed_out_is_named(
    mail_archive: Mail,
    target: MemoryServer,
    messages: list[ArchivedMessage],
    monkeypatch: pytest.MonkeyPatch,
    has_header: bool,
) -> None:
    del messages[1:]
    monkeypatch.setattr(MemoryTarget, "contents", lambda *_: iter(()))
    if not has_header:
        target.wrong.header = lambda head: b""

    found = Verified(mail_archive, target, deep=True)

    assert {each.cause for each in found.findings} == {
        Cause.CONTENT if has_header else Cause.HEADER
    }


def test_a_folder_that_is_gone_is_named_once_with_what_lay_there(
    mail_archive: Mail, target: MemoryServer, messages: list[ArchivedMessage]
) -> None:
    target.user.delete("Projects")

    found = Verified(mail_archive, target)

    assert [(each.cause, each.folder, each.uid) for each in found.findings] == [
        (Cause.FOLDER, "Projects", None)
    ]
    assert (found.compared.messages, found.compared.different) == (3, 1)


def test_a_busy_folder_is_not_taken_for_gone(
    mail_archive: Mail, target: MemoryServer, messages: list[ArchivedMessage]
) -> None:
    target.wrong.refuse_open = {"Projects": "[UNAVAILABLE] later"}

    with pytest.raises(RefusedError):
        Verified(mail_archive, target)


def test_what_was_not_sent_is_named_with_the_servers_words(
    mail_archive: Mail, target: MemoryServer
) -> None:
    refused = mail_archive.add(mail(1))
    target.wrong.refuse = lambda body: "NO too bad"
    mail_archive.replay(target.connect)
    pending = mail_archive.add(mail(2))
    moved = mail_archive.add(mail(3))
    mail_archive.add(mail(3), "Done")
    mail_archive.vanish(moved)
    target.behave()
    target.wrong.crash_before = {2}

    found = Verified(mail_archive, target)

    assert (Cause.NOT_SENT, refused.uid) in found.causes
    assert (Cause.NOT_SENT, pending.uid) in found.causes
    assert "refused: NO too bad" in {each.text for each in found.findings}


def test_what_is_in_doubt_is_named(mail_archive: Mail, target: MemoryServer) -> None:
    message = mail_archive.add(mail(1))
    target.wrong.crash_after = {1}
    with pytest.raises(Crash):
        mail_archive.replay(target.connect)

    found = Verified(mail_archive, target)

    assert found.causes == [(Cause.NOT_SENT, message.uid)]
    assert "in doubt" in found.findings[0].text


@pytest.mark.usefixtures("messages")
def test_a_renumbered_folder_is_looked_through_and_verified(
    mail_archive: Mail, target: MemoryServer
) -> None:
    inbox = target.user.folder("INBOX")
    inbox.expunge(1)
    inbox.append(mail("stranger"), internaldate=NOON)
    inbox.renumber()

    found = Verified(mail_archive, target)

    assert [each.cause for each in found.findings] == [Cause.MISSING]
    assert (found.compared.equal, found.compared.others) == (2, 1)
    assert mail_archive.states() == {"verified": 2, "appended": 1}


@pytest.mark.usefixtures("messages")
def test_a_message_that_fetch_leaves_out_once_is_asked_for_again(
    mail_archive: Mail, target: MemoryServer
) -> None:
    target.wrong.hidden = {1}

    assert [each.cause for each in Verified(mail_archive, target).findings] == [
        Cause.MISSING,
        Cause.MISSING,
    ]


def test_a_file_that_is_gone_from_the_archive_is_compared_by_its_hash(
    mail_archive: Mail, target: MemoryServer
) -> None:
    message = mail_archive.add(b"\r\nNo headers.\r\n")
    mail_archive.replay(target.connect)
    mail_archive.file_of(message).unlink()

    assert Verified(mail_archive, target, deep=True).findings == []
