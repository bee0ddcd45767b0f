"""Many mailboxes from a real server into a real server, interrupted on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import corpus
from tests.compare import differences, snapshot
from tests.servers.dovecot import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.dovecot import Dovecot

pytestmark = pytest.mark.server

MAILBOXES = 6
MESSAGES = 120


def test_many_mailboxes_come_over_whole_though_the_batch_is_interrupted(
    dovecot: Dovecot, user: str, tmp_path: Path
) -> None:
    names = [f"{user}-{number}" for number in range(MAILBOXES)]
    rows = ["mailbox;from;to"]
    for number, name in enumerate(names):
        corpus.fill_maildir(
            dovecot.mail_directory(name),
            corpus.mailbox(number, MESSAGES, ("INBOX", "Work", "Work/2024"), typical_size=1500),
            owner=(dovecot.uid, dovecot.gid),
        )
        old = f"imaps://{name}@localhost:{dovecot.tls_port}"
        rows.append(f"{name};{old};imap://{name}-new@localhost:{dovecot.port}")
    (tmp_path / "list.csv").write_text("\n".join(rows), "utf-16")
    root = tmp_path / "root"

    def run(command: str, *words: str, stop_at: int | None = None) -> int:
        given: list[object] = [
            "--list",
            tmp_path / "list.csv",
            "--password-env",
            "DOVECOT_PASSWORD",
        ]
        given += ["--ca-file", dovecot.ca_file, *words, "--json"]
        with subprocess.Popen(
            [sys.executable, "-m", "waystation", "batch", command, str(root), *map(str, given)],
            env=os.environ | {"DOVECOT_PASSWORD": PASSWORD},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if stop_at is not None and json.loads(line).get("done", 0) >= stop_at:
                    process.send_signal(signal.SIGINT)
                    stop_at = None
            return process.wait(60)

    assert run("export", stop_at=MAILBOXES * MESSAGES // 3) in (0, 130)
    assert run("export") == 0
    assert run("import", "--total-rate", "300", stop_at=MAILBOXES * MESSAGES // 3) in (0, 130)
    assert run("import") == 0
    assert run("verify", "--target", "--deep") == 0
    assert run("verify", "--source") == 0

    for name in names:
        before, after = (
            snapshot(dovecot.host, dovecot.port, each, PASSWORD) for each in (name, f"{name}-new")
        )
        assert differences(before, {k: v for k, v in after.items() if v or k in before}) == []
