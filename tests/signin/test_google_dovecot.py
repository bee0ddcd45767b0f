"""Google's tokens on a real server: Dovecot asks the authorization server what each is worth."""

from __future__ import annotations

import logging
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from tests.conftest import NO_DOVECOT
from tests.servers.dovecot import Dovecot, has_pop3, is_available
from tests.servers.google import CLIENT, USER, GoogleIdentity
from tests.signin.test_dovecot import Given
from waystation import grants
from waystation.address import parse_account
from waystation.doctor import Outcome, examine
from waystation.errors import SignInError
from waystation.imap import ImapSession
from waystation.pop3 import Pop3Session
from waystation.providers import PROVIDERS
from waystation.session import Connection
from waystation.web import Web

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waystation.token import Tokens

pytestmark = pytest.mark.server

GMAIL = PROVIDERS["gmail"]


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoogleIdentity]:
    with GoogleIdentity(tmp_path_factory.mktemp("google")) as running:
        yield running


@pytest.fixture(scope="module")
def server(google: GoogleIdentity) -> Iterator[Dovecot]:
    if not is_available():
        pytest.skip(NO_DOVECOT)
    with Dovecot(google=google, pop3=has_pop3()) as running:
        yield running


def tokens(google: GoogleIdentity, user: str = USER) -> Tokens:
    """Tokens of a service account that may act for everybody."""
    assert GMAIL.oauth is not None
    client = grants.Client(GMAIL, GMAIL.oauth.at(google.base.removeprefix("https://")), CLIENT)
    google.users.add(user)
    service = grants.ServiceAccount.read(google.service_account())
    return grants.service_tokens(client, service, user, Web(google.ca_file, 10))


def test_imap_lets_in_with_an_opaque_token_and_with_no_other(
    google: GoogleIdentity, server: Dovecot
) -> None:
    account = parse_account(f"gmail:{USER}").at("localhost", server.tls_port)
    connection = Connection(server.ca_file, timeout=20)

    with ImapSession.open(account, tokens(google), connection) as session:
        assert any(folder.name == "INBOX" for folder in session.folders())
    with pytest.raises(SignInError, match=r"waystation login gmail:alice@gmail\.example"):
        ImapSession.open(account, tokens(google, "eve@gmail.example"), connection)
    assert "/tokeninfo" in {path for path, _ in google.requests}


def test_a_token_that_is_not_taken_is_asked_for_once_more_and_no_oftener(
    google: GoogleIdentity, server: Dovecot
) -> None:
    account = parse_account(f"gmail:{USER}").at("localhost", server.tls_port)

    with pytest.raises(SignInError, match="was refused"):
        ImapSession.open(account, Given("ya29.made-up"), Connection(server.ca_file, timeout=20))


@pytest.mark.parametrize("host", ["gmail", "another"])
def test_pop3_lets_in_with_a_token_on_one_line_and_on_two(
    google: GoogleIdentity, server: Dovecot, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    if not has_pop3():
        pytest.skip("no Dovecot with POP3 here (Debian 12: apt-get install dovecot-pop3d)")
    caplog.set_level(logging.DEBUG)
    name = f"gmail+pop3:{USER}" if host == "gmail" else f"pop3s://{USER}@localhost"
    account = parse_account(name).at("localhost", server.pop3s_port)
    source = tokens(google)

    with Pop3Session.open(account, source, Connection(server.ca_file, timeout=20)) as session:
        assert session.count() == 0

    response = b64encode(f"user={USER}\1auth=Bearer {source.token().secret}\1\1".encode())
    assert len(response) > 255  # longer than a command of POP3 may be
    assert caplog.text.count("C: (struck out)") == (1 if host == "gmail" else 2)
    assert response.decode() not in caplog.text


def test_the_doctor_walks_google_s_token_step_too(google: GoogleIdentity, server: Dovecot) -> None:
    account = parse_account(f"gmail:{USER}").at("localhost", server.tls_port)
    source = tokens(google)

    steps = list(
        examine(account, lambda: source, Connection(server.ca_file, timeout=20), by_token=True)
    )

    assert {step.outcome for step in steps} == {Outcome.OK}
    token = next(step for step in steps if step.name == "token")
    assert token.facts["scopes"] == ["https://mail.google.com/"]
    assert "localhost gives a token for alice@gmail.example" in token.text
    assert source.token().secret not in token.text
