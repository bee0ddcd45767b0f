"""One at a time: several threads send, and only who holds the baton works.

Whoever waits for the network, or sleeps, passes it on meanwhile. So all that the threads share, the
archive with its one writer, the totals, the listener, is never touched by two at once, and what is
done between two waits is one step to all others. Only the waiting goes on at the same time.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from typing import BinaryIO, Literal, Self, TypeVar

    from importer.digest import Content
    from importer.folders import TargetFolders
    from importer.mime import Likeness
    from importer.target import MailTarget, Window
    from waystation.imap import Selected
    from waystation.wire import Described, Outgoing, Tagged

    T = TypeVar("T")


class StoppedError(BaseException):
    """The run ends; whoever gets this records what it knows, and sends nothing more."""


class Baton:
    """Who may work. ``changed`` tells those who wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.changed = threading.Condition(self._lock)
        self.is_stopping = False
        """Whether everybody is to come to an end."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the baton, and work while this lasts."""
        with self._lock:
            yield

    @contextmanager
    def passed_on(self) -> Iterator[None]:
        """Let others work while this lasts.

        Raises:
            StoppedError: the run ended meanwhile.
        """
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()
        if self.is_stopping:
            raise StoppedError

    def wait(self) -> None:
        """Let others work until something has changed.

        Raises:
            StoppedError: the run ended meanwhile.
        """
        self.changed.wait()
        if self.is_stopping:
            raise StoppedError

    def stop(self, timeout: float) -> None:
        """Have everybody come to an end; those who wait for each other hear of it."""
        self.is_stopping = True
        if self._lock.acquire(timeout=timeout):
            self.changed.notify_all()
            self._lock.release()

    def take_for_good(self, timeout: float) -> None:
        """Take the baton and never give it back: whoever comes late does nothing any more."""
        self._lock.acquire(timeout=timeout)


class Alone:
    """Work that only one may have begun at a time, though it passes the baton on in between."""

    def __init__(self, baton: Baton) -> None:
        self._baton = baton
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        is_ours = False
        try:
            with self._baton.passed_on():
                is_ours = self._lock.acquire()
        except StoppedError:
            if is_ours:
                self._lock.release()  # the next one waits for it, only to hear that all is over
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class SharingTarget:
    """See ``MailTarget``: one that passes the baton on whenever the network is waited for."""

    def __init__(self, inner: MailTarget, baton: Baton) -> None:
        self.inner = inner
        self._passed_on: Callable[[], AbstractContextManager[None]] = baton.passed_on

    @property
    def window(self) -> Window:
        """See ``MailTarget``."""
        return self.inner.window

    @property
    def limit(self) -> int | None:
        """See ``MailTarget``."""
        return self.inner.limit

    @property
    def gathers(self) -> int:
        """See ``MailTarget``."""
        return self.inner.gathers

    @property
    def must_renew(self) -> bool:
        """See ``MailTarget``."""
        return self.inner.must_renew

    @property
    def rejected(self) -> int:
        """See ``MailTarget``."""
        return self.inner.rejected

    @property
    def last_tag(self) -> bytes:
        """See ``MailTarget``."""
        return self.inner.last_tag

    def folders(self) -> TargetFolders:
        """See ``MailTarget``."""
        with self._passed_on():
            return self.inner.folders()

    def create(self, levels: tuple[str, ...]) -> None:
        """See ``MailTarget``."""
        with self._passed_on():
            self.inner.create(levels)

    def open(self, levels: tuple[str, ...], *, read_only: bool = False) -> Selected:
        """See ``MailTarget``."""
        with self._passed_on():
            return self.inner.open(levels, read_only=read_only)

    def describe(self, uids: bytes) -> Iterator[Described]:
        """See ``MailTarget``."""
        return self._each(self.inner.describe(uids))

    def uids(self, among: bytes) -> list[int]:
        """See ``MailTarget``."""
        with self._passed_on():
            return self.inner.uids(among)

    def contents(self, uids: bytes) -> Iterator[tuple[int, Content]]:
        """See ``MailTarget``."""
        return self._each(self.inner.contents(uids))

    def likenesses(self, uids: bytes) -> Iterator[tuple[int, Likeness]]:
        """See ``MailTarget``."""
        return self._each(self.inner.likenesses(uids))

    def remove(self, uids: bytes) -> None:
        """See ``MailTarget``."""
        with self._passed_on():
            self.inner.remove(uids)

    def append(
        self, flags: Iterable[str], date: datetime | None, message: BinaryIO, size: int
    ) -> bytes:
        """See ``MailTarget``."""
        with self._passed_on():
            return self.inner.append(flags, date, message, size)

    def append_all(self, messages: Sequence[Outgoing]) -> bytes:
        """See ``MailTarget``."""
        with self._passed_on():
            return self.inner.append_all(messages)

    def store(self, uids: bytes, sign: Literal["+", "-"], flag: str) -> None:
        """See ``MailTarget``."""
        with self._passed_on():
            self.inner.store(uids, sign, flag)

    def answer(self) -> Tagged:
        """See ``MailTarget``."""
        with self._passed_on():
            return self.inner.answer()

    def cut(self) -> None:
        """See ``MailTarget``."""
        self.inner.cut()

    def _each(self, found: Iterator[T]) -> Iterator[T]:
        while True:
            with self._passed_on():
                one = next(found, None)
            if one is None:
                return
            yield one
