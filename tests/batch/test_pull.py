"""Microsoft pulls: a real Dovecot over real archives, as the cookbook has it."""

from __future__ import annotations

import grp
import imaplib
import os
import pwd
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import corpus
from tests.compare import differences, snapshot
from tests.servers.dovecot import PASSWORD, Dovecot

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server

COOKBOOK = Path(__file__).resolve().parents[2] / "docs" / "cookbook.md"
MASTER, MASTER_PASSWORD = "migration", "the master's password"
OWN_PASSWORD = "a password of one's own"
FOLDERS = ("INBOX", "Sent", "Work", "Work/2024", "Büro/Jahr 2024", "INBOX/Below")


def chapter() -> str:
    text = COOKBOOK.read_text("utf-8")
    return text.partition("## Microsoft pulls")[2].partition("\n## ")[0]


def block(language: str, number: int = 0) -> str:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", chapter(), re.DOTALL)
    return found[number]


class Puller(Dovecot):
    """Dovecot with the configuration of the cookbook, and what a test has to change in it."""

    def __init__(self, directory: Path, pull: Path) -> None:
        super().__init__(directory)
        self.archives = pull / "archives"
        self.text = ""

    def _config(self) -> str:
        return "\n".join(
            (
                self.text.replace("/srv/pull/cert.pem", str(self._certificate.cert_file)).replace(
                    "/srv/pull/key.pem", str(self._certificate.key_file)
                ),
                f"base_dir = {self.directory}/run\nstate_dir = {self.directory}/state-of-dovecot",
                f"log_path = {self.log_file}\nlisten = 127.0.0.1\nauth_failure_delay = 0",
                self._listeners(),
                "service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}",
                _WITHOUT_ROOT if os.geteuid() else "",
            )
        )


_WITHOUT_ROOT = """\
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
service imap-login {{
  chroot =
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service log {{
  chroot =
}}""".format(user=pwd.getpwuid(os.geteuid()).pw_name, group=grp.getgrgid(os.getegid()).gr_name)


def tree(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a directory, with its times and octets."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mtime_ns,
            path.lstat().st_ino,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(root.rglob("*"))
    }


def hashed(password: str) -> str:
    done = subprocess.run(
        ["doveadm", "pw", "-s", "SHA512-CRYPT", "-p", password],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def root(dovecot: Dovecot, user: str, tmp_path: Path) -> Path:
    """Archives of three mailboxes, as a batch makes them."""
    rows = ["mailbox,from"]
    for number, name in enumerate(("Ada", "bob", "eve")):
        login = f"{user}-{number}"
        corpus.fill_maildir(
            dovecot.mail_directory(login),
            corpus.mailbox(number, 60, FOLDERS, typical_size=1500),
            owner=(dovecot.uid, dovecot.gid),
        )
        rows.append(f"{name}@contoso.com,imaps://{login}@localhost:{dovecot.tls_port}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "waystation", "batch", "export", tmp_path / "root"),
            *("--list", tmp_path / "list.csv", "--ca-file", dovecot.ca_file),
            *("--password-env", "DOVECOT_PASSWORD"),
        ],
        env=os.environ | {"DOVECOT_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return tmp_path / "root"


@pytest.fixture
def puller(root: Path) -> Iterator[Puller]:
    """The server of the cookbook over these archives, in a place that it can enter."""
    pull = Path("/tmp") / f"pull-{os.getpid()}"
    shutil.rmtree(pull, ignore_errors=True)
    pull.mkdir(mode=0o755)
    try:
        archives = pull / "archives"
        shutil.copytree(root, archives, symlinks=True)
        (pull / "dovecot").mkdir()
        server = Puller(pull / "dovecot", pull)
        who, group = pwd.getpwuid(server.uid).pw_name, grp.getgrgid(server.gid).gr_name

        def here(text: str) -> str:
            for there, mine in (
                ("/srv/archives", str(archives)),
                ("/srv/pull/cert.pem", "/srv/pull/cert.pem\0"),
                ("/srv/pull/key.pem", "/srv/pull/key.pem\0"),
            ):
                text = text.replace(there, mine)
            text = re.sub(r"/srv/pull/(?!\w+\.pem\0)", f"{pull}/", text).replace("\0", "")
            text = text.replace("-g waypull", f"-g {group}").replace("gid=waypull", f"gid={group}")
            return (
                text.replace("chgrp -R waypull", f"chgrp -R {group}")
                .replace("waypull:waypull", f"{who}:{group}")
                .replace("waypull", who)
            )

        (pull / "acl").write_text(block("acl"))
        names = sorted(path.name for path in archives.iterdir() if "@" in path.name)
        own = hashed(OWN_PASSWORD)
        (pull / "users").write_text(
            "".join(f"{name}:{own if name.startswith('A') else ''}::\n" for name in names)
        )
        (pull / "masters").write_text(f"{MASTER}:{hashed(MASTER_PASSWORD)}\n")
        once = [line for line in block("sh").splitlines() if not line.startswith("adduser")]
        keywords = [line for line in block("sh", 1).splitlines() if not line.startswith("dovecot")]
        script = here("\n".join(["set -e", *once, *keywords]))
        subprocess.run(["sh", "-c", script], check=True)
        if os.geteuid():  # the same user: what root does by owner and group is done by mode
            subprocess.run(["chmod", "-R", "a-w", str(archives)], check=True)
        server.text = here(block("dovecot"))
        with server:
            yield server
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(pull)], check=False)
        shutil.rmtree(pull, ignore_errors=True)


def test_dovecot_over_the_archives_shows_what_was_archived_and_changes_nothing(
    dovecot: Dovecot, user: str, puller: Puller
) -> None:
    archives = puller.archives
    before = tree(archives)
    tls = ssl.create_default_context(cafile=str(puller.ca_file))

    for number, name in enumerate(("Ada", "bob", "eve")):
        old = snapshot(dovecot.host, dovecot.port, f"{user}-{number}", PASSWORD)
        wanted = {folder: messages for folder, messages in old.items() if messages}
        login = f"{name}@contoso.com*{MASTER}"
        seen = snapshot(puller.host, puller.tls_port, login, MASTER_PASSWORD, tls=tls)
        assert differences(wanted, {k: v for k, v in seen.items() if v}) == []
        assert any(message.keywords for messages in seen.values() for message in messages)
        assert any(message.flags for messages in seen.values() for message in messages)
    own = snapshot(puller.host, puller.tls_port, "Ada@contoso.com", OWN_PASSWORD, tls=tls)
    assert sum(map(len, own.values())) == 60

    assert tree(archives) == before
    checked = [sys.executable, "-m", "waystation", "batch", "check", str(archives)]
    assert subprocess.run(checked, capture_output=True, check=False).returncode == 0


def test_nobody_can_change_anything_there_or_get_in_without_a_password(puller: Puller) -> None:
    archives = puller.archives
    before = tree(archives)
    tls = ssl.create_default_context(cafile=str(puller.ca_file))
    with imaplib.IMAP4_SSL(puller.host, puller.tls_port, ssl_context=tls) as client:
        client.login(f"bob@contoso.com*{MASTER}", MASTER_PASSWORD)
        with pytest.raises(imaplib.IMAP4.readonly):
            client.select("INBOX")
        client.is_readonly = True  # so that the library itself lets the rest through
        # To these Dovecot says OK, and does nothing.
        client._simple_command("STORE", "1", "+FLAGS", "(\\Deleted)")
        client._simple_command("EXPUNGE")
        flags = client.fetch("1", "(FLAGS)")[1][0]
        answers = [
            client.append("INBOX", "", "", b"Subject: new\r\n\r\n")[0],
            client.create("Mine")[0],
            client.delete("Sent")[0],
        ]
        client._simple_command("FETCH", "1", "(BODY[])")  # which would set \Seen
    refused = [
        ("bob@contoso.com", ""),
        ("bob@contoso.com", "x"),
        (f"bob@contoso.com*{MASTER}", "x"),
    ]
    for login, password in (*refused, ("Ada@contoso.com", MASTER_PASSWORD)):
        with (
            imaplib.IMAP4_SSL(puller.host, puller.tls_port, ssl_context=tls) as client,
            pytest.raises(imaplib.IMAP4.error),
        ):
            client.login(login, password)

    assert answers == ["NO"] * 3
    assert isinstance(flags, bytes)
    assert b"\\Deleted" not in flags
    assert tree(archives) == before
