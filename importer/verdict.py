"""What Exchange means by its answer to an APPEND: pure, and loose, since its words vary."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING

from waystation.errors import RefusedError

if TYPE_CHECKING:
    from waystation.wire import Tagged


class Verdict(Enum):
    """What an answer says."""

    TAKEN = auto()
    THROTTLED = auto()
    """Nothing more for a while; the answer says how long."""
    UNAVAILABLE = auto()
    """The mailbox cannot be reached, or is full: Exchange has one text for both."""
    FULL = auto()
    """The mailbox is full, in so many words."""
    GONE = auto()
    """The folder is not there any more."""
    TOO_LARGE = auto()
    UNACCEPTABLE = auto()
    """This message cannot be stored in this form; another form may be."""
    PASSING = auto()
    """A new connection may help."""


_WORDS = (
    (Verdict.FULL, r"OVERQUOTA|quota|mailbox is full"),
    (Verdict.TOO_LARGE, r"\[TOOBIG\]|maximum size|size .*exceed|too (?:big|large)"),
    (Verdict.UNAVAILABLE, r"server unavailable|\[UNAVAILABLE\]|server (?:is )?busy"),
    (Verdict.GONE, r"\[TRYCREATE\]|\[NONEXISTENT\]|doesn't exist|does not exist"),
    (Verdict.UNACCEPTABLE, r"argument error"),
)
_VERDICTS = tuple((verdict, re.compile(words, re.IGNORECASE)) for verdict, words in _WORDS)


def verdict(answer: Tagged) -> Verdict:
    """Return what an answer to APPEND says."""
    if answer.is_ok:
        return Verdict.TAKEN
    if RefusedError("APPEND", answer.text).backoff is not None or "throttled" in answer.text:
        return Verdict.THROTTLED
    for found, words in _VERDICTS:
        if words.search(answer.text):
            return found
    return Verdict.PASSING
