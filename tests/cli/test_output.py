"""Tables, numbers and the bar, as they look."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Server, letter
from waystation.cli.onward import Onward
from waystation.cli.output import Counter, JsonLines, Text
from waystation.cli.text import duration_text, escaped, json_line, size_text, table_text

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_rest_takes_as_long_as_the_last_minute_says() -> None:
    clock = Clock()
    counter = Counter(clock)
    counter.expected = 10_000
    for second in range(1, 101):
        clock.now = second
        counter.add(50 if second <= 20 else 10, 1000)

    assert round(counter.rate) == 10
    assert counter.rest == "13 min"


def test_a_pause_makes_the_rest_longer() -> None:
    clock = Clock()
    counter = Counter(clock)
    counter.expected = 200
    clock.now = 10
    counter.add(100, 1000)
    assert counter.rest == "10 s"

    clock.now = 40

    assert counter.rest == "40 s"


def test_without_a_known_end_there_is_no_rest() -> None:
    counter = Counter(Clock())
    counter.add(5, 1000)

    assert counter.rest == ""
    assert "left" not in counter.line()


def test_one_piece_of_work_after_the_other_is_one_progress(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    onward = Onward(JsonLines("verify", clock))
    for _ in range(2):
        onward.expect(10)
        for _ in range(10):
            clock.now += 2
            onward.advance(1, 100)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["done"], line["expected"]) for line in lines[8:11]] == [
        (9, 10),
        (10, 10),
        (11, 20),
    ]
    assert (lines[-1]["done"], lines[-1]["expected"]) == (20, 20)


def test_no_amount_of_work_fills_the_memory_of_the_counter() -> None:
    clock = Clock()
    counter = Counter(clock)
    for step in range(100_000):
        clock.now = step / 1000
        counter.add(1, 1)

    assert len(counter._marks) < 700


@pytest.mark.parametrize(
    ("octets", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (10**13, "10.0 TB")],
)
def test_a_size_as_people_read_it(octets: int, text: str) -> None:
    assert size_text(octets) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"), (59.6, "1 min 00 s"), (61, "1 min 01 s"), (1200, "20 min"),
        (3600, "1 h 00 min"), (90_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_a_span_as_people_read_it(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_wide_letters_take_two_columns_in_a_table() -> None:
    table = table_text(["folder", "n"], [["日本", "1"], ["abcd", "22"]])

    assert table == "folder   n\n日本     1\nabcd    22\n"


def test_a_cell_cannot_forge_a_line() -> None:
    table = table_text(["folder"], [["a\nb\x1b[31m\u202e"]])

    assert table == "folder\na?b?[31m?\n"


def test_a_line_of_json_is_one_line_whatever_is_in_it() -> None:
    values = {"type": "x", "name": "é\u2028\x1b\x7f\x9b日\udcff"}

    line = json_line(values)

    assert line.count("\n") == 1
    assert line.strip().isprintable()
    assert json.loads(line) == values
    assert escaped("plain é") == "plain é"


def test_plain_progress_comes_every_ten_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    listener = Text(quiet=False, clock=clock)
    listener.expect(100)
    listener.folder("INBOX\x1b", 100)
    for second in range(31):
        clock.now = second
        listener.advance(1, 1000)
    listener.waiting(3, "the line broke")

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("INBOX?: 11 of 100 messages, 11.0 kB, 1.1/s, about 1 min")
    assert lines[3] == "waiting 3 s: the line broke"


def test_progress_for_programs_comes_every_second(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    clock.now = 100
    listener = JsonLines("export", clock)
    listener.expect(100)
    listener.folder("INBOX", 100)
    for tick in range(30):
        clock.now = 100 + tick / 10
        listener.advance(1, 1000)
    listener.waiting(3, "the line broke")
    listener.warning("odd")

    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    kinds = [line["type"] for line in lines]
    assert kinds == ["working", "progress", "progress", "waiting", "warning"]
    assert lines[2] == {
        "type": "progress", "folder": "INBOX", "done": 21, "expected": 100, "octets": 21_000,
        "per_second": 10.5,
    }  # fmt: skip
    assert err == "! odd\n"


def test_at_a_terminal_a_bar_follows_the_work(old: Server, archive: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    termios = pytest.importorskip("termios")
    for number in range(10, 1300):
        old.mailbox.folder("INBOX").append(letter(number))
    terminal, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-m", "waystation", "export", archive, *old.source],
        stdin=subprocess.DEVNULL,
        stdout=child,
        stderr=child,
        env=environment | {"TERM": "xterm"},
    ) as process:
        os.close(child)
        shown = _all_of(terminal)

    assert process.returncode == 0
    assert re.search(r"INBOX.*\d/1,297 .*/s", shown)
    assert "4 folders: 1,297 new messages" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")  # the cursor is back


def _all_of(terminal: int) -> str:
    parts = []
    try:
        while piece := os.read(terminal, 65_536):
            parts.append(piece)
    except OSError as error:
        if error.errno != errno.EIO:  # Linux says so when the other side has closed
            raise
    finally:
        os.close(terminal)
    return b"".join(parts).decode()


def test_a_pause_counts_down_and_pauses_so_far_make_the_rest_longer() -> None:
    now = 0.0
    counter = Counter(lambda: now)
    counter.expected = 200
    for _ in range(100):
        now += 1
        counter.add(1, 100)
    assert counter.rest == "1 min 40 s"

    counter.pause(300)
    now += 30
    assert "pause 4 min 30 s" in counter.short()
    now += 270
    for _ in range(60):
        now += 1
        counter.add(1, 100)

    assert "pause" not in counter.short()
    assert counter.rest == "1 min 55 s"
