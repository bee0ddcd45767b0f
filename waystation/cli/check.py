"""``waystation check``: an archive against itself, offline."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waystation.cli import options, state
from waystation.cli.text import count_text, size_text, sum_text
from waystation.errors import plain

if TYPE_CHECKING:
    from pathlib import Path

    from store.check import Checked, Discrepancy
    from waystation.cli.output import Listener

_EXAMPLES = """\
\b
Examples:
  waystation check alice
  waystation check alice --repair
"""
_FOUND_SOMETHING = 13


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", epilog=_EXAMPLES, short_help="Prove every file of an archive, offline.")(
        _check
    )


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
    listener = state.listen("check", as_json=as_json, quiet=quiet)
    if rebuild:
        _rebuild(archive, listener)
    return run(archive, listener, is_repairing=repair)


def run(archive: Path, listener: Listener, *, is_repairing: bool = False) -> int:
    """Check one archive and tell what was found; return the exit code.

    Raises:
        WaystationError: there is no archive that could be checked.
    """
    from store.archive import Archive
    from store.check import Checked, check
    from store.check import repair as repair_found

    counted = Checked()
    kinds: Counter[str] = Counter()
    harmless: list[Discrepancy] = []
    with ExitStack() as stack:
        opened = stack.enter_context(
            Archive.write(archive, "check --repair") if is_repairing else Archive.read(archive)
        )
        for found in check(opened, listener, counted):
            kinds[found.kind.value] += 1
            listener.finding(_discrepancy(found), _discrepancy_text(found))
            if found.can_be_undone:
                harmless.append(found)
        repaired = repair_found(opened, harmless) if is_repairing else 0
    listener.close()
    can_be_undone = len(harmless) == kinds.total()
    listener.say(_sentence(counted, kinds, repaired, can_be_undone=can_be_undone))
    is_clean = repaired == kinds.total()
    code = 0 if is_clean else _FOUND_SOMETHING
    listener.summary(
        "clean" if is_clean else "discrepancies",
        code,
        {
            "messages": counted.messages,
            "octets": counted.octets,
            "discrepancies": kinds.total(),
            "repaired": repaired,
            "kinds": dict(kinds),
        },
    )
    return code


def _rebuild(archive: Path, listener: Listener) -> None:
    from store.check import rebuild

    messages, folders = rebuild(archive, listener)
    listener.close()
    stands = f"{count_text(messages, 'message')} in {count_text(folders, 'folder')}"
    listener.say(f"A new index stands: {stands}.")
    listener.row("rebuilt", {"messages": messages, "folders": folders})


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
    where = f"{plain(found.folder)}{uid}: " if found.folder else ""
    return f"{found.kind.value}: {where}{found.text} ({plain(found.path)})"


def _sentence(counted: Checked, kinds: Counter[str], repaired: int, *, can_be_undone: bool) -> str:
    proven = f"{count_text(counted.messages, 'message')} ({size_text(counted.octets)}) checked"
    if not kinds:
        return f"{proven}: every file is what was archived."
    text = f"{proven}: {sum_text(kinds)}."
    if repaired:
        return f"{text} {repaired:,} repaired."
    if can_be_undone:
        return f"{text} No message is lost; 'waystation check ARCHIVE --repair' undoes this."
    return text
