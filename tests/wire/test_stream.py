"""How a connection comes about: TLS or nothing, and no secret anywhere."""

from __future__ import annotations

import base64
import logging
import socket
import traceback
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tests.fakes.certificates import TestAuthority
from tests.fakes.imap_server import Answer, Greeting, ImapServer, Raw
from tests.fakes.mailbox import Mailboxes
from waystation.address import Account, parse_account
from waystation.errors import (
    CertificateError,
    ConnectionLostError,
    NoEncryptionError,
    ProtocolError,
    SignInError,
    UnreachableError,
    UsageError,
    WaystationError,
)
from waystation.imap import ImapSession
from waystation.session import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = 'pa"ss\\ wörd {5}'


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def mailboxes() -> Mailboxes:
    return Mailboxes({"alice": PASSWORD})


@pytest.fixture
def secure(authority: TestAuthority, mailboxes: Mailboxes) -> Iterator[ImapServer]:
    with ImapServer(mailboxes, tls=authority, starttls=True) as server:
        yield server


@pytest.fixture
def plain(mailboxes: Mailboxes) -> Iterator[ImapServer]:
    with ImapServer(mailboxes) as server:
        yield server


def account(server: ImapServer, scheme: str = "imap", host: str = "127.0.0.1") -> Account:
    return parse_account(f"{scheme}://alice@{host}:{server.port}")


def sign_in(
    account: Account,
    password: str = PASSWORD,
    *,
    ca_file: Path | None = None,
    allow_plaintext: bool = False,
    timeout: float = 10,
) -> list[str]:
    """Return the folders that are seen after signing in."""
    connection = Connection(ca_file, allow_plaintext, timeout)
    with ImapSession.open(account, password, connection) as session:
        return [folder.name for folder in session.folders()]


# --- encryption


@pytest.mark.parametrize("allow_plaintext", [False, True])
def test_starttls_is_used_where_it_is_offered(
    secure: ImapServer, authority: TestAuthority, allow_plaintext: bool
) -> None:
    found = sign_in(account(secure), ca_file=authority.ca_file, allow_plaintext=allow_plaintext)

    assert found == ["INBOX"]
    lines = [line for _, side, line in secure.log if side == "C"]
    assert [line.split()[1] for line in lines[:3]] == [b"CAPABILITY", b"STARTTLS", b"CAPABILITY"]


def test_tls_from_the_first_octet(authority: TestAuthority, mailboxes: Mailboxes) -> None:
    with ImapServer(mailboxes, tls=authority) as server:
        assert sign_in(account(server, "imaps"), ca_file=authority.ca_file) == ["INBOX"]
        assert sign_in(account(server, "imaps", "localhost"), ca_file=authority.ca_file)


def test_without_starttls_there_is_no_connection(plain: ImapServer) -> None:
    with pytest.raises(NoEncryptionError, match="--allow-plaintext"):
        sign_in(account(plain))

    assert plain.commands("LOGIN") == plain.commands("AUTHENTICATE") == 0


def test_plaintext_needs_permission(plain: ImapServer) -> None:
    assert sign_in(account(plain), allow_plaintext=True) == ["INBOX"]


@pytest.mark.parametrize("allow_plaintext", [False, True])
def test_a_starttls_that_is_offered_and_refused_is_no_reason_to_go_on(
    secure: ImapServer, allow_plaintext: bool
) -> None:
    secure.script.on("STARTTLS", Answer(b"NO not today"))

    with pytest.raises(NoEncryptionError):
        sign_in(account(secure), allow_plaintext=allow_plaintext)

    assert secure.commands("AUTHENTICATE") == 0


def test_what_is_said_between_starttls_and_tls_is_an_attack(
    secure: ImapServer, authority: TestAuthority
) -> None:
    injected = b"%TAG% OK begin TLS now\r\n* PREAUTH welcome\r\n"
    secure.script.on("STARTTLS", Raw(injected))

    with pytest.raises(ProtocolError, match="between STARTTLS and TLS"):
        sign_in(account(secure), ca_file=authority.ca_file)


def test_a_greeting_from_before_tls_says_nothing(
    secure: ImapServer, authority: TestAuthority
) -> None:
    secure.script.greeting = b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED X-EVIL] hi\r\n"
    connection = Connection(authority.ca_file)

    with ImapSession.open(account(secure), PASSWORD, connection) as session:
        assert session.has("CONDSTORE")
        assert not session.has("X-EVIL")


def test_a_preauth_greeting_cannot_take_the_place_of_tls(secure: ImapServer) -> None:
    secure.script.greeting = b"* PREAUTH welcome\r\n"

    with pytest.raises(NoEncryptionError):
        sign_in(account(secure))


# --- certificates


def test_an_unknown_authority_is_refused(secure: ImapServer) -> None:
    with pytest.raises(CertificateError, match="--ca-file"):
        sign_in(account(secure), allow_plaintext=True)

    assert secure.commands("AUTHENTICATE") == 0


@pytest.mark.parametrize("scheme", ["imap", "imaps"])
@pytest.mark.parametrize("flaw", ["host", "expired", "authority"])
def test_a_certificate_that_proves_nothing_is_refused(
    authority: TestAuthority, mailboxes: Mailboxes, tmp_path: Path, scheme: str, flaw: str
) -> None:
    issuer = TestAuthority(tmp_path) if flaw == "authority" else authority
    context = issuer.server_context(
        ("mail.example.org",) if flaw == "host" else ("127.0.0.1",),
        datetime.now(UTC) - timedelta(days=1) if flaw == "expired" else None,
    )
    with (
        ImapServer(mailboxes, tls=context, starttls=scheme == "imap") as server,
        pytest.raises(CertificateError),
    ):
        sign_in(account(server, scheme), ca_file=authority.ca_file, allow_plaintext=True)

    assert server.commands("AUTHENTICATE") == 0


def test_a_ca_file_that_is_none_is_told_by_its_name(secure: ImapServer, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")

    with pytest.raises(UsageError, match=r"empty\.pem"):
        sign_in(account(secure), ca_file=empty)
    with pytest.raises(UsageError, match=r"missing\.pem.*No such file"):
        sign_in(account(secure), ca_file=tmp_path / "missing.pem")


def test_tls_towards_a_server_without_it_is_told_as_a_wrong_port(plain: ImapServer) -> None:
    with pytest.raises(ProtocolError, match="is the port right"):
        sign_in(account(plain, "imaps"))


# --- servers that are none


def test_a_port_where_nothing_listens_is_unreachable() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(UnreachableError, match=f"port {port}"):
        sign_in(parse_account(f"imaps://alice@127.0.0.1:{port}"))


def test_a_name_that_is_none_is_unreachable() -> None:
    with pytest.raises(UnreachableError):
        sign_in(parse_account(f"imaps://alice@{'a' * 70}.invalid"))


@pytest.mark.parametrize("scheme", ["imap", "imaps"])
def test_a_silent_server_is_given_up(
    mailboxes: Mailboxes, authority: TestAuthority, scheme: str
) -> None:
    if scheme == "imaps":
        with (
            closing(socket.create_server(("127.0.0.1", 0))) as listener,
            pytest.raises(ConnectionLostError, match="nothing came"),
        ):
            sign_in(
                parse_account(f"imaps://alice@127.0.0.1:{listener.getsockname()[1]}"), timeout=0.1
            )
        return
    with ImapServer(mailboxes) as server:
        server.script.greeting = Greeting.SILENCE
        with pytest.raises(ConnectionLostError, match="nothing came"):
            sign_in(account(server), allow_plaintext=True, timeout=0.1)


@pytest.mark.parametrize("scheme", ["imap", "imaps"])
def test_words_of_goodbye_are_told(
    mailboxes: Mailboxes, authority: TestAuthority, scheme: str
) -> None:
    with ImapServer(mailboxes, tls=authority, starttls=scheme == "imap") as server:
        server.script.greeting = b"* BYE [UNAVAILABLE] closed for repairs\r\n"
        with pytest.raises(ConnectionLostError, match="closed for repairs"):
            sign_in(account(server, scheme), ca_file=authority.ca_file, allow_plaintext=True)


def test_a_line_that_never_ends_does_not_fill_the_memory() -> None:
    def flood(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                for _ in range(40):
                    connection.sendall(b"x" * (1 << 20))
            except OSError:
                pass  # the client has had enough

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = Thread(target=flood, args=(listener,))
        thread.start()
        with pytest.raises(ProtocolError, match="longer than"):
            sign_in(
                parse_account(f"imap://alice@127.0.0.1:{listener.getsockname()[1]}"),
                allow_plaintext=True,
            )
        thread.join()


# --- secrets


PASSWORDS = [
    PASSWORD,
    "secret-password",
    'quo"te-and\\back\\slash',
    "with some blanks ",
    "Пароль-密码-🎉",
    "line\r\nbreak-in-it",
    "{100}",
    "x" * 3000,
]


def forms(password: str) -> set[str]:
    """Return the spellings in which a password might turn up."""
    octets = password.encode()
    plain = base64.b64encode(b"\0alice\0" + octets).decode()
    escaped = password.replace("\\", "\\\\").replace('"', '\\"')
    return {password, escaped, base64.b64encode(octets).decode(), plain}


def everything_told(error: BaseException) -> str:
    """Return all that a traceback shows, and what hides behind ``from None``."""
    told = "".join(traceback.format_exception(error))
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None:
            told += f"{each}{each.args!r}{vars(each)!r}"
            waiting += [each.__cause__, each.__context__]
    return told


@pytest.fixture(params=["PLAIN, initial", "PLAIN", "LOGIN"])
def way_in(request: pytest.FixtureRequest, mailboxes: Mailboxes) -> Iterator[ImapServer]:
    with ImapServer(mailboxes, sasl_ir=request.param == "PLAIN, initial") as server:
        if request.param == "LOGIN":
            capabilities = b"* CAPABILITY IMAP4rev1 NAMESPACE\r\n%TAG% OK done\r\n"
            server.script.greeting = b"* OK ready\r\n"
            server.script.on("CAPABILITY", Raw(capabilities))
        yield server


@pytest.mark.parametrize("password", PASSWORDS, ids=range(len(PASSWORDS)))
def test_every_password_opens_the_door_and_is_in_no_log(
    way_in: ImapServer,
    mailboxes: Mailboxes,
    caplog: pytest.LogCaptureFixture,
    password: str,
) -> None:
    mailboxes["alice"].password = password
    caplog.set_level(logging.DEBUG)

    assert sign_in(account(way_in), password, allow_plaintext=True) == ["INBOX"]

    said = [r.getMessage() for r in caplog.records if r.name == "waystation.stream"]
    assert any("LIST" in line and line.startswith("C:") for line in said)
    assert any(line.startswith("S:") for line in said)
    assert any("struck out" in line for line in said)
    assert not [form for form in forms(password) if form in caplog.text]


@pytest.mark.parametrize("password", PASSWORDS[:6], ids=range(6))
@pytest.mark.parametrize("echo", ["NO", "BAD", "BYE", "garbage", "untagged"])
def test_a_server_that_repeats_the_password_makes_nobody_tell_it(
    way_in: ImapServer, caplog: pytest.LogCaptureFixture, password: str, echo: str
) -> None:
    caplog.set_level(logging.DEBUG)
    repeated = " ".join(sorted(forms(password))).replace("\r\n", " ").encode() + b" ?"
    raw = {
        "NO": b"%TAG% NO [AUTHENTICATIONFAILED] not " + repeated,
        "BAD": b"%TAG% BAD what is " + repeated,
        "BYE": b"* BYE who says " + repeated,
        "garbage": repeated,
        "untagged": b"* NO " + repeated + b"\r\n%TAG% NO no",
    }[echo]
    for command in ("LOGIN", "AUTHENTICATE"):
        way_in.script.on(command, Raw(raw + b"\r\n"))

    with pytest.raises(WaystationError) as caught:
        sign_in(account(way_in), password, allow_plaintext=True)

    told = everything_told(caught.value)
    if "\r\n" in password:  # cut in pieces by the line break, it is no password any more
        return
    assert not [form for form in forms(password) if form in told or form in caplog.text]
    if echo == "NO":
        assert isinstance(caught.value, SignInError)
        assert "AUTHENTICATIONFAILED" in str(caught.value)


def test_a_wrong_password_is_not_in_the_traceback(way_in: ImapServer) -> None:
    wrong = "-".join(["Wrong", "Pässword"])  # the traceback shows this line

    with pytest.raises(SignInError) as caught:
        sign_in(account(way_in), wrong, allow_plaintext=True)

    assert not [form for form in forms(wrong) if form in everything_told(caught.value)]


def test_a_user_name_is_quoted(mailboxes: Mailboxes) -> None:
    mailboxes.add_user('al ice "x"\\', "secret")
    with ImapServer(mailboxes) as server:
        server.script.on("CAPABILITY", Raw(b"* CAPABILITY IMAP4rev1\r\n%TAG% OK done\r\n"))
        who = Account("x", 'al ice "x"\\', "127.0.0.1", server.port, "starttls")

        assert sign_in(who, "secret", allow_plaintext=True) == ["INBOX"]


def test_nul_cannot_smuggle_in_another_user(plain: ImapServer) -> None:
    with pytest.raises(SignInError, match="NUL"):
        sign_in(account(plain), "x\0bob\0y", allow_plaintext=True)


def test_a_sign_in_that_is_switched_off_is_told_as_such(mailboxes: Mailboxes) -> None:
    with (
        ImapServer(mailboxes, plaintext_login=False) as server,
        pytest.raises(SignInError, match="LOGINDISABLED"),
    ):
        sign_in(account(server), allow_plaintext=True)


def test_messages_are_not_in_the_log(
    plain: ImapServer, mailboxes: Mailboxes, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    mailboxes["alice"].folder("INBOX").append(b"Subject: private matter\r\n\r\nhush\r\n")
    file = tmp_path / "message"
    connection = Connection(allow_plaintext=True)
    with ImapSession.open(account(plain), PASSWORD, connection) as session:
        session.select(b"INBOX", read_only=False)
        for size in (20, 200_000):
            file.write_bytes(b"private matter\r\n" * (size // 16) + b"x" * (size % 16))
            with file.open("rb") as message:
                session.wire.send_append(b"INBOX", [], None, message, size, synchronising=False)
            assert session.wire.next_tagged().is_ok
        list(session.wire.describe(b"1", b"HEADER"))

    assert "APPEND" in caplog.text
    assert "private matter" not in caplog.text


@pytest.mark.parametrize(
    "text", ["imaps://alice:secret@host:port", "alice:secret@host", "imap://alice:s@cret@h o"]
)
def test_a_password_in_the_servers_name_is_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_account(text)

    assert "cret" not in str(caught.value)
