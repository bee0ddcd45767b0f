"""The run of the command line that is under way: set by its command, ended by ``run``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from waystation.cli import output

if TYPE_CHECKING:
    from waystation.cli.output import Bar, Listener

_log = logging.getLogger("waystation")
_current: Listener | None = None
_handlers: list[logging.Handler] = []


def listen(
    command: str,
    *,
    as_json: bool = False,
    quiet: bool = False,
    debug: bool = False,
    bar: Bar | None = None,
) -> Listener:
    """Return the listener for a command's options, and remember it for the command's end."""
    global _current
    end()
    _current = listener = output.make(
        command, as_json=as_json, quiet=quiet, with_bar=not debug, bar=bar
    )
    _handlers.append(output.Warnings(listener))
    if debug:
        _handlers.append(output.conversation())
        _log.setLevel(logging.DEBUG)
    for handler in _handlers:
        _log.addHandler(handler)
    return listener


def current() -> Listener | None:
    """Return the listener of the command that runs; None before a command got so far."""
    return _current


def end() -> None:
    """Leave terminal and logging as they were found."""
    global _current
    if _current is not None:
        _current.close()
    for handler in _handlers:
        _log.removeHandler(handler)
    _handlers.clear()
    _log.setLevel(logging.NOTSET)
    _current = None
