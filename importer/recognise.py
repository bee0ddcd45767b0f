"""Knows a message again in a house that makes its own MIME of what it is sent.

Neither size nor octets tell there, and a Message-ID may have been invented. What tells are the
headers that identify, decoded; where they leave a choice, the received instant and the order in
which the messages were sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from importer.letter import sent_head
from importer.likeness import differing, identity
from store.headers import parse
from store.index import received_of
from store.transfers import TransferState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from importer.house import HouseRules
    from importer.target import LookingTarget
    from store.archive import Archive
    from store.headers import Headers
    from store.transfers import Transfer
    from waystation.imap import Selected
    from waystation.wire import Described

_IDENTIFYING = frozenset({"Message-ID", "Date", "From", "Subject"})
_FOUND = "found in the target after its answer was lost"


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was sent, and lies in the folder perhaps."""

    transfer: Transfer
    headers: Headers
    identity: Mapping[str, object]
    received: int | None

    @property
    def has_headers(self) -> bool:
        """Whether it has any header to be known by."""
        ours = self.headers
        return any((ours.message_id, ours.date, ours.sender, ours.subject))

    @property
    def vagueness(self) -> tuple[bool, bool]:
        """A key that sorts first what can be told best from others."""
        return self.headers.message_id is None, not self.has_headers


class _There:
    """What lies in the folder, each parsed once: a run may have thousands in doubt."""

    def __init__(self, found: Iterable[Described]) -> None:
        self._all = {each.message.uid: (each, identity(each.header)) for each in found}
        self._by_id: dict[object, list[int]] = {}
        for uid, (_, known_by) in self._all.items():
            self._by_id.setdefault(known_by["Message-ID"], []).append(uid)

    def candidates(self, message_id: object) -> Iterator[tuple[Described, Mapping[str, object]]]:
        """Yield what is left of those with this Message-ID; where it is none, of all."""
        uids = self._by_id.get(message_id, ()) if message_id else list(self._all)
        return (self._all[uid] for uid in uids if uid in self._all)

    def take(self, found: Described) -> None:
        del self._all[found.message.uid]


def recognise(
    archive: Archive,
    target: LookingTarget,
    selected: Selected,
    transfers: Iterable[Transfer],
    house: HouseRules,
) -> list[Transfer]:
    """Return what has arrived of messages in doubt, with its UID, out of the open folder.

    All of them were sent while the folder had the UIDVALIDITY that it has now. A message that the
    ledger accounts for is never taken for another.
    """
    asked = sorted(transfers, key=_order)
    lowest = min((each.uidnext_before or 1 for each in asked), default=1)
    if not asked or not selected.state.exists:
        return []
    first = asked[0]
    owned = {
        each.uid
        for each in archive.transfers.some(
            first.target_id,
            archive.transfers.claims(
                first.target_id, first.folder, selected.state.uidvalidity, lowest
            ),
        )
    }
    there = _There(
        found
        for found in target.describe(b"%d:*" % lowest)
        # RFC 9051 section 6.4.9: n:* holds the last message, however low its UID is.
        if found.message.uid >= lowest and found.message.uid not in owned
    )
    arrived: list[Transfer] = []
    # What has little to be known by fits much: it takes what the others leave.
    for sent in sorted(_sent(archive, asked, house), key=lambda sent: sent.vagueness):
        found = _pick(sent, there)
        if found is not None:
            there.take(found)
            arrived.append(
                replace(
                    sent.transfer,
                    state=TransferState.APPENDED,
                    uidvalidity=selected.state.uidvalidity,
                    uid=found.message.uid,
                    reply=sent.transfer.reply or _FOUND,
                )
            )
    return arrived


def _order(transfer: Transfer) -> tuple[bool, int, int]:
    """Return a key that lets what was taken for sure choose first, then what was sent first."""
    is_doubtful = transfer.state is TransferState.SENDING
    return is_doubtful, transfer.uidnext_before or 0, transfer.message_id


def _sent(archive: Archive, transfers: list[Transfer], house: HouseRules) -> Iterable[Sent]:
    messages = {m.id: m for m in archive.index.some(each.message_id for each in transfers)}
    for transfer in transfers:
        message = messages[transfer.message_id]
        head = sent_head(archive, message, transfer.repairs, house) or b""
        date = transfer.internaldate or message.internaldate
        yield Sent(transfer, parse(head), identity(head), received_of(date))


def _pick(sent: Sent, there: _There) -> Described | None:
    """Return the message that is this one, or None."""
    has_id, has_headers = sent.headers.message_id is not None, sent.has_headers
    lowest = sent.transfer.uidnext_before or 1
    best: tuple[int, bool, int] | None = None
    picked = None
    for found, known_by in there.candidates(sent.identity["Message-ID"] if has_id else None):
        if found.message.uid < lowest:
            continue
        is_received_then = received_of(found.message.internaldate) == sent.received
        others = _IDENTIFYING & set(differing(sent.identity, known_by))
        if not has_id:
            others -= {"Message-ID"}  # which the house may have invented
        if others and (not has_id or "Message-ID" in others):
            continue
        if not has_headers and not (is_received_then and _is_headless(found)):
            continue
        rank = (len(others), not is_received_then, found.message.uid)
        if best is None or rank < best:
            best, picked = rank, found
    return picked


def _is_headless(found: Described) -> bool:
    """Whether a message in the folder has no header but those that a house invents."""
    theirs = parse(found.header)
    return theirs.sender is None and theirs.subject is None
