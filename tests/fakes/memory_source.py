"""A mail source without a network: the twin of ``export.imap_source.ImapSource``.

It serves one user of the fake server's mailboxes, so that one test can change them the same way
for both. What it gets wrong, it gets wrong on command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.fakes.imap_wire import choose, encode_name
from waystation.errors import ConnectionLostError, RefusedError
from waystation.model import Folder, FolderState, RemoteMessage, split_flags
from waystation.wire import Body, Described, Fetched, Identified, Tagged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import TypeVar

    from export.source import KnownAgain
    from tests.fakes.mailbox import FakeFolder, FakeMessage, FakeUser

    B = TypeVar("B", bound=Body)

_HEADER = re.compile(rb"\A(?:\r?\n|.*?\n\r?\n)", re.DOTALL)


@dataclass
class Lies:
    """What a source gets wrong; may be changed at any time."""

    unlisted: set[int] = field(default_factory=set)
    """UIDs that no listing shows although EXISTS counts them."""
    withheld: set[int] = field(default_factory=set)
    """UIDs that are listed and never sent."""
    looks_empty: set[str] = field(default_factory=set)
    """Folders that show no message."""
    refused: set[str] = field(default_factory=set)
    """Folders that do not open."""
    lost_after: int | None = None
    """The connection is lost after so many messages, once."""


class MemorySource:
    """See ``export.source.MailSource``."""

    def __init__(
        self,
        user: FakeUser,
        *,
        condstore: bool = True,
        gmail: bool = False,
        lies: Lies | None = None,
    ) -> None:
        self.user = user
        self.lies = lies or Lies()
        self.opened: list[str] = []
        """The folders that were opened, each time."""
        self.fetched: list[int] = []
        """The UIDs whose bodies were sent, each time."""
        self.outlined: list[int] = []
        """The UIDs whose flags, date and size were told, each time."""
        self.has_message_ids = gmail
        self._has_condstore = condstore
        self._folder: FakeFolder | None = None

    def __enter__(self) -> MemorySource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder = None

    @property
    def prefix(self) -> tuple[str, ...]:
        return ()

    def folders(self) -> list[Folder]:
        return [
            Folder(
                folder.levels,
                encode_name("/".join(folder.levels)),
                "/",
                tuple(sorted(attribute.lower() for attribute in folder.attributes)),
            )
            for folder in self.user.folders
            if folder.is_listed
        ]

    def states(self, folders: Iterable[Folder]) -> dict[bytes, FolderState]:
        return {
            folder.wire_name: self._state(found)
            for folder in folders
            if folder.name not in self.lies.refused
            and (found := self.user.find(folder.levels)) is not None
        }

    def open(self, folder: Folder) -> FolderState:
        self._folder = None
        self.opened.append(folder.name)
        if folder.name in self.lies.refused or (found := self.user.find(folder.levels)) is None:
            raise RefusedError("EXAMINE", "[NOPERM] not for you")
        self._folder = found
        return self._state(found)

    def flags(
        self, changed_since: int | None = None
    ) -> Iterator[tuple[int, tuple[str, ...], tuple[str, ...]]]:
        if changed_since is not None and not self._has_condstore:
            raise RefusedError("FETCH", "CHANGEDSINCE is not known here")
        for message in self._messages():
            if message.modseq > (changed_since or 0) and message.uid not in self.lies.unlisted:
                yield message.uid, *split_flags(sorted(message.flags))

    def uids(self, among: bytes = b"1:*") -> list[int]:
        return [message.uid for message in self._chosen(among)]

    def describe(self, uids: bytes) -> Iterator[Described]:
        for message in self._chosen(uids):
            header = _HEADER.match(message.body)
            yield Described(
                _remote(message),
                len(message.body),
                header[0] if header else message.body,
            )

    def outline(self, uids: bytes) -> Iterator[Described]:
        for message in self._chosen(uids):
            self.outlined.append(message.uid)
            yield Described(_remote(message), len(message.body), b"")

    def identify(self, uids: bytes) -> Iterator[Identified]:
        for message in self._chosen(uids):
            size = len(message.body)
            labels = tuple(
                encode_name("/".join(folder.levels))
                for folder in self.user.folders
                if folder is not self._folder
                and any(each.gmail_id == message.gmail_id for each in folder.messages)
            )
            yield Identified(_remote(message), str(message.gmail_id), size, labels)

    def fetch(
        self, sets: Iterable[bytes], new_body: Callable[[int], B], depth: int
    ) -> Iterator[Fetched[B] | Tagged]:
        for number, uids in enumerate(sets, start=1):
            for message in self._chosen(uids):
                if message.uid in self.lies.withheld:
                    continue
                self._perhaps_lose_the_connection()
                body = new_body(len(message.body))
                body.write(memoryview(message.body))
                self.fetched.append(message.uid)
                yield Fetched(_remote(message), body)
            yield Tagged(b"M%d" % number, "OK", "done")

    def known_by_header(self, uids: Iterable[int]) -> Iterator[tuple[int, KnownAgain]]:
        return iter(())

    def knows_again(self, message: RemoteMessage, digest: Callable[[], str]) -> KnownAgain | None:
        return None

    def _state(self, folder: FakeFolder) -> FolderState:
        exists = 0 if folder.name in self.lies.looks_empty else len(folder.messages)
        modseq = folder.highestmodseq if self._has_condstore else None
        return FolderState(folder.uidvalidity, folder.uidnext, exists, modseq)

    def _messages(self) -> list[FakeMessage]:
        if self._folder is None or self._folder.name in self.lies.looks_empty:
            return []
        return list(self._folder.messages)

    def _chosen(self, uids: bytes) -> list[FakeMessage]:
        messages = [m for m in self._messages() if m.uid not in self.lies.unlisted]
        chosen = set(choose(uids, [message.uid for message in messages]))
        return [message for message in messages if message.uid in chosen]

    def _perhaps_lose_the_connection(self) -> None:
        if self.lies.lost_after is None:
            return
        self.lies.lost_after -= 1
        if self.lies.lost_after < 0:
            self.lies.lost_after = None
            raise ConnectionLostError("memory", "the test says so")


def _remote(message: FakeMessage) -> RemoteMessage:
    return RemoteMessage(message.uid, *split_flags(sorted(message.flags)), message.internaldate)
