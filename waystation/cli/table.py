"""The live table of a batch at the bottom of a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waystation.batch.run import State
from waystation.cli.output import Bar
from waystation.cli.text import duration_text, rate_text, size_text
from waystation.errors import plain

if TYPE_CHECKING:
    from rich.console import ConsoleRenderable
    from rich.live import Live

    from waystation.cli.board import Board, Row

_FRAMES = 4
"""A second."""
_ORDER = (State.WORKING, State.PAUSED, State.RETRYING, State.CLOSED, State.FAILED)
_BESIDES = 5
"""Lines of a terminal that are not for mailboxes."""


class Table(Bar):
    """Shows who works, who pauses and for how long, who has failed, and the totals."""

    def __init__(self) -> None:
        super().__init__()
        self._live: Live | None = None

    def open(self, board: Board) -> None:
        """Show the board, until ``close``."""
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        self._live = Live(
            get_renderable=lambda: _picture(board, console.height - _BESIDES),
            console=console,
            refresh_per_second=_FRAMES,
            transient=True,
        )
        board.is_live = True
        self._live.start()

    def print(self, text: str) -> None:
        """Write a line above the table."""
        if self._live is None:
            super().print(text)
        else:
            # Nothing in the text is markup: it may come from a server.
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the table away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _picture(board: Board, lines: int) -> ConsoleRenderable:
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    with board.lock:
        rows = [row for row in board.rows.values() if row.state in _ORDER]
        rows.sort(key=lambda row: _ORDER.index(row.state))
        shown = rows[: max(lines, 1)]
        cells = [_cells(row, board.clock()) for row in shown]
        totals = board.totals()
    table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column("mailbox", no_wrap=True, overflow="ellipsis", ratio=2)
    for title in ("state", "messages", "size", "rate"):
        table.add_column(title, no_wrap=True, justify="left" if title == "state" else "right")
    table.add_column("", no_wrap=True, overflow="ellipsis", ratio=3)
    for each in cells:
        table.add_row(*map(Text, each))
    more = f"… and {len(rows) - len(shown):,} more; " if len(rows) > len(shown) else ""
    return Group(table, Text(more + totals.line()))


def _cells(row: Row, now: float) -> list[str]:
    seconds = row.seconds(now)
    state = row.state.value if seconds is None else f"{row.state.value} {duration_text(seconds)}"
    done = f"{row.done:,}/{row.expected:,}" if row.expected else f"{row.done:,}"
    rest = f"{row.rest} left" if row.rest else ""
    text = plain(row.text or row.folder, 100)
    return [
        plain(row.mailbox.name, 60),
        state,
        done,
        size_text(row.octets),
        rate_text(row.rate) if row.state is State.WORKING else "",
        f"{rest}  {text}" if rest else text,
    ]
