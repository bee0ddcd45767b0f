"""What has become of each message, from the answers to the ledger, the totals and the listener."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from store.transfers import Transfer, TransferState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importer.job import Job
    from importer.placing import OpenFolder
    from store.index import ArchivedMessage
    from waystation.wire import Tagged


@dataclass(slots=True)
class Outcomes:
    """Outcomes that are known, until ``record`` has made them durable."""

    job: Job
    waiting: list[Transfer] = field(default_factory=list)

    def record(self, intents: Sequence[Transfer] = ()) -> None:
        """Make the outcomes durable, and the intents to send more in the same step."""
        self.job.archive.transfers.record(intents, self.waiting)
        self.waiting.clear()

    def appended(
        self, folder: OpenFolder, message: ArchivedMessage, intent: Transfer, answer: Tagged
    ) -> int | None:
        """Note that the target took a message; return its UID, if that is known and believed."""
        place = folder.take(message.id, answer.appenduid)
        self._taken(folder, message, intent, answer, place)
        return None if place is None else place[1]

    def all_appended(
        self,
        folder: OpenFolder,
        sent: Sequence[tuple[ArchivedMessage, Transfer]],
        answer: Tagged,
    ) -> None:
        """Note that the target took all messages of one command."""
        ids = [message.id for message, _ in sent]
        places = folder.take_all(ids, answer.appenduids(len(ids)))
        for (message, intent), place in zip(sent, places, strict=True):
            self._taken(folder, message, intent, answer, place)

    def _taken(
        self,
        folder: OpenFolder,
        message: ArchivedMessage,
        intent: Transfer,
        answer: Tagged,
        place: tuple[int, int] | None,
    ) -> None:
        job = self.job
        job.refusals.taken(folder.name)
        job.steps += 1
        job.result.appended += 1
        job.result.octets += message.size or 0
        job.result.repaired += bool(intent.repairs)
        job.progress.advance(1, message.size or 0)
        job.trouble.forget(message.id)
        uidvalidity, uid = place or (intent.uidvalidity, None)
        self.waiting.append(
            replace(
                intent,
                state=TransferState.APPENDED,
                reply=answer.reply,
                uidvalidity=uidvalidity,
                uid=uid,
            )
        )

    def not_sent(self, intent: Transfer, reply: str | None = None) -> None:
        """Note that a message is not in the target, which is certain, and is to be sent again."""
        self.waiting.append(intent.undone(reply))

    def refused(self, message: ArchivedMessage, intent: Transfer, reply: str) -> None:
        """Note that the target does not take a message."""
        self.not_sent(intent, reply)
        self.waiting[-1] = replace(self.waiting[-1], state=TransferState.REFUSED)
        self.job.done.add(message.id)
        self.job.result.refused += 1
        self.job.steps += 1
        self.job.progress.problem(message.folder, message.uid, reply)

    def set_aside(self, message: ArchivedMessage, name: str, reason: str) -> None:
        """Note that a message is not to be sent, and why."""
        self.waiting.append(
            Transfer(message.id, self.job.target.id, TransferState.SET_ASIDE, name, reply=reason)
        )
        self.job.done.add(message.id)
        self.job.result.set_aside += 1
        self.job.steps += 1

    def damaged(self, message: ArchivedMessage, name: str) -> None:
        """Note that a message's file is not what was archived."""
        reason = "its file no longer agrees with the index: see waystation check"
        self.set_aside(message, name, reason)
        self.job.progress.problem(message.folder, message.uid, reason)
        self.job.result.damaged += 1

    def too_large(self, message: ArchivedMessage, name: str, size: int, limit: int) -> None:
        """Note that a message is larger than what the target takes."""
        reason = f"too large for the target: {size:,} octets, it takes {limit:,}"
        self.set_aside(message, name, reason)
        self.job.progress.problem(message.folder, message.uid, reason)
        self.job.result.too_large += 1

    def moved(self, message: ArchivedMessage, name: str) -> bool:
        """Set a message aside whose copy goes from the folder in which the source has it now."""
        if message.last_seen is None:
            return False
        there = self.job.archive.transfers.moved_to(message.id)
        if there is not None:
            reason = f"moved to {there} on the source, and sent from there"
            self.set_aside(message, name, reason)
        return there is not None
