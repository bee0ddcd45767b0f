"""In which line of one table each message stands, by what source, archive and target say of it.

Pure: facts in, verdicts out. Every message stands in exactly one line, by the gravest of its
causes; so the table adds up to all messages that are known.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from store.finding import Cause
from store.transfers import TransferState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.finding import Finding
    from store.index import ArchivedMessage
    from store.transfers import Transfer

Where = Literal["source", "archive", "target"]


class Standing(StrEnum):
    """A line of the table of causes. The gravest comes first."""

    MISSING = "missing"
    """The ledger says that it arrived; the target does not show it."""
    FAILED = "failed"
    """The source lists it and does not hand it out."""
    CONTENT = "content"
    HEADER = "header"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    """It was sent, and no answer came; the next import settles it."""
    NOT_SENT = "not_sent"
    SOURCE_ONLY = "source_only"
    """The source shows it, the archive does not hold it yet."""
    UNSEEN = "unseen"
    """Its place could not be looked at, so that nobody can say."""
    DATE = "date"
    FLAGS = "flags"
    SET_ASIDE = "set_aside"
    LEFT_OUT = "left_out"
    """A filter left it out of the archive, or another folder has it."""
    VANISHED = "vanished"
    """The archive holds it, the source shows it no longer."""
    REPAIRED = "repaired"
    """It is there, and was repaired on the way."""
    EQUAL = "equal"

    @property
    def is_fine(self) -> bool:
        """Whether there is nothing to be said about the message."""
        return self in (Standing.EQUAL, Standing.REPAIRED)

    @property
    def words(self) -> str:
        """What the line is called."""
        return _WORDS[self]


_WORDS = {
    Standing.MISSING: "missing in the target",
    Standing.FAILED: "failed at the source",
    Standing.CONTENT: "content differs",
    Standing.HEADER: "header differs",
    Standing.REFUSED: "refused by the target",
    Standing.IN_DOUBT: "in doubt",
    Standing.NOT_SENT: "not sent yet",
    Standing.SOURCE_ONLY: "only in the source",
    Standing.UNSEEN: "could not be looked at",
    Standing.DATE: "date differs",
    Standing.FLAGS: "flags differ",
    Standing.SET_ASIDE: "set aside",
    Standing.LEFT_OUT: "left out",
    Standing.VANISHED: "vanished from the source",
    Standing.REPAIRED: "there, repaired",
    Standing.EQUAL: "there and equal",
}
_GRAVITY = {standing: number for number, standing in enumerate(Standing)}


@dataclass(frozen=True, slots=True)
class Shut:
    """A folder that could not be compared, in words; ``is_gone``: the server has it no more."""

    text: str
    is_gone: bool


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at one server has shown of one message."""

    was_seen: bool = False
    """Whether its place was looked at. Without that, nothing is called equal."""
    findings: tuple[Finding, ...] = ()
    shut: Shut | None = None
    """What is known of its folder."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the three sides say of one message."""

    message: ArchivedMessage | None
    """None where only the source has it."""
    source: Look | None = None
    """None: the source was not asked."""
    target: Look | None = None
    """The same of the target."""
    transfer: Transfer | None = None
    """What the ledger says of its way into this target; None: nothing yet."""
    looked: str | None = None
    """When an export last looked through the folder; UTC, ISO 8601."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is to be said about a message."""

    standing: Standing
    side: Where
    text: str
    kind: str = ""
    """What messages with this reason share, for a table: the filter, the server's words."""
    differs: bool = True
    """Whether it is news: not what the ledger says already, or what was asked for."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said about one message, the gravest first; never empty."""

    reasons: tuple[Reason, ...]

    @property
    def standing(self) -> Standing:
        """The line of the table that the message stands in."""
        return self.reasons[0].standing

    @property
    def side(self) -> Where:
        """Where that shows."""
        return self.reasons[0].side

    @property
    def kind(self) -> str:
        """What messages in this line share with it."""
        return self.reasons[0].kind

    @property
    def differs(self) -> bool:
        """Whether anything about the message is not as it should be."""
        return any(reason.differs for reason in self.reasons)

    @property
    def text(self) -> str:
        """All of it in one line."""
        return "; ".join(reason.text for reason in self.reasons if reason.text)


def judge(facts: Facts) -> Verdict:
    """Return what is to be said about a message, and so the one line that it stands in."""
    reasons = sorted(_reasons(facts), key=lambda reason: _GRAVITY[reason.standing])
    return Verdict(tuple(reasons) or (_fine(facts),))


def _fine(facts: Facts) -> Reason:
    transfer = facts.transfer
    if facts.target is not None and transfer is not None and transfer.repairs:
        steps = ", ".join(dict.fromkeys(repair.step for repair in transfer.repairs))
        return Reason(Standing.REPAIRED, "target", f"repaired: {steps}", steps, differs=False)
    return Reason(Standing.EQUAL, "archive", "", differs=False)


def _reasons(facts: Facts) -> Iterator[Reason]:
    message = facts.message
    since = f"since {facts.looked}" if facts.looked else "never looked through"
    if message is None:
        text = f"only in the source, {since}; run export"
        yield Reason(Standing.SOURCE_ONLY, "source", text)
        return
    if message.state == "skipped":
        reason = message.reason or "left out"
        yield Reason(Standing.LEFT_OUT, "archive", reason, reason, differs=False)
        return
    if message.state == "failed":
        reason = message.reason or "the source does not hand it out"
        yield Reason(Standing.FAILED, "source", f"failed: {reason}", reason)
        return
    if facts.source is not None:
        yield from _at_source(message, facts.source, since)
    if facts.target is not None:
        yield from _at_target(facts.target, facts.transfer)
    yield from _flags(facts)


def _at_source(message: ArchivedMessage, source: Look, since: str) -> Iterator[Reason]:
    findings = {finding.cause: finding for finding in source.findings}
    is_gone = source.shut is not None and source.shut.is_gone
    if message.last_seen is not None and not source.was_seen:
        text = f"vanished from the source since {message.last_seen}"
        yield Reason(Standing.VANISHED, "source", text.removesuffix(" since "), differs=False)
    elif Cause.VANISHED in findings or (is_gone and not source.was_seen):
        yield Reason(Standing.VANISHED, "source", f"vanished from the source, {since}; run export")
    elif not source.was_seen:
        yield _unseen("source", source)
    else:
        yield from _common("source", source)


def _at_target(target: Look, transfer: Transfer | None) -> Iterator[Reason]:
    state = transfer.state if transfer is not None else TransferState.PENDING
    reply = (transfer.reply if transfer is not None else None) or ""
    if state is TransferState.PENDING:
        yield Reason(Standing.NOT_SENT, "target", f"not sent yet{reply and ': '}{reply}", reply)
    elif state is TransferState.SENDING:
        yield Reason(Standing.IN_DOUBT, "target", "in doubt; run import to settle it")
    elif state is TransferState.REFUSED:
        yield Reason(Standing.REFUSED, "target", f"refused: {reply}", reply)
    elif state is TransferState.SET_ASIDE:
        text = f"set aside: {reply}"
        yield Reason(Standing.SET_ASIDE, "target", text, reply, differs=False)
    elif target.was_seen:
        yield from _common("target", target)
    elif target.shut is not None and target.shut.is_gone:
        text = "missing in the target, with its folder"
        yield Reason(Standing.MISSING, "target", text, "with its folder")
    else:
        yield _unseen("target", target)


def _unseen(side: Where, look: Look) -> Reason:
    why = look.shut.text if look.shut is not None else "its place was not looked at"
    text = f"could not be looked at in the {side}: {why}"
    return Reason(Standing.UNSEEN, side, text, f"in the {side}")


_PLAIN = {
    Cause.MISSING: Standing.MISSING,
    Cause.HEADER: Standing.HEADER,
    Cause.CONTENT: Standing.CONTENT,
}


def _common(side: Where, look: Look) -> Iterator[Reason]:
    """Yield what both sides may have found; flags are judged with both in view."""
    for finding in look.findings:
        if finding.cause in _PLAIN:
            standing = _PLAIN[finding.cause]
            if standing is Standing.MISSING:
                yield Reason(standing, side, finding.text)
            else:
                yield Reason(standing, side, f"{finding.text} (in the {side})", f"in the {side}")
        elif finding.cause is Cause.DATE:
            kind = f"in the {side}"
            if finding.shift is None:
                yield Reason(Standing.DATE, side, f"{finding.text} (in the {side})", kind)
                continue
            by = shift_text(finding.shift)
            text = f"date in the {side} is {by}: {finding.text}"
            yield Reason(Standing.DATE, side, text, f"{kind}, {by}")
        elif finding.cause is Cause.FLAGS:
            if finding.there is None:
                yield Reason(Standing.FLAGS, side, f"{finding.text} (in the {side})")
        else:
            # Found, and contradicted by what the ledger says since: nobody can say.
            yield Reason(Standing.UNSEEN, side, f"{finding.text} (in the {side})")


def _flags(facts: Facts) -> Iterator[Reason]:
    """Yield who has changed which flags since when, by what all three have."""
    message = facts.message
    source, target = _there(facts.source), _there(facts.target)
    if message is None or (source is None and target is None):
        return
    ours = {*message.flags, *message.keywords}
    transfer = facts.transfer
    lost = set(transfer.lost) if transfer is not None else set()
    said = [f"archive has {_listed(ours)}"]
    whose: list[str] = []
    if source is not None:
        said.insert(0, f"source has {_listed(source)}")
        whose.append("changed at the source since the last export")
    if target is not None:
        said.append(f"target has {_listed(target)}")
        if lost:
            said.append(f"which does not keep {_listed(lost)}")
        if target == _brought(transfer, ours) - lost:
            whose.append("changed at the source since it was sent; the next import carries it")
        else:
            whose.append("changed in the target since it was sent")
    side: Where = "source" if target is None else "target"
    kind = " and ".join(words.partition(";")[0] for words in whose)
    yield Reason(Standing.FLAGS, side, f"{', '.join(said)}: {'; '.join(whose)}", kind)


def _there(look: Look | None) -> set[str] | None:
    """Return the flags that a server has, where they are not ours."""
    for finding in look.findings if look is not None and look.was_seen else ():
        if finding.cause is Cause.FLAGS and finding.there is not None:
            return set(finding.there)
    return None


def _brought(transfer: Transfer | None, ours: set[str]) -> set[str]:
    """Return the flags of the source that a target was last brought up to."""
    if transfer is None or transfer.flags is None:
        return ours
    return {*transfer.flags, *(transfer.keywords or ())}


def _listed(flags: set[str]) -> str:
    return " ".join(sorted(flags)) or "none"


_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_FARTHEST_ZONE = 14 * _HOUR
"""Pacific/Kiritimati is 14 hours ahead of UTC, and nobody is farther away."""
_ZONE_STEP = 900


def shift_text(seconds: int) -> str:
    """Return by how much a date differs, in words: ``1 day later``.

    Differences that a wrong time zone explains are told as such. A house may round the second.
    """
    size = abs(seconds)
    later = "later" if seconds > 0 else "earlier"
    if abs(size - round(size / _DAY) * _DAY) <= 1 and size >= _DAY - 1:
        days = round(size / _DAY)
        return f"{days:,} {'day' if days == 1 else 'days'} {later}"
    steps = round(size / _ZONE_STEP)
    if steps and abs(size - steps * _ZONE_STEP) <= 1 and size <= _FARTHEST_ZONE + 1:
        return f"{_span(steps * _ZONE_STEP)} {later}, as by another time zone"
    return f"{_span(size)} {later}"


def _span(seconds: int) -> str:
    """Return a time span in two units at the most, never less than it is by more than a unit."""
    parts = []
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"), (1, "second")):
        count, seconds = divmod(seconds, unit)
        if count:
            parts.append(f"{count:,} {name if count == 1 else name + 's'}")
    return " ".join(parts[:2]) or "0 seconds"


_KINDS = 20
"""So many kinds of one cause are told apart in a table; the words of a server may never end."""
OTHERS = "for other reasons"


@dataclass(slots=True)
class Table:
    """How many messages stand in each line."""

    lines: Counter[Standing] = field(default_factory=Counter)
    kinds: dict[Standing, Counter[str]] = field(default_factory=dict)
    differing: int = 0

    def add(self, verdict: Verdict) -> None:
        """Count a message in the one line that it stands in."""
        self.lines[verdict.standing] += 1
        self.differing += verdict.differs
        kinds = self.kinds.setdefault(verdict.standing, Counter())
        kind = verdict.kind
        kinds[kind if kind in kinds or len(kinds) < _KINDS else OTHERS] += 1

    @property
    def total(self) -> int:
        """All messages."""
        return self.lines.total()

    def rows(self) -> Iterator[tuple[Standing, str, int]]:
        """Yield cause, kind and messages: what is fine first, then by gravity."""
        for standing in reversed(Standing):
            for kind, count in sorted(self.kinds.get(standing, {}).items()):
                yield standing, kind, count
