"""The verdict on many mailboxes: what each one needs next, and what all of them come to.

Pure: numbers in, words out. Of a mailbox the verdict of its own report counts; what the last batch
said of it is told with it where no later run has made that old.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from store.transfers import TransferState
from waystation.report.foreign import shown
from waystation.report.looks import LOST, OTHER
from waystation.report.verdict import Tone, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waystation.report.facts import Facts
    from waystation.report.words import Words


class Need(StrEnum):
    """What has to be done for a mailbox; the most pressing comes first."""

    UNREADABLE = "unreadable"
    """Its archive cannot be read."""
    WRONG = "wrong"
    """Its numbers contradict each other."""
    LOST = "lost"
    """A verification has found messages missing or changed."""
    TRIED = "tried"
    """The last batch could not work on it."""
    BEGIN = "begin"
    """There is no archive yet."""
    EXPORT = "export"
    """The source has not been looked through to the end."""
    IMPORT = "import"
    """A target has not got all messages."""
    LOOK = "look"
    """Done as far as can be; some messages could not be had or sent."""
    VERIFY = "verify"
    """What arrived was not compared since."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Last:
    """What the last batch said of a mailbox."""

    command: str
    has_failed: bool
    text: str
    when: str
    """When that was written, as the index keeps times."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """How much of a mailbox is where; sums for all of them."""

    messages: int = 0
    """How many the source has ever shown."""
    archived: int = 0
    octets: int = 0
    arrived: int = 0
    """In the target that has most."""
    compared: int = 0
    """How many of these a comparison found the same."""

    def plus(self, other: Numbers) -> Numbers:
        """Return the sums."""
        return Numbers(
            self.messages + other.messages,
            self.archived + other.archived,
            self.octets + other.octets,
            self.arrived + other.arrived,
            self.compared + other.compared,
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One mailbox."""

    name: str
    tone: Tone
    need: Need
    reason: str
    numbers: Numbers | None
    """None where nothing is known."""
    page: str | None = None
    """Where its own report is, relative to the overview."""
    is_sent: bool = True
    """Whether an import has begun, as far as that can be known."""


def row_of(name: str, page: str, facts: Facts, verdict: Verdict, last: Last | None) -> Row:
    """Return the row of a mailbox that has an archive."""
    most = max(facts.targets, key=lambda each: each.arrived, default=None)
    numbers = Numbers(
        facts.messages,
        facts.totals["archived"],
        facts.totals["octets"],
        most.arrived if most is not None else 0,
        most.compared if most is not None else 0,
    )
    if last is not None and facts.runs and facts.runs[-1].started_at > last.when:
        last = None  # something was run since
    need = _need(facts, verdict, last)
    tone, reason = verdict.tone, verdict.sentence
    if need is Need.TRIED and last is not None:
        tone, reason = Tone.ATTENTION, f"{shown(last.command)}: {shown(last.text)} {reason}"
    return Row(name, tone, need, reason, numbers, page, is_sent=bool(facts.targets))


def row_of_none(name: str, last: Last | None, words: Words) -> Row:
    """Return the row of a mailbox that has no archive yet."""
    text = words.text("There is no archive yet.")
    if last is None or not last.has_failed:
        return Row(name, Tone.OPEN, Need.BEGIN, text, None)
    reason = f"{shown(last.command)}: {shown(last.text)} {text}"
    return Row(name, Tone.ATTENTION, Need.TRIED, reason, None)


def row_of_unreadable(name: str, why: str) -> Row:
    """Return the row of a mailbox whose archive cannot be read."""
    return Row(name, Tone.BAD, Need.UNREADABLE, shown(why), None)


def beside_others(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, seen beside each other.

    Where some have been sent to another mailbox, one that has not been is not done with.
    """
    if not any(row.is_sent and row.numbers is not None for row in rows):
        return list(rows)
    return [
        replace(row, tone=Tone.OPEN, need=Need.IMPORT)
        if row.need is Need.NOTHING and not row.is_sent
        else row
        for row in rows
    ]


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with what is most pressing on top, in the order of the list otherwise."""
    pressing = {need: number for number, need in enumerate(Need)}
    return sorted(rows, key=lambda row: pressing[row.need])


def totals(rows: Sequence[Row]) -> Numbers:
    """Return the sums of all mailboxes."""
    sums = Numbers()
    for row in rows:
        sums = sums.plus(row.numbers or Numbers())
    return sums


def verdict_on(rows: Sequence[Row], words: Words, more: Sequence[str] = ()) -> Verdict:
    """Return what is to be said on top."""
    counts = Counter(row.tone for row in rows)
    order = (Tone.BAD, Tone.ATTENTION, Tone.OPEN, Tone.GOOD)
    tone = next((each for each in order if counts[each]), Tone.OPEN)
    if tone is Tone.GOOD:
        lead = words.plural(
            "The one mailbox is accounted for", "All %(n)s mailboxes are accounted for", len(rows)
        )
        clauses = _numbers(totals(rows), words)
    else:
        lead = words.plural(
            "%(part)s of %(n)s mailbox is accounted for",
            "%(part)s of %(n)s mailboxes are accounted for",
            len(rows),
            part=words.number(counts[Tone.GOOD]),
        )
        clauses = _open(counts, words)
    return Verdict(tone, f"{lead}: {words.listing(clauses)}.", tuple(more))


def not_ended(command: str, begun: str, words: Words) -> str:
    """Return what is to be said of a last batch that has not written its end."""
    text = words.text("The last batch (%(command)s, %(when)s) is still at work, or was killed.")
    return text % {"command": shown(command), "when": words.when(begun)}


def _need(facts: Facts, verdict: Verdict, last: Last | None) -> Need:
    if facts.wrong or any(folder.is_wrong for folder in facts.folders):
        return Need.WRONG
    if facts.found_of(*LOST, *OTHER):
        return Need.LOST
    if last is not None and last.has_failed:
        return Need.TRIED
    if facts.unfinished or not facts.folders:
        return Need.EXPORT
    if any(each.open for each in facts.targets):
        return Need.IMPORT
    of_targets = (TransferState.REFUSED, TransferState.SET_ASIDE)
    if facts.totals["failed"] or any(each.count(*of_targets) for each in facts.targets):
        return Need.LOOK
    return Need.NOTHING if verdict.tone is Tone.GOOD else Need.VERIFY


def _numbers(sums: Numbers, words: Words) -> list[str]:
    said = [words.plural("%(n)s message is archived", "%(n)s messages are archived", sums.archived)]
    if sums.compared:
        said.append(
            words.plural(
                "%(n)s arrived and was verified", "%(n)s arrived and were verified", sums.compared
            )
        )
    if not sums.arrived:
        said.append(words.text("nothing has been sent to another mailbox"))
    return said


def _open(counts: Counter[Tone], words: Words) -> list[str]:
    said = []
    if count := counts[Tone.BAD]:
        said.append(
            words.plural(
                "in %(n)s something is missing or wrong",
                "in %(n)s something is missing or wrong",
                count,
            )
        )
    if count := counts[Tone.ATTENTION]:
        said.append(words.plural("%(n)s needs a look", "%(n)s need a look", count))
    if count := counts[Tone.OPEN]:
        said.append(
            words.plural(
                "%(n)s is not finished or not verified yet",
                "%(n)s are not finished or not verified yet",
                count,
            )
        )
    return said
