"""Who is listening in this run of the command line; set by each command, read by ``main``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waystation.cli import output

if TYPE_CHECKING:
    from waystation.cli.output import Listener

listener: Listener | None = None


def listen(*, as_json: bool = False, quiet: bool = False, debug: bool = False) -> Listener:
    """Return the listener for a command's options, and remember it for its end."""
    global listener
    listener = output.make(as_json=as_json, quiet=quiet, debug=debug)
    return listener
