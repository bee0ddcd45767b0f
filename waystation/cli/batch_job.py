"""One command over many mailboxes: reads the list, runs the batch, tells how it ended."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from waystation.batch.faults import ListError
from waystation.batch.form import Form
from waystation.batch.mailboxes import End, Mailbox, MailboxList, Side, Surroundings, read_list
from waystation.batch.run import Batch, State
from waystation.cli import state
from waystation.cli.batch_doors import Keys
from waystation.cli.batch_work import Desk
from waystation.cli.board import Board, mailboxes_text
from waystation.cli.engine import EMBEDDED
from waystation.cli.mailbox_listener import MailboxListener
from waystation.cli.table import Table
from waystation.cli.text import duration_text
from waystation.cli.tidings import SILENT
from waystation.errors import ArchiveError, NoArchiveError, UsageError, WaystationError, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from waystation.batch.run import Ending
    from waystation.batch.turn import Turn
    from waystation.cli import options
    from waystation.cli.batch_dask import Workers
    from waystation.cli.batch_work import Work
    from waystation.cli.batch_worker import Listed
    from waystation.cli.engine import Engine
    from waystation.cli.output import Listener
    from waystation.cli.tidings import Post, Tidings
    from waystation.cli.together import Together

_SOME_FAILED = 3
_SIGN_IN = 12
_FOUND_SOMETHING = 13
_INTERRUPTED = 130
_NAMED = 20
_LOCK = ".batch.lock"
_NUMBERS_OF_RUNS = frozenset({"run", "record"})
"""What a summary numbers and does not count: a sum of these says nothing."""


class Job:
    """What the commands of a batch share."""

    def __init__(
        self,
        command: str,
        root: Path,
        together: Together,
        reach: options.Reach,
        sign_in: options.SignIn,
        voice: options.Voice,
        side: Side | None,
        *,
        is_offline: bool = False,
        tidings: Tidings = SILENT,
    ) -> None:
        """Begin to listen, and look at the options.

        With no ``side``, or offline, no server is spoken with.

        Raises:
            UsageError, SignInError: one of them makes no sense, or a secret is missing.
        """
        self.command, self.root, self.together = command, root, together
        self.reach, self.sign_in, self.voice, self.side = reach, sign_in, voice, side
        self._table = Table()
        self.listener: Listener = state.listen(
            f"batch {command}",
            as_json=voice.as_json,
            quiet=voice.quiet,
            debug=voice.debug,
            bar=self._table,
        )
        self._limits = together.limits()
        self._post = tidings.post(reach)
        self._metrics = tidings.monitored()
        self._is_offline = is_offline or side is None
        self._desk = Desk(root, reach, sign_in, side, Keys(reach.passwords))
        self._engine = EMBEDDED
        self._listed: Listed | None = None

    def at(self, engine: Engine) -> Self:
        """Work where an engine says.

        Raises:
            UsageError: it makes no sense.
            SignInError: a secret is missing.
        """
        self._engine = engine
        if not self._is_remote:
            if self.sign_in.is_app_only and not self._is_offline:
                self._desk.keys.demand_proof(self.sign_in)
            return self
        from waystation.batch.cluster import scheduler_of

        scheduler_of(engine.engine or "")
        if self.voice.debug:
            raise UsageError("--debug shows what this process says; with --engine, workers speak.")
        if self.command == "check":
            # One at a time for each thread of a worker.
            self._limits = replace(self._limits, connections=0)
        return self

    @property
    def _is_remote(self) -> bool:
        return self._engine.engine is not None

    def place(self, mailbox: Mailbox) -> Path:
        """Return where the archive of a mailbox is."""
        return self._desk.place(mailbox)

    def read(self, file: Path | None) -> tuple[Mailbox, ...]:
        """Return the mailboxes of a list, or of all archives in ROOT.

        Raises:
            ListError: the list has faults; each has been told.
            UsageError: it cannot be read.
            NoArchiveError: there is no ROOT, or nothing in it.
        """
        is_there = self.root.is_dir()
        if self.command != "export" and not is_there:
            raise NoArchiveError(self.root, "there is no such directory")
        if file is None:
            return self._all()
        around = Surroundings(
            None if self._is_offline and self.command != "plan" else self.side,
            self.sign_in.server if self.side is Side.SOURCE else None,
            self.reach.password_env is not None
            or self.reach.password_command is not None
            or self.sign_in.service_account is not None
            or self._is_offline,
            self._environment(),
            frozenset(path.name for path in self.root.iterdir()) if is_there else frozenset(),
            self._has_target,
        )
        octets = _octets(file)
        found = _read(file, octets, around, self.listener)
        if found.passwords and not self._is_offline:
            self._warn_of_passwords(file, found.form, found.passwords)
            if self._is_remote:
                from waystation.cli.batch_dask import listed_passwords

                self._listed = listed_passwords(file, octets, around.server)
        return found.mailboxes

    def _environment(self) -> Mapping[str, str]:
        if not self._is_remote:
            return os.environ
        from waystation.cli.batch_dask import Elsewhere

        return Elsewhere()

    def run(
        self,
        mailboxes: Sequence[Mailbox],
        work: Work,
        show: Callable[[Listener, dict[str, Ending]], None] = lambda *_: None,
    ) -> int:
        """Work on all mailboxes, tell how it ended, and return the exit code.

        Raises:
            KeyboardInterrupt: somebody interrupted; all have stopped at a safe point.
            ArchiveLockedError: another batch works in ROOT.
        """
        from store.lock import Lock
        from store.maildir import make_directory

        begun = datetime.now(UTC)
        if self.command == "export":
            make_directory(self.root.resolve())
        board = Board(f"batch {self.command}", mailboxes, self.listener)
        lock = Lock(self.root / _LOCK)
        lock.take(f"batch {self.command}")
        code = 1
        workers: Workers | None = None
        try:
            limits = self._limits
            if self._is_remote:
                from waystation.cli.batch_dask import Workers

                workers = Workers(self._engine, self._desk, work, limits, self._listed)
                workers.open(mailboxes)
                task = workers.task(board, self._host_of)
                # What all may do in a second is divided among the workers, and paid for there.
                limits = replace(limits, messages=0, octets=0)
            else:
                task = self._task(board, work)
            batch = Batch(
                mailboxes,
                task,
                board,
                limits,
                host_of=self._host_of,
                most_of=lambda host: limits.per_host if host else 0,
            )
            board.open(self.root)
            if self._metrics is not None and (where := self._metrics.open(board)):
                self.listener.say(f"metrics are at {where}")
            if not (self.voice.as_json or self.voice.quiet or self.voice.debug):
                self._table.open(board)
            endings = batch.run()
            code = exit_code(endings.values())
        except KeyboardInterrupt:
            code = _INTERRUPTED
            raise
        finally:
            if workers is not None:
                workers.close()
            self.listener.close()
            board.close(code)
            if self._metrics is not None and (why := self._metrics.close()):
                self.listener.warning(f"the last metrics were not written: {why}")
            lock.release()
        show(self.listener, endings)
        self._tell(endings, code, begun)
        return code

    def _task(self, board: Board, work: Work) -> Callable[[Mailbox, Turn], Ending]:
        """Return what is done to a mailbox in this process."""

        def task(mailbox: Mailbox, turn: Turn) -> Ending:
            listener = MailboxListener(board, mailbox, turn)
            work(self._desk, mailbox, turn, listener)
            return listener.ending

        return task

    def _tell(self, endings: dict[str, Ending], code: int, begun: datetime) -> None:
        by_state: dict[State, list[str]] = {}
        sums: Counter[str] = Counter()
        for name, ending in endings.items():
            by_state.setdefault(ending.state, []).append(name)
            for key, value in ending.values.items():
                is_count = isinstance(value, int) and not isinstance(value, bool)
                if is_count and key not in _NUMBERS_OF_RUNS:
                    sums[key] += value
        done = by_state.get(State.DONE, [])
        words = f"{len(done):,} of {mailboxes_text(len(endings))} done"
        self.listener.say(f"{words}." if len(done) == len(endings) else f"{words}; not done:")
        for reached in (State.INCOMPLETE, State.FOUND, State.FAILED):
            names = by_state.get(reached, [])
            for name in names[:_NAMED]:
                self.listener.say(f"{reached.value}: {plain(name)}: {endings[name].text}")
            if len(names) > _NAMED:
                self.listener.say(f"… and {len(names) - _NAMED:,} more {reached.value}")
        values: dict[str, Any] = {
            "mailboxes": len(endings),
            **{
                reached.value: len(by_state.get(reached, []))
                for reached in (State.DONE, State.INCOMPLETE, State.FOUND, State.FAILED)
            },
            "not_done": {
                name: {"exit_code": ending.exit_code, "text": ending.text}
                for name, ending in endings.items()
                if ending.state is not State.DONE
            },
            "sums": dict(sums),
        }
        if self._post is not None:
            values["mail"] = self._mail(self._post, endings, code, begun, dict(sums))
        self.listener.summary("done" if code == 0 else "incomplete", code, values)

    def _mail(
        self,
        post: Post,
        endings: dict[str, Ending],
        code: int,
        begun: datetime,
        sums: dict[str, int],
    ) -> str:
        """Mail the summary; return ``sent`` or ``failed``, which changes nothing else."""
        from waystation.batch.letter import Ended

        now = datetime.now(UTC)
        ended = Ended(
            f"batch {self.command}",
            str(self.root.resolve()),
            begun.isoformat(timespec="seconds"),
            now.isoformat(timespec="seconds"),
            duration_text((now - begun).total_seconds()),
            code,
            endings,
            sums,
        )
        why = post.send(ended)
        if why:
            self.listener.warning(f"the summary was not mailed: {why}")
        return "failed" if why else "sent"

    def _all(self) -> tuple[Mailbox, ...]:
        """Return a mailbox for each archive in ROOT."""
        from store.archive import Archive
        from store.names import levels_of

        names = sorted(path.name for path in self.root.iterdir() if Archive.exists(path))
        if not names:
            raise NoArchiveError(self.root, "there is no archive in it")
        return tuple(
            Mailbox(number, "/".join(levels_of(name) or (name,)), name)
            for number, name in enumerate(names, 1)
        )

    def _end(self, mailbox: Mailbox) -> End:
        return mailbox.target if self.side is Side.TARGET else mailbox.source

    def _host_of(self, mailbox: Mailbox) -> str:
        """Return the server whose connections are counted; empty where they are not.

        Office 365 counts by mailbox.
        """
        from store.archive import read_description
        from waystation.address import bare_domain, parse_account

        if self._is_offline:
            return ""
        server = self._end(mailbox).server
        try:
            if server is None and self.side is Side.SOURCE:
                server = read_description(self.place(mailbox)).source
            if server is None:
                return ""
            if (domain := bare_domain(server)) is not None:
                return domain
            account = parse_account(server)
        except WaystationError:
            return ""  # told when its turn comes
        return "" if account.takes_tokens_only else account.host.lower()

    def _has_target(self, directory: str) -> bool:
        from store.archive import Archive

        try:
            with Archive.read(self.root / directory) as archive:
                return len(archive.transfers.targets()) == 1
        except NoArchiveError:
            return True  # that it is not there is told of the mailbox alone
        except ArchiveError:
            return True

    def _warn_of_passwords(self, file: Path, form: Form, count: int) -> None:
        better = (
            "Columns that name an environment variable, a command or a keyring entry are safer."
            if form is Form.OURS
            else "Our own form can name an environment variable, a command or a keyring entry."
        )
        self.listener.warning(
            f"{plain(str(file))} holds the passwords of {mailboxes_text(count)} in the open: keep "
            f"it where only you can read it, and delete it afterwards. {better}"
        )


def listed(file: Path, listener: Listener) -> tuple[Mailbox, ...]:
    """Return the mailboxes of a list, whatever shall be done with them.

    Raises:
        ListError: the list has faults; each has been told.
        UsageError: it cannot be read.
    """
    return _read(file, _octets(file), Surroundings(), listener).mailboxes


def _octets(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"the list {plain(str(file))}: {error.strerror}.") from None


def _read(file: Path, octets: bytes, around: Surroundings, listener: Listener) -> MailboxList:
    try:
        return read_list(octets, around, str(file))
    except ListError as error:
        for fault in error.faults:
            values = {
                "line": fault.line,
                "column": fault.column,
                "kind": fault.kind.value,
                "text": fault.text,
            }
            listener.finding({"type": "fault", **values}, f"{plain(str(file))} {fault}")
        raise


def exit_code(endings: Iterable[Ending]) -> int:
    """Return the exit code of a batch whose mailboxes ended so."""
    codes = {ending.exit_code for ending in endings}
    if codes <= {0}:
        return 0
    if _FOUND_SOMETHING in codes:
        return _FOUND_SOMETHING
    return _SIGN_IN if codes <= {0, _SIGN_IN} else _SOME_FAILED
