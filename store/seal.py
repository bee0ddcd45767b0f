"""The seal: what a run has changed gets its leaves, and a record with the roots over all rows.

Costs what has changed, not what is there: where nothing is marked, the roots are those of the
record before. What turns out to have been changed behind our back meanwhile is not sealed over in
silence: the record says so for good, as its ``doubts``.
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from typing import TYPE_CHECKING, Any

from store.journal import NOTHING, Records, ends_with, line_of
from store.merkle import ROWS, leaf_hash, root_hash, tree_hash
from store.tallies import count_block, count_what_was_not
from store.trees import FOLDERS, MESSAGES, Tree, merged, name_of, trees
from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from store.database import Database
    from store.journal import Record

_MOST_DOUBTS = 20


@dataclass(frozen=True, slots=True)
class Told:
    """What a command tells of its run."""

    run: int
    command: str
    account: str | None
    """The server as the user named it; never a secret."""
    began: str
    outcome: str
    totals: Mapping[str, Any]
    asked: Mapping[str, Any]
    """The options that matter; never a secret."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a record says, besides the roots."""

    archive: str
    """The archive's id."""
    ended: str
    told: Told
    is_rebuilt: bool = False
    """Whether the index was made anew: no row can be compared with those of records before."""


def seal(database: Database, path: Path, facts: Facts) -> int:
    """Seal what is marked, and add the record to the index; return its number.

    To be called in a transaction; ``store.journal.write_waiting`` comes after it.
    """
    records = Records(database)
    last = records.last()
    number = last.number + 1 if last else 1
    told = facts.told
    # The rows of an index that was made anew have nothing in common with those before.
    sealer = _Sealer(database, number, None if facts.is_rebuilt else last)
    if last is not None and not records.waiting() and not ends_with(path, last.line):
        sealer.doubt(f"the journal does not end with record {last.number}")
    roots: dict[str, Any] = {"transfers": {}}
    counted: dict[str, Any] = {"transfers": {}}
    for tree in trees(database):
        root, counts = sealer.tree(tree)
        if tree.number in (MESSAGES, FOLDERS):
            roots[tree.name] = root
            counted[tree.name] = counts
        elif counts:
            roots["transfers"][tree.name] = root
            counted["transfers"][tree.name] = counts
    count_what_was_not(database)
    database.execute("DELETE FROM unsealed")
    database.execute("DELETE FROM before")
    values: dict[str, Any] = {
        "account": plain(told.account) if told.account is not None else None,
        "archive": facts.archive,
        "asked": dict(told.asked),
        "command": told.command,
        "counts": counted,
        "ended": facts.ended,
        "host": platform.node(),
        "number": number,
        "outcome": told.outcome,
        "previous": last.hash if last else NOTHING,
        "roots": roots,
        "run": told.run,
        "started": told.began,
        "totals": dict(told.totals),
        "version": version("waystation"),
    }
    if facts.is_rebuilt:
        values["rebuilt"] = True
    if sealer.doubts:
        values["doubts"] = sealer.doubts
    records.add(number, line_of(json.loads(json.dumps(values))))
    return number


class _Sealer:
    """The seal of one run."""

    def __init__(self, database: Database, number: int, last: Record | None) -> None:
        self._database = database
        self._number = number
        self._last = last
        self.doubts: list[str] = []

    def doubt(self, text: str) -> None:
        """Take note of something that was changed behind our back."""
        if len(self.doubts) < _MOST_DOUBTS:
            self.doubts.append(text)

    def tree(self, tree: Tree) -> tuple[str, dict[str, int]]:
        """Seal what is marked of a tree; return its root, and how many rows there are by state."""
        marks = merged(
            self._database.rows(
                "SELECT first, last FROM unsealed WHERE tree = ? ORDER BY first, last",
                (tree.number,),
            )
        )
        root = self._last.root(tree.name) if self._last else None
        first = next(marks, None)
        if root is not None and first is None:
            counts = _counts_of(self._last, tree)
            if counts is not None:
                return root, counts
        if root is not None and root_hash(self._blocks(tree)).hex() != root:
            since = self._last.number if self._last else 0
            self.doubt(f"the hashes of {plain(tree.name)} were altered after record {since}")
        # One by one: there may be as many as rows.
        for number, ranges in self._by_block(tree, chain([first] if first else (), marks)):
            self._block(tree, number, ranges)
        totals: Counter[str] = Counter()
        for (counts,) in self._database.rows(
            "SELECT counts FROM blocks WHERE tree = ?", (tree.number,)
        ):
            totals.update(json.loads(counts))
        return root_hash(self._blocks(tree)).hex(), dict(totals)

    def _blocks(self, tree: Tree) -> Iterator[tuple[int, bytes]]:
        rows = "SELECT number, hash FROM blocks WHERE tree = ? ORDER BY number"
        return ((number, digest) for number, digest in self._database.rows(rows, (tree.number,)))

    def _by_block(
        self, tree: Tree, marks: Iterable[tuple[int, int]]
    ) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Yield the blocks in which something is marked, and is or was, each with its ranges."""
        waiting: list[tuple[int, int]] = []
        at: int | None = None
        for first, last in marks:
            row = first
            while (found := self._next(tree, row, last)) is not None:
                number = found // ROWS
                if at is not None and number != at:
                    yield at, waiting
                    waiting = []
                at = number
                end = min(last, number * ROWS + ROWS - 1)
                waiting.append((found, end))
                row = end + 1
        if at is not None:
            yield at, waiting

    def _next(self, tree: Tree, first: int, last: int) -> int | None:
        """Return the lowest row from ``first`` on that there is or was: ranges may be wide."""
        if first > last:
            return None
        row = self._database.row(
            f"SELECT min(row) FROM (SELECT * FROM (SELECT {tree.key} AS row FROM {tree.table}"  # noqa: S608 - all of it is ours
            f" WHERE {tree.where} AND {tree.key} BETWEEN ?1 AND ?2 ORDER BY 1 LIMIT 1)"
            " UNION ALL SELECT min(row) FROM sealed WHERE tree = ?3 AND row BETWEEN ?1 AND ?2)",
            (first, last, tree.number),
        )
        return row[0] if row else None

    def _block(self, tree: Tree, number: int, ranges: list[tuple[int, int]]) -> None:
        low = number * ROWS
        sealed: dict[int, tuple[int, bytes]] = {
            row: (since, leaf)
            for row, since, leaf in self._database.rows(
                "SELECT row, since, leaf FROM sealed WHERE tree = ? AND row BETWEEN ? AND ?"
                " ORDER BY row",
                (tree.number, low, low + ROWS - 1),
            )
        }
        self._demand_unaltered(tree, number, sealed)
        leaves = dict(sealed)
        changes: list[tuple[int, int, int, str]] = []
        for first, last in ranges:
            there = set()
            for row, content, before in self._rows(tree, first, last):
                there.add(row)
                leaf = leaf_hash(content)
                if row not in sealed:
                    leaves[row] = (self._number, leaf)
                elif sealed[row][1] != leaf:
                    leaves[row] = (sealed[row][0], leaf)
                    was = self._was(tree, row, sealed[row], before)
                    now = tree.values(content) or {}
                    told = {key: was[key] for key in was if key not in now or was[key] != now[key]}
                    changes.append((self._number, tree.number, row, _text(told)))
            for row in sealed:
                if first <= row <= last and row not in there:
                    del leaves[row]
                    before = self._before(tree, row)
                    was = self._was(tree, row, sealed[row], before)
                    was["since"] = sealed[row][0]
                    changes.append((self._number, tree.number, row, _text(was)))
        self._write(tree, number, sealed, leaves, changes)

    def _demand_unaltered(
        self, tree: Tree, number: int, sealed: dict[int, tuple[int, bytes]]
    ) -> None:
        stored = self._database.row(
            "SELECT hash FROM blocks WHERE tree = ? AND number = ?", (tree.number, number)
        )
        expected = tree_hash([leaf for _, leaf in sealed.values()]) if sealed else None
        if (stored[0] if stored else None) != expected:
            low = number * ROWS
            self.doubt(
                f"hashes of {plain(tree.name)}, rows {low} to {low + ROWS - 1}, were altered"
                f" before record {self._number}"
            )

    def _rows(self, tree: Tree, first: int, last: int) -> Iterator[tuple[int, bytes, bytes | None]]:
        yield from list(
            self._database.rows(
                f"SELECT {tree.key}, {tree.content}, before.content FROM {tree.table}"  # noqa: S608
                f" LEFT JOIN before ON before.tree = {tree.number} AND before.row = {tree.key}"
                f" WHERE {tree.where} AND {tree.key} BETWEEN ? AND ? ORDER BY {tree.key}",
                (first, last),
            )
        )

    def _before(self, tree: Tree, row: int) -> bytes | None:
        found = self._database.row(
            "SELECT content FROM before WHERE tree = ? AND row = ?", (tree.number, row)
        )
        return found[0] if found else None

    def _was(
        self, tree: Tree, row: int, sealed: tuple[int, bytes], before: bytes | None
    ) -> dict[str, Any]:
        """Return a row as it was sealed, proven to be so."""
        values = tree.values(before) if before is not None else None
        if before is None or values is None or leaf_hash(before) != sealed[1]:
            name = name_of(self._database, tree, values, row)
            self.doubt(f"{name} was altered in the index before record {self._number}")
        return values or {}

    def _write(
        self,
        tree: Tree,
        number: int,
        sealed: dict[int, tuple[int, bytes]],
        leaves: dict[int, tuple[int, bytes]],
        changes: list[tuple[int, int, int, str]],
    ) -> None:
        database = self._database
        database.execute_many(
            "DELETE FROM sealed WHERE tree = ? AND row = ?",
            [(tree.number, row) for row in sealed if row not in leaves],
        )
        database.execute_many(
            "INSERT OR REPLACE INTO sealed (tree, row, since, leaf) VALUES (?, ?, ?, ?)",
            [(tree.number, row, *leaf) for row, leaf in leaves.items() if sealed.get(row) != leaf],
        )
        database.execute_many(
            "INSERT INTO changes (record, tree, row, before) VALUES (?, ?, ?, ?)", changes
        )
        if not leaves:
            database.execute(
                "DELETE FROM blocks WHERE tree = ? AND number = ?", (tree.number, number)
            )
            return
        counts, tallies = count_block(database, tree, number)
        digest = tree_hash([leaf for _, (_, leaf) in sorted(leaves.items())])
        database.execute(
            "INSERT OR REPLACE INTO blocks (tree, number, counts, hash, tallies)"
            " VALUES (?, ?, ?, ?, ?)",
            (tree.number, number, _text(counts), digest, tallies),
        )


def _counts_of(last: Record | None, tree: Tree) -> dict[str, int] | None:
    counts = last.values.get("counts") if last else None
    if isinstance(counts, dict) and tree.number not in (MESSAGES, FOLDERS):
        counts = counts.get("transfers")
    found = counts.get(tree.name) if isinstance(counts, dict) else None
    return found if isinstance(found, dict) else None


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
