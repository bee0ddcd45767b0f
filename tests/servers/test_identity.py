"""The identity provider of the tests, asked by msal itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import jwt
import msal
import pytest
import requests

from tests.servers.identity import CLIENT, GRAPH, OUTLOOK, SECRET, USER, IdentityProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCOPE = f"{OUTLOOK}/.default"
_DELEGATED = "https://outlook.office.com/IMAP.AccessAsUser.All"


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[IdentityProvider]:
    with IdentityProvider(tmp_path) as running:
        yield running


@pytest.fixture
def http(provider: IdentityProvider) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.verify = str(provider.ca_file)
        session.trust_env = False
        yield session


def _confidential(
    provider: IdentityProvider, http: requests.Session, credential: object = SECRET
) -> Any:
    return msal.ConfidentialClientApplication(
        CLIENT,
        authority=provider.authority,
        client_credential=credential,
        instance_discovery=False,
        http_client=http,
    )


def _public(provider: IdentityProvider, http: requests.Session) -> Any:
    return msal.PublicClientApplication(
        CLIENT, authority=provider.authority, instance_discovery=False, http_client=http
    )


def test_a_secret_is_worth_an_app_token(provider: IdentityProvider, http: requests.Session) -> None:
    result = _confidential(provider, http).acquire_token_for_client([_SCOPE])

    claims = provider.claims_of(result["access_token"])
    assert claims["aud"] == OUTLOOK
    assert claims["roles"] == ["IMAP.AccessAsApp"]
    assert claims["tid"] == provider.tenant
    assert result["expires_in"] == 3600


def test_a_wrong_secret_is_refused_in_entras_words(
    provider: IdentityProvider, http: requests.Session
) -> None:
    result = _confidential(provider, http, "wrong").acquire_token_for_client([_SCOPE])

    assert result["error_codes"] == [7000215]
    assert result["error_description"].startswith("AADSTS7000215: Invalid client secret")


@pytest.mark.parametrize("with_sha1", [True, False])
def test_a_certificate_is_worth_an_app_token(
    provider: IdentityProvider, http: requests.Session, with_sha1: bool
) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    pem = provider.certificate_file().read_text()
    certificate = x509.load_pem_x509_certificate(pem.encode())
    credential = {"private_key": pem}
    if with_sha1:
        credential["thumbprint"] = certificate.fingerprint(hashes.SHA1()).hex()
    else:
        credential["public_certificate"] = pem

    result = _confidential(provider, http, credential).acquire_token_for_client([_SCOPE])

    assert provider.claims_of(result["access_token"])["idtyp"] == "app"


def test_a_certificate_that_is_not_registered_is_refused(
    provider: IdentityProvider, http: requests.Session
) -> None:
    pem = provider.certificate_file("other", registered=False).read_text()
    credential = {"private_key": pem, "public_certificate": pem}

    result = _confidential(provider, http, credential).acquire_token_for_client([_SCOPE])

    assert result["error_codes"] == [700027]


def test_a_device_code_waits_for_approval_and_can_be_refreshed_until_revoked(
    provider: IdentityProvider, http: requests.Session
) -> None:
    app = _public(provider, http)
    flow = app.initiate_device_flow([_DELEGATED])

    def poll() -> dict[str, Any]:
        found: dict[str, Any] = app.acquire_token_by_device_flow(
            flow, exit_condition=lambda _: True
        )
        return found

    assert poll()["error"] == "authorization_pending"
    provider.approve()
    assert provider.claims_of(poll()["access_token"])["upn"] == USER

    (account,) = app.get_accounts()
    assert account["username"] == USER
    again = app.acquire_token_silent_with_error([_DELEGATED], account, force_refresh=True)
    assert provider.claims_of(again["access_token"])["scp"] == "IMAP.AccessAsUser.All"
    provider.revoke()
    gone = app.acquire_token_silent_with_error([_DELEGATED], account, force_refresh=True)
    assert gone["error_codes"] == [50173]


def test_whoever_declines_gets_no_token(provider: IdentityProvider, http: requests.Session) -> None:
    app = _public(provider, http)
    flow = app.initiate_device_flow([_DELEGATED])
    provider.decline()

    result = app.acquire_token_by_device_flow(flow, exit_condition=lambda _: True)

    assert result["error"] == "authorization_declined"


def test_the_browser_brings_a_code_that_only_its_asker_can_redeem(
    provider: IdentityProvider, http: requests.Session
) -> None:
    app = _public(provider, http)
    flow = app.initiate_auth_code_flow(
        [_DELEGATED], redirect_uri="http://localhost:1", response_mode="form_post"
    )
    page = http.get(flow["auth_uri"]).text
    code = page.split('name="code" value="')[1].split('"')[0]

    flow["code_verifier"] = "a" * 43
    result = app.acquire_token_by_auth_code_flow(flow, {"code": code, "state": flow["state"]})

    assert result["error"] == "invalid_grant"


def test_a_token_of_another_signer_is_none(provider: IdentityProvider) -> None:
    forged = jwt.encode({"aud": OUTLOOK}, "a key of somebody else, thirty-two octets", "HS256")

    with pytest.raises(ValueError, match="no token of this provider"):
        provider.claims_of(forged)


def test_claims_and_lifetime_are_whatever_a_test_wants(provider: IdentityProvider) -> None:
    provider.skew = -7200
    token = provider.issue(user="a@b", audience=GRAPH, expires_in=60, roles=None, scp="Mail.Read")

    claims = provider.claims_of(token)

    assert claims["aud"] == GRAPH
    assert claims["scp"] == "Mail.Read"
    assert isinstance(claims["exp"], int)
    assert claims["exp"] < time.time()


def test_busy_and_refusing_pass_after_the_stated_times(
    provider: IdentityProvider, http: requests.Session
) -> None:
    token = f"{provider.authority}/oauth2/v2.0/token"
    form = {
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "client_secret": SECRET,
        "scope": _SCOPE,
    }
    provider.busy(429, retry_after=7)
    provider.refuse(700016)

    busy = http.post(token, form)
    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "7")
    assert http.post(token, form).json()["error_codes"] == [700016]
    assert "access_token" in http.post(token, form).json()
    assert provider.count("token", "client_credentials") == 3


def test_another_tenant_is_unknown(provider: IdentityProvider, http: requests.Session) -> None:
    answer = http.get(f"{provider.base}/other/v2.0/.well-known/openid-configuration")

    assert answer.status_code == 400
    assert answer.json()["error_codes"] == [90002]
