"""A target without a server: the twin of ``importer.imap_target.ImapTarget``.

``MemoryServer`` holds what outlasts a connection, and how it misbehaves; ``connect`` is what a
run is given.
"""

from __future__ import annotations

from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from importer.digest import Content, Digest
from importer.folders import TargetFolders
from importer.mime import MimeDigest
from importer.target import Window
from tests.fakes.mailbox import FakeFolder, FakeMessage, FakeUser, FolderNameError, Mailboxes
from waystation.errors import ConnectionLostError, RefusedError
from waystation.imap import Selected
from waystation.model import Folder, FolderState, RemoteMessage, join_levels, split_flags
from waystation.wire import Described, Outgoing, Tagged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from typing import BinaryIO, Literal

    from importer.mime import Likeness


WINDOW = Window(8, 100_000)


class Crash(BaseException):
    """The process ends here."""


@dataclass
class Misbehaviour:
    """What goes wrong; appends are counted from 1, over all connections."""

    lose_after: set[int] = field(default_factory=set)
    """The connection breaks when these appends have been stored, before the answer."""
    lose_before: set[int] = field(default_factory=set)
    """The connection breaks before these appends are stored."""
    crash_after: set[int] = field(default_factory=set)
    crash_before: set[int] = field(default_factory=set)
    refuse: Callable[[bytes], str | None] = lambda body: None
    """Returns ``NO …`` for a message that is refused."""
    rewrite: Callable[[bytes], bytes] = lambda body: body
    appenduid: Callable[[int, int], str] | None = None
    """Makes the text of the answer out of UIDVALIDITY and UID."""
    refuse_open: dict[str, str] = field(default_factory=dict)
    refuse_create: Callable[[tuple[str, ...]], str | None] = lambda levels: None
    """Returns the words with which a folder is not created."""
    header: Callable[[bytes], bytes] = lambda head: head
    """Makes what ``describe`` shows of a message."""
    stores_refused: bool = False
    """Of a refused command with several messages the first is stored all the same."""
    hidden: set[int] = field(default_factory=set)
    """UIDs that ``describe`` leaves out although they are there."""


class MemoryServer:
    """One mailbox that can be connected to again and again."""

    def __init__(
        self,
        *,
        uidplus: bool = True,
        window: Window = WINDOW,
        delimiter: str | None = "/",
        prefix: tuple[str, ...] = (),
        says_uidnext: bool = True,
        limit: int | None = None,
        gathers: int = 0,
    ) -> None:
        self.user: FakeUser = Mailboxes({"bob": "secret"}, delimiter=delimiter)["bob"]
        self.uidplus = uidplus
        self.window = window
        self.delimiter = delimiter
        self.prefix = prefix
        self.says_uidnext = says_uidnext
        self.limit = limit
        self.gathers = gathers
        self.commands: list[int] = []
        """How many messages each command carried."""
        self.wrong = Misbehaviour()
        self.appends = 0
        self.last_folder: tuple[str, ...] = ()
        """Where the last message went, or would have."""
        self.connections = 0
        self.lock = Lock()
        """For those who connect more than once at a time."""

    @contextmanager
    def connect(self) -> Iterator[MemoryTarget]:
        """Open a connection."""
        self.connections += 1
        yield MemoryTarget(self)

    def behave(self) -> None:
        """Do nothing wrong from now on."""
        self.wrong = Misbehaviour()

    def bodies(self, name: str) -> Counter[bytes]:
        """Return what a folder holds; nothing where it is missing."""
        folder = self.user.find(name)
        return Counter(folder.bodies if folder else ())

    def everything(self) -> dict[str, Counter[bytes]]:
        """Return what each folder holds that holds anything."""
        return {
            join_levels(folder.levels): Counter(folder.bodies)
            for folder in self.user.folders
            if folder.messages
        }


class MemoryTarget:
    """See ``importer.target.MailTarget``."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._folder: FakeFolder | None = None
        self._levels: tuple[str, ...] = ()
        self._answers: deque[Tagged] = deque()
        self._count = 0
        self._is_broken = False

    def cut(self) -> None:
        self._is_broken = True

    @property
    def window(self) -> Window:
        return self._server.window

    @property
    def limit(self) -> int | None:
        return self._server.limit

    @property
    def gathers(self) -> int:
        return self._server.gathers

    @property
    def must_renew(self) -> bool:
        return False

    @property
    def rejected(self) -> int:
        return 0

    def folders(self) -> TargetFolders:
        self._demand_line()
        folders = tuple(
            Folder(
                folder.levels,
                folder.name.encode(),
                self._server.delimiter,
                tuple(sorted(attribute.lower() for attribute in folder.attributes)),
            )
            for folder in self._server.user.folders
        )
        return TargetFolders(folders, self._server.delimiter, self._server.prefix)

    def create(self, levels: tuple[str, ...]) -> None:
        self._demand_line()
        refusal = self._server.wrong.refuse_create(levels)
        if refusal is not None:
            raise RefusedError("CREATE", refusal)
        if self._server.user.find(levels) is None:
            try:
                self._server.user.create(levels)
            except FolderNameError as error:
                raise RefusedError("CREATE", str(error)) from None

    def open(self, levels: tuple[str, ...], *, read_only: bool = False) -> Selected:
        self._demand_line()
        name = join_levels(levels)
        refusal = self._server.wrong.refuse_open.get(name)
        folder = self._server.user.find(levels)
        if refusal is None and (folder is None or not folder.is_selectable):
            refusal = "[NONEXISTENT] no such folder"
        if refusal is not None or folder is None:
            raise RefusedError("SELECT", refusal or "")
        self._folder, self._levels = folder, levels
        uidnext = folder.uidnext if self._server.says_uidnext else 0
        return Selected(
            FolderState(folder.uidvalidity, uidnext, len(folder.messages)),
            frozenset(flag.lower() for flag in folder.permanent_flags if flag != "\\*"),
            takes_keywords="\\*" in folder.permanent_flags,
        )

    def describe(self, uids: bytes) -> Iterator[Described]:
        for message in self._chosen(uids):
            if message.uid in self._server.wrong.hidden:
                continue
            flags, keywords = split_flags(sorted(message.flags))
            remote = RemoteMessage(message.uid, flags, keywords, message.internaldate)
            header = self._server.wrong.header(message.body[:65536])
            yield Described(remote, len(message.body), header)

    def uids(self, among: bytes) -> list[int]:
        return [message.uid for message in self._chosen(among)]

    def contents(self, uids: bytes) -> Iterator[tuple[int, Content]]:
        for message in self._chosen(uids):
            digest = Digest()
            digest.write(message.body)
            yield message.uid, digest.content

    def store(self, uids: bytes, sign: Literal["+", "-"], flag: str) -> None:
        for message in self._chosen(uids):
            (message.flags.add if sign == "+" else message.flags.discard)(flag)

    def likenesses(self, uids: bytes) -> Iterator[tuple[int, Likeness]]:
        for message in self._chosen(uids):
            digest = MimeDigest()
            digest.write(message.body)
            yield message.uid, digest.likeness

    def remove(self, uids: bytes) -> None:
        assert self._folder is not None
        for message in self._chosen(uids):
            self._folder.messages.remove(message)

    @property
    def last_tag(self) -> bytes:
        return b"T%d" % self._count

    def append(
        self, flags: Iterable[str], date: datetime | None, message: BinaryIO, size: int
    ) -> bytes:
        body = message.read(size)
        assert len(body) == size
        return self._append_all([Outgoing(tuple(flags), date, body)])

    def append_all(self, messages: Sequence[Outgoing]) -> bytes:
        assert len(messages) > 1
        assert all(0 < len(each.octets) <= self._server.gathers for each in messages)
        return self._append_all(messages)

    def _append_all(self, messages: Sequence[Outgoing]) -> bytes:
        """Store all or none, whatever is to go wrong with one of them."""
        self._demand_line()
        server, wrong = self._server, self._server.wrong
        with server.lock:
            numbers = set(range(server.appends + 1, server.appends + 1 + len(messages)))
            server.appends += len(messages)
            server.commands.append(len(messages))
        server.last_folder = self._levels
        self._count += 1
        tag = b"T%d" % self._count
        if numbers & wrong.crash_before:
            raise Crash
        if numbers & wrong.lose_before:
            self._break()
        refusals = [wrong.refuse(each.octets) for each in messages]
        if server.limit is not None and any(len(m.octets) > server.limit for m in messages):
            refusals.append("NO [TOOBIG] too large")
        folder = server.user.find(self._levels)
        if folder is None:
            refusals.append("NO [TRYCREATE] no such folder")
        refusal = next((words for words in refusals if words is not None), None)
        if refusal is not None or folder is None:
            if wrong.stores_refused and folder is not None and len(messages) > 1:
                first = messages[0]
                folder.append(wrong.rewrite(first.octets), first.flags, first.date)
            status, _, text = (refusal or "").partition(" ")
            self._answers.append(Tagged(tag, status, text))
            return tag
        # FakeFolder gives the default date where the client gives none.
        uids = [folder.append(wrong.rewrite(m.octets), m.flags, m.date).uid for m in messages]
        if numbers & wrong.crash_after:
            raise Crash
        if numbers & wrong.lose_after:
            self._break()
        told = f"{uids[0]}:{uids[-1]}" if len(uids) > 1 else f"{uids[0]}"
        text = f"[APPENDUID {folder.uidvalidity} {told}] done" if server.uidplus else "done"
        if wrong.appenduid is not None:
            text = wrong.appenduid(folder.uidvalidity, uids[0])
        self._answers.append(Tagged(tag, "OK", text))
        return tag

    def answer(self) -> Tagged:
        if not self._answers:
            self._break()
        return self._answers.popleft()

    def _chosen(self, uids: bytes) -> list[FakeMessage]:
        self._demand_line()
        assert self._folder is not None
        messages = list(self._folder.messages)
        last = messages[-1].uid if messages else 0
        wanted: set[int] = set()
        for part in uids.decode().split(","):
            ends = [last if end == "*" else int(end) for end in part.split(":")]
            low, high = min(ends), max(ends)
            wanted |= {message.uid for message in messages if low <= message.uid <= high}
        return [message for message in messages if message.uid in wanted]

    def _demand_line(self) -> None:
        if self._is_broken:
            self._break()

    def _break(self) -> None:
        self._is_broken = True
        raise ConnectionLostError("memory", "the line broke")
