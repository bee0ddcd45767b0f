"""Which flags and keywords of a message a folder of the target keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waystation.wire import is_flag

if TYPE_CHECKING:
    from importer.house import HouseRules
    from store.index import ArchivedMessage
    from waystation.imap import Selected


_MDN_SENT = "$mdnsent"


def carried(
    message: ArchivedMessage, selected: Selected, house: HouseRules | None = None
) -> tuple[list[str], tuple[str, ...]]:
    """Return the flags and keywords that a folder keeps and may have, and what is lost on it."""
    takes_all = house is None or house.takes_mdn_sent
    kept: list[str] = []
    lost: list[str] = []
    for word in (*message.flags, *message.keywords):
        is_kept = word.lower() in selected.permanent_flags or (
            selected.takes_keywords and not word.startswith("\\")
        )
        is_kept = is_kept and (takes_all or word.lower() != _MDN_SENT)
        # What is no atom cannot be written in a command at all.
        (kept if is_kept and word.isascii() and is_flag(word) else lost).append(word)
    if message.internaldate is None:
        lost.append("INTERNALDATE")
    return kept, tuple(lost)
