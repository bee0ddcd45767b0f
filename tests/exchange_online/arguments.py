"""The arguments of a command, read one after the other (RFC 3501 section 9)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

_ATOM = re.compile(rb"[^\x00-\x20\x7f(){%*\"\\\]]+")
_ASTRING = re.compile(rb"[^\x00-\x20\x7f(){%*\"\\]+")
_PATTERN = re.compile(rb"[^\x00-\x20\x7f(){\"\\]+")
_QUOTED = re.compile(rb'"((?:[^"\\\r\n]|\\["\\])*)"')
_LITERAL = re.compile(rb"\0(\d+)\0")
_FLAG = re.compile(rb"\\?[^\x00-\x20\x7f(){%*\"\\\]]+")
_SET = re.compile(rb"(\d+|\*)(:(\d+|\*))?(,(\d+|\*)(:(\d+|\*))?)*(?= |\)|$)")
_DATE_TIME = re.compile(rb"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_DATE = re.compile(rb"(\d{1,2})-([A-Za-z]{3})-(\d{4})")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class ArgumentError(Exception):
    """An argument is unacceptable (11), or the number or shape of arguments is wrong (12)."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Command Argument Error. {number}")
        self.number = number


@dataclass(slots=True)
class Arguments:
    """What follows the name of a command; literals stand in it as NUL, number, NUL."""

    text: bytes
    literals: list[bytes]
    at: int = 0

    @property
    def at_end(self) -> bool:
        """Whether all is read."""
        return self.at >= len(self.text)

    def peek(self) -> bytes:
        """Return the next octet, or nothing."""
        return self.text[self.at : self.at + 1]

    def skip(self, octets: bytes) -> bool:
        """Read these octets if they come next, in whatever case."""
        if self.text[self.at : self.at + len(octets)].upper() == octets:
            self.at += len(octets)
            return True
        return False

    def expect(self, octets: bytes) -> None:
        """Read these octets."""
        if not self.skip(octets):
            raise ArgumentError(12)

    def space(self) -> None:
        """Read the blank between two arguments."""
        self.expect(b" ")

    def end(self) -> None:
        """Make sure that nothing follows."""
        self.text = self.text.rstrip(b" ")
        if not self.at_end:
            raise ArgumentError(12)

    def match(self, pattern: re.Pattern[bytes], number: int = 12) -> re.Match[bytes]:
        """Read what a pattern matches."""
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ArgumentError(number)
        self.at = match.end()
        return match

    def atom(self) -> bytes:
        """Read an atom."""
        return self.match(_ATOM)[0]

    def astring(self) -> bytes:
        """Read an atom, a quoted string or a literal."""
        return self._string(_ASTRING)

    def pattern(self, *, refuses_escaped_quote: bool) -> bytes:
        """Read what LIST takes: an astring that may hold wildcards."""
        start = self.at
        found = self._string(_PATTERN)
        if refuses_escaped_quote and b'\\"' in self.text[start : self.at]:
            raise ArgumentError(12)
        return found

    def flags(self) -> list[bytes]:
        """Read flags in parentheses, or bare as STORE permits."""
        found: list[bytes] = []
        is_list = self.skip(b"(")
        while not (is_list and self.skip(b")")):
            found.append(self.match(_FLAG, 11)[0])
            if not self.skip(b" ") and not is_list:
                break
        return found

    def numbers(self) -> bytes:
        """Read a sequence set."""
        return self.match(_SET, 11)[0]

    def is_set(self) -> bool:
        """Whether a sequence set comes next."""
        return _SET.match(self.text, self.at) is not None

    def date_time(self) -> datetime:
        """Read a date-time in quotes."""
        self.expect(b'"')
        parts = self.match(_DATE_TIME, 11)
        self.expect(b'"')
        day, month, year, hour, minute, second = parts.group(1, 2, 3, 4, 5, 6)
        offset = int(parts[8]) * 60 + int(parts[9])
        sign = -1 if parts[7] == b"-" else 1
        try:
            local = datetime(
                int(year), _month(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC
            )
            return datetime.fromtimestamp(local.timestamp() - sign * offset * 60, UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise ArgumentError(11) from error

    def date(self) -> date:
        """Read a date, in quotes or not."""
        is_quoted = self.skip(b'"')
        parts = self.match(_DATE, 11)
        if is_quoted:
            self.expect(b'"')
        try:
            return date(int(parts[3]), _month(parts[2]), int(parts[1]))
        except ValueError as error:
            raise ArgumentError(11) from error

    def _string(self, atom: re.Pattern[bytes]) -> bytes:
        if self.peek() == b'"':
            return re.sub(rb"\\(.)", rb"\1", self.match(_QUOTED)[1])
        if self.peek() == b"\0":
            return self.literals[int(self.match(_LITERAL)[1])]
        return self.match(atom)[0]


def in_set(numbers: bytes, largest: int) -> list[tuple[int, int]]:
    """Return the ranges of a sequence set, ``*`` being the largest number in use."""
    ranges = []
    for each in numbers.split(b","):
        first, _, last = each.partition(b":")
        bounds = [largest if n == b"*" else int(n) for n in (first, last or first)]
        ranges.append((min(bounds), max(bounds)))
    return ranges


def _month(name: bytes) -> int:
    text = name.decode().lower()
    if text not in _MONTHS:
        raise ArgumentError(11)
    return _MONTHS.index(text) + 1
