"""A mailbox to leave, a mailbox to move to, and the command line as a person types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import keyring
import keyring.backend
import pytest

from tests.fakes.certificates import TestAuthority
from tests.fakes.imap_server import ImapServer
from tests.fakes.mailbox import Mailboxes
from waystation import cli
from waystation.cli import naming
from waystation.retry import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.mailbox import FakeUser
    from waystation.discovery import Service

OLD = "old@example.com"
NEW = "new@example.net"
OLD_PASSWORD = "s3cret-of-the-old"
NEW_PASSWORD = "s3cret-of-the-new"


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        """The last line, which has to be the summary."""
        last = self.lines[-1]
        assert last["type"] == "summary"
        return last

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The lines of one type."""
        return [line for line in self.lines if line["type"] == kind]

    @property
    def one_error(self) -> str:
        """The one line that says what went wrong."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("waystation: ")
        return lines[0]


class CommandLine:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object) -> Result:
        self._capsys.readouterr()
        code = cli.run([str(word) for word in words])
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return Result(code, out, err)


class FakeKeyring(keyring.backend.KeyringBackend):
    """A keyring in memory."""

    priority = 1

    def __init__(self) -> None:
        self.passwords: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.passwords.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.passwords[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.passwords[service, username]


@pytest.fixture
def waystation(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Run a command as if typed; returns exit code and output."""
    return CommandLine(capsys)


@pytest.fixture(autouse=True)
def own_keyring() -> Iterator[FakeKeyring]:
    """An empty keyring in place of the machine's own."""
    before = keyring.get_keyring()
    fake = FakeKeyring()
    keyring.set_keyring(fake)
    yield fake
    keyring.set_keyring(before)


@pytest.fixture(autouse=True)
def passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The passwords as a person would hand them over."""
    monkeypatch.setenv("OLD_PASSWORD", OLD_PASSWORD)
    monkeypatch.setenv("NEW_PASSWORD", NEW_PASSWORD)
    monkeypatch.setenv("COLUMNS", "80")


class NobodyAnswers:
    """A DNS that knows nothing."""

    def exchangers(self, domain: str) -> list[str]:
        return []

    def services(self, name: str) -> list[Service]:
        return []


@pytest.fixture(autouse=True)
def no_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks the DNS or the web: there, nobody answers."""
    monkeypatch.setattr(naming, "outside", lambda: (NobodyAnswers(), lambda _: None))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    """A certificate authority that nobody else knows."""
    return TestAuthority(tmp_path_factory.mktemp("authority"))


class Server:
    """A fake IMAP server with one account, and the words that lead there."""

    def __init__(self, server: ImapServer, user: str, env: str, ca_file: Path) -> None:
        self.fake = server
        self.script = server.script
        self.mailbox: FakeUser = server.mailboxes[user]
        self.name = f"imaps://{user}@localhost:{server.port}"
        self.secret = ("--password-env", env, "--ca-file", str(ca_file))

    @property
    def source(self) -> tuple[str, ...]:
        """The options of a first export."""
        return ("--from", self.name, *self.secret)

    @property
    def target(self) -> tuple[str, ...]:
        """The options of a first import."""
        return ("--to", self.name, *self.secret)


@pytest.fixture
def old(authority: TestAuthority) -> Iterator[Server]:
    """The mailbox to leave: three folders, seven messages."""
    mailboxes = Mailboxes({OLD: OLD_PASSWORD})
    user = mailboxes[OLD]
    user.create("Gesendet", ["\\Sent"])
    user.create("Projects/2024")
    for number in range(4):
        user.folder("INBOX").append(letter(number), ["\\Seen", "$Forwarded"][: number % 3])
    for number in range(4, 6):
        user.folder("Gesendet").append(letter(number), ["\\Seen"])
    user.folder("Projects/2024").append(letter(6), ["\\Flagged"])
    with ImapServer(mailboxes, tls=authority) as server:
        yield Server(server, OLD, "OLD_PASSWORD", authority.ca_file)


@pytest.fixture
def new(authority: TestAuthority) -> Iterator[Server]:
    """The empty mailbox to move to."""
    mailboxes = Mailboxes({NEW: NEW_PASSWORD})
    mailboxes[NEW].create("Sent Items", ["\\Sent"])
    with ImapServer(mailboxes, tls=authority) as server:
        yield Server(server, NEW, "NEW_PASSWORD", authority.ca_file)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Where an archive is to be."""
    return tmp_path / "alice"


@pytest.fixture
def exported(waystation: CommandLine, old: Server, archive: Path) -> Path:
    """An archive of the old mailbox."""
    assert waystation("export", archive, *old.source).code == 0
    return archive


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    """Ends with the test whatever a test has started."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have runs try again at once."""
    at_once = partial(Patience, sleep=lambda _seconds: None)
    monkeypatch.setattr("export.run.Patience", at_once)
    monkeypatch.setattr("importer.run.Patience", at_once)


def letter(number: int, subject: str = "hello") -> bytes:
    return (
        f"From: ada@example.org\r\nSubject: {subject} {number}\r\n"
        f"Message-ID: <{number}@example.org>\r\nDate: Wed, 01 May 2024 08:30:00 +0000\r\n"
        f"\r\nThis is number {number}.\r\n"
    ).encode()


def start(stack: ExitStack, *words: object, **options: Any) -> subprocess.Popen[str]:
    """Start the command in a process of its own."""
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", "waystation", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
    )
    stack.callback(process.kill)
    return process


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below a directory with its content, by its path."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
