"""One command, measured from outside: wall, processor time and peak of memory.

Processor time is that of the command and of all it started and waited for; the peak is that of
its largest process, in octets. The peak of the small process that measures, about 10 MB, is the
least that can be told.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = Path(__file__).parents[2]

# A process is born with the memory peak of its parent: so a small one measures, not this one.
_MEASURE = """
import json, os, subprocess, sys, time
began = time.monotonic()
process = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
wall = time.monotonic() - began
with open(sys.argv[1], "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime,
               usage.ru_maxrss], file)
"""


class Incomplete(Exception):  # noqa: N818 - what makes a figure worthless
    """A run failed, or did not bring everything."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took: seconds by the clock, seconds of processor, octets at the peak."""

    wall: float
    cpu: float
    peak: float


def measure(
    command: list[str], told: Path, env: Mapping[str, str], patience: float | None = None
) -> Run:
    """Run a command and return what it took; `told` is a file for the one who measures.

    Raises:
        Incomplete: the command did not end well, or not within `patience`, in seconds.
    """
    # what others have written must not be synced on this one's account
    os.sync()
    told.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _MEASURE, str(told), *command],
        env={**os.environ, **env},
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, words = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired as error:
        _end(process)
        raise Incomplete(f"{' '.join(command)} did not end in {patience:g} s") from error
    except BaseException:
        # whoever interrupts us is not heard by a session of its own
        _end(process)
        raise
    finally:
        if process.stderr is not None:
            process.stderr.close()
    try:
        code, wall, cpu, kibibytes = json.loads(told.read_bytes())
    except (OSError, ValueError):
        code, wall, cpu, kibibytes = process.returncode or 1, 0.0, 0.0, 0
    demand(code == 0, f"{' '.join(command)} ended with {code}: {_tail(words)}")
    return Run(wall, cpu, kibibytes * 1024)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def demand(is_fine: bool, sentence: str) -> None:
    """Give a run up that is not what it should be.

    Raises:
        Incomplete: it is not.
    """
    if not is_fine:
        raise Incomplete(sentence)


def _tail(words: bytes) -> str:
    return words.decode(errors="replace").strip()[-1500:]
