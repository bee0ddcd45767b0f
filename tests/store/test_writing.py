"""What is done beside the thread that receives: all of it, in order, or it is said."""

from __future__ import annotations

import errno
import os
from threading import Event
from typing import TYPE_CHECKING

import pytest

from store.writing import LARGEST, Writer
from tests.store.filling import NOON, found_in, put, remote
from waystation.errors import StorageError
from waystation.model import FolderState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.archive import Archive
    from store.index import ArchivedFolder


@pytest.fixture
def writer() -> Iterator[Writer]:
    made = Writer()
    yield made
    made.close()


def test_jobs_are_done_in_their_order_and_all_when_it_is_waited_for(writer: Writer) -> None:
    done: list[int] = []
    for number in range(1000):
        writer.do(lambda number=number: done.append(number), 1000)  # type: ignore[misc]

    writer.flush()

    assert done == list(range(1000))


def test_no_more_than_a_mebibyte_waits(writer: Writer) -> None:
    gate = Event()
    held = most = 0

    def begin() -> None:
        gate.wait(20)

    def end() -> None:
        nonlocal held
        held -= LARGEST

    writer.do(begin)
    for _ in range(200):
        held += LARGEST
        if held >= 900_000:
            gate.set()
        most = max(most, held)
        writer.do(end, LARGEST)
    writer.flush()

    assert held == 0
    assert most <= 1024 * 1024


def test_after_a_failure_nothing_is_done_until_somebody_was_told(writer: Writer) -> None:
    done: list[str] = []

    def fail() -> None:
        raise StorageError("x", "No space left on device")

    writer.do(lambda: done.append("before"))
    writer.do(fail)
    writer.do(lambda: done.append("after"))
    with pytest.raises(StorageError):
        writer.flush()
    writer.do(lambda: done.append("later"))
    writer.flush()

    assert done == ["before", "later"]


def test_a_message_that_cannot_be_written_is_not_recorded_and_nor_is_the_watermark(
    archive: Archive, inbox: ArchivedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = archive.batch()
    for number in (1, 2, 3):
        put(archive, batch, inbox, remote(number), b"Subject: %d\r\n\r\n" % number)
    batch.settle(inbox.id, FolderState(1, 4, 3), "2024-05-01T00:00:00+00:00", is_settled=True)
    written = []

    def write(file: int, octets: bytes) -> int:
        written.append(file)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, octets)

    real = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", write)
        with pytest.raises(StorageError, match="No space left"):
            batch.commit()

    assert batch.commit() == (1, 14)
    assert [row.uid for row in archive.index.messages()] == [1]
    folder = archive.index.folder("INBOX")
    assert folder is not None
    assert (folder.state, folder.is_settled) == (None, False)
    archive.close()
    assert found_in(archive.path) == []


def test_a_message_that_is_taken_back_leaves_nothing_whenever_that_is(
    archive: Archive, inbox: ArchivedFolder, tmp_path: Path
) -> None:
    maildir = archive.maildir(inbox)
    for size in (10, LARGEST, LARGEST + 1, 3 * LARGEST):
        for is_finished in (False, True):
            draft = maildir.draft()
            draft.write(memoryview(b"x" * size))
            if is_finished:
                draft.finish(NOON)
            draft.discard()
            draft.discard()

    archive.batch().commit()

    assert os.listdir(maildir.path / "tmp") == []
