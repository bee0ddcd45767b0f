"""An import that sends a part: the rest is set aside with the reason, and sent when wanted."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from importer.excluded import choice_of
from importer.foresee import Fate, foresee_plain
from importer.verify import verify
from store.finding import Compared
from tests.importer.support import NOON, Mail, mail
from waystation.model import SpecialUse
from waystation.selection import Selection

if TYPE_CHECKING:
    from store.index import ArchivedMessage
    from tests.fakes.memory_target import MemoryServer

NO_BIN = Selection(exclude=("@trash",))


@pytest.fixture
def messages(mail_archive: Mail) -> list[ArchivedMessage]:
    return [
        mail_archive.add(mail(1)),
        mail_archive.add(mail(2, "x" * 5000), date=NOON + timedelta(days=10)),
        mail_archive.add(mail(3), "Bin/Old", special_use=SpecialUse.TRASH),
        mail_archive.add(mail(4), "Bin/Old/Older"),
    ]


def test_what_a_filter_leaves_out_is_set_aside_with_the_reason(
    mail_archive: Mail, target: MemoryServer, messages: list[ArchivedMessage]
) -> None:
    selection = Selection(exclude=("@trash",), max_size=1000)

    result = mail_archive.replay(target.connect, selection=selection)

    assert (result.appended, result.set_aside, result.excluded) == (1, 3, 3)
    assert result.is_complete
    assert [mail_archive.reply_to(each) for each in messages[1:]] == [
        "excluded: larger than 1,000 octets (--max-size)",
        "excluded: in a folder left out by --exclude @trash",
        "excluded: in a folder left out by --exclude @trash",
    ]
    assert mail_archive.listener.expected == 1
    assert mail_archive.listener.problems == []


@pytest.mark.usefixtures("messages")
def test_a_folder_that_is_left_out_is_not_created(mail_archive: Mail, target: MemoryServer) -> None:
    left_out = mail_archive.replay(target.connect, selection=NO_BIN)
    with target.connect() as mail_target:
        names = {folder.name for folder in mail_target.folders().folders}
    later = mail_archive.replay(target.connect)

    assert (left_out.folders_created, left_out.folders_failed) == (0, 0)
    assert "Bin" not in names
    assert later.folders_created > 0


@pytest.mark.usefixtures("messages")
def test_a_later_import_without_the_filter_sends_the_rest_once(
    mail_archive: Mail, target: MemoryServer
) -> None:
    for selection in (NO_BIN, Selection(before=date(2024, 5, 5)), Selection(("INBOX",)), NO_BIN):
        mail_archive.replay(target.connect, selection=selection)

    result = mail_archive.replay(target.connect)

    assert (result.appended, result.set_aside) == (0, 0)
    assert mail_archive.states() == {"appended": 4}


@pytest.mark.usefixtures("messages")
def test_a_pattern_that_names_no_folder_is_told(mail_archive: Mail, target: MemoryServer) -> None:
    mail_archive.replay(target.connect, selection=Selection(exclude=("Bni*",)))

    text = "the archive has no folder that this pattern names"
    assert mail_archive.listener.alarms == [("Bni*", text)]


def test_what_a_filter_leaves_out_is_foreseen(
    mail_archive: Mail, messages: list[ArchivedMessage]
) -> None:
    choice = choice_of(mail_archive.archive, Selection(("INBOX",)))

    found = list(foresee_plain(mail_archive.archive, None, 1000, choice))

    assert [(each.message.id, each.fate) for each in found] == [
        (messages[2].id, Fate.EXCLUDED),
        (messages[3].id, Fate.EXCLUDED),
        (messages[1].id, Fate.TOO_LARGE),
    ]
    assert found[0].what == "excluded: in a folder not named by --folder INBOX"


def compared(mail_archive: Mail, target: MemoryServer, selection: Selection) -> Compared:
    count = Compared()
    with target.connect() as mail_target:
        list(
            verify(
                mail_archive.archive,
                mail_target,
                mail_archive.target,
                mail_archive.listener,
                count,
                selection=selection,
            )
        )
    return count


def test_only_what_is_wanted_is_verified(
    mail_archive: Mail, target: MemoryServer, messages: list[ArchivedMessage]
) -> None:
    mail_archive.replay(target.connect)
    mail_archive.add(mail(5), "Bin/Old")

    everything = compared(mail_archive, target, Selection())
    some = compared(mail_archive, target, Selection(("INBOX",), max_size=1000))

    assert (everything.messages, everything.different) == (5, 1)
    assert (some.messages, some.different, some.others) == (1, 0, 0)
    assert mail_archive.state_of(messages[0]) == "verified"
