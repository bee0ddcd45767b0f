"""``waystation diff``: what came, went and changed between the ends of two runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waystation.cli import options, state
from waystation.cli.check import record_rows, record_table
from waystation.cli.text import sum_text
from waystation.errors import ArchiveError, UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.archive import Archive
    from store.findings import FindingTurn, FoundBefore
    from store.history import Turn, Values
    from store.journal import Record
    from waystation.cli.output import Listener

_EXAMPLES = """\
\b
Examples:
  waystation diff alice
  waystation diff alice 3 7
"""
_Run = Annotated[int | None, typer.Argument(metavar="RUN", min=1, show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("diff", epilog=_EXAMPLES)(_diff)


def _diff(
    archive: options.ArchivePath,
    first: _Run = None,
    second: _Run = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Show what came, went and changed between the ends of two runs, one line a message.

    Runs go by the numbers of their records; without any, all are listed. Without the second, it
    is the newest. Of two verifications, tells what they found as well.
    """
    from store.archive import Archive

    listener = state.listen("diff", as_json=as_json, quiet=quiet)
    with Archive.read(archive) as opened:
        records = _records(opened)
        if first is None:
            return _list(opened, records, listener)
        second = second if second is not None else records[-1].number
        known = {record.number: record for record in records}
        for number in (first, second):
            if number not in known:
                raise UsageError(
                    f"there is no run {number}; 'waystation diff ARCHIVE' lists those there are."
                )
        first, second = min(first, second), max(first, second)
        totals = _show(opened, records, first, second, listener)
        listener.say(
            f"Between record {first} and record {second}: {sum_text(totals) or 'no change'}."
        )
        found = _show_findings(opened, known[first], known[second], listener)
    listener.summary("done", 0, {"first": first, "last": second, **totals, **found})
    return 0


def _records(archive: Archive) -> list[Record]:
    from store.journal import Record, Records, read_line

    known = list(Records(archive.database).all())
    if not known:
        raise ArchiveError(
            "this archive has no history yet: it begins with the next run that works on it."
        )
    return [read_line(line) or Record(line, {"number": number}) for number, line, _ in known]


def _list(archive: Archive, records: list[Record], listener: Listener) -> int:
    from store.history import deeds

    rows = record_rows(records, deeds(archive.database))
    for row in rows:
        listener.row("run", row)
    listener.table(*record_table(rows))
    listener.summary("done", 0, {"runs": len(rows)})
    return 0


def _show(
    archive: Archive, records: list[Record], first: int, last: int, listener: Listener
) -> dict[str, int]:
    """Tell each message to which something happened; return how many did what."""
    from store.history import demand_one_index, turns

    demand_one_index([record for record in records if record.number <= last], first)
    totals = dict.fromkeys(("came", "went", "changed"), 0)
    words = _Words(archive)
    # One state of the index, whatever is written meanwhile.
    with archive.database.atomic():
        for turn in turns(archive.database, first, last):
            told = words.told(turn)
            if told is not None:
                totals[told["what"]] += 1
                listener.row("turn", told)
                listener.heading(_line(told))
    return totals


def _show_findings(
    archive: Archive, first: Record, last: Record, listener: Listener
) -> dict[str, Any]:
    """Tell which findings came, went and changed between two verifications; return what to sum up.

    Nothing is told where not both runs are verifications, or where they are one.
    """
    numbers: dict[str, Any] = {"findings": None, "findings_not_compared": None}
    is_one = first.number == last.number
    if is_one or any(each.values.get("command") != "verify" for each in (first, last)):
        return numbers
    why_not = _why_not(archive, first, last)
    if why_not is not None:
        listener.say(f"What the verifications found is not compared: {why_not}.")
        return {**numbers, "findings_not_compared": why_not}
    totals = dict.fromkeys(("came", "went", "changed", "same"), 0)
    # One state of the index, whatever is written meanwhile.
    with archive.database.atomic():
        for turn in archive.findings.turns(_run(first), _run(last)):
            totals[turn.what] += 1
            if turn.what != "same":
                listener.row("finding", _finding(turn))
                listener.heading(_finding_line(turn))
    told = sum_text({what: count for what, count in totals.items() if what != "same"})
    listener.say(f"Findings of the verifications: {told or 'no change'}.")
    if _total(first, "deep") != _total(last, "deep"):
        deep = first.number if _total(first, "deep") else last.number
        listener.say(f"Only record {deep} compared contents: what shows there alone is told too.")
    return {**numbers, "findings": totals}


def _why_not(archive: Archive, first: Record, last: Record) -> str | None:
    """Return why the findings of two verifications cannot be compared; None where they can."""
    for record in (first, last):
        if record.values.get("outcome") != "done":
            return f"record {record.number} is of one that did not come to its end"
        if not archive.findings.are_kept(_run(record)):
            return f"those of record {record.number} are gone, only the last {_kept()} are kept"
    for side in ("source", "target"):
        was, now = (_total(record, f"with_{side}") for record in (first, last))
        if was != now:
            number = first.number if was else last.number
            return f"only record {number} looked at the {side}"
    accounts = [plain(str(record.values.get("account"))) for record in (first, last)]
    if accounts[0] != accounts[1]:
        return f"they looked at other mailboxes ({accounts[0]}; {accounts[1]})"
    if _choice(first) != _choice(last):
        return "they looked at other parts of the mailbox"
    return None


def _kept() -> int:
    from store.findings import KEPT

    return KEPT


def _run(record: Record) -> int:
    """Return the number in the index of the run that left a record."""
    number = record.values.get("run")
    return number if isinstance(number, int) else 0


def _total(record: Record, key: str) -> bool:
    totals = record.values.get("totals")
    return bool(totals.get(key)) if isinstance(totals, dict) else False


def _choice(record: Record) -> object:
    """Return which messages a run was asked to look at, as the record has it."""
    wishes = record.values.get("asked")
    return wishes.get("selection") if isinstance(wishes, dict) else None


def _finding(turn: FindingTurn) -> dict[str, Any]:
    shown = turn.after or turn.before
    return {
        "what": turn.what,
        "folder": shown.folder if shown else None,
        "uidvalidity": shown.uidvalidity if shown else None,
        "uid": shown.uid if shown else None,
        "before": _found(turn.before),
        "after": _found(turn.after),
    }


def _found(found: FoundBefore | None) -> dict[str, str] | None:
    if found is None:
        return None
    return {"cause": found.cause, "side": found.side, "text": found.text}


def _finding_line(turn: FindingTurn) -> str:
    shown = turn.after or turn.before
    assert shown is not None  # noqa: S101 - for the type checker
    uid = f" UID {shown.uid}" if shown.uid is not None else ""
    was = f", was: {plain(turn.before.text)}" if turn.before and turn.after else ""
    return f"finding {turn.what}: {plain(shown.folder)}{uid}: {plain(shown.text)}{was}"


class _Words:
    """Says what became of a message."""

    def __init__(self, archive: Archive) -> None:
        self._folders = {folder.id: folder.name for folder in archive.index.folders()}
        self._targets = {target.key: target.name for target in archive.transfers.targets()}

    def told(self, turn: Turn) -> dict[str, Any] | None:
        """Return what became of a message; None where nothing did that anybody asks for."""
        before, after = turn.before, turn.after
        changes = [*self._in_archive(before, after), *self._in_targets(turn)]
        if before is None and after is not None:
            what = "came"
        elif before is not None and after is None:
            what = "went"
        elif changes:
            what = "changed"
        else:
            return None
        shown = after or before or {}
        return {
            "what": what,
            "folder": self._folders.get(shown.get("folder_id", 0)),
            "uidvalidity": shown.get("uidvalidity"),
            "uid": shown.get("uid"),
            "state": shown.get("state"),
            "message_id": shown.get("message_id"),
            "changes": changes,
        }

    def _in_archive(self, before: Values | None, after: Values | None) -> Iterator[str]:
        if before is None or after is None:
            return
        was, now = before.get, after.get
        if was("state") != now("state"):
            yield f"{was('state')} became {now('state')}"
        elif was("reason") != now("reason"):
            yield "another reason"
        signs = _signs(_flags(before), _flags(after))
        if signs:
            yield f"flags {signs}"
        if was("last_seen") is None and now("last_seen") is not None:
            yield "vanished from the source"
        if was("last_seen") is not None and now("last_seen") is None:
            yield "back again"
        if any(was(key) != now(key) for key in ("folder_id", "uidvalidity", "uid")):
            yield f"renumbered, was UID {was('uid')} (UIDVALIDITY {was('uidvalidity')})"
        if was("sha256") is not None and was("sha256") != now("sha256"):
            yield "other content"
        if was("internaldate") is not None and was("internaldate") != now("internaldate"):
            yield f"received {was('internaldate')}, now {now('internaldate')}"

    def _in_targets(self, turn: Turn) -> Iterator[str]:
        for key, (before, after) in turn.transfers.items():
            place = plain(self._targets.get(key, key))
            was, now = (before or {}).get, (after or {}).get
            if was("state", "pending") != now("state", "pending"):
                yield f"{was('state', 'pending')} became {now('state', 'pending')} at {place}"
            elif was("flags") != now("flags") or was("keywords") != now("keywords"):
                yield f"flags brought up to date at {place}"
            elif was("reply") != now("reply"):
                yield f"another reply from {place}"


def _flags(row: Values) -> set[str]:
    found: set[str] = set()
    for column in ("flags", "keywords"):
        try:
            values = json.loads(row.get(column) or "[]")
        except (ValueError, RecursionError, TypeError):
            continue
        if isinstance(values, list):
            found.update(str(value) for value in values)
    return found


def _signs(was: set[str], now: set[str]) -> str:
    came = [f"+{word}" for word in sorted(now - was)]
    went = [f"-{word}" for word in sorted(was - now)]
    return " ".join(plain(sign, 100) for sign in (*came, *went))


def _line(told: dict[str, Any]) -> str:
    where = f"{plain(str(told['folder']))} UID {told['uid']}"
    state = f" ({told['state']})" if told["what"] == "came" else ""
    changes = f": {'; '.join(told['changes'])}" if told["changes"] else ""
    return f"{told['what']}: {where}{state}{changes}"
