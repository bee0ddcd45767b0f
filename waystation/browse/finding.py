"""What a search on the pages finds: by the words that ``waystation search`` has built.

The pages only read, so they build none. Where there are none yet, subject, sender and recipients
are looked at, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from store import fulltext
from store.listing import Listed, with_words
from store.query import QueryError, parse
from store.search import NoWordsError, opened

if TYPE_CHECKING:
    from store.archive import Archive

_NOT_BUILT = (
    "Looks into subject, sender and recipients only: 'waystation search' has not built its index"
    " of this archive yet."
)
_NOT_CURRENT = "What was archived since the last 'waystation search' is not found by its words yet."


@dataclass(frozen=True, slots=True)
class Found:
    """One page of what matches."""

    messages: list[Listed]
    note: str = ""
    """What a person should know of it: a query that makes no sense, what was not looked at."""


def find(archive: Archive, query: str, limit: int, before: str | None) -> Found:
    """Return the messages that match, those after the cursor ``before``."""
    try:
        parsed = parse(query, datetime.now(UTC))
    except QueryError as error:
        return Found([], str(error))
    with opened(archive) as search:
        try:
            messages = [
                Listed(hit.message, hit.sender, hit.recipients, hit.subject, hit.cursor)
                for hit in search.hits(parsed, limit=limit, before=before)
            ]
        except NoWordsError:
            words = query.replace('"', " ").split()
            return Found(with_words(archive, words, limit, before), _NOT_BUILT)
        is_current = not search.has_words or fulltext.is_current(archive, fulltext.place(archive))
    return Found(messages, "" if is_current else _NOT_CURRENT)
