"""SEARCH: a test for one message out of the client's criteria."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from tests.exchange_online.arguments import ArgumentError, Arguments, in_set
from tests.exchange_online.mime import parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from tests.exchange_online.mailbox import Mailbox, Stored

    Matches = Callable[[int, Stored], bool]

_FLAGS = {
    b"SEEN": "\\Seen",
    b"ANSWERED": "\\Answered",
    b"FLAGGED": "\\Flagged",
    b"DELETED": "\\Deleted",
    b"DRAFT": "\\Draft",
}
_HEADERS = {b"FROM", b"TO", b"CC", b"BCC", b"SUBJECT"}
_DATES: dict[bytes, Callable[[date, date], bool]] = {
    b"BEFORE": lambda its, given: its < given,
    b"ON": lambda its, given: its == given,
    b"SINCE": lambda its, given: its >= given,
}


class CharsetError(Exception):
    """A charset other than US-ASCII."""


class Search:
    """Reads criteria; a message is a pair of its sequence number and itself."""

    def __init__(self, mailbox: Mailbox, now: float, view: list[Stored]) -> None:
        self._mailbox = mailbox
        self._now = now
        self._largest = len(view)
        self._largest_uid = view[-1].uid if view else 0
        self._refuses = mailbox.profile.refuses_search_extensions

    def read(self, arguments: Arguments) -> Matches:
        """Read all criteria.

        Raises:
            ArgumentError: one is unknown, or the server does not take it.
            CharsetError: the client asks for another charset.
        """
        if arguments.skip(b"RETURN "):
            raise ArgumentError(12)
        if arguments.skip(b"CHARSET "):
            if arguments.astring().upper() != b"US-ASCII":
                raise CharsetError
            arguments.space()
        return self._all(arguments, until=b"")

    def _all(self, arguments: Arguments, until: bytes) -> Matches:
        keys = [self._key(arguments)]
        while arguments.skip(b" "):
            if arguments.at_end:
                break
            keys.append(self._key(arguments))
        if until:
            arguments.expect(until)
        else:
            arguments.end()
        return lambda number, message: all(key(number, message) for key in keys)

    def _key(self, arguments: Arguments) -> Matches:
        if arguments.skip(b"("):
            return self._all(arguments, until=b")")
        if arguments.is_set():
            ranges = in_set(arguments.numbers(), self._largest)
            return lambda number, _: any(first <= number <= last for first, last in ranges)
        word = arguments.atom().upper()
        if word in (b"ALL", b"OLD"):
            return lambda _number, _message: True
        if word in (b"NEW", b"RECENT"):
            return lambda _number, _message: False
        flag = _FLAGS.get(word.removeprefix(b"UN"))
        if flag is not None:
            return lambda _, message: (flag in message.flags) != word.startswith(b"UN")
        arguments.space()
        return self._with_argument(word, arguments)

    def _with_argument(self, word: bytes, arguments: Arguments) -> Matches:
        if word == b"UID":
            ranges = in_set(arguments.numbers(), self._largest_uid)
            return lambda _, message: any(a <= message.uid <= b for a, b in ranges)
        if word == b"NOT":
            key = self._key(arguments)
            return lambda number, message: not key(number, message)
        if word == b"OR":
            one = self._key(arguments)
            arguments.space()
            other = self._key(arguments)
            return lambda number, message: one(number, message) or other(number, message)
        if word.removeprefix(b"SENT") in _DATES:
            meets, day = _DATES[word.removeprefix(b"SENT")], arguments.date()
            if word.startswith(b"SENT"):
                return lambda _, message: _meets_sent(self._mailbox.header(message), meets, day)
            return lambda _, message: meets(message.internaldate.date(), day)
        if word in (b"LARGER", b"SMALLER"):
            bound = int(arguments.atom())
            if word == b"LARGER":
                return lambda _, message: message.blob.size > bound
            return lambda _, message: message.blob.size < bound
        if word == b"HEADER":
            name = arguments.astring().decode("latin-1").lower()
            arguments.space()
            return self._header(name, arguments.astring())
        if word in _HEADERS:
            return self._header(word.decode().lower(), arguments.astring())
        if word in (b"BODY", b"TEXT"):
            return _text(arguments.astring(), whole=word == b"TEXT")
        if word in (b"KEYWORD", b"UNKEYWORD") and not self._refuses:
            arguments.atom()
            return lambda _number, _message: word == b"UNKEYWORD"
        raise ArgumentError(11)

    def _header(self, name: str, text: bytes) -> Matches:
        wanted = text.lower()

        def matches(_: int, message: Stored) -> bool:
            if message.shown_from > self._now:
                return False  # the index does not know it yet
            values = self._mailbox.header(message).get(name, [])
            return any(wanted in value.lower() for value in values)

        return matches


def _meets_sent(
    header: dict[str, list[bytes]], meets: Callable[[date, date], bool], day: date
) -> bool:
    try:
        sent = parsedate_to_datetime(header.get("date", [b""])[0].decode("latin-1"))
    except (ValueError, TypeError, IndexError):
        return False
    return meets(sent.date(), day)


def _text(text: bytes, *, whole: bool) -> Matches:
    wanted = text.lower()

    def matches(_: int, message: Stored) -> bool:
        with message.blob.opened() as buffer:
            start = 0 if whole else parse(buffer).body
            return wanted in bytes(buffer[start : len(buffer)]).lower()

    return matches
