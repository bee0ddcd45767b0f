"""Tokens, asked of an identity provider that behaves like Entra ID."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.servers.identity import (
    CLIENT,
    GRAPH,
    OUTLOOK,
    REFUSALS,
    SECRET,
    USER,
    IdentityProvider,
)
from waystation import oauth
from waystation.errors import (
    CertificateError,
    IdentityBusyError,
    SignInError,
    UsageError,
    WaystationError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.signin.conftest import Clock
    from waystation.oauth import Registration, Store, Web

RIGHT = oauth.Secret(SECRET)


def app_tokens(
    app: Registration, web: Web, clock: Clock, proof: oauth.Secret | oauth.Certificate = RIGHT
) -> oauth.Tokens:
    return oauth.app_tokens(app, proof, USER, web, clock=clock)


# --- the application as itself


def test_a_client_secret_brings_a_token_that_says_what_it_is(
    app: Registration, web: Web, clock: Clock
) -> None:
    token = app_tokens(app, web, clock).token()

    assert token.audience == OUTLOOK
    assert token.roles == ("IMAP.AccessAsApp",)
    assert token.is_app_only
    assert token.app_id == CLIENT
    assert token.expires_at == clock.now + 3600


def test_a_token_is_never_shown(app: Registration, web: Web, clock: Clock) -> None:
    tokens = app_tokens(app, web, clock)
    token = tokens.token()

    for thing in (token, tokens, RIGHT, oauth.Certificate("PEM", "pass")):
        for secret in (token.secret, SECRET, "PEM", "pass"):
            assert secret not in repr(thing)


@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_a_certificate_brings_a_token(
    provider: IdentityProvider,
    app: Registration,
    web: Web,
    clock: Clock,
    passphrase: str | None,
) -> None:
    file = provider.certificate_file(passphrase=passphrase)

    token = app_tokens(app, web, clock, oauth.Certificate.read(file, passphrase)).token()

    assert token.roles == ("IMAP.AccessAsApp",)


def test_a_wrong_passphrase_is_told_without_showing_it(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock
) -> None:
    file = provider.certificate_file(passphrase="open sesame")

    with pytest.raises(SignInError, match="--client-certificate-passphrase-env") as caught:
        app_tokens(app, web, clock, oauth.Certificate.read(file, "open barley")).token()

    assert "barley" not in str(caught.value)


def test_a_file_without_a_certificate_is_told_what_it_lacks(
    provider: IdentityProvider, tmp_path: Path
) -> None:
    whole = provider.certificate_file().read_text()
    half = tmp_path / "half.pem"
    half.write_text(whole.partition("-----BEGIN CERTIFICATE-----")[0])

    with pytest.raises(UsageError, match="holds no certificate"):
        oauth.Certificate.read(half)
    with pytest.raises(UsageError, match="cannot be read"):
        oauth.Certificate.read(tmp_path / "none.pem")


def test_a_certificate_of_somebody_else_is_refused(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock
) -> None:
    file = provider.certificate_file("other", registered=False)

    with pytest.raises(SignInError, match="upload the certificate"):
        app_tokens(app, web, clock, oauth.Certificate.read(file)).token()


def test_a_wrong_secret_is_told_with_what_to_do(app: Registration, web: Web, clock: Clock) -> None:
    with pytest.raises(SignInError) as caught:
        app_tokens(app, web, clock, oauth.Secret("hunter2-and-more")).token()

    assert "the client secret is wrong (AADSTS7000215)" in str(caught.value)
    assert "Certificates & secrets" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_unknown_application_and_an_unknown_tenant_are_told_apart(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock
) -> None:
    with pytest.raises(SignInError, match=r"not known in this tenant.*Check --client-id"):
        app_tokens(replace(app, client_id="somebody"), web, clock).token()
    elsewhere = replace(app, authority=f"{provider.base}/elsewhere.example")
    with pytest.raises(SignInError, match=r"tenant does not exist.*Check --tenant"):
        app_tokens(elsewhere, web, clock).token()


@pytest.mark.parametrize("code", sorted(set(REFUSALS) - {70016}))
def test_every_refusal_names_its_number_and_a_mend(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock, code: int
) -> None:
    provider.refuse(code)

    with pytest.raises(SignInError) as caught:
        app_tokens(app, web, clock).token()

    assert f"AADSTS{code}" in str(caught.value)
    assert caught.value.mends
    assert "Trace ID" not in str(caught.value)
    assert caught.value.exit_code == 12


# --- renewal


def test_a_token_is_used_until_five_minutes_before_its_end(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock
) -> None:
    tokens = app_tokens(app, web, clock)
    first = tokens.token()

    clock.now += 3299
    assert tokens.token().secret == first.secret
    assert not tokens.must_renew(first)
    clock.now += 2
    assert tokens.must_renew(first)
    assert not tokens.is_expired(first)
    second = tokens.token()

    assert second.secret != first.secret
    assert provider.count() == 2


def test_short_lived_tokens_are_neither_fetched_for_each_call_nor_used_after_their_end(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock
) -> None:
    provider.expires_in = 60
    tokens = app_tokens(app, web, clock)

    for _ in range(300):
        token = tokens.token()
        assert not tokens.is_expired(token)
        assert not tokens.must_renew(token)
        clock.now += 1

    # 300 seconds, a new token after 48 of each: neither more nor fewer
    assert provider.count() == 7


def test_a_discarded_token_is_not_handed_out_again(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock
) -> None:
    tokens = app_tokens(app, web, clock)
    first = tokens.token()

    tokens.discard(first)

    assert tokens.token().secret != first.secret
    assert provider.count() == 2


def test_a_wrong_clock_here_does_not_matter(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock
) -> None:
    provider.skew = 86_400
    token = app_tokens(app, web, clock).token()

    assert token.expires_at == clock.now + 3600


# --- a busy or broken provider


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_provider_is_asked_again_soon(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock, status: int
) -> None:
    provider.busy(status, times=2)

    assert app_tokens(app, web, clock).token().audience == OUTLOOK
    assert clock.slept == [1.0, 3.0]


def test_a_provider_that_stays_busy_is_no_refusal(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock
) -> None:
    provider.busy(429, times=99, retry_after=90)

    with pytest.raises(IdentityBusyError, match="status 429") as caught:
        app_tokens(app, web, clock).token()

    assert caught.value.retriable
    assert caught.value.backoff == 90
    assert caught.value.exit_code == 1
    assert clock.slept == []


def test_a_busy_discovery_is_no_unknown_tenant(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock
) -> None:
    provider.busy(429, times=99, where="openid-configuration")

    with pytest.raises(IdentityBusyError):
        app_tokens(app, web, clock).token()


def test_what_does_not_describe_itself_is_no_provider(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock
) -> None:
    provider.busy(200, where="openid-configuration")

    with pytest.raises(SignInError, match="--authority"):
        app_tokens(app, web, clock).token()


def test_a_secret_does_not_follow_a_redirection(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock
) -> None:
    provider.busy(307, times=99)

    with pytest.raises(WaystationError):
        app_tokens(app, web, clock).token()

    assert provider.count() == 1
    assert provider.count("elsewhere") == 0


def test_a_provider_that_is_not_there_may_come_back(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock
) -> None:
    nowhere = replace(app, authority="https://localhost:1/tenant")

    with pytest.raises(IdentityBusyError, match="localhost") as caught:
        app_tokens(nowhere, web, clock).token()

    assert caught.value.retriable


def test_a_provider_that_nobody_certifies_gets_no_secret(
    provider: IdentityProvider, app: Registration, clock: Clock
) -> None:
    with pytest.raises(CertificateError, match="--ca-file"):
        app_tokens(app, oauth.Web(sleep=clock.sleep), clock).token()

    assert provider.requests == []


def test_a_ca_file_is_trusted_whatever_the_environment_says(
    app: Registration, web: Web, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tests.fakes.certificates import TestAuthority

    (tmp_path / "other").mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TestAuthority(tmp_path / "other").ca_file))

    assert app_tokens(app, web, clock).token().audience == OUTLOOK


# --- a user


def test_a_device_code_signs_a_user_in_and_later_commands_find_the_sign_in(
    provider: IdentityProvider, delegated: Registration, store: Store, web: Web, clock: Clock
) -> None:
    shown: list[str] = []
    provider.approves_after = 2
    token = oauth.sign_in_with_code(delegated, USER, store, web, shown.append)

    assert token.user == USER
    assert token.scopes == ("IMAP.AccessAsUser.All",)
    assert "enter the code" in shown[0]
    assert clock.slept == [1.0, 1.0]
    again = oauth.user_tokens(delegated, USER.upper(), store, web).token()
    assert not again.is_fresh
    assert again.secret == token.secret


@pytest.mark.parametrize(
    ("act", "cause"), [("decline", "declined"), ("expire_device_codes", "time")]
)
def test_a_device_code_that_comes_to_nothing_says_why(
    provider: IdentityProvider,
    delegated: Registration,
    store: Store,
    web: Web,
    act: str,
    cause: str,
) -> None:
    def person(_: str) -> None:
        getattr(provider, act)()

    with pytest.raises(SignInError, match=cause):
        oauth.sign_in_with_code(delegated, USER, store, web, person)


def test_nobody_types_the_code_and_the_wait_ends(
    provider: IdentityProvider, delegated: Registration, store: Store, web: Web, clock: Clock
) -> None:
    provider.interval = 100

    with pytest.raises(SignInError, match="not entered in time"):
        oauth.sign_in_with_code(delegated, USER, store, web, lambda _: None, clock=clock)

    assert sum(clock.slept) == 900


def test_somebody_else_who_signs_in_is_noticed(
    provider: IdentityProvider, delegated: Registration, store: Store, web: Web
) -> None:
    provider.approves_after = 0
    provider.user = "alice@contoso.example"

    with pytest.raises(
        SignInError, match=r"alice@contoso\.example signed in, not bob@.*--sign-in-as"
    ):
        oauth.sign_in_with_code(delegated, USER, store, web, lambda _: None)


def test_without_a_sign_in_the_way_to_one_is_told(
    delegated: Registration, store: Store, web: Web, provider: IdentityProvider
) -> None:
    with pytest.raises(SignInError, match="waystation login office365:bob"):
        oauth.user_tokens(delegated, USER, store, web).token()

    assert provider.requests == []


def test_a_users_token_is_renewed_by_the_refresh_token(
    provider: IdentityProvider, delegated: Registration, signed_in: Store, web: Web, clock: Clock
) -> None:
    tokens = oauth.user_tokens(delegated, USER, signed_in, web, clock=clock)
    first = tokens.token()
    clock.now = first.renew_at

    second = tokens.token()

    assert second.secret != first.secret
    assert second.is_fresh
    assert provider.count("token", "refresh_token") == 1


def test_a_revoked_sign_in_says_sign_in_again(
    provider: IdentityProvider, delegated: Registration, signed_in: Store, web: Web, clock: Clock
) -> None:
    tokens = oauth.user_tokens(delegated, USER, signed_in, web, clock=clock)
    clock.now = tokens.token().renew_at
    provider.revoke()

    with pytest.raises(SignInError, match=r"revoked.*waystation login office365:bob@"):
        tokens.token()


def test_a_consent_that_was_withdrawn_names_the_administrators_step(
    provider: IdentityProvider, delegated: Registration, signed_in: Store, web: Web, clock: Clock
) -> None:
    tokens = oauth.user_tokens(delegated, USER, signed_in, web, clock=clock)
    clock.now = tokens.token().renew_at
    provider.refuse(65001)

    with pytest.raises(SignInError, match="Grant admin consent"):
        tokens.token()


def test_signing_out_forgets_the_user_and_no_other(
    provider: IdentityProvider, delegated: Registration, signed_in: Store, web: Web
) -> None:
    provider.user = "alice@contoso.example"
    oauth.sign_in_with_code(delegated, provider.user, signed_in, web, lambda _: None)

    assert oauth.sign_out(delegated, USER, signed_in, web) == 1
    assert oauth.sign_out(delegated, USER, signed_in, web) == 0
    with pytest.raises(SignInError, match="nobody has signed in"):
        oauth.user_tokens(delegated, USER, signed_in, web).token()
    assert oauth.user_tokens(delegated, provider.user, signed_in, web).token().user == provider.user


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_the_file_of_sign_ins_is_for_its_owner_alone_and_told_of_once(
    delegated: Registration, signed_in: Store, web: Web, told: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "data" / "tokens.json"
    file.chmod(0o644)  # somebody was careless

    oauth.user_tokens(delegated, USER, signed_in, web).token()

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert len(told) == 1
    assert str(file) in told[0]


def test_a_damaged_file_of_sign_ins_is_told_and_its_content_is_not(
    delegated: Registration, signed_in: Store, web: Web, tmp_path: Path
) -> None:
    (tmp_path / "data" / "tokens.json").write_text('{"AccessToken": hush-hush')

    with pytest.raises(SignInError, match="damaged") as caught:
        oauth.user_tokens(delegated, USER, signed_in, web).token()

    assert "hush" not in str(caught.value)


# --- who we are


def test_reserved_scopes_are_left_to_msal(
    provider: IdentityProvider, web: Web, store: Store
) -> None:
    scope = "openid offline_access https://outlook.office.com/IMAP.AccessAsUser.All profile"
    registration = oauth.Registration(CLIENT, provider.authority, scope)
    provider.approves_after = 0

    token = oauth.sign_in_with_code(registration, USER, store, web, lambda _: None)

    assert token.scopes == ("IMAP.AccessAsUser.All",)


@pytest.mark.parametrize(
    "authority",
    ["http://login.example/t", "https://login.example", "login.example/t", "https:///t"],
)
def test_an_authority_without_host_or_tenant_is_wrong_usage(authority: str) -> None:
    with pytest.raises(UsageError, match="https://HOST/TENANT"):
        oauth.Registration(CLIENT, authority, f"{GRAPH}/.default")


def test_no_scope_but_reserved_ones_is_wrong_usage(provider: IdentityProvider) -> None:
    with pytest.raises(UsageError, match="--scope"):
        oauth.Registration(CLIENT, provider.authority, "openid")


def test_where_sign_ins_are_kept_follows_the_platform(tmp_path: Path) -> None:
    found = oauth.store_file({"XDG_DATA_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)})

    assert found.name == "tokens.json"
    assert found.parent.name == "waystation"


def test_no_error_of_msal_gets_out(
    provider: IdentityProvider, app: Registration, web: Web, clock: Clock
) -> None:
    with pytest.raises(WaystationError):
        app_tokens(app, web, clock, oauth.Certificate("no key at all")).token()
