"""A message as one row of the ledger."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store.archive import Archive
    from store.index import ArchivedMessage
    from store.transfers import Transfer


class Rows:
    """Makes rows of the messages of one archive."""

    def __init__(self, archive: Archive) -> None:
        self._transfers = archive.transfers
        self._targets = archive.transfers.targets()
        self._maps = {
            target.id: archive.transfers.folder_map(target.id) for target in self._targets
        }

    def of(self, message: ArchivedMessage) -> dict[str, Any]:
        """Return the row of a message, as docs/commands.md describes it."""
        targets: dict[str, dict[str, Any]] = {}
        if self._targets and message.state == "archived":
            transfers = {t.target_id: t for t in self._transfers.of_message(message.id)}
            for target in self._targets:
                mapped = self._maps[target.id].get(message.folder_id)
                folder = mapped.name if mapped is not None else None
                targets[target.name] = _target_row(transfers.get(target.id), folder)
        return _row(message, targets)


def _row(message: ArchivedMessage, targets: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "folder": message.folder,
        "uidvalidity": message.uidvalidity,
        "uid": message.uid,
        "sha256": message.sha256,
        "size": message.size,
        "internaldate": message.internaldate.isoformat() if message.internaldate else None,
        "date_from": message.date_from,
        "flags": list(message.flags),
        "keywords": list(message.keywords),
        "message_id": message.message_id,
        "state": message.state,
        "reason": message.reason,
        "path": message.path,
        "last_seen": message.last_seen,
        "id": message.id,
        "targets": targets,
    }


def _target_row(transfer: Transfer | None, folder: str | None) -> dict[str, Any]:
    if transfer is None:
        nothing: dict[str, Any] = {"uidvalidity": None, "uid": None}
        nothing |= {"lost": [], "repairs": [], "passed": []}
        return {"state": "pending", "folder": folder, **nothing, "reply": None}
    return {
        "state": transfer.state.value,
        "folder": transfer.folder,
        "uidvalidity": transfer.uidvalidity,
        "uid": transfer.uid,
        "lost": list(transfer.lost),
        "repairs": [asdict(each) for each in transfer.repairs],
        "passed": list(transfer.passed),
        "reply": transfer.reply,
    }
