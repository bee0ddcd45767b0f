from __future__ import annotations

import errno
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from store import lock as lock_module
from store.archive import Archive
from store.lock import Lock
from tests.store.filling import create, found_in
from waystation.errors import ArchiveLockedError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from store.lock import Lock
lock = Lock(Path(sys.argv[1]))
lock.take("export")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_who_works_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    create(tmp_path / "a").close()
    path = tmp_path / "a" / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        with pytest.raises(ArchiveLockedError, match=f"export, process {holder.pid}"):
            Archive.write(tmp_path / "a", "import")
        assert found_in(tmp_path / "a") == []  # a reader needs no lock

        holder.kill()
        holder.wait()
    Archive.write(tmp_path / "a", "import").close()


def test_a_lock_that_is_released_can_be_taken_again(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    lock.take("export")
    with pytest.raises(ArchiveLockedError, match="export"):
        Lock(tmp_path / "lock").take("check")

    lock.release()
    lock.release()

    other = Lock(tmp_path / "lock")
    other.take("check")
    other.release()


def test_a_link_in_place_of_the_lock_has_no_other_file_emptied(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")

    with pytest.raises(StorageError):
        Lock(tmp_path / "lock").take("export")

    assert (tmp_path / "precious").read_text() == "precious"


def test_a_file_system_without_locks_is_not_taken_for_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_locks(_: int) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock_module, "_try_lock", without_locks)

    with pytest.raises(StorageError, match="No locks available"):
        Lock(tmp_path / "lock").take("export")
