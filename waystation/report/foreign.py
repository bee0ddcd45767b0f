"""Words that others wrote, made fit for a page that a person trusts."""

from __future__ import annotations

import unicodedata

LONGEST = 300
_BLANK = "\u2423"


def shown(text: str | None, longest: int = LONGEST) -> str:
    """Return foreign words with all that would not show, or would turn others round, made visible.

    Control and format characters (among them those that change the direction of writing), line
    ends, odd blanks, surrogates and unassigned characters become ``⟨U+202E⟩``. Markup stays
    as it is: whoever writes a page escapes it.
    """
    if text is None:
        return ""
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    if not (cut.isascii() and cut.isprintable()):
        cut = "".join(_visible(char) for char in cut)
        cut = cut if len(cut) <= longest else f"{cut[: longest - 1]}…"
    # A blank at an end is a part of a name, and would not be seen.
    inner = cut.strip(" ")
    before = len(cut) - len(cut.lstrip(" ")) if inner else len(cut)
    after = len(cut) - len(inner) - before
    return f"{_BLANK * before}{inner}{_BLANK * after}"


def _visible(char: str) -> str:
    if char == " " or unicodedata.category(char)[0] not in "CZ":
        return char
    return f"⟨U+{ord(char):04X}⟩"
