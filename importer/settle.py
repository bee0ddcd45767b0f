"""Looking into the target: what of ours is there, before anything is sent (again).

What lies in the folder is compared with what the transfer log says of it, by Message-ID, Date,
From and Subject, by INTERNALDATE, and in the end by content; by date and content alone, where
headers do not lead to it. So neither a lost answer nor one that lies, nor a renumbered folder,
nor a stranger's message leads to a wrong conclusion.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from importer.digest import Content, content_of
from importer.flags import carried
from importer.letter import sent_likeness
from importer.likeness import digest
from importer.match import NO_HEADERS, Ours, There, match
from store.headers import LONGEST_HEAD, fingerprint
from store.index import received_of
from store.lookup import Found, Lookup, Sought
from store.transfers import Transfer, TransferState
from waystation.errors import UnusableFolderError
from waystation.model import split_name
from waystation.wire import uid_sets

if TYPE_CHECKING:
    from array import array
    from collections.abc import Collection, Iterable, Iterator

    from importer.house import HouseRules
    from importer.mime import Likeness
    from importer.target import LookingTarget
    from store.archive import Archive
    from store.index import ArchivedMessage
    from store.transfers import MappedFolder
    from waystation.imap import Selected
    from waystation.wire import Described

T = TypeVar("T")

_STEP = 500
_CONTENTS_A_COMMAND = 100
_LAST_RESORT = 2000
"""So many messages are fetched at the most where nothing but their date speaks for them."""
_FOUND = "found in the target after its answer was lost"
_SURE, _IN_DOUBT, _DELETED = range(3)
"""Who chooses first among equal messages: what was taken, what may have been, what is gone."""


@dataclass(slots=True)
class Settled:
    """What has become of messages in doubt, in numbers."""

    found: int = 0
    """They had arrived although the answer was lost."""
    pending: int = 0
    """They had not, and are to be sent again."""


@dataclass(frozen=True, slots=True)
class _Contents:
    """Where contents come from that are compared: the octets, or what a house leaves of them."""

    archive: Archive
    target: LookingTarget
    house: HouseRules | None

    def ours(self, message: ArchivedMessage) -> Content:
        """Return the content of a message as it was, or is to be, sent."""
        if self.house is None:
            return archived_content(self.archive, message)
        return _of_likeness(sent_likeness(self.archive, message, (), self.house))

    def theirs(self, uids: bytes) -> Iterator[tuple[int, Content]]:
        """Yield UID and content of what lies in the open folder."""
        if self.house is None:
            yield from self.target.contents(uids)
            return
        for uid, likeness in self.target.likenesses(uids):
            yield uid, _of_likeness(likeness)


def _of_likeness(likeness: Likeness | None) -> Content:
    """Return decoded text and attachments as one content; to none of it nothing is equal."""
    one = digest(likeness) if likeness is not None else ""
    return Content(one, one, one)


def settle(
    archive: Archive,
    target: LookingTarget,
    selected: Selected,
    target_id: int,
    name: str,
    message_ids: Iterable[int],
    *,
    house: HouseRules | None = None,
    is_final: bool = True,
) -> Settled:
    """Find out what has become of messages in doubt, and record it: appended, or pending.

    Unless this look ``is_final``, what is not found stays in doubt and is only counted.

    The folder is the open one. Only UIDs at or above the recorded UIDNEXT are looked at; the
    whole folder, where its UIDVALIDITY is another one by now: all that lies in it is then
    looked up again, so that no copy is taken for two messages. What the server once answered OK
    to stays appended, also where it cannot be found.

    Raises:
        RefusedError: the folder does not show what it holds, and nothing can be said.
    """
    transfers = archive.transfers
    uidvalidity = selected.state.uidvalidity
    ids = list(dict.fromkeys(message_ids))
    in_doubt = list(_transfers(archive, target_id, ids))
    if any(transfer.uidvalidity != uidvalidity for transfer in in_doubt):
        ids = list(dict.fromkeys((*ids, *transfers.strays(target_id, name, uidvalidity))))
    lowest = min((_lowest(transfer, uidvalidity) for transfer in in_doubt), default=1)
    lookup = Lookup(archive.database)
    _list_folder(target, name, selected, lookup, lowest)
    for step in _steps(ids):
        sending = {t.message_id: t for t in transfers.some(target_id, step)}
        lookup.seek(
            _sought(
                archive,
                message,
                _lowest(sending[message.id], uidvalidity),
                _IN_DOUBT if sending[message.id].state is TransferState.SENDING else _SURE,
                lost=sending[message.id].lost,
            )
            for message in archive.index.some(step)
        )
    claims = transfers.claims(target_id, name, uidvalidity, lowest)
    proven = _prove(archive, lookup, target_id, claims, selected.state.uidnext)
    result = Settled()
    contents = _Contents(archive, target, house)
    for pairs in _steps(_pairs(contents, lookup, proven)):
        result.found += _record_found(archive, selected, target_id, dict(pairs))
    for step in _steps(ids):
        unfound = [
            transfer.undone()
            for transfer in transfers.some(target_id, step)
            if transfer.state is TransferState.SENDING
        ]
        if is_final:
            transfers.record((), unfound)
        result.pending += len(unfound)
    return result


def look_through(
    archive: Archive,
    target: LookingTarget,
    selected: Selected,
    target_id: int,
    mapped: MappedFolder,
    house: HouseRules | None = None,
) -> int:
    """Record which messages the open folder had before we came; return how many.

    Raises:
        RefusedError: the folder does not show what it holds, and nothing can be said.
    """
    uidvalidity = selected.state.uidvalidity
    if strays := archive.transfers.strays(target_id, mapped.name, uidvalidity):
        settle(archive, target, selected, target_id, mapped.name, strays, house=house)
    lookup = Lookup(archive.database)
    _list_folder(target, mapped.name, selected, lookup, 1)
    lookup.strike_owned(target_id, mapped.name, uidvalidity)
    for step in _steps(archive.transfers.unsent(target_id, mapped.folder_id)):
        lookup.seek(
            _sought(archive, message, 0, _IN_DOUBT, lost=carried(message, selected)[1])
            for message in archive.index.some(step)
            if lookup.has_received(received_of(message.internaldate))
        )
    count = 0
    for pairs in _steps(_pairs(_Contents(archive, target, house), lookup, None)):
        uids = dict(pairs)
        there = [
            Transfer(
                message.id,
                target_id,
                TransferState.ALREADY_THERE,
                mapped.name,
                uidvalidity=uidvalidity,
                uid=uids[message.id],
                reply="the target had it before",
                lost=carried(message, selected)[1],
                flags=message.flags,
                keywords=message.keywords,
            )
            for message in archive.index.some(uids)
        ]
        archive.transfers.record((), there)
        count += len(there)
    return count


def fingerprint_of(archive: Archive, message: ArchivedMessage) -> str:
    """Return the fingerprint of a message's file; that of no headers where it cannot be read."""
    path = archive.find(message)
    if path is None:
        return NO_HEADERS
    try:
        with path.open("rb", buffering=0) as file:
            return fingerprint(file.read(LONGEST_HEAD))
    except OSError:
        return NO_HEADERS


def archived_content(archive: Archive, message: ArchivedMessage) -> Content:
    """Return the content that was archived, whatever has become of the file since.

    Of a file that is altered or gone only the hash of the exact octets is known.
    """
    sha256 = message.sha256 or ""
    path = archive.find(message)
    try:
        content = content_of(path) if path is not None else None
    except OSError:
        content = None
    return content if content is not None and content.exact == sha256 else Content(sha256, "", "")


def _list_folder(
    target: LookingTarget, name: str, selected: Selected, lookup: Lookup, lowest: int
) -> None:
    """Take in every message of the open folder from a UID on, or say that it cannot be done."""
    if not selected.state.exists:
        return
    among = b"%d:*" % lowest
    for step in _steps(target.describe(among)):
        # RFC 9051 section 6.4.9: n:* holds the last message, however low its UID is.
        lookup.found(_found(each) for each in step if each.message.uid >= lowest)
    # Some servers leave messages out of an answer without a word.
    for uid in target.uids(among):
        if uid >= lowest and lookup.at(uid) is None:
            lookup.found([_found(each) for each in target.describe(b"%d" % uid)])
            if lookup.at(uid) is None and uid in target.uids(b"%d" % uid):
                raise UnusableFolderError(f"it lists UID {uid} and does not describe it")
    if lowest == 1 and lookup.count() < selected.state.exists:
        exists = target.open(split_name(name), read_only=True).state.exists
        if lookup.count() < exists:
            raise UnusableFolderError(
                f"it says it holds {exists} messages and shows {lookup.count()} of them"
            )


def _prove(
    archive: Archive, lookup: Lookup, target_id: int, claims: array[int], uidnext: int
) -> deque[tuple[int, int]]:
    """Strike what lies where the transfer log says; look for the rest. Return some of it.

    An APPENDUID may have lied, and another message lie there.
    """
    proven: deque[tuple[int, int]] = deque(maxlen=4)
    for step in _steps(claims):
        messages = {message.id: message for message in archive.index.some(step)}
        agreeing: list[int] = []
        doubtful: list[Sought] = []
        for transfer in archive.transfers.some(target_id, step):
            uid = transfer.uid or 0
            found = lookup.at(uid)
            # A UID that was never given tells of a lie, one that is gone of a deletion.
            is_deleted = found is None and not 0 < uidnext <= uid
            message = messages[transfer.message_id]
            sought = _sought(
                archive,
                message,
                transfer.uidnext_before or 1,
                _DELETED if is_deleted else _SURE,
                uid,
                transfer.lost,
            )
            if (
                found is not None
                and found.fingerprint == sought.fingerprint != NO_HEADERS
                and sought.received in (None, found.received)
                and lookup.is_alone(found)
            ):
                agreeing.append(found.uid)
                proven.append((transfer.message_id, found.uid))
            else:
                doubtful.append(sought)
        lookup.strike(agreeing)
        lookup.seek(doubtful)
    return proven


def _pairs(
    contents: _Contents, lookup: Lookup, proven: Iterable[tuple[int, int]] | None
) -> Iterator[tuple[int, int]]:
    """Yield message ids and UIDs of what is there.

    ``proven`` are messages of ours whose place is known. They tell whether this server stores
    other content than it was sent; with None it is taken not to.
    """
    _fetch_contents(contents, lookup)
    kept = changed = 0
    while groups := lookup.groups(_STEP):
        for group in groups:
            pairs, changed_here = _match(contents, lookup, group, is_rewriting=False)
            kept += len(pairs)
            changed += changed_here
            yield from pairs.items()
    if proven is None:
        return
    if changed and _is_rewriting(contents, proven, kept, changed):
        lookup.try_again()
        while groups := lookup.groups(_STEP):
            for group in groups:
                yield from _match(contents, lookup, group, is_rewriting=True)[0].items()
    # Some servers answer HEADER.FIELDS with less than the header has: then its content tells.
    if not lookup.leave_to_content(NO_HEADERS, _DELETED):
        return
    _fetch_contents(contents, lookup, _LAST_RESORT)
    while groups := lookup.groups(_STEP):
        for group in groups:
            yield from _match(contents, lookup, group, is_rewriting=False)[0].items()


def _fetch_contents(contents: _Contents, lookup: Lookup, most: int | None = None) -> None:
    """Have the target hand out what agrees with anything that is looked for."""
    asked = 0
    while (most is None or asked < most) and (uids := lookup.candidates(_STEP)):
        asked += len(uids)
        for among in uid_sets(uids, _CONTENTS_A_COMMAND):
            # All of them first: nobody waits for the network within a transaction.
            lookup.contents(
                [
                    (uid, (content.exact, content.tidy, content.body))
                    for uid, content in contents.theirs(among)
                ]
            )


def _is_rewriting(
    contents: _Contents,
    proven: Iterable[tuple[int, int]],
    kept: int,
    changed: int,
) -> bool:
    """Whether the server stores other content than it was sent.

    One message that differs is another message; several are a habit of the server.
    """
    for is_kept in _samples(contents, proven):
        kept += is_kept
        changed += not is_kept
    return changed >= 2 and changed > kept


def _match(
    contents: _Contents, lookup: Lookup, group: tuple[str, int | None], *, is_rewriting: bool
) -> tuple[dict[int, int], int]:
    sought = lookup.sought_of(*group)
    ids = [each.message_id for each in sought]
    messages = {m.id: m for m in contents.archive.index.some(ids)}
    matched = match(
        [
            Ours(
                each.message_id,
                messages[each.message_id].size or 0,
                contents.ours(messages[each.message_id]),
                each.lowest_uid,
                each.uid,
                each.marks,
                each.rank,
            )
            for each in sought
        ],
        [
            There(
                each.uid,
                each.size,
                Content(*each.content) if each.content else None,
                each.marks,
            )
            for each in lookup.found_of(*group)
        ],
        has_headers=group[0] != NO_HEADERS,
        is_rewriting=is_rewriting,
    )
    lookup.paired(matched.pairs)
    lookup.was_tried(*group)
    return matched.pairs, matched.changed


def _samples(contents: _Contents, proven: Iterable[tuple[int, int]]) -> Iterator[bool]:
    """Yield, for messages whose place is known, whether the server has kept their content."""
    for message_id, uid in proven:
        message = contents.archive.index.message(message_id)
        there = dict(contents.theirs(b"%d" % uid)).get(uid)
        if message is not None and there is not None:
            yield contents.ours(message).body == there.body


def _record_found(
    archive: Archive, selected: Selected, target_id: int, uids: dict[int, int]
) -> int:
    """Record where messages were found; return how many of them were in doubt."""
    before = archive.transfers.some(target_id, uids)
    sending = {each.message_id for each in before if each.state is TransferState.SENDING}
    archive.transfers.record(
        (),
        [
            replace(
                each,
                state=TransferState.APPENDED if each.message_id in sending else each.state,
                uidvalidity=selected.state.uidvalidity,
                uid=uids[each.message_id],
                reply=each.reply or _FOUND,
            )
            for each in before
        ],
    )
    return len(sending)


def _transfers(archive: Archive, target_id: int, ids: Iterable[int]) -> Iterator[Transfer]:
    for step in _steps(ids):
        yield from archive.transfers.some(target_id, step)


def _steps(each: Iterable[T]) -> Iterator[list[T]]:
    waiting = iter(each)
    while step := list(islice(waiting, _STEP)):
        yield step


def _lowest(transfer: Transfer, uidvalidity: int) -> int:
    return (transfer.uidnext_before or 1) if transfer.uidvalidity == uidvalidity else 1


def _sought(
    archive: Archive,
    message: ArchivedMessage,
    lowest: int,
    rank: int,
    uid: int | None = None,
    lost: Collection[str] = (),
) -> Sought:
    return Sought(
        message.id,
        fingerprint_of(archive, message),
        received_of(message.internaldate),
        lowest,
        rank,
        uid,
        _marks(message.flags, message.keywords, lost),
    )


def _marks(flags: Iterable[str], keywords: Iterable[str], lost: Collection[str] = ()) -> str:
    """Return flags and keywords as one text, without those that the target does not keep."""
    return " ".join(sorted(word.lower() for word in (*flags, *keywords) if word not in lost))


def _found(described: Described) -> Found:
    return Found(
        described.message.uid,
        fingerprint(described.header),
        received_of(described.message.internaldate),
        described.size,
        marks=_marks(described.message.flags, described.message.keywords),
    )
