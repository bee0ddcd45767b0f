"""Looking into the target: what of ours is there, before anything is sent (again)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from importer.digest import digest_of
from importer.match import Ours, There, match
from store.headers import fingerprint
from store.index import received_of
from store.transfers import Transfer, TransferState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from importer.target import MailTarget
    from store.archive import Archive
    from store.index import ArchivedMessage
    from store.transfers import MappedFolder
    from waystation.imap import Selected

_HEAD = 64 * 1024
_FOUND = "found in the target after its answer was lost"


def settle(
    archive: Archive, target: MailTarget, selected: Selected, in_doubt: list[Transfer]
) -> list[Transfer]:
    """Return what has become of each transfer in doubt: appended, with its UID, or pending.

    Only UIDs at or above the recorded UIDNEXT are looked at, in the folder that is open; the
    whole folder, where its UIDVALIDITY is another one by now. What the server once answered
    OK to stays appended, also where it cannot be found.
    """
    uidvalidity = selected.state.uidvalidity
    ours: list[Ours] = []
    for transfer in in_doubt:
        message = archive.index.message(transfer.message_id)
        if message is not None:
            is_same = transfer.uidvalidity == uidvalidity
            ours.append(_ours(archive, message, (transfer.uidnext_before or 1) if is_same else 1))
    lowest = min((message.lowest_uid for message in ours), default=1)
    first = in_doubt[0]
    found = _there(archive, target, selected, first.target_id, first.folder, lowest)
    pairs = _match(archive, target, ours, found, trust_headers=True)
    return [
        _outcome(transfer, uidvalidity, pairs.get(transfer.message_id)) for transfer in in_doubt
    ]


def look_through(
    archive: Archive,
    target: MailTarget,
    target_id: int,
    mapped: MappedFolder,
    selected: Selected,
) -> list[Transfer]:
    """Return which messages a folder of the target had before we came."""
    ours = []
    for number in archive.transfers.unsent(target_id, mapped.folder_id):
        message = archive.index.message(number)
        if message is not None:
            ours.append(_ours(archive, message, 0))
    if not ours:
        return []
    found = _there(archive, target, selected, target_id, mapped.name, 1)
    pairs = _match(archive, target, ours, found, trust_headers=False)
    return [
        Transfer(
            message_id,
            target_id,
            TransferState.ALREADY_THERE,
            mapped.name,
            uidvalidity=selected.state.uidvalidity,
            uid=uid,
            reply="the target had it before",
        )
        for message_id, uid in pairs.items()
    ]


def _outcome(transfer: Transfer, uidvalidity: int, uid: int | None) -> Transfer:
    is_in_doubt = transfer.state is TransferState.SENDING
    if uid is not None:
        return replace(
            transfer,
            state=TransferState.APPENDED if is_in_doubt else transfer.state,
            uidvalidity=uidvalidity,
            uid=uid,
            reply=transfer.reply or _FOUND,
        )
    if is_in_doubt:
        return replace(transfer, state=TransferState.PENDING, uidvalidity=None)
    return transfer


def _match(
    archive: Archive,
    target: MailTarget,
    ours: Iterable[Ours],
    there: Iterable[There],
    *,
    trust_headers: bool,
) -> dict[int, int]:
    def content_of_ours(message_id: int) -> tuple[tuple[str, str], int]:
        message = archive.index.message(message_id)
        if message is None or message.path is None:
            return ("", ""), 0
        digest = digest_of(archive.path / message.path)
        return digest.values, digest.crlf_size

    return match(ours, there, content_of_ours, target.digest, trust_headers=trust_headers)


def _there(
    archive: Archive,
    target: MailTarget,
    selected: Selected,
    target_id: int,
    name: str,
    lowest: int,
) -> list[There]:
    """Return the messages of the open folder that no row of the ledger accounts for."""
    if not selected.state.exists:
        return []
    uidvalidity = selected.state.uidvalidity
    return [
        There(
            described.message.uid,
            fingerprint(described.header),
            received_of(described.message.internaldate),
            described.size,
        )
        for described in target.describe(b"%d:*" % lowest)
        # RFC 9051 section 6.4.9: n:* holds the last message, however low its UID is.
        if described.message.uid >= lowest
        and archive.transfers.owner(target_id, name, uidvalidity, described.message.uid) is None
    ]


def _ours(archive: Archive, message: ArchivedMessage, lowest_uid: int) -> Ours:
    return Ours(
        message.id,
        fingerprint(head_of(archive, message)),
        received_of(message.internaldate),
        message.size or 0,
        lowest_uid,
    )


def head_of(archive: Archive, message: ArchivedMessage) -> bytes:
    """Return the first octets of a message's file; none where it cannot be read."""
    try:
        with (archive.path / (message.path or "")).open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""
