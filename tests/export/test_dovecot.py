"""Stage one from a real server: the same mail afterwards, on both sides."""

from __future__ import annotations

import imaplib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from export.run import Options
from tests import corpus
from tests.compare import _selectable, differences, quoted, snapshot
from tests.export.support import Stage, connector
from tests.servers.dovecot import PASSWORD, Dovecot
from waystation.session import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.compare import Snapshot

pytestmark = pytest.mark.server

MOST_KILOBYTES = 64 * 1024


def stage(server: Dovecot, user: str, path: Path) -> Stage:
    settings = Connection(server.ca_file, timeout=60)
    return Stage(path / "archive", connector(server.port, user, settings))


def held(server: Dovecot, user: str, prefix: str = "") -> Snapshot:
    return snapshot(server.host, server.port, user, PASSWORD, prefix=prefix)


def by_the_sources_own_words(server: Dovecot, user: str) -> dict[str, object]:
    """Return what STATUS and EXAMINE say of each folder: counts, UIDs, flags."""
    said: dict[str, object] = {}
    with imaplib.IMAP4(server.host, server.port) as client:
        client.login(user, PASSWORD)
        for name, wire_name in list(_selectable(client, "")):
            items = "(MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)"
            status = client.status(quoted(wire_name), items)
            client.select(quoted(wire_name), readonly=True)
            said[name] = (status, client.uid("FETCH", "1:*", "(UID FLAGS)"))
    return said


def test_a_mailbox_comes_over_whole_and_the_source_stays_as_it_was(
    dovecot: Dovecot, user: str, tmp_path: Path
) -> None:
    wanted = corpus.fill_maildir(
        dovecot.mail_directory(user),
        corpus.mailbox(7, 1000, 12, typical_size=1500),
        owner=(dovecot.uid, dovecot.gid),
    )
    with imaplib.IMAP4(dovecot.host, dovecot.port) as client:  # some are \Recent, some \Seen
        client.login(user, PASSWORD)
        client.append("INBOX", "", "", b"Subject: recent\r\n\r\nnew\r\n")
    before = by_the_sources_own_words(dovecot, user)
    export = stage(dovecot, user, tmp_path)

    result = export.run()

    assert (result.new, result.failed, result.alarms) == (1001, 0, 0)
    assert by_the_sources_own_words(dovecot, user) == before
    found = held(dovecot, user)
    assert differences(found, export.snapshot()) == []
    assert set(wanted) <= set(found)
    assert export.discrepancies() == []
    again = export.run()
    assert (again.new, again.unchanged) == (0, again.folders)


def test_hostile_messages_come_over_as_the_server_shows_them(
    dovecot: Dovecot, user: str, tmp_path: Path
) -> None:
    mail = [
        ("INBOX", corpus.Sample(body, (), (), next(corpus.messages(1, 1)).internaldate))
        for name, body in corpus.hostile()
        if name not in corpus.ALTERED_BY_SERVERS
    ]
    corpus.fill_by_append(dovecot.host, dovecot.port, user, PASSWORD, mail)
    with imaplib.IMAP4(dovecot.host, dovecot.port) as client:
        client.login(user, PASSWORD)
        for name, body in corpus.hostile():
            if name in corpus.ALTERED_BY_SERVERS - {"NUL", "nothing at all"}:
                client.append("INBOX", "", "", body)
    export = stage(dovecot, user, tmp_path)

    result = export.run()

    assert result.is_complete
    assert differences(held(dovecot, user), export.snapshot()) == []


def test_a_folder_that_dovecot_renumbers_is_not_fetched_again(
    dovecot: Dovecot, user: str, tmp_path: Path
) -> None:
    corpus.fill_maildir(
        dovecot.mail_directory(user),
        corpus.mailbox(8, 150, ["INBOX", "Work"], typical_size=500, repeated_share=0.2),
        owner=(dovecot.uid, dovecot.gid),
    )
    export = stage(dovecot, user, tmp_path)
    first = export.run()
    ids = sorted(row.id for row in export.rows())
    dovecot.doveadm("mailbox", "update", "--uid-validity", "987654321", "-u", user, "Work")

    result = export.run()

    assert result.renumbered + result.vanished == len(export.rows("Work"))
    assert (result.new, result.vanished, result.octets) == (0, 0, 0)
    assert sorted(row.id for row in export.rows()) == ids
    assert {row.uidvalidity for row in export.rows("Work")} == {987654321}
    assert differences(held(dovecot, user), export.snapshot()) == []
    assert export.discrepancies() == []
    assert first.new == 150


@pytest.fixture(scope="module")
def courier() -> Iterator[Dovecot]:
    with Dovecot(prefix="INBOX.", hide=("CONDSTORE", "QRESYNC", "SPECIAL-USE")) as server:
        yield server


def test_a_server_like_courier_is_understood(courier: Dovecot, user: str, tmp_path: Path) -> None:
    mail = corpus.mailbox(9, 30, ["INBOX", "Work/2024"], typical_size=300)
    with imaplib.IMAP4(courier.host, courier.port) as client:
        client.login(user, PASSWORD)
        client.create("INBOX.Work.2024")
        for name, sample in mail:
            wire_name = "INBOX" if name == "INBOX" else "INBOX.Work.2024"
            corpus.append(client, wire_name, sample)
    export = stage(courier, user, tmp_path)

    export.run()

    assert differences(held(courier, user), export.snapshot()) == []
    assert len(export.bodies("INBOX/Work/2024")) > 0
    with export.archive() as archive:
        assert archive.description.source_prefix == ("INBOX",)
    with imaplib.IMAP4(courier.host, courier.port) as client:
        client.login(user, PASSWORD)
        client.select("INBOX")
        client.uid("STORE", "1", "FLAGS", "(\\Flagged NewWord)")
        client.uid("STORE", "2", "+FLAGS", "(\\Deleted)")
        client.expunge()
    result = export.run()
    assert (result.new, result.vanished) == (0, 1)
    assert differences(held(courier, user), export.snapshot()) == []
    assert export.run(Options(quick=True)).unchanged == result.folders


_MEASURED = """
import re, sys
from pathlib import Path
from tests.export.support import Stage, connector
from waystation.session import Connection

path, port, user, ca_file = sys.argv[1:]
settings = Connection(Path(ca_file), timeout=60)
result = Stage(Path(path), connector(int(port), user, settings)).run()
assert result.is_complete, result
# Not ru_maxrss, which begins with what the parent had when it forked.
peak = re.search("VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1]
print(result.octets, peak)
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_message(dovecot: Dovecot, user: str, tmp_path: Path) -> None:
    size = 200_000_000
    wanted = corpus.deliver_large(
        dovecot.mail_directory(user), size, owner=(dovecot.uid, dovecot.gid)
    )
    archive = tmp_path / "archive"

    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, archive, str(dovecot.port), user, dovecot.ca_file],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    octets, peak = map(int, done.stdout.split())
    assert octets >= size
    assert peak < MOST_KILOBYTES
    [row] = stage(dovecot, user, tmp_path).rows("INBOX")
    assert row.sha256 == wanted.sha256
