"""A batch on the workers of a dask cluster, as seen from where it was begun.

Who begins when, what follows a failure, slots and hours are decided here, by the same ``Batch`` as
without a cluster. The scheduler decides where a mailbox is worked on, and has it begun again
elsewhere when a worker dies.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from waystation.batch.cluster import Cluster, LostError, machine_of
from waystation.batch.run import State
from waystation.batch.shares import owners, shares
from waystation.cli.batch_worker import (
    Listed,
    Needs,
    Order,
    granted,
    kept,
    mark,
    missing,
    shared,
    unmark,
    without_password,
    work_on,
)
from waystation.cli.mailbox_listener import MailboxListener
from waystation.errors import UsageError, WaystationError, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from waystation.batch.cluster import Errand
    from waystation.batch.mailboxes import End, Mailbox, Side
    from waystation.batch.run import Ending, Limits
    from waystation.batch.turn import Turn
    from waystation.cli.batch_work import Desk, Work
    from waystation.cli.board import Board
    from waystation.cli.engine import Engine

_LOOK = 1.0
"""Seconds between two looks whether the hours of a batch are over."""
_FAREWELL = 2.5
"""Seconds that a mailbox which is called back has to end; it loses nothing when it does not."""
_FINISH = 10.0
_TOLD = frozenset(
    {
        *("folder", "expect", "advance", "waiting", "alarm", "note", "problem", "warning"),
        *("finding", "say", "row", "summary"),
    }
)
"""What workers may call on a mailbox's listener."""
_ENDS = frozenset({"over", "failed", "halted"})
"""The last words of a worker on a mailbox, but for its lease."""


class FailedThereError(WaystationError):
    """What went wrong with a mailbox on a worker."""

    def __init__(self, text: str, exit_code: int, backoff: float | None, *, passes: bool) -> None:
        super().__init__(plain(text, 1000))
        self.exit_code = exit_code
        self.backoff = backoff
        self._passes = passes

    @property
    def retriable(self) -> bool:
        """Whether it may be over after a while."""
        return self._passes


class Elsewhere(Mapping[str, str]):
    """The environment of machines that are asked later: every variable may be set there."""

    def __getitem__(self, name: str) -> str:
        return name

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class Workers:
    """The cluster's workers, as the task of a ``Batch``."""

    def __init__(
        self, engine: Engine, desk: Desk, work: Work, limits: Limits, listed: Listed | None
    ) -> None:
        """Connect to the cluster.

        Raises:
            UsageError: the engine makes no sense, or dask is not installed.
            UnreachableError: nobody is there.
        """
        self._cluster = Cluster.connect(engine.engine or "")
        self._batch = f"waystation-{uuid4().hex[:12]}"
        self._root = desk.root
        self._order = Order(
            self._batch,
            engine.worker_root or str(desk.root.resolve()),
            work,
            desk.reach,
            desk.sign_in,
            desk.side,
            engine.lease,
            limits.messages,
            limits.octets,
            1 / max(1, len(self._cluster.workers)),
            listed,
        )
        self._numbers = itertools.count(1)
        self._lock = Lock()
        self._told: dict[str, SimpleQueue[tuple[str, list[Any]]]] = {}
        self._places: dict[str, str] = {}
        """At which worker each mailbox is that works."""
        self._is_own = engine.own_storage
        self._owners: dict[str, str] = {}
        """The machine that has each archive, where not all see all."""
        self._over = Event()
        self._sharer: Thread | None = None

    def open(self, mailboxes: Sequence[Mailbox]) -> None:
        """See that every worker has what it needs, and begin to listen.

        Raises:
            UsageError: one of them lacks something.
            StorageError: ROOT cannot be written.
        """
        name = f".{self._batch}"
        needs = Needs(None if self._is_own else name, _variables(self._order, mailboxes))
        mark(self._root, name)
        try:
            found = self._cluster.ask(missing, self._order, needs)
        finally:
            unmark(self._root, name)
        for worker, lacks in sorted(found.items()):
            if isinstance(lacks, BaseException):
                lacks = f"cannot run waystation ({type(lacks).__name__}); {_INSTALL}"
            if lacks:
                raise UsageError(f"the worker {plain(worker)} {plain(str(lacks), 1000)}.")
        if self._is_own:
            self._find_owners(mailboxes)
        self._cluster.listen(self._batch, self._hear)
        if self._order.messages or self._order.octets:
            self._sharer = Thread(target=self._share, name="shares", daemon=True)
            self._sharer.start()

    def _find_owners(self, mailboxes: Sequence[Mailbox]) -> None:
        found: dict[str, set[str]] = {}
        for worker, names in self._cluster.ask(kept, self._order).items():
            if isinstance(names, BaseException):
                raise UsageError(f"the worker {plain(worker)} cannot read its ROOT.")
            found.setdefault(machine_of(worker), set()).update(names)
        try:
            self._owners = owners([mailbox.directory for mailbox in mailboxes], found)
        except ValueError as error:
            raise UsageError(f"--own-storage: {plain(str(error))}; keep one of them.") from None

    def task(self, board: Board, host_of: Callable[[Mailbox], str]) -> Callable[..., Ending]:
        """Return what a ``Batch`` does to a mailbox."""

        def run(mailbox: Mailbox, turn: Turn) -> Ending:
            return self._work(mailbox, turn, board, host_of(mailbox))

        return run

    def close(self) -> None:
        """Leave the cluster. What still runs there ends at its next safe point."""
        self._over.set()
        self._cluster.close()

    def _work(self, mailbox: Mailbox, turn: Turn, board: Board, host: str) -> Ending:
        key = f"{self._batch}-{mailbox.line}-{next(self._numbers)}"
        told: SimpleQueue[tuple[str, list[Any]]] = SimpleQueue()
        with self._lock:
            self._told[key] = told
        board.state(mailbox, State.WAITING, "for a worker", None)
        bare = without_password(mailbox)
        errand = self._cluster.hand_out(
            work_on,
            self._order,
            bare,
            host,
            key,
            key=key,
            priority=mailbox.priority,
            machine=self._owners.get(mailbox.directory),
        )
        errand.when_over(lambda: told.put(("finished", [])))
        conversation = Conversation(self, key, mailbox, turn, board, told, errand)
        is_over = False
        try:
            turn.opened(conversation)
            ending = conversation.follow()
            is_over = True
        finally:
            turn.closed()
            if not is_over:
                errand.cancel()
                conversation.await_end()
            with self._lock:
                del self._told[key]
                self._places.pop(key, None)
        return ending

    def is_at(self, key: str, worker: str) -> None:
        """Take note of who works on a mailbox."""
        with self._lock:
            self._places[key] = worker

    def grant(self, key: str) -> None:
        """Let a mailbox that has asked for a slot go on."""
        with self._lock:
            worker = self._places.get(key)
        if worker is not None:
            self._cluster.ask(granted, self._batch, key, workers=[worker])

    def _hear(self, text: str) -> None:
        try:
            key, name, *words = json.loads(text)
        except ValueError:
            return
        with self._lock:
            told = self._told.get(key)
        if told is not None:
            told.put((name, words))

    def _share(self) -> None:
        """Tell the workers their shares, whenever these have changed."""
        before: dict[str, float] = {}
        while not self._over.wait(_LOOK):
            with self._lock:
                at_work = Counter(self._places.values())
            workers = self._cluster.workers
            now = shares(workers, at_work)
            if now != before:
                self._cluster.ask(shared, self._batch, now)
                before = now


class Conversation:
    """What one mailbox tells from afar, from its hand-out to its end."""

    def __init__(
        self,
        workers: Workers,
        key: str,
        mailbox: Mailbox,
        turn: Turn,
        board: Board,
        told: SimpleQueue[tuple[str, list[Any]]],
        errand: Errand,
    ) -> None:
        self._workers, self._key, self._mailbox = workers, key, mailbox
        self._turn, self._board, self._told, self._errand = turn, board, told, errand
        self._listener: MailboxListener | None = None
        self._has_ended = False

    def cut(self) -> None:
        """End the waiting for the next word; see ``waystation.batch.turn.Session``."""
        self._told.put(("called back", []))

    def drop(self) -> None:
        """See ``waystation.batch.turn.Session``; whoever opened it takes the errand back."""

    def follow(self) -> Ending:
        """Do here what is told from there; return how the mailbox ended.

        Raises:
            HaltedError: the batch ends, or its hours are over.
            WaystationError: the work failed.
        """
        while True:
            name, words = self._next(_LOOK)
            self._turn.check()
            if name == "finished":
                raise LostError(self._errand.failure or "a worker ended without a word")
            ending = self._heard(name, words)
            if ending is not None:
                self._await({"finished"}, _FINISH)
                return ending

    def await_end(self) -> None:
        """Wait a little until the worker has ended its part, if it has begun."""
        # For the scheduler, what is called back is over at once; its worker says when it is.
        if self._listener is not None and not self._has_ended:
            self._await(_ENDS, _FAREWELL)

    def _await(self, names: Collection[str], seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._next(left)[0] in names:
                return

    def _next(self, seconds: float) -> tuple[str, list[Any]]:
        """Return the next thing that is told; nothing where none is for so long."""
        try:
            name, words = self._told.get(timeout=seconds)
        except Empty:
            return "", []
        self._has_ended = self._has_ended or name in _ENDS
        if name == "lease":
            self._lease(words)
        return name, words

    def _heard(self, name: str, words: list[Any]) -> Ending | None:
        match name, words:
            case "begun", [str(worker)]:
                self._workers.is_at(self._key, worker)
                # Begun again after a worker has died, it may hold no slot.
                self._turn.take_slot()
                self._listener = MailboxListener(self._board, self._mailbox, self._turn)
                self._board.state(self._mailbox, State.WORKING, "", None)
            case "gives", _:
                self._turn.give_slot()
            case "wants", _:
                self._turn.take_slot()
                self._turn.check()
                self._workers.grant(self._key)
            case "failed", [text, int(code), passes, backoff]:
                wait = float(backoff) if isinstance(backoff, int | float) else None
                raise FailedThereError(str(text), code, wait, passes=passes is True)
            case "halted", _:
                raise LostError("a worker has left")
            case "over", _ if self._listener is not None:
                return self._listener.ending
            case _ if name in _TOLD and self._listener is not None:
                getattr(self._listener, name)(*words)
        return None

    def _lease(self, words: list[Any]) -> None:
        match words:
            case [str(what), int(number), str(worker)]:
                self._board.leased(self._mailbox, what, number, worker)
            case _:
                """No worker of ours says so."""


def listed_passwords(file: Path, octets: bytes, server: str | None) -> Listed:
    """Return where the workers find the passwords of a list that holds some."""
    return Listed(str(file.resolve()), hashlib.sha256(octets).hexdigest(), server)


_INSTALL = "it needs the same: pip install 'waystation[dask]'"


def _variables(order: Order, mailboxes: Sequence[Mailbox]) -> tuple[str, ...]:
    """Return the environment variables that each worker has to have."""
    if order.side is None:
        return ()
    ends: list[End] = [_end(mailbox, order.side) for mailbox in mailboxes]
    named = {end.password_env for end in ends} | {order.reach.password_env}
    return tuple(sorted(name for name in named if name is not None))


def _end(mailbox: Mailbox, side: Side) -> End:
    from waystation.batch.mailboxes import Side

    return mailbox.target if side is Side.TARGET else mailbox.source
