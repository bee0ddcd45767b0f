"""The private Dovecot, and the tools made for it, do what the other tests rely on."""

from __future__ import annotations

import hashlib
import imaplib
import os
import poplib
import socket
import ssl
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests import corpus
from tests.compare import Message, differences, snapshot
from tests.relay import Cut, Direction, Relay
from tests.servers.dovecot import Dovecot, DovecotError, archive_location, has_pop3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.server

MAIL = b"Message-ID: <1@example.org>\r\nSubject: one\r\n\r\nHello.\r\n"
DATE = '"17-Jul-1996 02:44:25 -0700"'


@pytest.fixture
def client(dovecot: Dovecot, user: str) -> Iterator[imaplib.IMAP4]:
    with imaplib.IMAP4(dovecot.host, dovecot.port) as connection:
        connection.login(user, dovecot.password)
        yield connection


def test_any_user_signs_in_over_verified_tls(dovecot: Dovecot, user: str) -> None:
    context = ssl.create_default_context(cafile=str(dovecot.ca_file))
    for name in ("localhost", "127.0.0.1"):
        with imaplib.IMAP4_SSL(name, dovecot.tls_port, ssl_context=context) as connection:
            assert connection.login(user, dovecot.password)[0] == "OK"


def test_starttls_is_offered(dovecot: Dovecot, user: str) -> None:
    context = ssl.create_default_context(cafile=str(dovecot.ca_file))
    with imaplib.IMAP4("localhost", dovecot.port) as connection:
        connection.starttls(context)
        assert connection.login(user, dovecot.password)[0] == "OK"


def test_a_client_that_does_not_know_the_ca_refuses_the_certificate(dovecot: Dovecot) -> None:
    context = ssl.create_default_context()
    with (
        socket.create_connection((dovecot.host, dovecot.tls_port)) as connection,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(connection, server_hostname="localhost")


def test_a_wrong_password_is_refused_at_once(dovecot: Dovecot, user: str) -> None:
    with (
        imaplib.IMAP4(dovecot.host, dovecot.port) as connection,
        pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"),
    ):
        connection.login(user, "wrong")


def test_what_is_appended_can_be_fetched_with_its_flags_keywords_and_date(
    client: imaplib.IMAP4,
) -> None:
    client.append("INBOX", "(\\Seen $Forwarded custom)", DATE, MAIL)
    client.select("INBOX")

    answer = client.fetch("1", "(FLAGS INTERNALDATE BODY.PEEK[])")[1][0]

    assert isinstance(answer, tuple)
    assert answer[1] == MAIL
    assert b"\\Seen" in answer[0]
    assert b"$Forwarded custom" in answer[0]
    assert b'INTERNALDATE "17-Jul-1996 ' in answer[0]


def test_special_use_folders_are_there(client: imaplib.IMAP4) -> None:
    lines = client.list()[1]

    assert b'(\\HasNoChildren \\Sent) "." Sent' in lines


def test_doveadm_works_on_this_server_only(
    dovecot: Dovecot, user: str, client: imaplib.IMAP4
) -> None:
    client.append("INBOX", "", DATE, MAIL)

    answer = dovecot.doveadm("mailbox", "status", "-u", user, "messages", "INBOX")

    assert answer == "INBOX messages=1"
    with pytest.raises(DovecotError, match="doesn't exist"):
        dovecot.doveadm("mailbox", "status", "-u", user, "messages", "Nowhere")


def test_capabilities_can_be_hidden_before_and_after_login(user: str) -> None:
    with (
        Dovecot(hide=["LITERAL+", "CONDSTORE"]) as server,
        imaplib.IMAP4(server.host, server.port) as connection,
    ):
        assert "LITERAL+" not in connection.capabilities
        connection.login(user, server.password)
        shown = connection.capability()[1][-1].split()

    assert b"UIDPLUS" in shown
    assert not {b"LITERAL+", b"CONDSTORE"} & set(shown)


def test_quota_separator_and_prefix_are_options(user: str) -> None:
    with Dovecot(mail_format="sdbox", separator="|", prefix="Mail|", quota="100K") as server:
        server.limit("small", "1K")
        for name, expected in (("small", "NO"), (user, "OK")):
            with imaplib.IMAP4(server.host, server.port) as connection:
                connection.login(name, server.password)
                assert connection.append("INBOX", "", DATE, MAIL + b"x" * 2000)[0] == expected
                assert b'(("Mail|" "|"))' in connection.namespace()[1][0]


@pytest.mark.skipif(not has_pop3(), reason="Dovecot's POP3 server is not installed")
def test_the_mail_can_be_read_by_pop3(user: str) -> None:
    with Dovecot(pop3=True) as server:
        with imaplib.IMAP4(server.host, server.port) as connection:
            connection.login(user, server.password)
            connection.append("INBOX", "", DATE, MAIL)
        post = poplib.POP3(server.host, server.pop3_port)
        post.user(user)
        post.pass_(server.password)
        count = post.stat()[0]
        post.quit()

    assert count == 1


def test_a_user_can_look_at_a_nested_maildir_that_stays_untouched(
    tmp_path: Path, user: str
) -> None:
    for folder in ("INBOX", "Büro/Jahr 2024"):
        for part in ("cur", "new", "tmp"):
            (tmp_path / "maildir" / folder / part).mkdir(parents=True)
    (tmp_path / "maildir/Büro/Jahr 2024/cur/1.a.b,U=1:2,S").write_bytes(MAIL)

    with Dovecot(special_use={}, separator="/") as server:
        archive = server.copy_in(tmp_path, "archive")
        server.locate(user, archive_location(archive, index=server.home("index")))
        before = sorted(archive.rglob("*"))
        with imaplib.IMAP4(server.host, server.port) as connection:
            connection.login(user, server.password)
            folders = connection.list()[1]
            connection.select('"B&APw-ro/Jahr 2024"', readonly=True)
            answer = connection.fetch("1", "(FLAGS BODY.PEEK[])")[1][0]
        after = sorted(archive.rglob("*"))

    assert b'(\\HasNoChildren) "/" "B&APw-ro/Jahr 2024"' in folders
    assert isinstance(answer, tuple)
    assert (answer[1], b"\\Seen" in answer[0]) == (MAIL, True)
    assert before == after


def test_the_server_goes_away_and_comes_back_where_it_was(user: str) -> None:
    with Dovecot() as server:
        pid = server.pid
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            imaplib.IMAP4(server.host, server.port)

        server.start()

        assert server.pid != pid
        with imaplib.IMAP4(server.host, server.port) as connection:
            assert connection.login(user, server.password)[0] == "OK"

    assert not server.directory.exists()
    assert server.pid is None
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_is_laid_into_a_maildir_is_what_the_server_hands_out(
    dovecot: Dovecot, user: str
) -> None:
    held = corpus.fill_maildir(
        dovecot.mail_directory(user), corpus.mailbox(seed=1, count=200, hostile_share=0.2)
    )
    dovecot.give(dovecot.home(user))

    found = snapshot(dovecot.host, dovecot.port, user, dovecot.password, folders=held)

    assert differences(held, found) == []


def test_hostile_messages_and_names_survive_an_append(user: str) -> None:
    bodies = [body for name, body in corpus.hostile() if name not in corpus.ALTERED_BY_SERVERS]
    date = next(corpus.messages(1, 1)).internaldate
    names = corpus.hostile_folder_names()
    mail = [("INBOX", corpus.Sample(body, ("\\Flagged",), ("todo",), date)) for body in bodies]
    mail += [(name, corpus.Sample(b"x\r\n", (), (), date)) for name in names]

    with Dovecot(mail_format="sdbox", special_use={}, prefix="") as server:
        held = corpus.fill_by_append(server.host, server.port, user, server.password, mail)
        found = snapshot(server.host, server.port, user, server.password)

    assert differences(held, {name: found[name] for name in held}) == []


def test_a_difference_is_named() -> None:
    date = datetime(2001, 1, 1, tzinfo=UTC)
    one = Message("1" * 64, frozenset({"\\Seen"}), frozenset(), date)
    other = Message("2" * 64, frozenset(), frozenset({"todo"}), date)

    assert differences(
        {"INBOX": [one, other, other], "A": []}, {"INBOX": [other, one._replace(flags=frozenset())]}
    ) == [
        "A: only in the first",
        "INBOX: 111111111111: flags (\\Seen) became ()",
        "INBOX: 222222222222 () (todo) 2001-01-01T00:00:00+00:00: only in the first",
    ]


def test_a_large_message_has_the_size_and_the_hash_it_should(tmp_path: Path) -> None:
    message = corpus.deliver_large(tmp_path, 3_000_001)

    (file,) = (tmp_path / "cur").iterdir()
    assert file.stat().st_size == 3_000_001
    assert hashlib.sha256(file.read_bytes()).hexdigest() == message.sha256


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("is_reset", [False, True])
def test_the_relay_cuts_the_first_connection_and_lets_the_next_one_pass(
    dovecot: Dovecot, user: str, direction: Direction, is_reset: bool
) -> None:
    with Relay(dovecot.port) as relay:
        _sign_in(relay, user, dovecot.password)
        (whole,) = relay.traffic
        octets = whole.to_server if direction is Direction.TO_SERVER else whole.to_client
        for after in (0, 1, octets // 2, octets - 1):
            relay.arm(Cut(direction, after, is_reset=is_reset))
            with pytest.raises((OSError, imaplib.IMAP4.abort)):
                _sign_in(relay, user, dovecot.password)
            _sign_in(relay, user, dovecot.password)

            first, second = relay.traffic
            passed = first.to_server if direction is Direction.TO_SERVER else first.to_client
            assert (passed, first.was_cut, second.was_cut) == (after, True, False)


def test_the_relay_delays_without_narrowing(dovecot: Dovecot, user: str) -> None:
    big = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" * 1_000_000
    with Relay(dovecot.port, delay_to_client=0.05, delay_to_server=0.05) as relay:
        with imaplib.IMAP4(relay.host, relay.port) as connection:
            connection.login(user, dovecot.password)
            before = time.monotonic()
            connection.noop()
            after_noop = time.monotonic()
            connection.append("INBOX", "", DATE, big)
            after_append = time.monotonic()

        assert relay.octets_to_server > len(big)
        assert 0.1 <= after_noop - before < 0.3
        assert 0.2 <= after_append - after_noop < 1.5


def test_the_relay_can_end_what_is_open(dovecot: Dovecot) -> None:
    with Relay(dovecot.port) as relay:
        connection = imaplib.IMAP4(relay.host, relay.port)
        relay.cut_now(is_reset=True)
        with pytest.raises((OSError, imaplib.IMAP4.abort)):
            connection.noop()
        connection.shutdown()

        assert relay.cuts == 1


def _sign_in(relay: Relay, user: str, password: str) -> None:
    with socket.create_connection((relay.host, relay.port), timeout=5) as connection:
        stream = connection.makefile("rb")
        with stream:
            for command, word in (
                (None, b"* OK"),
                (f"1 LOGIN {user} {password}", b"1 OK"),
                ("2 LOGOUT", b"* BYE"),
            ):
                if command:
                    connection.sendall(f"{command}\r\n".encode())
                if not stream.readline().startswith(word):
                    raise ConnectionAbortedError(word)
            if not stream.readline().endswith(b"\r\n") or stream.read():
                raise ConnectionAbortedError("no orderly end")
