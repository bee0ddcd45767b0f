"""What commands cost grows with what has changed, not with what is there."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from store.transfers import Transfer, TransferState
from tests.store.effort import effort
from tests.store.many_rows import TARGET, UIDVALIDITY, fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDERS = 5
FEW, MANY = 1_000, 20_000


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Archives of as many folders, with few rows and with many."""
    directory = tmp_path_factory.mktemp("growth")
    for count in (FEW, MANY):
        fill(directory / str(count), count, FOLDERS)
    return directory / str(FEW), directory / str(MANY)


@pytest.fixture
def copies(archives: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same for a test that writes."""
    copied = [shutil.copytree(path, tmp_path / path.name) for path in archives]
    return copied[0], copied[1]


def steps_to_write(path: Path, work: Callable[[Archive], object]) -> int:
    """Return what a run costs that does some work, its seal included."""
    with (
        Archive.write(path, "test") as archive,
        effort(archive.database) as counted,
        archive.run("import", TARGET, {}),
    ):
        work(archive)
    return counted.steps


def send_one(archive: Archive) -> None:
    target = archive.transfers.target(TARGET, TARGET)
    unsent = archive.index.by_location(1, UIDVALIDITY, 99)
    assert unsent is not None
    sent = Transfer(unsent.id, target.id, TransferState.APPENDED, "INBOX", uid=7)
    archive.transfers.record((), [sent])


def test_a_run_that_sends_one_message_seals_one_message(copies: tuple[Path, Path]) -> None:
    few, many = (steps_to_write(path, send_one) for path in copies)

    # The list of blocks is read, one for 256 rows; their rows are not.
    assert many < few + (MANY - FEW) / 10
