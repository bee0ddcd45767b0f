"""The fake server against the standard library's client, and against bare sockets."""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
import threading
from base64 import b64encode
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from tests.fakes.certificates import TestAuthority
from tests.fakes.imap_server import (
    Answer,
    AnswerLiteral,
    Body,
    Cut,
    CutInLiteral,
    Delay,
    Greeting,
    ImapServer,
    Raw,
)
from tests.fakes.imap_wire import Ending, choose, decode_name, encode_name, parse_arguments
from tests.fakes.mailbox import FakeFolder, Mailboxes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HELLO = b"Subject: hello\r\nMessage-ID: <hello@example.org>\r\n\r\nHello\r\n"
WORLD = b"Subject: world\r\nMessage-ID: <world@example.org>\r\n\r\nWorld\r\n"


class Line:
    """A client that sends what it is told and shows what comes."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def line(self) -> bytes:
        return self._file.readline()

    def until(self, tag: bytes) -> bytes:
        seen = b""
        while line := self.line():
            seen += line
            if line.startswith(tag + b" "):
                return seen
        raise EOFError(seen)

    def ask(self, command: bytes) -> bytes:
        self.send(b"t " + command + b"\r\n")
        return self.until(b"t")

    def rest(self) -> bytes:
        return self._file.read()


@contextmanager
def open_line(server: ImapServer, *, folder: bytes = b"") -> Iterator[Line]:
    with Line(server.port) as line:
        line.line()
        line.ask(b"LOGIN alice secret")
        if folder:
            line.ask(b"SELECT " + folder)
        yield line


@contextmanager
def signed_in(server: ImapServer) -> Iterator[imaplib.IMAP4]:
    client = imaplib.IMAP4(server.host, server.port, timeout=5)
    try:
        client.login("alice", "secret")
        yield client
    finally:
        client.shutdown()


@pytest.fixture
def mailboxes() -> Mailboxes:
    return Mailboxes({"alice": "secret"})


@pytest.fixture
def inbox(mailboxes: Mailboxes) -> FakeFolder:
    folder = mailboxes["alice"].folder("INBOX")
    folder.append(HELLO)
    folder.append(WORLD, ["\\Seen", "$Forwarded"])
    return folder


@pytest.fixture
def server(mailboxes: Mailboxes, inbox: FakeFolder) -> Iterator[ImapServer]:
    with ImapServer(mailboxes) as server:
        yield server


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


@pytest.fixture
def line(server: ImapServer) -> Iterator[Line]:
    with open_line(server, folder=b"INBOX") as line:
        yield line


# --- the well-mannered server


def test_stopping_leaves_no_thread(mailboxes: Mailboxes) -> None:
    before = threading.active_count()
    with ImapServer(mailboxes) as server, Line(server.port) as idle, open_line(server) as busy:
        idle.line()
        server.__exit__(None, None, None)
        assert threading.active_count() == before
        assert busy.rest() == b""


def test_a_server_may_come_back_at_the_same_port(mailboxes: Mailboxes) -> None:
    with ImapServer(mailboxes) as server, open_line(server) as line:
        line.ask(b"NOOP")
    with ImapServer(mailboxes, port=server.port) as again, open_line(again) as line:
        assert line.ask(b"NOOP") == b"t OK done\r\n"


def test_dropped_connections_end_and_new_ones_come(server: ImapServer, line: Line) -> None:
    server.drop_connections()
    assert line.rest() == b""
    with open_line(server) as other:
        assert other.ask(b"NOOP") == b"t OK done\r\n"
    assert server.connections == 2


def test_tls_from_the_first_octet(mailboxes: Mailboxes, authority: TestAuthority) -> None:
    with ImapServer(mailboxes, tls=authority) as server:
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        for host in ("localhost", "127.0.0.1"):
            client = imaplib.IMAP4_SSL(host, server.port, ssl_context=context, timeout=5)
            assert client.login("alice", "secret")[0] == "OK"
            client.logout()


def test_a_stranger_does_not_trust_the_certificate(
    mailboxes: Mailboxes, authority: TestAuthority
) -> None:
    stranger = ssl.create_default_context()
    with (
        ImapServer(mailboxes, tls=authority) as server,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        imaplib.IMAP4_SSL("localhost", server.port, ssl_context=stranger, timeout=5)


def test_an_expired_certificate_is_refused(mailboxes: Mailboxes, authority: TestAuthority) -> None:
    expired = authority.server_context(valid_until=datetime.now(UTC) - timedelta(hours=1))
    context = authority.client_context()
    with (
        ImapServer(mailboxes, tls=expired) as server,
        pytest.raises(ssl.SSLCertVerificationError, match="expired"),
    ):
        imaplib.IMAP4_SSL("localhost", server.port, ssl_context=context, timeout=5)


def test_starttls_unlocks_login(mailboxes: Mailboxes, authority: TestAuthority) -> None:
    with ImapServer(mailboxes, tls=authority, starttls=True, plaintext_login=False) as server:
        client = imaplib.IMAP4("localhost", server.port, timeout=5)
        assert "LOGINDISABLED" in client.capabilities
        with pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
            client.login("alice", "secret")
        client.starttls(authority.client_context())
        assert "STARTTLS" not in client.capabilities
        assert client.login("alice", "secret")[0] == "OK"
        client.logout()


def test_wrong_password_is_refused(server: ImapServer) -> None:
    with Line(server.port) as line:
        line.line()
        assert b"t NO [AUTHENTICATIONFAILED]" in line.ask(b"LOGIN alice wrong")
        assert b"t BAD" in line.ask(b"SELECT INBOX")


@pytest.mark.parametrize("has_initial_response", [True, False])
def test_authenticate_plain(server: ImapServer, has_initial_response: bool) -> None:
    response = b64encode(b"\0alice\0secret")
    with Line(server.port) as line:
        line.line()
        if has_initial_response:
            line.send(b"a AUTHENTICATE PLAIN " + response + b"\r\n")
        else:
            line.send(b"a AUTHENTICATE PLAIN\r\n")
            assert line.line() == b"+ \r\n"
            line.send(response + b"\r\n")
        assert b"a OK" in line.until(b"a")


def test_authenticate_xoauth2(server: ImapServer, mailboxes: Mailboxes) -> None:
    mailboxes["alice"].token = "ya29"
    with Line(server.port) as line:
        line.line()
        wrong = b64encode(b"user=alice\1auth=Bearer old\1\1")
        line.send(b"a AUTHENTICATE XOAUTH2 " + wrong + b"\r\n")
        assert line.line().startswith(b"+ ey")
        line.send(b"\r\n")
        assert b"a NO" in line.until(b"a")
        right = b64encode(b"user=alice\1auth=Bearer ya29\1\1")
        assert b"t OK" in line.ask(b"AUTHENTICATE XOAUTH2 " + right)


def test_login_with_literals(server: ImapServer) -> None:
    with Line(server.port) as line:
        line.line()
        line.send(b"a LOGIN {5}\r\n")
        assert line.line().startswith(b"+")
        line.send(b"alice {6+}\r\nsecret\r\n")
        assert b"a OK" in line.until(b"a")


def test_commands_may_arrive_in_one_packet(server: ImapServer) -> None:
    with open_line(server) as line:
        line.send(b"1 EXAMINE INBOX\r\n2 UID FETCH 1:* (UID)\r\n3 NOOP\r\n")
        seen = line.until(b"3")
    tags = re.findall(rb"^(\d) ", seen, re.MULTILINE)
    assert tags == [b"1", b"2", b"3"]


def test_listing_folders(server: ImapServer, mailboxes: Mailboxes) -> None:
    alice = mailboxes["alice"]
    alice.create("Gesendet/Größe & Co", ["\\Sent"])
    alice.create(('quo"te', "line\nbreak"))
    alice.create("raw", wire_name=b"caf\xe9")
    with open_line(server) as line:
        seen = line.ask(b'LIST "" "*"')
        assert b'* LIST (\\HasChildren) "/" Gesendet\r\n' in seen
        assert b'(\\HasNoChildren \\Sent) "/" "Gesendet/Gr&APYA3w-e &- Co"\r\n' in seen
        assert b'"quo\\"te"\r\n' in seen
        assert b"{4}\r\ncaf\xe9\r\n" in seen
        assert b'* LIST (\\Noselect) "/" ""' in line.ask(b'LIST "" ""')
        assert line.ask(b'LIST "" %').count(b"* LIST") == 4
        assert line.ask(b'LIST (SPECIAL-USE) "" *').count(b"* LIST") == 1
        assert line.ask(b'LSUB "" "*"').count(b"* LSUB") == 6
        assert b"t OK" in line.ask(b"EXAMINE {4+}\r\ncaf\xe9")


def test_a_namespace_and_another_delimiter(inbox: FakeFolder) -> None:
    mailboxes = Mailboxes({"alice": "secret"}, delimiter=".", prefix="INBOX.")
    mailboxes["alice"].create("Work/a%2Fb")
    with ImapServer(mailboxes) as server, open_line(server) as line:
        assert b'* NAMESPACE (("INBOX." ".")) NIL NIL' in line.ask(b"NAMESPACE")
        assert b'"." INBOX.Work.a/b\r\n' in line.ask(b'LIST "" *')
        assert b"t OK" in line.ask(b"CREATE INBOX.Work.New")
        assert b"t NO" in line.ask(b"CREATE Elsewhere")
    assert mailboxes["alice"].folder(("Work", "New")).name == "Work/New"


def test_creating_makes_parents_and_deleting_keeps_them(
    server: ImapServer, mailboxes: Mailboxes
) -> None:
    with open_line(server) as line:
        assert b"t OK" in line.ask(b"CREATE a/b/c")
        assert b"t NO [ALREADYEXISTS]" in line.ask(b"CREATE a/b/c")
        assert b"t OK" in line.ask(b"DELETE a/b/c")
        assert b"t OK" in line.ask(b"DELETE a")
        assert b"t NO" in line.ask(b"SELECT a")
        assert b"t OK" in line.ask(b"RENAME a/b other")
        assert b"t NO [NONEXISTENT]" in line.ask(b"SELECT a/b")
    assert [folder.name for folder in mailboxes["alice"].folders] == ["INBOX", "a", "other"]


def test_status_and_select_agree(server: ImapServer, inbox: FakeFolder) -> None:
    with open_line(server) as line:
        status = line.ask(b"STATUS inbox (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)")
        assert (
            b"* STATUS INBOX (MESSAGES 2 UIDNEXT 3 UIDVALIDITY %d UNSEEN 1 HIGHESTMODSEQ 3)"
            % inbox.uidvalidity
        ) in status
        seen = line.ask(b"SELECT INBOX (CONDSTORE)")
    for expected in (b"* 2 EXISTS", b"[UIDNEXT 3]", b"[HIGHESTMODSEQ 3]", b"t OK [READ-WRITE]"):
        assert expected in seen
    assert b"[UIDVALIDITY %d]" % inbox.uidvalidity in seen
    assert b"* FLAGS ($Forwarded \\Answered \\Deleted" in seen
    assert b"\\Seen \\*)]" in seen


def test_fetching_everything_about_a_message(line: Line) -> None:
    seen = line.ask(b"UID FETCH 2 (FLAGS INTERNALDATE RFC822.SIZE MODSEQ BODY.PEEK[])")
    assert seen == (
        b'* 2 FETCH (UID 2 FLAGS ($Forwarded \\Seen) INTERNALDATE "01-May-2024 08:32:00 +0000"'
        b" RFC822.SIZE %d MODSEQ (3) BODY[] {%d}\r\n%s)\r\nt OK done\r\n"
        % (len(WORLD), len(WORLD), WORLD)
    )


def test_fetching_parts_of_a_message(line: Line) -> None:
    assert b"BODY[HEADER] {51}\r\n" in line.ask(b"FETCH 1 BODY.PEEK[HEADER]")
    fields = line.ask(b"FETCH 1 (BODY.PEEK[HEADER.FIELDS (subject X-None)])")
    assert b"BODY[HEADER.FIELDS (SUBJECT X-NONE)] {18}\r\nSubject: hello\r\n\r\n)" in fields
    assert b"BODY[TEXT] {7}\r\nHello\r\n)" in line.ask(b"FETCH 1 BODY.PEEK[TEXT]")
    assert b"BODY[]<2> {3}\r\nbje)" in line.ask(b"FETCH 1 BODY.PEEK[]<2.3>")
    assert b"t BAD" in line.ask(b"FETCH 1 BODY.PEEK[1.2.MIME]")


def test_only_a_read_without_peek_marks_as_seen(server: ImapServer, inbox: FakeFolder) -> None:
    with open_line(server) as line:
        line.ask(b"EXAMINE INBOX")
        line.ask(b"FETCH 1 BODY[]")
        line.ask(b"SELECT INBOX")
        line.ask(b"FETCH 1 (BODY.PEEK[] RFC822.SIZE RFC822.HEADER)")
        assert inbox.message(1).flags == set()
        assert b"FLAGS (\\Seen)" in line.ask(b"FETCH 1 BODY[]")
        assert inbox.message(1).flags == {"\\Seen"}


def test_changedsince_names_only_what_changed(line: Line, inbox: FakeFolder) -> None:
    before = inbox.highestmodseq
    inbox.set_flags(1, ["\\flagged"])
    seen = line.ask(b"UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)" % before)
    assert b"* 1 FETCH (UID 1 FLAGS (\\Flagged) MODSEQ (4))" in seen
    assert b"UID 2" not in seen


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"ALL", b" 1 2"),
        (b"2", b" 2"),
        (b"UID 2:*", b" 2"),
        (b"UID 7:*", b" 2"),
        (b'HEADER Message-ID "<WORLD@example.org>"', b" 2"),
        (b"SEEN", b" 2"),
        (b"UNSEEN", b" 1"),
        (b"DELETED", b""),
        (b"NOT SUBJECT hello", b" 2"),
        (b"OR (1) KEYWORD $Forwarded", b" 1 2"),
        (b"SINCE 2-May-2024", b""),
        (b"ON 1-May-2024 LARGER 10", b" 1 2"),
        (b"MODSEQ 3", b" 2"),
    ],
)
def test_searching(line: Line, query: bytes, expected: bytes) -> None:
    assert b"* SEARCH" + expected + b"\r\n" in line.ask(b"UID SEARCH " + query)


def test_a_search_without_its_argument_is_bad(line: Line) -> None:
    assert b"t BAD" in line.ask(b"SEARCH HEADER Subject")
    assert b"t BAD" in line.ask(b"SEARCH NONSENSE")


def test_storing_flags(line: Line, inbox: FakeFolder) -> None:
    assert b"* 1 FETCH (UID 1 FLAGS (\\Deleted))" in line.ask(b"UID STORE 1 +FLAGS (\\deleted)")
    assert line.ask(b"STORE 1 FLAGS.SILENT keyword") == b"t OK done\r\n"
    assert inbox.message(1).flags == {"keyword"}
    seen = line.ask(b"UID STORE 1:2 (UNCHANGEDSINCE 3) -FLAGS.SILENT (keyword \\Seen)")
    assert b"t OK [MODIFIED 1]" in seen
    assert inbox.message(2).flags == {"$Forwarded"}


def test_expunging_only_what_is_named(line: Line, inbox: FakeFolder) -> None:
    line.ask(b"UID STORE 1:2 +FLAGS (\\Deleted)")
    assert line.ask(b"UID EXPUNGE 1") == b"* 1 EXPUNGE\r\nt OK done\r\n"
    assert inbox.uids == [2]
    line.ask(b"CLOSE")
    assert inbox.uids == []


def test_examine_permits_no_change(server: ImapServer) -> None:
    with open_line(server) as line:
        assert b"t OK [READ-ONLY]" in line.ask(b"EXAMINE INBOX")
        assert b"t NO" in line.ask(b"STORE 1 +FLAGS (\\Deleted)")
        assert b"t NO" in line.ask(b"EXPUNGE")
        line.ask(b"CLOSE")
    assert server.commands("EXAMINE") == 1
    assert server.commands("SELECT") == 0


def test_appending_keeps_octets_flags_and_date(server: ImapServer, inbox: FakeFolder) -> None:
    body = b"bare\nand\r\nboth\r and \x80\xff\r\n{3}\r\n"
    date = datetime(2020, 2, 29, 23, 59, 59, tzinfo=timezone(timedelta(hours=-5, minutes=-30)))
    with open_line(server) as line:
        line.send(b'a APPEND INBOX (\\Seen k) "29-Feb-2020 23:59:59 -0530" {%d}\r\n' % len(body))
        assert line.line().startswith(b"+")
        line.send(body + b"\r\n")
        assert line.line() == b"a OK [APPENDUID %d 3] done\r\n" % inbox.uidvalidity
        line.ask(b"EXAMINE INBOX")
        assert b'"29-Feb-2020 23:59:59 -0530"' in line.ask(b"FETCH 3 INTERNALDATE")
    stored = inbox.message(3)
    assert (stored.body, stored.flags, stored.internaldate) == (body, {"\\Seen", "k"}, date)


def test_appending_to_no_folder_asks_for_one(server: ImapServer) -> None:
    with open_line(server) as line:
        assert b"t NO [TRYCREATE]" in line.ask(b"APPEND Nowhere {2+}\r\nhi")
        assert b"t BAD" in line.ask(b'APPEND INBOX "yesterday" {2+}\r\nhi')


def test_a_modest_server_has_none_of_the_extensions(
    mailboxes: Mailboxes, inbox: FakeFolder
) -> None:
    mailboxes["alice"].create("Sent", ["\\Sent"])
    modest = ImapServer(
        mailboxes,
        condstore=False,
        uidplus=False,
        literal_plus=None,
        special_use=False,
        namespace=False,
        move=False,
        sasl_ir=False,
        xoauth2=False,
        append_limit=10,
    )
    with modest as server, open_line(server) as line:
        words = line.ask(b"CAPABILITY").split(b"\r\n")[0].split()
        assert words[3:] == [b"ID", b"ENABLE", b"UNSELECT", b"AUTH=PLAIN", b"APPENDLIMIT=10"]
        assert b"\\Sent" not in line.ask(b'LIST "" *')
        assert b"HIGHESTMODSEQ" not in line.ask(b"SELECT INBOX")
        assert b"t BAD" in line.ask(b"FETCH 1 MODSEQ")
        assert b"t BAD" in line.ask(b"NAMESPACE")
        assert b"t BAD" in line.ask(b"UID EXPUNGE 1")
        assert b"t BAD" in line.ask(b"APPEND INBOX {2+}\r\nhi")
        assert b"t NO [TOOBIG]" in line.ask(b"APPEND INBOX {11}")
        line.send(b"a APPEND INBOX {2}\r\nhi\r\n")
        assert line.until(b"a").endswith(b"a OK done\r\n")


def test_literal_minus_has_a_limit(mailboxes: Mailboxes) -> None:
    with ImapServer(mailboxes, literal_plus="LITERAL-") as server, open_line(server) as line:
        assert b"t OK" in line.ask(b"APPEND INBOX {4096+}\r\n" + b"x" * 4096)
        assert b"t BAD" in line.ask(b"APPEND INBOX {4097+}\r\n" + b"x" * 4097)


def test_the_client_hears_of_changes_made_behind_its_back(line: Line, inbox: FakeFolder) -> None:
    inbox.append(HELLO)
    inbox.expunge(1)
    inbox.set_flags(2, [])
    assert b"EXPUNGE" not in line.ask(b"FETCH 1:2 (UID)")
    assert line.ask(b"NOOP").startswith(b"* 1 EXPUNGE\r\n")
    assert b"* 1 FETCH (UID 2)" in line.ask(b"FETCH 1 UID")
    inbox.renumber()
    with pytest.raises(EOFError, match="BYE"):
        line.ask(b"NOOP")


def test_moving_and_copying(line: Line, mailboxes: Mailboxes, inbox: FakeFolder) -> None:
    other = mailboxes["alice"].create("Other")
    assert b"[COPYUID %d 1:2 1:2]" % other.uidvalidity not in line.ask(b"COPY 2 Nowhere")
    assert b"t OK [COPYUID %d 1 1]" % other.uidvalidity in line.ask(b"UID COPY 1 Other")
    assert b"* 1 EXPUNGE" in line.ask(b"UID MOVE 1 Other")
    assert (inbox.uids, other.bodies) == ([2], [HELLO, HELLO])


def test_everything_is_recorded(server: ImapServer) -> None:
    with signed_in(server) as client:
        client.select("INBOX", readonly=True)
        client.uid("FETCH", "1:*", "(FLAGS)")
        client.append("INBOX", "", "", b"x" * 1000)
    assert server.commands("FETCH") == server.commands("uid fetch") == 1
    assert server.requests("FETCH") == [b"UID FETCH 1:* (FLAGS)"]
    assert (1, "C", b"<1000 octets>") in server.log
    assert any(direction == "S" and b"2 EXISTS" in text for _, direction, text in server.log)
    server.forget()
    assert server.requests() == []


def test_a_few_thousand_messages(server: ImapServer, inbox: FakeFolder) -> None:
    for _ in range(3000):
        inbox.append(HELLO)
    with signed_in(server) as client:
        client.select("INBOX", readonly=True)
        _, found = client.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[])")
    assert len(found) == 2 * 3002


def test_nonsense_is_answered_bad(server: ImapServer) -> None:
    with open_line(server) as line:
        assert b"t BAD" in line.ask(b"FROBNICATE")
        assert b"t BAD" in line.ask(b"LIST ((")
        assert b"t BAD" in line.ask(b"SELECT")
        line.send(b"\r\n")
        assert line.line().startswith(b"* BAD")


@pytest.mark.parametrize("ending", list(Ending))
def test_tls_connections_can_be_cut_too(
    mailboxes: Mailboxes, authority: TestAuthority, ending: Ending
) -> None:
    with ImapServer(mailboxes, tls=authority) as server:
        server.script.on("NOOP", Cut(ending))
        context = authority.client_context()
        client = imaplib.IMAP4_SSL("localhost", server.port, ssl_context=context, timeout=5)
        with pytest.raises((imaplib.IMAP4.abort, ConnectionResetError)):
            client.noop()
        client.shutdown()


# --- the misbehaving server


@pytest.mark.parametrize("greeting", [b"* BYE busy\r\n", Greeting.CLOSE])
def test_a_server_that_does_not_greet(server: ImapServer, greeting: bytes | Greeting) -> None:
    server.script.greeting = greeting
    server.script.greeting_times = 1
    with Line(server.port) as line:
        assert line.rest() == (greeting if isinstance(greeting, bytes) else b"")
    with Line(server.port) as line:
        assert line.line().startswith(b"* OK")


def test_a_server_that_greets_with_garbage_or_silence(server: ImapServer) -> None:
    server.script.greeting = b"\x00\xffSSH-2.0\r\n"
    with Line(server.port) as line:
        assert line.line() == b"\x00\xffSSH-2.0\r\n"
    server.script.greeting = Greeting.SILENCE
    with Line(server.port) as line:
        line._socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            line.line()


def test_the_third_fetch_is_refused(server: ImapServer, line: Line) -> None:
    server.script.on("FETCH", Answer(b"NO [LIMIT] slow down"), first=3, times=1)
    answers = [line.ask(b"UID FETCH 1 (UID)").splitlines()[-1] for _ in range(4)]
    assert answers == [b"t OK done", b"t OK done", b"t NO [LIMIT] slow down", b"t OK done"]


def test_an_answer_after_the_work_is_done(server: ImapServer, line: Line) -> None:
    server.script.on("UID FETCH", Answer(b"NO [UNAVAILABLE] sorry", after=True))
    seen = line.ask(b"UID FETCH 1 (UID)")
    assert seen == b"* 1 FETCH (UID 1)\r\nt NO [UNAVAILABLE] sorry\r\n"


def test_bye_in_the_middle(server: ImapServer, line: Line) -> None:
    server.script.on("NOOP", Answer(b"BYE shutting down"))
    line.send(b"a NOOP\r\n")
    assert line.rest() == b"* BYE shutting down\r\n"


def test_garbage_for_commands_that_contain_something(server: ImapServer, line: Line) -> None:
    server.script.on("EXAMINE", Raw(b"\xff\xfe\r\n%TAG% OK\r\n"), containing=b"INBOX")
    assert line.ask(b"EXAMINE INBOX") == b"\xff\xfe\r\nt OK\r\n"
    assert b"t NO" in line.ask(b"EXAMINE Other")


def test_reset_and_orderly_end_look_different(server: ImapServer) -> None:
    server.script.on("NOOP", Cut(Ending.RST), times=1)
    server.script.on("NOOP", Cut(Ending.FIN), first=2)
    with open_line(server) as line:
        line.send(b"a NOOP\r\n")
        with pytest.raises(ConnectionResetError):
            line.line()
    with open_line(server) as line:
        line.send(b"a NOOP\r\n")
        assert line.rest() == b""


def test_actions_follow_each_other(server: ImapServer, line: Line) -> None:
    server.script.on("NOOP", Delay(0.01))
    server.script.on("NOOP", Raw(b"* OK half an"))
    server.script.on("NOOP", Cut(Ending.FIN))
    line.send(b"a NOOP\r\n")
    assert line.rest() == b"* OK half an"


def test_a_delay_does_not_hold_up_the_end(mailboxes: Mailboxes) -> None:
    with ImapServer(mailboxes) as server, open_line(server) as line:
        server.script.on("*", Delay(600))
        line.send(b"a NOOP\r\n")


@pytest.mark.parametrize("octets", [1, 40, 200])
def test_the_line_breaks_after_so_many_octets_sent(server: ImapServer, octets: int) -> None:
    server.script.cut_after_sent = octets
    server.script.cut_connections = 1
    server.script.cut_ending = Ending.FIN
    with Line(server.port) as line:
        line.send(b"a CAPABILITY\r\n")
        assert len(line.rest()) == octets
    with open_line(server) as line:
        assert b"t OK" in line.ask(b"SELECT INBOX")


def test_the_line_breaks_after_so_many_octets_received(server: ImapServer) -> None:
    server.script.cut_after_received = 20
    with Line(server.port) as line:
        line.line()
        line.send(b"a CAPABILITY\r\nb NOOP\r\n")
        with pytest.raises(OSError, match="reset"):
            line.rest()


@pytest.mark.parametrize(
    ("action", "is_stored"),
    [(CutInLiteral(3), False), (Cut(), False), (Cut(after=True), True)],
)
def test_append_breaks_off(
    server: ImapServer, inbox: FakeFolder, action: Cut | CutInLiteral, is_stored: bool
) -> None:
    server.script.on("APPEND", action, times=1)
    with open_line(server) as line:
        line.send(b"a APPEND INBOX {%d+}\r\n" % len(HELLO) + HELLO + b"\r\n")
        with pytest.raises(ConnectionResetError):
            line.line()
    assert inbox.uids == ([1, 2, 3] if is_stored else [1, 2])


def test_append_is_refused_before_its_literal(server: ImapServer) -> None:
    server.script.on("APPEND", AnswerLiteral(b"NO [OVERQUOTA] full"))
    with open_line(server) as line:
        assert line.ask(b"APPEND INBOX {3}") == b"t NO [OVERQUOTA] full\r\n"
        assert line.ask(b"APPEND INBOX {3+}\r\nabc") == b"t NO [OVERQUOTA] full\r\n"
        assert b"t OK" in line.ask(b"NOOP")


def test_append_answers_without_a_sound_appenduid(server: ImapServer) -> None:
    with open_line(server) as line:
        server.script.append.appenduid = b""
        assert line.ask(b"APPEND INBOX {2+}\r\nhi") == b"t OK done\r\n"
        server.script.append.appenduid = b"[APPENDUID  ]"
        assert line.ask(b"APPEND INBOX {2+}\r\nhi") == b"t OK [APPENDUID  ] done\r\n"
        server.script.append.appenduid = lambda v, uid: b"[APPENDUID %d 0]" % (v + 1)
        assert line.ask(b"APPEND INBOX {2+}\r\nhi").endswith(b" 0] done\r\n")


def test_append_refuses_or_rewrites_some_messages(server: ImapServer, inbox: FakeFolder) -> None:
    append = server.script.append
    append.refuse = lambda body: b"BAD [PARSE] what is this" if b"\0" in body else None
    append.rewrite = lambda body: b"X-Seen: yes\r\n" + body
    with open_line(server) as line:
        assert line.ask(b"APPEND INBOX {2+}\r\n\0\0") == b"t BAD [PARSE] what is this\r\n"
        assert b"t OK" in line.ask(b"APPEND INBOX {2+}\r\nhi")
    assert inbox.bodies[2:] == [b"X-Seen: yes\r\nhi"]


def test_fetch_omits_and_repeats(server: ImapServer, line: Line) -> None:
    server.script.fetch.omit = {1}
    server.script.fetch.twice = {2}
    assert line.ask(b"FETCH 1:* UID") == b"* 2 FETCH (UID 2)\r\n" * 2 + b"t OK done\r\n"


def test_fetch_distorts_its_items(server: ImapServer, line: Line) -> None:
    fetch = server.script.fetch
    fetch.only = {1}
    fetch.reverse_items = True
    fetch.size_error = 7
    fetch.internaldate = b'"soon"'
    seen = line.ask(b"UID FETCH 1:2 (RFC822.SIZE INTERNALDATE BODY.PEEK[])")
    assert seen.startswith(b"* 1 FETCH (BODY[] {%d}\r\n" % len(HELLO))
    assert b' INTERNALDATE "soon" RFC822.SIZE %d UID 1)\r\n' % (len(HELLO) + 7) in seen
    assert b"* 2 FETCH (UID 2 RFC822.SIZE %d INTERNALDATE " % len(WORLD) in seen
    fetch.internaldate = b""
    assert line.ask(b"FETCH 1 INTERNALDATE").startswith(b"* 1 FETCH ()\r\n")


def test_fetch_sends_bodies_as_quoted_or_nil(server: ImapServer, line: Line) -> None:
    server.script.fetch.body = Body.NIL
    assert b"BODY[TEXT] NIL)" in line.ask(b"FETCH 1 BODY.PEEK[TEXT]")
    server.script.fetch.body = Body.QUOTED
    assert b'BODY[TEXT] "Hello\r\n")' in line.ask(b"FETCH 1 BODY.PEEK[TEXT]")


def test_fetch_is_interrupted_by_other_news(server: ImapServer, line: Line) -> None:
    server.script.fetch.interleave = [b"* 9 EXISTS", b"* OK [X] hm", b"* 1 EXPUNGE"]
    seen = line.ask(b"FETCH 1:2 UID").splitlines()
    assert seen[1:4] == [b"* 9 EXISTS", b"* OK [X] hm", b"* 1 EXPUNGE"]
    assert seen[4] == b"* 2 FETCH (UID 2)"


def test_fetch_announces_more_than_anyone_has(server: ImapServer, line: Line) -> None:
    server.script.fetch.announce = 10 * 2**30
    line.send(b"a FETCH 1 BODY.PEEK[]\r\n")
    assert line.line() == b"* 1 FETCH (BODY[] {10737418240}\r\n"
    assert line.line() == b"Subject: hello\r\n"


def test_fetch_breaks_off_within_a_literal(server: ImapServer) -> None:
    server.script.fetch.cut_literal_after = 4
    server.script.fetch.cut_literal_times = 2
    server.script.fetch.ending = Ending.FIN
    server.script.fetch.only = {2}
    for _ in range(2):
        with open_line(server, folder=b"INBOX") as line:
            line.send(b"a FETCH 1:2 BODY.PEEK[]\r\n")
            assert line.rest().endswith(b"{%d}\r\nSubj" % len(WORLD))
    with open_line(server, folder=b"INBOX") as line:
        assert b"t OK" in line.ask(b"FETCH 1:2 BODY.PEEK[]")


def test_listings_answer_fewer_than_exists(server: ImapServer) -> None:
    server.script.hidden = {1}
    with open_line(server) as line:
        assert b"* 2 EXISTS" in line.ask(b"SELECT INBOX")
        assert line.ask(b"UID SEARCH ALL").startswith(b"* SEARCH 2\r\n")
        assert line.ask(b"FETCH 1:* UID").startswith(b"* 2 FETCH")
        server.script.hidden = set()
        server.script.search_omit = {2}
        assert line.ask(b"UID SEARCH ALL").startswith(b"* SEARCH 1\r\n")


def test_a_folder_that_suddenly_looks_empty(server: ImapServer) -> None:
    server.script.looks_empty = {"INBOX"}
    with open_line(server) as line:
        seen = line.ask(b"SELECT INBOX")
        assert b"* 0 EXISTS" in seen
        assert b"[UIDNEXT 3]" in seen
        assert b"(MESSAGES 0 UIDNEXT 3)" in line.ask(b"STATUS INBOX (MESSAGES UIDNEXT)")
        assert line.ask(b"UID FETCH 1:* UID") == b"t OK done\r\n"


def test_one_folder_cannot_be_selected(server: ImapServer, mailboxes: Mailboxes) -> None:
    mailboxes["alice"].create("Broken")
    server.script.refuse_select = {"Broken": b"NO [SERVERBUG] index corrupt"}
    with open_line(server) as line:
        assert line.ask(b"EXAMINE Broken") == b"t NO [SERVERBUG] index corrupt\r\n"
        assert b"t OK" in line.ask(b"EXAMINE INBOX")


def test_hostile_names_in_list(server: ImapServer) -> None:
    server.script.list_names = [b'"../../etc/x"', b'"' + b"n" * 300 + b'"', b'"a\x07b"']
    server.script.list_lines = [b"* LIST () NIL flat"]
    server.script.list_literals = True
    with open_line(server) as line:
        seen = line.ask(b'LIST "" "*"')
    assert b'* LIST (\\HasNoChildren) "/" {5}\r\nINBOX\r\n' in seen
    assert b'* LIST () "/" "../../etc/x"\r\n' in seen
    assert b'"a\x07b"\r\n* LIST () NIL flat\r\n' in seen


def test_a_cleared_script_behaves_again(server: ImapServer, line: Line) -> None:
    server.script.on("NOOP", Answer(b"NO not now"))
    server.script.fetch.omit = {1}
    server.script.clear()
    assert line.ask(b"NOOP") == b"t OK done\r\n"
    assert line.ask(b"FETCH 1 UID").startswith(b"* 1 FETCH")


# --- the pure pieces


@pytest.mark.parametrize("name", ["INBOX", "a&b", "&", "Größe", "日本語", "a\tb", "😀 x&-", ""])
def test_names_survive_modified_utf7(name: str) -> None:
    encoded = encode_name(name)
    assert decode_name(encoded) == name
    assert all(0x20 <= octet <= 0x7E for octet in encoded)


def test_names_from_the_rfc() -> None:
    assert encode_name("~peter/mail/台北/日本語") == b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"


@pytest.mark.parametrize(
    ("sequence_set", "expected"),
    [(b"2", [2]), (b"*", [9]), (b"5:*", [5, 9]), (b"10:*", [9]), (b"3:1,9", [2, 9]), (b"7", [])],
)
def test_sequence_sets(sequence_set: bytes, expected: list[int]) -> None:
    assert choose(sequence_set, [2, 5, 9]) == expected
    assert choose(sequence_set, []) == []


def test_arguments_are_read_as_they_are_written() -> None:
    text = rb'a "q\"\\" (b (c) ()) {3}' + b"\r\n BODY[HEADER.FIELDS (X Y)]<0.1>"
    assert parse_arguments(text, [b"lit"]) == [
        b"a",
        b'q"\\',
        [b"b", [b"c"], []],
        b"lit",
        b"BODY[HEADER.FIELDS (X Y)]<0.1>",
    ]


def test_gmail_tells_one_number_and_the_other_labels_of_a_message(mailboxes: Mailboxes) -> None:
    user = mailboxes["alice"]
    user.create("All", ["\\All"])
    user.create("Gesendet", ["\\Sent"])
    for name in ("INBOX", "All", "Gesendet"):
        user.folder(name).append(HELLO, (), datetime(2024, 5, 1, tzinfo=UTC))
    with (
        ImapServer(mailboxes, gmail=True) as server,
        imaplib.IMAP4(server.host, server.port) as client,
    ):
        client.login("alice", "secret")
        answers = []
        for name in ("INBOX", "All"):
            client.select(name, readonly=True)
            answers.append(str(client.uid("FETCH", "1:*", "(X-GM-MSGID X-GM-LABELS)")[1][0]))

        assert b"X-GM-EXT-1" in server.log[0][2]

    numbers = {re.findall(r"X-GM-MSGID (\d+)", answer)[0] for answer in answers}
    assert len(numbers) == 1
    assert r'X-GM-LABELS ("\\\\Sent")' in answers[0]
    assert r'("\\\\Inbox" "\\\\Sent")' in answers[1]
