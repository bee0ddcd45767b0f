"""Ways to start the simulator and to speak with it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.exchange_online.client import LineClient
from tests.exchange_online.keys import StubIssuer
from tests.exchange_online.profile import EXO_2026, Profile
from tests.exchange_online.server import ExchangeOnline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.exchange_online.mailbox import Mailbox

BOB = "bob@contoso.com"


class Clock:
    """A clock that goes only when it is told to."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Place:
    """A server with one mailbox, and clients that are signed in to it."""

    def __init__(self, stack: ExitStack, profile: Profile, clock: Clock, seed: int) -> None:
        self._stack = stack
        self.issuer = StubIssuer()
        self.clock = clock
        self.server = stack.enter_context(
            ExchangeOnline(
                profile, seed=seed, scale=0.001, verify=self.issuer.claims_of, clock=clock
            )
        )
        self.box: Mailbox = self.server.add_mailbox(BOB)

    def connect(self) -> LineClient:
        """Return a client that has seen the greeting."""
        return self._stack.enter_context(LineClient(self.server))

    def token(self, **claims: object) -> str:
        """Return a token that is good for an hour by the clock, but for these claims."""
        return self.issuer.issue(**({"exp": self.clock.now + 3600} | claims))

    def client(self, **claims: object) -> LineClient:
        """Return a client that is signed in."""
        client = self.connect()
        assert client.sign_in(BOB, self.token(**claims)) == b"OK AUTHENTICATE completed."
        return client


@pytest.fixture
def place() -> Iterator[Callable[..., Place]]:
    """Return a function that starts a server with a profile."""
    with ExitStack() as stack:

        def start(profile: Profile = EXO_2026, seed: int = 1) -> Place:
            return Place(stack, profile, Clock(), seed)

        yield start
