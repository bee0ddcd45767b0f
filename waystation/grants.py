"""The one door to Authlib: tokens from providers other than Microsoft, by one's own client.

Two ways lead to a token. A person consents once in a browser (RFC 6749 section 4.1, with PKCE,
RFC 7636, and state); what then renews tokens is kept from run to run. Or a Workspace
administrator's service account signs a request for each mailbox (RFC 7523), and nothing is
kept. Where tokens come from is data of the presets. joserfc is Authlib's own library for keys.

No device codes: Google lets them have no scope that opens mail ("OAuth 2.0 for TV and
Limited-Input Device Applications"). A machine without a browser is helped by the address that
the browser of another one ends up at, which the person pastes.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import webbrowser
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from secrets import compare_digest
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from authlib.common.security import generate_token
from authlib.integrations.requests_client.oauth2_session import OAuth2ClientAuth
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.client import OAuth2Client
from authlib.oauth2.rfc7523 import JWTBearerGrant
from joserfc.jwk import RSAKey

from waystation import refusals
from waystation.errors import (
    IdentityBusyError,
    SignInError,
    UsageError,
    WaystationError,
    plain,
)
from waystation.token import Token, Tokens
from waystation.web import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from waystation.kept import Store
    from waystation.provider import OAuth, Provider
    from waystation.web import Web

log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_USUAL_LIFE = 3600.0
"""Seconds that a token lasts where nothing is said of it (RFC 6749 section 5.1 recommends it)."""
_LONGEST_PASTE = 16_384
_CODE = re.compile(r"[\w./~+-]{4,512}", re.ASCII)
_PAGE = "<!doctype html><meta charset=utf-8><title>waystation</title><p>{}"
_DONE = "waystation has what it needs, and goes on in the terminal. This page can be closed."
_TO_PASTE = "Copy the whole address of this page, and paste it in the terminal."


@dataclass(frozen=True, slots=True)
class Client:
    """Who we are to an authorization server: a client that the user has registered there."""

    preset: Provider
    oauth: OAuth
    """The preset's, at the host where it is asked for."""
    client_id: str
    secret: str | None = field(default=None, repr=False)
    """A desktop client of Google has one, which is no secret by itself, but wanted."""

    @property
    def host(self) -> str:
        """The host that gives out the tokens."""
        return urlsplit(self.oauth.token).hostname or ""

    def kept_as(self, user: str) -> str:
        """Return the name under which a user's sign-in is kept."""
        return f"{self.preset.name}:{user.lower()} {self.client_id}"


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account's key, as Google hands it out in a JSON file."""

    email: str
    number: str
    """What an administrator delegates to: the client ID of the account."""
    key_id: str
    private_key: str = field(repr=False)

    @classmethod
    def read(cls, file: Path) -> ServiceAccount:
        """Return what is in a file.

        Raises:
            UsageError: it cannot be read, or is no key of a service account.
        """
        where = plain(str(file))
        try:
            found = json.loads(file.read_bytes())
        except OSError as error:
            raise UsageError(f"{where} cannot be read: {error.strerror}.") from None
        except ValueError:
            raise UsageError(f"{where} is no JSON file.") from None
        names = ("client_email", "client_id", "private_key_id", "private_key")
        if (
            not isinstance(found, dict)
            or found.get("type") != "service_account"
            or not all(isinstance(found.get(name), str) for name in names)
        ):
            raise UsageError(
                f"{where} is no key of a service account. It has to be the JSON file of Google "
                "Cloud console > IAM > Service accounts > the account > Keys > Add key."
            )
        return cls(*(found[name] for name in names))


class _OAuth2(OAuth2Client):
    """Authlib's client on a session of ours."""

    client_auth_class = OAuth2ClientAuth


def user_tokens(
    client: Client,
    user: str,
    store: Store,
    web: Web,
    *,
    clock: Callable[[], float] = time.time,
) -> Tokens:
    """Return the tokens of a user who has signed in before."""
    name = client.kept_as(user)

    def acquire(_has_to_be_new: bool) -> Token:
        kept = store.sign_in(name)
        if kept is None or "refresh_token" not in kept:
            raise refusals.nobody_yet(client.preset, user)
        asked = clock()
        try:
            answer = _refreshed(client, kept, user, web)
        except SignInError:
            # Another process may have been given a new refresh token meanwhile, which ends ours.
            again = store.sign_in(name)
            if again is None or again == kept:
                raise
            kept, answer = again, _refreshed(client, again, user, web)
        token = _token(client, answer, user, asked, kept.get("scope", client.oauth.scope))
        fresh = kept | {"refresh_token": str(answer.get("refresh_token") or kept["refresh_token"])}
        if fresh != kept:
            store.keep(name, fresh)
        return token

    return Tokens(acquire, user, tenant=client.host, is_app_only=False, clock=clock)


def service_tokens(
    client: Client,
    account: ServiceAccount,
    mailbox: str,
    web: Web,
    *,
    clock: Callable[[], float] = time.time,
) -> Tokens:
    """Return the tokens of a service account to which the domain of the mailbox is delegated."""

    def acquire(_has_to_be_new: bool) -> Token:
        asked = clock()
        with _only_our_errors(client, mailbox, account.number):
            answer = _speaker(client, web).fetch_token(
                client.oauth.token,
                grant_type=JWTBearerGrant.GRANT_TYPE,
                assertion=_assertion(client, account, mailbox, asked),
                auth=_nothing_added,
            )
        return _token(client, answer, mailbox, asked, client.oauth.scope)

    return Tokens(acquire, mailbox, tenant=client.host, is_app_only=True, clock=clock)


def sign_in(
    client: Client,
    user: str,
    store: Store,
    web: Web,
    show: Callable[[str], None],
    *,
    paste: Callable[[str], str] | None = None,
    timeout: float = 300,
    clock: Callable[[], float] = time.time,
) -> Token:
    """Have a user consent in a browser, and keep the sign-in.

    The browser of this machine comes back to it by itself; with ``paste``, which is told what to
    ask for, any browser will do, and its last address is brought by hand.

    Raises:
        SignInError: declined, refused, or not in time.
        IdentityBusyError, CertificateError: the authorization server cannot be spoken to.
    """
    state, verifier = generate_token(43), generate_token(64)
    with _Landing(state, _DONE if paste is None else _TO_PASTE) as landing:
        back = client.oauth.redirect or landing.address
        speaker = _speaker(client, web, redirect_uri=back, scope=client.oauth.scope)
        address, _ = speaker.create_authorization_url(
            client.oauth.authorization,
            state=state,
            code_verifier=verifier,
            login_hint=user,
            **client.oauth.extra,
        )
        if paste is not None or client.oauth.redirect is not None:
            show(f"Open this address in any browser: {address}")
            landed: _Landed | None = _pasted((paste or input)(_wanted(client)), state)
        else:
            # That a browser opened is said by programs that opened none, too.
            show(
                "Open this address in a browser of this machine, unless one opens by itself: "
                f"{address}"
            )
            _open_browser(address)
            landed = landing.wait(timeout)
        if landed is None:
            raise refusals.nobody_came(client.preset, user, timeout)
    if landed.code is None:
        raise refusals.refused_token(client.preset, landed.error, landed.description, user)
    asked = clock()
    with _only_our_errors(client, user):
        answer = speaker.fetch_token(
            client.oauth.token,
            grant_type="authorization_code",
            code=landed.code,
            code_verifier=verifier,
        )
    token = _token(client, answer, user, asked, client.oauth.scope)
    if not answer.get("refresh_token"):
        raise SignInError(
            f"{client.host} gave a token and nothing to renew it by; the sign-in cannot be kept.",
            (f"Take the consent back at {client.oauth.consents}, and sign in once more",),
        )
    kept = {"refresh_token": str(answer["refresh_token"]), "scope": " ".join(token.scopes)}
    if client.secret is not None:
        kept["client_secret"] = client.secret
    store.keep(client.kept_as(user), kept)
    return token


def sign_out(client: Client, user: str, store: Store, web: Web) -> tuple[bool, str]:
    """Forget a user's sign-in, and have the provider take it back where that can be asked for.

    Returns:
        Whether there was one, and why the provider has not taken it back; empty where it has.
    """
    kept = store.forget(client.kept_as(user))
    if kept is None:
        return False, ""
    if client.oauth.revocation is None:
        return True, f"{client.preset.title} cannot be asked to"
    try:
        with _only_our_errors(client, user):
            answer = _speaker(_with_secret_of(kept, client), web).revoke_token(
                client.oauth.revocation,
                token=kept["refresh_token"],
                token_type_hint="refresh_token",  # noqa: S106 - the word
            )
    except WaystationError as error:
        return True, str(error).rstrip(".")
    if answer.status_code != 200:
        return True, f"{client.host} answers with status {answer.status_code}"
    return True, ""


@dataclass(frozen=True, slots=True)
class _Landed:
    """What the browser came back with: a code, or an error."""

    code: str | None
    error: str = ""
    description: str = ""


class _Landing:
    """A port of this machine where the browser ends up. A context manager.

    "OAuth 2.0 for Mobile & Desktop Apps": http://127.0.0.1:PORT, and any port is permitted.
    Only what brings our state is listened to; others may knock.
    """

    def __init__(self, state: str, words: str) -> None:
        """Listen for this state; ``words`` are shown to whoever brings it."""
        self._state = state
        self._landed: _Landed | None = None
        self._has_landed = threading.Event()
        landing = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30

            def do_GET(self) -> None:
                known = landing.take(self.path)
                octets = _PAGE.format(words).encode() if known else b""
                self.send_response(200 if known else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(octets)))
                self.end_headers()
                self.wfile.write(octets)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing is logged: addresses hold codes."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Whoever hangs up is no fault of ours."""

        self._server = Server((_LOOPBACK, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> _Landing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """Where the browser is sent back to."""
        return f"http://{_LOOPBACK}:{self._server.server_address[1]}"

    def take(self, target: str) -> bool:
        """Look at what somebody came with; return whether it is what is waited for."""
        landed = _landed(target, self._state)
        if landed is None:
            return False
        if self._landed is None:
            self._landed = landed
        self._has_landed.set()
        return True

    def wait(self, timeout: float) -> _Landed | None:
        """Return what the browser came back with; None where it does not within the time."""
        self._has_landed.wait(timeout)
        return self._landed


def _landed(address: str, state: str) -> _Landed | None:
    query = parse_qs(urlsplit(address).query)
    found = {name: values[0] for name, values in query.items()}
    if not compare_digest(found.get("state", "").encode(), state.encode()):
        return None
    if code := found.get("code"):
        return _Landed(code)
    if error := found.get("error"):
        return _Landed(None, error, found.get("error_description", ""))
    return None


def _wanted(client: Client) -> str:
    if client.oauth.redirect is not None:
        return "The code that the browser shows in the end: "
    return (
        f"In the end the browser finds nothing at http://{_LOOPBACK}; that is as it should be. The "
        "whole address it shows then: "
    )


def _pasted(text: str, state: str) -> _Landed:
    """Return what a person brought: an address, a code, or the words of an error.

    Raises:
        SignInError: it is none of that, or belongs to another sign-in.
    """
    text = text.strip()[:_LONGEST_PASTE]
    if "://" in text and "state=" in text:
        if (landed := _landed(text, state)) is not None:
            return landed
        raise SignInError(
            "that address is of another sign-in.",
            ("Open the address that was shown last, and bring where the browser ends up then",),
        )
    if (error := refusals.error_in(text)) is not None:
        return _Landed(None, error)
    if _CODE.fullmatch(text):
        return _Landed(text)
    raise SignInError(
        "that is no address that a browser ended up at, and no code.",
        ("Run waystation login again, and paste all of what the browser shows as its address",),
    )


def _open_browser(address: str) -> None:
    with suppress(webbrowser.Error, OSError):
        webbrowser.open(address)


def _speaker(client: Client, web: Web, **more: str) -> Any:
    return _OAuth2(  # type: ignore[no-untyped-call]
        Session(web),
        client_id=client.client_id,
        client_secret=client.secret,
        token_endpoint_auth_method="client_secret_post" if client.secret else "none",
        revocation_endpoint_auth_method="none",
        code_challenge_method="S256",
        **more,
    )


def _refreshed(client: Client, kept: Mapping[str, str], user: str, web: Web) -> dict[str, Any]:
    with _only_our_errors(client, user):
        found: dict[str, Any] = _speaker(_with_secret_of(kept, client), web).refresh_token(
            client.oauth.token, refresh_token=kept["refresh_token"]
        )
    return found


def _with_secret_of(kept: Mapping[str, str], client: Client) -> Client:
    """Return the client with the secret that was given, else with the one that was kept."""
    return client if client.secret else replace(client, secret=kept.get("client_secret"))


def _assertion(client: Client, account: ServiceAccount, mailbox: str, now: float) -> str:
    """Return a signed request ("Using OAuth 2.0 for Server to Server Applications", Google)."""
    try:
        signed = JWTBearerGrant.sign(
            RSAKey.import_key(account.private_key),
            issuer=account.email,
            audience=client.oauth.token,
            subject=mailbox,
            issued_at=int(now),
            claims={"scope": client.oauth.scope},
            header={"alg": "RS256", "kid": account.key_id},
        )
    except Exception as error:  # noqa: BLE001 - joserfc and cryptography have many
        log.debug("no signature: %s", type(error).__name__)
        raise UsageError("the private key in the file of --service-account is none.") from None
    return signed.decode() if isinstance(signed, bytes) else str(signed)


def _nothing_added(request: Any) -> Any:
    """Leave a request as it is: a service account proves itself by its signature."""
    return request


def _token(
    client: Client, answer: Mapping[str, Any], user: str, asked: float, wanted: str
) -> Token:
    """Return the token of an answer, which lasts from when it was asked for, not from now."""
    secret = answer.get("access_token")
    if not isinstance(secret, str) or not secret:
        raise SignInError(f"no token for {plain(user)}: {client.host} says nothing of one.")
    # Where nothing is said of the scope, it is what was asked for (RFC 6749 section 5.1).
    granted = str(answer.get("scope") or wanted)
    if not set(client.oauth.scope.split()) <= set(granted.split()):
        raise refusals.not_granted(client.preset, user, granted)
    try:
        lasts = float(answer.get("expires_in") or _USUAL_LIFE)
    except (TypeError, ValueError):
        lasts = _USUAL_LIFE
    said = {"scp": granted, "upn": user, "appid": client.client_id}
    return Token.of(secret, lasts, asked, provider=client.preset.name, claims=said)


@contextmanager
def _only_our_errors(client: Client, user: str, service: str | None = None) -> Iterator[None]:
    """Turn every exception of Authlib into one of ours; its texts may hold what it was given."""
    try:
        yield
    except OAuth2Error as error:
        raise refusals.refused_token(
            client.preset, str(error.error), str(error.description or ""), user, service=service
        ) from None
    except (ValueError, TypeError, OSError) as error:  # no JSON, or a status without an error
        log.debug("%s: %s", client.host, type(error).__name__)
        raise IdentityBusyError(client.host, "its answer makes no sense") from None
