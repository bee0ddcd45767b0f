"""What a refusal speaks of: the message, its folder, or the whole target.

Words that may speak of the message alone never close a folder, and a folder that has taken a
message in this run is never believed to take none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from waystation.errors import WaystationError, plain

if TYPE_CHECKING:
    from waystation.wire import Tagged

_FULL = re.compile(r"OVERQUOTA|quota", re.IGNORECASE)
_FULL_IN_A_ROW = 20
_REFUSED_IN_A_ROW = 10
_OF_THE_MESSAGE = re.compile(
    r"TOOBIG|quota|too (?:big|large|long)|size|contains|header|\bNUL\b|newline|\bline|8.?bit|"
    r"virus|spam",
    re.IGNORECASE,
)
"""Words that speak of the message: the next one may be taken all the same."""
_GONE = re.compile(r"\[TRYCREATE\]", re.IGNORECASE)


class TargetFullError(WaystationError):
    """The target takes no more."""

    def __init__(self, target: str, reply: str) -> None:
        super().__init__(
            f"{target} seems to be full: {reply}. Make room or raise the quota, then run the same "
            "command again; it goes on where it stopped."
        )


class FolderGoneError(WaystationError):
    """A folder was removed while we sent into it; it is created again."""

    def __init__(self, name: str, reply: str) -> None:
        super().__init__(f"the target's folder {plain(name)} is gone: {reply}")

    @property
    def retriable(self) -> bool:
        """It passes: a new connection begins with creating what is missing."""
        return True


class FolderClosedError(WaystationError):
    """A folder refuses every message in the same words."""

    def __init__(self, reply: str) -> None:
        self.reply = reply
        super().__init__(f"the target's folder takes no messages: {reply}")


@dataclass(slots=True)
class Refusals:
    """What a target has refused in this run, and what follows from it."""

    target: str
    """How the target is called."""
    _full_in_a_row: int = 0
    _words: dict[str, tuple[str, int]] = field(default_factory=dict)
    """The words with which a target folder refused the last messages, and how many in a row."""
    _taking: set[str] = field(default_factory=set)
    """Target folders that have taken a message in this run."""
    _recreated: set[str] = field(default_factory=set)

    def taken(self, folder: str) -> None:
        """Note that a folder took a message."""
        self._full_in_a_row = 0
        self._taking.add(folder)

    def refused(self, folder: str, answer: Tagged) -> TargetFullError | FolderClosedError | None:
        """Note that a folder refused a message for good; return why it is no use to go on."""
        self._full_in_a_row = self._full_in_a_row + 1 if says_full(answer) else 0
        if self._full_in_a_row >= _FULL_IN_A_ROW:
            return TargetFullError(self.target, answer.reply)
        if self._refuses_all(folder, answer):
            return FolderClosedError(answer.reply)
        return None

    def _refuses_all(self, folder: str, answer: Tagged) -> bool:
        """Whether a folder answers everything alike, so that it is no use to go on with it."""
        if _OF_THE_MESSAGE.search(answer.text):
            return False
        words, times = self._words.get(folder, ("", 0))
        times = times + 1 if words == answer.reply else 1
        self._words[folder] = (answer.reply, times)
        return times >= _REFUSED_IN_A_ROW and folder not in self._taking

    def may_recreate(self, folder: str) -> bool:
        """Whether a folder that is gone is to be created, which is so once in a run."""
        may = folder not in self._recreated
        self._recreated.add(folder)
        return may


def says_gone(answer: Tagged) -> bool:
    """Whether a refusal says that the folder is not there (RFC 3501 section 6.3.11)."""
    return _GONE.search(answer.text) is not None


def says_full(answer: Tagged) -> bool:
    """Whether a refusal says that there is no more room (RFC 5530: OVERQUOTA)."""
    return _FULL.search(answer.text) is not None
