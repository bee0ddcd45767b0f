"""Stage one: look at each folder, decide, fetch what is missing, record, move the watermark.

A run may be cut off anywhere. What is recorded is durable, what is not will be fetched again;
on a broken connection the run itself begins anew, with the folders that it has not finished.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from export.plan import (
    Difference,
    Emptied,
    ListAll,
    ListChanges,
    Listing,
    Renumbered,
    Unchanged,
    changes,
    compare,
    difference,
)
from export.renumber import rematch
from store.archive import now
from waystation.errors import (
    MessageTooLargeError,
    ProtocolError,
    RefusedError,
    SignInError,
    StorageError,
    UnreachableError,
    WaystationError,
)
from waystation.retry import Patience
from waystation.wire import Tagged, uid_sets

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from export.source import MailSource
    from store.archive import Archive
    from store.batch import Batch
    from store.index import ArchivedFolder
    from store.maildir import Draft
    from waystation.model import Folder, FolderState, RemoteMessage
    from waystation.progress import Progress
    from waystation.wire import Fetched

_MESSAGES_A_COMMAND = 500
_COMMANDS_IN_FLIGHT = 2


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
    failed: int = 0
    """Messages that are listed and could not be had."""
    alarms: int = 0
    """Folders in which something looked too wrong to draw a conclusion."""

    @property
    def is_complete(self) -> bool:
        """Whether everything that the source shows is in the archive."""
        return not self.failed and not self.alarms


@dataclass(frozen=True, slots=True)
class Options:
    """How a run shall go about it."""

    accept_emptied: bool = False
    quick: bool = False
    new_source: bool = False


@dataclass(slots=True)
class _Folder:
    """One folder at work."""

    remote: Folder
    archived: ArchivedFolder
    uidvalidity: int
    has_old_numbers: bool
    was_cut_off: bool
    failed: int = 0


def export(
    archive: Archive,
    connect: Callable[[], AbstractContextManager[MailSource]],
    name: str,
    key: str,
    progress: Progress,
    options: Options = Options(),
    patience: Patience | None = None,
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

    Raises:
        WaystationError: the run could not go on; what is recorded stays, and the same call
            goes on from there.
    """
    run = _Run(archive, progress, options)
    patience = patience or Patience(progress)
    has_connected = False
    while True:
        before = run.steps
        try:
            with connect() as source:
                if not has_connected:
                    archive.claim_source(name, key, source.prefix, new_source=options.new_source)
                    has_connected = True
                run.work(source)
        except (StorageError, SignInError):
            run.keep()
            raise
        except WaystationError as error:
            run.keep()
            passes = error.retriable or isinstance(
                error, ProtocolError | MessageTooLargeError | UnreachableError
            )
            if not has_connected or not passes:
                raise
            patience.wait(error, has_progressed=run.steps > before)
        except BaseException:
            run.keep()
            raise
        else:
            return run.result


@dataclass(slots=True)
class _Run:
    archive: Archive
    progress: Progress
    options: Options
    result: Exported = field(default_factory=Exported)
    steps: int = 0
    """Grows with all that is done for good, and tells a slow line from a dead one."""
    _batch: Batch = field(init=False)
    _finished: set[bytes] = field(default_factory=set)
    _suspects: dict[tuple[int, int], int] = field(default_factory=dict)
    _expected: int = 0

    def __post_init__(self) -> None:
        self._batch = self.archive.batch()

    def keep(self) -> None:
        """Record what is complete, whatever ended the run."""
        # The error that ended the run is the one to tell; this one would be its echo.
        with suppress(WaystationError):
            self._commit()

    def work(self, source: MailSource) -> None:
        """Work through all folders that are not finished yet."""
        listed = source.folders()
        if not listed:
            raise ProtocolError(
                self.archive.description.source or "the server", "it lists no folder"
            )
        self._note_vanished_folders(listed)
        folders = [folder for folder in listed if folder.is_selectable]
        self.result.folders = len(folders)
        waiting = [folder for folder in folders if folder.wire_name not in self._finished]
        states = source.states(waiting)
        seen: list[int] = []
        for folder in waiting:
            archived = self.archive.ensure_folder(folder.levels, folder.special_use)
            state = states.get(folder.wire_name)
            if state is not None and self._is_unchanged(archived, state):
                self.result.unchanged += 1
                seen.append(archived.id)
            else:
                self._work_on(source, folder, archived, state)
            self._finished.add(folder.wire_name)
        self._commit()
        self.archive.index.looked_at(seen, now())

    def _is_unchanged(self, archived: ArchivedFolder, state: FolderState) -> bool:
        return isinstance(self._plan(archived, state), Unchanged)

    def _plan(
        self, archived: ArchivedFolder, state: FolderState
    ) -> Unchanged | ListAll | ListChanges | Renumbered | Emptied:
        present = 0
        if not state.exists and archived.state is not None:
            present = self.archive.index.present(archived.id, archived.state.uidvalidity)
        return compare(
            state,
            archived.state,
            is_settled=archived.is_settled,
            present=present,
            accept_emptied=self.options.accept_emptied,
            quick=self.options.quick,
        )

    def _work_on(
        self,
        source: MailSource,
        remote: Folder,
        archived: ArchivedFolder,
        status: FolderState | None,
    ) -> None:
        try:
            opened = source.open(remote)
        except RefusedError as error:
            if error.retriable:
                raise
            self.result.alarms += 1
            self.progress.problem(archived.name, None, str(error))
            return
        # The state from before the listing is the one to remember: what comes in between is
        # then seen the next time.
        state = status if status and status.uidvalidity == opened.uidvalidity else opened
        if not opened.exists and state.exists:
            state = opened
        plan = self._plan(archived, state)
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
            self.archive.index.has_other_uidvalidity(archived.id, state.uidvalidity),
            was_cut_off=not archived.is_settled,
        )
        found, is_sure = self._compare(source, folder, state, plan)
        self._apply(folder, found, is_sure=is_sure)
        if folder.has_old_numbers and found.missing:
            found.missing = self._rematch(source, folder, found.missing)
        self._fetch(source, folder, found.missing)
        if folder.was_cut_off or folder.has_old_numbers:
            self._commit()
            self._tidy(folder, is_sure=is_sure)
        is_settled = is_sure and not folder.failed
        self._batch.settle(archived.id, state, now(), is_settled=is_settled)
        self._commit_if_due()

    # Comparing

    def _compare(
        self,
        source: MailSource,
        folder: _Folder,
        state: FolderState,
        plan: Unchanged | ListAll | ListChanges | Renumbered,
    ) -> tuple[Difference, bool]:
        """Return what is to do, and whether the listing can be believed to be whole."""
        index = self.archive.index
        if isinstance(plan, ListChanges):
            listed = (
                (line, index.known_uid(folder.archived.id, folder.uidvalidity, line[0]))
                for line in source.flags(plan.since)
            )
            found = changes(listed)
            present = index.present(folder.archived.id, folder.uidvalidity)
            newcomers = sum(
                index.known_uid(folder.archived.id, folder.uidvalidity, uid) is None
                for uid in found.missing
            )
            if present + newcomers + len(found.returned) == state.exists:
                return found, True
        listing = Listing()
        if state.exists:
            for line in source.flags():
                listing.add(*line)
        known = index.known(folder.archived.id, folder.uidvalidity)
        found = difference(listing, known)
        if len(listing) >= state.exists or len(listing) >= source.open(folder.remote).exists:
            return found, True
        self._alarm(
            folder.archived.name,
            f"the server says it holds {state.exists} messages and lists {len(listing)} of them. "
            "What it lists is archived; nothing is taken for vanished",
        )
        return found, False

    def _apply(self, folder: _Folder, found: Difference, *, is_sure: bool) -> None:
        if not (found.missing or found.changed or found.returned or (found.vanished and is_sure)):
            return
        archive = self.archive
        archive.index.unsettle(folder.archived.id)
        with archive.database.atomic():
            for message_id, flags, keywords in found.changed:
                archive.plan_flags(folder.archived, message_id, flags, keywords)
            archive.index.set_returned(found.returned)
            if is_sure:
                archive.index.set_vanished(found.vanished)
        archive.carry_out_renames()
        self.result.flags_changed += len(found.changed)
        self.result.returned += len(found.returned)
        self.result.vanished += len(found.vanished) if is_sure else 0
        self.steps += len(found.changed)

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
                self.result.vanished += archive.index.others_vanished(
                    folder.archived.id, folder.uidvalidity
                )
        if folder.was_cut_off and folder.archived.state is not None and not folder.failed:
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

    def _fetch(self, source: MailSource, folder: _Folder, missing: array[int]) -> None:
        if not missing:
            return
        self.archive.index.unsettle(folder.archived.id)
        self._expected += len(missing)
        self.progress.expect(self._expected)
        self.progress.folder(folder.archived.name, len(missing))
        # What broke the connection before is asked for alone, so that it can break nothing else.
        suspects = [uid for uid in missing if (folder.archived.id, uid) in self._suspects]
        for uid in suspects:
            self._fetch_suspect(source, folder, uid)
        rest = (
            [uid for uid in missing if (folder.archived.id, uid) not in self._suspects]
            if suspects
            else missing
        )
        left = self._fetch_sets(source, folder, list(uid_sets(rest, _MESSAGES_A_COMMAND)))
        for uid, words in left:
            again = self._fetch_sets(source, folder, [b"%d" % uid])
            for _, reply in again:
                self._fail(folder, uid, self._reason(source, uid, reply or words))

    def _fetch_suspect(self, source: MailSource, folder: _Folder, uid: int) -> None:
        key = (folder.archived.id, uid)
        if self._suspects[key] > 1:
            # It broke the connection in a group and then alone: the run goes on without it.
            del self._suspects[key]
            self._fail(
                folder, uid, self._words.get(key, "the connection breaks when it is fetched")
            )
            return
        for _, words in self._fetch_sets(source, folder, [b"%d" % uid]):
            self._fail(folder, uid, self._reason(source, uid, words))
        self._suspects.pop(key, None)

    _words: dict[tuple[int, int], str] = field(default_factory=dict)

    def _fetch_sets(
        self, source: MailSource, folder: _Folder, sets: list[bytes]
    ) -> list[tuple[int, str]]:
        """Fetch UID sets; return the UIDs that did not come, with the server's words."""
        maildir = self.archive.maildir(folder.archived)
        expected = [_members(uids) for uids in sets]
        at_work = 0
        got: dict[int, str] = {}
        left: list[tuple[int, str]] = []
        try:
            for answer in source.fetch(sets, maildir.draft, _COMMANDS_IN_FLIGHT):
                if isinstance(answer, Tagged):
                    words = "" if answer.is_ok else answer.text
                    if (
                        not answer.is_ok
                        and (refused := RefusedError("FETCH", answer.text)).retriable
                    ):
                        raise refused
                    left += [(uid, words) for uid in expected[at_work] if uid not in got]
                    for uid in expected[at_work]:
                        got.pop(uid, None)
                    at_work += 1
                elif answer.body is not None:
                    self._take(folder, answer, got)
        except WaystationError as error:
            if not isinstance(error, StorageError) and at_work < len(expected):
                self._suspect(folder, expected[at_work], got, error)
            raise
        return left

    def _take(self, folder: _Folder, answer: Fetched[Draft], got: dict[int, str]) -> None:
        """Put one message into the batch; one that came before only if it is another."""
        message, draft = answer.message, answer.body
        if draft is None:
            return
        sha256 = draft.finish(message.internaldate)
        uid = message.uid
        earlier = got.get(uid)
        if earlier is None and self._is_known(folder, uid):
            draft.discard()
            return
        if earlier is not None:
            draft.discard()
            if earlier != sha256:
                self._alarm(
                    folder.archived.name,
                    f"the server gave two different messages as UID {uid}; the first is archived "
                    f"(sha256 {earlier}), the second was {sha256}",
                )
            return
        got[uid] = sha256
        if folder.has_old_numbers and self._renumber(folder, message, draft, sha256):
            return
        maildir = self.archive.maildir(folder.archived)
        self._batch.add(folder.archived, maildir, folder.uidvalidity, message, draft, sha256)
        self._suspects.pop((folder.archived.id, uid), None)
        self._commit_if_due()

    def _renumber(self, folder: _Folder, message: RemoteMessage, draft: Draft, sha256: str) -> bool:
        """Whether this is a message of before the folder was renumbered; then it keeps its row."""
        archive = self.archive
        received = int(message.internaldate.timestamp()) if message.internaldate else None
        old = archive.index.renumbered_content(
            folder.archived.id, folder.uidvalidity, sha256, received
        )
        if old is None:
            return False
        with archive.database.atomic():
            archive.plan_renumber(folder.archived, old, folder.uidvalidity, message.uid)
            archive.plan_flags(folder.archived, old.id, message.flags, message.keywords)
        archive.carry_out_renames()
        self.result.renumbered += 1
        self.steps += 1
        draft.discard()
        return True

    def _is_known(self, folder: _Folder, uid: int) -> bool:
        if not folder.was_cut_off and not folder.archived.state:
            return False
        known = self.archive.index.known_uid(folder.archived.id, folder.uidvalidity, uid)
        return known is not None and known.is_done

    def _suspect(
        self, folder: _Folder, expected: Iterable[int], got: dict[int, str], error: WaystationError
    ) -> None:
        """Note the message that the connection broke at: the first that had not come."""
        uid = next((uid for uid in expected if uid not in got), None)
        if uid is not None:
            key = (folder.archived.id, uid)
            self._suspects[key] = self._suspects.get(key, 0) + 1
            self._words[key] = str(error)

    def _reason(self, source: MailSource, uid: int, words: str) -> str:
        with suppress(RefusedError):
            if uid not in source.uids(b"%d" % uid):
                return "gone from the server before it could be fetched"
        return words or "the server lists it and does not send it"

    def _fail(self, folder: _Folder, uid: int, reason: str) -> None:
        folder.failed += 1
        self.result.failed += 1
        self.steps += 1
        self.archive.index.add_failed(folder.archived.id, folder.uidvalidity, uid, reason)
        self.progress.problem(folder.archived.name, uid, reason)

    def _alarm(self, folder: str, text: str) -> None:
        self.result.alarms += 1
        self.progress.alarm(folder, text)

    # Recording

    def _commit_if_due(self) -> None:
        if self._batch.is_due:
            self._commit()

    def _commit(self) -> None:
        messages, octets = len(self._batch.messages), self._batch.octets
        self._batch.commit()
        self.steps += messages
        self.result.new += messages
        self.result.octets += octets
        if messages:
            self.progress.advance(messages, octets)


def totals(result: Exported) -> dict[str, int]:
    """Return the numbers of a run by their names."""
    return asdict(result)


def _members(uids: bytes) -> list[int]:
    members: list[int] = []
    for part in uids.split(b","):
        first, _, last = part.partition(b":")
        members += range(int(first), int(last or first) + 1)
    return members
