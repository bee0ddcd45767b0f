"""Words, tables and JSON as they go out: nothing foreign in them can forge a line or a sequence."""

from __future__ import annotations

import io
import json
import shutil
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

from waystation.cells import guard_of
from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LONGEST_CELL = 200
_WIDE = 200
"""Columns of a table that no terminal shows."""


def json_line(values: Mapping[str, Any]) -> str:
    """Return one line of JSON; what would not show on a terminal is escaped."""
    is_unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    return escaped(json.dumps(values, ensure_ascii=not is_unicode)) + "\n"


def escaped(text: str) -> str:
    r"""Return a text with all that is no letter, sign or blank written as ``\u001b``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def line_text(text: str) -> str:
    """Return one line of a foreign text, its blanks kept, that drives no terminal.

    What has no width, as newsletters use it by the hundred, is left out.
    """
    if text.isprintable():
        return text
    text = text.expandtabs()
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if char.isprintable() or char in _UNSEEN:
        return "" if char in _UNSEEN else char
    return " " if unicodedata.category(char) == "Zs" else "?"


_UNSEEN = frozenset("\u00ad\u034f\u200b\u200c\u200d\u2060\ufeff")
"""Soft hyphen, joiners and blanks without width."""


def table_text(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in plain text: numbers to the right, long words folded, nothing cut off."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    cells = [[plain(cell, _LONGEST_CELL) for cell in row] for row in rows]
    for number, title in enumerate(titles):
        if bool(cells) and all(_is_numeric(row[number]) for row in cells):
            table.add_column(Text(title), justify="right", no_wrap=True)
        else:
            table.add_column(Text(title), overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    file = io.StringIO()
    Console(file=file, width=_width(), color_system=None, legacy_windows=False).print(table)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE


def _is_numeric(cell: str) -> bool:
    return not cell or cell == "-" or cell[0].isdigit()


def size_text(octets: int) -> str:
    """Return a size as people read it, in powers of 1,000."""
    value = float(octets)
    for unit in ("B", "kB", "MB", "GB"):
        if round(value, 1) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def rate_text(per_second: float) -> str:
    """Return a speed as people read it."""
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.1f}/s"


def duration_text(seconds: float) -> str:
    """Return a time span as people read it: two units at the most."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def count_text(count: int, noun: str) -> str:
    """Return a number with its noun, which takes an s where there are several."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def sum_text(counts: Mapping[str, int]) -> str:
    """Return counts by kind in one line, such as ``3 altered, 1 missing``."""
    return ", ".join(
        f"{count:,} {kind.replace('_', ' ')}" for kind, count in sorted(counts.items()) if count
    )


def cell(value: object) -> object:
    """Return a value as a cell of a CSV file that a spreadsheet may open."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = " ".join(each if isinstance(each, str) else each["step"] for each in value)
    if not isinstance(value, str):
        return value
    # These words come from whoever sent the mail.
    return guard_of(value) + escaped(value)
