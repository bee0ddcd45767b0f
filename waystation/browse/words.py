"""The words that a search on the pages needs, built beside them as soon as they are opened."""

from __future__ import annotations

from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from store import fulltext
from store.archive import Archive
from waystation.errors import WaystationError, plain
from waystation.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE = 0.5
"""Seconds that the end waits for a batch; what is not written then is built the next time."""
_BY_OTHERS = "Another process is building the search index."


class Builder:
    """Brings the search index of an archive up to date, in a thread of its own."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._work = _Work()
        self._problem = ""
        self._lock = Lock()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin, unless that is being done; the pages can be looked at meanwhile."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._work.begin()
            self._thread = Thread(target=self._build, name="search index", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End at the next batch; what is built stays."""
        self._work.end.set()
        self.join(_PATIENCE)

    def join(self, seconds: float | None = None) -> None:
        """Wait until there is nothing left to build, or for so many seconds."""
        if self._thread is not None:
            self._thread.join(seconds)

    @property
    def lack(self) -> str:
        """Why not every message is found by its words, as a sentence."""
        return self._problem or self._work.told

    def _build(self) -> None:
        problem = ""
        try:
            with Archive.read(self._archive) as archive:
                if fulltext.update(archive, self._work).missing:
                    problem = _BY_OTHERS
        except _StoppedError:
            pass
        except WaystationError as error:
            problem = f"The search index cannot be built: {plain(str(error))}"
        self._problem = problem


class _StoppedError(Exception):
    """Nobody looks at the pages any more."""


class _Work(Silent):
    """How far a build is; it ends where it is told to."""

    def __init__(self) -> None:
        self.end = Event()
        self._rest = 0

    def begin(self) -> None:
        self._rest = 0

    def expect(self, messages: int) -> None:
        self._rest = messages

    def advance(self, messages: int, size: int) -> None:  # noqa: ARG002 - as Progress has it
        self._rest -= messages
        if self.end.is_set():
            raise _StoppedError

    @property
    def told(self) -> str:
        """How far it is, as a sentence."""
        if self._rest <= 0:
            return "The search index is being built."
        noun = "message" if self._rest == 1 else "messages"
        return f"The search index is being built: {self._rest:,} {noun} to go."
