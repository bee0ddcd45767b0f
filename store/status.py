"""The totals of the ledger, folder by folder, and whether they add up.

A folder that was looked through to its end has to: nothing is rounded, and what is left over is
told. One that a run is still at, or was cut off in, is not finished, which is no alarm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from store.tallies import all_tallies

if TYPE_CHECKING:
    from store.archive import Archive
    from store.tallies import Tallies


@dataclass(slots=True)
class FolderTotals:
    """One folder in numbers of messages."""

    name: str
    on_source: int | None
    """What the source showed at its last look; None where nobody has looked to the end."""
    is_settled: bool = False
    """Whether the last run was through with it, or the source no longer has it."""
    archived: int = 0
    skipped: int = 0
    failed: int = 0
    vanished: int = 0
    """How many of these the source no longer shows."""
    octets: int = 0
    """Size of all that is archived."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why messages were skipped or failed."""
    skipped_by: dict[str, int] = field(default_factory=dict)
    """Why messages were skipped."""
    failed_by: dict[str, int] = field(default_factory=dict)
    """Why messages failed."""
    targets: dict[str, dict[str, int]] = field(default_factory=dict)
    """State by target, for what is archived."""

    @property
    def left_over(self) -> int | None:
        """How many messages more than the source showed are accounted for; None: nobody knows."""
        if self.on_source is None:
            return None
        return self.archived + self.skipped + self.failed - self.vanished - self.on_source

    @property
    def adds_up(self) -> bool:
        """Whether every message that the source showed is accounted for."""
        return self.left_over == 0

    @property
    def targets_left_over(self) -> dict[str, int]:
        """By target, how many more states there are than archived messages, where not none."""
        sums = {target: sum(states.values()) for target, states in self.targets.items()}
        return {
            target: count - self.archived
            for target, count in sums.items()
            if count != self.archived
        }

    @property
    def is_wrong(self) -> bool:
        """Whether the numbers contradict each other, though nothing is left to do."""
        return (self.is_settled and not self.adds_up) or bool(self.targets_left_over)


NO_FOLDER = "(no folder)"
"""What belongs to no folder is told under this name; no index of ours holds such a thing."""


def status(archive: Archive, counted: Tallies | None = None) -> list[FolderTotals]:
    """Return the totals of every folder, by name.

    ``counted`` are tallies that somebody has asked for already.
    """
    counted = counted or all_tallies(archive.database)
    folders: dict[str, FolderTotals] = {}
    for folder in archive.index.folders():
        on_source = folder.state.exists if folder.state is not None else None
        if folder.last_seen is not None:
            on_source = 0
        is_settled = folder.is_settled or folder.last_seen is not None
        folders[folder.name] = FolderTotals(folder.name, on_source, is_settled)
    for name, state, reason, has_vanished, count, octets in archive.index.totals(counted):
        totals = folders[name]
        totals.archived += count if state == "archived" else 0
        totals.skipped += count if state == "skipped" else 0
        totals.failed += count if state == "failed" else 0
        totals.vanished += count if has_vanished else 0
        totals.octets += octets if state == "archived" else 0
        if reason is not None:
            totals.reasons[reason] = totals.reasons.get(reason, 0) + count
            by = totals.skipped_by if state == "skipped" else totals.failed_by
            by[reason] = by.get(reason, 0) + count
    for target, name, reached, _, count in archive.transfers.totals(counted):
        states = folders[name].targets.setdefault(target, {})
        states[reached] = states.get(reached, 0) + count
    _add_strays(archive, folders, counted)
    return list(folders.values())


def _add_strays(archive: Archive, folders: dict[str, FolderTotals], counted: Tallies) -> None:
    """Count in what a sound index does not hold, so that it shows."""
    nowhere = FolderTotals(NO_FOLDER, 0, is_settled=True)
    for target, name, reached, count in archive.transfers.astray(counted):
        states = folders.get(name or "", nowhere).targets.setdefault(target, {})
        states[reached] = states.get(reached, 0) + count
    rows = sum(each.archived + each.skipped + each.failed for each in folders.values())
    nowhere.failed = archive.index.count() - rows
    if nowhere.is_wrong:
        folders[NO_FOLDER] = nowhere
