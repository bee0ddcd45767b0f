"""Every message of an archive and, where it was looked at, of its source: judged one by one.

Page by page, so that the memory does not grow with the mailbox.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from store.standing import Facts, Table, Verdict, judge
from waystation.model import split_name
from waystation.selection import EVERYTHING, Choice, Selection, choose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.archive import Archive
    from store.evidence import Evidence, Location, Side
    from store.finding import Finding
    from store.index import ArchivedFolder, ArchivedMessage
    from store.transfers import Target, Transfer

_NOTHING: dict[Side, list[Finding]] = {}


@dataclass(frozen=True, slots=True)
class Judged:
    """One message, and what is to be said about it."""

    folder: str
    uidvalidity: int
    uid: int
    message: ArchivedMessage | None
    """None where only the source has it."""
    verdict: Verdict


@dataclass(slots=True)
class Account:
    """How the messages add up, once all were judged."""

    table: Table = field(default_factory=Table)
    walked: int = 0
    """Rows of the index that were come to."""
    rows: int = 0
    """Rows that the index has by its own count, at the end."""
    unselected: int = 0
    """Of the rows, those that were not asked for."""
    newcomers: int = 0
    """Messages that only the source has."""

    @property
    def adds_up(self) -> bool:
        """Whether every message that is known stands in exactly one line of the table."""
        return (
            self.walked == self.rows
            and self.table.total + self.unselected == self.rows + self.newcomers
        )


def account_for(
    archive: Archive,
    evidence: Evidence,
    target: Target | None,
    account: Account,
    selection: Selection = EVERYTHING,
) -> Iterator[Judged]:
    """Yield every message with its verdict, by folder and location; fill ``account``.

    Args:
        archive: whose ledger is the measure.
        evidence: what the looks at the servers have shown, all of it.
        target: which target was looked at, if any.
        account: the counts; they are whole when the last message was yielded.
        selection: what was looked at. The rest is counted as ``unselected``, and not yielded.
    """
    folders = {folder.name: folder for folder in archive.index.folders()}
    choice = choose(
        selection, [(split_name(each.name), each.special_use) for each in folders.values()]
    )
    looks = archive.index.last_looks()
    for name in sorted({*folders, *evidence.folders()}):
        walk = _Walk(archive, evidence, target, account, choice, looks.get(name))
        for judged in walk.folder(name, folders.get(name)):
            account.table.add(judged.verdict)
            yield judged
    account.rows = archive.index.count()


@dataclass(frozen=True, slots=True)
class _Known:
    """What the ledger and the looks say of the messages of one page."""

    transfers: dict[int, Transfer]
    seen_source: frozenset[int]
    seen_target: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Walk:
    archive: Archive
    evidence: Evidence
    target: Target | None
    account: Account
    choice: Choice
    looked: str | None

    def folder(self, name: str, folder: ArchivedFolder | None) -> Iterator[Judged]:
        """Judge what the index has of a folder and what was found of it, both by location."""
        found = self.evidence.by_location(name)
        ahead = next(found, None)
        pages = self._pages(folder) if folder is not None else iter(())
        for page in pages:
            known = self._known(page)
            for message in page:
                location = (message.uidvalidity, message.uid)
                while ahead is not None and ahead[0] < location:
                    yield self._newcomer(name, *ahead)
                    ahead = next(found, None)
                findings = _NOTHING
                if ahead is not None and ahead[0] == location:
                    findings = ahead[1]
                    ahead = next(found, None)
                judged = self._message(message, findings, known)
                if judged is not None:
                    yield judged
        while ahead is not None:
            yield self._newcomer(name, *ahead)
            ahead = next(found, None)

    def _pages(self, folder: ArchivedFolder) -> Iterator[list[ArchivedMessage]]:
        after = (-1, -1)
        while page := self.archive.index.page(folder.id, after):
            yield page
            after = (page[-1].uidvalidity, page[-1].uid)

    def _known(self, page: list[ArchivedMessage]) -> _Known:
        ids = [message.id for message in page]
        transfers: dict[int, Transfer] = {}
        if self.target is not None:
            some = self.archive.transfers.some(self.target.id, ids)
            transfers = {transfer.message_id: transfer for transfer in some}
        return _Known(
            transfers, self.evidence.seen("source", ids), self.evidence.seen("target", ids)
        )

    def _message(
        self,
        message: ArchivedMessage,
        findings: dict[Side, list[Finding]],
        known: _Known,
    ) -> Judged | None:
        self.account.walked += 1
        flags = (*message.flags, *message.keywords)
        if self.choice.reason(message.folder, message.size, message.internaldate, flags):
            self.account.unselected += 1
            return None
        place = (message.folder, message.uidvalidity)
        look = self.evidence.look
        facts = Facts(
            message,
            look("source", *place, findings, was_seen=message.id in known.seen_source),
            look("target", *place, findings, was_seen=message.id in known.seen_target),
            known.transfers.get(message.id),
            self.looked,
        )
        return Judged(*place, message.uid, message, judge(facts))

    def _newcomer(
        self, name: str, location: Location, findings: dict[Side, list[Finding]]
    ) -> Judged:
        self.account.newcomers += 1
        uidvalidity, uid = location
        look = self.evidence.look("source", name, uidvalidity, findings, was_seen=True)
        return Judged(name, uidvalidity, uid, None, judge(Facts(None, look, looked=self.looked)))
