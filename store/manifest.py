"""A manifest: the sha256 of every archived file, in the form that ``sha256sum -c`` reads.

It says which record it was made under, in lines that ``sha256sum`` takes for comments; kept away
from the archive, it shows message by message what has become of it (FORMAT.md, chapter 13.6).
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from store.database import Database
from store.finds import Discrepancy, Kind
from store.journal import JOURNAL, Records, hash_of, is_hash, short
from store.maildir import READ, base_of
from store.trees import MESSAGES
from waystation.errors import StorageError, UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from store.archive import Archive
    from store.journal import Record

_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64}) [ *](.+)", re.DOTALL)
_HEAD = re.compile(r"# (record|seal|octets of the journal): (\S+)")
_BLOCK = 1024 * 1024
_AT_ONCE = 1000


@dataclass(slots=True)
class Compared:
    """What a comparison with a manifest has come to."""

    same: int = 0
    came_since: int = 0
    """Messages that runs after the manifest have put in."""


def manifest(archive: Archive, record: Record) -> Iterator[str]:
    """Yield the lines of the manifest of an archive whose newest record is this one."""
    digest, octets = _journal(archive, None)
    yield f"# waystation manifest of the archive {archive.description.id}"
    yield f"# record: {record.number}"
    yield f"# seal: {short(record.hash)}"
    yield f"# octets of the journal: {octets}"
    yield "# in the archive's directory: sha256sum -c THIS-FILE"
    for folder in archive.index.folders():
        for row in archive.index.recorded(folder.id):
            yield _line(row.sha256, f"{folder.directory}/{row.file}")
    yield _line(digest, JOURNAL)


def _line(sha256: str, path: str) -> str:
    # As GNU's does: such a name would forge a line.
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != path else ""
    return f"{mark}{sha256}  {escaped}"


def _journal(archive: Archive, octets: int | None) -> tuple[str, int]:
    """Return the sha256 of the journal, or of its first octets, and how many those are."""
    digest, count = hashlib.sha256(), 0
    try:
        with os.fdopen(os.open(archive.path / JOURNAL, READ), "rb") as file:
            while block := file.read(min(_BLOCK, _BLOCK if octets is None else octets - count)):
                digest.update(block)
                count += len(block)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(archive.path / JOURNAL, error) from None
    return digest.hexdigest(), count


@dataclass(slots=True)
class _Said:
    """What the head of a manifest says."""

    values: dict[str, str] = field(default_factory=dict)

    def number(self, key: str) -> int | None:
        value = self.values.get(key, "")
        return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


def compare(archive: Archive, lines: Iterable[str], compared: Compared) -> Iterator[Discrepancy]:
    """Yield what is not as a manifest says; ``compared`` fills up meanwhile.

    A message goes by its folder's directory and its name without flags. One that the source has
    renumbered since goes by its content.

    Raises:
        UsageError: the file is no manifest.
    """
    with Database.scratch() as scratch:
        scratch.execute(
            "CREATE TABLE said (directory TEXT, base TEXT, sha256 TEXT, path TEXT,"
            " PRIMARY KEY (directory, base)) WITHOUT ROWID"
        )
        scratch.execute(
            "CREATE TABLE others (sha256 TEXT, directory TEXT, folder TEXT, uidvalidity INTEGER,"
            " uid INTEGER, path TEXT, since INTEGER)"
        )
        said = _Said()
        yield from _read(archive, scratch, lines, said)
        yield from _records(archive, said)
        yield from _messages(archive, scratch, compared)
        yield from _left_over(scratch, said, compared)


def _read(
    archive: Archive, scratch: Database, lines: Iterable[str], said: _Said
) -> Iterator[Discrepancy]:
    page: list[tuple[str, str, str, str]] = []
    for number, full in enumerate(lines, 1):
        line = full.removesuffix("\n")
        if not line or line.startswith("#"):
            head = _HEAD.match(line)
            if head:
                said.values[head[1]] = head[2]
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise UsageError(f"line {number} of the manifest is none that sha256sum would read.")
        path = _unescaped(match[3]) if match[1] else match[3]
        sha256 = match[2].lower()
        if path == JOURNAL:
            if _journal(archive, said.number("octets of the journal"))[0] != sha256:
                text = "does not begin with what it was when the manifest was made"
                yield Discrepancy(Kind.MANIFEST, "", None, None, JOURNAL, text)
            continue
        place, _, name = path.rpartition("/")
        page.append((place.rpartition("/")[0], base_of(name), sha256, path))
        if len(page) >= _AT_ONCE:
            _keep(scratch, page)
    _keep(scratch, page)


def _keep(scratch: Database, page: list[tuple[str, str, str, str]]) -> None:
    scratch.execute_many("INSERT OR REPLACE INTO said VALUES (?, ?, ?, ?)", page)
    page.clear()


def _unescaped(path: str) -> str:
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), path)


def _records(archive: Archive, said: _Said) -> Iterator[Discrepancy]:
    seal, number = said.values.get("seal"), said.number("record")
    if seal is None or number is None:
        return
    row = archive.database.row("SELECT line FROM records WHERE number = ?", (number,))
    if row is None or not is_hash(hash_of(row[0]), seal):
        text = f"the seal of record {number} in the manifest is not in the archive's history"
        yield Discrepancy(Kind.NOTED, "", None, None, JOURNAL, text)


def _messages(archive: Archive, scratch: Database, compared: Compared) -> Iterator[Discrepancy]:
    last = Records(archive.database).last()
    newest = last.number if last else 0
    for folder in archive.index.folders():
        for row in archive.index.recorded(folder.id):
            path = f"{folder.directory}/{row.file}"
            key = (folder.directory, base_of(row.file.partition("/")[2]))
            found = scratch.row("SELECT sha256 FROM said WHERE directory = ? AND base = ?", key)
            if found is None:
                since = archive.database.row(
                    # What has neither a leaf nor a mark was put in by nobody of ours.
                    "SELECT coalesce((SELECT since FROM sealed WHERE tree = ?1 AND row = ?2),"
                    " (SELECT ?3 FROM unsealed WHERE tree = ?1 AND ?2 BETWEEN first AND last), 0)",
                    (MESSAGES, row.id, newest + 1),
                )
                place = (folder.name, row.uidvalidity, row.uid, path)
                scratch.execute(
                    "INSERT INTO others VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (row.sha256, folder.directory, *place, since[0] if since else 0),
                )
                continue
            scratch.execute("DELETE FROM said WHERE directory = ? AND base = ?", key)
            if found[0] == row.sha256:
                compared.same += 1
                continue
            text = f"its sha256 is {row.sha256}, the manifest says {found[0]}"
            yield Discrepancy(Kind.MANIFEST, folder.name, row.uidvalidity, row.uid, path, text)


def _left_over(scratch: Database, said: _Said, compared: Compared) -> Iterator[Discrepancy]:
    for directory, sha256, path in scratch.rows(
        "SELECT directory, sha256, path FROM said ORDER BY path"
    ):
        other = scratch.row(
            "SELECT rowid FROM others WHERE sha256 = ? AND directory = ? LIMIT 1",
            (sha256, directory),
        )
        if other is not None:
            scratch.execute("DELETE FROM others WHERE rowid = ?", other)
            compared.same += 1
            continue
        text = "is in the manifest, and not in the archive"
        yield Discrepancy(Kind.MANIFEST, "", None, None, plain(path, 400), text)
    number = said.number("record")
    for folder, uidvalidity, uid, path, since in scratch.rows(
        "SELECT folder, uidvalidity, uid, path, since FROM others ORDER BY path"
    ):
        if number is not None and since > number:
            compared.came_since += 1
            continue
        text = "is not in the manifest, and is said to have been there then"
        yield Discrepancy(Kind.MANIFEST, folder, uidvalidity, uid, path, text)
