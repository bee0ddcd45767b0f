"""The folders of an archive as they lie on disk, whatever the index says."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from store.archive import MAILDIR
from store.maildir import SIDECAR, SUBDIRECTORIES, read_small
from store.names import could_be, levels_of
from waystation.model import SpecialUse, join_levels, split_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def walk(root: Path) -> Iterator[tuple[str, bool | None]]:
    """Yield every directory of the Maildir tree, in a fixed order.

    With each comes whether it is a folder; None stands for a symbolic link.
    """
    waiting = [MAILDIR]
    while waiting:
        relative = waiting.pop()
        children, is_folder = [], False
        try:
            with os.scandir(root / relative) as entries:
                for entry in entries:
                    if entry.name in SUBDIRECTORIES:
                        is_cur = entry.name == "cur" and entry.is_dir(follow_symlinks=False)
                        is_folder = is_folder or is_cur
                    elif entry.name == SIDECAR:
                        is_folder = True
                    elif entry.is_symlink() and not entry.is_file():
                        yield f"{relative}/{entry.name}", None
                    elif entry.is_dir(follow_symlinks=False):
                        children.append(f"{relative}/{entry.name}")
        except (FileNotFoundError, NotADirectoryError):
            continue
        yield relative, is_folder
        waiting += sorted(children, reverse=True)


def name_of(root: Path, relative: str) -> str:
    """Return a folder's name: its sidecar's, where that could have led to the directory."""
    directory = relative.removeprefix(f"{MAILDIR}/")
    said = sidecar_of(root / relative).get("name")
    if isinstance(said, str) and said and is_text(said) and could_be(split_name(said), directory):
        return said
    levels = levels_of(directory)
    name = join_levels(levels or (directory,))
    return name if is_text(name) else join_levels((shown_path(directory),))


def is_text(name: str) -> bool:
    """Whether a name can be stored: Linux lets a directory have one that is no UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown_path(path: str) -> str:
    """Return a path as it can be told."""
    return path if is_text(path) else os.fsencode(path).decode("utf-8", "backslashreplace")


def special_use(directory: Path) -> SpecialUse | None:
    """Return the special use that a folder's sidecar tells, or None."""
    said = sidecar_of(directory).get("special_use")
    return next((use for use in SpecialUse if use.value == said), None)


def sidecar_of(directory: Path) -> dict[str, Any]:
    """Return what a folder's sidecar says; nothing where it cannot be read."""
    content = read_small(directory / SIDECAR)
    try:
        values = json.loads(content or b"")
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
