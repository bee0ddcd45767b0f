"""The page of one archive: facts and words through a template; see ``frame``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from store.audit import CaseKind
from store.transfers import TransferState
from waystation.report import colours, glimpses, seal
from waystation.report.advice import advice
from waystation.report.charts import svg
from waystation.report.facts import seconds_of
from waystation.report.foreign import shown
from waystation.report.frame import environment, tone_text

if TYPE_CHECKING:
    from store.audit import Case, Run
    from store.status import FolderTotals
    from waystation.report.facts import Cases, Facts, TargetFacts
    from waystation.report.verdict import Verdict
    from waystation.report.words import Words

_SOURCE_COLUMNS = ("on_source", "archived", "skipped", "failed", "vanished")
_ALWAYS = ("on_source", "archived")
_MOST_REASONS = 20
_WITHOUT_DETAILS = (CaseKind.VANISHED, CaseKind.DATE_REPLACED)


@dataclass(frozen=True, slots=True)
class _Card:
    value: str
    name: str


def page(
    facts: Facts,
    verdict: Verdict,
    words: Words,
    *,
    companion: str | None,
    is_paper: bool = False,
) -> str:
    """Return the page.

    ``companion`` is the name of the table beside it, where there is one. On paper, each chart
    carries its colours itself.
    """
    tables = [_target_table(facts, each) for each in facts.targets]
    charts = _charts(facts, words, is_paper=is_paper)
    cases = [_case(number, each, words) for number, each in enumerate(facts.cases, 1)]
    maps = [_map(facts, each, words) for each in facts.targets if each.folders]
    parts = {"charts": charts, "map": maps, "verification": facts.verification}
    missing = {anchor for anchor, there in parts.items() if not there}
    template = environment(words).get_template("report.html")
    return template.render(
        facts=facts,
        verdict=verdict,
        tone=tone_text(verdict.tone, words),
        cards=_cards(facts, words),
        contents=_contents(words, missing),
        folders=sorted(facts.folders, key=lambda each: each.adds_up)[: facts.shown_folders],
        more_folders=max(0, len(facts.folders) - facts.shown_folders),
        source_columns=_source_columns(facts, words),
        mark=partial(_mark, facts, words),
        mark_of_all=_mark_of_all(facts, words),
        reasons=_reasons(facts.folders),
        targets=tables,
        state_names=glimpses.state_names(words),
        charts=charts,
        cases=cases,
        companion=companion,
        companion_link=quote(companion or ""),
        maps=maps,
        runs=[_run(each, words) for each in reversed(facts.runs)],
        more_runs=facts.runs_in_all - len(facts.runs),
        seal=seal.lines(facts.sealed, words),
        verification=_verified(facts, words),
        glossary=_glossary(words),
    )


def _cards(facts: Facts, words: Words) -> list[_Card]:
    cards = [
        _Card(words.number(facts.messages), words.text("messages that the source has shown")),
        _Card(words.number(facts.totals["archived"]), words.text("archived")),
        _Card(words.size(facts.totals["octets"]), words.text("of mail archived")),
    ]
    for each in facts.targets:
        name = f" · {each.target.name}" if len(facts.targets) > 1 else ""
        total = facts.totals["archived"]
        cards += [
            _Card(words.share(each.arrived, total), words.text("arrived") + name),
            _Card(words.share(each.compared, total), words.text("arrived and verified") + name),
        ]
    return cards


def _contents(words: Words, missing: set[str]) -> list[tuple[str, str]]:
    found = [
        ("numbers", words.text("The numbers")),
        ("charts", words.text("At a glance")),
        ("cases", words.text("Messages that are not simply fine")),
        ("verification", words.text("The last verification")),
        ("map", words.text("Where folders went")),
        ("runs", words.text("What was run, and when")),
        ("proof", words.text("How to check this yourself")),
        ("words", words.text("What the words mean")),
    ]
    return [(anchor, name) for anchor, name in found if anchor not in missing]


def _source_columns(facts: Facts, words: Words) -> list[dict[str, Any]]:
    names = {
        "on_source": words.text("On the source"),
        "archived": words.text("Archived"),
        "skipped": words.text("Skipped"),
        "failed": words.text("Failed"),
        "vanished": words.text("Vanished since"),
    }
    totals = {**facts.totals, "on_source": facts.on_source}
    return [
        {"key": key, "name": names[key], "total": totals.get(key, 0)}
        for key in _SOURCE_COLUMNS
        if key in _ALWAYS or totals.get(key)
    ]


def _mark(facts: Facts, words: Words, folder: FolderTotals) -> Markup:
    if facts.is_unfinished(folder):
        return _marked("wait", "◷", words.text("not finished"))
    if folder.adds_up:
        return _marked("ok", "✓", words.text("yes"))
    return _marked("wrong", "✗", words.text("no"))


def _mark_of_all(facts: Facts, words: Words) -> Markup:
    if facts.wrong:
        return _marked("wrong", "✗", words.text("no"))
    if facts.unfinished:
        return _marked("wait", "◷", words.text("not finished"))
    return _marked("ok", "✓", words.text("yes"))


def _marked(colour: str, sign: str, text: str) -> Markup:
    return Markup('<span class="mark {}">{} {}</span>').format(colour, sign, text)


def _reasons(folders: list[FolderTotals]) -> list[tuple[str, int]]:
    reasons: Counter[str] = Counter()
    for folder in folders:
        reasons.update(folder.reasons)
    return reasons.most_common(_MOST_REASONS)


def _target_table(facts: Facts, of: TargetFacts) -> dict[str, Any]:
    totals = {state.value: of.count(state) for state in TransferState}
    rows = [
        (folder.name, {state: counts.get(state, 0) for state in totals})
        for folder in facts.folders
        if (counts := folder.targets.get(of.target.name))
    ]
    return {
        "name": of.target.name,
        "states": [state for state, count in totals.items() if count],
        "rows": rows[: facts.shown_folders],
        "totals": totals,
        "reasons": [
            (each.total.kind.value, reason, count)
            for each in facts.cases
            if each.total.target_id == of.target.id
            and each.total.kind in (CaseKind.REFUSED, CaseKind.SET_ASIDE)
            for reason, count in each.details
        ],
    }


def _charts(facts: Facts, words: Words, *, is_paper: bool) -> list[dict[str, Any]]:
    style = colours.on_paper() if is_paper else ""
    return [
        {
            "title": glimpse.chart.title,
            "note": glimpse.note,
            "svg": Markup(svg(glimpse.chart, style)),  # noqa: S704 - ElementTree has escaped it
            "legend": glimpse.legend,
        }
        for glimpse in glimpses.glimpses(facts, words)
    ]


def _case(number: int, of: Cases, words: Words) -> dict[str, Any]:
    kind = of.total.kind
    rows = [_case_row(kind, case, words) for case in of.shown]
    has_details = kind not in _WITHOUT_DETAILS and len(of.details) > 1
    return {
        "anchor": f"case-{number}",
        "advice": advice(kind, words),
        "where": of.total.target or words.text("source"),
        "count": of.total.count,
        "details": of.details if has_details else [],
        "rows": rows,
        "more": of.total.count - len(of.shown),
    }


def _case_row(kind: CaseKind, case: Case, words: Words) -> dict[str, Any]:
    cause = case.detail
    if kind is CaseKind.VANISHED:
        cause = words.when(case.detail) if case.detail else words.text("when is not known")
    elif kind is CaseKind.DATE_REPLACED:
        cause = words.received(case.detail)
    elif kind is CaseKind.DATE_DERIVED:
        cause = case.detail.capitalize()
    return {
        "folder": case.folder,
        "uid": case.uid,
        "internaldate": case.internaldate,
        "size": case.size,
        "sender": case.sender,
        "subject": case.subject,
        "cause": cause,
    }


def _verified(facts: Facts, words: Words) -> dict[str, Any] | None:
    of = facts.verification
    if of is None:
        return None
    sides = {
        "source": words.text("source"),
        "archive": words.text("archive"),
        "target": words.text("target"),
    }
    return {
        "when": of.run.started_at,
        "server": of.run.server,
        "totals": [
            (cause.replace("_", " "), sides.get(side, side), count)
            for cause, side, count in of.totals
        ],
        "rows": [(each, sides.get(each.side, each.side)) for each in of.shown],
        "more": of.count - len(of.shown),
    }


def _map(facts: Facts, of: TargetFacts, words: Words) -> dict[str, Any]:
    rows = [
        (name, where.name, words.listing(where.reasons) if where.reasons else "")
        for name, where in of.folders
    ]
    # What has another name is what somebody looks for.
    rows.sort(key=lambda row: (not row[2], row[0]))
    return {
        "name": of.target.name,
        "rows": rows[: facts.shown_folders],
        "more": max(0, len(rows) - facts.shown_folders),
    }


def _run(run: Run, words: Words) -> dict[str, Any]:
    seconds = seconds_of(run)
    outcomes = {
        "done": (words.text("done"), "ok"),
        "interrupted": (words.text("interrupted"), "look"),
        "failed": (words.text("failed"), "wrong"),
    }
    name, colour = outcomes.get(run.outcome or "", (words.text("no end recorded"), "look"))
    return {
        "began": run.started_at,
        "command": run.command,
        "server": run.server,
        "took": "" if seconds is None else words.span(seconds),
        "outcome": name,
        "colour": colour,
        "counts": ", ".join(
            _count(key, value, words) for key, value in run.totals.items() if value
        ),
    }


def _count(key: str, value: object, words: Words) -> str:
    name = shown(key.replace("_", " "))
    if not isinstance(value, int):
        return f"{name} {shown(str(value))}"
    if key in ("octets", "fetched"):
        return f"{name} {words.size(value)}"
    if key.startswith("seconds"):
        return f"{name} {words.span(value)}"
    return f"{name} {words.number(value)}"


def _glossary(words: Words) -> list[tuple[str, str]]:
    names = glimpses.state_names(words)
    text = words.text
    return [
        (
            names["archived"],
            text("The message is here as a file, octet by octet as the server sent it."),
        ),
        (
            names["skipped"],
            text(
                "Left out on purpose, by a filter or because another folder shows the same message."
            ),
        ),
        (names["failed"], text("The source lists the message and does not hand it out.")),
        (text("Vanished since"), text("The source no longer shows it; the archive keeps it.")),
        (names["pending"], text("Archived, and not sent to this target yet.")),
        (
            names["sending"],
            text("Sent, and the answer was lost; the next import looks before it sends again."),
        ),
        (names["appended"], text("The target took it and said so; not compared since.")),
        (
            names["verified"],
            text("It arrived, and a comparison with the target found it the same."),
        ),
        (names["already_there"], text("The target had the message before.")),
        (names["refused"], text("The target did not take it; its words are in the list.")),
        (names["set_aside"], text("Not sent, for a reason that the list gives.")),
        ("UID", text("The number by which the source's folder knows the message.")),
    ]
