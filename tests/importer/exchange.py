"""A tenant to import into: the simulator, an archive, and a clock that runs fast for both."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from importer.house import HouseRules
from importer.imap_target import ImapTarget
from importer.pace import PaceLimits
from tests.exchange_online.keys import StubIssuer
from tests.exchange_online.profile import EXO_2026
from tests.exchange_online.server import ExchangeOnline
from waystation.address import parse_account
from waystation.imap import ImapSession
from waystation.retry import Patience
from waystation.session import Connection
from waystation.token import Token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from importer.job import Imported
    from importer.target import MailTarget
    from store.archive import Archive
    from store.transfers import Target
    from tests.exchange_online.mailbox import Mailbox, Stored
    from tests.exchange_online.profile import Profile
    from tests.importer.support import Mail
    from waystation.progress import Progress

BOB = "bob@contoso.com"


class Clock:
    """A clock that runs faster than the one on the wall."""

    def __init__(
        self, lapse: float, began: float | None = None, first: float | None = None
    ) -> None:
        self.lapse = lapse
        """Real seconds in one of its seconds."""
        self.began = time.monotonic() if began is None else began
        self.first = time.time() if first is None else first

    def __call__(self) -> float:
        """Return seconds since 1970."""
        return self.first + (time.monotonic() - self.began) / self.lapse

    def sleep(self, seconds: float) -> None:
        """Wait so many of its seconds."""
        time.sleep(seconds * self.lapse)


class Tokens:
    """Tokens of an application, for as long as the tests say; see ``TokenSource``."""

    tenant = "contoso"
    is_app_only = True

    def __init__(self, clock: Clock, lasts: float) -> None:
        self.clock = clock
        self.lasts = lasts
        self.issued = 0

    def token(self) -> Token:
        """Return a new token."""
        self.issued += 1
        now = self.clock()
        return Token.of(StubIssuer().issue(exp=now + self.lasts), self.lasts, now)

    def must_renew(self, token: Token) -> bool:
        """Whether little of its time is left."""
        return token.renew_at <= self.clock()

    def is_expired(self, token: Token) -> bool:
        """Whether its time is over."""
        return token.expires_at <= self.clock()

    def discard(self, token: Token) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class Client:
    """Everything that an import into the simulator takes; a process of its own may have it."""

    host: str
    port: int
    ca_file: Path
    clock: Clock
    tokens: Tokens

    @contextmanager
    def connect(self) -> Iterator[MailTarget]:
        """Open a connection, as the command line does."""
        account = parse_account(f"office365:{BOB}").at(self.host, self.port)
        connection = Connection(self.ca_file, timeout=60)
        with ImapSession.open(account, self.tokens, connection) as session:
            yield ImapTarget(session, is_careful=True)

    def patience(self, listener: Progress) -> Patience:
        """Return the patience of an import that lives by the fast clock."""
        delays = (1.0, 2.0, 5.0, 15.0, 30.0)
        return Patience(listener, self.clock.sleep, delays, self.clock)


class Ledger(Protocol):
    """An archive, and how its ledger calls the tenant."""

    archive: Archive
    target: Target


class Tenant:
    """One mailbox in the simulator, and imports into it; both live by one fast clock."""

    def __init__(self, server: ExchangeOnline, box: Mailbox, client: Client) -> None:
        self.server = server
        self.box = box
        self.client = client
        self.house = HouseRules(pace=PaceLimits(most=0))

    def replay(self, archive: Mail, **changes: object) -> Imported:
        """Import what is left to send."""
        house = replace(self.house, **changes)  # type: ignore[arg-type]  # named as in HouseRules
        patience = self.client.patience(archive.listener)
        return archive.replay(self.client.connect, patience, house=house)

    def there(self, folder: str = "INBOX") -> list[Stored]:
        """Return what a folder holds."""
        return [message for name, message in self.box.stored() if name == folder]


@contextmanager
def tenant(
    profile: Profile = EXO_2026,
    *,
    seed: int = 1,
    lapse: float = 0.001,
    locale: str = "en",
    lasts: float = 3600,
) -> Iterator[Tenant]:
    """Start the simulator with one mailbox."""
    clock = Clock(lapse)
    with ExchangeOnline(
        profile, seed=seed, lapse=lapse, verify=StubIssuer().claims_of, clock=clock
    ) as server:
        box = server.add_mailbox(BOB, locale=locale)
        client = Client(server.host, server.port, server.ca_file, clock, Tokens(clock, lasts))
        yield Tenant(server, box, client)
