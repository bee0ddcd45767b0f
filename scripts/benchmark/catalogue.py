"""All cells by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.benchmark.cells import again, export, memory, pop3, replay
from scripts.benchmark.cells.check import check
from scripts.benchmark.cells.search import search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from scripts.benchmark.bench import Bench
    from scripts.benchmark.table import Table

CELLS: Mapping[str, Callable[[Bench], Iterator[Table]]] = {
    "export-small": export.small,
    "export-small-nosync": export.small_nosync,
    "export-drain": export.drain,
    "export-mixed": export.mixed,
    "export-distance": export.distance,
    "again": again.nothing_new,
    "again-million": again.million,
    "import-small": replay.small,
    "import-folders": replay.folders,
    "import-distance": replay.distance,
    "memory": memory.memory,
    "check": check,
    "pop3": pop3.pop3,
    "search": search,
}

ONLY_WHEN_NAMED = frozenset({"again-million"})
