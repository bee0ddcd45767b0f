"""How a POP3 connection becomes a session: which way in is taken, and what is never said."""

from __future__ import annotations

import logging
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from tests.fakes.pop3_server import MODERN, Mail, Pop3Server
from tests.servers.dovecot import PASSWORD, Dovecot, has_pop3
from tests.servers.identity import OUTLOOK, USER, IdentityProvider
from tests.signin.test_dovecot import Given
from waystation.address import Account, parse_account
from waystation.errors import (
    CertificateError,
    NoEncryptionError,
    ProtocolError,
    RefusedError,
    SignInError,
    UsageError,
)
from waystation.pop3 import Pop3Session
from waystation.session import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waystation.signin import Credential

OPEN = Connection(allow_plaintext=True, timeout=20)
STAMP = "<1896.697170952@dbc.mtview.ca.us>"


@pytest.fixture
def server() -> Iterator[Pop3Server]:
    with Pop3Server([Mail("a", b"Subject: a\r\n\r\na\r\n")]) as running:
        yield running


def sign_in(
    server: Pop3Server, credential: Credential = "secret", connection: Connection = OPEN
) -> int:
    account = parse_account(f"pop3://alice@127.0.0.1:{server.port}")
    with Pop3Session.open(account, credential, connection) as session:
        return session.count()


def names(server: Pop3Server) -> list[str]:
    return [command.split(" ")[0] for command in server.commands]


def test_addresses_have_their_ports_and_one_key_each() -> None:
    assert parse_account("pop3s://a@B.example").key == "pop3s://a@b.example:995"
    assert parse_account("pop3://a@b.example").port == 110
    assert parse_account("pop3://a@b.example").protocol == "pop3"
    with pytest.raises(UsageError, match="never part of the server's name"):
        parse_account("pop3s://a:b@c.example")


def test_user_and_pass_where_the_server_says_nothing_else(server: Pop3Server) -> None:
    assert sign_in(server) == 1
    assert "USER" in names(server)

    server.script.capabilities = None
    assert sign_in(server) == 1


def test_plain_where_it_is_offered(server: Pop3Server) -> None:
    server.script.capabilities = (*MODERN, "SASL PLAIN LOGIN")

    assert sign_in(server) == 1

    assert "AUTH PLAIN" in server.commands
    assert "PASS" not in names(server)


def test_on_an_open_line_apop_spares_the_password_and_nothing_comes_after_it(
    server: Pop3Server,
) -> None:
    server.script.stamp = STAMP

    assert sign_in(server) == 1
    with pytest.raises(SignInError):
        sign_in(server, "wrong")

    assert not any("secret" in command or "PASS" in command for command in server.commands)


def test_apop_is_no_way_around_encryption(server: Pop3Server) -> None:
    server.script.stamp = STAMP

    with pytest.raises(NoEncryptionError, match="offers no STLS"):
        sign_in(server, connection=Connection(timeout=20))

    assert server.commands == ["CAPA"]


def test_a_wrong_password_is_told_without_it(
    server: Pop3Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.script.capabilities = (*MODERN, "SASL PLAIN")
    server.script.sign_in = ["-ERR [AUTH] not this one: hunter2-hunter2"]

    with pytest.raises(SignInError, match="POP3 to be switched on") as caught:
        sign_in(server, "hunter2-hunter2")

    response = b64encode(b"\0alice\0hunter2-hunter2").decode()
    for told in (str(caught.value), caplog.text):
        assert "hunter2" not in told
        assert response not in told
    assert caplog.text


def test_a_sign_in_that_is_put_off_is_no_wrong_password(server: Pop3Server) -> None:
    for code in ("[IN-USE]", "[SYS/TEMP]", "[LOGIN-DELAY]"):
        server.script.sign_in = [f"-ERR {code} come again"]
        with pytest.raises(RefusedError) as caught:
            sign_in(server)
        assert caught.value.retriable
    server.script.sign_in = ["-ERR [SYS/PERM] no mailbox"]
    with pytest.raises(SignInError, match="no mailbox"):
        sign_in(server)


def test_a_password_that_would_be_two_commands_is_refused_here(server: Pop3Server) -> None:
    with pytest.raises(SignInError, match="line ends"):
        sign_in(server, "a\r\nDELE 1")


def test_a_short_token_goes_on_one_line_and_a_long_one_on_two(server: Pop3Server) -> None:
    for token in ("ya29.short", "x" * 1500):
        server.commands.clear()
        server.script.token = token

        assert sign_in(server, Given(token)) == 1

        response = b64encode(f"user=alice\1auth=Bearer {token}\1\1".encode()).decode()
        is_short = f"AUTH XOAUTH2 {response}" in server.commands
        assert is_short is (len(token) < 100)
        assert is_short or [*server.commands].count(response) == 1


def test_microsoft_gets_even_a_short_token_on_a_line_of_its_own(server: Pop3Server) -> None:
    server.script.token = "short"
    account = Account(
        "office365:alice", "alice", "127.0.0.1", server.port, "starttls", provider="office365",
        protocol="pop3",
    )  # fmt: skip

    Pop3Session.open(account, Given("short"), OPEN).close()

    assert "AUTH XOAUTH2" in server.commands
    with pytest.raises(SignInError, match="takes no passwords"):
        Pop3Session.open(account, "secret", OPEN)


def test_a_token_that_is_not_taken_is_told_without_it(
    server: Pop3Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.script.token = "another"

    with pytest.raises(SignInError, match="was refused") as caught:
        sign_in(server, Given("not-this-token"))

    assert "not-this-token" not in str(caught.value) + caplog.text
    assert '"401"' in caplog.text  # what the server's challenge means


def test_where_reading_means_deleting_there_is_no_goodbye(server: Pop3Server) -> None:
    server.script.capabilities = (*MODERN, "EXPIRE 0")

    assert sign_in(server) == 1

    assert not {"QUIT", "RSET", "DELE"} & set(names(server))


def test_what_is_no_pop3_server_is_named_so(server: Pop3Server) -> None:
    server.script.garbage = {1}
    account = parse_account(f"pop3s://alice@127.0.0.1:{server.port}")

    with pytest.raises(ProtocolError, match="no TLS comes about"):
        Pop3Session.open(account, "secret", OPEN)


# On Dovecot


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with IdentityProvider(tmp_path_factory.mktemp("identity")) as running:
        yield running


@pytest.fixture(scope="module")
def pop3_dovecot(identity: IdentityProvider) -> Iterator[Dovecot]:
    if not has_pop3():
        pytest.skip("no Dovecot with POP3 here (Debian 12: apt-get install dovecot-pop3d)")
    with Dovecot(pop3=True, identity=identity) as running:
        yield running


@pytest.mark.server
@pytest.mark.parametrize("scheme", ["pop3", "pop3s"])
def test_dovecot_lets_in_over_tls_by_password(
    scheme: str, pop3_dovecot: Dovecot, user: str
) -> None:
    port = pop3_dovecot.pop3_port if scheme == "pop3" else pop3_dovecot.pop3s_port
    account = parse_account(f"{scheme}://{user}@localhost:{port}")

    with Pop3Session.open(account, PASSWORD, Connection(pop3_dovecot.ca_file)) as session:
        assert session.count() == 0
    with pytest.raises(SignInError):
        Pop3Session.open(account, "wrong", Connection(pop3_dovecot.ca_file))
    with pytest.raises(CertificateError):
        Pop3Session.open(account, PASSWORD, Connection())


@pytest.mark.server
@pytest.mark.parametrize("provider", [None, "office365"])
def test_dovecot_lets_in_with_a_token_on_two_lines(
    provider: str | None, pop3_dovecot: Dovecot, identity: IdentityProvider
) -> None:
    account = Account(
        "bob", USER, "localhost", pop3_dovecot.pop3s_port, "tls", provider=provider,
        protocol="pop3",
    )  # fmt: skip
    token = Given(identity.issue(user=USER, audience=OUTLOOK))

    with Pop3Session.open(account, token, Connection(pop3_dovecot.ca_file)) as session:
        assert session.count() == 0
    wrong = Given(identity.issue(user="eve@contoso.example"))
    with pytest.raises(SignInError):
        Pop3Session.open(account, wrong, Connection(pop3_dovecot.ca_file))


@pytest.mark.server
def test_dovecot_lets_in_with_a_long_token_on_one_line_as_google_wants_it(
    pop3_dovecot: Dovecot, identity: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waystation.pop3._ONE_LINE_HOSTS", ("localhost",))
    account = parse_account(f"pop3s://{USER}@localhost:{pop3_dovecot.pop3s_port}")
    token = Given(identity.issue(user=USER, audience=OUTLOOK))

    with Pop3Session.open(account, token, Connection(pop3_dovecot.ca_file)) as session:
        assert session.count() == 0


WITHOUT_TLS = """
ssl = no
auth_mechanisms = plain apop
service imap-login {
  inet_listener imaps {
    port = 0
  }
}
service pop3-login {
  inet_listener pop3s {
    port = 0
  }
}
"""


@pytest.mark.server
@pytest.mark.skipif(not has_pop3(), reason="no Dovecot with POP3 here")
def test_dovecot_lets_in_by_apop_on_an_open_line(
    user: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with Dovecot(pop3=True, extra=WITHOUT_TLS) as server:
        account = parse_account(f"pop3://{user}@localhost:{server.pop3_port}")
        with Pop3Session.open(account, PASSWORD, OPEN) as session:
            assert session.count() == 0
        with pytest.raises(SignInError):
            Pop3Session.open(account, "wrong", OPEN)

    # One line each time, where PLAIN and USER take two.
    assert caplog.text.count("C: (struck out)") == 2
