"""Instants that header fields tell, however they are written."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_LONGEST = 2_000
_COMMENT = re.compile(rb"\([^()]*\)")
_USUAL = re.compile(
    rb"\s*(?:[A-Z][a-z]{2}, {1,3})?(\d\d?) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):([0-5]\d)"
    rb" ([+-])(\d\d)([0-5]\d)\s*(?:\([^()]*\)\s*)?"
)
_MONTHS = {
    name: number
    for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)
}
_BLANKS = re.compile(rb"[\x00-\x20]+")


def instant(value: bytes) -> datetime | None:
    """Return the instant of a Date field (RFC 5322 section 3.3), None for nonsense.

    A date without a zone is read as UTC.
    """
    usual = _USUAL.fullmatch(value)
    if usual is not None and (month := _MONTHS.get(usual[2])):
        day, _, year, hour, minute, second, sign, hours, minutes = usual.groups()
        try:
            local = datetime(
                int(year), month, int(day), int(hour), int(minute), int(second), tzinfo=UTC
            )
            if hours == minutes == b"00":
                return local
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            return local + offset if sign == b"-" else local - offset
        except (ArithmeticError, ValueError):
            return None
    return _tolerantly(value)


def _tolerantly(value: bytes) -> datetime | None:
    from email.utils import parsedate_tz  # slow to import

    text = _BLANKS.sub(b" ", _COMMENT.sub(b" ", value[:_LONGEST])).decode("latin-1")
    try:
        parsed = parsedate_tz(text)
        if parsed is None:
            return None
        year, month, day, hour, minute, second = parsed[:6]
        # a leap second is a second that no datetime has
        local = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
        return local - timedelta(seconds=parsed[9] or 0)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None


def received_instant(value: bytes) -> datetime | None:
    """Return the instant at the end of a Received field (RFC 5321 section 4.4)."""
    text = _COMMENT.sub(b" ", value[-_LONGEST:])
    return instant(text.rpartition(b";")[2]) if b";" in text else None
