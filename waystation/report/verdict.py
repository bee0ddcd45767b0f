"""The verdict: what all the numbers come to, in one sentence, honest in every state of an archive.

Pure: numbers in, words out. A sentence that claims that all is well is only said where every
message is accounted for, arrived, and was compared with the target since, and where no later
verification has found anything that weighs against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from store.standing import Standing
from store.transfers import TransferState
from waystation.report.foreign import shown
from waystation.report.looks import LOST, OTHER, UNARCHIVED, UNSEEN

if TYPE_CHECKING:
    from waystation.report.facts import Facts, TargetFacts
    from waystation.report.looks import Found
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
    more = [*_warnings(facts, words), *_findings(facts, words)]
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
    if facts.totals["failed"] or facts.found_of(*LOST, *OTHER):
        return Tone.ATTENTION
    if any(each.count(TransferState.REFUSED, TransferState.SET_ASIDE) for each in facts.targets):
        return Tone.ATTENTION
    if any(each.compared < each.arrived for each in facts.targets):
        return Tone.OPEN
    if facts.found_of(*UNARCHIVED, *UNSEEN) or any(each.is_old for each in facts.found):
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
    if lost := facts.found_of(*LOST):
        return words.plural(
            "%(n)s message that had arrived is missing in the target",
            "%(n)s messages that had arrived are missing in the target",
            lost,
        )
    if unarchived := facts.found_of(*UNARCHIVED):
        return words.plural(
            "Not finished: %(n)s message is in the source alone",
            "Not finished: %(n)s messages are in the source alone",
            unarchived,
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


def _findings(facts: Facts, words: Words) -> list[str]:
    """Return what the last verifications found, and which of them are too old to say."""
    said = []
    for found in facts.found:
        place = shown(found.target) if found.target is not None else words.text("the source")
        clauses = _found(found, words)
        values = {"place": place, "when": words.when(found.when), "what": words.listing(clauses)}
        if clauses:
            said.append(
                words.text("The last verification (%(when)s) found at %(place)s: %(what)s.")
                % values
            )
        if found.is_old:
            text = (
                words.text(
                    "What a verification found at %(place)s is older than the last export;"
                    " not verified since."
                )
                if found.target is None
                else words.text(
                    "What a verification found at %(place)s is older than the last import;"
                    " not verified since."
                )
            )
            said.append(text % {"place": place})
    return said


def _found(found: Found, words: Words) -> list[str]:
    said = []
    if count := found.count(*LOST):
        said.append(words.plural("%(n)s message missing", "%(n)s messages missing", count))
    if count := found.count(*OTHER):
        said.append(
            words.plural(
                "%(n)s message not as it was archived",
                "%(n)s messages not as they were archived",
                count,
            )
        )
    if count := found.count(*UNARCHIVED):
        said.append(
            words.plural(
                "%(n)s message that the archive does not hold",
                "%(n)s messages that the archive does not hold",
                count,
            )
        )
    if count := found.count(*UNSEEN):
        said.append(
            words.plural(
                "%(n)s message or folder that could not be looked at",
                "%(n)s messages or folders that could not be looked at",
                count,
            )
        )
    if count := found.count(Standing.FLAGS):
        said.append(
            words.plural("%(n)s message with other flags", "%(n)s messages with other flags", count)
        )
    return said
