"""What a report asks of an archive: runs, sums, and every message that is not simply fine.

Answers come row by row or as sums, so that memory stays flat however many messages there are.
Whoever asks several questions asks them in one ``Database.atomic``, so that the answers agree
while another process writes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from store.transfers import TransferState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from store.database import Database


class CaseKind(StrEnum):
    """In what a message is not simply fine; the order is that of urgency."""

    FAILED = "failed"
    """The source lists it and does not hand it out."""
    REFUSED = "refused"
    """The target said no."""
    IN_DOUBT = "in_doubt"
    """It was sent, and nobody knows yet whether, or where, it arrived."""
    SET_ASIDE = "set_aside"
    """It was not sent, for a reason of ours."""
    NOT_SENT = "not_sent"
    """It is archived, and no import has sent it yet."""
    NOT_VERIFIED = "not_verified"
    """It is said to have arrived, and no comparison has found it the same since."""
    FLAGS_BEHIND = "flags_behind"
    """It arrived, and its flags on the source have changed since."""
    LOST = "lost"
    """It arrived without some of its flags and keywords."""
    REPAIRED = "repaired"
    """Other octets than the archived ones were sent, because the target takes no such."""
    DATE_REPLACED = "date_replaced"
    """It arrived with another date than the archived one."""
    SKIPPED = "skipped"
    """It was left out of the archive on purpose."""
    DATE_DERIVED = "date_derived"
    """The source has no received date, so that of a header field was taken."""
    NO_DATE = "no_date"
    """It has no received date at all."""
    VANISHED = "vanished"
    """It is archived, and the source shows it no longer."""


@dataclass(frozen=True, slots=True)
class Run:
    """One command that worked on the archive."""

    id: int
    command: str
    server: str | None
    version: str
    started_at: str
    ended_at: str | None
    """None while it runs, or if it was killed."""
    outcome: str | None
    totals: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """One message that is not simply fine, and in what."""

    kind: CaseKind
    target: str | None
    """None where it is about the source."""
    folder: str
    uidvalidity: int
    uid: int
    size: int | None
    internaldate: str | None
    sender: str | None
    subject: str | None
    detail: str
    """The server's words, our reason, or what was changed; may be empty."""
    target_folder: str | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class CaseTotal:
    """How many messages are a case of one kind."""

    kind: CaseKind
    target_id: int | None
    target: str | None
    count: int


@dataclass(frozen=True, slots=True)
class StateTotal:
    """Messages in one state on their way into a target."""

    state: TransferState
    messages: int
    octets: int
    compared: int
    """Of them, how many the last comparison with the target found the same."""


@dataclass(frozen=True, slots=True)
class FoundDifference:
    """One message, or a whole folder, that a verification did not find simply fine."""

    cause: str
    side: str
    """Where it shows: ``source``, ``archive`` or ``target``."""
    folder: str
    uid: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """The newest record of the archive's journal."""

    number: int
    hash: str
    """The sha256 of its line, in hex: it stands for all that is sealed up to then."""
    ended: str


_ARRIVED = "t.state IN ('appended', 'verified', 'already_there')"

# What makes a message a case, and what is to be said of it.
_OF_SOURCE = {
    CaseKind.FAILED: ("m.state = 'failed'", "coalesce(m.reason, '')"),
    CaseKind.SKIPPED: ("m.state = 'skipped'", "coalesce(m.reason, '')"),
    CaseKind.DATE_DERIVED: ("m.state = 'archived' AND m.date_from IS NOT NULL", "m.date_from"),
    CaseKind.NO_DATE: ("m.state = 'archived' AND m.internaldate IS NULL", "''"),
    CaseKind.VANISHED: ("m.state = 'archived' AND m.last_seen IS NOT NULL", "m.last_seen"),
}
_OF_TARGET = {
    CaseKind.REFUSED: ("t.state = 'refused'", "coalesce(t.reply, '')"),
    CaseKind.IN_DOUBT: (
        "(t.state = 'sending' OR (t.state = 'appended' AND t.uid IS NULL))",
        "coalesce(t.reply, '')",
    ),
    CaseKind.SET_ASIDE: ("t.state = 'set_aside'", "coalesce(t.reply, '')"),
    CaseKind.NOT_SENT: ("(t.state IS NULL OR t.state = 'pending')", "coalesce(t.reply, '')"),
    CaseKind.NOT_VERIFIED: (
        _ARRIVED + " AND NOT (t.state != 'appended' AND t.passed != '[]')"
        " AND NOT (t.state = 'appended' AND t.uid IS NULL)",
        "''",
    ),
    CaseKind.FLAGS_BEHIND: (
        _ARRIVED + " AND t.uid IS NOT NULL AND t.flags IS NOT NULL"
        " AND (t.flags != m.flags OR t.keywords != m.keywords)",
        "''",
    ),
    CaseKind.LOST: (
        _ARRIVED + " AND t.lost != '[]'",
        "(SELECT group_concat(value, ' ') FROM json_each(t.lost))",
    ),
    CaseKind.REPAIRED: (
        _ARRIVED + " AND t.repairs != '[]'",
        "(SELECT group_concat(json_extract(value, '$.what'), '; ') FROM json_each(t.repairs))",
    ),
    CaseKind.DATE_REPLACED: (_ARRIVED + " AND t.internaldate IS NOT NULL", "t.internaldate"),
}

_FROM_SOURCE = " FROM messages AS m JOIN folders AS f ON f.id = m.folder_id WHERE "
_FROM_TARGET = (
    " FROM messages AS m JOIN folders AS f ON f.id = m.folder_id"
    " LEFT JOIN transfers AS t ON t.message_id = m.id AND t.target_id = :target"
    " WHERE m.state = 'archived' AND "
)
_COLUMNS = (
    "SELECT f.name AS folder, m.uidvalidity AS uidvalidity, m.uid AS uid, m.size, m.internaldate,"
    " m.sender, m.subject, m.sha256"
)


def runs(database: Database) -> Iterator[Run]:
    """Yield all runs, the first one first."""
    for number, command, server, version, began, ended, outcome, totals in database.rows(
        "SELECT id, command, server, version, started_at, ended_at, outcome, totals"
        " FROM runs ORDER BY id"
    ):
        yield Run(number, command, server, version, began, ended, outcome, _object(totals))


def last_verification(database: Database) -> Run | None:
    """Return the last verification that came to its end and left findings behind, or none at all.

    None where the index knows of no findings.
    """
    if not _has_table(database, "findings"):
        return None
    found = [run for run in runs(database) if run.command == "verify" and run.outcome == "done"]
    return found[-1] if found else None


def differences(
    database: Database, run_id: int, most: int | None = None
) -> Iterator[FoundDifference]:
    """Yield what a verification found, each cause once before one comes twice."""
    for row in database.rows(
        "SELECT cause, side, folder, uid, text FROM findings WHERE run_id = :run"
        " ORDER BY row_number() OVER (PARTITION BY cause ORDER BY id), id LIMIT :most",
        {"run": run_id, "most": -1 if most is None else most},
    ):
        yield FoundDifference(*row)


def difference_totals(database: Database, run_id: int) -> list[tuple[str, str, int]]:
    """Return cause, side and number of what a verification found."""
    return [
        (cause, side, count)
        for cause, side, count in database.rows(
            "SELECT cause, side, count(*) FROM findings WHERE run_id = ?"
            " GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
            (run_id,),
        )
    ]


def found_by_cause(database: Database, run_ids: Iterable[int], side: str) -> dict[str, int]:
    """Return how many messages and folders verifications found on a side, by cause.

    What several of them found is counted once.
    """
    if not _has_table(database, "findings"):
        return {}
    return dict(
        database.rows(
            "SELECT cause, count(*) FROM (SELECT DISTINCT cause, folder, uidvalidity, uid"
            " FROM findings WHERE run_id IN (SELECT value FROM json_each(?)) AND side = ?)"
            " GROUP BY cause",
            (json.dumps(list(run_ids)), side),
        )
    )


def sealed(database: Database) -> Sealed | None:
    """Return the newest record of the journal, as the index has it; None where there is none."""
    if not _has_table(database, "records"):
        return None
    row = database.row("SELECT number, line FROM records ORDER BY number DESC LIMIT 1")
    if row is None:
        return None
    number, line = row
    digest = sha256(line.encode("utf-8", "surrogatepass")).hexdigest()
    ended = _object(line).get("ended")
    return Sealed(number, digest, ended if isinstance(ended, str) else "")


def state_totals(database: Database, target_id: int) -> list[StateTotal]:
    """Return the archived messages by their state on the way into a target."""
    found = {
        state: (messages, octets or 0, compared or 0)
        for state, messages, octets, compared in database.rows(
            "SELECT coalesce(t.state, 'pending'), count(*), sum(m.size),"
            " sum(t.passed != '[]' AND t.state IN ('verified', 'already_there'))"
            " FROM messages AS m"
            " LEFT JOIN transfers AS t ON t.message_id = m.id AND t.target_id = ?"
            " WHERE m.state = 'archived' GROUP BY 1",
            (target_id,),
        )
    }
    return [StateTotal(state, *found.get(state.value, (0, 0, 0))) for state in TransferState]


def source_octets(database: Database) -> dict[str, int]:
    """Return octets by state at the source, as far as anybody knows them."""
    return {
        state: octets or 0
        for state, octets in database.rows("SELECT state, sum(size) FROM messages GROUP BY state")
    }


def by_year(database: Database) -> list[tuple[int | None, int, int]]:
    """Return year, messages and octets of what is archived; None is the year of no date."""
    return [
        (None if year is None else int(year), messages, octets)
        for year, messages, octets in database.rows(
            "SELECT substr(internaldate, 1, 4), count(*), sum(size) FROM messages"
            " WHERE state = 'archived' GROUP BY 1 ORDER BY 1"
        )
    ]


def by_size(database: Database, bounds: Sequence[int]) -> list[int]:
    """Return how many archived messages are below each bound, and at or above the last one."""
    counts = [0] * (len(bounds) + 1)
    for place, count in database.rows(
        "SELECT (SELECT count(*) FROM json_each(?) WHERE value <= m.size), count(*)"
        " FROM messages AS m WHERE m.state = 'archived' GROUP BY 1",
        (json.dumps(list(bounds)),),
    ):
        counts[place] = count
    return counts


def by_hour(database: Database, target_id: int) -> list[tuple[str, TransferState, int]]:
    """Return hour (``2026-05-01T08``, UTC), state and number of the rows last changed in it."""
    return [
        (hour, TransferState(state), count)
        for hour, state, count in database.rows(
            "SELECT substr(changed_at, 1, 13), state, count(*) FROM transfers"
            " WHERE target_id = ? AND state NOT IN ('pending', 'sending') GROUP BY 1, 2 ORDER BY 1",
            (target_id,),
        )
    ]


def case_totals(database: Database, targets: Sequence[tuple[int, str]]) -> list[CaseTotal]:
    """Return how many cases of which kind there are, by urgency; targets are ids and names."""
    totals = []
    for kind in CaseKind:
        for target_id, target in _places(kind, targets):
            condition, _ = _asked(kind)
            sql = "SELECT count(*)" + _from(kind) + condition
            row = database.row(sql, {"target": target_id})
            totals.append(CaseTotal(kind, target_id, target, row[0] if row else 0))
    return [total for total in totals if total.count]


def cases(
    database: Database, total: CaseTotal, *, most: int | None = None, details: int = 0
) -> Iterator[Case]:
    """Yield the cases of one kind by folder and location.

    With ``most``, so many of them, such that every detail is met before one is met twice; with
    ``details``, so many octets of a detail tell it from others.
    """
    condition, detail = _asked(total.kind)
    where_to = "t.folder" if total.target_id is not None else "NULL"
    sql = f"{_COLUMNS}, {detail} AS detail, {where_to} AS there" + _from(total.kind) + condition
    if most is not None:
        turn = f"row_number() OVER (PARTITION BY substr({detail}, 1, :details)"
        sql = sql.replace(" AS there", f" AS there, {turn} ORDER BY m.id) AS turn", 1)
        sql += " ORDER BY turn, m.id LIMIT :most"
        sql = f"SELECT * FROM ({sql})"  # noqa: S608 - all of it stands in this module
    sql += " ORDER BY folder, uidvalidity, uid"
    values = {"target": total.target_id, "most": most, "details": details}
    for row in database.rows(sql, values):
        folder, uidvalidity, uid, size, internaldate, sender, subject, sha256, why, there = row[:10]
        yield Case(
            total.kind,
            total.target,
            folder,
            uidvalidity,
            uid,
            size,
            internaldate,
            sender,
            subject,
            why or "",
            there,
            sha256,
        )


def details(database: Database, total: CaseTotal, most: int) -> list[tuple[str, int]]:
    """Return the most frequent details of a kind of case, with how many messages have each."""
    condition, detail = _asked(total.kind)
    sql = f"SELECT {detail}, count(*)" + _from(total.kind) + condition
    sql += " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT :most"
    return [
        (text or "", count)
        for text, count in database.rows(sql, {"target": total.target_id, "most": most})
    ]


def kinds_of_all(database: Database, target_id: int | None) -> Iterator[list[CaseKind]]:
    """Yield of which kinds of case each message is one, in the order of ``Index.messages``.

    Towards a target, or towards the source where ``target_id`` is None.
    """
    asked = _OF_SOURCE if target_id is None else _OF_TARGET
    kinds = [kind for kind in CaseKind if kind in asked]
    columns = ", ".join(f"({asked[kind][0]})" for kind in kinds)
    is_there = "1" if target_id is None else "m.state = 'archived'"
    sql = (
        f"SELECT {is_there}, {columns} FROM messages AS m JOIN folders AS f ON f.id = m.folder_id"  # noqa: S608 - all of it stands in this module
        " LEFT JOIN transfers AS t ON t.message_id = m.id AND t.target_id = :target"
        " ORDER BY f.name, m.uidvalidity, m.uid"
    )
    for asked_of, *answers in database.rows(sql, {"target": target_id}):
        yield [kind for kind, is_one in zip(kinds, answers, strict=True) if is_one and asked_of]


def headers_of_all(database: Database) -> Iterator[tuple[str | None, str | None, str | None]]:
    """Yield From, To with Cc, and Subject of each message, in the order of ``Index.messages``."""
    yield from database.rows(
        "SELECT m.sender, m.recipients, m.subject FROM messages AS m"
        " JOIN folders AS f ON f.id = m.folder_id ORDER BY f.name, m.uidvalidity, m.uid"
    )


def _has_table(database: Database, name: str) -> bool:
    # An index that is only read is not brought up to date, and may lack what came later.
    sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return database.row(sql, (name,)) is not None


def _asked(kind: CaseKind) -> tuple[str, str]:
    return _OF_SOURCE[kind] if kind in _OF_SOURCE else _OF_TARGET[kind]


def _from(kind: CaseKind) -> str:
    return _FROM_SOURCE if kind in _OF_SOURCE else _FROM_TARGET


def _places(
    kind: CaseKind, targets: Sequence[tuple[int, str]]
) -> Sequence[tuple[int | None, str | None]]:
    return [(None, None)] if kind in _OF_SOURCE else targets


def _object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
