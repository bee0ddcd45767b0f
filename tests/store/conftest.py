"""Fixtures of the archive's tests."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.store.filling import create, is_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.archive import Archive
    from store.index import ArchivedFolder


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """A new archive, open for writing."""
    with create(tmp_path / "archive") as archive:
        yield archive


@pytest.fixture
def inbox(archive: Archive) -> ArchivedFolder:
    return archive.ensure_folder(("INBOX",), None)


def _mounted(kind: str, *arguments: str, at: Path) -> Iterator[Path]:
    at.mkdir()
    command = ["mount", *arguments, kind, str(at)]
    if not is_root() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    try:
        yield at
    finally:
        # lazily: a file that a failed test left open must not keep the mount
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    yield from _mounted("none", "-t", "tmpfs", "-o", "size=1m", at=tmp_path / "disk")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """What lies in ``tmp_path / "writable"``, where nobody can write, root neither."""
    writable = tmp_path / "writable"
    writable.mkdir()
    for at in _mounted(str(writable), "--bind", at=tmp_path / "read-only"):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(at)], check=True)
        yield at
