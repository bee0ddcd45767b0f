"""An administrator opens mailboxes with a password of their own, on a real Dovecot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import NO_DOVECOT
from tests.fakes.imap_server import ImapServer
from tests.fakes.mailbox import Mailboxes
from tests.servers.dovecot import Dovecot, has_pop3, is_available
from waystation.address import parse_account
from waystation.errors import SignInError
from waystation.imap import ImapSession
from waystation.pop3 import Pop3Session
from waystation.session import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

MASTER = "s3cret-of-the-master"
MASTER_USER = f"""
auth_master_user_separator = *
passdb {{
  driver = static
  master = yes
  username_filter = admin
  args = password={MASTER}
}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    if not is_available():
        pytest.skip(NO_DOVECOT)
    with Dovecot(extra=MASTER_USER, pop3=has_pop3()) as running:
        yield running


def names(server: Dovecot, text: str, password: str, admin: str | None = None) -> set[str]:
    account = parse_account(text)
    if admin is not None:
        account = account.opened_by(admin)
    with ImapSession.open(account, password, Connection(server.ca_file, timeout=20)) as session:
        return {folder.name for folder in session.folders()}


@pytest.fixture
def mailbox(server: Dovecot, user: str) -> str:
    """A mailbox with a folder that no other has."""
    server.doveadm("mailbox", "create", "-u", user, f"of-{user}")
    return user


@pytest.mark.server
@pytest.mark.parametrize("scheme", ["imaps", "imap"])
def test_a_master_user_opens_a_mailbox_by_authorisation_identity(
    server: Dovecot, mailbox: str, scheme: str
) -> None:
    port = server.tls_port if scheme == "imaps" else server.port

    found = names(server, f"{scheme}://{mailbox}@localhost:{port}", MASTER, "admin")

    assert f"of-{mailbox}" in found


@pytest.mark.server
def test_a_master_user_may_also_stand_in_the_user_name(server: Dovecot, mailbox: str) -> None:
    found = names(server, f"imaps://{mailbox}*admin@localhost:{server.tls_port}", MASTER)

    assert f"of-{mailbox}" in found


@pytest.mark.server
def test_a_master_user_with_a_wrong_password_opens_nothing(server: Dovecot, mailbox: str) -> None:
    with pytest.raises(SignInError) as caught:
        names(server, f"imaps://{mailbox}@localhost:{server.tls_port}", server.password, "admin")

    assert f"refused the sign-in of admin for {mailbox}" in str(caught.value)
    assert "Check the administrator's name and password" in str(caught.value)
    assert f" {server.password}" not in str(caught.value)


@pytest.mark.server
@pytest.mark.skipif(not has_pop3(), reason="no Dovecot with POP3 here")
@pytest.mark.parametrize("name", ["{user}", "{user}*admin"])
def test_a_master_user_opens_a_mailbox_by_pop3(server: Dovecot, user: str, name: str) -> None:
    server.doveadm("save", "-u", user, "-m", "INBOX", data=b"Subject: hello\r\n\r\n")
    login = name.format(user=user)
    account = parse_account(f"pop3s://{login}@localhost:{server.pop3s_port}")
    if login == user:
        account = account.opened_by("admin")

    with Pop3Session.open(account, MASTER, Connection(server.ca_file, timeout=20)) as session:
        assert session.count() == 1


@pytest.mark.server
@pytest.mark.skipif(not has_pop3(), reason="no Dovecot with POP3 here")
def test_by_pop3_too_the_local_part_is_the_login_where_the_provider_wants_it(
    server: Dovecot, user: str
) -> None:
    server.doveadm("save", "-u", user, "-m", "INBOX", data=b"Subject: hello\r\n\r\n")
    account = parse_account(f"web.de+pop3:{user}@web.de").at("localhost", server.pop3s_port)

    connection = Connection(server.ca_file, timeout=20)
    with Pop3Session.open(account, server.password, connection) as session:
        assert session.count() == 1


def test_without_plain_nobody_signs_in_for_somebody_else() -> None:
    with ImapServer(Mailboxes({"alice": MASTER}), plaintext_login=False) as server:
        account = parse_account(f"imap://alice@localhost:{server.port}").opened_by("admin")

        with pytest.raises(SignInError, match="offers no AUTH=PLAIN"):
            ImapSession.open(account, MASTER, Connection(allow_plaintext=True, timeout=20))

    assert server.commands("LOGIN") == 0


def test_the_keyring_has_an_administrators_password_once() -> None:
    alice = parse_account("imaps://alice@mail.example.net").opened_by("admin")
    bob = parse_account("imaps://bob@mail.example.net").opened_by("admin")

    assert alice.password_key == bob.password_key == "imaps://admin@mail.example.net:993"
    assert alice.key == "imaps://alice@mail.example.net:993"
