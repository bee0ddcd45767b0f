"""Stage two: settle what is in doubt, map folders, send what is missing, record each answer.

The intent to send is on disk before the first octet goes out. Whatever cuts the run off, the
next one looks into the target before it sends again: nothing twice, nothing left out.
"""

from __future__ import annotations

import hashlib
import io
import re
from array import array
from collections import OrderedDict
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING

from importer.flags import carried
from importer.flow import Flow
from importer.folders import plainer_names
from importer.plan import folder_map, rank, slices
from importer.settle import look_through, settle
from store.transfers import Transfer, TransferState
from waystation.errors import (
    ConnectionLostError,
    ProtocolError,
    RefusedError,
    StorageError,
    UnreachableError,
    WaystationError,
    plain,
)
from waystation.model import join_levels, split_name
from waystation.retry import Patience, Rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from importer.folders import Levels, TargetFolders
    from importer.plan import FolderPlan, PlannedFolder
    from importer.target import MailTarget
    from store.archive import Archive
    from store.index import ArchivedMessage
    from store.transfers import Target
    from waystation.imap import Selected
    from waystation.progress import Progress
    from waystation.wire import Tagged

_GROUP_MESSAGES = 32
_GROUP_OCTETS = 4_000_000
_SPAN = 1000
"""After so many messages the folder is opened anew: UIDNEXT then comes from the server itself,
and what has to be looked up after a lost answer stays little."""
_PAGE = 200
_WHOLE = 1024 * 1024
_BLOCK = 1024 * 1024
_FULL = re.compile(r"OVERQUOTA|quota", re.IGNORECASE)
_FULL_IN_A_ROW = 20
_REFUSED_IN_A_ROW = 10
_OF_THE_MESSAGE = re.compile(
    r"TOOBIG|quota|too (?:big|large|long)|size|contains|header|\bNUL\b|newline|\bline|8.?bit|"
    r"virus|spam",
    re.IGNORECASE,
)
"""Words that speak of the message: the next one may be taken all the same."""
_GONE = re.compile(r"\[TRYCREATE\]", re.IGNORECASE)
_DELAYS = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds before each new try: never at once, since a server may still be storing what it got
when the line broke, and nobody could find that yet."""
_STORING = 3.0
"""Seconds that a target is given to store what it got before the line broke. What is in flight
is never more than about half a second of its work (see ``flow``)."""
_LOOK_EVERY = 0.5
_QUIET_LOOKS = 2
_MOST_LOOKS = 240
_PUT_OFF = 2
_GIVEN_UP = 4
"""So often may a message break the connection, or be refused for the time being, before it has
to wait for all others, and before the run goes on without it."""


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
    too_large: int = 0
    """Messages set aside because the target says that it takes none of their size."""
    not_sent: int = 0
    """Messages left behind because their folder cannot be made, opened or written to."""
    folders_created: int = 0
    folders_failed: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether everything that should be in the target is there."""
        return not (
            self.refused or self.damaged or self.too_large or self.not_sent or self.folders_failed
        )


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
    patience = patience or Patience(progress, delays=_DELAYS)
    run = _Run(archive, target, progress, options, patience)
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
    """What the server said itself: nothing that we send from now on gets a lower UID."""
    highest: int
    """No UID up to here is believed to be that of the next message."""
    placed: array[int] = field(default_factory=lambda: array("Q"))
    """Messages whose APPENDUID was believed since the folder was opened."""
    unplaced: array[int] = field(default_factory=lambda: array("Q"))
    """Messages that were taken without a believable APPENDUID."""


@dataclass(frozen=True, slots=True)
class _InFlight:
    message: ArchivedMessage
    transfer: Transfer


@dataclass(slots=True)
class _Run:
    archive: Archive
    target: Target
    progress: Progress
    options: Options
    patience: Patience
    result: Imported = field(default_factory=Imported)
    steps: int = 0
    """Grows with all that is done for good, and tells a slow line from a dead one."""
    _rate: Rate = field(init=False)
    _flow: Flow = field(init=False)
    _in_flight: OrderedDict[bytes, _InFlight] = field(default_factory=OrderedDict)
    _octets_in_flight: int = 0
    _outcomes: list[Transfer] = field(default_factory=list)
    _ending: WaystationError | None = None
    """Why nothing more is to be sent on this connection."""
    _full_in_a_row: int = 0
    _done: set[int] = field(default_factory=set)
    """Messages that were refused or set aside in this run, and are not tried again."""
    _trouble: dict[int, int] = field(default_factory=dict)
    """How often a message broke the connection, or was refused for the time being."""
    _failed: set[str] = field(default_factory=set)
    """Target folders that cannot be worked with."""
    _names: dict[int, str] = field(default_factory=dict)
    """The target folders, by the archived folder's id."""
    _refusals: dict[str, tuple[str, int]] = field(default_factory=dict)
    """The words with which a target folder refused the last messages, and how many in a row."""
    _taking: set[str] = field(default_factory=set)
    """Target folders that have taken a message in this run."""
    _recreated: set[str] = field(default_factory=set)
    _listed: set[str] = field(default_factory=set)
    """The folders that the target showed, and that can hold messages."""

    def __post_init__(self) -> None:
        self._rate = Rate(self.options.rate)

    def work(self, mail_target: MailTarget) -> None:
        """Do all that is left to do, on one connection."""
        self._in_flight.clear()
        self._octets_in_flight = 0
        self._ending = None
        self._flow = Flow(mail_target.window)
        self._map(mail_target)
        names = self._names
        self._settle_all(mail_target)
        self._look_through(mail_target)
        waiting = self.archive.transfers.unsent_totals(self.target.id)
        self.progress.expect(self.result.appended + sum(count for count, _ in waiting.values()))
        ranked = sorted(self.archive.index.folders(), key=rank)
        for low, high in slices(self.archive.transfers.newest(), self.options.newest_first):
            for folder in ranked:
                if names[folder.id] not in self._failed:
                    ids = self._unsent(folder.id, low, high, troubled=False)
                    self._send_folder(mail_target, folder.name, names[folder.id], ids)
        # What made trouble comes last and alone, so that it can hold up nothing else.
        for folder in ranked if self._trouble else ():
            if names[folder.id] not in self._failed:
                for number in self._unsent(folder.id, None, None, troubled=True):
                    if self._trouble[number] >= _GIVEN_UP:
                        self._give_up(number, names[folder.id])
                    else:
                        alone = array("Q", [number])
                        self._send_folder(mail_target, folder.name, names[folder.id], alone)

    def _unsent(
        self, folder_id: int, low: int | None, high: int | None, *, troubled: bool
    ) -> array[int]:
        ids = self.archive.transfers.unsent(
            self.target.id, folder_id, low, high, newest_first=self.options.newest_first
        )
        if not self._done and not self._trouble:
            return ids
        return array(
            "Q",
            (
                number
                for number in ids
                if number not in self._done
                and (self._trouble.get(number, 0) >= _PUT_OFF) is troubled
            ),
        )

    def _give_up(self, number: int, name: str) -> None:
        """Go on without a message that broke the connection each time; it is not in the target."""
        message = self.archive.index.message(number)
        if message is not None:
            transfer = Transfer(number, self.target.id, TransferState.PENDING, name)
            self._refused(
                _InFlight(message, transfer), "the connection broke each time it was sent"
            )
            self._record(())

    # Folders

    def _map(self, mail_target: MailTarget) -> None:
        """Decide where folders go, record it, and create what the target lacks."""
        there = mail_target.folders()
        plan = folder_map(self.archive, self.target.id, there, self.options.folder_map)
        self._record_map(plan)
        self._names = {folder.folder_id: folder.target for folder in plan.folders}
        self._listed = {folder.name for folder in there.folders if folder.is_selectable}
        refused = self._create(mail_target, plan.to_create)
        if refused:
            self._make_do(mail_target, plan, refused)

    def _create(
        self, mail_target: MailTarget, folders: Iterable[Levels]
    ) -> dict[Levels, RefusedError]:
        """Create folders; return those that the target refuses."""
        refused: dict[Levels, RefusedError] = {}
        for levels in folders:
            try:
                mail_target.create(levels)
                self.result.folders_created += 1
            except RefusedError as error:
                if error.retriable:
                    raise
                refused[levels] = error
        return refused

    def _make_do(
        self, mail_target: MailTarget, plan: FolderPlan, refused: dict[Levels, RefusedError]
    ) -> None:
        """Give folders that the target refuses to create a plainer name, or go on without them.

        Where it is only a folder above that cannot be made by itself, nothing is amiss.
        """
        there = mail_target.folders()
        usable = {folder.levels for folder in there.folders if folder.is_selectable}
        lacking = [
            (folder, levels)
            for folder in plan.folders
            if (levels := split_name(folder.target)) in refused and levels not in usable
        ]
        plainer = self._plainer(plan, there, refused)
        known = {f.levels[:depth] for f in there.folders for depth in range(1, len(f.levels) + 1)}
        to_create = {new[:depth] for new in plainer.values() for depth in range(1, len(new) + 1)}
        refused_again = self._create(mail_target, sorted(to_create - known))
        for folder, levels in lacking:
            new = plainer.get(levels)
            if new is not None and new not in refused_again:
                self._rename(folder, join_levels(new))
            else:
                self._do_without(folder, refused[levels])

    def _plainer(
        self, plan: FolderPlan, there: TargetFolders, refused: dict[Levels, RefusedError]
    ) -> dict[Levels, Levels]:
        """Return other names for what was refused; what the user wants stays as it is."""
        planned = {split_name(folder.target) for folder in plan.folders}
        wished = {
            split_name(folder.target)
            for folder in plan.folders
            if folder.source in self.options.folder_map
        }
        listed = {folder.levels for folder in there.folders}
        targets = {
            levels
            for levels in (planned & refused.keys()) - listed
            if not any(levels[:depth] in wished for depth in range(1, len(levels) + 1))
        }
        return plainer_names(targets, refused, listed | (planned - refused.keys()))

    def _rename(self, folder: PlannedFolder, name: str) -> None:
        """Send a folder's messages to another name than planned, now and in later runs."""
        reason = f'the target refuses the name "{folder.target}"'
        self.archive.transfers.remap_folder(
            self.target.id, folder.folder_id, name, (*folder.reasons, reason)
        )
        self._names[folder.folder_id] = name
        self.progress.note(folder.source, f'goes to "{name}": {reason}')

    def _do_without(self, folder: PlannedFolder, error: RefusedError) -> None:
        """Go on without a folder that cannot be made."""
        if folder.target in self._failed:
            return
        if self._left_behind(folder.target):
            why = f"{error}; --folder-map FILE.csv gives it another name"
            self._leave(folder.target, folder.source, why)
        else:
            self._failed.add(folder.target)
            self.progress.alarm(folder.source, str(error))

    def _record_map(self, plan: FolderPlan) -> None:
        transfers, target_id = self.archive.transfers, self.target.id
        known = transfers.folder_map(target_id)
        transfers.map_folders(
            target_id,
            (
                (folder.folder_id, folder.target, folder.reasons)
                for folder in plan.folders
                if folder.folder_id not in known
            ),
        )
        for folder in plan.folders:
            earlier = known.get(folder.folder_id)
            if earlier is not None and earlier.name != folder.target:
                transfers.remap_folder(target_id, folder.folder_id, folder.target, folder.reasons)

    def _forget(self, message_ids: Iterable[int]) -> None:
        """Record that what was on its way into a folder that is gone has not arrived."""
        transfers = self.archive.transfers
        ids = iter(message_ids)
        while step := list(islice(ids, _PAGE)):
            gone = transfers.some(self.target.id, step)
            sending = [each for each in gone if each.state is TransferState.SENDING]
            transfers.record(
                (), [replace(each, state=TransferState.PENDING, lost=()) for each in sending]
            )

    def _open(self, mail_target: MailTarget, name: str, selected: Selected | None) -> _Open:
        selected = selected or mail_target.open(split_name(name))
        uidnext = selected.state.uidnext
        if not uidnext:
            # RFC 3501 lets a server be silent about UIDNEXT: one more than the highest UID.
            last = mail_target.uids(b"*") if selected.state.exists else []
            uidnext = max(last, default=0) + 1
        return _Open(name, selected, uidnext, uidnext - 1)

    def _fail(self, name: str, source: str, error: RefusedError) -> None:
        """Go on without a target folder, unless what is wrong with it passes."""
        if error.retriable:
            raise error
        self._leave(name, source, str(error))

    def _leave(self, name: str, source: str, why: str) -> None:
        """Go on without a target folder, and say once how much is not sent for that."""
        if name in self._failed:
            return
        self._failed.add(name)
        self.result.folders_failed += 1
        behind = self._left_behind(name)
        for folder, count in behind:
            self.result.not_sent += count
            self.progress.problem(folder, None, f"{why} ({count:,} not sent)")
        if not behind:
            self.progress.problem(source, None, why)

    def _left_behind(self, name: str) -> list[tuple[str, int]]:
        """Return the archived folders of a target folder with how much is still to be sent."""
        transfers = self.archive.transfers
        moved = {number for number, _, _ in transfers.unsent_moved(self.target.id)}
        found = []
        for folder in self.archive.index.folders():
            if self._names.get(folder.id) == name:
                unsent = transfers.unsent(self.target.id, folder.id)
                count = sum(n not in moved and n not in self._done for n in unsent)
                if count:
                    found.append((folder.name, count))
        return found

    # What is in doubt

    def _settle_all(self, mail_target: MailTarget) -> None:
        for name in self.archive.transfers.in_doubt(self.target.id):
            try:
                self._await(mail_target, name)
                ids = self.archive.transfers.in_doubt(self.target.id).get(name)
                if ids:
                    self._settle(mail_target, mail_target.open(split_name(name)), name, ids)
            except RefusedError as error:
                if error.retriable or name in self._listed:
                    self._fail(name, name, error)
                else:
                    self._forget(self.archive.transfers.in_doubt(self.target.id)[name])

    def _await(self, mail_target: MailTarget, name: str) -> None:
        """Wait for what a target may still be storing of what it got before the line broke.

        Over when all is found, or when some seconds have gone by since it was sent and the
        folder has stopped growing.
        """
        transfers = self.archive.transfers
        looks = ceil(max(0.0, _STORING - transfers.seconds_in_doubt(self.target.id)) / _LOOK_EVERY)
        before: tuple[int, int] | None = None
        quiet = 0
        for look in range(_MOST_LOOKS):
            ids = transfers.in_doubt(self.target.id).get(name)
            if not ids:
                return
            selected = mail_target.open(split_name(name))
            state = (selected.state.uidnext, selected.state.exists)
            if state != before:
                left = self._settle(mail_target, selected, name, ids, is_final=False)
                if not left:
                    return
            quiet = quiet + 1 if state == before else 0
            before = state
            if look >= looks and quiet >= min(_QUIET_LOOKS, looks):
                return
            if not look:
                self.progress.waiting(
                    _STORING, "the target may still be storing what was sent before"
                )
            self.patience.sleep(_LOOK_EVERY)

    def _settle(
        self,
        mail_target: MailTarget,
        selected: Selected,
        name: str,
        ids: Iterable[int],
        *,
        is_final: bool = True,
    ) -> int:
        """Settle what is in doubt; return how many were not found."""
        done = settle(
            self.archive, mail_target, selected, self.target.id, name, ids, is_final=is_final
        )
        self.result.settled += done.found
        self.steps += done.found
        return done.pending

    def _look_through(self, mail_target: MailTarget) -> None:
        """Take note of what the target had before us, once for each folder."""
        transfers = self.archive.transfers
        unsent = transfers.unsent_totals(self.target.id)
        for mapped in transfers.folder_map(self.target.id).values():
            if mapped.looked_through or mapped.folder_id not in unsent:
                continue
            try:
                selected = mail_target.open(split_name(mapped.name))
                if selected.state.exists:
                    found = look_through(
                        self.archive, mail_target, selected, self.target.id, mapped
                    )
                    self.result.already_there += found
            except RefusedError as error:
                # To send into a folder that nobody has looked into might double what is there.
                self._fail(mapped.name, mapped.name, error)
            else:
                transfers.looked_through(self.target.id, mapped.folder_id)
                self.steps += 1

    # Sending

    def _send_folder(
        self, mail_target: MailTarget, source: str, name: str, ids: array[int]
    ) -> None:
        if not ids:
            return
        self.progress.folder(source, len(ids))
        selected: Selected | None = None
        for start in range(0, len(ids), _SPAN):
            try:
                folder = self._open(mail_target, name, selected)
            except RefusedError as error:
                self._fail(name, source, error)
                return
            try:
                for group in self._groups(mail_target, name, ids[start : start + _SPAN]):
                    self._send_group(mail_target, folder, group)
                    if self._ending is not None:
                        break
                self._drain(mail_target, folder)
            except ConnectionLostError:
                self._salvage(mail_target, folder)
                self._blame(next(iter(self._in_flight.values()), None))
                raise
            finally:
                self._record(())
            selected = self._place(mail_target, folder)
            if isinstance(self._ending, _FolderClosedError):
                self._leave(name, source, str(self._ending))
                self._ending = None
                return
            if self._ending is not None:
                raise self._ending

    def _groups(
        self, mail_target: MailTarget, name: str, ids: array[int]
    ) -> Iterator[list[ArchivedMessage]]:
        """Yield messages in groups whose intent is recorded in one step."""
        most = 1 if self._rate.is_limited else min(_GROUP_MESSAGES, mail_target.window.messages)
        group: list[ArchivedMessage] = []
        octets = 0
        for start in range(0, len(ids), _PAGE):
            for message in self.archive.index.some(ids[start : start + _PAGE]):
                if not self._is_to_send(message, name, mail_target.limit):
                    continue
                group.append(message)
                octets += message.size or 0
                if len(group) >= most or octets >= _GROUP_OCTETS:
                    yield group
                    group, octets = [], 0
        if group:
            yield group

    def _is_to_send(self, message: ArchivedMessage, name: str, limit: int | None) -> bool:
        if message.last_seen is not None:
            there = self.archive.transfers.moved_to(message.id)
            if there is not None:
                # The source moved it: its copy goes from the folder in which it is now.
                reason = f"moved to {there} on the source, and sent from there"
                self._set_aside(message, name, reason)
                return False
        size = message.size or 0
        if limit is not None and size > limit:
            reason = f"too large for the target: {size:,} octets, it takes {limit:,}"
            self._set_aside(message, name, reason)
            self.progress.problem(message.folder, message.uid, reason)
            self.result.too_large += 1
            return False
        return True

    def _send_group(
        self, mail_target: MailTarget, folder: _Open, group: list[ArchivedMessage]
    ) -> None:
        flow = self._flow
        intents: list[Transfer] = []
        flags: list[list[str]] = []
        for message in group:
            kept, lost = carried(message, folder.selected)
            flags.append(kept)
            intents.append(
                Transfer(
                    message.id,
                    self.target.id,
                    TransferState.SENDING,
                    folder.name,
                    uidnext_before=folder.uidnext,
                    uidvalidity=folder.selected.state.uidvalidity,
                    lost=lost,
                )
            )
        self._record(intents)
        for message, intent, kept in zip(group, intents, flags, strict=True):
            if self._ending is not None:
                # Nothing of it went out, and that is certain.
                self._outcomes.append(replace(intent, state=TransferState.PENDING, lost=()))
                continue
            self._rate.wait()
            self._send(mail_target, _InFlight(message, intent), kept)
            while not flow.has_room(len(self._in_flight), self._octets_in_flight):
                self._answered(folder, mail_target.answer())

    def _send(self, mail_target: MailTarget, sent: _InFlight, flags: list[str]) -> None:
        message, size = sent.message, sent.message.size or 0
        with self._verified(message) as file:
            if file is None:
                reason = "its file no longer agrees with the index: see waystation check"
                self._set_aside(message, sent.transfer.folder, reason)
                self.progress.problem(message.folder, message.uid, reason)
                self.result.damaged += 1
                return
            self._octets_in_flight += size
            try:
                tag = mail_target.append(flags, message.internaldate, file, size)
            except ConnectionLostError:
                # Part of it may have gone out, or all, and an answer to it have come.
                self._in_flight[mail_target.last_tag] = sent
                raise
            except OSError as error:
                raise StorageError(message.path, error) from None
        self._in_flight[tag] = sent

    @contextmanager
    def _verified(self, message: ArchivedMessage) -> Iterator[BinaryIO | None]:
        """Open a message's file once it is proven to be what was archived."""
        file: BinaryIO | None = None
        try:
            path = self.archive.find(message)
            if path is not None:
                file = path.open("rb", buffering=0)
                file = _proven(file, message)
        except OSError:
            file = None
        try:
            yield file
        finally:
            if file is not None:
                file.close()

    # Answers

    def _drain(self, mail_target: MailTarget, folder: _Open) -> None:
        """Take the answers to all that is outstanding."""
        while self._in_flight:
            self._answered(folder, mail_target.answer())

    def _answered(self, folder: _Open, answer: Tagged) -> None:
        sent = self._in_flight.pop(answer.tag, None)
        if sent is None:
            raise ProtocolError(self.target.name, "it answers what was not asked", answer.text)
        self._octets_in_flight -= sent.message.size or 0
        self._flow.answered(sent.message.size or 0)
        if answer.is_ok:
            self._appended(folder, sent, answer)
            return
        refused = RefusedError("APPEND", answer.reply)
        if _GONE.search(answer.text) and self._may_recreate(folder.name):
            self._try_later(sent, answer, _FolderGoneError(folder.name, answer.reply))
        elif self._is_closed(answer) or (refused.retriable and self._blame(sent) < _GIVEN_UP):
            self._try_later(sent, answer, refused)
        else:
            self._refused(sent, answer.reply)
            self._full_in_a_row = self._full_in_a_row + 1 if _FULL.search(answer.text) else 0
            if self._full_in_a_row >= _FULL_IN_A_ROW:
                self._ending = TargetFullError(self.target.name, answer.reply)
            elif self._refuses_all(folder.name, answer) and self._ending is None:
                self._ending = _FolderClosedError(answer.reply)

    def _is_closed(self, answer: Tagged) -> bool:
        """Whether this answers what was in flight when a folder turned out to take nothing."""
        return isinstance(self._ending, _FolderClosedError) and self._ending.reply == answer.reply

    def _refuses_all(self, name: str, answer: Tagged) -> bool:
        """Whether a folder answers everything alike, so that it is no use to go on with it."""
        if _OF_THE_MESSAGE.search(answer.text):
            return False
        words, times = self._refusals.get(name, ("", 0))
        times = times + 1 if words == answer.reply else 1
        self._refusals[name] = (answer.reply, times)
        return times >= _REFUSED_IN_A_ROW and name not in self._taking

    def _may_recreate(self, name: str) -> bool:
        """Whether a folder that is gone is to be created once more in this run."""
        if isinstance(self._ending, _FolderGoneError):
            return True  # all that is in flight meets the same end
        may = name not in self._recreated
        self._recreated.add(name)
        return may

    def _try_later(self, sent: _InFlight, answer: Tagged, why: WaystationError) -> None:
        self._outcomes.append(
            replace(sent.transfer, state=TransferState.PENDING, reply=answer.reply, lost=())
        )
        self._ending = self._ending or why

    def _blame(self, sent: _InFlight | None) -> int:
        """Count that a message made trouble; return how often it has."""
        if sent is None:
            return 0
        number = sent.message.id
        times = self._trouble[number] = self._trouble.get(number, 0) + 1
        return times

    def _refused(self, sent: _InFlight, reply: str) -> None:
        self._outcomes.append(
            replace(sent.transfer, state=TransferState.REFUSED, reply=reply, lost=())
        )
        self._done.add(sent.message.id)
        self.result.refused += 1
        self.steps += 1
        self.progress.problem(sent.message.folder, sent.message.uid, reply)

    def _appended(self, folder: _Open, sent: _InFlight, answer: Tagged) -> None:
        self._full_in_a_row = 0
        self._taking.add(folder.name)
        self.steps += 1
        self.result.appended += 1
        self.result.octets += sent.message.size or 0
        self.progress.advance(1, sent.message.size or 0)
        self._trouble.pop(sent.message.id, None)
        outcome = replace(sent.transfer, state=TransferState.APPENDED, reply=answer.reply)
        place = answer.appenduid
        if place is not None and _is_believable(folder, place):
            folder.highest = place[1]
            folder.placed.append(sent.message.id)
            outcome = replace(outcome, uidvalidity=place[0], uid=place[1])
        else:
            # It is there: the server said OK. Where, is looked up when the window is empty.
            folder.unplaced.append(sent.message.id)
        self._outcomes.append(outcome)

    def _place(self, mail_target: MailTarget, folder: _Open) -> Selected | None:
        """Look up the UIDs of what was appended and not told where, or told a lie.

        Returns what the folder says of itself now, if it was asked.
        """
        if not folder.unplaced and not folder.placed:
            return None
        try:
            selected = mail_target.open(split_name(folder.name))
            is_lie = 0 < selected.state.uidnext <= folder.highest
            if is_lie:
                self._withdraw(folder.placed)
                folder.unplaced.extend(folder.placed)
            if folder.unplaced:
                self._settle(mail_target, selected, folder.name, folder.unplaced)
        except RefusedError as error:
            if error.retriable:
                raise
            # They are there; only the UIDs stay unknown until the next run asks again.
            return None
        return selected

    def _withdraw(self, message_ids: Iterable[int]) -> None:
        """Record that the UIDs of these are not known after all."""
        ids = iter(message_ids)
        while step := list(islice(ids, _PAGE)):
            told = self.archive.transfers.some(self.target.id, step)
            self.archive.transfers.record((), [replace(each, uid=None) for each in told])

    def _salvage(self, mail_target: MailTarget, folder: _Open) -> None:
        """Take the answers that arrived before the connection broke."""
        with suppress(WaystationError):
            self._drain(mail_target, folder)

    def _record(self, intents: tuple[()] | list[Transfer]) -> None:
        self.archive.transfers.record(intents, self._outcomes)
        self._outcomes.clear()

    def _set_aside(self, message: ArchivedMessage, name: str, reason: str) -> None:
        self._outcomes.append(
            Transfer(message.id, self.target.id, TransferState.SET_ASIDE, name, reply=reason)
        )
        self._done.add(message.id)
        self.result.set_aside += 1
        self.steps += 1


class TargetFullError(WaystationError):
    """The target takes no more."""

    def __init__(self, target: str, reply: str) -> None:
        super().__init__(
            f"{target} seems to be full: {reply}. Make room or raise the quota, then run the same "
            "command again; it goes on where it stopped."
        )


class _FolderGoneError(WaystationError):
    """A folder was removed while we sent into it; it is created again."""

    def __init__(self, name: str, reply: str) -> None:
        super().__init__(f"the target's folder {plain(name)} is gone: {reply}")

    @property
    def retriable(self) -> bool:
        return True


class _FolderClosedError(WaystationError):
    """A folder refuses every message in the same words."""

    def __init__(self, reply: str) -> None:
        self.reply = reply
        super().__init__(f"the target's folder takes no messages: {reply}")


def _proven(file: BinaryIO, message: ArchivedMessage) -> BinaryIO | None:
    """Return a message's file to be sent, or None where it is not what was archived."""
    is_same = False
    try:
        if (message.size or 0) <= _WHOLE:
            octets = file.read((message.size or 0) + 1)
            is_same = (
                len(octets) == message.size and hashlib.sha256(octets).hexdigest() == message.sha256
            )
            file.close()
            return io.BytesIO(octets) if is_same else None
        digest = hashlib.sha256()
        size = 0
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
        file.seek(0)
        is_same = size == message.size and digest.hexdigest() == message.sha256
        return file if is_same else None
    finally:
        if not is_same:
            file.close()


def _is_believable(folder: _Open, place: tuple[int, int]) -> bool:
    """Whether an APPENDUID can be true: this folder's UIDVALIDITY, and a UID not yet given."""
    uidvalidity, uid = place
    return uidvalidity == folder.selected.state.uidvalidity and uid > folder.highest


def totals(result: Imported) -> dict[str, int]:
    """Return the numbers of a run by their names."""
    return asdict(result)
