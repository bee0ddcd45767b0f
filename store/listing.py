"""Lists of messages to look through, a page at a time, the newest first.

Each page begins where the one before ended, by the key that the index is sorted by, so that the
last page of a large folder comes as fast as the first.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.archive import Archive
    from store.index import ArchivedMessage


@dataclass(frozen=True, slots=True)
class Listed:
    """A message as it stands in a list."""

    message: ArchivedMessage
    sender: str | None
    recipients: str | None
    subject: str | None
    cursor: str
    """Where this one stands: ``before`` for the next page."""


def counts(archive: Archive) -> dict[int, int]:
    """Return how many messages each folder has, whatever their state, by its id."""
    return {
        int(folder_id): int(count)
        for folder_id, count in archive.database.rows(
            "SELECT folder_id, count(*) FROM messages GROUP BY folder_id"
        )
    }


def in_folder(
    archive: Archive, folder_id: int, limit: int, before: str | None = None
) -> list[Listed]:
    """Return the messages of a folder, by received date; what has none comes last."""
    received, row = _place(before)
    found: list[tuple[int | None, int]] = []
    if before is None or received is not None:
        # Two bounds that are always there, so that the index serves in either case.
        found += archive.database.rows(
            "SELECT received, id FROM messages WHERE folder_id = ? AND received IS NOT NULL"
            " AND (received, id) < (?, ?) ORDER BY received DESC, id DESC LIMIT ?",
            (folder_id, _LAST if received is None else received, row, limit),
        )
        row = _LAST
    if len(found) < limit:
        found += archive.database.rows(
            "SELECT received, id FROM messages WHERE folder_id = ? AND received IS NULL"
            " AND id < ? ORDER BY id DESC LIMIT ?",
            (folder_id, row, limit - len(found)),
        )
    cursors = {number: f"{'' if at is None else at}:{number}" for at, number in found}
    return listed(archive, cursors)


def with_words(
    archive: Archive, words: Iterable[str], limit: int, before: str | None = None
) -> list[Listed]:
    """Return the messages in whose subject, sender or recipients stand all of these words.

    The last archived come first. Looks at every row; case counts only beyond ASCII.
    """
    patterns = [f"%{_LIKE.sub(_ESCAPED, word)}%" for word in words]
    _, row = _place(before)
    rows = archive.database.rows(
        "SELECT id FROM messages AS m WHERE id < ? AND NOT EXISTS ("
        "SELECT 1 FROM json_each(?) AS w WHERE (coalesce(m.subject, '') || char(10)"
        " || coalesce(m.sender, '') || char(10) || coalesce(m.recipients, ''))"
        " NOT LIKE w.value ESCAPE '\\')"
        " ORDER BY id DESC LIMIT ?",
        (row, json.dumps(patterns), limit),
    )
    return listed(archive, {number: f":{number}" for (number,) in rows})


def listed(archive: Archive, cursors: dict[int, str]) -> list[Listed]:
    """Return these messages, in this order, with what a list tells of them."""
    facts = {
        number: (sender, recipients, subject)
        for number, sender, recipients, subject in archive.database.rows(
            "SELECT id, sender, recipients, subject FROM messages"
            " WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(cursors)),),
        )
    }
    return [
        Listed(message, *facts.get(message.id, (None, None, None)), cursors[message.id])
        for message in archive.index.some(cursors)
    ]


def _place(before: str | None) -> tuple[int | None, int]:
    """Return received date and id of a cursor; of what is none, the very beginning."""
    found = _CURSOR.fullmatch(before or "")
    if found is None:
        return None, _LAST
    return (int(found[1]) if found[1] else None), int(found[2])


_LAST = 2**63 - 1

_CURSOR = re.compile(r"(-?[0-9]{1,18})?:([0-9]{1,18})")

_LIKE = re.compile(r"([\\%_])")

_ESCAPED = r"\\\1"
