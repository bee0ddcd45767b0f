"""Who is told how the work goes: one small protocol, and a listener that says nothing.

The stages call these methods; the command line decides what a person or a program sees.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener to long work. Counts are messages, sizes are octets, waits are seconds."""

    def folder(self, name: str, messages: int) -> None:
        """Work on a folder begins; so many messages are to be done in it."""

    def expect(self, messages: int) -> None:
        """So many messages are to be done in the whole run, as far as is known now."""

    def advance(self, messages: int, size: int) -> None:
        """So many messages of so many octets together are done for good."""

    def waiting(self, seconds: float, reason: str) -> None:
        """Nothing happens for a while, and why."""

    def alarm(self, folder: str, text: str) -> None:
        """Something a person must read; the run goes on."""

    def note(self, folder: str, text: str) -> None:
        """Something worth knowing of a folder; nothing is wrong with it."""

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        """One message (or a whole folder) could not be done; the run goes on."""


class Silent:
    """The listener that says nothing."""

    def folder(self, name: str, messages: int) -> None:
        """See ``Progress``."""

    def expect(self, messages: int) -> None:
        """See ``Progress``."""

    def advance(self, messages: int, size: int) -> None:
        """See ``Progress``."""

    def waiting(self, seconds: float, reason: str) -> None:
        """See ``Progress``."""

    def alarm(self, folder: str, text: str) -> None:
        """See ``Progress``."""

    def note(self, folder: str, text: str) -> None:
        """See ``Progress``."""

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        """See ``Progress``."""
