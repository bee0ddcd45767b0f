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
    flags: str = ""
    """Its system flags; among twins they tell which is which."""


@dataclass(frozen=True, slots=True)
class There:
    """A message found in the target that no row of the ledger accounts for."""

    uid: int
    size: int
    content: Content | None
    """None where the target does not hand it out."""
    flags: str = ""


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
    _part_twins([mine for mine in ours if mine.message_id not in told], there, pairs)
    pair(lambda mine, found: mine.tidy == found.tidy)
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

    How many are paired stays the same, so that nothing is sent again for it.
    """
    found = {each.uid: each for each in there}
    other = [
        mine
        for mine in ours
        if mine.message_id in pairs and found[pairs[mine.message_id]].flags != mine.flags
    ]
    holders: dict[tuple[str, str], list[Ours]] = {}
    for mine in other:
        held = found[pairs[mine.message_id]]
        holders.setdefault((_exact(mine), held.flags), []).append(mine)
    for mine in other:
        uid = pairs[mine.message_id]
        if found[uid].flags == mine.flags:
            continue  # by an exchange that was for another's sake
        for holder in holders.get((_exact(mine), mine.flags), []):
            wanted = pairs[holder.message_id]
            if found[wanted].flags == mine.flags != holder.flags and (
                mine.lowest_uid <= wanted and holder.lowest_uid <= uid
            ):
                pairs[mine.message_id], pairs[holder.message_id] = wanted, uid
                holders.setdefault((_exact(mine), found[uid].flags), []).append(holder)
                holders[_exact(mine), mine.flags].remove(holder)
                break


def _exact(mine: Ours) -> str:
    return mine.content.exact if mine.content is not None else ""
