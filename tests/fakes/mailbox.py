"""Mailboxes for the fake servers: users, folders and messages, and nothing of the wire.

Every change goes through one lock, so a test may alter a folder while a client reads it.
A folder's name is given as ``waystation.model.join_levels`` writes it, or level by level.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from threading import RLock
from typing import TYPE_CHECKING

from waystation.model import SYSTEM_FLAGS, is_inbox, join_levels, split_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_EPOCH = datetime(2024, 5, 1, 8, 30, tzinfo=UTC)
_SPELLING = {flag.lower(): flag for flag in SYSTEM_FLAGS}


class FolderNameError(Exception):
    """A folder name that is missing, taken or not allowed, in the words of the reply."""


@dataclass(slots=True)
class FakeMessage:
    """One message; its body is what FETCH gives, octet for octet."""

    uid: int
    body: bytes
    flags: set[str]
    internaldate: datetime
    modseq: int

    @property
    def gmail_id(self) -> int:
        """The number that copies of one message have in all folders, as X-GM-MSGID."""
        said = self.body + self.internaldate.isoformat().encode()
        return int.from_bytes(sha256(said).digest()[:8], "big")


@dataclass
class FakeFolder:
    """One folder and its messages in ascending order of UID."""

    levels: tuple[str, ...]
    uidvalidity: int
    lock: RLock
    attributes: tuple[str, ...] = ()
    """Special-use and other LIST attributes, such as ``\\\\Sent`` or ``\\\\Noselect``."""
    wire_name: bytes | None = None
    """The name to put on the wire instead of the encoded one, for names no encoder makes."""
    permanent_flags: tuple[str, ...] = (*SYSTEM_FLAGS, "\\*")
    is_subscribed: bool = True
    is_listed: bool = True
    """Whether LIST tells of it; of a label it does not where the user wants it so."""
    messages: list[FakeMessage] = field(default_factory=list)
    uidnext: int = 1
    highestmodseq: int = 1

    @property
    def name(self) -> str:
        """The decoded name as one text."""
        return join_levels(self.levels)

    @property
    def is_selectable(self) -> bool:
        """Whether the folder can hold messages."""
        return "\\noselect" not in {attribute.lower() for attribute in self.attributes}

    @property
    def uids(self) -> list[int]:
        """The UIDs in the folder, oldest first."""
        with self.lock:
            return [message.uid for message in self.messages]

    @property
    def bodies(self) -> list[bytes]:
        """The messages in the folder, oldest first."""
        with self.lock:
            return [message.body for message in self.messages]

    def message(self, uid: int) -> FakeMessage:
        """Return the message with this UID; ``LookupError`` if there is none."""
        with self.lock:
            for message in self.messages:
                if message.uid == uid:
                    return message
        raise LookupError(f"{self.name} has no UID {uid}")

    def append(
        self,
        body: bytes,
        flags: Iterable[str] = (),
        internaldate: datetime | None = None,
        uid: int | None = None,
    ) -> FakeMessage:
        """Add a message under the next UID, or a higher one that is given."""
        with self.lock:
            uid = self.uidnext if uid is None else uid
            if uid < self.uidnext:
                raise ValueError(f"UID {uid} is below UIDNEXT {self.uidnext}")
            date = internaldate or _EPOCH + timedelta(minutes=uid)
            message = FakeMessage(uid, body, self.storable(flags), date, self.next_modseq())
            self.messages.append(message)
            self.uidnext = uid + 1
            return message

    def expunge(self, *uids: int) -> None:
        """Remove these messages for good."""
        gone = set(uids)
        with self.lock:
            self.messages = [message for message in self.messages if message.uid not in gone]
            self.next_modseq()

    def set_flags(self, uid: int, flags: Iterable[str]) -> None:
        """Replace a message's flags and keywords."""
        with self.lock:
            message = self.message(uid)
            message.flags = self.storable(flags)
            message.modseq = self.next_modseq()

    def renumber(self, uidvalidity: int | None = None) -> None:
        """Give the folder a new UIDVALIDITY and its messages the UIDs 1, 2, 3."""
        with self.lock:
            self.uidvalidity = self.uidvalidity + 1 if uidvalidity is None else uidvalidity
            for uid, message in enumerate(self.messages, start=1):
                message.uid = uid
                message.modseq = self.next_modseq()
            self.uidnext = len(self.messages) + 1

    def storable(self, flags: Iterable[str]) -> set[str]:
        """Return the flags that the folder keeps, system flags in their usual spelling."""
        spelled = {_SPELLING.get(flag.lower(), flag) for flag in flags}
        if "\\*" in self.permanent_flags:
            return {flag for flag in spelled if flag.lower() != "\\recent"}
        return spelled & set(self.permanent_flags)

    def next_modseq(self) -> int:
        """Count a change and return its number."""
        self.highestmodseq += 1
        return self.highestmodseq


class FakeUser:
    """One mailbox: a password, perhaps an OAuth token, and folders; INBOX is always there."""

    def __init__(self, name: str, password: str, mailboxes: Mailboxes) -> None:
        self.name = name
        self.password = password
        self.token: str | None = None
        self.takes: Callable[[str], bool] = lambda token: token == self.token
        self._mailboxes = mailboxes
        self._folders: dict[tuple[str, ...], FakeFolder] = {}
        self.create("INBOX")

    @property
    def folders(self) -> list[FakeFolder]:
        """Every folder, in the order of creation."""
        with self._mailboxes.lock:
            return list(self._folders.values())

    def find(self, name: str | tuple[str, ...]) -> FakeFolder | None:
        """Return the folder of this name, or None."""
        with self._mailboxes.lock:
            return self._folders.get(_levels(name))

    def folder(self, name: str | tuple[str, ...]) -> FakeFolder:
        """Return the folder of this name; ``LookupError`` if there is none."""
        folder = self.find(name)
        if folder is None:
            raise LookupError(f"{self.name} has no folder {name!r}")
        return folder

    def create(
        self,
        name: str | tuple[str, ...],
        attributes: Iterable[str] = (),
        uidvalidity: int | None = None,
        wire_name: bytes | None = None,
    ) -> FakeFolder:
        """Create a folder and the parents that it lacks."""
        levels = _levels(name)
        delimiter = self._mailboxes.delimiter
        if not all(levels) or (delimiter and any(delimiter in level for level in levels)):
            raise FolderNameError(f"{name!r} cannot be a folder name")
        with self._mailboxes.lock:
            if levels in self._folders:
                raise FolderNameError(f"{name!r} is there already")
            for depth in range(1, len(levels)):
                self._add(levels[:depth], (), None, None)
            return self._add(levels, tuple(attributes), uidvalidity, wire_name)

    def delete(self, name: str | tuple[str, ...]) -> None:
        """Delete a folder; one that has children loses its messages and stays as a name."""
        levels = _levels(name)
        with self._mailboxes.lock:
            folder = self.folder(levels)
            folder.expunge(*folder.uids)
            if any(other[:-1][: len(levels)] == levels for other in self._folders):
                folder.attributes = (*folder.attributes, "\\Noselect")
            else:
                del self._folders[levels]

    def rename(self, old: str | tuple[str, ...], new: str | tuple[str, ...]) -> None:
        """Rename a folder and everything below it; UIDs and UIDVALIDITY stay."""
        before, after = _levels(old), _levels(new)
        with self._mailboxes.lock:
            self.folder(before)
            if after in self._folders:
                raise FolderNameError(f"{new!r} is there already")
            moved = {}
            for levels, folder in self._folders.items():
                if levels[: len(before)] == before:
                    folder.levels = after + levels[len(before) :]
                moved[folder.levels] = folder
            self._folders = moved

    def _add(
        self,
        levels: tuple[str, ...],
        attributes: tuple[str, ...],
        uidvalidity: int | None,
        wire_name: bytes | None,
    ) -> FakeFolder:
        if levels not in self._folders:
            number = uidvalidity or self._mailboxes.next_uidvalidity()
            self._folders[levels] = FakeFolder(
                levels, number, self._mailboxes.lock, attributes, wire_name
            )
        return self._folders[levels]


class Mailboxes:
    """Every user of a server, and how the server spells hierarchy."""

    def __init__(
        self, users: Mapping[str, str], *, delimiter: str | None = "/", prefix: str = ""
    ) -> None:
        """Create a user for each name and password.

        Args:
            users: Passwords by user name.
            delimiter: What separates levels on the wire; None for a flat server.
            prefix: What every name but INBOX begins with on the wire, such as ``INBOX.``.
        """
        self.delimiter = delimiter
        self.prefix = prefix
        self.lock = RLock()
        self._uidvalidities = count(1001)
        self._users: dict[str, FakeUser] = {}
        for name, password in users.items():
            self.add_user(name, password)

    def __getitem__(self, user: str) -> FakeUser:
        return self._users[user]

    def get(self, user: str) -> FakeUser | None:
        """Return a user, or None."""
        return self._users.get(user)

    def add_user(self, name: str, password: str) -> FakeUser:
        """Add a user whose mailbox holds an empty INBOX."""
        self._users[name] = FakeUser(name, password, self)
        return self._users[name]

    def next_uidvalidity(self) -> int:
        """Return a UIDVALIDITY that no folder has had."""
        return next(self._uidvalidities)


def _levels(name: str | tuple[str, ...]) -> tuple[str, ...]:
    levels = split_name(name) if isinstance(name, str) else name
    return ("INBOX", *levels[1:]) if is_inbox(levels[:1]) else levels
