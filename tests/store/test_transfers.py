from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.transfers import Target, Transfer, TransferState
from tests.store.filling import NOON, add, mail, remote

if TYPE_CHECKING:
    from store.archive import Archive
    from store.index import ArchivedFolder, ArchivedMessage


@pytest.fixture
def target(archive: Archive) -> Target:
    return archive.transfers.target("imaps://bob@example.com", "bob@example.com:993")


@pytest.fixture
def message(archive: Archive, inbox: ArchivedFolder) -> ArchivedMessage:
    return add(archive, inbox, remote(1))


def intent(message: ArchivedMessage, target: Target, uidnext_before: int = 5) -> Transfer:
    return Transfer(
        message.id,
        target.id,
        TransferState.SENDING,
        "INBOX",
        uidnext_before=uidnext_before,
        uidvalidity=9,
    )


def outcome(
    message: ArchivedMessage, target: Target, state: TransferState, uid: int | None = None
) -> Transfer:
    return Transfer(message.id, target.id, state, "INBOX", uidvalidity=9, uid=uid)


def test_a_target_is_one_whatever_it_is_called(archive: Archive, target: Target) -> None:
    assert archive.transfers.target("bob", "bob@example.com:993") == target
    other = archive.transfers.target("carol", "carol@example.com:993")

    assert archive.transfers.targets() == [target, other]


def test_a_message_goes_from_sending_to_appended_to_verified(
    archive: Archive, target: Target, message: ArchivedMessage
) -> None:
    transfers = archive.transfers
    transfers.record([intent(message, target)], [])
    (sending,) = transfers.in_state(target.id, TransferState.SENDING)
    assert (sending.attempts, sending.uidnext_before, sending.uidvalidity) == (1, 5, 9)

    transfers.record([], [outcome(message, target, TransferState.APPENDED, 5)])
    transfers.verified(target.id, [(message.id, ("headers", "flags"))])

    (verified,) = transfers.of_message(message.id)
    assert verified.passed == ("headers", "flags")
    assert (verified.state, verified.uid, verified.attempts) == (TransferState.VERIFIED, 5, 1)


def test_an_outcome_and_the_next_intent_are_one_step(
    archive: Archive, inbox: ArchivedFolder, target: Target, message: ArchivedMessage
) -> None:
    transfers = archive.transfers
    second = add(archive, inbox, remote(2))
    transfers.record([intent(message, target)], [])

    nobody = outcome(message, target, TransferState.APPENDED)
    with pytest.raises(Exception, match="FOREIGN KEY"):
        transfers.record(
            [intent(second, target), Transfer(999, target.id, TransferState.SENDING, "INBOX")],
            [nobody],
        )

    assert [t.message_id for t in transfers.in_state(target.id, TransferState.SENDING)] == [
        message.id
    ]


def test_a_message_sent_again_counts_its_attempts_and_forgets_the_old_answer(
    archive: Archive, target: Target, message: ArchivedMessage
) -> None:
    transfers = archive.transfers
    transfers.record([intent(message, target)], [])
    refused = Transfer(message.id, target.id, TransferState.REFUSED, "INBOX", reply="no")
    transfers.record([], [refused])

    transfers.record([intent(message, target, 8)], [])

    (sending,) = transfers.of_message(message.id)
    assert (sending.attempts, sending.uidnext_before, sending.reply) == (2, 8, None)


def test_what_is_to_be_sent_is_neither_there_nor_in_doubt(
    archive: Archive, inbox: ArchivedFolder, target: Target
) -> None:
    messages = [add(archive, inbox, remote(uid)) for uid in range(1, 9)]
    archive.index.add_failed(inbox.id, 1, 99, "no")
    transfers = archive.transfers
    transfers.record([intent(messages[0], target)], [])
    states = [state for state in TransferState if state is not TransferState.SENDING]
    transfers.record(
        [], [outcome(m, target, s) for m, s in zip(messages[1:7], states, strict=True)]
    )

    unsent = transfers.unsent(target.id, inbox.id)

    left = {TransferState.PENDING, TransferState.REFUSED, TransferState.SET_ASIDE}
    assert set(unsent) == {messages[7].id} | {
        m.id for m, s in zip(messages[1:7], states, strict=True) if s in left
    }
    assert transfers.unsent_totals(target.id)[inbox.id][0] == len(unsent)
    assert transfers.newest() == NOON.timestamp()


def test_a_folder_keeps_the_place_it_was_given_until_the_user_wishes_another(
    archive: Archive, inbox: ArchivedFolder, target: Target
) -> None:
    transfers = archive.transfers
    transfers.map_folders(target.id, [(inbox.id, "Inbox", ("no case",))])
    transfers.map_folders(target.id, [(inbox.id, "Other", ())])
    transfers.looked_through(target.id, inbox.id)
    mapped = transfers.folder_map(target.id)[inbox.id]
    assert (mapped.name, mapped.reasons, mapped.looked_through) == ("Inbox", ("no case",), True)

    transfers.remap_folder(target.id, inbox.id, "Old", ("your map",))

    mapped = transfers.folder_map(target.id)[inbox.id]
    assert (mapped.name, mapped.reasons, mapped.looked_through) == ("Old", ("your map",), False)


def test_a_vanished_message_is_known_where_it_was_moved_to(
    archive: Archive, inbox: ArchivedFolder, message: ArchivedMessage
) -> None:
    trash = archive.ensure_folder(("Trash",), None)
    add(archive, trash, remote(7), b"Subject: number 1\r\nMessage-ID: <1@example.org>\r\n\r\n")
    archive.index.set_vanished([message.id])
    assert archive.transfers.moved_to(message.id) is None

    add(archive, trash, remote(8), mail(1))

    assert archive.transfers.moved_to(message.id) == "Trash"


def test_totals_count_what_no_run_has_come_to_as_pending(
    archive: Archive, inbox: ArchivedFolder, target: Target, message: ArchivedMessage
) -> None:
    second = add(archive, inbox, remote(2))
    add(archive, inbox, remote(3))
    transfers = archive.transfers
    refused = Transfer(second.id, target.id, TransferState.REFUSED, "INBOX", reply="too odd")
    transfers.record([], [outcome(message, target, TransferState.APPENDED, 5), refused])

    assert sorted(transfers.totals()) == [
        (target.name, "INBOX", "appended", None, 1),
        (target.name, "INBOX", "pending", None, 1),
        (target.name, "INBOX", "refused", "too odd", 1),
    ]
