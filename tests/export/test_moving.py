"""Mail that comes and goes while a folder is listed: not done with, and no false alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from store.status import FolderTotals, status
from tests.export.support import Stage
from tests.fakes.mailbox import Mailboxes
from tests.fakes.memory_source import MemorySource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class BusySource(MemorySource):
    """Something happens between the answer to EXAMINE and the listing, once."""

    change: str | None = None

    def flags(
        self, changed_since: int | None = None
    ) -> Iterator[tuple[int, tuple[str, ...], tuple[str, ...]]]:
        inbox, change = self.user.folder("INBOX"), self.change
        self.change = None
        if change == "arrives":
            inbox.append(b"Subject: late\r\n\r\n")
        elif change == "goes":
            inbox.expunge(inbox.uids[0])
        return super().flags(changed_since)


def inbox_of(stage: Stage) -> FolderTotals:
    with Archive.read(stage.path) as archive:
        return next(each for each in status(archive) if each.name == "INBOX")


@pytest.mark.parametrize("condstore", [True, False])
@pytest.mark.parametrize("change", ["arrives", "goes"])
def test_a_folder_that_changes_while_it_is_listed_is_looked_through_again(
    tmp_path: Path, change: str, condstore: bool
) -> None:
    user = Mailboxes({"alice": "secret"})["alice"]
    for number in range(3):
        user.folder("INBOX").append(b"Subject: %d\r\n\r\n" % number)
    source = BusySource(user, condstore=condstore)
    source.change = change
    stage = Stage(tmp_path / "archive", lambda: source)

    stage.run()
    between = inbox_of(stage)
    stage.run()
    after = inbox_of(stage)

    assert (between.adds_up, between.is_settled, between.is_wrong) == (False, False, False)
    assert (after.adds_up, after.is_settled) == (True, True)
    assert after.on_source == len(user.folder("INBOX").messages)
