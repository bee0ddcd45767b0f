"""The connection to the target cut at every octet of an import, in both directions."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from importer.job import Options
from importer.run import replay
from store.status import status
from tests.fakes.imap_server import ImapServer
from tests.fakes.mailbox import Mailboxes
from tests.importer.support import Mail, connector, mail
from tests.relay import Cut, Direction, Relay
from waystation.errors import ServerError
from waystation.retry import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from importer.target import MailTarget
    from tests.fakes.mailbox import FakeFolder

TWIN = b"Subject: twin\r\n\r\nTwin.\r\n"
BODIES = (TWIN, TWIN, b"\r\nNo headers.\r\n", b"Subject: lf\n\nOne.\nTwo.\r\n", mail(1))
CRLF = Counter(body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for body in BODIES)


class Bench:
    """One server and one relay for many cuts; each with an archive and a user of its own."""

    mail: Mail

    def __init__(self, path: Path, stack: ExitStack, *, multiappend: bool = False) -> None:
        self._path = path
        self.mailboxes = Mailboxes({})
        self.server = stack.enter_context(
            ImapServer(
                self.mailboxes,
                condstore=False,
                sasl_ir=False,
                xoauth2=False,
                multiappend=multiappend,
            )
        )
        self.server.script.append.rewrite = lambda body: body.replace(b"\r\n", b"\n").replace(
            b"\n", b"\r\n"
        )
        self.relay = stack.enter_context(Relay(self.server.port))
        self._count = 0

    def cut(self, cut: Cut, *, is_one_run: bool) -> bool:
        """Import over a line that is cut; return whether it was."""
        self._count += 1
        user = f"u{self._count:05d}"
        folder = self.mailboxes.add_user(user, "secret").folder("INBOX")
        self.mail = Mail(self._path / user)
        with closing(self.mail.archive):
            for body in BODIES:
                self.mail.add(body)
            return self._cut(cut, user, folder, is_one_run=is_one_run)

    def _cut(self, cut: Cut, user: str, folder: FakeFolder, *, is_one_run: bool) -> bool:
        self.relay.arm(cut)
        connect = self._connector(user)
        delays = (0.0,) * 5 if is_one_run else ()
        self._run(connect, delays)
        was_cut = self.relay.cuts > 0

        assert Counter(folder.bodies) == CRLF, (cut, folder.bodies)
        assert list(self.mail.states()) == ["appended"], cut
        rows = [self.mail.place_of(m)[2] for m in self.mail.archive.index.messages()]
        assert sorted(rows, key=str) == sorted(folder.uids, key=str), cut
        (inbox,) = status(self.mail.archive)
        assert inbox.adds_up
        assert inbox.archived == len(BODIES)
        return was_cut

    def _connector(self, user: str) -> Callable[[], AbstractContextManager[MailTarget]]:
        connect = connector(self.relay.port, user)

        def connect_when_idle() -> AbstractContextManager[MailTarget]:
            # What the server got before the cut it may still be storing: no client can know.
            for thread, _ in self.server._connections:
                thread.join(5)
            self.server._connections.clear()
            return connect()

        return connect_when_idle

    def _run(self, connect: object, delays: tuple[float, ...]) -> None:
        patience = Patience(self.mail.listener, sleep=self.mail.slept.append, delays=delays)
        arguments = (
            self.mail.archive,
            connect,
            self.mail.target,
            self.mail.listener,
            Options(),
            patience,
        )
        try:
            replay(*arguments)  # type: ignore[arg-type]
        except ServerError:
            # The first connection never came about, or the run was not to try again.
            replay(*arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, stack: ExitStack) -> Bench:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        return Bench(tmp_path_factory.mktemp("cut"), stack)


@pytest.fixture(scope="module")
def gathering(tmp_path_factory: pytest.TempPathFactory, stack: ExitStack) -> Iterator[Bench]:
    """The same with a server that gets all messages in one command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        patch.setattr("importer.flow._MESSAGES", 10)
        yield Bench(tmp_path_factory.mktemp("cut"), stack, multiappend=True)


def check(bench: Bench, direction: Direction, first: int, step: int, **how: bool) -> None:
    after, count = first, 0
    while bench.cut(Cut(direction, after, is_reset=how["is_reset"]), is_one_run=how["is_one_run"]):
        after += step
        count += 1

    assert count > 50


@pytest.mark.parametrize("is_one_run", [True, False], ids=["reconnects", "run again"])
@pytest.mark.parametrize("direction", list(Direction), ids=lambda each: each.value)
@pytest.mark.parametrize("is_reset", [False, True], ids=["FIN", "RST"])
def test_an_import_cut_at_any_octet_ends_with_each_message_once(
    bench: Bench, direction: Direction, is_one_run: bool, is_reset: bool
) -> None:
    bench.server.script.append.appenduid = None
    # The two kinds of run and the two kinds of end share the octets between them.
    first = 1 + 2 * is_one_run + is_reset
    check(bench, direction, first, 4, is_one_run=is_one_run, is_reset=is_reset)


@pytest.mark.parametrize("direction", list(Direction), ids=lambda each: each.value)
@pytest.mark.parametrize("is_reset", [False, True], ids=["FIN", "RST"])
def test_a_command_with_several_messages_cut_at_any_octet_ends_with_each_once(
    gathering: Bench, direction: Direction, is_reset: bool
) -> None:
    gathering.server.script.append.appenduid = None
    gathering.server.forget()
    check(gathering, direction, 1 + is_reset, 4, is_one_run=is_reset, is_reset=is_reset)
    sent = gathering.server.requests("APPEND")
    assert any(line.count(b"{") > 1 for line in sent)


@pytest.mark.parametrize("direction", list(Direction), ids=lambda each: each.value)
def test_an_import_without_appenduid_is_cut_like_any_other(
    bench: Bench, direction: Direction
) -> None:
    bench.server.script.append.appenduid = b""
    check(bench, direction, 3, 13, is_one_run=True, is_reset=True)


@pytest.mark.long
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "MULTIAPPEND"])
@pytest.mark.parametrize("uidplus", [True, False], ids=["APPENDUID", "none"])
@pytest.mark.parametrize("is_one_run", [True, False], ids=["reconnects", "run again"])
@pytest.mark.parametrize("direction", list(Direction), ids=lambda each: each.value)
@pytest.mark.parametrize("is_reset", [False, True], ids=["FIN", "RST"])
def test_an_import_is_cut_in_every_way_at_every_octet(
    request: pytest.FixtureRequest,
    direction: Direction,
    is_one_run: bool,
    is_reset: bool,
    uidplus: bool,
    together: bool,
) -> None:
    bench: Bench = request.getfixturevalue("gathering" if together else "bench")
    bench.server.script.append.appenduid = None if uidplus else b""
    check(bench, direction, 1, 1, is_one_run=is_one_run, is_reset=is_reset)
