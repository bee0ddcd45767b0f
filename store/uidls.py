"""Which local UID each unique-id of a POP3 server has (FORMAT.md, chapter 6.9).

A unique-id names one message as long as the server keeps its word (RFC 1939, UIDL). Where it
does not, what it named is forgotten here, and the message is known by its content instead.
"""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from store.database import Database
from store.trees import Marks
from waystation.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_STEP = 1000

UIDVALIDITY = 0x504F5033
"""Of every folder that came by POP3: the letters ``POP3``."""


class Uidls:
    """The unique-ids of one archive."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def uids(self, uidls: Iterable[str]) -> dict[str, int]:
        """Return the UIDs of those among ``uidls`` that are known."""
        return dict(
            self._database.rows(
                "SELECT u.uidl, u.uid FROM json_each(?) AS asked JOIN uidls AS u"
                " ON u.uidl = asked.value",
                (json.dumps(list(uidls)),),
            )
        )

    def add(self, pairs: Iterable[tuple[str, int]]) -> None:
        """Record unique-ids that were never seen, each with its new UID."""
        self._database.execute_many("INSERT INTO uidls (uidl, uid) VALUES (?, ?)", pairs)

    def forget(self, uids: Iterable[int]) -> None:
        """Record that the unique-ids of these UIDs name nothing any more."""
        self._database.execute_many("DELETE FROM uidls WHERE uid = ?", ((uid,) for uid in uids))

    def move(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Let the unique-ids of UIDs stand for other UIDs, which lose the ones they had.

        That a message failed or was skipped under its first UID is forgotten: it is here under
        the other.
        """
        with self._database.atomic():
            for before, after in pairs:
                self._database.execute("DELETE FROM uidls WHERE uid = ?", (after,))
                self._database.execute("UPDATE uidls SET uid = ? WHERE uid = ?", (after, before))
                self._forget_missing("AND uid = ?", before)

    def forget_missing_without(self) -> None:
        """Forget what failed or was skipped and has no unique-id: nobody could find it again."""
        self._forget_missing("AND uid NOT IN (SELECT uid FROM uidls)")

    def next_uid(self) -> int:
        """Return the first UID that nothing has or ever had."""
        row = self._database.row(
            "SELECT max(coalesce((SELECT max(uid) FROM uidls), 0), coalesce((SELECT max(uid)"
            " FROM messages WHERE uidvalidity = ?), 0)) + 1",
            (UIDVALIDITY,),
        )
        return int(row[0]) if row else 1

    def archived(self, folder_id: int) -> Iterable[int]:
        """Yield the UIDs of what is archived of a folder; 0 for what did not come by POP3."""
        for (uid,) in self._database.rows(
            "SELECT CASE uidvalidity WHEN ? THEN uid ELSE 0 END FROM messages"
            " WHERE folder_id = ? AND state = 'archived'",
            (UIDVALIDITY, folder_id),
        ):
            yield uid

    def sizes(self, folder_id: int) -> Iterable[tuple[int, int]]:
        """Yield size and UID of what is archived of a folder and came by POP3."""
        yield from self._database.rows(
            "SELECT size, uid FROM messages"
            " WHERE folder_id = ? AND uidvalidity = ? AND state = 'archived'",
            (folder_id, UIDVALIDITY),
        )

    def take_over(self, index: Path) -> None:
        """Take the unique-ids of an index that is to be replaced, where it can be believed.

        Without them nothing is lost: an export then knows each message by its header, or its
        content.
        """
        if not index.is_file():
            return
        with suppress(ArchiveError), Database.read(index) as old:
            if old.row("PRAGMA quick_check(1)") != ("ok",):
                return
            pairs = iter(old.rows("SELECT uidl, uid FROM uidls"))
            while step := list(islice(pairs, _STEP)):
                self.add(step)

    def _forget_missing(self, where: str, *values: int) -> None:
        missing = f"state != 'archived' AND uidvalidity = ? {where}"
        with self._database.atomic():
            Marks(self._database).messages(missing, (UIDVALIDITY, *values))
            self._database.execute(
                f"DELETE FROM messages WHERE {missing}",  # noqa: S608
                (UIDVALIDITY, *values),
            )
