"""Fixtures that every test may use."""

from __future__ import annotations

import itertools
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.servers.dovecot import Dovecot, is_available

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_DOVECOT = "no Dovecot 2.3 here (Debian 12: apt-get install dovecot-imapd)"

_numbers = itertools.count(1)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has started the tests in the background; the commands that they interrupt would
    # inherit that, and rightly go on.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """A private Dovecot that the whole test run shares; take a fresh `user` in each test."""
    if not is_available():
        pytest.skip(NO_DOVECOT)
    with Dovecot() as server:
        yield server


@pytest.fixture
def user() -> str:
    """A user name that no other test of this run has."""
    return f"user{next(_numbers)}-{os.getpid()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `server` where there is no server to be had."""
    if is_available():
        return
    for item in items:
        if item.get_closest_marker("server"):
            item.add_marker(pytest.mark.skip(reason=NO_DOVECOT))
