"""The user's folder map: a CSV file of ``SOURCE,TARGET``, read and checked."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from store.archive import Archive
    from waystation.cli.output import Listener

_TOLD = 20
UNKNOWN = "the folder map names it, the archive does not have it"

FolderMapFile = Annotated[
    Path | None,
    typer.Option(
        "--folder-map",
        metavar="FILE.csv",
        help="Lines of SOURCE,TARGET: folders that shall go elsewhere.",
    ),
]


def read_folder_map(file: Path | None) -> Mapping[str, str]:
    """Return the user's folder map out of a CSV file; every problem is told at once."""
    if file is None:
        return {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            wishes, problems = _read_wishes(csv.reader(lines, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{plain(str(file))} cannot be read: {plain(why or '')}.") from None
    if problems:
        raise UsageError(f"{plain(str(file))}: {_listed(problems)}.")
    return wishes


def _read_wishes(rows: Iterable[list[str]]) -> tuple[dict[str, str], list[str]]:
    wishes: dict[str, str] = {}
    problems = []
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if number == 1 and [cell.lower() for cell in cells] == ["source", "target"]:
            continue
        if len(cells) != 2 or not all(cells):
            problems.append(f"line {number} is not SOURCE,TARGET")
        elif cells[0] in wishes:
            problems.append(f"line {number} names {plain(cells[0], 60)} again")
        elif not all(cells[1].split("/")):
            problems.append(f"line {number} gives an empty level in {plain(cells[1], 60)}")
        else:
            wishes[cells[0]] = cells[1]
    return wishes, problems


def tell_unknown(archive: Archive, wishes: Mapping[str, str], listener: Listener) -> None:
    """Name what the folder map names and the archive does not have; it may be a slip."""
    known = {folder.name for folder in archive.index.folders()}
    known |= {name.rpartition("/")[0] for name in known}
    for name in wishes:
        if name not in known and name.upper() != "INBOX":
            listener.alarm(name, UNKNOWN)


def _listed(problems: list[str]) -> str:
    more = f"; and {len(problems) - _TOLD:,} more" if len(problems) > _TOLD else ""
    return "; ".join(problems[:_TOLD]) + more
