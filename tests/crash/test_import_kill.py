"""An import over several connections, killed again and again: each message arrives once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from store.archive import Archive
from store.status import status
from tests.compare import snapshot
from tests.importer.support import NOON, Mail, mail
from tests.servers.dovecot import PASSWORD, Dovecot

FOLDERS = ("INBOX", *(f"Folder {number}" for number in range(1, 10)))
ROOT = Path(__file__).resolve().parents[2]


def start(archive: Path, server: Dovecot, user: str, connections: int) -> subprocess.Popen[str]:
    words = ("--ca-file", server.ca_file, "--password-env", "KILL_PASSWORD", "--quiet")
    to = f"imaps://{user}@{server.host}:{server.tls_port}"
    many = ("--connections", str(connections))
    return subprocess.Popen(
        [sys.executable, "-m", "waystation", "import", archive, "--to", to, *words, *many],
        cwd=ROOT,
        env={**os.environ, "KILL_PASSWORD": PASSWORD},
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_again_and_again(
    path: Path, server: Dovecot, user: str, seed: int, messages: int, kills: int
) -> None:
    filled = Mail(path)
    with filled.archive:
        for number in range(messages):
            date = NOON + timedelta(seconds=number // 3)
            filled.add(mail(number // 2, "x" * 3000), FOLDERS[number % 10], date=date)
    chance = random.Random(seed)
    for _ in range(kills):
        process = start(path, server, user, connections=4)
        try:
            process.wait(chance.uniform(0.6, 1.6))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    last = start(path, server, user, connections=4)
    _, complaints = last.communicate(timeout=120)

    assert last.returncode == 0, complaints
    with Archive.read(path) as archive:
        totals = archive.transfers.totals()
        assert {state for name, _, state, _, _ in totals if user in name} == {"appended"}
        assert all(folder.adds_up for folder in status(archive))
        expected = {
            name: Counter(m.sha256 for m in archive.index.messages() if m.folder == name)
            for name in FOLDERS
        }
    held = snapshot(server.host, server.port, user, PASSWORD)
    found = {name: Counter(m.sha256 for m in held[name]) for name in FOLDERS}
    assert found == expected


@pytest.mark.server
def test_a_killed_import_over_several_connections_goes_on_where_it_was(
    tmp_path: Path, dovecot: Dovecot, user: str
) -> None:
    kill_again_and_again(tmp_path / "archive", dovecot, user, seed=1, messages=3000, kills=3)


@pytest.mark.long
@pytest.mark.server
@pytest.mark.parametrize("seed", range(2, 8))
def test_many_kills_of_an_import_over_several_connections_lose_and_double_nothing(
    tmp_path: Path, dovecot: Dovecot, user: str, seed: int
) -> None:
    kill_again_and_again(tmp_path / "archive", dovecot, user, seed, messages=12_000, kills=12)
