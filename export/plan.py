"""What is to be done in a folder: pure comparisons of what the source says and what is known."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from store.index import Known
    from waystation.model import FolderState


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Nothing has come, gone or changed."""


@dataclass(frozen=True, slots=True)
class ListAll:
    """The folder has to be listed, UID by UID with flags."""


@dataclass(frozen=True, slots=True)
class ListChanges:
    """The source can say what is new or has other flags since a HIGHESTMODSEQ."""

    since: int


@dataclass(frozen=True, slots=True)
class Renumbered:
    """The UIDVALIDITY is another one: what is known of UIDs no longer holds."""

    archived: int
    found: int


@dataclass(frozen=True, slots=True)
class Emptied:
    """A folder that held messages suddenly shows none. That may be true, or a server's lie."""

    archived: int


def believed(status: FolderState | None, opened: FolderState) -> FolderState:
    """Return what to work by and to remember, of what STATUS and then EXAMINE said.

    STATUS is what the next run compares with, so it is remembered where the two agree; where
    they do not, the folder changed in between or one of them is wrong, and is looked at again.
    """
    if status is None or status.uidvalidity != opened.uidvalidity:
        return opened
    has_equal_next = opened.uidnext in (0, status.uidnext)
    return status if has_equal_next and status.exists == opened.exists else opened


FolderPlan = Unchanged | ListAll | ListChanges | Renumbered | Emptied


def compare(
    found: FolderState,
    archived: FolderState | None,
    *,
    is_settled: bool,
    present: int,
    accept_emptied: bool = False,
    quick: bool = False,
) -> FolderPlan:
    """Return what is to be done in a folder.

    Args:
        found: what the source says now.
        archived: what it said when the folder was last worked through, or None.
        is_settled: whether nothing was left to do then.
        present: how many messages the source was known to hold then.
        accept_emptied: an empty folder is the user's doing, not an alarm.
        quick: without HIGHESTMODSEQ, take an equal UIDVALIDITY, UIDNEXT and EXISTS as proof
            that no flags changed either.
    """
    if archived is None:
        return ListAll()
    if not found.exists and present and not accept_emptied:
        return Emptied(present)
    if found.uidvalidity != archived.uidvalidity:
        return Renumbered(archived.uidvalidity, found.uidvalidity)
    if not is_settled:
        return ListAll()
    numbers = (found.uidnext, found.exists)
    is_same = numbers == (archived.uidnext, archived.exists) and found.uidnext > 0
    if found.highestmodseq is None or archived.highestmodseq is None:
        # Flags can have changed all the same; only a listing would say so.
        return Unchanged() if is_same and (quick or not found.exists) else ListAll()
    if found.highestmodseq < archived.highestmodseq:
        return ListAll()  # restored from a backup, say: it cannot know what has changed since
    if is_same and found.highestmodseq == archived.highestmodseq:
        return Unchanged()
    return ListChanges(archived.highestmodseq) if found.exists else ListAll()


class Listing:
    """Numbers with flags, as a source listed them by UID; a few octets for each message."""

    def __init__(self) -> None:
        self._uids = array("Q")
        self._kinds = array("I")
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
        self._flags: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self._is_ascending = True

    def __len__(self) -> int:
        """Return how many UIDs were listed, each counted once."""
        self._put_in_order()
        return len(self._uids)

    def add(self, uid: int, flags: tuple[str, ...], keywords: tuple[str, ...]) -> None:
        """Take one line of a listing."""
        key = (flags, keywords)
        kind = self._known.get(key)
        if kind is None:
            kind = self._known[key] = len(self._flags)
            self._flags.append(key)
        if self._uids and uid <= self._uids[-1]:
            self._is_ascending = False
        self._uids.append(uid)
        self._kinds.append(kind)

    def __iter__(self) -> Iterator[tuple[int, tuple[str, ...], tuple[str, ...]]]:
        """Yield UID, flags, keywords by ascending UID, each UID once."""
        self._put_in_order()
        for uid, kind in zip(self._uids, self._kinds, strict=True):
            yield uid, *self._flags[kind]

    def _put_in_order(self) -> None:
        if self._is_ascending:
            return
        # Some servers do not list in order, or list a UID twice: the last word counts.
        last = dict(zip(self._uids, self._kinds, strict=True))
        self._uids = array("Q", sorted(last))
        self._kinds = array("I", (last[uid] for uid in self._uids))
        self._is_ascending = True


@dataclass(slots=True)
class Difference:
    """What a listing and the index do not agree in."""

    missing: array[int] = field(default_factory=lambda: array("Q"))
    """UIDs that are to be fetched, ascending."""
    newcomers: int = 0
    """How many of them were never heard of before."""
    changed: Listing = field(default_factory=Listing)
    """Ids in the index, with flags and keywords as they are now."""
    vanished: array[int] = field(default_factory=lambda: array("Q"))
    """Ids in the index of what the source shows no longer."""
    returned: array[int] = field(default_factory=lambda: array("Q"))
    """Ids of what it shows again."""


def difference(
    listing: Iterable[tuple[int, tuple[str, ...], tuple[str, ...]]], known: Iterable[Known]
) -> Difference:
    """Compare a whole listing with all that is known; both by ascending UID."""
    result = Difference()
    rows = iter(known)
    row = next(rows, None)
    for uid, flags, keywords in listing:
        while row is not None and row.uid < uid:
            if not row.has_vanished:
                result.vanished.append(row.id)
            row = next(rows, None)
        if row is None or row.uid > uid:
            result.missing.append(uid)
            result.newcomers += 1
            continue
        _compare_one(result, row, flags, keywords)
        row = next(rows, None)
    while row is not None:
        if not row.has_vanished:
            result.vanished.append(row.id)
        row = next(rows, None)
    return result


def _compare_one(
    result: Difference, row: Known, flags: tuple[str, ...], keywords: tuple[str, ...]
) -> None:
    if not row.is_done:
        result.missing.append(row.uid)
    elif (row.flags, row.keywords) != (flags, keywords):
        result.changed.add(row.id, flags, keywords)
    if row.has_vanished:
        result.returned.append(row.id)


def changes(
    listed: Iterable[tuple[tuple[int, tuple[str, ...], tuple[str, ...]], Known | None]],
) -> Difference:
    """Compare a listing of changes only, each line beside what is known of its UID."""
    result = Difference()
    for (uid, flags, keywords), row in listed:
        if row is None:
            result.missing.append(uid)
            result.newcomers += 1
        else:
            _compare_one(result, row, flags, keywords)
    return result
