"""One mailbox of a batch on a worker of a dask cluster: what is sent to it, and what it tells.

What is sent names secrets and holds none: variables, commands and keyrings are the worker's own,
and passwords that stand in the list are read there from the list. What comes back are lines of
JSON, ``[key, name, …]``: the calls that the mailbox's listener on the other side is to get.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from store.archive import Archive
from store.maildir import make_directory
from waystation.batch.ceilings import Ceilings
from waystation.batch.cluster import Here
from waystation.batch.lease import Lease, LeaseLostError
from waystation.batch.mailboxes import Side, Surroundings, read_list
from waystation.batch.run import fault, passes
from waystation.batch.turn import HaltedError, Turn
from waystation.cli.batch_doors import Keys
from waystation.cli.batch_work import Desk, Export
from waystation.errors import SignInError, StorageError, WaystationError, plain
from waystation.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from waystation.batch.mailboxes import End, Mailbox
    from waystation.cli import options
    from waystation.cli.batch_work import Work

LEASES = ".leases"
"""In ROOT; no mailbox is called so, since a dot at the beginning of a name is written ``%2E``."""
_LOOKS = 0.5
"""Seconds between two looks whether a mailbox is still wanted here."""
_TELLS = 0.5
"""Seconds between two words on how far the work has come."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A list that holds passwords, by where a worker finds it."""

    path: str
    sha256: str
    server: str | None

    def mailboxes(self) -> dict[int, Mailbox]:
        """Return the mailboxes by line.

        Raises:
            SignInError: the list is not there, or is another one.
        """
        try:
            octets = Path(self.path).read_bytes()
        except OSError as error:
            raise SignInError(
                f"the list {plain(self.path)} holds passwords, which are not sent about, and this "
                f"worker cannot read it: {error.strerror}. Put it where the workers see it, or "
                "name environment variables, commands or keyring entries in it"
            ) from None
        if hashlib.sha256(octets).hexdigest() != self.sha256:
            raise SignInError(f"the list {plain(self.path)} is another one on this worker")
        found = read_list(octets, Surroundings(server=self.server), self.path)
        return {mailbox.line: mailbox for mailbox in found.mailboxes}


@dataclass(frozen=True, slots=True)
class Order:
    """What all mailboxes of a batch share, as it is sent to the workers."""

    batch: str
    """Names the batch, and the topic by which its workers tell."""
    root: str
    """As the workers see it."""
    work: Work
    reach: options.Reach
    sign_in: options.SignIn
    side: Side | None
    """Whose server is spoken with; None: nobody's."""
    lease: float
    messages: float = 0
    """Per second in all, and so on; 0 is no ceiling."""
    octets: float = 0
    share: float = 1.0
    """Of these, for a worker that was told nothing else yet."""
    listed: Listed | None = None
    version: str = field(default_factory=lambda: version("waystation"))

    @property
    def place(self) -> Path:
        """ROOT, on the worker that asks."""
        return Path(self.root).expanduser()


@dataclass(frozen=True, slots=True)
class Needs:
    """What every worker has to have before a batch begins."""

    mark: str | None
    """The name of a file in ``LEASES`` that shows that ROOT is the same directory; None: it is
    another one on each machine."""
    variables: tuple[str, ...] = ()


def missing(_: Here, order: Order, needs: Needs) -> str:
    """Return what a worker lacks, in words; empty where it has all."""
    if version("waystation") != order.version:
        return f"has waystation {version('waystation')}, this is {order.version}"
    if needs.mark is not None and not (order.place / LEASES / needs.mark).is_file():
        return f"does not see {order.root}, or sees another directory of that name"
    lacking = [name for name in needs.variables if not os.environ.get(name)]
    if lacking:
        return f"lacks the environment variable {', '.join(lacking)}"
    try:
        if order.listed is not None:
            order.listed.mailboxes()
        if order.side is not None and order.sign_in.is_app_only:
            Keys(order.reach.passwords).demand_proof(order.sign_in)
    except WaystationError as error:
        return f"says: {error}"
    return ""


def kept(_: Here, order: Order) -> list[str]:
    """Return which archives a machine has."""
    try:
        return [path.name for path in order.place.iterdir() if Archive.exists(path)]
    except FileNotFoundError:
        return []


def work_on(order: Order, mailbox: Mailbox, host: str, key: str) -> None:
    """Work on one mailbox. How it ends is told; nothing is returned or raised."""
    teller = Teller(Here.now(), order.batch, key)
    attend(_post_of(order), mailbox, host, teller)


def attend(post: Post, mailbox: Mailbox, host: str, teller: Teller) -> None:
    """Work on one mailbox, and tell how it goes and how it ends."""
    teller.tell("begun", teller.here.address)
    try:
        _work_on(post, mailbox, host, teller)
    except HaltedError:
        teller.tell("halted")
    except WaystationError as error:
        teller.tell("failed", str(error), error.exit_code, passes(error), error.backoff)
    except Exception as error:  # noqa: BLE001 - it must not end the worker's others
        ending = fault(error)
        teller.tell("failed", ending.text, ending.exit_code, False, None)


def _work_on(post: Post, mailbox: Mailbox, host: str, teller: Teller) -> None:
    order = post.order
    if order.version != version("waystation"):
        raise SignInError(
            f"this worker has waystation {version('waystation')}, the batch {order.version}"
        )
    root = order.place
    if isinstance(order.work, Export):
        make_directory(root.resolve())
    lease = Lease(root / LEASES / mailbox.directory, teller.here.address, order.lease)
    desk = Desk(root, order.reach, order.sign_in, order.side, post.keys)
    places = _Places(teller)
    turn = LeasedTurn(host, places, post.ceilings, lease)
    with post.seat(teller, turn, places, lease):
        try:
            _take(lease, turn, teller)
            teller.tell("lease", "taken", lease.number, teller.here.address)
            listener = Reporter(teller, turn)
            order.work(desk, _with_password(mailbox, order), turn, listener)
            listener.over()
        except (HaltedError, WaystationError, OSError):
            # What a connection says that we have cut ourselves is no failure.
            if turn.has_lost_lease:
                raise LeaseLostError(mailbox.name) from None
            if turn.is_halted:
                raise HaltedError from None
            raise
        finally:
            number = lease.number
            lease.release()
            if number:
                teller.tell("lease", "released", number, teller.here.address)
            elif turn.has_lost_lease:
                teller.tell("lease", "lost", turn.number, teller.here.address)


def _take(lease: Lease, turn: LeasedTurn, teller: Teller) -> None:
    """Take the lease; who has to wait for it holds up nobody."""
    told = False

    def wait(seconds: float, owner: str, left: float) -> None:
        nonlocal told
        if not told:
            told = True
            words = f"for the lease of {owner} to end" if left > seconds else f"for {owner}"
            teller.tell("waiting", max(left, 2.0), f"waits {words}")
            turn.give_slot()
        turn.stopping.wait(seconds)
        turn.check_stop()

    lease.take(wait)
    turn.leased()
    if told:
        turn.take_slot()
        turn.check()


def _with_password(mailbox: Mailbox, order: Order) -> Mailbox:
    if order.listed is None or order.side is None:
        return mailbox
    whole = order.listed.mailboxes().get(mailbox.line)
    if whole is None or whole.name != mailbox.name:
        raise SignInError(f"the list {plain(order.listed.path)} does not name {mailbox.name}")
    return replace(mailbox, source=whole.source, target=whole.target)


def without_password(mailbox: Mailbox) -> Mailbox:
    """Return a mailbox as it may be sent about."""

    def bare(end: End) -> End:
        return replace(end, password=None)

    return replace(mailbox, source=bare(mailbox.source), target=bare(mailbox.target))


class LeasedTurn(Turn):
    """A turn that is over as soon as somebody else may have the mailbox."""

    def __init__(self, host: str, places: _Places, ceilings: Ceilings, lease: Lease) -> None:
        self.stopping = Event()
        super().__init__(host, places, ceilings, self.stopping, lambda: 0.0)
        self._lease = lease
        self.number = 0
        """Which lease this turn has, or had."""

    def leased(self) -> None:
        """Take note that the lease is ours."""
        self.number = self._lease.number

    @property
    def has_lost_lease(self) -> bool:
        """Whether the lease was ours and is not any more."""
        return bool(self.number) and not self._lease.is_held

    @property
    def is_halted(self) -> bool:
        """Whether the turn is to end, for whatever reason."""
        return self.stopping.is_set()

    def check(self) -> None:
        """See ``Turn``; also before a lease is lost to somebody else."""
        if self.has_lost_lease:
            self.stopping.set()
        super().check()

    def check_stop(self) -> None:
        """See whether anybody still wants this.

        Raises:
            HaltedError: nobody does.
        """
        if self.stopping.is_set():
            raise HaltedError

    def halt(self) -> None:
        """End, at the next safe point."""
        self.stopping.set()
        self.cut()


class _Places:
    """A slot of the whole batch, which is asked for, and a place in this worker."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self.granted = Event()

    def give(self, host: str) -> None:  # noqa: ARG002 - the batch knows
        """See ``Places``."""
        self.granted.clear()
        self._teller.tell("gives")
        self._teller.here.leave_pool()

    def take_back(self, host: str, is_stopped: Callable[[], bool]) -> bool:  # noqa: ARG002
        """See ``Places``."""
        self._teller.tell("wants")
        while not self.granted.wait(_LOOKS):
            if is_stopped():
                return False
        self._teller.here.rejoin_pool()
        return True


class Teller:
    """Tells the other side of one mailbox."""

    def __init__(self, here: Here, topic: str, key: str) -> None:
        self.here = here
        self.key = key
        self._topic = topic

    def tell(self, name: str, *words: object) -> None:
        """Tell one thing."""
        self.here.tell(self._topic, json.dumps([self.key, name, *words]))


class Reporter(Silent):
    """The listener of the work on a mailbox: it tells the other side, and obeys the batch."""

    def __init__(
        self,
        teller: Teller,
        turn: Turn,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._teller = teller
        self._turn = turn
        self._clock = clock
        self._done = self._octets = 0
        self._told = clock()

    def folder(self, name: str, messages: int) -> None:
        self._tell("folder", name, messages)
        self._turn.check()

    def expect(self, messages: int) -> None:
        self._tell("expect", messages)

    def advance(self, messages: int, size: int) -> None:
        self._done += messages
        self._octets += size
        if self._clock() - self._told >= _TELLS:
            self._flush()
        self._turn.did(messages, size)

    def waiting(self, seconds: float, reason: str) -> None:
        self._tell("waiting", seconds, reason)

    def alarm(self, folder: str, text: str) -> None:
        self._tell("alarm", folder, text)

    def note(self, folder: str, text: str) -> None:
        self._tell("note", folder, text)

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        self._tell("problem", folder, uid, text)

    def warning(self, text: str) -> None:
        self._tell("warning", text)

    def finding(self, values: dict[str, Any], text: str) -> None:
        self._tell("finding", values, text)

    def say(self, text: str) -> None:
        self._tell("say", text)

    def row(self, kind: str, values: dict[str, Any]) -> None:
        self._tell("row", kind, values)

    def summary(self, outcome: str, exit_code: int, values: dict[str, Any]) -> None:
        self._tell("summary", outcome, exit_code, values)

    def over(self) -> None:
        """Tell that no more will come."""
        self._tell("over")

    def heading(self, text: str) -> None:
        """People see one line for each mailbox."""

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """People see one line for each mailbox."""

    def error(self, text: str) -> None:
        """What ends the work on a mailbox is raised."""

    def close(self) -> None:
        """Nothing is open."""

    def _tell(self, name: str, *words: object) -> None:
        self._flush()
        self._teller.tell(name, *words)

    def _flush(self) -> None:
        done, octets, self._done, self._octets = self._done, self._octets, 0, 0
        self._told = self._clock()
        if done or octets:
            self._teller.tell("advance", done, octets)


@dataclass(slots=True)
class _Seat:
    turn: LeasedTurn
    places: _Places
    lease: Lease
    here: Here


class Post:
    """All mailboxes of one batch that one worker works on."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.keys = Keys(order.reach.passwords)
        share = order.share
        self.ceilings = Ceilings(order.messages * share, order.octets * share, time.monotonic)
        self._lock = Lock()
        self._seats: dict[str, _Seat] = {}
        self._keeper: Thread | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nobody works here."""
        return not self._seats

    @contextmanager
    def seat(
        self, teller: Teller, turn: LeasedTurn, places: _Places, lease: Lease
    ) -> Iterator[None]:
        """Look after the work on a mailbox, while it lasts."""
        key = teller.key
        with self._lock:
            self._seats[key] = _Seat(turn, places, lease, teller.here)
            if self._keeper is None:
                self._keeper = Thread(target=self._keep, name="leases", daemon=True)
                self._keeper.start()
        try:
            yield
        finally:
            with self._lock:
                del self._seats[key]

    def grant(self, key: str) -> None:
        """Let a mailbox that has asked go on."""
        with self._lock:
            seat = self._seats.get(key)
        if seat is not None:
            seat.places.granted.set()

    def share(self, part: float) -> None:
        """Have this worker do so much of what all may do."""
        self.ceilings.change(self.order.messages * part, self.order.octets * part)

    def _keep(self) -> None:
        """Renew the leases, and end what nobody wants any more."""
        pause = Event()
        while True:
            with self._lock:
                seats = dict(self._seats)
                if not seats:
                    self._keeper = None
                    return
            for key, seat in seats.items():
                if not seat.here.wants(key):
                    seat.turn.halt()
                elif seat.lease.number and seat.lease.renews_in <= _LOOKS:
                    try:
                        seat.lease.renew()
                    except LeaseLostError:
                        seat.turn.halt()
            pause.wait(min(_LOOKS, self.order.lease / 10))


_posts: dict[str, Post] = {}
_posts_lock = Lock()


def _post_of(order: Order) -> Post:
    with _posts_lock:
        if order.batch not in _posts:
            for name in [name for name, post in _posts.items() if post.is_idle]:
                del _posts[name]
            _posts[order.batch] = Post(order)
        return _posts[order.batch]


def granted(_: Here, batch: str, key: str) -> None:
    """Let a mailbox that has asked go on; see ``Post.grant``."""
    post = _posts.get(batch)
    if post is not None:
        post.grant(key)


def shared(here: Here, batch: str, parts: dict[str, float]) -> None:
    """Tell a worker its share; see ``Post.share``."""
    post = _posts.get(batch)
    if post is not None and here.address in parts:
        post.share(parts[here.address])


def mark(root: Path, name: str) -> None:
    """Make the file by which the workers know that they see the same ROOT.

    Raises:
        StorageError: it cannot be made.
    """
    path = root / LEASES / name
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise StorageError(path, error) from None


def unmark(root: Path, name: str) -> None:
    """Take the file away again."""
    with suppress(OSError):
        (root / LEASES / name).unlink()
