from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from tests.store.filling import (
    NOON,
    add,
    create,
    file_of,
    found_in,
    mail,
    one,
    put,
    remote,
    settle,
)
from waystation.errors import StorageError
from waystation.model import FolderState

if TYPE_CHECKING:
    from pathlib import Path

    from store.index import ArchivedFolder


def test_a_message_is_kept_octet_by_octet(archive: Archive, inbox: ArchivedFolder) -> None:
    body = bytes(range(256)) * 300 + b"\r\r\n\n no end of line"

    message = add(archive, inbox, remote(1), body)

    assert file_of(archive, message).read_bytes() == body
    assert message.sha256 == hashlib.sha256(body).hexdigest()
    assert message.size == len(body)
    assert message.internaldate == NOON
    assert message.internaldate.utcoffset() == timedelta(hours=2)
    assert file_of(archive, message).stat().st_mtime == NOON.timestamp()


def test_nothing_is_left_in_tmp(archive: Archive, inbox: ArchivedFolder) -> None:
    sent = archive.ensure_folder(("Sent",), None)
    add(archive, inbox, remote(1))
    add(archive, sent, remote(1))

    assert not [*archive.path.glob("maildir/*/tmp/*")]


def test_the_same_content_and_date_in_two_folders_is_one_file_and_two_rows(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    sent = archive.ensure_folder(("Sent",), None)
    first = add(archive, inbox, remote(1), b"twin")
    second = add(archive, sent, remote(9, ("\\Seen",)), b"twin")

    assert file_of(archive, first).samefile(file_of(archive, second))
    assert first.id != second.id
    assert (first.flags, second.flags) == ((), ("\\Seen",))


def test_twins_within_one_batch_are_one_file_too(archive: Archive, inbox: ArchivedFolder) -> None:
    batch = archive.batch()
    for uid in (1, 2, 3):
        put(archive, batch, inbox, remote(uid), b"twin")
    batch.commit()

    files = {file_of(archive, one(archive, inbox, uid)).stat().st_ino for uid in (1, 2, 3)}
    assert len(files) == 1


def test_the_same_content_with_another_date_is_a_file_of_its_own(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    first = add(archive, inbox, remote(1), b"twin")
    second = add(archive, inbox, remote(2, (), (), NOON + timedelta(seconds=1)), b"twin")

    assert not file_of(archive, first).samefile(file_of(archive, second))


def test_damage_in_the_twin_does_not_spread(archive: Archive, inbox: ArchivedFolder) -> None:
    first = add(archive, inbox, remote(1), b"twin")
    file_of(archive, first).write_bytes(b"twim")

    second = add(archive, inbox, remote(2), b"twin")

    assert file_of(archive, second).read_bytes() == b"twin"
    assert file_of(archive, first).read_bytes() == b"twim"


def test_a_twin_that_is_a_link_is_not_linked_to(
    archive: Archive, inbox: ArchivedFolder, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"twin")
    first = add(archive, inbox, remote(1), b"twin")
    file_of(archive, first).unlink()
    file_of(archive, first).symlink_to(outside)

    second = add(archive, inbox, remote(2), b"twin")

    assert not file_of(archive, second).samefile(outside)
    assert file_of(archive, second).read_bytes() == b"twin"


def test_a_file_system_without_hard_links_costs_space_and_nothing_else(
    archive: Archive, inbox: ArchivedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first = add(archive, inbox, remote(1), b"twin")
    second = add(archive, inbox, remote(2), b"twin")

    assert not file_of(archive, first).samefile(file_of(archive, second))
    assert file_of(archive, second).read_bytes() == b"twin"


def test_a_location_that_comes_twice_keeps_its_first_message(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    batch = archive.batch()
    put(archive, batch, inbox, remote(1), b"first")
    put(archive, batch, inbox, remote(1), b"other")
    batch.commit()
    message = add(archive, inbox, remote(1), b"third")

    assert file_of(archive, message).read_bytes() == b"first"
    settle(archive, inbox)
    assert found_in(archive.path) == []


def test_the_watermark_moves_with_the_last_messages(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    batch = archive.batch()
    put(archive, batch, inbox, remote(1), mail(1))
    state = FolderState(1, 2, 1, 7)
    batch.settle(inbox.id, state, "2024-05-02T00:00:00+00:00", is_settled=True)
    before = archive.index.folder("INBOX")

    batch.commit()

    assert before is not None
    assert before.state is None
    after = archive.index.folder("INBOX")
    assert after is not None
    assert after.state == state
    assert after.is_settled


def test_a_commit_that_failed_can_be_tried_again(
    archive: Archive, inbox: ArchivedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = archive.batch()
    for uid in (1, 2, 3):
        put(archive, batch, inbox, remote(uid), b"twin")
    put(archive, batch, inbox, remote(4), b"other")
    with monkeypatch.context() as broken:
        broken.setattr(archive.index, "add_messages", _full)
        with pytest.raises(StorageError):
            batch.commit()

    batch.commit()

    assert [len(list(archive.index.messages())), batch.waiting] == [4, 0]
    settle(archive, inbox)
    assert found_in(archive.path) == []


def _full(_: object) -> None:
    raise StorageError("index.sqlite", "database or disk is full")


def test_a_full_disk_ends_in_one_sentence_and_a_second_run_goes_on(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with create(small_disk / "archive") as archive:
        inbox = archive.ensure_folder(("INBOX",), None)
        add(archive, inbox, remote(1))
        left = os.statvfs(small_disk)
        ballast.write_bytes(b"x" * (left.f_bavail * left.f_frsize - 100_000))
        batch = archive.batch()
        with pytest.raises(StorageError, match="No space left"):
            put(archive, batch, inbox, remote(2), b"y" * 500_000)
    with Archive.write(small_disk / "archive", "export") as archive:
        # as above, but now the index does not fit
        batch = archive.batch()
        for uid in range(10, 15):
            put(archive, batch, inbox, remote(uid), b"x")
        left = os.statvfs(small_disk)
        with ballast.open("ab") as file:
            file.write(b"x" * (left.f_bavail * left.f_frsize))
        with pytest.raises(StorageError, match="full"):
            batch.commit()
        assert [message.uid for message in archive.index.messages()] == [1]
    ballast.unlink()

    with Archive.write(small_disk / "archive", "export") as archive:
        for uid in (2, *range(10, 15)):
            add(archive, inbox, remote(uid), b"x")
        settle(archive, inbox)

    assert found_in(small_disk / "archive") == []


def test_an_archive_that_did_not_fit_on_the_disk_can_be_created_later(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    left = os.statvfs(small_disk)
    ballast.write_bytes(b"x" * (left.f_bavail * left.f_frsize - 60_000))
    with pytest.raises(StorageError):
        create(small_disk / "archive")
    ballast.unlink()

    create(small_disk / "archive").close()

    assert found_in(small_disk / "archive") == []


def test_files_are_made_durable_while_the_next_messages_come_in(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    first, second = archive.batch(), archive.batch()
    maildir = archive.maildir(inbox)
    for number, batch in ((1, first), (2, second)):
        draft = maildir.draft()
        draft.write(memoryview(b"Subject: %d\r\n\r\n" % number))
        message = remote(number)
        draft.finish(NOON)
        batch.add(inbox, maildir, 1, message, draft)
        batch.start()
        assert batch.commit() == (1, 14)

    assert [message.uid for message in archive.index.messages()] == [1, 2]
    assert found_in(archive.path) == []


def test_what_fails_beside_is_told_by_the_commit_and_can_be_tried_again(
    archive: Archive, inbox: ArchivedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, maildir = archive.batch(), archive.maildir(inbox)
    draft = maildir.draft()
    draft.write(memoryview(b"Subject: x\r\n\r\n"))
    draft.finish(NOON)
    batch.add(inbox, maildir, 1, remote(1), draft)
    with monkeypatch.context() as broken:
        broken.setattr("store.batch.sync_files", fails)
        batch.start()
        with pytest.raises(StorageError):
            batch.commit()
    assert list(archive.index.messages()) == []

    assert batch.commit() == (1, 14)

    assert found_in(archive.path) == []


def fails(paths: list[str]) -> None:
    raise StorageError(paths[0], "No space left on device")


def test_what_is_added_meanwhile_does_not_delay_a_batch_that_has_ended(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    first, second = archive.batch(), archive.batch()
    put(archive, first, inbox, remote(1), b"Subject: 1\r\n\r\n")
    assert not first.is_written
    first.end()
    archive.batch().commit()
    is_written = first.is_written
    put(archive, second, inbox, remote(2), b"Subject: 2\r\n\r\n")
    first.start()

    assert is_written
    assert (first.commit(), second.commit()) == ((1, 14), (1, 14))
    assert [message.uid for message in archive.index.messages()] == [1, 2]


def test_the_hash_of_a_message_can_be_had_before_it_is_recorded(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    for size in (10, 1_000_000):
        draft = archive.maildir(inbox).draft()
        draft.write(memoryview(b"x" * size))
        draft.finish(NOON)

        assert draft.sha256() == hashlib.sha256(b"x" * size).hexdigest()
        draft.discard()
