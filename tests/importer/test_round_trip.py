"""Dovecot to archive to Dovecot, compared by the standard library; and memory."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from export.imap_source import ImapSource
from export.run import export
from importer.run import replay
from store.archive import Archive
from tests.compare import differences, snapshot
from tests.corpus import fill_maildir, folder_names, mailbox
from tests.importer.support import connector
from tests.servers.dovecot import HOST, PASSWORD, Dovecot
from waystation.address import Account
from waystation.imap import ImapSession
from waystation.progress import Silent
from waystation.session import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from export.source import MailSource
    from store.transfers import MappedFolder


def copy(dovecot: Dovecot, user: str, path: Path, count: int) -> list[str]:
    """Fill a mailbox, archive it, replay it into another; return how the two differ."""
    mail = mailbox(7, count, folder_names(25))
    fill_maildir(dovecot.mail_directory(f"{user}-from"), mail, owner=(dovecot.uid, dovecot.gid))
    dovecot.give(dovecot.home(f"{user}-from"))

    def account(name: str) -> Account:
        return Account(f"imap://{name}@{HOST}", name, HOST, dovecot.port, "starttls")

    @contextmanager
    def source() -> Iterator[MailSource]:
        connection = Connection(dovecot.ca_file)
        with ImapSession.open(account(f"{user}-from"), PASSWORD, connection) as session:
            yield ImapSource(session)

    with Archive.create(path, "imap://from", "from") as archive:
        exported = export(archive, source, "imap://from", "from", Silent())
        assert exported.new == count
        target = archive.transfers.target("imap://to", "to")
        connect = connector(dovecot.port, f"{user}-to", PASSWORD, ca_file=dovecot.ca_file)
        for expected in (count, 0):
            result = replay(archive, connect, target, Silent())
            assert (result.appended, result.is_complete) == (expected, True)
    before, after = (
        snapshot(HOST, dovecot.port, f"{user}-{name}", PASSWORD) for name in ("from", "to")
    )
    # Folders above others are made on the way; of names that differ in case only one is kept.
    after = {name: held for name, held in after.items() if held or name in before}
    renames = {row.name: name for name, row in places(path).items() if row.name != name}
    return differences(before, {renames.get(name, name): held for name, held in after.items()})


def places(path: Path) -> dict[str, MappedFolder]:
    """Return where each archived folder went; only those that differ in case may move."""
    with Archive.read(path) as archive:
        names = {folder.id: folder.name for folder in archive.index.folders()}
        placed = {names[n]: row for n, row in archive.transfers.folder_map(1).items()}
    moved = {name for name, row in placed.items() if row.name != name}
    assert all(name.partition("/")[0].lower() == "case" for name in moved)
    return placed


@pytest.mark.server
def test_a_mailbox_comes_through_unchanged(dovecot: Dovecot, user: str, tmp_path: Path) -> None:
    assert copy(dovecot, user, tmp_path / "archive", 2000) == []


@pytest.mark.server
@pytest.mark.long
def test_a_large_mailbox_comes_through_unchanged(
    dovecot: Dovecot, user: str, tmp_path: Path
) -> None:
    assert copy(dovecot, user, tmp_path / "archive", 20_000) == []


_IMPORT_OF_A_LARGE_MESSAGE = """
import re, sys
from pathlib import Path
from tests.importer.support import Mail, connector
from tests.corpus import write_large
from waystation.model import RemoteMessage
from tests.importer.support import NOON

archive = Mail(Path(sys.argv[1]))
folder = archive.archive.ensure_folder(("INBOX",), None)
maildir = archive.archive.maildir(folder)
draft = maildir.draft(0)
write_large(draft, 200_000_000)
batch = archive.archive.batch()
draft.finish(NOON)
batch.add(folder, maildir, 1, RemoteMessage(1, (), (), NOON), draft)
batch.commit()
result = archive.replay(
    connector(int(sys.argv[2]), sys.argv[3], sys.argv[4], ca_file=Path(sys.argv[5]))
)
assert result.appended == 1
# Not ru_maxrss: a process begins with that of the one which started it.
print(re.search("VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.server
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_message_of_200_mb_does_not_fill_the_memory(
    dovecot: Dovecot, user: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _IMPORT_OF_A_LARGE_MESSAGE,
            str(tmp_path / "archive"),
            str(dovecot.port),
            user,
            PASSWORD,
            str(dovecot.ca_file),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * 1024
