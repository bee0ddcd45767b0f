"""``waystation batch report``: one page for all mailboxes, and a page for each."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waystation.cli import options
from waystation.cli import report as report_command
from waystation.cli.together import USUAL, ListOrAll, Root
from waystation.errors import (
    ArchiveError,
    IndexDamagedError,
    NoArchiveError,
    StorageError,
    UsageError,
    plain,
)

if TYPE_CHECKING:
    from store.archive import Archive
    from waystation.batch.mailboxes import Mailbox
    from waystation.cli.last_batch import LastBatch
    from waystation.cli.output import Listener
    from waystation.report.many import Last, Row
    from waystation.report.words import Words

OUT = "batch-report"
"""Where the pages go in ROOT, where nobody says."""
_INDEX = "index.html"
_PAGES = "mailboxes"
_EVERY = 10.0
_UNREADABLE = 3
_DOES_NOT_ADD_UP = 14


def batch_report(
    root: Root,
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="[OUT_DIR]",
            help="Where the pages go; ROOT/batch-report unless said otherwise.",
            show_default=False,
        ),
    ] = None,
    file: ListOrAll = None,
    with_subjects: report_command.WithSubjects = False,
    locale: report_command.Locale = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files even if they are no earlier report.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Write one page on all mailboxes, with links to a page for each; run again, it replaces them.

    It says what all comes to, the totals, who needs what; a mailbox's own page is its audit report.
    Exit code 14 where the numbers of a mailbox do not add up, 3 where an archive cannot be read.
    """
    from store.archive import now
    from waystation.cli.batch_job import Job
    from waystation.cli.last_batch import last_batch
    from waystation.report.many import beside_others, not_ended, verdict_on
    from waystation.report.overview import write_overview
    from waystation.report.words import Words
    from waystation.report.writing import ensure_ours

    voice = options.Voice(as_json=as_json, quiet=quiet)
    job = Job("report", root, USUAL, options.USUAL_REACH, options.NO_SIGN_IN, voice, None)
    mailboxes = job.read(file)
    words = Words.of(locale)
    out = out or root / OUT
    index = out / _INDEX
    _make(out)
    try:
        ensure_ours(index, force=force)
    except OSError as error:
        raise StorageError(index, error) from None
    last = last_batch(root)
    pages = _Pages(job.root, out, words, last, job.listener, with_subjects, force)
    rows = beside_others(pages.write(mailboxes))
    for row in rows:
        job.listener.row("mailbox", _values(row))
    more = []
    if last is not None and last.exit_code is None:
        more.append(not_ended(last.command, last.begun, words))
    found = verdict_on(rows, words, more)
    write_overview(index, str(root.resolve()), rows, found, words, now())
    job.listener.say(found.sentence)
    job.listener.say(f"written to {index}")
    code = _DOES_NOT_ADD_UP if pages.has_wrong else _UNREADABLE if pages.has_unreadable else 0
    job.listener.summary(
        "discrepancies" if code == _DOES_NOT_ADD_UP else "incomplete" if code else "done",
        code,
        _summary(index, rows, found.tone.value, found.sentence),
    )
    return code


class _Pages:
    """Writes the page of each mailbox; holds nothing of them but a row."""

    def __init__(
        self,
        root: Path,
        out: Path,
        words: Words,
        last: LastBatch | None,
        listener: Listener,
        with_subjects: bool,
        force: bool,
    ) -> None:
        self._root, self._out, self._words, self._last = root, out, words, last
        self._listener = listener
        self._with_subjects, self._force = with_subjects, force
        self.has_wrong = False
        """Whether numbers of a mailbox contradict each other."""
        self.has_unreadable = False

    def write(self, mailboxes: tuple[Mailbox, ...]) -> list[Row]:
        """Write all pages; return the rows, in the order of the list."""
        from store.names import Directories

        # No name can lead out of the directory, or meet another one.
        names = Directories()
        rows = []
        told = time.monotonic()
        for number, mailbox in enumerate(mailboxes):
            if time.monotonic() - told >= _EVERY:
                told = time.monotonic()
                self._listener.say(f"{number:,} of {len(mailboxes):,} pages are written")
            page = f"{_PAGES}/{names.place((mailbox.directory,))}.html"
            rows.append(self._row(mailbox, page))
        return rows

    def _row(self, mailbox: Mailbox, page: str) -> Row:
        from store.archive import Archive
        from waystation.report.many import row_of_none

        try:
            archive = Archive.read(self._root / mailbox.directory)
        except NoArchiveError:
            return row_of_none(mailbox.name, self._of(mailbox), self._words)
        except ArchiveError as error:
            return self._unreadable(mailbox, error)
        with archive:
            try:
                return self._written(mailbox, archive, page)
            except IndexDamagedError as error:
                return self._unreadable(mailbox, error)

    def _unreadable(self, mailbox: Mailbox, error: ArchiveError) -> Row:
        from waystation.report.many import row_of_unreadable

        self.has_unreadable = True
        self._listener.warning(f"{plain(mailbox.name)}: {error}")
        return row_of_unreadable(mailbox.name, str(error))

    def _written(self, mailbox: Mailbox, archive: Archive, page: str) -> Row:
        from store.archive import now
        from waystation.report.formats import ReportFormat
        from waystation.report.many import row_of
        from waystation.report.writing import ensure_writable, write

        path = self._out / page
        ensure_writable(archive.path, path, ReportFormat.HTML, force=self._force)
        written = write(
            archive,
            path,
            ReportFormat.HTML,
            self._words,
            now(),
            with_subjects=self._with_subjects,
        )
        facts = written.facts
        self.has_wrong = self.has_wrong or any(folder.is_wrong for folder in facts.folders)
        return row_of(mailbox.name, page, facts, written.verdict, self._of(mailbox))

    def _of(self, mailbox: Mailbox) -> Last | None:
        from waystation.report.many import Last

        if self._last is None or mailbox.name not in self._last.rows:
            return None
        state, text = self._last.rows[mailbox.name]
        return Last(self._last.command, state == "failed", text, self._last.written)


def _make(out: Path) -> None:
    from store.archive import Archive
    from store.maildir import make_directory

    inside = out.resolve()
    for each in (inside, *inside.parents):
        if Archive.exists(each):
            raise UsageError(
                f"{plain(str(out))} lies in an archive, which keeps nothing but mail. Choose"
                " another directory."
            )
    make_directory(inside)
    make_directory(inside / _PAGES)


def _values(row: Row) -> dict[str, Any]:
    return {
        "mailbox": row.name,
        "tone": row.tone.value,
        "need": row.need.value,
        "verdict": row.reason,
        "file": row.page,
        **(dict.fromkeys(_NUMBERS) if row.numbers is None else asdict(row.numbers)),
    }


_NUMBERS = ("messages", "archived", "octets", "arrived", "compared")


def _summary(index: Path, rows: list[Row], tone: str, sentence: str) -> dict[str, Any]:
    from waystation.report.many import totals

    return {
        "file": str(index),
        "tone": tone,
        "verdict": sentence,
        "mailboxes": len(rows),
        "tones": dict(Counter(row.tone.value for row in rows)),
        "needs": dict(Counter(row.need.value for row in rows)),
        **asdict(totals(rows)),
    }
