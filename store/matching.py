"""What a query means in SQL: which part the full-text index answers, and which the rows do.

Pure, but for the folders that it is told. What people typed goes to SQLite as values, or as
strings within quotation marks of a full-text expression; nothing of it becomes SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from json import dumps as _json
from typing import TYPE_CHECKING

from store.fulltext import bounds_of
from store.query import (
    SOURCE_STATES,
    And,
    Flag,
    HasAttachment,
    InFolder,
    MessageId,
    Not,
    Number,
    Or,
    Query,
    Received,
    Size,
    State,
    Words,
)
from store.words import spaced
from waystation.model import SYSTEM_FLAGS, split_name
from waystation.selection import Selection, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from store.index import ArchivedFolder


@dataclass(slots=True)
class Match:
    """A query for SQLite. ``m`` is a row of messages, ``p`` its place in the words."""

    words: str | None = None
    """A full-text expression that every match fulfils; None: there is none."""
    where: list[str] = field(default_factory=list)
    """All else that a match fulfils."""
    values: dict[str, object] = field(default_factory=dict)
    bounds: tuple[int, int] | None = None
    """The numbers of documents among which all matches are, where that is known."""
    unmatched: list[str] = field(default_factory=list)
    """Folders that the query names and that there are not."""

    @property
    def asks_rows(self) -> bool:
        """Whether the rows of the messages have to be looked at."""
        return any("m." in condition for condition in self.where)

    @property
    def condition(self) -> str:
        """What comes after WHERE."""
        return " AND ".join(self.where) or "1"


def needs_words(query: Query) -> bool:
    """Whether only the words of the messages can answer."""
    return any(isinstance(each, Words | HasAttachment) for each in _leaves(query))


def asks_for_all(query: Query) -> bool:
    """Whether what is not archived is asked for, too."""
    return any(isinstance(each, State) and each.name in SOURCE_STATES for each in _leaves(query))


def match(
    query: Query, folders: Iterable[ArchivedFolder], *, has_words: bool, spill: int = 0
) -> Match:
    """Return a query for SQLite.

    Without words (``has_words``), nothing in it may be about them. ``spill`` is that of the words.
    """
    listed = [(folder.id, split_name(folder.name), folder.special_use) for folder in folders]

    def ids(glob: str) -> list[int]:
        choice = choose(Selection(folders=(glob,)), ((levels, use) for _, levels, use in listed))
        if choice.unmatched:
            made.unmatched.append(glob)
        return [
            number
            for number, levels, _ in listed
            if choice.reason("/".join(_spelled(levels)), None, None, ()) is None
        ]

    made = Match()
    rows = _Rows(made, ids, has_words=has_words, spill=spill)
    conjuncts = query.queries if isinstance(query, And) else (query,)
    of_words = [each for each in conjuncts if _expression(each) is not None]
    others = [each for each in conjuncts if _expression(each) is None]
    if of_words:
        denied = [
            each for each in others if isinstance(each, Not) and _expression(each.query) is not None
        ]
        others = [each for each in others if each not in denied]
        made.words = _expression(And((*of_words, *denied)))
    for each in others:
        if isinstance(each, Received) and has_words:
            low, high = bounds_of(each.since, each.before, spill)
            known = made.bounds or (low, high)
            made.bounds = (max(low, known[0]), min(high, known[1]))
            if not spill:
                continue
        made.where.append(rows.condition(each))
    return made


def _spelled(levels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(level.replace("%", "%25").replace("/", "%2F") for level in levels)


def _leaves(query: Query) -> Iterable[Query]:
    match query:
        case And(queries) | Or(queries):
            for each in queries:
                yield from _leaves(each)
        case Not(denied):
            yield from _leaves(denied)
        case _:
            yield query


def _expression(query: Query) -> str | None:
    """Return a query in the language of FTS5, or None where that cannot say it."""
    match query:
        case Words(text, column, is_prefix):
            quoted = '"' + spaced(text).replace('"', '""') + '"' + ("*" if is_prefix else "")
            return f"{column} : {quoted}" if column else quoted
        case And(queries):
            wanted = [_expression(each) for each in queries if not isinstance(each, Not)]
            denied = [_expression(each.query) for each in queries if isinstance(each, Not)]
            known = [each for each in wanted if each is not None]
            unwanted = [each for each in denied if each is not None]
            if not known or len(known) < len(wanted) or len(unwanted) < len(denied):
                return None
            both = f"({' AND '.join(known)})"
            return f"({both} NOT ({' OR '.join(unwanted)}))" if unwanted else both
        case Or(queries):
            known = [each for each in map(_expression, queries) if each is not None]
            return f"({' OR '.join(known)})" if len(known) == len(queries) else None
        case _:
            return None


class _Rows:
    """Conditions on a message's row and place."""

    def __init__(
        self, made: Match, folders: Callable[[str], list[int]], *, has_words: bool, spill: int
    ) -> None:
        self._values = made.values
        self._folders = folders
        self._has_words = has_words
        self._spill = spill

    def condition(self, query: Query) -> str:
        """Return SQL that is 1 or 0, never NULL."""
        expression = _expression(query)
        if expression is not None:
            found = f"SELECT rowid FROM words WHERE words MATCH {self._value(expression)}"
            return f"coalesce(p.document IN ({found}), 0)"
        match query:
            case And(queries):
                return f"({' AND '.join(map(self.condition, queries)) or '1'})"
            case Or(queries):
                return f"({' OR '.join(map(self.condition, queries))})"
            case Not(denied):
                return f"(NOT {self.condition(denied)})"
            case HasAttachment():
                return (
                    "EXISTS (SELECT 1 FROM documents AS d"
                    " WHERE d.id = p.document AND d.attachments > 0)"
                )
            case Words():
                raise AssertionError(query)  # is an expression
            case _:
                return self._of_row(query)

    def _of_row(self, query: Query) -> str:
        match query:
            case InFolder(glob):
                column = "p.folder_id" if self._has_words else "m.folder_id"
                return f"{column} IN ({', '.join(map(str, self._folders(glob)))})"
            case Received(since, before):
                if self._has_words and not self._spill:
                    low, high = bounds_of(since, before, 0)
                    return f"(p.document BETWEEN {low} AND {high})"
                return self._between("m.received", since, before)
            case Size(above, below):
                least = None if above is None else above + 1
                return self._between("m.size", least, below)
            case Flag(name):
                if name in SYSTEM_FLAGS:  # which the index spells in one way
                    return f"(instr(m.flags, {self._value(_json(name))}) > 0)"
                # Flags have no case (RFC 3501 section 2.3.2).
                column = "m.flags" if name.startswith("\\") else "m.keywords"
                return (
                    f"({column} != '[]' AND EXISTS (SELECT 1 FROM json_each({column})"
                    f" WHERE lower(value) = lower({self._value(name)})))"
                )
            case MessageId(text):
                bare, whole = self._value(text), self._value(f"<{text}>")
                return f"coalesce(m.message_id IN ({bare}, {whole}), 0)"
            case Number(number):
                return f"m.id = {number}"
            case State(name):
                return self._state(name)
            case _:
                raise AssertionError(query)

    def _between(self, column: str, low: int | None, before: int | None) -> str:
        conditions = [] if low is None else [f"{column} >= {low}"]
        conditions += [] if before is None else [f"{column} < {before}"]
        return f"coalesce({' AND '.join(conditions) or '1'}, 0)"

    def _state(self, name: str) -> str:
        value = self._value(name)
        if name in SOURCE_STATES:
            return f"m.state = {value}"
        # Without a row, a message is pending for every target that there is.
        return (
            "(m.state = 'archived' AND EXISTS (SELECT 1 FROM archive.targets AS g"
            " LEFT JOIN archive.transfers AS t ON t.target_id = g.id AND t.message_id = m.id"
            f" WHERE coalesce(t.state, 'pending') = {value}))"
        )

    def _value(self, value: str) -> str:
        name = f"v{len(self._values)}"
        self._values[name] = value
        return f":{name}"
