"""Words that others wrote, made fit for a page that a person trusts."""

from __future__ import annotations

import unicodedata

LONGEST = 300


def shown(text: str | None, longest: int = LONGEST) -> str:
    """Return foreign words with all that would not show, or would turn others round, made visible.

    Control and format characters (among them those that change the direction of writing), line
    ends, odd blanks, surrogates and unassigned characters become ``⟨U+202E⟩``. Markup stays
    as it is: whoever writes a page escapes it.
    """
    if text is None:
        return ""
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(_visible(char) for char in cut)


def _visible(char: str) -> str:
    if char == " " or unicodedata.category(char)[0] not in "CZ":
        return char
    return f"⟨U+{ord(char):04X}⟩"
