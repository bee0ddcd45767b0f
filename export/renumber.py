"""Finding messages again after a folder's UIDVALIDITY has changed, before they are fetched anew."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from store.index import received_of
from waystation.wire import uid_sets

if TYPE_CHECKING:
    from export.source import MailSource
    from store.archive import Archive
    from store.index import ArchivedFolder, ArchivedMessage
    from waystation.wire import Described

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
    for group in uid_sets(uids, _MESSAGES_A_COMMAND):
        matched: set[int] = set()
        with archive.database.atomic():
            for described in source.describe(group):
                message = described.message
                old = _match(archive, folder, uidvalidity, described)
                if old is None or message.uid in matched:
                    continue
                matched.add(message.uid)
                archive.plan_renumber(folder, old, uidvalidity, message.uid)
                archive.plan_flags(folder, old.id, message.flags, message.keywords)
        archive.carry_out_renames()
        for part in group.split(b","):
            first, _, last = part.partition(b":")
            numbers = range(int(first), int(last or first) + 1)
            left.extend(uid for uid in numbers if uid not in matched)
    return left


def _match(
    archive: Archive, folder: ArchivedFolder, uidvalidity: int, described: Described
) -> ArchivedMessage | None:
    candidates = [
        message
        for message in archive.index.renumbered_candidates(
            folder.id,
            uidvalidity,
            described.size,
            received_of(described.message.internaldate),
        )
        if _has_header(archive, message, described.header)
    ]
    if len({message.sha256 for message in candidates}) != 1:
        return None
    return candidates[0]


def _has_header(archive: Archive, message: ArchivedMessage, header: bytes) -> bool:
    if message.path is None or not header.strip():
        return False
    try:
        with (archive.path / message.path).open("rb") as file:
            return file.read(len(header)) == header
    except OSError:
        return False
