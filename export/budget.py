"""How much may be fetched in a day, what earlier runs have used up, and whether that is all."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from store.archive import now

if TYPE_CHECKING:
    from store.archive import Archive

GMAIL_BUDGET = 2300 * 1024**2
"""Octets in 24 hours: less than the 2,500 MB a day, of a million octets each to be safe, that Gmail
lets IMAP clients download ("Gmail bandwidth limits", Google Workspace Admin Help); beyond, it may
suspend the account."""


class OutOfBudgetError(Exception):
    """What may be fetched in a day has been fetched, and something is left."""


class Budget:
    """What a run may still fetch. ``octets`` a day, earlier runs included; 0 is no ceiling."""

    def __init__(self, archive: Archive, octets: int) -> None:
        self.is_limited = octets > 0
        self.was_exceeded = False
        """Whether something was not asked for, because it would have been too much."""
        self._left = octets
        if self.is_limited:
            day_ago = datetime.fromisoformat(now()) - timedelta(days=1)
            self._left -= archive.index.fetched_since(day_ago.isoformat())

    def allows(self, fetched: int) -> bool:
        """Whether a run that has fetched so many octets may ask for more."""
        if self.is_limited and fetched >= self._left:
            self.was_exceeded = True
        return not self.was_exceeded
