"""What the tests of stage one share: an archive, a server, one call, and what came of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from export.imap_source import ImapSource
from export.pop3_source import Pop3Source
from export.run import Exported, Options, export
from store.archive import Archive
from store.check import check
from store.finds import Checked, Discrepancy
from store.status import status
from tests.compare import Message
from waystation.address import Account, parse_account
from waystation.imap import ImapSession
from waystation.pop3 import Pop3Session
from waystation.progress import Silent
from waystation.retry import Patience
from waystation.session import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from export.source import MailSource
    from store.index import ArchivedMessage
    from tests.compare import Snapshot

PASSWORD = "secret"


@dataclass
class Heard(Silent):
    """A listener that remembers what it was told."""

    alarms: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, int | None, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    expected: list[int] = field(default_factory=list)
    done: int = 0

    def alarm(self, folder: str, text: str) -> None:
        self.alarms.append((folder, text))

    def note(self, folder: str, text: str) -> None:
        self.notes.append((folder, text))

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        self.problems.append((folder, uid, text))

    def waiting(self, seconds: float, reason: str) -> None:
        self.waits.append(seconds)

    def expect(self, messages: int) -> None:
        self.expected.append(messages)

    def advance(self, messages: int, size: int) -> None:
        self.done += messages


class Source:
    """An ``ImapSource`` with the session it stands on; a context manager."""

    def __init__(self, account: Account, connection: Connection) -> None:
        self._account = account
        self._connection = connection

    def __enter__(self) -> ImapSource:
        self._session = ImapSession.open(self._account, PASSWORD, self._connection)
        return ImapSource(self._session)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._session.close()
        else:
            self._session.drop()


def imap_account(port: int, user: str = "alice", host: str = "127.0.0.1") -> Account:
    return parse_account(f"imap://{user}@{host}:{port}")


def connector(
    port: int, user: str = "alice", connection: Connection | None = None
) -> Callable[[], Source]:
    """Return what opens a signed-in source on a server that has no TLS."""
    settings = connection or Connection(allow_plaintext=True, timeout=20)
    return lambda: Source(imap_account(port, user), settings)


@dataclass
class Stage:
    """Stage one, from a source into an archive at ``path``."""

    path: Path
    connect: Callable[[], AbstractContextManager[MailSource]]
    name: str = "imap://alice@127.0.0.1"
    heard: Heard = field(default_factory=Heard)
    delays: tuple[float, ...] = (0, 1, 3, 10, 30)
    sleep: Callable[[float], None] = lambda _: None
    opened: Archive | None = None
    """The archive while a run works on it."""

    def run(self, options: Options | None = None) -> Exported:
        self.heard = Heard()
        patience = Patience(self.heard, sleep=self.sleep, delays=self.delays)
        with self.archive() as archive:
            self.opened = archive
            try:
                return export(
                    archive,
                    self.connect,
                    self.name,
                    self.name,
                    self.heard,
                    options or Options(),
                    patience,
                )
            finally:
                # However it ended: what counts as done with adds up.
                assert [each for each in status(archive) if each.is_wrong] == []

    def archive(self) -> Archive:
        if Archive.exists(self.path):
            return Archive.write(self.path, "export")
        return Archive.create(self.path, self.name, self.name)

    def rows(self, folder: str | None = None) -> list[ArchivedMessage]:
        with Archive.read(self.path) as archive:
            return [row for row in archive.index.messages() if folder in (None, row.folder)]

    def bodies(self, folder: str) -> dict[int, bytes]:
        """Return the octets of what the source still shows, by UID, read from the files."""
        return {
            row.uid: (self.path / (row.path or "")).read_bytes()
            for row in self.rows(folder)
            if row.state == "archived" and row.last_seen is None
        }

    def vanished(self, folder: str) -> list[int]:
        return [row.uid for row in self.rows(folder) if row.last_seen is not None]

    def snapshot(self) -> Snapshot:
        """Return what the archive holds, in the form of ``tests.compare``, hashed anew."""
        with Archive.read(self.path) as archive:
            found: Snapshot = {folder.name: [] for folder in archive.index.folders()}
        for row in self.rows():
            if row.state == "archived" and row.last_seen is None:
                assert row.internaldate is not None
                octets = (self.path / (row.path or "")).read_bytes()
                found[row.folder].append(
                    Message(
                        hashlib.sha256(octets).hexdigest(),
                        frozenset(row.flags),
                        frozenset(row.keywords),
                        row.internaldate,
                    )
                )
        return found

    def discrepancies(self) -> list[Discrepancy]:
        with Archive.read(self.path) as archive:
            return list(check(archive, Silent(), Checked()))

    def files(self) -> Iterator[Path]:
        return (path for path in self.path.rglob("*") if path.parent.name == "cur")


class Pop3:
    """A ``Pop3Source`` with the session it stands on; a context manager."""

    def __init__(self, stage: Stage, account: Account, connection: Connection) -> None:
        self._stage = stage
        self._account = account
        self._connection = connection

    def __enter__(self) -> Pop3Source:
        self._session = Pop3Session.open(self._account, PASSWORD, self._connection)
        archive = self._stage.opened
        assert archive is not None
        return Pop3Source(self._session, archive)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._session.close()
        else:
            self._session.drop()


def pop3_stage(
    path: Path, port: int, user: str = "alice", connection: Connection | None = None
) -> Stage:
    """Return stage one from a POP3 server; without ``connection``, from one that has no TLS."""
    host = "localhost" if connection else "127.0.0.1"
    account = parse_account(f"pop3://{user}@{host}:{port}")
    settings = connection or Connection(allow_plaintext=True, timeout=20)
    stage = Stage(path, lambda: Pop3(stage, account, settings), account.name)
    return stage
