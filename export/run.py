"""Stage one: look at each folder, decide, fetch what is missing, record, move the watermark.

A run may be cut off anywhere. What is recorded is durable, what is not will be fetched again;
on a broken connection the run itself begins anew, with the folders that it has not finished.
"""

from __future__ import annotations

import os
from array import array
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from export.budget import GMAIL_BUDGET, Budget, OutOfBudgetError
from export.labels import (
    ELSEWHERE,
    Unlisted,
    is_label,
    remember_ids,
    shows_others,
    take_from_archive,
    turn,
)
from export.plan import (
    Difference,
    Emptied,
    ListAll,
    ListChanges,
    Listing,
    Renumbered,
    Unchanged,
    believed,
    changes,
    compare,
    difference,
)
from export.renumber import give_number, rematch
from export.sift import sift, taken_up, written_uids
from store.archive import now
from store.index import received_of
from waystation.errors import (
    MessageTooLargeError,
    ProtocolError,
    RefusedError,
    SignInError,
    StorageError,
    UnreachableError,
    WaystationError,
)
from waystation.retry import Patience, Rate
from waystation.selection import EVERYTHING, Choice, Selection, choose
from waystation.wire import Tagged, members, uid_sets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from export.source import KnownAgain, MailSource
    from store.archive import Archive
    from store.batch import Batch
    from store.index import ArchivedFolder
    from store.maildir import Draft
    from waystation.model import Folder, FolderState, RemoteMessage
    from waystation.progress import Progress

_MESSAGES_A_COMMAND = 500
_MESSAGES_IN_BUDGET = 100
"""The same where a run may have to stop: what is asked for has to be taken."""
_COMMANDS_IN_FLIGHT = 2
_CHANGES_A_STEP = 1000
_REFUSALS = 3
"""How often a folder may be refused in words that promise better before the run goes on."""


@dataclass(slots=True)
class Exported:
    """What a run has done, in numbers."""

    folders: int = 0
    unchanged: int = 0
    """Folders that cost no message work."""
    new: int = 0
    octets: int = 0
    flags_changed: int = 0
    renumbered: int = 0
    vanished: int = 0
    returned: int = 0
    linked: int = 0
    """Of the new, messages that lay here already under another label, and were not fetched."""
    fetched: int = 0
    """Octets of the messages that came over the line."""
    out_of_budget: bool = False
    """Whether the run ended before its time, because it has fetched what it may."""
    skipped: int = 0
    """Messages that the source shows and that are left out: by a filter, or as ``ELSEWHERE``."""
    failed: int = 0
    """Messages that are listed and could not be had."""
    alarms: int = 0
    """Folders in which something looked too wrong to draw a conclusion."""

    @property
    def is_complete(self) -> bool:
        """Whether everything that the source shows, and that is wanted, is in the archive."""
        return not self.failed and not self.alarms and not self.out_of_budget


@dataclass(frozen=True, slots=True)
class Options:
    """How a run shall go about it."""

    accept_emptied: bool = False
    quick: bool = False
    new_source: bool = False
    rate: float = 0
    """Messages per second at the most; 0 is no ceiling."""
    selection: Selection = EVERYTHING
    """What is to be taken. What was archived before stays, whatever it says."""
    budget: int | None = None
    """Octets that may be fetched in 24 hours, earlier runs included; 0 is no ceiling. None means
    what the source is known to allow, which is ``GMAIL_BUDGET`` for Gmail."""
    mix_protocols: bool = False
    """Mail that came by IMAP and by POP3 may be in this archive together."""


@dataclass(slots=True)
class _Folder:
    """One folder at work."""

    remote: Folder
    archived: ArchivedFolder
    uidvalidity: int
    has_old_numbers: bool
    was_cut_off: bool
    failed: int = 0
    known_again: set[int] = field(default_factory=set)
    """Rows of messages that were fetched as new and are none."""
    is_moving: bool = False
    """Whether the listing holds more or less than the state that is remembered says."""


def export(
    archive: Archive,
    connect: Callable[[], AbstractContextManager[MailSource]],
    name: str,
    key: str,
    progress: Progress,
    options: Options = Options(),
    patience: Patience | None = None,
    result: Exported | None = None,
) -> Exported:
    """Bring the archive up to what the source shows now.

    Args:
        archive: open for writing.
        connect: opens a signed-in source; called again when the connection breaks.
        name: the source as the user named it.
        key: the same for every spelling of it.
        progress: is told how it goes.
        options: see ``Options``.
        patience: how long to wait between tries.
        result: is filled and returned; so the numbers of a run that fails are known too.

    Raises:
        WaystationError: the run could not go on; what is recorded stays, and the same call
            goes on from there.
    """
    patience = patience or Patience(progress)
    run = _Run(archive, progress, options, patience, result if result is not None else Exported())
    has_connected = False
    while True:
        before = run.steps
        try:
            with connect() as source:
                if not has_connected:
                    archive.claim_source(
                        name,
                        key,
                        source.prefix,
                        new_source=options.new_source,
                        mix=options.mix_protocols,
                    )
                    has_connected = True
                run.work(source)
        except OutOfBudgetError:
            run.stop()
            return run.result
        except (StorageError, SignInError):
            run.keep()
            raise
        except WaystationError as error:
            run.keep()
            passes = error.retriable or isinstance(
                error, ProtocolError | MessageTooLargeError | UnreachableError
            )
            # Garbage from the first word on is no passing fault, and does not get better.
            is_hopeless = isinstance(error, ProtocolError) and not run.steps and not run.is_onto_it
            if not has_connected or not passes or is_hopeless:
                raise
            patience.wait(error, has_progressed=run.steps > before)
            if error.backoff is not None:
                progress.waiting(error.backoff, str(error))
                patience.sleep(error.backoff)
        except BaseException:
            run.keep()
            raise
        else:
            return run.result


@dataclass(slots=True)
class _Suspect:
    """A message that the connection broke at."""

    times: int = 0
    words: str = ""


@dataclass(slots=True)
class _Asked:
    """A FETCH that is not answered to its end."""

    uids: list[int]
    waiting: dict[int, None]
    """Those that have not come, in order."""


@dataclass(slots=True)
class _Run:
    archive: Archive
    progress: Progress
    options: Options
    patience: Patience
    result: Exported
    steps: int = 0
    """Grows with all that is done for good, and tells a slow line from a dead one."""
    _batch: Batch = field(init=False)
    _ended: Batch | None = None
    """The batch before, while its files are written."""
    _before: Batch | None = None
    """The batch before that, while its files are made durable."""
    _rate: Rate = field(init=False)
    _finished: set[bytes] = field(default_factory=set)
    _unchanged: list[int] = field(default_factory=list)
    _suspects: dict[tuple[int, int], _Suspect] = field(default_factory=dict)
    _failed: set[tuple[int, int]] = field(default_factory=set)
    _refusals: dict[bytes, int] = field(default_factory=dict)
    _alarms: dict[str, set[str]] = field(default_factory=dict)
    _guesses: dict[int, int] = field(default_factory=dict)
    _choice: Choice = field(default_factory=Choice)
    _has_ids: bool = False
    _wire_names: frozenset[bytes] = frozenset()
    _budget: Budget | None = None
    """What may be fetched; None before a source is known."""
    _known_again: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._batch = self.archive.batch()
        self._rate = Rate(self.options.rate, self.patience.sleep)

    @property
    def is_onto_it(self) -> bool:
        """Whether it is known at which message the connection broke, so that it can be left."""
        return bool(self._suspects)

    def keep(self) -> None:
        """Record what is complete, whatever ended the run."""
        # The error that ended the run is the one to tell; this one would be its echo.
        with suppress(WaystationError):
            self._commit()

    def stop(self) -> None:
        """End the run before its time; what is complete is recorded."""
        self._commit()
        self.result.out_of_budget = True
        self.result.skipped = self.archive.index.count_skipped()

    def work(self, source: MailSource) -> None:
        """Work through all folders that are not finished yet."""
        self._has_ids = source.has_message_ids
        if self._budget is None:
            # Once: what this run fetches is added to its own record meanwhile.
            usual = GMAIL_BUDGET if self._has_ids else 0
            wanted = self.options.budget
            self._budget = Budget(self.archive, usual if wanted is None else wanted)
        listed = source.folders()
        if not listed:
            raise ProtocolError(
                self.archive.description.source or "the server", "it lists no folder"
            )
        folders = [folder for folder in listed if folder.is_selectable]
        self._wire_names = frozenset(folder.wire_name for folder in listed)
        self._note_vanished_folders(folders)
        self._choose(folders)
        self.result.folders = len(folders)
        waiting = [folder for folder in folders if folder.wire_name not in self._finished]
        states = source.states(waiting)
        # New folders are recorded in one step: each by itself would wait for the disk.
        with self.archive.database.atomic():
            places = [
                self.archive.ensure_folder(folder.levels, folder.special_use) for folder in waiting
            ]
        due: list[tuple[Folder, ArchivedFolder, FolderState | None]] = []
        for folder, archived in zip(waiting, places, strict=True):
            state = states.get(folder.wire_name)
            if (
                state is not None
                and isinstance(self._plan(archived, state), Unchanged)
                and not self._is_left_to_do(archived, state)
                # What it has to hold shows only when all other folders were worked through.
                and not self._shows_others(archived)
            ):
                self._is_unchanged(folder, archived)
            else:
                due.append((folder, archived, state))
        if self._has_ids:
            due.sort(key=lambda each: turn(each[1]))
        self._guess(due)
        for folder, archived, state in due:
            try:
                self._work_on(source, folder, archived, state)
            except RefusedError as error:
                # A named backoff is the whole mailbox's: it is waited for, and nothing else asked.
                if error.retriable and (error.backoff is not None or self._may_try_again(folder)):
                    raise
                if archived.name not in self._choice.left_out:
                    self._alarm(archived.name)
                    self.progress.problem(archived.name, None, str(error))
                else:
                    self.progress.note(archived.name, f"cannot be looked at: {error}")
            self._finished.add(folder.wire_name)
        self._commit()
        self.archive.index.looked_at(self._unchanged, now())
        self.result.skipped = self.archive.index.count_skipped()

    def _choose(self, folders: list[Folder]) -> None:
        """Decide which folders are left out; say once where a pattern names none."""
        unmatched = self._choice.unmatched
        self._choice = choose(
            self.options.selection, [(folder.levels, folder.special_use) for folder in folders]
        )
        for pattern in self._choice.unmatched:
            if pattern not in unmatched:
                self.progress.alarm(pattern, "the source has no folder that this pattern names")

    def _shows_others(self, archived: ArchivedFolder) -> bool:
        return self._has_ids and shows_others(archived)

    def _is_left_to_do(self, archived: ArchivedFolder, state: FolderState) -> bool:
        """Whether a folder in which nothing has changed is to be worked on all the same."""
        if self._has_ids and self.archive.index.without_source_id(archived.id, state.uidvalidity):
            return True
        return bool(self._taken_up(archived, state.uidvalidity))

    def _taken_up(
        self, archived: ArchivedFolder, uidvalidity: int, written: frozenset[int] = frozenset()
    ) -> list[int]:
        """Return what was left out of a folder before, and is so no longer."""
        if not self._shows_others(archived):
            return taken_up(self.archive, self._choice, archived, uidvalidity, written)
        again = taken_up(self.archive, self._choice, archived, uidvalidity, written, (ELSEWHERE,))
        return again + self.archive.index.nowhere_else(archived.id, uidvalidity, ELSEWHERE)

    def _is_unchanged(self, folder: Folder, archived: ArchivedFolder) -> None:
        self.result.unchanged += 1
        self._unchanged.append(archived.id)
        self._finished.add(folder.wire_name)

    def _plan(
        self, archived: ArchivedFolder, state: FolderState
    ) -> Unchanged | ListAll | ListChanges | Renumbered | Emptied:
        present = 0
        if not state.exists and archived.state is not None:
            # Where nothing is here that could be lost, an empty folder is no alarm.
            present = self.archive.index.archived_present(archived.id, archived.state.uidvalidity)
        return compare(
            state,
            archived.state,
            is_settled=archived.is_settled,
            present=present,
            # A label that nothing bears any more is no alarm: an inbox that is done with, say.
            accept_emptied=self.options.accept_emptied or (self._has_ids and is_label(archived)),
            # Of a folder that is left out, changed flags are of no interest either.
            quick=self.options.quick or archived.name in self._choice.left_out,
        )

    def _work_on(
        self,
        source: MailSource,
        remote: Folder,
        archived: ArchivedFolder,
        status: FolderState | None,
    ) -> None:
        # The state from before the listing is the one to remember: what comes in between is
        # then seen the next time.
        state = believed(status, source.open(remote))
        plan = self._plan(archived, state)
        if isinstance(plan, Unchanged) and not self._is_left_to_do(archived, state):
            self._is_unchanged(remote, archived)
            return
        if isinstance(plan, Emptied):
            self._alarm(
                archived.name,
                f"the folder suddenly shows no message, {plan.archived} are archived. Nothing is "
                "concluded from that; if it was emptied on purpose, say --accept-emptied",
            )
            return
        folder = _Folder(
            remote,
            archived,
            state.uidvalidity,
            has_old_numbers=isinstance(plan, Renumbered)
            or self.archive.index.has_other_uidvalidity(archived.id, state.uidvalidity),
            was_cut_off=not archived.is_settled and self._holds_files(archived),
        )
        found, is_sure = self._compare(source, folder, state, plan)
        self._apply(folder, found, is_sure=is_sure)
        if folder.has_old_numbers and found.missing:
            found.missing = self._rematch(source, folder, found.missing)
        if found.missing:
            found.missing = self._known_by_header(source, folder, found.missing)
        written: frozenset[int] = frozenset()
        if folder.was_cut_off:
            written = written_uids(self.archive, archived, folder.uidvalidity)
        found.missing = self._sift(source, folder, found.missing, written)
        if self._has_ids and found.missing:
            found.missing = self._take_from_archive(source, folder, found.missing, written)
        self._fetch(source, folder, found.missing)
        if self._budget is not None and self._budget.was_exceeded:
            # Before anything is taken for vanished: what did not come may be it by another name.
            raise OutOfBudgetError
        if is_sure and not (folder.failed and folder.known_again):
            self._note_vanished(folder, found)
        if self._has_ids:
            self._commit()
            remember_ids(self.archive, source, archived, folder.uidvalidity)
        if folder.was_cut_off or folder.has_old_numbers:
            self._commit()
            self._tidy(folder, is_sure=is_sure)
        is_settled = is_sure and not folder.failed and not folder.is_moving
        self._batch.settle(archived.id, state, now(), is_settled=is_settled)
        self._commit_if_due()

    def _holds_files(self, archived: ArchivedFolder) -> bool:
        with suppress(OSError), os.scandir(self.archive.maildir(archived).path / "cur") as files:
            return any(True for _ in files)
        return False

    def _may_try_again(self, folder: Folder) -> bool:
        times = self._refusals[folder.wire_name] = self._refusals.get(folder.wire_name, 0) + 1
        return times < _REFUSALS

    # Comparing

    def _compare(
        self,
        source: MailSource,
        folder: _Folder,
        state: FolderState,
        plan: Unchanged | ListAll | ListChanges | Renumbered,
    ) -> tuple[Difference, bool]:
        """Return what is to do, and whether the listing can be believed to be whole."""
        if isinstance(plan, Unchanged):
            return Difference(), True
        if isinstance(plan, ListChanges):
            found = self._changes(source, folder, state, plan.since)
            if found is not None:
                return found, True
        listing = Listing()
        if state.exists:
            for line in source.flags():
                listing.add(*line)
        known = self.archive.index.known(folder.archived.id, folder.uidvalidity)
        found = difference(listing, known)
        # Mail that comes or goes while the folder is listed makes the two differ: then it is not
        # done with, and looked through again.
        folder.is_moving = len(listing) != state.exists
        if len(listing) >= state.exists or len(listing) >= source.open(folder.remote).exists:
            return found, True
        self._alarm(
            folder.archived.name,
            f"the server says it holds {state.exists} messages and lists {len(listing)} of them. "
            "What it lists is archived; nothing is taken for vanished",
        )
        return found, False

    def _changes(
        self, source: MailSource, folder: _Folder, state: FolderState, since: int
    ) -> Difference | None:
        """Return what has changed, or None where the count says that this is not all."""
        index = self.archive.index
        listing = Listing()
        try:
            for line in source.flags(since):
                listing.add(*line)
        except RefusedError as error:
            if error.retriable:
                raise
            return None
        found = changes(
            (line, index.known_uid(folder.archived.id, folder.uidvalidity, line[0]))
            for line in listing
        )
        present = index.present(folder.archived.id, folder.uidvalidity)
        is_all = present + found.newcomers + len(found.returned) == state.exists
        return found if is_all else None

    def _apply(self, folder: _Folder, found: Difference, *, is_sure: bool) -> None:
        archive = self.archive
        # Of what was left out nothing is found under another name; it must not be taken up.
        left_out = archive.index.left_out(found.vanished) if is_sure and found.vanished else []
        if not (found.missing or found.changed or found.returned or left_out):
            return
        archive.index.unsettle(folder.archived.id)
        changed = iter(found.changed)
        while step := list(islice(changed, _CHANGES_A_STEP)):
            with archive.database.atomic():
                for message_id, flags, keywords in step:
                    archive.plan_flags(folder.archived, message_id, flags, keywords)
            archive.carry_out_renames()
            self.result.flags_changed += len(step)
            self.steps += len(step)
        with archive.database.atomic():
            archive.index.set_returned(found.returned)
            archive.index.set_vanished(left_out)
        self.result.returned += len(found.returned)

    def _sift(
        self,
        source: MailSource,
        folder: _Folder,
        missing: array[int],
        written: frozenset[int],
    ) -> array[int]:
        """Leave out what filters leave out, and add what they left out before and no longer do."""
        archived, uidvalidity = folder.archived, folder.uidvalidity
        again = self._taken_up(archived, uidvalidity, written)
        taken = sift(
            self.archive,
            source,
            self._choice,
            archived,
            uidvalidity,
            missing,
            may_be_known=folder.has_old_numbers,
            written=written,
        )
        self.steps += len(missing) - len(taken)
        return array("Q", sorted((*taken, *again))) if again else taken

    def _take_from_archive(
        self,
        source: MailSource,
        folder: _Folder,
        missing: array[int],
        written: frozenset[int],
    ) -> array[int]:
        """Take what lies here already under another label; return what is to be fetched."""
        archived = folder.archived
        maildir = self.archive.maildir(archived)

        def take(message: RemoteMessage, draft: Draft) -> None:
            self._batch.add(archived, maildir, folder.uidvalidity, message, draft)
            self.result.linked += 1
            self._commit_if_due()

        self._commit()  # so that all that was fetched before is found
        unlisted = Unlisted(self._wire_names)
        left = take_from_archive(
            self.archive,
            source,
            archived,
            folder.uidvalidity,
            missing,
            written,
            take,
            unlisted.see,
        )
        for sentence in unlisted.sentences if self._shows_others(archived) else ():
            self.progress.note(archived.name, sentence)
        return left

    def _note_vanished(self, folder: _Folder, found: Difference) -> None:
        """Record what is there no more: after the fetch, which may find it under another name."""
        index = self.archive.index
        vanished = [number for number in found.vanished if number not in folder.known_again]
        if vanished:
            index.unsettle(folder.archived.id)
        if vanished or folder.known_again:
            with self.archive.database.atomic():
                index.set_vanished(vanished)
                index.set_returned(folder.known_again)
        self.result.vanished += index.count_wanted(vanished)

    def _rematch(self, source: MailSource, folder: _Folder, missing: array[int]) -> array[int]:
        """Find messages again whose UIDs have changed, before anything is fetched twice."""
        left = rematch(self.archive, source, folder.archived, folder.uidvalidity, missing)
        self.result.renumbered += len(missing) - len(left)
        self.steps += len(missing) - len(left)
        return left

    def _tidy(self, folder: _Folder, *, is_sure: bool) -> None:
        archive = self.archive
        if folder.has_old_numbers and is_sure and not folder.failed:
            with archive.database.atomic():
                archive.index.drop_skipped_of_others(folder.archived.id, folder.uidvalidity)
                self.result.vanished += archive.index.others_vanished(
                    folder.archived.id, folder.uidvalidity
                )
        if folder.was_cut_off and not folder.failed:
            archive.adopt(folder.archived)

    def _note_vanished_folders(self, listed: list[Folder]) -> None:
        names = {folder.name for folder in listed}
        for archived in self.archive.index.folders():
            if archived.name not in names and archived.last_seen is None:
                self.archive.index.folder_vanished(archived.id)
                self.progress.alarm(
                    archived.name, "the server no longer lists this folder; its messages are kept"
                )

    # Fetching

    def _guess(self, due: list[tuple[Folder, ArchivedFolder, FolderState | None]]) -> None:
        """Guess from the folders' states how much is to be done, so that an ETA can be told."""
        self._guesses.clear()
        for _, archived, state in due:
            if archived.name in self._choice.left_out or self._shows_others(archived):
                continue
            if state is not None:
                uidvalidity = (archived.state or state).uidvalidity
                present = self.archive.index.present(archived.id, uidvalidity)
                self._guesses[archived.id] = max(0, state.exists - present)
        self._expect(0)

    def _expect(self, messages: int) -> None:
        done = self.result.new + self._batch.waiting
        done += sum(batch.waiting for batch in (self._ended, self._before) if batch is not None)
        self.progress.expect(done + messages + sum(self._guesses.values()))

    def _fetch(self, source: MailSource, folder: _Folder, missing: array[int]) -> None:
        number = folder.archived.id
        self._guesses.pop(number, None)
        self._expect(len(missing))
        if not missing:
            return
        self.archive.index.unsettle(number)
        self.progress.folder(folder.archived.name, len(missing))
        # What broke the connection before is asked for alone, so that it can break nothing else.
        suspects = [uid for uid in missing if (number, uid) in self._suspects]
        for uid in suspects:
            self._fetch_suspect(source, folder, uid)
        rest = (uid for uid in missing if uid not in suspects) if suspects else missing
        most = _MESSAGES_A_COMMAND
        if self._rate.is_limited:
            # Little is asked for at a time, so that the server does not run ahead of us.
            most = max(1, min(most, int(self.options.rate)))
        if self._budget is not None and self._budget.is_limited:
            most = min(most, _MESSAGES_IN_BUDGET)
        for uid, words in self._fetch_sets(source, folder, uid_sets(rest, most)):
            for _, reply in self._fetch_sets(source, folder, [b"%d" % uid]):
                self._fail(folder, uid, self._reason(source, uid, reply or words))

    def _fetch_suspect(self, source: MailSource, folder: _Folder, uid: int) -> None:
        suspect = self._suspects[folder.archived.id, uid]
        if suspect.times > 1:
            # It broke the connection in a group and then alone: the run goes on without it.
            self._fail(folder, uid, suspect.words)
        else:
            for _, words in self._fetch_sets(source, folder, [b"%d" % uid]):
                self._fail(folder, uid, self._reason(source, uid, words))
        self._suspects.pop((folder.archived.id, uid), None)

    def _fetch_sets(
        self, source: MailSource, folder: _Folder, sets: Iterable[bytes]
    ) -> list[tuple[int, str]]:
        """Fetch UID sets; return the UIDs that did not come, with the server's words."""
        asked: deque[_Asked] = deque()

        def note() -> Iterator[bytes]:
            for uids in sets:
                if self._budget is not None and not self._budget.allows(self.result.fetched):
                    return
                numbers = members(uids)
                asked.append(_Asked(numbers, dict.fromkeys(numbers)))
                yield uids

        came: dict[int, Draft] = {}
        left: list[tuple[int, str]] = []
        maildir = self.archive.maildir(folder.archived)
        try:
            for answer in source.fetch(note(), maildir.draft, _COMMANDS_IN_FLIGHT):
                if isinstance(answer, Tagged):
                    words = self._judge(answer)
                    done = asked.popleft()
                    left += [(uid, words) for uid in done.waiting]
                    for uid in done.uids:
                        came.pop(uid, None)
                elif answer.body is not None:
                    self._take(source, folder, answer.message, answer.body, asked, came)
        except (StorageError, RefusedError):
            raise
        except WaystationError as error:
            if asked:
                self._suspect(folder, asked[0], error)
            raise
        return left

    def _judge(self, answer: Tagged) -> str:
        """Return why messages did not come; raise where that passes."""
        if answer.is_ok:
            return ""
        refused = RefusedError("FETCH", answer.text)
        if refused.retriable:
            raise refused
        return answer.text or answer.status

    def _take(
        self,
        source: MailSource,
        folder: _Folder,
        message: RemoteMessage,
        draft: Draft,
        asked: Sequence[_Asked],
        came: dict[int, Draft],
    ) -> None:
        """Put a message that was asked for into the batch, once."""
        self.result.fetched += draft.size
        self._rate.wait()
        uid = message.uid
        command: _Asked | None = asked[0] if asked and uid in asked[0].waiting else None
        if command is None:
            # Commands that do not depend on each other may be answered in any order.
            command = next((each for each in asked if uid in each.waiting), None)
        if command is None:
            if uid in came:
                draft.finish(None)
                if draft.sha256() != came[uid].sha256():
                    self._alarm(
                        folder.archived.name,
                        f"the server gave two different messages as UID {uid}; the first is "
                        f"archived (sha256 {came[uid].sha256()}), the second was {draft.sha256()}",
                    )
            draft.discard()
            return
        draft.finish(message.internaldate)
        del command.waiting[uid]
        came[uid] = draft
        if self._failed:
            self._failed.discard((folder.archived.id, uid))
            self.result.failed = len(self._failed)
        if folder.has_old_numbers and self._renumber(folder, message, draft):
            return
        if self._is_known_again(source, folder, message, draft):
            return
        maildir = self.archive.maildir(folder.archived)
        self._batch.add(folder.archived, maildir, folder.uidvalidity, message, draft)
        self._commit_if_due()

    def _renumber(self, folder: _Folder, message: RemoteMessage, draft: Draft) -> bool:
        """Whether this is a message of before the folder was renumbered; then it keeps its row."""
        archive = self.archive
        old = archive.index.renumbered_content(
            folder.archived.id,
            folder.uidvalidity,
            draft.sha256(),
            received_of(message.internaldate),
        )
        if old is None:
            return False
        with archive.database.atomic():
            give_number(archive, folder.archived, old, folder.uidvalidity, message)
        archive.carry_out_renames()
        self.result.renumbered += 1
        self.steps += 1
        draft.discard()
        return True

    def _is_known_again(
        self,
        source: MailSource,
        folder: _Folder,
        message: RemoteMessage,
        draft: Draft,
    ) -> bool:
        """Whether the source has only another name for what is archived; it keeps its row."""
        known = source.knows_again(message, draft.sha256)
        if known is None:
            return False
        row = known.row
        if row.uidvalidity != folder.uidvalidity:
            with self.archive.database.atomic():
                self.archive.plan_renumber(folder.archived, row, folder.uidvalidity, message.uid)
            self.archive.carry_out_renames()
        self._keeps_row(folder, known)
        draft.discard()
        return True

    def _known_by_header(
        self, source: MailSource, folder: _Folder, missing: array[int]
    ) -> array[int]:
        """Find messages again that only have another name, before anything is fetched."""
        again: set[int] = set()
        for uid, known in source.known_by_header(missing):
            self._keeps_row(folder, known)
            again.add(uid)
        return array("Q", (uid for uid in missing if uid not in again)) if again else missing

    def _keeps_row(self, folder: _Folder, known: KnownAgain) -> None:
        row = known.row
        folder.known_again.add(row.id)
        if row.id not in self._known_again:
            self._known_again.add(row.id)
            self.steps += 1
            self.result.renumbered += known.has_new_name

    def _suspect(self, folder: _Folder, asked: _Asked, error: WaystationError) -> None:
        """Note the message that the connection broke at: the first that had not come."""
        uid = next(iter(asked.waiting), None)
        if uid is not None:
            suspect = self._suspects.setdefault((folder.archived.id, uid), _Suspect())
            suspect.times += 1
            suspect.words = str(error)
            # Convicted: the next try goes on without it, and need not wait.
            self.steps += suspect.times > 1

    def _reason(self, source: MailSource, uid: int, words: str) -> str:
        with suppress(RefusedError):
            if uid not in source.uids(b"%d" % uid):
                return "gone from the server before it could be fetched"
        return words or "the server lists it and does not send it"

    def _fail(self, folder: _Folder, uid: int, reason: str) -> None:
        folder.failed += 1
        self._failed.add((folder.archived.id, uid))
        self.result.failed = len(self._failed)
        self.steps += 1
        self.archive.index.add_failed(folder.archived.id, folder.uidvalidity, uid, reason)
        self.progress.problem(folder.archived.name, uid, reason)

    def _alarm(self, folder: str, text: str = "") -> None:
        """Count a folder among those with alarms; tell each text once, whatever breaks."""
        told = self._alarms.setdefault(folder, set())
        self.result.alarms = len(self._alarms)
        if text and text not in told:
            told.add(text)
            self.progress.alarm(folder, text)

    # Recording

    def _commit_if_due(self) -> None:
        if self._before is not None and self._before.is_durable:
            self._finish()  # recorded now, it is told sooner and held for a shorter time
        if self._before is None and self._ended is not None and self._ended.is_written:
            self._start()
        if self._batch.is_due:
            self._start()
            self._batch.end()
            self._ended, self._batch = self._batch, self.archive.batch()

    def _commit(self) -> None:
        self._start()
        self._finish()
        self._recorded(*self._batch.commit())

    def _start(self) -> None:
        """Have the files that are written made durable."""
        if self._ended is not None:
            self._finish()
            self._ended.start()
            self._before, self._ended = self._ended, None

    def _finish(self) -> None:
        """Record the batch whose files were made durable meanwhile."""
        if self._before is not None:
            self._recorded(*self._before.commit())
            self._before = None

    def _recorded(self, messages: int, octets: int) -> None:
        self.steps += messages
        self.result.new += messages
        self.result.octets += octets
        if self._budget is not None and self._budget.is_limited:
            # Also a run that is killed has used up what it has fetched.
            self.archive.note_totals(totals(self.result))
        if messages:
            self.progress.advance(messages, octets)


def totals(result: Exported) -> dict[str, int]:
    """Return the numbers of a run by their names."""
    return asdict(result)
