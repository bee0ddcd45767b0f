"""The work is stopped at every single step that reaches the disk, and begun again."""

from __future__ import annotations

import os
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from store import maildir as maildir_module
from store.archive import Archive
from store.finds import Kind
from store.rebuild import rebuild
from tests.store.filling import create, file_of, found_in, mail, put, remote, settle
from tests.store.independent import complaints
from waystation.model import FolderState
from waystation.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from store.index import ArchivedFolder

CLEARED = {Kind.HALF_WRITTEN, Kind.UNRECORDED}
"""What the next export puts right by itself."""

STEPS = ("replace", "rename", "link", "unlink", "utime", "mkdir", "open")


class CutOffError(BaseException):
    """The power goes: nothing below ``main`` catches it."""


class Fuse:
    """Lets so many steps pass, and no more after that."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.has_blown = False

    def step(self) -> None:
        if self.has_blown or self.left == 0:
            self.has_blown = True
            raise CutOffError
        self.left -= 1

    def guarded(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def guard(*args: Any, **names: Any) -> Any:
            self.step()
            return act(*args, **names)

        return guard


@pytest.fixture
def blow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Fuse]]:
    """Return a way to stop everything that reaches the disk after so many steps."""
    with monkeypatch.context() as patches:

        def arm(steps: int) -> Fuse:
            patches.undo()
            fuse = Fuse(steps)
            for name in STEPS:
                patches.setattr(os, name, fuse.guarded(getattr(os, name)))
            patches.setattr(os, "fsync", fuse.guarded(_no_sync))
            patches.setattr(maildir_module, "_syncfs", fuse.guarded(_no_sync))
            patches.setattr(maildir_module, "_SINGLY", 2)
            patches.setattr(sqlite3, "connect", _connecting(fuse, sqlite3.connect))
            return fuse

        yield arm


def _no_sync(_: int) -> None:
    """Cost the test nothing: what the kernel has is not lost with the process."""


class _Connection(sqlite3.Connection):
    fuse: Fuse

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.startswith("PRAGMA synchronous"):
            sql = "PRAGMA synchronous = OFF"
        if sql.startswith(("BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE")):
            self.fuse.step()
        return super().execute(sql, *values)

    def executemany(self, sql: str, values: Any) -> sqlite3.Cursor:
        self.fuse.step()
        return super().executemany(sql, values)


def _connecting(fuse: Fuse, connect: Callable[..., Any]) -> Callable[..., Any]:
    def guard(*args: Any, **names: Any) -> Any:
        connection = connect(*args, factory=_Connection, **names)
        connection.fuse = fuse
        return connection

    return guard


BODIES: dict[tuple[str, int], bytes] = {
    ("INBOX", 1): mail(1),
    ("INBOX", 2): mail(2),
    ("INBOX", 3): b"twin",
    ("INBOX", 4): b"twin",
    ("Sent", 1): mail(1),
    ("Sent", 2): b"new in Sent",
}
OLD = {("INBOX", 1), ("INBOX", 2), ("Sent", 1)}
"""What an earlier run has archived. In INBOX it was UIDVALIDITY 1, now that is 2."""


def prepared(path: Path) -> Path:
    """Make what the earlier run left."""
    with create(path) as archive:
        inbox = archive.ensure_folder(("INBOX",), None)
        sent = archive.ensure_folder(("Sent",), None)
        with archive.run("export", "alice", {}):
            batch = archive.batch()
            put(archive, batch, inbox, remote(11), BODIES["INBOX", 1], 1)
            put(archive, batch, inbox, remote(12), BODIES["INBOX", 2], 1)
            put(archive, batch, sent, remote(1), BODIES["Sent", 1], 1)
            batch.commit()
            settle(archive, inbox)
            settle(archive, sent)
    return path


def export(path: Path) -> None:
    """Do what stage one does: flags, renumbering, new messages with twins, tidying."""
    with Archive.write(path, "export") as archive, archive.run("export", "alice", {}):
        batch = archive.batch()
        for name in ("INBOX", "Sent"):
            folder = archive.ensure_folder((name,), None)
            archive.index.unsettle(folder.id)
            _change_flags(archive, folder)
            if name == "INBOX":
                _renumber(archive, folder)
            for (where, uid), body in BODIES.items():
                if where == name and archive.index.known_uid(folder.id, _now(name), uid) is None:
                    put(archive, batch, folder, remote(uid, ("\\Seen",)), body, _now(name))
            batch.commit()
            archive.adopt(folder)
            state = FolderState(_now(name), 5, 4)
            batch.settle(folder.id, state, "2024-05-03T00:00:00+00:00", is_settled=True)
            batch.commit()


def _now(name: str) -> int:
    return 2 if name == "INBOX" else 1


def _change_flags(archive: Archive, folder: ArchivedFolder) -> None:
    with archive.database.atomic():
        for message in list(archive.index.in_folder(folder.id)):
            if message.uid in (1, 11) and "\\Flagged" not in message.flags:
                archive.plan_flags(folder, message.id, ("\\Flagged",), ("todo",))
    archive.carry_out_renames()


def _renumber(archive: Archive, folder: ArchivedFolder) -> None:
    with archive.database.atomic():
        for message in list(archive.index.in_folder(folder.id)):
            if message.uidvalidity == 1:
                archive.plan_renumber(folder, message, 2, message.uid - 10)
                archive.plan_flags(folder, message.id, ("\\Flagged",), message.keywords)
    archive.carry_out_renames()


def held(path: Path) -> dict[tuple[str, int], bytes]:
    """Return the octets of every message, by what the index says; each is there once."""
    with Archive.read(path) as archive:
        messages = list(archive.index.messages())
        found = {
            (message.folder, message.uid): file_of(archive, message).read_bytes()
            for message in messages
            if message.state == "archived"
        }
    assert len(found) == len(messages)
    return found


def test_a_run_may_end_at_any_step_and_nothing_is_lost_nor_double(
    tmp_path: Path, blow: Callable[[int], Fuse]
) -> None:
    before = prepared(tmp_path / "before")
    steps = 0
    while True:
        path = tmp_path / f"archive-{steps}"
        shutil.copytree(before, path)
        fuse = blow(steps)
        try:
            export(path)
        except CutOffError:
            pass
        else:
            assert not fuse.has_blown
            break
        finally:
            blow(-1)
        # What the crash left is nothing but what the next run clears.
        assert {found.kind for found in found_in(path)} <= CLEARED, steps

        export(path)

        assert held(path) == BODIES, steps
        assert found_in(path) == [], steps
        assert complaints(path) == [], steps
        files = [file for file in path.glob("maildir/*/*/*") if file.is_file()]
        assert len(files) == len(BODIES), steps
        shutil.rmtree(path)
        steps += 1
    assert steps > 60


def test_a_creation_may_end_at_any_step_and_is_begun_again(
    tmp_path: Path, blow: Callable[[int], Fuse]
) -> None:
    steps = 0
    while True:
        path = tmp_path / f"archive-{steps}"
        fuse = blow(steps)
        try:
            create(path).close()
        except CutOffError:
            pass
        else:
            assert not fuse.has_blown
            break
        finally:
            blow(-1)

        if not Archive.exists(path):
            create(path).close()
        assert found_in(path) == [], steps
        steps += 1
    assert steps > 20


def test_a_rebuild_may_end_at_any_step_and_an_index_stands_or_is_asked_for(
    tmp_path: Path, blow: Callable[[int], Fuse]
) -> None:
    before = prepared(tmp_path / "before")
    steps = 0
    while True:
        path = tmp_path / f"archive-{steps}"
        shutil.copytree(before, path)
        fuse = blow(steps)
        try:
            rebuild(path, Silent())
        except CutOffError:
            pass
        else:
            assert not fuse.has_blown
            break
        finally:
            blow(-1)
        indexes = [*path.glob("index.sqlite"), *path.glob("index.sqlite.old-*[0-9]")]
        assert indexes, steps

        rebuild(path, Silent())

        assert found_in(path) == [], steps
        shutil.rmtree(path)
        steps += 1
    assert steps > 10
