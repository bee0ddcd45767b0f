"""Sessions by token, with a server that does what Exchange Online is reported to do."""

from __future__ import annotations

import base64
import io
import logging
from typing import TYPE_CHECKING

import pytest

from tests.fakes.certificates import TestAuthority
from tests.fakes.imap_server import Answer, Cut, ImapServer, Raw
from tests.fakes.imap_wire import Ending
from tests.fakes.mailbox import Mailboxes
from tests.wire.support import Server
from waystation.address import parse_account
from waystation.errors import (
    ConnectionLostError,
    NotConnectedError,
    RefusedError,
    SessionExpiredError,
    SignInError,
    backoff_of,
)
from waystation.imap import ImapSession
from waystation.session import Connection
from waystation.token import Token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.signin.conftest import Clock

BOB = "bob@contoso.com"
AFTER_SIGN_IN = (
    "IMAP4rev2",
    "CLIENTACCESSRULES",
    "CLIENTNETWORKPRESENCELOCATION",
    "BACKENDAUTHENTICATE",
    "CHILDREN",
    "IDLE",
)
CLAIMS = base64.urlsafe_b64encode(
    b'{"aud":"https://outlook.office365.com","idtyp":"app","roles":["IMAP.AccessAsApp"]}'
).decode()
EXPIRED = b"* BYE Session invalidated - AccessTokenExpired\r\n"


class Purse:
    """A source of numbered tokens."""

    tenant = "contoso.com"
    is_app_only = True

    def __init__(self, clock: Clock, *, first_is_fresh: bool = True) -> None:
        self._clock = clock
        self._first_is_fresh = first_is_fresh
        self._given: Token | None = None
        self.count = 0
        self.discarded: list[str] = []

    def token(self) -> Token:
        if self._given is None:
            self.count += 1
            fresh = self.count > 1 or self._first_is_fresh
            name = f"header.{CLAIMS}.token-number-{self.count}"
            self._given = Token.of(name, 3600, self._clock(), is_fresh=fresh)
        return self._given

    def must_renew(self, token: Token) -> bool:
        return self._clock() >= token.renew_at

    def is_expired(self, token: Token) -> bool:
        return self._clock() >= token.expires_at

    def discard(self, token: Token) -> None:
        self.discarded.append(token.secret.rpartition(".")[2])
        self._given = None


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def mailboxes() -> Mailboxes:
    mailboxes = Mailboxes({BOB: "no password opens this"})
    mailboxes[BOB].takes = lambda token: ".token-number-" in token
    return mailboxes


@pytest.fixture
def exchange(authority: TestAuthority, mailboxes: Mailboxes) -> Iterator[ImapServer]:
    with ImapServer(mailboxes, tls=authority, extra_capabilities=AFTER_SIGN_IN) as server:
        yield server


@pytest.fixture
def purse(clock: Clock) -> Purse:
    return Purse(clock)


def open_session(server: ImapServer, authority: TestAuthority, purse: Purse | str) -> ImapSession:
    account = parse_account(f"office365:{BOB}").at("localhost", server.port)
    return ImapSession.open(account, purse, Connection(authority.ca_file, timeout=10))


def sent(server: ImapServer) -> list[bytes]:
    return [line.split(b" ", 1)[1] for _, side, line in server.log if side == "C" and b" " in line]


def test_a_token_opens_the_mailbox_in_one_round_trip(
    exchange: ImapServer, authority: TestAuthority, purse: Purse
) -> None:
    with open_session(exchange, authority, purse) as session:
        assert session.is_exchange
        assert [folder.name for folder in session.folders()] == ["INBOX"]

    words = [line.split()[0] for line in sent(exchange)]
    signed_in = words.index(b"AUTHENTICATE")
    assert words[signed_in + 1 : signed_in + 3] == [b"CAPABILITY", b"NAMESPACE"]
    assert b"<authentication>" not in words
    assert exchange.commands("LOGIN") == 0


def test_without_sasl_ir_the_token_goes_when_it_is_asked_for(
    authority: TestAuthority, mailboxes: Mailboxes, purse: Purse
) -> None:
    with (
        ImapServer(mailboxes, tls=authority, sasl_ir=False) as server,
        open_session(server, authority, purse) as session,
    ):
        assert session.folders()


def test_a_challenge_after_a_refusal_is_answered_and_told_at_debug(
    exchange: ImapServer,
    authority: TestAuthority,
    mailboxes: Mailboxes,
    purse: Purse,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "waystation")
    mailboxes[BOB].takes = lambda _: False

    with pytest.raises(SignInError, match="New-ServicePrincipal"):
        open_session(exchange, authority, purse)

    assert '"status":"400"' in caplog.text
    assert "token-number" not in caplog.text
    assert base64.b64encode(b"token-number-1").decode()[:-4] not in caplog.text


def test_a_plain_refusal_is_a_sign_in_error(
    exchange: ImapServer, authority: TestAuthority, purse: Purse
) -> None:
    exchange.script.on("AUTHENTICATE", Answer(b"NO AUTHENTICATE failed."))

    with pytest.raises(SignInError, match=r"refused \(AUTHENTICATE failed\)") as caught:
        open_session(exchange, authority, purse)

    assert caught.value.exit_code == 12
    assert purse.count == 1
    assert "token-number" not in str(caught.value)


def test_a_kept_token_that_is_not_taken_is_replaced_once(
    exchange: ImapServer, authority: TestAuthority, clock: Clock
) -> None:
    purse = Purse(clock, first_is_fresh=False)
    exchange.script.on("AUTHENTICATE", Answer(b"NO AUTHENTICATE failed."), times=1)

    with open_session(exchange, authority, purse) as session:
        assert session.token is not None
        assert session.token.secret.endswith(".token-number-2")

    assert purse.discarded == ["token-number-1"]


def test_no_password_is_ever_sent_to_office_365(
    exchange: ImapServer, authority: TestAuthority
) -> None:
    with pytest.raises(SignInError, match="takes no passwords"):
        open_session(exchange, authority, "a password")

    assert exchange.commands("LOGIN") == exchange.commands("AUTHENTICATE") == 0


def test_a_server_without_xoauth2_gets_no_token(
    authority: TestAuthority, mailboxes: Mailboxes, purse: Purse
) -> None:
    with (
        ImapServer(mailboxes, tls=authority, xoauth2=False) as server,
        pytest.raises(SignInError, match="Check --server"),
    ):
        open_session(server, authority, purse)


@pytest.mark.parametrize("namespace", [True, False])
def test_a_mailbox_that_stays_shut_shows_at_once(
    authority: TestAuthority, mailboxes: Mailboxes, purse: Purse, namespace: bool
) -> None:
    shut = Answer(b"BAD User is authenticated but not connected.")
    with ImapServer(mailboxes, tls=authority, namespace=namespace) as server:
        server.script.on("NAMESPACE", shut)
        server.script.on("LIST", shut)
        with pytest.raises(NotConnectedError) as caught:
            open_session(server, authority, purse)

    assert "Add-MailboxPermission -Identity bob@contoso.com" in str(caught.value)
    assert "ENTERPRISE APPLICATION" in str(caught.value)


def test_exchange_is_plain_imap4rev1_whatever_it_announces(
    exchange: ImapServer, authority: TestAuthority, purse: Purse
) -> None:
    with open_session(exchange, authority, purse) as session:
        can = {
            word
            for word in ("UIDPLUS", "MOVE", "NAMESPACE", "LITERAL+", "IDLE", "CHILDREN", "UNSELECT")
            if session.has(word)
        }
        cannot = [
            word
            for word in ("IMAP4REV2", "ENABLE", "CONDSTORE", "SPECIAL-USE", "CLIENTACCESSRULES")
            if session.has(word)
        ]
        session.folders()
        session.select(b"INBOX", read_only=False)

    assert can == {"UIDPLUS", "MOVE", "NAMESPACE", "LITERAL+", "IDLE", "CHILDREN", "UNSELECT"}
    assert cannot == []
    assert exchange.commands("ENABLE") == 0
    assert not any(b"RETURN" in line for line in sent(exchange))


def test_exchange_is_known_by_what_it_announces_where_no_preset_says_it(
    authority: TestAuthority, mailboxes: Mailboxes
) -> None:
    account = f"imaps://{BOB}@localhost"
    password = "no password opens this"
    connection = Connection(authority.ca_file, timeout=10)
    for extra, is_exchange in ((AFTER_SIGN_IN, True), ((), False)):
        with ImapServer(mailboxes, tls=authority, extra_capabilities=extra) as server:
            named = parse_account(f"{account}:{server.port}")
            with ImapSession.open(named, password, connection) as session:
                assert session.is_exchange is is_exchange
                assert session.has("CONDSTORE") is not is_exchange
                assert not session.must_renew


def test_it_is_time_for_a_new_connection_five_minutes_before_the_token_ends(
    exchange: ImapServer, authority: TestAuthority, purse: Purse, clock: Clock
) -> None:
    with open_session(exchange, authority, purse) as session:
        clock.now += 3299
        assert not session.must_renew
        clock.now += 1
        assert session.must_renew


@pytest.mark.parametrize("tagged_too", [False, True])
def test_a_token_that_ends_first_is_routine_and_not_used_again(
    exchange: ImapServer, authority: TestAuthority, purse: Purse, tagged_too: bool
) -> None:
    tail = b"%TAG% BAD Command received in Invalid state.\r\n" if tagged_too else b""
    exchange.script.on("SELECT", Raw(EXPIRED + tail), times=1)
    exchange.script.on("SELECT", Cut(Ending.FIN), times=1)

    with (
        pytest.raises(SessionExpiredError) as caught,
        open_session(exchange, authority, purse) as session,
    ):
        session.select(b"INBOX", read_only=False)

    assert caught.value.retriable
    assert purse.discarded == ["token-number-1"]
    with open_session(exchange, authority, purse) as session:
        session.select(b"INBOX", read_only=False)
    assert purse.count == 2


def test_a_token_that_ends_while_a_message_is_sent_shows_too(
    exchange: ImapServer, authority: TestAuthority, purse: Purse
) -> None:
    exchange.script.on("APPEND", Raw(EXPIRED), times=1)
    message = b"Subject: x\r\n\r\nx\r\n"
    with open_session(exchange, authority, purse) as session:
        session.wire.send_append(
            b"INBOX", [], None, io.BytesIO(message), len(message), synchronising=True
        )
        with pytest.raises(SessionExpiredError):
            session.wire.next_tagged()


def test_the_last_words_count_even_where_sending_fails_first() -> None:
    with Server() as server:
        server.theirs.sendall(b"* 1 EXISTS\r\n" + EXPIRED)
        server.theirs.close()

        with pytest.raises(SessionExpiredError):
            server.stream.send_octets(b"x" * 1_000_000)


@pytest.mark.parametrize("status", [b"NO", b"BAD"])
def test_a_throttled_answer_says_how_long_to_wait(
    exchange: ImapServer, authority: TestAuthority, purse: Purse, status: bytes
) -> None:
    words = b"Request is throttled. Suggested Backoff Time: 299609 milliseconds"
    exchange.script.on("SELECT", Answer(status + b" " + words))
    with (
        pytest.raises(RefusedError) as caught,
        open_session(exchange, authority, purse) as session,
    ):
        session.select(b"INBOX", read_only=False)

    assert caught.value.backoff == 299.609
    assert caught.value.retriable


def test_a_throttled_goodbye_says_how_long_to_wait_in_the_servers_words(
    exchange: ImapServer, authority: TestAuthority, purse: Purse
) -> None:
    words = b"BYE Request is throttled. Suggested Backoff Time: 89117 milliseconds"
    exchange.script.on("SELECT", Answer(words))
    with (
        pytest.raises(ConnectionLostError, match="Suggested Backoff Time") as caught,
        open_session(exchange, authority, purse) as session,
    ):
        session.select(b"INBOX", read_only=False)

    assert caught.value.backoff == 89.117
    assert not isinstance(caught.value, SessionExpiredError)


def test_a_throttled_answer_with_a_goodbye_glued_on_is_heard_first(
    exchange: ImapServer, authority: TestAuthority, purse: Purse
) -> None:
    exchange.script.on(
        "SELECT",
        Raw(
            b"%TAG% BAD Request is throttled. Suggested Backoff Time: 89117 milliseconds\r\n"
            b"* BYE Connection closed. 14\r\n"
        ),
    )
    with open_session(exchange, authority, purse) as session:
        with pytest.raises(RefusedError) as caught:
            session.select(b"INBOX", read_only=False)
        assert caught.value.backoff == 89.117
        with pytest.raises(ConnectionLostError, match=r"Connection closed\. 14"):
            session.wire.converse(b"NOOP")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Request is throttled. Suggested Backoff Time: 92415 milliseconds", 92.415),
        ("request is THROTTLED. suggested backoff time=5", 0.005),
        ("Request is throttled. Suggested Backoff Time: 99999999999999999999 ms", 600.0),
        ("Request is throttled.", None),
        ("Server Unavailable. 15", None),
    ],
)
def test_a_backoff_is_read_out_of_any_words(text: str, seconds: float | None) -> None:
    assert backoff_of(text) == seconds
