"""What a token may open: audience, scope or role, expiry, and the mailbox."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.exchange_online.mailbox import Mailbox
    from tests.exchange_online.profile import Profile

CHALLENGE = base64.b64encode(
    json.dumps(
        {
            "status": "400",
            "schemes": "Bearer",
            "scope": "https://outlook.office.com/IMAP.AccessAsUser.All",
        },
        separators=(",", ":"),
    ).encode()
)
_RESPONSE = re.compile(rb"user=([^\x01]*)\x01auth=Bearer ([^\x01]+)\x01\x01")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A good token for a mailbox, whether the mailbox is connected or not."""

    mailbox: Mailbox
    expires: float
    is_connected: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """No good token for any mailbox; the reason is for the log only."""

    reason: str


def sign_in(
    response: bytes,
    profile: Profile,
    verify: Callable[[str], Mapping[str, object]],
    mailbox_of: Callable[[str], Mailbox | None],
    now: float,
) -> SignedIn | Refused:
    """Return what a client's XOAUTH2 response gets it."""
    try:
        match = _RESPONSE.fullmatch(base64.b64decode(response, validate=True))
    except (ValueError, binascii.Error):
        match = None
    if match is None:
        return Refused("malformed response")
    try:
        claims = verify(match[2].decode("ascii"))
    except ValueError as error:
        return Refused(f"bad token: {error}")
    audience = claims.get("aud")
    given = audience if isinstance(audience, list) else [audience]
    if not any(str(each).rstrip("/") in profile.audiences for each in given):
        return Refused(f"audience {audience}")
    expires = _seconds(claims.get("exp"))
    if expires <= now:
        return Refused("expired")
    if _seconds(claims.get("nbf")) > now + 300:
        return Refused("not valid yet")
    mailbox = mailbox_of(match[1].decode("utf-8", "replace"))
    if mailbox is None:
        return Refused("no such mailbox")
    permitted = _permission(claims, profile, mailbox)
    if permitted is None:
        return Refused("neither scope nor role for IMAP")
    if not permitted and profile.without_permission == "refused":
        return Refused("not permitted to open this mailbox")
    is_enabled = profile.imap_enabled and mailbox.imap_enabled
    return SignedIn(mailbox, expires, permitted and is_enabled)


def _permission(claims: Mapping[str, object], profile: Profile, mailbox: Mailbox) -> bool | None:
    """Tell whether a token may open the mailbox; None if it may open none."""
    roles = claims.get("roles")
    if isinstance(roles, list) and profile.app_role in roles:
        app = str(claims.get("appid") or claims.get("azp") or "")
        return mailbox.permitted_apps is None or app in mailbox.permitted_apps
    if profile.delegated_scope not in str(claims.get("scp", "")).split():
        return None
    names = ("upn", "preferred_username", "unique_name", "email")
    user = next((str(claims[name]).lower() for name in names if claims.get(name)), "")
    return user == mailbox.address.lower() or user in mailbox.delegates


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
