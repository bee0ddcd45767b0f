"""Takes back from a target exactly what this archive's ledger put there, and nobody has changed.

Each message is looked at first: it lies at the UID that the ledger says; its headers, size, date
and flags are those that were sent, or, where a server is not exact in these, its content is. What
was there before us, what somebody has read, flagged, moved or changed since, and what is in doubt
stays, and is named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from importer.verify import described, is_as_sent
from store.transfers import BEING_REMOVED, REMOVED, TransferState
from waystation.errors import RefusedError
from waystation.model import split_name
from waystation.wire import uid_sets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.house import HouseRules
    from importer.target import LookingTarget
    from store.archive import Archive
    from store.index import ArchivedMessage
    from store.transfers import Target, Transfer
    from waystation.progress import Progress

_PAGE = 200


@dataclass(slots=True)
class RolledBack:
    """What a rollback has done, or would do."""

    removed: int = 0
    changed: int = 0
    """Messages that stay because they are not as they were sent any more."""
    gone: int = 0
    """Messages that were not there any more."""
    in_doubt: int = 0
    """Messages of which nobody knows whether they arrived; an import settles that."""
    there_before: int = 0
    """Messages that the target had before us; they are not ours to remove."""
    folders: dict[str, int] = field(default_factory=dict)
    """How many are removed from which folder of the target."""


def survey(
    archive: Archive,
    mail_target: LookingTarget,
    target: Target,
    progress: Progress,
    house: HouseRules | None,
) -> tuple[RolledBack, dict[str, list[int]]]:
    """Return what a rollback would do, and the messages that it would remove, by folder."""
    result = RolledBack()
    removable: dict[str, list[int]] = {}
    transfers = archive.transfers
    result.in_doubt = len(transfers.in_state(target.id, TransferState.SENDING))
    result.there_before = len(transfers.in_state(target.id, TransferState.ALREADY_THERE))
    mail_target.folders()
    names = transfers.arrived_folders(target.id)
    progress.expect(sum(names.values()))
    for name, count in names.items():
        progress.folder(name, count)
        for transfer, message, why in _look(archive, mail_target, target, name, house):
            if why is None:
                removable.setdefault(name, []).append(message.id)
            elif why:
                result.changed += 1
                progress.problem(message.folder, message.uid, f"stays: {why}")
            else:
                result.gone += 1
                transfers.record((), [transfer.undone(REMOVED)])
            progress.advance(1, message.size or 0)
    result.folders = {name: len(ids) for name, ids in removable.items()}
    return result, removable


def remove(
    archive: Archive,
    mail_target: LookingTarget,
    target: Target,
    progress: Progress,
    house: HouseRules | None,
    removable: dict[str, list[int]],
    result: RolledBack,
) -> None:
    """Remove what ``survey`` found; each message is looked at once more just before.

    Raises:
        RefusedError: the server cannot remove single messages.
    """
    transfers = archive.transfers
    for name, ids in removable.items():
        progress.folder(name, len(ids))
        wanted = set(ids)
        uids: dict[int, Transfer] = {}
        for transfer, message, why in _look(archive, mail_target, target, name, house):
            if message.id in wanted and why is None:
                uids[transfer.uid or 0] = transfer
        mail_target.open(split_name(name))
        # The intent comes first: what is marked as deleted when we are killed is known again.
        transfers.removing(target.id, (each.message_id for each in uids.values()))
        for among in uid_sets(sorted(uids), _PAGE):
            mail_target.remove(among)
        left = set(mail_target.uids(b"1:*")) if uids else set()
        gone = [transfer.undone(REMOVED) for uid, transfer in uids.items() if uid not in left]
        transfers.record((), gone)
        result.removed += len(gone)
        progress.advance(len(gone), 0)
        if len(gone) < len(uids):
            raise RefusedError("UID EXPUNGE", f"{len(uids) - len(gone)} messages are still there")


def _look(
    archive: Archive,
    mail_target: LookingTarget,
    target: Target,
    name: str,
    house: HouseRules | None,
) -> Iterator[tuple[Transfer, ArchivedMessage, str | None]]:
    """Yield what we put into a folder, and why it is not to be removed.

    None where it is, and no words where it is not there any more.
    """
    selected = mail_target.open(split_name(name), read_only=True)
    ids = archive.transfers.arrived(target.id, name)
    for start in range(0, len(ids), _PAGE):
        group = [
            transfer
            for transfer in archive.transfers.some(target.id, ids[start : start + _PAGE])
            if transfer.state in (TransferState.APPENDED, TransferState.VERIFIED)
        ]
        here = [t.uid for t in group if t.uid and t.uidvalidity == selected.state.uidvalidity]
        there = described(mail_target, sorted(here)) if selected.state.exists else {}
        messages = {m.id: m for m in archive.index.some(each.message_id for each in group)}
        for transfer in group:
            message = messages[transfer.message_id]
            if transfer.uid is None or transfer.uidvalidity != selected.state.uidvalidity:
                yield transfer, message, "where it lies is not known; run verify --target first"
            elif transfer.uid not in there:
                yield transfer, message, ""
            else:
                is_begun = transfer.reply == BEING_REMOVED
                why = is_as_sent(
                    archive,
                    mail_target,
                    transfer,
                    message,
                    there[transfer.uid],
                    house,
                    is_begun=is_begun,
                )
                yield transfer, message, why
