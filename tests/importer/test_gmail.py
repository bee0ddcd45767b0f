"""What Gmail shows in several folders arrives in each of them, and not once more for All Mail."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from importer.foresee import Fate, foresee_plain
from importer.job import Options
from importer.run import replay
from store.archive import Archive
from tests.export.support import Stage
from tests.export.test_gmail import ALL, DAY, body, gmail, put
from tests.fakes.mailbox import Mailboxes
from tests.fakes.memory_source import MemorySource
from tests.importer.support import Listener
from waystation.retry import Patience

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.memory_target import MemoryServer


def test_a_message_that_got_its_label_later_does_not_arrive_twice(
    tmp_path: Path, target: MemoryServer
) -> None:
    alice = gmail(Mailboxes({"alice": "secret"}))
    put(alice, 1, "INBOX", "Work")
    put(alice, 2)
    stage = Stage(tmp_path / "archive", lambda: MemorySource(alice, gmail=True))
    stage.run()
    alice.folder("Work").append(body(2), ["\\Seen"], DAY + timedelta(minutes=2))
    stage.run()
    listener = Listener()

    with Archive.write(stage.path, "import") as archive:
        foreseen = [(f.message.folder, f.fate) for f in foresee_plain(archive, None, None)]
        wanted = archive.transfers.target("imaps://bob@example.net", "bob")
        patience = Patience(listener, sleep=lambda _: None)
        result = replay(archive, target.connect, wanted, listener, Options(), patience)

    assert foreseen == [(ALL, Fate.EXCLUDED)]
    assert (result.appended, result.excluded) == (3, 1)
    assert result.is_complete
    arrived = sum(target.everything().values(), Counter())
    assert arrived == {body(1): 2, body(2): 1}
