"""What was measured, for a terminal of 100 columns and as JSON."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from scripts.benchmark.turns import times_as_fast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scripts.benchmark.goals import Goal
    from scripts.benchmark.turns import Series

WIDTH = 100
TITLES = ("", "msgs/s", "wall s", "min-max", "speed", "CPU s", "MB", "durable")


@dataclass(slots=True)
class Table:
    """Series that were measured in turns, what they were to show, and what else is to be said."""

    cell: str
    title: str
    series: list[Series]
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    """Lines that are told as they stand."""

    def named(self, name: str) -> Series | None:
        """Return the series of a contender that ran."""
        return next((each for each in self.series if each.name == name and each.runs), None)

    def lines(self) -> Iterator[str]:
        """Yield it as lines of at most 100 columns; speeds are against the first row."""
        ran = [each for each in self.series if each.runs]
        yield from textwrap.wrap(f"{self.cell}: {self.title}", WIDTH)
        if ran:
            yield from columns([TITLES, *(_row(each, ran[0]) for each in ran)])
        for sentence in (*map(str, self.goals), *self.notes, *self._failures()):
            yield from _wrapped(sentence)
        yield from (f"    {line}" for line in self.details)

    def _failures(self) -> Iterator[str]:
        for each in self.series:
            if each.failure is not None:
                yield f"{each.name} gave up: {each.failure[:300]}"

    def as_json(self) -> dict[str, object]:
        """Return all there is to know of it: seconds, octets, messages in a second."""
        return {
            "cell": self.cell,
            "title": self.title,
            "series": [_figures(each) for each in self.series],
            "goals": [{**asdict(goal), "is_met": goal.is_met} for goal in self.goals],
            "notes": self.notes,
            "details": self.details,
        }


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table as lines; all but its first and its last column are set to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *middle, last in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(middle, widths[1:-1], strict=True)]
        yield f"  {first:{widths[0]}}  {'  '.join(cells)}  {last}".rstrip()


def _row(series: Series, first: Series) -> tuple[str, ...]:
    low, high = series.spread
    return (
        series.name,
        f"{series.rate:,.0f}" if series.messages else "",
        _seconds(series.wall),
        f"{_seconds(low)}-{_seconds(high)}",
        f"{times_as_fast(series, first).value:.2f}",
        _seconds(series.cpu),
        f"{series.peak / 1e6:.1f}",
        series.durable,
    )


def _seconds(count: float) -> str:
    return f"{count:.2f}" if count < 100 else f"{count:.0f}"


def _figures(series: Series) -> dict[str, object]:
    figures = asdict(series)
    if series.runs:
        figures |= {"wall": series.wall, "spread": series.spread, "cpu": series.cpu}
        figures |= {"peak": series.peak, "rate": series.rate if series.messages else None}
    return figures


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, WIDTH, initial_indent="  ", subsequent_indent="    ")
