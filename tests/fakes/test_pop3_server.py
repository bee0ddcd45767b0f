"""The scripted POP3 server, as another client sees it: poplib by itself."""

from __future__ import annotations

import poplib
from contextlib import closing

import pytest

from tests.fakes.pop3_server import PASSWORD, USER, Mail, Pop3Server, Script

STAMP = "<1@localhost>"
OCTETS = b"Subject: a\r\n\r\n.one\r\n..two\r\nthree\r\n"


def test_it_serves_a_maildrop_as_rfc_1939_has_it() -> None:
    with Pop3Server([Mail("x", OCTETS), Mail("y", b"short")], Script(stamp=STAMP)) as server:
        client = poplib.POP3("127.0.0.1", server.port, timeout=10)
        with closing(client):
            assert "PIPELINING" in client.capa()
            client.apop(USER, PASSWORD)
            assert client.stat() == (2, len(OCTETS) + 5)
            assert client.uidl()[1] == [b"1 x", b"2 y"]
            assert b"\r\n".join(client.retr(1)[1]) + b"\r\n" == OCTETS
            assert client.top(1, 0)[1] == [b"Subject: a", b""]
            with pytest.raises(poplib.error_proto, match="no such message"):
                client.retr(3)
            client.quit()
        assert server.commands[-1] == "QUIT"


def test_a_wrong_password_is_refused_by_its_code() -> None:
    with Pop3Server([]) as server:
        client = poplib.POP3("127.0.0.1", server.port, timeout=10)
        with closing(client):
            client.user(USER)
            with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
                client.pass_("wrong")


def test_a_message_breaks_off_when_told_to_once() -> None:
    with Pop3Server([Mail("x", OCTETS)], Script(cuts=[1])) as server:
        for is_cut in (True, False):
            client = poplib.POP3("127.0.0.1", server.port, timeout=10)
            with closing(client):
                client.user(USER)
                client.pass_(PASSWORD)
                if is_cut:
                    with pytest.raises(poplib.error_proto, match="EOF"):
                        client.retr(1)
                else:
                    assert client.retr(1)[0].startswith(b"+OK")
