"""The line is cut at every octet of a small export, and the export ends complete all the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.export.support import Stage, connector
from tests.fakes.imap_server import ImapServer
from tests.fakes.mailbox import FakeUser, Mailboxes
from tests.relay import Cut, Direction, Relay
from waystation.errors import ConnectionLostError, ProtocolError, UnreachableError
from waystation.session import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUICK = Connection(allow_plaintext=True, timeout=5)


def alice() -> FakeUser:
    user = Mailboxes({"alice": "secret"})["alice"]
    user.folder("INBOX").append(b"Subject: 1\r\n\r\none\r\n", {"\\Seen"})
    user.folder("INBOX").append(b"2")
    user.create("Work").append(b"Subject: 3\r\n\r\n)\r\n", {"todo"})
    return user


@pytest.fixture(scope="module")
def line() -> Iterator[tuple[FakeUser, Relay]]:
    user = alice()
    with ImapServer(user._mailboxes) as server, Relay(server.port) as relay:
        yield user, relay


def of_source(user: FakeUser) -> dict[str, dict[int, bytes]]:
    return {f.name: {m.uid: m.body for m in f.messages} for f in user.folders}


def of_archive(stage: Stage, user: FakeUser) -> dict[str, dict[int, bytes]]:
    return {folder.name: stage.bodies(folder.name) for folder in user.folders}


def traffic(relay: Relay, tmp_path: Path) -> dict[Direction, int]:
    """Return how many octets an export without a cut sends each way."""
    relay.arm(None)
    Stage(tmp_path / "whole", connector(relay.port, connection=_QUICK)).run()
    return {
        Direction.TO_SERVER: relay.octets_to_server,
        Direction.TO_CLIENT: relay.octets_to_client,
    }


STEPS = pytest.mark.parametrize(
    "step", [31, pytest.param(1, marks=pytest.mark.long)], ids=["some octets", "every octet"]
)


@pytest.fixture
def swift_path(tmp_path: Path) -> Iterator[Path]:
    """Return a directory in memory, where a sync costs nothing."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name)


@STEPS
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("is_reset", [False, True], ids=["FIN", "RST"])
def test_an_export_that_is_cut_at_any_octet_is_completed_by_the_next(
    line: tuple[FakeUser, Relay],
    swift_path: Path,
    direction: Direction,
    is_reset: bool,
    step: int,
) -> None:
    user, relay = line
    octets = traffic(relay, swift_path)[direction]
    path = swift_path / "archive"
    stage = Stage(path, connector(relay.port, connection=_QUICK), delays=())
    cuts = 0
    for after in range(1, octets, step):
        relay.arm(Cut(direction, after, connections=None, is_reset=is_reset))
        try:
            stage.run()
        except (ConnectionLostError, ProtocolError, UnreachableError):
            cuts += 1
        relay.arm(None)

        result = stage.run()

        assert result.is_complete, after
        assert of_archive(stage, user) == of_source(user), after
        assert len(stage.rows()) == 3, after
        assert stage.discrepancies() == [], after
        shutil.rmtree(path)
    assert cuts > octets // step // 2


@STEPS
@pytest.mark.parametrize("direction", list(Direction))
def test_a_run_whose_line_is_cut_once_at_any_octet_completes_itself(
    line: tuple[FakeUser, Relay], swift_path: Path, direction: Direction, step: int
) -> None:
    user, relay = line
    octets = traffic(relay, swift_path)[direction]
    path = swift_path / "archive"
    stage = Stage(path, connector(relay.port, connection=_QUICK))
    completed = 0
    for after in range(1, octets, step):
        relay.arm(Cut(direction, after))
        try:
            result = stage.run()
        except (ConnectionLostError, ProtocolError, UnreachableError):
            # Before the first sign-in has worked, a failure is told at once.
            assert completed == 0, after
        else:
            completed += 1
            assert result.is_complete, after
            assert (result.new, len(stage.rows())) == (3, 3), after
            assert of_archive(stage, user) == of_source(user), after
            assert stage.discrepancies() == [], after
        shutil.rmtree(path)
    assert completed > octets // step // 4
