from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.store.filling import NOON, add, mail, one, remote, settle
from waystation.errors import IndexDamagedError
from waystation.model import FolderState

if TYPE_CHECKING:
    from store.archive import Archive
    from store.index import ArchivedFolder


def test_a_message_comes_back_as_it_went_in(archive: Archive, inbox: ArchivedFolder) -> None:
    add(archive, inbox, remote(5, ("\\Seen", "\\X-Odd"), ("$Forwarded", "ü b")), mail(5))

    message = one(archive, inbox, 5)

    assert message.folder == "INBOX"
    assert (message.flags, message.keywords) == (("\\Seen", "\\X-Odd"), ("$Forwarded", "ü b"))
    assert message.internaldate == NOON
    assert message.message_id == "<5@example.org>"
    assert archive.index.message(message.id) == message
    assert list(archive.index.messages()) == [message]
    assert list(archive.index.in_folder(inbox.id)) == [message]


def test_a_failed_message_becomes_archived_and_never_the_other_way(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    index = archive.index
    index.add_failed(inbox.id, 1, 1, "not now")
    index.add_failed(inbox.id, 1, 1, "not today")
    assert [(m.state, m.reason) for m in index.messages("failed")] == [("failed", "not today")]
    assert not index.archived_among([(inbox.id, 1, 1)])

    add(archive, inbox, remote(1))
    index.add_failed(inbox.id, 1, 1, "too late")

    assert [(m.state, m.reason) for m in index.messages()] == [("archived", None)]
    assert index.archived_among([(inbox.id, 1, 1)]) == {(inbox.id, 1, 1)}


def test_what_is_known_comes_by_ascending_uid(archive: Archive, inbox: ArchivedFolder) -> None:
    for uid in (9, 2, 5):
        add(archive, inbox, remote(uid, ("\\Seen",)))
    archive.index.add_failed(inbox.id, 1, 7, "no")

    known = list(archive.index.known(inbox.id, 1))

    assert [(k.uid, k.is_done) for k in known] == [(2, True), (5, True), (7, False), (9, True)]
    assert archive.index.known_uid(inbox.id, 1, 5) == known[1]
    assert archive.index.known_uid(inbox.id, 2, 5) is None
    assert archive.index.present(inbox.id, 1) == 4


def test_a_vanished_message_keeps_its_row_and_may_return(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    message = add(archive, inbox, remote(1))
    settle(archive, inbox)

    archive.index.set_vanished([message.id])
    assert one(archive, inbox, 1).last_seen == "2024-05-02T00:00:00+00:00"
    assert archive.index.present(inbox.id, 1) == 0
    assert archive.index.present(inbox.id, 2) == 0
    archive.index.set_returned([message.id])

    assert one(archive, inbox, 1) == message


def test_a_vanished_folder_takes_its_messages_along_until_it_is_listed_again(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    add(archive, inbox, remote(1))
    settle(archive, inbox)

    archive.index.folder_vanished(inbox.id)

    gone = archive.index.folder("INBOX")
    assert gone is not None
    assert (gone.is_settled, gone.last_seen) == (False, "2024-05-02T00:00:00+00:00")
    assert one(archive, inbox, 1).last_seen == gone.last_seen
    assert archive.ensure_folder(("INBOX",), None).last_seen is None


def test_a_renumbered_message_is_found_by_size_and_date_or_by_content(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    message = add(archive, inbox, remote(1))
    received = int(NOON.timestamp())
    index = archive.index
    assert message.size is not None
    assert message.sha256 is not None

    index.collect_renumbered(inbox.id, 2)
    assert index.renumbered_candidates(inbox.id, 2, message.size, received) == [message]
    assert index.renumbered_candidates(inbox.id, 2, message.size, received + 1) == []
    assert index.renumbered_content(inbox.id, 2, message.sha256, received) == message
    assert index.renumbered_content(inbox.id, 2, message.sha256, None) is None
    assert index.has_other_uidvalidity(inbox.id, 2)
    assert index.others_vanished(inbox.id, 2) == 1
    index.add_failed(inbox.id, 2, 9, "no")
    index.renumber(message.id, 2, 9)
    assert one(archive, inbox, 9, 2).last_seen is None
    assert not index.has_other_uidvalidity(inbox.id, 2)


def test_the_watermark_comes_back(archive: Archive, inbox: ArchivedFolder) -> None:
    state = FolderState(7, 8, 9, 2**63 - 1)
    archive.index.settle(inbox.id, state, "2024-05-02T00:00:00+00:00", is_settled=True)
    archive.index.looked_at([inbox.id], "2024-05-03T00:00:00+00:00")
    archive.index.unsettle(inbox.id)

    folder = archive.index.folder("INBOX")

    assert folder is not None
    assert (folder.state, folder.is_settled) == (state, False)


def test_totals_add_up(archive: Archive, inbox: ArchivedFolder) -> None:
    message = add(archive, inbox, remote(1), b"12345")
    add(archive, inbox, remote(2), b"123")
    archive.index.add_failed(inbox.id, 1, 3, "no")
    archive.index.set_vanished([message.id])

    assert sorted(archive.index.totals(), key=str) == [
        ("INBOX", "archived", None, False, 1, 3),
        ("INBOX", "archived", None, True, 1, 5),
        ("INBOX", "failed", "no", False, 1, 0),
    ]


def test_rows_are_read_page_by_page(
    archive: Archive, inbox: ArchivedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.index._PAGE", 2)
    for uid in range(1, 6):
        add(archive, inbox, remote(uid), uidvalidity=1 + uid % 2)

    rows = list(archive.index.recorded(inbox.id))

    assert [(r.uidvalidity, r.uid) for r in rows] == [(1, 2), (1, 4), (2, 1), (2, 3), (2, 5)]


@pytest.mark.parametrize(
    ("column", "value"), [("flags", "[1"), ("keywords", '{"a": 1}'), ("internaldate", "soon")]
)
def test_a_row_that_makes_no_sense_is_told(
    archive: Archive, inbox: ArchivedFolder, column: str, value: str
) -> None:
    add(archive, inbox, remote(1))
    archive.database.execute(f"UPDATE messages SET {column} = ?", (value,))

    with pytest.raises(IndexDamagedError, match="--rebuild"):
        one(archive, inbox, 1)
