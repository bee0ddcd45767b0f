"""Which message somebody means.

A message is named by its number in the index, as ``ledger`` and ``search`` print it; by its place,
``FOLDER:UID`` or ``FOLDER:UIDVALIDITY:UID``; by its Message-ID; or by the beginning of its sha256.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from waystation.errors import WaystationError, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.archive import Archive
    from store.index import ArchivedMessage

MOST_CANDIDATES = 20
_LARGEST = 2**63


class NoSuchMessageError(WaystationError):
    """Nothing in the archive has that name."""

    def __init__(self, asked: str) -> None:
        super().__init__(
            f"no message is named {plain(asked, 100)!r}. A message is named by the id that "
            "'waystation ledger' and 'waystation search' print, by FOLDER:UID, by its Message-ID, "
            "or by eight or more digits of its sha256."
        )


class UnclearMessageError(WaystationError):
    """Several messages have that name."""

    exit_code = 2

    def __init__(self, asked: str, candidates: Sequence[ArchivedMessage]) -> None:
        self.candidates = tuple(candidates)
        named = ", ".join(str(message.id) for message in self.candidates[:MOST_CANDIDATES])
        more = " …" if len(self.candidates) >= MOST_CANDIDATES else ""
        super().__init__(
            f"{plain(asked, 100)!r} names several messages; name one by its id: {named}{more}"
        )


def pointed_at(archive: Archive, asked: str) -> ArchivedMessage:
    """Return the message that is meant.

    Raises:
        NoSuchMessageError: there is none.
        UnclearMessageError: there are several.
    """
    found = candidates(archive, asked.strip())
    if not found:
        raise NoSuchMessageError(asked)
    if len(found) > 1:
        raise UnclearMessageError(asked, found)
    return found[0]


def candidates(archive: Archive, asked: str) -> list[ArchivedMessage]:
    """Return the messages that may be meant, by the surest way to name one; 20 at the most."""
    for look in (_by_id, _by_place, _by_sha256, _by_message_id):
        ids = look(archive, asked)
        if ids:
            return archive.index.some(ids[:MOST_CANDIDATES])
    return []


def _by_id(archive: Archive, asked: str) -> list[int]:
    if not asked.isascii() or not asked.isdigit() or len(asked) > 19 or int(asked) >= _LARGEST:
        return []
    return _ids(archive, "id = ?", int(asked))


def _by_place(archive: Archive, asked: str) -> list[int]:
    match = _PLACE.fullmatch(asked)
    if match is None:
        return []
    # A name may hold colons and digits itself.
    longer = f"{match[1]}:{match[2]}" if match[2] else match[1]
    folder = _folder(archive, longer)
    uid = int(match[3])
    if folder is not None:
        return _ids(archive, "folder_id = ? AND uid = ?", folder, uid)
    folder = _folder(archive, match[1]) if match[2] else None
    if folder is None:
        return []
    return _ids(
        archive, "folder_id = ? AND uidvalidity = ? AND uid = ?", folder, int(match[2]), uid
    )


def _folder(archive: Archive, name: str) -> int | None:
    folder = archive.index.folder("INBOX" if name.upper() == "INBOX" else name)
    return folder.id if folder is not None else None


def _by_sha256(archive: Archive, asked: str) -> list[int]:
    digits = asked.lower().removeprefix("sha256:")
    if not _SHA256.fullmatch(digits):
        return []
    return _ids(archive, "sha256 >= ? AND sha256 < ?", digits, digits + "g")


def _by_message_id(archive: Archive, asked: str) -> list[int]:
    bare = asked.removeprefix("<").removesuffix(">")
    return _ids(archive, "message_id IN (?, ?, ?)", asked, bare, f"<{bare}>") if bare else []


def _ids(archive: Archive, condition: str, *values: int | str) -> list[int]:
    rows = archive.database.rows(
        f"SELECT id FROM messages WHERE {condition} ORDER BY id LIMIT {MOST_CANDIDATES}",  # noqa: S608
        values,
    )
    return [number for (number,) in rows]


_PLACE = re.compile(r"(.+?)(?::([0-9]{1,10}))?:([0-9]{1,10})", re.DOTALL)

_SHA256 = re.compile(r"[0-9a-f]{8,64}")
