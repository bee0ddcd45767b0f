"""The way in: an archive becomes a file that a person was promised, whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waystation.errors import StorageError, UsageError, plain
from waystation.report import data, paper, sheet
from waystation.report.facts import case_totals, gather
from waystation.report.formats import ReportFormat
from waystation.report.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    from store.archive import Archive
    from waystation.report.facts import Facts
    from waystation.report.verdict import Verdict
    from waystation.report.words import Words


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    path: Path
    octets: int
    facts: Facts
    verdict: Verdict
    companion: Path | None
    """The table of all messages that are not simply fine, where the page could not hold them."""


OF_OUR_PAGES = b'name="generator" content="waystation report"'
_OF_OURS = {
    ReportFormat.HTML: OF_OUR_PAGES,
    ReportFormat.CSV: (",".join(sheet.MESSAGE_COLUMNS)).encode(),
    ReportFormat.JSON: data.MARK.encode(),
    ReportFormat.PDF: paper.MARK,
}
_OF_OUR_COMPANION = ",".join(sheet.CASE_COLUMNS).encode()
_PART = ".waystation-part"
_READ = 8 * 1024 * 1024
_ENDINGS = {".html": ReportFormat.HTML, ".htm": ReportFormat.HTML} | {
    f".{each.value}": each for each in ReportFormat
}


def format_of(path: Path, wanted: ReportFormat | None) -> ReportFormat:
    """Return the format that a file gets, which its ending tells where nobody said.

    Raises:
        UsageError: it does not.
    """
    found = wanted or _ENDINGS.get(path.suffix.lower())
    if found is None:
        raise UsageError(
            f"{plain(path.name)} does not say what it is to be. Use .html, .csv, .json or .pdf, or"
            " say --format."
        )
    return found


def companion_of(path: Path) -> Path:
    """Return where the table beside a page lies: ``report-messages.csv`` beside report.html."""
    return path.with_name(f"{path.stem}-messages.csv")


def ensure_writable(archive: Path, path: Path, form: ReportFormat, *, force: bool) -> None:
    """Make sure that a report does no harm where it goes.

    Raises:
        UsageError: it would lie in the archive, or in place of something that is no report of
            this kind, and ``force`` does not allow that.
        StorageError: nobody can look.
    """
    try:
        if path.resolve().is_relative_to(archive.resolve()):
            raise UsageError(
                f"{plain(str(path))} lies in the archive, which keeps nothing but mail. Write the"
                " report beside it."
            )
        if not path.parent.is_dir():
            raise UsageError(f"{plain(str(path.parent))} is not a directory.")
        ensure_ours(path, _OF_OURS[form], force=force)
        if form in (ReportFormat.HTML, ReportFormat.PDF):
            ensure_ours(companion_of(path), _OF_OUR_COMPANION, force=force)
    except OSError as error:
        raise StorageError(path, error) from None


def ensure_ours(path: Path, mark: bytes = OF_OUR_PAGES, *, force: bool) -> None:
    """Make sure that nothing is replaced but what holds a mark of ours.

    Raises:
        UsageError: something else is there, and ``force`` does not allow that.
        OSError: nobody can look.
    """
    if path.is_dir():
        raise UsageError(f"{plain(str(path))} is a directory.")
    if not force and os.path.lexists(path) and not _is_ours(path, mark):
        raise UsageError(
            f"{plain(str(path))} is there already, and is no such report. Choose another name, or"
            " say --force."
        )


def write(
    archive: Archive,
    path: Path,
    form: ReportFormat,
    words: Words,
    made_at: str,
    *,
    with_subjects: bool = False,
) -> Written:
    """Write a report; ``made_at`` is the time now, as the index keeps times.

    The archive is read at one moment, whoever works on it meanwhile. What lies at ``path`` is
    replaced when the report is complete: see ``ensure_writable``.

    Raises:
        StorageError: the file cannot be written.
        NoPdfError: see ``paper``.
        IndexDamagedError: the index cannot be read.
    """
    companion: Path | None = None
    try:
        with archive.database.atomic():
            facts = gather(archive, made_at, with_subjects=with_subjects)
            found = verdict(facts, words)
            if form is ReportFormat.CSV:
                with replacing(path) as part, open_text(part) as stream:
                    targets = archive.transfers.targets()
                    sheet.write_messages(stream, archive, targets, with_subjects=with_subjects)
            elif form is ReportFormat.JSON:
                with replacing(path) as part, open_text(part) as stream:
                    data.write_json(stream, archive, facts, found, with_subjects=with_subjects)
            elif facts.is_folded or companion_of(path).exists():
                # An old table beside a new page would contradict it.
                companion = companion_of(path)
                totals = case_totals(archive, archive.transfers.targets())
                with replacing(companion) as part, open_text(part) as stream:
                    sheet.write_cases(stream, archive, totals, with_subjects=with_subjects)
        if form in (ReportFormat.HTML, ReportFormat.PDF):
            _write_page(path, form, facts, found, words, companion)
        return Written(path, path.stat().st_size, facts, found, companion)
    except OSError as error:
        raise StorageError(error.filename or path, error) from None


def _write_page(
    path: Path,
    form: ReportFormat,
    facts: Facts,
    found: Verdict,
    words: Words,
    companion: Path | None,
) -> None:
    from waystation.report.page import page

    is_paper = form is ReportFormat.PDF
    html = page(
        facts,
        found,
        words,
        companion=companion.name if companion is not None else None,
        is_paper=is_paper,
    )
    with replacing(path) as part:
        if is_paper:
            paper.write_pdf(html, part)
        else:
            with open_text(part) as stream:
                stream.write(html)


def _is_ours(path: Path, mark: bytes) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as stream:
        return mark in stream.read(_READ)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a file of our own to write to, only for us, which then takes the place of ``path``."""
    part = path.with_name(path.name + _PART)
    with suppress(FileNotFoundError):
        part.unlink()
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield part
        part.chmod(0o600)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def open_text(path: Path) -> TextIO:
    """Open a file of our own to write text to."""
    # A CSV file ends its lines itself; foreign surrogates must not end a report.
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
