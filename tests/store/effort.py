"""How much work SQLite does for something, in steps of its virtual machine: never in seconds."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.database import Database

_STEPS = 10


@dataclass(slots=True)
class Effort:
    """What was counted; whole when the block that counts has ended."""

    steps: int = 0


@contextmanager
def effort(database: Database) -> Iterator[Effort]:
    """Count what is done through a connection: each row that is touched costs some steps."""
    counted = Effort()

    def count() -> int:
        counted.steps += _STEPS
        return 0

    connection = database._connection
    connection.set_progress_handler(count, _STEPS)
    try:
        yield counted
    finally:
        connection.set_progress_handler(None, 0)
