"""What Google and others say when they refuse, and what a person is told to do."""

from __future__ import annotations

import pytest

from waystation import refusals
from waystation.mends import refused_session
from waystation.providers import PROVIDERS
from waystation.token import Token

GMAIL = PROVIDERS["gmail"]
YANDEX = PROVIDERS["yandex"]
USER = "alice@gmail.example"


@pytest.mark.parametrize(
    ("error", "description", "cause", "mend"),
    [
        ("invalid_grant", "Token has been expired or revoked.", "expired or was revoked", "login"),
        ("invalid_grant", "Malformed auth code.", "used already, or too old", "login"),
        ("access_denied", "", "the consent was declined", "test users"),
        ("admin_policy_enforced", "", "administrator of the Workspace", "Manage app access"),
        ("org_internal", "", "one organisation only", "'External'"),
        ("redirect_uri_mismatch", "", "shall come back to", "'Desktop app'"),
        ("deleted_client", "", "was deleted", "--client-id"),
        ("disallowed_useragent", "", "this browser", "full browser"),
        ("invalid_client", "Unauthorized", "the client's secret, is wrong", "--client-secret-env"),
        ("invalid_request", "client_secret is missing.", "prove itself", "--client-secret-env"),
        ("unauthorized_client", "Unauthorized", "may not sign people in", "'Desktop app'"),
        ("invalid_scope", "", "the scope is none", "Leave --scope out"),
        ("teapot", "short and stout", "teapot: short and stout", "connections"),
    ],
)
def test_google_s_words_become_cause_and_mend(
    error: str, description: str, cause: str, mend: str
) -> None:
    found = refusals.refused_token(GMAIL, error, description, USER)

    assert found.exit_code == 12
    assert cause in found.cause
    assert error in found.cause
    assert any(mend in each for each in found.mends)
    assert "{" not in str(found)


def test_no_answer_forges_a_second_line() -> None:
    found = refusals.refused_token(GMAIL, "invalid_grant", "x\n\x1b[31mall is well", USER)

    assert "\n" not in str(found)
    assert "\x1b" not in str(found)


def test_yandex_is_told_apart_from_google() -> None:
    found = refusals.refused_token(YANDEX, "invalid_scope", "", "a@yandex.ru")

    assert "lacks" not in found.cause
    assert "mail:imap_full" in found.cause
    assert "oauth.yandex.ru/client/new" in found.mends[0]
    assert "google" not in str(refusals.refused_token(YANDEX, "access_denied", "", "a@b.c")).lower()


@pytest.mark.parametrize(
    ("reply", "cause", "mend"),
    [
        (
            "[ALERT] Your account is not enabled for IMAP use. Please visit your Gmail settings "
            "page and enable your account for IMAP access. (Failure)",
            "is switched off",
            "Enable IMAP",
        ),
        ("[SYS/PERM] Your account is not enabled for POP access.", "is switched off", "Enable POP"),
        ("[ALERT] IMAP access is disabled for your domain.", "administrator", "End User Access"),
        ("[AUTHENTICATIONFAILED] Invalid credentials (Failure)", "was refused", "primary address"),
    ],
)
def test_what_gmail_s_servers_say_to_a_token(reply: str, cause: str, mend: str) -> None:
    token = Token.of(
        "ya29.x", 3600, 0, provider="gmail", claims={"scp": "https://mail.google.com/"}
    )

    found = refused_session(token, USER, "localhost", reply, is_expired=False)

    assert cause in str(found)
    assert any(mend in each for each in found.mends)
    assert "Exchange" not in str(found)
    assert "PowerShell" not in str(found)


def test_what_a_page_says_is_found_in_what_a_person_copies() -> None:
    assert refusals.error_in("Access blocked … Error 400: redirect_uri_mismatch") == (
        "redirect_uri_mismatch"
    )
    assert refusals.error_in("nothing of that kind") is None
