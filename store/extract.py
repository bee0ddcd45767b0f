"""An archive's messages, out again: as mboxrd, as .eml files, or as a Maildir.

What was written is read again and compared before it gets its name. A file that is there is never
written over, but for an mbox file of an earlier extract that nobody has touched since. The archive
itself is only read.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from array import array
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any, BinaryIO

from store.archive import MAILDIR, is_file, names_in
from store.batch import file_sha256
from store.lock import Lock
from store.maildir import (
    PART,
    READ,
    Maildir,
    base_of,
    is_within,
    make_directory,
    read_small,
    set_time,
    sync_directories,
    sync_directory,
    sync_files,
    write_durably,
)
from store.mboxrd import Quoted, from_line
from store.query import EVERYTHING
from waystation.errors import StorageError, UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.archive import Archive
    from store.index import ArchivedFolder, ArchivedMessage
    from store.query import Query
    from store.search import Search
    from waystation.progress import Progress

MARK = ".waystation-extract.json"
_LOCK = ".waystation-extract.lock"
_LONGEST_MARK = 16 * 1024 * 1024
_BLOCK = 1024 * 1024
_PAGE = 500
_ALL = 1 << 62
_BATCH_OCTETS = 64_000_000
_LONGEST_SUBJECT = 60
_LONGEST_OCTETS = 150


class Format(StrEnum):
    """What an extract consists of."""

    MBOX = "mbox"
    EML = "eml"
    MAILDIR = "maildir"


@dataclass(slots=True)
class Extracted:
    """What an extract has done."""

    messages: int = 0
    """Written and compared."""
    octets: int = 0
    already_there: int = 0
    """Written by an earlier run, and still the same."""
    failed: int = 0
    """Damaged or missing in the archive, or something else lies in their place."""
    folders: int = 0


@dataclass(slots=True)
class _Mark:
    """What a directory says of itself, so that nothing else is taken for an extract."""

    archive: str
    format: str
    query: str
    index: str
    """When the index was made: with another one, messages have other numbers."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of mbox: each file with its own sha256 and that of the list of its messages."""


@dataclass(frozen=True, slots=True)
class _Draft:
    message: ArchivedMessage
    part: str
    path: str


def extract(
    archive: Archive,
    searching: Search,
    query: Query,
    written: str,
    destination: Path,
    form: Format,
    progress: Progress,
) -> Extracted:
    """Write what matches a query, in the words ``written``, into a directory.

    Raises:
        UsageError: the directory holds other things, or an extract of another kind.
        StorageError: it cannot be written.
    """
    done = Extracted()
    mark = _Mark(archive.description.id, form.value, written, _made(archive))
    inside = destination.resolve()
    if inside == archive.path.resolve() or archive.path.resolve() in inside.parents:
        raise UsageError(f"{plain(str(destination))} lies in the archive; extract to elsewhere.")
    _demand_ours(destination, mark)
    make_directory(inside)
    lock = Lock(inside / _LOCK)
    lock.take("extract")
    try:
        known = _read_mark(inside) or mark
        known.query = written
        _write_mark(inside, known)
        extraction = _Extraction(archive, inside, known, done, progress)
        progress.expect(searching.count(query, _ALL))
        folders = {folder.id: folder for folder in archive.index.folders()}
        if form is Format.MAILDIR and query == EVERYTHING:
            for folder in folders.values():
                extraction.make(folder)
        for folder_id, group in groupby(searching.located(query), key=lambda pair: pair[0]):
            ids = array("q", (number for _, number in group))
            progress.folder(folders[folder_id].name, len(ids))
            done.folders += 1
            if form is Format.MBOX:
                extraction.as_mbox(folders[folder_id], ids)
            else:
                extraction.as_files(folders[folder_id], ids, is_maildir=form is Format.MAILDIR)
    except OSError as error:
        raise StorageError(error.filename or destination, error) from None
    finally:
        lock.release()
    return done


def eml_name(message: ArchivedMessage, subject: str | None) -> str:
    """Return a file name that every system takes, and that no other message has.

    The number at its end is what ``search`` calls the message.
    """
    date = message.internaldate
    when = f"{date:%Y-%m-%d %H.%M}" if date is not None and date.year > 999 else "undated"
    text = "".join(
        "_"
        if char in '\\/:*?"<>|~%' or (unicodedata.category(char)[0] in "CZ" and char != " ")
        else char
        for char in unicodedata.normalize("NFC", subject or "")
    )
    text = " ".join(text.split())[:_LONGEST_SUBJECT]
    text = text.encode()[:_LONGEST_OCTETS].decode("utf-8", "ignore").strip(" .")
    return f"{when} - {text or 'no subject'} ({message.id}).eml"


class _Extraction:
    def __init__(
        self, archive: Archive, root: Path, mark: _Mark, done: Extracted, progress: Progress
    ) -> None:
        self._archive = archive
        self._root = root
        self._mark = mark
        self._done = done
        self._progress = progress
        self._count = 0
        directories = {_relative(folder).lower() for folder in archive.index.folders()}
        self._directories = {
            "/".join(parts[:depth])
            for parts in (directory.split("/") for directory in directories)
            for depth in range(1, len(parts) + 1)
        }

    def make(self, folder: ArchivedFolder) -> Maildir:
        """Make the Maildir of a folder."""
        maildir = Maildir(self._directory(_relative(folder)))
        maildir.make()
        return maildir

    def as_files(self, folder: ArchivedFolder, ids: array[int], *, is_maildir: bool) -> None:
        """Write the messages of a folder as files of their own, in batches made durable at once."""
        if is_maildir:
            maildir = self.make(folder)
            directory, drafts = maildir.path / "cur", maildir.path / "tmp"
        else:
            directory = drafts = self._directory(_relative(folder))
            make_directory(directory)
        _clear(drafts)
        there = {base_of(name): name for name in names_in(directory)}
        if is_maildir:
            there |= {
                base_of(name): f"../new/{name}" for name in names_in(directory.parent / "new")
            }
        batch: list[_Draft] = []
        size = 0
        for message, _, subject in self._messages(ids):
            if is_maildir:
                name = maildir.name_for(
                    message.uidvalidity,
                    message.uid,
                    message.size or 0,
                    message.internaldate,
                    message.flags,
                    message.keywords,
                ).partition("/")[2]
            else:
                name = eml_name(message, subject)
            found = there.get(base_of(name))
            if found is not None:
                self._is_there(message, directory / found)
                continue
            self._count += 1
            part = drafts / f".{os.getpid():x}-{self._count}{PART}"
            if self._copied(message, part):
                batch.append(_Draft(message, str(part), str(directory / name)))
                size += message.size or 0
            if len(batch) == _PAGE or size > _BATCH_OCTETS:
                self._finish(batch, directory)
                batch, size = [], 0
        self._finish(batch, directory)

    def as_mbox(self, folder: ArchivedFolder, ids: array[int]) -> None:
        """Write the messages of a folder as one file."""
        relative = f"{_relative(folder)}.mbox"
        if relative.lower() in self._directories:  # no folder's name has a tilde
            relative = f"{_relative(folder)}~.mbox"
        path = self._directory(relative)
        make_directory(path.parent)
        _clear(path.parent)
        content = hashlib.sha256()
        for message, _, _ in self._messages(ids):
            content.update(f"{message.sha256} {message.internaldate}\n".encode())
        known = self._mark.files.get(relative)
        if os.path.lexists(path):
            is_ours = known is not None and is_file(path) and file_sha256(path) == known["sha256"]
            if known is None or not is_ours:
                self._done.failed += len(ids)
                self._progress.alarm(folder.name, f"{plain(str(path))} is there already, and not as"
                                     " an earlier extract left it; it is left alone")  # fmt: skip
                return
            if known["content"] == content.hexdigest():
                self._done.already_there += len(ids)
                self._progress.advance(len(ids), 0)
                return
        part = path.parent / f".{os.getpid():x}-mbox{PART}"
        sha256, has_all = self._write_mbox(part, ids)
        if file_sha256(part) != sha256:
            raise StorageError(part, "what was written is not what can be read")
        os.replace(part, path)  # noqa: PTH105 - one name for renames
        sync_directory(path.parent)
        # An incomplete one is written anew by the next run.
        said = content.hexdigest() if has_all else ""
        self._mark.files[relative] = {"sha256": sha256, "content": said}
        _write_mark(self._root, self._mark)

    def _write_mbox(self, part: Path, ids: array[int]) -> tuple[str, bool]:
        """Write an mbox file; return its sha256, and whether it has all messages."""
        hashed = hashlib.sha256()
        failed = self._done.failed
        with open(_created(part), "wb") as file:
            for message, sender, _ in self._messages(ids):
                start, before = file.tell(), hashed.copy()
                quoted = Quoted()
                own = hashlib.sha256()

                hashed.update(line := from_line(sender, message.internaldate))
                file.write(line)
                source = self._source(message)
                if source is not None:
                    with source:
                        while block := source.read(_BLOCK):
                            own.update(block)
                            hashed.update(piece := quoted.write(block))
                            file.write(piece)
                    hashed.update(piece := quoted.end())
                    file.write(piece)
                if self._is_sound(message, source, own.hexdigest()):
                    self._written(message)
                    continue
                file.seek(start)
                file.truncate()
                hashed = before
            file.flush()
            os.fsync(file.fileno())
        return hashed.hexdigest(), failed == self._done.failed

    def _messages(
        self, ids: array[int]
    ) -> Iterator[tuple[ArchivedMessage, str | None, str | None]]:
        """Yield messages with sender and subject, in order."""
        for start in range(0, len(ids), _PAGE):
            page = list(ids[start : start + _PAGE])
            said = {
                number: (sender, subject)
                for number, sender, subject in self._archive.database.rows(
                    "SELECT id, sender, subject FROM messages"
                    " WHERE id IN (SELECT value FROM json_each(?))",
                    (json.dumps(page),),
                )
            }
            for message in self._archive.index.some(page):
                if message.sha256 is not None:
                    yield message, *said.get(message.id, (None, None))

    def _copied(self, message: ArchivedMessage, part: Path) -> bool:
        """Copy a message's file; whether it is what its row says."""
        own = hashlib.sha256()
        source = self._source(message)
        if source is not None:
            with source, open(_created(part), "wb") as file:
                while block := source.read(_BLOCK):
                    own.update(block)
                    file.write(block)
        if not self._is_sound(message, source, own.hexdigest()):
            part.unlink(missing_ok=True)
            return False
        if message.internaldate is not None:
            set_time(part, message.internaldate)
        return True

    def _finish(self, batch: list[_Draft], directory: Path) -> None:
        """Make files durable, compare them, and give them their names."""
        sync_files([draft.part for draft in batch])
        for draft in batch:
            if file_sha256(draft.part) != draft.message.sha256:
                raise StorageError(draft.part, "what was written is not what can be read")
            if os.path.lexists(draft.path):
                os.unlink(draft.part)  # noqa: PTH108 - as text throughout
                self._fail(draft.message, f"{plain(draft.path)} is there already")
                continue
            os.rename(draft.part, draft.path)  # noqa: PTH104
            self._written(draft.message)
        if batch:
            sync_directories([str(directory)])

    def _is_there(self, message: ArchivedMessage, path: Path) -> None:
        if is_file(path) and file_sha256(path) == message.sha256:
            self._done.already_there += 1
            self._progress.advance(1, message.size or 0)
        else:
            self._fail(message, f"{plain(path.name)} is there already and is something else")

    def _source(self, message: ArchivedMessage) -> BinaryIO | None:
        path = self._archive.find(message)
        if path is None or not is_within(self._archive.path, message.path or ""):
            return None
        try:
            return os.fdopen(os.open(path, READ), "rb")
        except OSError:
            return None

    def _is_sound(self, message: ArchivedMessage, source: BinaryIO | None, sha256: str) -> bool:
        if source is None:
            self._fail(message, "its file is missing in the archive, or cannot be read")
        elif sha256 != message.sha256:
            self._fail(message, "its file in the archive is damaged; it is not extracted")
        else:
            return True
        return False

    def _fail(self, message: ArchivedMessage, why: str) -> None:
        self._done.failed += 1
        self._progress.problem(message.folder, message.uid, why)
        self._progress.advance(1, 0)

    def _written(self, message: ArchivedMessage) -> None:
        self._done.messages += 1
        self._done.octets += message.size or 0
        self._progress.advance(1, message.size or 0)

    def _directory(self, relative: str) -> Path:
        if not is_within(self._root, relative):
            raise StorageError(self._root / relative, "it leads elsewhere by a symbolic link")
        return self._root / relative


def _relative(folder: ArchivedFolder) -> str:
    return folder.directory.removeprefix(f"{MAILDIR}/")


def _created(part: Path) -> int:
    binary = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    return os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | binary, 0o600)


def _clear(directory: Path) -> None:
    """Remove what an extract that was cut off has left half-written."""
    for name in names_in(directory):
        if name.startswith(".") and name.endswith(PART):
            (directory / name).unlink(missing_ok=True)


def _made(archive: Archive) -> str:
    row = archive.database.row("SELECT min(applied_at) FROM _sqlite_migrations")
    return str(row[0]) if row else ""


def _demand_ours(destination: Path, wanted: _Mark) -> None:
    """Make sure that a directory is new, empty, or an extract of the same kind."""
    where = plain(str(destination))
    if not os.path.lexists(destination):
        return
    if not destination.is_dir():
        raise UsageError(f"{where} is no directory.")
    try:
        names = {entry.name for entry in destination.iterdir()}
    except OSError as error:
        raise StorageError(destination, error) from None
    known = _read_mark(destination)
    if known is None:
        if names <= {_LOCK, f"{MARK}{PART}"}:
            return
        raise UsageError(
            f"{where} holds other things. Extract into a new or empty directory, or into an"
            " earlier extract of this archive, which goes on."
        )
    if (known.archive, known.format) != (wanted.archive, wanted.format):
        raise UsageError(
            f"{where} holds an extract of another archive, or in another format"
            f" ({plain(known.format, 20)}). Choose another directory."
        )
    if known.index != wanted.index:
        raise UsageError(
            f"{where} was extracted before the archive's index was made anew, which gave its"
            " messages other numbers. Choose another directory."
        )
    if wanted.format == Format.MBOX and known.query != wanted.query:
        raise UsageError(
            f"{where} holds what another query found ({plain(known.query, 80)!r}), and an mbox"
            " file is written as a whole. Choose another directory."
        )


def _read_mark(directory: Path) -> _Mark | None:
    content = read_small(directory / MARK, _LONGEST_MARK)
    if content is None:
        return None
    try:
        values = json.loads(content)
        files = {
            str(path): {"sha256": str(file["sha256"]), "content": str(file["content"])}
            for path, file in values["files"].items()
        }
        archive, form, query, index = (
            str(values[name]) for name in ("archive", "format", "query", "index")
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return _Mark(archive, form, query, index, files)


def _write_mark(directory: Path, mark: _Mark) -> None:
    values = {
        "archive": mark.archive,
        "format": mark.format,
        "query": mark.query,
        "index": mark.index,
        "files": mark.files,
    }
    write_durably(directory / MARK, json.dumps(values, ensure_ascii=False) + "\n")
