"""Every preset is complete, and says what its source says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.providers.published import NOT_LISTED, OAUTH, PUBLISHED
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


def test_every_provider_was_looked_up_and_nothing_else() -> None:
    assert set(PUBLISHED) == set(PROVIDERS) - KINDS
    assert set(OAUTH) == {name for name, preset in PROVIDERS.items() if preset.oauth is not None}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_knows_the_domains_that_its_source_lists_and_no_others(name: str) -> None:
    wanted = set(f"{PUBLISHED[name].domains} {NOT_LISTED.get(name, '')}".split())

    assert set(PROVIDERS[name].domains) == wanted
    for domain in wanted:
        found = by_domain(domain)
        assert found is not None
        assert found.name == name


@pytest.mark.parametrize("name", OAUTH)
def test_a_preset_gets_its_tokens_where_its_source_says(name: str) -> None:
    found, source = PROVIDERS[name].oauth, OAUTH[name]

    assert found is not None
    assert (found.authorization, found.token) == (source.authorization, source.token)
    assert (found.revocation, found.scope) == (source.revocation, source.scope)
    assert any(source.source in each for each in found.sources)
    for address in (found.authorization, found.token, found.clients, found.consents):
        assert urlsplit(address).scheme == "https"
    # A tenant's application of Microsoft may stand in the environment beside it.
    assert not re.fullmatch(found.client_id, "b3a3f9d2-6c0b-4a51-8f55-3a3c0f5d0002")


@pytest.mark.parametrize("preset", PROVIDERS.values(), ids=lambda preset: preset.name)
def test_tokens_are_offered_just_where_something_is_known_of_them(preset: Provider) -> None:
    has_way = bool(preset.clouds) or preset.oauth is not None

    assert (SignInKind.OAUTH in preset.sign_in) is has_way


@pytest.mark.parametrize("name", PUBLISHED)
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
        ("mx2.zoho.com", "zoho"),
        ("mx.zoho.eu", "zoho-eu"),
        ("mx3.zoho.in", "zoho-in"),
        ("mx.zoho.com.au", "zoho-au"),
        ("mx.zoho.jp", "zoho-jp"),
        ("mx.zohocloud.ca", "zoho-ca"),
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


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("zoho:a@zohomail.com", "imap.zoho.com"),
        ("zoho:a@company.example", "imappro.zoho.com"),
        ("zoho-eu:a@zohomail.eu", "imap.zoho.eu"),
        ("zoho-eu:a@company.example", "imappro.zoho.eu"),
        ("zoho-eu+pop3:a@company.example", "poppro.zoho.eu"),
        ("zoho-ca:a@company.example", "imap.zohocloud.ca"),
        ("gmail:a@company.example", "imap.gmail.com"),
    ],
)
def test_a_domain_of_one_s_own_may_be_read_elsewhere(text: str, host: str) -> None:
    account = parse_account(text)

    assert account.host == host
    found = by_host(host)
    assert found is not None
    assert found.name == account.provider


def test_yahoo_takes_mail_at_another_host_than_it_is_read() -> None:
    account = parse_account("yahoo:a@yahoo.com")

    assert account.host == "export.imap.mail.yahoo.com"
    assert account.as_target().host == "imap.mail.yahoo.com"
    assert account.as_target().key == account.key
    for text in ("aol:a@aol.com", "gmail:a@gmail.com", "imaps://a@b.example"):
        assert parse_account(text).as_target() == parse_account(text)


def test_gmail_s_day_by_pop3_is_less_than_what_google_names() -> None:
    assert 0 < PROVIDERS["gmail"].daily["pop3"] < 1_250 * 10**6


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
    assert window("export.imap.aol.com") == 100_000
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
