"""What verifications found, kept so that two of them can be compared; the last 20 are.

One row for each message that is not simply fine, by its gravest cause and with all that is to be
said about it, and one for each folder that could not be compared. What a filter left out of the
archive has none: its row in ``messages`` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from store.database import Database
    from store.standing import Where

KEPT = 20
"""The findings of so many verifications are kept."""
FOLDER = "folder"
"""The cause of a row about a whole folder; the others are those of ``store.standing``."""


@dataclass(frozen=True, slots=True)
class FoundBefore:
    """One row: what a verification found of one message, or of a folder (no UID)."""

    folder: str
    uidvalidity: int | None
    uid: int | None
    cause: str
    side: Where
    text: str


class Findings:
    """The findings of one archive's verifications."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run: int, findings: Iterable[FoundBefore]) -> None:
        """Record what a run has found."""
        self._database.execute_many(
            "INSERT INTO findings (run_id, folder, uidvalidity, uid, cause, side, text)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (run, each.folder, each.uidvalidity, each.uid, each.cause, each.side, each.text)
                for each in findings
            ),
        )

    def forget_old(self) -> None:
        """Remove the findings of all but the last verifications; the runs themselves stay."""
        self._database.execute(
            "DELETE FROM findings WHERE run_id NOT IN (SELECT id FROM runs"
            " WHERE command = 'verify' ORDER BY id DESC LIMIT ?)",
            (KEPT,),
        )

    def of_run(self, run: int) -> Iterator[FoundBefore]:
        """Yield what a run has found, by folder and location; a folder's own row first."""
        if not self._has_table():
            return
        for row in self._database.rows(
            "SELECT folder, uidvalidity, uid, cause, side, text FROM findings WHERE run_id = ?"
            " ORDER BY folder, uidvalidity, uid, id",
            (run,),
        ):
            yield FoundBefore(*row)

    def _has_table(self) -> bool:
        """Whether the index is new enough; one that is only read is not brought up to date."""
        sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'findings'"
        return self._database.row(sql) is not None
