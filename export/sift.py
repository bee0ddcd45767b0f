"""What of a folder is not to be taken: recorded as skipped, without a body fetched.

Each location gets its row, also in a folder that is left out as a whole, so that the totals add
up. The row holds what filters ask; a later run judges it again without a word to the source.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from store.archive import names_in
from store.index import SkippedMessage, received_of
from store.maildir import parse_name
from waystation.wire import members, uid_sets

if TYPE_CHECKING:
    from export.source import MailSource
    from store.archive import Archive
    from store.index import ArchivedFolder
    from waystation.selection import Choice
    from waystation.wire import Described

_MESSAGES_A_COMMAND = 1000


def sift(
    archive: Archive,
    source: MailSource,
    choice: Choice,
    folder: ArchivedFolder,
    uidvalidity: int,
    missing: array[int],
    *,
    may_be_known: bool,
    written: frozenset[int],
) -> array[int]:
    """Record what of the open folder's missing messages is left out; return the other UIDs.

    Args:
        archive: open for writing.
        source: has the folder open.
        choice: what is to be taken.
        folder: as the index knows it.
        uidvalidity: the folder's, now.
        missing: UIDs that are not archived, ascending.
        may_be_known: the folder was renumbered, so that one of these may be archived under
            another number. Such a message is not left out: it is recognised when it has come.
        written: UIDs whose files a run that was cut off has left (``written_uids``). They are
            fetched whatever they are, so that no file is without its row.

    Raises:
        RefusedError: the source does not describe its messages.
    """
    if not missing or not choice.asks_for_messages(folder.name):
        return missing
    left = array("Q")
    archive.index.unsettle(folder.id)
    for group in uid_sets(missing, _MESSAGES_A_COMMAND):
        waiting = dict.fromkeys(members(group))
        skipped: dict[int, SkippedMessage] = {}
        for described in source.outline(group):
            uid = described.message.uid
            if uid in written or uid not in waiting:
                continue
            if (message := _judged(choice, folder.name, described)) is not None:
                skipped[uid] = message
        if folder.name in choice.left_out:
            # What the source lists and does not describe is left out with its folder.
            reason = choice.left_out[folder.name]
            for uid in waiting.keys() - skipped.keys() - written:
                skipped[uid] = SkippedMessage(uid, reason, None, None, (), ())
        if may_be_known:
            for message in list(skipped.values()):
                if _may_be_archived(archive, folder, uidvalidity, message):
                    del skipped[message.uid]
        archive.index.add_skipped(folder.id, uidvalidity, skipped.values())
        left.extend(uid for uid in waiting if uid not in skipped)
    return left


def taken_up(
    archive: Archive,
    choice: Choice,
    folder: ArchivedFolder,
    uidvalidity: int,
    written: frozenset[int] = frozenset(),
    lasting: tuple[str, ...] = (),
) -> list[int]:
    """Return the UIDs that were left out, and are so no longer; the others get today's reason.

    What was skipped for one of the reasons ``lasting`` is not looked at; it has nothing to do
    with filters. What of ``written`` was left out is taken up as well.
    """
    again: list[int] = []
    others: list[tuple[int, str]] = []
    but_for = [*lasting, *([] if written else choice.lasting_reasons(folder.name))]
    for message in archive.index.skipped(folder.id, uidvalidity, but_for):
        flags = (*message.flags, *message.keywords)
        reason = choice.reason(folder.name, message.size, message.internaldate, flags)
        if reason is None or message.uid in written:
            again.append(message.uid)
        elif reason != message.reason:
            others.append((message.uid, reason))
    if others:
        archive.index.set_reasons(folder.id, uidvalidity, others)
    return again


def written_uids(archive: Archive, folder: ArchivedFolder, uidvalidity: int) -> frozenset[int]:
    """Return the UIDs of which the folder has a file, recorded or not."""
    names = names_in(archive.maildir(folder).path / "cur")
    said = (parse_name(name) for name in names)
    return frozenset(each.uid for each in said if each and each.uidvalidity == uidvalidity)


def _judged(choice: Choice, folder: str, described: Described) -> SkippedMessage | None:
    """Return the row of a message that is left out, or None where it is taken."""
    message = described.message
    size = described.size if described.size >= 0 else None
    flags = (*message.flags, *message.keywords)
    reason = choice.reason(folder, size, message.internaldate, flags)
    if reason is None:
        return None
    return SkippedMessage(
        message.uid,
        reason,
        size,
        message.internaldate,
        message.flags,
        message.keywords,
        message.date_from,
    )


def _may_be_archived(
    archive: Archive, folder: ArchivedFolder, uidvalidity: int, message: SkippedMessage
) -> bool:
    """Whether a message of another UIDVALIDITY could be this one, by size and date."""
    if message.size is None:
        return True
    received = received_of(message.internaldate)
    index = archive.index
    return bool(index.renumbered_candidates(folder.id, uidvalidity, message.size, received))
