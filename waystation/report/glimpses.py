"""Which charts a report shows, out of the facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from store.transfers import TransferState
from waystation.report.charts import Chart, Series
from waystation.report.facts import SIZE_BOUNDS, moved_by, paused_by, pauses_of, seconds_of
from waystation.report.foreign import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from store.audit import Run
    from waystation.report.facts import Facts, TargetFacts
    from waystation.report.words import Words

_MOST_BARS = 10
_MOST_YEARS = 30
_MOST_RUNS = 24
_AT_SOURCE = ("archived", "skipped", "failed")


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A chart with what is said beside it."""

    chart: Chart
    note: str = ""
    legend: list[tuple[str, str]] = field(default_factory=list)
    """Colour and name."""


def state_names(words: Words) -> dict[str, str]:
    """Return what the states of the ledger are called."""
    return {
        "archived": words.text("archived"),
        "skipped": words.text("skipped"),
        "failed": words.text("failed"),
        "pending": words.text("still to be sent"),
        "sending": words.text("in doubt"),
        "appended": words.text("arrived, not verified"),
        "verified": words.text("verified"),
        "already_there": words.text("was there before"),
        "refused": words.text("refused"),
        "set_aside": words.text("set aside"),
    }


def glimpses(facts: Facts, words: Words) -> list[Glimpse]:
    """Return the charts that have something to show."""
    found = [
        *_by_state(facts, words),
        *_by_folder(facts, words),
        *_by_year(facts, words),
        _sizes(facts, words),
        *_speed(facts, words),
        *(_timeline(each, words) for each in facts.targets if len(each.timeline) > 1),
    ]
    return [glimpse for glimpse in found if not glimpse.chart.is_empty]


def _by_state(facts: Facts, words: Words) -> Iterator[Glimpse]:
    source = shown(facts.source) or words.text("source")
    labels = [source, *(shown(each.target.name) for each in facts.targets)]
    labels = [_without_scheme(label) for label in labels]
    names = state_names(words)
    for title, at_source, of_target, say in (
        (
            words.text("Messages by state"),
            [facts.totals[state] for state in _AT_SOURCE],
            [{each.state.value: each.messages for each in of.states} for of in facts.targets],
            words.number,
        ),
        (
            words.text("Size by state"),
            [facts.octets.get(state, 0) for state in _AT_SOURCE],
            [{each.state.value: each.octets for each in of.states} for of in facts.targets],
            words.size,
        ),
    ):
        series = [
            Series(names[state], state, [count, *(0 for _ in facts.targets)])
            for state, count in zip(_AT_SOURCE, at_source, strict=True)
        ]
        series += [
            Series(names[state], state, [0, *(counts.get(state, 0) for counts in of_target)])
            for state in TransferState
        ]
        series = [each for each in series if any(each.values)]
        chart = Chart(title, _told(labels, series, say), labels, series, say, is_sideways=True)
        yield Glimpse(chart, legend=[(each.colour, each.name) for each in series])


def _by_folder(facts: Facts, words: Words) -> Iterator[Glimpse]:
    for title, key, say in (
        (words.text("Messages by folder"), "archived", words.number),
        (words.text("Size by folder"), "octets", words.size),
    ):
        counts = sorted(
            ((getattr(folder, key), folder.name) for folder in facts.folders),
            key=lambda each: (-each[0], each[1]),
        )
        shown_ones = [each for each in counts[:_MOST_BARS] if each[0]]
        rest = counts[len(shown_ones) :]
        labels = [shown(name) for _, name in shown_ones]
        values = [count for count, _ in shown_ones]
        if sum(count for count, _ in rest):
            labels.append(words.plural("%(n)s other folder", "%(n)s other folders", len(rest)))
            values.append(sum(count for count, _ in rest))
        yield _one(title, labels, values, say, is_sideways=True)


def _by_year(facts: Facts, words: Words) -> Iterator[Glimpse]:
    messages = [(year, count) for year, count, _ in facts.years]
    octets = [(year, count) for year, _, count in facts.years]
    now = int(facts.made_at[:4])
    for title, counts, say in (
        (words.text("Messages by year received"), messages, words.number),
        (words.text("Size by year received"), octets, words.size),
    ):
        years, odd = _years(counts, now, words, say)
        glimpse = _one(title, [str(year) for year, _ in years], [n for _, n in years], say)
        yield Glimpse(glimpse.chart, odd)


def _years(
    counts: list[tuple[int | None, int]], now: int, words: Words, say: Callable[[float], str]
) -> tuple[list[tuple[int, int]], str]:
    """Return the years up to now without a gap, and in words what lies before and after them."""
    dated = {year: count for year, count in counts if year is not None}
    sane = [year for year in dated if year <= now]
    last = max(sane, default=now)
    first = max(min(sane, default=now), last - _MOST_YEARS + 1)
    odd = {
        f"< {first}": sum(count for year, count in dated.items() if year < first),
        f"> {now}": sum(count for year, count in dated.items() if year > now),
        words.text("no date"): sum(count for year, count in counts if year is None),
    }
    told = "; ".join(f"{name}: {say(count)}" for name, count in odd.items() if count)
    return [(year, dated.get(year, 0)) for year in range(first, last + 1)], told


def _sizes(facts: Facts, words: Words) -> Glimpse:
    labels = [f"< {words.size(bound)}" for bound in SIZE_BOUNDS]
    labels.append(f"≥ {words.size(SIZE_BOUNDS[-1])}")
    return _one(words.text("Messages by size"), labels, facts.sizes, words.number, is_sideways=True)


def _speed(facts: Facts, words: Words) -> Iterator[Glimpse]:
    timed = [(run, seconds) for run in facts.runs if (seconds := seconds_of(run)) is not None]
    moving = [(run, seconds) for run, seconds in timed if moved_by(run)][-_MOST_RUNS:]
    per_minute = [60 * (moved_by(run) or 0) / max(1.0, seconds) for run, seconds in moving]
    glimpse = _one(
        words.text("Throughput: messages a minute, run by run"),
        [_run_label(run, words) for run, _ in moving],
        per_minute,
        lambda value: words.number(round(value, 1 if value < 100 else 0)),
        is_sideways=True,
    )
    yield Glimpse(glimpse.chart, words.text("Exports that fetched and imports that sent anything."))
    paused = [run for run, _ in timed if paused_by(run)][-_MOST_RUNS:]
    glimpse = _one(
        words.text("Throttling: minutes of pause that the server asked for, run by run"),
        [_run_label(run, words) for run in paused],
        [paused_by(run) / 60 for run in paused],
        lambda value: words.number(round(value, 1)),
        is_sideways=True,
        colour="paused",
    )
    times = sum(pauses_of(run) for run in paused)
    yield Glimpse(glimpse.chart, words.plural("%(n)s pause in all.", "%(n)s pauses in all.", times))


def _timeline(of: TargetFacts, words: Words) -> Glimpse:
    names = state_names(words)
    say = words.day if of.is_by_day else words.hour
    labels = [say(when) for when, _ in of.timeline]
    series = [
        Series(names[state], state, [counts.get(state, 0) for _, counts in of.timeline])
        for state in TransferState
        if any(counts.get(state) for _, counts in of.timeline)
    ]
    by = words.text("by day") if of.is_by_day else words.text("by hour")
    progress = words.text("Progress at the target")
    title = f"{progress}, {by}: {_without_scheme(of.target.name)}"
    chart = Chart(shown(title), _told(labels, series, words.number), labels, series, words.number)
    return Glimpse(
        chart,
        words.text(
            "When the ledger last noted something of each message: its arrival, or a comparison"
            " after that."
        ),
        [(each.colour, each.name) for each in series],
    )


def _one(
    title: str,
    labels: Sequence[str],
    values: Sequence[float],
    say: Callable[[float], str],
    *,
    is_sideways: bool = False,
    colour: str = "bar",
) -> Glimpse:
    series = [Series(title, colour, values)]
    return Glimpse(
        Chart(title, _told(labels, series, say), labels, series, say, is_sideways=is_sideways)
    )


def _told(labels: Sequence[str], series: Sequence[Series], say: Callable[[float], str]) -> str:
    """Return all values in words, for whoever does not see them."""
    said = []
    for place, label in enumerate(labels):
        values = [(each.name, each.values[place]) for each in series if each.values[place]]
        if len(series) == 1:
            said.append(f"{label}: {say(series[0].values[place])}")
        elif values:
            said.append(f"{label}: " + ", ".join(f"{say(value)} {name}" for name, value in values))
    return "; ".join(said)


def _run_label(run: Run, words: Words) -> str:
    return f"{shown(run.command, 8)} {words.minute(run.started_at)}"


def _without_scheme(name: str) -> str:
    return name.partition("://")[2] or name
