"""``waystation status``: the totals of the ledger."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from waystation.cli import options, state
from waystation.cli.text import size_text
from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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
_DOES_NOT_ADD_UP = 14
_WHAT_TO_DO = (
    "the ledger contradicts itself. 'waystation export ARCHIVE' looks through these folders again;"
    " should it stay so, 'waystation verify ARCHIVE --source' names the messages, and 'waystation"
    " check ARCHIVE --rebuild' makes a new index from the files"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status", epilog=_EXAMPLES)(_status)


def _status(
    archive: options.ArchivePath,
    as_json: options.Json = False,
) -> int:
    """Show the totals of the ledger, folder by folder; they add up to what the source held.

    Exit code 14 where a folder that is done with does not add up.
    """
    return run(archive, state.listen("status", as_json=as_json))


def run(archive: Path, listener: Listener) -> int:
    """Tell the totals of one archive; return the exit code.

    Raises:
        WaystationError: there is no archive that could be read.
    """
    from store.archive import Archive
    from store.status import status
    from store.tallies import all_tallies

    with Archive.read(archive) as opened:
        counted = all_tallies(opened.database)
        folders = status(opened, counted)
        targets = [target.name for target in opened.transfers.targets()]
        reasons = _target_reasons(opened.transfers.totals(counted))
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
    wrong = [folder for folder in folders if folder.is_wrong]
    for folder in wrong:
        for text in _contradictions(folder):
            listener.alarm(folder.name, text)
    if wrong:
        listener.warning(_WHAT_TO_DO)
    open_ = [plain(each.name) for each in folders if not each.adds_up and not each.is_settled]
    if open_:
        more = f" and {len(open_) - _NAMED:,} more" if len(open_) > _NAMED else ""
        listener.warning(
            f"not finished: {', '.join(open_[:_NAMED])}{more}; the numbers do not add up to what "
            "the source showed. 'waystation export ARCHIVE' goes on"
        )
    code = _DOES_NOT_ADD_UP if wrong else 0
    listener.summary(
        "discrepancies" if wrong else "incomplete" if open_ else "done",
        code,
        {
            "source": source,
            "folders": len(folders),
            **total,
            "adds_up": not wrong and not open_,
            "wrong": len(wrong),
            "unfinished": len(open_),
            "targets": arrived,
        },
    )
    return code


def _contradictions(folder: FolderTotals) -> Iterator[str]:
    """Yield which numbers of a folder do not go together, and by how much."""
    if folder.is_settled and folder.left_over:
        there = folder.archived + folder.skipped + folder.failed - folder.vanished
        yield (
            f"{folder.archived:,} archived + {folder.skipped:,} skipped + {folder.failed:,} failed"
            f" - {folder.vanished:,} vanished = {there:,}, and the source showed "
            f"{folder.on_source or 0:,}: {_too(folder.left_over)}"
        )
    for target, left_over in folder.targets_left_over.items():
        states = ", ".join(
            f"{count:,} {reached.replace('_', ' ')}"
            for reached, count in sorted(folder.targets[target].items())
        )
        yield (
            f"{folder.archived:,} archived, and for {plain(target)} there are {states}: "
            f"{_too(left_over)}"
        )


def _too(left_over: int) -> str:
    return f"{abs(left_over):,} too {'many' if left_over > 0 else 'few'}"


def _folder_row(folder: FolderTotals) -> dict[str, Any]:
    return {
        "folder": folder.name,
        **{key: getattr(folder, key) for key in (*_NUMBERS, "octets")},
        "is_settled": folder.is_settled,
        "adds_up": folder.adds_up and not folder.is_wrong,
        "left_over": folder.left_over,
        "targets_left_over": folder.targets_left_over,
        "reasons": folder.reasons,
        "skipped_by": folder.skipped_by,
        "failed_by": folder.failed_by,
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
    for state_ in ("skipped", "failed"):
        for reason, where in sorted(_reasons(folders, state_).items()):
            named = ", ".join(f"{plain(name)} {count:,}" for name, count in where[:_NAMED])
            more = f" and {len(where) - _NAMED:,} folders more" if len(where) > _NAMED else ""
            count = sum(count for _, count in where)
            listener.heading(f"  {count:,} {state_}: {reason} ({named}{more})")


def _reasons(folders: list[FolderTotals], state_: str) -> dict[str, list[tuple[str, int]]]:
    """Return why messages are not archived, with how many in which folders."""
    reasons: dict[str, list[tuple[str, int]]] = {}
    for folder in folders:
        by = folder.skipped_by if state_ == "skipped" else folder.failed_by
        for reason, count in by.items():
            reasons.setdefault(reason, []).append((folder.name, count))
    return reasons


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
