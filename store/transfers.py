"""The transfer log: one row per message and target, and the only ways from state to state.

``pending → sending → appended → verified``, with ``refused`` (the server's words), ``set_aside``
(our reason) and ``already_there``. ``sending`` is written before the first octet goes out; only
looking at the target may resolve it, so a crash can neither double a message nor lose one.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from store.index import words
from store.tallies import all_tallies
from store.trees import Marks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from store.database import Database
    from store.tallies import Tallies


class TransferState(StrEnum):
    """Where a message stands on its way into one target (docs/commands.md, waystation ledger)."""

    PENDING = "pending"
    SENDING = "sending"
    APPENDED = "appended"
    VERIFIED = "verified"
    ALREADY_THERE = "already_there"
    REFUSED = "refused"
    SET_ASIDE = "set_aside"


ARRIVED = (TransferState.APPENDED, TransferState.VERIFIED, TransferState.ALREADY_THERE)
"""The states of what lies in the target, as far as we know."""

_SENT = (TransferState.SENDING, *ARRIVED)
"""The states of what is not to be sent."""


@dataclass(frozen=True, slots=True)
class Target:
    """A mailbox that this archive was, or is to be, replayed into."""

    id: int
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Repair:
    """One change in the octets that were sent; the archive's file stays as it is."""

    step: str
    """The kind of change, such as ``long-lines``."""
    what: str
    """What was changed, in one sentence."""
    before: str
    """The sha256 of the whole message before the change, in hex."""
    after: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """One message on its way into one target."""

    message_id: int
    target_id: int
    state: TransferState
    folder: str
    """The target's folder, levels joined by ``/``."""
    attempts: int = 0
    uidnext_before: int | None = None
    """No copy of ours has a lower UID than this, if the UIDVALIDITY is still the same."""
    uidvalidity: int | None = None
    uid: int | None = None
    reply: str | None = None
    lost: tuple[str, ...] = ()
    """What could not be carried: keywords and flags the target does not keep."""
    repairs: tuple[Repair, ...] = ()
    flags: tuple[str, ...] | None = None
    """The source's flags that the target was last brought up to; None before anything was sent."""
    keywords: tuple[str, ...] | None = None
    internaldate: datetime | None = None
    """The date that was sent in place of the message's own; None where that was sent."""
    passed: tuple[str, ...] = ()
    """In what the last verification found it the same: headers, received, flags, size, content."""

    def undone(self, reply: str | None = None) -> Transfer:
        """Return the same where nothing of it is in the target, and it is to be sent again."""
        return Transfer(
            self.message_id,
            self.target_id,
            TransferState.PENDING,
            self.folder,
            self.attempts,
            self.uidnext_before,
            reply=reply,
        )


@dataclass(frozen=True, slots=True)
class MappedFolder:
    """Where an archived folder goes."""

    folder_id: int
    name: str
    reasons: tuple[str, ...]
    looked_through: bool
    """Whether what lay in the target's folder before our first APPEND has been taken note of."""


BEING_REMOVED = "is being removed again by rollback"
REMOVED = "removed again by rollback"

_TRANSFER = """
SELECT message_id, target_id, state, folder, attempts, uidnext_before, uidvalidity, uid, reply,
    lost, repairs, flags, keywords, internaldate, passed
FROM transfers
"""


_UNSENT = """
SELECT m.id, m.folder_id, m.size
FROM messages AS m LEFT JOIN transfers AS t ON t.message_id = m.id AND t.target_id = :target
WHERE m.state = 'archived'
    AND (t.state IS NULL OR t.state IN ('pending', 'refused', 'set_aside'))
"""

_MOVED = """
SELECT 1 FROM messages AS there
WHERE there.sha256 = m.sha256 AND there.last_seen IS NULL AND there.state = 'archived'
    AND there.received IS m.received
    AND (there.folder_id, there.uidvalidity) != (m.folder_id, m.uidvalidity)
"""


class Transfers:
    """The transfer log of one archive. ``now`` gives the time as text."""

    def __init__(self, database: Database, now: Callable[[], str]) -> None:
        self._database = database
        self._now = now
        self._marks = Marks(database)

    def targets(self) -> list[Target]:
        """Return all targets, in the order they were first named."""
        rows = self._database.rows("SELECT id, name, key FROM targets ORDER BY id")
        return [Target(*row) for row in rows]

    def target(self, name: str, key: str) -> Target:
        """Return the target of this key; a new one is recorded under ``name``."""
        known = next((target for target in self.targets() if target.key == key), None)
        if known is not None:
            return known
        number = self._database.execute(
            "INSERT INTO targets (name, key) VALUES (?, ?)", (name, key)
        )
        return Target(number, name, key)

    # The folder map

    def folder_map(self, target_id: int) -> dict[int, MappedFolder]:
        """Return where folders go, by the archived folder's id."""
        return {
            folder_id: MappedFolder(folder_id, name, tuple(json.loads(reasons)), bool(looked))
            for folder_id, name, reasons, looked in self._database.rows(
                "SELECT folder_id, name, reasons, looked_through FROM target_folders"
                " WHERE target_id = ?",
                (target_id,),
            )
        }

    def map_folders(
        self, target_id: int, folders: Iterable[tuple[int, str, tuple[str, ...]]]
    ) -> None:
        """Record where folders go: id, target name, reasons. A name once given is kept."""
        with self._database.atomic():
            self._database.execute_many(
                "INSERT INTO target_folders (target_id, folder_id, name, reasons)"
                " VALUES (?, ?, ?, ?) ON CONFLICT (target_id, folder_id) DO NOTHING",
                (
                    (target_id, folder_id, name, json.dumps(list(reasons), ensure_ascii=False))
                    for folder_id, name, reasons in folders
                ),
            )

    def looked_through(self, target_id: int, folder_id: int) -> None:
        """Record that what lay in a target folder beforehand has been taken note of."""
        self._database.execute(
            "UPDATE target_folders SET looked_through = 1 WHERE target_id = ? AND folder_id = ?",
            (target_id, folder_id),
        )

    def remap_folder(
        self, target_id: int, folder_id: int, name: str, reasons: tuple[str, ...]
    ) -> None:
        """Record that a folder's messages go elsewhere from now on, by the user's wish."""
        self._database.execute(
            "UPDATE target_folders SET name = ?, reasons = ?, looked_through = 0"
            " WHERE target_id = ? AND folder_id = ? AND name != ?",
            (name, json.dumps(list(reasons), ensure_ascii=False), target_id, folder_id, name),
        )

    # What is to do

    def unsent(
        self,
        target_id: int,
        folder_id: int,
        low: int | None = None,
        high: int | None = None,
        *,
        newest_first: bool = True,
    ) -> array[int]:
        """Return the messages of a folder that are neither in the target nor in doubt.

        ``low`` and ``high`` bound INTERNALDATE in seconds, the upper bound excluded; messages
        without a date are the oldest.
        """
        rows = self._database.rows(
            "SELECT m.id FROM messages AS m"
            " LEFT JOIN transfers AS t ON t.message_id = m.id AND t.target_id = :target"
            " WHERE m.folder_id = :folder AND m.state = 'archived'"
            " AND (t.state IS NULL OR t.state IN ('pending', 'refused', 'set_aside'))"
            " AND (:low IS NULL OR m.received >= :low)"
            " AND (:high IS NULL OR coalesce(m.received, -1e18) < :high)"
            # NULL sorts first; in this order the index serves, and nothing has to be sorted.
            " ORDER BY m.received, m.uid",
            {"target": target_id, "folder": folder_id, "low": low, "high": high},
        )
        ids = array("Q", (row[0] for row in rows))
        if newest_first:
            ids.reverse()
        return ids

    def unsent_totals(self, target_id: int) -> dict[int, tuple[int, int]]:
        """Return messages and octets still to be sent, by the archived folder's id.

        By what was counted when rows were sealed: ``store.tallies``.
        """
        archived, transfers = all_tallies(self._database)
        left: dict[int, tuple[int, int]] = {}
        for each in archived:
            if each.state == "archived":
                _add(left, each.folder_id, each.messages, each.octets)
        for sent in transfers:
            is_one = sent.target_id == target_id and sent.message_state == "archived"
            if is_one and sent.state in _SENT and sent.folder_id is not None:
                _add(left, sent.folder_id, -sent.messages, -sent.octets)
        return {folder_id: both for folder_id, both in left.items() if both[0]}

    def unsent_larger(self, target_id: int, limit: int) -> list[tuple[int, int, int]]:
        """Return id, archived folder's id and size of what is still to be sent, and is larger."""
        rows = self._database.rows(
            _UNSENT + "AND m.size > :limit", {"target": target_id, "limit": limit}
        )
        return [(number, folder_id, size) for number, folder_id, size in rows]

    def unsent_moved(self, target_id: int) -> list[tuple[int, int, int]]:
        """Return the same of what is still to be sent, and moved on the source: ``moved_to``."""
        rows = self._database.rows(
            _UNSENT + "AND m.last_seen IS NOT NULL AND EXISTS (" + _MOVED + ")",
            {"target": target_id},
        )
        return [(number, folder_id, size) for number, folder_id, size in rows]

    def newest(self) -> int | None:
        """Return the INTERNALDATE of the newest archived message, in seconds, or None."""
        # Folder by folder: an index knows the newest of each.
        row = self._database.row(
            "SELECT max((SELECT received FROM messages WHERE folder_id = folders.id"
            " AND state = 'archived' ORDER BY received DESC LIMIT 1)) FROM folders"
        )
        return row[0] if row else None

    def in_doubt(self, target_id: int) -> dict[str, array[int]]:
        """Return what has to be looked up, by the target's folder.

        That is what was sent without an answer, and what was taken without a word of its UID.
        """
        found: dict[str, array[int]] = {}
        for folder, message_id in self._database.rows(
            "SELECT folder, message_id FROM transfers WHERE target_id = ?"
            " AND (state = 'sending' OR (state = 'appended' AND uid IS NULL))"
            " ORDER BY folder, message_id",
            (target_id,),
        ):
            found.setdefault(folder, array("Q")).append(message_id)
        return found

    def seconds_in_doubt(self, target_id: int, folder: str | None = None) -> float:
        """Return how long ago, at least, the last message in doubt was sent; never negative.

        ``folder`` is the target's that is asked about; None is all of them.
        """
        row = self._database.row(
            "SELECT max(changed_at) FROM transfers WHERE target_id = ?1 AND state = 'sending'"
            " AND (?2 IS NULL OR folder = ?2)",
            (target_id, folder),
        )
        if row is None or row[0] is None:
            return 0.0
        # Times are kept in whole seconds, cut off.
        age = datetime.fromisoformat(self._now()) - datetime.fromisoformat(row[0])
        return max(0.0, age.total_seconds() - 1)

    def moved_to(self, message_id: int) -> str | None:
        """Return the folder in which the source still shows a vanished message, or None.

        A copy beside it in the same folder is a message of its own, which has not moved.
        """
        row = self._database.row(
            "SELECT f.name FROM messages AS gone"
            " JOIN messages AS there ON there.sha256 = gone.sha256 AND there.last_seen IS NULL"
            " AND there.state = 'archived' AND there.received IS gone.received"
            " AND (there.folder_id, there.uidvalidity) != (gone.folder_id, gone.uidvalidity)"
            " JOIN folders AS f ON f.id = there.folder_id"
            " WHERE gone.id = ? AND gone.last_seen IS NOT NULL LIMIT 1",
            (message_id,),
        )
        return row[0] if row else None

    def in_state(self, target_id: int, state: TransferState) -> list[Transfer]:
        """Return all transfers into a target that are in one state."""
        # The state as a word, so that an index of this state alone is found.
        return self._transfers(f"WHERE target_id = ? AND state = '{state.value}'", (target_id,))

    def arrived(self, target_id: int, folder: str) -> array[int]:
        """Return the messages that should lie in a folder of the target, by UID."""
        return self._ids(
            "SELECT message_id FROM transfers WHERE target_id = ? AND folder = ?"
            " AND state IN ('appended', 'verified', 'already_there')"
            " ORDER BY uidvalidity, uid",
            (target_id, folder),
        )

    def strays(self, target_id: int, folder: str, uidvalidity: int) -> array[int]:
        """Return what should lie in a folder, under a UID that says nothing any more."""
        return self._ids(
            "SELECT message_id FROM transfers WHERE target_id = ? AND folder = ?"
            " AND state IN ('appended', 'verified', 'already_there')"
            " AND (uid IS NULL OR uidvalidity IS NOT ?) ORDER BY message_id",
            (target_id, folder, uidvalidity),
        )

    def claims(self, target_id: int, folder: str, uidvalidity: int, lowest: int) -> array[int]:
        """Return what is said to lie in a folder at ``lowest`` or a higher UID, by UID."""
        return self._ids(
            "SELECT message_id FROM transfers WHERE target_id = ? AND folder = ?"
            " AND uidvalidity = ? AND uid >= ?"
            " AND state IN ('appended', 'verified', 'already_there') ORDER BY uid",
            (target_id, folder, uidvalidity, lowest),
        )

    def of(self, message_id: int, target_id: int) -> Transfer | None:
        """Return a message's transfer into one target, or None."""
        return next(iter(self.some(target_id, [message_id])), None)

    def some(self, target_id: int, message_ids: Iterable[int]) -> list[Transfer]:
        """Return the transfers of these messages into one target, in this order."""
        ids = list(message_ids)
        found = {
            transfer.message_id: transfer
            for transfer in self._transfers(
                "WHERE target_id = ? AND message_id IN (SELECT value FROM json_each(?))",
                (target_id, json.dumps(ids)),
            )
        }
        return [found[number] for number in ids if number in found]

    def arrived_folders(self, target_id: int) -> dict[str, int]:
        """Return the target's folders in which something should lie, with how much."""
        found: Counter[str] = Counter()
        for each in all_tallies(self._database).transfers:
            if each.target_id == target_id and each.state in ARRIVED:
                found[each.target_folder] += each.messages
        return dict(sorted(found.items()))

    def of_message(self, message_id: int) -> list[Transfer]:
        """Return a message's transfers into all targets."""
        return self._transfers("WHERE message_id = ?", (message_id,))

    def with_other_flags(
        self, target_id: int, target_folder: str | None = None
    ) -> dict[str, array[int]]:
        """Return what has arrived, and whose flags on the source are others since.

        By the target's folder, all of them or one, each ascending by UID.
        """
        found: dict[str, array[int]] = {}
        for folder, message_id in self._database.rows(
            "SELECT t.folder, t.message_id FROM transfers AS t"  # noqa: S608 - all of it is ours
            " JOIN messages AS m ON m.id = t.message_id"
            " WHERE t.target_id = ? AND t.state IN ('appended', 'verified', 'already_there')"
            " AND t.uid IS NOT NULL AND t.flags IS NOT NULL"
            " AND (t.flags != m.flags OR t.keywords != m.keywords)"
            f"{' AND t.folder = ?' if target_folder is not None else ''}"
            " ORDER BY t.folder, t.uid",
            (target_id,) if target_folder is None else (target_id, target_folder),
        ):
            found.setdefault(folder, array("Q")).append(message_id)
        return found

    # From state to state

    def record(self, sent: Iterable[Transfer], outcomes: Iterable[Transfer]) -> None:
        """Record outcomes, and the intent to send more, in one durable step."""
        now = self._now()
        outcomes, sent = list(outcomes), list(sent)
        with self._database.atomic():
            self._mark([*outcomes, *sent])
            self._database.execute_many(
                "INSERT INTO transfers (message_id, target_id, state, folder, uidvalidity, uid,"
                " reply, lost, repairs, flags, keywords, internaldate, changed_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (message_id, target_id) DO UPDATE SET state = excluded.state,"
                " folder = excluded.folder, uidvalidity = excluded.uidvalidity,"
                " uid = excluded.uid, reply = excluded.reply, lost = excluded.lost,"
                " repairs = excluded.repairs, flags = excluded.flags,"
                " keywords = excluded.keywords, internaldate = excluded.internaldate,"
                " changed_at = excluded.changed_at",
                (
                    (
                        transfer.message_id,
                        transfer.target_id,
                        transfer.state.value,
                        transfer.folder,
                        transfer.uidvalidity,
                        transfer.uid,
                        transfer.reply,
                        *_texts(transfer),
                        now,
                    )
                    for transfer in outcomes
                ),
            )
            # What is changed and lost on the way goes with the intent: its answer may never come.
            self._database.execute_many(
                "INSERT INTO transfers (message_id, target_id, state, folder, attempts,"
                " uidnext_before, uidvalidity, lost, repairs, flags, keywords, internaldate,"
                " changed_at) VALUES (?, ?, 'sending', ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (message_id, target_id) DO UPDATE SET state = 'sending',"
                " folder = excluded.folder, attempts = attempts + 1,"
                " uidnext_before = excluded.uidnext_before,"
                " uidvalidity = excluded.uidvalidity, uid = NULL, reply = NULL,"
                " lost = excluded.lost, repairs = excluded.repairs, flags = excluded.flags,"
                " keywords = excluded.keywords, internaldate = excluded.internaldate,"
                " changed_at = excluded.changed_at",
                (
                    (
                        transfer.message_id,
                        transfer.target_id,
                        transfer.folder,
                        transfer.uidnext_before,
                        transfer.uidvalidity,
                        *_texts(transfer),
                        now,
                    )
                    for transfer in sent
                ),
            )

    def carried(self, target_id: int, messages: Iterable[tuple[int, tuple[str, ...]]]) -> None:
        """Record that the target was brought up to the flags that the source has now.

        ``messages`` are ids, each with what could not be carried.
        """
        messages = list(messages)
        with self._database.atomic():
            self._marks.transfers(target_id, [number for number, _ in messages])
            self._database.execute_many(
                "UPDATE transfers SET lost = ?, (flags, keywords) ="
                " (SELECT flags, keywords FROM messages WHERE id = message_id)"
                " WHERE target_id = ? AND message_id = ?",
                [(words(lost), target_id, number) for number, lost in messages],
            )

    def removing(self, target_id: int, message_ids: Iterable[int]) -> None:
        """Record that these are about to be removed from the target by the user's wish."""
        ids = list(message_ids)
        with self._database.atomic():
            self._marks.transfers(target_id, ids)
            self._database.execute_many(
                "UPDATE transfers SET reply = ?, changed_at = ?"
                " WHERE target_id = ? AND message_id = ?",
                [(BEING_REMOVED, self._now(), target_id, number) for number in ids],
            )

    def verified(self, target_id: int, messages: Iterable[tuple[int, tuple[str, ...]]]) -> None:
        """Record that these were found in the target as they should be: ids, and in what."""
        now = self._now()
        found = [(words(passed), now, target_id, number) for number, passed in messages]
        by_passed: dict[str, list[int]] = {}
        for passed, _, _, number in found:
            by_passed.setdefault(passed, []).append(number)
        with self._database.atomic():
            for known, ids in by_passed.items():
                self._marks.passing(target_id, ids, known)
            # What was found so before has not changed, and its row neither.
            self._database.execute_many(
                "UPDATE transfers SET passed = ?1,"
                " state = CASE state WHEN 'appended' THEN 'verified' ELSE state END,"
                " changed_at = ?2 WHERE target_id = ?3 AND message_id = ?4"
                " AND state IN ('appended', 'verified', 'already_there')"
                " AND (state = 'appended' OR passed != ?1)",
                found,
            )

    def differing(self, target_id: int, message_ids: Iterable[int]) -> None:
        """Record that these are not, or no longer, in the target as they should be."""
        ids = list(message_ids)
        with self._database.atomic():
            self._marks.transfers(target_id, ids)
            self._database.execute_many(
                "UPDATE transfers SET passed = '[]',"
                " state = CASE state WHEN 'verified' THEN 'appended' ELSE state END,"
                " changed_at = ? WHERE target_id = ? AND message_id = ?"
                " AND state IN ('appended', 'verified', 'already_there')",
                [(self._now(), target_id, message_id) for message_id in ids],
            )

    def _mark(self, transfers: Iterable[Transfer]) -> None:
        by_target: dict[int, list[int]] = {}
        for transfer in transfers:
            by_target.setdefault(transfer.target_id, []).append(transfer.message_id)
        for target_id, ids in by_target.items():
            self._marks.transfers(target_id, ids)

    def totals(self, counted: Tallies | None = None) -> list[tuple[str, str, str, str | None, int]]:
        """Return target, archived folder, state, reason and number of messages, grouped so.

        Archived messages that no run has come to yet count as ``pending``. ``counted`` are
        tallies that somebody has asked for already.
        """
        with self._database.atomic():
            messages, transfers = counted or all_tallies(self._database)
            names = dict(self._folder_names())
            targets = {target.id: target.name for target in self.targets()}
        archived: Counter[int] = Counter()
        for each in messages:
            if each.state == "archived" and each.folder_id in names:
                archived[each.folder_id] += each.messages
        counts: Counter[tuple[int, int, str, str | None]] = Counter()
        for target_id in targets:
            for folder_id, count in archived.items():
                counts[target_id, folder_id, TransferState.PENDING.value, None] += count
        for sent in transfers:
            if sent.folder_id is None or sent.message_state != "archived":
                continue
            if sent.target_id in targets and sent.folder_id in names:
                place = (sent.target_id, sent.folder_id)
                counts[*place, TransferState.PENDING.value, None] -= sent.messages
                counts[*place, sent.state, sent.reason] += sent.messages
        return sorted(
            (
                (targets[target_id], names[folder_id], state, reason, count)
                for (target_id, folder_id, state, reason), count in counts.items()
                # Fewer than none are pending where there are more transfers than messages.
                if count > 0
            ),
            key=lambda each: (*each[:3], each[3] or ""),
        )

    def astray(self, counted: Tallies | None = None) -> list[tuple[str, str | None, str, int]]:
        """Return target, archived folder, state and number of transfers of what is not archived.

        A sound index has none. ``counted``: as in ``totals``.
        """
        _, transfers = counted or all_tallies(self._database)
        strays = [each for each in transfers if each.message_state != "archived"]
        names = dict(self._folder_names()) if strays else {}
        targets = {target.id: target.name for target in self.targets()}
        counts: Counter[tuple[str, str | None, str]] = Counter()
        for each in strays:
            target = targets.get(each.target_id, "unknown")
            name = names.get(each.folder_id) if each.folder_id is not None else None
            counts[target, name, each.state] += each.messages
        return [(*place, count) for place, count in counts.items()]

    def _folder_names(self) -> Iterator[tuple[int, str]]:
        yield from self._database.rows("SELECT id, name FROM folders")

    def _ids(self, sql: str, values: tuple[Any, ...]) -> array[int]:
        return array("Q", (row[0] for row in self._database.rows(sql, values)))

    def _transfers(self, where: str, values: tuple[Any, ...]) -> list[Transfer]:
        return [_transfer(row) for row in self._database.rows(_TRANSFER + where, values)]


def _add(sums: dict[int, tuple[int, int]], number: int, messages: int, octets: int) -> None:
    before = sums.get(number, (0, 0))
    sums[number] = (before[0] + messages, before[1] + octets)


def _texts(transfer: Transfer) -> tuple[str | None, ...]:
    """Return what is lost, repairs, flags, keywords and date as they are stored."""
    repairs = [asdict(each) for each in transfer.repairs]
    return (
        words(transfer.lost),
        json.dumps(repairs, ensure_ascii=False) if repairs else "[]",
        None if transfer.flags is None else words(transfer.flags),
        None if transfer.keywords is None else words(transfer.keywords),
        None if transfer.internaldate is None else transfer.internaldate.isoformat(),
    )


def _transfer(row: tuple[Any, ...]) -> Transfer:
    return Transfer(
        message_id=row[0],
        target_id=row[1],
        state=TransferState(row[2]),
        folder=row[3],
        attempts=row[4],
        uidnext_before=row[5],
        uidvalidity=row[6],
        uid=row[7],
        reply=row[8],
        lost=tuple(json.loads(row[9])),
        repairs=tuple(Repair(**each) for each in json.loads(row[10])),
        flags=None if row[11] is None else tuple(json.loads(row[11])),
        keywords=None if row[12] is None else tuple(json.loads(row[12])),
        internaldate=None if row[13] is None else datetime.fromisoformat(row[13]),
        passed=tuple(json.loads(row[14])),
    )
