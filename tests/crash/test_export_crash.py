"""Any story of mail coming, going, being renumbered, and exports that crash, ends well."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from store.database import Database
from tests.export.support import Stage
from tests.fakes.mailbox import FakeFolder, Mailboxes
from tests.fakes.memory_source import Lies, MemorySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

FLAGS = st.sets(st.sampled_from(["\\Seen", "\\Flagged", "\\Deleted", "todo", "$Forwarded"]))
BODIES = st.sampled_from(
    [b"", b"\r\n", b"x", b"Subject: a\r\n\r\n1\r\n", b"Subject: a\r\n\r\n2\r\n", b"no header\r\n"]
)
PICKS = st.integers(0, 1000)


class DeadError(BaseException):
    """The process is gone: nothing that comes after this has any effect."""


@contextlib.contextmanager
def dying(after: int) -> Iterator[None]:
    """Let the n-th rename, sync or commit be the last thing that this process does."""
    left = after

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise DeadError
            return function(*args, **options)

        return call

    @contextlib.contextmanager
    def atomic(database: Database) -> Iterator[None]:
        nonlocal left
        with whole(database):
            yield
            left -= 1
            if left < 0:
                raise DeadError

    whole = Database.atomic
    with (
        mock.patch("os.replace", counted(os.replace)),
        mock.patch("os.rename", counted(os.rename)),
        mock.patch("os.link", counted(os.link)),
        mock.patch("os.fsync", counted(os.fsync)),
        mock.patch("os.unlink", counted(os.unlink)),
        mock.patch.object(Path, "replace", counted(Path.replace)),
        mock.patch.object(Path, "unlink", counted(Path.unlink)),
        mock.patch.object(Database, "execute", counted(Database.execute)),
        mock.patch.object(Database, "atomic", atomic),
    ):
        yield


class ExportMachine(RuleBasedStateMachine):
    """A mailbox with a life of its own, and an archive that follows it."""

    @initialize(condstore=st.booleans())
    def begin(self, condstore: bool) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="waystation-crash-"))
        self.user = Mailboxes({"alice": "secret"})["alice"]
        self.lies = Lies()
        self.stage = Stage(
            self.directory / "archive",
            lambda: MemorySource(self.user, condstore=condstore, lies=self.lies),
        )
        self.number = 0
        self.deleted: set[str] = set()

    def folder(self, pick: int) -> FakeFolder:
        return self.user.folders[pick % len(self.user.folders)]

    @rule(pick=PICKS, body=BODIES, flags=FLAGS, is_new=st.booleans())
    def mail_comes(self, pick: int, body: bytes, flags: set[str], is_new: bool) -> None:
        self.number += 1
        unique = b"Message-ID: <%d@x>\r\n\r\n" % self.number if is_new else b""
        folder = self.folder(pick)
        # Copies with one date are the hardest to tell apart.
        date = None if is_new or not folder.messages else folder.messages[0].internaldate
        folder.append(unique + body, flags, date)

    @rule(pick=PICKS, which=PICKS)
    def mail_goes(self, pick: int, which: int) -> None:
        folder = self.folder(pick)
        # The last one stays: a folder that is empty all of a sudden is an alarm.
        if len(folder.uids) > 1:
            folder.expunge(folder.uids[which % len(folder.uids)])

    @rule(pick=PICKS, which=PICKS, flags=FLAGS)
    def flags_change(self, pick: int, which: int, flags: set[str]) -> None:
        folder = self.folder(pick)
        if folder.uids:
            folder.set_flags(folder.uids[which % len(folder.uids)], flags)

    @rule(pick=PICKS)
    def a_folder_is_renumbered(self, pick: int) -> None:
        self.folder(pick).renumber()

    @rule(name=st.sampled_from(["Work", "Work/2024", "Büro"]))
    def a_folder_is_created(self, name: str) -> None:
        if self.user.find(name) is None:
            folder = self.user.create(name)
            if name in self.deleted:
                # Empty all of a sudden, it would be an alarm as well.
                self.number += 1
                folder.append(b"Message-ID: <%d@x>\r\n\r\nBack." % self.number, [], None)

    @rule(pick=PICKS)
    def a_folder_is_deleted(self, pick: int) -> None:
        folder = self.folder(pick)
        if folder.name != "INBOX" and not any(
            other.name.startswith(folder.name + "/") for other in self.user.folders
        ):
            self.user.delete(folder.name)
            self.deleted.add(folder.name)

    @rule()
    def it_is_exported(self) -> None:
        self.stage.run()
        self.archive_is_the_source()

    @rule(after=st.integers(0, 40))
    def an_export_crashes(self, after: int) -> None:
        with contextlib.suppress(DeadError), dying(after):
            self.stage.run()

    @rule(after=st.integers(0, 4))
    def the_line_breaks_during_an_export(self, after: int) -> None:
        self.lies.lost_after = after
        self.stage.run()
        self.lies.lost_after = None
        self.archive_is_the_source()

    @precondition(lambda self: hasattr(self, "stage"))
    @rule(pick=PICKS)
    def a_folder_does_not_open(self, pick: int) -> None:
        self.lies.refused = {self.folder(pick).name}
        self.stage.run()
        self.lies.refused = set()

    def archive_is_the_source(self) -> None:
        rows = [row for row in self.stage.rows() if row.last_seen is None]
        assert {row.state for row in rows} <= {"archived"}
        for folder in self.user.folders:
            found = {row.uid: row for row in rows if row.folder == folder.name}
            assert {row.uidvalidity for row in found.values()} <= {folder.uidvalidity}
            assert sorted(found) == sorted(folder.uids)
            for message in folder.messages:
                row = found[message.uid]
                assert row.sha256 == hashlib.sha256(message.body).hexdigest()
                assert {*row.flags, *row.keywords} == message.flags
                assert row.internaldate == message.internaldate
                assert (self.stage.path / (row.path or "")).read_bytes() == message.body
        listed = {folder.name for folder in self.user.folders}
        assert {row.folder for row in rows} <= listed
        # What is gone is there once: a new number makes no second row of a message.
        files = Counter(row.path for row in self.stage.rows())
        assert max(files.values(), default=1) == 1
        assert self.stage.discrepancies() == []

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        try:
            self.stage.run()
            self.archive_is_the_source()
        finally:
            shutil.rmtree(self.directory)


ExportMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestExport = ExportMachine.TestCase
