"""The rules of a house: what Exchange Online demands of what is sent to it, and how it is treated.

A plain IMAP server gets the archived octets as they are, and needs none of this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from importer.pace import PaceLimits
from importer.repair import Limits

EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
"""An earlier INTERNALDATE is sent as this: nobody knows what becomes of one before 1970."""


FLAGS = frozenset({"\\seen", "\\answered", "\\flagged", "\\deleted", "\\draft", "$mdnsent"})
"""PERMANENTFLAGS of every folder, in lower case: no keyword but this one can be stored."""


class Protected(StrEnum):
    """What becomes of signed or encrypted mail that cannot be sent as it is."""

    WRAP = "wrap"
    """It is sent whole, as an attachment of a plain message."""
    SET_ASIDE = "set-aside"


@dataclass(frozen=True, slots=True)
class HouseRules:
    """How stage two treats Exchange Online."""

    limits: Limits = field(default_factory=Limits)
    protected: Protected = Protected.WRAP
    takes_deleted: bool = False
    r"""Whether messages marked ``\Deleted`` are sent; Outlook would show them struck out."""
    takes_mdn_sent: bool = False
    """Whether ``$MDNSent`` is sent, which Outlook shows as a category of that name."""
    pace: PaceLimits = field(default_factory=PaceLimits)
    lateness: float = 60
    """Seconds after which a message that was stored shows at the latest, and which a server that
    is unavailable is given, twice and five times over."""
    connections_a_minute: int = 15
    """More, as users report, end in "User is authenticated but not connected"."""
