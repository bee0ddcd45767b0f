"""What the last batch in a ROOT has left in its status file, as far as that makes sense."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from waystation.cli.board import STATUS

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LastBatch:
    """The last batch."""

    command: str
    """Such as ``batch import``."""
    begun: str
    written: str
    exit_code: int | None
    """None: it is still at work, or was killed."""
    rows: dict[str, tuple[str, str]] = field(default_factory=dict)
    """State and text, by mailbox."""


def last_batch(root: Path) -> LastBatch | None:
    """Return what the status file in ROOT says; None where there is none that can be read."""
    try:
        with (root / STATUS).open("rb") as stream:
            found: Any = json.loads(stream.read(_LARGEST))
        code = found["exit_code"]
        return LastBatch(
            str(found["command"]),
            str(found["begun"]),
            str(found["written"]),
            None if code is None else int(code),
            {str(each["mailbox"]): (str(each["state"]), str(each["text"])) for each in found["of"]},
        )
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
