"""Sends one message at a time, by the rules of a house, and records each answer.

plan a way to send it → wait for its turn → write the intent → append → judge the answer → record.
A way that the server does not accept is followed by the next, more intrusive one. The intent is
on disk before the first octet goes out, and the answer before anything else is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from importer.carry import carry_flags
from importer.doubt import settle_folder
from importer.flags import carried
from importer.inspection import inspect
from importer.letter import (
    date_to_send,
    flags_to_send,
    letter,
    reason_to_leave,
    reason_to_set_aside,
    tries,
)
from importer.outcomes import Outcomes
from importer.placing import open_folder, place
from importer.proven import proven
from importer.refusals import FolderGoneError, TargetFullError
from importer.routine import NewConnectionError
from importer.verdict import Verdict, verdict
from store.transfers import Transfer, TransferState
from waystation.errors import (
    ConnectionLostError,
    ProtocolError,
    RefusedError,
    SessionExpiredError,
    StorageError,
)
from waystation.model import split_name

if TYPE_CHECKING:
    from array import array
    from typing import BinaryIO

    from importer.house import HouseRules
    from importer.job import Job
    from importer.letter import Letter
    from importer.placing import OpenFolder
    from importer.target import MailTarget
    from store.index import ArchivedMessage
    from waystation.imap import Selected
    from waystation.wire import Tagged

_SPAN = 1000
_PAGE = 200
_MOST_REJECTED = 2
"""Exchange closes a session at the third command that it answers BAD."""
_NEW_CONNECTIONS = 2
"""So often is an answer that nobody knows followed by the same try on a new connection."""
_UNAVAILABLE = (0.5, 2.0, 5.0)
"""Waits for an unavailable server, in units of ``HouseRules.lateness``: 30 s, 2 min, 5 min."""
_UNAVAILABLE_IN_A_ROW = 3
_FLAGGED = "\\Flagged"
_LARGER = (
    "an administrator can raise the limit: Set-Mailbox -Identity USER -MaxReceiveSize 150MB "
    "-MaxSendSize 150MB"
)


@dataclass(frozen=True, slots=True)
class Parcel:
    """All that an APPEND says of a message."""

    letter: Letter
    flags: list[str]
    date: datetime | None


class CarefulSender:
    """Sends over one connection."""

    def __init__(self, job: Job, mail_target: MailTarget, house: HouseRules) -> None:
        self._job = job
        self._mail_target = mail_target
        self._house = house
        self._outcomes = Outcomes(job)
        self._selected: Selected | None = None

    def send(self, source: str, name: str, ids: array[int]) -> None:
        """Send messages of one archived folder into its target folder, in this order.

        Raises:
            WaystationError: nothing more can be sent on this connection.
        """
        if not ids:
            return
        self._job.progress.folder(source, len(ids))
        for start in range(0, len(ids), _SPAN):
            try:
                folder = open_folder(self._mail_target, name, self._selected)
            except RefusedError as error:
                self._job.fail(name, source, error)
                return
            waiting = iter(ids[start : start + _SPAN])
            while page := list(islice(waiting, _PAGE)):
                for message in self._job.archive.index.some(page):
                    self._send_one(folder, message)
            self._selected = place(self._job, self._mail_target, folder)
        self._selected = None
        carry_flags(self._job, self._mail_target, name)

    def give_up(self, number: int, name: str) -> None:
        """Go on without a message that broke the connection each time; it is not in the target."""
        message = self._job.archive.index.message(number)
        if message is not None:
            reply = "the connection broke each time it was sent"
            transfer = Transfer(number, self._job.target.id, TransferState.PENDING, name)
            self._outcomes.refused(message, transfer, reply)
            self._outcomes.record()

    # One message

    def _send_one(self, folder: OpenFolder, message: ArchivedMessage) -> None:
        if self._outcomes.moved(message, folder.name):
            self._outcomes.record()
            return
        reason = reason_to_leave(message, self._house)
        if reason is None:
            with proven(self._job.archive, message) as file:
                if file is None:
                    self._outcomes.damaged(message, folder.name)
                else:
                    try:
                        reason = self._send_file(folder, message, file)
                    except OSError as error:
                        raise StorageError(message.path, error) from None
        if reason is not None:
            self._outcomes.set_aside(message, folder.name, reason)
        self._outcomes.record()

    def _send_file(
        self, folder: OpenFolder, message: ArchivedMessage, file: BinaryIO
    ) -> str | None:
        """Try the ways to send a message, one after the other; return why none is tried at all."""
        inspection = inspect(file)
        reason = reason_to_set_aside(inspection, self._house)
        if reason is not None:
            return reason
        kept, lost = carried(message, folder.selected, self._house)
        date = date_to_send(message, inspection, datetime.now(UTC))
        replies = self._job.memory.replies[message.id]
        forms = self._job.memory.forms[message.id]
        for way in tries(inspection, kept, self._house)[len(replies) :]:
            self._rest()
            file.seek(0)
            with letter(file, way, self._house) as sent:
                limit = self._house.limits.largest
                if sent.size > limit:
                    if replies:
                        continue
                    self._outcomes.too_large(message, folder.name, sent.size, limit)
                    return None
                flags = flags_to_send(kept, way)
                form = (sent.repairs[-1].after if sent.repairs else "", *flags)
                if form in forms:
                    replies.append(replies[-1])  # this way would say the same again
                    continue
                intent = Transfer(
                    message.id,
                    self._job.target.id,
                    TransferState.SENDING,
                    folder.name,
                    uidnext_before=folder.highest + 1,
                    uidvalidity=folder.selected.state.uidvalidity,
                    lost=lost,
                    repairs=sent.repairs,
                    # What is stored once more, or only afterwards, is not agreed on yet.
                    flags=tuple(f for f in message.flags if f != _FLAGGED and f in (*flags, *lost)),
                    keywords=message.keywords,
                    internaldate=None if date == message.internaldate else date,
                )
                reply = self._deliver(folder, message, intent, Parcel(sent, flags, date))
            if reply is None:
                return None
            replies.append(reply)
            forms.add(form)
        intent = Transfer(message.id, self._job.target.id, TransferState.PENDING, folder.name)
        self._outcomes.refused(message, intent, replies[-1])
        return None

    def _deliver(
        self, folder: OpenFolder, message: ArchivedMessage, intent: Transfer, parcel: Parcel
    ) -> str | None:
        """Send a message in one way until that is decided.

        Returns the server's words where it does not accept the message in this way.
        """
        waits = list(_UNAVAILABLE)
        while True:
            answer = self._append(message, intent, parcel)
            said = verdict(answer)
            if said is Verdict.TAKEN:
                self._taken(folder, message, intent, answer)
                return None
            if said is Verdict.THROTTLED:
                # Nothing was stored, as far as anybody knows; since all of it was sent, that is
                # looked at before it is sent again.
                told = RefusedError("APPEND", answer.text)
                self._job.obey(told.backoff or self._house.lateness, str(told))
            elif said is Verdict.UNAVAILABLE and waits and not self._job.memory.unavailable:
                self._job.wait(waits.pop(0) * self._house.lateness, answer.reply)
            else:
                self._outcomes.not_sent(intent, answer.reply)
                self._outcomes.record()
                return self._judge(folder, message, intent, answer, said)
            if self._has_arrived(folder, message):
                return None

    def _judge(
        self,
        folder: OpenFolder,
        message: ArchivedMessage,
        intent: Transfer,
        answer: Tagged,
        said: Verdict,
    ) -> str | None:
        """Decide what follows from a refusal, which is recorded as not sent."""
        job = self._job
        if said in (Verdict.UNAVAILABLE, Verdict.FULL):
            self._left_waiting(message, answer)
            return None
        if said is Verdict.GONE and job.refusals.may_recreate(folder.name):
            raise FolderGoneError(folder.name, answer.reply)
        if said is Verdict.TOO_LARGE:
            self._outcomes.refused(message, intent, f"{answer.reply} ({_LARGER})")
            job.result.too_large += 1
            return None
        if said is Verdict.PASSING:
            job.memory.puzzles[message.id] += 1
            if job.memory.puzzles[message.id] <= _NEW_CONNECTIONS:
                raise NewConnectionError(answer.reply)
        return answer.reply

    def _append(self, message: ArchivedMessage, intent: Transfer, parcel: Parcel) -> Tagged:
        """Send a message and return the answer; its intent is recorded before."""
        sent = parcel.letter
        self._job.pace.wait(sent.size)
        self._outcomes.record([intent])
        sent.file.seek(0)
        try:
            tag = self._mail_target.append(parcel.flags, parcel.date, sent.file, sent.size)
            answer = self._mail_target.answer()
        except SessionExpiredError:
            raise
        except ConnectionLostError:
            self._job.trouble.blame(message.id)
            raise
        if answer.tag != tag:
            # It may have taken part of the message for commands: what it stored is looked up.
            raise ProtocolError(self._job.target.name, "it answers what was not asked", answer.text)
        if answer.is_ok:
            self._job.pace.taken(sent.size)
        return answer

    def _taken(
        self, folder: OpenFolder, message: ArchivedMessage, intent: Transfer, answer: Tagged
    ) -> None:
        self._outcomes.appended(folder, message, intent, answer)
        self._job.memory.replies.pop(message.id, None)
        self._job.memory.forms.pop(message.id, None)
        self._job.memory.unavailable.clear()

    def _has_arrived(self, folder: OpenFolder, message: ArchivedMessage) -> bool:
        """Look whether a message that was not answered with OK is there all the same."""
        selected = self._mail_target.open(split_name(folder.name))
        return not settle_folder(self._job, self._mail_target, selected, folder.name, [message.id])

    def _left_waiting(self, message: ArchivedMessage, answer: Tagged) -> None:
        """Go on without a message for which the server was unavailable to the end of all waits.

        The next run tries it again. Where the next ones fare no better, while the folder can be
        opened, it is not the server that is away.
        """
        job = self._job
        job.done.add(message.id)
        job.result.not_sent += 1
        job.progress.problem(message.folder, message.uid, answer.reply)
        job.memory.unavailable.append(message.id)
        if len(job.memory.unavailable) >= _UNAVAILABLE_IN_A_ROW:
            raise TargetFullError(job.target.name, answer.reply)

    def _rest(self) -> None:
        """Change the connection where that is due, while nothing is in flight."""
        if self._mail_target.must_renew:
            why = "the token is about to expire"
        elif self._mail_target.rejected >= _MOST_REJECTED:
            why = "two commands were rejected, a third would close the session"
        else:
            return
        self._outcomes.record()
        raise NewConnectionError(why)
