"""What is seen of a batch: lines, JSON, a file for others to poll, a log. Used from many threads.

The board knows how each mailbox fares. A mailbox's own listener writes on it, and is where the
work on a mailbox learns that it has to wait or to end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event, RLock, Thread
from typing import TYPE_CHECKING, Any

from waystation.batch.run import State
from waystation.cli.output import Counter as Count
from waystation.cli.text import duration_text, rate_text, size_text
from waystation.errors import StorageError, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TextIO

    from waystation.batch.mailboxes import Mailbox
    from waystation.batch.run import Ending
    from waystation.cli.output import Listener

STATUS = "status.json"
LOG = "batch.log"
_TICK = 1.0
_LINE_EVERY = 10.0
_ROWS_A_TICK = 500
"""Of a long list the status file is written less often."""
_OVER = (State.DONE, State.INCOMPLETE, State.FOUND, State.FAILED)


@dataclass(slots=True)
class Row:
    """How one mailbox fares."""

    mailbox: Mailbox
    state: State = State.WAITING
    text: str = ""
    until: float | None = None
    """When the state ends, by the monotonic clock, where that is known."""
    folder: str = ""
    counter: Count | None = None
    """Of the turn that is under way, or was last."""
    done_before: int = 0
    octets_before: int = 0
    ending: Ending | None = None

    @property
    def done(self) -> int:
        """Messages done so far."""
        return self.done_before + (self.counter.done if self.counter else 0)

    @property
    def octets(self) -> int:
        """Octets done so far."""
        return self.octets_before + (self.counter.octets if self.counter else 0)

    @property
    def expected(self) -> int:
        """Messages to be done, as far as is known."""
        return self.done_before + (self.counter.expected if self.counter else 0)

    @property
    def rate(self) -> float:
        """Messages per second, of late."""
        return self.counter.rate if self.counter and self.state not in _OVER else 0.0

    @property
    def rest(self) -> str:
        """How long the rest takes, in words."""
        return self.counter.rest if self.counter and self.state is State.WORKING else ""

    def seconds(self, now: float) -> float | None:
        """Return the seconds until the state ends."""
        return None if self.until is None else max(0.0, self.until - now)


@dataclass(slots=True)
class Totals:
    """How the whole fares."""

    mailboxes: int = 0
    states: Counter[str] = field(default_factory=Counter)
    done: int = 0
    expected: int = 0
    octets: int = 0
    rate: float = 0.0

    @property
    def over(self) -> int:
        """How many mailboxes have come to their end."""
        return sum(self.states[state.value] for state in _OVER)

    @property
    def rest(self) -> str:
        """How long the rest takes, in words; of mailboxes that have begun."""
        left = self.expected - self.done
        return duration_text(left / self.rate) if left > 0 and self.rate > 0 else ""

    def line(self) -> str:
        """Return all of it in words."""
        of = f" of {self.expected:,}" if self.expected else ""
        parts = [
            f"{self.over:,} of {mailboxes_text(self.mailboxes)}",
            f"{self.done:,}{of} messages",
            size_text(self.octets),
            rate_text(self.rate),
        ]
        if self.rest:
            parts.append(f"about {self.rest} left of what has begun")
        others = [
            f"{self.states[state.value]:,} {state.value}"
            for state in (State.WORKING, State.PAUSED, State.RETRYING, State.CLOSED, State.FAILED)
            if self.states[state.value]
        ]
        return ", ".join(parts + others)


class Board:
    """How all mailboxes fare; see ``waystation.batch.run.Watch``."""

    def __init__(
        self,
        command: str,
        mailboxes: Sequence[Mailbox],
        listener: Listener,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.command = command
        self.lock = RLock()
        self.rows = {mailbox.name: Row(mailbox) for mailbox in mailboxes}
        self.clock = clock
        self.is_live = False
        """Whether a table shows how it goes, and lines need not."""
        self._listener = listener
        self._begun = _now()
        self._log: TextIO | None = None
        self._status: Path | None = None
        self._over = Event()
        self._ticker: Thread | None = None
        self.exit_code: int | None = None
        """How it ended; None while it has not."""
        self.ended_at = 0.0
        """When that was, in seconds since 1970."""

    def open(self, root: Path) -> None:
        """Begin to write the log and the status file, and to tell how it goes.

        Raises:
            StorageError: they cannot be written.
        """
        self._status = root / STATUS
        try:
            file = os.open(root / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NOFOLLOW, 0o600)
        except OSError as error:
            raise StorageError(root / LOG, error) from None
        self._log = os.fdopen(file, "a", encoding="utf-8", errors="backslashreplace")
        self._note("", f"{self.command} of {mailboxes_text(len(self.rows))} begins")
        self._write_status()
        self._ticker = Thread(target=self._tick, name="board", daemon=True)
        self._ticker.start()

    def close(self, exit_code: int) -> None:
        """Write the last word into the files."""
        self._over.set()
        if self._ticker is not None:
            self._ticker.join(5)
        with self.lock:
            self.exit_code, self.ended_at = exit_code, time.time()
            self._note("", f"{self.command} ends with code {exit_code}: {self.totals().line()}")
            self._write_status()
            if self._log is not None:
                with suppress(OSError):
                    self._log.close()
                self._log = None

    def totals(self) -> Totals:
        """Return how the whole fares."""
        with self.lock:
            totals = Totals(len(self.rows))
            for row in self.rows.values():
                totals.states[row.state.value] += 1
                totals.done += row.done
                totals.expected += max(row.expected, row.done)
                totals.octets += row.octets
                totals.rate += row.rate
            return totals

    # What the batch tells

    def state(self, mailbox: Mailbox, state: State, text: str, seconds: float | None) -> None:
        """See ``Watch``."""
        with self.lock:
            row = self.rows[mailbox.name]
            if row.state is state is State.WORKING:
                return
            row.state, row.text = state, text
            row.until = None if seconds is None else self.clock() + seconds
            self._tell(row, seconds)

    def ended(self, mailbox: Mailbox, ending: Ending) -> None:
        """See ``Watch``."""
        with self.lock:
            row = self.rows[mailbox.name]
            row.state, row.text, row.until, row.ending = ending.state, ending.text, None, ending
            more = {"exit_code": ending.exit_code, "outcome": ending.outcome}
            self._tell(row, None, more | {"result": ending.values})

    def leased(self, mailbox: Mailbox, what: str, number: int, worker: str) -> None:
        """Tell programs and the log of a mailbox's lease: ``taken``, ``released`` or ``lost``."""
        with self.lock:
            self._note(mailbox.name, f"lease {number} {what} by {plain(worker)}")
            values = {"mailbox": mailbox.name, "what": what, "lease": number, "worker": worker}
            self._listener.row("lease", values)

    # What the mailboxes tell

    def begins(self, mailbox: Mailbox) -> Row:
        """Return the row of a mailbox whose turn begins."""
        with self.lock:
            row = self.rows[mailbox.name]
            row.done_before, row.octets_before = row.done, row.octets
            row.counter = Count(self.clock)
            return row

    def tell(self, row: Row, kind: str, values: dict[str, Any], text: str, *, loud: bool) -> None:
        """Tell programs something of a mailbox, and the log; where it is loud, people too."""
        with self.lock:
            said = {"mailbox": row.mailbox.name, **values}
            if text:
                self._note(row.mailbox.name, text)
            if loud:
                words = f"! {plain(row.mailbox.name)}: {text}"
                self._listener.finding({"type": kind, **said}, words)
            else:
                self._listener.row(kind, said)

    def _tell(self, row: Row, seconds: float | None, more: dict[str, Any] | None = None) -> None:
        """Tell programs, the log, and of what matters people, that a state has changed."""
        values: dict[str, Any] = {"mailbox": row.mailbox.name, "state": row.state.value}
        if row.text:
            values["text"] = row.text
        if seconds is not None:
            values["seconds"] = round(seconds, 1)
        values |= {"done": row.done, "expected": row.expected, "octets": row.octets}
        values |= more or {}
        wait = "" if seconds is None else f" for {duration_text(seconds)}"
        words = f"{row.state.value}{wait}{': ' if row.text else ''}{row.text}"
        self._note(row.mailbox.name, words)
        if row.state is State.FAILED:
            self._listener.finding(
                {"type": "mailbox", **values}, f"! {plain(row.mailbox.name)}: {row.text}"
            )
            return
        self._listener.row("mailbox", values)
        if row.state is State.RETRYING or row.state in _OVER:
            self._listener.say(f"{plain(row.mailbox.name)}: {words}")

    def _note(self, name: str, text: str) -> None:
        if self._log is None:
            return
        who = f" {plain(name)}" if name else ""
        # A log that cannot be written must not end the work; the ledgers say all that counts.
        with suppress(OSError):
            self._log.write(f"{_now()}{who}: {plain(text, 1500)}\n")
            self._log.flush()

    def _tick(self) -> None:
        told = written = self.clock()
        every = max(_TICK, len(self.rows) / _ROWS_A_TICK)
        while not self._over.wait(_TICK):
            now = self.clock()
            with suppress(OSError), self.lock:
                if now - written >= every:
                    written = now
                    self._write_status()
                totals = self.totals()
                self._listener.row("progress", _totals(totals))
                sys.stdout.flush()
                if now - told >= _LINE_EVERY and not self.is_live:
                    told = now
                    self._listener.say(totals.line())

    def _write_status(self) -> None:
        if self._status is None:
            return
        part = self._status.with_name(f".{self._status.name}.part")
        text = json.dumps(self._snapshot(), ensure_ascii=False, indent=1)
        with suppress(OSError):
            part.unlink(missing_ok=True)
            file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(text + "\n")
            os.replace(part, self._status)  # noqa: PTH105 - whoever reads it has the old or the new

    def _snapshot(self) -> dict[str, Any]:
        now = self.clock()
        wall = datetime.now(UTC)
        return {
            "type": "batch",
            "command": self.command,
            "process": os.getpid(),
            "begun": self._begun,
            "written": _now(),
            "exit_code": self.exit_code,
            **_totals(self.totals()),
            "of": [_of(row, now, wall) for row in self.rows.values()],
        }


def mailboxes_text(count: int) -> str:
    """Return a number of mailboxes in words."""
    return f"{count:,} mailbox" if count == 1 else f"{count:,} mailboxes"


def _totals(totals: Totals) -> dict[str, Any]:
    return {
        "mailboxes": totals.mailboxes,
        "states": dict(totals.states),
        "done": totals.done,
        "expected": totals.expected,
        "octets": totals.octets,
        "per_second": round(totals.rate, 1),
    }


def _of(row: Row, now: float, wall: datetime) -> dict[str, Any]:
    seconds = row.seconds(now)
    until = None if seconds is None else (wall + timedelta(seconds=seconds))
    return {
        "mailbox": row.mailbox.name,
        "directory": row.mailbox.directory,
        "state": row.state.value,
        "text": row.text,
        "until": None if until is None else until.isoformat(timespec="seconds"),
        "folder": row.folder,
        "done": row.done,
        "expected": row.expected,
        "octets": row.octets,
        "per_second": round(row.rate, 1),
        "exit_code": None if row.ending is None else row.ending.exit_code,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
