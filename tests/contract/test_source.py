"""What every mail source must do: the twin, the real ones on the fake servers, and on Dovecot."""

from __future__ import annotations

import imaplib
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import pytest

from export.pop3_source import Pop3Source
from store.archive import Archive
from tests.corpus import Sample, append
from tests.export.support import Source, connector, imap_account
from tests.fakes.imap_server import ImapServer
from tests.fakes.mailbox import Mailboxes
from tests.fakes.memory_source import MemorySource
from tests.fakes.pop3_server import Mail, Pop3Server
from tests.servers.dovecot import PASSWORD, Dovecot
from waystation.address import parse_account
from waystation.errors import RefusedError
from waystation.pop3 import Pop3Session
from waystation.session import Connection
from waystation.wire import Fetched, Tagged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from export.source import MailSource
    from waystation.model import Folder

DATE = datetime(2024, 5, 1, 8, 30, tzinfo=UTC)


class AnyBox(Protocol):
    """A mailbox of one folder that a test can fill, and the source that shows it."""

    has_flags: bool
    """Whether there are flags and dates."""

    def source(self) -> MailSource: ...
    def append(self, name: str, body: bytes, *flags: str) -> None: ...
    def expunge(self, name: str, uid: int) -> None: ...


class Box(AnyBox, Protocol):
    """One with folders and flags, as IMAP has them."""

    has_condstore: bool

    def create(self, name: str) -> None: ...
    def set_flags(self, name: str, uid: int, *flags: str) -> None: ...


class Made:
    """A box of the fake server's mailboxes, behind the twin or behind the server itself."""

    has_flags = True

    def __init__(self, stack: ExitStack, *, condstore: bool, over_the_wire: bool) -> None:
        self.has_condstore = condstore
        self._stack = stack
        self._mailboxes = Mailboxes({"alice": "secret"})
        self._user = self._mailboxes["alice"]
        self._server: ImapServer | None = None
        if over_the_wire:
            self._server = stack.enter_context(ImapServer(self._mailboxes, condstore=condstore))

    def source(self) -> MailSource:
        if self._server is None:
            return MemorySource(self._user, condstore=self.has_condstore)
        return self._stack.enter_context(connector(self._server.port)())

    def create(self, name: str) -> None:
        self._user.create(name)

    def append(self, name: str, body: bytes, *flags: str) -> None:
        self._user.folder(name).append(body, flags, DATE)

    def set_flags(self, name: str, uid: int, *flags: str) -> None:
        self._user.folder(name).set_flags(uid, flags)

    def expunge(self, name: str, uid: int) -> None:
        self._user.folder(name).expunge(uid)


class ByPop3:
    """A maildrop on the fake POP3 server, and the archive that keeps its UIDs."""

    has_flags = False

    def __init__(self, stack: ExitStack, path: Path) -> None:
        self._stack = stack
        self._server = stack.enter_context(Pop3Server([]))
        self._archive = stack.enter_context(Archive.create(path / "archive", "pop3", "pop3"))
        self._count = 0

    def source(self) -> MailSource:
        account = parse_account(f"pop3://alice@127.0.0.1:{self._server.port}")
        connection = Connection(allow_plaintext=True, timeout=20)
        session = self._stack.enter_context(Pop3Session.open(account, "secret", connection))
        return Pop3Source(session, self._archive)

    def append(self, name: str, body: bytes, *flags: str) -> None:
        self._count += 1
        self._server.mails.append(Mail(f"id{self._count}", body))

    def expunge(self, name: str, uid: int) -> None:
        opened(self)  # so that each message has its UID
        self._server.mails.remove(next(m for m in self._server.mails if m.uidl == f"id{uid}"))


class Real:
    """A mailbox on Dovecot."""

    has_flags = True

    def __init__(self, stack: ExitStack, server: Dovecot, user: str, *, condstore: bool) -> None:
        self.has_condstore = condstore
        self._stack = stack
        self._server = server
        self._user = user
        self._client = stack.enter_context(imaplib.IMAP4(server.host, server.port))
        self._client.login(user, PASSWORD)

    def source(self) -> MailSource:
        account = imap_account(self._server.port, self._user, "localhost")
        return self._stack.enter_context(Source(account, Connection(self._server.ca_file)))

    def create(self, name: str) -> None:
        self._client.create(name.replace("/", "."))

    def append(self, name: str, body: bytes, *flags: str) -> None:
        append(self._client, name, Sample(body, flags, (), DATE))

    def set_flags(self, name: str, uid: int, *flags: str) -> None:
        self._client.select(name)
        self._client.uid("STORE", str(uid), "FLAGS.SILENT", f"({' '.join(flags)})")
        self._client.unselect()

    def expunge(self, name: str, uid: int) -> None:
        self._client.select(name)
        self._client.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)")
        self._client.expunge()
        self._client.unselect()


@pytest.fixture(scope="module")
def old_dovecot() -> Iterator[Dovecot]:
    with Dovecot(hide=("CONDSTORE", "QRESYNC")) as server:
        yield server


KINDS = [
    *("twin", "twin, no condstore", "fake", "fake, no condstore"),
    *(
        pytest.param(kind, marks=pytest.mark.server)
        for kind in ("dovecot", "dovecot, no condstore")
    ),
]


@pytest.fixture(params=KINDS)
def box(request: pytest.FixtureRequest, user: str) -> Iterator[Box]:
    with made(request, user) as found:
        yield found


@contextmanager
def made(request: pytest.FixtureRequest, user: str) -> Iterator[Box]:
    kind, _, lack = request.param.partition(", ")
    with ExitStack() as stack:
        if kind == "dovecot":
            server = request.getfixturevalue("old_dovecot" if lack else "dovecot")
            yield Real(stack, server, user, condstore=not lack)
        else:
            yield Made(stack, condstore=not lack, over_the_wire=kind == "fake")


@pytest.fixture(params=[*KINDS, "pop3"])
def any_box(request: pytest.FixtureRequest, user: str, tmp_path: Path) -> Iterator[AnyBox]:
    with ExitStack() as stack:
        if request.param == "pop3":
            yield ByPop3(stack, tmp_path)
        else:
            yield stack.enter_context(made(request, user))


def opened(box: AnyBox, name: str = "INBOX") -> MailSource:
    source = box.source()
    source.open(named(source, name))
    return source


def named(source: MailSource, name: str) -> Folder:
    return next(folder for folder in source.folders() if folder.name == name)


class Kept(bytearray):
    def write(self, piece: memoryview) -> None:
        self.extend(piece)

    def discard(self) -> None:
        self.clear()


def test_folders_are_listed_with_their_levels(box: Box) -> None:
    box.create("Projects/2024")

    found = {folder.name: folder.levels for folder in box.source().folders()}

    assert found["INBOX"] == ("INBOX",)
    assert found["Projects/2024"] == ("Projects", "2024")


def test_a_state_counts_and_moves_on_with_each_message(any_box: AnyBox) -> None:
    source = any_box.source()
    folder = named(source, "INBOX")
    before = source.states([folder])[folder.wire_name]
    any_box.append("INBOX", b"Subject: a\r\n\r\n")

    after = any_box.source().states([folder])[folder.wire_name]

    assert (before.exists, after.exists) == (0, 1)
    assert after.uidvalidity == before.uidvalidity > 0
    assert after.uidnext == before.uidnext + 1


def test_highestmodseq_is_told_where_there_is_one(box: Box) -> None:
    source = box.source()
    folder = named(source, "INBOX")
    before = source.states([folder])[folder.wire_name].highestmodseq
    box.append("INBOX", b"Subject: a\r\n\r\n")

    after = box.source().states([folder])[folder.wire_name].highestmodseq

    assert (after is not None) is box.has_condstore
    if after is not None:
        assert after > (before or 0)


def test_opening_tells_the_same_as_the_state(any_box: AnyBox) -> None:
    any_box.append("INBOX", b"Subject: a\r\n\r\n")
    source = any_box.source()
    folder = named(source, "INBOX")
    state = source.states([folder])[folder.wire_name]

    found = source.open(folder)

    assert (found.uidvalidity, found.uidnext, found.exists) == (
        state.uidvalidity,
        state.uidnext,
        state.exists,
    )


def test_a_folder_that_is_gone_is_refused(box: Box) -> None:
    box.create("Gone")
    source = box.source()
    folder = named(source, "Gone")
    other = type(folder)(("None",), b"None", folder.delimiter)

    assert other.wire_name not in source.states([other])
    with pytest.raises(RefusedError):
        source.open(other)


def test_flags_and_keywords_are_listed_apart(box: Box) -> None:
    box.append("INBOX", b"a\r\n", "\\Seen", "\\Flagged", "todo")
    box.append("INBOX", b"b\r\n")

    listed = list(opened(box).flags())

    assert listed == [(1, ("\\Flagged", "\\Seen"), ("todo",)), (2, (), ())]


def test_changes_are_listed_since_a_state(box: Box) -> None:
    for body in (b"a\r\n", b"b\r\n", b"c\r\n"):
        box.append("INBOX", body)
    source = box.source()
    folder = named(source, "INBOX")
    since = source.states([folder])[folder.wire_name].highestmodseq
    box.set_flags("INBOX", 2, "\\Answered")
    box.append("INBOX", b"d\r\n")
    source = opened(box)

    if since is None:
        with pytest.raises(RefusedError):
            list(MemorySource.flags(source, 1) if isinstance(source, MemorySource) else refused())
        return
    listed = list(source.flags(since))
    # Dovecot begins to count only when it is first asked, and then lists more.
    assert [line for line in listed if line[0] in (2, 4)] == [(2, ("\\Answered",), ()), (4, (), ())]


def refused() -> Iterator[None]:
    """Stand for a command that no caller sends: the state had no HIGHESTMODSEQ."""
    raise RefusedError("FETCH", "not asked")
    yield


def test_an_expunged_uid_is_no_longer_there(any_box: AnyBox) -> None:
    for body in (b"a\r\n", b"b\r\n", b"c\r\n"):
        any_box.append("INBOX", body)
    any_box.expunge("INBOX", 2)

    source = opened(any_box)

    assert source.uids() == [1, 3]
    assert source.uids(b"2:3") == [3]
    assert source.uids(b"2") == []


def test_messages_come_with_their_octets_and_each_command_ends(any_box: AnyBox) -> None:
    bodies = [b"Subject: a\r\n\r\nbody\r\n", b"x" * 300_000 + b"\r\n", b")\r\n{3}\r\n* BYE\r\n"]
    for body in bodies:
        any_box.append("INBOX", body, "\\Seen")
    source = opened(any_box)

    answers = list(source.fetch([b"1", b"2:3,9"], lambda _size: Kept(), 2))

    messages = [answer for answer in answers if isinstance(answer, Fetched)]
    assert [bytes(m.body or b"") for m in messages] == bodies
    assert [m.message.uid for m in messages] == [1, 2, 3]
    if not any_box.has_flags:
        assert {m.message.internaldate for m in messages} == {None}
        assert [a.is_ok for a in answers if isinstance(a, Tagged)] == [True, True]
        return
    assert {m.message.internaldate for m in messages} == {DATE}
    assert {m.message.internaldate.utcoffset() for m in messages if m.message.internaldate} == {
        timedelta()
    }
    assert [a.is_ok for a in answers if isinstance(a, Tagged)] == [True, True]


def test_descriptions_give_size_and_header(any_box: AnyBox) -> None:
    body = b"Subject: a\r\nTo: b\r\n\r\nbody\r\n"
    any_box.append("INBOX", body, "\\Seen", "todo")

    [found] = list(opened(any_box).describe(b"1:1"))

    assert found.message.uid == 1
    if any_box.has_flags:
        assert (found.message.flags, found.message.keywords) == (("\\Seen",), ("todo",))
        assert found.message.internaldate == DATE
    assert found.size == len(body)
    assert found.header == b"Subject: a\r\nTo: b\r\n\r\n"


def test_reading_changes_nothing(any_box: AnyBox) -> None:
    any_box.append("INBOX", b"Subject: a\r\n\r\n")
    source = opened(any_box)
    list(source.fetch([b"1"], lambda _size: Kept(), 1))
    list(source.describe(b"1"))

    assert list(opened(any_box).flags()) == [(1, (), ())]


def test_an_outline_has_flags_date_and_size_and_no_header(any_box: AnyBox) -> None:
    received = b"Received: by a; Wed, 01 May 2024 10:30:00 +0200\r\n\r\n"
    any_box.append("INBOX", b"Subject: a\r\n\r\nb\r\n", "\\Seen")
    any_box.append("INBOX", received)
    source = opened(any_box)

    found = {each.message.uid: each for each in source.outline(b"1:2")}

    assert {uid: each.size for uid, each in found.items()} == {1: 17, 2: len(received)}
    assert [each.header for each in found.values()] == [b"", b""]
    if any_box.has_flags:
        assert found[1].message.flags == ("\\Seen",)
        assert found[1].message.internaldate == DATE
    else:
        assert found[1].message.internaldate is None
        assert found[2].message.date_from == "received"
