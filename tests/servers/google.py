"""An authorization server on the loopback interface that behaves like Google's.

It speaks https with a certificate of a `TestAuthority`. What it knows: consent with PKCE and a
loopback redirect, desktop clients that have a secret, refresh tokens that never change,
revocation, service accounts with domain-wide delegation (RFC 7523, the signature proven), and
tokeninfo, by which a mail server asks what a token is worth. Tokens are opaque, as Google's are.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fakes.certificates import TestAuthority
from tests.servers.https import Answer, HttpsService

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLIENT = "407408718192-fake.apps.googleusercontent.com"
SECRET = "GOCSPX-correct-horse-battery"
USER = "alice@gmail.example"
SCOPE = "https://mail.google.com/"
TOKEN_ENDPOINT = "/token"
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(slots=True)
class _Consent:
    user: str
    scope: str
    redirect: str = ""
    challenge: str = ""
    is_revoked: bool = False


@dataclass(slots=True)
class _Access:
    user: str
    scope: str
    until: float
    consent: _Consent | None


class Refused(Exception):  # noqa: N818 - it is the answer, not a fault of ours
    """The answer is an error as RFC 6749 has it."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        self.error = error
        self.description = description
        self.status = status
        super().__init__(error)


class GoogleIdentity(HttpsService):
    """A running authorization server, as a context manager. `user` is who sits at the browser."""

    def __init__(
        self,
        directory: Path,
        *,
        authority: TestAuthority | None = None,
        expires_in: float = 3599,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(authority or TestAuthority(directory))
        self.expires_in = expires_in
        """Seconds that a token lasts."""
        self.client_secret: str | None = SECRET
        """What the client has to prove itself with; None for a client without a secret."""
        self.granted = SCOPE
        """What the person at the browser ticks."""
        self.declines: str | None = None
        """The error with which the browser is sent back instead of a code."""
        self.scope = SCOPE
        """What opens a mailbox."""
        self.page: str | None = None
        """A page that shows the code to be copied, as Yandex has one; None where there is none."""
        self.rotates = False
        """Whether each renewal brings a new refresh token and ends the old one, as others do."""
        self.delegated: dict[str, str] = {}
        """By the number of a service account: the scope that an administrator delegated to it."""
        self.users = {USER}
        """Who has a mailbox in the Workspace."""
        self.issued: list[str] = []
        """Every token, code and secret that was given out, so that a test can look for them."""
        self.requests: list[tuple[str, str]] = []
        """Path and kind of grant of each request."""
        self.assertions: list[dict[str, object]] = []
        self._directory = directory
        self._clock = clock
        self._codes: dict[str, _Consent] = {}
        self._consents: dict[str, _Consent] = {}
        self._access: dict[str, _Access] = {}
        self._keys: dict[str, tuple[str, str, rsa.RSAPublicKey]] = {}
        self._refusals: deque[Refused] = deque()
        self._busy = 0
        self._lock = threading.RLock()

    def refuse(self, error: str, description: str, status: int = 400) -> None:
        """Refuse the next request for a token."""
        self._refusals.append(Refused(error, description, status))

    def busy(self, times: int = 1) -> None:
        """Answer the next requests for a token with 503."""
        self._busy = times

    def revoke(self) -> None:
        """Take every consent back, as a change of the password does."""
        with self._lock:
            for consent in self._consents.values():
                consent.is_revoked = True

    @property
    def consents(self) -> int:
        """How many consents stand."""
        with self._lock:
            return sum(not each.is_revoked for each in self._consents.values())

    def count(self, path: str, grant: str = "") -> int:
        """Return how often something was asked for."""
        return self.requests.count((path, grant))

    def opens(self, token: str, user: str) -> bool:
        """Whether this token opens this user's mailbox now."""
        with self._lock:
            found = self._access.get(token)
            return (
                found is not None
                and found.user == user
                and found.scope == self.scope
                and self._clock() < found.until
                and (found.consent is None or not found.consent.is_revoked)
            )

    def service_account(self, name: str = "mover", *, is_delegated: bool = True) -> Path:
        """Make a service account with a key; return Google's JSON file for it."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        number, key_id = str(10**20 + secrets.randbelow(10**20)), secrets.token_hex(20)
        email = f"{name}@project.iam.gserviceaccount.example"
        self._keys[key_id] = (email, number, key.public_key())
        if is_delegated:
            self.delegated[number] = SCOPE
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        self.issued += [line for line in pem.splitlines() if len(line) > 40]
        file = self._directory / f"{name}.json"
        file.write_text(
            json.dumps(
                {
                    "type": "service_account",
                    "project_id": "project",
                    "private_key_id": key_id,
                    "private_key": pem,
                    "client_email": email,
                    "client_id": number,
                    "token_uri": "https://elsewhere.invalid/token",
                }
            )
        )
        return file

    def forget_keys(self) -> None:
        """Delete the keys of all service accounts."""
        self._keys = {
            key: (email, number, rsa.generate_private_key(65537, 2048).public_key())
            for key, (email, number, _) in self._keys.items()
        }

    def answer(self, method: str, target: str, form: dict[str, str]) -> Answer:
        """Return the answer to one request."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        grant = form.get("grant_type", "").rpartition(":")[2]
        with self._lock:
            self.requests.append((parts.path, grant))
            try:
                match method, parts.path:
                    case "GET", "/o/oauth2/v2/auth":
                        return self._consent(query)
                    case "POST", "/token":
                        return self._token(form)
                    case "POST", "/revoke":
                        return self._revoke(form)
                    case "GET", "/tokeninfo":
                        return self._tokeninfo(query.get("access_token", ""))
                    case _:
                        return Answer({"error": "not_found"}, 404)
            except Refused as refused:
                values: dict[str, object] = {
                    "error": refused.error,
                    "error_description": refused.description,
                }
                return Answer(values, refused.status)

    def _consent(self, query: dict[str, str]) -> Answer:
        # What Google shows on a page of its own comes back nowhere.
        if query.get("client_id") != CLIENT:
            return Answer("Error 401: deleted_client", 401)
        redirect = urlsplit(query.get("redirect_uri", ""))
        if query.get("redirect_uri") == self.page:
            code = self._code(query)
            return Answer(f"<p>Your code is {code}")
        if redirect.scheme != "http" or redirect.hostname != "127.0.0.1":
            return Answer("Error 400: redirect_uri_mismatch", 400)
        assert query["access_type"] == "offline"
        fields = {"state": query["state"]}
        if self.declines is not None:
            fields["error"] = self.declines
        else:
            fields |= {"code": self._code(query), "scope": self.granted}
        back = f"{query['redirect_uri']}/?{urlencode(fields)}"
        return Answer("", 302, {"Location": back})

    def _code(self, query: dict[str, str]) -> str:
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert query["scope"] == self.scope
        code = f"4/{secrets.token_urlsafe(24)}"
        self.issued.append(code)
        self._codes[code] = _Consent(
            query["login_hint"], self.granted, query["redirect_uri"], query["code_challenge"]
        )
        return code

    def _token(self, form: dict[str, str]) -> Answer:
        if self._busy:
            self._busy -= 1
            return Answer({"error": "backend_error"}, 503)
        if self._refusals:
            raise self._refusals.popleft()
        match form.get("grant_type"):
            case "authorization_code":
                self._check_client(form)
                return self._redeem(form)
            case "refresh_token":
                self._check_client(form)
                return self._renew(form["refresh_token"])
            case kind if kind == _JWT_BEARER:
                return self._assert(form["assertion"])
            case _:
                raise Refused("unsupported_grant_type", "Invalid grant_type")

    def _check_client(self, form: dict[str, str]) -> None:
        if form.get("client_id") != CLIENT:
            raise Refused("invalid_client", "The OAuth client was not found.", 401)
        if self.client_secret is None:
            return
        if "client_secret" not in form:
            raise Refused("invalid_request", "client_secret is missing.")
        if form["client_secret"] != self.client_secret:
            raise Refused("invalid_client", "Unauthorized", 401)

    def _redeem(self, form: dict[str, str]) -> Answer:
        consent = self._codes.pop(form.get("code", ""), None)
        if consent is None:
            raise Refused("invalid_grant", "Malformed auth code.")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != consent.challenge:
            raise Refused("invalid_grant", "Invalid code verifier.")
        if consent.redirect != form.get("redirect_uri"):
            raise Refused("redirect_uri_mismatch", "Bad Request")
        refresh = self._new_refresh(consent)
        return self._answer_of(consent.user, consent.scope, refresh, with_refresh=True)

    def _renew(self, refresh: str) -> Answer:
        consent = self._consents.get(refresh)
        if consent is None or consent.is_revoked:
            raise Refused("invalid_grant", "Token has been expired or revoked.")
        if self.rotates:
            del self._consents[refresh]
            refresh = self._new_refresh(consent)
        return self._answer_of(consent.user, consent.scope, refresh, with_refresh=self.rotates)

    def _assert(self, assertion: str) -> Answer:
        try:
            key_id = jwt.get_unverified_header(assertion)["kid"]
            email, number, key = self._keys[key_id]
            said = jwt.decode(
                assertion, key, algorithms=["RS256"], audience=f"{self.base}{TOKEN_ENDPOINT}"
            )
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError):
            raise Refused(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable "
                "timeframe. Check your iat and exp values in the JWT claim.",
            ) from None
        except (jwt.PyJWTError, KeyError):
            raise Refused("invalid_grant", "Invalid JWT Signature.") from None
        self.assertions.append(said)
        assert said["iss"] == email
        assert said["exp"] - said["iat"] <= 3600
        if said["scope"] != self.delegated.get(number):
            raise Refused(
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or client "
                "not authorized for any of the scopes requested.",
                401,
            )
        if said["sub"] not in self.users:
            raise Refused("invalid_grant", "Invalid email or User ID")
        return self._answer_of(said["sub"], said["scope"], None)

    def _revoke(self, form: dict[str, str]) -> Answer:
        consent = self._consents.get(form.get("token", ""))
        if consent is None or consent.is_revoked:
            raise Refused("invalid_token", "Token expired or revoked")
        consent.is_revoked = True
        return Answer({})

    def _tokeninfo(self, token: str) -> Answer:
        found = self._access.get(token)
        if found is None or not self.opens(token, found.user):
            raise Refused("invalid_token", "Invalid Value")
        values: dict[str, object] = {
            "aud": CLIENT,
            "scope": found.scope,
            "expires_in": str(int(found.until - self._clock())),
            "email": found.user,
            "access_type": "offline",
        }
        return Answer(values)

    def _new_refresh(self, consent: _Consent) -> str:
        refresh = f"1//{secrets.token_urlsafe(48)}"
        self.issued.append(refresh)
        self._consents[refresh] = consent
        return refresh

    def _answer_of(
        self, user: str, scope: str, refresh: str | None, *, with_refresh: bool = False
    ) -> Answer:
        token = f"ya29.{secrets.token_urlsafe(160)}"
        self.issued.append(token)
        consent = self._consents[refresh] if refresh else None
        self._access[token] = _Access(user, scope, self._clock() + self.expires_in, consent)
        values: dict[str, object] = {
            "access_token": token,
            "expires_in": int(self.expires_in),
            "scope": scope,
            "token_type": "Bearer",
        }
        if with_refresh:
            values["refresh_token"] = refresh
        return Answer(values)
