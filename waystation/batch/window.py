"""The hours of the day in which a batch works, such as ``20:00-06:00``, by the local clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Self

from waystation.errors import UsageError, plain

_FORM = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """From ``begins`` until just before ``ends``; over midnight where it ends earlier."""

    begins: time
    ends: time

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the window that ``HH:MM-HH:MM`` means.

        Raises:
            UsageError: it is none.
        """
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"{plain(text, 40)!r} are no hours. Write them as in 20:00-06:00.")
        begins = time(int(match[1]), int(match[2]))
        ends = time(int(match[3]), int(match[4]))
        if begins == ends:
            raise UsageError(f"{plain(text, 40)!r} ends when it begins; leave --between out.")
        return cls(begins, ends)

    def opens_in(self, now: datetime) -> float:
        """Return the seconds until it opens; 0 while it is open."""
        clock = now.time()
        if self.begins < self.ends:
            is_open = self.begins <= clock < self.ends
        else:
            is_open = clock >= self.begins or clock < self.ends
        if is_open:
            return 0.0
        opening = datetime.combine(now.date(), self.begins, now.tzinfo)
        if opening <= now:
            opening += timedelta(days=1)
        return (opening - now).total_seconds()
