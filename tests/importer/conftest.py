"""Fixtures of stage two's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.memory_target import MemoryServer
from tests.importer.support import Mail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def mail_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mail]:
    """An empty archive, open for writing; no test here cuts the power, so nothing is synced."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("store.batch.sync_files", lambda _: None)
    monkeypatch.setattr("store.batch.sync_directories", lambda _: None)
    filled = Mail(tmp_path / "archive")
    with filled.archive:
        yield filled


@pytest.fixture
def target() -> MemoryServer:
    """A target that behaves well until it is told otherwise."""
    return MemoryServer()
