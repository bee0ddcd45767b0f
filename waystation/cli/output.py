"""What a person and a program see: progress, lines, tables, JSON. The only place that prints."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress as RichProgress

_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""


class Listener(Protocol):
    """What a command tells, besides its result; a ``waystation.progress.Progress`` as well."""

    def folder(self, name: str, messages: int) -> None:
        """See ``waystation.progress.Progress``."""

    def expect(self, messages: int) -> None:
        """See ``waystation.progress.Progress``."""

    def advance(self, messages: int, size: int) -> None:
        """See ``waystation.progress.Progress``."""

    def waiting(self, seconds: float, reason: str) -> None:
        """See ``waystation.progress.Progress``."""

    def alarm(self, folder: str, text: str) -> None:
        """See ``waystation.progress.Progress``."""

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        """See ``waystation.progress.Progress``."""

    def finding(self, values: dict[str, Any], text: str) -> None:
        """One thing that a check or a comparison found."""

    def say(self, text: str) -> None:
        """A line for people, unless they asked for quiet."""

    def row(self, values: dict[str, Any]) -> None:
        """A piece of the result, for programs."""

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A result for people."""

    def error(self, text: str) -> None:
        """What ended the command."""

    def summary(self, values: dict[str, Any]) -> None:
        """The last word for programs."""

    def close(self) -> None:
        """Leave the terminal as it was found."""


class _Counter:
    """How much is done, how fast, and how long the rest takes at that speed."""

    def __init__(self) -> None:
        self.done = 0
        self.octets = 0
        self.expected = 0
        self._marks: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def add(self, messages: int, size: int) -> None:
        self.done += messages
        self.octets += size
        self._marks.append((time.monotonic(), self.done))
        # The speed of the last minute is what the next one can be expected to have.
        while len(self._marks) > 2 and self._marks[1][0] < self._marks[-1][0] - 60:
            del self._marks[0]

    @property
    def rate(self) -> float:
        (first, before), (_, after) = self._marks[0], self._marks[-1]
        # Until now, not until the last mark: a pause makes the rate fall and the rest longer.
        return (after - before) / max(time.monotonic() - first, 0.001)

    @property
    def remaining(self) -> str:
        left = self.expected - self.done
        return duration(left / self.rate) if left > 0 and self.rate > 0 else ""

    def line(self) -> str:
        of = f" of {self.expected:,}" if self.expected else ""
        parts = [f"{self.done:,}{of} messages", size_text(self.octets), f"{self.rate:,.0f}/s"]
        if self.remaining:
            parts.append(f"about {self.remaining} left")
        return ", ".join(parts)


class Text:
    """Lines for people on standard error; results on standard output."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._counter = _Counter()
        self._folder = ""
        self._last = time.monotonic()
        self._bar: _Bar | None = None
        if not quiet and sys.stderr.isatty():
            self._bar = _Bar()

    def folder(self, name: str, messages: int) -> None:  # noqa: ARG002
        self._folder = plain(name, 40)
        if self._bar is not None:
            self._bar.show(self._folder, self._counter)

    def expect(self, messages: int) -> None:
        self._counter.expected = messages

    def advance(self, messages: int, size: int) -> None:
        self._counter.add(messages, size)
        if self._bar is not None:
            self._bar.show(self._folder, self._counter)
        elif time.monotonic() - self._last >= _EVERY:
            self._last = time.monotonic()
            self.say(f"{self._folder}: {self._counter.line()}")

    def waiting(self, seconds: float, reason: str) -> None:
        self.say(f"waiting {seconds:.0f} s: {reason}")

    def alarm(self, folder: str, text: str) -> None:
        self._print(f"! {plain(folder)}: {plain(text, 600)}")

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        where = plain(folder) + (f" UID {uid}" if uid is not None else "")
        self._print(f"! {where}: {plain(text, 600)}")

    def finding(self, values: dict[str, Any], text: str) -> None:  # noqa: ARG002
        self._print(plain(text, 1000))

    def say(self, text: str) -> None:
        if not self._quiet:
            self._print(text)

    def row(self, values: dict[str, Any]) -> None:
        """Programs ask for JSON."""

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.close()
        sys.stdout.write(table_text(titles, rows))

    def error(self, text: str) -> None:
        self._print(f"waystation: {text}")

    def summary(self, values: dict[str, Any]) -> None:
        """People got their own words already."""

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.print(text)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


class JsonLines:
    """One JSON object a line on standard output; the first key is ``type``."""

    def __init__(self) -> None:
        self._counter = _Counter()
        self._folder = ""
        self._last = 0.0

    def folder(self, name: str, messages: int) -> None:
        self._folder = name
        self._write("working", folder=name, messages=messages)

    def expect(self, messages: int) -> None:
        self._counter.expected = messages

    def advance(self, messages: int, size: int) -> None:
        self._counter.add(messages, size)
        if time.monotonic() - self._last >= 1:
            self._last = time.monotonic()
            self._write(
                "progress",
                folder=self._folder,
                done=self._counter.done,
                expected=self._counter.expected,
                octets=self._counter.octets,
                per_second=round(self._counter.rate, 1),
            )

    def waiting(self, seconds: float, reason: str) -> None:
        self._write("waiting", seconds=seconds, reason=reason)

    def alarm(self, folder: str, text: str) -> None:
        self._write("alarm", folder=folder, text=text)
        sys.stderr.write(f"! {plain(folder)}: {plain(text, 600)}\n")

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        self._write("problem", folder=folder, uid=uid, text=text)
        where = plain(folder) + (f" UID {uid}" if uid is not None else "")
        sys.stderr.write(f"! {where}: {plain(text, 600)}\n")

    def finding(self, values: dict[str, Any], text: str) -> None:  # noqa: ARG002
        self.row(values)

    def say(self, text: str) -> None:
        """People's words are not for programs."""

    def row(self, values: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Programs get ``row``."""

    def error(self, text: str) -> None:
        self._write("error", text=text)
        sys.stderr.write(f"waystation: {text}\n")

    def summary(self, values: dict[str, Any]) -> None:
        self.row({"type": "summary", **values})
        sys.stdout.flush()

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, kind: str, **values: Any) -> None:  # noqa: ANN401 - whatever JSON holds
        self.row({"type": kind, **values})
        sys.stdout.flush()


class _Bar:
    """One line at the bottom of a terminal that follows the work."""

    def __init__(self) -> None:
        self._rich: RichProgress | None = None
        self._shown = 0.0

    def show(self, folder: str, counter: _Counter) -> None:
        if self._rich is None:
            self._open()
        if self._rich is None or time.monotonic() - self._shown < 0.1:
            return
        self._shown = time.monotonic()
        self._rich.update(
            self._task,
            total=counter.expected or None,
            completed=counter.done,
            description=folder,
            rest=counter.line(),
        )

    def print(self, text: str) -> None:
        if self._rich is None:
            sys.stderr.write(text + "\n")
        else:
            # Nothing in the text is markup: it may come from a server.
            self._rich.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._rich is not None:
            self._rich.stop()
            self._rich = None

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._rich = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[rest]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._rich.add_task("", total=None, rest="")
        self._rich.start()


def make(*, as_json: bool, quiet: bool, debug: bool) -> Listener:
    """Return the listener for these options, and begin to log the conversation for ``debug``."""
    if debug:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logger = logging.getLogger("waystation")
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    return JsonLines() if as_json else Text(quiet=quiet or debug)


def table_text(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in plain text; numbers are set to the right."""
    from rich.cells import cell_len  # letters of East Asia and emoji are two columns wide

    cells = [list(titles), *([plain(cell, 60) for cell in row] for row in rows)]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(titles))]
    is_number = [
        bool(rows) and all(_is_numeric(row[column]) for row in rows)
        for column in range(len(titles))
    ]
    lines = []
    for row in cells:
        padded = []
        for cell, width, right in zip(row, widths, is_number, strict=True):
            blank = " " * (width - cell_len(cell))
            padded.append(blank + cell if right else cell + blank)
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines) + "\n"


def _is_numeric(cell: str) -> bool:
    return not cell or cell == "-" or cell[0].isdigit()


def size_text(octets: int) -> str:
    """Return a size as people read it, in powers of 1,000."""
    value = float(octets)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration(seconds: float) -> str:
    """Return a time span as people read it: two units at the most."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return (
            f"{seconds // 60} min {seconds % 60:02d} s" if seconds < 600 else f"{seconds // 60} min"
        )
    if seconds < 86_400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3600} h"
