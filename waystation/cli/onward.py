"""Progress of one piece of work after the other, shown as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waystation.progress import Progress


class Onward:
    """Passes all on; what is expected comes on top of what is done (``Progress``)."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done = 0

    def folder(self, name: str, messages: int) -> None:
        """See ``Progress``."""
        self._progress.folder(name, messages)

    def expect(self, messages: int) -> None:
        """See ``Progress``; so many more than were done before."""
        self._progress.expect(self._done + messages)

    def advance(self, messages: int, size: int) -> None:
        """See ``Progress``."""
        self._done += messages
        self._progress.advance(messages, size)

    def waiting(self, seconds: float, reason: str) -> None:
        """See ``Progress``."""
        self._progress.waiting(seconds, reason)

    def alarm(self, folder: str, text: str) -> None:
        """See ``Progress``."""
        self._progress.alarm(folder, text)

    def note(self, folder: str, text: str) -> None:
        """See ``Progress``."""
        self._progress.note(folder, text)

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        """See ``Progress``."""
        self._progress.problem(folder, uid, text)
