"""Why Microsoft does not let us in, and what to do about it, down to the line for PowerShell.

Of tokens of other providers, ``refusals`` says it.

Pure: from what was said (an AADSTS number, a reply of the IMAP server, the claims of a token)
to a cause and the steps that mend it. The numbers are from "Microsoft Entra authentication and
authorization error codes", the steps from "Authenticate an IMAP, POP or SMTP connection using
OAuth" (both Microsoft Learn).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from waystation import refusals
from waystation.errors import NotConnectedError, SignInError, plain
from waystation.providers import PROVIDERS, audiences, microsoft_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waystation.token import Token

_GUIDE = "docs/office365.md shows each step"
_NUMBER = re.compile(r"AADSTS(\d+)")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LOGIN = "Sign in again: waystation login {server}"
_CONSENT = (
    "An administrator consents in the Entra admin centre: App registrations > your application > "
    "API permissions > Grant admin consent"
)
_IMAP_APP = (
    "Entra admin centre > App registrations > your application > API permissions: under 'APIs my "
    "organization uses' take 'Office 365 Exchange Online', Application permissions, "
    "IMAP.AccessAsApp, then 'Grant admin consent'"
)
_IMAP_USER = (
    "Entra admin centre > App registrations > your application > API permissions: under 'APIs my "
    "organization uses' take 'Office 365 Exchange Online', Delegated permissions, "
    "IMAP.AccessAsUser.All, then 'Grant admin consent'; then waystation login again"
)
_ANOTHER_VALUE = (
    "Entra admin centre > App registrations > your application > Certificates & secrets: make a "
    "new client secret and put its Value (not its Secret ID) into the variable that "
    "--client-secret-env names"
)
_NEW_CERTIFICATE = (
    "Entra admin centre > App registrations > your application > Certificates & secrets: upload "
    "the certificate that is in the file of --client-certificate"
)
_DEVICE_BLOCKED = (
    "If only the device code is blocked, sign in with the browser: waystation login without "
    "--device-code"
)

_KNOWN: Mapping[int, tuple[str, tuple[str, ...]]] = {
    7000215: ("the client secret is wrong", (_ANOTHER_VALUE,)),
    7000222: ("the client secret has expired", (_ANOTHER_VALUE,)),
    7000218: (
        "the application has to prove itself",
        (
            "For a sign-in by a user: App registrations > your application > Authentication > "
            "'Allow public client flows' = Yes",
            "For a sign-in as the application: give --client-secret-env or --client-certificate",
        ),
    ),
    700027: ("the certificate is not one of the application's", (_NEW_CERTIFICATE,)),
    700024: (
        "the signed request is out of its time: this machine's clock is wrong",
        ("Set the clock of this machine",),
    ),
    700016: (
        "the application is not known in this tenant",
        (
            "Check --client-id: it is the 'Application (client) ID' of the app registration, no "
            "object ID",
            "Check --tenant: it is the tenant of the mailbox; an application of another tenant "
            "has to be consented to there first",
        ),
    ),
    90002: (
        "the tenant does not exist",
        (
            "Check --tenant: it is the 'Directory (tenant) ID' or one of the tenant's domains; "
            "check --cloud as well",
        ),
    ),
    900023: (
        "the tenant's name is none",
        ("Check --tenant: it is the 'Directory (tenant) ID' or one of the tenant's domains",),
    ),
    50059: ("no tenant was named", ("Give --tenant ID-OR-DOMAIN",)),
    50194: (
        "the application is for one tenant only",
        ("Give --tenant ID-OR-DOMAIN: that of the application",),
    ),
    50020: (
        "this account is not of the application's tenant",
        ("Check --tenant and --sign-in-as",),
    ),
    65001: ("nobody has consented to this application", (_CONSENT, _LOGIN)),
    65004: ("the consent was declined", (_LOGIN, _CONSENT)),
    90094: ("only an administrator may consent", (_CONSENT, _LOGIN)),
    90008: ("nobody has consented to this application", (_CONSENT, _LOGIN)),
    700082: ("the last sign-in is too long ago", (_LOGIN,)),
    70008: ("the last sign-in has expired", (_LOGIN,)),
    70043: ("the last sign-in has expired (Conditional Access wants it more often)", (_LOGIN,)),
    70044: ("the last sign-in has expired (Conditional Access wants it more often)", (_LOGIN,)),
    50173: ("the last sign-in was revoked, perhaps by a new password", (_LOGIN,)),
    50132: ("the last sign-in was revoked, perhaps by a new password", (_LOGIN,)),
    50133: ("the last sign-in was revoked, perhaps by a new password", (_LOGIN,)),
    50076: ("another factor is wanted (multi-factor authentication)", (_LOGIN,)),
    50079: ("another factor has to be set up first", (_LOGIN,)),
    50158: ("a further check is wanted by Conditional Access", (_LOGIN,)),
    53003: (
        "a Conditional Access policy blocks this sign-in",
        (
            "Entra admin centre > Sign-in logs names the policy; an administrator exempts the "
            "user, the application or the device",
            _DEVICE_BLOCKED,
        ),
    ),
    530034: ("the device code is blocked in this tenant", (_DEVICE_BLOCKED,)),
    50057: (
        "the user's account is disabled",
        ("An administrator enables it: Update-MgUser -UserId {user} -AccountEnabled:$true",),
    ),
    50034: ("there is no such user in this tenant", ("Check the address and --tenant",)),
    50126: ("user name or password are wrong", (_LOGIN,)),
    70011: ("the scope is none", ("Check --scope",)),
    70019: ("the code was not entered in time", (_LOGIN,)),
    500011: (
        "what the token shall be for is not known in this tenant",
        (
            "Check --scope and --cloud; without --scope it is that of Exchange Online",
            "If the tenant has no Exchange Online, there is no mailbox to sign in to",
        ),
    ),
    650057: ("the application has no permission for Exchange Online", (_IMAP_APP,)),
    50011: (
        "the application has no redirect address for a browser",
        (
            "App registrations > your application > Authentication > Add a platform > Mobile and "
            "desktop applications: http://localhost",
            "Or sign in with a code: waystation login --device-code",
        ),
    ),
}
_WORDS: Mapping[str, int] = {
    "authorization_declined": 65004,
    "access_denied": 65004,
    "expired_token": 70019,
    "code_expired": 70019,
}


def refused_token(answer: Mapping[str, Any], user: str) -> SignInError:
    """Return the error for a refusal of the identity provider, as msal hands it on."""
    text = str(answer.get("error_description") or answer.get("error") or "no words")
    said = plain(text.partition(" Trace ID:")[0].splitlines()[0], 400)
    code = _code(answer, text)
    known = _KNOWN.get(code) if code is not None else None
    if known is None:
        return SignInError(
            f"no token for {plain(user)}: {said}",
            (f"The number is explained at https://login.microsoftonline.com/error; {_GUIDE}",),
        )
    cause, mends = known
    number = f"AADSTS{code}" if f"AADSTS{code}" in said else plain(str(answer.get("error")), 60)
    return SignInError(
        f"no token for {plain(user)}: {cause} ({number}).",
        [
            mend.replace("{server}", plain(microsoft_server(user))).replace("{user}", plain(user))
            for mend in mends
        ],
    )


def _code(answer: Mapping[str, Any], text: str) -> int | None:
    word = _WORDS.get(str(answer.get("error")))
    if word is not None:
        return word
    codes = answer.get("error_codes")
    if isinstance(codes, list) and codes and isinstance(codes[0], int):
        return codes[0]
    match = _NUMBER.search(text)
    return int(match[1]) if match else None


def unknown_tenant(authority: str) -> SignInError:
    """Return the error for an authority that knows nothing of such a tenant."""
    return SignInError(
        f"{plain(authority)} is no address where tokens are given out: the tenant does not exist "
        "there.",
        (
            "Check --tenant (the 'Directory (tenant) ID' or one of the tenant's domains), --cloud "
            "and --authority",
        ),
    )


def refused_session(
    token: Token, user: str, asked_tenant: str, reply: str, *, is_expired: bool
) -> SignInError:
    """Return the error for a token that the mail server does not take."""
    if token.provider:
        return refusals.refused_session(
            PROVIDERS[token.provider], user, reply, is_expired=is_expired
        )
    seen = visible_faults(token, asked_tenant, is_expired=is_expired)
    reply = plain(reply).rstrip(".")
    if seen:
        causes, mends = zip(*seen, strict=True)
        return SignInError(
            f"the sign-in to {plain(user)} was refused ({reply}): {'; '.join(causes)}.", mends
        )
    return SignInError(
        f"the sign-in to {plain(user)} was refused ({reply}), and the token looks right: see to "
        "these, in this order.",
        mailbox_steps(token, user),
    )


def not_connected(token: Token | None, user: str, reply: str) -> NotConnectedError:
    """Return the error for a mailbox that stays shut although the sign-in was taken."""
    return NotConnectedError(
        f"{plain(user)}: the sign-in was taken, the mailbox stays shut ({plain(reply).rstrip('.')}"
        "). See to these, in this order.",
        (
            *mailbox_steps(token, user),
            "If all of that is right, there were too many connections within a few minutes: wait "
            "15 minutes",
        ),
    )


def visible_faults(token: Token, asked_tenant: str, *, is_expired: bool) -> list[tuple[str, str]]:
    """Return cause and mend of everything that the token itself shows to be wrong."""
    found: list[tuple[str, str]] = []
    if token.provider:
        return found
    if is_expired:
        found.append(("the token has expired", "Check the clock of this machine, and try again"))
    if not token.claims:
        return found
    if token.audience.rstrip("/") not in audiences():
        found.append(
            (
                f"the token is for {plain(token.audience, 80) or 'nobody'}, not for Exchange "
                "Online",
                "Leave --scope out, or let it begin with the address of Exchange Online; scopes "
                "of Microsoft Graph do not open IMAP",
            )
        )
    if token.is_app_only and "IMAP.AccessAsApp" not in token.roles:
        has = plain(", ".join(token.roles), 120) or "none"
        found.append(
            (
                f"the application lacks the role IMAP.AccessAsApp (it has {has})",
                f"{_IMAP_APP}; it takes a few minutes until new tokens have it",
            )
        )
    if not token.is_app_only and "IMAP.AccessAsUser.All" not in token.scopes:
        has = plain(", ".join(token.scopes), 120) or "none"
        found.append(
            (
                f"the token lacks the permission IMAP.AccessAsUser.All (it has {has})",
                _IMAP_USER,
            )
        )
    if token.tenant and _GUID.fullmatch(asked_tenant) and token.tenant != asked_tenant.lower():
        found.append(
            (
                f"the token is of another tenant ({plain(token.tenant, 60)})",
                "Check --tenant and --authority",
            )
        )
    return found


def mailbox_steps(token: Token | None, user: str) -> tuple[str, ...]:
    """Return what has to be so in Exchange Online before a mailbox opens, as commands."""
    user = plain(user)
    enabled = (
        f"IMAP is on for the mailbox, in PowerShell after Connect-ExchangeOnline: Set-CASMailbox "
        f"-Identity {user} -ImapEnabled $true"
    )
    exists = (
        f"{user} is the mailbox's own address (of a shared mailbox the shared one, with the "
        "delegate in --sign-in-as): Get-Mailbox -Identity {user}"
    ).replace("{user}", user)
    if token is not None and not token.is_app_only:
        who = plain(token.user) or "DELEGATE"
        shared = (
            f"{who} may open it, where it is a shared mailbox: Add-MailboxPermission -Identity "
            f"{user} -User {who} -AccessRights FullAccess"
        )
        own = token.user.lower() == user.lower()
        return (enabled, exists) if own else (shared, enabled, exists)
    app = plain(token.app_id) if token and token.app_id else "APPLICATION-ID"
    thing = plain(token.object_id) if token and token.object_id else "OBJECT-ID"
    return (
        f"The application is known to Exchange, by the object ID of the ENTERPRISE APPLICATION "
        f"(not of the app registration): New-ServicePrincipal -AppId {app} -ObjectId {thing}",
        f"The application may open the mailbox: Add-MailboxPermission -Identity {user} -User "
        f"{thing} -AccessRights FullAccess",
        enabled,
        exists,
    )
