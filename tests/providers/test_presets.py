"""Every preset is complete, and says what its source says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.providers.published import PUBLISHED
from waystation.address import parse_account
from waystation.errors import UsageError
from waystation.provider import Endpoint, LoginName, Provider, SignInKind
from waystation.providers import (
    PROVIDERS,
    by_domain,
    by_exchanger,
    by_host,
    by_name,
    microsoft_server,
    window,
)

ROOT = Path(__file__).resolve().parents[2]
SEEDS = ("AOL", "Gmail", "iCloud", "MSN", "Office365", "Outlook.com", "Hotmail", "Live", "Yahoo")
KINDS = {"dovecot", "cyrus", "courier", "exchange"}
LOGINS = {"%EMAILADDRESS%": LoginName.ADDRESS, "%EMAILLOCALPART%": LoginName.LOCAL_PART}


def published(endpoint: Endpoint | None) -> str | None:
    if endpoint is None:
        return None
    return f"{endpoint.host} {endpoint.port} {'SSL' if endpoint.security == 'tls' else 'STARTTLS'}"


@pytest.mark.parametrize("name", [name for name in PROVIDERS if name not in KINDS])
def test_a_preset_says_what_its_source_says(name: str) -> None:
    preset, source = PROVIDERS[name], PUBLISHED[name]

    assert published(preset.imap) == source.imap
    assert published(preset.pop3) == source.pop3
    assert published(preset.smtp) == source.smtp
    assert preset.login is LOGINS[source.login]
    assert any(source.source in each for each in preset.sources)


@pytest.mark.parametrize("preset", PROVIDERS.values(), ids=lambda preset: preset.name)
def test_a_preset_is_complete(preset: Provider) -> None:
    assert preset.title
    assert preset.sign_in
    assert preset.quirks
    assert preset.sources
    assert urlsplit(preset.where).scheme == "https"
    sentences = (*preset.limits, *preset.quirks)
    assert all(not sentence[0].islower() and sentence.endswith(".") for sentence in sentences)
    if preset.name in KINDS:
        assert preset.imap is preset.pop3 is preset.smtp is None
        assert not preset.domains
    else:
        assert preset.imap is not None
        assert preset.smtp is not None
        assert preset.domains


@pytest.mark.parametrize("name", SEEDS)
def test_every_provider_that_people_leave_has_a_preset_and_a_chapter(name: str) -> None:
    assert by_name(name) is not None

    text = (ROOT / "docs" / "sources.md").read_text("utf-8")
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert any(name.replace("Office365", "Office 365") in title for title in titles)


@pytest.mark.parametrize("preset", PROVIDERS.values(), ids=lambda preset: preset.name)
def test_every_preset_is_in_the_guide_with_the_place_of_its_password(preset: Provider) -> None:
    text = (ROOT / "docs" / "sources.md").read_text("utf-8")

    assert preset.where in text
    assert f"`{preset.name}:" in text or preset.imap is None


def test_no_name_domain_or_host_belongs_to_two() -> None:
    names = Counter(name for p in PROVIDERS.values() for name in (p.name, *p.aliases))
    domains = Counter(domain for p in PROVIDERS.values() for domain in p.domains)
    ends = Counter(end for p in PROVIDERS.values() for end in p.mx)

    assert max(names.values()) == max(domains.values()) == max(ends.values()) == 1


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("alice@gmail.com", "gmail"),
        ("alice@googlemail.com", "gmail"),
        ("alice@MSN.com", "outlook"),
        ("alice@hotmail.co.uk", "outlook"),
        ("alice@ymail.com", "yahoo"),
        ("alice@gmx.at", "gmx"),
        ("alice@gmx.us", "gmx-com"),
        ("alice@me.com", "icloud"),
        ("alice@ya.ru", "yandex"),
    ],
)
def test_an_address_finds_its_preset_by_its_domain(address: str, name: str) -> None:
    account = parse_account(address)

    assert account.provider == name
    assert account.name == f"{name}:{address}"
    assert account.key == f"{name}:{address.lower()}"


@pytest.mark.parametrize(
    ("exchanger", "name"),
    [
        ("contoso-com.mail.protection.outlook.com", "office365"),
        ("contoso-com.o-v1.mx.microsoft", "office365"),
        ("hotmail-com.olc.protection.outlook.com.", "outlook"),
        ("ASPMX.L.GOOGLE.COM", "gmail"),
        ("aspmx3.googlemail.com", "gmail"),
        ("mta7.am0.yahoodns.net", "yahoo"),
        ("mx-aol.mail.gm0.yahoodns.net", "aol"),
        ("in1-smtp.messagingengine.com", "fastmail"),
        ("mx01.mail.icloud.com", "icloud"),
        ("mx00.kundenserver.de", "ionos"),
        ("mail.notgoogle.com", None),
        ("outlook.com.example.net", None),
    ],
)
def test_a_mail_exchanger_says_whose_the_mailbox_is(exchanger: str, name: str | None) -> None:
    found = by_exchanger(exchanger)

    assert (found.name if found else None) == name


def test_where_the_local_part_is_the_login_the_server_is_told_that() -> None:
    assert parse_account("icloud:bob@icloud.com").login == "bob"
    assert parse_account("web.de:bob@web.de").login == "bob"
    assert parse_account("yahoo:bob@yahoo.com").login == "bob@yahoo.com"
    assert parse_account("icloud:bob@icloud.com").key == "icloud:bob@icloud.com"


def test_a_mailbox_by_pop3_is_another_source_than_by_imap() -> None:
    account = parse_account("gmail+pop3:Bob@gmail.com")

    assert account.protocol == "pop3"
    assert (account.host, account.port, account.security) == ("pop.gmail.com", 995, "tls")
    assert account.key == "gmail+pop3:bob@gmail.com"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("icloud+pop3:bob@icloud.com", "has no POP3"),
        ("proton+pop3:bob@proton.me", "has no POP3"),
        ("dovecot:bob@example.com", "write imaps://USER@HOST"),
        ("bob@example.com", "imaps://bob@example.com@HOST"),
    ],
)
def test_what_a_preset_cannot_do_is_said(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_account(text)

    assert words in str(caught.value)


def test_only_microsoft_takes_tokens_only() -> None:
    closed = {name for name, preset in PROVIDERS.items() if preset.takes_tokens_only}

    assert closed == {"office365", "outlook"}
    assert PROVIDERS["outlook"].cloud(None).tenant == "consumers"
    with pytest.raises(UsageError, match="Known are consumers"):
        PROVIDERS["outlook"].cloud("dod")
    assert SignInKind.PASSWORD not in PROVIDERS["yahoo"].sign_in


def test_who_signs_in_to_microsoft_is_told_the_right_server() -> None:
    assert microsoft_server("bob@contoso.com") == "office365:bob@contoso.com"
    assert microsoft_server("bob@hotmail.com") == "outlook:bob@hotmail.com"


def test_yahoo_shows_ten_thousand_messages_of_a_folder_and_its_export_host_more() -> None:
    assert window("imap.mail.yahoo.com") == 10_000
    assert window("IMAP.AOL.COM") == 10_000
    assert window("export.imap.mail.yahoo.com") == 100_000
    assert window("localhost", PROVIDERS["yahoo"]) == 100_000
    assert window("localhost") is None
    assert window("imap.gmail.com", PROVIDERS["gmail"]) is None


def test_a_host_says_whose_it_is_unless_it_is_this_machine() -> None:
    found = by_host("imap.mail.yahoo.com")

    assert found is not None
    assert found.name == "yahoo"
    assert by_host("127.0.0.1") is None
    assert by_domain("example.com") is None
