"""What a person and a program see: progress, lines, tables, JSON. The only place that prints."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from waystation.cli.text import duration_text, json_line, rate_text, size_text, table_text
from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.progress import Progress as RichProgress

_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""
_EVERY_JSON = 1.0
_FRAME = 0.1
_SPEED_OF = 60.0
"""Seconds of the past that the next ones are expected to be like."""
_PAUSE = 10.0
"""Seconds from which on a wait counts as a pause."""
_LONGEST = 2000
_BEFORE_MARK = 40


class Listener(Protocol):
    """What a command tells, besides its exit code; a ``waystation.progress.Progress`` as well."""

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

    def note(self, folder: str, text: str) -> None:
        """See ``waystation.progress.Progress``."""

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        """See ``waystation.progress.Progress``."""

    def warning(self, text: str) -> None:
        """Something a person must read that concerns no folder."""

    def finding(self, values: dict[str, Any], text: str) -> None:
        """One thing that a check or a comparison found."""

    def say(self, text: str) -> None:
        """A line for people, unless they asked for quiet."""

    def row(self, kind: str, values: dict[str, Any]) -> None:
        """A piece of the result, for programs."""

    def heading(self, text: str) -> None:
        """A line of the result, for people."""

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A part of the result, for people."""

    def error(self, text: str) -> None:
        """What ended the command."""

    def summary(self, outcome: str, exit_code: int, values: dict[str, Any]) -> None:
        """The last word for programs."""

    def close(self) -> None:
        """Leave the terminal as it was found."""


class Counter:
    """How much is done, how fast, and how long the rest takes at that speed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.done = 0
        self.octets = 0
        self.expected = 0
        self._clock = clock
        self._marks: list[tuple[float, int]] = [(clock(), 0)]
        self._began = clock()
        self._paused_until = self._began
        self._has_paused = False

    def add(self, messages: int, size: int) -> None:
        """Count what was done just now."""
        now = self._clock()
        self.done += messages
        self.octets += size
        # Ten marks a second are enough to forget the past in small steps.
        if len(self._marks) > 1 and now - self._marks[-2][0] < _FRAME:
            self._marks.pop()
        self._marks.append((now, self.done))
        while len(self._marks) > 2 and self._marks[1][0] < now - _SPEED_OF:
            del self._marks[0]

    def pause(self, seconds: float) -> None:
        """Take note that nothing will happen for a while."""
        self._paused_until = self._clock() + seconds
        self._has_paused = self._has_paused or seconds >= _PAUSE

    @property
    def pause_left(self) -> float:
        """Seconds until a pause is over; 0 where there is none."""
        return max(0.0, self._paused_until - self._clock())

    @property
    def rate(self) -> float:
        """Messages per second, of late."""
        (first, before), (_, after) = self._marks[0], self._marks[-1]
        # Until now, not until the last mark: a pause makes the rate fall and the rest longer.
        return (after - before) / max(self._clock() - first, 0.001)

    @property
    def rest(self) -> str:
        """How long the rest takes, in words; empty where nobody can know."""
        left = self.expected - self.done
        rate = self.rate
        if self._has_paused:
            # Where there were pauses there will be more: those so far count in.
            rate = self.done / max(self._clock() - self._began, 0.001)
        return duration_text(left / rate) if left > 0 and rate > 0 else ""

    def line(self) -> str:
        """Return all of it in words."""
        of = f" of {self.expected:,}" if self.expected else ""
        parts = [f"{self.done:,}{of} messages", size_text(self.octets), rate_text(self.rate)]
        if self.rest:
            parts.append(f"about {self.rest} left")
        return ", ".join(parts)

    def short(self) -> str:
        """Return all of it in as few columns as possible, each part in a place of its own."""
        total = f"{self.expected:,}" if self.expected else ""
        done = f"{self.done:>{max(len(total), 1)},}" + (f"/{total}" if total else "")
        rest = f"{self.rest} left" if self.rest else ""
        if self.pause_left:
            rest = f"pause {duration_text(self.pause_left)}"
        return f"{done} {size_text(self.octets):>8} {rate_text(self.rate):>7}  {rest:<15}"


class Text:
    """Lines for people on standard error; results on standard output."""

    def __init__(
        self,
        *,
        quiet: bool,
        with_bar: bool = True,
        bar: Bar | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quiet = quiet
        self._clock = clock
        self._counter = Counter(clock)
        self._folder = ""
        self._last = clock()
        has_bar = with_bar and not quiet and sys.stderr.isatty()
        self._bar = (bar or Bar()) if has_bar else None

    def folder(self, name: str, messages: int) -> None:  # noqa: ARG002
        self._folder = plain(name, 60)
        if self._bar is not None:
            self._bar.show(self._folder, self._counter)

    def expect(self, messages: int) -> None:
        self._counter.expected = messages

    def advance(self, messages: int, size: int) -> None:
        self._counter.add(messages, size)
        if self._bar is not None:
            self._bar.show(self._folder, self._counter)
        elif self._clock() - self._last >= _EVERY:
            self._last = self._clock()
            self.say(f"{self._folder}: {self._counter.line()}")

    def waiting(self, seconds: float, reason: str) -> None:
        self._counter.pause(seconds)
        self.say(f"waiting {duration_text(seconds)}: {reason}")

    def alarm(self, folder: str, text: str) -> None:
        self._print(_complaint(folder, None, text))

    def note(self, folder: str, text: str) -> None:
        self.say(f"{plain(folder)}: {text}")

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        self._print(_complaint(folder, uid, text))

    def warning(self, text: str) -> None:
        self._print(f"! {text}")

    def finding(self, values: dict[str, Any], text: str) -> None:  # noqa: ARG002
        self._print(text)

    def say(self, text: str) -> None:
        if not self._quiet:
            self._print(text)

    def row(self, kind: str, values: dict[str, Any]) -> None:
        """Programs ask for JSON."""

    def heading(self, text: str) -> None:
        self.close()
        sys.stdout.write(plain(text, _LONGEST) + "\n")

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.close()
        sys.stdout.write(table_text(titles, rows))
        # What is said afterwards, on standard error, shall come afterwards.
        sys.stdout.flush()

    def error(self, text: str) -> None:
        self._print(f"waystation: {text}")

    def summary(self, outcome: str, exit_code: int, values: dict[str, Any]) -> None:
        """People got their own words already."""

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.print(plain(text, _LONGEST))
        else:
            _tell(text)


class JsonLines:
    """One JSON object a line on standard output; the first key is ``type``."""

    def __init__(self, command: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._command = command
        self._clock = clock
        self._counter = Counter(clock)
        self._folder = ""
        self._last = clock()

    def folder(self, name: str, messages: int) -> None:
        self._folder = name
        self._now("working", {"folder": name, "messages": messages})

    def expect(self, messages: int) -> None:
        self._counter.expected = messages

    def advance(self, messages: int, size: int) -> None:
        self._counter.add(messages, size)
        if self._clock() - self._last < _EVERY_JSON:
            return
        self._last = self._clock()
        values = {
            "folder": self._folder,
            "done": self._counter.done,
            "expected": self._counter.expected,
            "octets": self._counter.octets,
            "per_second": round(self._counter.rate, 1),
        }
        self._now("progress", values)

    def waiting(self, seconds: float, reason: str) -> None:
        self._now("waiting", {"seconds": seconds, "reason": reason})

    def alarm(self, folder: str, text: str) -> None:
        self._now("alarm", {"folder": folder, "text": text})
        _tell(_complaint(folder, None, text))

    def note(self, folder: str, text: str) -> None:
        self._now("note", {"folder": folder, "text": text})

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        self._now("problem", {"folder": folder, "uid": uid, "text": text})
        _tell(_complaint(folder, uid, text))

    def warning(self, text: str) -> None:
        self._now("warning", {"text": text})
        _tell(f"! {text}")

    def finding(self, values: dict[str, Any], text: str) -> None:
        sys.stdout.write(json_line(values))
        _tell(text)

    def say(self, text: str) -> None:
        """People's words are not for programs."""

    def row(self, kind: str, values: dict[str, Any]) -> None:
        sys.stdout.write(json_line({"type": kind, **values}))

    def heading(self, text: str) -> None:
        """Programs get ``row``."""

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Programs get ``row``."""

    def error(self, text: str) -> None:
        self._now("error", {"text": text})
        _tell(f"waystation: {text}")

    def summary(self, outcome: str, exit_code: int, values: dict[str, Any]) -> None:
        known = {"command": self._command, "outcome": outcome, "exit_code": exit_code}
        self._now("summary", known | values)

    def close(self) -> None:
        """Nothing is open."""

    def _now(self, kind: str, values: dict[str, Any]) -> None:
        self.row(kind, values)
        sys.stdout.flush()


def _complaint(folder: str, uid: int | None, text: str) -> str:
    where = plain(folder) + (f" UID {uid}" if uid is not None else "")
    return f"! {where}: {text}"


def _tell(text: str) -> None:
    sys.stderr.write(plain(text, _LONGEST) + "\n")
    sys.stderr.flush()


def point(line: str, at: int) -> None:
    """Show a person a line of theirs on standard error, with a mark under one character."""
    from rich.cells import cell_len

    start = max(0, at - _BEFORE_MARK)
    shown = _plain_line(line[start : start + 2 * _BEFORE_MARK])
    mark = " " * cell_len(shown[: at - start]) + "^"
    sys.stderr.write(f"  {shown}\n  {mark}\n")


def _plain_line(text: str) -> str:
    """Return a text of as many characters that a terminal shows as one line."""
    return "".join(char if char.isprintable() else "?" for char in text)


class Bar:
    """One line at the bottom of a terminal that follows the work."""

    def __init__(self) -> None:
        self._rich: RichProgress | None = None
        self._shown = 0.0

    def show(self, folder: str, counter: Counter) -> None:
        """Show how far the work has come."""
        if self._rich is None:
            self._rich = self._open()
        elif time.monotonic() - self._shown < _FRAME:
            return
        self._shown = time.monotonic()
        self._rich.update(
            self._task,
            total=counter.expected or None,
            completed=counter.done,
            description=folder,
            counter=counter,
        )

    def print(self, text: str) -> None:
        """Write a line above the bar."""
        if self._rich is None:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        else:
            # Nothing in the text is markup: it may come from a server.
            self._rich.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._rich is not None:
            self._rich.stop()
            self._rich = None

    def _open(self) -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
        from rich.table import Column
        from rich.text import Text as RichText

        class Numbers(ProgressColumn):
            """Asks the counter each time, so that a pause shows in rate and rest."""

            def render(self, task: Any) -> RichText:  # noqa: ANN401 - a private class of Rich
                return RichText(task.fields["counter"].short())

        progress = Progress(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            BarColumn(bar_width=14),
            Numbers(table_column=Column(no_wrap=True)),
            console=Console(stderr=True),
            transient=True,
            expand=True,
        )
        self._task = progress.add_task("", total=None, counter=Counter())
        progress.start()
        return progress


class Warnings(logging.Handler):
    """Hands what the house logs as a warning to whoever listens."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(logging.WARNING)
        self._listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one warning."""
        self._listener.warning(record.getMessage())


def conversation() -> logging.Handler:
    """Return what shows the conversation with a server on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    handler.addFilter(lambda record: record.levelno < logging.WARNING)
    return handler


def make(
    command: str | None,
    *,
    as_json: bool,
    quiet: bool,
    with_bar: bool = True,
    bar: Bar | None = None,
) -> Listener:
    """Return the listener for these options; ``bar`` is shown in place of the usual one."""
    return JsonLines(command) if as_json else Text(quiet=quiet, with_bar=with_bar, bar=bar)
