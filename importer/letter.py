"""What is sent of a message towards a house with rules: octets, flags and date, try after try.

All of it is decided from the file, the row and the rules alone, so that ``plan`` tells the same
beforehand, and a later run finds again what an earlier one has sent.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from importer.house import EARLIEST, Protected
from importer.mime import MimeDigest
from importer.repair import Step, further, needed, needs_altering, repaired
from store.headers import LONGEST_HEAD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from typing import BinaryIO

    from importer.house import HouseRules
    from importer.inspection import Inspection
    from importer.mime import Likeness
    from store.archive import Archive
    from store.index import ArchivedMessage
    from store.transfers import Repair

_BLOCK = 1024 * 1024
_SEEN = "\\Seen"
_DELETED = "\\Deleted"


@dataclass(frozen=True, slots=True)
class Try:
    """One way to send a message."""

    steps: tuple[Step, ...]
    """How its octets are mended on the way."""
    is_bare: bool = False
    r"""Whether flags other than ``\Seen`` are left out at first, and stored afterwards."""


@dataclass(frozen=True, slots=True)
class Letter:
    """The octets that are sent."""

    file: BinaryIO
    size: int
    repairs: tuple[Repair, ...]


def reason_to_leave(message: ArchivedMessage, house: HouseRules) -> str | None:
    """Return why a message is not sent at all, as far as its row tells; None where it is."""
    if _DELETED in message.flags and not house.takes_deleted:
        return "marked \\Deleted on the source (--with-deleted sends such)"
    return None


def reason_to_set_aside(inspection: Inspection, house: HouseRules) -> str | None:
    """Return why a message is not sent, as far as its octets tell; None where it is."""
    if house.protected is Protected.SET_ASIDE and needs_altering(inspection, house.limits):
        kind = "encrypted" if inspection.is_encrypted else "signed"
        return f"{kind}, and could not be sent unaltered (--protected wrap sends it wrapped)"
    return None


def tries(inspection: Inspection, flags: Sequence[str], house: HouseRules) -> tuple[Try, ...]:
    """Return the ways to send a message, the least intrusive first."""
    first = needed(inspection, house.limits)
    ways = [Try(first)]
    if any(flag != _SEEN for flag in flags):
        ways.append(Try(first, is_bare=True))
    for steps in further(inspection, house.limits):
        is_protected = inspection.is_signed or inspection.is_encrypted
        if not (is_protected and house.protected is Protected.SET_ASIDE):
            ways.append(Try(steps, is_bare=True))
    return tuple(ways)


def date_to_send(
    message: ArchivedMessage, inspection: Inspection, now: datetime
) -> datetime | None:
    """Return the INTERNALDATE to send: the archived one, else the top Received, else Date.

    Whatever it says, it lies between the beginning of 1970 and now. None where nothing tells.
    """
    date = message.internaldate or inspection.received or inspection.sent
    return None if date is None else min(max(date, EARLIEST), now)


def flags_to_send(kept: Sequence[str], way: Try) -> list[str]:
    """Return the flags of an APPEND, out of those that the folder keeps."""
    return [flag for flag in kept if flag == _SEEN] if way.is_bare else list(kept)


@contextmanager
def letter(file: BinaryIO, way: Try, house: HouseRules) -> Iterator[Letter]:
    """Open what is sent of a message's file in one way."""
    with repaired(file, way.steps, house.limits) as (sent, size, repairs):
        yield Letter(sent, size, repairs)


def sent_head(
    archive: Archive, message: ArchivedMessage, repairs: Sequence[Repair], house: HouseRules
) -> bytes | None:
    """Return the first octets of what was sent of a message, 64 KiB at most.

    None where its file cannot be read, or no longer mends to what was sent.
    """
    with _sent_again(archive, message, repairs, house) as sent:
        return sent.read(LONGEST_HEAD) if sent is not None else None


def sent_likeness(
    archive: Archive, message: ArchivedMessage, repairs: Sequence[Repair], house: HouseRules
) -> Likeness | None:
    """Return what a reader gets of what was sent of a message; None as for ``sent_head``."""
    with _sent_again(archive, message, repairs, house) as sent:
        if sent is None:
            return None
        digest = MimeDigest()
        while block := sent.read(_BLOCK):
            digest.write(block)
        return digest.likeness


@contextmanager
def _sent_again(
    archive: Archive, message: ArchivedMessage, repairs: Sequence[Repair], house: HouseRules
) -> Iterator[BinaryIO | None]:
    with ExitStack() as stack:
        sent: BinaryIO | None = None
        with suppress(OSError):
            path = archive.find(message)
            if path is not None:
                file = stack.enter_context(path.open("rb", buffering=0))
                steps = tuple(Step(repair.step) for repair in repairs)
                sent, _, done = stack.enter_context(repaired(file, steps, house.limits))
                if done[-1:] != tuple(repairs[-1:]):
                    sent = None
        yield sent
