"""What a report tells, gathered from an archive at one moment; bounded, however large that is."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from store import audit
from store.archive import is_pop3
from store.status import FolderTotals, status
from store.transfers import ARRIVED, TransferState
from waystation.report.looks import Looks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.archive import Archive
    from store.audit import Case, CaseTotal, FoundDifference, Run, Sealed, StateTotal
    from store.transfers import MappedFolder, Target
    from waystation.report.looks import Found

SHOWN = 40
"""Messages of one kind of case that the page shows; the rest is in the table beside it."""
SHOWN_IN_ALL = 480
"""The same of all kinds, since each kind comes with each target."""
SHOWN_DETAILS = 6
SHOWN_FOLDERS = 330
"""Folders that a table of the page shows, where there is one target."""
_SHOWN_FOLDERS_IN_ALL = 1000
SHOWN_RUNS = 60
MOST_POINTS = 48
"""Columns of a chart over time that a reader can tell apart."""
SIZE_BOUNDS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 25_000_000)
"""Octets between the columns of the chart of sizes."""
_DETAIL_OCTETS = 60


@dataclass(frozen=True, slots=True)
class Cases:
    """The messages that are not simply fine in one way."""

    total: CaseTotal
    details: list[tuple[str, int]]
    """The most frequent reasons with how many messages have each; empty where none is told."""
    shown: list[Case]

    @property
    def is_folded(self) -> bool:
        """Whether there are more than are shown."""
        return self.total.count > len(self.shown)


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """One target."""

    target: Target
    states: list[StateTotal]
    folders: list[tuple[str, MappedFolder]]
    """Archived name and where the folder goes, by name."""
    timeline: list[tuple[str, dict[TransferState, int]]]
    """When rows were last changed: a moment in UTC and how many are in which state."""
    is_by_day: bool
    """Whether the timeline counts days; hours otherwise."""

    def count(self, *states: TransferState) -> int:
        """Return how many messages are in one of these states."""
        return sum(each.messages for each in self.states if each.state in states)

    @property
    def arrived(self) -> int:
        """How many messages lie in the target, as far as the ledger knows."""
        return self.count(*ARRIVED)

    @property
    def compared(self) -> int:
        """How many of these the last comparison found the same."""
        return sum(each.compared for each in self.states)

    @property
    def open(self) -> int:
        """How many are still to be sent or looked up."""
        return self.count(TransferState.PENDING, TransferState.SENDING)


@dataclass(frozen=True, slots=True)
class Verification:
    """What the last comparison with the servers found."""

    run: Run
    totals: list[tuple[str, str, int]]
    """Cause, side and how many."""
    shown: list[FoundDifference]

    @property
    def count(self) -> int:
        """How many differences there are."""
        return sum(count for _, _, count in self.totals)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a report says, as numbers and names."""

    made_at: str
    made_by: str
    archive: str
    """The name of the archive's directory."""
    archive_id: str
    created: str
    source: str | None
    is_pop3: bool
    folders: list[FolderTotals]
    targets: list[TargetFacts]
    runs: list[Run]
    """The last ones, the oldest first."""
    runs_in_all: int
    years: list[tuple[int | None, int, int]]
    sizes: list[int]
    octets: dict[str, int]
    """By state at the source."""
    cases: list[Cases]
    has_subjects: bool
    verification: Verification | None
    sealed: Sealed | None
    found: tuple[Found, ...] = ()
    """What the last verifications found at the source and in each target."""
    unsettled: frozenset[str] = frozenset()
    """Folders that a run is still at, or was cut off in."""
    totals: Counter[str] = field(default_factory=Counter)

    @property
    def messages(self) -> int:
        """How many messages the source has ever shown."""
        return self.totals["archived"] + self.totals["skipped"] + self.totals["failed"]

    @property
    def on_source(self) -> int | None:
        """How many messages the source showed last; None where it was not looked through."""
        if any(folder.on_source is None for folder in self.folders):
            return None
        return sum(folder.on_source or 0 for folder in self.folders)

    def is_unfinished(self, folder: FolderTotals) -> bool:
        """Whether a folder does not add up because a run has not come to its end there."""
        return not folder.adds_up and (folder.on_source is None or folder.name in self.unsettled)

    @property
    def unfinished(self) -> int:
        """How many folders have not been looked through to the end."""
        return sum(map(self.is_unfinished, self.folders))

    @property
    def wrong(self) -> int:
        """How many folders were looked through to the end, and do not add up all the same."""
        return sum(not each.adds_up and not self.is_unfinished(each) for each in self.folders)

    @property
    def missing(self) -> int:
        """How many messages the source showed that have no row here."""
        return sum(
            max(0, folder.on_source - _present(folder))
            for folder in self.folders
            if folder.on_source is not None and not self.is_unfinished(folder)
        )

    def found_of(self, *causes: str) -> int:
        """Return how much the last verifications found for one of these causes."""
        return sum(each.count(*causes) for each in self.found)

    @property
    def shown_folders(self) -> int:
        """How many folders each table of the page shows; each target has two tables of them."""
        return min(SHOWN_FOLDERS, _SHOWN_FOLDERS_IN_ALL // (1 + 2 * len(self.targets)))

    @property
    def is_folded(self) -> bool:
        """Whether messages are told only in the table beside the page."""
        return any(each.is_folded for each in self.cases)


def gather(archive: Archive, made_at: str, *, with_subjects: bool) -> Facts:
    """Return what there is to tell; call inside ``archive.database.atomic``."""
    database = archive.database
    folders = status(archive)
    targets = archive.transfers.targets()
    runs: deque[Run] = deque(maxlen=SHOWN_RUNS)
    runs_in_all = 0
    looks = Looks([target.name for target in targets])
    for run in audit.runs(database):
        looks.add(run)
        runs.append(run)
        runs_in_all += 1
    totals: Counter[str] = Counter()
    for folder in folders:
        for key in ("archived", "skipped", "failed", "vanished", "octets"):
            totals[key] += getattr(folder, key)
    kinds = case_totals(archive, targets)
    shown = min(SHOWN, SHOWN_IN_ALL // max(1, len(kinds)))
    return Facts(
        made_at=made_at,
        made_by=f"waystation {version('waystation')}",
        archive=archive.path.resolve().name,
        archive_id=archive.description.id,
        created=archive.description.created,
        source=archive.description.source,
        is_pop3=is_pop3(archive.description.source_key or ""),
        folders=folders,
        targets=[_target(archive, target) for target in targets],
        runs=list(runs),
        runs_in_all=runs_in_all,
        years=audit.by_year(database),
        sizes=audit.by_size(database, SIZE_BOUNDS),
        octets=audit.source_octets(database),
        cases=[_cases(archive, total, shown) for total in kinds],
        has_subjects=with_subjects,
        verification=_verification(archive),
        sealed=audit.sealed(database),
        found=tuple(looks.found(partial(audit.found_by_cause, database))),
        unsettled=frozenset(
            each.name
            for each in archive.index.folders()
            if not each.is_settled and each.last_seen is None
        ),
        totals=totals,
    )


def case_totals(archive: Archive, targets: Sequence[Target]) -> list[CaseTotal]:
    """Return how many messages are not simply fine in which way."""
    return audit.case_totals(archive.database, [(each.id, each.name) for each in targets])


def _verification(archive: Archive) -> Verification | None:
    run = audit.last_verification(archive.database)
    if run is None:
        return None
    return Verification(
        run,
        audit.difference_totals(archive.database, run.id),
        list(audit.differences(archive.database, run.id, SHOWN)),
    )


def _present(folder: FolderTotals) -> int:
    return folder.archived + folder.skipped + folder.failed - folder.vanished


def _target(archive: Archive, target: Target) -> TargetFacts:
    names = {folder.id: folder.name for folder in archive.index.folders()}
    mapped = archive.transfers.folder_map(target.id)
    timeline, is_by_day = _timeline(audit.by_hour(archive.database, target.id))
    return TargetFacts(
        target,
        audit.state_totals(archive.database, target.id),
        sorted((names[number], where) for number, where in mapped.items() if number in names),
        timeline,
        is_by_day,
    )


def _timeline(
    hours: list[tuple[str, TransferState, int]],
) -> tuple[list[tuple[str, dict[TransferState, int]]], bool]:
    """Return the rows by hour; by day, and the last ones, where that is too much for a chart."""
    is_by_day = len({hour for hour, _, _ in hours}) > MOST_POINTS
    counts: dict[str, dict[TransferState, int]] = {}
    for hour, state, count in hours:
        states = counts.setdefault(hour[:10] if is_by_day else hour, {})
        states[state] = states.get(state, 0) + count
    return list(counts.items())[-MOST_POINTS:], is_by_day


def _cases(archive: Archive, total: CaseTotal, most: int) -> Cases:
    found = audit.details(archive.database, total, SHOWN_DETAILS)
    shown = audit.cases(archive.database, total, most=most, details=_DETAIL_OCTETS)
    return Cases(total, [(text, count) for text, count in found if text], list(shown))


def seconds_of(run: Run) -> float | None:
    """Return how long a run took; None where nobody knows."""
    try:
        began = datetime.fromisoformat(run.started_at)
        ended = datetime.fromisoformat(run.ended_at) if run.ended_at else None
    except ValueError:
        return None
    return None if ended is None else max(0.0, (ended - began).total_seconds())


def moved_by(run: Run) -> int | None:
    """Return how many messages a run brought in or sent; None where that is not its work."""
    key = {"export": "new", "import": "appended"}.get(run.command)
    return _count(run, key) if key is not None else None


def paused_by(run: Run) -> int:
    """Return how many seconds of a run were pauses that the server asked for."""
    return _count(run, "seconds_throttled")


def pauses_of(run: Run) -> int:
    """Return how often the server asked a run to pause."""
    return _count(run, "throttled")


def _count(run: Run, key: str) -> int:
    count = run.totals.get(key, 0)
    return count if isinstance(count, int) and count > 0 else 0
