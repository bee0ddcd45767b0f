"""``waystation ledger``: one row for each message."""

from __future__ import annotations

import csv
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.ledger import Rows
from waystation.cli import options, state
from waystation.cli.text import cell, json_line
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from store.archive import Archive
    from waystation.cli.output import Listener

_EXAMPLES = """\
\b
Examples:
  waystation ledger alice --state failed
  waystation ledger alice --format csv > alice.csv
"""
_OF_SOURCE = ("archived", "skipped", "failed")
_COLUMNS = (
    "folder", "uidvalidity", "uid", "sha256", "size", "internaldate", "date_from", "flags",
    "keywords", "message_id", "state", "reason", "path", "last_seen",
)  # fmt: skip
_OF_TARGET = ("state", "folder", "uidvalidity", "uid", "lost", "repairs", "passed", "reply")


class LedgerFormat(StrEnum):
    """How the ledger is written."""

    JSONL = "jsonl"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ledger", epilog=_EXAMPLES)(_ledger)


def _states() -> list[str]:
    from store.transfers import TransferState

    return [*_OF_SOURCE, *(reached.value for reached in TransferState)]


def _beginning_so(incomplete: str) -> list[str]:
    return [name for name in _states() if name.startswith(incomplete)]


def _ledger(
    archive: options.ArchivePath,
    format: Annotated[  # noqa: A002 - the option's name
        LedgerFormat | None,
        typer.Option("--format", help="One JSON object a line (the default), or a table."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="STATE",
            autocompletion=_beginning_so,
            help="Only messages in this state, at the source or at any target: archived, skipped,"
            " failed, pending, sending, appended, verified, already_there, refused, set_aside.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Write one row for each message that the source has ever shown."""
    from store.archive import Archive

    listener = state.listen("ledger", as_json=as_json)
    if as_json and format is LedgerFormat.CSV:
        raise UsageError("--json and --format csv are two things; leave one out.")
    if only is not None and only not in (known := _states()):
        raise UsageError(f"{plain(only)!r} is no state. There are: {', '.join(known)}.")
    with Archive.read(archive) as opened:
        rows = _rows(opened, only)
        if as_json:
            count = _tell(listener, rows)
            listener.summary("done", 0, {"messages": count})
        elif format is LedgerFormat.CSV:
            _write_csv(rows, [target.name for target in opened.transfers.targets()])
        else:
            sys.stdout.writelines(json_line(row) for row in rows)
    return 0


def _tell(listener: Listener, rows: Iterable[dict[str, Any]]) -> int:
    count = 0
    for row in rows:
        listener.row("message", row)
        count += 1
    return count


def _rows(archive: Archive, only: str | None) -> Iterator[dict[str, Any]]:
    rows = Rows(archive)
    for message in archive.index.messages(only):
        row = rows.of(message)
        reached = {message.state, *(target["state"] for target in row["targets"].values())}
        if only is None or only in reached:
            yield row


def _write_csv(rows: Iterable[dict[str, Any]], targets: list[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    titles = [*_COLUMNS, *(f"{target} {part}" for target in targets for part in _OF_TARGET)]
    writer.writerow(map(cell, titles))
    for row in rows:
        cells = [row[column] for column in _COLUMNS]
        for target in targets:
            cells += [row["targets"].get(target, {}).get(part) for part in _OF_TARGET]
        writer.writerow(map(cell, cells))
