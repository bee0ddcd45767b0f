"""Two heaps that are compared: what lies in a folder of a target, and what is looked for there.

They are temporary tables, so that a folder of any size fits; nothing of them outlasts the
connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from store.database import Database


@dataclass(frozen=True, slots=True)
class Found:
    """A message in the target."""

    uid: int
    fingerprint: str
    received: int | None
    size: int
    content: tuple[str, str, str] | None = None
    """Its hashes, once they are known."""
    marks: str = ""
    """Its flags and keywords, sorted, with blanks between; they part twins."""


@dataclass(frozen=True, slots=True)
class Sought:
    """A message of the archive that may be among them."""

    message_id: int
    fingerprint: str
    received: int | None
    """INTERNALDATE in seconds; None fits any."""
    lowest_uid: int
    rank: int = 0
    """Who has a lower one chooses first."""
    uid: int | None = None
    """Where it is said to lie."""
    marks: str = ""
    """The flags and keywords that it was sent with, as in ``Found``."""


class Lookup:
    """One comparison; a new one forgets the one before."""

    def __init__(self, database: Database) -> None:
        self._database = database
        for statement in _TABLES:
            database.execute(statement)

    def found(self, messages: Iterable[Found]) -> None:
        """Take in what lies in the target."""
        self._database.execute_many(
            "INSERT OR REPLACE INTO temp.found (uid, fingerprint, received, size, marks)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                (each.uid, each.fingerprint, each.received, each.size, each.marks)
                for each in messages
            ),
        )

    def seek(self, messages: Iterable[Sought]) -> None:
        """Take in what is looked for."""
        self._database.execute_many(
            "INSERT OR REPLACE INTO temp.sought"
            " (message_id, fingerprint, received, lowest_uid, rank, uid, marks)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    each.message_id,
                    each.fingerprint,
                    each.received,
                    each.lowest_uid,
                    each.rank,
                    each.uid,
                    each.marks,
                )
                for each in messages
            ),
        )

    def count(self) -> int:
        """Return how much lies in the target."""
        row = self._database.row("SELECT count(*) FROM temp.found")
        return int(row[0]) if row else 0

    def at(self, uid: int) -> Found | None:
        """Return what lies at one UID, or None."""
        row = self._database.row(_FOUND + "WHERE uid = ?", (uid,))
        return _found(row) if row else None

    def is_alone(self, found: Found) -> bool:
        """Whether nothing else there agrees with it in headers and date."""
        row = self._database.row(
            "SELECT count(*) FROM (SELECT 1 FROM temp.found"
            " WHERE fingerprint = ? AND received IS ? LIMIT 2)",
            (found.fingerprint, found.received),
        )
        return row == (1,)

    def has_received(self, received: int | None) -> bool:
        """Whether anything in the target can have this date."""
        return received is None or bool(
            self._database.row("SELECT 1 FROM temp.found WHERE received = ? LIMIT 1", (received,))
        )

    def strike(self, uids: Iterable[int]) -> None:
        """Forget what is accounted for."""
        self._database.execute_many(
            "DELETE FROM temp.found WHERE uid = ?", ((uid,) for uid in uids)
        )

    def strike_owned(self, target_id: int, folder: str, uidvalidity: int) -> None:
        """Forget what the transfer log accounts for."""
        self._database.execute(
            "DELETE FROM temp.found WHERE uid IN (SELECT uid FROM transfers"
            " WHERE target_id = ? AND folder = ? AND uidvalidity = ?"
            " AND state IN ('appended', 'verified', 'already_there'))",
            (target_id, folder, uidvalidity),
        )

    def candidates(self, count: int) -> list[int]:
        """Return UIDs whose content has to be known and was not asked for; these now are."""
        uids = [
            row[0]
            for row in self._database.rows(
                "SELECT uid FROM temp.found AS f WHERE NOT was_asked AND EXISTS"
                " (SELECT 1 FROM temp.sought AS s WHERE s.fingerprint = f.fingerprint"
                " AND (s.received = f.received OR s.received IS NULL)) ORDER BY uid LIMIT ?",
                (count,),
            )
        ]
        self._database.execute_many(
            "UPDATE temp.found SET was_asked = 1 WHERE uid = ?", ((uid,) for uid in uids)
        )
        return uids

    def contents(self, contents: Iterable[tuple[int, tuple[str, str, str]]]) -> None:
        """Take in what content lies at a UID."""
        self._database.execute_many(
            "UPDATE temp.found SET exact = ?, tidy = ?, body = ? WHERE uid = ?",
            ((*content, uid) for uid, content in contents),
        )

    def groups(self, count: int) -> list[tuple[str, int | None]]:
        """Return fingerprint and date of what is looked for and may be there.

        What fits any date comes last, and gets what the others leave.
        """
        return [
            (fingerprint, received)
            for fingerprint, received in self._database.rows(
                "SELECT DISTINCT s.fingerprint, s.received FROM temp.sought AS s"
                " WHERE NOT s.was_tried AND EXISTS"
                " (SELECT 1 FROM temp.found AS f WHERE f.fingerprint = s.fingerprint"
                " AND (s.received = f.received OR s.received IS NULL))"
                " ORDER BY s.received IS NULL, s.received, s.fingerprint LIMIT ?",
                (count,),
            )
        ]

    def was_tried(self, fingerprint: str, received: int | None) -> None:
        """Leave a group out of ``groups`` from now on."""
        self._database.execute(
            "UPDATE temp.sought SET was_tried = 1 WHERE fingerprint = ? AND received IS ?",
            (fingerprint, received),
        )

    def try_again(self) -> None:
        """Have ``groups`` return once more all that was not paired."""
        self._database.execute("UPDATE temp.sought SET was_tried = 0")

    def leave_to_content(self, fingerprint: str, rank: int) -> bool:
        """Give all that is left one fingerprint, so that date and content decide.

        What is looked for with this rank or a higher one is forgotten. Returns whether anything
        is still looked for.
        """
        with self._database.atomic():
            self._database.execute("DELETE FROM temp.sought WHERE rank >= ?", (rank,))
            if not self._database.row("SELECT 1 FROM temp.sought LIMIT 1"):
                return False
            self._database.execute("UPDATE temp.sought SET fingerprint = ?", (fingerprint,))
            self._database.execute("UPDATE temp.found SET fingerprint = ?", (fingerprint,))
            self.try_again()
        return True

    def paired(self, pairs: Mapping[int, int]) -> None:
        """Forget messages and the UIDs that they turned out to have."""
        with self._database.atomic():
            self.strike(pairs.values())
            self._database.execute_many(
                "DELETE FROM temp.sought WHERE message_id = ?", ((number,) for number in pairs)
            )

    def sought_of(self, fingerprint: str, received: int | None) -> list[Sought]:
        """Return one group of what is looked for, who chooses first in front."""
        return [
            Sought(number, fingerprint, received, lowest, rank, uid, marks)
            for number, lowest, rank, uid, marks in self._database.rows(
                "SELECT message_id, lowest_uid, rank, uid, marks FROM temp.sought"
                " WHERE fingerprint = ? AND received IS ? ORDER BY rank, lowest_uid, message_id",
                (fingerprint, received),
            )
        ]

    def found_of(self, fingerprint: str, received: int | None) -> list[Found]:
        """Return what is there for a group, by UID."""
        rows = self._database.rows(
            _FOUND + "WHERE fingerprint = :fingerprint"
            " AND (received = :received OR :received IS NULL) ORDER BY uid",
            {"fingerprint": fingerprint, "received": received},
        )
        return [_found(row) for row in rows]


def _found(row: tuple[Any, ...]) -> Found:
    uid, fingerprint, received, size, marks, *content = row
    hashes = (content[0], content[1], content[2]) if content[0] is not None else None
    return Found(uid, fingerprint, received, size, hashes, marks)


_FOUND = "SELECT uid, fingerprint, received, size, marks, exact, tidy, body FROM temp.found "

_TABLES = (
    "DROP TABLE IF EXISTS temp.found",
    "DROP TABLE IF EXISTS temp.sought",
    """
    CREATE TEMP TABLE found (
        uid INTEGER PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        received INTEGER,
        size INTEGER NOT NULL,
        marks TEXT NOT NULL,
        was_asked INTEGER NOT NULL DEFAULT 0,
        exact TEXT,
        tidy TEXT,
        body TEXT
    )
    """,
    """
    CREATE TEMP TABLE sought (
        message_id INTEGER PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        received INTEGER,
        lowest_uid INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        uid INTEGER,
        marks TEXT NOT NULL,
        was_tried INTEGER NOT NULL DEFAULT 0
    )
    """,
    "CREATE INDEX temp.found_by_headers ON found (fingerprint, received)",
    "CREATE INDEX temp.found_by_date ON found (received)",
    "CREATE INDEX temp.sought_by_headers ON sought (fingerprint, received)",
)
