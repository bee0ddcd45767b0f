"""Many messages into the archive in one durable step.

The order of FORMAT.md, chapter 7: files complete in ``tmp``, one sync for all, renamed into
``cur``, directories synced, then their rows and the watermark in one transaction.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from store.headers import Headers, parse
from store.index import NewMessage, received_of
from store.maildir import READ, sync_directories, sync_files
from waystation.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from store.database import Database
    from store.index import ArchivedFolder, Index
    from store.maildir import Draft, Maildir
    from store.writing import Writer
    from waystation.model import FolderState, RemoteMessage

MESSAGES = 700
OCTETS = 64_000_000
"""A batch is committed when it holds so many messages or octets.

More messages would save syncs and writes to the index, and take more memory than many messages
may (a tenth of the whole).
"""

_BLOCK = 1024 * 1024


class _Incoming(NamedTuple):
    """A message that nothing is decided about yet."""

    message: RemoteMessage
    draft: Draft
    headers: Headers
    file: str
    """Its name to be, below the folder's directory."""
    directory: str
    path: str


@dataclass(frozen=True, slots=True)
class _Settled:
    folder_id: int
    state: FolderState
    looked_at: str
    is_settled: bool


class _Files(threading.Thread):
    """The disk's part of a batch, beside the thread that receives. It knows no SQLite."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(name="waystation files")
        self._work = work
        self.error: BaseException | None = None
        """What ended the work early, to be raised where somebody waits for it."""
        self.has_ended = False

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - raised again by ``commit``
            self.error = error
        self.has_ended = True


@dataclass(slots=True)
class Batch:
    """Messages that are written, and not yet recorded."""

    root: Path
    database: Database
    index: Index
    writer: Writer
    octets: int = 0
    _incoming: dict[tuple[int, int, int], _Incoming] = field(default_factory=dict)
    """By folder, UIDVALIDITY and UID."""
    _messages: list[NewMessage] = field(default_factory=list)
    """Those that are decided about, and get a row."""
    _moves: list[tuple[str, str]] = field(default_factory=list)
    _links: list[tuple[Draft, str, str, str]] = field(default_factory=list)
    _directories: dict[str, None] = field(default_factory=dict)
    _settled: list[_Settled] = field(default_factory=list)
    _files: _Files | None = None
    _is_written: bool = False

    @property
    def waiting(self) -> int:
        """How many messages are in it, none of them recorded."""
        return len(self._incoming) + len(self._messages)

    @property
    def is_due(self) -> bool:
        """Whether it is time to commit."""
        return self.waiting >= MESSAGES or self.octets >= OCTETS

    @property
    def is_written(self) -> bool:
        """Whether all its messages lie in ``tmp``, so that ``start`` need not wait for it."""
        return self._is_written

    @property
    def is_durable(self) -> bool:
        """Whether what ``start`` began has ended, so that a commit need not wait for it."""
        return self._files is not None and self._files.has_ended

    def add(
        self,
        folder: ArchivedFolder,
        maildir: Maildir,
        uidvalidity: int,
        message: RemoteMessage,
        draft: Draft,
    ) -> None:
        """Take a finished draft; content that lies in the archive already is stored once.

        A location that is archived already keeps its message: a server that gives a UID twice
        changes nothing.
        """
        location = (folder.id, uidvalidity, message.uid)
        if location in self._incoming:
            draft.discard()
            return
        file = maildir.name_for(
            uidvalidity,
            message.uid,
            draft.size,
            message.internaldate,
            message.flags,
            message.keywords,
        )
        path = f"{maildir.directory}{os.sep}{file}"
        self._incoming[location] = _Incoming(
            message, draft, parse(draft.head), file, maildir.cur, path
        )
        draft.head = b""  # what it was kept for is done, and many drafts wait
        self.octets += draft.size

    def settle(
        self, folder_id: int, state: FolderState, looked_at: str, *, is_settled: bool
    ) -> None:
        """Move a folder's watermark in the step that records its last messages."""
        self._settled.append(_Settled(folder_id, state, looked_at, is_settled))

    def end(self) -> None:
        """Add nothing any more; have it noted when all of it ``is_written``.

        Raises:
            StorageError: a message could not be written.
        """
        self.writer.do(self._note_written)
        self.writer.hand_over()

    def _note_written(self) -> None:
        self._is_written = True

    def start(self) -> None:
        """Begin to make the files durable, while the next messages come in.

        Nothing may be added any more, and the batch before must be committed: what it holds is
        asked of the index. The disk works while the interpreter reads on; ``commit`` waits.

        Raises:
            StorageError: a message could not be written; it is not in the batch any more, and
                nor is the watermark of its folder.
        """
        if not self._is_written:
            self._await_writer()
        self._decide()
        self._files = _Files(self._make_durable)
        self._files.start()

    def commit(self) -> tuple[int, int]:
        """Make all of it durable, then recorded; return messages and octets that are new.

        Raises:
            StorageError: the disk did not take it; what was recorded before stays, and a
                commit may be tried again.
        """
        if self._files is not None:
            # Interrupted in here, the next commit waits again; failed, it tries again itself.
            self._files.join()
            error, self._files = self._files.error, None
            if error is not None:
                raise error
        self._await_writer()
        self._decide()
        self._make_durable()
        if self._messages or self._settled:
            with self.database.atomic():
                self.index.add_messages(self._messages)
                for settled in self._settled:
                    self.index.settle(
                        settled.folder_id,
                        settled.state,
                        settled.looked_at,
                        is_settled=settled.is_settled,
                    )
        recorded = len(self._messages), sum(message.size for message in self._messages)
        self._messages.clear()
        self.octets = 0
        self._settled.clear()
        return recorded

    def _await_writer(self) -> None:
        """Wait for the files of the messages; leave out what could not be written."""
        try:
            self.writer.flush()
        finally:
            lost = [at for at, new in self._incoming.items() if not new.draft.is_stored]
            for location in lost:
                del self._incoming[location]
            folders = {folder_id for folder_id, *_ in lost}
            self._settled = [each for each in self._settled if each.folder_id not in folders]

    def _make_durable(self) -> None:
        try:
            sync_files([source for source, _ in self._moves])
            # What is moved is forgotten, so that a commit which failed can be tried again.
            while self._moves:
                os.replace(*self._moves[-1])  # noqa: PTH105 - a Path for each message costs
                self._moves.pop()
            while self._links:
                _link(*self._links[-1])
                self._links.pop()
            sync_directories(list(self._directories))
            self._directories.clear()
        except OSError as error:
            raise StorageError(error.filename or self.root, error) from None

    def _decide(self) -> None:
        """Decide for every draft whether it is moved, linked to a twin, or known already.

        Asked of the index for the whole batch at once: a question for each message would cost
        more than all the rest that is done for it.
        """
        archived = self.index.archived_among(self._incoming)
        twins = self.index.files_by_content({new.draft.sha256() for new in self._incoming.values()})
        here: dict[tuple[str, int | None], str] = {}
        for location, (remote, draft, headers, file, directory, path) in self._incoming.items():
            if location in archived:
                draft.discard()
                continue
            folder_id, uidvalidity, uid = location
            sha256 = draft.sha256()
            key = (sha256, received_of(remote.internaldate))
            stored = twins.get(key)
            twin = str(self.root / stored) if stored is not None else here.get(key)
            if twin is None:
                here[key] = path
                self._moves.append((draft.path, path))
            else:
                self._links.append((draft, twin, path, sha256))
            self._directories[directory] = None
            self._messages.append(
                NewMessage(
                    folder_id,
                    uidvalidity,
                    uid,
                    file,
                    sha256,
                    draft.size,
                    remote.internaldate,
                    remote.flags,
                    remote.keywords,
                    headers,
                    remote.date_from,
                )
            )
        self._incoming.clear()


def _link(draft: Draft, twin: str, path: str, sha256: str) -> None:
    """Store equal content once, by a hard link, where the file system has such."""
    try:
        # The twin's octets are proven first: damage must not spread to a good copy.
        if file_sha256(twin) == sha256:
            if os.path.lexists(path):  # left by a run that was cut off
                os.unlink(path)  # noqa: PTH108
            os.link(twin, path, follow_symlinks=False)
            draft.discard()
            return
    except OSError:
        # Renamed by a mail reader, gone, or no links here: the message keeps a file of its own.
        pass
    if os.path.lexists(draft.path):
        sync_files([draft.path])
        os.replace(draft.path, path)  # noqa: PTH105


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file in hex; the file is never held whole, a link not followed."""
    digest = hashlib.sha256()
    with os.fdopen(os.open(path, READ), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
