"""Messages as mboxrd: what mail tools take and give as one file for many messages.

Each message begins with a line ``From SENDER DATE``; a line of its own that looks like one, with
any number of ``>`` before it, gets one ``>`` more, which a reader takes off again. Line ends are
LF, as these tools expect; a lone CR stays. An empty line ends each message.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_NOBODY = "MAILER-DAEMON"
_ADDRESS = re.compile(r"[^\s<>(),;:\"]+@[^\s<>(),;:\"]+", re.ASCII)
_FROM = re.compile(rb"^(>*)From ", re.MULTILINE)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def from_line(sender: str | None, received: datetime | None) -> bytes:
    """Return the line that a message begins with; the date is UTC, as ``asctime`` writes it."""
    found = _ADDRESS.search(sender or "")
    address = found[0] if found and found[0].isascii() and found[0].isprintable() else _NOBODY
    try:
        received = (received or _NEVER).astimezone(UTC)
    except OverflowError:  # in the year 1 or 9999
        received = _NEVER
    day, month = _DAYS[received.weekday()], _MONTHS[received.month - 1]
    at = f"{received:%H:%M:%S} {received.year:04d}"
    return f"From {address} {day} {month} {received.day:2d} {at}\n".encode()


class Quoted:
    """Takes a message piece by piece and returns it as it stands in the file."""

    def __init__(self) -> None:
        self._rest = b""
        self._quotes_only = True
        """Whether the line so far is nothing, or nothing but ``>``."""
        self._ends_line = True

    def write(self, octets: bytes) -> bytes:
        """Return as much of what was written as is certain."""
        octets = self._rest + octets
        held = 1 if octets.endswith(b"\r") else 0
        start = octets.rfind(b"\n") + 1
        if start or self._quotes_only:
            # The last line may be about to become "From ".
            line = octets[start:].lstrip(b">")
            if len(line) < len(_WORD) and _WORD.startswith(line):
                held = len(line)
        self._rest = octets[len(octets) - held :]
        return self._quoted(octets[: len(octets) - held])

    def end(self) -> bytes:
        """Return the rest, and the empty line behind it."""
        rest = self._quoted(self._rest)
        return rest + (b"\n" if self._ends_line else b"\n\n")

    def _quoted(self, octets: bytes) -> bytes:
        if not octets:
            return b""
        octets = octets.replace(b"\r\n", b"\n")
        start = 0
        head = b""
        if not self._quotes_only:
            start = octets.find(b"\n") + 1 or len(octets)
            head = octets[:start]
        quoted = head + _FROM.sub(rb"\1>From ", octets[start:])
        last = octets[octets.rfind(b"\n") + 1 :]
        is_new = b"\n" in octets
        self._quotes_only = (is_new or self._quotes_only) and not last.strip(b">")
        self._ends_line = octets.endswith(b"\n")
        return quoted


_WORD = b"From "
