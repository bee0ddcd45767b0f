"""Commands on archives with very many rows: nothing is lost, and memory stays flat."""

from __future__ import annotations

import imaplib
import json
import os
import re
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from store.archive import Archive
from tests.store.many_rows import TARGET, fill
from waystation.model import FolderState

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.dovecot import Dovecot

FOLDERS = 25
FEW, MANY = 1_000, 20_000
MILLION = 1_000_000
MOST_KILOBYTES = 64 * 1024

# Not ru_maxrss, which begins with what the parent had when it forked.
_MEASURED = """
import re, sys
from pathlib import Path
from waystation import cli

code = cli.run(sys.argv[1:])
peak = re.search("VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1]
print(peak, file=sys.stderr)
sys.exit(code)
"""


def measured(*words: object, env: dict[str, str] | None = None) -> tuple[list[dict[str, Any]], int]:
    """Run a command in a process of its own; return what it told and its peak in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *map(str, words), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], int(done.stderr.split()[-1])


def questions(archive: Path) -> list[tuple[object, ...]]:
    """Return the commands that ask an index and no server."""
    return [
        ("status", archive),
        ("plan", archive, "--offline", "--to", "imaps://alice@contoso.com"),
        ("ledger", archive, "--state", "failed"),
        ("ledger", archive, "--state", "pending"),
        ("ledger", archive),
        ("diff", archive),
        ("seal", archive),
    ]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("rows")
    for count in (FEW, MANY):
        fill(directory / str(count), count, FOLDERS)
    return directory / str(FEW), directory / str(MANY)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="asks Linux")
def test_memory_does_not_grow_with_the_rows(archives: tuple[Path, Path]) -> None:
    for few, many in zip(*map(questions, archives), strict=True):
        before, after = measured(*few)[1], measured(*many)[1]

        # The page cache of SQLite, 2 MB, fills up; 19,000 rows held whole would be more.
        assert after < before + 5_000, few


def test_the_rows_of_the_ledger_and_the_totals_of_status_agree(
    archives: tuple[Path, Path],
) -> None:
    told = measured("status", archives[1])[0][-1]
    rows = measured("ledger", archives[1])[0][:-1]

    assert told["adds_up"]
    assert told["archived"] + told["skipped"] + told["failed"] == len(rows) == MANY
    assert sum(told["targets"][TARGET].values()) == told["archived"]
    for state, count in told["targets"][TARGET].items():
        assert len(measured("ledger", archives[1], "--state", state)[0]) - 1 == count


@pytest.mark.server
@pytest.mark.long
def test_a_million_messages_are_all_told_of_in_flat_memory(
    dovecot: Dovecot, user: str, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    fill(archive, MILLION, FOLDERS)

    for words in questions(archive):
        told, peak = measured(*words)
        assert peak < MOST_KILOBYTES, words
        if words[0] == "status":
            last = told[-1]
            assert last["archived"] + last["skipped"] + last["failed"] == MILLION
            assert sum(last["targets"][TARGET].values()) == last["archived"]

    remember(archive, dovecot, user)
    source = f"imap://{user}@localhost:{dovecot.port}"
    told, peak = measured(
        *("export", archive, "--from", source, "--new-source", "--ca-file", dovecot.ca_file),
        *("--password-env", "SECRET"),
        env={"SECRET": dovecot.password},
    )
    assert (told[-1]["new"], told[-1]["vanished"]) == (0, 0)
    assert peak < MOST_KILOBYTES


def remember(path: Path, server: Dovecot, user: str) -> None:
    """Let a server have the archive's folders, and the archive remember their states."""
    keys = ("UIDVALIDITY", "UIDNEXT", "MESSAGES", "HIGHESTMODSEQ")
    with (
        Archive.write(path, "test") as archive,
        imaplib.IMAP4("localhost", server.port) as imap,
    ):
        imap.starttls(ssl.create_default_context(cafile=server.ca_file))
        imap.login(user, server.password)
        for folder in archive.index.folders():
            name = f'"{folder.name.replace("/", ".")}"'
            imap.create(name)
            imap.append(name, "", "", b"Subject: x\r\n\r\nx\r\n")
            imap.select(name)
            (line,) = imap.status(name, f"({' '.join(keys)})")[1]
            found = [re.search(rb"%s (\d+)" % key.encode(), line) for key in keys]
            uidvalidity, uidnext, exists, modseq = (int(each[1]) for each in found if each)
            state = FolderState(uidvalidity, uidnext, exists, modseq)
            archive.index.settle(folder.id, state, "2026-05-02T00:00:00+00:00", is_settled=True)
