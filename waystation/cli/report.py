"""``waystation report``: the audit report as a file."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli import options, state
from waystation.cli.text import size_text
from waystation.report.formats import ReportFormat  # noqa: TC001 - Typer reads the annotations

if TYPE_CHECKING:
    from waystation.report.writing import Written

_EXAMPLES = """\
\b
Examples:
  waystation report alice alice.html
  waystation report alice alice.pdf --locale de-AT --with-subjects
"""
WithSubjects = Annotated[
    bool,
    typer.Option(
        "--with-subjects",
        help="Also name subject and sender of messages; they are personal data.",
    ),
]
Locale = Annotated[
    str | None,
    typer.Option(
        metavar="LOCALE",
        help="How dates and numbers are written, such as en-GB or de-AT; texts are German"
        " where this is, else English. Otherwise the environment's.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report", epilog=_EXAMPLES)(_report)


def _report(
    archive: options.ArchivePath,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Where the report goes; .html, .csv, .json or .pdf.",
            show_default=False,
        ),
    ],
    format: Annotated[  # noqa: A002 - the option's name
        ReportFormat | None,
        typer.Option("--format", help="What it is to be, where the file's ending does not say."),
    ] = None,
    with_subjects: WithSubjects = False,
    locale: Locale = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace FILE even if it is no earlier report.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Write the audit report: what was there, what was kept, what arrived, and what is not fine.

    One page that needs nothing else, for a screen, a phone or paper; or a table, or JSON.
    """
    from store.archive import Archive, now
    from waystation.report.words import Words
    from waystation.report.writing import ensure_writable, format_of, write

    listener = state.listen("report", as_json=as_json, quiet=quiet)
    form = format_of(file, format)
    words = Words.of(locale)
    with Archive.read(archive) as opened:
        ensure_writable(archive, file, form, force=force)
        written = write(opened, file, form, words, now(), with_subjects=with_subjects)
    listener.say(written.verdict.sentence)
    listener.say(_where(written))
    listener.summary("done", 0, _summary(written, form))
    return 0


def _where(written: Written) -> str:
    beside = f", and {written.companion} beside it" if written.companion is not None else ""
    return f"written to {written.path} ({size_text(written.octets)}){beside}"


def _summary(written: Written, form: ReportFormat) -> dict[str, object]:
    facts = written.facts
    return {
        "file": str(written.path),
        "format": form.value,
        "octets": written.octets,
        "companion": str(written.companion) if written.companion is not None else None,
        "tone": written.verdict.tone.value,
        "verdict": written.verdict.sentence,
        "messages": facts.messages,
        "cases": {
            kind: sum(each.total.count for each in facts.cases if each.total.kind == kind)
            for kind in dict.fromkeys(each.total.kind.value for each in facts.cases)
        },
        "adds_up": not facts.unfinished and not facts.wrong,
    }
