"""What a check of an archive finds, in types."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What can be wrong with a file or a row."""

    ALTERED = "altered"
    MISSING = "missing"
    FOREIGN = "foreign"
    HALF_WRITTEN = "half-written"
    UNRECORDED = "unrecorded"
    RENAMED = "renamed"
    DATE = "date"
    ROW = "row"
    """The row says something else than the name it gives for the file."""
    SIDECAR = "sidecar"
    """A file that describes a folder is not as it was written."""
    RECORD = "record"
    """A record of the journal is not as it was written."""
    ALTERED_ROW = "altered-row"
    REMOVED_ROW = "removed-row"
    ADDED_ROW = "added-row"
    TRANSFER = "transfer"
    """A row of the transfer log is not as it was sealed."""
    LEAF = "leaf"
    """The hashes of rows are not as they were sealed."""
    ROOT = "root"
    """The hash over all rows is not what the newest record says."""
    HISTORY = "history"
    """What runs have changed is not as it was recorded."""
    DOUBT = "doubt"
    """A run has found that something had been altered, and its record says so."""
    NOTED = "noted"
    """The archive is not what it was under a seal that was noted."""
    MANIFEST = "manifest"
    """A message is not as a manifest says."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that does not agree."""

    kind: Kind
    folder: str
    uidvalidity: int | None
    uid: int | None
    path: str
    """Relative to the archive."""
    text: str

    @property
    def is_loss(self) -> bool:
        """Whether a message's octets are not what they were."""
        return self.kind in (Kind.ALTERED, Kind.MISSING)

    @property
    def can_be_undone(self) -> bool:
        """Whether ``repair`` puts it right."""
        return self.kind in (Kind.RENAMED, Kind.DATE, Kind.SIDECAR)


@dataclass(slots=True)
class Checked:
    """How much a check has looked at."""

    messages: int = 0
    octets: int = 0
    failed: int = 0
    skipped: int = 0
