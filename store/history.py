"""What the rows were when an earlier run ended, told from what runs have changed since.

Each row can be led back: ``changes`` has what its columns were before, ``sealed`` when it came.
The root over rows that were led back is the root that the record then said, or something in
between was altered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.merkle import ROWS, leaf_hash, root_hash, tree_hash
from store.trees import FOLDERS, MESSAGES, Tree, trees
from waystation.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from store.database import Database
    from store.journal import Record

Values = dict[str, Any]
_PAGE = 500
_SINCE = "since"
_DEEDS = ("came", "changed", "went")


class RebuiltError(ArchiveError):
    """The index was made anew in between, so rows before and after have nothing in common."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"the index was made anew by run {number}; no row can be compared with one from before "
            "it. A manifest from then compares contents: check --manifest FILE"
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """What became of one message between the ends of two runs."""

    message_id: int
    before: Values | None
    """Its row by columns; None where there was none."""
    after: Values | None
    transfers: dict[str, tuple[Values | None, Values | None]]
    """The same of its transfers, by the target's key."""


def demand_one_index(records: Iterable[Record], number: int) -> None:
    """Make sure that the index was not made anew after a record.

    Raises:
        RebuiltError: it was.
    """
    for record in records:
        if record.number > number and record.values.get("rebuilt"):
            raise RebuiltError(record.number)


def root_at(database: Database, tree: Tree, number: int, records: Iterable[Record]) -> str | None:
    """Return the root over a tree's rows as they were sealed by a record; None without any.

    Raises:
        RebuiltError: the index was made anew since.
    """
    demand_one_index(records, number)
    blocks: dict[int, bytes] = dict(
        database.rows("SELECT number, hash FROM blocks WHERE tree = ?", (tree.number,))
    )
    touched = database.rows(
        "SELECT DISTINCT row / ?1 FROM (SELECT row FROM sealed WHERE tree = ?2 AND since > ?3"
        " UNION ALL SELECT row FROM changes WHERE tree = ?2 AND record > ?3)",
        (ROWS, tree.number, number),
    )
    for (block,) in list(touched):
        leaves = _leaves_at(database, tree, number, block)
        if leaves:
            blocks[block] = tree_hash(leaves)
        else:
            blocks.pop(block, None)
    if not blocks and tree.number > MESSAGES + 1:
        return None
    return root_hash(sorted(blocks.items())).hex()


def _leaves_at(database: Database, tree: Tree, number: int, block: int) -> list[bytes]:
    low, high = block * ROWS, block * ROWS + ROWS - 1
    leaves: dict[int, bytes] = dict(
        database.rows(
            "SELECT row, leaf FROM sealed WHERE tree = ? AND row BETWEEN ? AND ? AND since <= ?",
            (tree.number, low, high, number),
        )
    )
    changed = database.rows(
        "SELECT DISTINCT row FROM changes WHERE tree = ? AND row BETWEEN ? AND ? AND record > ?",
        (tree.number, low, high, number),
    )
    for row, (values, _) in rows_at(database, tree, [row for (row,) in changed], number).items():
        leaves.pop(row, None)
        if values is not None:
            leaves[row] = leaf_hash(tree.written(values))
    return [leaf for _, leaf in sorted(leaves.items())]


def rows_at(
    database: Database, tree: Tree, rows: list[int], number: int, later: int | None = None
) -> dict[int, tuple[Values | None, Values | None]]:
    """Return rows as they were at the end of two runs, by their numbers; None: not there.

    Without ``later``, the second is how they were sealed last.
    """
    asked = json.dumps(rows)
    found: dict[int, tuple[Values | None, Values | None]] = {}
    changes: dict[int, list[tuple[int, Values]]] = {}
    for row, record, before in database.rows(
        "SELECT row, record, before FROM changes WHERE tree = ? AND record > ?"
        " AND row IN (SELECT value FROM json_each(?)) ORDER BY record DESC",
        (tree.number, number, asked),
    ):
        changes.setdefault(row, []).append((record, _object(before)))
    now: dict[int, tuple[Values | None, int]] = {
        row: (tree.values(content) if content is not None else None, since)
        for row, since, content in database.rows(
            f"SELECT sealed.row, sealed.since, coalesce(before.content, {tree.content})"  # noqa: S608
            f" FROM sealed LEFT JOIN {tree.table} ON {tree.where} AND {tree.key} = sealed.row"
            " LEFT JOIN before ON before.tree = sealed.tree AND before.row = sealed.row"
            f" WHERE sealed.tree = ? AND sealed.row IN (SELECT value FROM json_each(?))",
            (tree.number, asked),
        )
    }
    for row in rows:
        values, since = now.get(row, (None, 0))
        after: Values | None = None
        is_later = later is None
        if later is None:
            after = values
        for record, before in changes.get(row, ()):
            if not is_later and later is not None and record <= later:
                after, is_later = _if_there(values, since, later), True
            if _SINCE in before:
                since = int(before[_SINCE])
                values = {key: value for key, value in before.items() if key != _SINCE}
            elif values is not None:
                values = {**values, **before}
        if not is_later and later is not None:
            after = _if_there(values, since, later)
        found[row] = (_if_there(values, since, number), after)
    return found


def _if_there(values: Values | None, since: int, number: int) -> Values | None:
    return values if values is not None and since <= number else None


def _object(text: str) -> Values:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def turns(database: Database, first: int, last: int) -> Iterator[Turn]:
    """Yield what became of each message between the ends of two runs, where something did."""
    known = {tree.number: tree for tree in trees(database)}
    messages = known.pop(MESSAGES)
    targets = [tree for number, tree in known.items() if number > MESSAGES + 1]
    numbers = [MESSAGES, *(tree.number for tree in targets)]
    at = -1
    while True:
        page = [
            row
            for (row,) in database.rows(
                "SELECT DISTINCT row FROM (SELECT row FROM sealed WHERE row > ?1 AND since > ?2"
                " AND since <= ?3 AND tree IN (SELECT value FROM json_each(?4))"
                " UNION ALL SELECT row FROM changes WHERE row > ?1 AND record > ?2"
                " AND record <= ?3 AND tree IN (SELECT value FROM json_each(?4)))"
                " ORDER BY row LIMIT ?5",
                (at, first, last, json.dumps(numbers), _PAGE),
            )
        ]
        if not page:
            return
        rows = rows_at(database, messages, page, first, last)
        sent = {tree.name: rows_at(database, tree, page, first, last) for tree in targets}
        for row in page:
            before, after = rows[row]
            transfers = {key: found[row] for key, found in sent.items() if any(found[row])}
            yield Turn(row, before, after, transfers)
        at = page[-1]


def deeds(database: Database) -> dict[int, dict[str, int]]:
    """Return how many messages came, changed and went by each run, by record.

    A message has changed, too, where something became of it at a target.
    """
    found: dict[int, dict[str, int]] = {}
    for what, sql in (
        ("came", "SELECT since, count(*) FROM sealed WHERE tree = :messages GROUP BY since"),
        (
            "went",
            "SELECT record, count(*) FROM changes WHERE tree = :messages"
            " AND json_extract(before, '$.since') IS NOT NULL GROUP BY record",
        ),
        (
            "changed",
            "SELECT number, count(*) FROM (SELECT record AS number, row FROM changes"
            " WHERE tree = :messages AND json_extract(before, '$.since') IS NULL"
            " UNION SELECT record, row FROM changes WHERE tree NOT IN (:messages, :folders)"
            " UNION SELECT since, row FROM sealed WHERE tree NOT IN (:messages, :folders)"
            ") AS touched WHERE NOT EXISTS (SELECT 1 FROM sealed AS s WHERE s.tree = :messages"
            " AND s.row = touched.row AND s.since = touched.number) GROUP BY number",
        ),
    ):
        for number, count in database.rows(sql, {"messages": MESSAGES, "folders": FOLDERS}):
            found.setdefault(number, dict.fromkeys(_DEEDS, 0))[what] = count
    return found
