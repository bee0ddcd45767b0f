"""Why a provider other than Microsoft does not let us in by OAuth, and what to do about it.

Pure: from what was said (an error of RFC 6749 or one of Google's own, a reply of the mail
server) to a cause and the steps that mend it. Google's are from "OAuth 2.0 for Mobile & Desktop
Apps" (errors), "Using OAuth 2.0 to Access Google APIs" (refresh token expiration) and "Using OAuth
2.0 for Server to Server Applications" (JWT error codes); the replies of Gmail are those that
its servers give.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from waystation.errors import SignInError, plain

if TYPE_CHECKING:
    from waystation.provider import OAuth, Provider

_LOGIN = "Sign in again: waystation login {server} (with the same options)"
_AUDIENCE = "https://console.cloud.google.com/auth/audience"
_TESTING = (
    f"If it works for seven days each time: at {_AUDIENCE} the publishing status is 'Testing'. "
    "Publish the app, or, in a Workspace, make its user type 'Internal'"
)
_ADMIN = (
    "A Workspace administrator trusts the client ID: Admin console > Security > Access and data "
    "control > API controls > Manage app access"
)
_DELEGATION = (
    "Admin console > Security > Access and data control > API controls > Domain-wide delegation > "
    "Add new: client ID {number}, scope {scope}; it may take a day until it counts"
)
_PROOF = (
    "Give --client-secret-env NAME with the client's secret; clients are listed, and get new "
    "secrets, at {clients}"
)
_IMAP_OFF = (
    "In the mailbox's settings: See all settings > Forwarding and POP/IMAP > Enable IMAP (of POP3: "
    "Enable POP for all mail)"
)
_IMAP_FORBIDDEN = (
    "Admin console > Apps > Google Workspace > Gmail > End User Access > POP and IMAP access: on"
)

_ERRORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "access_denied": (
        "the consent was declined, or is not open to this account",
        (
            _LOGIN,
            f"While the publishing status is 'Testing', only the test users that {_AUDIENCE} lists "
            "may consent: add the account there",
        ),
    ),
    "admin_policy_enforced": (
        "the administrator of the Workspace does not permit this application",
        (_ADMIN,),
    ),
    "org_internal": (
        "the application is for the accounts of one organisation only",
        (
            f"At {_AUDIENCE} make the user type 'External', or take a client of the organisation "
            "that the mailbox belongs to",
        ),
    ),
    "redirect_uri_mismatch": (
        "the client does not permit where the browser shall come back to",
        ("At {clients} make a client of the type 'Desktop app', and give its --client-id",),
    ),
    "deleted_client": (
        "the client was deleted",
        ("At {clients} make or restore a client, and give its --client-id",),
    ),
    "disallowed_useragent": (
        "this browser may not be used to sign in",
        ("Open the address in a full browser, no window inside another program",),
    ),
    "invalid_client": (
        "the client ID, or the client's secret, is wrong",
        ("Check --client-id: {clients}", _PROOF),
    ),
    "unauthorized_client": (
        "the client may not sign people in like this",
        ("At {clients} make a client of the type 'Desktop app', and give its --client-id",),
    ),
    "invalid_scope": ("the scope is none that is known there", ("Leave --scope out",)),
    "invalid_grant": (
        "the sign-in has expired or was revoked, by a new password perhaps",
        (_LOGIN, _TESTING),
    ),
}
_OF_YANDEX: dict[str, tuple[str, tuple[str, ...]]] = {
    "access_denied": ("the consent was declined", (_LOGIN,)),
    "unauthorized_client": (
        "the application was refused, or is not approved yet",
        ("See to the application at {clients}",),
    ),
    "invalid_scope": (
        "the application has not the permission {scope}",
        (
            "At {clients} add the access to mail by IMAP ('Чтение и удаление писем'), or, to read "
            "only, give --scope mail:imap_ro",
        ),
    ),
    "invalid_grant": ("the sign-in has expired or was revoked", (_LOGIN,)),
}
_OF_SERVICE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "unauthorized_client",
        "the service account may not act for this domain's users",
        (_DELEGATION,),
    ),
    ("access_denied", "the service account may not act for this domain's users", (_DELEGATION,)),
    (
        "Invalid email or User ID",
        "there is no such user in the Workspace",
        ("Check the address: it is the user's primary one",),
    ),
    (
        "Invalid JWT Signature",
        "the key of the service account is not valid any more",
        (
            "Make a new key: Google Cloud console > IAM > Service accounts > the account > Keys > "
            "Add key > JSON",
        ),
    ),
    (
        "short-lived token",
        "the signed request is out of its time: this machine's clock is wrong",
        ("Set the clock of this machine",),
    ),
    (
        "account not found",
        "there is no such service account any more",
        ("Google Cloud console > IAM > Service accounts",),
    ),
)
_WORDS = re.compile(r"\b(" + "|".join(map(re.escape, _ERRORS)) + r")\b")


def error_in(text: str) -> str | None:
    """Return the error that a page, which a person copies from, names; None where it names none."""
    found = _WORDS.search(text)
    return None if found is None else found[1]


def refused_token(
    preset: Provider, error: str, description: str, user: str, *, service: str | None = None
) -> SignInError:
    """Return the error for a refusal of the authorization server.

    ``service`` is the number of the service account, where one asked on behalf of ``user``.
    """
    said = plain(f"{error}: {description}" if description else error, 300).rstrip(".")
    oauth = _oauth(preset)
    cause, mends = _known(preset, error, description, service is not None)
    if not cause:
        return SignInError(
            f"no token for {plain(user)}: {said}.",
            (f"Consents are listed at {oauth.consents}; docs/sources.md shows each step",),
        )
    return SignInError(
        f"no token for {plain(user)}: {_filled(cause, preset, user, service)} ({said}).",
        [_filled(mend, preset, user, service) for mend in mends],
    )


def _known(
    preset: Provider, error: str, description: str, is_service: bool
) -> tuple[str, tuple[str, ...]]:
    if is_service:
        for words, cause, mends in _OF_SERVICE:
            if error == words or words in description:
                return cause, mends
        return "", ()
    if "client_secret" in description:
        return "the client has to prove itself", (_PROOF,)
    if error == "invalid_grant" and "code" in description.lower():
        return "the code is not valid: used already, or too old", (_LOGIN,)
    table = _ERRORS if preset.name == "gmail" else _OF_YANDEX
    return table.get(error) or _ERRORS.get(error, ("", ()))


def nobody_came(preset: Provider, user: str, seconds: float) -> SignInError:
    """Return the error for a browser that never came back."""
    return SignInError(
        f"no token for {plain(user)}: nobody signed in within {seconds:.0f} seconds.",
        (
            _filled(
                "On a machine without a browser: waystation login {server} --paste", preset, user
            ),
            "Where the browser showed an error, --paste takes its words too, and says what they "
            "mean",
        ),
    )


def nobody_yet(preset: Provider, user: str) -> SignInError:
    """Return the error where no sign-in is kept."""
    others = (
        "; an administrator's --service-account needs none" if _oauth(preset).has_service_accounts
        else ""
    )  # fmt: skip
    return SignInError(
        f"nobody has signed in as {plain(user)} with this --client-id here yet.",
        (
            _filled("waystation login {server} (with the same options)", preset, user)
            + f"{others}; without --client-id an app password is asked for",
        ),
    )


def not_granted(preset: Provider, user: str, granted: str) -> SignInError:
    """Return the error for a consent that leaves out the mail."""
    return SignInError(
        f"the consent of {plain(user)} does not open the mailbox: it is for "
        f"{plain(granted, 120) or 'nothing'}.",
        (_filled("waystation login {server}, and tick the access to mail", preset, user),),
    )


def refused_session(preset: Provider, user: str, reply: str, *, is_expired: bool) -> SignInError:
    """Return the error for a token that the mail server does not take."""
    said = plain(reply).rstrip(".") or "no words"
    who = plain(user)
    if (off := switched_off(preset, reply)) is not None:
        cause, mend = off
        return SignInError(f"the sign-in to {who} was refused ({said}): {cause}.", (mend,))
    if is_expired:
        return SignInError(
            f"the sign-in to {who} was refused ({said}): the token has expired.",
            ("Check the clock of this machine, and try again",),
        )
    return SignInError(
        f"the sign-in to {who} was refused ({said}), and a token was to be had: see to these, in "
        "this order.",
        (
            _filled(
                "The account that signed in has to be {user} itself, by its primary address: "
                "waystation login {server}",
                preset,
                user,
            ),
            f"{_IMAP_OFF}; in a Workspace also {_IMAP_FORBIDDEN}"
            if preset.name == "gmail"
            else f"To be switched on there: {preset.switch_on}",
        ),
    )


def switched_off(preset: Provider | None, reply: str) -> tuple[str, str] | None:
    """Return cause and mend where Gmail says that IMAP or POP3 is off; None where it does not."""
    if preset is None or preset.name != "gmail":
        return None
    if re.search(r"not enabled for (?:IMAP|POP)|enable (?:IMAP|POP)", reply, re.IGNORECASE):
        return "IMAP (or POP3) is switched off for this mailbox", _IMAP_OFF
    if re.search(r"disabled for your domain", reply, re.IGNORECASE):
        return "the administrator does not permit IMAP and POP3", _IMAP_FORBIDDEN
    return None


def _filled(text: str, preset: Provider, user: str, service: str | None = None) -> str:
    oauth = _oauth(preset)
    values = {
        "server": f"{preset.name}:{plain(user)}",
        "user": plain(user),
        "clients": oauth.clients,
        "scope": oauth.scope,
        "number": plain(service or ""),
    }
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _oauth(preset: Provider) -> OAuth:
    if preset.oauth is None:
        raise ValueError(f"{preset.name} gives out no tokens")
    return preset.oauth
