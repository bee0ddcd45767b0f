"""Which flags and keywords of a message a folder of the target keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waystation.wire import is_flag

if TYPE_CHECKING:
    from store.index import ArchivedMessage
    from waystation.imap import Selected


def carried(message: ArchivedMessage, selected: Selected) -> tuple[list[str], tuple[str, ...]]:
    """Return the flags and keywords that a folder keeps, and what is lost on it."""
    kept: list[str] = []
    lost: list[str] = []
    for word in (*message.flags, *message.keywords):
        is_kept = word.lower() in selected.permanent_flags or (
            selected.takes_keywords and not word.startswith("\\")
        )
        # What is no atom cannot be written in a command at all.
        (kept if is_kept and word.isascii() and is_flag(word) else lost).append(word)
    if message.internaldate is None:
        lost.append("INTERNALDATE")
    return kept, tuple(lost)
