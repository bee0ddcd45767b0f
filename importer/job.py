"""One import: what it works with, what it knows, and how far it has come.

The modules of a run share a ``Job`` and no other state. It outlives the connections of the run, and
nothing in it has to outlive the run: the next one asks the archive what is left to do.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from importer.excluded import choice_of
from importer.flow import Ceiling
from importer.gather import Gathering
from importer.memory import Memory
from importer.pace import Pace, PaceLimits
from importer.refusals import Refusals
from importer.trouble import Trouble
from waystation.retry import Rate
from waystation.selection import EVERYTHING, Selection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from importer.house import HouseRules
    from store.archive import Archive
    from store.transfers import Target
    from waystation.errors import RefusedError
    from waystation.progress import Progress
    from waystation.retry import Patience
    from waystation.selection import Choice


_LIFT = (
    "This happens often: ask Microsoft's support to lift the throttling for the time of the move, "
    "or set a lower --rate."
)


@dataclass(slots=True)
class Imported:
    """What a run has done, in numbers."""

    appended: int = 0
    octets: int = 0
    settled: int = 0
    """Messages in doubt that were found in the target."""
    already_there: int = 0
    refused: int = 0
    set_aside: int = 0
    excluded: int = 0
    """Messages set aside because a filter of this run leaves them out."""
    damaged: int = 0
    """Messages set aside because their file no longer agrees with its row."""
    too_large: int = 0
    """Messages set aside because the target says that it takes none of their size."""
    not_sent: int = 0
    """Messages left behind because their folder cannot be made, opened or written to."""
    repaired: int = 0
    """Of the appended, messages whose octets had to be changed; the ledger says how."""
    flags_carried: int = 0
    """Messages whose flags were brought up to what has changed on the source."""
    throttled: int = 0
    """How often the target told us to wait."""
    seconds_throttled: int = 0
    folders_created: int = 0
    folders_failed: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether everything that should be in the target is there."""
        return not (
            self.refused or self.damaged or self.too_large or self.not_sent or self.folders_failed
        )


def totals(result: Imported) -> dict[str, int]:
    """Return the numbers of a run by their names."""
    return asdict(result)


@dataclass(frozen=True, slots=True)
class Options:
    """How a run shall go about it."""

    newest_first: bool = True
    rate: float = 0
    """Messages per second at the most; 0 is no ceiling."""
    connections: int = 1
    """How many may be open at once at the most, towards a plain IMAP server."""
    folder_map: Mapping[str, str] = field(default_factory=dict)
    """Archived name to target name, by the user's wish."""
    selection: Selection = EVERYTHING
    """What of the archive is to be sent."""
    house: HouseRules | None = None
    """The rules of Exchange Online; None where the target is a plain IMAP server."""


@dataclass(slots=True)
class Job:
    """An import into one target, over all its connections."""

    archive: Archive
    target: Target
    progress: Progress
    options: Options
    patience: Patience
    result: Imported = field(default_factory=Imported)
    steps: int = 0
    """Grows with all that is done for good, and tells a slow line from a dead one."""
    rate: Rate = field(init=False)
    refusals: Refusals = field(init=False)
    trouble: Trouble = field(default_factory=Trouble)
    ceiling: Ceiling = field(default_factory=Ceiling)
    gathering: Gathering = field(default_factory=Gathering)
    looking: AbstractContextManager[object] = field(default_factory=nullcontext)
    """Is entered to look messages up, which only one may do at a time."""
    memory: Memory = field(default_factory=Memory)
    pace: Pace = field(init=False)
    """How fast a house with rules is sent to."""
    done: set[int] = field(default_factory=set)
    """Messages that were refused or set aside in this run, and are not tried again."""
    choice: Choice = field(init=False)
    """What is to be sent, folder by folder."""
    names: dict[int, str] = field(default_factory=dict)
    """The target folders, by the archived folder's id."""
    listed: set[str] = field(default_factory=set)
    """The folders that the target showed, and that can hold messages."""
    failed: set[str] = field(default_factory=set)
    """Target folders that cannot be worked with."""

    def __post_init__(self) -> None:
        self.choice = choice_of(self.archive, self.options.selection)
        self.rate = Rate(self.options.rate, self.patience.sleep, self.patience.clock)
        self.refusals = Refusals(self.target.name)
        limits = self.options.house.pace if self.options.house else PaceLimits()
        self.pace = Pace(limits, self.patience.clock, self.patience.sleep)

    def wait(self, seconds: float, why: str) -> None:
        """Let time go by, in which nothing is sent, and say so."""
        self.progress.waiting(seconds, why)
        self.patience.sleep(seconds)

    def obey(self, seconds: float, why: str) -> None:
        """Wait as long as the target told us to, at least."""
        seconds = self.pace.throttled(seconds)
        if self.pace.needs_lift:
            why = f"{why} {_LIFT}"
        self.result.throttled += 1
        self.result.seconds_throttled += round(seconds)
        self.wait(seconds, why)
        self.pace.resumed()

    def fail(self, name: str, source: str, error: RefusedError) -> None:
        """Go on without a target folder, unless what is wrong with it passes."""
        if error.retriable:
            raise error
        self.leave(name, source, str(error))

    def leave(self, name: str, source: str, why: str) -> None:
        """Go on without a target folder, and say once how much is not sent for that."""
        if name in self.failed:
            return
        self.failed.add(name)
        self.result.folders_failed += 1
        behind = self.left_behind(name)
        for folder, count in behind:
            self.result.not_sent += count
            self.progress.problem(folder, None, f"{why} ({count:,} not sent)")
        if not behind:
            self.progress.problem(source, None, why)

    def left_behind(self, name: str) -> list[tuple[str, int]]:
        """Return the archived folders of a target folder with how much is still to be sent."""
        transfers = self.archive.transfers
        moved = {number for number, _, _ in transfers.unsent_moved(self.target.id)}
        found = []
        for folder in self.archive.index.folders():
            if self.names.get(folder.id) == name:
                unsent = transfers.unsent(self.target.id, folder.id)
                count = sum(n not in moved and n not in self.done for n in unsent)
                if count:
                    found.append((folder.name, count))
        return found
