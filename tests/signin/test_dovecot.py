"""Real XOAUTH2: Dovecot, which proves each token's signature, audience, issuer, time and user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import NO_DOVECOT
from tests.servers.dovecot import Dovecot, is_available
from tests.servers.identity import CLIENT, GRAPH, OUTLOOK, SECRET, USER, IdentityProvider
from waystation import oauth
from waystation.address import parse_account
from waystation.doctor import Outcome, examine
from waystation.errors import SignInError
from waystation.imap import ImapSession
from waystation.session import Connection
from waystation.token import Token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from waystation.address import Account
    from waystation.doctor import Step
    from waystation.signin import Credential

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with IdentityProvider(tmp_path_factory.mktemp("identity")) as running:
        yield running


@pytest.fixture(scope="module")
def server(identity: IdentityProvider) -> Iterator[Dovecot]:
    if not is_available():
        pytest.skip(NO_DOVECOT)
    with Dovecot(identity=identity) as running:
        yield running


@pytest.fixture
def connection(server: Dovecot) -> Connection:
    return Connection(server.ca_file, timeout=20)


class Given:
    """A source of one token that somebody else made."""

    tenant = ""
    is_app_only = False

    def __init__(self, secret: str, *, is_expired: bool = False) -> None:
        self._token = Token.of(secret, 3600, 0)
        self._is_expired = is_expired

    def token(self) -> Token:
        return self._token

    def must_renew(self, token: Token) -> bool:
        return False

    def is_expired(self, token: Token) -> bool:
        return self._is_expired

    def discard(self, token: Token) -> None:
        """There is no other."""


def account(server: Dovecot, user: str = USER) -> Account:
    return parse_account(f"office365:{user}").at("localhost", server.tls_port)


def walk(
    server: Dovecot, credential: Credential, connection: Connection, *, write: bool = False
) -> list[Step]:
    return list(examine(account(server), lambda: credential, connection, write=write))


def test_an_applications_token_opens_any_mailbox(
    identity: IdentityProvider, server: Dovecot, connection: Connection
) -> None:
    registration = oauth.Registration(CLIENT, identity.authority, f"{OUTLOOK}/.default")
    web = oauth.Web(identity.ca_file)
    for user in (USER, "eve@contoso.example"):
        tokens = oauth.app_tokens(registration, oauth.Secret(SECRET), user, web)
        with ImapSession.open(account(server, user), tokens, connection) as session:
            assert any(folder.name == "INBOX" for folder in session.folders())


def test_a_users_token_opens_the_users_mailbox(
    identity: IdentityProvider, server: Dovecot, connection: Connection, tmp_path: Path
) -> None:
    scope = "https://outlook.office.com/IMAP.AccessAsUser.All"
    registration = oauth.Registration(CLIENT, identity.authority, scope)
    web = oauth.Web(identity.ca_file, sleep=lambda _: None)
    store = oauth.Store(tmp_path / "tokens.json", lambda _: None)
    identity.approves_after = 0
    oauth.sign_in_with_code(registration, USER, store, web, lambda _: None)

    tokens = oauth.user_tokens(registration, USER, store, web)
    with ImapSession.open(account(server), tokens, connection) as session:
        assert session.folders()
        assert session.token is not None
        assert session.token.user == USER


def test_a_token_that_has_expired_is_refused_with_a_word_on_the_clock(
    identity: IdentityProvider, server: Dovecot, connection: Connection
) -> None:
    old = Given(identity.issue(user=USER, expires_in=-60), is_expired=True)

    with pytest.raises(SignInError, match=r"token has expired.*clock") as caught:
        ImapSession.open(account(server), old, connection)

    assert caught.value.exit_code == 12


def test_a_token_for_graph_is_refused_with_a_word_on_the_scope(
    identity: IdentityProvider, server: Dovecot, connection: Connection
) -> None:
    wrong = Given(identity.issue(user=USER, audience=GRAPH))

    with pytest.raises(SignInError, match=r"for https://graph\.microsoft\.com.*--scope"):
        ImapSession.open(account(server), wrong, connection)


def test_another_users_token_is_refused_with_the_permission_that_it_lacks(
    identity: IdentityProvider, server: Dovecot, connection: Connection
) -> None:
    eves = Given(identity.issue(user="eve@contoso.example"))

    with pytest.raises(SignInError, match=r"Add-MailboxPermission -Identity bob@.* -User eve@"):
        ImapSession.open(account(server), eves, connection)


def test_a_forged_token_is_refused(
    identity: IdentityProvider, server: Dovecot, connection: Connection, tmp_path: Path
) -> None:
    head, claims, _ = identity.issue(user=USER).split(".")
    _, _, signature = identity.issue(user="eve@contoso.example").split(".")

    with pytest.raises(SignInError, match="Set-CASMailbox"):
        ImapSession.open(account(server), Given(f"{head}.{claims}.{signature}"), connection)


def test_the_doctor_walks_in_and_leaves_nothing_behind(
    identity: IdentityProvider, server: Dovecot, connection: Connection
) -> None:
    mine = Given(identity.issue(user=USER))
    with ImapSession.open(account(server), mine, connection) as session:
        before = {folder.name: session.states([folder]) for folder in session.folders()}

    steps = walk(server, mine, connection, write=True)

    assert [step.name for step in steps] == [
        "name",
        "tls",
        "token",
        "authenticate",
        "namespace",
        "list",
        "write",
    ]
    assert {step.outcome for step in steps} == {Outcome.OK}
    assert steps[-1].facts["folder"] == "Drafts"
    assert steps[-1].facts["removed"] is True
    with ImapSession.open(account(server), mine, connection) as session:
        after = {folder.name: session.states([folder]) for folder in session.folders()}
        messages = {state.exists for states in after.values() for state in states.values()}
    assert before.keys() == after.keys()
    assert messages == {0}


def test_the_doctor_removes_its_own_message_and_no_other(
    identity: IdentityProvider, server: Dovecot, connection: Connection
) -> None:
    mine = Given(identity.issue(user=USER))
    server.doveadm("save", "-u", USER, "-m", "Drafts", data=b"Subject: mine\r\n\r\nx\r\n")
    server.doveadm("flags", "add", "-u", USER, "\\Deleted", "mailbox", "Drafts", "all")

    walk(server, mine, connection, write=True)

    assert server.doveadm("search", "-u", USER, "mailbox", "Drafts", "all").count("\n") == 0
    assert server.doveadm("search", "-u", USER, "mailbox", "Drafts", "subject", "mine")
    server.doveadm("expunge", "-u", USER, "mailbox", "Drafts", "all")


def test_the_doctor_stops_where_the_way_ends(
    identity: IdentityProvider, server: Dovecot, connection: Connection
) -> None:
    steps = walk(server, Given(identity.issue(user=USER, audience=GRAPH)), connection)

    outcomes = {step.name: step.outcome for step in steps}
    assert outcomes["token"] is Outcome.OK
    assert outcomes["authenticate"] is Outcome.FAILED
    assert outcomes["namespace"] is outcomes["list"] is Outcome.SKIPPED
    token = next(step for step in steps if step.name == "token")
    assert token.facts["audience"] == GRAPH
    assert "expires" in token.text
    failed = next(step for step in steps if step.outcome is Outcome.FAILED)
    assert failed.exit_code == 12
    assert failed.mends
