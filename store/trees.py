"""The rows that are sealed: which tables, what of them, and the marks of what is about to change.

What changes is marked by those who change it, in the same transaction, never by a trigger: a row
that somebody else changes keeps its old leaf, and ``check`` finds it (FORMAT.md, chapter 13).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from store.database import Database

MESSAGES = 0
FOLDERS = 1
_TRANSFERS = 1
"""The tree of a target is its id and this."""

_AMONG = "message_id IN (SELECT value FROM json_each(?))"

_MESSAGE_COLUMNS = (
    *("id", "folder_id", "uidvalidity", "uid", "state", "reason", "file", "sha256", "size"),
    *("internaldate", "received", "date_from", "flags", "keywords", "message_id", "date"),
    *("sender", "recipients", "subject", "last_seen"),
)
_FOLDER_COLUMNS = (
    *("id", "name", "directory", "special_use", "uidvalidity", "uidnext", "exists_on_source"),
    *("highestmodseq", "is_settled", "looked_at", "last_seen"),
)
_TRANSFER_COLUMNS = (
    *("message_id", "target_id", "state", "folder", "attempts", "uidnext_before", "uidvalidity"),
    *("uid", "reply", "lost", "repairs", "flags", "keywords", "internaldate", "passed"),
    "changed_at",
)


@dataclass(frozen=True, slots=True)
class Tree:
    """The rows of one table, or of one target in the transfer log."""

    number: int
    name: str
    """``messages``, ``folders``, or the target's key."""
    table: str
    key: str
    """The column whose number a row goes by."""
    columns: tuple[str, ...]
    where: str = "1"
    """Which rows of the table belong to it."""

    @property
    def content(self) -> str:
        """The SQL of what is hashed of a row: a JSON array of its columns, as octets.

        SQLite writes it, and as RFC 8785 wants it: one way to write each row, in less time than
        any way of putting it together here.
        """
        return f"CAST(json_array({', '.join(self.columns)}) AS BLOB)"

    @property
    def has_states(self) -> bool:
        """Whether its rows are counted by state."""
        return self.number != FOLDERS

    def values(self, content: bytes | str) -> dict[str, Any] | None:
        """Return a row by its columns, or None where the content is none of this tree."""
        try:
            values = json.loads(content)
        except (ValueError, RecursionError):
            return None
        if not isinstance(values, list) or len(values) != len(self.columns):
            return None
        return dict(zip(self.columns, values, strict=True))

    def written(self, values: dict[str, Any]) -> bytes:
        """Return the content of a row."""
        row = [values.get(column) for column in self.columns]
        text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "surrogatepass")


OF_MESSAGES = Tree(MESSAGES, "messages", "messages", "id", _MESSAGE_COLUMNS)
_OF_FOLDERS = Tree(FOLDERS, "folders", "folders", "id", _FOLDER_COLUMNS)


def transfers_tree(target_id: int, key: str = "") -> Tree:
    """Return the tree of a target's transfers."""
    return Tree(
        target_id + _TRANSFERS,
        key,
        "transfers",
        "message_id",
        _TRANSFER_COLUMNS,
        # With a plus, so that the rows are found by their numbers: an index begins with target_id,
        # and all rows of the target would be read for each block.
        f"+target_id = {int(target_id)}",
    )


def trees(database: Database) -> list[Tree]:
    """Return all trees of an index."""
    targets = database.rows("SELECT id, key FROM targets ORDER BY id")
    return [OF_MESSAGES, _OF_FOLDERS, *(transfers_tree(number, key) for number, key in targets)]


def name_of(database: Database, tree: Tree, values: dict[str, Any] | None, row: int) -> str:
    """Return what people call a row."""
    if tree.number == FOLDERS:
        return f"folder {plain(str((values or {}).get('name', row)))}"
    if tree.number != MESSAGES:
        return f"message {row} on its way into {plain(tree.name)}"
    if values is None:
        return f"message {row}"
    found = database.row("SELECT name FROM folders WHERE id = ?", (values.get("folder_id"),))
    folder = plain(str(found[0])) if found else f"folder {values.get('folder_id')}"
    return f"{folder} UID {values.get('uid')} (UIDVALIDITY {values.get('uidvalidity')})"


class Marks:
    """Takes note of what is about to change; to be called in the transaction that changes it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def messages(self, where: str, values: tuple[Any, ...] = ()) -> None:
        """Some messages, as a WHERE says, are about to change or to go."""
        self._keep(OF_MESSAGES, where, values)
        self._mark(OF_MESSAGES, where, values)

    def message_ids(self, ids: Iterable[int]) -> None:
        """These messages are about to change."""
        self.messages("id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),))

    def located(self, folder_id: int, uidvalidity: int, uids: Iterable[int]) -> None:
        """The messages at these locations, where there are any, are about to change."""
        self.messages(
            "folder_id = ? AND uidvalidity = ? AND uid IN (SELECT value FROM json_each(?))",
            (folder_id, uidvalidity, json.dumps(list(uids))),
        )

    def highest_message(self) -> int:
        """Return the highest id of a message; what is put in gets higher ones."""
        row = self._database.row("SELECT max(id) FROM messages")
        return int(row[0]) if row and row[0] else 0

    def new_messages(self, after: int) -> None:
        """The messages with ids above this have just been put in."""
        last = self.highest_message()
        if last > after:
            self._range(MESSAGES, after + 1, last)

    def folders(self, where: str, values: tuple[Any, ...] = ()) -> None:
        """Some folders are about to change."""
        self._keep(_OF_FOLDERS, where, values)
        self._mark(_OF_FOLDERS, where, values)

    def new_folder(self, folder_id: int) -> None:
        """A folder has just been put in."""
        self._range(FOLDERS, folder_id, folder_id)

    def transfers(self, target_id: int, message_ids: list[int]) -> None:
        """These transfers are about to change, or to come."""
        if not message_ids:
            return
        tree = transfers_tree(target_id)
        row = self._database.row("SELECT 1 FROM sealed WHERE tree = ? LIMIT 1", (tree.number,))
        if row is not None:
            self._keep(tree, _AMONG, (json.dumps(message_ids),))
        # A range for neighbours: most are, and each mark costs.
        for first, last in _ranges(sorted(message_ids)):
            self._range(tree.number, first, last)

    def passing(self, target_id: int, message_ids: list[int], passed: str) -> None:
        """These transfers are about to be verified; those that were so before do not change."""
        tree, where = transfers_tree(target_id), f"{_AMONG} AND (state = 'appended' OR passed != ?)"
        values = (json.dumps(message_ids), passed)
        self._keep(tree, where, values)
        self._mark(tree, where, values)

    def _range(self, tree: int, first: int, last: int) -> None:
        self._database.execute(
            "INSERT OR IGNORE INTO unsealed (tree, first, last) VALUES (?, ?, ?)",
            (tree, first, last),
        )

    def _keep(self, tree: Tree, where: str, values: tuple[Any, ...]) -> None:
        """Keep rows as they were sealed, for the seal to tell what has become of them."""
        self._database.execute(
            f"INSERT OR IGNORE INTO before (tree, row, content) SELECT {tree.number}, {tree.key},"  # noqa: S608 - all of it is ours
            f" {tree.content} FROM {tree.table} JOIN sealed ON sealed.tree = {tree.number}"
            f" AND sealed.row = {tree.key} WHERE {tree.where} AND {where}",
            values,
        )

    def _mark(self, tree: Tree, where: str, values: tuple[Any, ...]) -> None:
        self._database.execute(
            f"INSERT OR IGNORE INTO unsealed (tree, first, last) SELECT {tree.number}, {tree.key},"  # noqa: S608
            f" {tree.key} FROM {tree.table} WHERE {tree.where} AND {where}",
            values,
        )


def _ranges(ids: list[int]) -> Iterator[tuple[int, int]]:
    """Yield runs of neighbours among ascending numbers: first and last."""
    first = last = ids[0]
    for number in ids[1:]:
        if number > last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


def merged(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield ascending ranges as few that neither touch nor overlap."""
    at: tuple[int, int] | None = None
    for first, last in ranges:
        if at is not None and first <= at[1] + 1:
            at = (at[0], max(at[1], last))
        else:
            if at is not None:
                yield at
            at = (first, last)
    if at is not None:
        yield at
