"""In which order, and where to, before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from importer.folders import BY_YOUR_MAP, TargetFolders
from importer.foresee import Fate, foresee_plain
from importer.plan import FolderPlan, folder_map, rank, slices
from store.index import ArchivedFolder
from tests.importer.support import mail
from waystation.model import Folder, SpecialUse

if TYPE_CHECKING:
    from tests.fakes.memory_target import MemoryServer
    from tests.importer.support import Mail

EMPTY = TargetFolders((Folder(("INBOX",), b"INBOX", "/"),), "/")


@given(st.integers(-(10**10), 10**10), st.one_of(st.none(), st.integers(-(10**10), 10**10)))
def test_slices_cover_every_date_once(newest: int, received: int | None) -> None:
    spans = list(slices(newest, newest_first=True))

    at = -(10**18) if received is None else received
    hits = [
        (low, high)
        for low, high in spans
        if (low is None or (received is not None and at >= low)) and (high is None or at < high)
    ]
    assert len(hits) == 1


def test_oldest_first_and_without_dates_is_one_slice() -> None:
    assert list(slices(5, newest_first=False)) == list(slices(None, True)) == [(None, None)]


def folder(name: str, use: SpecialUse | None = None) -> ArchivedFolder:
    return ArchivedFolder(1, name, name, use, None, True, None)


def test_the_inbox_comes_first_and_junk_and_trash_come_last() -> None:
    folders = [
        folder("Trash", SpecialUse.TRASH),
        folder("b"),
        folder("Junk", SpecialUse.JUNK),
        folder("Sent", SpecialUse.SENT),
        folder("a"),
        folder("INBOX", SpecialUse.INBOX),
    ]

    ranked = [each.name for each in sorted(folders, key=rank)]

    assert ranked == ["INBOX", "Sent", "a", "b", "Junk", "Trash"]


def names(plan: FolderPlan) -> dict[str, str]:
    return {each.source: each.target for each in plan.folders}


def test_a_plan_says_how_much_is_to_be_sent_and_what_is_to_be_created(mail_archive: Mail) -> None:
    mail_archive.add(mail(1), "Projects/2024")
    mail_archive.add(mail(2), "INBOX")

    plan = folder_map(mail_archive.archive, None, EMPTY, {"Nowhere": "x"})

    planned = {each.source: (each.messages, each.octets, each.exists) for each in plan.folders}
    assert planned == {
        "INBOX": (1, len(mail(2)), True),
        "Projects/2024": (1, len(mail(1)), False),
    }
    assert plan.to_create == (("Projects",), ("Projects", "2024"))
    assert plan.unused == ("Nowhere",)


def test_what_will_be_set_aside_is_told_apart(mail_archive: Mail, target: MemoryServer) -> None:
    moved = mail_archive.add(mail(1, "x" * 500))
    mail_archive.add(mail(1, "x" * 500), "Done")
    mail_archive.vanish(moved)
    mail_archive.add(mail(2))
    archive, number = mail_archive.archive, mail_archive.target.id
    size = len(mail(1, "x" * 500))

    def held_back(limit: int | None, target_id: int | None = number) -> list[tuple[str, Fate]]:
        found = foresee_plain(archive, target_id, limit)
        return [(each.message.folder, each.fate) for each in found]

    assert held_back(None) == [("INBOX", Fate.MOVED)]
    assert held_back(size, None) == [("INBOX", Fate.MOVED)]
    assert held_back(400) == [("INBOX", Fate.MOVED), ("Done", Fate.TOO_LARGE)]
    target.limit = 400
    result = mail_archive.replay(target.connect)
    assert (result.set_aside, result.too_large, result.appended) == (2, 1, 1)
    assert held_back(None) == [("INBOX", Fate.MOVED)]


def test_a_place_once_given_is_kept_with_its_reasons(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1), "Projects")
    mail_archive.replay(target.connect, folder_map={"Projects": "Old"})

    plan = folder_map(mail_archive.archive, mail_archive.target.id, EMPTY, {})

    assert names(plan) == {"Projects": "Old"}
    assert plan.folders[0].reasons == (BY_YOUR_MAP,)
    assert plan.folders[0].messages == 0


def test_a_new_wish_takes_the_folders_below_along(mail_archive: Mail, target: MemoryServer) -> None:
    for name in ("A", "A/b", "A/b/c", "A/own"):
        mail_archive.add(mail(name), name)
    mail_archive.replay(target.connect, folder_map={"A/own": "Own"})

    plan = folder_map(
        mail_archive.archive, mail_archive.target.id, EMPTY, {"A": "New", "A/own": "Own"}
    )

    assert names(plan) == {"A": "New", "A/b": "New/b", "A/b/c": "New/b/c", "A/own": "Own"}
