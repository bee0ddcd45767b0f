"""The ledger of one mailbox of many, as one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waystation.cli.text import size_text
from waystation.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Sequence

_ARRIVED = ("appended", "verified", "already_there")


class Collected(Silent):
    """The listener that keeps what 'waystation status' tells of a mailbox, and shows nothing."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: dict[str, Any] = {}
        self.outcome = "not begun"

    @property
    def found(self) -> dict[str, Any]:
        """What is told of the mailbox."""
        counts = ("on_source", "archived", "skipped", "failed", "vanished", "octets")
        targets = self._values.get("targets", {})
        arrived = [sum(states.get(state, 0) for state in _ARRIVED) for states in targets.values()]
        return {
            "mailbox": self._name,
            "state": self.outcome,
            **{key: self._values.get(key) for key in counts},
            "arrived": max(arrived, default=0),
            "targets": targets,
        }

    @staticmethod
    def cells(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
        """Return titles and cells of the rows, for people."""
        titles = ["mailbox", "ledger", "on source", "archived", "failed", "arrived", "size"]
        keys = ("on_source", "archived", "failed", "arrived")
        cells = [
            [
                row["mailbox"],
                row["state"],
                *("-" if row[key] is None else f"{row[key]:,}" for key in keys),
                "-" if row["octets"] is None else size_text(row["octets"]),
            ]
            for row in rows
        ]
        return titles, cells

    def summary(self, outcome: str, exit_code: int, values: dict[str, Any]) -> None:  # noqa: ARG002
        self.outcome = "complete" if outcome == "done" else outcome
        self._values = values

    def warning(self, text: str) -> None:
        """The state says it."""

    def finding(self, values: dict[str, Any], text: str) -> None:
        """There are none."""

    def say(self, text: str) -> None:
        """There is one row for each mailbox."""

    def row(self, kind: str, values: dict[str, Any]) -> None:
        """There is one row for each mailbox."""

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """There is one row for each mailbox."""

    def heading(self, text: str) -> None:
        """There is one row for each mailbox."""

    def error(self, text: str) -> None:
        """Errors are raised."""

    def close(self) -> None:
        """Nothing is open."""
