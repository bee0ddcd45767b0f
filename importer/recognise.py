"""Knows a message again in a house that makes its own MIME of what it is sent.

Neither size nor octets tell there, and a Message-ID may have been invented. What tells are the
headers that identify, decoded; where they leave a choice, the received instant and the order in
which the messages were sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from importer.letter import sent_head
from importer.likeness import same_headers
from store.headers import parse
from store.index import received_of
from store.transfers import TransferState

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    head: bytes
    received: int | None

    @property
    def headers(self) -> Headers:
        """The headers of what was sent."""
        return parse(self.head)

    @property
    def has_headers(self) -> bool:
        """Whether it has any header to be known by."""
        ours = self.headers
        return any((ours.message_id, ours.date, ours.sender, ours.subject))

    @property
    def vagueness(self) -> tuple[bool, bool]:
        """A key that sorts first what can be told best from others."""
        return self.headers.message_id is None, not self.has_headers


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
    there = {
        found.message.uid: found
        for found in target.describe(b"%d:*" % lowest)
        # RFC 9051 section 6.4.9: n:* holds the last message, however low its UID is.
        if found.message.uid >= lowest and found.message.uid not in owned
    }
    arrived: list[Transfer] = []
    # What has little to be known by fits much: it takes what the others leave.
    for sent in sorted(_sent(archive, asked, house), key=lambda sent: sent.vagueness):
        found = _pick(sent, there.values())
        if found is not None:
            del there[found.message.uid]
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
        head = sent_head(archive, message, transfer.repairs, house)
        date = transfer.internaldate or message.internaldate
        yield Sent(transfer, head or b"", received_of(date))


def _pick(sent: Sent, there: Iterable[Described]) -> Described | None:
    """Return the message that is this one, or None."""
    has_id, has_headers = sent.headers.message_id is not None, sent.has_headers
    lowest = sent.transfer.uidnext_before or 1
    best: tuple[int, bool, int] | None = None
    picked = None
    for found in there:
        if found.message.uid < lowest:
            continue
        is_received_then = received_of(found.message.internaldate) == sent.received
        differing = _IDENTIFYING & set(same_headers(sent.head, found.header))
        if not has_id:
            differing -= {"Message-ID"}  # which the house may have invented
        if differing and (not has_id or "Message-ID" in differing):
            continue
        if not has_headers and not (is_received_then and _is_headless(found)):
            continue
        rank = (len(differing), not is_received_then, found.message.uid)
        if best is None or rank < best:
            best, picked = rank, found
    return picked


def _is_headless(found: Described) -> bool:
    """Whether a message in the folder has no header but those that a house invents."""
    theirs = parse(found.header)
    return theirs.sender is None and theirs.subject is None
