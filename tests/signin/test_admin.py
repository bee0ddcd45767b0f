"""An administrator opens mailboxes with a password of their own, on a real Dovecot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import NO_DOVECOT
from tests.fakes.imap_server import ImapServer
from tests.fakes.mailbox import Mailboxes
from tests.servers.dovecot import Dovecot, is_available
from waystation.address import parse_account
from waystation.errors import SignInError
from waystation.imap import Connection, ImapSession

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
    with Dovecot(extra=MASTER_USER) as running:
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
