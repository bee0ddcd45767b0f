"""The archive against its seal: every row against its leaf, the leaves against the last record.

All hashes are made anew from the rows; what the index keeps of them is compared, never believed.
Only somebody who alters file, row, leaf, block, record and the whole chain after it is not found
by this; the seal that was noted elsewhere finds that (``noted``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from store.finds import Discrepancy, Kind
from store.history import RebuiltError, root_at
from store.journal import (
    JOURNAL,
    NOTHING,
    Record,
    Records,
    hash_of,
    is_hash,
    read_journal,
    read_line,
)
from store.merkle import ROWS, leaf_hash, root_hash, tree_hash
from store.tallies import wrong_tallies
from store.trees import FOLDERS, MESSAGES, Tree, merged, name_of, trees
from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.archive import Archive
    from store.database import Database

INDEX = "index.sqlite"


@dataclass(slots=True)
class Sealed:
    """What a look at the seal has come to."""

    record: Record | None = None
    """The newest."""
    unsealed: int = 0
    """Rows that a run has changed which left no record: the next one seals them."""
    is_waiting: bool = False
    """Whether a crash has kept the newest record from the journal; the next run puts it there."""
    noted: Record | None = None
    """The one whose seal was noted, where one was."""
    records: list[Record] = field(default_factory=list)
    """Those after it."""
    remarks: list[str] = field(default_factory=list)

    @property
    def notices(self) -> list[str]:
        """Return what is no discrepancy, and to be known all the same."""
        found = list(self.remarks)
        if self.record is None:
            found.append("not sealed yet: the next run that works on the archive seals it")
        elif self.unsealed:
            found.append(
                f"{self.unsealed:,} rows are not sealed yet: a run was cut off; the next one does"
            )
        if self.is_waiting:
            found.append("the newest record is not in the journal yet; the next run puts it there")
        return found


def check_seal(archive: Archive, sealed: Sealed) -> Iterator[Discrepancy]:
    """Yield what does not agree with the seal; ``sealed`` fills up meanwhile.

    Raises:
        StorageError: the journal cannot be read.
    """
    database = archive.database
    if database.row("SELECT 1 FROM sqlite_master WHERE name = 'records'") is None:
        # An archive from before there were seals; a journal without them was put there.
        if next(read_journal(archive.path), None) is not None:
            yield _of_record(None, "there is a journal, and the index knows of no records")
        return
    # One state of the index, whatever is written meanwhile.
    with database.atomic():
        yield from _records(archive, sealed)
        for tree in trees(database):
            yield from _Rows(database, tree, sealed).discrepancies()
        for name in wrong_tallies(database):
            text = f"{plain(name)}: the counts in the index are not those of its rows"
            yield Discrepancy(Kind.LEAF, "", None, None, INDEX, text)
        yield from _forgotten(database)
        yield from _history(database)


def check_records(archive: Archive) -> Iterator[Discrepancy]:
    """Yield what does not agree between the journal, its chain, and the index alone.

    Raises:
        StorageError: the journal cannot be read.
    """
    yield from _records(archive, Sealed())


def _of_record(number: int | None, text: str) -> Discrepancy:
    named = f"record {number}: {text}" if number is not None else text
    return Discrepancy(Kind.RECORD, "", None, None, JOURNAL, named)


def _records(archive: Archive, sealed: Sealed) -> Iterator[Discrepancy]:
    """Compare the journal with the chain, and with what the index has of it."""
    known: dict[str, int] = {}
    expected: list[tuple[int, str, bool]] = list(Records(archive.database).all())
    for number, line, _ in expected:
        known[hash_of(line)] = number
    before = NOTHING
    for place, (number, line, _) in enumerate(expected, 1):
        record = read_line(line)
        if record is None or record.number != number:
            yield _of_record(number, "was altered in the index")
        elif number != place or record.previous != before:
            text = f"does not follow record {number - 1}, in the index: one was altered or removed"
            yield _of_record(number, text)
        elif record.values.get("archive") != archive.description.id:
            yield _of_record(number, "is of another archive")
        for doubt in _doubts(record):
            yield Discrepancy(
                Kind.DOUBT, "", None, None, JOURNAL, f"record {number} says: {plain(doubt)}"
            )
        before = hash_of(line)
        sealed.record = record or Record(line, {"number": number})
    yield from _journal(archive, expected, known, sealed)


def _doubts(record: Record | None) -> list[str]:
    doubts = record.values.get("doubts") if record else None
    return [str(doubt) for doubt in doubts] if isinstance(doubts, list) else []


def _journal(
    archive: Archive, expected: list[tuple[int, str, bool]], known: dict[str, int], sealed: Sealed
) -> Iterator[Discrepancy]:
    seen: set[int] = set()
    highest = 0
    waiting = [line.encode() for _, line, is_there in expected if not is_there]
    for place, octets in enumerate(read_journal(archive.path), 1):
        number = known.get(hash_of(octets.decode("utf-8", "replace")))
        if number is None:
            if waiting and waiting[0].startswith(octets):
                continue  # torn by a crash; the next run writes the rest
            record = read_line(octets.decode("utf-8", "replace"))
            if record is None:
                yield _of_record(place, "was altered: the line is no record")
            elif record.number > len(expected) and _is_newer(archive, record):
                continue  # another run has just ended
            elif record.number > len(expected):
                yield _of_record(record.number, "was added: the index knows of none such")
            else:
                yield _of_record(record.number, "was altered: it is not as the index has it")
            seen.add(record.number if record else place)
        elif number in seen:
            yield _of_record(number, "is there twice")
        elif number < highest:
            yield _of_record(number, f"stands after record {highest}: they were re-ordered")
            seen.add(number)
        else:
            seen.add(number)
            highest = number
    for number, _, is_there in expected:
        if number not in seen:
            if is_there:
                yield _of_record(number, "was removed from the journal")
            else:
                sealed.is_waiting = True


def _is_newer(archive: Archive, record: Record) -> bool:
    """Whether a run that has ended while we looked has put this record there."""
    from store.archive import Archive as Reading

    with Reading.read(archive.path) as now:
        row = now.database.row("SELECT line FROM records WHERE number = ?", (record.number,))
    return row is not None and row[0] == record.line


def _forgotten(database: Database) -> Iterator[Discrepancy]:
    """Name the runs that have ended, and whose record was taken out of journal and index."""
    runs: set[int] = set()
    for _, line, _ in Records(database).all():
        record = read_line(line)
        if record is not None:
            if record.values.get("rebuilt"):
                runs.clear()
            runs.add(int(record.values.get("run") or 0))
    if not runs:
        return
    for number, command, ended in database.rows(
        "SELECT id, command, ended_at FROM runs WHERE ended_at IS NOT NULL AND id > ? ORDER BY id",
        (min(runs),),
    ):
        if number not in runs:
            text = f"the run {plain(command)} that ended at {plain(ended)} has no record"
            yield _of_record(None, f"{text}: it was removed")


def _history(database: Database) -> Iterator[Discrepancy]:
    """Lead all rows back to the first record, by what runs are said to have changed."""
    records = [read_line(line) for _, line, _ in Records(database).all()]
    first = next(
        (record for record in records[::-1] if record and record.values.get("rebuilt")), None
    )
    first = first or next(iter(records), None)
    if first is None or first is records[-1]:
        return
    for tree in trees(database):
        root = root_at(database, tree, first.number, ())
        if root != first.root(tree.name):
            text = (
                f"{_named(tree)}: what runs have changed does not lead back to record "
                f"{first.number}: the history, or hashes, were altered"
            )
            yield Discrepancy(Kind.HISTORY, "", None, None, INDEX, text)


class _Rows:
    """One tree of rows at the check."""

    def __init__(self, database: Database, tree: Tree, sealed: Sealed) -> None:
        self._database = database
        self._tree = tree
        self._sealed = sealed
        self._marks = list(
            merged(
                database.rows(
                    "SELECT first, last FROM unsealed WHERE tree = ? ORDER BY first, last",
                    (tree.number,),
                )
            )
        )
        self._at = 0

    def discrepancies(self) -> Iterator[Discrepancy]:
        """Yield what does not agree: rows with their leaves, and leaves with the record."""
        if self._sealed.record is None:
            return
        yield from self._rows()
        yield from self._leaves()

    def _rows(self) -> Iterator[Discrepancy]:
        tree = self._tree
        for row, content, leaf in self._database.rows(
            f"SELECT {tree.key}, {tree.content}, sealed.leaf FROM {tree.table}"  # noqa: S608
            f" LEFT JOIN sealed ON sealed.tree = {tree.number} AND sealed.row = {tree.key}"
            f" WHERE {tree.where} ORDER BY {tree.key}"
        ):
            if leaf_hash(content) == leaf:
                continue
            if self._is_marked(row):
                self._sealed.unsealed += 1
            elif leaf is None:
                yield self._about(row, content, Kind.ADDED_ROW, "was added behind our back")
            else:
                yield self._about(row, content, Kind.ALTERED_ROW, "was altered since it was sealed")
        self._at = 0
        for (row,) in self._database.rows(
            "SELECT row FROM sealed WHERE tree = ? AND NOT EXISTS (SELECT 1 FROM "  # noqa: S608
            f"{tree.table} WHERE {tree.where} AND {tree.key} = sealed.row) ORDER BY row",
            (tree.number,),
        ):
            if self._is_marked(row):
                self._sealed.unsealed += 1
            else:
                yield self._about(row, None, Kind.REMOVED_ROW, "was removed since it was sealed")

    def _is_marked(self, row: int) -> bool:
        """Whether a run of ours was about to change a row; rows are asked for in order."""
        while self._at < len(self._marks) and self._marks[self._at][1] < row:
            self._at += 1
        return self._at < len(self._marks) and self._marks[self._at][0] <= row

    def _leaves(self) -> Iterator[Discrepancy]:
        """Compare leaves, blocks and the root."""
        tree, record = self._tree, self._sealed.record
        stored: dict[int, bytes] = dict(
            self._database.rows("SELECT number, hash FROM blocks WHERE tree = ?", (tree.number,))
        )
        blocks: list[tuple[int, bytes]] = []
        wrong: list[int] = []
        for number, digest in _blocks(self._database, tree):
            blocks.append((number, digest))
            if stored.pop(number, None) != digest:
                wrong.append(number)
        wrong += stored  # blocks without leaves
        for number in sorted(wrong):
            text = f"{self._extent(number)}: the hashes in the index were altered"
            yield Discrepancy(Kind.LEAF, "", None, None, INDEX, text)
        root = root_hash(blocks).hex()
        said = record.root(tree.name) if record else None
        if said is None and not blocks:
            return
        if said != root:
            number = record.number if record else 0
            text = (
                f"{_named(tree)}: the root over all rows is {root}, "
                f"record {number} says {said}: rows and hashes were altered together"
            )
            yield Discrepancy(Kind.ROOT, "", None, None, INDEX, text)

    def _extent(self, number: int) -> str:
        """Return in words which rows a block holds."""
        tree, low = self._tree, number * ROWS
        rows = [
            (row, content)
            for row, content in self._database.rows(
                f"SELECT {tree.key}, {tree.content} FROM {tree.table}"  # noqa: S608
                f" WHERE {tree.where} AND {tree.key} BETWEEN ? AND ? ORDER BY {tree.key}",
                (low, low + ROWS - 1),
            )
        ]
        if not rows:
            return f"{_named(tree)}, rows {low} to {low + ROWS - 1}"
        ends = [
            name_of(self._database, tree, tree.values(content), row)
            for row, content in (rows[0], rows[-1])
        ]
        return ends[0] if len(rows) == 1 else f"one of {len(rows)} rows, {ends[0]} to {ends[1]}"

    def _about(self, row: int, content: bytes | None, kind: Kind, text: str) -> Discrepancy:
        tree = self._tree
        values = tree.values(content) if content is not None else None
        if tree.number == FOLDERS:
            name = str(values["name"]) if values else ""
            return Discrepancy(kind, name, None, None, INDEX, f"its row {text}")
        if tree.number != MESSAGES:
            # A transfer is told of by the message it is about.
            message = self._message(row)
            text = f"its row on the way into {plain(tree.name)} {text}"
            return Discrepancy(Kind.TRANSFER, *message, INDEX, text)
        if values is None:
            values = self._known_of(row)
        found = self._database.row(
            "SELECT name FROM folders WHERE id = ?", (values.get("folder_id"),)
        )
        return Discrepancy(
            kind,
            str(found[0]) if found else "",
            _number(values.get("uidvalidity")),
            _number(values.get("uid")),
            INDEX,
            f"its row {text}" if found else f"the row of message {row} {text}",
        )

    def _message(self, row: int) -> tuple[str, int | None, int | None]:
        found = self._database.row(
            "SELECT f.name, m.uidvalidity, m.uid FROM messages AS m"
            " JOIN folders AS f ON f.id = m.folder_id WHERE m.id = ?",
            (row,),
        )
        return (str(found[0]), found[1], found[2]) if found else ("", None, None)

    def _known_of(self, row: int) -> dict[str, Any]:
        """Return what is still known of a row that is gone: a change once told its location."""
        for (before,) in self._database.rows(
            "SELECT before FROM changes WHERE tree = ? AND row = ? ORDER BY record DESC",
            (self._tree.number, row),
        ):
            values = json.loads(before)
            if "uid" in values and "folder_id" in values:
                return dict(values)
        return {}


def _blocks(database: Database, tree: Tree) -> Iterator[tuple[int, bytes]]:
    """Yield the tree hash of each block, made anew from the leaves."""
    at: int | None = None
    leaves: list[bytes] = []
    for row, leaf in database.rows(
        "SELECT row, leaf FROM sealed WHERE tree = ? ORDER BY row", (tree.number,)
    ):
        number = row // ROWS
        if number != at:
            if at is not None:
                yield at, tree_hash(leaves)
            at, leaves = number, []
        leaves.append(leaf)
    if at is not None:
        yield at, tree_hash(leaves)


def _named(tree: Tree) -> str:
    if tree.number in (MESSAGES, FOLDERS):
        return tree.name
    return f"transfers into {plain(tree.name)}"


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def noted(archive: Archive, seal: str, sealed: Sealed) -> Iterator[Discrepancy]:
    """Compare the archive with a seal that was noted elsewhere; yield what does not agree.

    ``sealed.records`` gets the records since. Whatever is true of them, all that was there under
    the noted seal is proven: each row that is not told as changed since is the same now.
    """
    database = archive.database
    found: Record | None = None
    sealed.records.clear()
    for number, line, _ in Records(database).all():
        record = read_line(line) or Record(line, {"number": number})
        if found is not None:
            sealed.records.append(record)
        elif is_hash(record.hash, seal):
            found = record
    if found is None:
        text = "the noted seal is not in the history of this archive"
        yield Discrepancy(Kind.NOTED, "", None, None, JOURNAL, text)
        return
    sealed.noted = found
    with database.atomic():
        for tree in trees(database):
            said = found.root(tree.name)
            try:
                root = root_at(database, tree, found.number, sealed.records)
            except RebuiltError as error:
                sealed.remarks.append(str(error))
                return
            if root != said and not (said is None and root is None):
                text = (
                    f"{_named(tree)}: what the runs since record {found.number} are said to have "
                    "changed does not lead back to the noted seal"
                )
                yield Discrepancy(Kind.NOTED, "", None, None, INDEX, text)
