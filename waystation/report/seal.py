"""What a report says of the archive's seal: which it is, and how to check against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.journal import short

if TYPE_CHECKING:
    from store.audit import Sealed
    from waystation.report.words import Words


@dataclass(frozen=True, slots=True)
class Step:
    """One way to check, as a command and what it does."""

    command: str
    text: str


def lines(sealed: Sealed | None, words: Words) -> list[Step]:
    """Return how to check that nothing was changed since; nothing where there is no seal."""
    if sealed is None:
        return []
    text = words.text(
        "proves that every message, row and run of the archive is what it was when record"
        " %(number)s of its journal was written (%(when)s), and names what was changed, removed or"
        " added since. Compare this seal with one that was noted where nobody who can write to"
        " the archive can. Its sha256 in full: %(hash)s"
    )
    values = {
        "number": words.number(sealed.number),
        "when": words.when(sealed.ended),
        "hash": sealed.hash,
    }
    return [Step(f"waystation check ARCHIVE --seal {short(sealed.hash)}", text % values)]
