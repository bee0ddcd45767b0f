"""From a bare address to its server: what the DNS and autoconfig say, and what is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dns.resolver
import pytest

from tests.fakes.certificates import TestAuthority
from tests.servers.names import NameServer
from tests.servers.web import WebServer
from waystation.address import parse_account
from waystation.autoconfig import LARGEST
from waystation.cli import naming
from waystation.discovery import Found, discover
from waystation.errors import UsageError
from waystation.reach import Dns, Web

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

WHO = "bob@example.com"
OWN = "https://autoconfig.example.com/mail/config-v1.1.xml"
KNOWN = "https://example.com/.well-known/autoconfig/mail/config-v1.1.xml"
DATABASE = "https://autoconfig.thunderbird.net/v1.1/example.com"


def config(*servers: str) -> bytes:
    return (
        '<?xml version="1.0"?><clientConfig version="1.1"><emailProvider id="example.com">'
        f"<domain>example.com</domain>{''.join(servers)}</emailProvider></clientConfig>"
    ).encode()


def server(
    kind: str = "imap",
    host: str = "mail.example.com",
    port: str = "993",
    socket: str = "SSL",
    user: str = "%EMAILADDRESS%",
    authentication: str = "password-cleartext",
) -> str:
    return (
        f'<incomingServer type="{kind}"><hostname>{host}</hostname><port>{port}</port>'
        f"<socketType>{socket}</socketType><username>{user}</username>"
        f"<authentication>{authentication}</authentication></incomingServer>"
    )


def found(
    address: str = WHO,
    records: Mapping[tuple[str, str], Sequence[str]] | None = None,
    pages: Mapping[str, bytes] | None = None,
) -> Found:
    with NameServer(records or {}) as names:
        return discover(address, Dns(names.resolver), (pages or {}).get)


def refusal(
    records: Mapping[tuple[str, str], Sequence[str]] | None = None,
    pages: Mapping[str, bytes] | None = None,
) -> str:
    with pytest.raises(UsageError) as caught:
        found(WHO, records, pages)
    return str(caught.value)


def test_a_known_domain_asks_nobody() -> None:
    with NameServer({}) as names:
        result = discover("Alice@Yahoo.com", Dns(names.resolver), lambda _: None)

        assert names.asked == []
    assert result == Found("yahoo:Alice@Yahoo.com", "yahoo.com is Yahoo Mail")


def test_the_mail_exchanger_says_whose_customer_a_domain_is() -> None:
    records = {
        ("example.com", "MX"): [
            "20 spare.example.net.",
            "10 example-com.mail.protection.outlook.com.",
        ]
    }

    result = found(records=records)

    assert result.server == f"office365:{WHO}"
    assert "example-com.mail.protection.outlook.com: Office 365" in result.how


def test_where_the_login_is_no_part_of_the_address_it_is_asked_for() -> None:
    said = refusal({("example.com", "MX"): ["10 mx01.mail.icloud.com."]})

    assert "Write icloud:NAME@icloud.com" in said


def test_the_srv_record_names_the_server() -> None:
    records = {
        ("example.com", "MX"): ["10 mx.example.com."],
        ("_imaps._tcp.example.com", "SRV"): [
            "20 0 993 spare.example.com.",
            "10 0 1993 imap.example.com.",
        ],
    }

    result = found(records=records)

    assert result.server == f"imaps://{WHO}@imap.example.com:1993"
    assert result.how == "the SRV record _imaps._tcp.example.com names imap.example.com"
    assert parse_account(result.server).security == "tls"


def test_an_srv_record_without_tls_means_starttls() -> None:
    records = {
        ("_imaps._tcp.example.com", "SRV"): ["0 0 0 ."],
        ("_imap._tcp.example.com", "SRV"): ["0 1 143 imap.example.com."],
    }

    assert found(records=records).server == f"imap://{WHO}@imap.example.com"


def test_the_dns_alone_leads_to_no_server_of_somebody_else() -> None:
    said = refusal({("_imaps._tcp.example.com", "SRV"): ["0 1 993 imap.evil.example."]})

    assert "not below example.com" in said
    assert f"write imaps://{WHO}@imap.evil.example" in said


def test_a_host_that_only_ends_like_the_domain_is_somebody_else() -> None:
    said = refusal({("_imaps._tcp.example.com", "SRV"): ["0 1 993 imap.notexample.com."]})

    assert "not below example.com" in said


def test_an_srv_record_may_lead_to_a_known_provider() -> None:
    records = {("_imaps._tcp.example.com", "SRV"): ["0 1 993 imap.fastmail.com."]}

    assert found(records=records).server == f"fastmail:{WHO}"


@pytest.mark.parametrize("place", [OWN, KNOWN, DATABASE])
def test_autoconfig_names_the_server(place: str) -> None:
    result = found(pages={place: config(server("pop3", port="995"), server())})

    assert result.server == f"imaps://{WHO}@mail.example.com"
    assert place in result.how


def test_the_domains_own_word_counts_more_than_the_database() -> None:
    pages = {OWN: config(server(host="own.example.com")), DATABASE: config(server())}

    assert found(pages=pages).server.endswith("own.example.com")


def test_autoconfig_says_by_what_name_one_signs_in() -> None:
    page = config(server(host="imap.%EMAILDOMAIN%", user="%EMAILLOCALPART%", socket="STARTTLS"))

    assert found(pages={OWN: page}).server == "imap://bob@imap.example.com:993"


def test_autoconfig_may_name_a_known_provider_that_takes_tokens_only() -> None:
    page = config(server(host="outlook.office365.com", authentication="OAuth2"))

    assert found(pages={OWN: page}).server == f"office365:{WHO}"


@pytest.mark.parametrize(
    "page",
    [
        config(server(socket="plain", port="143")),
        config(server(host="mail.example.com/x")),
        config(server(host="127.0.0.1:993")),
        config(server(host="mail example.com")),
        config(server(port="0")),
        config(server(port="99999")),
        config(server(port="٩٩٣")),
        config(server(user="bob:password")),
        config(server(authentication="OAuth2")),
        config(server("exchange")),
        config().replace(b"incomingServer", b"outgoingServer"),
        config(server()).replace(b"emailProvider", b"other"),
        config(server())[:-30],
        b"<html><body>not found</body></html>",
        b"",
        b"\xff\xfe\x00",
        b'<?xml version="1.0" encoding="klingon"?><clientConfig/>',
        b"<a>" * 5000,
        b'<!DOCTYPE clientConfig SYSTEM "file:///etc/passwd">' + config(server()),
        b'<!DOCTYPE x [<!ENTITY h "mail.example.com">]>' + config(server(host="&h;")),
        config(server()) + b" " * LARGEST,
    ],
    ids=range(21),
)
def test_what_is_no_honest_settings_file_yields_nothing(page: bytes) -> None:
    page = (
        page if not page.startswith(b"<!DOCTYPE") else page.replace(b'<?xml version="1.0"?>', b"")
    )

    assert "nothing says where the mail of example.com is" in refusal(pages={OWN: page})


def test_a_billion_laughs_are_refused_before_they_grow() -> None:
    bomb = b'<!DOCTYPE c [<!ENTITY a "aaaaaaaaaa">' + b"".join(
        b'<!ENTITY %c "%b">' % (letter, b"&%c;" % (letter - 1) * 10)
        for letter in range(ord("b"), ord("k"))
    )

    assert "nothing says" in refusal(pages={OWN: bomb + b"]><clientConfig>&j;</clientConfig>"})


def test_where_nothing_says_it_the_user_is_told_what_to_write() -> None:
    said = refusal()

    assert f"imaps://{WHO}@HOST" in said
    assert "waystation providers" in said


def test_a_domain_in_other_letters_is_asked_for_in_ascii() -> None:
    records = {("xn--mller-kva.example", "MX"): ["1 aspmx.l.google.com."]}

    assert found("bob@müller.example", records).server == "gmail:bob@müller.example"


def test_no_password_and_no_name_of_a_person_goes_out() -> None:
    asked: list[str] = []
    with NameServer({}) as names, pytest.raises(UsageError):
        discover(WHO, Dns(names.resolver), asked.append)

    assert asked == [OWN, KNOWN, DATABASE]
    assert not any("bob" in name for name, _ in names.asked)
    assert [kind for _, kind in names.asked] == ["MX", "SRV", "SRV", "SRV", "SRV"]


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestAuthority:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return TestAuthority(tmp_path)


@pytest.fixture
def web(authority: TestAuthority) -> Web:
    return Web(authority.client_context(), 5)


def test_a_file_comes_by_https(authority: TestAuthority, web: Web) -> None:
    pages = {"/autoconfig.example.com": config(server())}
    with WebServer(authority.server_context(), pages) as running, NameServer({}) as names:
        # Each host is a directory of the local server.
        result = discover(
            WHO,
            Dns(names.resolver),
            lambda place: web.fetch(f"{running.url}/{urlsplit(place).hostname}"),
        )

    assert result.server == f"imaps://{WHO}@mail.example.com"


def test_nothing_comes_from_a_site_that_does_not_prove_who_it_is(web: Web, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with WebServer(TestAuthority(other).server_context(), {"/a": b"x"}) as running:
        assert web.fetch(f"{running.url}/a") is None
    assert running.asked == []


@pytest.mark.parametrize("place", ["/none", "/large", "/to-http", "/to-file", "/round"])
def test_nothing_comes_where_nothing_sound_is(
    authority: TestAuthority, web: Web, place: str
) -> None:
    pages = {"/large": b"x" * (LARGEST + 1)}
    leads = {"/to-http": "http://localhost/x", "/to-file": "file:///etc/passwd", "/round": "/round"}
    with WebServer(authority.server_context(), pages, leads) as running:
        assert web.fetch(running.url + place) is None
    assert len(running.asked) <= 6


def test_a_redirect_within_https_is_followed(authority: TestAuthority, web: Web) -> None:
    with WebServer(authority.server_context(), {"/there": b"x"}, {"/a": "/there"}) as running:
        assert web.fetch(f"{running.url}/a") == b"x"


def test_http_is_not_even_asked(web: Web) -> None:
    assert web.fetch("http://localhost/x") is None
    assert web.fetch("file:///etc/passwd") is None


def test_a_dns_that_does_not_answer_knows_nothing() -> None:
    with NameServer({}) as gone:
        pass
    dns = Dns(gone.resolver, 0.2)

    assert dns.exchangers("example.com") == []
    assert dns.services("_imaps._tcp.example.com") == []


def test_a_machine_without_a_resolver_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unconfigured(self: dns.resolver.Resolver, *_: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver.Resolver, "read_resolv_conf", unconfigured)

    assert Dns().exchangers("example.com") == []


def test_to_get_ready_for_the_outside_asks_nobody() -> None:
    names, fetch = naming.outside()

    assert isinstance(names, Dns)
    assert fetch("http://example.com/") is None
