"""An archive to look through, and what looks."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.browse.support import Elsewhere, client_of, shelf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import BrowserContext
    from werkzeug.test import Client

_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Elsewhere]:
    """Any other server; nothing may ever reach it."""
    with Elsewhere() as server:
        yield server


@pytest.fixture(scope="session")
def alice(tmp_path_factory: pytest.TempPathFactory, elsewhere: Elsewhere) -> Path:
    """The archive; no test changes it."""
    return shelf(tmp_path_factory.mktemp("browse") / "alice", elsewhere.url)


@pytest.fixture
def client(alice: Path) -> Client:
    """Asks for pages of the archive, without a network."""
    return client_of(alice)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """A browser with an empty profile of its own."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("profile")),
            executable_path=program,
            args=_FLAGS,
            accept_downloads=True,
            timeout=60_000,
        )
        context.set_default_timeout(20_000)
        yield context
        context.close()
