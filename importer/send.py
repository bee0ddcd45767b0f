"""Sends messages into one folder after the other, and records each answer.

The intent to send is on disk before the first octet goes out, and an answer is on disk before
the folder is left, however it is left.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict, deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from importer.flow import Flow
from importer.gather import OCTETS, most_together
from importer.outcomes import Outcomes
from importer.placing import open_folder, place
from importer.proven import proven, proven_octets, read_ahead
from importer.refusals import (
    FolderClosedError,
    FolderGoneError,
    TargetFullError,
    says_full,
    says_gone,
)
from importer.routine import NewConnectionError
from store.transfers import Transfer, TransferState
from waystation.errors import (
    ConnectionLostError,
    ProtocolError,
    RefusedError,
    StorageError,
    WaystationError,
)
from waystation.wire import Outgoing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from importer.job import Job
    from importer.placing import OpenFolder
    from importer.target import MailTarget
    from store.index import ArchivedMessage
    from waystation.imap import Selected
    from waystation.wire import Tagged

_FEWEST, _MOST = 32, 256
"""Messages whose intent is recorded in one step: as many as may be in flight, in these bounds. So
a slow target leaves little in doubt, and towards a fast one no message waits for the disk."""
_GROUP_OCTETS = 4_000_000
_SPAN = 5000
_SPAN_SECONDS = 5.0
"""After so many messages, or all that so many seconds are enough for, the folder is opened anew:
UIDNEXT then comes from the server itself, and what has to be looked up after a lost answer takes
no longer than it took to send."""
_COMMANDS = 512
"""Commands in flight at the most. So many answers of some 110 octets each fit into what two sockets
hold, so that neither side has to read before the other goes on."""
_PAGE = 200


@dataclass(frozen=True, slots=True)
class _InFlight:
    message: ArchivedMessage
    transfer: Transfer

    @property
    def size(self) -> int:
        return self.message.size or 0


class Sender:
    """Sends over one connection."""

    def __init__(self, job: Job, mail_target: MailTarget) -> None:
        self._job = job
        self._mail_target = mail_target
        self._flow = Flow(mail_target.window, ceiling=job.ceiling)
        self._limit = mail_target.limit
        self._gathers = 0 if job.rate.is_limited else mail_target.gathers
        self._in_flight: OrderedDict[bytes, list[_InFlight]] = OrderedDict()
        """The messages of each command that is not answered yet, by its tag."""
        self._messages_in_flight = 0
        self._octets_in_flight = 0
        self._gathered: list[tuple[_InFlight, Outgoing]] = []
        """Messages of the next command, whose intents are recorded."""
        self._octets_gathered = 0
        self._outcomes = Outcomes(job)
        self._ending: WaystationError | None = None
        """Why nothing more is to be sent on this connection."""

    def send(self, source: str, name: str, ids: array[int]) -> None:
        """Send messages of one archived folder into its target folder, in this order.

        Raises:
            WaystationError: nothing more can be sent on this connection.
        """
        if not ids:
            return
        self._job.progress.folder(source, len(ids))
        selected: Selected | None = None
        spans = deque(ids[start : start + _SPAN] for start in range(0, len(ids), _SPAN))
        while spans:
            try:
                folder = open_folder(self._mail_target, name, selected)
                self._send_span(folder, spans)
                self._wait_as_told()
                selected = place(self._job, self._mail_target, folder)
            except RefusedError as error:
                self._job.fail(name, source, error)
                return
            if folder.doubtful:
                spans.appendleft(self._still_to_send(folder.doubtful))
            if isinstance(self._ending, FolderClosedError):
                self._job.leave(name, source, str(self._ending))
                self._ending = None
                return
            if self._ending is not None:
                raise self._ending

    def _still_to_send(self, ids: array[int]) -> array[int]:
        """Return which of these, after they were looked for, are not in the target."""
        found = self._job.archive.transfers.some(self._job.target.id, ids)
        left = [each.message_id for each in found if each.state is TransferState.PENDING]
        self._job.progress.advance(len(ids) - len(left), 0)
        return array("Q", left)

    def _wait_as_told(self) -> None:
        """Wait, where the server asked for it, before it is asked anything more."""
        told = self._ending
        if told is not None and told.backoff is not None:
            self._job.obey(told.backoff, str(told))
            self._ending = NewConnectionError("the wait that the server asked for is over")

    def give_up(self, number: int, name: str) -> None:
        """Go on without a message that broke the connection each time; it is not in the target."""
        message = self._job.archive.index.message(number)
        if message is not None:
            transfer = Transfer(number, self._job.target.id, TransferState.PENDING, name)
            reply = "the connection broke each time it was sent"
            self._outcomes.refused(message, transfer, reply)
            self._outcomes.record()

    # What goes out

    def _send_span(self, folder: OpenFolder, spans: deque[array[int]]) -> None:
        """Send the first of these spans into the open folder, and take all answers to them.

        Where that is soon done, the next as well, so that nobody waits for the answers meanwhile.
        """
        until = self._job.patience.clock() + _SPAN_SECONDS
        try:
            while self._ending is None:
                for group in self._groups(folder.name, spans.popleft()):
                    self._send_group(folder, group)
                    if self._ending is not None:
                        break
                if not spans or self._job.patience.clock() >= until:
                    break
            self._send_gathered(folder)
            self._drain(folder)
        except ConnectionLostError:
            self._salvage(folder)
            if self._in_flight:
                self._blame(next(iter(self._in_flight.values())))
            if self._ending is not None and self._ending.backoff is not None:
                # Throttling servers hang up after they have said for how long (MailKit and
                # imapsync report it of Exchange): the wait counts, not the end of the line.
                raise self._ending from None
            raise
        finally:
            self._outcomes.record()

    def _groups(self, name: str, ids: array[int]) -> Iterator[list[ArchivedMessage]]:
        """Yield messages in groups whose intent is recorded in one step."""
        window = 1 if self._job.rate.is_limited else self._mail_target.window.messages
        group: list[ArchivedMessage] = []
        octets = 0
        for start in range(0, len(ids), _PAGE):
            for message in self._job.archive.index.some(ids[start : start + _PAGE]):
                if not self._is_to_send(message, name):
                    continue
                group.append(message)
                octets += message.size or 0
                most = min(max(_FEWEST, self._flow.width), _MOST, window)
                if len(group) >= most or octets >= _GROUP_OCTETS:
                    yield group
                    group, octets = [], 0
        if group:
            yield group

    def _is_to_send(self, message: ArchivedMessage, name: str) -> bool:
        """Whether a message is to be sent; what is not is set aside."""
        if self._outcomes.moved(message, name):
            return False
        size, limit = message.size or 0, self._limit
        if limit is not None and size > limit:
            self._outcomes.too_large(message, name, size, limit)
            return False
        return True

    def _send_group(self, folder: OpenFolder, group: list[ArchivedMessage]) -> None:
        if len(group) > 1:
            read_ahead(self._job.archive, group)
        intents: list[Transfer] = []
        flags: list[Sequence[str]] = []
        for message in group:
            kept, lost = folder.carried(message)
            flags.append(kept)
            intents.append(
                Transfer(
                    message.id,
                    self._job.target.id,
                    TransferState.SENDING,
                    folder.name,
                    uidnext_before=folder.uidnext,
                    uidvalidity=folder.selected.state.uidvalidity,
                    lost=lost,
                    flags=message.flags,
                    keywords=message.keywords,
                )
            )
        self._outcomes.record(intents)
        for message, intent, kept in zip(group, intents, flags, strict=True):
            if self._ending is not None:
                # Nothing of it went out, and that is certain.
                self._outcomes.not_sent(intent)
                continue
            self._job.rate.wait()
            sent = _InFlight(message, intent)
            if self._job.gathering.may_join(message, self._gathers):
                self._gather(folder, sent, kept)
                continue
            self._send_gathered(folder)
            if self._has_room_for(folder, [sent]):
                self._append(sent, kept)

    def _has_room_for(self, folder: OpenFolder, sent: list[_InFlight]) -> bool:
        """Wait until more may be in flight; False where none of this is to be sent any more."""
        while self._ending is None and not (
            len(self._in_flight) < _COMMANDS
            and self._flow.has_room(self._messages_in_flight, self._octets_in_flight)
        ):
            self._answered(folder, self._mail_target.answer())
        if self._ending is None:
            return True
        for each in sent:
            self._outcomes.not_sent(each.transfer)
        return False

    def _append(self, sent: _InFlight, flags: Sequence[str]) -> None:
        message = sent.message
        with proven(self._job.archive, message) as file:
            if file is None:
                self._outcomes.damaged(message, sent.transfer.folder)
                return
            with self._going_out([sent]):
                try:
                    self._mail_target.append(flags, message.internaldate, file, sent.size)
                except OSError as error:
                    raise StorageError(message.path, error) from None

    def _gather(self, folder: OpenFolder, sent: _InFlight, flags: Sequence[str]) -> None:
        """Put a message into the next command, and send that when it is full."""
        octets = proven_octets(self._job.archive, sent.message)
        if octets is None:
            with proven(self._job.archive, sent.message) as file:
                if file is None:
                    self._outcomes.damaged(sent.message, sent.transfer.folder)
                    return
                octets = file.read()
        outgoing = Outgoing(flags, sent.message.internaldate, octets)
        self._gathered.append((sent, outgoing))
        self._octets_gathered += sent.size
        most = most_together(self._flow.width)
        if len(self._gathered) >= most or self._octets_gathered >= OCTETS:
            self._send_gathered(folder)

    def _send_gathered(self, folder: OpenFolder) -> None:
        gathered, self._gathered, self._octets_gathered = self._gathered, [], 0
        sent = [each for each, _ in gathered]
        if not gathered or not self._has_room_for(folder, sent):
            return
        with self._going_out(sent):
            if len(gathered) > 1:
                self._mail_target.append_all([outgoing for _, outgoing in gathered])
            else:
                _, one = gathered[0]
                file = BytesIO(one.octets)
                self._mail_target.append(one.flags, one.date, file, len(one.octets))

    @contextmanager
    def _going_out(self, sent: list[_InFlight]) -> Iterator[None]:
        """Take note of a command that is sent in here, also where the connection breaks in it."""
        self._messages_in_flight += len(sent)
        self._octets_in_flight += sum(each.size for each in sent)
        try:
            yield
        except ConnectionLostError:
            # Part of it may have gone out, or all, and an answer to it have come.
            self._in_flight[self._mail_target.last_tag] = sent
            raise
        self._in_flight[self._mail_target.last_tag] = sent

    # What comes back

    def _drain(self, folder: OpenFolder) -> None:
        """Take the answers to all that is outstanding."""
        while self._in_flight:
            self._answered(folder, self._mail_target.answer())

    def _salvage(self, folder: OpenFolder) -> None:
        """Take the answers that arrived before the connection broke."""
        with suppress(WaystationError):
            self._drain(folder)

    def _answered(self, folder: OpenFolder, answer: Tagged) -> None:
        command = self._in_flight.pop(answer.tag, None)
        if command is None:
            raise ProtocolError(self._job.target.name, "it answers what was not asked", answer.text)
        for sent in command:
            self._messages_in_flight -= 1
            self._octets_in_flight -= sent.size
            self._flow.answered(sent.size)
        if len(command) > 1:
            self._all_answered(folder, command, answer)
        else:
            self._one_answered(folder, command[0], answer)

    def _all_answered(self, folder: OpenFolder, command: list[_InFlight], answer: Tagged) -> None:
        """Take the answer to a command with several messages, which were stored all or not at all.

        RFC 3502 section 6.3.11 has it so. Where the answer leaves a doubt, what is there decides.
        """
        job, ids = self._job, [sent.message.id for sent in command]
        if answer.is_ok and answer.has_appenduid and answer.appenduids(len(ids)) is None:
            job.gathering.garbled()
            folder.doubtful.extend(ids)
        elif answer.is_ok:
            job.gathering.taken()
            for _ in command:
                job.ceiling.taken()
            sent = [(each.message, each.transfer) for each in command]
            self._outcomes.all_appended(folder, sent, answer)
        elif says_gone(answer) and self._may_recreate(folder.name):
            for each in command:
                self._try_later(each, answer, FolderGoneError(folder.name, answer.reply))
        else:
            job.gathering.refused(ids)
            folder.doubtful.extend(ids)
            refused = RefusedError("APPEND", answer.reply)
            if refused.retriable and self._ending is None:
                job.ceiling.complained(self._messages_in_flight + len(ids))
                self._ending = refused

    def _one_answered(self, folder: OpenFolder, sent: _InFlight, answer: Tagged) -> None:
        if answer.is_ok:
            self._job.ceiling.taken()
            self._outcomes.appended(folder, sent.message, sent.transfer, answer)
            return
        refused = RefusedError("APPEND", answer.reply)
        if (refused.retriable or says_full(answer)) and self._ending is None:
            self._job.ceiling.complained(self._messages_in_flight + 1)
        if says_gone(answer) and self._may_recreate(folder.name):
            self._try_later(sent, answer, FolderGoneError(folder.name, answer.reply))
        elif self._is_closed(answer) or (refused.retriable and self._may_try_again(sent)):
            self._try_later(sent, answer, refused)
        else:
            self._outcomes.refused(sent.message, sent.transfer, answer.reply)
            why = self._job.refusals.refused(folder.name, answer)
            if self._ending is None or isinstance(why, TargetFullError):
                self._ending = why

    def _blame(self, command: list[_InFlight]) -> None:
        """Note at which messages the connection broke."""
        if len(command) > 1:
            self._job.gathering.broken(sent.message.id for sent in command)
        else:
            self._job.trouble.blame(command[0].message.id)

    def _is_closed(self, answer: Tagged) -> bool:
        """Whether this answers what was in flight when a folder turned out to take nothing."""
        return isinstance(self._ending, FolderClosedError) and self._ending.reply == answer.reply

    def _may_recreate(self, name: str) -> bool:
        """Whether a folder that is gone is to be created once more in this run."""
        if isinstance(self._ending, FolderGoneError):
            return True  # all that is in flight meets the same end
        return self._job.refusals.may_recreate(name)

    def _may_try_again(self, sent: _InFlight) -> bool:
        """Whether a message that was refused for the time being is to be sent again."""
        if self._ending is None:
            # What was in flight beside it may have been refused for its sake, or for their number.
            self._job.trouble.blame(sent.message.id)
        return not self._job.trouble.is_given_up(sent.message.id)

    def _try_later(self, sent: _InFlight, answer: Tagged, why: WaystationError) -> None:
        self._outcomes.not_sent(sent.transfer, answer.reply)
        self._ending = self._ending or why
