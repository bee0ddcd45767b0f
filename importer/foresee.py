"""What a house with rules will make of each message, told before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from importer.excluded import excluded, why_left
from importer.house import FLAGS
from importer.inspection import inspect
from importer.letter import letter, reason_to_leave, reason_to_set_aside, tries
from importer.proven import proven
from waystation.selection import Choice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from importer.house import HouseRules
    from store.archive import Archive
    from store.index import ArchivedMessage

_PAGE = 200
_ALL = Choice()


class Fate(StrEnum):
    """What will become of a message that is not sent just as it is."""

    REPAIRED = "repaired"
    TOO_LARGE = "too_large"
    SET_ASIDE = "set_aside"
    MOVED = "moved"
    """The source moved it: its copy is sent from the folder where it is now."""
    DAMAGED = "damaged"
    EXCLUDED = "excluded"
    """A filter leaves it out."""
    LOSES_KEYWORDS = "loses_keywords"


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One thing that will happen to one message."""

    message: ArchivedMessage
    fate: Fate
    what: str

    @property
    def is_held_back(self) -> bool:
        """Whether the message is not sent."""
        return self.fate not in (Fate.REPAIRED, Fate.LOSES_KEYWORDS)


def foresee(
    archive: Archive, target_id: int | None, house: HouseRules, choice: Choice = _ALL
) -> Iterator[Foreseen]:
    """Yield what will happen to the messages that are still to be sent, but for the plain cases.

    Every file is read; the ways that are tried only after a refusal cannot be foreseen.
    """
    transfers = archive.transfers
    for folder in archive.index.folders():
        ids = transfers.unsent(target_id if target_id is not None else -1, folder.id)
        for start in range(0, len(ids), _PAGE):
            for message in archive.index.some(ids[start : start + _PAGE]):
                reason = why_left(archive, choice, folder, message)
                if reason is not None:
                    yield Foreseen(message, Fate.EXCLUDED, reason)
                else:
                    yield from _foresee_one(archive, message, house)


def foresee_plain(
    archive: Archive, target_id: int | None, limit: int | None, choice: Choice = _ALL
) -> Iterator[Foreseen]:
    """Yield what a plain server will not get.

    That is what is left out, what has moved, and what is larger than it takes.

    ``limit`` is the largest message that it takes, None where that is not known.
    """
    transfers = archive.transfers
    number = target_id if target_id is not None else -1
    moved = [message_id for message_id, _, _ in transfers.unsent_moved(number)]
    large = (
        []
        if limit is None
        else [message_id for message_id, _, _ in transfers.unsent_larger(number, limit)]
    )
    told: set[int] = set()
    for message, reason in excluded(archive, target_id, choice):
        told.add(message.id)
        yield Foreseen(message, Fate.EXCLUDED, reason)
    for message in archive.index.some(moved):
        if message.id in told:
            continue
        there = transfers.moved_to(message.id)
        yield Foreseen(message, Fate.MOVED, f"sent from {there}, where the source has it now")
    for message in archive.index.some(sorted(set(large) - set(moved))):
        if message.id in told:
            continue
        what = f"{message.size:,} octets; {limit:,} are taken"
        yield Foreseen(message, Fate.TOO_LARGE, what)


def _foresee_one(
    archive: Archive, message: ArchivedMessage, house: HouseRules
) -> Iterator[Foreseen]:
    there = archive.transfers.moved_to(message.id) if message.last_seen is not None else None
    if there is not None:
        yield Foreseen(message, Fate.MOVED, f"sent from {there}, where the source has it now")
        return
    reason = reason_to_leave(message, house)
    if reason is not None:
        yield Foreseen(message, Fate.SET_ASIDE, reason)
        return
    with proven(archive, message) as file:
        if file is None:
            yield Foreseen(message, Fate.DAMAGED, "its file no longer agrees with the index")
            return
        held_back = False
        for each in _octets(message, file, house):
            held_back = held_back or each.is_held_back
            yield each
    lost = [word for word in message.keywords if word.lower() not in FLAGS]
    if lost and not held_back:
        yield Foreseen(message, Fate.LOSES_KEYWORDS, " ".join(lost))


def _octets(message: ArchivedMessage, file: BinaryIO, house: HouseRules) -> Iterator[Foreseen]:
    """Yield what follows from a message's octets."""
    inspection = inspect(file)
    reason = reason_to_set_aside(inspection, house)
    if reason is not None:
        yield Foreseen(message, Fate.SET_ASIDE, reason)
        return
    file.seek(0)
    with letter(file, tries(inspection, (), house)[0], house) as sent:
        if sent.size > house.limits.largest:
            limit = house.limits.largest
            what = f"{sent.size:,} octets; {limit:,} are taken"
            yield Foreseen(message, Fate.TOO_LARGE, what)
        elif sent.repairs:
            what = "; ".join(f"{repair.step}: {repair.what}" for repair in sent.repairs)
            yield Foreseen(message, Fate.REPAIRED, what)
