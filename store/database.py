"""The one door to SQLite: connections whose failures are ours.

Promises: foreign keys hold, a commit is on disk when it returns (WAL, synchronous FULL), and a
reader works beside a writer, also where it may not write itself.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.schema import bring_up_to_date
from waystation.errors import IndexDamagedError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Values = dict[str, Any] | tuple[Any, ...]
"""What the named or numbered parameters of a statement stand for."""


class Database:
    """One connection to an index. Close it, or use it as a context manager.

    By one thread at a time; only one that is open for writing may pass from thread to thread.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def create(cls, path: Path) -> Database:
        """Make a new index at ``path``, which must not exist yet."""
        with _translated(path):
            connection = sqlite3.connect(path, isolation_level=None)
        return cls._prepared(path, connection, is_new=True)

    @classmethod
    def scratch(cls) -> Database:
        """Make a database of no name for one piece of work; what memory cannot hold is on disk.

        It is gone when it is closed. Of no use to whoever looks for tables of ours.
        """
        # An empty name: a file of SQLite's own, which nobody else sees (sqlite.org/inmemorydb).
        with _translated(Path("scratch")):
            connection = sqlite3.connect("", isolation_level=None)
        database = cls(Path("scratch"), connection)
        database._settings()
        return database

    @classmethod
    def write(cls, path: Path) -> Database:
        """Open an index for reading and writing, and bring its schema up to date.

        Raises:
            IndexDamagedError: it is missing or no database of ours.
            StorageError: it cannot be written.
        """
        if not path.is_file():
            raise IndexDamagedError(path, "it is missing")
        with _translated(path):
            # The threads of an import take turns.
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        return cls._prepared(path, connection, is_new=False)

    @classmethod
    def read(cls, path: Path) -> Database:
        """Open an index for reading, whoever writes it meanwhile.

        Raises:
            IndexDamagedError: it is missing or no database of ours.
            StorageError: it cannot be read without writing beside it, and that is not possible.
        """
        if not path.is_file():
            raise IndexDamagedError(path, "it is missing")
        uri = path.resolve().as_uri()
        with _translated(path):
            # Not mode=ro: such a connection leaves the files of the log behind when it closes.
            connection = sqlite3.connect(f"{uri}?mode=rw", uri=True, isolation_level=None)
        try:
            try:
                connection.execute(_ANYTHING).fetchone()
            except sqlite3.OperationalError as error:
                if _code(error) not in _CANNOT_WRITE:
                    raise
                # A database in WAL mode wants to write beside itself. Where nobody may write,
                # nobody changes it either, and it can be read as it lies there: if it is whole.
                connection.close()
                log = path.with_name(f"{path.name}-wal")
                if log.exists() and log.stat().st_size:
                    raise StorageError(path, _IN_THE_LOG) from None
                connection = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None)
            connection.execute("PRAGMA query_only = ON").close()
            database = cls(path, connection)
            database._settings()
            database._demand_tables()
        except BaseException as error:
            connection.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise _translation(path, error) from None
            raise
        return database

    @classmethod
    def _prepared(cls, path: Path, connection: sqlite3.Connection, *, is_new: bool) -> Database:
        try:
            if is_new:
                path.chmod(0o600)
            database = cls(path, connection)
            with _translated(path):
                if not is_new:
                    database._demand_tables()
                # Closed at once: while it is open, nothing can be committed. Whoever samples the
                # frames of other threads, as dask's workers do, keeps what lies in them a while.
                database._connection.execute("PRAGMA journal_mode = WAL").close()
                database._settings()
                bring_up_to_date(connection)
        except BaseException:
            connection.close()
            raise
        return database

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; nothing that was committed waits any longer."""
        self._connection.close()

    def rows(self, sql: str, values: Values = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows that a query finds."""
        with _translated(self.path):
            # Not "yield from": that closes the cursor with the generator, which may come only
            # after the database was closed, and fail.
            for row in self._connection.execute(sql, values):  # noqa: UP028
                yield row

    def row(self, sql: str, values: Values = ()) -> tuple[Any, ...] | None:
        """Return the first row that a query finds, or None."""
        with _translated(self.path):
            found: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
            return found

    def execute(self, sql: str, values: Values = ()) -> int:
        """Change something; return the id of the row that was put in last."""
        with _translated(self.path):
            return self._connection.execute(sql, values).lastrowid or 0

    def execute_many(self, sql: str, values: Iterable[Any]) -> None:
        """Change something for each of ``values``, in one step."""
        with self.atomic():
            self._connection.executemany(sql, values)

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """All that is changed while this lasts is on disk at its end, or nothing of it.

        Inside another one, what fails is undone, and the outer one decides about the rest.
        """
        connection = self._connection
        with _translated(self.path):
            is_outermost = not connection.in_transaction
            connection.execute("BEGIN" if is_outermost else "SAVEPOINT inner")
            try:
                yield
                connection.execute("COMMIT" if is_outermost else "RELEASE inner")
            except BaseException:
                # A full disk, say, ends all of it, and nothing is left to be undone.
                if connection.in_transaction:
                    if is_outermost:
                        connection.execute("ROLLBACK")
                    else:  # the innermost of this name
                        connection.execute("ROLLBACK TO inner")
                        connection.execute("RELEASE inner")
                raise

    def _demand_tables(self) -> None:
        # An empty file is a sound database to SQLite, and a migration would fill it.
        if self.row(_ANYTHING) == (0,):
            raise IndexDamagedError(self.path, "it holds no tables of an archive")

    def _settings(self) -> None:
        with _translated(self.path):
            for pragma in (
                "foreign_keys = ON",
                "synchronous = FULL",
                "busy_timeout = 10000",
                "temp_store = FILE",
            ):
                self._connection.execute(f"PRAGMA {pragma}").close()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _translation(path, error) from None


def _translation(path: Path, error: sqlite3.DatabaseError) -> StorageError | IndexDamagedError:
    if _code(error) in _OF_THE_DISK:
        return StorageError(path, str(error))
    return IndexDamagedError(path, str(error))


def _code(error: sqlite3.Error) -> int:
    # Python's own complaints, about text that is no UTF-8 for one, have no code.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


_ANYTHING = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'messages'"

_CANNOT_WRITE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)

_OF_THE_DISK = (
    *_CANNOT_WRITE,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
)

_IN_THE_LOG = (
    "its last changes lie in the file -wal beside it, which can be read only where SQLite may "
    "write; copy the archive to such a place"
)
