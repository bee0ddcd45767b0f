"""Which of the messages found in a target are ours: pure, by what survives a server's tidying."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.headers import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from importer.digest import Content

NO_HEADERS = fingerprint(b"")
"""The fingerprint of every message without the headers that it is made of."""


@dataclass(frozen=True, slots=True)
class Ours:
    """A message of the archive that may lie in the target."""

    message_id: int
    size: int
    content: Content | None
    """None where its file cannot be read."""
    lowest_uid: int = 0
    """Its copy, if there is one, has no lower UID than this."""
    uid: int | None = None
    """Where it is said to lie; believed if the content agrees."""
    marks: str = ""
    """Its flags and keywords; among twins they tell which is which."""
    rank: int = 0
    """Whose is lower goes before; see ``ours`` of ``match``."""


@dataclass(frozen=True, slots=True)
class There:
    """A message found in the target that no row of the ledger accounts for."""

    uid: int
    size: int
    content: Content | None
    """None where the target does not hand it out."""
    marks: str = ""


@dataclass(frozen=True, slots=True)
class Matched:
    """What came of the comparison."""

    pairs: dict[int, int]
    """UIDs by message ids: each message at most once, each UID at most once."""
    changed: int
    """How many more agree in headers and date only, their content being another."""


def match(
    ours: Sequence[Ours], there: Sequence[There], *, has_headers: bool, is_rewriting: bool
) -> Matched:
    """Return who is who among messages that agree in headers and INTERNALDATE.

    Equal content decides, then content that is equal but for a server's tidying. Who comes
    first in ``ours`` chooses first.

    Args:
        ours: messages of the archive.
        there: messages in the target, by ascending UID.
        has_headers: there is any header to agree in; without, only the whole content tells.
        is_rewriting: the server is known to store other content than it was sent, so that
            headers and date have to do.
    """
    pairs: dict[int, int] = {}
    left = {found.uid: found for found in there}

    def pair(fits: Callable[[Content, Content], bool]) -> None:
        for mine in ours:
            if mine.message_id in pairs or mine.content is None:
                continue
            for uid, found in left.items():
                if uid < mine.lowest_uid or found.content is None:
                    continue
                if fits(mine.content, found.content):
                    pairs[mine.message_id] = uid
                    del left[uid]
                    break

    for mine in ours:
        said = left.get(mine.uid or 0)
        if said and said.content and mine.content and said.content.tidy == mine.content.tidy:
            pairs[mine.message_id] = said.uid
            del left[said.uid]
    told = set(pairs)
    pair(lambda mine, found: mine.exact == found.exact)
    pair(lambda mine, found: mine.tidy == found.tidy)
    _part_twins([mine for mine in ours if mine.message_id not in told], there, pairs)
    if not has_headers:
        return Matched(pairs, 0)
    pair(lambda mine, found: mine.body == found.body)
    changed = 0
    # Nearest in size is the best that can be said of which is which; of how many there are, it
    # makes no difference.
    candidates = dict(left)
    for mine in ours:
        if mine.message_id in pairs:
            continue
        possible = (found for uid, found in candidates.items() if uid >= mine.lowest_uid)
        nearest = min(
            ((abs(found.size - mine.size), found.uid) for found in possible), default=None
        )
        if nearest is None:
            continue
        changed += 1
        del candidates[nearest[1]]
        if is_rewriting:
            pairs[mine.message_id] = nearest[1]
    return Matched(pairs, changed)


def _part_twins(ours: Sequence[Ours], there: Sequence[There], pairs: dict[int, int]) -> None:
    """Change who is who among equal messages, so that as many as can be have their own flags.

    How many are paired stays the same, so that nothing is sent again for it; and who goes before
    gives a place up only to one of the same rank.
    """
    marks = {each.uid: each.marks for each in there}
    holders: dict[tuple[str, str], list[Ours]] = {}

    def is_well_placed(mine: Ours) -> bool:
        uid = pairs.get(mine.message_id)
        return uid is not None and marks[uid] == mine.marks

    def holds(mine: Ours) -> None:
        uid = pairs.get(mine.message_id)
        if uid is not None and marks[uid] != mine.marks:
            holders.setdefault((_exact(mine), marks[uid]), []).append(mine)

    for mine in ours:
        holds(mine)
    for mine in ours:
        if mine.content is None or is_well_placed(mine):
            continue
        own = pairs.get(mine.message_id)
        for holder in holders.get((_exact(mine), mine.marks), []):
            wanted = pairs[holder.message_id]
            if mine.lowest_uid > wanted or is_well_placed(holder) or marks[wanted] != mine.marks:
                continue
            if own is None and mine.rank == holder.rank:
                del pairs[holder.message_id]
            elif own is not None and holder.lowest_uid <= own:
                pairs[holder.message_id] = own
            else:
                continue
            pairs[mine.message_id] = wanted
            holders[_exact(mine), mine.marks].remove(holder)
            holds(holder)
            break


def _exact(mine: Ours) -> str:
    return mine.content.exact if mine.content is not None else ""
