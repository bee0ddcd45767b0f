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
    app.command("diff", epilog=_EXAMPLES, short_help="Show what changed between two runs.")(_diff)


def _diff(
    archive: options.ArchivePath,
    first: _Run = None,
    second: _Run = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Show what came, went and changed between the ends of two runs, one line a message.

    Runs go by the numbers of their records; without any, all are listed. Without the second, it
    is the newest.
    """
    from store.archive import Archive

    listener = state.listen("diff", as_json=as_json, quiet=quiet)
    with Archive.read(archive) as opened:
        records = _records(opened)
        if first is None:
            return _list(opened, records, listener)
        second = second if second is not None else records[-1].number
        known = {record.number for record in records}
        for number in (first, second):
            if number not in known:
                raise UsageError(
                    f"there is no run {number}; 'waystation diff ARCHIVE' lists those there are."
                )
        first, second = min(first, second), max(first, second)
        totals = _show(opened, records, first, second, listener)
    listener.say(f"Between record {first} and record {second}: {sum_text(totals) or 'no change'}.")
    listener.summary("done", 0, {"first": first, "last": second, **totals})
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
