"""Tokens by one's own client, asked of an authorization server that behaves like Google's."""

from __future__ import annotations

import logging
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import pytest

from tests.servers import browser
from tests.servers.google import CLIENT, SCOPE, SECRET, USER, GoogleIdentity
from waystation import grants
from waystation.errors import (
    CertificateError,
    IdentityBusyError,
    SignInError,
    UsageError,
)
from waystation.kept import Store
from waystation.providers import PROVIDERS
from waystation.web import Web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.signin.conftest import Clock

GMAIL = PROVIDERS["gmail"]


@pytest.fixture
def google(tmp_path: Path, clock: Clock) -> Iterator[GoogleIdentity]:
    with GoogleIdentity(tmp_path, clock=clock) as running:
        yield running


@pytest.fixture
def web(google: GoogleIdentity, clock: Clock) -> Web:
    return Web(google.ca_file, 10, clock.sleep)


@pytest.fixture
def client(google: GoogleIdentity) -> grants.Client:
    assert GMAIL.oauth is not None
    there = GMAIL.oauth.at(google.base.removeprefix("https://"))
    return grants.Client(GMAIL, there, CLIENT, SECRET)


@pytest.fixture
def store(tmp_path: Path, told: list[str]) -> Store:
    return Store(tmp_path / "data" / "grants.json", told.append)


@pytest.fixture
def agrees(google: GoogleIdentity, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], bool]:
    """A browser whose person agrees to everything."""

    def opened(address: str) -> bool:
        threading.Thread(target=browser.visit, args=(address, google.ca_file), daemon=True).start()
        return True

    monkeypatch.setattr("webbrowser.open", opened)
    return opened


@pytest.fixture
def signed_in(client: grants.Client, store: Store, web: Web, clock: Clock, agrees: object) -> Store:
    """A store in which the user's sign-in is kept."""
    grants.sign_in(client, USER, store, web, lambda _: None, timeout=20, clock=clock)
    return store


def renewed(client: grants.Client, store: Store, web: Web, clock: Clock, user: str = USER) -> str:
    return grants.user_tokens(client, user, store, web, clock=clock).token().secret


# --- a person consents


def test_a_browser_comes_back_by_itself_and_the_sign_in_is_kept_for_its_owner_alone(
    google: GoogleIdentity,
    client: grants.Client,
    signed_in: Store,
    web: Web,
    clock: Clock,
    tmp_path: Path,
    told: list[str],
) -> None:
    first = renewed(client, signed_in, web, clock)

    assert google.opens(first, USER)
    file = tmp_path / "data" / "grants.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert len(told) == 1
    assert str(file) in told[0]


def test_the_client_s_secret_is_kept_with_the_sign_in(
    client: grants.Client, signed_in: Store, web: Web, clock: Clock, google: GoogleIdentity
) -> None:
    without = replace(client, secret=None)

    assert google.opens(renewed(without, signed_in, web, clock), USER)


def test_a_client_without_a_secret_signs_in_by_pkce_alone(
    google: GoogleIdentity,
    client: grants.Client,
    store: Store,
    web: Web,
    clock: Clock,
    agrees: object,
) -> None:
    google.client_secret = None
    public = replace(client, secret=None)

    grants.sign_in(public, USER, store, web, lambda _: None, timeout=20, clock=clock)

    assert google.opens(renewed(public, store, web, clock), USER)


def test_any_browser_will_do_where_the_address_is_pasted(
    google: GoogleIdentity, client: grants.Client, store: Store, web: Web, clock: Clock
) -> None:
    shown: list[str] = []

    def person(wanted: str) -> str:
        assert "finds nothing at http://127.0.0.1" in wanted
        address = shown[-1].partition("any browser: ")[2]
        # The machine of that browser is another one: there nobody listens.
        answer = google.answer("GET", address.removeprefix(google.base), {})
        return f"  {answer.headers['Location']}\n"

    token = grants.sign_in(client, USER, store, web, shown.append, paste=person, clock=clock)

    assert google.opens(token.secret, USER)
    assert google.opens(renewed(client, store, web, clock), USER)


def test_a_browser_of_this_machine_says_what_to_paste(
    google: GoogleIdentity, client: grants.Client, store: Store, web: Web, clock: Clock
) -> None:
    shown: list[str] = []

    def person(wanted: str) -> str:
        address = shown[-1].partition("any browser: ")[2]
        location = google.answer("GET", address.removeprefix(google.base), {}).headers["Location"]
        with urlopen(location, timeout=10) as page:
            assert "Copy the whole address of this page" in page.read().decode()
        return location

    token = grants.sign_in(client, USER, store, web, shown.append, paste=person, clock=clock)

    assert google.opens(token.secret, USER)


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("http://127.0.0.1:9/?state=another&code=4/x", "of another sign-in"),
        ("", "no address that a browser ended up at"),
        ("what shall I do?", "no address that a browser ended up at"),
        ("Error 400: redirect_uri_mismatch", "type 'Desktop app'"),
        ("Access blocked: admin_policy_enforced", "Manage app access"),
        ("Error 403: org_internal", "one organisation only"),
        ("Error 401: deleted_client", "the client was deleted"),
        ("4/made-up-code", "used already, or too old"),
    ],
)
def test_what_is_pasted_is_looked_at(
    client: grants.Client, store: Store, web: Web, pasted: str, said: str
) -> None:
    with pytest.raises(SignInError, match=said) as caught:
        grants.sign_in(client, USER, store, web, lambda _: None, paste=lambda _: pasted)

    assert caught.value.exit_code == 12
    assert not store.exists


def test_whoever_knocks_without_our_state_is_not_listened_to(
    google: GoogleIdentity,
    client: grants.Client,
    store: Store,
    web: Web,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    statuses: list[int] = []

    def opened(address: str) -> bool:
        back = parse_qs(urlsplit(address).query)["redirect_uri"][0]

        def knock() -> None:
            for path in ("/favicon.ico", "/?code=evil&state=guessed", "/?error=access_denied"):
                try:
                    urlopen(back + path, timeout=10).close()
                except OSError as error:
                    statuses.append(getattr(error, "code", 0))
                    getattr(error, "close", lambda: None)()
            browser.visit(address, google.ca_file)

        threading.Thread(target=knock, daemon=True).start()
        return True

    monkeypatch.setattr("webbrowser.open", opened)

    token = grants.sign_in(client, USER, store, web, lambda _: None, timeout=20, clock=clock)

    assert google.opens(token.secret, USER)
    assert statuses == [404, 404, 404]


def test_a_code_that_somebody_else_has_caught_is_worth_nothing_without_the_verifier(
    google: GoogleIdentity, client: grants.Client, store: Store, web: Web
) -> None:
    codes: list[str] = []

    def victim(address: str) -> None:
        answer = google.answer("GET", address.partition("any browser: ")[2], {})
        codes.append(parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0])

    with pytest.raises(SignInError):
        grants.sign_in(client, USER, store, web, victim, paste=lambda _: "")
    with pytest.raises(SignInError, match=r"Invalid code verifier"):
        grants.sign_in(client, USER, store, web, lambda _: None, paste=lambda _: codes[0])
    assert google.consents == 0


def test_a_declined_consent_is_told_with_what_to_do(
    google: GoogleIdentity, client: grants.Client, store: Store, web: Web, agrees: object
) -> None:
    google.declines = "access_denied"

    with pytest.raises(SignInError, match=r"the consent was declined.*test users"):
        grants.sign_in(client, USER, store, web, lambda _: None, timeout=20)

    assert not store.exists


def test_a_consent_without_the_mail_is_told(
    google: GoogleIdentity, client: grants.Client, store: Store, web: Web, agrees: object
) -> None:
    google.granted = "openid"

    with pytest.raises(SignInError, match=r"it is for openid.*tick the access to mail"):
        grants.sign_in(client, USER, store, web, lambda _: None, timeout=20)

    assert not store.exists


def test_a_browser_that_never_comes_back_is_told_how_to_do_without(
    client: grants.Client, store: Store, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    shown: list[str] = []

    with pytest.raises(SignInError, match="--paste"):
        grants.sign_in(client, USER, store, web, shown.append, timeout=0.01)

    assert "unless one opens by itself: https://localhost" in shown[0]


@pytest.mark.parametrize(
    ("secret", "said"),
    [(None, "has to prove itself.*--client-secret-env"), ("wrong", "or the client's secret, is")],
)
def test_a_missing_or_wrong_secret_of_the_client_is_told(
    client: grants.Client,
    store: Store,
    web: Web,
    agrees: object,
    secret: str | None,
    said: str,
) -> None:
    with pytest.raises(SignInError, match=said):
        grants.sign_in(replace(client, secret=secret), USER, store, web, lambda _: None, timeout=20)


def test_yandex_shows_a_code_which_is_pasted(
    google: GoogleIdentity, store: Store, web: Web, clock: Clock
) -> None:
    preset = PROVIDERS["yandex"]
    assert preset.oauth is not None
    google.scope = google.granted = preset.oauth.scope
    google.page = preset.oauth.redirect
    there = replace(
        preset.oauth,
        authorization=f"{google.base}/o/oauth2/v2/auth",
        token=f"{google.base}/token",
    )
    client = grants.Client(preset, there, CLIENT, SECRET)
    shown: list[str] = []

    def person(wanted: str) -> str:
        assert wanted == "The code that the browser shows in the end: "
        address = shown[-1].partition("any browser: ")[2]
        page = google.answer("GET", address.removeprefix(google.base), {}).body
        assert isinstance(page, str)
        return page.partition("code is ")[2]

    token = grants.sign_in(client, USER, store, web, shown.append, paste=person, clock=clock)

    assert google.opens(token.secret, USER)
    assert google.opens(renewed(client, store, web, clock), USER)
    assert grants.sign_out(client, USER, store, web) == (True, "Yandex Mail cannot be asked to")


# --- what is kept renews tokens


def test_a_token_is_renewed_before_it_runs_out_and_not_oftener(
    google: GoogleIdentity, client: grants.Client, signed_in: Store, web: Web, clock: Clock
) -> None:
    source = grants.user_tokens(client, USER, signed_in, web, clock=clock)
    first = source.token()
    assert source.token().secret == first.secret
    clock.now += 3200
    assert not source.must_renew(first)
    clock.now += 100

    assert source.must_renew(first)
    second = source.token()

    assert second.secret != first.secret
    assert google.opens(second.secret, USER)
    assert google.count("/token", "refresh_token") == 2
    clock.now += 400
    assert source.is_expired(first)
    assert not google.opens(first.secret, USER)


def test_a_token_that_is_not_taken_is_never_handed_out_again(
    client: grants.Client, signed_in: Store, web: Web, clock: Clock
) -> None:
    source = grants.user_tokens(client, USER, signed_in, web, clock=clock)
    first = source.token()

    source.discard(first)

    assert source.token().secret != first.secret


def test_a_refresh_token_that_changes_is_kept_anew(
    google: GoogleIdentity, client: grants.Client, signed_in: Store, web: Web, clock: Clock
) -> None:
    google.rotates = True

    for _ in range(3):
        assert google.opens(renewed(client, signed_in, web, clock), USER)


def test_two_processes_that_renew_at_once_both_get_in(
    google: GoogleIdentity,
    client: grants.Client,
    signed_in: Store,
    web: Web,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    google.rotates = True
    read = Store.sign_in
    others: list[str] = []

    def slow(self: Store, name: str) -> dict[str, str] | None:
        """The other process is faster, once."""
        found = read(self, name)
        if not others:
            others.append("")
            others[0] = renewed(client, signed_in, web, clock)
        return found

    monkeypatch.setattr(Store, "sign_in", slow)

    mine = renewed(client, signed_in, web, clock)

    assert google.opens(others[0], USER)
    assert google.opens(mine, USER)


def test_many_processes_that_keep_sign_ins_at_once_lose_none(tmp_path: Path) -> None:
    file = tmp_path / "data" / "grants.json"
    script = (
        "import sys, pathlib\n"
        "from waystation.kept import Store\n"
        "store = Store(pathlib.Path(sys.argv[1]), lambda _: None)\n"
        "for number in range(5):\n"
        "    store.keep(f'{sys.argv[2]} {number}', {'refresh_token': sys.argv[2]})\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(file), name]) for name in "abcd"]

    assert [process.wait(timeout=60) for process in running] == [0, 0, 0, 0]
    store = Store(file, lambda _: None)
    for name in "abcd":
        for number in range(5):
            assert store.sign_in(f"{name} {number}") == {"refresh_token": name}


def test_a_consent_that_was_taken_back_is_told_with_the_seven_days_of_testing(
    google: GoogleIdentity, client: grants.Client, signed_in: Store, web: Web, clock: Clock
) -> None:
    google.revoke()

    with pytest.raises(SignInError) as caught:
        renewed(client, signed_in, web, clock)

    assert "expired or was revoked" in caught.value.cause
    assert "waystation login gmail:alice@gmail.example" in caught.value.mends[0]
    assert "seven days" in caught.value.mends[1]


def test_nobody_s_sign_in_is_another_s(
    client: grants.Client, signed_in: Store, web: Web, clock: Clock
) -> None:
    for other in (replace(client, client_id="another.apps.googleusercontent.com"), client):
        user = USER if other is not client else "eve@gmail.example"
        with pytest.raises(SignInError, match="nobody has signed in as"):
            renewed(other, signed_in, web, clock, user)


def test_damaged_sign_ins_are_told_and_their_content_is_not(
    client: grants.Client, signed_in: Store, web: Web, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "data" / "grants.json").write_text('{"refresh_token": hush-hush')

    with pytest.raises(SignInError, match="damaged") as caught:
        renewed(client, signed_in, web, clock)

    assert "hush" not in str(caught.value)


# --- signing out


def test_signing_out_takes_the_consent_back(
    google: GoogleIdentity, client: grants.Client, signed_in: Store, web: Web, clock: Clock
) -> None:
    assert google.consents == 1

    assert grants.sign_out(client, USER, signed_in, web) == (True, "")

    assert google.consents == 0
    assert grants.sign_out(client, USER, signed_in, web) == (False, "")
    with pytest.raises(SignInError, match="nobody has signed in"):
        renewed(client, signed_in, web, clock)


def test_a_consent_that_cannot_be_taken_back_is_forgotten_all_the_same(
    google: GoogleIdentity, client: grants.Client, signed_in: Store, web: Web
) -> None:
    google.revoke()

    was_there, why_not = grants.sign_out(client, USER, signed_in, web)

    assert was_there
    assert "status 400" in why_not
    assert not grants.sign_out(client, USER, signed_in, web)[0]


# --- an administrator's service account


def test_a_service_account_signs_for_each_mailbox_by_itself(
    google: GoogleIdentity, client: grants.Client, web: Web, clock: Clock
) -> None:
    account = grants.ServiceAccount.read(google.service_account())
    google.users = {"a@company.example", "b@company.example"}
    # The server proves the signature and looks at the time by its own clock.
    clock.now = time.time()

    for user in sorted(google.users):
        source = grants.service_tokens(client, account, user, web, clock=clock)
        token = source.token()
        assert google.opens(token.secret, user)
        assert source.is_app_only
        assert token.user == user

    assert [each["sub"] for each in google.assertions] == ["a@company.example", "b@company.example"]
    assert {each["scope"] for each in google.assertions} == {SCOPE}
    assert len({each["jti"] for each in google.assertions}) == 2


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("not delegated", r"Domain-wide delegation .*client ID \d+, scope https://mail.google"),
        ("no user", "no such user in the Workspace"),
        ("old key", "Make a new key"),
        ("clock", "clock is wrong"),
    ],
)
def test_what_a_service_account_lacks_is_told(
    google: GoogleIdentity,
    client: grants.Client,
    web: Web,
    clock: Clock,
    trouble: str,
    said: str,
) -> None:
    file = google.service_account(is_delegated=trouble != "not delegated")
    account = grants.ServiceAccount.read(file)
    if trouble == "old key":
        google.forget_keys()
    if trouble != "clock":
        clock.now = time.time()
    else:
        clock.now = 1_000_000_000.0
    user = "nobody@company.example" if trouble == "no user" else USER

    with pytest.raises(SignInError, match=said):
        grants.service_tokens(client, account, user, web, clock=clock).token()


def test_a_file_that_is_no_key_is_told(
    google: GoogleIdentity, client: grants.Client, web: Web, tmp_path: Path
) -> None:
    file = tmp_path / "x.json"
    for text in ('{"installed": {"client_id": "x"}}', "[]", '{"type": "service_account"}'):
        file.write_text(text)
        with pytest.raises(UsageError, match="no key of a service account"):
            grants.ServiceAccount.read(file)
    file.write_text("-----BEGIN")
    with pytest.raises(UsageError, match="no JSON file"):
        grants.ServiceAccount.read(file)
    with pytest.raises(UsageError, match="cannot be read"):
        grants.ServiceAccount.read(tmp_path / "none.json")
    broken = grants.ServiceAccount("a@b.example", "1", "k", "no key at all")
    with pytest.raises(UsageError, match="--service-account is none") as caught:
        grants.service_tokens(client, broken, USER, web).token()
    assert "no key at all" not in str(caught.value)


# --- the line to the authorization server


def test_a_busy_server_is_asked_again_and_then_is_busy_not_refusing(
    google: GoogleIdentity, client: grants.Client, signed_in: Store, web: Web, clock: Clock
) -> None:
    google.busy(2)
    assert google.opens(renewed(client, signed_in, web, clock), USER)
    assert clock.slept == [1.0, 3.0]

    google.busy(9)
    with pytest.raises(IdentityBusyError) as caught:
        renewed(client, signed_in, web, clock)
    assert caught.value.retriable


def test_a_server_that_nobody_vouches_for_is_told_nothing(
    google: GoogleIdentity, client: grants.Client, signed_in: Store, clock: Clock
) -> None:
    asked = len(google.requests)

    with pytest.raises(CertificateError):
        renewed(client, signed_in, Web(None, 10, clock.sleep), clock)

    assert len(google.requests) == asked


def test_nothing_that_is_secret_is_logged_or_shown(
    google: GoogleIdentity,
    client: grants.Client,
    store: Store,
    web: Web,
    clock: Clock,
    agrees: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    grants.sign_in(client, USER, store, web, lambda _: None, timeout=20, clock=clock)
    source = grants.user_tokens(client, USER, store, web, clock=clock)
    token = source.token()
    account = grants.ServiceAccount.read(google.service_account())
    grants.sign_out(client, USER, store, web)

    shown = caplog.text + repr((token, source, client, account))
    assert "POST https://localhost" in shown
    for secret in (SECRET, *google.issued):
        assert secret not in shown
