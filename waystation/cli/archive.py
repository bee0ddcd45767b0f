"""``waystation check``, ``status`` and ``ledger``: looking at an archive, offline."""

from __future__ import annotations

import csv
import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waystation.cli import options, state
from waystation.cli.output import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.archive import Archive
    from store.check import Checked, Discrepancy
    from store.index import ArchivedMessage
    from store.transfers import Transfer

_CHECK = """\
\b
Examples:
  waystation check alice
  waystation check alice --repair
"""
_STATUS = """\
\b
Examples:
  waystation status alice
  waystation status alice --json
"""
_LEDGER = """\
\b
Examples:
  waystation ledger alice --state failed
  waystation ledger alice --format csv > alice.csv
"""
_FOUND_SOMETHING = 13


class LedgerFormat(StrEnum):
    """How the ledger is written."""

    JSONL = "jsonl"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("check", epilog=_CHECK)(_check)
    app.command("status", epilog=_STATUS)(_status)
    app.command("ledger", epilog=_LEDGER)(_ledger)


def _check(
    archive: options.ArchivePath,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Undo what a mail reader or a copy did to file names and times; no octet changes.",
        ),
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Make a new index from the files alone; the old one is kept beside it.",
        ),
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Prove every file against the index, offline; name each that does not agree.

    Finds altered, missing, foreign, half-written and renamed files. Exit code 13 when anything
    was found.
    """
    from store.archive import Archive
    from store.check import Checked, check
    from store.check import rebuild as rebuild_index
    from store.check import repair as repair_found

    listener = state.listen(as_json=as_json, quiet=quiet)
    if rebuild:
        messages, folders = rebuild_index(archive, listener)
        listener.close()
        listener.say(f"A new index of {messages:,} messages in {folders:,} folders stands.")
    counted = Checked()
    found: list[Discrepancy] = []
    kinds: dict[str, int] = {}
    with Archive.write(archive, "check --repair") if repair else Archive.read(archive) as opened:
        for discrepancy in check(opened, listener, counted):
            kinds[discrepancy.kind] = kinds.get(discrepancy.kind, 0) + 1
            listener.finding(_discrepancy(discrepancy), _discrepancy_text(discrepancy))
            if discrepancy.can_be_undone:
                found.append(discrepancy)
        repaired = repair_found(opened, found) if repair else 0
    listener.close()
    left = sum(kinds.values()) - repaired
    code = _FOUND_SOMETHING if left else 0
    listener.summary(
        {
            "command": "check",
            "outcome": "discrepancies" if left else "clean",
            "exit_code": code,
            "messages": counted.messages,
            "octets": counted.octets,
            "discrepancies": sum(kinds.values()),
            "repaired": repaired,
            "kinds": kinds,
        }
    )
    listener.say(_check_sentence(counted, kinds, repaired))
    return code


def _discrepancy(found: Discrepancy) -> dict[str, Any]:
    return {
        "type": "discrepancy",
        "kind": found.kind.value,
        "folder": found.folder,
        "uidvalidity": found.uidvalidity,
        "uid": found.uid,
        "path": found.path,
        "text": found.text,
        "is_loss": found.is_loss,
    }


def _discrepancy_text(found: Discrepancy) -> str:
    uid = f" UID {found.uid}" if found.uid is not None else ""
    return f"{found.kind}: {found.folder}{uid}: {found.text} ({found.path})"


def _check_sentence(counted: Checked, kinds: dict[str, int], repaired: int) -> str:
    proven = f"{counted.messages:,} messages ({size_text(counted.octets)}) checked"
    if not kinds:
        return f"{proven}: every file is what was archived."
    parts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    text = f"{proven}: {parts}."
    if repaired:
        return f"{text} {repaired:,} repaired."
    if set(kinds) <= {"renamed", "date"}:
        return f"{text} No message is lost; 'waystation check ARCHIVE --repair' undoes this."
    return text


def _status(
    archive: options.ArchivePath,
    as_json: options.Json = False,
) -> int:
    """Show the totals of the ledger, folder by folder; they add up to what the source held."""
    from store.archive import Archive
    from store.status import status

    listener = state.listen(as_json=as_json)
    with Archive.read(archive) as opened:
        targets = [target.name for target in opened.transfers.targets()]
        folders = status(opened)
        source = opened.description.source
    rows = []
    total: dict[str, int] = {
        "on_source": 0,
        "archived": 0,
        "skipped": 0,
        "failed": 0,
        "vanished": 0,
    }
    total["octets"] = 0
    arrived: dict[str, dict[str, int]] = {target: {} for target in targets}
    for folder in folders:
        numbers = {
            "on_source": folder.on_source,
            "archived": folder.archived,
            "skipped": folder.skipped,
            "failed": folder.failed,
            "vanished": folder.vanished,
            "octets": folder.octets,
        }
        for key, number in numbers.items():
            total[key] += number or 0
        for target, states in folder.targets.items():
            for name, count in states.items():
                arrived[target][name] = arrived[target].get(name, 0) + count
        listener.row(
            {
                "type": "folder",
                "folder": folder.name,
                **numbers,
                "adds_up": folder.adds_up,
                "reasons": folder.reasons,
                "targets": folder.targets,
            }
        )
        rows.append(
            [
                folder.name,
                f"{folder.on_source:,}" if folder.on_source is not None else "-",
                f"{folder.archived:,}",
                f"{folder.skipped:,}",
                f"{folder.failed:,}",
                f"{folder.vanished:,}",
                size_text(folder.octets),
                *(_states_text(folder.targets.get(target, {})) for target in targets),
            ]
        )
    adds_up = all(folder.adds_up for folder in folders)
    titles = ["folder", "on source", "archived", "skipped", "failed", "vanished", "size"]
    totals_row = [
        "total",
        *(f"{total[key]:,}" for key in list(total)[:5]),
        size_text(total["octets"]),
    ]
    totals_row += [_states_text(arrived[target]) for target in targets]
    listener.table([*titles, *targets], [*rows, totals_row])
    if not adds_up:
        names = [folder.name for folder in folders if not folder.adds_up]
        listener.alarm(
            ", ".join(names[:5]),
            "the numbers do not add up to what the source showed last; run export again",
        )
    listener.summary(
        {
            "command": "status",
            "outcome": "done" if adds_up else "incomplete",
            "exit_code": 0,
            "source": source,
            "folders": len(folders),
            **total,
            "adds_up": adds_up,
            "targets": arrived,
        }
    )
    return 0


def _states_text(states: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(states.items())) or "-"


def _ledger(
    archive: options.ArchivePath,
    format: Annotated[  # noqa: A002 - the option's name
        LedgerFormat, typer.Option("--format", help="One JSON object a line, or a table.")
    ] = LedgerFormat.JSONL,
    only: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="Only messages in this state, at the source or at any target.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Write one row for each message that the source has ever shown."""
    from store.archive import Archive

    listener = state.listen(as_json=as_json)
    with Archive.read(archive) as opened:
        rows = _rows(opened, only)
        if format is LedgerFormat.CSV and not as_json:
            _write_csv(rows, [target.name for target in opened.transfers.targets()])
            return 0
        count = 0
        for row in rows:
            count += 1
            line = {"type": "message", **row} if as_json else row
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        if as_json:
            listener.summary(
                {"command": "ledger", "outcome": "done", "exit_code": 0, "messages": count}
            )
    return 0


def _rows(archive: Archive, only: str | None) -> Iterator[dict[str, Any]]:
    from store.transfers import TransferState

    targets = archive.transfers.targets()
    maps = {target.id: archive.transfers.folder_map(target.id) for target in targets}
    known = ["archived", "skipped", "failed", *(state.value for state in TransferState)]
    _check_state(only, known)
    for message in archive.index.messages():
        transfers = (
            {t.target_id: t for t in archive.transfers.of_message(message.id)} if targets else {}
        )
        states = {}
        for target in targets:
            if message.state != "archived":
                continue
            mapped = maps[target.id].get(message.folder_id)
            states[target.name] = _target_row(
                transfers.get(target.id), mapped.name if mapped is not None else None
            )
        if only and only != message.state and only not in {row["state"] for row in states.values()}:
            continue
        yield _row(message, states)


def _check_state(only: str | None, known: list[str]) -> None:
    from waystation.errors import UsageError

    if only is not None and only not in known:
        raise UsageError(f"{only!r} is no state. There are: {', '.join(known)}.")


def _row(message: ArchivedMessage, targets: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "folder": message.folder,
        "uidvalidity": message.uidvalidity,
        "uid": message.uid,
        "sha256": message.sha256,
        "size": message.size,
        "internaldate": message.internaldate.isoformat() if message.internaldate else None,
        "flags": list(message.flags),
        "keywords": list(message.keywords),
        "message_id": message.message_id,
        "state": message.state,
        "reason": message.reason,
        "path": message.path,
        "last_seen": message.last_seen,
        "targets": targets,
    }


def _target_row(transfer: Transfer | None, folder: str | None) -> dict[str, Any]:
    if transfer is None:
        return {
            "state": "pending",
            "folder": folder,
            "uidvalidity": None,
            "uid": None,
            "lost": [],
            "repairs": [],
            "reply": None,
        }
    return {
        "state": transfer.state.value,
        "folder": transfer.folder,
        "uidvalidity": transfer.uidvalidity,
        "uid": transfer.uid,
        "lost": list(transfer.lost),
        "repairs": list(transfer.repairs),
        "reply": transfer.reply,
    }


def _write_csv(rows: Iterator[dict[str, Any]], targets: list[str]) -> None:
    columns = [
        "folder", "uidvalidity", "uid", "sha256", "size", "internaldate", "flags", "keywords",
        "message_id", "state", "reason", "path", "last_seen",
    ]  # fmt: skip
    parts = ["state", "folder", "uidvalidity", "uid", "lost", "repairs", "reply"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*columns, *(f"{target} {part}" for target in targets for part in parts)])
    for row in rows:
        cells = [row[column] for column in columns]
        for target in targets:
            cells += [row["targets"].get(target, {}).get(part) for part in parts]
        writer.writerow([_cell(cell) for cell in cells])


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = " ".join(value)
    # A spreadsheet runs what begins so; these words come from whoever sent the mail.
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
