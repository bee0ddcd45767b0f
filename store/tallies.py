"""How many messages are in which state, counted when their rows are sealed, and kept by block.

So the totals of a large archive cost the list of its blocks, not its rows. What was marked since
the last seal is counted anew. Where kept counts do not go with how many rows there are, somebody
else has changed the index, and every row is counted.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from store.merkle import ROWS
from store.trees import MESSAGES, OF_MESSAGES, Tree, merged, transfers_tree, trees

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from store.database import Database

MessageState = Literal["archived", "skipped", "failed"]

_Sums = dict[tuple[Any, ...], tuple[int, int]]
"""Messages and octets, by what they have in common."""


class MessageTally(NamedTuple):
    """Rows of ``messages`` that have all this in common."""

    folder_id: int
    state: MessageState
    reason: str | None
    """Why they are skipped or failed."""
    has_vanished: bool
    messages: int
    octets: int


class TransferTally(NamedTuple):
    """Rows of ``transfers`` that have all this in common."""

    target_id: int
    folder_id: int | None
    """The archived folder; None where the message is not there."""
    message_state: str | None
    state: str
    reason: str | None
    """Why they are refused or set aside."""
    target_folder: str
    messages: int
    octets: int


class Tallies(NamedTuple):
    """All of both, at one moment."""

    messages: list[MessageTally]
    transfers: list[TransferTally]


_OF_MESSAGES = """
SELECT folder_id, state, CASE state WHEN 'archived' THEN NULL ELSE reason END,
    last_seen IS NOT NULL, count(*), coalesce(sum(size), 0)
FROM messages
WHERE id BETWEEN ? AND ? GROUP BY 1, 2, 3, 4
"""

_OF_TRANSFERS = """
SELECT m.folder_id, m.state, t.state,
    CASE WHEN t.state IN ('refused', 'set_aside') THEN t.reply END, t.folder,
    count(*), coalesce(sum(m.size), 0)
FROM transfers AS t LEFT JOIN messages AS m ON m.id = t.message_id
WHERE {where} AND t.message_id BETWEEN ? AND ? GROUP BY 1, 2, 3, 4, 5
"""

_ALL = (-(1 << 63), (1 << 63) - 1)


def count_block(database: Database, tree: Tree, number: int) -> tuple[dict[str, int], str | None]:
    """Return how many rows of a block are in each state, and its tallies as they are kept."""
    first, last = number * ROWS, number * ROWS + ROWS - 1
    if not tree.has_states:
        rows = f"SELECT count(*) FROM {tree.table} WHERE {tree.key} BETWEEN ? AND ?"  # noqa: S608 - all of it is ours
        return {"rows": _number(database, rows, (first, last))}, None
    groups = list(database.rows(_counting(tree), (first, last)))
    states: Counter[str] = Counter()
    for group in groups:
        states[group[1] if tree.number == MESSAGES else group[2]] += group[-2]
    return dict(states), json.dumps(groups, ensure_ascii=False, separators=(",", ":"))


def count_what_was_not(database: Database) -> None:
    """Count the blocks that were sealed before there were tallies; others have theirs."""
    for tree in trees(database):
        if tree.has_states:
            without = database.rows(
                "SELECT number FROM blocks WHERE tree = ? AND tallies IS NULL", (tree.number,)
            )
            for (number,) in list(without):
                database.execute(
                    "UPDATE blocks SET tallies = ? WHERE tree = ? AND number = ?",
                    (count_block(database, tree, number)[1], tree.number, number),
                )


def message_tallies(database: Database, *, anew: bool = False) -> list[MessageTally]:
    """Return how many messages there are of each kind; ``anew``: every row is counted."""
    with database.atomic():
        sums = None if anew else _kept_messages(database)
        if sums is None:
            sums = _counted(database, OF_MESSAGES)
    return _of_messages(sums)


def all_tallies(database: Database, *, anew: bool = False) -> Tallies:
    """Return the same, and how many transfers there are of each kind, at one moment."""
    with database.atomic():
        messages = None if anew else _kept_messages(database)
        transfers = None if messages is None else _kept_transfers(database)
        if messages is None:
            messages = _counted(database, OF_MESSAGES)
        if transfers is None:
            # Not of the targets that are known: a transfer may say another one.
            there = list(database.rows("SELECT DISTINCT target_id FROM transfers"))
            transfers = {number: _counted(database, transfers_tree(number)) for (number,) in there}
    return Tallies(
        _of_messages(messages),
        [
            TransferTally(number, folder_id, message_state, state, reason, target_folder, *both)
            for number, sums in transfers.items()
            for (folder_id, message_state, state, reason, target_folder), both in sums.items()
        ],
    )


def _of_messages(sums: _Sums) -> list[MessageTally]:
    return [
        MessageTally(folder_id, state, reason, bool(vanished), *both)
        for (folder_id, state, reason, vanished), both in sums.items()
    ]


def wrong_tallies(database: Database) -> list[str]:
    """Return of which trees the kept counts are not those of their rows, by name."""
    return [
        tree.name
        for tree in trees(database)
        if tree.has_states
        and (kept := _kept(database, tree)) is not None
        and kept != _counted(database, tree)
    ]


def _kept_messages(database: Database) -> _Sums | None:
    """Return what is kept of messages; None where it does not go with what indexes know."""
    sums = _kept(database, OF_MESSAGES)
    if sums is None:
        return None
    total = vanished = not_archived = 0
    for (_, state, _, has_vanished), (count, _) in sums.items():
        total += count
        vanished += count if has_vanished else 0
        not_archived += count if state != "archived" else 0
    rows = "SELECT count(*) FROM messages"
    is_right = (
        total == _number(database, rows)
        and vanished == _number(database, f"{rows} WHERE last_seen IS NOT NULL")
        and not_archived == _number(database, f"{rows} WHERE state != 'archived'")
    )
    return sums if is_right else None


def _kept_transfers(database: Database) -> dict[int, _Sums] | None:
    """Return what is kept of transfers, by target; None where there are more or fewer rows."""
    found: dict[int, _Sums] = {}
    for (number,) in list(database.rows("SELECT id FROM targets")):
        sums = _kept(database, transfers_tree(number))
        if sums is None:
            return None
        found[number] = sums
    counted = sum(count for sums in found.values() for count, _ in sums.values())
    return found if counted == _number(database, "SELECT count(*) FROM transfers") else None


def _counted(database: Database, tree: Tree) -> _Sums:
    return _summed(database.rows(_counting(tree), _ALL))


def _kept(database: Database, tree: Tree) -> _Sums | None:
    """Return the sums of a tree by what is kept, and by its marked rows; None if nothing is."""
    if database.row("SELECT 1 FROM pragma_table_info('blocks') WHERE name = 'tallies'") is None:
        return None  # an index of before there were tallies, opened to be read only
    # Distinct blocks: there may be a mark for each row.
    blocks = database.rows(
        "SELECT DISTINCT first / ?1, last / ?1 FROM unsealed WHERE tree = ?2 ORDER BY 1, 2",
        (ROWS, tree.number),
    )
    marked = list(merged(blocks))
    unknown: list[tuple[int, int]] = []
    sums = _summed(_groups(database, tree, marked, unknown))
    for first, last in merged(sorted((*marked, *unknown))):
        rows = database.rows(_counting(tree), (first * ROWS, last * ROWS + ROWS - 1))
        _add(sums, rows)
    return sums


def _groups(
    database: Database, tree: Tree, marked: list[tuple[int, int]], unknown: list[tuple[int, int]]
) -> Iterator[tuple[Any, ...]]:
    """Yield the tallies of blocks in which nothing is marked; ``unknown`` gets those without."""
    at = 0
    for number, text in database.rows(
        "SELECT number, tallies FROM blocks WHERE tree = ? ORDER BY number", (tree.number,)
    ):
        while at < len(marked) and marked[at][1] < number:
            at += 1
        if at < len(marked) and marked[at][0] <= number:
            continue
        if text is None:
            unknown.append((number, number))
        else:
            yield from map(tuple, json.loads(text))


def _summed(groups: Iterable[tuple[Any, ...]]) -> _Sums:
    sums: _Sums = {}
    _add(sums, groups)
    return sums


def _add(sums: _Sums, groups: Iterable[tuple[Any, ...]]) -> None:
    for *group, count, octets in groups:
        key = tuple(group)
        before = sums.get(key, (0, 0))
        sums[key] = (before[0] + count, before[1] + octets)


def _counting(tree: Tree) -> str:
    if tree.number == MESSAGES:
        return _OF_MESSAGES
    return _OF_TRANSFERS.format(where=tree.where.replace("target_id", "t.target_id"))


def _number(database: Database, sql: str, values: tuple[int, ...] = ()) -> int:
    row = database.row(sql, values)
    return int(row[0]) if row else 0
