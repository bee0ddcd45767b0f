"""What a run leaves in the archive's journal, where it is not the writing run itself."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Any

from waystation.errors import ArchiveError, NoArchiveError, plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.journal import Record


@dataclass(slots=True)
class Reading:
    """A run that only reads, and what has become of its record."""

    totals: dict[str, Any] = field(default_factory=dict)
    record: Record | None = None
    why_not: str | None = None
    """Why there is no record: nobody can write there, or another run does."""


@contextmanager
def reading(path: Path, command: str, asked: dict[str, Any]) -> Iterator[Reading]:
    """Record a run that only reads when it has ended, however that was; say where that cannot be.

    The lock is taken at the end alone, so that a look at an archive keeps nobody from working.
    """
    from store.archive import Archive, now

    began = now()
    run = Reading()
    outcome = "failed"
    is_archive = True
    try:
        yield run
        outcome = "done"
    except NoArchiveError:
        is_archive = False
        raise
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    finally:
        if is_archive:
            try:
                run.record = Archive.note_run(path, command, began, outcome, run.totals, asked)
            except ArchiveError as error:
                run.why_not = plain(str(error), 300)


def asked(**options: object) -> dict[str, Any]:
    """Return the options of a run that are not as they usually are, as a record has them."""
    told = {name: _plain(value) for name, value in options.items() if value}
    return {name: value for name, value in told.items() if value}


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        usual = type(value)()
        return {
            each.name: _plain(getattr(value, each.name))
            for each in fields(value)
            if getattr(value, each.name) != getattr(usual, each.name)
        }
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    return value if isinstance(value, (bool, int, float)) else str(value)
