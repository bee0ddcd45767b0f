"""The command around the pages: how it begins, opens a browser, and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.cli.conftest import start
from tests.store.filling import filled

if TYPE_CHECKING:
    from contextlib import ExitStack

    from tests.cli.conftest import CommandLine


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return filled(tmp_path / "shelf")


def test_the_pages_are_there_until_ctrl_c(shelf: Path, processes: ExitStack) -> None:
    process = start(processes, "browse", shelf, "--no-open")
    assert process.stdout is not None
    address = process.stdout.readline().strip()

    with urlopen(address, timeout=20) as answer:
        assert b"INBOX" in answer.read()
    with pytest.raises(HTTPError) as refused:
        urlopen(address[:-3] + "/", timeout=20)
    refused.value.close()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)

    assert (process.returncode, out) == (0, "")
    assert err == "Only this machine gets in, and only by this address. Ctrl-C ends it.\n"
    assert address.startswith("http://127.0.0.1:")
    assert len(address.rstrip("/").rpartition("/")[2]) == 32


def test_each_start_has_another_token(shelf: Path, processes: ExitStack) -> None:
    addresses = set()
    for _ in range(2):
        process = start(processes, "browse", shelf, "--no-open", "--json")
        assert process.stdout is not None
        addresses.add(json.loads(process.stdout.readline())["address"].rpartition(":")[2])
        process.send_signal(signal.SIGTERM)
        assert json.loads(process.communicate(timeout=20)[0])["outcome"] == "done"

    assert len({address.partition("/")[2] for address in addresses}) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script is the browser")
def test_the_token_is_in_no_argument_of_the_browser(
    shelf: Path, tmp_path: Path, processes: ExitStack
) -> None:
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" > {seen}.part\nmv {seen}.part {seen}\n')
    browser.chmod(0o700)
    environment = os.environ | {"BROWSER": f"{browser} %s", "TMPDIR": str(tmp_path)}
    process = start(processes, "browse", shelf, env=environment)
    assert process.stdout is not None
    assert process.stderr is not None
    address = process.stdout.readline().strip()
    with urlopen(address, timeout=20):
        pass

    door = Path(seen.read_text().strip().removeprefix("file://"))
    assert address.rstrip("/").rpartition("/")[2] not in seen.read_text()
    assert address in door.read_text()
    assert door.stat().st_mode & 0o077 == 0
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert not door.exists()


def test_a_port_that_is_taken_is_said(waystation: CommandLine, shelf: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        shown = waystation("browse", shelf, "--no-open", "--port", other.getsockname()[1])

    assert shown.code == 1
    assert "cannot listen on port" in shown.one_error


def test_where_there_is_no_archive_nothing_listens(waystation: CommandLine, tmp_path: Path) -> None:
    assert waystation("browse", tmp_path / "nothing").code == 10
