"""The command line of the bench."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmark import __doc__ as purpose
from scripts.benchmark.bench import Bench
from scripts.benchmark.catalogue import CELLS, ONLY_WHEN_NAMED
from scripts.benchmark.peers import NAMES, Peers
from scripts.benchmark.sizes import FULL, QUICK
from scripts.benchmark.stand import stand
from scripts.benchmark.us import compile_sources
from tests.servers.dovecot import is_available

if TYPE_CHECKING:
    from types import FrameType

    from scripts.benchmark.table import Table

_INTERRUPTED = 130


def main() -> int:
    options = parser().parse_args()
    if options.list:
        for name, cell in CELLS.items():
            only = " (only when named)" if name in ONLY_WHEN_NAMED else ""
            print(f"{name:20} {(cell.__doc__ or '').strip()}{only}")
        return 0
    if not is_available():
        parser().error("needs Dovecot 2.3 (Debian: dovecot-imapd)")
    sizes = QUICK if options.quick else FULL
    if options.rounds:
        sizes = replace(
            sizes, rounds=options.rounds, starts=options.rounds, slow_rounds=options.rounds
        )
    peers = Peers(options.peers, options.imapsync)
    machine = _machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items() if value is not None))
    if peers.absent:
        print(f"not here, or not wanted: {', '.join(peers.absent)}")
    if options.quick:
        print("--quick: smaller than what the goals are stated for")
    signal.signal(signal.SIGTERM, _interrupt)
    compile_sources()
    tables: list[Table] = []
    names = options.only or [name for name in CELLS if name not in ONLY_WHEN_NAMED]
    try:
        with stand(sizes, options.cache) as place:
            place.bandwidth = options.bandwidth and options.bandwidth * 1e6 / 8
            bench = Bench(place, peers, tuple(each / 1000 for each in options.distance or [40]))
            for name in names:
                for table in CELLS[name](bench):
                    print("", *table.lines(), sep="\n", flush=True)
                    tables.append(table)
    except KeyboardInterrupt:
        print("interrupted; all that was started has ended", file=sys.stderr)
        return _INTERRUPTED
    finally:
        if options.json:
            figures = {
                "machine": machine,
                "sizes": asdict(sizes),
                "tables": [table.as_json() for table in tables],
            }
            options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def parser() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    words = (purpose or "").partition(":")[0]
    arguments = argparse.ArgumentParser(
        prog="scripts/bench", description=f"{words}. See docs/benchmarks.md."
    )
    add = arguments.add_argument
    add("--list", action="store_true", help="name the cells and end")
    add("--only", choices=CELLS, action="append", metavar="CELL", help="may be repeated")
    add("--quick", action="store_true", help="smaller corpora, fewer rounds: two minutes")
    add("--rounds", type=_positive, metavar="N", help="rounds of every cell and contender")
    add("--json", type=Path, metavar="FILE", help="write all figures here, too")
    add("--cache", type=Path, metavar="DIR", help="keep the corpora here for the next time")
    add(
        "--distance",
        type=float,
        action="append",
        metavar="MS",
        help="round trip of the cells with a distance, 40 unless said; may be repeated",
    )
    add("--bandwidth", type=float, metavar="MBIT", help="of that line, each way; no limit")
    add(
        "--peers",
        type=_peers,
        default=NAMES,
        metavar="NAMES",
        help=f"only these, with commas: {','.join(NAMES)}; none for nobody",
    )
    add("--imapsync", type=_program, metavar="PATH", help="where imapsync is, to take part")
    return arguments


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _peers(text: str) -> tuple[str, ...]:
    names = () if text == "none" else tuple(text.split(","))
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"{name}: not one of {', '.join(NAMES)}")
    return names


def _program(text: str) -> Path:
    path = Path(text).resolve()
    if not os.access(path, os.X_OK):
        raise argparse.ArgumentTypeError(f"{text}: not a program")
    return path


def _machine() -> dict[str, str | int | float | None]:
    mbsync = shutil.which("mbsync")
    words = mbsync and subprocess.run([mbsync, "--version"], capture_output=True, text=True).stdout
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "mbsync": (words or "").strip() or None,
    }


if __name__ == "__main__":
    sys.exit(main())
