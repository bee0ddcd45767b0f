"""Folder names as directory names: readable, unique, and legal wherever an archive is copied.

An ordinary name stays as it is. Whatever Linux, macOS or Windows would refuse, change or take
for something else becomes ``%XX``, octet by octet of its UTF-8 form, so that ``levels_of`` can
undo it. Two names that some file system would take for one get ``~2``, ``~3`` … on the later
one. A level or a path that is too long is shortened with a digest; then only the file beside
the messages knows the name. ``~`` and a leading dot never come from a name, so files whose
names begin with either cannot meet a folder.

No result is absolute, climbs, holds an empty component, or meets a Maildir's own ``cur``,
``new`` and ``tmp``, whatever a server calls its folders.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from itertools import accumulate
from typing import TYPE_CHECKING

from waystation.model import join_levels

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_LEVEL = 120
"""Octets of one component, without the suffix against collisions."""

LONGEST_PATH = 600
"""Octets of a whole relative path; a folder beyond goes below ``DEEP``."""

DEEP = "~deep"
"""The directory of the folders whose path would be too long."""

_LEVEL_DIGEST = 12
_PATH_DIGEST = 24


class Directories:
    """Which directory belongs to which folder.

    Made from the folders that an archive already has, as pairs of levels and directory. These
    keep their directories for good, and so do their parents.
    """

    def __init__(self, placed: Iterable[tuple[tuple[str, ...], str]] = ()) -> None:
        self._directories: dict[tuple[str, ...], str] = {}
        self._taken: set[str] = set()
        self._last_suffix: dict[str, int] = {}
        pairs = list(placed)
        for levels, directory in pairs:
            self._settle(levels, directory)
        for levels, directory in pairs:
            self._settle_parents(levels, directory)

    def place(self, levels: tuple[str, ...]) -> str:
        """Return the folder's directory, a relative POSIX path; a new folder gets one.

        The same folder always gets the same answer, and two folders never the same one, not
        even on a file system that ignores case or normalises.
        """
        if not levels:
            raise ValueError("a folder has at least one level")
        known = self._directories.get(levels)
        if known is not None:
            return known
        directory = self._new(levels)
        self._settle(levels, directory)
        self._settle_parents(levels, directory)
        return directory

    def _new(self, levels: tuple[str, ...]) -> str:
        """Return a free directory for a folder that has none, below that of its parent."""
        depth = len(levels) - 1
        while depth and levels[:depth] not in self._directories:
            depth -= 1
        directory = self._directories[levels[:depth]] if depth else ""
        if _is_deep(directory):
            return self._free(_deep(levels))
        for level in levels[depth:]:
            component = directory_name(level)
            directory = self._free(f"{directory}/{component}" if directory else component)
            if len(directory.encode()) > LONGEST_PATH:
                return self._free(_deep(levels))
        return directory

    def _free(self, directory: str) -> str:
        """Return this directory, with a suffix when another folder has it."""
        key = sameness(directory)
        if key not in self._taken:
            return directory
        # thousands of names that differ in case must not be tried from 2 each time
        while True:
            number = self._last_suffix[key] = self._last_suffix.get(key, 1) + 1
            suffixed = f"{directory}~{number}"
            if sameness(suffixed) not in self._taken:
                return suffixed

    def _settle(self, levels: tuple[str, ...], directory: str) -> None:
        self._directories.setdefault(levels, directory)
        self._taken.add(sameness(directory))

    def _settle_parents(self, levels: tuple[str, ...], directory: str) -> None:
        components = directory.split("/")
        if _is_deep(directory) or len(components) != len(levels):
            return
        for depth in range(1, len(levels)):
            self._settle(levels[:depth], "/".join(components[:depth]))


def levels_of(directory: str) -> tuple[str, ...] | None:
    """Return the levels of a directory made by ``Directories``, or None.

    None means that the name was shortened, or that this is no directory of ours.
    """
    if _is_deep(directory):
        return None
    levels = tuple(_level(component) for component in directory.split("/"))
    known = tuple(level for level in levels if level is not None)
    return known if len(known) == len(levels) else None


def could_be(levels: tuple[str, ...], directory: str) -> bool:
    """Tell whether a folder of these levels could have got this directory."""
    if not levels:
        return False
    if _is_deep(directory):
        return _SUFFIX.sub("", directory) == _deep(levels)
    components = directory.split("/")
    return len(components) == len(levels) and all(
        component == directory_name(level) or _SUFFIX.sub("", component) == directory_name(level)
        for component, level in zip(components, levels, strict=True)
    )


def directory_name(level: str) -> str:
    """Return the level as a directory name, before any suffix."""
    if not level:
        return "%"
    pieces = [_escaped(char) if _is_awkward(char) else char for char in level]
    for end in (0, -1):
        # Windows drops them at the end, a dot in front hides or climbs
        if level[end] == "." or unicodedata.category(level[end]) == "Zs":
            pieces[end] = _escaped(level[end])
    if _is_reserved(level):
        pieces[0] = _escaped(level[0])
    component = "".join(pieces)
    if len(component.encode()) <= LONGEST_LEVEL:
        return component
    room = LONGEST_LEVEL - len("~") - _LEVEL_DIGEST
    lengths = accumulate(len(piece.encode()) for piece in pieces)
    kept = "".join(pieces[: sum(length <= room for length in lengths)])
    return f"{kept}~{_digest(level, _LEVEL_DIGEST)}"


def _level(component: str) -> str | None:
    """Return the level that a component stands for, or None."""
    name = _SUFFIX.sub("", component)
    if name == "%":
        return ""
    if not _WHOLE.fullmatch(name) or _is_reserved(name):
        return None
    try:
        return _ESCAPES.sub(_unescaped, name)
    except UnicodeDecodeError:
        return None


def _deep(levels: tuple[str, ...]) -> str:
    return f"{DEEP}/{_digest(join_levels(levels), _PATH_DIGEST)}"


def _is_deep(directory: str) -> bool:
    return directory.startswith(f"{DEEP}/")


def _digest(text: str, digits: int) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def _escaped(char: str) -> str:
    return "".join(f"%{octet:02X}" for octet in char.encode("utf-8", "surrogatepass"))


def _unescaped(escapes: re.Match[str]) -> str:
    octets = bytes.fromhex(escapes[0].replace("%", ""))
    return octets.decode("utf-8", "surrogatepass")


def _is_awkward(char: str) -> bool:
    """Tell whether a character cannot stand in a file name everywhere, or cannot be seen."""
    return (
        char in '/\\:*?"<>|%~'
        or unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
        or "\ufdd0" <= char <= "\ufdef"
        or ord(char) & 0xFFFE == 0xFFFE  # the other noncharacters end each plane
    )


def _is_reserved(level: str) -> bool:
    """Tell whether a name belongs to Maildir, to Dovecot, or to a device of Windows."""
    name = sameness(level)
    stem = name.split(".")[0].rstrip()  # "con .txt" is the console too
    return name in _MAILDIR or stem in _DEVICES or name.startswith(_BEGINNINGS)


def sameness(name: str) -> str:
    """Return the same text for any two names that some file system takes for one.

    Coarser than each of them: compatibility forms count as equal, as do upper and lower case in
    both directions (NTFS goes by upper case), and characters that ext4 and HFS+ leave out.
    """
    if name.isascii():
        return name.lower()
    for _ in range(2):  # folding can undo normalisation (Unicode, chapter 3.13, D146)
        folded = unicodedata.normalize("NFKD", name).upper().casefold()
        name = _IGNORABLE.sub("", unicodedata.normalize("NFKD", folded))
    return name


_MAILDIR = frozenset({"cur", "new", "tmp"})

_BEGINNINGS = ("dovecot", "maildirfolder", "maildirsize", "subscriptions")
"""How the files begin that mail programs, and we, keep in a folder's directory."""

_DEVICES = frozenset(
    # COM¹ is COM1 to Windows, and to sameness
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
)

_SUFFIX = re.compile(r"~(?:[2-9]|[1-9][0-9]{1,9})\Z")
"""``~2`` and up; at most ten digits, so that a digest of digits is none."""

_ESCAPES = re.compile(r"(?:%[0-9A-F]{2})+")

_WHOLE = re.compile(r"(?!\.)(?:[^%~/]|%[0-9A-F]{2})+(?<!\.)")

_IGNORABLE = re.compile(
    # Default_Ignorable_Code_Point (Unicode, chapter 5.21) without what is escaped anyway
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U000e0000-\U000e0fff]"
)
