"""``waystation extract``: messages out of the archive, in forms that other programs read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - Typer looks at it
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli import options, state
from waystation.cli.search import QueryCommand, parsed, prepared, told_of_folders
from waystation.cli.text import count_text, size_text

if TYPE_CHECKING:
    from store.extract import Extracted

_EXAMPLES = """\
\b
Examples:
  waystation extract alice alice-mbox --format mbox
  waystation extract alice for-the-auditor --format eml from:bob on:2024
"""
_SOME_FAILED = 3


class ExtractFormat(StrEnum):
    """What is written."""

    MBOX = "mbox"
    EML = "eml"
    MAILDIR = "maildir"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "extract",
        epilog=_EXAMPLES,
        cls=QueryCommand,
    )(_extract)


def _extract(
    archive: options.ArchivePath,
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="DEST",
            help="A new or empty directory, or an earlier extract, which goes on.",
            show_default=False,
        ),
    ],
    format: Annotated[  # noqa: A002 - the option's name
        ExtractFormat,
        typer.Option(
            "--format",
            help="One mboxrd file a folder, .eml files, or a Maildir.",
            show_default=False,
        ),
    ],
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY]...",
            help="Only what matches, as 'waystation search' finds it; else everything.",
            show_default=False,
        ),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Write messages out as mbox, .eml files or a Maildir; the archive stays as it is."""
    from store import extract, search
    from store.archive import Archive

    listener = state.listen("extract", as_json=as_json, quiet=quiet)
    words = query or []
    asked = parsed(words, as_json=as_json)
    with Archive.read(archive) as opened:
        missing = prepared(opened, asked, listener)
        with search.opened(opened) as searching:
            told_of_folders(searching.unmatched(asked), listener)
            done = extract.extract(
                opened,
                searching,
                asked,
                " ".join(" ".join(words).split()),
                destination,
                extract.Format(format.value),
                listener,
            )
    listener.say(_sentence(done, destination))
    is_complete = not done.failed and not missing
    code = 0 if is_complete else _SOME_FAILED
    values = {
        "messages": done.messages,
        "octets": done.octets,
        "already_there": done.already_there,
        "failed": done.failed,
        "folders": done.folders,
        "not_indexed": missing,
    }
    listener.summary("done" if is_complete else "incomplete", code, values)
    return code


def _sentence(done: Extracted, destination: Path) -> str:
    parts = [f"{count_text(done.messages, 'message')} of {size_text(done.octets)} written"]
    if done.already_there:
        parts.append(f"{done.already_there:,} were there already")
    if done.failed:
        parts.append(f"{done.failed:,} could not be")
    return f"{destination}: {', '.join(parts)}"
