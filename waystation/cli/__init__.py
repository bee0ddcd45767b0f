"""The command line: the root, and the one place that turns an error into words and a code."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from waystation.cli import output, state
from waystation.cli.commands import Commands
from waystation.errors import WaystationError, plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_INTERRUPTED = 130
_GO_ON = "interrupted; the same command goes on where it stopped"
_COMPLETION = "_WAYSTATION_COMPLETE"

app = typer.Typer(
    name="waystation",
    cls=Commands,
    help="Archive a mailbox, keep it, replay it elsewhere, and account for every message.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        # Loaded late: it takes a third of the time that --help does.
        from importlib.metadata import version

        typer.echo(f"waystation {version('waystation')}")
        raise typer.Exit


@app.callback()
def _root(
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Archive a mailbox, keep it, replay it elsewhere, and account for every message."""


def main() -> NoReturn:
    """Run the command that was typed, and leave with its exit code (docs/commands.md)."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Where the one who started us wants such a signal ignored (nohup), it is.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    try:
        code = run()
    except KeyboardInterrupt:  # the second one, while the first was told
        code = _INTERRUPTED
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us (>&-, some services)
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 - until the end
    for stream in (sys.stdout, sys.stderr):
        # A folder's name must not end a run because a terminal knows fewer letters.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _outcome(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more can be told.
        _close_output()
        return 1
    except OSError as error:  # the disk that the output goes to is full, say
        _close_output()
        with suppress(OSError):
            sys.stderr.write(f"waystation: standard output: {error.strerror}\n")
        return 1
    finally:
        with suppress(OSError):
            state.end()
    return code


def _outcome(words: list[str]) -> int:
    """Run a command; tell what ended it, unless that is that nobody listens."""
    try:
        return _invoke(words)
    except typer.Exit as error:
        return error.exit_code
    except TyperException as error:
        return _wrong_usage(error, words)
    except WaystationError as error:
        return _failed(str(error), error.exit_code, words)
    except BrokenPipeError:
        raise
    except (KeyboardInterrupt, typer.Abort):
        return _failed(_GO_ON, _INTERRUPTED, words)
    except MemoryError:
        return _failed("out of memory; nothing that is recorded is lost", 1, words)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _failed(f"{where}{error.strerror or error}", 1, words)


def _invoke(words: list[str]) -> int:
    if _COMPLETION in os.environ:
        app(args=words, prog_name="waystation")
    # Not by calling the app: that would take Ctrl-C and broken pipes for itself.
    command = typer.main.get_command(app)
    with command.make_context("waystation", words) as context:
        code = command.invoke(context)
    return code if isinstance(code, int) else 0


def _wrong_usage(error: TyperException, words: list[str]) -> int:
    text = error.format_message()
    if text.startswith("Usage:"):  # no argument at all: the whole help
        sys.stderr.write(f"{text}\n")
        return error.exit_code
    context = getattr(error, "ctx", None)
    if context is not None:
        text = text if text.endswith(("?", ".")) else f"{text}."
        text = f"{text} See {context.command_path} --help."
    return _failed(text, error.exit_code, words)


def _failed(text: str, code: int, words: list[str]) -> int:
    listener = state.current() or output.make(
        next((word for word in words if not word.startswith("-")), None),
        as_json="--json" in words,
        quiet=False,
        with_bar=False,
    )
    listener.close()
    listener.error(plain(text, 1500))
    listener.summary("interrupted" if code == _INTERRUPTED else "failed", code, {})
    return code


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _close_output() -> None:
    """Have what is still buffered go nowhere, so that the end of Python is quiet."""
    with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
