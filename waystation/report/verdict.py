"""The verdict: what all the numbers come to, in one sentence, honest in every state of an archive.

Pure: numbers in, words out. A sentence that claims that all is well is only said where every
message is accounted for, arrived, and was compared with the target since.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from store.transfers import TransferState
from waystation.report.foreign import shown

if TYPE_CHECKING:
    from waystation.report.facts import Facts, TargetFacts
    from waystation.report.words import Words


class Tone(StrEnum):
    """How a verdict is meant."""

    GOOD = "good"
    """Nothing is left to do or to look at."""
    OPEN = "open"
    """Something is not finished or not verified yet."""
    ATTENTION = "attention"
    """Finished, and some messages are not where they should be; each is named."""
    BAD = "bad"
    """The numbers contradict each other, mostly because messages are missing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the numbers come to."""

    tone: Tone
    sentence: str
    more: tuple[str, ...] = ()
    """A sentence for each target where there are several, and what else must be known."""


def verdict(facts: Facts, words: Words) -> Verdict:
    """Return what is to be said on top."""
    more = list(_warnings(facts, words))
    if len(facts.targets) > 1:
        more[:0] = [
            f"{shown(each.target.name)}: {words.listing(_arrival(each, words))}."
            for each in facts.targets
        ]
    tone = _tone(facts)
    if not facts.messages and not facts.missing:
        return Verdict(tone, _empty(facts, words), tuple(more))
    lead = _lead(facts, words)
    clauses = _clauses(facts, words)
    sentence = f"{lead}: {words.listing(clauses)}." if clauses else f"{lead}."
    return Verdict(tone, sentence, tuple(more))


def _tone(facts: Facts) -> Tone:
    if facts.wrong:
        return Tone.BAD
    if facts.unfinished or not facts.folders:
        return Tone.OPEN
    if any(each.open for each in facts.targets):
        return Tone.OPEN
    if facts.totals["failed"] or any(
        each.count(TransferState.REFUSED, TransferState.SET_ASIDE) for each in facts.targets
    ):
        return Tone.ATTENTION
    if any(each.compared < each.arrived for each in facts.targets):
        return Tone.OPEN
    return Tone.GOOD


def _empty(facts: Facts, words: Words) -> str:
    if not facts.folders:
        return words.text("Nothing is archived yet: no export has come as far as a folder.")
    if facts.unfinished:
        return words.text(
            "Nothing is archived yet: the source has not been looked through to the end."
        )
    return words.text("There is nothing to account for: the source showed no message.")


def _lead(facts: Facts, words: Words) -> str:
    if facts.missing:
        return words.plural(
            "%(n)s message that the source showed is missing here",
            "%(n)s messages that the source showed are missing here",
            facts.missing,
        )
    if facts.wrong:
        return words.plural(
            "The numbers of %(n)s folder do not add up, more is accounted for than the source"
            " showed",
            "The numbers of %(n)s folders do not add up, more is accounted for than the source"
            " showed",
            facts.wrong,
        )
    if facts.unfinished:
        return words.plural(
            "Not finished: %(n)s folder has not been looked through to the end",
            "Not finished: %(n)s folders have not been looked through to the end",
            facts.unfinished,
        )
    if len(facts.targets) == 1 and facts.targets[0].open:
        return words.plural(
            "Not finished: %(n)s message has not been settled at the target",
            "Not finished: %(n)s messages have not been settled at the target",
            facts.targets[0].open,
        )
    unfinished = sum(bool(each.open) for each in facts.targets)
    if unfinished:
        return words.plural(
            "Not finished: %(n)s target has not got all messages",
            "Not finished: %(n)s targets have not got all messages",
            unfinished,
        )
    return words.plural(
        "The one message is accounted for", "All %(n)s messages are accounted for", facts.messages
    )


def _clauses(facts: Facts, words: Words) -> list[str]:
    totals = facts.totals
    clauses = []
    if len(facts.targets) == 1:
        clauses += _arrival(facts.targets[0], words)
    else:
        clauses.append(words.plural("%(n)s is archived", "%(n)s are archived", totals["archived"]))
    if totals["skipped"]:
        clauses.append(
            words.plural(
                "%(n)s was left out on purpose", "%(n)s were left out on purpose", totals["skipped"]
            )
        )
    if totals["failed"]:
        clauses.append(
            words.plural(
                "%(n)s could not be had from the source",
                "%(n)s could not be had from the source",
                totals["failed"],
            )
        )
    if not facts.targets:
        clauses.append(words.text("nothing has been sent to another mailbox"))
    return clauses


def _arrival(target: TargetFacts, words: Words) -> list[str]:
    """Return what became of the archived messages on the way into one target."""
    said = []
    if target.compared or not target.arrived:
        said.append(
            words.plural(
                "%(n)s arrived and was verified", "%(n)s arrived and were verified", target.compared
            )
        )
    unverified = target.arrived - target.compared
    if unverified:
        said.append(
            words.plural(
                "%(n)s arrived and is not verified",
                "%(n)s arrived and are not verified",
                unverified,
            )
        )
    if count := target.count(TransferState.SET_ASIDE):
        said.append(words.plural("%(n)s was set aside", "%(n)s were set aside", count))
    if count := target.count(TransferState.REFUSED):
        said.append(words.plural("%(n)s was refused", "%(n)s were refused", count))
    if count := target.count(TransferState.SENDING):
        said.append(words.plural("%(n)s is still in doubt", "%(n)s are still in doubt", count))
    if count := target.count(TransferState.PENDING):
        said.append(words.plural("%(n)s is still to be sent", "%(n)s are still to be sent", count))
    return said


def _warnings(facts: Facts, words: Words) -> list[str]:
    said = []
    last = facts.runs[-1] if facts.runs else None
    if last is not None and last.outcome != "done":
        # A run without an end may still be at work, or was killed.
        text = {
            "interrupted": words.text("The last run (%(command)s, %(when)s) was interrupted."),
            "failed": words.text("The last run (%(command)s, %(when)s) failed."),
        }.get(
            last.outcome or "",
            words.text("The last run (%(command)s, %(when)s) is still at work, or was killed."),
        )
        said.append(text % {"command": shown(last.command), "when": words.when(last.started_at)})
    gone = facts.totals["vanished"]
    if gone:
        said.append(
            words.plural(
                "%(n)s message is kept here that the source no longer shows.",
                "%(n)s messages are kept here that the source no longer shows.",
                gone,
            )
        )
    return said
