"""An access token: what it is worth, until when, what it says of itself, and how one is renewed.

The claims are read without a proof of the signature: they are shown, and explain a refusal;
only the mail server decides by them. Their names are those of "Access token claims reference"
(Microsoft Learn).
"""

from __future__ import annotations

import base64
import json
import logging
import time
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, Self

from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

_EARLY = 300.0
"""Seconds before its end at which a token is renewed. Exchange Online cuts a session whose
token has run out at its next command."""
_NEW = 60.0
"""Seconds for which a shared token counts as new."""
_PART = 5
"""A short-lived token is renewed when so small a part of its life is left."""


@dataclass(frozen=True, slots=True)
class Token:
    """One access token. It is never shown: only what it says of itself is."""

    secret: str = field(repr=False)
    expires_at: float
    """Seconds since 1970, by our clock."""
    renew_at: float
    """The same: from then on a new one shall be had before anything is begun."""
    is_fresh: bool = True
    """Whether it came from the identity provider just now, and not out of a store."""
    claims: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    provider: str = ""
    """The name of the preset whose provider gave it out; empty for one of Microsoft's."""

    @classmethod
    def of(
        cls,
        secret: str,
        lasts: float,
        now: float,
        *,
        is_fresh: bool = True,
        provider: str = "",
        claims: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the token that was had at ``now`` and lasts so many seconds.

        ``claims`` are what was said with it, where it says nothing of itself.
        """
        early = min(_EARLY, lasts / _PART)
        said = claims_of(secret) if claims is None else claims
        return cls(secret, now + lasts, now + lasts - early, is_fresh, said, provider)

    @property
    def audience(self) -> str:
        """Whom the token is for."""
        return _text(self.claims.get("aud"))

    @property
    def roles(self) -> tuple[str, ...]:
        """What the application may do as itself."""
        return _texts(self.claims.get("roles"))

    @property
    def scopes(self) -> tuple[str, ...]:
        """What the application may do on behalf of the user."""
        return tuple(_text(self.claims.get("scp")).split())

    @property
    def tenant(self) -> str:
        """The number of the tenant that the token is from."""
        return _text(self.claims.get("tid"))

    @property
    def app_id(self) -> str:
        """The number of the application (client)."""
        return _text(self.claims.get("appid") or self.claims.get("azp"))

    @property
    def user(self) -> str:
        """The user on whose behalf the token is; empty for an application's own."""
        names = ("upn", "unique_name", "preferred_username")
        return next((_text(self.claims[name]) for name in names if self.claims.get(name)), "")

    @property
    def object_id(self) -> str:
        """The object's number: of an application's own token, that of the enterprise application.

        It is just the number that New-ServicePrincipal wants as ``-ObjectId``.
        """
        return _text(self.claims.get("oid"))

    @property
    def is_app_only(self) -> bool:
        """Whether an application signed in as itself, without a user."""
        kind = self.claims.get("idtyp")
        if kind is not None:
            return bool(kind == "app")
        return bool(self.claims) and "scp" not in self.claims and not self.user


class TokenSource(Protocol):
    """Gives a token whenever one is needed, and a new one before the last runs out."""

    @property
    def tenant(self) -> str:
        """The tenant that was asked for: a number, or a domain."""

    @property
    def is_app_only(self) -> bool:
        """Whether the application signs in as itself."""

    def token(self) -> Token:
        """Return a token that is good for a while.

        Raises:
            SignInError: there is none to be had.
            IdentityBusyError: there is none to be had at the moment.
        """

    def must_renew(self, token: Token) -> bool:
        """Whether it is time to sign in anew with another token."""

    def is_expired(self, token: Token) -> bool:
        """Whether the token has run out."""

    def discard(self, token: Token) -> None:
        """Never hand this token out again: the server does not take it."""


class Tokens:
    """A ``TokenSource`` that asks for a new token when, and only when, one is needed."""

    def __init__(
        self,
        acquire: Callable[[bool], Token],
        user: str,
        *,
        tenant: str,
        is_app_only: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Ask by ``acquire``, whose argument says whether it has to be a new one."""
        self.is_app_only = is_app_only
        self.tenant = tenant
        self._acquire = acquire
        self._user = user
        self._clock = clock
        self._token: Token | None = None
        self._is_worn = False

    def __repr__(self) -> str:
        return f"Tokens({self._user!r})"

    def token(self) -> Token:
        """See ``TokenSource``."""
        if self._token is None or self.must_renew(self._token):
            self._token = self._acquire(self._is_worn or self._token is not None)
            self._is_worn = False
            log.debug(
                "a token for %s, good for %.0f seconds",
                plain(self._user),
                self._token.expires_at - self._clock(),
            )
        elif self._token.is_fresh:
            # Meanwhile it may have been taken back: where it is refused, a new one is worth a try.
            self._token = replace(self._token, is_fresh=False)
        return self._token

    def must_renew(self, token: Token) -> bool:
        """See ``TokenSource``."""
        return self._clock() >= token.renew_at

    def is_expired(self, token: Token) -> bool:
        """See ``TokenSource``."""
        return self._clock() >= token.expires_at

    def discard(self, token: Token) -> None:
        """See ``TokenSource``."""
        if self._token is not None and token.secret == self._token.secret:
            self._token = None
        self._is_worn = True


class SharedTokens:
    """One token for many mailboxes and threads; see ``TokenSource``.

    A mailbox that refuses it does not have it thrown away for the others, unless it is no longer
    new: else a hundred mailboxes without permission would ask for a hundred tokens.
    """

    def __init__(self, source: TokenSource, clock: Callable[[], float] = time.time) -> None:
        self._source = source
        self._clock = clock
        self._lock = Lock()
        self._token: Token | None = None
        self._had_at = 0.0

    @property
    def tenant(self) -> str:
        """See ``TokenSource``."""
        return self._source.tenant

    @property
    def is_app_only(self) -> bool:
        """See ``TokenSource``."""
        return self._source.is_app_only

    def token(self) -> Token:
        """See ``TokenSource``."""
        with self._lock:
            token = self._source.token()
            if self._token is None or token.secret != self._token.secret:
                self._token, self._had_at = token, self._clock()
            return token

    def must_renew(self, token: Token) -> bool:
        """See ``TokenSource``."""
        return self._source.must_renew(token)

    def is_expired(self, token: Token) -> bool:
        """See ``TokenSource``."""
        return self._source.is_expired(token)

    def discard(self, token: Token) -> None:
        """See ``TokenSource``."""
        with self._lock:
            known = self._token
            is_it = known is not None and token.secret == known.secret
            if is_it and self._clock() - self._had_at >= _NEW:
                self._source.discard(token)


def claims_of(secret: str) -> Mapping[str, Any]:
    """Return what a token says of itself; nothing, if it is none that can be read.

    Tokens of personal accounts cannot be read: they are no JWT (RFC 7519).
    """
    parts = secret.split(".")
    if len(parts) != 3:
        return {}
    try:
        octets = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = json.loads(octets)
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
