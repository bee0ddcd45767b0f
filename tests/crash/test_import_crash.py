"""An archive and a target through every misfortune at once, and one clean run at the end."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from importer.target import Window
from store.transfers import Transfers, TransferState
from tests.fakes.memory_target import Crash, MemoryServer
from tests.importer.support import NOON, Mail, mail
from waystation.errors import WaystationError

BODIES = (
    mail(1),
    mail(1, "Tex2."),
    mail(2),
    b"\r\nNo headers.\r\n",
    b"\r\nNo headerz.\r\n",
    b"Subject: lf\n\nOne.\nTwo.\r\n",
    b"x",
)
STRANGERS = (b"Subject: hello\r\n\r\nA stranger.\r\n", b"\r\nNobody.\r\n", mail(1, "Other."))
FOLDERS = ("INBOX", "Projects", "Projects/2024")
LIES = (
    None,
    lambda v, u: "done",
    lambda v, u: f"[APPENDUID {v} 7] done",
    lambda v, u: f"[APPENDUID {v + 1} {u}] done",
    lambda v, u: f"[APPENDUID {v} {u + 1000}] done",
    lambda v, u: f"[APPENDUID {v} 0] done",
    lambda v, u: f"[APPENDUID {v} {u}:{u + 1}] done",
    lambda v, u: f"[APPENDUID {v + 1} {u}:{u + 3}] done",
)
counts = st.sets(st.integers(1, 12), max_size=3)


def crlf(body: bytes) -> bytes:
    return body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class ArchiveAndTarget(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._patches: list[Any] = [
            mock.patch("os.fsync"),
            # A target that has answered nothing yet gets several messages at once.
            mock.patch("importer.flow._MESSAGES", 8),
            mock.patch("store.batch.sync_files"),
            mock.patch("store.batch.sync_directories"),
        ]
        for patch in self._patches:
            patch.start()
        self.mail = Mail(Path(self._directory.name) / "archive")
        self.strangers: Counter[tuple[str, bytes]] = Counter()

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.mail.archive.close()
            for patch in self._patches:
                patch.stop()
            self._directory.cleanup()

    @initialize(
        uidplus=st.booleans(),
        window=st.sampled_from([1, 3, 50]),
        gathers=st.sampled_from([0, 10**4]),
        tidies=st.booleans(),
    )
    def begin(self, uidplus: bool, window: int, gathers: int, tidies: bool) -> None:
        self.server = MemoryServer(
            uidplus=uidplus, window=Window(window, 10**6), gathers=gathers if window > 1 else 0
        )
        self.tidies = tidies
        self.behave()

    def behave(self) -> None:
        self.server.behave()
        self.server.appends = 0
        if self.tidies:
            self.server.wrong.rewrite = crlf

    @rule(
        bodies=st.lists(st.sampled_from(BODIES), min_size=1, max_size=5),
        folder=st.sampled_from(FOLDERS),
        minutes=st.sampled_from([0, 0, 0, 5]),
    )
    def export_more(self, bodies: list[bytes], folder: str, minutes: int) -> None:
        for body in bodies:
            self.mail.add(body, folder, date=NOON + timedelta(minutes=minutes))

    @rule()
    def import_in_peace(self) -> None:
        self.behave()
        self.mail.replay(self.server.connect)

    @rule(after=counts, before=counts, lie=st.sampled_from(LIES))
    def import_with_answers_lost(self, after: set[int], before: set[int], lie: object) -> None:
        self.behave()
        self.server.wrong.lose_after = after
        self.server.wrong.lose_before = before
        self.server.wrong.appenduid = lie  # type: ignore[assignment]
        try:
            self.mail.replay(self.server.connect)
        except WaystationError:
            assert len(after | before) > 2

    @rule(number=st.integers(1, 12), is_stored=st.booleans(), lie=st.sampled_from(LIES))
    def import_and_die_at_a_message(self, number: int, is_stored: bool, lie: object) -> None:
        self.behave()
        crashes = self.server.wrong.crash_after if is_stored else self.server.wrong.crash_before
        crashes.add(number)
        self.server.wrong.appenduid = lie  # type: ignore[assignment]
        with suppress(Crash):
            self.mail.replay(self.server.connect)

    @rule(number=st.integers(1, 6), is_committed=st.booleans())
    def import_and_die_at_a_commit(self, number: int, is_committed: bool) -> None:
        self.behave()
        record = Transfers.record
        calls = 0

        def dying(transfers: Transfers, sent: object, outcomes: object) -> None:
            nonlocal calls
            calls += 1
            if calls >= number:
                if calls == number and is_committed:
                    record(transfers, sent, outcomes)  # type: ignore[arg-type]
                raise Crash
            record(transfers, sent, outcomes)  # type: ignore[arg-type]

        with mock.patch.object(Transfers, "record", dying), suppress(Crash):
            self.mail.replay(self.server.connect)

    @precondition(lambda self: hasattr(self, "server"))
    @rule(folder=st.sampled_from(FOLDERS))
    def the_target_renumbers(self, folder: str) -> None:
        found = self.server.user.find(folder)
        if found is not None:
            found.renumber()

    @rule(folder=st.sampled_from(FOLDERS), body=st.sampled_from(STRANGERS))
    def a_stranger_writes(self, folder: str, body: bytes) -> None:
        found = self.server.user.find(folder)
        if found is not None:
            found.append(body, internaldate=NOON)
            self.strangers[folder, body] += 1

    @invariant()
    def nothing_is_there_twice(self) -> None:
        if hasattr(self, "server"):
            for folder, extra in self.held().items():
                wanted = self.wanted().get(folder, Counter())
                assert extra <= wanted, (folder, extra - wanted)

    def held(self) -> dict[str, Counter[bytes]]:
        held = self.server.everything()
        for (folder, body), count in self.strangers.items():
            held[folder][body] -= count
        return {folder: +bodies for folder, bodies in held.items() if +bodies}

    def wanted(self) -> dict[str, Counter[bytes]]:
        wanted = self.mail.expected()
        if not self.tidies:
            return wanted
        tidied: dict[str, Counter[bytes]] = {}
        for folder, bodies in wanted.items():
            for body, count in bodies.items():
                tidied.setdefault(folder, Counter())[crlf(body)] += count
        return tidied

    def finish(self) -> None:
        if not hasattr(self, "server"):
            return
        self.behave()
        result = self.mail.replay(self.server.connect)
        assert result.is_complete
        assert self.held() == self.wanted()
        states = self.mail.states()
        assert states.keys() <= {TransferState.APPENDED}, states


ArchiveAndTarget.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
test_every_message_arrives_exactly_once = ArchiveAndTarget.TestCase
