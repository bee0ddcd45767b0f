"""An identity provider, and whom to ask it for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.identity import CLIENT, OUTLOOK, USER, IdentityProvider
from waystation import oauth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DELEGATED = "https://outlook.office.com/IMAP.AccessAsUser.All"


class Clock:
    """A clock that a test sets; to sleep by it takes no time."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[IdentityProvider]:
    """An identity provider of this test's own."""
    with IdentityProvider(tmp_path) as running:
        yield running


@pytest.fixture
def web(provider: IdentityProvider, clock: Clock) -> oauth.Web:
    return oauth.Web(provider.ca_file, 10, clock.sleep)


@pytest.fixture
def app(provider: IdentityProvider) -> oauth.Registration:
    """Who signs in as itself."""
    return oauth.Registration(CLIENT, provider.authority, f"{OUTLOOK}/.default")


@pytest.fixture
def delegated(provider: IdentityProvider) -> oauth.Registration:
    """Who acts for a user."""
    return oauth.Registration(CLIENT, provider.authority, DELEGATED)


@pytest.fixture
def told() -> list[str]:
    """What a person was told."""
    return []


@pytest.fixture
def store(tmp_path: Path, told: list[str]) -> oauth.Store:
    return oauth.Store(tmp_path / "data" / "tokens.json", told.append)


@pytest.fixture
def signed_in(
    provider: IdentityProvider, delegated: oauth.Registration, store: oauth.Store, web: oauth.Web
) -> oauth.Store:
    """A store in which the user's sign-in is kept."""
    provider.approves_after = 0
    oauth.sign_in_with_code(delegated, USER, store, web, lambda _: None)
    return store
