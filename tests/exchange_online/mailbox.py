"""What a mailbox holds, and what happened in it that a test may ask about.

A mailbox has one lock; whoever reads or changes folders and messages holds it.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.exchange_online.blob import Blob, blob_of
from tests.exchange_online.bucket import Bucket, Intrusion, Throttle
from tests.exchange_online.mime import LARGEST_HEADER, header_fields, parse
from tests.exchange_online.rewrite import rewriting
from tests.exchange_online.trees import TREES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.exchange_online.chance import Chance
    from tests.exchange_online.profile import Profile

SYSTEM_FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$MDNSent")
FLAGS_BY_KEY = {flag.lower(): flag for flag in SYSTEM_FLAGS}


_LARGEST_KEPT = 16 * 1024


class FolderError(Exception):
    """A folder cannot be made, found or changed; the text is the server's answer after NO."""


@dataclass(slots=True, eq=False)
class Stored:
    """A message in a folder."""

    uid: int
    blob: Blob
    flags: set[str]
    internaldate: datetime
    """Aware, in UTC."""
    draft_at_creation: bool
    visible_in_outlook_as_flagged: bool
    wants_receipt: bool
    """Whether a receipt will go out when it is read or deleted."""
    shown_from: float
    """The clock's time from which searches show it."""
    shown: bytes | None = field(default=None, repr=False)
    """The header as it is shown, where it is small and was asked for."""

    @property
    def original(self) -> bytes:
        """The octets as they were received."""
        return self.blob.octets

    @property
    def original_sha256(self) -> str:
        """The SHA-256 of the octets as they were received."""
        return self.blob.sha256


@dataclass(slots=True, eq=False)
class Folder:
    """A folder; its messages are in the order of their UIDs."""

    name: str
    uidvalidity: int
    is_mail: bool = True
    attribute: str | None = None
    is_default: bool = False
    uidnext: int = 1
    messages: list[Stored] = field(default_factory=list)
    is_subscribed: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """A read receipt, or a notice of deletion unread, that went out to a sender."""

    kind: str
    folder: str
    uid: int
    original_sha256: str


class Mailbox:
    """One user's mail. Made by ``ExchangeOnline.add_mailbox``."""

    def __init__(
        self,
        address: str,
        locale: str,
        *,
        profile: Profile,
        scale: float,
        clock: Callable[[], float],
        chance: Chance,
        directory: Path,
    ) -> None:
        self.address = address
        self.profile = profile
        self.lock = threading.RLock()
        self.bucket = Bucket(profile, scale, clock, chance, address)
        self.imap_enabled = True
        self.quota = profile.quota
        self.largest_message = profile.largest_message
        self.delegates: set[str] = set()
        """User names in lower case whose delegated tokens may open it."""
        self.permitted_apps: set[str] | None = None
        """Application ids whose app-only tokens may open it; None is all."""
        self.sent_receipts: list[Receipt] = []
        self.connects: list[float] = []
        self.connections = 0
        """Connections that are signed in now."""
        self.peak_connections = 0
        self.sessions_closed_for_bad = 0
        self.answers: Counter[str] = Counter()
        """Tagged answers by their words, such as ``APPEND OK`` or ``APPEND NO``."""
        self._folders: dict[str, Folder] = {}
        self._clock = clock
        self._scale = scale
        self._chance = chance
        self._directory = directory
        self._counters: Counter[str] = Counter()
        first = profile.first_uidvalidity
        self._uidvalidity = first or chance.random("uidvalidity", address).randint(1, 20)
        for default in TREES[locale]:
            folder = self._new(default.name)
            folder.is_mail, folder.attribute = default.is_mail, default.attribute
            folder.is_default = True

    # What tests ask

    @property
    def folders(self) -> dict[str, Folder]:
        """All folders by their names."""
        with self.lock:
            return {folder.name: folder for folder in self._folders.values()}

    def stored(self) -> Iterator[tuple[str, Stored]]:
        """Yield each message with the name of its folder, as of now."""
        with self.lock:
            found = [
                (folder.name, message)
                for folder in self._folders.values()
                for message in folder.messages
            ]
        yield from found

    def in_non_mail_folders(self) -> list[tuple[str, Stored]]:
        """Return the messages that lie among contacts, events and the like."""
        folders = self.folders
        return [(name, message) for name, message in self.stored() if not folders[name].is_mail]

    @property
    def commands_during_backoff(self) -> list[Intrusion]:
        """Commands other than LOGOUT, CAPABILITY and NOOP that came too early."""
        return list(self.bucket.intrusions)

    @property
    def throttles(self) -> list[Throttle]:
        """The answers that told a backoff, in order."""
        return list(self.bucket.throttles)

    @property
    def spent(self) -> float:
        """Units that commands have cost."""
        return self.bucket.spent

    def allowance_seen(self) -> float:
        """Return the units the bucket would have let through since the first command."""
        return self.bucket.allowance()

    def pending_receipts(self) -> list[tuple[str, Stored]]:
        """Return the messages for which a receipt goes out once they are read or deleted."""
        return [(name, message) for name, message in self.stored() if message.wants_receipt]

    def user_reads_all(self) -> None:
        """Do what the user does at last: mark all mail as read, receipts and all."""
        with self.lock:
            for folder in self._folders.values():
                for message in folder.messages:
                    self.set_flags(folder, message, message.flags | {"\\Seen"}, by_store=False)

    # What tests prepare

    def add_folder(self, name: str, *, is_mail: bool = True) -> Folder:
        """Make a folder by any name, as Outlook does; levels are parted by ``/``."""
        with self.lock:
            self._check_absent(name)
            self._with_parents(name)
            folder = self._folders[self._key(name)]
            folder.is_mail = is_mail
            return folder

    def add_message(
        self,
        folder: str,
        octets: bytes,
        *,
        flags: frozenset[str] = frozenset(),
        internaldate: datetime | None = None,
    ) -> Stored:
        """Store a message as if it had come some other way, such as from Outlook."""
        with self.lock:
            found = self.find(folder)
            blob = blob_of(octets, self._directory)
            message = self.store(found, blob, set(flags), internaldate, lag=0)
            message.visible_in_outlook_as_flagged = "\\Flagged" in flags
            return message

    # What sessions do, holding the lock

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the mailbox."""
        with self.lock:
            yield

    def count(self, kind: str) -> int:
        """Return how often this was asked for this kind, from 1."""
        with self.lock:
            self._counters[kind] += 1
            return self._counters[kind]

    def now(self) -> datetime:
        """Return the clock's time as INTERNALDATE has it: in whole seconds."""
        return datetime.fromtimestamp(int(self._clock()), UTC)

    def find(self, name: str) -> Folder:
        """Return the folder of this name, in whatever case.

        Raises:
            FolderError: there is none.
        """
        folder = self._folders.get(self._key(name))
        if folder is None:
            raise FolderError(f"{name} doesn't exist.")
        return folder

    def all_folders(self) -> list[Folder]:
        """Return the folders by name."""
        return sorted(self._folders.values(), key=lambda folder: folder.name.casefold())

    def has_children(self, folder: Folder) -> bool:
        """Tell whether there are folders below this one."""
        below = self._key(folder.name) + "/"
        return any(key.startswith(below) for key in self._folders)

    def create(self, name: str) -> None:
        """Create a folder and its parents.

        Raises:
            FolderError: it exists, is reserved, or has an impossible name.
        """
        name = name.removesuffix("/")
        self._check_absent(name)
        self._check_possible(name)
        self._with_parents(name)

    def _check_possible(self, name: str) -> None:
        levels = name.split("/")
        if levels[0].casefold() in self.profile.reserved_names:
            raise FolderError("Folder name is reserved.")
        if any(not level or any(ord(c) < 32 or ord(c) == 127 for c in level) for level in levels):
            raise FolderError("The folder name is invalid.")
        if any(_units(level) > self.profile.longest_component for level in levels):
            raise FolderError("The folder name is too long.")
        if len(levels) > self.profile.deepest_folder:
            raise FolderError("The folder hierarchy is too deep.")
        if not self.profile.creates_parents and len(levels) > 1:
            self.find("/".join(levels[:-1]))

    def delete(self, name: str) -> list[Folder]:
        """Delete a folder and all below it; return them."""
        folder = self.find(name)
        if folder.is_default:
            raise FolderError("Default folders cannot be deleted.")
        gone = self._subtree(folder)
        for each in gone:
            for message in each.messages:
                self._deleted(each, message)
            each.messages.clear()
            del self._folders[self._key(each.name)]
        return gone

    def rename(self, old: str, new: str) -> None:
        """Rename a folder and all below it."""
        folder = self.find(old)
        if folder.is_default:
            raise FolderError("Default folders cannot be renamed.")
        moved = self._subtree(folder)
        if self._key(new) != self._key(folder.name):
            self._check_absent(new)
        self._check_possible(new)
        if self._key(new).startswith(self._key(folder.name) + "/"):
            raise FolderError("A folder cannot be moved below itself.")
        if "/" in new:
            self._with_parents(new.rpartition("/")[0])
        prefix = len(folder.name)
        for each in moved:
            del self._folders[self._key(each.name)]
            each.name = new + each.name[prefix:]
            self._folders[self._key(each.name)] = each

    def used(self) -> int:
        """Return the octets of all messages."""
        return sum(
            message.blob.size for folder in self._folders.values() for message in folder.messages
        )

    def store(
        self,
        folder: Folder,
        blob: Blob,
        flags: set[str],
        internaldate: datetime | None,
        lag: float,
    ) -> Stored:
        """Put a message into a folder by APPEND and return it."""
        is_ignored = self.profile.internaldate_ignored
        given = None if internaldate is None or is_ignored else internaldate.astimezone(UTC)
        message = Stored(
            folder.uidnext,
            blob,
            flags,
            given or self.now(),
            "\\Draft" in flags,
            "\\Flagged" in flags and not self.profile.flagged_append_bug,
            self._asks_for_receipt(blob, flags),
            self._clock() + lag,
        )
        folder.uidnext += 1
        folder.messages.append(message)
        return message

    def copy(self, source: Stored, target: Folder) -> Stored:
        """Put a copy into a folder and return it."""
        message = Stored(
            target.uidnext,
            source.blob,
            set(source.flags),
            source.internaldate,
            source.draft_at_creation,
            source.visible_in_outlook_as_flagged,
            source.wants_receipt,
            self._clock(),
        )
        target.uidnext += 1
        target.messages.append(message)
        return message

    def set_flags(
        self, folder: Folder, message: Stored, flags: set[str], *, by_store: bool = True
    ) -> None:
        """Give a message flags, with what follows from them."""
        if self.profile.draft_is_fixed:
            flags = (flags - {"\\Draft"}) | ({"\\Draft"} if message.draft_at_creation else set())
        was_seen = "\\Seen" in message.flags
        message.flags = set(flags)
        if by_store:
            message.visible_in_outlook_as_flagged = "\\Flagged" in flags
        elif "\\Flagged" not in flags:
            message.visible_in_outlook_as_flagged = False
        if "$MDNSent" in flags:
            message.wants_receipt = False
        if "\\Seen" in flags and not was_seen and message.wants_receipt:
            message.wants_receipt = False
            self.sent_receipts.append(
                Receipt("read", folder.name, message.uid, message.original_sha256)
            )

    def remove(self, folder: Folder, messages: list[Stored], *, moved: bool = False) -> None:
        """Take messages out of a folder."""
        gone = set(map(id, messages))
        folder.messages[:] = [each for each in folder.messages if id(each) not in gone]
        if not moved:
            for message in messages:
                self._deleted(folder, message)

    def header(self, message: Stored) -> dict[str, list[bytes]]:
        """Return the fields of a message as searches see them, by names in lower case."""
        found: dict[str, list[bytes]] = {}
        for each in header_fields(self.shown_header(message)):
            found.setdefault(each.key, []).append(each.unfolded)
        return found

    def shown_header(self, message: Stored) -> bytes:
        """Return the header as it is shown, empty line and all; kept where it is small."""
        if message.shown is not None:
            return message.shown
        with message.blob.opened() as buffer:
            new = rewriting(buffer, message.original_sha256, self.profile.rewriting)
            octets = bytearray()
            for piece in new.pieces(buffer):
                octets += piece
                if len(octets) > LARGEST_HEADER or b"\r\n\r\n" in octets:
                    break
        header = bytes(octets[: parse(bytes(octets)).body])
        if len(header) <= _LARGEST_KEPT:
            message.shown = header
        return header

    def _deleted(self, folder: Folder, message: Stored) -> None:
        if message.wants_receipt and "\\Seen" not in message.flags:
            message.wants_receipt = False
            self.sent_receipts.append(
                Receipt("deleted unread", folder.name, message.uid, message.original_sha256)
            )

    def _asks_for_receipt(self, blob: Blob, flags: set[str]) -> bool:
        if "\\Seen" in flags or "$MDNSent" in flags:
            return False
        with blob.opened() as buffer:
            message = parse(buffer)
        return any(message.has(name) for name in self.profile.receipt_headers)

    def _check_absent(self, name: str) -> None:
        if self._key(name) in self._folders:
            raise FolderError("Mailbox already exists.")

    def _with_parents(self, name: str) -> None:
        levels = name.split("/")
        parent: Folder | None = None
        for depth in range(1, len(levels) + 1):
            path = "/".join(levels[:depth])
            if self._key(path) not in self._folders:
                # a child takes the spelling that its parent has already
                shown = f"{parent.name}/{levels[depth - 1]}" if parent else path
                is_mail = parent.is_mail if parent else True
                self._new(shown).is_mail = is_mail
            parent = self._folders[self._key(path)]

    def _new(self, name: str) -> Folder:
        folder = Folder(name, self._uidvalidity)
        self._uidvalidity += 1
        self._folders[self._key(name)] = folder
        return folder

    def _subtree(self, folder: Folder) -> list[Folder]:
        below = self._key(folder.name) + "/"
        return [folder, *(f for key, f in self._folders.items() if key.startswith(below))]

    def _key(self, name: str) -> str:
        first, slash, rest = name.partition("/")
        if first.casefold() == "inbox":
            name = "inbox" + slash + rest
        return name.casefold() if self.profile.case_insensitive else name


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
