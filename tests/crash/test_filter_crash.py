"""The same with filters, with labels and with a day's budget: all is accounted for on the way."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from datetime import date
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from export.run import Options
from store.archive import Archive
from store.status import status
from tests.crash import test_export_crash
from tests.crash.test_export_crash import PICKS, DeadError, dying
from tests.export.support import Stage
from tests.fakes.mailbox import Mailboxes
from tests.fakes.memory_source import Lies, MemorySource
from waystation.model import SpecialUse
from waystation.selection import Selection

SELECTIONS = st.builds(
    Selection,
    st.sampled_from([(), ("INBOX",), ("Work*",)]),
    st.sampled_from([(), ("Work",), ("*",)]),
    st.sampled_from([None, date(2024, 5, 1), date(2030, 1, 1)]),
    st.none(),
    st.sampled_from([None, 10]),
    st.sampled_from([(), ("seen",)]),
    st.sampled_from([(), ("todo",)]),
)
_SETTINGS = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class FilterMachine(test_export_crash.ExportMachine):
    """A mailbox of which now this and now that is wanted."""

    @rule(selection=SELECTIONS)
    def a_part_is_exported(self, selection: Selection) -> None:
        self.stage.run(Options(selection=selection))
        self.adds_up()

    @rule(selection=SELECTIONS, after=st.integers(0, 40))
    def an_export_of_a_part_crashes(self, selection: Selection, after: int) -> None:
        with contextlib.suppress(DeadError), dying(after):
            self.stage.run(Options(selection=selection))

    def adds_up(self) -> None:
        listed = {folder.name for folder in self.user.folders}
        with Archive.read(self.stage.path) as archive:
            folders = {each.name: each for each in status(archive)}
        for name in listed:
            assert folders[name].adds_up
            assert folders[name].on_source == len(self.user.folder(name).uids)
        assert self.stage.discrepancies() == []


class LabelMachine(FilterMachine):
    """The same where a message lies in several folders, and one of these lists them all."""

    @initialize(condstore=st.booleans())
    def begin(self, condstore: bool) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="waystation-crash-"))
        self.user = Mailboxes({"alice": "secret"})["alice"]
        self.user.create("All", ["\\All"])
        self.user.create("Starred", ["\\Flagged"])
        self.lies = Lies()
        self.stage = Stage(
            self.directory / "archive",
            lambda: MemorySource(self.user, condstore=condstore, gmail=True, lies=self.lies),
        )
        self.number = 0
        self.deleted: set[str] = set()

    @rule(pick=PICKS, which=PICKS, other=PICKS)
    def a_label_is_put_on(self, pick: int, which: int, other: int) -> None:
        folder = self.folder(pick)
        if folder.messages:
            message = folder.messages[which % len(folder.messages)]
            self.folder(other).append(message.body, message.flags, message.internaldate)

    @rule(octets=st.integers(1, 60))
    def the_budget_is_used_up(self, octets: int) -> None:
        self.stage.run(Options(budget=octets))

    def archive_is_the_source(self) -> None:
        self.adds_up()
        rows = [row for row in self.stage.rows() if row.last_seen is None]
        for folder in self.user.folders:
            shows_others = bool({SpecialUse.ALL, SpecialUse.FLAGGED} & {*folder.attributes})
            found = {row.uid: row for row in rows if row.folder == folder.name}
            assert sorted(found) == sorted(folder.uids)
            for message in folder.messages:
                row = found[message.uid]
                assert {*row.flags, *row.keywords} == message.flags
                if row.state == "archived":
                    assert row.sha256 == hashlib.sha256(message.body).hexdigest()
                    assert (self.stage.path / (row.path or "")).read_bytes() == message.body
                else:
                    assert shows_others
                    assert row.state == "skipped"
                    assert hashlib.sha256(message.body).hexdigest() in {
                        other.sha256 for other in rows if other.folder != folder.name
                    }


FilterMachine.TestCase.settings = _SETTINGS
LabelMachine.TestCase.settings = _SETTINGS
TestFilters = FilterMachine.TestCase
TestLabels = LabelMachine.TestCase
