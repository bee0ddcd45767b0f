"""What a spreadsheet would run, told to be text: the one guard of every CSV file that goes out."""

from __future__ import annotations

_RUN = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""OWASP: CSV Injection. The last four are full-width forms, which some programs take alike."""


def guard_of(text: str) -> str:
    """Return what goes in front of a cell's text: an apostrophe where a spreadsheet would run it.

    Some programs take what begins so for a formula also behind blanks.
    """
    return "'" if text.lstrip().startswith(_RUN) else ""
