"""What the last verifications of each side found, and whether that still stands.

Pure. A verification of a part of a mailbox adds to the last one of all of it; an export makes
what was found at the source old, an import or a rollback what was found in its target.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from store.findings import FOLDER
from store.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from store.audit import Run

LOST = (Standing.MISSING,)
"""The message is not where it should be."""
OTHER = (Standing.CONTENT, Standing.HEADER, Standing.DATE)
"""It is there, and not what was archived."""
UNARCHIVED = (Standing.SOURCE_ONLY,)
UNSEEN = (Standing.UNSEEN, FOLDER)
"""Nobody knows."""
# Flags change in every mailbox that is in use; the ledger's states are weighed as such.
_WEIGHED = frozenset({*LOST, *OTHER, *UNARCHIVED, *UNSEEN})

Side = Literal["source", "target"]
Counted = dict[str, int]


@dataclass(frozen=True, slots=True)
class Found:
    """What verifications found on one side."""

    side: Side
    target: str | None
    """None where it is about the source."""
    when: str
    """When the newest of them ended."""
    counts: Mapping[str, int]
    """How many messages, or folders, by cause; of what still stands."""
    is_old: bool
    """Whether there were others, in a verification that an export or import came after."""

    def count(self, *causes: str) -> int:
        """Return how many were found for one of these causes."""
        return sum(self.counts.get(cause, 0) for cause in causes)


@dataclass(slots=True)
class _Looks:
    """The verifications of one side that together are the last one of all of it."""

    current: list[Run] = field(default_factory=list)
    old: list[Run] = field(default_factory=list)

    def add(self, run: Run) -> None:
        if not run.totals.get("unselected"):
            self.current.clear()
            self.old.clear()
        self.current.append(run)

    def settle(self) -> None:
        self.old += self.current
        self.current.clear()


class Looks:
    """Takes the runs in their order, and knows which verifications tell of the present."""

    def __init__(self, targets: Sequence[str]) -> None:
        """Begin; ``targets`` are their names."""
        self._targets = targets
        self._source = _Looks()
        self._by_target = {name: _Looks() for name in targets}

    def add(self, run: Run) -> None:
        """Take note of the next run."""
        if run.outcome != "done":
            return
        if run.command == "export":
            self._source.settle()
        elif run.command in ("import", "rollback"):
            self._of(run.server).settle()
        elif run.command == "verify":
            if run.totals.get("with_source"):
                self._source.add(run)
            if run.totals.get("with_target"):
                # Where both sides were looked at, both are named.
                self._of((run.server or "").rpartition(" and ")[2]).add(run)

    def found(self, count: Callable[[Iterable[int], Side], Counted]) -> list[Found]:
        """Return what was found; ``count`` counts findings of runs and a side by their cause."""
        sides: list[tuple[Side, str | None, _Looks]] = [("source", None, self._source)]
        sides += [("target", name, looks) for name, looks in self._by_target.items()]
        found = []
        for side, target, looks in sides:
            runs = [*looks.old, *looks.current]
            if not runs:
                continue
            counts = count([run.id for run in looks.current], side)
            old = count([run.id for run in looks.old], side)
            is_old = any(old.get(cause) for cause in _WEIGHED)
            last = max(runs, key=lambda run: run.id)
            found.append(Found(side, target, last.ended_at or "", counts, is_old))
        return found

    def _of(self, server: str | None) -> _Looks:
        if len(self._targets) == 1:
            return self._by_target[self._targets[0]]
        return self._by_target.get(server or "", _Looks())
