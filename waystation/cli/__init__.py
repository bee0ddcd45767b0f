"""The command line: the root, and the one place that turns an error into words and a code."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import click
import typer

from waystation.cli import archive, importer, state
from waystation.cli import export as export_command
from waystation.errors import WaystationError, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERRUPTED = 130

app = typer.Typer(
    name="waystation",
    help="Archive a mailbox, keep it, replay it elsewhere, and account for every message.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
export_command.register(app)
archive.register(app)
importer.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"waystation {version('waystation')}")
        raise typer.Exit


@app.callback()
def _root(
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Archive a mailbox, keep it, replay it elsewhere, and account for every message."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code (contract.md, Exit codes)."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    state.listener = None
    for stream in (sys.stdout, sys.stderr):
        # A folder's name must not end a run because a terminal knows fewer letters.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except WaystationError as error:
        return _failed(str(error), error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more can be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, click.Abort):
        return _failed("interrupted; the same command goes on where it stopped", _INTERRUPTED)
    except MemoryError:
        return _failed("out of memory; nothing that is recorded is lost", 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _failed(f"{plain(where + (error.strerror or str(error)))}", 1)
    finally:
        if state.listener is not None:
            state.listener.close()


def _failed(text: str, code: int) -> int:
    if state.listener is None:
        sys.stderr.write(f"waystation: {text}\n")
        return code
    state.listener.close()
    state.listener.error(text)
    outcome = "interrupted" if code == _INTERRUPTED else "failed"
    state.listener.summary({"outcome": outcome, "exit_code": code})
    return code
