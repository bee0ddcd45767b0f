"""Putting messages into an archive as stage one does, without a server."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from store.archive import Archive
from store.check import check
from store.finds import Checked, Discrepancy
from waystation.model import FolderState, RemoteMessage, SpecialUse
from waystation.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

    from store.batch import Batch
    from store.index import ArchivedFolder, ArchivedMessage

NOON = datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))


def create(path: Path) -> Archive:
    return Archive.create(path, "imaps://alice@example.org", "alice@imap.example.org:993")


def remote(
    uid: int,
    flags: tuple[str, ...] = (),
    keywords: tuple[str, ...] = (),
    internaldate: datetime | None = NOON,
) -> RemoteMessage:
    return RemoteMessage(uid, flags, keywords, internaldate)


def mail(uid: int) -> bytes:
    return b"Subject: number %d\r\nMessage-ID: <%d@example.org>\r\n\r\nText %d.\r\n" % (
        uid,
        uid,
        uid,
    )


def put(
    archive: Archive,
    batch: Batch,
    folder: ArchivedFolder,
    message: RemoteMessage,
    body: bytes,
    uidvalidity: int = 1,
) -> None:
    maildir = archive.maildir(folder)
    draft = maildir.draft(len(body))
    draft.write(memoryview(body))
    draft.finish(message.internaldate)
    batch.add(folder, maildir, uidvalidity, message, draft)


def add(
    archive: Archive,
    folder: ArchivedFolder,
    message: RemoteMessage,
    body: bytes | None = None,
    uidvalidity: int = 1,
) -> ArchivedMessage:
    batch = archive.batch()
    put(archive, batch, folder, message, mail(message.uid) if body is None else body, uidvalidity)
    batch.commit()
    return one(archive, folder, message.uid, uidvalidity)


def settle(archive: Archive, folder: ArchivedFolder, uidnext: int = 100) -> None:
    """Do what the end of a run does: nothing is left to do in the folder."""
    batch = archive.batch()
    count = archive.index.present(folder.id, 1)
    batch.settle(
        folder.id, FolderState(1, uidnext, count), "2024-05-02T00:00:00+00:00", is_settled=True
    )
    batch.commit()


def one(
    archive: Archive, folder: ArchivedFolder, uid: int, uidvalidity: int = 1
) -> ArchivedMessage:
    found = archive.index.by_location(folder.id, uidvalidity, uid)
    assert found is not None
    return found


def file_of(archive: Archive, message: ArchivedMessage) -> Path:
    assert message.path is not None
    return archive.path / message.path


def filled(path: Path) -> Path:
    """Make a small archive with a bit of everything, and close it."""
    with create(path) as archive:
        inbox = archive.ensure_folder(("INBOX",), SpecialUse.INBOX)
        sent = archive.ensure_folder(("Sent", "2024: ä"), SpecialUse.SENT)
        batch = archive.batch()
        put(archive, batch, inbox, remote(1, ("\\Seen",), ("$Forwarded", "todo")), mail(1))
        put(archive, batch, inbox, remote(2, ("\\Answered", "\\Flagged")), mail(2))
        put(archive, batch, inbox, remote(3, (), ("todo",), None), b"")
        old = datetime(1969, 7, 20, 20, 17, 40, tzinfo=UTC)
        put(archive, batch, inbox, remote(4, (), (), old), mail(4))
        put(archive, batch, sent, remote(1, ("\\Draft",), ("todo",)), mail(1))
        put(archive, batch, sent, remote(7), mail(7) * 3000)
        batch.commit()
        settle(archive, inbox)
        settle(archive, sent)
    return path


def found_in(path: Path) -> list[Discrepancy]:
    with Archive.read(path) as archive:
        return list(check(archive, Silent(), Checked()))


def tree(path: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file below a directory, with its time and content."""
    return {
        file.relative_to(path).as_posix(): (file.stat().st_mtime_ns, file.read_bytes())
        for file in path.rglob("*")
        if file.is_file()
    }


def is_root() -> bool:
    return os.name == "posix" and os.geteuid() == 0
