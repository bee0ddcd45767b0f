"""Clients of our own that do the least that can be done, and so show where the limits are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scripts.benchmark.corpora import Corpus
    from scripts.benchmark.measure import Run
    from scripts.benchmark.stand import Stand

_HERE = Path(__file__).parent


def compiled_drain(stand: Stand) -> Path | None:
    """Return the program that receives and keeps nothing; None where no compiler is."""
    program = stand.work / "drain"
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    if not program.exists():
        subprocess.run([compiler, "-O2", "-o", str(program), str(_HERE / "drain.c")], check=True)
    return program


def drain(stand: Stand, program: Path, wanted: Corpus, octets: int) -> Run:
    """Receive all of INBOX, which has so many octets at least.

    Raises:
        Incomplete: less came.
    """
    return stand.run(str(program), str(stand.port), wanted.user, str(octets))


def append_loop(stand: Stand, files: Path, user: str, count: int, port: int) -> Run:
    """Append some of the files of a directory with imaplib, one after the other.

    Raises:
        Incomplete: not all of them arrived.
    """
    script = str(_HERE / "append_loop.py")
    run = stand.run(sys.executable, script, str(port), user, str(count), str(files))
    stand.demand_count(user, count)
    return run
