"""What is to be taken: which folders, which messages of them, and why the others are left out.

A reason says what the filter says and nothing of the message, so that equal filters give equal
reasons, and what a filter left out can be counted by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from fnmatch import translate
from typing import TYPE_CHECKING
from unicodedata import normalize

from waystation.errors import UsageError, plain
from waystation.model import SYSTEM_FLAGS, SpecialUse, is_inbox, join_levels, split_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import date

_USES = {f"@{use.value[1:].lower()}": use for use in SpecialUse}
_SYSTEM = {flag[1:].lower(): flag.lower() for flag in SYSTEM_FLAGS}


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user wants to have taken; as it is made, everything."""

    folders: tuple[str, ...] = ()
    """Only folders that one of these patterns names; none means all."""
    exclude: tuple[str, ...] = ()
    """No folder that one of these names, whatever ``folders`` says."""
    since: date | None = None
    """Only what was received on this day or later; days begin at midnight UTC."""
    before: date | None = None
    """Only what was received before this day."""
    max_size: int | None = None
    """Only what has so many octets at the most, by the server's word where it is a source."""
    flags: tuple[str, ...] = ()
    """Only what has all of these flags or keywords, in any case; ``seen`` means ``\\Seen``."""
    not_flags: tuple[str, ...] = ()
    """Only what has none of these."""

    def __post_init__(self) -> None:
        """Make sure that every pattern means something.

        Raises:
            UsageError: a word that begins with ``@`` is not known.
        """
        for pattern in (*self.folders, *self.exclude):
            if pattern.startswith("@") and pattern.lower() not in _USES:
                raise UsageError(
                    f"{plain(pattern)!r} is no special use. There are: {', '.join(sorted(_USES))}. "
                    "A folder whose name begins so is written [@]…"
                )

    @property
    def is_by_message(self) -> bool:
        """Whether messages have to be looked at, and not their folders alone."""
        return bool(
            self.since or self.before or self.max_size is not None or self.flags or self.not_flags
        )


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Choice:
    """A selection, applied to the folders that there are."""

    selection: Selection = EVERYTHING
    left_out: dict[str, str] = field(default_factory=dict)
    """Names of folders that are left out as a whole, with the reason."""
    unmatched: tuple[str, ...] = ()
    """Patterns that name no folder, as a typing error would."""

    def asks_for_messages(self, folder: str) -> bool:
        """Whether not everything in a folder is taken."""
        return folder in self.left_out or self.selection.is_by_message

    def lasting_reasons(self, folder: str) -> list[str]:
        """Return the reasons that still hold for a message of the folder, once they have held.

        Those that speak of flags are none of them: flags change.
        """
        wanted = self.selection
        lasting = [self.left_out[folder]] if folder in self.left_out else []
        lasting += [_since(wanted.since)] if wanted.since else []
        lasting += [_before(wanted.before)] if wanted.before else []
        lasting += [_larger(wanted.max_size)] if wanted.max_size is not None else []
        return lasting

    def reason(
        self,
        folder: str,
        size: int | None,
        internaldate: datetime | None,
        flags: Iterable[str],
    ) -> str | None:
        """Return why a message is left out, or None where it is taken.

        What is not known of a message leaves it in: better one too many in an archive.
        ``flags`` are flags and keywords.
        """
        if folder in self.left_out:
            return self.left_out[folder]
        wanted = self.selection
        if wanted.since and internaldate is not None and internaldate < _midnight(wanted.since):
            return _since(wanted.since)
        if wanted.before and internaldate is not None and internaldate >= _midnight(wanted.before):
            return _before(wanted.before)
        if wanted.max_size is not None and size is not None and size > wanted.max_size:
            return _larger(wanted.max_size)
        if wanted.flags or wanted.not_flags:
            present = {_folded(flag) for flag in flags}
            for flag in wanted.flags:
                if _folded(flag) not in present:
                    return f"without {plain(flag)} (--flag)"
            for flag in wanted.not_flags:
                if _folded(flag) in present:
                    return f"with {plain(flag)} (--not-flag)"
        return None


def choose(
    selection: Selection, folders: Iterable[tuple[tuple[str, ...], SpecialUse | None]]
) -> Choice:
    """Return what a selection means for these folders: levels and special use of each.

    What lies below a folder with a special use belongs to it, but for INBOX, below which some
    servers keep everything.
    """
    listed = list(folders)
    marked = {levels: use for levels, use in listed if use is not None}
    wanted = [(pattern, _matcher(pattern)) for pattern in selection.folders]
    unwanted = [(pattern, _matcher(pattern)) for pattern in selection.exclude]
    used: set[str] = set()
    left_out: dict[str, str] = {}
    for levels, _ in listed:
        uses = _uses(levels, marked)
        against = [pattern for pattern, matches in unwanted if matches(levels, uses)]
        speaking = [pattern for pattern, matches in wanted if matches(levels, uses)]
        used.update(against, speaking)
        if against:
            left_out[join_levels(levels)] = f"in a folder left out by --exclude {plain(against[0])}"
        elif wanted and not speaking:
            named = ", ".join(plain(pattern) for pattern in selection.folders)
            left_out[join_levels(levels)] = f"in a folder not named by --folder {named}"
    patterns = dict.fromkeys((*selection.folders, *selection.exclude))
    return Choice(selection, left_out, tuple(p for p in patterns if p not in used))


def _uses(
    levels: tuple[str, ...], marked: dict[tuple[str, ...], SpecialUse]
) -> frozenset[SpecialUse]:
    """Return what a folder is for, by itself or by one above it."""
    above = {marked[levels[:depth]] for depth in range(1, len(levels)) if levels[:depth] in marked}
    own = {marked[levels]} if levels in marked else set()
    return frozenset((above - {SpecialUse.INBOX}) | own)


def _matcher(pattern: str) -> Callable[[tuple[str, ...], frozenset[SpecialUse]], bool]:
    use = _USES.get(pattern.lower())
    if use is not None:
        return lambda _, uses: use in uses
    is_match = re.compile(translate(_spelled(split_name(pattern)))).fullmatch
    return lambda levels, _: is_match(_spelled(levels)) is not None


def _spelled(levels: tuple[str, ...]) -> str:
    """Return a name in one form: INBOX has no case, and a letter with an accent is one letter."""
    if is_inbox(levels[:1]):
        levels = ("INBOX", *levels[1:])
    return normalize("NFC", join_levels(levels))


def _since(day: date) -> str:
    return f"received before {day} (--since)"


def _before(day: date) -> str:
    return f"received on {day} or later (--before)"


def _larger(octets: int) -> str:
    return f"larger than {octets:,} octets (--max-size)"


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _folded(flag: str) -> str:
    lower = flag.lower()
    return _SYSTEM.get(lower, lower)
