"""What verifications found, kept so that two of them can be compared; the last 20 are.

One row for each message that is not simply fine, by its gravest cause and with all that is to be
said about it, and one for each folder that could not be compared. What a filter left out of the
archive has none: its row in ``messages`` says so.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

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


@dataclass(frozen=True, slots=True)
class FindingTurn:
    """What became of a finding between two verifications; never None both."""

    before: FoundBefore | None
    """None: the first has not found it."""
    after: FoundBefore | None
    """None: the second has not found it."""

    @property
    def what(self) -> Literal["came", "went", "changed", "same"]:
        """Whether it came, went, is another one now, or the same."""
        if self.before is None:
            return "came"
        if self.after is None:
            return "went"
        return "same" if self.before == self.after else "changed"


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

    def are_kept(self, run: int) -> bool:
        """Whether the findings of a verification are still there, if it ever had any."""
        if not self._has_table():
            return False
        # A verification forgets the old ones at its end; one that was cut off has not.
        row = self._database.row(
            "SELECT count(*) FROM runs WHERE command = 'verify' AND id > ?"
            " AND id <= (SELECT max(id) FROM runs WHERE command = 'verify' AND outcome = 'done')",
            (run,),
        )
        return row is not None and row[0] < KEPT

    def turns(self, first: int, last: int) -> Iterator[FindingTurn]:
        """Yield what became of each finding of two verifications, by folder and location.

        A message is the same by its folder, UIDVALIDITY and UID, a folder also by the side on
        which it could not be compared. To be called in one ``Database.atomic``.
        """
        both = heapq.merge(
            ((_place(each), 0, each) for each in self.of_run(first)),
            ((_place(each), 1, each) for each in self.of_run(last)),
            key=lambda found: found[:2],
        )
        for _, group in groupby(both, key=lambda found: found[0]):
            sides: dict[str, list[FoundBefore | None]] = {}
            for _, number, found in group:
                about = found.side if found.cause == FOLDER else ""
                sides.setdefault(about, [None, None])[number] = found
            for before, after in sides.values():
                yield FindingTurn(before, after)

    def _has_table(self) -> bool:
        """Whether the index is new enough; one that is only read is not brought up to date."""
        sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'findings'"
        return self._database.row(sql) is not None


def _place(found: FoundBefore) -> tuple[str, int, int]:
    """Return by what ``of_run`` orders; what is not known comes first."""
    return (
        found.folder,
        -1 if found.uidvalidity is None else found.uidvalidity,
        -1 if found.uid is None else found.uid,
    )
