"""What a search on the pages finds: by the words of the messages, where they are built.

Where they are not yet, plain words are looked for in subject, sender and recipients, row by row,
and the page says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from store import fulltext
from store.listing import Listed, with_words
from store.query import QueryError, parse
from store.search import NoWordsError, opened

if TYPE_CHECKING:
    from store.archive import Archive

_LESS = "Until it stands, words are looked for in subject, sender and recipients only."
_NOTHING = "Only with it can this be answered."
_LATER = "What is not in it yet is not found by its words."
_OPERATOR = re.compile(r"[:()*]|(?:^|\s)(?:-|OR\b)")


@dataclass(frozen=True, slots=True)
class Found:
    """One page of what matches."""

    messages: list[Listed]
    note: str = ""
    """What a person should know of it: a query that makes no sense, what was not looked at."""
    is_answer: bool = True
    """Whether nothing else matches, as far as the note goes."""
    lacks_words: bool = False


def find(archive: Archive, query: str, limit: int, before: str | None, lack: str) -> Found:
    """Return the messages that match, those after the cursor ``before``.

    ``lack`` says in a sentence why not all words are there, should they not be.
    """
    try:
        parsed = parse(query, datetime.now(UTC))
    except QueryError as error:
        return Found([], str(error), is_answer=False)
    with opened(archive) as search:
        try:
            messages = [
                Listed(hit.message, hit.sender, hit.recipients, hit.subject, hit.cursor)
                for hit in search.hits(parsed, limit=limit, before=before)
            ]
        except NoWordsError:
            if _OPERATOR.search(query):
                return Found([], f"{lack} {_NOTHING}", is_answer=False, lacks_words=True)
            words = query.replace('"', " ").split()
            messages = with_words(archive, words, limit, before)
            return Found(messages, f"{lack} {_LESS}", lacks_words=True)
        is_current = not search.has_words or fulltext.is_current(archive, fulltext.place(archive))
    if is_current:
        return Found(messages)
    return Found(messages, f"{lack} {_LATER}", lacks_words=True)
