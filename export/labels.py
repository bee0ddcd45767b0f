"""One message under several labels: fetched once, and in each of its folders.

Gmail shows each label as a folder, and names the message itself by X-GM-MSGID ("IMAP extensions",
Gmail for developers). A location whose message lies in the archive already gets a file from
there; in All Mail, which lists everything, and in Starred only what lies nowhere else is kept, so
that stage two does not send it twice.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import Counter
from typing import TYPE_CHECKING

from store.index import SkippedMessage
from store.maildir import READ
from waystation.imap import decoded_name
from waystation.model import SpecialUse
from waystation.wire import members, uid_sets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from export.source import MailSource
    from store.archive import Archive
    from store.index import ArchivedFolder, ArchivedMessage
    from store.maildir import Draft
    from waystation.model import RemoteMessage
    from waystation.wire import Identified

ELSEWHERE = "it lies in another folder too"
"""Why a message is skipped in a folder that only shows what lies in others."""

_MESSAGES_A_COMMAND = 1000
_MOST_LABELS = 20
_BLOCK = 1024 * 1024


def shows_others(folder: ArchivedFolder) -> bool:
    """Whether a folder only shows what lies in others: All, and Flagged (RFC 6154 section 2).

    That a message has a star is among its flags; what lies nowhere else lies in All.
    """
    return folder.special_use in (SpecialUse.ALL, SpecialUse.FLAGGED)


def is_label(folder: ArchivedFolder) -> bool:
    """Whether a message that leaves the folder still lies in All Mail: so it is with labels."""
    return folder.special_use in (None, SpecialUse.INBOX)


def turn(folder: ArchivedFolder) -> int:
    """Return a key that sorts folders so that each comes after those whose messages it shows."""
    return {SpecialUse.ALL: 1, SpecialUse.FLAGGED: 2}.get(folder.special_use or SpecialUse.INBOX, 0)


class Unlisted:
    """The labels that the source keeps from IMAP: All Mail has their messages, and no folder."""

    def __init__(self, listed: Collection[bytes]) -> None:
        self._listed = listed
        self._messages: Counter[bytes] = Counter()

    def see(self, labels: tuple[bytes, ...]) -> None:
        """Count the labels of a message; those with a backslash are Gmail's own."""
        unlisted = {each for each in labels if not each.startswith(b"\\")}.difference(self._listed)
        self._messages.update(unlisted)

    @property
    def sentences(self) -> list[str]:
        """What to tell of the commonest of them."""
        return [
            f"{count:,} messages bear the label {decoded_name(label)}, which Gmail does not show by"
            " IMAP: they are archived, and the label is not. Tick 'Show in IMAP' (Settings >"
            " Labels) and run the same command again"
            for label, count in self._messages.most_common(_MOST_LABELS)
        ]


def take_from_archive(
    archive: Archive,
    source: MailSource,
    folder: ArchivedFolder,
    uidvalidity: int,
    missing: array[int],
    written: frozenset[int],
    take: Callable[[RemoteMessage, Draft], None],
    seen: Callable[[tuple[bytes, ...]], None],
) -> array[int]:
    """Take missing messages of the open folder from the archive; return the UIDs to be fetched.

    ``take`` gets each that lies there already, as a finished draft; ``seen`` the
    labels of each.
    """
    left = array("Q")
    archive.index.unsettle(folder.id)
    for group in uid_sets(missing, _MESSAGES_A_COMMAND):
        waiting = dict.fromkeys(members(group))
        identified = [each for each in source.identify(group) if each.message.uid in waiting]
        for each in identified:
            seen(each.labels)
        if shows_others(folder):
            # Of what a run that was cut off has left, no file is to be without its row.
            unwritten = [each for each in identified if each.message.uid not in written]
            for uid in _skip_elsewhere(archive, folder, uidvalidity, unwritten):
                del waiting[uid]
        copies = archive.index.by_source_ids(each.source_id for each in identified)
        for each in identified:
            copy = copies.get(each.source_id)
            if copy is None or each.message.uid not in waiting:
                continue
            draft = _copied(archive, folder, copy, each.message)
            if draft is not None:
                del waiting[each.message.uid]
                take(each.message, draft)
        left.extend(waiting)
    return left


def remember_ids(
    archive: Archive, source: MailSource, folder: ArchivedFolder, uidvalidity: int
) -> None:
    """Record by which number the source knows each message of the open folder that has none yet."""
    unknown = archive.index.without_source_id(folder.id, uidvalidity)
    for group in uid_sets(unknown, _MESSAGES_A_COMMAND):
        ids = ((each.message.uid, each.source_id) for each in source.identify(group))
        archive.index.add_source_ids(folder.id, uidvalidity, list(ids))


def _skip_elsewhere(
    archive: Archive, folder: ArchivedFolder, uidvalidity: int, identified: list[Identified]
) -> list[int]:
    """Record as skipped what lies in another folder too; return its UIDs."""
    there = archive.index.elsewhere(folder.id, (each.source_id for each in identified))
    skipped = {each.message.uid: each for each in identified if each.source_id in there}
    with archive.database.atomic():
        archive.index.add_skipped(
            folder.id,
            uidvalidity,
            (
                SkippedMessage(
                    each.message.uid,
                    ELSEWHERE,
                    each.size,
                    each.message.internaldate,
                    each.message.flags,
                    each.message.keywords,
                )
                for each in skipped.values()
            ),
        )
        ids = [(uid, each.source_id) for uid, each in skipped.items()]
        archive.index.add_source_ids(folder.id, uidvalidity, ids)
    return list(skipped)


def _copied(
    archive: Archive, folder: ArchivedFolder, copy: ArchivedMessage, message: RemoteMessage
) -> Draft | None:
    """Return a draft with an archived message's octets; None where they are not what they were.

    They are read and hashed, so that damage does not spread; the batch makes one file of both.
    """
    path = archive.find(copy)
    if path is None:
        return None
    draft = archive.maildir(folder).draft(copy.size or 0)
    digest = hashlib.sha256()  # the draft's own is known only when it is written
    try:
        with os.fdopen(os.open(path, READ), "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                draft.write(memoryview(block))
                digest.update(block)
    except OSError:
        draft.discard()
        return None
    if digest.hexdigest() != copy.sha256:
        draft.discard()
        return None
    draft.finish(message.internaldate)
    return draft
