"""How a batch gets to its servers: each mailbox with its own password, or all with one token."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass, replace
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING, Any

from waystation.cli.connect import Doors, Login, Sessions, by_token, by_way, placed
from waystation.cli.options import NO_SIGN_IN, SignIn
from waystation.cli.secrets import PasswordSource, password_for
from waystation.retry import Patience

if TYPE_CHECKING:
    from waystation.address import Account
    from waystation.batch.mailboxes import End
    from waystation.batch.turn import Turn
    from waystation.cli.output import Listener
    from waystation.cli.tokens import TokenPool
    from waystation.progress import Progress
    from waystation.session import Connection
    from waystation.signin import Credential

_COMMANDS = 4
"""So many password commands run at once: each is a process."""


class Keys:
    """What all mailboxes of a batch get their credentials from."""

    def __init__(self, usual: PasswordSource) -> None:
        """Take passwords from ``usual`` where the list says nothing."""
        self._usual = usual
        self._commands = BoundedSemaphore(_COMMANDS)
        # Not every keyring is made for threads.
        self._keyring = Lock()
        self._lock = Lock()
        self._pool: TokenPool | None = None

    def demand_proof(self, sign_in: SignIn) -> None:
        """See that the application's secret is there; see ``tokens.demand_proof``."""
        from waystation.cli.tokens import demand_proof

        demand_proof(sign_in)

    @property
    def _tokens(self) -> TokenPool:
        # Loaded late: msal and requests take their time, and only tokens need them.
        from waystation.cli.tokens import TokenPool

        with self._lock:
            self._pool = self._pool or TokenPool()
            return self._pool

    def credential(
        self, account: Account, end: End, connection: Connection, sign_in: SignIn
    ) -> Credential:
        """Return the password of an account, or where its tokens come from.

        Raises:
            SignInError: there is none. Nobody is asked.
        """
        if account.takes_tokens_only:
            return self._tokens.tokens_for(account, connection, sign_in)
        if end.password is not None:
            return end.password
        source = PasswordSource(end.password_env, end.password_command, end.password_keyring)
        if source == PasswordSource():
            # A password of the row's own is meant; one for all is for those without a token.
            is_named = self._usual.is_named and sign_in.service_account is None
            if by_token(account, sign_in) and not is_named:
                return self._tokens.tokens_for(account, connection, sign_in)
            source = self._usual
        guard: Any = nullcontext()
        if source.command is not None:
            guard = self._commands
        elif source.env is None:
            guard = self._keyring
        with guard:
            return password_for(account, source, may_ask=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxDoors(Doors):
    """The doors of one mailbox in its turn."""

    end: End
    keys: Keys
    turn: Turn

    def login(self, account: Account) -> Login:
        """See ``Doors``."""
        sign_in = self._sign_in(account)
        account = placed(account, sign_in)
        connection = by_way(self.connection, sign_in)
        return Login(
            account, self.keys.credential(account, self.end, connection, sign_in), connection
        )

    def placed(self, account: Account) -> Account:
        """See ``Doors``."""
        return placed(account, self._sign_in(account))

    def sessions(self, login: Login, listener: Listener) -> Sessions:
        """See ``Doors``."""
        self.turn.check()
        return Sessions(
            login,
            listener,
            sleep=self.turn.sleep,
            opened=self.turn.opened,
            closed=self.turn.closed,
        )

    def patience(self, progress: Progress, delays: tuple[float, ...]) -> Patience | None:
        """See ``Doors``."""
        return Patience(progress, self.turn.sleep, delays)

    def _sign_in(self, account: Account) -> SignIn:
        return sign_in_for(account, self.sign_in)


def sign_in_for(account: Account, given: SignIn) -> SignIn:
    """Return the options that mean something for this account: a list may hold many kinds.

    A service account is for Google; where there is one, the application's secret is Microsoft's.
    """
    if account.takes_tokens_only:
        return replace(given, service_account=None)
    for_all = replace(
        NO_SIGN_IN,
        server=given.server if account.preset is not None else None,
        sign_in_as=given.sign_in_as,
        proxy=given.proxy,
        fingerprint=given.fingerprint,
    )
    oauth = account.preset.oauth if account.preset is not None else None
    if oauth is None:
        return for_all
    if given.service_account is not None and oauth.has_service_accounts:
        is_mixed = given.is_app_only
        return replace(
            for_all,
            service_account=given.service_account,
            authority=None if is_mixed else given.authority,
            scope=None if is_mixed else given.scope,
        )
    if given.client_id and re.fullmatch(oauth.client_id, given.client_id):
        return replace(
            for_all,
            client_id=given.client_id,
            client_secret_env=given.client_secret_env,
            authority=given.authority,
            scope=given.scope,
        )
    return for_all
