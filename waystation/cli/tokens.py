"""From options to tokens: which application, which tenant, signed in by whom."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from waystation.cli import state
from waystation.errors import SignInError, UsageError, plain
from waystation.kept import Store, store_file
from waystation.token import SharedTokens
from waystation.web import LONGEST_WAIT, Web

if TYPE_CHECKING:
    from waystation import grants, oauth
    from waystation.address import Account
    from waystation.cli.options import SignIn
    from waystation.session import Connection
    from waystation.token import Tokens, TokenSource


def tokens_for(account: Account, connection: Connection, sign_in: SignIn) -> Tokens:
    """Return where the tokens of a preset's account come from; nothing is asked of it yet.

    Raises:
        SignInError: the secret is not where the user said.
        UsageError: the options contradict each other, or one is missing.
    """
    if not account.takes_tokens_only:
        return _granted_for(account, connection, sign_in)
    # Each loaded only where it is wanted: msal and Authlib take their time.
    from waystation import oauth

    registration = registration_for(account, sign_in)
    web = web_for(connection)
    if not sign_in.is_app_only:
        return oauth.user_tokens(registration, user_of(account, sign_in), store(), web)
    if sign_in.sign_in_as is not None:
        raise UsageError("--sign-in-as names a user; an application signs in as itself.")
    return oauth.app_tokens(registration, _proof(sign_in), account.user, web)


def _granted_for(account: Account, connection: Connection, sign_in: SignIn) -> Tokens:
    from waystation import grants

    web = web_for(connection)
    client = client_for(account, sign_in)
    if sign_in.service_account is None:
        return grants.user_tokens(client, account.user, grant_store(), web)
    service = grants.ServiceAccount.read(sign_in.service_account)
    return grants.service_tokens(client, service, account.user, web)


def client_for(account: Account, sign_in: SignIn) -> grants.Client:
    """Return who we are to the authorization server of a provider other than Microsoft.

    Raises:
        SignInError: the secret is not where the user said.
        UsageError: the options contradict each other, or one is missing.
    """
    from waystation import grants

    preset = account.preset
    if preset is None or preset.oauth is None:
        raise _no_tokens(account)
    if account.protocol not in preset.oauth.protocols:
        raise UsageError(f"{preset.title} takes tokens by IMAP only; by POP3, an app password.")
    if sign_in.sign_in_as is not None:
        raise UsageError(
            f"--sign-in-as: {preset.title} opens nobody's mailbox to another user; an "
            "administrator's --service-account does, where there is one."
        )
    found = preset.oauth
    if sign_in.authority is not None:
        parts = urlsplit(sign_in.authority)
        if parts.scheme != "https" or not parts.hostname:
            raise UsageError(f"{plain(sign_in.authority)} is no authority: write https://HOST.")
        found = found.at(parts.netloc)
    if sign_in.scope is not None:
        if not sign_in.scope.split():
            raise UsageError("--scope names nothing that could be signed in to.")
        found = replace(found, scope=sign_in.scope)
    if sign_in.service_account is not None:
        if not found.has_service_accounts:
            raise UsageError(f"--service-account: {preset.title} has none.")
        if sign_in.client_secret_env is not None:
            raise UsageError("give --service-account or --client-secret-env, not both.")
        return grants.Client(
            preset, found, grants.ServiceAccount.read(sign_in.service_account).number
        )
    if not sign_in.client_id or not re.fullmatch(found.client_id, sign_in.client_id):
        raise UsageError(
            f"{preset.title} gives tokens to registered clients only, and waystation is none: make "
            f"one of your own at {found.clients} (docs/sources.md shows how) and give its client "
            "ID with --client-id ID or in WAYSTATION_CLIENT_ID. An app password is the simpler "
            f"way: keyring set waystation {plain(account.password_key)}"
        )
    secret = sign_in.client_secret_env
    proof = None if secret is None else _variable(secret, "client secret")
    return grants.Client(preset, found, sign_in.client_id, proof)


class TokenPool:
    """The tokens of many mailboxes: at Microsoft, an application's serves all of a tenant.

    All others, those of a service account too, are for one mailbox.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._shared: dict[oauth.Registration, SharedTokens] = {}

    def tokens_for(self, account: Account, connection: Connection, sign_in: SignIn) -> TokenSource:
        """Return where the tokens of an account come from; see ``tokens_for``."""
        if not (account.takes_tokens_only and sign_in.is_app_only):
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
    from waystation import oauth

    preset = account.preset
    if preset is None or not preset.is_exchange:
        raise _no_tokens(account)
    if sign_in.service_account is not None:
        raise UsageError("--service-account is for gmail:USER; here it is --client-secret-env.")
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


def _no_tokens(account: Account) -> UsageError:
    return UsageError(
        f"{plain(account.name)} is signed in to with a password, not by 'waystation login'. "
        f"Keep it in the keyring: keyring set waystation {plain(account.password_key)}"
    )


def user_of(account: Account, sign_in: SignIn) -> str:
    """Return who signs in: the mailbox's own user, or a delegate."""
    return sign_in.sign_in_as or account.user


def web_for(connection: Connection) -> Web:
    """Return how to reach the identity provider."""
    return Web(connection.ca_file, min(connection.timeout, LONGEST_WAIT))


def store() -> Store:
    """Return where sign-ins at Microsoft are kept; it is told once where that is a plain file."""
    return _store("tokens.json")


def grant_store() -> Store:
    """Return where sign-ins at other providers are kept, in the same manner."""
    return _store("grants.json")


def _store(name: str) -> Store:
    listener = state.current()
    return Store(store_file(name=name), listener.warning if listener else lambda _: None)


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
    from waystation import oauth

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
