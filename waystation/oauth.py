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
import os
import re
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msal
import requests
from msal.exceptions import MsalError
from msal_extensions import FilePersistence, PersistedTokenCache, build_encrypted_persistence
from msal_extensions.token_cache import LockError
from requests.adapters import HTTPAdapter

from waystation.errors import (
    CertificateError,
    IdentityBusyError,
    SignInError,
    UsageError,
    plain,
)
from waystation.mends import refused_token, unknown_tenant
from waystation.providers import microsoft_server
from waystation.stream import tls_context
from waystation.token import Token

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

log = logging.getLogger(__name__)
for _library in ("msal", "msal_extensions"):
    # What they warn of, tracebacks included, would go to the terminal past our own words.
    logging.getLogger(_library).addHandler(logging.NullHandler())

LONGEST_WAIT = 60.0
"""Seconds for one request to the identity provider."""
_RESERVED = frozenset({"openid", "profile", "offline_access"})
"""Scopes that msal asks for by itself, and refuses to be given."""
_TIMES = (1.0, 3.0)
"""Seconds before a request is tried again that found the identity provider without time."""
_PATIENT = 10.0
"""A longer Retry-After is for whoever asked for the token."""


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


@dataclass(frozen=True, slots=True)
class Web:
    """How to reach the identity provider."""

    ca_file: Path | None = None
    timeout: float = LONGEST_WAIT
    sleep: Callable[[float], None] = time.sleep


class _Adapter(HTTPAdapter):
    """Trusts the system's authorities and one more, through a proxy as well.

    To set ``verify`` would not do: REQUESTS_CA_BUNDLE in the environment takes its place, and
    it would be instead of the usual authorities, not in addition.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, ssl_context=self._context)


class _Session(requests.Session):
    """One https session for msal; without time or reach, the provider is busy, not refusing."""

    def __init__(self, web: Web) -> None:
        super().__init__()
        self._web = web
        self.mount("https://", _Adapter(tls_context(web.ca_file)))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        for pause in _TIMES:
            try:
                return self._once(request, **options)
            except IdentityBusyError as error:
                if (error.backoff or 0.0) > _PATIENT:
                    raise
                log.debug("the identity provider: %s", error)
                self._web.sleep(max(pause, error.backoff or 0.0))
        return self._once(request, **options)

    def _once(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        url = urlsplit(request.url or "")
        host = url.hostname or ""
        try:
            answer = super().send(
                request,
                # A redirected form would carry the secret to wherever the answer says.
                **options | {"timeout": self._web.timeout, "allow_redirects": False},
            )
        except requests.exceptions.SSLError as error:
            raise CertificateError(host, _reason(error)) from None
        except requests.exceptions.Timeout:
            raise IdentityBusyError(host, "it does not answer in time") from None
        except requests.exceptions.RequestException as error:
            raise IdentityBusyError(host, f"it cannot be reached: {_reason(error)}") from None
        except OSError as error:  # a bundle of certificates that is not there
            raise UsageError(f"no TLS to {plain(host)}: {plain(str(error))}.") from None
        log.debug("%s https://%s%s: %d", request.method, url.netloc, url.path, answer.status_code)
        # 429 and 5xx: "Handle errors and exceptions in MSAL for Python" (Microsoft Learn).
        if answer.status_code == 429 or answer.status_code >= 500:
            after = answer.headers.get("Retry-After", "")
            why = f"it answers with status {answer.status_code}"
            raise IdentityBusyError(host, why, float(after) if after.isdecimal() else None)
        return answer


def _reason(error: BaseException) -> str:
    """Return the innermost words of an exception of requests; they hold no secret."""
    found = re.search(r"(?:certificate verify failed: |Errno -?\d+\] |: )([^:()'\"]+)", str(error))
    return plain(found[1] if found else type(error).__name__, 120)


class Tokens:
    """A ``TokenSource`` that asks msal when, and only when, a new token is needed.

    msal's own memory does not do: it takes every token with less than five minutes left for
    none, and would fetch those that live shorter for each call anew.
    """

    def __init__(
        self,
        registration: Registration,
        acquire: Callable[[bool], Mapping[str, Any]],
        user: str,
        *,
        is_app_only: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Ask by ``acquire``, whose argument says whether it has to be a new one."""
        self.is_app_only = is_app_only
        self.tenant = registration.tenant
        self._registration = registration
        self._acquire = acquire
        self._user = user
        self._clock = clock
        self._token: Token | None = None
        self._is_worn = False

    def __repr__(self) -> str:
        return f"Tokens({self._user!r}, {self._registration!r})"

    def token(self) -> Token:
        """See ``TokenSource``."""
        if self._token is None or self.must_renew(self._token):
            has_to_be_new = self._is_worn or self._token is not None
            self._token = self._next(has_to_be_new)
            self._is_worn = False
            log.debug(
                "a token for %s, good for %.0f seconds",
                plain(self._user),
                self._token.expires_at - self._clock(),
            )
        return self._token

    def must_renew(self, token: Token) -> bool:
        """See ``TokenSource``."""
        return self._clock() >= token.renew_at

    def is_expired(self, token: Token) -> bool:
        """See ``TokenSource``."""
        return self._clock() >= token.expires_at

    def discard(self, token: Token) -> None:
        """See ``TokenSource``."""
        if token is self._token:
            self._token = None
        self._is_worn = True

    def _next(self, has_to_be_new: bool) -> Token:
        asked = self._clock()
        with _only_our_errors(self._registration, self._user):
            return _token(self._acquire(has_to_be_new), self._user, asked)


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

    return Tokens(registration, acquire, mailbox, is_app_only=True, clock=clock)


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

    return Tokens(registration, acquire, user, is_app_only=False, clock=clock)


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


class Store:
    """Where the sign-ins of users are kept from run to run."""

    def __init__(self, file: Path, tell: Callable[[str], None]) -> None:
        """Keep them in, or by the name of, ``file``; ``tell`` is told once where it is plain."""
        self._file = file
        self._tell = tell

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept."""
        return self._file.exists()

    def open(self) -> Any:
        """Return the cache for msal."""
        is_new = not self.exists
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return PersistedTokenCache(build_encrypted_persistence(str(self._file)))
        except Exception as error:  # noqa: BLE001 - each platform has exceptions of its own
            log.debug("no store of the platform for tokens: %s", plain(str(error), 120))
        # Made by us, so that nobody else can ever read it, whatever the umask is.
        os.close(os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600))
        self._file.chmod(0o600)
        if is_new:
            self._tell(
                f"sign-ins are kept in {plain(str(self._file))}, which only you can read; this "
                "machine offers no store that would encrypt it"
            )
        return PersistedTokenCache(FilePersistence(str(self._file)))


def store_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where a user's data are kept on this platform, for our tokens."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "waystation" / "tokens.json"


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
        "http_client": _Session(web),
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
    except LockError:
        raise SignInError(
            "the kept sign-ins are in use by another program.",
            (f"If there is none, remove {plain(str(store_file()))}.lockfile",),
        ) from None
    except OSError as error:
        raise SignInError(
            f"the kept sign-ins cannot be used: {plain(error.strerror or type(error).__name__)}.",
            (f"Check {plain(str(store_file()))}",),
        ) from None
