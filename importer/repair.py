"""The ladder of repairs: which steps a message needs, and a mended copy of it.

What is archived is never touched: the copy goes into a temporary file. Every step gives the same
octets for the same message, always.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, BinaryIO, cast

from importer.mending.bodies import mend_long_lines, mend_nul
from importer.mending.envelope import write_envelope
from importer.mending.headers import disarm_receipts, mend_header
from importer.mending.line_ends import mend_line_ends
from importer.mending.output import Output
from importer.mending.parts import regions
from importer.mending.source import BLOCK, Source
from importer.mending.structure import mend_structure
from store.transfers import Repair

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from importer.inspection import Inspection

_IN_MEMORY = 1024 * 1024


class Step(StrEnum):
    """One kind of repair, in the order in which they are done; the names stand in the ledger."""

    LINE_ENDS = "line-ends"
    RECEIPTS = "read-receipts"
    LONG_LINES = "long-lines"
    NUL = "nul"
    HEADERS = "headers"
    MIME = "mime"
    ENVELOPE = "envelope"
    """Instead of all others: the message goes as a file in a new one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a target takes."""

    longest_line: int = 9_900
    """Octets of a line without its end, at least 500; Exchange Online gets lost after 10,240."""
    largest: int = 36_700_160
    """Octets of a message: 35 MB."""
    disarm_receipts: bool = True
    """Whether nobody is to get a receipt for mail that is imported."""


def is_protected(inspection: Inspection) -> bool:
    """Whether a message must not be altered, since that would break a signature or a cipher."""
    return inspection.is_signed or inspection.is_encrypted


def needs_altering(inspection: Inspection, limits: Limits) -> bool:
    """Whether a protected message would have to be altered, so that it is to be wrapped."""
    return is_protected(inspection) and _has_trouble(inspection, limits)


def needed(inspection: Inspection, limits: Limits) -> tuple[Step, ...]:
    """Return what has to be done before a message is sent at all, in order."""
    if needs_altering(inspection, limits):
        return (Step.ENVELOPE,)
    steps = {
        Step.LINE_ENDS: not inspection.is_crlf,
        Step.RECEIPTS: bool(inspection.receipts) and limits.disarm_receipts,
        Step.LONG_LINES: inspection.longest_line > limits.longest_line,
        Step.NUL: inspection.has_nul,
    }
    return tuple(step for step, is_needed in steps.items() if is_needed)


def further(inspection: Inspection, limits: Limits) -> tuple[tuple[Step, ...], ...]:
    """Return what to try after a refusal, rung by rung, each to be applied to the original.

    A rung on which nothing could change is left out.
    """
    first = needed(inspection, limits)
    if Step.ENVELOPE in first:
        return ()
    if is_protected(inspection):
        return ((Step.ENVELOPE,),)
    with_mime = (*first, Step.HEADERS, Step.MIME)
    if inspection.has_broken_header or inspection.has_8bit_header:
        return ((*first, Step.HEADERS), with_mime, (Step.ENVELOPE,))
    return (with_mime, (Step.ENVELOPE,))


def _has_trouble(inspection: Inspection, limits: Limits) -> bool:
    return inspection.has_nul or inspection.longest_line > limits.longest_line


@contextmanager
def repaired(
    file: BinaryIO, steps: Sequence[Step], limits: Limits, directory: Path | None = None
) -> Iterator[tuple[BinaryIO, int, tuple[Repair, ...]]]:
    """Give a mended copy of a message, its size, and what was changed; the copy is gone after it.

    Where nothing had to be changed the file itself is given, at its start.

    Args:
        file: the message; it is read only.
        steps: what to do, in any order; the envelope replaces all else.
        limits: what the target takes.
        directory: for copies larger than 1 MiB, instead of the system's place for such files.

    Raises:
        OSError: the file cannot be read, or the copy not be written.
    """
    if Step.ENVELOPE in steps:
        steps = (Step.ENVELOPE,)
    place = None if directory is None else str(directory)
    with ExitStack() as copies:
        current = file
        repairs: list[Repair] = []
        digest = _sha256(file) if steps else ""
        for step in (step for step in Step if step in steps):
            copy = copies.enter_context(SpooledTemporaryFile(_IN_MEMORY, dir=place))
            output = Output(copy)
            _mend(step, current, output, limits)
            after = output.finish()
            if after == digest:
                copy.close()
                continue
            if current is not file:
                current.close()
            repairs.append(Repair(step, output.changes, digest, after))
            current, digest = cast("BinaryIO", copy), after
        size = Source(current).size
        current.seek(0)
        yield current, size, tuple(repairs)


def _mend(step: Step, file: BinaryIO, output: Output, limits: Limits) -> None:
    if step is Step.LINE_ENDS:
        mend_line_ends(file, output)
        return
    source, longest = Source(file), limits.longest_line
    match step:
        case Step.RECEIPTS:
            disarm_receipts(source, next(regions(source)), output, longest)
        case Step.LONG_LINES:
            mend_long_lines(source, output, longest)
        case Step.NUL:
            mend_nul(source, output, longest)
        case Step.HEADERS:
            mend_header(source, next(regions(source)), output, longest)
        case Step.MIME:
            mend_structure(source, output)
        case Step.ENVELOPE:
            write_envelope(source, output, longest)


def _sha256(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()
