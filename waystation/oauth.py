"""The one door to msal: tokens for a mailbox, by a user's sign-in or an application's own.

Where tokens come from (the authority), what they are for (the scope) and where the mail is (the
host) are three settings that know nothing of each other. Outside this module there are only our
types: a ``Token``, a ``SignInError`` that says what to do, or an ``IdentityBusyError`` that
says that nobody can know for now.

A user's sign-in is kept from run to run, by msal's extensions: in the store of the platform
(DPAPI, Keychain, libsecret) where there is one, else in a file that only its owner can read. An
application's token is kept in memory only.
"""

from __future__ import annotations

import logging
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msal
from msal.exceptions import MsalError

from waystation.errors import IdentityBusyError, SignInError, UsageError, plain
from waystation.kept import Store, errors_of_store, store_file
from waystation.mends import refused_token, unknown_tenant
from waystation.providers import microsoft_server
from waystation.token import Token, Tokens
from waystation.web import LONGEST_WAIT, Session, Web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = [
    "LONGEST_WAIT",
    "Certificate",
    "Registration",
    "Secret",
    "Store",
    "Tokens",
    "Web",
    "app_tokens",
    "sign_in_with_browser",
    "sign_in_with_code",
    "sign_out",
    "store_file",
    "user_tokens",
]

# What it warns of, tracebacks included, would go to the terminal past our own words.
logging.getLogger("msal").addHandler(logging.NullHandler())

_RESERVED = frozenset({"openid", "profile", "offline_access"})
"""Scopes that msal asks for by itself, and refuses to be given."""


@dataclass(frozen=True, slots=True)
class Registration:
    """Who we are at the identity provider, and what we want from it."""

    client_id: str
    authority: str
    """``https://HOST/TENANT``."""
    scope: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.authority)
        if parts.scheme != "https" or not parts.hostname or not parts.path.strip("/"):
            raise UsageError(f"{plain(self.authority)} is no authority: write https://HOST/TENANT.")
        if not self.scopes:
            raise UsageError("--scope names nothing that could be signed in to.")

    @property
    def scopes(self) -> list[str]:
        """The scopes for msal, which adds the reserved ones itself."""
        return [word for word in self.scope.split() if word not in _RESERVED]

    @property
    def tenant(self) -> str:
        """The tenant as it was named: a number, a domain, or ``organizations`` and the like."""
        return urlsplit(self.authority).path.strip("/").partition("/")[0]

    @property
    def host(self) -> str:
        """The host that gives out the tokens."""
        return urlsplit(self.authority).hostname or ""


@dataclass(frozen=True, slots=True)
class Secret:
    """A client secret."""

    value: str = field(repr=False)

    def for_msal(self) -> str:
        """Return it as msal takes it."""
        return self.value


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key, in one PEM file."""

    pem: str = field(repr=False)
    passphrase: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, file: Path, passphrase: str | None = None) -> Certificate:
        """Return what is in a file.

        Raises:
            UsageError: it cannot be read, or lacks one of the two.
        """
        try:
            pem = file.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no PEM text"
            raise UsageError(f"{plain(str(file))} cannot be read: {why}.") from None
        for what, form in _PEM.items():
            if not form.search(pem):
                raise UsageError(
                    f"{plain(str(file))} holds no {what}. It has to be one PEM file of private "
                    "key and certificate: cat key.pem certificate.pem > both.pem (out of a .pfx: "
                    "openssl pkcs12 -in FILE.pfx -nodes -out both.pem)."
                )
        return cls(pem, passphrase)

    def for_msal(self) -> dict[str, str]:
        """Return it as msal takes it, which finds the key and the first certificate in it."""
        found = {"private_key": self.pem, "public_certificate": self.pem}
        return found if self.passphrase is None else found | {"passphrase": self.passphrase}


_PEM = {
    "private key": re.compile("-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    "certificate": re.compile("-----BEGIN CERTIFICATE-----"),
}


def app_tokens(
    registration: Registration,
    proof: Secret | Certificate,
    mailbox: str,
    web: Web,
    *,
    clock: Callable[[], float] = time.time,
) -> Tokens:
    """Return the tokens of the application itself.

    Raises:
        SignInError: the tenant is not known, or the certificate is of no use.
        IdentityBusyError, CertificateError: the identity provider cannot be spoken to.
    """
    application: Any = None

    def acquire(has_to_be_new: bool) -> Mapping[str, Any]:
        nonlocal application
        if application is None:
            application = msal.ConfidentialClientApplication(
                registration.client_id,
                client_credential=proof.for_msal(),
                **_settings(registration, web),
            )
        elif has_to_be_new:
            # There is no other way to have msal leave out its memory here.
            application.remove_tokens_for_client()
        found: Mapping[str, Any] = application.acquire_token_for_client(registration.scopes)
        return found

    return _tokens(registration, acquire, mailbox, is_app_only=True, clock=clock)


def user_tokens(
    registration: Registration,
    user: str,
    store: Store,
    web: Web,
    *,
    clock: Callable[[], float] = time.time,
) -> Tokens:
    """Return the tokens of a user who has signed in before."""
    application: Any = None

    def acquire(has_to_be_new: bool) -> Mapping[str, Any]:
        nonlocal application
        if not store.exists:
            raise _nobody(user)
        application = application or _public(registration, store, web)
        accounts = application.get_accounts(username=user)
        if not accounts:
            raise _nobody(user)
        found = application.acquire_token_silent_with_error(
            registration.scopes, accounts[0], force_refresh=has_to_be_new
        )
        if found is None:
            raise _nobody(user)
        answer: Mapping[str, Any] = found
        return answer

    return _tokens(registration, acquire, user, is_app_only=False, clock=clock)


def _tokens(
    registration: Registration,
    acquire: Callable[[bool], Mapping[str, Any]],
    user: str,
    *,
    is_app_only: bool,
    clock: Callable[[], float],
) -> Tokens:
    """Return the tokens for which msal is asked when, and only when, a new one is needed.

    msal's own memory does not do: it takes every token with less than five minutes left for
    none, and would fetch those that live shorter for each call anew.
    """

    def renewed(has_to_be_new: bool) -> Token:
        asked = clock()
        with _only_our_errors(registration, user):
            return _token(acquire(has_to_be_new), user, asked)

    tenant = registration.tenant
    return Tokens(renewed, user, tenant=tenant, is_app_only=is_app_only, clock=clock)


def sign_in_with_code(
    registration: Registration,
    user: str,
    store: Store,
    web: Web,
    show: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.time,
) -> Token:
    """Have a user sign in on any device with a code that ``show`` is told; keep the sign-in.

    Raises:
        SignInError: declined, refused, not in time, or somebody else signed in.
    """
    with _only_our_errors(registration, user):
        application = _public(registration, store, web)
        flow = application.initiate_device_flow(registration.scopes)
        if "device_code" not in flow:
            raise refused_token(flow, user)
        show(plain(str(flow.get("message", "")), 600))
        until = clock() + float(flow.get("expires_in", 900))
        pause = float(flow.get("interval", 5))
        while True:
            asked = clock()
            answer = application.acquire_token_by_device_flow(flow, exit_condition=lambda _: True)
            if answer.get("error") not in ("authorization_pending", "slow_down"):
                return _kept(application, answer, user, asked)
            if clock() >= until:
                raise refused_token({"error": "expired_token"}, user)
            if answer["error"] == "slow_down":
                pause += 5  # RFC 8628 section 3.5
            web.sleep(pause)
            flow.pop("latest_attempt_at", None)  # by which msal watches over its own pauses


def sign_in_with_browser(
    registration: Registration,
    user: str,
    store: Store,
    web: Web,
    show: Callable[[str], None],
    *,
    timeout: float = 300,
    clock: Callable[[], float] = time.time,
) -> Token:
    """Have a user sign in in the browser of this machine; keep the sign-in.

    Raises:
        SignInError: declined, refused, not in time, or somebody else signed in.
    """
    with _only_our_errors(registration, user):
        application = _public(registration, store, web)
        asked = clock()
        try:
            answer = application.acquire_token_interactive(
                registration.scopes,
                login_hint=user,
                timeout=timeout,
                auth_uri_callback=lambda url: show(f"Open this address in a browser: {url}"),
            )
        except RuntimeError:  # msal's word for a browser that never came back
            answer = {}
        if not answer:
            raise SignInError(
                f"no token for {plain(user)}: nobody signed in within {timeout:.0f} seconds.",
                ("On a machine without a browser: waystation login with --device-code",),
            )
        return _kept(application, answer, user, asked)


def sign_out(registration: Registration, user: str, store: Store, web: Web) -> int:
    """Forget a user's sign-in; return how many there were. The provider is not told."""
    if not store.exists:
        return 0
    with _only_our_errors(registration, user):
        application = _public(registration, store, web)
        accounts = application.get_accounts(username=user)
        for account in accounts:
            application.remove_account(account)
        return len(accounts)


def _public(registration: Registration, store: Store, web: Web) -> Any:
    return msal.PublicClientApplication(
        registration.client_id, token_cache=store.open(), **_settings(registration, web)
    )


def _settings(registration: Registration, web: Web) -> dict[str, Any]:
    return {
        "authority": registration.authority,
        # msal would ask Microsoft's worldwide cloud about every authority that it does not know.
        # Ours are named here or by the user, and need nobody's word.
        "instance_discovery": False,
        "http_client": Session(web),
    }


def _token(answer: Mapping[str, Any], user: str, asked: float) -> Token:
    """Return the token of an answer, which lasts from when it was asked for, not from now."""
    if "access_token" not in answer:
        raise refused_token(answer, user)
    return Token.of(
        str(answer["access_token"]),
        float(answer.get("expires_in", 0)),
        asked,
        is_fresh=answer.get("token_source") != "cache",
    )


def _kept(application: Any, answer: Mapping[str, Any], user: str, asked: float) -> Token:
    """Return the token of a sign-in, which msal has put into the store already."""
    token = _token(answer, user, asked)
    who = str((answer.get("id_token_claims") or {}).get("preferred_username") or "")
    if who.lower() != user.lower() and (who or not application.get_accounts(username=user)):
        raise SignInError(
            f"{plain(who) or 'somebody else'} signed in, not {plain(user)}.",
            (
                f"Sign in as {plain(user)}; where that is a shared mailbox, or signs in by another "
                f"name, add --sign-in-as {plain(who) or 'NAME'}, here and with each command",
            ),
        )
    return token


def _nobody(user: str) -> SignInError:
    return SignInError(
        f"nobody has signed in as {plain(user)} here yet.",
        (
            f"waystation login {plain(microsoft_server(user))} (with the same options), or let an "
            "application sign in: --client-secret-env NAME, --client-certificate FILE",
        ),
    )


@contextmanager
def _only_our_errors(registration: Registration, user: str) -> Iterator[None]:
    """Turn every exception of msal into one of ours; its texts may hold what it was given."""
    try:
        with errors_of_store():
            yield
    except MsalError as error:
        raise IdentityBusyError(registration.host, type(error).__name__) from None
    except ValueError as error:
        if "authority configuration" in str(error):
            raise unknown_tenant(registration.authority) from None
        raise SignInError(
            f"no token for {plain(user)}: what this machine has for the sign-in cannot be used.",
            (
                "With --client-certificate: check the file and its passphrase "
                "(--client-certificate-passphrase-env)",
                f"Else the kept sign-ins are damaged: remove {plain(str(store_file()))} and run "
                "waystation login",
            ),
        ) from None
    except (KeyError, TypeError, AttributeError):
        # msal takes it for granted that an authority describes itself as one.
        raise unknown_tenant(registration.authority) from None
