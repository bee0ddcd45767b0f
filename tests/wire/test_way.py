"""Through a proxy, to a pinned certificate, over IPv6: the ways to a server."""

from __future__ import annotations

import hashlib
import socket
import ssl
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tests.fakes.certificates import TestAuthority
from tests.fakes.imap_server import ImapServer
from tests.fakes.mailbox import Mailboxes
from tests.servers.proxies import ProxyServer, _relay
from waystation.address import parse_account
from waystation.errors import CertificateError, UnreachableError, UsageError
from waystation.imap import ImapSession
from waystation.session import Connection
from waystation.way import Way

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAR = "mail.example.test"
PASSWORD = "s3cret"


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


@pytest.fixture
def server(authority: TestAuthority) -> Iterator[ImapServer]:
    """A server that proves to be one at a name that no DNS has."""
    context = authority.server_context((FAR, "localhost", "::1"))
    with ImapServer(Mailboxes({"alice": PASSWORD}), tls=context) as running:
        yield running


def visit(server: ImapServer, authority: TestAuthority, way: Way, host: str = FAR) -> None:
    account = parse_account(f"imaps://alice@{host}:{server.port}")
    connection = Connection(authority.ca_file, timeout=20, way=way)
    with ImapSession.open(account, PASSWORD, connection) as session:
        assert [folder.name for folder in session.folders()] == ["INBOX"]


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "http"])
def test_a_proxy_leads_to_the_server_and_looks_up_its_name(
    server: ImapServer, authority: TestAuthority, scheme: str
) -> None:
    with ProxyServer() as proxy:
        visit(server, authority, Way.of(f"{scheme}://127.0.0.1:{proxy.port}", None, {}))

    assert proxy.asked == [(FAR, server.port)]


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY"])
def test_the_environment_may_name_the_proxy_and_its_password(
    server: ImapServer, authority: TestAuthority, name: str
) -> None:
    with ProxyServer(("bob", "pr0xy")) as proxy:
        way = Way.of(None, None, {name: f"socks5://bob:pr0xy@127.0.0.1:{proxy.port}"})
        visit(server, authority, way)

    assert proxy.asked == [(FAR, server.port)]
    assert "pr0xy" not in repr(way)
    assert way.shown(FAR) == f"socks5://127.0.0.1:{proxy.port}"


def test_a_wrong_password_of_the_proxy_is_told_without_it(
    server: ImapServer, authority: TestAuthority
) -> None:
    with ProxyServer(("bob", "pr0xy")) as proxy:
        way = Way.of(None, None, {"ALL_PROXY": f"socks5://bob:wr0ng@127.0.0.1:{proxy.port}"})
        with pytest.raises(UnreachableError) as caught:
            visit(server, authority, way)

    assert f"through the proxy socks5://127.0.0.1:{proxy.port}" in str(caught.value)
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_a_proxy_that_refuses_is_named(
    server: ImapServer, authority: TestAuthority, scheme: str
) -> None:
    with ProxyServer(refuses=True) as proxy, pytest.raises(UnreachableError) as caught:
        visit(server, authority, Way.of(f"{scheme}://127.0.0.1:{proxy.port}", None, {}))

    assert "through the proxy" in str(caught.value)


def test_a_proxy_that_is_not_there_is_named(server: ImapServer, authority: TestAuthority) -> None:
    with ProxyServer() as gone:
        pass
    with pytest.raises(UnreachableError, match="the proxy cannot be reached"):
        visit(server, authority, Way.of(f"socks5://127.0.0.1:{gone.port}", None, {}))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "127.8.9.1", "a.localhost"])
def test_this_machine_is_never_reached_through_a_proxy(host: str) -> None:
    assert Way.of("socks5://proxy.example:1080", None, {}).proxy_for(host) is None


@pytest.mark.parametrize(
    ("without", "is_direct"),
    [
        ("mail.example.test", True),
        (".example.test, other", True),
        ("example.test", True),
        ("*", True),
        ("other.test,mple.test", False),
        ("", False),
    ],
)
def test_no_proxy_names_hosts_that_need_none(without: str, is_direct: bool) -> None:
    way = Way.of(None, None, {"ALL_PROXY": "http://proxy.example:3128", "NO_PROXY": without})

    assert (way.proxy_for(FAR) is None) == is_direct


def test_no_proxy_names_networks_too() -> None:
    way = Way.of(None, None, {"ALL_PROXY": "proxy.example:3128", "no_proxy": "10.0.0.0/8"})

    assert way.proxy_for("10.1.2.3") is None
    assert way.proxy_for("11.1.2.3") == "http://proxy.example:3128"


def test_direct_means_no_proxy_whatever_the_environment_says() -> None:
    assert Way.of("direct", None, {"ALL_PROXY": "socks5://proxy.example:1"}) == Way()


@pytest.mark.parametrize(
    "text", ["ftp://proxy.example:1", "socks5://", "https://proxy:1", "proxy", "socks5://a:b"]
)
def test_what_is_no_proxy_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="is no proxy that is known"):
        Way.of(text, None, {})


def test_a_proxys_password_has_no_place_in_the_command_line() -> None:
    with pytest.raises(UsageError, match="ALL_PROXY") as caught:
        Way.of("socks5://bob:pr0xy@proxy.example:1080", None, {})

    assert "pr0xy" not in str(caught.value)


# --- pinned certificates


@pytest.fixture
def own(tmp_path: Path) -> TestAuthority:
    """An authority that the client does not know."""
    directory = tmp_path / "own"
    directory.mkdir()
    return TestAuthority(directory)


def fingerprint(server: ImapServer, authority: TestAuthority) -> str:
    pem = ssl.get_server_certificate(("localhost", server.port), ca_certs=str(authority.ca_file))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


@pytest.mark.parametrize("starttls", [False, True], ids=["tls", "starttls"])
def test_an_unknown_certificate_is_refused_with_its_fingerprint_and_can_be_pinned(
    authority: TestAuthority, own: TestAuthority, starttls: bool
) -> None:
    scheme = "imap" if starttls else "imaps"
    mailboxes = Mailboxes({"alice": PASSWORD})
    with ImapServer(mailboxes, tls=own, starttls=starttls) as server:
        account = parse_account(f"{scheme}://alice@localhost:{server.port}")
        with pytest.raises(CertificateError) as caught:
            ImapSession.open(account, PASSWORD, Connection(authority.ca_file, timeout=20))
        assert server.commands("LOGIN") == server.commands("AUTHENTICATE") == 0

        shown = str(caught.value).rpartition("--fingerprint ")[2].rstrip(".")
        for form in (shown, shown.upper(), ":".join(shown[i : i + 2] for i in range(0, 64, 2))):
            way = Way.of(None, form, {})
            with ImapSession.open(account, PASSWORD, Connection(timeout=20, way=way)) as session:
                assert session.folders()


def test_the_fingerprint_that_is_shown_is_the_one_that_openssl_shows(
    authority: TestAuthority, own: TestAuthority
) -> None:
    with ImapServer(Mailboxes({"alice": PASSWORD}), tls=own) as server:
        account = parse_account(f"imaps://alice@localhost:{server.port}")
        with pytest.raises(CertificateError, match=fingerprint(server, own)):
            ImapSession.open(account, PASSWORD, Connection(authority.ca_file, timeout=20))


def test_another_certificate_than_the_pinned_one_is_refused_even_if_it_is_trusted(
    server: ImapServer, authority: TestAuthority
) -> None:
    with pytest.raises(CertificateError, match="not the one of --fingerprint"):
        visit(server, authority, Way.of(None, "0" * 64, {}), "localhost")

    assert server.commands("AUTHENTICATE") == 0


@pytest.mark.parametrize("text", ["", "00", "g" * 64, "0" * 40])
def test_what_is_no_sha_256_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        Way.of(None, text, {})


# --- IPv6


def test_a_server_is_reached_over_ipv6(server: ImapServer, authority: TestAuthority) -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine")

    def relay() -> None:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", server.port)) as far:
            _relay(client, far)

    thread = Thread(target=relay, daemon=True)
    thread.start()
    with listener:
        account = parse_account(f"imaps://alice@[::1]:{listener.getsockname()[1]}")
        connection = Connection(authority.ca_file, timeout=20)
        with ImapSession.open(account, PASSWORD, connection) as session:
            assert session.folders()
    thread.join()

    assert account.host == "::1"
    assert account.key.startswith("imaps://alice@[::1]:")
