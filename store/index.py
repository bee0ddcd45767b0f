"""Every question about folders and messages, as SQL, typed in and out.

Times of our own are text, UTC, ISO 8601. INTERNALDATE is text with the offset as sent, and a
number of seconds beside it (``received``) to sort and compare by.
"""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from store.tallies import message_tallies
from store.trees import Marks
from waystation.errors import IndexDamagedError
from waystation.model import FolderState, SpecialUse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from store.database import Database
    from store.headers import Headers
    from store.tallies import MessageState, Tallies
    from waystation.model import DateFrom

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class ArchivedFolder:
    """A folder that the source has shown."""

    id: int
    name: str
    """Decoded, levels joined by ``/`` (see ``waystation.model.join_levels``)."""
    directory: str
    """Relative to the archive: ``maildir/INBOX``."""
    special_use: SpecialUse | None
    state: FolderState | None
    """What the source said when the folder was last worked through."""
    is_settled: bool
    """Whether nothing was left to do then: only so an equal state means that nothing is new."""
    last_seen: str | None
    """When the folder was last listed, if it no longer is."""


@dataclass(frozen=True, slots=True)
class ArchivedMessage:
    """A message that the source has shown, at one location."""

    id: int
    folder_id: int
    folder: str
    uidvalidity: int
    uid: int
    state: MessageState
    reason: str | None
    path: str | None
    """Relative to the archive; None unless archived."""
    sha256: str | None
    size: int | None
    internaldate: datetime | None
    flags: tuple[str, ...]
    keywords: tuple[str, ...]
    message_id: str | None
    last_seen: str | None
    """When the source last showed it, if it no longer does."""
    date_from: DateFrom | None = None
    """Which header field gave ``internaldate``; None: the server itself."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the index knows of a UID, as far as a comparison with the source needs it."""

    id: int
    uid: int
    flags: tuple[str, ...]
    keywords: tuple[str, ...]
    is_done: bool
    """Whether nothing is left to fetch: archived or skipped, not failed."""
    has_vanished: bool


class Recorded(NamedTuple):
    """A row of an archived message as it stands, for the proof of its file."""

    id: int
    uidvalidity: int
    uid: int
    file: str
    """Below the folder's directory."""
    planned: str | None
    """The name that the file is about to get."""
    sha256: str
    size: int
    received: int | None
    internaldate: str | None
    flags: str
    keywords: str


@dataclass(frozen=True, slots=True)
class SkippedMessage:
    """A message that a filter leaves out, as far as a filter asks."""

    uid: int
    reason: str
    size: int | None
    """Octets by the source's word; None where it said nothing."""
    internaldate: datetime | None
    flags: tuple[str, ...]
    keywords: tuple[str, ...]
    date_from: DateFrom | None = None
    """See ``RemoteMessage``."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A row to be, its file being there already."""

    folder_id: int
    uidvalidity: int
    uid: int
    file: str
    sha256: str
    size: int
    internaldate: datetime | None
    flags: tuple[str, ...]
    keywords: tuple[str, ...]
    headers: Headers
    date_from: DateFrom | None = None


_MESSAGE = """
SELECT m.id, m.folder_id, f.name, m.uidvalidity, m.uid, m.state, m.reason,
    f.directory || '/' || m.file, m.sha256, m.size, m.internaldate, m.flags, m.keywords,
    m.message_id, m.last_seen, m.date_from
FROM messages AS m JOIN folders AS f ON f.id = m.folder_id
"""

# The few that are not archived have an index of their own, which has to be asked for in its words.
_IN_STATE = {
    "archived": "WHERE m.state = 'archived'",
    "skipped": "WHERE m.state != 'archived' AND m.state = 'skipped'",
    "failed": "WHERE m.state != 'archived' AND m.state = 'failed'",
    "pending": """
WHERE m.state = 'archived' AND (SELECT count(*) FROM targets) > (
    SELECT count(*) FROM transfers AS t WHERE t.message_id = m.id AND t.state != 'pending'
)""",
}
_ON_THE_WAY = "WHERE m.id IN (SELECT message_id FROM transfers WHERE state = :state)"

_INSERT = """
INSERT INTO messages (folder_id, uidvalidity, uid, state, file, sha256, size, internaldate,
    received, date_from, flags, keywords, message_id, date, sender, recipients, subject)
VALUES (?, ?, ?, 'archived', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (folder_id, uidvalidity, uid)"""

_REPLACE = """
DO UPDATE SET state = 'archived', reason = NULL, last_seen = NULL, file = excluded.file,
    sha256 = excluded.sha256, size = excluded.size, internaldate = excluded.internaldate,
    received = excluded.received, date_from = excluded.date_from, flags = excluded.flags,
    keywords = excluded.keywords, message_id = excluded.message_id, date = excluded.date,
    sender = excluded.sender, recipients = excluded.recipients, subject = excluded.subject
WHERE messages.state != 'archived'"""

_FOLDER = """
SELECT id, name, directory, special_use, uidvalidity, uidnext, exists_on_source, highestmodseq,
    is_settled, last_seen
FROM folders
"""


class Index:
    """The folders and messages of one archive."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._marks = Marks(database)

    # Folders

    def folders(self) -> list[ArchivedFolder]:
        """Return all folders, by name."""
        return [_folder(row) for row in self._database.rows(_FOLDER + "ORDER BY name")]

    def folder(self, name: str) -> ArchivedFolder | None:
        """Return the folder of this name, or None."""
        row = self._database.row(_FOLDER + "WHERE name = ?", (name,))
        return _folder(row) if row else None

    def add_folder(self, name: str, directory: str, special_use: SpecialUse | None) -> int:
        """Record a folder whose directory exists; return its id."""
        with self._database.atomic():
            number = self._database.execute(
                "INSERT INTO folders (name, directory, special_use) VALUES (?, ?, ?)",
                (name, directory, special_use),
            )
            self._marks.new_folder(number)
        return number

    def folder_listed(self, folder_id: int, special_use: SpecialUse | None) -> None:
        """Record that the source lists the folder."""
        where = "id = ? AND (special_use IS NOT ? OR last_seen IS NOT NULL)"
        with self._database.atomic():
            self._marks.folders(where, (folder_id, special_use))
            self._database.execute(
                f"UPDATE folders SET special_use = ?, last_seen = NULL WHERE {where}",  # noqa: S608
                (special_use, folder_id, special_use),
            )

    def folder_vanished(self, folder_id: int) -> None:
        """Record that the source lists the folder, and so its messages, no longer."""
        with self._database.atomic():
            self._marks.messages("folder_id = ? AND last_seen IS NULL", (folder_id,))
            self._marks.folders("id = ? AND last_seen IS NULL", (folder_id,))
            self._database.execute(
                "UPDATE messages SET last_seen = (SELECT coalesce(looked_at, '') FROM folders"
                " WHERE id = ?) WHERE folder_id = ? AND last_seen IS NULL",
                (folder_id, folder_id),
            )
            self._database.execute(
                "UPDATE folders SET is_settled = 0, last_seen = coalesce(looked_at, '')"
                " WHERE id = ? AND last_seen IS NULL",
                (folder_id,),
            )

    def unsettle(self, folder_id: int) -> None:
        """Record, before anything in the folder changes, that work in it has begun."""
        with self._database.atomic():
            self._marks.folders("id = ? AND is_settled = 1", (folder_id,))
            self._database.execute(
                "UPDATE folders SET is_settled = 0 WHERE id = ? AND is_settled = 1", (folder_id,)
            )

    def settle(
        self, folder_id: int, state: FolderState, looked_at: str, *, is_settled: bool
    ) -> None:
        """Move the watermark: all that the source showed in ``state`` has its row."""
        with self._database.atomic():
            self._marks.folders("id = ?", (folder_id,))
            self._database.execute(
                "UPDATE folders SET uidvalidity = ?, uidnext = ?, exists_on_source = ?,"
                " highestmodseq = ?, looked_at = ?, is_settled = ? WHERE id = ?",
                (
                    state.uidvalidity,
                    state.uidnext,
                    state.exists,
                    state.highestmodseq,
                    looked_at,
                    int(is_settled),
                    folder_id,
                ),
            )

    def looked_at(self, folder_ids: Iterable[int], when: str) -> None:
        """Record that these folders were seen unchanged."""
        ids = list(folder_ids)
        with self._database.atomic():
            self._marks.folders("id IN (SELECT value FROM json_each(?))", (json.dumps(ids),))
            self._database.execute_many(
                "UPDATE folders SET looked_at = ? WHERE id = ?",
                [(when, folder_id) for folder_id in ids],
            )

    # Messages

    def known(self, folder_id: int, uidvalidity: int) -> Iterator[Known]:
        """Yield what is known under this UIDVALIDITY, by ascending UID."""
        for number, uid, flags, keywords, state, last_seen in self._database.rows(
            "SELECT id, uid, flags, keywords, state, last_seen FROM messages"
            " WHERE folder_id = ? AND uidvalidity = ? ORDER BY uid",
            (folder_id, uidvalidity),
        ):
            yield Known(
                number,
                uid,
                _words(flags),
                _words(keywords),
                state != "failed",
                last_seen is not None,
            )

    def known_uid(self, folder_id: int, uidvalidity: int, uid: int) -> Known | None:
        """Return what is known of one UID, or None."""
        row = self._database.row(
            "SELECT id, uid, flags, keywords, state, last_seen FROM messages"
            " WHERE folder_id = ? AND uidvalidity = ? AND uid = ?",
            (folder_id, uidvalidity, uid),
        )
        if row is None:
            return None
        number, uid, flags, keywords, state, last_seen = row
        return Known(
            number, uid, _words(flags), _words(keywords), state != "failed", last_seen is not None
        )

    def present(self, folder_id: int, uidvalidity: int) -> int:
        """Return how many messages the source is known to hold in the folder."""
        # Two counts that indexes answer: a condition on last_seen would read every row.
        return self._number(
            "SELECT (SELECT count(*) FROM messages WHERE folder_id = ?1 AND uidvalidity = ?2)"
            " - (SELECT count(*) FROM messages WHERE folder_id = ?1 AND uidvalidity = ?2"
            " AND last_seen IS NOT NULL)",
            (folder_id, uidvalidity),
        )

    def archived_present(self, folder_id: int, uidvalidity: int) -> int:
        """Return how many of these are archived."""
        # Of a folder whose messages have all vanished, no row is read.
        if not self.present(folder_id, uidvalidity):
            return 0
        return self._number(
            "SELECT count(*) FROM messages WHERE folder_id = ? AND uidvalidity = ?"
            " AND last_seen IS NULL AND state = 'archived'",
            (folder_id, uidvalidity),
        )

    def archived_among(
        self, locations: Iterable[tuple[int, int, int]]
    ) -> set[tuple[int, int, int]]:
        """Return which of these folder ids, UIDVALIDITYs and UIDs have their file."""
        numbers: dict[tuple[int, int], list[int]] = {}
        for folder_id, uidvalidity, uid in locations:
            numbers.setdefault((folder_id, uidvalidity), []).append(uid)
        return {
            (*place, uid)
            for place, uids in numbers.items()
            for (uid,) in self._database.rows(
                # CROSS JOIN: what is asked comes first, whatever the planner makes of it.
                "SELECT m.uid FROM json_each(?) AS asked CROSS JOIN messages AS m"
                " ON m.folder_id = ? AND m.uidvalidity = ? AND m.uid = asked.value"
                " AND m.state = 'archived'",
                (json.dumps(uids), *place),
            )
        }

    def files_by_content(self, hashes: Iterable[str]) -> dict[tuple[str, int | None], str]:
        """Return files, relative to the archive, by content (sha256) and INTERNALDATE."""
        return {
            (sha256, received): file
            for sha256, received, file in self._database.rows(
                "SELECT m.sha256, m.received, f.directory || '/' || m.file"
                " FROM json_each(?) AS asked JOIN messages AS m ON m.sha256 = asked.value"
                " JOIN folders AS f ON f.id = m.folder_id",
                (json.dumps(list(hashes)),),
            )
        }

    def add_messages(self, messages: list[NewMessage]) -> None:
        """Record messages whose files are durable; a failed one becomes archived."""
        rows = [_row(message) for message in messages]
        with self._database.atomic():
            highest = self._marks.highest_message()
            self._database.execute_many(_INSERT + " DO NOTHING", rows)
            self._marks.new_messages(highest)
            if self._marks.highest_message() - highest == len(rows):
                return
            # Some have a row already, which is about to change unless it is archived.
            by_place: dict[tuple[int, int], list[int]] = {}
            for message in messages:
                place = (message.folder_id, message.uidvalidity)
                by_place.setdefault(place, []).append(message.uid)
            for (folder_id, uidvalidity), uids in by_place.items():
                self._marks.messages(
                    "folder_id = ? AND uidvalidity = ? AND state != 'archived'"
                    " AND uid IN (SELECT value FROM json_each(?))",
                    (folder_id, uidvalidity, json.dumps(uids)),
                )
            self._database.execute_many(_INSERT + _REPLACE, rows)

    def add_failed(self, folder_id: int, uidvalidity: int, uid: int, reason: str) -> None:
        """Record a message that the source lists and does not hand out."""
        with self._database.atomic():
            self._marks.located(folder_id, uidvalidity, [uid])
            highest = self._marks.highest_message()
            self._database.execute(
                "INSERT INTO messages (folder_id, uidvalidity, uid, state, reason)"
                " VALUES (?, ?, ?, 'failed', ?)"
                " ON CONFLICT (folder_id, uidvalidity, uid) DO UPDATE SET state = 'failed',"
                " reason = excluded.reason WHERE messages.state != 'archived'",
                (folder_id, uidvalidity, uid, reason),
            )
            self._marks.new_messages(highest)

    # What a filter leaves out

    def add_skipped(
        self, folder_id: int, uidvalidity: int, messages: Iterable[SkippedMessage]
    ) -> None:
        """Record messages that the source shows and a filter leaves out."""
        skipped = list(messages)
        with self._database.atomic():
            self._marks.located(folder_id, uidvalidity, [message.uid for message in skipped])
            highest = self._marks.highest_message()
            self._database.execute_many(
                "INSERT INTO messages (folder_id, uidvalidity, uid, state, reason, size,"
                " internaldate, received, flags, keywords, date_from)"
                " VALUES (?, ?, ?, 'skipped', ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (folder_id, uidvalidity, uid) DO UPDATE SET state = 'skipped',"
                " reason = excluded.reason, size = excluded.size, last_seen = NULL,"
                " internaldate = excluded.internaldate, received = excluded.received,"
                " flags = excluded.flags, keywords = excluded.keywords,"
                " date_from = excluded.date_from"
                " WHERE messages.state != 'archived'",
                (
                    (
                        folder_id,
                        uidvalidity,
                        message.uid,
                        message.reason,
                        message.size,
                        message.internaldate.isoformat() if message.internaldate else None,
                        received_of(message.internaldate),
                        words(message.flags),
                        words(message.keywords),
                        message.date_from,
                    )
                    for message in skipped
                ),
            )
            self._marks.new_messages(highest)

    def skipped(
        self, folder_id: int, uidvalidity: int, but_for: list[str]
    ) -> Iterator[SkippedMessage]:
        """Yield what the source shows in a folder and filters left out.

        What was left out for one of the reasons ``but_for`` is not told.
        """
        for uid, reason, size, internaldate, flags, keywords in self._database.rows(
            "SELECT uid, reason, size, internaldate, flags, keywords FROM messages"
            " WHERE folder_id = ? AND uidvalidity = ? AND state = 'skipped'"
            " AND last_seen IS NULL AND reason NOT IN (SELECT value FROM json_each(?))",
            (folder_id, uidvalidity, json.dumps(but_for)),
        ):
            yield SkippedMessage(
                uid, reason or "", size, _time(internaldate), _words(flags), _words(keywords)
            )

    def set_reasons(
        self, folder_id: int, uidvalidity: int, reasons: Iterable[tuple[int, str]]
    ) -> None:
        """Record that these UIDs are left out for other reasons than before."""
        changed = list(reasons)
        with self._database.atomic():
            self._marks.located(folder_id, uidvalidity, [uid for uid, _ in changed])
            self._database.execute_many(
                "UPDATE messages SET reason = ? WHERE folder_id = ? AND uidvalidity = ?"
                " AND uid = ? AND state = 'skipped'",
                [(reason, folder_id, uidvalidity, uid) for uid, reason in changed],
            )

    def drop_skipped_of_others(self, folder_id: int, uidvalidity: int) -> None:
        """Forget what was left out under another UIDVALIDITY: it has its row under this one."""
        where = "folder_id = ? AND uidvalidity != ? AND state = 'skipped'"
        with self._database.atomic():
            self._marks.messages(where, (folder_id, uidvalidity))
            self._database.execute(
                f"DELETE FROM messages WHERE {where}",  # noqa: S608 - nothing foreign in it
                (folder_id, uidvalidity),
            )

    def count_skipped(self) -> int:
        """Return how many messages that the source shows are left out by filters."""
        return self._number(
            "SELECT count(*) FROM messages WHERE state = 'skipped' AND last_seen IS NULL", ()
        )

    def set_flags(self, message_id: int, flags: tuple[str, ...], keywords: tuple[str, ...]) -> None:
        """Record new flags; the file's letters follow by ``rename``."""
        with self._database.atomic():
            self._marks.messages("id = ?", (message_id,))
            self._database.execute(
                "UPDATE messages SET flags = ?, keywords = ?, last_seen = NULL WHERE id = ?",
                (words(flags), words(keywords), message_id),
            )

    def set_vanished(self, message_ids: Iterable[int]) -> None:
        """Record that the source shows these no longer; they were there at its last look."""
        ids = list(message_ids)
        with self._database.atomic():
            self._marks.message_ids(ids)
            self._database.execute_many(
                "UPDATE messages SET last_seen = coalesce((SELECT looked_at FROM folders"
                " WHERE id = messages.folder_id), '') WHERE id = ? AND last_seen IS NULL",
                [(message_id,) for message_id in ids],
            )

    def count_wanted(self, message_ids: Iterable[int]) -> int:
        """Return how many of these were not left out by a filter."""
        return self._number(
            "SELECT count(*) FROM messages WHERE state != 'skipped'"
            " AND id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(message_ids)),),
        )

    def left_out(self, message_ids: Iterable[int]) -> list[int]:
        """Return which of these were left out by a filter."""
        return [
            number
            for (number,) in self._database.rows(
                "SELECT id FROM messages WHERE state = 'skipped'"
                " AND id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(message_ids)),),
            )
        ]

    def set_returned(self, message_ids: Iterable[int]) -> None:
        """Record that the source shows these again."""
        ids = list(message_ids)
        with self._database.atomic():
            self._marks.message_ids(ids)
            self._database.execute_many(
                "UPDATE messages SET last_seen = NULL WHERE id = ?",
                [(message_id,) for message_id in ids],
            )

    # One message in several folders

    def add_source_ids(
        self, folder_id: int, uidvalidity: int, ids: Iterable[tuple[int, str]]
    ) -> None:
        """Record by which number the source knows messages in all their folders, by UID."""
        self._database.execute_many(
            "INSERT OR REPLACE INTO source_ids (message_id, source_id) SELECT id, ?"
            " FROM messages WHERE folder_id = ? AND uidvalidity = ? AND uid = ?",
            ((source_id, folder_id, uidvalidity, uid) for uid, source_id in ids),
        )

    def without_source_id(self, folder_id: int, uidvalidity: int) -> array[int]:
        """Return the UIDs that the source shows and that have no such number, ascending."""
        return array(
            "Q",
            (
                uid
                for (uid,) in self._database.rows(
                    "SELECT m.uid FROM messages AS m"
                    " LEFT JOIN source_ids AS s ON s.message_id = m.id"
                    " WHERE m.folder_id = ? AND m.uidvalidity = ? AND m.last_seen IS NULL"
                    " AND m.state != 'failed' AND s.message_id IS NULL ORDER BY m.uid",
                    (folder_id, uidvalidity),
                )
            ),
        )

    def by_source_ids(self, source_ids: Iterable[str]) -> dict[str, ArchivedMessage]:
        """Return an archived message for each of these numbers that has one."""
        rows = self._database.rows(
            "SELECT s.source_id, s.message_id FROM json_each(?) AS asked"
            " CROSS JOIN source_ids AS s ON s.source_id = asked.value"
            " JOIN messages AS m ON m.id = s.message_id AND m.state = 'archived'",
            (json.dumps(list(source_ids)),),
        )
        found: dict[str, int] = {str(source_id): int(number) for source_id, number in rows}
        messages = {message.id: message for message in self.some(found.values())}
        return {source_id: messages[number] for source_id, number in found.items()}

    def elsewhere(self, folder_id: int, source_ids: Iterable[str]) -> set[str]:
        """Return which of these numbers the source shows in another folder too.

        A folder of flagged messages is none: it only shows what lies elsewhere.
        """
        return {
            source_id
            for (source_id,) in self._database.rows(
                "SELECT s.source_id FROM json_each(?) AS asked"
                " CROSS JOIN source_ids AS s ON s.source_id = asked.value"
                " JOIN messages AS m ON m.id = s.message_id AND m.folder_id != ?"
                " AND m.last_seen IS NULL AND m.state != 'failed'"
                " JOIN folders AS f ON f.id = m.folder_id AND f.special_use IS NOT '\\Flagged'",
                (json.dumps(list(source_ids)), folder_id),
            )
        }

    def nowhere_else(self, folder_id: int, uidvalidity: int, reason: str) -> list[int]:
        """Return the UIDs skipped for this reason that the source shows in no other folder."""
        return [
            uid
            for (uid,) in self._database.rows(
                "SELECT m.uid FROM messages AS m LEFT JOIN source_ids AS s ON s.message_id = m.id"
                " WHERE m.folder_id = ? AND m.uidvalidity = ? AND m.state = 'skipped'"
                " AND m.last_seen IS NULL AND m.reason = ? AND NOT EXISTS ("
                "SELECT 1 FROM source_ids AS t JOIN messages AS o ON o.id = t.message_id"
                " JOIN folders AS f ON f.id = o.folder_id AND f.special_use IS NOT '\\Flagged'"
                " WHERE t.source_id = s.source_id AND o.folder_id != m.folder_id"
                " AND o.last_seen IS NULL AND o.state != 'failed')",
                (folder_id, uidvalidity, reason),
            )
        ]

    def also_in(self, message_id: int) -> str | None:
        """Return another folder in which the source shows an archived message, or None."""
        row = self._database.row(
            "SELECT f.name FROM source_ids AS s JOIN source_ids AS t ON t.source_id = s.source_id"
            " AND t.message_id != s.message_id JOIN messages AS m ON m.id = t.message_id"
            " AND m.last_seen IS NULL AND m.state = 'archived'"
            " JOIN folders AS f ON f.id = m.folder_id AND f.special_use IS NOT '\\Flagged'"
            " WHERE s.message_id = ? LIMIT 1",
            (message_id,),
        )
        return row[0] if row else None

    # A changed UIDVALIDITY

    def collect_renumbered(self, folder_id: int, uidvalidity: int) -> int:
        """Set the archived messages of other UIDVALIDITYs apart; return how many there are.

        They are to be found by size and date.

        An index of their own, for as long as it is needed: every message is looked for.
        """
        with self._database.atomic():
            self._database.execute("DROP TABLE IF EXISTS temp.renumbered")
            self._database.execute(
                "CREATE TEMP TABLE renumbered AS SELECT size, received, id FROM messages"
                " WHERE folder_id = ? AND uidvalidity != ? AND state = 'archived'",
                (folder_id, uidvalidity),
            )
            self._database.execute(
                "CREATE INDEX temp.renumbered_by_size ON renumbered (size, received)"
            )
        return self._number("SELECT count(*) FROM temp.renumbered", ())

    def renumbered_candidates(
        self, folder_id: int, uidvalidity: int, size: int, received: int | None
    ) -> list[ArchivedMessage]:
        """Return the collected messages that this size and date would fit and are still free."""
        return self._messages(
            "WHERE m.id IN (SELECT id FROM temp.renumbered WHERE size = ? AND received IS ?)"
            " AND m.folder_id = ? AND m.uidvalidity != ? ORDER BY m.uid",
            (size, received, folder_id, uidvalidity),
        )

    def renumbered_content(
        self, folder_id: int, uidvalidity: int, sha256: str, received: int | None
    ) -> ArchivedMessage | None:
        """Return a message of another UIDVALIDITY with this content and date, or None."""
        found = self._messages(
            "WHERE m.folder_id = ? AND m.uidvalidity != ? AND m.sha256 = ? AND m.received IS ?"
            " AND m.state = 'archived' ORDER BY m.uid LIMIT 1",
            (folder_id, uidvalidity, sha256, received),
        )
        return found[0] if found else None

    def with_content(self, folder_id: int, sha256: str) -> list[ArchivedMessage]:
        """Return the messages of a folder with this content, whatever their date, by location."""
        return self._messages(
            "WHERE m.sha256 = ? AND m.folder_id = ? AND m.state = 'archived'"
            " ORDER BY m.uidvalidity, m.uid",
            (sha256, folder_id),
        )

    def flagged(
        self, folder_id: int, uidvalidity: int
    ) -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
        """Return flags and keywords, by UID, of the messages that have any."""
        return {
            uid: (_words(flags), _words(keywords))
            for uid, flags, keywords in self._database.rows(
                "SELECT uid, flags, keywords FROM messages WHERE folder_id = ?"
                " AND uidvalidity = ? AND (flags != '[]' OR keywords != '[]')",
                (folder_id, uidvalidity),
            )
        }

    def has_other_uidvalidity(self, folder_id: int, uidvalidity: int) -> bool:
        """Whether messages from before the folder was renumbered may still be found in it."""
        # Counts that indexes answer, in two ranges: conditions on ``!=`` or last_seen would read
        # every row of the folder.
        others = (
            "(SELECT count(*) FROM messages WHERE folder_id = ?1 AND uidvalidity {0} ?2)"
            " - (SELECT count(*) FROM messages WHERE folder_id = ?1 AND uidvalidity {0} ?2"
            " AND last_seen IS NOT NULL)"
        )
        sql = f"SELECT {others.format('<')} + {others.format('>')}"
        return self._number(sql, (folder_id, uidvalidity)) > 0

    def renumber(self, message_id: int, uidvalidity: int, uid: int) -> None:
        """Record that the source now names a message by another UIDVALIDITY and UID."""
        taken = (
            "state != 'archived' AND uidvalidity = ? AND uid = ?"
            " AND folder_id = (SELECT folder_id FROM messages WHERE id = ?)"
        )
        with self._database.atomic():
            self._marks.messages(taken, (uidvalidity, uid, message_id))
            self._marks.messages("id = ?", (message_id,))
            self._database.execute(
                f"DELETE FROM messages WHERE {taken}",  # noqa: S608 - nothing foreign in it
                (uidvalidity, uid, message_id),
            )
            self._database.execute(
                "UPDATE messages SET uidvalidity = ?, uid = ?, last_seen = NULL WHERE id = ?",
                (uidvalidity, uid, message_id),
            )

    def others_vanished(self, folder_id: int, uidvalidity: int) -> int:
        """Record as vanished what a renumbered folder holds no more; return how many."""
        where = "folder_id = ? AND uidvalidity != ? AND last_seen IS NULL"
        with self._database.atomic():
            self._marks.messages(where, (folder_id, uidvalidity))
            count = self._number(
                f"SELECT count(*) FROM messages WHERE {where}",  # noqa: S608 - nothing foreign
                (folder_id, uidvalidity),
            )
            self._database.execute(
                "UPDATE messages SET last_seen = coalesce((SELECT looked_at FROM folders"  # noqa: S608
                f" WHERE id = messages.folder_id), '') WHERE {where}",
                (folder_id, uidvalidity),
            )
        return count

    # File names that follow the flags

    def file_of(self, message_id: int) -> str | None:
        """Return a message's file, below its folder's directory."""
        row = self._database.row("SELECT file FROM messages WHERE id = ?", (message_id,))
        return row[0] if row else None

    def plan_rename(self, message_id: int, file: str) -> None:
        """Record the name a file shall have, before it is renamed."""
        self._database.execute(
            "INSERT OR REPLACE INTO renames (message_id, file) VALUES (?, ?)", (message_id, file)
        )

    def planned_renames(self) -> list[tuple[int, str, str, str]]:
        """Return message, directory, file and future file of every rename that is due."""
        return [
            (number, directory, before, after)
            for number, directory, before, after in self._database.rows(
                "SELECT r.message_id, f.directory, m.file, r.file FROM renames AS r"
                " JOIN messages AS m ON m.id = r.message_id JOIN folders AS f ON f.id = m.folder_id"
            )
        ]

    def planned_file(self, message_id: int) -> str | None:
        """Return the name that a message's file is to have, or has."""
        row = self._database.row(
            "SELECT coalesce(r.file, m.file) FROM messages AS m"
            " LEFT JOIN renames AS r ON r.message_id = m.id WHERE m.id = ?",
            (message_id,),
        )
        return row[0] if row else None

    def drop_rename(self, message_id: int) -> None:
        """Record that a file keeps the name it has."""
        self._database.execute("DELETE FROM renames WHERE message_id = ?", (message_id,))

    def renamed(self, message_ids: Iterable[int]) -> None:
        """Record that planned renames were carried out."""
        ids = [(message_id,) for message_id in message_ids]
        with self._database.atomic():
            self._marks.message_ids(number for (number,) in ids)
            self._database.execute_many(
                "UPDATE messages SET file = (SELECT file FROM renames WHERE message_id = ?1)"
                " WHERE id = ?1",
                ids,
            )
            self._database.execute_many("DELETE FROM renames WHERE message_id = ?", ids)

    # For check, the ledger and stage two

    def messages(self, state: str | None = None) -> Iterator[ArchivedMessage]:
        """Yield every message, by folder and location.

        With ``state`` only those that are in it, at the source or on the way to any target.
        """
        where = "" if state is None else _IN_STATE.get(state, _ON_THE_WAY)
        for row in self._database.rows(
            _MESSAGE + where + " ORDER BY f.name, m.uidvalidity, m.uid",
            {"state": state} if ":state" in where else (),
        ):
            yield _message(row)

    def in_folder(self, folder_id: int) -> Iterator[ArchivedMessage]:
        """Yield the messages of a folder by location."""
        for row in self._database.rows(
            _MESSAGE + "WHERE m.folder_id = ? ORDER BY m.uidvalidity, m.uid", (folder_id,)
        ):
            yield _message(row)

    def page(
        self, folder_id: int, after: tuple[int, int] = (-1, -1), limit: int = _PAGE
    ) -> list[ArchivedMessage]:
        """Return the next messages of a folder, by location: UIDVALIDITY and UID."""
        return self._messages(
            "WHERE m.folder_id = ? AND (m.uidvalidity, m.uid) > (?, ?)"
            " ORDER BY m.uidvalidity, m.uid LIMIT ?",
            (folder_id, *after, limit),
        )

    def count(self) -> int:
        """Return how many messages the source has ever shown."""
        return self._number("SELECT count(*) FROM messages", ())

    def last_looks(self) -> dict[str, str]:
        """Return when the source was last looked at to the end, by folder; UTC, ISO 8601."""
        rows = self._database.rows(
            "SELECT name, looked_at FROM folders WHERE looked_at IS NOT NULL"
        )
        return {str(name): str(when) for name, when in rows}

    def message(self, message_id: int) -> ArchivedMessage | None:
        """Return one message, or None."""
        found = self._messages("WHERE m.id = ?", (message_id,))
        return found[0] if found else None

    def some(self, message_ids: Iterable[int]) -> list[ArchivedMessage]:
        """Return these messages, in this order; what is not there is left out."""
        ids = list(message_ids)
        found = {
            message.id: message
            for message in self._messages(
                "WHERE m.id IN (SELECT value FROM json_each(?))", (json.dumps(ids),)
            )
        }
        return [found[number] for number in ids if number in found]

    def recorded(self, folder_id: int) -> Iterator[Recorded]:
        """Yield the archived messages of a folder by location, as their rows stand.

        In pages: a long look must neither hold back a writer's log nor see an old state.
        """
        at = (-1, -1)
        while True:
            page = [
                Recorded(*row)
                for row in self._database.rows(
                    "SELECT m.id, m.uidvalidity, m.uid, m.file, r.file, m.sha256, m.size,"
                    " m.received, m.internaldate, m.flags, m.keywords FROM messages AS m"
                    " LEFT JOIN renames AS r ON r.message_id = m.id"
                    " WHERE m.folder_id = ? AND (m.uidvalidity, m.uid) > (?, ?)"
                    " AND m.state = 'archived' ORDER BY m.uidvalidity, m.uid LIMIT ?",
                    (folder_id, *at, _PAGE),
                )
            ]
            yield from page
            if len(page) < _PAGE:
                return
            at = (page[-1].uidvalidity, page[-1].uid)

    def by_location(self, folder_id: int, uidvalidity: int, uid: int) -> ArchivedMessage | None:
        """Return the message at one location, or None."""
        found = self._messages(
            "WHERE m.folder_id = ? AND m.uidvalidity = ? AND m.uid = ?",
            (folder_id, uidvalidity, uid),
        )
        return found[0] if found else None

    def totals(
        self, counted: Tallies | None = None, *, anew: bool = False
    ) -> list[tuple[str, MessageState, str | None, bool, int, int]]:
        """Return folder, state, reason, whether vanished, messages and octets, grouped so.

        Args:
            counted: tallies that somebody has asked for already.
            anew: every row is counted, whatever was counted when it was sealed.
        """
        tallies = counted.messages if counted else message_tallies(self._database, anew=anew)
        names = {folder.id: folder.name for folder in self.folders()}
        return sorted(
            (
                (
                    names[each.folder_id],
                    each.state,
                    each.reason,
                    each.has_vanished,
                    each.messages,
                    each.octets,
                )
                for each in tallies
                if each.folder_id in names
            ),
            key=lambda each: (each[0], each[1], each[2] or "", each[3]),
        )

    # Runs

    def run_begins(self, command: str, server: str | None, version: str, when: str) -> int:
        """Record that a command begins to work on the archive; return the run's id."""
        return self._database.execute(
            "INSERT INTO runs (command, server, version, started_at) VALUES (?, ?, ?, ?)",
            (command, server, version, when),
        )

    def run_goes_on(self, run: int, totals: dict[str, Any]) -> None:
        """Record the counts of a run that has not ended."""
        self._database.execute("UPDATE runs SET totals = ? WHERE id = ?", (json.dumps(totals), run))

    def run_ends(self, run: int, when: str, outcome: str, totals: dict[str, Any]) -> None:
        """Record how a run ended."""
        self._database.execute(
            "UPDATE runs SET ended_at = ?, outcome = ?, totals = ? WHERE id = ?",
            (when, outcome, json.dumps(totals), run),
        )

    def fetched_since(self, when: str) -> int:
        """Return how many octets of messages exports have fetched since a time."""
        total = 0
        for (totals,) in self._database.rows(
            "SELECT totals FROM runs WHERE command = 'export'"
            " AND coalesce(ended_at, started_at) > ?",
            (when,),
        ):
            fetched = json.loads(totals).get("fetched", 0)
            total += fetched if isinstance(fetched, int) else 0
        return total

    def _messages(self, where: str, values: tuple[Any, ...]) -> list[ArchivedMessage]:
        return [_message(row) for row in self._database.rows(_MESSAGE + where, values)]

    def _number(self, sql: str, values: tuple[Any, ...]) -> int:
        row = self._database.row(sql, values)
        return int(row[0]) if row else 0


def _row(message: NewMessage) -> tuple[Any, ...]:
    return (
        message.folder_id,
        message.uidvalidity,
        message.uid,
        message.file,
        message.sha256,
        message.size,
        message.internaldate.isoformat() if message.internaldate else None,
        received_of(message.internaldate),
        message.date_from,
        words(message.flags),
        words(message.keywords),
        message.headers.message_id,
        message.headers.date,
        message.headers.sender,
        message.headers.recipients,
        message.headers.subject,
    )


def received_of(internaldate: datetime | None) -> int | None:
    """Return INTERNALDATE as whole seconds since 1970, UTC."""
    return int(internaldate.timestamp()) if internaldate else None


def seconds_between(ours: datetime | None, theirs: datetime | None) -> int | None:
    """Return by how many seconds their INTERNALDATE is later; None where one has none."""
    first, second = received_of(ours), received_of(theirs)
    return None if first is None or second is None else second - first


@lru_cache(maxsize=128)
def words(values: tuple[str, ...]) -> str:
    """Return flags or keywords as the index keeps them: a JSON array."""
    return _json(values) if values else "[]"


_json = json.JSONEncoder(ensure_ascii=False).encode


def _words(text: str) -> tuple[str, ...]:
    if text == "[]":
        return ()
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise IndexDamagedError("index.sqlite", f"a row holds {text[:60]!r} as flags")
    return tuple(values)


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise IndexDamagedError("index.sqlite", f"a row holds {text[:60]!r} as a date") from None


def _folder(row: tuple[Any, ...]) -> ArchivedFolder:
    number, name, directory, use, uidvalidity, uidnext, exists, modseq, is_settled, last_seen = row
    state = (
        None if uidvalidity is None else FolderState(uidvalidity, uidnext or 0, exists or 0, modseq)
    )
    special_use = next((known for known in SpecialUse if known == use), None)
    return ArchivedFolder(number, name, directory, special_use, state, bool(is_settled), last_seen)


def _message(row: tuple[Any, ...]) -> ArchivedMessage:
    return ArchivedMessage(
        id=row[0],
        folder_id=row[1],
        folder=row[2],
        uidvalidity=row[3],
        uid=row[4],
        state=row[5],
        reason=row[6],
        path=row[7],
        sha256=row[8],
        size=row[9],
        internaldate=_time(row[10]),
        flags=_words(row[11]),
        keywords=_words(row[12]),
        message_id=row[13],
        last_seen=row[14],
        date_from=row[15],
    )
