"""An identity provider on the loopback interface that behaves like Microsoft Entra ID.

Standard library, PyJWT and cryptography; it needs no pytest and lives in the process, in a
thread of its own. It speaks https with a certificate of a `TestAuthority` of its own, since
msal takes nothing else. What it knows: discovery and keys, client credentials with a secret
and with a certificate, the device code, the authorization code with PKCE, refresh tokens, and
the AADSTS refusals in Entra's own shape. Whatever shall go wrong is told it beforehand.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import NAMESPACE_DNS, uuid4, uuid5

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.fakes.certificates import TestAuthority
from tests.servers.https import Answer, HttpsService

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

OUTLOOK = "https://outlook.office365.com"
GRAPH = "https://graph.microsoft.com"
TENANT = "7f0f6a1e-5f0e-4c6b-9d43-3a3c0f5d0001"
CLIENT = "b3a3f9d2-6c0b-4a51-8f55-3a3c0f5d0002"
SECRET = "correct~horse.battery-staple_42"
USER = "bob@contoso.example"

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal as Entra words it."""

    code: int
    error: str
    text: str
    status: int = 400
    suberror: str = ""


REFUSALS: Mapping[int, Refusal] = {
    refusal.code: refusal
    for refusal in (
        Refusal(7000215, "invalid_client", "Invalid client secret provided.", 401),
        Refusal(7000222, "invalid_client", "The provided client secret keys are expired.", 401),
        Refusal(
            700027,
            "invalid_client",
            "The certificate with identifier used to sign the client assertion is not registered"
            " on application.",
            401,
        ),
        Refusal(700016, "unauthorized_client", "Application was not found in the directory."),
        Refusal(90002, "invalid_request", "Tenant was not found."),
        Refusal(
            7000218,
            "invalid_client",
            "The request body must contain the following parameter: 'client_assertion' or"
            " 'client_secret'.",
            401,
        ),
        Refusal(
            65001,
            "invalid_grant",
            "The user or administrator has not consented to use the application.",
            suberror="consent_required",
        ),
        Refusal(
            65004,
            "invalid_grant",
            "User declined to consent to access the app.",
            400,
            "basic_action",
        ),
        Refusal(
            70008, "invalid_grant", "The provided authorization code or refresh token has expired."
        ),
        Refusal(
            700082,
            "invalid_grant",
            "The refresh token has expired due to inactivity.",
            suberror="bad_token",
        ),
        Refusal(
            50173,
            "invalid_grant",
            "The provided grant has expired due to it being revoked.",
            suberror="bad_token",
        ),
        Refusal(
            50076,
            "invalid_grant",
            "Due to a configuration change made by your administrator you must use multi-factor"
            " authentication to access the resource.",
            suberror="basic_action",
        ),
        Refusal(
            53003,
            "invalid_grant",
            "Access has been blocked by Conditional Access policies.",
            suberror="message_only",
        ),
        Refusal(50057, "invalid_grant", "The user account is disabled."),
        Refusal(
            70011,
            "invalid_scope",
            "The provided value for the input parameter 'scope' is not valid.",
        ),
        Refusal(500011, "invalid_resource", "The resource principal was not found in the tenant."),
        Refusal(
            70016, "authorization_pending", "OAuth 2.0 device flow error. Authorization is pending."
        ),
        Refusal(70018, "bad_verification_code", "Invalid verification code."),
        Refusal(70019, "expired_token", "The verification code expired."),
        Refusal(70044, "invalid_grant", "The session has expired or is invalid.", 400, "bad_token"),
    )
}


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked of the provider; no secret is kept."""

    path: str
    """Below the tenant: ``token``, ``devicecode``, ``authorize`` or ``openid-configuration``."""
    grant: str = ""
    scope: str = ""
    client: str = ""


@dataclass(slots=True)
class _Grant:
    """What a device code, an authorization code or a refresh token stands for."""

    scope: str
    user: str
    state: str = "pending"
    """``pending``, ``approved``, ``declined``, ``expired`` or ``revoked``."""
    polls: int = 0
    challenge: str = ""
    redirect: str = ""
    nonce: str = ""


@dataclass(slots=True)
class _Busy:
    status: int
    left: int
    retry_after: int | None


class Refused(Exception):  # noqa: N818 - it is the answer, not a fault of ours
    """The answer is a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.text)


class IdentityProvider(HttpsService):
    """A running identity provider, as a context manager.

    `authority` is what a client is told, `ca_file` what it has to trust. One application is
    registered: `client_id` with `client_secret`, and the certificate that `certificate_file`
    makes. `user` is who sits in front of the browser.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tenant: str = TENANT,
        expires_in: float = 3600,
        authority: TestAuthority | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(authority or TestAuthority(directory))
        self.tenant = tenant
        self.client_id = CLIENT
        self.client_secret = SECRET
        self.user = USER
        self.expires_in = expires_in
        """Seconds that a token lasts."""
        self.skew = 0.0
        """Seconds by which the provider's clock is ahead."""
        self.claims: dict[str, object] = {}
        """Put over the claims of every access token; None takes a claim away."""
        self.roles: tuple[str, ...] = ("IMAP.AccessAsApp",)
        """Application permissions with an administrator's consent."""
        self.approves_after: int | None = None
        """Device codes are approved after so many polls, without anybody's doing."""
        self.interval = 1
        """Seconds that a client is told to wait between two polls."""
        self.requests: list[Request] = []
        self.issued: list[str] = []
        """Every access and refresh token that was given out, so that a test can look for them."""
        self.kid = uuid4().hex
        self._directory = directory
        self._clock = clock
        self._key = _signing_key()
        self._certificates: dict[str, x509.Certificate] = {}
        self._grants: dict[str, _Grant] = {}
        self._refresh: dict[str, _Grant] = {}
        self._refusals: deque[Refusal] = deque()
        self._standing: Refusal | None = None
        self._busy: dict[str, _Busy] = {}
        self._lock = threading.Lock()

    @property
    def authority(self) -> str:
        """The address of the one tenant: ``https://localhost:PORT/TENANT``."""
        return f"{self.base}/{self.tenant}"

    @property
    def issuer(self) -> str:
        """The ``iss`` of access tokens, as Exchange's tokens have it (version 1.0)."""
        return f"https://sts.windows.net/{self.tenant}/"

    @property
    def public_key_pem(self) -> str:
        """The key that proves a token's signature."""
        return (
            self._key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    def issue(
        self,
        *,
        user: str | None = None,
        audience: str = OUTLOOK,
        scp: str = "IMAP.AccessAsUser.All",
        expires_in: float | None = None,
        **claims: object,
    ) -> str:
        """Return an access token: a user's, or the application's own where there is no user.

        ``claims`` are put over the usual ones; None takes a claim away.
        """
        now = self._clock() + self.skew
        lasts = self.expires_in if expires_in is None else expires_in
        values: dict[str, object] = {
            "aud": audience,
            "iss": self.issuer,
            "iat": int(now) - 1,
            "nbf": int(now) - 1,
            "exp": int(now + lasts),
            "appid": self.client_id,
            "tid": self.tenant,
            "ver": "1.0",
            "uti": secrets.token_urlsafe(12),
        }
        if user is None:
            owner = self._object_id(f"service principal of {self.client_id}")
            values |= {"idtyp": "app", "oid": owner, "sub": owner}
            if self.roles:
                values["roles"] = list(self.roles)
        else:
            values |= {
                "idtyp": "user",
                "oid": self._object_id(user),
                "sub": self._object_id(f"{user} at {self.client_id}"),
                "upn": user,
                "unique_name": user,
                "scp": scp,
            }
        values |= self.claims | claims
        shown = {name: value for name, value in values.items() if value is not None}
        token = jwt.encode(
            shown, self._key, algorithm="RS256", headers={"kid": self.kid, "x5t": self.kid}
        )
        self.issued.append(token)
        return token

    def claims_of(self, token: str) -> dict[str, object]:
        """Return what a token says, after its signature was proven; its time is not looked at.

        Raises:
            ValueError: this provider did not sign it.
        """
        try:
            found: dict[str, object] = jwt.decode(
                token,
                self._key.public_key(),
                algorithms=["RS256"],
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
        except jwt.PyJWTError as error:
            raise ValueError(f"no token of this provider: {error}") from None
        return found

    def certificate_file(
        self, name: str = "app", *, registered: bool = True, passphrase: str | None = None
    ) -> Path:
        """Make a certificate for the application; return a PEM file of private key and it."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate = _self_signed(key, name)
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            encryption = serialization.BestAvailableEncryption(passphrase.encode())
        file = self._directory / f"{name}.pem"
        file.touch(mode=0o600)
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        if registered:
            self._register(certificate)
        return file

    def refuse(self, code: int, *, always: bool = False) -> None:
        """Refuse the next request for a token, or all of them, with this AADSTS code."""
        if always:
            self._standing = REFUSALS[code]
        else:
            self._refusals.append(REFUSALS[code])

    def relent(self) -> None:
        """Refuse nothing any longer that was to be refused always."""
        self._standing = None

    def busy(
        self, status: int, *, times: int = 1, retry_after: int | None = None, where: str = "token"
    ) -> None:
        """Answer the next requests with an HTTP status such as 429 or 503."""
        self._busy[where] = _Busy(status, times, retry_after)

    def approve(self) -> None:
        """The person in front of the browser agrees to every device code shown so far."""
        self._decide("approved")

    def decline(self) -> None:
        """The person in front of the browser declines."""
        self._decide("declined")

    def expire_device_codes(self) -> None:
        """Nobody typed the code in time."""
        self._decide("expired")

    def revoke(self) -> None:
        """Take back every refresh token, as a change of the password does."""
        with self._lock:
            for grant in self._refresh.values():
                grant.state = "revoked"

    def count(self, path: str = "token", grant: str | None = None) -> int:
        """Return how often something was asked for."""
        with self._lock:
            return sum(each.path == path and grant in (None, each.grant) for each in self.requests)

    # What follows is for the handler's threads.

    def answer(self, method: str, target: str, form: dict[str, str]) -> Answer:
        """Return the answer to one request."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        tenant, _, rest = parts.path.lstrip("/").partition("/")
        path = rest.rpartition("/")[2]
        grant = form.get("grant_type", "")
        with self._lock:
            scope = form.get("scope", query.get("scope", ""))
            self.requests.append(
                Request(path, grant.rpartition(":")[2], scope, form.get("client_id", ""))
            )
            if (busy := self._is_busy(path)) is not None:
                return busy
            try:
                return self._routed(method, tenant, rest, query, form)
            except Refused as refused:
                return _refused(refused.refusal)

    def _routed(
        self, method: str, tenant: str, rest: str, query: dict[str, str], form: dict[str, str]
    ) -> Answer:
        if tenant not in (self.tenant, "organizations", "consumers", "common"):
            raise Refused(REFUSALS[90002])
        match method, rest:
            case "GET", "v2.0/.well-known/openid-configuration":
                return Answer(self._discovery())
            case "GET", "discovery/v2.0/keys":
                return Answer(self._keys())
            case "POST", "oauth2/v2.0/devicecode":
                return Answer(self._device_code(form))
            case "GET", "oauth2/v2.0/authorize":
                return self._authorize(query)
            case "POST", "oauth2/v2.0/token":
                return Answer(self._token(form))
            case _:
                return Answer({"error": "not_found"}, 404)

    def _is_busy(self, path: str) -> Answer | None:
        busy = self._busy.get(path)
        if busy is None or not busy.left:
            return None
        busy.left -= 1
        headers = {} if busy.retry_after is None else {"Retry-After": str(busy.retry_after)}
        if busy.status in (307, 308):
            headers["Location"] = f"{self.authority}/elsewhere"
        return Answer({"error": "temporarily_unavailable"}, busy.status, headers)

    def _discovery(self) -> dict[str, object]:
        root = self.authority
        return {
            "issuer": f"{root}/v2.0",
            "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
            "token_endpoint": f"{root}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{root}/oauth2/v2.0/devicecode",
            "jwks_uri": f"{root}/discovery/v2.0/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def _keys(self) -> dict[str, object]:
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [key | {"kid": self.kid, "use": "sig", "alg": "RS256"}]}

    def _device_code(self, form: dict[str, str]) -> dict[str, object]:
        self._check_client(form)
        code, shown = secrets.token_urlsafe(24), secrets.token_hex(4).upper()
        self._grants[code] = _Grant(form.get("scope", ""), self.user)
        where = f"{self.base}/device"
        return {
            "device_code": code,
            "user_code": shown,
            "verification_uri": where,
            "expires_in": 900,
            "interval": self.interval,
            "message": f"To sign in, open {where} and enter the code {shown}.",
        }

    def _authorize(self, query: dict[str, str]) -> Answer:
        fields = {"state": query.get("state", "")}
        try:
            self._check_client(query)
            self._next_refusal()
        except Refused as refused:
            fields |= {
                "error": refused.refusal.error,
                "error_description": _description(refused.refusal),
            }
        else:
            code = secrets.token_urlsafe(24)
            self._grants[code] = _Grant(
                query.get("scope", ""),
                query.get("login_hint", self.user),
                "approved",
                challenge=query.get("code_challenge", ""),
                redirect=query.get("redirect_uri", ""),
                nonce=query.get("nonce", ""),
            )
            fields["code"] = code
        inputs = "".join(
            f'<input type="hidden" name="{name}" value="{html.escape(value)}">'
            for name, value in fields.items()
        )
        page = f'<form method="POST" action="{html.escape(query["redirect_uri"])}">{inputs}</form>'
        return Answer(page)

    def _token(self, form: dict[str, str]) -> dict[str, object]:
        self._check_client(form)
        match form.get("grant_type"):
            case "client_credentials":
                self._check_credential(form)
                self._next_refusal()
                return self._response(form["scope"], None, form)
            case grant if grant == _DEVICE_GRANT:
                grant_of = self._poll(form.get("device_code", ""))
                self._next_refusal()
                return self._response(grant_of.scope, grant_of.user, form)
            case "authorization_code":
                grant_of = self._redeem(form)
                self._next_refusal()
                return self._response(grant_of.scope, grant_of.user, form, grant_of.nonce)
            case "refresh_token":
                grant_of = self._refreshed(form.get("refresh_token", ""))
                self._next_refusal()
                return self._response(form.get("scope", grant_of.scope), grant_of.user, form)
            case _:
                return {"error": "unsupported_grant_type"}

    def _check_client(self, form: dict[str, str]) -> None:
        if form.get("client_id") != self.client_id:
            raise Refused(REFUSALS[700016])

    def _check_credential(self, form: dict[str, str]) -> None:
        if form.get("client_assertion_type") == _ASSERTION:
            self._check_assertion(form.get("client_assertion", ""))
        elif "client_secret" not in form:
            raise Refused(REFUSALS[7000218])
        elif not secrets.compare_digest(
            form["client_secret"].encode(), self.client_secret.encode()
        ):
            raise Refused(REFUSALS[7000215])

    def _check_assertion(self, assertion: str) -> None:
        try:
            header = jwt.get_unverified_header(assertion)
            name = header.get("x5t#S256") or header.get("x5t") or ""
            certificate = self._certificates[name.rstrip("=")]
            key = certificate.public_key()
            assert isinstance(key, rsa.RSAPublicKey)
            said = jwt.decode(
                assertion,
                key,
                algorithms=["RS256", "PS256"],
                audience=f"{self.authority}/oauth2/v2.0/token",
            )
        except (jwt.PyJWTError, KeyError):
            raise Refused(REFUSALS[700027]) from None
        if said["iss"] != self.client_id or said["sub"] != self.client_id:
            raise Refused(REFUSALS[700027])

    def _poll(self, code: str) -> _Grant:
        grant = self._grants.get(code)
        if grant is None:
            raise Refused(REFUSALS[70018])
        grant.polls += 1
        if self.approves_after is not None and grant.polls > self.approves_after:
            grant.state = "approved"
        match grant.state:
            case "pending":
                raise Refused(REFUSALS[70016])
            case "declined":
                raise Refused(Refusal(0, "authorization_declined", "The user declined."))
            case "expired":
                raise Refused(REFUSALS[70019])
            case _:
                return self._grants.pop(code)

    def _redeem(self, form: dict[str, str]) -> _Grant:
        grant = self._grants.pop(form.get("code", ""), None)
        if grant is None or grant.redirect != form.get("redirect_uri"):
            raise Refused(REFUSALS[70008])
        proof = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if _url64(proof) != grant.challenge:
            raise Refused(Refusal(501481, "invalid_grant", "The Code_Verifier does not match."))
        return grant

    def _refreshed(self, token: str) -> _Grant:
        grant = self._refresh.get(token)
        if grant is None:
            raise Refused(REFUSALS[700082])
        if grant.state == "revoked":
            raise Refused(REFUSALS[50173])
        return grant

    def _next_refusal(self) -> None:
        if self._refusals:
            raise Refused(self._refusals.popleft())
        if self._standing is not None:
            raise Refused(self._standing)

    def _response(
        self, scope: str, user: str | None, form: dict[str, str], nonce: str = ""
    ) -> dict[str, object]:
        wanted = [word for word in scope.split() if "/" in word]
        if not wanted:
            raise Refused(REFUSALS[70011])
        audience = wanted[0].rpartition("/")[0]
        granted = " ".join(word.rpartition("/")[2] for word in wanted)
        values: dict[str, object] = {
            "token_type": "Bearer",
            "expires_in": int(self.expires_in),
            "ext_expires_in": int(self.expires_in),
            "access_token": self.issue(user=user, audience=audience, scp=granted),
        }
        if user is None:
            return values
        refresh = secrets.token_urlsafe(32)
        self._refresh[refresh] = _Grant(scope, user, "approved")
        self.issued.append(refresh)
        values |= {
            "scope": " ".join(wanted),
            "refresh_token": refresh,
            "id_token": self._id_token(user, nonce),
        }
        if form.get("client_info"):
            info = {"uid": self._object_id(user), "utid": self.tenant}
            values["client_info"] = _url64(json.dumps(info).encode())
        return values

    def _id_token(self, user: str, nonce: str) -> str:
        now = int(self._clock() + self.skew)
        claims: dict[str, Any] = {
            "aud": self.client_id,
            "iss": f"{self.authority}/v2.0",
            "iat": now,
            "nbf": now - 1,
            "exp": now + 3600,
            "oid": self._object_id(user),
            "sub": self._object_id(f"{user} at {self.client_id}"),
            "tid": self.tenant,
            "preferred_username": user,
            "ver": "2.0",
        }
        if nonce:
            claims["nonce"] = nonce
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": self.kid})

    def _register(self, certificate: x509.Certificate) -> None:
        # msal names a certificate by its SHA-1 or its SHA-256, as it was given to it.
        for algorithm in (hashes.SHA1(), hashes.SHA256()):
            self._certificates[_url64(certificate.fingerprint(algorithm))] = certificate

    def _decide(self, state: str) -> None:
        with self._lock:
            for grant in self._grants.values():
                grant.state = state

    def _object_id(self, name: str) -> str:
        return str(uuid5(NAMESPACE_DNS, f"{name} in {self.tenant}"))


def _description(refusal: Refusal) -> str:
    return (
        f"AADSTS{refusal.code}: {refusal.text} Trace ID: {uuid4()} Correlation ID: {uuid4()} "
        f"Timestamp: {time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime())}"
    )


def _refused(refusal: Refusal) -> Answer:
    values: dict[str, object] = {
        "error": refusal.error,
        "error_description": _description(refusal),
        "error_codes": [refusal.code],
        "trace_id": str(uuid4()),
        "correlation_id": str(uuid4()),
    }
    if refusal.suberror:
        values["suberror"] = refusal.suberror
    return Answer(values, refusal.status)


@functools.cache  # to make one takes longer than most tests
def _signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _self_signed(key: rsa.RSAPrivateKey, name: str) -> x509.Certificate:
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )


def _url64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")
