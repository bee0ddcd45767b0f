"""``waystation browse``: the archive as web pages on this machine."""

from __future__ import annotations

import sys
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli import options, state

if TYPE_CHECKING:
    from waystation.cli.output import Listener

_EXAMPLES = """\
\b
Examples:
  waystation browse alice
  waystation browse alice --port 8025 --no-open
"""

Port = Annotated[
    int,
    typer.Option(
        metavar="N", min=0, max=65535, help="Listen on this port; 0 (usual) takes any free one."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("browse", epilog=_EXAMPLES)(_browse)


def _browse(
    archive: options.ArchivePath,
    port: Port = 0,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Only say the address; open no browser.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Show an archive as web pages, to this machine alone, until Ctrl-C."""
    from store.archive import Archive
    from waystation.browse.server import serve

    listener = state.listen("browse", as_json=as_json, quiet=quiet)
    Archive.read(archive).close()  # what is no archive is said at once
    visit = _Visit(listener, opens=not no_open)
    try:
        # The server takes the first Ctrl-C for its end; it may also come before it listens.
        with suppress(KeyboardInterrupt):
            serve(archive, port, visit.ready)
    finally:
        visit.end()
    listener.summary("done", 0, {"address": visit.address})
    return 0


class _Visit:
    """Tells the address, and opens a browser there."""

    def __init__(self, listener: Listener, *, opens: bool) -> None:
        self.address: str | None = None
        self._listener = listener
        self._opens = opens
        self._door: Path | None = None

    def ready(self, address: str) -> None:
        """Tell where the pages are."""
        self.address = address
        self._listener.row("address", {"address": address})
        self._listener.heading(address)
        self._listener.say("Only this machine gets in, and only by this address. Ctrl-C ends it.")
        sys.stdout.flush()
        if self._opens:
            self._open(address)

    def _open(self, address: str) -> None:
        import tempfile
        import webbrowser

        # Every user of this machine sees the arguments of a program, and they would name the
        # token; so the browser opens a file that only this user reads.
        with tempfile.NamedTemporaryFile(
            "w", suffix=".html", prefix="waystation-", delete=False, encoding="utf-8"
        ) as file:
            self._door = Path(file.name)
            file.write(
                '<!doctype html><meta charset="utf-8"><title>waystation</title>'
                f'<meta http-equiv="refresh" content="0; url={escape(address)}">'
                f'<p><a href="{escape(address)}">To the archive</a>\n'
            )
        with suppress(webbrowser.Error, OSError):
            webbrowser.open(self._door.as_uri())

    def end(self) -> None:
        """Leave nothing behind."""
        if self._door is not None:
            self._door.unlink(missing_ok=True)
