"""Our own commands, each into a fresh place, and proof that all has arrived."""

from __future__ import annotations

import compileall
import contextlib
import functools
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Literal

from scripts.benchmark.measure import CHECKOUT, Run, demand
from scripts.benchmark.stand import PASSWORD_VARIABLE, Stand, count_files
from tests.servers.dovecot import HOST

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.benchmark.corpora import Corpus

WAYSTATION = (sys.executable, "-m", "waystation")
VERSION = (*WAYSTATION, "--version")

_SIGN_IN = ("--allow-plaintext", "--password-env", PASSWORD_VARIABLE)

Command = Literal["export", "import"]


def compile_sources() -> None:
    """Have bytecode for our packages, as every installed package has.

    Where ``PYTHONDONTWRITEBYTECODE`` is set, each start of a checkout would compile anew (0.1 s).
    """
    for package in ("waystation", "export", "store", "importer"):
        compileall.compile_dir(CHECKOUT / package, quiet=2)


@functools.cache
def has_connections(command: Command) -> bool:
    """Tell whether a command can be told how many connections to use."""
    # a narrow terminal could break the word
    told = subprocess.run(
        [*WAYSTATION, command, "--help"],
        cwd=CHECKOUT,
        env={"COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return "--connections" in told.stdout


def with_connections(command: Command, count: int) -> tuple[str, ...]:
    """Return the option for so many connections; none where a command has no choice."""
    return ("--connections", str(count)) if has_connections(command) else ()


def export_command(
    archive: Path,
    user: str,
    port: int,
    *more: str,
    protocol: Literal["imap", "pop3"] = "imap",
) -> list[str]:
    """Return the command that archives a mailbox."""
    server = f"{protocol}://{user}@{HOST}:{port}"
    return [*WAYSTATION, "export", str(archive), "--from", server, *_SIGN_IN, *more]


def export(
    stand: Stand,
    archive: Path,
    wanted: Corpus,
    *more: str,
    port: int = 0,
    protocol: Literal["imap", "pop3"] = "imap",
) -> Run:
    """Archive a corpus that the server holds.

    Raises:
        Incomplete: not all of it is in the index, or not all of that is on the disk.
    """
    standard = stand.server.pop3_port if protocol == "pop3" else stand.port
    command = export_command(archive, wanted.user, port or standard, *more, protocol=protocol)
    run = stand.run(*command)
    there, files = archived(archive), count_files(archive)
    demand(there == files, f"{there} rows, {files} files in {archive}")
    demand(there == wanted.messages, f"{there} of {wanted.messages} archived")
    return run


def replay(stand: Stand, archive: Path, user: str, count: int, *more: str, port: int = 0) -> Run:
    """Import an archive into a mailbox, which then has to hold so many messages.

    Raises:
        Incomplete: it does not.
    """
    server = f"imap://{user}@{HOST}:{port or stand.port}"
    run = stand.run(*WAYSTATION, "import", str(archive), "--to", server, *_SIGN_IN, *more)
    stand.demand_count(user, count)
    return run


def archived(archive: Path) -> int:
    """Return how many messages an archive's index holds."""
    with contextlib.closing(sqlite3.connect(archive / "index.sqlite")) as database:
        ((count,),) = database.execute("SELECT count(*) FROM messages WHERE state = 'archived'")
    return int(count)
