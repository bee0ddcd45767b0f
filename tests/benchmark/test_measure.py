"""A command is measured from outside, and does not outlive an interruption."""

from __future__ import annotations

import os
import select
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from scripts.benchmark.measure import Incomplete, measure

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

_CHILD_AT_WORK = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)
"""


def test_the_processor_time_of_a_child_counts(tmp_path: Path) -> None:
    run = measure([sys.executable, "-c", _CHILD_AT_WORK], tmp_path / "told", {})

    assert run.wall > 0
    assert run.cpu > 0.05


def test_the_peak_is_that_of_the_command_and_in_octets(tmp_path: Path) -> None:
    holding = [sys.executable, "-c", "bytearray(b'x') * 100_000_000"]

    run = measure(holding, tmp_path / "told", {})

    assert 100e6 < run.peak < 200e6


def test_a_command_gets_its_variables(tmp_path: Path) -> None:
    asking = [sys.executable, "-c", "import os; assert os.environ['WORD'] == 'x'"]

    measure(asking, tmp_path / "told", {"WORD": "x"})


def test_a_command_that_fails_is_no_figure_and_its_words_are_kept(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match="ended with 3: no such mailbox"):
        measure(["sh", "-c", "echo no such mailbox >&2; exit 3"], tmp_path / "told", {})


def test_a_command_that_is_not_there_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match="No such file"):
        measure([str(tmp_path / "nothing")], tmp_path / "told", {})


def test_what_is_measured_ends_with_an_interruption(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if pid_file.exists() and pid_file.read_text():
            raise KeyboardInterrupt

    kept = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            measure(["sh", "-c", f"echo $$ > {pid_file}; exec sleep 60"], tmp_path / "told", {})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)

    assert has_ended(int(pid_file.read_text()))


def test_a_command_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match=r"sleep 60 did not end in 0\.2 s"):
        measure(["sleep", "60"], tmp_path / "told", {}, patience=0.2)


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone, or goes right now."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 5)[0])
    finally:
        os.close(descriptor)


def test_the_one_who_measures_is_small(tmp_path: Path) -> None:
    run = measure(["true"], tmp_path / "told", {})

    assert run.peak < 20e6
