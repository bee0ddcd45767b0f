"""Questions to an archive: which messages match a query, the newest first, page by page.

``update`` (``store.fulltext``) brings the words up to date; ``Search`` answers from what is there.
A query that asks for rows alone (folder, date, size, flags, states) needs no words.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

from store import fulltext
from store.archive import INDEX
from store.matching import Match, asks_for_all, match, needs_words
from store.query import Query, terms
from waystation.errors import IndexDamagedError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from store.archive import Archive
    from store.index import ArchivedMessage

Order = Literal["newest", "relevance"]

_PAGE = 100
_LONGEST_SNIPPET = 160
_SNIPPET_FROM = 64 * 1024
_WEIGHTS = "1.0, 5.0, 3.0, 3.0, 2.0"
"""Of body, subject, sender, recipients and names: what stands in a header is what it is about."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that matches."""

    message: ArchivedMessage
    sender: str | None
    recipients: str | None
    subject: str | None
    cursor: str
    """Where this one stands: ``before`` for the next page."""


class NoWordsError(StorageError):
    """A query asks for words, and nobody has built the index of them yet."""


@contextmanager
def opened(archive: Archive) -> Iterator[Search]:
    """Give what answers questions to an archive, as far as its words are built.

    Raises:
        StorageError, IndexDamagedError
    """
    path = fulltext.place(archive)
    try:
        if path.is_file() and fulltext.is_ours(archive, path):
            with fulltext.opened(path, archive.path / INDEX) as database:
                yield Search(archive, database, has_words=True)
        else:
            with fulltext.opened(None, archive.path / INDEX) as database:
                yield Search(archive, database, has_words=False)
    except sqlite3.OperationalError as error:
        raise StorageError(path, str(error)) from None
    except sqlite3.DatabaseError as error:
        if not path.is_file():
            raise IndexDamagedError(archive.path / INDEX, str(error)) from None
        why = f"it is damaged ({error}); 'waystation search --rebuild' builds it anew"
        raise StorageError(path, why) from None


class Search:
    """Answers to queries. One thread only."""

    def __init__(self, archive: Archive, database: sqlite3.Connection, *, has_words: bool) -> None:
        self._archive = archive
        self._database = database
        self.has_words = has_words
        """Whether words were built, perhaps not of all messages."""
        self._spill = fulltext.spill_of(database) if has_words else 0

    def hits(
        self,
        query: Query,
        *,
        limit: int | None = None,
        before: str | None = None,
        order: Order = "newest",
    ) -> Iterator[Hit]:
        """Yield the messages that match; only the archived ones, unless their states are asked for.

        The newest come first, by received date; what has none comes last. ``before`` is the cursor
        of the hit after which to go on; not with the order of relevance, which is that of BM25.

        Raises:
            NoWordsError: the words are not built.
        """
        found = self._found(query, before, order)
        ids = found if limit is None else islice(found, limit)
        while page := list(islice(ids, _PAGE)):
            yield from self._facts(page)

    def count(self, query: Query, most: int) -> int:
        """Return how many messages match, ``most`` if there are more."""
        source, made = self._source(query)
        values = made.values | {"most": most}
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {source} LIMIT :most)"
        return int(self._database.execute(sql, values).fetchone()[0])

    def located(self, query: Query) -> Iterator[tuple[int, int]]:
        """Yield folder id and message id of what matches, by folder and location."""
        source, made = self._source(query, with_rows=True)
        # Not "yield from": see ``store.database.Database.rows``.
        for folder_id, message_id in self._database.execute(  # noqa: UP028
            f"SELECT m.folder_id, m.id FROM {source} ORDER BY m.folder_id, m.uidvalidity, m.uid",
            made.values,
        ):
            yield folder_id, message_id

    def unmatched(self, query: Query) -> list[str]:
        """Return the folders that a query names and that there are not."""
        return self._match(query).unmatched

    def _match(self, query: Query) -> Match:
        if needs_words(query) and not self.has_words:
            raise NoWordsError(
                self._archive.path, "its search index is not built; 'waystation search' builds it"
            )
        folders = self._archive.index.folders()
        has_places = self.has_words and not asks_for_all(query)
        return match(query, folders, has_words=has_places, spill=self._spill)

    def _source(self, query: Query, *, with_rows: bool = False) -> tuple[str, Match]:
        """Return what comes after FROM, in no order."""
        made = self._match(query)
        return self._from(query, made, with_rows=with_rows), made

    def _from(self, query: Query, made: Match, *, with_rows: bool) -> str:
        if not self.has_words:
            state = "" if asks_for_all(query) else "m.state = 'archived' AND "
            return f"archive.messages AS m WHERE {state}{made.condition}"
        if asks_for_all(query):
            conditions = list(made.where)
            if made.words is not None:
                made.values["words"] = made.words
                conditions.append(
                    "coalesce(p.document IN (SELECT rowid FROM words WHERE words MATCH :words), 0)"
                )
            return (
                "archive.messages AS m LEFT JOIN places AS p ON p.message_id = m.id"
                f" WHERE {' AND '.join(conditions) or '1'}"
            )
        rows = with_rows or made.asks_rows
        joined = " CROSS JOIN archive.messages AS m ON m.id = p.message_id" if rows else ""
        conditions = list(made.where)
        if made.words is not None:
            made.values["words"] = made.words
            conditions.append("words MATCH :words")
            if made.bounds is not None:
                conditions.append(f"words.rowid BETWEEN {made.bounds[0]} AND {made.bounds[1]}")
            tables = f"words CROSS JOIN places AS p ON p.document = words.rowid{joined}"
        else:
            if made.bounds is not None:
                conditions.append(f"p.document BETWEEN {made.bounds[0]} AND {made.bounds[1]}")
            tables = f"places AS p{joined}"
        return f"{tables} WHERE {' AND '.join(conditions) or '1'}"

    def _found(self, query: Query, before: str | None, order: Order) -> Iterator[tuple[int, str]]:
        """Return ids and cursors of what matches, in order."""
        made = self._match(query)
        if not self.has_words or asks_for_all(query):
            return self._by_rows(query, made, before)
        if made.words is not None and order == "relevance":
            return self._by_relevance(query, made)
        return self._by_places(query, made, before)

    def _by_rows(self, query: Query, made: Match, before: str | None) -> Iterator[tuple[int, str]]:
        source = self._from(query, made, with_rows=True)
        number, row = _cursor(before, "r")
        if before is not None:
            made.values |= {"received": number, "row": row}
            source += " AND (coalesce(m.received, :undated), m.id) < (:received, :row)"
        made.values["undated"] = fulltext.UNDATED
        for received, found in self._database.execute(
            f"SELECT coalesce(m.received, :undated), m.id FROM {source}"
            " ORDER BY m.received DESC, m.id DESC",
            made.values,
        ):
            yield found, f"r{received}:{found}"

    def _by_places(
        self, query: Query, made: Match, before: str | None
    ) -> Iterator[tuple[int, str]]:
        document, row = _cursor(before, "d")
        if before is not None:
            low, high = made.bounds or (0, document)
            made.bounds = (low, min(high, document))
        source = self._from(query, made, with_rows=False)
        by = "words.rowid" if made.words is not None else "p.document"
        found = self._database.execute(
            f"SELECT p.document, p.message_id FROM {source} ORDER BY {by} DESC",
            made.values,
        )
        # Twins have one document; among them, the one that came last is first.
        for number, ids in _grouped(found):
            for message_id in sorted(ids, reverse=True):
                if before is None or (number, message_id) < (document, row):
                    yield message_id, f"d{number}:{message_id}"

    def _by_relevance(self, query: Query, made: Match) -> Iterator[tuple[int, str]]:
        low, high = made.bounds or (0, fulltext.HIGHEST)
        expression, made.words, made.bounds = made.words, None, None
        source = self._from(query, made, with_rows=False)
        best = self._database.execute(
            "SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ?"
            f" ORDER BY bm25(words, {_WEIGHTS})",
            (expression, low, high),
        )
        while page := [number for (number,) in islice(best, _PAGE)]:
            for number in page:
                made.values["document"] = number
                for (message_id,) in self._database.execute(
                    f"SELECT p.message_id FROM {source}"
                    " AND p.document = :document ORDER BY p.message_id DESC",
                    made.values,
                ):
                    yield message_id, f"d{number}:{message_id}"

    def _facts(self, page: list[tuple[int, str]]) -> Iterator[Hit]:
        cursors = dict(page)
        headers = {
            number: (sender, recipients, subject)
            for number, sender, recipients, subject in self._archive.database.rows(
                "SELECT id, sender, recipients, subject FROM messages"
                f" WHERE id IN ({', '.join(str(int(number)) for number in cursors)})"
            )
        }
        for message in self._archive.index.some(cursors):
            yield Hit(message, *headers.get(message.id, (None, None, None)), cursors[message.id])


def snippet(archive: Archive, hit: Hit, query: Query) -> str:
    """Return a line of the message's text around the first word that was asked for.

    Without such a word, its beginning; empty where the file cannot be read.
    """
    content = fulltext.read(archive, hit.message)
    body = content.body[:_SNIPPET_FROM] if content is not None else ""
    return around(body, [word.text for word in terms(query) if word.column in (None, "body")])


def around(text: str, sought: Iterable[str]) -> str:
    """Return a line of a text around the first of these that stands in it, or its beginning."""
    folded = _folded(text)
    at = len(text)
    for words in sought:
        first = re.search(r"\w+", _folded(words))
        found = re.search(rf"(?<!\w){re.escape(first[0])}", folded) if first else None
        at = min(at, found.start()) if found else at
    if at == len(text):
        at = 0
    start = max(0, at - _LONGEST_SNIPPET // 3)
    if start:
        blank = text.find(" ", start, at)
        start = blank + 1 if blank >= 0 else start
    line = " ".join(text[start : start + 3 * _LONGEST_SNIPPET].split())
    cut = line[:_LONGEST_SNIPPET]
    return ("…" if start else "") + cut + ("…" if len(line) > len(cut) else "")


def _folded(text: str) -> str:
    """Return a text without case and accents, character for character."""
    if text.isascii():
        return text.lower()
    letters = {
        char: (unicodedata.normalize("NFD", char)[0].lower() or char)[0] for char in set(text)
    }
    return "".join(letters[char] for char in text)


def _grouped(rows: Iterable[tuple[int, int]]) -> Iterator[tuple[int, list[int]]]:
    number, ids = -1, list[int]()
    for document, message_id in rows:
        if document != number and ids:
            yield number, ids
            ids = []
        number = document
        ids.append(message_id)
    if ids:
        yield number, ids


def _cursor(text: str | None, kind: str) -> tuple[int, int]:
    """Return what a cursor says; one of another time says nothing, and all comes anew."""
    found = re.fullmatch(rf"{kind}(-?\d{{1,19}}):(\d{{1,18}})", text or "", re.ASCII)
    return (int(found[1]), int(found[2])) if found else (fulltext.HIGHEST, 0)
