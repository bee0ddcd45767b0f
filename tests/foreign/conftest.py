"""Cyrus and Courier, each started once and only for the tests that ask for it."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.importer.support import Mail
from tests.servers.overlay import Kind, Overlay, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[Kind], Overlay]]:
    """What starts a server at its first use, and keeps it for all tests."""
    with ExitStack() as stack:
        yield cache(lambda kind: started(stack, kind))


@pytest.fixture(params=["cyrus", "courier"])
def foreign(request: pytest.FixtureRequest, servers: Callable[[Kind], Overlay]) -> Overlay:
    """Each of the two servers in its turn."""
    return servers(request.param)


@pytest.fixture
def cyrus(servers: Callable[[Kind], Overlay]) -> Overlay:
    """Cyrus alone, for what only Cyrus does."""
    return servers("cyrus")


@pytest.fixture
def someone(foreign: Overlay) -> str:
    """A user whose mailbox is empty and nobody else's."""
    return foreign.users.pop()


@pytest.fixture
def mail_archive(tmp_path: Path) -> Iterator[Mail]:
    """An empty archive, open for writing."""
    filled = Mail(tmp_path / "archive")
    with filled.archive:
        yield filled


def started(stack: ExitStack, kind: Kind) -> Overlay:
    try:
        return stack.enter_context(Overlay(kind))
    except UnavailableError as error:
        pytest.skip(str(error))
