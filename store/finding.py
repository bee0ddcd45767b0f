"""What a comparison of an archive with a live server finds, message by message."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Cause(StrEnum):
    """In what a message on a server is not what the archive holds."""

    NOT_ARCHIVED = "not_archived"
    """The source shows it, the archive does not hold it."""
    VANISHED = "vanished"
    """The archive holds it, the source shows it no longer."""
    MISSING = "missing"
    """The ledger says that it arrived; the target does not show it."""
    NOT_SENT = "not_sent"
    """It has not arrived, and the ledger says so."""
    FLAGS = "flags"
    DATE = "date"
    HEADER = "header"
    CONTENT = "content"
    FOLDER = "folder"
    """A whole folder is not there, or cannot be looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. A message that differs in two ways is found twice."""

    cause: Cause
    folder: str
    """The archived folder."""
    uidvalidity: int | None
    uid: int | None
    text: str
    there: tuple[str, ...] | None = None
    """Flags and keywords that the server has, sorted, where they differ."""
    shift: int | None = None
    """Seconds by which the server's date is later than ours, where both are known and differ."""
    is_gone: bool = False
    """Of a folder: whether the server has it no more, and not only keeps it shut."""


def _nothing(_message_ids: Iterable[int]) -> None:
    """Keep no record of what was looked at."""


@dataclass(slots=True)
class Compared:
    """How much a comparison has looked at."""

    messages: int = 0
    """Messages that the archive knows of."""
    equal: int = 0
    different: int = 0
    passed: Counter[str] = field(default_factory=Counter)
    """How many messages were found the same in headers, received, flags, size and content."""
    others: int = 0
    """Messages on the server that are no business of this archive."""
    looked_at: Callable[[Iterable[int]], None] = _nothing
    """Is told the ids of messages whose place was looked at; only these can be called equal."""
