"""What a token says of itself, and what that explains."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from waystation.errors import NotConnectedError, SignInError
from waystation.mends import (
    mailbox_steps,
    not_connected,
    refused_session,
    refused_token,
    visible_faults,
)
from waystation.token import SharedTokens, Token, Tokens, claims_of

if TYPE_CHECKING:
    from collections.abc import Mapping

TENANT = "7f0f6a1e-5f0e-4c6b-9d43-3a3c0f5d0001"
APP: Mapping[str, object] = {
    "aud": "https://outlook.office365.com",
    "idtyp": "app",
    "appid": "the-app",
    "oid": "the-enterprise-app",
    "tid": TENANT,
    "roles": ["IMAP.AccessAsApp"],
}
USER: Mapping[str, object] = {
    "aud": "https://outlook.office.com",
    "appid": "the-app",
    "upn": "bob@contoso.com",
    "tid": TENANT,
    "scp": "IMAP.AccessAsUser.All Mail.Read",
}


def token(claims: Mapping[str, object], lasts: float = 3600) -> Token:
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return Token.of(f"head.{middle}.signature", lasts, 1000.0)


@pytest.mark.parametrize(
    ("lasts", "renew_at"), [(3600, 4300), (86_400, 87_100), (1500, 2200), (60, 1048), (10, 1008)]
)
def test_a_token_is_renewed_five_minutes_or_a_fifth_of_its_life_before_its_end(
    lasts: float, renew_at: float
) -> None:
    assert token(APP, lasts).renew_at == renew_at


def test_application_and_user_are_told_apart() -> None:
    assert token(APP).is_app_only
    assert not token(USER).is_app_only
    without_kind = {name: value for name, value in APP.items() if name != "idtyp"}
    assert token(without_kind).is_app_only
    assert token(USER).user == "bob@contoso.com"
    assert token(USER).scopes == ("IMAP.AccessAsUser.All", "Mail.Read")


@pytest.mark.parametrize(
    "secret",
    ["EwBgA8l6BAAU", "a.b.c", "a.!!!.c", "..", "a." + base64.b64encode(b"[1]").decode() + ".c"],
)
def test_a_token_that_cannot_be_read_has_no_claims_and_no_faults(secret: str) -> None:
    unreadable = Token.of(secret, 3600, 0)

    assert claims_of(secret) == {}
    assert not unreadable.is_app_only
    assert visible_faults(unreadable, TENANT, is_expired=False) == []


@pytest.mark.parametrize(
    ("claims", "fault"),
    [
        ({**APP, "aud": "https://graph.microsoft.com"}, "is for https://graph.microsoft.com"),
        ({**APP, "roles": []}, "lacks the role IMAP.AccessAsApp (it has none)"),
        ({**APP, "roles": ["Mail.Read"]}, "(it has Mail.Read)"),
        ({**USER, "scp": "Mail.Read"}, "lacks the permission IMAP.AccessAsUser.All"),
        ({**APP, "tid": "another"}, "of another tenant (another)"),
    ],
)
def test_what_a_token_lacks_is_seen_in_it(claims: Mapping[str, object], fault: str) -> None:
    (found,) = visible_faults(token(claims), TENANT, is_expired=False)

    assert fault in found[0]
    assert found[1]


@pytest.mark.parametrize(
    "claims", [APP, USER, {**APP, "aud": "00000002-0000-0ff1-ce00-000000000000"}]
)
@pytest.mark.parametrize("tenant", [TENANT, TENANT.upper(), "contoso.com", "organizations"])
def test_a_right_token_has_no_faults(claims: Mapping[str, object], tenant: str) -> None:
    assert visible_faults(token(claims), tenant, is_expired=False) == []


def test_an_expired_token_says_look_at_the_clock() -> None:
    error = refused_session(token(USER), "bob@contoso.com", TENANT, "NO", is_expired=True)

    assert "expired" in error.cause
    assert "clock" in error.mends[0]


def test_a_right_token_that_is_refused_brings_the_commands_with_the_numbers_filled_in() -> None:
    error = refused_session(
        token(APP), "bob@contoso.com", TENANT, "AUTHENTICATE failed.", is_expired=False
    )

    assert isinstance(error, SignInError)
    said = str(error)
    assert "New-ServicePrincipal -AppId the-app -ObjectId the-enterprise-app" in said
    assert (
        "Add-MailboxPermission -Identity bob@contoso.com -User the-enterprise-app"
        " -AccessRights FullAccess" in said
    )
    assert "Set-CASMailbox -Identity bob@contoso.com -ImapEnabled $true" in said


def test_a_delegate_needs_a_permission_and_an_owner_does_not() -> None:
    shared = " ".join(mailbox_steps(token(USER), "sales@contoso.com"))
    own = " ".join(mailbox_steps(token(USER), "Bob@contoso.com"))

    assert "Add-MailboxPermission -Identity sales@contoso.com -User bob@contoso.com" in shared
    assert "Add-MailboxPermission" not in own
    assert "New-ServicePrincipal" not in shared


def test_a_mailbox_that_stays_shut_has_a_list_to_go_through() -> None:
    error = not_connected(None, "bob@contoso.com", "BAD User is authenticated but not connected.")

    assert isinstance(error, NotConnectedError)
    assert error.exit_code == 12
    assert "APPLICATION-ID" in str(error)
    assert "too many connections" in error.mends[-1]


def test_words_of_a_server_cannot_forge_a_line() -> None:
    forged = {
        "error": "invalid_client",
        "error_description": "AADSTS1: x\r\nwaystation: all is well",
    }

    error = refused_token(forged, "bob@contoso.com\n")

    assert "\n" not in str(error)
    assert "all is well" not in str(error)


def test_a_shared_token_that_a_mailbox_refuses_is_asked_for_anew_once_it_is_no_longer_new() -> None:
    clock = [1000.0]
    asked: list[Token] = []

    def acquire(_: bool) -> Token:
        asked.append(Token.of(f"token {len(asked)}", 3600, clock[0]))
        return asked[-1]

    single = Tokens(acquire, "all", tenant=TENANT, is_app_only=True, clock=lambda: clock[0])
    shared = SharedTokens(single, lambda: clock[0])
    first = shared.token()

    shared.discard(first)
    assert shared.token().secret == first.secret

    clock[0] += 120
    another = shared.token()
    assert another.secret == first.secret
    # Whoever holds it from the beginning knows that it is refused, as well as who has it now.
    shared.discard(first)
    renewed = shared.token()
    shared.discard(another)
    assert renewed.secret == shared.token().secret == "token 1"
    assert len(asked) == 2
