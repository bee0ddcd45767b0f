"""``waystation.toml`` in ROOT: what all mailboxes of a batch share, so that nobody types it anew.

It holds options by their long names, for all commands or in a table of one of them. No option
takes a secret, so the file holds none.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

NAME = "waystation.toml"
_LARGEST = 1024 * 1024


def defaults_of(
    root: Path,
    command: str,
    options: Mapping[str, str],
    known: Collection[str],
    commands: Collection[str],
) -> dict[str, Any]:
    """Return the defaults for a command, by parameter.

    Args:
        root: where the file is, if there is one.
        command: such as ``export``.
        options: its parameters by their options.
        known: the options of all commands of a batch.
        commands: their names.

    Raises:
        UsageError: the file cannot be read, or names what is no option.
    """
    path = root / NAME
    try:
        with path.open("rb") as file:
            octets = file.read(_LARGEST)
        values = tomllib.loads(octets.decode())
    except FileNotFoundError:
        return {}
    except NotADirectoryError:
        return {}
    except OSError as error:
        raise UsageError(f"{plain(str(path))}: {error.strerror}.") from None
    except ValueError as error:  # no TOML, or no UTF-8
        raise UsageError(f"{plain(str(path))}: {plain(str(error), 120)}.") from None
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and name in commands:
            if name == command:
                found |= _of_command(path, command, value, options)
        elif name not in known:
            raise UsageError(f"{plain(str(path))}: {plain(name, 60)!r} is no option of a batch.")
        elif name in options:
            found.setdefault(options[name], _value(path, name, value))
    return found


def _of_command(
    path: Path, command: str, values: Mapping[str, Any], options: Mapping[str, str]
) -> dict[str, Any]:
    for name in values:
        if name not in options:
            raise UsageError(
                f"{plain(str(path))}: {plain(name, 60)!r} is no option of batch {command}."
            )
    return {options[name]: _value(path, name, value) for name, value in values.items()}


def _value(path: Path, name: str, value: object) -> object:
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise UsageError(
        f"{plain(str(path))}: the value of {plain(name, 60)} is no text, number, true, false or "
        "list of texts."
    )
