"""From the options of a command to a signed-in session: who, with what credential, how."""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, cast

from waystation.cli import options
from waystation.cli.naming import named_account
from waystation.cli.secrets import PasswordSource, password_for
from waystation.errors import UsageError, WaystationError, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.source import MailSource
    from importer.target import MailTarget
    from store.archive import Archive, Description
    from store.transfers import Target
    from waystation.address import Account
    from waystation.cli.output import Listener
    from waystation.imap import ImapSession
    from waystation.pop3 import Pop3Session
    from waystation.progress import Progress
    from waystation.retry import Patience
    from waystation.session import Connection
    from waystation.signin import Credential


_PAUSES = 3
"""So often is a pause granted before the first session is open."""


@dataclass(frozen=True, slots=True)
class Login:
    """Everything that a connection to one account takes. Never shown: it holds the password."""

    account: Account
    credential: Credential
    connection: Connection

    @classmethod
    def ask(
        cls,
        account: Account,
        source: PasswordSource,
        connection: Connection,
        sign_in: options.SignIn | None = None,
    ) -> Self:
        """Return the login, with a password from where the user said, or with tokens.

        Raises:
            SignInError: there is none.
            UsageError: the options do not go with this account.
        """
        sign_in = sign_in or options.SignIn()
        account = placed(account, sign_in)
        connection = by_way(connection, sign_in)
        return cls(account, credential_for(account, source, connection, sign_in), connection)

    def __repr__(self) -> str:
        return f"Login({self.account.key!r})"

    def session(self) -> ImapSession | Pop3Session:
        """Return a new signed-in session."""
        if self.account.protocol == "pop3":
            from waystation.pop3 import Pop3Session

            return Pop3Session.open(self.account, self.credential, self.connection)
        return self.imap_session()

    def imap_session(self) -> ImapSession:
        """Return a new signed-in session of an account that is reached by IMAP."""
        from waystation.imap import ImapSession

        return ImapSession.open(self.account, self.credential, self.connection)


@dataclass(frozen=True, slots=True)
class Doors:
    """How a command gets to its servers, and how it waits: as its options say."""

    passwords: PasswordSource
    connection: Connection
    sign_in: options.SignIn

    def login(self, account: Account) -> Login:
        """Return everything that a connection to an account takes; see ``Login.ask``."""
        return Login.ask(account, self.passwords, self.connection, self.sign_in)

    def placed(self, account: Account) -> Account:
        """Return the account at the address where the options say that it is."""
        return placed(account, self.sign_in)

    def sessions(self, login: Login, listener: Listener) -> Sessions:
        """Return the sessions of a login; the first is opened at once."""
        return Sessions(login, listener)

    def patience(self, progress: Progress, delays: tuple[float, ...]) -> Patience | None:  # noqa: ARG002
        """Return how long to wait between tries; None is as usual."""
        return None


def by_way(connection: Connection, sign_in: options.SignIn) -> Connection:
    """Return how to connect, by the way that options and environment describe.

    Raises:
        UsageError: one of them makes no sense.
    """
    from waystation.way import Way

    return replace(connection, way=Way.of(sign_in.proxy, sign_in.fingerprint))


def placed(account: Account, sign_in: options.SignIn) -> Account:
    """Return the account at the address where the options say that it is.

    Raises:
        UsageError: the options are for another kind of account.
    """
    from waystation.address import parse_server

    if sign_in.sign_in_as is not None and not account.takes_tokens_only:
        account = account.opened_by(sign_in.sign_in_as)
    if not account.takes_tokens_only and (given := sign_in.for_tokens_only):
        _demand_sense(account, sign_in, given)
    preset = account.preset
    if sign_in.server is not None:
        if preset is None:
            raise UsageError("--server goes with PROVIDER:USER; else the server is in its name.")
        return account.at(*parse_server(sign_in.server))
    if preset is not None and preset.is_exchange:
        return account.at(preset.cloud(sign_in.cloud).imap_host, account.port)
    return account


_OF_GRANTS = frozenset({"--client-secret-env", "--authority", "--scope", "--service-account"})


def _demand_sense(account: Account, sign_in: options.SignIn, given: list[str]) -> None:
    """See that options for tokens mean something where a password could open the account.

    Raises:
        UsageError: they do not.
    """
    preset = account.preset
    others = [name for name in given if name not in _OF_GRANTS]
    if preset is None or preset.oauth is None or others:
        raise UsageError(
            f"{', '.join(others or given)}: for office365:USER and outlook:USER only, not for "
            f"{plain(account.name)}."
        )
    if not by_token(account, sign_in):
        raise UsageError(
            f"{', '.join(given)}: goes with --client-id ID, that of an OAuth client of your own "
            f"({preset.oauth.clients})."
        )


def by_token(account: Account, sign_in: options.SignIn) -> bool:
    """Whether tokens open an account: always, or since the options name a client for it.

    Raises:
        UsageError: they name one that is none of this provider.
    """
    if account.takes_tokens_only:
        return True
    oauth = account.preset.oauth if account.preset is not None else None
    if oauth is None:
        return False
    if sign_in.service_account is not None:
        return True
    if not sign_in.client_id:
        return False
    if re.fullmatch(oauth.client_id, sign_in.client_id):
        return True
    # Out of the environment it may be meant for Office 365.
    if sign_in.client_id == os.environ.get("WAYSTATION_CLIENT_ID"):
        return False
    raise UsageError(
        f"--client-id {plain(sign_in.client_id, 90)} is none for {plain(account.name)}. Clients "
        f"are registered at {oauth.clients}."
    )


def credential_for(
    account: Account, source: PasswordSource, connection: Connection, sign_in: options.SignIn
) -> Credential:
    """Return the password of an account, or where its tokens come from.

    Raises:
        SignInError: there is none.
        UsageError: the options do not go with this account.
    """
    if not by_token(account, sign_in) or (
        # Whoever names a password means it, whatever the environment says of clients.
        source.is_named and not account.takes_tokens_only and sign_in.service_account is None
    ):
        return password_for(account, source)
    refuse_passwords(account, source, sign_in)
    # Loaded late: msal and requests take their time, and only tokens need them.
    from waystation.cli.tokens import tokens_for

    return tokens_for(account, connection, sign_in)


def refuse_passwords(
    account: Account, source: PasswordSource, sign_in: options.SignIn | None = None
) -> None:
    """See that nobody names a password for a provider that takes tokens only.

    Raises:
        UsageError: somebody does.
    """
    if sign_in is not None and sign_in.service_account is not None and source.is_named:
        raise UsageError("give --service-account or a password, not both.")
    if account.takes_tokens_only and source.is_named:
        raise UsageError(
            f"{plain(account.name)}: Microsoft takes no passwords. Leave --password-env and "
            "--password-command out; 'waystation login' signs in, or an application does: "
            "--client-secret-env NAME."
        )


class Sessions:
    """One session after the other; the first is opened at once.

    So a wrong password shows before anything is made or recorded. A context manager, which
    closes the first session where nobody took it.
    """

    def __init__(
        self,
        login: Login,
        listener: Listener | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        opened: Callable[[ImapSession | Pop3Session], None] = lambda _: None,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        """Open sessions; ``opened`` and ``closed`` are told."""
        self._login = login
        self._opened = opened
        self._closed = closed
        self._first: ImapSession | Pop3Session | None = _patiently(login, listener, sleep)
        opened(self._first)
        self.is_exchange = getattr(self._first, "is_exchange", False)
        """Whether the server is Exchange Online, whatever it was called."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._first is not None:
            self._first.drop()

    def rest(self) -> None:
        """Close the first session where nobody took it; the next is opened when it is needed.

        For whoever knows now that it can be opened, and needs it only in an hour: a server
        closes a session that is idle for so long (RFC 9051 section 5.4).
        """
        session, self._first = self._first, None
        if session is not None:
            session.close()

    @contextmanager
    def source(self, archive: Archive, *, is_reading: bool = False) -> Iterator[MailSource]:
        """Open the next session, as a source; ``archive`` knows what was read from it before.

        With ``is_reading`` nothing is recorded in it.
        """
        with self._next() as session:
            if self._login.account.protocol == "pop3":
                from export.pop3_source import Pop3Source

                yield Pop3Source(cast("Pop3Session", session), archive, is_reading=is_reading)
            else:
                from export.imap_source import ImapSource

                imap = cast("ImapSession", session)
                imap.leaves_out_no_mail = True
                yield ImapSource(imap)

    @contextmanager
    def target(self, *, pipelined: bool = True) -> Iterator[MailTarget]:
        """Open the next session, as a target."""
        from importer.imap_target import ImapTarget

        with self._next() as session:
            # ``target_account`` takes no other.
            yield ImapTarget(
                cast("ImapSession", session), pipelined=pipelined, is_careful=self.is_exchange
            )

    @contextmanager
    def _next(self) -> Iterator[ImapSession | Pop3Session]:
        session, self._first = self._first, None
        if session is None:
            session = self._login.session()
            self._opened(session)
        try:
            with session:
                yield session
        finally:
            self._closed()


def _patiently(
    login: Login, listener: Listener | None, sleep: Callable[[float], None]
) -> ImapSession | Pop3Session:
    """Open a session; where the other side only asks for a pause, after that.

    Raises:
        WaystationError: it asked too often, or for something else.
    """
    for _ in range(_PAUSES):
        try:
            return login.session()
        except WaystationError as error:
            if error.backoff is None:
                raise
            if listener is not None:
                listener.waiting(error.backoff, str(error))
            sleep(error.backoff)
    return login.session()


def source_account(known: Description, named: str | None) -> Account:
    """Return the source that was named, or the one that the archive remembers."""
    source = named if named is not None else known.source
    if source is None:
        raise UsageError("this archive does not know its source; give --from SERVER.")
    return named_account(source)


def target_account(archive: Archive, named: str | None, *, offline: bool = False) -> Account:
    """Return the target that was named, or the only one that the archive remembers."""
    from waystation.address import parse_account

    if named is not None:
        account = parse_account(named) if offline else named_account(named)
        if account.protocol == "pop3":
            raise UsageError("POP3 takes no messages; a target is reached by IMAP.")
        return account.as_target()
    targets = archive.transfers.targets()
    if len(targets) == 1:
        return parse_account(targets[0].name).as_target()
    if not targets:
        raise UsageError("this archive has no target yet; give --to SERVER.")
    names = ", ".join(plain(target.name) for target in targets)
    raise UsageError(f"this archive has several targets ({names}); say which with --to SERVER.")


def known_target(archive: Archive, account: Account) -> Target | None:
    """Return what the ledger calls this account, or None where nothing was sent to it yet."""
    return next((t for t in archive.transfers.targets() if t.key == account.key), None)
