"""An archive filled as stage one does, and what a test asks of archive, ledger and target."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from importer.imap_target import ImapTarget
from importer.job import Imported, Options
from importer.run import replay
from store.archive import Archive
from store.status import status
from store.transfers import TransferState
from tests.fakes.imap_server import ImapServer
from tests.fakes.mailbox import Mailboxes
from waystation.address import Account
from waystation.imap import ImapSession
from waystation.model import FolderState, RemoteMessage, split_name
from waystation.retry import Patience
from waystation.session import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from importer.target import MailTarget
    from store.index import ArchivedMessage
    from store.transfers import Target
    from waystation.model import SpecialUse

NOON = datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))


def mail(number: int | str, text: str = "Text.") -> bytes:
    return (
        f"Message-ID: <{number}@example.org>\r\nDate: Wed, 1 May 2024 12:00:00 +0200\r\n"
        f"From: a@example.org\r\nSubject: number {number}\r\n\r\n{text}\r\n"
    ).encode()


class Listener:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, int | None, str]] = []
        self.alarms: list[tuple[str, str]] = []
        self.notes: list[tuple[str, str]] = []
        self.waits: list[float] = []
        self.advanced = 0
        self.expected = 0

    def folder(self, name: str, messages: int) -> None:
        pass

    def expect(self, messages: int) -> None:
        self.expected = messages

    def advance(self, messages: int, size: int) -> None:
        self.advanced += messages

    def waiting(self, seconds: float, reason: str) -> None:
        self.waits.append(seconds)

    def alarm(self, folder: str, text: str) -> None:
        self.alarms.append((folder, text))

    def note(self, folder: str, text: str) -> None:
        self.notes.append((folder, text))

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        self.problems.append((folder, uid, text))


class Mail:
    """An archive, and putting messages into it."""

    def __init__(self, path: Path) -> None:
        self.archive = Archive.create(path, "imaps://alice@example.org", "alice")
        self.archive.database.execute("PRAGMA synchronous = OFF")
        self.target: Target = self.archive.transfers.target("imaps://bob@example.net", "bob")
        self.listener = Listener()
        self.slept: list[float] = []
        self._uid = 0

    def add(
        self,
        body: bytes,
        folder: str = "INBOX",
        *,
        date: datetime | None = NOON,
        flags: tuple[str, ...] = (),
        keywords: tuple[str, ...] = (),
        special_use: SpecialUse | None = None,
    ) -> ArchivedMessage:
        self._uid += 1
        archived = self.archive.ensure_folder(split_name(folder), special_use)
        maildir = self.archive.maildir(archived)
        batch = self.archive.batch()
        draft = maildir.draft(len(body))
        draft.write(memoryview(body))
        draft.finish(date)
        message = RemoteMessage(self._uid, flags, keywords, date)
        batch.add(archived, maildir, 1, message, draft)
        state = FolderState(1, self._uid + 1, self.archive.index.present(archived.id, 1) + 1)
        batch.settle(archived.id, state, "2024-05-02T00:00:00+00:00", is_settled=True)
        batch.commit()
        found = self.archive.index.by_location(archived.id, 1, self._uid)
        assert found is not None
        return found

    def vanish(self, message: ArchivedMessage) -> None:
        self.archive.index.set_vanished([message.id])

    def file_of(self, message: ArchivedMessage) -> Path:
        assert message.path is not None
        return self.archive.path / message.path

    def replay(
        self,
        connect: Callable[[], AbstractContextManager[MailTarget]],
        patience: Patience | None = None,
        **options: object,
    ) -> Imported:
        patience = patience or Patience(self.listener, sleep=self.slept.append)
        try:
            return replay(
                self.archive,
                connect,
                self.target,
                self.listener,
                Options(**options),  # type: ignore[arg-type]  # named as in Options
                patience,
            )
        finally:
            # However it ended: a state for each archived message, no more and no less.
            assert [each for each in status(self.archive) if each.targets_left_over] == []

    def states(self) -> Counter[str]:
        """Return how many messages are in each state."""
        counted: Counter[str] = Counter()
        for _, _, state, _, count in self.archive.transfers.totals():
            counted[state] += count
        return counted

    def state_of(self, message: ArchivedMessage) -> TransferState | None:
        found = self.archive.transfers.of(message.id, self.target.id)
        return found.state if found else None

    def reply_to(self, message: ArchivedMessage) -> str:
        found = self.archive.transfers.of(message.id, self.target.id)
        return (found.reply if found else None) or ""

    def lost_of(self, message: ArchivedMessage) -> tuple[str, ...]:
        found = self.archive.transfers.of(message.id, self.target.id)
        assert found is not None
        return found.lost

    def place_of(self, message: ArchivedMessage) -> tuple[str, int | None, int | None]:
        found = self.archive.transfers.of(message.id, self.target.id)
        assert found is not None
        return found.folder, found.uidvalidity, found.uid

    def expected(self) -> dict[str, Counter[bytes]]:
        """Return what the target should hold, if every folder keeps its name."""
        held: dict[str, Counter[bytes]] = {}
        for message in self.archive.index.messages("archived"):
            if self.state_of(message) is not TransferState.SET_ASIDE:
                body = self.file_of(message).read_bytes()
                held.setdefault(message.folder, Counter())[body] += 1
        return held


@contextmanager
def server(mailboxes: Mailboxes | None = None, **abilities: object) -> Iterator[ImapServer]:
    given = mailboxes or Mailboxes({"bob": "secret"})
    with ImapServer(given, **abilities) as running:  # type: ignore[arg-type]
        yield running


def connector(
    port: int,
    user: str = "bob",
    password: str = "secret",
    *,
    pipelined: bool = True,
    is_careful: bool = False,
    ca_file: Path | None = None,
) -> Callable[[], AbstractContextManager[MailTarget]]:
    """Return what opens a connection to a port on the loopback interface, encrypted if it can."""
    account = Account(f"imap://{user}@127.0.0.1:{port}", user, "127.0.0.1", port, "starttls")

    @contextmanager
    def connect() -> Iterator[MailTarget]:
        connection = Connection(ca_file, allow_plaintext=True, timeout=10)
        with ImapSession.open(account, password, connection) as session:
            yield ImapTarget(session, pipelined=pipelined, is_careful=is_careful)

    return connect
