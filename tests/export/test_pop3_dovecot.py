"""Stage one from Dovecot by POP3: the same octets as by IMAP, and a server that stays as it was."""

from __future__ import annotations

import imaplib
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from sqlite3 import connect
from typing import TYPE_CHECKING

import pytest

from export.run import Options
from tests import corpus
from tests.export.support import Stage, connector, pop3_stage
from tests.relay import Cut, Direction, Relay
from tests.servers.dovecot import PASSWORD, Dovecot, has_pop3
from waystation.address import parse_account
from waystation.doctor import Outcome, examine
from waystation.session import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not has_pop3(), reason="no POP3 here (Debian: dovecot-pop3d)"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with Dovecot(pop3=True) as running:
        yield running


def fill(server: Dovecot, user: str, count: int = 300, size: int = 1500) -> None:
    corpus.fill_maildir(
        server.mail_directory(user),
        corpus.mailbox(11, count, ["INBOX"], typical_size=size),
        owner=(server.uid, server.gid),
    )


def by_pop3(server: Dovecot, user: str, path: Path, port: int = 0) -> Stage:
    settings = Connection(server.ca_file, timeout=60)
    return pop3_stage(path / "by-pop3", port or server.pop3_port, user, settings)


def by_imap(server: Dovecot, user: str, path: Path) -> Stage:
    settings = Connection(server.ca_file, timeout=60)
    return Stage(path / "by-imap", connector(server.port, user, settings))


def bodies(stage: Stage) -> list[bytes]:
    return sorted(stage.bodies("INBOX").values())


def seen_by_others(server: Dovecot, user: str) -> object:
    with imaplib.IMAP4(server.host, server.port) as client:
        client.login(user, PASSWORD)
        status = client.status("INBOX", "(MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)")
        client.select("INBOX", readonly=True)
        return status, client.uid("FETCH", "1:*", "(UID FLAGS)")


def test_imap_and_pop3_bring_the_same_octets_and_the_server_stays_as_it_was(
    server: Dovecot, user: str, tmp_path: Path
) -> None:
    fill(server, user, 5000, 800)
    imap = by_imap(server, user, tmp_path)
    assert imap.run().new == 5000
    with imaplib.IMAP4(server.host, server.port) as client:
        client.login(user, PASSWORD)
        client.select("INBOX")  # takes \\Recent away, as every session does, POP3's too
    before = seen_by_others(server, user)
    pop3 = by_pop3(server, user, tmp_path)

    result = pop3.run()

    assert (result.new, result.failed, result.alarms) == (5000, 0, 0)
    assert seen_by_others(server, user) == before
    found = bodies(imap)
    # POP3 cannot say that a message has no last line end: one is added (RFC 1939 section 3).
    assert bodies(pop3) == sorted(
        body if not body or body.endswith(b"\r\n") else body + b"\r\n" for body in found
    )
    assert sum(body.endswith(b"\r\n") for body in found) > 4500
    assert pop3.discrepancies() == []
    again = pop3.run()
    assert (again.new, again.vanished, again.renumbered) == (0, 0, 0)


def test_hostile_messages_come_as_they_come_by_imap(
    server: Dovecot, user: str, tmp_path: Path
) -> None:
    with imaplib.IMAP4(server.host, server.port) as client:
        client.login(user, PASSWORD)
        for name, body in corpus.hostile():
            if name not in corpus.ALTERED_BY_SERVERS:
                client.append("INBOX", "", "", body)
        client.append("INBOX", "", "", b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n...\r\n.\r\n")
    imap, pop3 = by_imap(server, user, tmp_path), by_pop3(server, user, tmp_path)
    imap.run()

    result = pop3.run()

    assert result.is_complete
    assert bodies(pop3) == sorted(
        body if body.endswith(b"\r\n") else body + b"\r\n" for body in bodies(imap)
    )


def test_unique_ids_that_all_change_with_the_uidvalidity_double_nothing(
    server: Dovecot, user: str, tmp_path: Path
) -> None:
    fill(server, user)
    pop3 = by_pop3(server, user, tmp_path)
    pop3.run()
    before = [(row.id, row.uid, row.path) for row in pop3.rows()]
    server.doveadm("mailbox", "update", "--uid-validity", "987654321", "-u", user, "INBOX")

    result = pop3.run()

    assert (result.new, result.vanished, result.renumbered) == (0, 0, 300)
    assert [(row.id, row.uid, row.path) for row in pop3.rows()] == before
    assert pop3.discrepancies() == []
    assert pop3.run().renumbered == 0


def test_a_line_that_breaks_is_taken_up_again(server: Dovecot, user: str, tmp_path: Path) -> None:
    fill(server, user)
    with Relay(server.pop3_port) as relay:
        relay.arm(Cut(Direction.TO_CLIENT, 150_000, connections=2))
        pop3 = by_pop3(server, user, tmp_path, relay.port)
        result = pop3.run()

    assert (result.new, result.failed) == (300, 0)
    assert pop3.discrepancies() == []


def test_in_one_archive_imap_keeps_what_pop3_does_not_know(
    server: Dovecot, user: str, tmp_path: Path
) -> None:
    with imaplib.IMAP4(server.host, server.port) as client:
        client.login(user, PASSWORD)
        for number in range(20):
            body = b"Subject: %d\r\n\r\n%d\r\n" % (number, number)
            client.append("INBOX", "(\\Flagged todo)", '"17-Jul-2010 02:44:25 +0000"', body)
    imap = by_imap(server, user, tmp_path)
    imap.run()
    known = [(row.id, row.flags, row.keywords, row.internaldate) for row in imap.rows("INBOX")]
    pop3 = by_pop3(server, user, tmp_path)
    pop3.path = imap.path
    with imaplib.IMAP4(server.host, server.port) as client:
        client.login(user, PASSWORD)
        client.append("INBOX", "", "", b"Subject: more\r\n\r\nmore\r\n")

    result = pop3.run(Options(mix_protocols=True))

    assert (result.new, result.renumbered) == (1, 20)
    rows = pop3.rows("INBOX")
    assert [(row.id, row.flags, row.keywords, row.internaldate) for row in rows[:-1]] == known
    assert pop3.discrepancies() == []
    again = pop3.run(Options(mix_protocols=True))
    assert (again.new, again.renumbered, again.flags_changed) == (0, 0, 0)
    imap.name, back = pop3.name, imap.run(Options(mix_protocols=True))
    assert (back.new, back.renumbered, back.failed) == (1, 20, 0)
    assert imap.discrepancies() == []


def test_the_doctor_looks_into_a_maildrop(server: Dovecot, user: str) -> None:
    fill(server, user, 7)
    account = parse_account(f"pop3s://{user}@localhost:{server.pop3s_port}")

    steps = list(examine(account, lambda: PASSWORD, Connection(server.ca_file)))

    assert [(step.name, step.outcome) for step in steps] == [
        (name, Outcome.OK) for name in ("name", "tls", "password", "authenticate", "list")
    ]
    assert steps[-1].text == "7 messages, 7 unique-ids"


def test_a_run_that_is_killed_is_taken_up_by_the_next(
    server: Dovecot, user: str, tmp_path: Path
) -> None:
    fill(server, user, 3000, 400)
    archive = tmp_path / "archive"
    command = [
        *(sys.executable, "-m", "waystation", "export", str(archive)),
        *("--from", f"pop3://{user}@localhost:{server.pop3_port}"),
        *("--ca-file", str(server.ca_file), "--password-env", "POP3_PASSWORD", "--quiet"),
    ]
    environment = {**os.environ, "POP3_PASSWORD": PASSWORD}
    process = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 60
    while process.poll() is None and not count(archive) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = count(archive)

    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert there > 0
    assert count(archive) == 3000
    for arguments in (["check", str(archive)], ["verify", str(archive), "--source", *command[7:]]):
        done = subprocess.run(
            [sys.executable, "-m", "waystation", *arguments],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr + done.stdout


def count(archive: Path) -> int:
    with (
        suppress(Exception),
        closing(connect(f"file:{archive}/index.sqlite?mode=ro", uri=True)) as db,
    ):
        ((found,),) = db.execute("SELECT count(*) FROM messages WHERE state = 'archived'")
        return int(found)
    return 0


_MEASURED = """
import re, sys
from pathlib import Path
from tests.export.support import pop3_stage
from waystation.address import parse_account
from waystation.doctor import Outcome, examine
from waystation.session import Connection

path, port, user, ca_file = sys.argv[1:]
result = pop3_stage(Path(path), int(port), user, Connection(Path(ca_file), timeout=60)).run()
assert result.is_complete, result
# Not ru_maxrss, which begins with what the parent had when it forked.
peak = re.search("VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1]
print(result.octets, peak)
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_message(server: Dovecot, user: str, tmp_path: Path) -> None:
    corpus.deliver_large(server.mail_directory(user), 200_000_000, owner=(server.uid, server.gid))

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _MEASURED,
            tmp_path / "a",
            str(server.pop3_port),
            user,
            server.ca_file,
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    octets, peak = map(int, done.stdout.split())
    assert octets >= 200_000_000
    assert peak < 64 * 1024
