"""What looks at the servers have shown, kept by message until all is judged, in flat memory.

Each stage tells what it finds in an order of its own; here it can be asked for by location.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from store.database import Database
from store.finding import Cause, Finding
from store.standing import Look, Shut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Side = Literal["source", "target"]
_SIDES: tuple[Side, ...] = ("source", "target")
_TOGETHER = 1000

_TABLES = (
    """
CREATE TABLE found (
    side TEXT NOT NULL,
    folder TEXT NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    cause TEXT NOT NULL,
    text TEXT NOT NULL,
    there TEXT,
    shift INTEGER
) STRICT
""",
    "CREATE INDEX found_by_location ON found (folder, uidvalidity, uid)",
    "CREATE TABLE seen_source (message_id INTEGER PRIMARY KEY) STRICT",
    "CREATE TABLE seen_target (message_id INTEGER PRIMARY KEY) STRICT",
)

Location = tuple[int, int]
"""UIDVALIDITY and UID."""


class Evidence:
    """A context manager; what it was told is gone at its end."""

    def __init__(self) -> None:
        self._database = Database.scratch()
        for statement in _TABLES:
            self._database.execute(statement)
        self._waiting: list[tuple[Side, Finding]] = []
        self._folders: dict[tuple[Side, str], list[Finding]] = {}
        self.asked: set[Side] = set()

    def __enter__(self) -> Evidence:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def ask(self, side: Side) -> None:
        """Take note that a side is looked at."""
        self.asked.add(side)

    def looked_at(self, side: Side, message_ids: Iterable[int]) -> None:
        """Take note that the places of these messages were looked at."""
        table = "seen_source" if side == "source" else "seen_target"
        self._database.execute_many(
            f"INSERT OR IGNORE INTO {table} VALUES (?)",  # noqa: S608 - one of our two names
            ((number,) for number in message_ids),
        )

    def found(self, side: Side, finding: Finding) -> None:
        """Take note of a difference."""
        if finding.uid is None:
            self._folders.setdefault((side, finding.folder), []).append(finding)
            return
        self._waiting.append((side, finding))
        if len(self._waiting) >= _TOGETHER:
            self._write()

    def folder_findings(self) -> list[tuple[Side, Finding]]:
        """Return what was found of whole folders, the source's first."""
        return [
            (side, finding)
            for side in _SIDES
            for (whose, _), findings in sorted(self._folders.items())
            if whose == side
            for finding in findings
        ]

    def folders(self) -> list[str]:
        """Return the folders in which something was found of a message, by name."""
        self._write()
        rows = self._database.rows("SELECT DISTINCT folder FROM found ORDER BY folder")
        return [name for (name,) in rows]

    def by_location(self, folder: str) -> Iterator[tuple[Location, dict[Side, list[Finding]]]]:
        """Yield what was found of a folder's messages, by ascending location."""
        self._write()
        at: Location | None = None
        found: dict[Side, list[Finding]] = {}
        for side, finding in self._of_folder(folder):
            location = (finding.uidvalidity or 0, finding.uid or 0)
            if at is not None and location != at:
                yield at, found
                found = {}
            at = location
            found.setdefault(side, []).append(finding)
        if at is not None:
            yield at, found

    def seen(self, side: Side, message_ids: Iterable[int]) -> frozenset[int]:
        """Return which of these messages had their places looked at."""
        table = "seen_source" if side == "source" else "seen_target"
        rows = self._database.rows(
            f"SELECT message_id FROM {table}"  # noqa: S608 - one of our two names
            " WHERE message_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(message_ids)),),
        )
        return frozenset(number for (number,) in rows)

    def look(
        self,
        side: Side,
        folder: str,
        uidvalidity: int,
        found: dict[Side, list[Finding]],
        *,
        was_seen: bool,
    ) -> Look | None:
        """Return what is known of one message at one side; None where that was not asked."""
        if side not in self.asked:
            return None
        return Look(was_seen, tuple(found.get(side, ())), self._shut(side, folder, uidvalidity))

    def _shut(self, side: Side, folder: str, uidvalidity: int) -> Shut | None:
        for finding in self._folders.get((side, folder), ()):
            # A folder that was renumbered tells its new number; it has that one's messages.
            if finding.uidvalidity != uidvalidity:
                return Shut(finding.text, finding.is_gone)
        return None

    def _of_folder(self, folder: str) -> Iterator[tuple[Side, Finding]]:
        for side, name, uidvalidity, uid, cause, text, there, shift in self._database.rows(
            "SELECT side, folder, uidvalidity, uid, cause, text, there, shift FROM found"
            " WHERE folder = ? ORDER BY uidvalidity, uid",
            (folder,),
        ):
            flags = None if there is None else tuple(json.loads(there))
            yield side, Finding(Cause(cause), name, uidvalidity, uid, text, flags, shift)

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        self._database.execute_many(
            "INSERT INTO found VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    side,
                    each.folder,
                    each.uidvalidity or 0,
                    each.uid,
                    each.cause.value,
                    each.text,
                    None if each.there is None else json.dumps(each.there),
                    each.shift,
                )
                for side, each in waiting
            ),
        )
