"""``waystation providers``: what is known, for a person and for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from waystation.providers import PROVIDERS

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine


def test_all_providers_are_shown_one_in_a_line(waystation: CommandLine) -> None:
    shown = waystation("providers")

    assert shown.code == 0
    names = [line.split()[0] for line in shown.out.splitlines()]
    assert names == ["provider", *PROVIDERS]


@pytest.mark.parametrize("name", ["yahoo", "ymail", "Yahoo", "alice@yahoo.com", "yahoo.com"])
def test_one_provider_is_shown_with_all_that_is_known(waystation: CommandLine, name: str) -> None:
    shown = waystation("providers", name)

    assert "export.imap.mail.yahoo.com:993 TLS" in shown.out
    assert "https://login.yahoo.com/account/security" in shown.out
    assert "yahoo:USER or yahoo+pop3:USER" in shown.out


def test_a_kind_of_server_says_how_to_write_it(waystation: CommandLine) -> None:
    shown = waystation("providers", "dovecot")

    assert "imaps://USER@HOST[:PORT]" in shown.out
    assert "master user" in shown.out


def test_programs_get_each_provider_whole(waystation: CommandLine) -> None:
    shown = waystation("providers", "--json")

    rows = {line["name"]: line for line in shown.lines if line["type"] == "provider"}
    assert list(rows) == list(PROVIDERS)
    assert rows["icloud"]["pop3"] is None
    assert rows["icloud"]["login"] == "local part"
    assert rows["gmail"]["imap"] == {"host": "imap.gmail.com", "port": 993, "security": "tls"}
    assert rows["gmail"]["oauth"]["scope"] == "https://mail.google.com/"
    assert rows["gmail"]["oauth"]["service_accounts"] is True
    assert rows["yahoo"]["oauth"] is None
    assert rows["yahoo"]["target"]["host"] == "imap.mail.yahoo.com"
    assert shown.summary["providers"] == len(PROVIDERS)


def test_a_provider_of_tokens_says_where_a_client_is_made(waystation: CommandLine) -> None:
    shown = waystation("providers", "gmail")

    assert "OAuth     by a client of your own, registered at https://console.cloud" in shown.out
    assert "source    Google, 'OAuth 2.0 for Mobile & Desktop Apps'" in shown.out


def test_an_unknown_provider_is_told_which_are_known(waystation: CommandLine) -> None:
    shown = waystation("providers", "mars")

    assert shown.code == 2
    assert "Known are aol, gmail" in shown.one_error
