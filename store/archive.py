"""One archive: one mailbox as Maildir and index, and the only thing that the stages hold.

``Archive.create`` and ``Archive.write`` take the lock and bring an archive that a crash left in
the middle back into order; ``Archive.read`` needs no lock and changes nothing.
"""

from __future__ import annotations

import json
import os
import tomllib
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import version
from typing import TYPE_CHECKING

from store.batch import Batch, file_sha256
from store.database import Database
from store.headers import parse
from store.index import ArchivedFolder, Index, NewMessage
from store.lock import Lock
from store.maildir import (
    PART,
    SEPARATOR,
    SIDECAR,
    Maildir,
    base_of,
    flags_of,
    parse_name,
    sync_directories,
    write_durably,
)
from store.names import Directories
from store.transfers import Transfers
from waystation.errors import (
    ArchiveError,
    NewerFormatError,
    NoArchiveError,
    OtherSourceError,
    StorageError,
    plain,
)
from waystation.model import join_levels, split_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.index import ArchivedMessage
    from waystation.model import SpecialUse

FORMAT = 1
INDEX = "index.sqlite"
MAILDIR = "maildir"
DESCRIPTION = "archive.toml"
_LOCK = "lock"

_README = """\
This directory is a mail archive made by waystation {version}.

It holds one mailbox:  {source}
The messages lie in the directory 'maildir', one file each, exactly as the server sent them: a
plain Maildir, which mutt, Dovecot, notmuch and many others read without waystation.
'index.sqlite' is a plain SQLite database with flags, dates, hashes and the transfer log.
FORMAT.md beside this file describes all of it.

    waystation check .      proves every message against the index
    waystation status .     shows what is here, and what has arrived elsewhere
    waystation ledger .     one line for each message
"""


@dataclass(frozen=True, slots=True)
class Description:
    """What ``archive.toml`` says."""

    format: int
    id: str
    created: str
    source: str | None
    """The source as the user named it; never a secret."""
    source_key: str | None
    source_prefix: tuple[str, ...]
    """The levels of the source's namespace prefix, such as ``("INBOX",)`` on Courier."""


class Archive:
    """An open archive. Use it as a context manager, from one thread."""

    def __init__(
        self, path: Path, description: Description, database: Database, lock: Lock | None
    ) -> None:
        self.path = path
        self.description = description
        self.database = database
        self.index = Index(database)
        self.transfers = Transfers(database, now)
        self._lock = lock
        self._maildirs: dict[int, Maildir] = {}
        self._directories: Directories | None = None

    @classmethod
    def create(cls, path: Path, source: str, source_key: str) -> Archive:
        """Make a new archive, open for writing.

        Raises:
            NoArchiveError: something else lies there already.
            StorageError: the directory cannot be written.
        """
        if path.exists() and not path.is_dir():
            raise NoArchiveError(path, "it is a file")
        if path.is_dir() and any(entry.name != _LOCK for entry in path.iterdir()):
            raise NoArchiveError(path, "the directory holds other things")
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(path, error) from None
        lock = Lock(path / _LOCK)
        lock.take("export")
        try:
            (path / MAILDIR).mkdir(mode=0o700, exist_ok=True)
            Database.create(path / INDEX).close()
            write_durably(
                path / "FORMAT.md",
                resources.files("store").joinpath("FORMAT.md").read_text("utf-8"),
            )
            description = Description(FORMAT, str(uuid.uuid4()), now(), source, source_key, ())
            readme = _README.format(version=version("waystation"), source=plain(source))
            write_durably(path / "README", readme)
            # The description comes last: with it, the archive exists.
            _write_description(path, description)
            return cls(path, description, Database.write(path / INDEX), lock)
        except OSError as error:
            lock.release()
            raise StorageError(path, error) from None
        except BaseException:
            lock.release()
            raise

    @classmethod
    def exists(cls, path: Path) -> bool:
        """Whether there is an archive at ``path``."""
        return (path / DESCRIPTION).is_file()

    @classmethod
    def write(cls, path: Path, purpose: str) -> Archive:
        """Open an archive to work on it; ``purpose`` is shown to whoever comes second.

        Raises:
            NoArchiveError, ArchiveLockedError, NewerFormatError, IndexDamagedError, StorageError
        """
        description = read_description(path)
        if description.format > FORMAT:
            raise NewerFormatError(path, description.format, FORMAT)
        lock = Lock(path / _LOCK)
        lock.take(purpose)
        try:
            archive = cls(path, description, Database.write(path / INDEX), lock)
        except BaseException:
            lock.release()
            raise
        try:
            archive._recover()
        except BaseException:
            archive.close()
            raise
        return archive

    @classmethod
    def read(cls, path: Path) -> Archive:
        """Open an archive to look at it, whoever works on it meanwhile.

        Raises:
            NoArchiveError, IndexDamagedError
        """
        return cls(path, read_description(path), Database.read(path / INDEX), None)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the index and let the next one work."""
        self.database.close()
        if self._lock is not None:
            self._lock.release()

    def claim_source(
        self, name: str, key: str, prefix: tuple[str, ...], *, new_source: bool = False
    ) -> None:
        """Make sure that this archive belongs to a source, and remember the source's prefix.

        Raises:
            OtherSourceError: it holds another mailbox, and ``new_source`` does not allow that.
        """
        known = self.description
        if known.source_key is not None and known.source_key != key and not new_source:
            raise OtherSourceError(known.source or "", name)
        if (known.source_key, known.source_prefix) != (key, prefix):
            self.description = Description(known.format, known.id, known.created, name, key, prefix)
            _write_description(self.path, self.description)

    def batch(self) -> Batch:
        """Begin to put messages in."""
        return Batch(self.path, self.database, self.index)

    def maildir(self, folder: ArchivedFolder) -> Maildir:
        """Return the directory of a folder."""
        if folder.id not in self._maildirs:
            self._maildirs[folder.id] = Maildir(self.path / folder.directory)
        return self._maildirs[folder.id]

    def ensure_folder(
        self, levels: tuple[str, ...], special_use: SpecialUse | None
    ) -> ArchivedFolder:
        """Return the folder of these levels; a new one gets its directory and its row."""
        name = join_levels(levels)
        known = self.index.folder(name)
        if known is None:
            directory = f"{MAILDIR}/{self._places().place(levels)}"
            Maildir(self.path / directory).make()
            sidecar = {"name": name, "special_use": special_use}
            write_durably(self.path / directory / SIDECAR, json.dumps(sidecar, ensure_ascii=False))
            self.index.add_folder(name, directory, special_use)
        else:
            self.index.folder_listed(known.id, special_use)
            self.maildir(known).make()
        folder = self.index.folder(name)
        if folder is None:
            raise ArchiveError(f"{plain(name)} could not be recorded")
        return folder

    def plan_flags(
        self,
        folder: ArchivedFolder,
        message_id: int,
        flags: tuple[str, ...],
        keywords: tuple[str, ...],
    ) -> None:
        """Record new flags and the name that the file gets by them; call inside ``atomic``."""
        self.index.set_flags(message_id, flags, keywords)
        file = self.index.file_of(message_id)
        if file is not None:
            letters = self.maildir(folder).letters(flags, keywords)
            self._plan_rename(message_id, file, f"cur/{base_of(file[4:])}{SEPARATOR}2,{letters}")

    def plan_renumber(
        self, folder: ArchivedFolder, message: ArchivedMessage, uidvalidity: int, uid: int
    ) -> None:
        """Record a message's new UIDVALIDITY and UID; call inside ``atomic``."""
        self.index.renumber(message.id, uidvalidity, uid)
        file = self.index.file_of(message.id)
        if file is not None and message.size is not None:
            name = self.maildir(folder).name_for(
                uidvalidity,
                uid,
                message.size,
                message.internaldate,
                message.flags,
                message.keywords,
            )
            self._plan_rename(message.id, file, name)

    def carry_out_renames(self) -> None:
        """Give files the names that were planned and recorded for them."""
        planned = self.index.planned_renames()
        if not planned:
            return
        touched: dict[str, None] = {}
        try:
            for _, directory, before, after in planned:
                folder = self.path / directory
                with suppress(FileNotFoundError):  # done before the crash, or gone: check says it
                    (folder / before).replace(folder / after)
                    # Two links to one file: rename leaves both (POSIX).
                    if before != after:
                        (folder / before).unlink(missing_ok=True)
                touched[str(folder / "cur")] = None
            sync_directories([path for path in touched if os.path.isdir(path)])  # noqa: PTH112
        except OSError as error:
            raise StorageError(error.filename or self.path, error) from None
        self.index.renamed(number for number, *_ in planned)

    def adopt(self, folder: ArchivedFolder) -> int:
        """Take in complete files that a run cut off before it recorded them; return how many.

        Only where the source has no such message any more: what it still has was fetched again,
        with the exact date, and replaced the file.
        """
        maildir = self.maildir(folder)
        adopted: list[NewMessage] = []
        for name in names_in(maildir.path / "cur"):
            said = parse_name(name)
            if said is None or self.index.by_file(folder.id, f"cur/{name}") is not None:
                continue
            path = maildir.path / "cur" / name
            row = self.index.by_location(folder.id, said.uidvalidity, said.uid)
            if row is not None and row.path is not None:
                recorded = self.path / row.path
                if recorded.is_file() and file_sha256(path) == row.sha256 == file_sha256(recorded):
                    path.unlink()  # the same message under the letters it had before the crash
                continue
            found = path.stat()
            if found.st_size == said.size:
                adopted.append(from_file(folder, maildir, name, path, found.st_mtime))
        with self.database.atomic():
            self.index.add_messages(adopted)
            for message in adopted:
                known = self.index.known_uid(folder.id, message.uidvalidity, message.uid)
                if known is not None:
                    self.index.set_vanished([known.id])
        return len(adopted)

    @contextmanager
    def run(self, command: str, server: str | None, totals: dict[str, int]) -> Iterator[None]:
        """Record that a command works on the archive, and how that ended."""
        number = self.index.run_begins(command, server, version("waystation"), now())
        outcome = "failed"
        try:
            yield
            outcome = "done"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            # A disk that is full must not hide the error that says so.
            with suppress(ArchiveError):
                self.index.run_ends(number, now(), outcome, totals)

    def _places(self) -> Directories:
        if self._directories is None:
            folders = self.index.folders()
            self._directories = Directories(
                (split_name(f.name), f.directory.removeprefix(f"{MAILDIR}/")) for f in folders
            )
        return self._directories

    def _plan_rename(self, message_id: int, before: str, after: str) -> None:
        if before != after:
            self.index.plan_rename(message_id, after)

    def _recover(self) -> None:
        self.carry_out_renames()
        for folder in self.index.folders():
            for directory in (self.path / folder.directory, self.path / folder.directory / "tmp"):
                for name in names_in(directory):
                    if name.endswith(PART):
                        with suppress(OSError):
                            (directory / name).unlink()


def now() -> str:
    """Return the time as the index keeps it: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_description(path: Path) -> Description:
    """Return what ``archive.toml`` says.

    Raises:
        NoArchiveError: there is none, or it cannot be read.
    """
    if not path.exists():
        raise NoArchiveError(path)
    if not path.is_dir():
        raise NoArchiveError(path, "it is a file")
    try:
        text = (path / DESCRIPTION).read_text("utf-8")
    except FileNotFoundError:
        raise NoArchiveError(path, f"it holds no {DESCRIPTION}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise NoArchiveError(path, f"{DESCRIPTION} cannot be read ({error})") from None
    try:
        values = tomllib.loads(text)
        source = values.get("source", {})
        return Description(
            int(values["format"]),
            str(values["id"]),
            str(values["created"]),
            source.get("name"),
            source.get("key"),
            tuple(str(level) for level in source.get("prefix", ())),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise NoArchiveError(path, f"{DESCRIPTION} makes no sense ({plain(str(error))})") from None


def _write_description(path: Path, description: Description) -> None:
    # A JSON string is a TOML string, as long as nothing beyond the basic plane is escaped.
    def text(value: object) -> str:
        return json.dumps(value, ensure_ascii=False)

    lines = [
        f"format = {description.format}",
        f"id = {text(description.id)}",
        f"created = {text(description.created)}",
        f"created_by = {text('waystation ' + version('waystation'))}",
    ]
    if description.source is not None:
        lines += [
            "",
            "[source]",
            f"name = {text(description.source)}",
            f"key = {text(description.source_key)}",
            f"prefix = {text(list(description.source_prefix))}",
        ]
    write_durably(path / DESCRIPTION, "\n".join(lines) + "\n")


def from_file(
    folder: ArchivedFolder, maildir: Maildir, name: str, path: Path, modified: float
) -> NewMessage:
    """Return the row that a complete file of ours yields by itself."""
    said = parse_name(name)
    if said is None:
        raise ValueError(name)
    with path.open("rb") as file:
        head = file.read(16 * 1024)
    return NewMessage(
        folder.id,
        said.uidvalidity,
        said.uid,
        f"cur/{name}",
        file_sha256(path),
        path.stat().st_size,
        datetime.fromtimestamp(int(modified), UTC),
        tuple(flags_of(said.letters)),
        tuple(maildir.keywords_of(said.letters)),
        parse(head),
    )


def names_in(directory: Path) -> list[str]:
    """Return what a directory holds; nothing where it is missing."""
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []
