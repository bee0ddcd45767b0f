"""The words of an archive's messages in a database of their own, brought up to date on demand.

It can be thrown away and made again at any time. Nothing in it is promised to anyone but
``store.search``: messages are known in it by their content, so that copies, new numbers, new flags
and a rebuilt index cost little or nothing. A document's number begins with its received date, so
that SQLite's full-text index finds the newest first without sorting.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
from array import array
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from stat import S_ISDIR
from time import monotonic
from typing import TYPE_CHECKING

from store.archive import INDEX
from store.lock import Lock
from store.maildir import READ, is_within
from store.words import Content, content_of, spaced
from waystation.errors import ArchiveLockedError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from store.archive import Archive
    from store.index import ArchivedMessage
    from waystation.progress import Progress

SEARCH = "search.sqlite"
_LOCK = "search.lock"
_VERSION = 1
_ENDS = ("", "-wal", "-shm", "-journal")

_BATCH = 2_000
_BATCH_TEXT = 8_000_000
"""Characters that are held at the most, about."""
_BATCH_SECONDS = 5.0
"""What is lost at the most when a build is killed."""
_MERGE_FROM = 10_000
"""So many new documents are worth putting the index in order."""
_MERGE_PAGES = 2_000
_HASH = 64 * 1024 * 1024

UNDATED = -(1 << 62)
_EPOCH = 1 << 33
"""Seconds before 1970 that a number can tell: from the year 1697 on."""
_LAST = (1 << 35) - 1
HIGHEST = (1 << 63) - 1
_SAME_SECOND = 10
"""Bits for the documents of one second. Where there are more, they take the next seconds' numbers,
and ``spill`` tells the most seconds that any of them is off."""

TABLES = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE documents (
        id INTEGER PRIMARY KEY,
        sha256 BLOB NOT NULL,
        received INTEGER NOT NULL,
        attachments INTEGER NOT NULL,
        is_read INTEGER NOT NULL
    ) STRICT""",
    "CREATE UNIQUE INDEX documents_by_content ON documents (sha256, received)",
    """CREATE TABLE places (
        message_id INTEGER PRIMARY KEY,
        document INTEGER NOT NULL,
        folder_id INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX places_by_document ON places (document, message_id, folder_id)",
    # The column that has most of the words comes first, where its number costs nothing.
    "CREATE VIRTUAL TABLE words USING fts5(body, subject, sender, recipients, names,"
    " content='', tokenize='unicode61 remove_diacritics 2')",
)


@dataclass(slots=True)
class Updated:
    """What an update has done."""

    path: Path
    messages: int = 0
    """Messages that were taken in."""
    read: int = 0
    """Files that were read for it."""
    unreadable: int = 0
    """Of these, files that could not be read; their messages are found by their rows' headers."""
    missing: int = 0
    """Messages that are not in yet, since somebody else is building."""
    seconds: float = 0.0


def place(archive: Archive) -> Path:
    """Return where the words of an archive are, or would be: in it, or in the user's cache.

    In the cache only where the archive cannot be written and its own words are not complete.
    """
    inside = archive.path / SEARCH
    if _can_write(archive.path) or is_current(archive, inside):
        return inside
    return cache_directory() / f"{_name(archive)}.sqlite"


def cache_directory() -> Path:
    """Return where the words may lie outside of archives: readable for this user alone.

    That is with what this user's programs keep and can make again; for a user without a home, or
    with one that cannot be written, with what is temporary.

    Raises:
        StorageError: neither can be written.
    """
    with suppress(RuntimeError):  # no HOME, and a user whom the system does not know
        usual = _usual_cache()
        there = next(each for each in (usual, *usual.parents) if os.access(each, os.F_OK))
        if sys.platform == "win32" or _can_write(there):
            return usual
    own = Path(tempfile.gettempdir()) / f"waystation-search-{os.getuid()}"
    try:
        with suppress(FileExistsError):
            own.mkdir(mode=0o700)
        found = own.lstat()
    except OSError as error:
        raise StorageError(own, error) from None
    if not S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StorageError(own, "somebody else has made it")
    return own


def _usual_cache() -> Path:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base or Path.home() / "AppData" / "Local") / "waystation" / "search"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "waystation" / "search"
    base = os.environ.get("XDG_CACHE_HOME")
    known = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return known / "waystation" / "search"


def is_current(archive: Archive, path: Path) -> bool:
    """Whether every archived message is in the words, as far as the runs tell."""
    if not path.is_file():
        return False
    try:
        with opened(path, archive.path / INDEX) as database:
            stamp = _stamp(database)
            is_ours = _fact(database, "version") == str(_VERSION)
            return is_ours and stamp is not None and _fact(database, "stamp") == stamp
    except sqlite3.Error:
        return False  # broken, which is no loss


def update(
    archive: Archive,
    progress: Progress,
    *,
    anew: bool = False,
    clock: Callable[[], float] = monotonic,
) -> Updated:
    """Bring the words up to date, in batches; what an interruption leaves is gone on with.

    Where another process is at it, nothing is done, and ``Updated.missing`` says what that means.

    Raises:
        StorageError: they cannot be written.
    """
    began = clock()
    path = place(archive)
    done = Updated(path)
    if not anew and is_current(archive, path):
        return done
    is_inside = path.parent == archive.path
    try:
        if not is_inside:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = Lock(path.with_name(_LOCK if is_inside else f"{path.stem}.lock"))
        try:
            lock.take("search")
        except ArchiveLockedError:
            done.missing = _missing(archive, path)
            return done
        try:
            if anew or not is_ours(archive, path):
                for end in _ENDS:
                    path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
            _update(archive, path, progress, done, clock)
        finally:
            lock.release()
    except OSError as error:
        raise StorageError(path, error) from None
    except sqlite3.Error as error:
        if _is_broken(error) and not anew:
            return update(archive, progress, anew=True, clock=clock)
        raise StorageError(path, str(error)) from None
    done.seconds = clock() - began
    return done


@contextmanager
def opened(
    path: Path | None, index: Path, *, to_write: bool = False
) -> Iterator[sqlite3.Connection]:
    """Give a connection to the words, with the archive's index beside them as ``archive``.

    Without a path, there are no words, and the index is all there is.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    words = ":memory:" if path is None else _uri(path, "rwc" if to_write else "rw")
    connection = sqlite3.connect(words, uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA busy_timeout = 10000").close()
        connection.execute("PRAGMA temp_store = FILE").close()
        connection.execute("ATTACH DATABASE ? AS archive", (_uri(index, "rw"),)).close()
        if not to_write:
            connection.execute("PRAGMA query_only = ON").close()
        yield connection
    finally:
        connection.close()


def _uri(path: Path, mode: str) -> str:
    # Where nobody may write beside a database in WAL mode, nobody changes it either.
    how = f"mode={mode}" if _can_write(path.parent) else "immutable=1"
    return f"{path.resolve().as_uri()}?{how}"


def _can_write(directory: Path) -> bool:
    return os.access(directory, os.W_OK)


def _name(archive: Archive) -> str:
    """Return a file name for an archive, whatever its description says."""
    return sha256(f"{archive.description.id}\n{archive.path.resolve()}".encode()).hexdigest()[:32]


def bounds_of(since: int | None, before: int | None, spill: int) -> tuple[int, int]:
    """Return between which numbers, both included, lie the documents of a span of time.

    Where ``spill`` is 0 there are no others between them.
    """
    low = 1 if since is None else _second(since)
    high = _LAST if before is None else _second(before - 1)
    return low << _SAME_SECOND, ((high + spill + 1) << _SAME_SECOND) - 1


def spill_of(database: sqlite3.Connection) -> int:
    """Return by how many seconds the number of a document may be too high, at the most."""
    return int(_fact(database, "spill") or 0)


def _update(
    archive: Archive,
    path: Path,
    progress: Progress,
    done: Updated,
    clock: Callable[[], float],
) -> None:
    is_new = not path.is_file()
    if is_new:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with opened(path, archive.path / INDEX, to_write=True) as database:
        database.execute("PRAGMA journal_mode = WAL").close()
        # What a power failure takes away is made again.
        database.execute("PRAGMA synchronous = NORMAL").close()
        database.execute("PRAGMA main.cache_size = -8192").close()
        if is_new:
            with _transaction(database):
                for statement in TABLES:
                    database.execute(statement)
                database.execute("INSERT INTO words (words, rank) VALUES ('hashsize', ?)", (_HASH,))
                _set(database, "version", str(_VERSION))
        # Taken before the messages are looked at: what comes meanwhile comes next time.
        stamp = _stamp(database)
        with _transaction(database):
            _forget_what_changed(database)
        lacking = _lacking(database)
        progress.expect(len(lacking))
        progress.folder("search index", len(lacking))
        at = 0
        while at < len(lacking):
            at += _take_in(archive, database, lacking[at : at + _BATCH], progress, done, clock)
        if done.read >= _MERGE_FROM:
            _put_in_order(database)
        with _transaction(database):
            _set(database, "stamp", stamp or "")


@dataclass(slots=True)
class _Batch:
    """Messages on their way into the words."""

    places: list[tuple[int, int, tuple[bytes, int]]] = field(default_factory=list)
    contents: dict[tuple[bytes, int], tuple[Content, bool]] = field(default_factory=dict)


def _take_in(
    archive: Archive,
    database: sqlite3.Connection,
    ids: array[int],
    progress: Progress,
    done: Updated,
    clock: Callable[[], float],
) -> int:
    """Take in the first of these messages, as many as are a batch; return how many."""
    batch = _Batch()
    began = clock()
    text = octets = taken = 0
    facts = {
        number: (headers, received)
        for number, received, *headers in database.execute(
            "SELECT id, received, subject, sender, recipients FROM archive.messages"
            " WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        )
    }
    for message in archive.index.some(ids):
        taken += 1
        headers, received = facts.get(message.id, (["", "", ""], None))
        if message.sha256 is None:
            continue
        key = (bytes.fromhex(message.sha256), UNDATED if received is None else received)
        batch.places.append((message.id, message.folder_id, key))
        octets += message.size or 0
        if key not in batch.contents and _document(database, key) is None:
            content = read(archive, message)
            is_read = content is not None
            done.read += 1
            done.unreadable += not is_read
            if content is None:
                subject, sender, recipients = (text or "" for text in headers)
                content = Content("", subject, sender, recipients, "", 0)
            batch.contents[key] = (content, is_read)
            text += len(content.body)
        if text > _BATCH_TEXT or clock() - began > _BATCH_SECONDS:
            break
    else:
        taken = len(ids)  # what has vanished meanwhile is done with, too
    with _transaction(database):
        _write(database, batch)
    done.messages += len(batch.places)
    progress.advance(taken, octets)
    return taken


def _write(database: sqlite3.Connection, batch: _Batch) -> None:
    spill = spill_of(database)
    rows: list[tuple[int, tuple[bytes, int], Content, bool]] = []
    given: set[int] = set()
    for key, (content, is_read) in batch.contents.items():
        number = _free_number(database, key[1], given)
        given.add(number)
        off = (number >> _SAME_SECOND) - _second(key[1])
        spill = max(spill, off)
        rows.append((number, key, content, is_read))
    rows.sort(key=lambda row: row[0])  # a number that falls makes SQLite write out what it holds
    database.executemany(
        "INSERT INTO documents (id, sha256, received, attachments, is_read) VALUES (?, ?, ?, ?, ?)",
        ((number, *key, content.attachments, is_read) for number, key, content, is_read in rows),
    )
    database.executemany(
        "INSERT INTO words (rowid, body, subject, sender, recipients, names)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            (
                number,
                *(
                    _storable(text)
                    for text in (
                        content.body,
                        content.subject,
                        content.sender,
                        content.recipients,
                        content.names,
                    )
                ),
            )
            for number, _, content, _ in rows
        ),
    )
    numbers = {key: number for number, key, _, _ in rows}
    database.executemany(
        "INSERT OR REPLACE INTO places (message_id, document, folder_id) VALUES (?, ?, ?)",
        (
            (message_id, numbers.get(key) or _document(database, key), folder_id)
            for message_id, folder_id, key in batch.places
        ),
    )
    _set(database, "spill", str(spill))


def _storable(text: str) -> str:
    """Return a text that SQLite takes: no lone surrogates, and no NUL, where it would stop."""
    return spaced(text).replace("\0", " ").encode("utf-8", "replace").decode()


def read(archive: Archive, message: ArchivedMessage) -> Content | None:
    """Return what a message's file says, or None where it cannot be read."""
    path = archive.find(message)
    if path is None or not is_within(archive.path, message.path or ""):
        return None
    try:
        with os.fdopen(os.open(path, READ), "rb") as file:
            return content_of(file)
    except OSError:
        return None


def _document(database: sqlite3.Connection, key: tuple[bytes, int]) -> int | None:
    row = database.execute(
        "SELECT id FROM documents WHERE sha256 = ? AND received = ?", key
    ).fetchone()
    return int(row[0]) if row else None


def _second(received: int) -> int:
    """Return the part of a document's number that tells its date; 0 is undated."""
    return 0 if received == UNDATED else min(max(received + _EPOCH, 1), _LAST)


def _free_number(database: sqlite3.Connection, received: int, given: set[int]) -> int:
    """Return the first number for this date that no document has."""
    second = _second(received)
    while True:
        low, high = second << _SAME_SECOND, ((second + 1) << _SAME_SECOND) - 1
        (last,) = database.execute(
            "SELECT max(id) FROM documents WHERE id BETWEEN ? AND ?", (low, high)
        ).fetchone()
        number = low if last is None else last + 1
        while number in given and number <= high:
            number += 1
        if number <= high:
            return number
        second += 1


def _lacking(database: sqlite3.Connection) -> array[int]:
    """Return the archived messages that have no place yet, the oldest first."""
    return array(
        "q",
        (
            number
            for (number,) in database.execute(
                "SELECT id FROM archive.messages AS m WHERE state = 'archived'"
                " AND NOT EXISTS (SELECT 1 FROM places WHERE message_id = m.id)"
                " ORDER BY received, id"
            )
        ),
    )


def _forget_what_changed(database: sqlite3.Connection) -> None:
    """Take away places of messages that are no more what they were: the index is another one."""
    database.execute(
        "DELETE FROM places WHERE message_id IN (SELECT p.message_id FROM places AS p"
        " LEFT JOIN archive.messages AS m ON m.id = p.message_id"
        " LEFT JOIN documents AS d ON d.id = p.document"
        " WHERE m.state IS NOT 'archived' OR m.folder_id != p.folder_id"
        " OR lower(hex(d.sha256)) IS NOT m.sha256"
        " OR d.received IS NOT coalesce(m.received, ?))",
        (UNDATED,),
    )


def _put_in_order(database: sqlite3.Connection) -> None:
    """Put the many pieces of the full-text index together, a bit at a time."""
    pages = -_MERGE_PAGES  # negative, the first time: pieces of every size
    while True:
        before = database.total_changes
        database.execute("INSERT INTO words (words, rank) VALUES ('merge', ?)", (pages,))
        # SQLite: FTS5, "the merge command": fewer than two changes mean that nothing was left
        if database.total_changes - before < 2:
            return
        pages = _MERGE_PAGES


def _stamp(database: sqlite3.Connection) -> str | None:
    """Return what changes with every export that may bring messages; None while one is at work."""
    (last,) = database.execute("SELECT max(id) FROM archive.messages").fetchone()
    (made,) = database.execute("SELECT min(applied_at) FROM archive._sqlite_migrations").fetchone()
    run = database.execute(
        "SELECT id, started_at, ended_at FROM archive.runs WHERE command = 'export'"
        " ORDER BY id DESC LIMIT 1"
    ).fetchone()
    if run is not None and run[2] is None:
        return None
    return json.dumps([last, made, run])


def is_ours(archive: Archive, path: Path) -> bool:
    """Whether there are words that this version can go on with."""
    try:
        with opened(path, archive.path / INDEX) as database:
            return _fact(database, "version") == str(_VERSION)
    except sqlite3.Error as error:
        if _is_broken(error) or not path.is_file() or "no such table" in str(error):
            return False
        raise


def _missing(archive: Archive, path: Path) -> int:
    """Return how many messages are not in the words yet."""
    try:
        with opened(path, archive.path / INDEX) as database:
            return len(_lacking(database))
    except sqlite3.Error:
        ((count,),) = archive.database.rows(
            "SELECT count(*) FROM messages WHERE state = 'archived'"
        )
        return int(count)


def _is_broken(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _fact(database: sqlite3.Connection, name: str) -> str | None:
    row = database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else None


def _set(database: sqlite3.Connection, name: str, value: str) -> None:
    database.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
