"""Knows where in the open folder each message has come to lie.

An APPENDUID is believed only as far as it can be true. What a server does not tell, or tells
wrong, is looked up once all answers are in; nothing that was taken is sent again for it.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from importer.doubt import settle_folder
from importer.flags import carried
from waystation.errors import RefusedError
from waystation.model import split_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from importer.job import Job
    from importer.target import MailTarget
    from store.index import ArchivedMessage
    from waystation.imap import Selected

_PAGE = 200
_COMBINATIONS = 1000


@dataclass(slots=True)
class OpenFolder:
    """The target folder at work."""

    name: str
    selected: Selected
    uidnext: int
    """What the server said itself: nothing that we send from now on gets a lower UID."""
    highest: int
    """No UID up to here is believed to be that of the next message."""
    placed: array[int] = field(default_factory=lambda: array("Q"))
    """Messages whose APPENDUID was believed since the folder was opened."""
    unplaced: array[int] = field(default_factory=lambda: array("Q"))
    """Messages that were taken without a believable APPENDUID."""
    doubtful: array[int] = field(default_factory=lambda: array("Q"))
    """Messages whose answer leaves open whether they were taken."""

    _carried: dict[tuple[object, ...], tuple[list[str], tuple[str, ...]]] = field(
        default_factory=dict
    )

    def carried(self, message: ArchivedMessage) -> tuple[Sequence[str], tuple[str, ...]]:
        """Return which flags and keywords the folder keeps, and what is lost; see ``flags``."""
        # Few combinations are told of many messages.
        key = (message.flags, message.keywords, message.internaldate is None)
        found = self._carried.get(key)
        if found is None:
            found = self._carried[key] = carried(message, self.selected)
            if len(self._carried) > _COMBINATIONS:
                self._carried.clear()
        return found

    def take(self, message_id: int, appenduid: tuple[int, int] | None) -> tuple[int, int] | None:
        """Note that a message was taken; return its UIDVALIDITY and UID if they are believed."""
        if appenduid is not None and self._is_believable(appenduid):
            self.highest = appenduid[1]
            self.placed.append(message_id)
            return appenduid
        # It is there: the server said OK. Where, is looked up when the window is empty; whatever
        # comes later lies above it.
        self.unplaced.append(message_id)
        self.highest += 1
        return None

    def take_all(
        self, message_ids: Sequence[int], appenduids: tuple[int, list[int]] | None
    ) -> list[tuple[int, int] | None]:
        """The same of messages that one command has carried, in their order."""
        uidvalidity, uids = appenduids or (0, [])
        told: list[tuple[int, int] | None] = [(uidvalidity, uid) for uid in uids]
        told = told or [None] * len(message_ids)
        return [self.take(number, each) for number, each in zip(message_ids, told, strict=True)]

    def _is_believable(self, appenduid: tuple[int, int]) -> bool:
        """Whether an APPENDUID can be true: this folder's UIDVALIDITY, a UID not yet given."""
        uidvalidity, uid = appenduid
        return uidvalidity == self.selected.state.uidvalidity and uid > self.highest


def open_folder(mail_target: MailTarget, name: str, selected: Selected | None) -> OpenFolder:
    """Open a target folder, unless what it says of itself now is known.

    Raises:
        RefusedError: the server does not open it.
    """
    selected = selected or mail_target.open(split_name(name))
    uidnext = selected.state.uidnext
    if not uidnext:
        # RFC 3501 lets a server be silent about UIDNEXT: one more than the highest UID.
        last = mail_target.uids(b"*") if selected.state.exists else []
        uidnext = max(last, default=0) + 1
    return OpenFolder(name, selected, uidnext, uidnext - 1)


def place(job: Job, mail_target: MailTarget, folder: OpenFolder) -> Selected | None:
    """Look up the UIDs of what was appended and not told where, or told a lie.

    What is doubtful is looked up as well, and recorded as appended or pending. Returns what the
    folder says of itself now, if it was asked.

    Raises:
        RefusedError: the folder does not open for now, or at all while something is doubtful.
    """
    if not folder.unplaced and not folder.placed and not folder.doubtful:
        return None
    try:
        selected = mail_target.open(split_name(folder.name))
        is_lie = 0 < selected.state.uidnext <= folder.highest
        if is_lie:
            _withdraw(job, folder.placed)
            folder.unplaced.extend(folder.placed)
        if folder.unplaced or folder.doubtful:
            sought = (*folder.unplaced, *folder.doubtful)
            settle_folder(job, mail_target, selected, folder.name, sought)
    except RefusedError as error:
        if error.retriable or folder.doubtful:
            raise
        # They are there; only the UIDs stay unknown until the next run asks again.
        return None
    return selected


def _withdraw(job: Job, message_ids: Iterable[int]) -> None:
    """Record that the UIDs of these are not known after all."""
    ids = iter(message_ids)
    while step := list(islice(ids, _PAGE)):
        told = job.archive.transfers.some(job.target.id, step)
        job.archive.transfers.record((), [replace(each, uid=None) for each in told])
