"""What each way of being not simply fine means, and what a person can do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from store.audit import CaseKind

if TYPE_CHECKING:
    from waystation.report.words import Words


class Weight(StrEnum):
    """How much a case matters."""

    LOSS = "loss"
    """A message is not where it should be."""
    OPEN = "open"
    """A later run settles it."""
    NOTE = "note"
    """Worth knowing; nothing is to be done."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to say of one kind of case."""

    weight: Weight
    title: str
    meaning: str
    what_to_do: str


WEIGHTS = {
    CaseKind.FAILED: Weight.LOSS,
    CaseKind.REFUSED: Weight.LOSS,
    CaseKind.IN_DOUBT: Weight.OPEN,
    CaseKind.SET_ASIDE: Weight.LOSS,
    CaseKind.NOT_SENT: Weight.OPEN,
    CaseKind.NOT_VERIFIED: Weight.OPEN,
    CaseKind.FLAGS_BEHIND: Weight.OPEN,
    CaseKind.LOST: Weight.NOTE,
    CaseKind.REPAIRED: Weight.NOTE,
    CaseKind.DATE_REPLACED: Weight.NOTE,
    CaseKind.SKIPPED: Weight.NOTE,
    CaseKind.DATE_DERIVED: Weight.NOTE,
    CaseKind.NO_DATE: Weight.NOTE,
    CaseKind.VANISHED: Weight.NOTE,
}


def advice(kind: CaseKind, words: Words) -> Advice:
    """Return what to say of a kind of case."""
    return Advice(WEIGHTS[kind], *_texts(kind, words))


def _texts(kind: CaseKind, words: Words) -> tuple[str, str, str]:
    match kind:
        case CaseKind.FAILED:
            return (
                words.text("Could not be had from the source"),
                words.text("The source lists these messages and does not hand them out."),
                words.text(
                    "Run “waystation export ARCHIVE” again: each run asks for them anew. If the"
                    " server keeps refusing, open the message in a mail program there, or ask"
                    " whoever runs it to repair the mailbox."
                ),
            )
        case CaseKind.REFUSED:
            return (
                words.text("Refused by the target"),
                words.text(
                    "The target did not take these messages; its own words are the cause. The"
                    " archive holds each unaltered."
                ),
                words.text(
                    "Run “waystation import ARCHIVE” again: each run tries them anew. What is"
                    " refused every time can be opened from the archive with any mail program;"
                    " the file is named in “waystation ledger ARCHIVE --state refused”."
                ),
            )
        case CaseKind.IN_DOUBT:
            return (
                words.text("In doubt"),
                words.text(
                    "The connection ended before the target answered, or it did not say where"
                    " it put the message."
                ),
                words.text(
                    "Run “waystation import ARCHIVE” again: it looks in the target before it"
                    " sends anything twice."
                ),
            )
        case CaseKind.SET_ASIDE:
            return (
                words.text("Set aside"),
                words.text(
                    "These messages were not sent, for the reason given. The archive holds"
                    " each unaltered."
                ),
                words.text(
                    "Too large: raise the limit of the target, or hand the file over in another"
                    " way. Left out by a filter: run the import without it. A file that no longer"
                    " agrees with the index: “waystation check ARCHIVE” says what is wrong."
                ),
            )
        case CaseKind.NOT_SENT:
            return (
                words.text("Not sent yet"),
                words.text("These messages are archived, and no import has sent them."),
                words.text("Run “waystation import ARCHIVE”: it goes on where it stopped."),
            )
        case CaseKind.NOT_VERIFIED:
            return (
                words.text("Arrived, not verified"),
                words.text(
                    "The target said that it took these messages, and no comparison has found"
                    " them the same since; or the last comparison found a difference."
                ),
                words.text(
                    "Run “waystation verify ARCHIVE --target”: it compares each message and names"
                    " each difference."
                ),
            )
        case CaseKind.FLAGS_BEHIND:
            return (
                words.text("Flags changed since"),
                words.text("These messages arrived, and their flags on the source changed later."),
                words.text("The next “waystation import ARCHIVE” carries the change."),
            )
        case CaseKind.LOST:
            return (
                words.text("Arrived without some flags or keywords"),
                words.text("The target does not keep the flags and keywords named here."),
                words.text("Nothing; the archive keeps them."),
            )
        case CaseKind.REPAIRED:
            return (
                words.text("Repaired on the way"),
                words.text(
                    "The target takes no such message as it is, so it was sent with the changes"
                    " named here. The archive holds the original, unaltered."
                ),
                words.text("Nothing; the ledger has the sha256 before and after each change."),
            )
        case CaseKind.DATE_REPLACED:
            return (
                words.text("Sent with another date"),
                words.text(
                    "The archive has no received date for these messages, or one that the target"
                    " does not take; the date named here was sent."
                ),
                words.text("Nothing; the archive keeps what the source said."),
            )
        case CaseKind.SKIPPED:
            return (
                words.text("Left out of the archive on purpose"),
                words.text(
                    "A filter of the export left these messages out, or another folder holds the"
                    " same message."
                ),
                words.text(
                    "If they are wanted: run “waystation export ARCHIVE” without the filter."
                ),
            )
        case CaseKind.DATE_DERIVED:
            return (
                words.text("Date taken from the message"),
                words.text(
                    "The source has no received date, as is usual with POP3, so that of the header"
                    " field named here was taken."
                ),
                words.text("Nothing."),
            )
        case CaseKind.NO_DATE:
            return (
                words.text("No received date"),
                words.text("Neither the source nor the message says when it was received."),
                words.text("Nothing."),
            )
        case CaseKind.VANISHED:
            return (
                words.text("No longer on the source"),
                words.text(
                    "The source showed these messages when they were archived and shows them no"
                    " longer: they were deleted, or moved. The archive keeps them; the cause is"
                    " when they were last seen."
                ),
                words.text("Nothing, if somebody deleted or moved them on purpose."),
            )
