"""The overview of many mailboxes as one page: all of them, with links to a page of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from waystation.errors import StorageError
from waystation.report.frame import environment, tone_text
from waystation.report.many import Need, in_order, totals
from waystation.report.verdict import Tone
from waystation.report.writing import open_text, replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from waystation.report.many import Numbers, Row
    from waystation.report.verdict import Verdict
    from waystation.report.words import Words


@dataclass(frozen=True, slots=True)
class _Step:
    """What is to be done for those mailboxes that need the same."""

    need: Need
    count: int
    title: str
    what_to_do: str


def write_overview(
    path: Path, root: str, rows: Sequence[Row], found: Verdict, words: Words, made_at: str
) -> None:
    """Write the page; what lies at ``path`` is replaced when it is complete.

    Raises:
        StorageError: the file cannot be written.
    """
    ordered = in_order(rows)
    counts = Counter(row.need for row in ordered)
    template = environment(words).get_template("overview.html")
    pieces = template.generate(
        root=root,
        made_by=f"waystation {version('waystation')}",
        made_at=made_at,
        verdict=found,
        tone=tone_text(found.tone, words),
        cards=_cards(len(ordered), totals(ordered), words),
        steps=[
            _Step(need, counts[need], *_advice(need, words))
            for need in Need
            if counts[need] and need is not Need.NOTHING
        ],
        groups=[
            (need, [_cells(row, words) for row in each])
            for need, each in groupby(ordered, key=lambda row: row.need)
        ],
    )
    try:
        with replacing(path) as part, open_text(part) as stream:
            stream.writelines(pieces)
    except OSError as error:
        raise StorageError(path, error) from None


def _cards(count: int, sums: Numbers, words: Words) -> list[tuple[str, str]]:
    cards = [
        (words.number(count), words.text("mailboxes")),
        (words.number(sums.messages), words.text("messages that the sources have shown")),
        (words.number(sums.archived), words.text("archived")),
        (words.size(sums.octets), words.text("of mail archived")),
    ]
    if sums.arrived:
        cards += [
            (words.share(sums.arrived, sums.archived), words.text("arrived")),
            (words.share(sums.compared, sums.archived), words.text("arrived and verified")),
        ]
    return cards


def _cells(row: Row, words: Words) -> dict[str, Any]:
    sign, colour, state = {
        Tone.GOOD: ("✓", "ok", words.text("fine")),
        Tone.OPEN: ("◷", "wait", words.text("open")),
        Tone.ATTENTION: ("!", "look", words.text("look")),
        Tone.BAD: ("✗", "wrong", words.text("wrong")),
    }[row.tone]
    return {
        "name": row.name,
        "link": None if row.page is None else quote(row.page),
        "mark": f"{sign} {state}",
        "colour": colour,
        "numbers": row.numbers,
        "reason": row.reason,
        "step": "" if row.need is Need.NOTHING else _advice(row.need, words)[0],
    }


def _advice(need: Need, words: Words) -> tuple[str, str]:
    """Return what to do, in a few words and in a sentence."""
    text = words.text
    match need:
        case Need.UNREADABLE:
            return text("Mend the archive"), text(
                "The archive cannot be read. “waystation check ARCHIVE” says what is wrong,"
                " “waystation check ARCHIVE --rebuild” makes a new index from the files."
            )
        case Need.WRONG:
            return text("Find what is missing"), text(
                "“waystation batch export” looks through these folders again; should it stay so,"
                " “waystation verify ARCHIVE --source” names the messages."
            )
        case Need.LOST:
            return text("Look at what the verification found"), text(
                "The mailbox's own page names each message that is missing or not as it was"
                " archived."
            )
        case Need.TRIED:
            return text("Mend the cause, and run it again"), text(
                "The last batch could not work on these mailboxes, for the reason given."
                " “waystation doctor SERVER” finds out why nobody is let in; the same batch goes on"
                " with them."
            )
        case Need.BEGIN:
            return text("Begin the export"), text(
                "“waystation batch export ROOT --list FILE.csv” makes their archives."
            )
        case Need.EXPORT:
            return text("Finish the export"), text(
                "“waystation batch export ROOT --list FILE.csv” goes on where it stopped."
            )
        case Need.IMPORT:
            return text("Finish the import"), text(
                "“waystation batch import ROOT --list FILE.csv” goes on where it stopped."
            )
        case Need.LOOK:
            return text("Look at the messages that could not be"), text(
                "The mailbox's own page names each with its cause and what can be done. The next"
                " batch tries them again."
            )
        case Need.VERIFY:
            return text("Verify"), text(
                "“waystation batch verify ROOT --list FILE.csv --target” compares what arrived,"
                " message by message."
            )
        case Need.NOTHING:
            return "", ""
