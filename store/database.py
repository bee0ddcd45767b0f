"""The one door to SQLite: a sqlite-utils database whose failures are ours.

Promises: foreign keys hold, a commit is on disk when it returns (WAL, synchronous FULL), and a
reader works beside a writer, also where it may not write itself.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlite_utils import Database as SqliteUtilsDatabase

from store.schema import migrations
from waystation.errors import IndexDamagedError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Values = dict[str, Any] | tuple[Any, ...]
"""What the named or numbered parameters of a statement stand for."""


class Database:
    """One connection to an index. Close it, or use it as a context manager; one thread only."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._utils = SqliteUtilsDatabase(connection, execute_plugins=False)

    @classmethod
    def create(cls, path: Path) -> Database:
        """Make a new index at ``path``, which must not exist yet."""
        with _translated(path):
            database = cls(path, sqlite3.connect(path, isolation_level=None))
        path.chmod(0o600)
        database._prepare_to_write()
        return database

    @classmethod
    def write(cls, path: Path) -> Database:
        """Open an index for reading and writing, and bring its schema up to date.

        Raises:
            IndexDamagedError: it is missing or no database.
        """
        if not path.is_file():
            raise IndexDamagedError(path, "it is missing")
        with _translated(path):
            database = cls(path, sqlite3.connect(path, isolation_level=None))
        database._prepare_to_write()
        return database

    @classmethod
    def read(cls, path: Path) -> Database:
        """Open an index for reading, whoever writes it meanwhile.

        Raises:
            IndexDamagedError: it is missing or no database.
        """
        if not path.is_file():
            raise IndexDamagedError(path, "it is missing")
        uri = path.resolve().as_uri()
        try:
            connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, isolation_level=None)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            # A database in WAL mode wants to write beside itself. Where nobody may write,
            # nobody changes it either, and it can be read as it lies there.
            with _translated(path):
                connection = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None)
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as error:
            raise IndexDamagedError(path, str(error)) from None
        database = cls(path, connection)
        database._settings()
        return database

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; nothing that was committed waits any longer."""
        self._utils.conn.close()

    def rows(self, sql: str, values: Values = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows that a query finds."""
        with _translated(self.path):
            yield from self._utils.conn.execute(sql, values)

    def row(self, sql: str, values: Values = ()) -> tuple[Any, ...] | None:
        """Return the first row that a query finds, or None."""
        with _translated(self.path):
            found: tuple[Any, ...] | None = self._utils.conn.execute(sql, values).fetchone()
            return found

    def execute(self, sql: str, values: Values = ()) -> int:
        """Change something; return the id of the row that was put in last."""
        with _translated(self.path):
            return self._utils.conn.execute(sql, values).lastrowid or 0

    def execute_many(self, sql: str, values: Iterable[Any]) -> None:
        """Change something for each of ``values``, in one step."""
        with self.atomic():
            self._utils.conn.executemany(sql, values)

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """All that is changed while this lasts is on disk at its end, or nothing of it."""
        with _translated(self.path), self._utils.atomic():
            yield

    def _prepare_to_write(self) -> None:
        with _translated(self.path):
            self._utils.enable_wal()
            self._settings()
            migrations.apply(self._utils)

    def _settings(self) -> None:
        with _translated(self.path):
            for pragma in (
                "foreign_keys = ON",
                "synchronous = FULL",
                "busy_timeout = 10000",
                "temp_store = FILE",
            ):
                self._utils.conn.execute(f"PRAGMA {pragma}").close()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        words = str(error)
        if any(
            word in words
            for word in ("full", "readonly", "read-only", "I/O", "locked", "unable to open")
        ):
            raise StorageError(path, words) from None
        raise IndexDamagedError(path, words) from None
    except sqlite3.DatabaseError as error:
        raise IndexDamagedError(path, str(error)) from None
