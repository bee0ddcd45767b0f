"""``waystation status``: the totals of the ledger."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from waystation.cli import options, state
from waystation.cli.text import size_text
from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import typer

    from store.status import FolderTotals
    from waystation.cli.output import Listener

_EXAMPLES = """\
\b
Examples:
  waystation status alice
  waystation status alice --json
"""
_NUMBERS = ("on_source", "archived", "skipped", "failed", "vanished")
_ALWAYS = ("on_source", "archived")
_NAMED = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status", epilog=_EXAMPLES, short_help="Show the totals, folder by folder.")(
        _status
    )


def _status(
    archive: options.ArchivePath,
    as_json: options.Json = False,
) -> int:
    """Show the totals of the ledger, folder by folder; they add up to what the source held."""
    return run(archive, state.listen("status", as_json=as_json))


def run(archive: Path, listener: Listener) -> int:
    """Tell the totals of one archive; return the exit code.

    Raises:
        WaystationError: there is no archive that could be read.
    """
    from store.archive import Archive
    from store.status import status

    with Archive.read(archive) as opened:
        folders = status(opened)
        targets = [target.name for target in opened.transfers.targets()]
        reasons = _target_reasons(opened.transfers.totals())
        source = opened.description.source
    arrived = {target: _arrived(folders, target) for target in targets}
    total = _total(folders)
    for folder in folders:
        listener.row("folder", _folder_row(folder))
    listener.heading(f"Source: {source or 'unknown'}")
    _show_source(listener, folders, total)
    for target in targets:
        listener.heading("")
        listener.heading(f"Target: {target}")
        _show_target(listener, folders, target, arrived[target])
        for reason, count in sorted(reasons.get(target, {}).items()):
            listener.heading(f"  {count:,}: {reason}")
    wrong = [plain(folder.name) for folder in folders if not folder.adds_up]
    if wrong:
        more = f" and {len(wrong) - _NAMED:,} more" if len(wrong) > _NAMED else ""
        listener.warning(
            f"not finished: {', '.join(wrong[:_NAMED])}{more}; the numbers do not add up to what "
            "the source showed. 'waystation export ARCHIVE' goes on"
        )
    listener.summary(
        "incomplete" if wrong else "done",
        0,
        {
            "source": source,
            "folders": len(folders),
            **total,
            "adds_up": not wrong,
            "targets": arrived,
        },
    )
    return 0


def _folder_row(folder: FolderTotals) -> dict[str, Any]:
    return {
        "folder": folder.name,
        **{key: getattr(folder, key) for key in (*_NUMBERS, "octets")},
        "adds_up": folder.adds_up,
        "reasons": folder.reasons,
        "targets": folder.targets,
    }


def _total(folders: list[FolderTotals]) -> dict[str, int | None]:
    """Return the sums; None where a part is not known."""
    columns = {key: [getattr(folder, key) for folder in folders] for key in (*_NUMBERS, "octets")}
    return {key: None if None in column else sum(column) for key, column in columns.items()}


def _arrived(folders: list[FolderTotals], target: str) -> dict[str, int]:
    states: Counter[str] = Counter()
    for folder in folders:
        states.update(folder.targets.get(target, {}))
    return dict(states)


def _target_reasons(
    totals: list[tuple[str, str, str, str | None, int]],
) -> dict[str, dict[str, int]]:
    """Return why messages were refused or set aside, with how many, by target."""
    reasons: dict[str, Counter[str]] = {}
    for target, _, reached, reason, count in totals:
        if reason is not None:
            words = f"{reached.replace('_', ' ')}: {reason}"
            reasons.setdefault(target, Counter())[words] += count
    return {target: dict(counts) for target, counts in reasons.items()}


def _show_source(
    listener: Listener, folders: list[FolderTotals], total: dict[str, int | None]
) -> None:
    # A column of noughts tells nothing, and an ordinary terminal has room for few.
    shown = [key for key in _NUMBERS if key in _ALWAYS or total[key]]
    rows = [_source_cells(folder.name, _folder_row(folder), shown) for folder in folders]
    rows.append(_source_cells("total", total, shown))
    listener.table(["folder", *(key.replace("_", " ") for key in shown), "size"], rows)
    reasons: Counter[str] = Counter()
    for folder in folders:
        reasons.update(folder.reasons)
    for reason, count in sorted(reasons.items()):
        listener.heading(f"  {count:,}: {reason}")


def _source_cells(name: str, numbers: Mapping[str, Any], shown: list[str]) -> list[str]:
    counts = ("-" if numbers[key] is None else f"{numbers[key]:,}" for key in shown)
    return [name, *counts, size_text(numbers["octets"])]


def _show_target(
    listener: Listener, folders: list[FolderTotals], target: str, total: dict[str, int]
) -> None:
    from store.transfers import TransferState

    shown = [reached.value for reached in TransferState if total.get(reached.value)]
    rows = [
        [folder.name, *(f"{folder.targets.get(target, {}).get(key, 0):,}" for key in shown)]
        for folder in folders
        if folder.targets.get(target)
    ]
    rows.append(["total", *(f"{total[key]:,}" for key in shown)])
    listener.table(["folder", *(key.replace("_", " ") for key in shown)], rows)
