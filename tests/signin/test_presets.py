"""``office365:USER``: one account, wherever its server is today."""

from __future__ import annotations

import pytest

from waystation.address import parse_account, parse_server
from waystation.errors import UsageError
from waystation.providers import PROVIDERS, audiences


def test_a_preset_names_host_port_and_encryption() -> None:
    account = parse_account("office365:Bob@Contoso.com")

    assert (account.host, account.port, account.security) == ("outlook.office365.com", 993, "tls")
    assert account.user == "Bob@Contoso.com"
    assert account.provider == "office365"
    assert account.name == "office365:Bob@Contoso.com"


def test_the_key_is_the_same_at_every_address_and_in_every_spelling() -> None:
    account = parse_account("Office365:Bob@Contoso.com")

    assert account.key == "office365:bob@contoso.com"
    assert account.at("localhost", 1993).key == account.key
    assert account.at("localhost", 1993).host == "localhost"


def test_a_server_by_its_address_belongs_to_no_provider() -> None:
    account = parse_account("imaps://bob@outlook.office365.com")

    assert account.provider is None
    assert account.key == "imaps://bob@outlook.office365.com:993"


def test_an_unknown_provider_is_told_which_are_known() -> None:
    with pytest.raises(UsageError, match="Known are aol:USER, gmail:USER"):
        parse_account("mars:bob@example.com")


@pytest.mark.parametrize("text", ["office365:bob", "office365:@contoso.com", "office365:a@b:c@d.e"])
def test_a_preset_wants_an_address(text: str) -> None:
    with pytest.raises(UsageError, match="address, such as office365:bob@contoso"):
        parse_account(text)


def test_what_may_be_a_password_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        parse_account("alice:s3cret@host.example")

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [("localhost:993", ("localhost", 993)), ("[::1]:1993", ("::1", 1993))],
)
def test_another_address_is_host_and_port(text: str, found: tuple[str, int]) -> None:
    assert parse_server(text) == found


@pytest.mark.parametrize("text", ["localhost", "localhost:0", "localhost:99999", "a@b:1", ""])
def test_half_an_address_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        parse_server(text)


def test_each_cloud_has_host_authority_and_scopes_of_its_own() -> None:
    office = PROVIDERS["office365"]

    assert office.cloud(None).name == "worldwide"
    assert office.cloud("GCC-High").imap_host == "outlook.office365.us"
    assert office.cloud("21vianet").app_scope == "https://partner.outlook.cn/.default"
    assert office.cloud("consumers").tenant == "consumers"
    assert office.cloud(None).app_scope == "https://outlook.office365.com/.default"
    assert (
        office.cloud(None).user_scope_of("imap")
        == "https://outlook.office.com/IMAP.AccessAsUser.All"
    )
    assert office.cloud(None).user_scope_of("pop3").endswith("/POP.AccessAsUser.All")
    for cloud in office.clouds.values():
        assert cloud.audience in audiences()
        assert cloud.authority.startswith("https://login.")
    with pytest.raises(UsageError, match="worldwide, gcc-high, dod"):
        office.cloud("mars")
