"""The vocabulary that every part shares: folders, their state, messages, flags.

Words are the standards' own (RFC 3501, RFC 9051, RFC 6154). Names are decoded once, at the
door that reads them; what travels inside the house is text with known meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

SYSTEM_FLAGS = ("\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen")
"""The flags of RFC 3501 section 2.3.2 that a client may store; ``\\Recent`` is the server's."""


DateFrom = Literal["received", "date"]
"""The topmost Received field, or the Date field."""


class SpecialUse(StrEnum):
    """What a folder is for (RFC 6154 section 2), and INBOX, which RFC 3501 makes special."""

    INBOX = "\\Inbox"
    ALL = "\\All"
    ARCHIVE = "\\Archive"
    DRAFTS = "\\Drafts"
    FLAGGED = "\\Flagged"
    JUNK = "\\Junk"
    SENT = "\\Sent"
    TRASH = "\\Trash"


def join_levels(levels: tuple[str, ...]) -> str:
    """Return a folder's name as one text: levels joined by ``/``.

    A ``/`` or ``%`` inside a level is percent-encoded, so that ``split_name`` undoes it.
    """
    return "/".join(level.replace("%", "%25").replace("/", "%2F") for level in levels)


def split_name(name: str) -> tuple[str, ...]:
    """Return the levels of a name made by ``join_levels``."""
    return tuple(level.replace("%2F", "/").replace("%25", "%") for level in name.split("/"))


def is_inbox(levels: tuple[str, ...]) -> bool:
    """Tell whether these levels name INBOX, which has no case (RFC 3501 section 5.1)."""
    return len(levels) == 1 and levels[0].upper() == "INBOX"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as a server lists it (RFC 3501 calls it a mailbox)."""

    levels: tuple[str, ...]
    """The decoded name, level by level: ``("Projects", "2024")``."""
    wire_name: bytes
    """The name exactly as the server sent it; commands use this, never a re-encoding."""
    delimiter: str | None
    attributes: tuple[str, ...] = ()
    """LIST attributes in lower case, sorted: ``("\\\\hasnochildren", "\\\\sent")``."""

    @property
    def name(self) -> str:
        """The decoded name as one text, see ``join_levels``."""
        return join_levels(self.levels)

    @property
    def is_selectable(self) -> bool:
        """Whether the folder can hold messages at all."""
        return not {"\\noselect", "\\nonexistent"} & set(self.attributes)

    @property
    def special_use(self) -> SpecialUse | None:
        """What the server says the folder is for, or None."""
        if is_inbox(self.levels):
            return SpecialUse.INBOX
        return next((use for use in SpecialUse if use.value.lower() in self.attributes), None)


@dataclass(frozen=True, slots=True)
class FolderState:
    """What a server says of a folder without looking at its messages."""

    uidvalidity: int
    uidnext: int
    exists: int
    highestmodseq: int | None = None
    """RFC 7162; None where the server has no CONDSTORE."""


@dataclass(frozen=True, slots=True)
class RemoteMessage:
    """A message as its server describes it."""

    uid: int
    flags: tuple[str, ...] = ()
    """Flags that begin with a backslash, sorted, without ``\\\\Recent``."""
    keywords: tuple[str, ...] = ()
    """Flags that do not, sorted."""
    internaldate: datetime | None = None
    """INTERNALDATE, aware, with the offset as sent; None where the server gave none."""
    date_from: DateFrom | None = None
    """Of which header field that date is, where the server knows none (POP3)."""


def split_flags(flags: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    r"""Return flags and keywords apart, each sorted and free of doubles.

    System flags get the spelling of RFC 3501 (flags have no case); ``\\Recent`` is dropped,
    since it says something of the session, not of the message.
    """
    system: set[str] = set()
    keywords: set[str] = set()
    for flag in flags:
        if not flag.startswith("\\"):
            keywords.add(flag)
            continue
        spelled = _SPELLING.get(flag.lower(), flag)
        if spelled != "\\Recent":
            system.add(spelled)
    return tuple(sorted(system)), tuple(sorted(keywords))


_SPELLING = {flag.lower(): flag for flag in (*SYSTEM_FLAGS, "\\Recent")}
