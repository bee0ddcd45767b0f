"""One archive: one mailbox as Maildir and index, and the only thing that the stages hold.

``Archive.create`` and ``Archive.write`` take the lock and bring an archive that a crash left in
the middle back into order; ``Archive.read`` needs no lock and changes nothing.
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from store.batch import Batch, file_sha256
from store.database import Database
from store.findings import Findings
from store.headers import LONGEST_HEAD, derived_date, parse
from store.index import ArchivedFolder, Index, NewMessage, received_of
from store.journal import Records, write_waiting
from store.lock import Lock
from store.maildir import (
    PART,
    READ,
    SEPARATOR,
    SIDECAR,
    Maildir,
    base_of,
    flags_of,
    is_within,
    make_directory,
    parse_name,
    read_small,
    sync_directories,
    write_durably,
)
from store.names import Directories
from store.seal import Facts, Told, seal
from store.transfers import Transfers
from store.uidls import UIDVALIDITY, Uidls
from store.writing import Writer
from waystation.errors import (
    ArchiveError,
    NewerFormatError,
    NoArchiveError,
    OtherProtocolError,
    OtherSourceError,
    StorageError,
    plain,
)
from waystation.model import join_levels, split_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from store.index import ArchivedMessage
    from store.journal import Record
    from waystation.model import DateFrom, SpecialUse

FORMAT = 1
INDEX = "index.sqlite"
MAILDIR = "maildir"
DESCRIPTION = "archive.toml"
_LOCK = "lock"
_DATABASE_ENDS = ("", "-wal", "-shm", "-journal")
_LONGEST_DESCRIPTION = 1024 * 1024

_README = """\
This directory is a mail archive made by waystation {version}.

It holds one mailbox:  {source}
The messages lie in the directory 'maildir', one file each, exactly as the server sent them: a
plain Maildir, which mutt, Dovecot, notmuch and many others read without waystation.
'index.sqlite' is a plain SQLite database with flags, dates, hashes and the transfer log.
FORMAT.md beside this file describes all of it.

    waystation check .      proves every message against the index, and the journal's seals
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
        self.uidls = Uidls(database)
        self.findings = Findings(database)
        self._lock = lock
        self._run: int | None = None
        self._maildirs: dict[int, Maildir] = {}
        self._writer = Writer()
        self._directories: Directories | None = None

    @classmethod
    def create(cls, path: Path, source: str, source_key: str) -> Archive:
        """Make a new archive, open for writing.

        Raises:
            NoArchiveError: something else lies there already.
            StorageError: the directory cannot be written.
        """
        cls.ensure_creatable(path)
        make_directory(path.resolve())
        lock = Lock(path / _LOCK)
        lock.take("export")
        try:
            cls.ensure_creatable(path)  # another run may have been faster
            make_directory(path / MAILDIR)
            for end in _DATABASE_ENDS:  # what a creation that was cut off has left
                (path / f"{INDEX}{end}").unlink(missing_ok=True)
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
    def ensure_creatable(cls, path: Path) -> None:
        """Make sure that nothing else lies where an archive is to be.

        Raises:
            NoArchiveError: something does.
            StorageError: nobody can look.
        """
        try:
            if path.exists() and not path.is_dir():
                raise NoArchiveError(path, "it is a file")
            if path.is_dir() and not _is_ours_to_fill(path):
                raise NoArchiveError(path, "the directory holds other things")
        except OSError as error:
            raise StorageError(path, error) from None

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
        lock = lock_to_write(path, purpose)
        try:
            # Read under the lock: the run before may have written it just now.
            archive = cls(path, read_description(path), Database.write(path / INDEX), lock)
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
    def note_run(
        cls,
        path: Path,
        command: str,
        began: str,
        outcome: str,
        totals: Mapping[str, Any],
        asked: Mapping[str, Any],
    ) -> Record:
        """Record a run that only read, and has ended; return the record.

        Nothing else is brought in order: what a check has found stays as it was found.

        Raises:
            NoArchiveError, ArchiveLockedError, NewerFormatError, IndexDamagedError, StorageError
        """
        lock = lock_to_write(path, command)
        try:
            archive = cls(path, read_description(path), Database.write(path / INDEX), lock)
        except BaseException:
            lock.release()
            raise
        with archive:
            write_waiting(path, Records(archive.database))
            with archive.database.atomic():
                run = archive.index.run_begins(command, None, version("waystation"), began)
                archive.end_run(Told(run, command, None, began, outcome, totals, asked))
            write_waiting(path, Records(archive.database))
            record = Records(archive.database).last()
        if record is None:
            raise ArchiveError("the run could not be recorded")
        return record

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
        """Close the index and let the next one work; what was half-written goes."""
        self._writer.close()
        try:
            self.database.close()
            if self._lock is not None:
                _clear(maildir.path / "tmp" for maildir in self._maildirs.values())
        finally:
            if self._lock is not None:
                self._lock.release()

    def claim_source(
        self,
        name: str,
        key: str,
        prefix: tuple[str, ...],
        *,
        new_source: bool = False,
        mix: bool = False,
    ) -> None:
        """Make sure that this archive belongs to a source, and remember the source's prefix.

        Raises:
            OtherSourceError: it holds another mailbox, and ``new_source`` does not allow that.
            OtherProtocolError: its mail came by IMAP and this is POP3, or the other way round,
                and ``mix`` does not allow that.
        """
        demand_same_source(self.description, name, key, new_source=new_source, mix=mix)
        known = self.description
        if (known.source_key, known.source_prefix) != (key, prefix):
            self.description = Description(known.format, known.id, known.created, name, key, prefix)
            _write_description(self.path, self.description)

    def batch(self) -> Batch:
        """Begin to put messages in."""
        return Batch(self.path, self.database, self.index, self._writer)

    def maildir(self, folder: ArchivedFolder) -> Maildir:
        """Return the directory of a folder."""
        if folder.id not in self._maildirs:
            self._maildirs[folder.id] = Maildir(self.path / folder.directory, self._writer)
        return self._maildirs[folder.id]

    def ensure_folder(
        self, levels: tuple[str, ...], special_use: SpecialUse | None
    ) -> ArchivedFolder:
        """Return the folder of these levels; a new one gets its directory and its row."""
        name = join_levels(levels)
        known = self.index.folder(name)
        if known is None:
            directory = f"{MAILDIR}/{self._places().place(levels)}"
            self._make_directory(directory)
            write_sidecar(self.path / directory, name, special_use)
            self.index.add_folder(name, directory, special_use)
        else:
            self._make_directory(known.directory)
            if known.special_use != special_use:
                write_sidecar(self.path / known.directory, name, special_use)
            self.index.folder_listed(known.id, special_use)
        folder = self.index.folder(name)
        if folder is None:
            raise ArchiveError(f"{plain(name)} could not be recorded")
        return folder

    def find(self, message: ArchivedMessage) -> Path | None:
        """Return where a message's file lies now, or None.

        It may have another name than its row says: a mail reader changed its flags, or a crash
        came between two steps and nobody has opened the archive for writing since.
        """
        if message.path is None:
            return None
        path = self.path / message.path
        if is_file(path):
            return path
        folder = path.parent.parent
        planned = self.index.planned_file(message.id)
        if planned is not None and is_file(folder / planned):
            return folder / planned
        other = next(same_base(folder, path.name), None)
        return folder / other if other is not None else None

    def plan_flags(
        self,
        folder: ArchivedFolder,
        message_id: int,
        flags: tuple[str, ...],
        keywords: tuple[str, ...],
    ) -> None:
        """Record new flags and the name that the file gets by them; call inside ``atomic``."""
        self.index.set_flags(message_id, flags, keywords)
        # The name planned before, if any: it may hold a new UID.
        file = self.index.planned_file(message_id)
        if file is not None:
            letters = self.maildir(folder).letters(flags, keywords)
            base = base_of(file.partition("/")[2])
            self._plan_rename(message_id, f"cur/{base}{SEPARATOR}2,{letters}")

    def plan_renumber(
        self, folder: ArchivedFolder, message: ArchivedMessage, uidvalidity: int, uid: int
    ) -> None:
        """Record a message's new UIDVALIDITY and UID; call inside ``atomic``."""
        self.index.renumber(message.id, uidvalidity, uid)
        self._plan_name(folder, message, uidvalidity, uid)

    def plan_name(self, folder: ArchivedFolder, message: ArchivedMessage) -> None:
        """Record the name that a file should have by its row; call inside ``atomic``."""
        self._plan_name(folder, message, message.uidvalidity, message.uid)

    def _plan_name(
        self, folder: ArchivedFolder, message: ArchivedMessage, uidvalidity: int, uid: int
    ) -> None:
        if message.size is not None:
            name = self.maildir(folder).name_for(
                uidvalidity,
                uid,
                message.size,
                message.internaldate,
                message.flags,
                message.keywords,
            )
            self._plan_rename(message.id, name)

    def carry_out_renames(self) -> None:
        """Give files the names that were planned and recorded for them."""
        planned = self.index.planned_renames()
        if not planned:
            return
        touched: dict[str, None] = {}
        try:
            for _, directory, before, after in planned:
                if is_within(self.path, directory):
                    folder = self.path / directory
                    _rename(folder, before, after)
                    touched[str(folder / before.partition("/")[0])] = None
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
        if not is_within(self.path, folder.directory):
            return 0
        maildir = self.maildir(folder)
        adopted: dict[tuple[int, int], NewMessage] = {}
        try:
            for name in names_in(maildir.path / "cur"):
                said = parse_name(name)
                path = maildir.path / "cur" / name
                if said is None or not is_file(path) or path.lstat().st_size != said.size:
                    continue
                location = (said.uidvalidity, said.uid)
                row = self.index.by_location(folder.id, *location)
                if row is not None and row.path is not None:
                    self._drop_double(row, path)
                elif location not in adopted:
                    message = from_file(folder, maildir, f"cur/{name}")
                    if self._has_moved(folder, message):
                        path.unlink()
                    else:
                        adopted[location] = message
            if adopted:
                # Durable before recorded: the crash may have come before this was synced.
                sync_directories([str(maildir.path / "cur")])
        except OSError as error:
            raise StorageError(error.filename or maildir.path, error) from None
        with self.database.atomic():
            self.index.add_messages(list(adopted.values()))
            for location in adopted:
                known = self.index.known_uid(folder.id, *location)
                if known is not None:
                    self.index.set_vanished([known.id])
        return len(adopted)

    def _has_moved(self, folder: ArchivedFolder, message: NewMessage) -> bool:
        """Whether the folder was renumbered meanwhile, and this was fetched as something else."""
        there = self.index.renumbered_content(
            folder.id, message.uidvalidity, message.sha256, received_of(message.internaldate)
        )
        # Proven first: the only whole copy is not thrown away.
        found = self.find(there) if there is not None else None
        return found is not None and file_sha256(found) == message.sha256

    def _drop_double(self, row: ArchivedMessage, path: Path) -> None:
        """Remove the same message under the letters it had before a crash."""
        recorded = self.path / (row.path or "")
        if (
            not _same_name(path, recorded)
            and is_file(recorded)
            and file_sha256(path) == row.sha256 == file_sha256(recorded)
        ):
            path.unlink()

    @contextmanager
    def run(
        self,
        command: str,
        server: str | None,
        totals: Mapping[str, Any],
        began: str | None = None,
        *,
        asked: Mapping[str, Any] | None = None,
    ) -> Iterator[int]:
        """Record that a command works on the archive, and how that ended; yield the run's id.

        ``began`` is when it began, where that was earlier than now; ``asked`` are the options
        that matter, never a secret. At the end all that has changed is sealed.
        """
        began = began or now()
        number = self.index.run_begins(command, server, version("waystation"), began)
        self._run = number
        outcome = "failed"
        try:
            yield number
            outcome = "done"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            self._run = None
            told = Told(number, command, server, began, outcome, totals, asked or {})
            # A disk that is full must not hide the error that says so.
            with suppress(ArchiveError):
                self.end_run(told)
                write_waiting(self.path, Records(self.database))

    def end_run(self, told: Told, *, is_rebuilt: bool = False) -> None:
        """Record the end of a run, and seal what it has changed; the journal gets that next."""
        ended = now()
        facts = Facts(self.description.id, ended, told, is_rebuilt)
        # Both or none: a run that has ended without a record is one whose record was removed.
        with self.database.atomic():
            self.index.run_ends(told.run, ended, told.outcome, dict(told.totals))
            seal(self.database, self.path, facts)

    def note_totals(self, totals: dict[str, int]) -> None:
        """Record how far the command has come, should it never come to its end."""
        if self._run is not None:
            self.index.run_goes_on(self._run, totals)

    def _places(self) -> Directories:
        if self._directories is None:
            folders = self.index.folders()
            self._directories = Directories(
                (split_name(f.name), f.directory.removeprefix(f"{MAILDIR}/")) for f in folders
            )
        return self._directories

    def _plan_rename(self, message_id: int, after: str) -> None:
        if self.index.file_of(message_id) == after:
            self.index.drop_rename(message_id)
        else:
            self.index.plan_rename(message_id, after)

    def _make_directory(self, directory: str) -> None:
        if not is_within(self.path, directory):
            raise StorageError(
                self.path / directory, "it leads out of the archive by a symbolic link"
            )
        Maildir(self.path / directory).make()

    def _recover(self) -> None:
        """Bring into order what a run that was cut off has left."""
        write_waiting(self.path, Records(self.database))
        self.carry_out_renames()
        directories = [self.path]
        for folder in self.index.folders():
            if is_within(self.path, folder.directory):
                directories += [self.path / folder.directory, self.path / folder.directory / "tmp"]
        _clear(directories)
        # A rebuild that was cut off: it begins from nothing when it is asked for again.
        for end in ("", "-wal", "-shm"):
            with suppress(OSError):
                (self.path / f"{INDEX}.new{end}").unlink(missing_ok=True)


def _clear(directories: Iterable[Path]) -> None:
    """Remove our own half-written files; whoever wrote them is gone or has given them up."""
    for directory in directories:
        for name in names_in(directory):
            if name.endswith(PART):
                with suppress(OSError):
                    (directory / name).unlink(missing_ok=True)


def lock_to_write(path: Path, purpose: str) -> Lock:
    """Return the lock of an archive of a format that we may write, taken.

    Raises:
        NoArchiveError, ArchiveLockedError, NewerFormatError, StorageError
    """
    description = read_description(path)
    if description.format > FORMAT:
        raise NewerFormatError(path, description.format, FORMAT)
    lock = Lock(path / _LOCK)
    lock.take(purpose)
    return lock


def _is_ours_to_fill(path: Path) -> bool:
    """Whether a directory is empty, or holds only what a cut-off creation leaves."""
    names = {entry.name for entry in path.iterdir()} - {_LOCK}
    if not names:
        return True
    # The directory of the messages is made first, and no message comes before the description.
    known = {MAILDIR, "FORMAT.md", "README", *(f"{INDEX}{end}" for end in _DATABASE_ENDS)}
    known |= {f"{name}{PART}" for name in ("FORMAT.md", "README", DESCRIPTION)}
    is_empty = MAILDIR in names and not names_in(path / MAILDIR)
    return names <= known and is_empty and (path / _LOCK).is_file()


def _rename(folder: Path, before: str, after: str) -> None:
    """Give a file its planned name, wherever a crash or a mail reader left it."""
    if before == after or not is_message_path(before) or not is_message_path(after):
        return
    try:
        os.replace(folder / before, folder / after)  # noqa: PTH105 - one name for renames
    except FileNotFoundError:
        if is_file(folder / after):
            return  # done before the crash
        name = before.partition("/")[2]
        other = next(same_base(folder, name), None) or next(
            same_base(folder, after.partition("/")[2]), None
        )
        if other is not None:  # else it is gone, and check says so
            os.replace(folder / other, folder / after)  # noqa: PTH105
        return
    # Two links to one file: rename leaves both (POSIX). Where case makes no difference, the old
    # name still finds the file under its new one, and must not be taken away.
    if not _same_name(folder / before, folder / after):
        (folder / before).unlink(missing_ok=True)


def _same_name(one: Path, other: Path) -> bool:
    return str(one).lower() == str(other).lower()


def same_base(folder: Path, name: str) -> Iterator[str]:
    """Yield the files of a folder that have this name but for flag letters, ``cur`` first."""
    base = base_of(name)
    for sub in ("cur", "new"):
        for other in sorted(names_in(folder / sub)):
            if base_of(other) == base and is_file(folder / sub / other):
                yield f"{sub}/{other}"


def is_file(path: Path) -> bool:
    """Whether there is a file itself, not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def is_message_path(file: str) -> bool:
    """Whether a row's file lies where messages lie, whoever wrote the row."""
    sub, _, name = file.partition("/")
    return sub in ("cur", "new") and name not in ("", ".", "..") and not set(name) & set("/\\\0")


def write_sidecar(directory: Path, name: str, special_use: SpecialUse | None) -> None:
    """Write into a folder's directory what the folder is called and what it is for."""
    values = {"name": name, "special_use": special_use}
    write_durably(directory / SIDECAR, json.dumps(values, ensure_ascii=False) + "\n")


def now() -> str:
    """Return the time as the index keeps it: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_description(path: Path) -> Description:
    """Return what ``archive.toml`` says.

    Raises:
        NoArchiveError: there is none, or it cannot be read.
    """
    try:
        if not path.exists():
            raise NoArchiveError(path)
        if not path.is_dir():
            raise NoArchiveError(path, "it is a file")
        if not (path / DESCRIPTION).exists():
            raise NoArchiveError(path, f"it holds no {DESCRIPTION}")
    except OSError as error:
        raise NoArchiveError(path, f"it cannot be read ({error.strerror})") from None
    content = read_small(path / DESCRIPTION, _LONGEST_DESCRIPTION)
    if content is None:
        raise NoArchiveError(path, f"{DESCRIPTION} cannot be read")
    try:
        values = tomllib.loads(content.decode())
        source = values.get("source", {})
        prefix = source.get("prefix", [])
        if type(values["format"]) is not int or values["format"] < 1 or type(prefix) is not list:
            raise ValueError("its format is no number")  # noqa: TRY301 - told below
        return Description(
            values["format"],
            str(values["id"]),
            str(values["created"]),
            str(source["name"]) if "name" in source else None,
            str(source["key"]) if "key" in source else None,
            tuple(str(level) for level in prefix),
        )
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise NoArchiveError(path, f"{DESCRIPTION} makes no sense ({plain(str(error))})") from None


def demand_same_source(
    known: Description, name: str, key: str, *, new_source: bool, mix: bool
) -> None:
    """Make sure that an archive that says this of itself may take mail from a source.

    Raises:
        OtherSourceError, OtherProtocolError: see ``Archive.claim_source``.
    """
    if known.source_key in (None, key):
        return
    if not new_source and not mix:
        raise OtherSourceError(known.source or "", name)
    if is_pop3(known.source_key or "") != is_pop3(key) and not mix:
        raise OtherProtocolError(known.source or "", name)


def is_pop3(key: str) -> bool:
    """Whether the key of a source says that it is read by POP3."""
    scheme = key.partition(":")[0]
    return scheme in ("pop3", "pop3s") or scheme.endswith("+pop3")


def _write_description(path: Path, description: Description) -> None:
    # A JSON string is a TOML string, as long as nothing beyond the basic plane is escaped, and
    # but for DEL, which JSON lets pass.
    def text(value: object) -> str:
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

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


def from_file(folder: ArchivedFolder, maildir: Maildir, file: str) -> NewMessage:
    """Return the row that a complete file of ours yields by itself.

    INTERNALDATE comes from its name, which a copy does not lose as it may lose the file's time;
    only a date before 1970 has to come from there.

    Raises:
        OSError: it cannot be read.
    """
    path = f"{maildir.path}{os.sep}{file}"
    said = parse_name(file.partition("/")[2])
    if said is None:
        raise ValueError(file)
    with os.fdopen(os.open(path, READ), "rb") as stream:
        found = os.fstat(stream.fileno())
        head = stream.read(LONGEST_HEAD)
    seconds = said.received or found.st_mtime_ns // 1_000_000_000
    # A message without INTERNALDATE has the time at which it was written.
    is_known = bool(said.received) or seconds <= 0
    received = _instant(seconds) if is_known else None
    return NewMessage(
        folder.id,
        said.uidvalidity,
        said.uid,
        file,
        file_sha256(path),
        found.st_size,
        received,
        tuple(flags_of(said.letters)),
        tuple(maildir.keywords_of(said.letters)),
        parse(head),
        _date_from(head, received) if said.uidvalidity == UIDVALIDITY else None,
    )


def _date_from(head: bytes, received: datetime | None) -> DateFrom | None:
    """Return from which field a POP3 message got its date; None if from none of them."""
    derived, date_from = derived_date(head)
    return date_from if derived is not None and derived == received else None


def _instant(seconds: int) -> datetime | None:
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return None


def names_in(directory: Path) -> list[str]:
    """Return what a directory holds; nothing where it is missing or none."""
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
