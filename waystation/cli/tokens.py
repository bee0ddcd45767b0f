"""From options to tokens: which application, which tenant, signed in by whom."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING

from waystation import oauth
from waystation.cli import state
from waystation.errors import SignInError, UsageError, plain
from waystation.token import SharedTokens

if TYPE_CHECKING:
    from waystation.address import Account
    from waystation.cli.options import SignIn
    from waystation.imap import Connection
    from waystation.token import TokenSource


def tokens_for(account: Account, connection: Connection, sign_in: SignIn) -> oauth.Tokens:
    """Return where the tokens of a preset's account come from; nothing is asked of it yet.

    Raises:
        SignInError: the secret is not where the user said.
        UsageError: the options contradict each other, or one is missing.
    """
    registration = registration_for(account, sign_in)
    web = web_for(connection)
    if not sign_in.is_app_only:
        return oauth.user_tokens(registration, user_of(account, sign_in), store(), web)
    if sign_in.sign_in_as is not None:
        raise UsageError("--sign-in-as names a user; an application signs in as itself.")
    return oauth.app_tokens(registration, _proof(sign_in), account.user, web)


class TokenPool:
    """The tokens of many mailboxes: an application's token serves all mailboxes of a tenant."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._shared: dict[oauth.Registration, SharedTokens] = {}

    def tokens_for(self, account: Account, connection: Connection, sign_in: SignIn) -> TokenSource:
        """Return where the tokens of an account come from; see ``tokens_for``."""
        if not sign_in.is_app_only:
            return tokens_for(account, connection, sign_in)
        registration = registration_for(account, sign_in)
        with self._lock:
            if registration not in self._shared:
                self._shared[registration] = SharedTokens(tokens_for(account, connection, sign_in))
            return self._shared[registration]


def demand_proof(sign_in: SignIn) -> None:
    """See that what an application signs in with is there, before a mailbox needs it.

    Raises:
        SignInError: the secret is not where the user said.
        UsageError: the options contradict each other.
    """
    if sign_in.is_app_only:
        _proof(sign_in)


def registration_for(account: Account, sign_in: SignIn) -> oauth.Registration:
    """Return who we are to the identity provider of an account.

    Raises:
        UsageError: the options contradict each other, or one is missing.
    """
    preset = account.preset
    if preset is None or not preset.is_exchange:
        raise UsageError(
            f"{plain(account.name)} is signed in to with a password, not by 'waystation login'. "
            f"Keep it in the keyring: keyring set waystation {plain(account.password_key)}"
        )
    cloud = preset.cloud(sign_in.cloud)
    if not sign_in.client_id:
        raise UsageError(
            f"{preset.title} lets in registered applications only, and waystation has no "
            "registration of its own: register one in your tenant (docs/office365.md shows how, "
            "it takes five minutes) and give its application (client) ID with --client-id ID or "
            "in WAYSTATION_CLIENT_ID."
        )
    domain = user_of(account, sign_in).rpartition("@")[2]
    tenant = sign_in.tenant or cloud.tenant or domain
    scope = cloud.app_scope if sign_in.is_app_only else cloud.user_scope_of(account.protocol)
    return oauth.Registration(
        sign_in.client_id,
        _authority(sign_in.authority or cloud.authority, tenant, sign_in.tenant),
        sign_in.scope or scope,
    )


def user_of(account: Account, sign_in: SignIn) -> str:
    """Return who signs in: the mailbox's own user, or a delegate."""
    return sign_in.sign_in_as or account.user


def web_for(connection: Connection) -> oauth.Web:
    """Return how to reach the identity provider."""
    return oauth.Web(connection.ca_file, min(connection.timeout, oauth.LONGEST_WAIT))


def store() -> oauth.Store:
    """Return where sign-ins are kept; it is told once where that is a plain file."""
    listener = state.current()
    return oauth.Store(oauth.store_file(), listener.warning if listener else lambda _: None)


def _authority(address: str, tenant: str, asked: str | None) -> str:
    base, slashes, path = address.rstrip("/").partition("://")
    host, _, own = path.partition("/")
    if not own:
        return f"{base}{slashes}{host}/{tenant}"
    if asked is not None and asked.lower() != own.partition("/")[0].lower():
        raise UsageError(
            f"--authority names the tenant {plain(own)}, --tenant {plain(asked)}: leave one out."
        )
    return address.rstrip("/")


def _proof(sign_in: SignIn) -> oauth.Secret | oauth.Certificate:
    if sign_in.client_certificate is None:
        if sign_in.client_certificate_passphrase_env is not None:
            raise UsageError("--client-certificate-passphrase-env goes with --client-certificate.")
        return oauth.Secret(_variable(sign_in.client_secret_env or "", "client secret"))
    if sign_in.client_secret_env is not None:
        raise UsageError("give --client-secret-env or --client-certificate, not both.")
    name = sign_in.client_certificate_passphrase_env
    passphrase = None if name is None else _variable(name, "passphrase")
    return oauth.Certificate.read(sign_in.client_certificate, passphrase)


def _variable(name: str, what: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise SignInError(
            f"the environment variable {plain(name)} holds no {what}. "
            f"Set it, for one run: {plain(name)}=… waystation …"
        )
    return value
