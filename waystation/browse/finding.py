"""What a search on the pages finds. The one place that knows how is searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.listing import Listed, with_words

if TYPE_CHECKING:
    from store.archive import Archive


@dataclass(frozen=True, slots=True)
class Found:
    """One page of what matches."""

    messages: list[Listed]
    note: str = ""
    """What a person should know of it: a query that makes no sense, what was not looked at."""


def find(archive: Archive, query: str, limit: int, before: str | None) -> Found:
    """Return the messages that match, those after the cursor ``before``."""
    messages = with_words(archive, query.split(), limit, before)
    return Found(messages, "Looks into subject, sender and recipients.")
