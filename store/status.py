"""The totals of the ledger, folder by folder, and whether they add up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store.archive import Archive


@dataclass(slots=True)
class FolderTotals:
    """One folder in numbers of messages."""

    name: str
    on_source: int | None
    """What the source showed at its last look; None where nobody has looked to the end."""
    archived: int = 0
    skipped: int = 0
    failed: int = 0
    vanished: int = 0
    """How many of these the source no longer shows."""
    octets: int = 0
    """Size of all that is archived."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why messages were skipped or failed."""
    targets: dict[str, dict[str, int]] = field(default_factory=dict)
    """State by target, for what is archived."""

    @property
    def adds_up(self) -> bool:
        """Whether every message that the source showed is accounted for."""
        rows = self.archived + self.skipped + self.failed
        return self.on_source is not None and rows - self.vanished == self.on_source


def status(archive: Archive) -> list[FolderTotals]:
    """Return the totals of every folder, by name."""
    folders: dict[str, FolderTotals] = {}
    for folder in archive.index.folders():
        on_source = folder.state.exists if folder.state is not None else None
        if folder.last_seen is not None:
            on_source = 0
        folders[folder.name] = FolderTotals(folder.name, on_source)
    for name, state, reason, has_vanished, count, octets in archive.index.totals():
        totals = folders[name]
        totals.archived += count if state == "archived" else 0
        totals.skipped += count if state == "skipped" else 0
        totals.failed += count if state == "failed" else 0
        totals.vanished += count if has_vanished else 0
        totals.octets += octets if state == "archived" else 0
        if reason is not None:
            totals.reasons[reason] = totals.reasons.get(reason, 0) + count
    for target, name, reached, _, count in archive.transfers.totals():
        states = folders[name].targets.setdefault(target, {})
        states[reached] = states.get(reached, 0) + count
    return list(folders.values())
