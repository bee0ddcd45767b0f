"""A source over POP3: one folder without flags, whose UIDs are ours.

The server's unique-ids are given ascending UIDs that the archive keeps. Where a unique-id says
nothing (it is missing, or two messages have it), the message gets a new UID for this session,
and is known again by its content. So is a message whose unique-id is new while it is archived
already, as after Dovecot has changed its UIDVALIDITY. Header and size tell, where the server has
TOP; what they leave in doubt is read in full, and its sha256 has the last word.
"""

from __future__ import annotations

import logging
import os
from array import array
from bisect import bisect_left
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, groupby, islice, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

from export.source import KnownAgain
from store.headers import LONGEST_HEAD, derived_date
from store.maildir import READ
from store.uidls import UIDVALIDITY
from waystation.errors import RefusedError
from waystation.model import Folder, FolderState, RemoteMessage
from waystation.pop3 import IN_FLIGHT, NotRetrieved, header_of
from waystation.wire import Described, Fetched, Tagged, members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from export.source import B
    from store.archive import Archive
    from store.index import ArchivedMessage
    from waystation.pop3 import Pop3Session
    from waystation.wire import Identified

log = logging.getLogger(f"waystation.{__name__}")
"""Below the one that the command line listens to."""

INBOX = Folder(("INBOX",), b"INBOX", None)
_LINES_A_STEP = 1000
_MOVES_A_STEP = 500
_LOW = 2**32 - 1


class Pop3Source:
    """See ``MailSource``; ``archive`` keeps the UIDs, and is only read where ``is_reading``."""

    def __init__(self, session: Pop3Session, archive: Archive, *, is_reading: bool = False) -> None:
        self._session = session
        self._archive = archive
        self._is_reading = is_reading
        self._state: FolderState | None = None
        self._uids = array("Q")
        """Ascending; the numbers of the same messages beside them."""
        self._numbers = array("L")
        self._nameless: set[int] = set()
        """UIDs that are good for this session only."""
        self._unrecorded: set[int] = set()
        """UIDs that would be recorded, if this were not for reading only."""
        self._has_strays: bool | None = None
        self._taken: set[int] = set()
        """Rows that were known again."""
        self._moves: list[tuple[int, int]] = []

    @property
    def prefix(self) -> tuple[str, ...]:
        """See ``MailSource``."""
        return ()

    @property
    def has_message_ids(self) -> bool:
        """See ``MailSource``; there is only one folder."""
        return False

    def folders(self) -> list[Folder]:
        """See ``MailSource``."""
        return [INBOX]

    def states(self, folders: Iterable[Folder]) -> dict[bytes, FolderState]:
        """See ``MailSource``."""
        return {
            folder.wire_name: self._listed() for folder in folders if folder.wire_name == b"INBOX"
        }

    def open(self, folder: Folder) -> FolderState:
        """See ``MailSource``."""
        if folder.wire_name != INBOX.wire_name:
            raise RefusedError("to open the folder", "POP3 has no folder but INBOX")
        return self._listed()

    def flags(
        self, changed_since: int | None = None
    ) -> Iterator[tuple[int, tuple[str, ...], tuple[str, ...]]]:
        """See ``MailSource``. POP3 has none: a message keeps those that it came here with."""
        del changed_since  # no state has a HIGHESTMODSEQ
        folder = self._archive.index.folder(INBOX.name)
        known = {} if folder is None else self._archive.index.flagged(folder.id, UIDVALIDITY)
        for uid in self._uids:
            yield uid, *known.get(uid, ((), ()))

    def uids(self, among: bytes = b"1:*") -> list[int]:
        """See ``MailSource``."""
        if among == b"1:*":
            return list(self._uids)
        return [uid for uid in members(among) if self._number(uid) is not None]

    def describe(self, uids: bytes) -> Iterator[Described]:
        """See ``MailSource``."""
        numbers = self._by_number(members(uids))
        for found in self._session.headers(numbers):
            if not isinstance(found, NotRetrieved):
                number, size, header = found
                yield Described(_message(numbers[number], header), size, header)

    def outline(self, uids: bytes) -> Iterator[Described]:
        """See ``MailSource``; the date is in the header, which is asked for."""
        for described in self.describe(uids):
            yield Described(described.message, described.size, b"")

    def identify(self, uids: bytes) -> Iterator[Identified]:
        """See ``MailSource``; nobody asks where there are no ``has_message_ids``."""
        raise NotImplementedError(uids)

    def fetch(
        self, sets: Iterable[bytes], new_body: Callable[[int], B], depth: int
    ) -> Iterator[Fetched[B] | Tagged]:
        """See ``MailSource``; of each set, what the server refuses is told in its ending."""
        waiting = iter(sets)
        first = next(waiting, None)
        if first is None:
            return
        asked: deque[_Set] = deque()
        uids_by_number: dict[int, int] = {}

        def numbers() -> Iterator[int]:
            for uids in chain([first], waiting):
                found = self._by_number(members(uids))
                asked.append(_Set(set(found)))
                uids_by_number.update(found)
                yield from found

        ahead = min(IN_FLIGHT, depth * len(members(first)))
        for answer in self._session.retrieve(numbers(), new_body, ahead):
            of_set = next(each for each in asked if answer.number in each.left)
            of_set.left.discard(answer.number)
            uid = uids_by_number.pop(answer.number)
            if isinstance(answer, NotRetrieved):
                of_set.refusal = of_set.refusal or answer.reply or "-ERR"
            else:
                yield Fetched(_message(uid, answer.head), answer.body)
            while asked and not asked[0].left:
                yield asked.popleft().ending
        for each in asked:  # none of their messages is there any more
            yield each.ending
        self._settle()

    def knows_again(self, message: RemoteMessage, digest: Callable[[], str]) -> KnownAgain | None:
        """See ``MailSource``."""
        if self._has_strays is False:
            return None
        folder = self._archive.index.folder(INBOX.name)
        if folder is None or not self._may_have_strays(folder.id):
            return None
        for row in self._archive.index.with_content(folder.id, digest()):
            is_ours = row.uidvalidity == UIDVALIDITY
            if row.id in self._taken or (is_ours and self._number(row.uid) is not None):
                continue
            return self._known_again(message.uid, row)
        return None

    def known_by_header(self, uids: Iterable[int]) -> Iterator[tuple[int, KnownAgain]]:
        """See ``MailSource``: by the whole header and the size, where the server has TOP.

        Only what has a Message-ID; as many as are archived, all of them with one content.
        """
        folder = self._archive.index.folder(INBOX.name)
        there = _packed((number, uid) for uid in uids if (number := self._number(uid)) is not None)
        if not there or folder is None or not self._session.has("TOP"):
            return
        if not self._may_have_strays(folder.id):
            return
        strays = _packed(
            (size, uid)
            for size, uid in self._archive.uidls.sizes(folder.id)
            if self._number(uid) is None
        )
        try:
            asked = _packed(
                (size, number)
                for number, size in self._session.sizes()
                if _paired(strays, size) is not None and _paired(there, number) is not None
            )
        except RefusedError as error:
            if error.retriable:
                raise
            return  # their content will tell
        headers = self._session.headers(each & _LOW for each in asked)
        found = (each for each in headers if not isinstance(each, NotRetrieved))
        renamed = 0
        for size, same in groupby(found, key=itemgetter(1)):
            by_header: dict[bytes, list[int]] = {}
            for number, _, header in same:
                if (uid := _paired(there, number)) is not None:
                    by_header.setdefault(sha256(header).digest(), []).append(uid)
            archived = self._by_header(folder.id, strays, size)
            for digest, here in by_header.items():
                rows = archived.get(digest, [])
                if len(here) > len(rows) or len({row.sha256 for row in rows}) > 1:
                    continue
                for uid, row in zip(here, rows, strict=False):
                    known = self._known_again(uid, row)
                    renamed += known.has_new_name
                    yield uid, known
        self._settle()
        if renamed:
            log.warning(
                "%d messages with a new unique-id are here already: known by header and size, not "
                "read again",
                renamed,
            )

    def _by_header(
        self, folder_id: int, strays: array[int], size: int
    ) -> dict[bytes, list[ArchivedMessage]]:
        """Return the archived messages of a size, by the sha256 of their headers."""
        result: dict[bytes, list[ArchivedMessage]] = {}
        if not 0 <= size <= _LOW:
            return result
        for each in islice(strays, bisect_left(strays, size << 32), None):
            row = self._archive.index.by_location(folder_id, UIDVALIDITY, each & _LOW)
            if row is None or row.size != size:
                break
            if row.message_id is None or row.id in self._taken:
                continue
            if (path := self._archive.find(row)) is not None and (header := _header_in(path)):
                result.setdefault(sha256(header).digest(), []).append(row)
        return result

    def _known_again(self, uid: int, row: ArchivedMessage) -> KnownAgain:
        self._taken.add(row.id)
        has_name = uid not in self._nameless
        if row.uidvalidity == UIDVALIDITY and has_name:
            self._moves.append((uid, row.uid))
            if len(self._moves) >= _MOVES_A_STEP:
                self._settle()
        return KnownAgain(row, has_name)

    def _settle(self) -> None:
        """Record which unique-ids name messages that were here before."""
        if self._moves and not self._is_reading:
            self._archive.uidls.move(self._moves)
        self._moves.clear()

    def _may_have_strays(self, folder_id: int) -> bool:
        """Whether anything is archived that the server shows under no known UID."""
        if self._has_strays is None:
            self._has_strays = any(
                self._number(uid) is None for uid in self._archive.uidls.archived(folder_id)
            )
        return self._has_strays

    # Which message has which UID

    def _number(self, uid: int) -> int | None:
        at = bisect_left(self._uids, uid)
        return self._numbers[at] if at < len(self._uids) and self._uids[at] == uid else None

    def _by_number(self, uids: Iterable[int]) -> dict[int, int]:
        """Return those of the UIDs that are there by their messages' numbers."""
        found = ((self._number(uid), uid) for uid in uids)
        return {number: uid for number, uid in found if number is not None}

    def _listed(self) -> FolderState:
        """Return the state of the maildrop; what it holds stays the same for a whole session."""
        if self._state is None:
            count = self._session.count()
            new = _NewUids(self._archive.uidls.next_uid())
            self._name(new)
            self._name_the_rest(count, new)
            if self._nameless and not self._is_reading:
                self._archive.uidls.forget_missing_without()
            self._state = FolderState(UIDVALIDITY, new.next, max(count, len(self._uids)))
            if self._is_reading:
                self._recognise()
        return self._state

    def _name(self, new: _NewUids) -> None:
        """Give each unique-id its UID; a new one gets the next."""
        uidls = self._archive.uidls
        unrecorded: dict[str, int] = {}
        recording = nullcontext() if self._is_reading else self._archive.database.atomic()
        lines = self._session.names()
        try:
            with recording:
                while step := list(islice(lines, _LINES_A_STEP)):
                    known = uidls.uids(name for _, name in step)
                    added: dict[str, int] = {}
                    for number, name in step:
                        uid = known.get(name) or added.get(name) or unrecorded.get(name)
                        if uid is None:
                            uid = added[name] = new.take()
                        self._numbers.append(number)
                        self._uids.append(uid)
                    if self._is_reading:
                        unrecorded.update(added)
                        self._unrecorded.update(added.values())
                    elif added:
                        uidls.add(added.items())
        except RefusedError as error:
            if error.retriable:
                raise
            log.warning("%s; each message is read in full and known by its content", error)

    def _name_the_rest(self, count: int, new: _NewUids) -> None:
        """Give what no unique-id names a UID for this session; put all in order."""
        uids = _doubled(self._uids)
        numbers = _doubled(self._numbers)
        nameless: set[int] = set()
        if uids or numbers:
            pairs = list(zip(self._uids, self._numbers, strict=True))
            void = {uid for uid, number in pairs if uid in uids or number in numbers}
            nameless = {number for uid, number in pairs if uid in void or number in numbers}
            kept = [(uid, number) for uid, number in pairs if number not in nameless]
            self._uids = array("Q", (uid for uid, _ in kept))
            self._numbers = array("L", (number for _, number in kept))
            if not self._is_reading:
                self._archive.uidls.forget(void)
        if len(self._numbers) + len(nameless) < count:
            known = set(self._numbers) | nameless
            missing = {number for number, _ in self._session.sizes() if number not in known}
            if missing:
                log.warning("%d messages are without a unique-id: known by content", len(missing))
            nameless |= missing
        elif nameless:
            log.warning(
                "%d messages have the unique-id of another one: known by content", len(nameless)
            )
        if any(one > other for one, other in pairwise(self._uids)):
            order = sorted(range(len(self._uids)), key=self._uids.__getitem__)
            self._uids, self._numbers = (
                array("Q", map(self._uids.__getitem__, order)),
                array("L", map(self._numbers.__getitem__, order)),
            )
        for number in sorted(nameless):
            uid = new.take()
            self._nameless.add(uid)
            self._uids.append(uid)
            self._numbers.append(number)

    def _recognise(self) -> None:
        """Find by content what no recorded unique-id names: nothing will be recorded of it."""
        unknown = sorted(self._nameless | self._unrecorded)
        folder = self._archive.index.folder(INBOX.name)
        if not unknown or folder is None or not self._may_have_strays(folder.id):
            return
        there = dict(zip(self._uids, self._numbers, strict=True))
        numbers = self._by_number(unknown)
        for found in self._session.retrieve(numbers, _Digest):
            if isinstance(found, NotRetrieved):
                continue
            uid = numbers[found.number]
            again = self.knows_again(_message(uid, found.head), found.body.hexdigest)
            if again is not None and again.row.uidvalidity == UIDVALIDITY:
                there[again.row.uid] = there.pop(uid)
        self._uids = array("Q", sorted(there))
        self._numbers = array("L", map(there.__getitem__, self._uids))


@dataclass(slots=True)
class _Set:
    """A UID set that is being fetched."""

    left: set[int]
    """The numbers of the messages that have not come."""
    refusal: str = ""

    @property
    def ending(self) -> Tagged:
        return Tagged(b"", "NO" if self.refusal else "OK", self.refusal)


@dataclass(slots=True)
class _NewUids:
    next: int

    def take(self) -> int:
        self.next += 1
        return self.next - 1


class _Digest:
    """Takes a body and keeps only its sha256."""

    def __init__(self, _size: int) -> None:
        self._hash = sha256()

    def write(self, piece: memoryview) -> None:
        self._hash.update(piece)

    def discard(self) -> None:
        """Nothing is kept."""

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _doubled(values: array[int]) -> set[int]:
    """Return the values that are there more than once."""
    return {one for one, other in pairwise(sorted(values)) if one == other}


def _packed(pairs: Iterable[tuple[int, int]]) -> array[int]:
    """Return pairs in order, each as one number: many are there, and a tuple takes ten times that.

    Left out is what has a number of more than 32 bits.
    """
    fit = (pair for pair in pairs if max(pair) <= _LOW)
    return array("Q", sorted(one << 32 | other for one, other in fit))


def _paired(packed: array[int], one: int) -> int | None:
    """Return the other number of the first pair that begins with this one."""
    at = bisect_left(packed, one << 32) if 0 <= one <= _LOW else len(packed)
    return packed[at] & _LOW if at < len(packed) and packed[at] >> 32 == one else None


def _header_in(path: Path) -> bytes:
    """Return the header of an archived message; nothing where it does not end, or is not read."""
    try:
        with os.fdopen(os.open(path, READ), "rb") as file:
            header = header_of(file.read(LONGEST_HEAD))
    except OSError:
        return b""
    return header if header.endswith(b"\r\n\r\n") else b""


def _message(uid: int, head: bytes) -> RemoteMessage:
    date, date_from = derived_date(head)
    return RemoteMessage(uid, internaldate=date, date_from=date_from)
