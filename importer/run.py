"""Stage two: settle what is in doubt, map folders, send what is missing, record each answer.

The intent to send is on disk before the first octet goes out. Whatever cuts the run off, the
next one looks into the target before it sends again: nothing twice, nothing left out.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import OrderedDict
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from importer.plan import folder_map, rank, slices
from importer.settle import look_through, settle
from store.transfers import Transfer, TransferState
from waystation.errors import (
    ConnectionLostError,
    ProtocolError,
    RefusedError,
    UnreachableError,
    WaystationError,
)
from waystation.model import split_name
from waystation.retry import Patience, Rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from importer.target import MailTarget
    from store.archive import Archive
    from store.index import ArchivedMessage
    from store.transfers import Target
    from waystation.imap import Selected
    from waystation.progress import Progress
    from waystation.wire import Tagged

_GROUP_MESSAGES = 32
_GROUP_OCTETS = 4_000_000
_WHOLE = 1024 * 1024
_BLOCK = 1024 * 1024
_FULL = re.compile(r"OVERQUOTA|quota", re.IGNORECASE)
_FULL_IN_A_ROW = 20
# RFC 3501 section 9, atom: what else a keyword holds cannot be written in a command.
_ATOM = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")


@dataclass(slots=True)
class Imported:
    """What a run has done, in numbers."""

    appended: int = 0
    octets: int = 0
    settled: int = 0
    """Messages in doubt that were found in the target."""
    already_there: int = 0
    refused: int = 0
    set_aside: int = 0
    damaged: int = 0
    """Messages set aside because their file no longer agrees with its row."""
    folders_created: int = 0
    folders_failed: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether everything that should be in the target is there."""
        return not (self.refused or self.damaged or self.folders_failed)


@dataclass(frozen=True, slots=True)
class Options:
    """How a run shall go about it."""

    newest_first: bool = True
    rate: float = 0
    """Messages per second at the most; 0 is no ceiling."""
    folder_map: Mapping[str, str] = field(default_factory=dict)
    """Archived name to target name, by the user's wish."""


def replay(
    archive: Archive,
    connect: Callable[[], AbstractContextManager[MailTarget]],
    target: Target,
    progress: Progress,
    options: Options = Options(),
    patience: Patience | None = None,
) -> Imported:
    """Bring the target up to what the archive holds.

    Args:
        archive: open for writing.
        connect: opens a signed-in target; called again when the connection breaks.
        target: as the transfer log knows it.
        progress: is told how it goes.
        options: see ``Options``.
        patience: how long to wait between tries.

    Raises:
        WaystationError: the run could not go on; the same call goes on from there.
    """
    run = _Run(archive, target, progress, options)
    patience = patience or Patience(progress)
    has_connected = False
    while True:
        before = run.steps
        try:
            with connect() as mail_target:
                has_connected = True
                run.work(mail_target)
        except WaystationError as error:
            passes = error.retriable or isinstance(error, ProtocolError | UnreachableError)
            if not has_connected or not passes:
                raise
            patience.wait(error, has_progressed=run.steps > before)
        else:
            return run.result


@dataclass(slots=True)
class _Open:
    """The target folder at work."""

    name: str
    selected: Selected
    uidnext: int
    """No message that we send from now on can get a lower UID."""


@dataclass(frozen=True, slots=True)
class _InFlight:
    message: ArchivedMessage
    transfer: Transfer
    lost: tuple[str, ...]


@dataclass(slots=True)
class _Run:
    archive: Archive
    target: Target
    progress: Progress
    options: Options
    result: Imported = field(default_factory=Imported)
    steps: int = 0
    _rate: Rate = field(init=False)
    _in_flight: OrderedDict[bytes, _InFlight] = field(default_factory=OrderedDict)
    _octets_in_flight: int = 0
    _outcomes: list[Transfer] = field(default_factory=list)
    _unplaced: list[Transfer] = field(default_factory=list)
    _passing: RefusedError | None = None
    _full_in_a_row: int = 0
    _tried: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._rate = Rate(self.options.rate)

    def work(self, mail_target: MailTarget) -> None:
        """Do all that is left to do, on one connection."""
        self._in_flight.clear()
        self._octets_in_flight = 0
        self._outcomes.clear()
        self._unplaced.clear()
        self._passing = None
        names = self._map(mail_target)
        self._settle_all(mail_target)
        self._look_through(mail_target, names)
        waiting = self.archive.transfers.unsent_totals(self.target.id)
        self.progress.expect(self.result.appended + sum(count for count, _ in waiting.values()))
        ranked = sorted(self.archive.index.folders(), key=rank)
        for low, high in slices(self.archive.transfers.newest(), self.options.newest_first):
            for folder in ranked:
                unsent = self.archive.transfers.unsent(
                    self.target.id,
                    folder.id,
                    low,
                    high,
                    newest_first=self.options.newest_first,
                )
                ids = [number for number in unsent if number not in self._tried]
                if ids:
                    self._send_folder(mail_target, folder.name, names[folder.id], ids)

    # Folders

    def _map(self, mail_target: MailTarget) -> dict[int, str]:
        """Decide where folders go, record it, and create what the target lacks."""
        transfers, target_id = self.archive.transfers, self.target.id
        mapping = folder_map(
            self.archive, target_id, mail_target.folders(), self.options.folder_map
        )
        transfers.map_folders(
            target_id,
            ((folder.folder_id, folder.target, folder.reasons) for folder in mapping.folders),
        )
        for folder in mapping.folders:
            transfers.remap_folder(target_id, folder.folder_id, folder.target, folder.reasons)
        for levels in mapping.to_create:
            try:
                mail_target.create(levels)
                self.result.folders_created += 1
            except RefusedError as error:
                if error.retriable:
                    raise
                # Some servers have parents that cannot be made by themselves; if the folder
                # below cannot be opened either, that will be said of it.
                self.progress.alarm("/".join(levels), str(error))
        return {folder.folder_id: folder.target for folder in mapping.folders}

    def _open(self, mail_target: MailTarget, name: str) -> _Open:
        selected = mail_target.open(split_name(name))
        state = selected.state
        uidnext = state.uidnext
        if not uidnext:
            # RFC 3501 lets a server be silent about UIDNEXT: one more than the highest UID.
            last = (
                [described.message.uid for described in mail_target.describe(b"*")]
                if state.exists
                else []
            )
            uidnext = max(last, default=0) + 1
        return _Open(name, selected, uidnext)

    # What is in doubt

    def _settle_all(self, mail_target: MailTarget) -> None:
        transfers = self.archive.transfers
        in_doubt = transfers.in_state(self.target.id, TransferState.SENDING)
        in_doubt += transfers.unplaced(self.target.id)
        for name in dict.fromkeys(transfer.folder for transfer in in_doubt):
            self._settle(mail_target, name, [t for t in in_doubt if t.folder == name])

    def _settle(self, mail_target: MailTarget, name: str, in_doubt: list[Transfer]) -> None:
        try:
            selected = mail_target.open(split_name(name))
        except RefusedError as error:
            if error.retriable:
                raise
            self.result.folders_failed += 1
            self.progress.problem(name, None, str(error))
            return
        outcomes = settle(self.archive, mail_target, selected, in_doubt)
        self.archive.transfers.record((), outcomes)
        found = sum(outcome.state is TransferState.APPENDED for outcome in outcomes)
        self.result.settled += found
        self.steps += found

    def _look_through(self, mail_target: MailTarget, names: dict[int, str]) -> None:
        """Take note of what the target had before us, once for each folder."""
        transfers = self.archive.transfers
        for mapped in transfers.folder_map(self.target.id).values():
            if mapped.looked_through or mapped.folder_id not in names:
                continue
            with suppress(RefusedError):
                selected = mail_target.open(split_name(mapped.name))
                if selected.state.exists:
                    found = look_through(
                        self.archive, mail_target, self.target.id, mapped, selected
                    )
                    transfers.record((), found)
                    self.result.already_there += len(found)
                transfers.looked_through(self.target.id, mapped.folder_id)
                self.steps += 1

    # Sending

    def _send_folder(self, mail_target: MailTarget, source: str, name: str, ids: list[int]) -> None:
        try:
            folder = self._open(mail_target, name)
        except RefusedError as error:
            if error.retriable:
                raise
            self._tried.update(ids)
            self.result.folders_failed += 1
            self.progress.problem(source, None, str(error))
            return
        self.progress.folder(source, len(ids))
        try:
            for group in self._groups(mail_target, name, ids):
                self._send_group(mail_target, folder, group)
            self._drain(mail_target, folder, 0, 0)
        except ConnectionLostError:
            self._salvage(mail_target, folder)
            raise
        finally:
            self._record(())
        self._place(mail_target, folder)
        if self._passing is not None:
            raise self._passing

    def _groups(
        self, mail_target: MailTarget, name: str, ids: list[int]
    ) -> Iterator[list[ArchivedMessage]]:
        """Yield messages in groups whose intent is recorded in one step."""
        most = min(_GROUP_MESSAGES, mail_target.window.messages)
        group: list[ArchivedMessage] = []
        octets = 0
        for number in ids:
            message = self.archive.index.message(number)
            if message is None or not self._is_to_send(message, name):
                continue
            group.append(message)
            octets += message.size or 0
            if len(group) >= most or octets >= _GROUP_OCTETS or self._rate.is_limited:
                yield group
                group, octets = [], 0
        if group:
            yield group

    def _is_to_send(self, message: ArchivedMessage, name: str) -> bool:
        self._tried.add(message.id)
        if message.last_seen is None:
            return True
        there = self.archive.transfers.moved_to(message.id)
        if there is None:
            return True
        # The source moved it: its copy goes from the folder in which it is now.
        self._set_aside(message, name, f"moved to {there} on the source, and sent from there")
        return False

    def _send_group(
        self, mail_target: MailTarget, folder: _Open, group: list[ArchivedMessage]
    ) -> None:
        if self._passing is not None:
            return
        window = mail_target.window
        intents = [
            Transfer(
                message.id,
                self.target.id,
                TransferState.SENDING,
                folder.name,
                uidnext_before=folder.uidnext,
                uidvalidity=folder.selected.state.uidvalidity,
            )
            for message in group
        ]
        self._record(intents)
        for message, intent in zip(group, intents, strict=True):
            self._rate.wait()
            self._send(mail_target, folder, message, intent)
            self._drain(mail_target, folder, window.messages - 1, window.octets)

    def _send(
        self, mail_target: MailTarget, folder: _Open, message: ArchivedMessage, intent: Transfer
    ) -> None:
        flags, lost = carried(message, folder.selected)
        if message.internaldate is None:
            lost = (*lost, "INTERNALDATE")
        with self._verified(message) as file:
            if file is None:
                reason = "its file no longer agrees with the index: see waystation check"
                self._set_aside(message, folder.name, reason)
                self.progress.problem(message.folder, message.uid, reason)
                self.result.damaged += 1
                return
            tag = mail_target.append(flags, message.internaldate, file, message.size or 0)
        self._in_flight[tag] = _InFlight(message, intent, lost)
        self._octets_in_flight += message.size or 0

    @contextmanager
    def _verified(self, message: ArchivedMessage) -> Iterator[BinaryIO | None]:
        """Open a message's file once it is proven to be what was archived."""
        path = self.archive.path / (message.path or "")
        try:
            file = path.open("rb", buffering=0)
        except OSError:
            yield None
            return
        with file:
            if (message.size or 0) <= _WHOLE:
                octets = file.read(_WHOLE + 1)
                is_whole = len(octets) == message.size
                is_same = is_whole and hashlib.sha256(octets).hexdigest() == message.sha256
                yield io.BytesIO(octets) if is_same else None
                return
            digest = hashlib.sha256()
            size = 0
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
            file.seek(0)
            is_same = size == message.size and digest.hexdigest() == message.sha256
            yield file if is_same else None

    # Answers

    def _drain(self, mail_target: MailTarget, folder: _Open, messages: int, octets: int) -> None:
        """Take answers until no more than so many are outstanding."""
        while len(self._in_flight) > messages or (
            self._in_flight and self._octets_in_flight > octets
        ):
            self._answered(folder, mail_target.answer())

    def _answered(self, folder: _Open, answer: Tagged) -> None:
        sent = self._in_flight.pop(answer.tag, None)
        if sent is None:
            raise ProtocolError(self.target.name, "it answers what was not asked", answer.text)
        self._octets_in_flight -= sent.message.size or 0
        if answer.is_ok:
            self._appended(folder, sent, answer)
            return
        refused = RefusedError("APPEND", answer.reply)
        if refused.retriable:
            self._outcomes.append(
                replace(sent.transfer, state=TransferState.PENDING, reply=answer.reply)
            )
            self._tried.discard(sent.message.id)
            self._passing = refused
            return
        self._outcomes.append(
            replace(sent.transfer, state=TransferState.REFUSED, reply=answer.reply)
        )
        self.result.refused += 1
        self.steps += 1
        self.progress.problem(sent.message.folder, sent.message.uid, answer.reply)
        self._full_in_a_row = self._full_in_a_row + 1 if _FULL.search(answer.text) else 0
        if self._full_in_a_row >= _FULL_IN_A_ROW:
            raise TargetFullError(self.target.name, answer.reply)

    def _appended(self, folder: _Open, sent: _InFlight, answer: Tagged) -> None:
        self._full_in_a_row = 0
        self.steps += 1
        self.result.appended += 1
        self.result.octets += sent.message.size or 0
        self.progress.advance(1, sent.message.size or 0)
        outcome = replace(
            sent.transfer, state=TransferState.APPENDED, reply=answer.reply, lost=sent.lost
        )
        place = answer.appenduid
        if place is not None and _is_believable(folder, place):
            folder.uidnext = place[1] + 1
            outcome = replace(outcome, uidvalidity=place[0], uid=place[1])
        else:
            # It is there: the server said OK. Where, is looked up when the window is empty.
            self._unplaced.append(outcome)
        self._outcomes.append(outcome)

    def _place(self, mail_target: MailTarget, folder: _Open) -> None:
        """Look up the UIDs of what was appended and not told where."""
        if self._unplaced:
            waiting, self._unplaced = self._unplaced, []
            selected = mail_target.open(split_name(folder.name))
            outcomes = settle(self.archive, mail_target, selected, waiting)
            self.archive.transfers.record((), outcomes)

    def _salvage(self, mail_target: MailTarget, folder: _Open) -> None:
        """Take the answers that arrived before the connection broke."""
        with suppress(WaystationError):
            self._drain(mail_target, folder, 0, 0)

    def _record(self, intents: tuple[()] | list[Transfer]) -> None:
        self.archive.transfers.record(intents, self._outcomes)
        self._outcomes.clear()

    def _set_aside(self, message: ArchivedMessage, name: str, reason: str) -> None:
        self._outcomes.append(
            Transfer(message.id, self.target.id, TransferState.SET_ASIDE, name, reply=reason)
        )
        self.result.set_aside += 1
        self.steps += 1


class TargetFullError(WaystationError):
    """The target takes no more."""

    def __init__(self, target: str, reply: str) -> None:
        super().__init__(
            f"{target} seems to be full: {reply}. Make room or raise the quota, then run the same "
            "command again; it goes on where it stopped."
        )


def carried(message: ArchivedMessage, selected: Selected) -> tuple[list[str], tuple[str, ...]]:
    """Return the flags and keywords that a folder keeps, and those that are lost on it."""
    kept: list[str] = []
    lost: list[str] = []
    for flag in message.flags:
        (kept if flag.lower() in selected.permanent_flags else lost).append(flag)
    for keyword in message.keywords:
        is_kept = selected.takes_keywords or keyword.lower() in selected.permanent_flags
        (kept if is_kept and _ATOM.fullmatch(keyword) else lost).append(keyword)
    return kept, tuple(lost)


def _is_believable(folder: _Open, place: tuple[int, int]) -> bool:
    """Whether an APPENDUID can be true: this folder's UIDVALIDITY, and a UID not yet given."""
    uidvalidity, uid = place
    return uidvalidity == folder.selected.state.uidvalidity and uid >= folder.uidnext


def totals(result: Imported) -> dict[str, int]:
    """Return the numbers of a run by their names."""
    return asdict(result)
