"""A scheduler and workers of dask on the loopback interface, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Spell:
    """So long one worker process had the lease of a mailbox."""

    mailbox: str
    process: int
    taken: float
    left: float | None
    """None: until its process was no more."""


@dataclass
class DaskCluster:
    """The processes, and what they have written down."""

    path: Path
    engine: str
    workers: list[subprocess.Popen[bytes]]

    def trail(self) -> list[tuple[float, int, str, str]]:
        """Return time, process, event and mailbox of all that happened to leases."""
        found = []
        for file in (self.path / "trail").iterdir():
            for line in file.read_text().splitlines():
                at, process, said = line.split(" ", 2)
                words = said.split()  # lease 1 taken: u7
                found.append((float(at), int(process), words[2].rstrip(":"), words[3]))
        return sorted(found)

    def spells(self) -> list[Spell]:
        """Return who had which mailbox from when until when."""
        begun: dict[tuple[int, str], float] = {}
        spells = []
        for at, process, what, mailbox in self.trail():
            if what == "taken":
                assert (process, mailbox) not in begun
                begun[process, mailbox] = at
            else:
                spells.append(Spell(mailbox, process, begun.pop((process, mailbox)), at))
        return spells + [
            Spell(mailbox, process, at, None) for (process, mailbox), at in begun.items()
        ]


@contextmanager
def dask_cluster(
    path: Path,
    workers: int,
    environment: Mapping[str, str],
    *words: str,
    threads: int = 4,
    homes: Sequence[Path] = (),
) -> Iterator[DaskCluster]:
    """Start a cluster; ``words`` go to scheduler and workers alike.

    With ``homes`` each worker is a machine of its own, by its address and its home directory.
    """
    (path / "trail").mkdir(parents=True)
    file = path / "scheduler.json"
    scheduler = ["--port", "0", "--no-dashboard", "--no-show", "--scheduler-file", str(file)]
    worker = ["--no-nanny", "--nthreads", str(threads), "--no-dashboard"]
    worker += ["--local-directory", str(path / "scratch"), "--scheduler-file", str(file)]
    worker += ["--preload", str(ROOT / "tests" / "batch" / "trail.py")]
    around = {**os.environ, **environment, "TRAIL": str(path / "trail")}
    with ExitStack() as stack:
        log = stack.enter_context((path / "dask.log").open("wb"))

        def start(number: int, *command: str) -> subprocess.Popen[bytes]:
            home = {"HOME": str(homes[number])} if homes else {}
            host = f"127.0.0.{number + 1 if homes else 1}"
            process = subprocess.Popen(
                [sys.executable, "-m", *command, "--host", host, *words],
                cwd=path,
                env=around | home,
                stderr=log,
                stdout=log,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        first = start(0, "distributed.cli.dask_scheduler", *scheduler)
        until = time.monotonic() + 30
        while not file.exists() and time.monotonic() < until:
            assert first.poll() is None, (path / "dask.log").read_text()
            time.sleep(0.02)
        others = [start(n, "distributed.cli.dask_worker", *worker) for n in range(workers)]
        yield DaskCluster(path, _address(file), others)


def _address(file: Path) -> str:
    import json

    address: str = json.loads(file.read_text())["address"]
    return address.replace("tcp://", "dask://").replace("tls://", "dask+tls://")
