"""Many mailboxes into Exchange Online from one process: measured, and killed again and again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from store.archive import Archive
from tests.importer.support import NOON, Mail, mail

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024


@dataclass
class Move:
    """Archives of many mailboxes, and where they are to go."""

    root: Path
    state: Path
    mailboxes: int
    messages: int
    where: dict[str, Any]
    office: subprocess.Popen[str]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start the batch in a process of its own."""
        to = ["--client-id", self.where["client_id"], "--tenant", self.where["tenant"]]
        to += ["--client-secret-env", "APP_SECRET", "--authority", self.where["authority"]]
        to += ["--server", f"localhost:{self.where['port']}", "--ca-file", self.where["ca_file"]]
        listed = ["--list", str(self.root / "list.csv")]
        words = ("batch", "import", str(self.root), *listed, *to, *words, "--json")
        with (self.root / "out.jsonl").open("w") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "waystation", *words],
                stdout=out,
                stderr=subprocess.PIPE,
                env=os.environ | {"APP_SECRET": self.where["client_secret"]},
                text=True,
            )

    def seen(self) -> dict[str, Any]:
        """End the server, and return what it has seen."""
        self.office.terminate()
        self.office.wait(60)
        found: dict[str, Any] = json.loads(self.state.read_text())
        return found

    def rates(self) -> list[float]:
        """Return messages per second of each mailbox, by the log."""
        began: dict[str, datetime] = {}
        ended: dict[str, datetime] = {}
        for line in (self.root / "batch.log").read_text().splitlines():
            at, _, words = line.partition(" ")
            name, _, state = words.partition(": ")
            if state == "working":
                began.setdefault(name, datetime.fromisoformat(at))
            elif state.startswith("done"):
                ended[name] = datetime.fromisoformat(at)
        return [
            self.messages / max((ended[name] - began[name]).total_seconds(), 1) for name in began
        ]

    def complaints(self, seen: dict[str, Any]) -> list[str]:
        """Return what is not as it should be: of all mail, of the bucket, of the ledgers."""
        wanted = {sha256(mail(n)).hexdigest(): 1 for n in range(self.messages)}
        found = []
        for number in range(self.mailboxes):
            box = seen["mailboxes"][f"u{number}@contoso.com"]
            if box["bodies"] != wanted:
                found.append(f"u{number}: {sum(box['bodies'].values())} messages")
            if box["intrusions"]:
                found.append(f"u{number}: {box['intrusions']} commands inside a backoff")
            if box["peak_connections"] > 1:
                found.append(f"u{number}: {box['peak_connections']} connections at once")
            with Archive.read(self.root / f"u{number}") as archive:
                totals = archive.transfers.totals()
            # The model's own target is never sent to.
            states = {
                (state, count)
                for name, _, state, _, count in totals
                if name.startswith("office365:")
            }
            if states != {("appended", self.messages)}:
                found.append(f"u{number}: the ledger says {states}")
        return found


@contextmanager
def move(
    path: Path, mailboxes: int, messages: int, *, burst: float, recharge: float, backoff: float
) -> Iterator[Move]:
    root, state = path / "root", path / "state.json"
    root.mkdir()
    filled = Mail(path / "model")
    with filled.archive:
        for number in range(messages):
            filled.add(mail(number), date=NOON)
    rows = ["mailbox,to"]
    for number in range(mailboxes):
        shutil.copytree(path / "model", root / f"u{number}")
        rows.append(f"u{number},office365:u{number}@contoso.com")
    (root / "list.csv").write_text("\n".join(rows))
    words = [path, state, mailboxes, burst, recharge, backoff]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.batch.office_child", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as office:
        try:
            assert office.stdout is not None
            where = json.loads(office.stdout.readline())
            yield Move(root, state, mailboxes, messages, where, office)
        finally:
            office.kill()


def peak(pid: int) -> float:
    """Return a process's peak memory in MiB; ``ru_maxrss`` begins with that of its parent."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return float(status.partition("VmHWM:")[2].split()[0]) / 1024 if "VmHWM:" in status else 0.0


def measured(moving: Move, *words: str) -> dict[str, float]:
    """Run the batch to its end; return what it took."""
    begun = time.monotonic()
    process = moving.start(*words)
    memory = 0.0
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        memory = max(memory, peak(process.pid))
        time.sleep(0.1)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.stderr is not None
    with process.stderr:
        complaints = process.stderr.read()
    assert process.returncode == 0, complaints[-2000:]
    rates = sorted(moving.rates())
    return {
        "wall": wall,
        "processor": (usage.ru_utime + usage.ru_stime) / wall,
        "memory": memory,
        "slowest": rates[0],
        "median": rates[len(rates) // 2],
    }


def killed(moving: Move, kills: int, seed: int, pause: tuple[float, float]) -> list[str]:
    """Run the batch with so many kills in between; return what is not as it should be."""
    chance = random.Random(seed)
    for _ in range(kills):
        process = moving.start("--rate", "0", "--retry-after", "1")
        try:
            process.wait(chance.uniform(*pause))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
    last = moving.start("--rate", "0", "--retry-after", "1")
    _, complaints = last.communicate(timeout=1200)
    assert last.returncode == 0, complaints
    seen = moving.seen()
    # Whoever is killed knows nothing of a backoff that was told to it.
    return [each for each in moving.complaints(seen) if "backoff" not in each]


def test_each_mailbox_of_a_batch_has_its_own_bucket_and_pauses(tmp_path: Path) -> None:
    with move(tmp_path, 10, 12, burst=5, recharge=1, backoff=4) as moving:
        took = measured(moving, "--rate", "0")
        seen = moving.seen()

        assert moving.complaints(seen) == []
        assert seen["tokens"] == 1
        assert any(box["throttles"] for box in seen["mailboxes"].values())
        assert took["memory"] < 200


def test_a_batch_that_is_killed_comes_to_the_same_end(tmp_path: Path) -> None:
    with move(tmp_path, 6, 25, burst=1000, recharge=50, backoff=1) as moving:
        assert killed(moving, 4, seed=1, pause=(1.0, 3.5)) == []


@pytest.mark.long
def test_a_batch_that_is_killed_twenty_times_comes_to_the_same_end(tmp_path: Path) -> None:
    with move(tmp_path, 40, 60, burst=1000, recharge=50, backoff=1) as moving:
        assert killed(moving, 20, seed=2, pause=(1.5, 5.0)) == []


@pytest.mark.long
def test_five_hundred_mailboxes_keep_their_rates_in_one_process(tmp_path: Path) -> None:
    rate = 0.3
    with move(tmp_path, 500, 40, burst=120, recharge=4, backoff=300) as moving:
        took = measured(moving, "--rate", str(rate), "--total-rate", "0")
        print(json.dumps(took))
        seen = moving.seen()

        assert moving.complaints(seen) == []
        assert seen["tokens"] == 1
        assert took["memory"] < 600
        assert took["processor"] < 1
        assert took["slowest"] > 0.9 * rate
