"""An archive whose index has very many rows and whose files are not there.

The rows go in as stages one and two put them in, sealed at the end of each run, so that commands
which read only the index find what they would find in an archive of that size.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from store.headers import Headers
from store.index import NewMessage, SkippedMessage
from store.transfers import Transfer, TransferState
from tests.store.filling import create
from waystation.model import FolderState, SpecialUse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.archive import Archive
    from store.maildir import Maildir

TARGET = "office365:alice@contoso.com"
LOOKED_AT = "2026-05-02T00:00:00+00:00"
REFUSED = ("Message too large", "Cannot convert", "Quota exceeded")
UIDVALIDITY = 1_700_000_000
_FIRST = datetime(2009, 3, 1, 8, tzinfo=UTC)
_FLAGS = ((), ("\\Seen",), ("\\Seen",), ("\\Answered", "\\Seen"), ("\\Flagged", "\\Seen"))
_KEYWORDS = ((), (), (), ("$Forwarded",), ("NonJunk",))
_AT_ONCE = 5000


def fill(path: Path, count: int, folders: int = 25, *, with_target: bool = True) -> None:
    """Make an archive of ``count`` rows, settled as a whole, with one target in mixed states.

    Of 1000 messages 2 are skipped, 1 has failed, 3 have vanished since. Of what is archived some
    have arrived and were compared, some have arrived, and some were refused, set aside, are in
    doubt, or were not sent yet. ``count`` is a multiple of ``folders``.
    """
    with create(path) as archive:
        with archive.run("export", archive.description.source, {"new": count}):
            for number in range(folders):
                _fill_folder(archive, number, count // folders)
        if with_target:
            with archive.run("import", TARGET, {}):
                _send(archive)
        # What a database of some age knows of itself.
        archive.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _fill_folder(archive: Archive, number: int, count: int) -> None:
    levels = ("INBOX",) if number == 0 else ("Projects", f"Number {number}")
    use = SpecialUse.INBOX if number == 0 else None
    folder = archive.ensure_folder(levels, use)
    index = archive.index
    maildir = archive.maildir(folder)
    messages = (_message(maildir, folder.id, uid) for uid in range(1, count + 1) if uid % 1000 > 2)
    while batch := list(islice(messages, _AT_ONCE)):
        index.add_messages(batch)
    skipped = (uid for uid in range(1, count + 1) if uid % 1000 in (0, 1))
    index.add_skipped(
        folder.id,
        UIDVALIDITY,
        (SkippedMessage(uid, "larger than 20 MB", 30_000_000, _FIRST, (), ()) for uid in skipped),
    )
    for uid in range(2, count + 1, 1000):
        index.add_failed(folder.id, UIDVALIDITY, uid, "Internal error occurred")
    gone = [
        known.id
        for uid in range(3, count + 1)
        if uid % 1000 in (3, 4, 5)
        and (known := index.known_uid(folder.id, UIDVALIDITY, uid)) is not None
    ]
    index.set_vanished(gone)
    state = FolderState(UIDVALIDITY, count + 1, count - len(gone), 7)
    index.settle(folder.id, state, LOOKED_AT, is_settled=not any(range(2, count + 1, 1000)))


def _message(maildir: Maildir, folder_id: int, uid: int) -> NewMessage:
    when = _FIRST + timedelta(minutes=uid * 7)
    kind = uid % len(_FLAGS)
    size = 3000 + uid * 7919 % 60_000
    name = f"<{uid}.{folder_id}@mail.example.org>"
    return NewMessage(
        folder_id,
        UIDVALIDITY,
        uid,
        maildir.name_for(UIDVALIDITY, uid, size, when, _FLAGS[kind], _KEYWORDS[kind]),
        hashlib.sha256(name.encode()).hexdigest(),
        size,
        when,
        _FLAGS[kind],
        _KEYWORDS[kind],
        Headers(
            name,
            when.strftime("%a, %d %b %Y %H:%M:%S +0000"),
            f"Person {uid % 500} <person{uid % 500}@example.org>",
            "Alice Example <alice@example.org>",
            f"Minutes of meeting {uid}, and what was said there",
        ),
    )


def _send(archive: Archive) -> None:
    target = archive.transfers.target(TARGET, TARGET)
    folders = {folder.id: folder.name for folder in archive.index.folders()}
    archive.transfers.map_folders(
        target.id, ((number, name, ()) for number, name in folders.items())
    )
    for number in folders:
        archive.transfers.looked_through(target.id, number)
    outcomes = _outcomes(archive, target.id, folders)
    while batch := list(islice(outcomes, _AT_ONCE)):
        archive.transfers.record((), batch)


def _outcomes(archive: Archive, target_id: int, folders: dict[int, str]) -> Iterator[Transfer]:
    rows = archive.database.rows(
        "SELECT id, folder_id, uid FROM messages WHERE state = 'archived' ORDER BY id"
    )
    # All at once: they are read while others are written.
    for number, folder_id, uid in list(rows):
        state, reply = _reached(uid)
        if state is None:
            continue
        kind = uid % len(_FLAGS)
        has_arrived = state in (TransferState.APPENDED, TransferState.VERIFIED)
        yield Transfer(
            number,
            target_id,
            state,
            folders[folder_id],
            1,
            uid,
            4711,
            uid if has_arrived else None,
            reply,
            flags=_FLAGS[kind],
            keywords=_KEYWORDS[kind],
            passed=("headers", "received") if state is TransferState.VERIFIED else (),
        )


def _reached(uid: int) -> tuple[TransferState | None, str | None]:
    part = uid % 100
    if part < 70:
        return TransferState.VERIFIED, None
    if part < 90:
        return TransferState.APPENDED, None
    if part < 93:
        return TransferState.REFUSED, REFUSED[part % 3]
    if part < 95:
        return TransferState.SET_ASIDE, "larger than the target takes"
    if part < 96:
        return TransferState.ALREADY_THERE, None
    return None, None
