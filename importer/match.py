"""Which of the messages found in a target are ours: pure, by what survives a server's tidying."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.headers import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NO_HEADERS = fingerprint(b"")
"""The fingerprint of every message without the headers that it is made of."""


@dataclass(frozen=True, slots=True)
class Ours:
    """A message of the archive that may lie in the target."""

    message_id: int
    fingerprint: str
    received: int | None
    """INTERNALDATE in seconds since 1970; None where it has none."""
    size: int
    lowest_uid: int = 0
    """Its copy, if there is one, has no lower UID than this."""


@dataclass(frozen=True, slots=True)
class There:
    """A message found in the target that no row of the ledger accounts for."""

    uid: int
    fingerprint: str
    received: int | None
    size: int


def match(
    ours: Iterable[Ours],
    there: Iterable[There],
    content_of_ours: Callable[[int], tuple[tuple[str, str], int]],
    content_there: Callable[[int], tuple[str, str] | None],
    *,
    trust_headers: bool,
) -> dict[int, int]:
    """Return UIDs by message ids: each message at most once, each UID at most once.

    Two belong together when Message-ID, Date, From and Subject agree, INTERNALDATE is the same
    instant, and the size fits. Where that fits several of different content, or the size does
    not fit, the content decides.

    Args:
        ours: messages of the archive.
        there: messages in the target.
        content_of_ours: sha256 as it is and with CRLF line ends, and the size with these.
        content_there: the same two hashes of a UID, or None where it cannot be had.
        trust_headers: accept what agrees in headers and date although the content differs,
            as on servers that rewrite messages. Only for UIDs that came after we began to send.
    """
    groups: dict[tuple[str, int | None], tuple[list[Ours], list[There]]] = defaultdict(
        lambda: ([], [])
    )
    for message in ours:
        groups[message.fingerprint, message.received][0].append(message)
    for found in there:
        # A message without INTERNALDATE gets the server's own time: any instant may be it.
        for key in ((found.fingerprint, found.received), (found.fingerprint, None)):
            if key in groups:
                groups[key][1].append(found)
    matched: dict[int, int] = {}
    taken: set[int] = set()
    for mine, theirs in groups.values():
        free = [found for found in theirs if found.uid not in taken]
        pairs = _group(mine, free, content_of_ours, content_there, trust_headers=trust_headers)
        matched.update(pairs)
        taken.update(pairs.values())
    return matched


def _group(
    mine: list[Ours],
    theirs: list[There],
    content_of_ours: Callable[[int], tuple[tuple[str, str], int]],
    content_there: Callable[[int], tuple[str, str] | None],
    *,
    trust_headers: bool,
) -> dict[int, int]:
    if not mine or not theirs:
        return {}
    if len(mine) == len(theirs) == 1 and mine[0].fingerprint != NO_HEADERS:
        only, found = mine[0], theirs[0]
        if only.size == found.size and found.uid >= only.lowest_uid:
            return {only.message_id: found.uid}
    contents = {message.message_id: content_of_ours(message.message_id) for message in mine}
    hashes = {found.uid: content_there(found.uid) for found in theirs}
    pairs: dict[int, int] = {}
    left = {found.uid: found for found in theirs}
    for message in mine:
        wanted = set(contents[message.message_id][0])
        possible = (uid for uid in left if uid >= message.lowest_uid)
        uid = next((uid for uid in possible if wanted & set(hashes[uid] or ())), None)
        if uid is not None:
            pairs[message.message_id] = uid
            del left[uid]
    if trust_headers:
        # The server rewrote them. Nearest in size is the best that can be said of which is
        # which; of how many there are, it makes no difference.
        for message in mine:
            if message.message_id in pairs:
                continue
            size = contents[message.message_id][1]
            possible = (uid for uid in left if uid >= message.lowest_uid)
            nearest = min(((abs(left[uid].size - size), uid) for uid in possible), default=None)
            if nearest is not None:
                pairs[message.message_id] = nearest[1]
                del left[nearest[1]]
    return pairs
