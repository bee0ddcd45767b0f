"""A list of mailboxes as lines of cells: which of the three forms it has, and where it is broken.

Our own form and Microsoft's have a line of titles; imapsync's has none. A line is a row, so that
a broken one is named and the others are still read.
"""

from __future__ import annotations

import csv
import unicodedata
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from waystation.batch.faults import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS: tuple[str, ...] = (
    *("mailbox", "priority", "folder", "exclude"),
    *(
        f"{side}{end}"
        for side in ("from", "to")
        for end in (
            "",
            "_password_env",
            "_password_command",
            "_password_keyring",
            "_password",
        )
    ),
)
"""The columns of our own form; only ``mailbox`` has to be there."""
MICROSOFT: tuple[str, ...] = ("emailaddress", "username", "password", "userroot")
"""The columns of Microsoft's form (Microsoft: CSV files for IMAP migration batches)."""
IMAPSYNC = ("host1", "user1", "password1", "host2", "user2", "password2")
"""The columns of imapsync's form (imapsync: examples/file.txt)."""
_DELIMITERS = (",", ";", "\t")
_LONGEST = 16 * 1024 * 1024


class Form(StrEnum):
    """Whose form a list has."""

    OURS = "ours"
    MICROSOFT = "microsoft"
    IMAPSYNC = "imapsync"


@dataclass(slots=True)
class Table:
    """What a list says, before anything is made of it."""

    form: Form | None = None
    """None: it is no list that we know, and there are no rows."""
    columns: frozenset[str] = frozenset()
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """The number of the line, and the cells by column; cells that are not there are empty."""
    faults: list[Fault] = field(default_factory=list)


def read_table(octets: bytes) -> Table:
    """Return the rows of a list, and every line that is none.

    UTF-8 with or without a mark at its beginning, or UTF-16 as Excel writes it.
    """
    table = Table()
    lines = list(_lines(octets, table.faults))
    if not lines:
        table.faults.append(Fault(1, None, FaultKind.NO_LIST, "the list is empty"))
        return table
    number, first = lines[0]
    if first.lower().startswith("sep=") and len(first) == 5:  # Excel's word for the delimiter
        lines = lines[1:]
        number, first = lines[0] if lines else (number, "")
    titles, delimiter = _titles(first)
    known = set(titles)
    wanted: tuple[str, ...]
    needed: tuple[str, ...]
    if known & set(MICROSOFT[:2]):
        table.form, wanted, needed = Form.MICROSOFT, MICROSOFT, MICROSOFT[:2]
    elif known & set(OURS) - {"folder", "priority"}:
        table.form, wanted, needed = Form.OURS, OURS, OURS[:1]
    elif tuple(titles[:6]) == IMAPSYNC or _is_imapsync(first):
        table.form, table.columns = Form.IMAPSYNC, frozenset(IMAPSYNC)
        has_titles = tuple(titles[:6]) == IMAPSYNC
        table.rows.extend(_imapsync(lines[has_titles:], table.faults))
        return table
    else:
        table.faults.append(Fault(number, None, FaultKind.NO_LIST, _NO_LIST))
        return table
    _check_titles(number, titles, wanted, needed, table.faults)
    table.columns = frozenset(titles)
    table.rows.extend(_rows(lines[1:], titles, delimiter, table.faults))
    return table


_NO_LIST = (
    "this is no list: its first line has neither the title 'mailbox' nor 'EmailAddress', nor six "
    "fields with ';' between them. 'waystation batch template' shows each form"
)


def _lines(octets: bytes, faults: list[Fault]) -> Iterator[tuple[int, str]]:
    """Yield the lines that hold something, and are no comment, with their numbers."""
    if len(octets) > _LONGEST:
        faults.append(Fault(1, None, FaultKind.NO_LIST, "a list of more than 16 MiB is none"))
        return
    if octets.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        try:
            text = octets.decode("utf-16")
        except UnicodeDecodeError:
            words = "it begins like UTF-16 and is not; save it as 'CSV UTF-8'"
            faults.append(Fault(1, None, FaultKind.ENCODING, words))
            return
        pieces = [line.encode() for line in text.replace("\r\n", "\n").split("\n")]
    else:
        text_octets = octets.removeprefix(BOM_UTF8)
        pieces = text_octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    for number, piece in enumerate(pieces, 1):
        try:
            line = piece.decode()
        except UnicodeDecodeError:
            words = "it is not UTF-8; save the list as 'CSV UTF-8'"
            faults.append(Fault(number, None, FaultKind.ENCODING, words))
            continue
        # Excel keeps the delimiters of an empty row.
        if line.strip(" \t,;") and not line.lstrip().startswith("#"):
            yield number, line.rstrip("\r")


def _titles(first: str) -> tuple[list[str], str]:
    """Return the titles in lower case, and the delimiter by which most of them are known."""
    known = {*OURS, *MICROSOFT, *IMAPSYNC}
    best: tuple[list[str], str] = ([], ",")
    for delimiter in _DELIMITERS:
        titles = [cell.strip(' "').lower() for cell in first.split(delimiter)]
        if len(known & set(titles)) > len(known & set(best[0])):
            best = (titles, delimiter)
    titles, delimiter = best
    while titles and not titles[-1]:
        titles.pop()
    return titles, delimiter


def _is_imapsync(first: str) -> bool:
    return first.count(";") >= len(IMAPSYNC) - 1


def _check_titles(
    line: int,
    titles: list[str],
    wanted: tuple[str, ...],
    needed: tuple[str, ...],
    faults: list[Fault],
) -> None:
    for title in dict.fromkeys(titles):
        if title not in wanted:
            words = f"no such column is known; known are {', '.join(wanted)}"
            faults.append(Fault(line, title or "(empty)", FaultKind.UNKNOWN_COLUMN, words))
        elif titles.count(title) > 1:
            words = "there is more than one column of this title"
            faults.append(Fault(line, title, FaultKind.DOUBLED_COLUMN, words))
    for title in needed:
        if title not in titles:
            words = "this column is missing"
            faults.append(Fault(line, title, FaultKind.MISSING_COLUMN, words))


def _rows(
    lines: list[tuple[int, str]], titles: list[str], delimiter: str, faults: list[Fault]
) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in lines:
        try:
            (cells,) = csv.reader([line], delimiter=delimiter, strict=True)
        except (csv.Error, ValueError):
            words = 'a quote (") is not closed, or stands inside a field and is not doubled'
            faults.append(Fault(number, None, FaultKind.QUOTING, words))
            continue
        while len(cells) > len(titles) and not cells[-1].strip():
            cells.pop()
        if len(cells) != len(titles):
            kind = FaultKind.FEW_FIELDS if len(cells) < len(titles) else FaultKind.MANY_FIELDS
            words = f"{len(cells)} fields where the first line has {len(titles)} titles"
            faults.append(Fault(number, None, kind, words))
            continue
        row = dict(zip(titles, cells, strict=True))
        if not _has_controls(number, row, faults):
            yield (
                number,
                {
                    title: cell if title.endswith("password") else cell.strip()
                    for title, cell in row.items()
                },
            )


def _imapsync(
    lines: list[tuple[int, str]], faults: list[Fault]
) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in lines:
        # No quotes: imapsync's own loop knows none, and a password may begin with one. What
        # follows the sixth field are options of imapsync's own.
        cells = line.split(";")
        if len(cells) < len(IMAPSYNC):
            words = f"{len(cells)} fields in place of six: {';'.join(IMAPSYNC)}"
            faults.append(Fault(number, None, FaultKind.FEW_FIELDS, words))
            continue
        if any(cell.strip() for cell in cells[len(IMAPSYNC) :]):
            words = "more than six fields; options of imapsync mean nothing here"
            faults.append(Fault(number, None, FaultKind.MANY_FIELDS, words))
            continue
        row = dict(zip(IMAPSYNC, cells, strict=False))
        if not _has_controls(number, row, faults):
            yield (
                number,
                {
                    title: cell if title.startswith("password") else cell.strip()
                    for title, cell in row.items()
                },
            )


def _has_controls(line: int, row: dict[str, str], faults: list[Fault]) -> bool:
    found = False
    for title, cell in row.items():
        if not cell.isprintable() and any(unicodedata.category(c) in _CONTROLS for c in cell):
            words = "it holds a control character, or one that cannot be seen"
            faults.append(Fault(line, title, FaultKind.CONTROLS, words))
            found = True
    return found


_CONTROLS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
