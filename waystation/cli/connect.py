"""From the options of a command to a signed-in session: who, with what password, how."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from waystation.cli.secrets import password_for
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from export.source import MailSource
    from importer.target import MailTarget
    from store.archive import Archive, Description
    from store.transfers import Target
    from waystation.address import Account
    from waystation.cli.secrets import PasswordSource
    from waystation.imap import Connection, ImapSession


@dataclass(frozen=True, slots=True)
class Login:
    """Everything that a connection to one account takes. Never shown: it holds the password."""

    account: Account
    password: str
    connection: Connection

    @classmethod
    def ask(cls, account: Account, source: PasswordSource, connection: Connection) -> Self:
        """Return the login, with a password from where the user said.

        Raises:
            SignInError: there is none.
        """
        return cls(account, password_for(account, source), connection)

    def __repr__(self) -> str:
        return f"Login({self.account.key!r})"

    def session(self) -> ImapSession:
        """Return a new signed-in session."""
        from waystation.imap import ImapSession

        return ImapSession.open(self.account, self.password, self.connection)


class Sessions:
    """One session after the other; the first is opened at once.

    So a wrong password shows before anything is made or recorded. A context manager, which
    closes the first session where nobody took it.
    """

    def __init__(self, login: Login) -> None:
        self._login = login
        self._first: ImapSession | None = login.session()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._first is not None:
            self._first.drop()

    @contextmanager
    def source(self) -> Iterator[MailSource]:
        """Open the next session, as a source."""
        from export.imap_source import ImapSource

        with self._next() as session:
            yield ImapSource(session)

    @contextmanager
    def target(self, *, pipelined: bool = True) -> Iterator[MailTarget]:
        """Open the next session, as a target."""
        from importer.imap_target import ImapTarget

        with self._next() as session:
            yield ImapTarget(session, pipelined=pipelined)

    def _next(self) -> ImapSession:
        session, self._first = self._first, None
        return session or self._login.session()


def source_account(known: Description, named: str | None) -> Account:
    """Return the source that was named, or the one that the archive remembers."""
    from waystation.address import parse_account

    source = named if named is not None else known.source
    if source is None:
        raise UsageError("this archive does not know its source; give --from SERVER.")
    return parse_account(source)


def target_account(archive: Archive, named: str | None) -> Account:
    """Return the target that was named, or the only one that the archive remembers."""
    from waystation.address import parse_account

    if named is not None:
        return parse_account(named)
    targets = archive.transfers.targets()
    if len(targets) == 1:
        return parse_account(targets[0].name)
    if not targets:
        raise UsageError("this archive has no target yet; give --to SERVER.")
    names = ", ".join(plain(target.name) for target in targets)
    raise UsageError(f"this archive has several targets ({names}); say which with --to SERVER.")


def known_target(archive: Archive, account: Account) -> Target | None:
    """Return what the ledger calls this account, or None where nothing was sent to it yet."""
    return next((t for t in archive.transfers.targets() if t.key == account.key), None)
