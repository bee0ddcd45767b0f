"""The whole report as one JSON document, written as it is read; docs/commands.md names its keys."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

from store import audit
from waystation.report.facts import SIZE_BOUNDS
from waystation.report.sheet import case_row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.archive import Archive
    from waystation.report.facts import Facts, TargetFacts
    from waystation.report.verdict import Verdict

VERSION = 1
"""Of the document's form; keys may come without a new one, none goes."""
MARK = '{"waystation_report": '
"""By this a document of ours is known again."""


def write_json(
    stream: TextIO, archive: Archive, facts: Facts, verdict: Verdict, *, with_subjects: bool
) -> int:
    """Write the document; return how many cases it names. Call inside ``Database.atomic``."""
    stream.write(f"{MARK}{VERSION}")
    stream.writelines(
        f",\n{json.dumps(key)}: {_text(value)}" for key, value in _head(facts, verdict).items()
    )
    stream.write(',\n"runs": ')
    _list(stream, (asdict(run) for run in audit.runs(archive.database)))
    stream.write(',\n"verification": ')
    _verification(stream, archive, facts)
    stream.write(',\n"cases": ')
    count = _list(
        stream,
        (
            case_row(case, with_subjects=with_subjects)
            for cases in facts.cases
            for case in audit.cases(archive.database, cases.total)
        ),
    )
    stream.write("}\n")
    return count


def _verification(stream: TextIO, archive: Archive, facts: Facts) -> None:
    if facts.verification is None:
        stream.write("null")
        return
    run = facts.verification.run
    stream.write(f'{{"run": {run.id}, "findings": ')
    _list(stream, (asdict(each) for each in audit.differences(archive.database, run.id)))
    stream.write("}")


def _list(stream: TextIO, values: Iterable[dict[str, Any]]) -> int:
    count = 0
    for value in values:
        stream.write(f"{',' if count else '['}\n{_text(value)}")
        count += 1
    stream.write("]" if count else "[]")
    return count


def _text(value: object) -> str:
    # Only ASCII: what a terminal or another program makes of odd characters is not left to chance.
    return json.dumps(value, ensure_ascii=True)


def _head(facts: Facts, verdict: Verdict) -> dict[str, Any]:
    return {
        "made_at": facts.made_at,
        "made_by": facts.made_by,
        "archive": {
            "name": facts.archive,
            "id": facts.archive_id,
            "created": facts.created,
            "source": facts.source,
        },
        "verdict": {
            "tone": verdict.tone.value,
            "sentence": verdict.sentence,
            "more": list(verdict.more),
        },
        "totals": {
            "messages": facts.messages,
            "on_source": facts.on_source,
            **{
                key: facts.totals[key]
                for key in ("archived", "skipped", "failed", "vanished", "octets")
            },
            "missing": facts.missing,
            "adds_up": not facts.unfinished and not facts.wrong,
        },
        "folders": [{**asdict(each), "adds_up": each.adds_up} for each in facts.folders],
        "targets": [_target(each) for each in facts.targets],
        "by_year": [
            {"year": year, "messages": messages, "octets": octets}
            for year, messages, octets in facts.years
        ],
        "by_size": [
            {"below": bound, "messages": count}
            for bound, count in zip([*SIZE_BOUNDS, None], facts.sizes, strict=True)
        ],
        "seal": None
        if facts.sealed is None
        else {"record": facts.sealed.number, "sha256": facts.sealed.hash, "at": facts.sealed.ended},
        "case_totals": [
            {
                "case": each.total.kind.value,
                "target": each.total.target,
                "messages": each.total.count,
            }
            for each in facts.cases
        ],
    }


def _target(of: TargetFacts) -> dict[str, Any]:
    return {
        "name": of.target.name,
        "states": {
            each.state.value: {"messages": each.messages, "octets": each.octets}
            for each in of.states
        },
        "arrived": of.arrived,
        "compared": of.compared,
        "folders": [
            {"folder": name, "target": where.name, "reasons": list(where.reasons)}
            for name, where in of.folders
        ],
        "timeline": [
            {"when": when, "states": {state.value: count for state, count in states.items()}}
            for when, states in of.timeline
        ],
    }
