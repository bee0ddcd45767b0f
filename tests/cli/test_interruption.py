"""Ctrl-C, SIGTERM and a reader that has seen enough, in a process of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Server, letter, start
from tests.fakes.imap_server import Delay

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from tests.cli.conftest import CommandLine

IN_TIME = 2.0
"""A second is promised; a machine that runs other tests meanwhile gets another one."""
GO_ON = "waystation: interrupted; the same command goes on where it stopped\n"


def interrupt(process: subprocess.Popen[str], server: Server, command: str, number: int) -> float:
    """Send a signal once the server has seen a command; return how long the end took."""
    while not server.fake.commands(command):
        assert process.poll() is None
        server.fake.stopping.wait(0.02)
    begun = time.monotonic()
    process.send_signal(number)
    process.wait(10)
    return time.monotonic() - begun


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["LIST", "FETCH"])
def test_an_export_stops_at_once_and_goes_on_later(
    waystation: CommandLine,
    old: Server,
    archive: Path,
    processes: ExitStack,
    number: int,
    command: str,
) -> None:
    old.script.on(command, Delay(60))
    process = start(processes, "export", archive, *old.source)

    took = interrupt(process, old, command, number)
    out, err = process.communicate()
    old.script.clear()
    again = waystation("export", archive, *old.secret)

    assert (process.returncode, out, err) == (130, "", GO_ON)
    assert took < IN_TIME
    assert again.code == 0
    assert waystation("check", archive).code == 0
    assert waystation("status", archive, "--json").summary["archived"] == 7


def test_an_import_stops_at_once_and_sends_nothing_twice(
    waystation: CommandLine, new: Server, exported: Path, processes: ExitStack
) -> None:
    new.script.on("APPEND", Delay(60), first=3)
    process = start(processes, "import", exported, *new.target, "--one-by-one", "--json")

    took = interrupt(process, new, "APPEND", signal.SIGINT)
    out, err = process.communicate()
    new.script.clear()
    again = waystation("import", exported, *new.secret)

    assert (process.returncode, err) == (130, GO_ON)
    assert took < IN_TIME
    assert '"outcome": "interrupted", "exit_code": 130}' in out.splitlines()[-1]
    assert again.code == 0
    arrived = [body for folder in new.mailbox.folders for body in folder.bodies]
    assert sorted(arrived) == sorted(letter(n) for n in range(7))


def test_an_import_over_several_connections_stops_at_once_and_sends_nothing_twice(
    waystation: CommandLine,
    old: Server,
    new: Server,
    archive: Path,
    processes: ExitStack,
) -> None:
    for number in range(10, 700):
        folders = ("INBOX", "Gesendet", "Projects/2024")
        old.mailbox.folder(folders[number % 3]).append(letter(number))
    assert waystation("export", archive, *old.source).code == 0
    new.script.on("APPEND", Delay(60), first=9)
    process = start(processes, "import", archive, *new.target, "--connections", "3", "--json")

    while new.fake.commands("APPEND") < 11:
        assert process.poll() is None
        new.fake.stopping.wait(0.02)
    took = interrupt(process, new, "APPEND", signal.SIGINT)
    out, err = process.communicate()
    new.script.clear()
    connections = new.fake.connections
    again = waystation("import", archive, *new.secret)

    assert (process.returncode, err) == (130, GO_ON)
    assert took < IN_TIME
    assert connections == 3
    assert '"outcome": "interrupted", "exit_code": 130}' in out.splitlines()[-1]
    assert again.code == 0
    arrived = [body for folder in new.mailbox.folders for body in folder.bodies]
    assert sorted(arrived) == sorted(letter(n) for n in (*range(7), *range(10, 700)))


def test_a_reader_that_has_seen_enough_ends_the_ledger_quietly(
    exported: Path, waystation: CommandLine, old: Server, processes: ExitStack
) -> None:
    for number in range(10, 600):
        old.mailbox.folder("INBOX").append(letter(number))
    waystation("export", exported, *old.secret)
    process = start(processes, "ledger", exported)
    assert process.stdout is not None
    assert process.stdout.readline().startswith('{"folder"')
    process.stdout.close()

    assert process.wait(10) == 1
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_an_output_that_takes_nothing_is_named(exported: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "waystation", "ledger", exported],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr == b"waystation: No space left on device\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_an_output_that_is_closed_ends_no_command(exported: Path, closed: str) -> None:
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            f'"$0" -m waystation status "$1" --json {closed}',
            sys.executable,
            exported,
        ],
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0
    assert done.stderr == b""
