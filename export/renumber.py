"""Finding messages again after a folder's UIDVALIDITY has changed, before they are fetched anew."""

from __future__ import annotations

import logging
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING

from store.index import received_of
from waystation.errors import RefusedError
from waystation.wire import members, uid_sets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from export.source import MailSource
    from store.archive import Archive
    from store.index import ArchivedFolder, ArchivedMessage
    from waystation.model import RemoteMessage
    from waystation.wire import Described

log = logging.getLogger(__name__)

_MESSAGES_A_COMMAND = 100


def rematch(
    archive: Archive, source: MailSource, folder: ArchivedFolder, uidvalidity: int, uids: array[int]
) -> array[int]:
    """Give archived messages the numbers they now have; return the UIDs that match none.

    A match is the whole header, octet by octet, with the same size and INTERNALDATE, and no
    second message of other content that fits as well. What stays in doubt is fetched, and
    recognised by its content then.
    """
    left = array("Q")
    if not archive.index.collect_renumbered(folder.id, uidvalidity):
        return uids
    for group in uid_sets(uids, _MESSAGES_A_COMMAND):
        waiting = dict.fromkeys(members(group))
        with archive.database.atomic():
            for described in _described(source, group):
                if described.message.uid not in waiting:
                    continue  # listed twice, or nobody asked for it
                old = _match(archive, folder, uidvalidity, described)
                if old is not None:
                    give_number(archive, folder, old, uidvalidity, described.message)
                    del waiting[described.message.uid]
        archive.carry_out_renames()
        left.extend(waiting)
    return left


def give_number(
    archive: Archive,
    folder: ArchivedFolder,
    old: ArchivedMessage,
    uidvalidity: int,
    message: RemoteMessage,
) -> None:
    """Record where an archived message is now, and its flags; call inside ``atomic``."""
    archive.index.set_flags(old.id, message.flags, message.keywords)
    now = replace(old, flags=message.flags, keywords=message.keywords)
    archive.plan_renumber(folder, now, uidvalidity, message.uid)


def _described(source: MailSource, group: bytes) -> Iterator[Described]:
    try:
        yield from source.describe(group)
    except RefusedError as error:
        if error.retriable:
            raise
        log.warning("headers are not to be had, the messages are fetched instead: %s", error)


def _match(
    archive: Archive, folder: ArchivedFolder, uidvalidity: int, described: Described
) -> ArchivedMessage | None:
    candidates: dict[str | None, ArchivedMessage] = {}
    for message in archive.index.renumbered_candidates(
        folder.id, uidvalidity, described.size, received_of(described.message.internaldate)
    ):
        candidates.setdefault(message.sha256, message)
    fitting = [
        message
        for message in candidates.values()
        if _has_header(archive, message, described.header)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _has_header(archive: Archive, message: ArchivedMessage, header: bytes) -> bool:
    if message.path is None or not header.strip():
        return False
    try:
        with (archive.path / message.path).open("rb") as file:
            return file.read(len(header)) == header
    except OSError:
        return False
