"""The listener of the work on one mailbox of many: it writes on the board, and obeys the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waystation.batch.run import Ending, State
from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waystation.batch.mailboxes import Mailbox
    from waystation.batch.turn import Turn
    from waystation.cli.board import Board

_SHORT = 2.0
"""Seconds up to which a wait is no pause that anybody wants to see."""


class MailboxListener:
    """The listener of the work on one mailbox; see ``waystation.cli.output.Listener``."""

    def __init__(self, board: Board, mailbox: Mailbox, turn: Turn) -> None:
        self._board = board
        self._mailbox = mailbox
        self._turn = turn
        self._row = board.begins(mailbox)
        self.said = ""
        """The last word for people."""
        self.last: tuple[str, int, dict[str, Any]] = ("failed", 1, {})
        """The summary: outcome, exit code, values."""

    @property
    def ending(self) -> Ending:
        """How the work ended, once it has."""
        outcome, code, values = self.last
        return Ending(code, outcome, self.said, values)

    def folder(self, name: str, messages: int) -> None:  # noqa: ARG002
        self._row.folder = name
        self._turn.check()

    def expect(self, messages: int) -> None:
        with self._board.lock:
            if self._row.counter is not None:
                self._row.counter.expected = messages

    def advance(self, messages: int, size: int) -> None:
        with self._board.lock:
            if self._row.counter is not None:
                self._row.counter.add(messages, size)
        self._turn.did(messages, size)

    def waiting(self, seconds: float, reason: str) -> None:
        if seconds < _SHORT:
            return
        with self._board.lock:
            if self._row.counter is not None:
                self._row.counter.pause(seconds)
        self._board.state(self._mailbox, State.PAUSED, reason, seconds)

    def alarm(self, folder: str, text: str) -> None:
        values = {"folder": folder, "text": text}
        self._board.tell(self._row, "alarm", values, f"{plain(folder)}: {text}", loud=True)

    def note(self, folder: str, text: str) -> None:
        values = {"folder": folder, "text": text}
        self._board.tell(self._row, "note", values, f"{plain(folder)}: {text}", loud=False)

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        values = {"folder": folder, "uid": uid, "text": text}
        where = plain(folder) + (f" UID {uid}" if uid is not None else "")
        self._board.tell(self._row, "problem", values, f"{where}: {text}", loud=True)

    def warning(self, text: str) -> None:
        self._board.tell(self._row, "warning", {"text": text}, text, loud=True)

    def finding(self, values: dict[str, Any], text: str) -> None:
        kind = str(values["type"])
        others = {key: value for key, value in values.items() if key != "type"}
        self._board.tell(self._row, kind, others, text, loud=True)

    def say(self, text: str) -> None:
        self.said = text

    def row(self, kind: str, values: dict[str, Any]) -> None:
        self._board.tell(self._row, kind, values, "", loud=False)

    def heading(self, text: str) -> None:
        """People see one line for each mailbox."""

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """People see one line for each mailbox."""

    def error(self, text: str) -> None:
        """What ends the work on a mailbox is raised."""

    def summary(self, outcome: str, exit_code: int, values: dict[str, Any]) -> None:
        self.last = (outcome, exit_code, values)

    def close(self) -> None:
        """Nothing is open."""
