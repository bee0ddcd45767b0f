"""Names of folders as Exchange takes them.

Those that it keeps for what is no mail are in ``waystation.no_mail``: no message goes there.
"""

from __future__ import annotations

import unicodedata

from waystation.no_mail import is_for_no_mail

__all__ = ["LONGEST_LEVEL", "MOST_LEVELS", "SUFFIX", "fitting", "is_for_no_mail", "shortened"]

LONGEST_LEVEL = 200
"""UTF-16 units of a level; Exchange is known to take somewhat more (MAPI: 255)."""
MOST_LEVELS = 50
"""Exchange takes 300 ("Exchange Online limits"), Outlook shows fewer."""
SUFFIX = " (imported)"

_LONGEST_PATH = 1000
"""Octets of a whole name on the wire; Exchange answers BAD to lines of about 10,000."""
_SHORTEST_CUT = 16
_BLANKS = " .\u00a0\u3000"
_RISKY = frozenset('/\\"*%#')


def fitting(level: str) -> str:
    """Return a level as Exchange takes it."""
    fit = unicodedata.normalize("NFC", level)
    fit = "".join("_" if char in _RISKY or _is_unusual(char) else char for char in fit)
    return _cut(fit.strip(_BLANKS), LONGEST_LEVEL)


def shortened(levels: tuple[str, ...]) -> tuple[str, ...]:
    """Return levels of which there are not too many, with a path that commands can hold.

    What lies too deep goes into the name of the last level, or, where that is no use, to the top.
    """
    if len(levels) > MOST_LEVELS:
        last = fitting("_".join(levels[MOST_LEVELS - 1 :]))
        levels = (*levels[: MOST_LEVELS - 1], last)
    while _path_length(levels) > _LONGEST_PATH and len(levels[-1]) > _SHORTEST_CUT:
        levels = (*levels[:-1], _cut(levels[-1], max(_SHORTEST_CUT, len(levels[-1]) - 8)))
    return levels if _path_length(levels) <= _LONGEST_PATH else levels[-1:]


def _cut(level: str, most: int) -> str:
    while len(level.encode("utf-16-le", "replace")) > 2 * most:
        level = level[:-1]
    return level.strip(_BLANKS) or "_"


def _path_length(levels: tuple[str, ...]) -> int:
    """Return the octets of a path in modified UTF-7, at the most (RFC 3501 section 5.1.3)."""
    return sum(
        len(level) if level.isascii() else 3 * len(level.encode("utf-16-le", "replace"))
        for level in levels
    ) + len(levels)


def _is_unusual(char: str) -> bool:
    if char in "\u200c\u200d":  # joiners are part of many words and emoji
        return False
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
