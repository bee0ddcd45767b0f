from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from store.check import check
from store.finds import Checked, Discrepancy, Kind
from store.maildir import KEYWORDS, PART, SIDECAR
from store.repair import repair
from tests.store.filling import (
    add,
    create,
    file_of,
    filled,
    found_in,
    mail,
    one,
    put,
    remote,
    settle,
    tree,
)
from waystation.errors import IndexDamagedError, NoArchiveError, StorageError
from waystation.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return filled(tmp_path / "archive")


def message_file(path: Path, uid: int, folder: str = "INBOX") -> Path:
    found = [*(path / "maildir" / folder / "cur").glob(f"*,U={uid},*")]
    assert len(found) == 1
    return found[0]


def kinds(found: list[Discrepancy]) -> list[tuple[Kind, int | None]]:
    return [(discrepancy.kind, discrepancy.uid) for discrepancy in found]


def mended(path: Path) -> int:
    with Archive.write(path, "check --repair") as archive:
        return repair(archive, list(check(archive, Silent(), Checked())))


def test_a_sound_archive_is_clean_and_counted(path: Path) -> None:
    before = tree(path)
    with Archive.read(path) as archive:
        archive_counts = Checked()
        assert list(check(archive, Silent(), archive_counts)) == []

    assert (archive_counts.messages, archive_counts.failed) == (6, 0)
    assert archive_counts.octets == sum(
        file.stat().st_size for file in path.glob("maildir/**/cur/*")
    )
    assert tree(path) == before


# What may happen to a message's file


@pytest.mark.parametrize("at", [0, 10, -1])
def test_a_flipped_bit_in_a_message_is_found_and_named(path: Path, at: int) -> None:
    file = message_file(path, 2)
    content = bytearray(file.read_bytes())
    content[at] ^= 0xFF
    time = file.stat().st_mtime
    file.write_bytes(content)
    os.utime(file, (time, time))

    (found,) = found_in(path)

    assert (found.kind, found.folder, found.uid) == (Kind.ALTERED, "INBOX", 2)
    assert found.path == file.relative_to(path).as_posix()
    assert found.is_loss
    assert not found.can_be_undone


def test_a_message_of_another_length_is_altered(path: Path) -> None:
    with message_file(path, 2).open("ab") as file:
        file.write(b"x")

    (found,) = found_in(path)
    assert (found.kind, found.text) == (Kind.ALTERED, "has 60 octets, was archived with 59")


def test_a_message_that_is_gone_is_missing(path: Path) -> None:
    message_file(path, 2).unlink()

    assert kinds(found_in(path)) == [(Kind.MISSING, 2)]


def test_a_folder_that_is_gone_misses_all_its_messages(path: Path) -> None:
    shutil.rmtree(path / "maildir" / "Sent")

    found = found_in(path)

    assert kinds(found) == [(Kind.MISSING, 1), (Kind.MISSING, 7)]
    assert mended(path) == 0


def test_a_link_in_place_of_a_message_is_not_followed(path: Path, tmp_path: Path) -> None:
    file = message_file(path, 2)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")

    (found,) = found_in(path)

    assert (found.kind, found.uid) == (Kind.ALTERED, 2)
    assert "symbolic link" in found.text


def test_a_directory_or_a_pipe_in_place_of_a_message_is_altered(path: Path) -> None:
    first, second = message_file(path, 1), message_file(path, 2)
    first.unlink()
    first.mkdir()
    second.unlink()
    os.mkfifo(second)

    assert kinds(found_in(path)) == [(Kind.ALTERED, 1), (Kind.ALTERED, 2)]


def test_a_message_moved_to_another_folder_is_named_there_too(path: Path) -> None:
    file = message_file(path, 2)
    file.rename(path / "maildir" / "Sent" / "2024%3A ä" / "cur" / file.name)

    found = found_in(path)

    assert kinds(found) == [(Kind.MISSING, 2), (Kind.FOREIGN, 2)]
    assert f"seems to be {file.relative_to(path).as_posix()}" in found[1].text


# What a mail reader does


def test_a_mail_readers_rename_is_named_and_undone(path: Path) -> None:
    before = tree(path)
    file = message_file(path, 2)
    file.rename(file.with_name(file.name.replace(":2,FR", ":2,FRST")))

    (found,) = found_in(path)

    assert (found.kind, found.uid, found.is_loss) == (Kind.RENAMED, 2, False)
    assert mended(path) == 1
    assert found_in(path) == []
    assert {k: v for k, v in tree(path).items() if "maildir" in k} == {
        k: v for k, v in before.items() if "maildir" in k
    }


def test_a_message_marked_as_new_again_is_named_and_undone(path: Path) -> None:
    file = message_file(path, 1)
    file.rename(path / "maildir" / "INBOX" / "new" / file.name.partition(":")[0])

    assert kinds(found_in(path)) == [(Kind.RENAMED, 1)]
    assert mended(path) == 1
    assert found_in(path) == []


def test_a_renamed_message_that_was_altered_as_well_is_both(path: Path) -> None:
    file = message_file(path, 2)
    renamed = file.rename(file.with_name(file.name + "T"))
    time = renamed.stat().st_mtime
    renamed.write_bytes(mail(2)[::-1])
    os.utime(renamed, (time, time))

    assert kinds(found_in(path)) == [(Kind.RENAMED, 2), (Kind.ALTERED, 2)]


def test_of_two_candidates_the_whole_one_is_the_message(path: Path) -> None:
    file = message_file(path, 2)
    whole = file.rename(file.with_name(file.name + "T"))
    damaged = whole.with_name(file.name.partition(":")[0] + ":2,A")
    damaged.write_bytes(mail(2)[::-1])

    assert kinds(found_in(path)) == [(Kind.RENAMED, 2), (Kind.FOREIGN, 2)]
    assert mended(path) == 1
    assert file.read_bytes() == mail(2)
    assert damaged.exists()


def test_equal_names_in_new_and_cur_are_a_message_and_a_copy(path: Path) -> None:
    file = message_file(path, 2)
    shutil.copy2(file, path / "maildir" / "INBOX" / "new" / file.name)

    (found,) = found_in(path)

    assert (found.kind, found.uid) == (Kind.FOREIGN, 2)
    assert found.path.startswith("maildir/INBOX/new/")


def test_a_copy_that_lost_its_times_is_named_and_undone(path: Path, tmp_path: Path) -> None:
    shutil.copytree(path, tmp_path / "copy", copy_function=shutil.copyfile)

    found = found_in(tmp_path / "copy")

    assert {discrepancy.kind for discrepancy in found} == {Kind.DATE}
    assert len(found) == 5  # one message has no INTERNALDATE
    assert mended(tmp_path / "copy") == 5
    assert found_in(tmp_path / "copy") == []


# What is there besides


def test_foreign_files_are_named_one_by_one(path: Path, tmp_path: Path) -> None:
    folder = path / "maildir" / "INBOX"
    (folder / "cur" / "1714557600.M1P1.mutt:2,S").write_bytes(b"mine")
    (folder / "new" / "note").write_bytes(b"mine")
    (folder / "tmp" / "1.M2P2.mutt").write_bytes(b"mine")
    (folder / "cur" / "directory").mkdir()
    (folder / "cur" / "link").symlink_to(tmp_path)
    (folder / "cur" / os.fsdecode(b"\xff\n")).write_bytes(b"odd")

    found = found_in(path)

    assert {discrepancy.kind for discrepancy in found} == {Kind.FOREIGN}
    assert sorted(discrepancy.path.rpartition("/")[2] for discrepancy in found) == [
        "1.M2P2.mutt",
        "1714557600.M1P1.mutt:2,S",
        "\\xff\n",
        "directory",
        "link",
        "note",
    ]


def test_a_folder_that_the_index_does_not_know_is_foreign(path: Path, tmp_path: Path) -> None:
    shutil.copytree(path / "maildir" / "INBOX", path / "maildir" / "Copy")
    (path / "maildir" / "link").symlink_to(tmp_path)

    found = found_in(path)

    assert {discrepancy.kind for discrepancy in found} == {Kind.FOREIGN}
    assert len(found) == 5
    assert {discrepancy.folder for discrepancy in found} == {"Copy", "link"}


def test_a_folder_behind_a_link_is_not_looked_at(path: Path, tmp_path: Path) -> None:
    (path / "maildir" / "INBOX").rename(tmp_path / "INBOX")
    (path / "maildir" / "INBOX").symlink_to(tmp_path / "INBOX")

    found = found_in(path)

    assert kinds(found) == [
        (Kind.FOREIGN, None),
        *[(Kind.MISSING, uid) for uid in (1, 2, 3, 4)],
    ]
    assert mended(path) == 0


def test_what_a_cut_off_run_leaves_is_half_written_or_unrecorded(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    with create(path) as archive:
        inbox = archive.ensure_folder(("INBOX",), None)
        batch = archive.batch()
        put(archive, batch, inbox, remote(1), mail(1))
        file = file_of(archive, add(archive, inbox, remote(2)))
        double = file_of(archive, add(archive, inbox, remote(3)))
        archive.database.execute("DELETE FROM messages WHERE uid = 2")
        shutil.copy2(double, double.with_name(double.name + "S"))
        (file.parent.parent / f"{KEYWORDS}{PART}").write_text("0 half")
        (path / f"README{PART}").write_text("half")
        short = file.with_name("1.V1.waystation,U=9,S=100:2,")
        short.write_bytes(b"short")

        found = found_in(path)

    assert sorted(kinds(found), key=str) == [
        (Kind.HALF_WRITTEN, 9),
        (Kind.HALF_WRITTEN, None),
        (Kind.HALF_WRITTEN, None),
        (Kind.HALF_WRITTEN, None),
        (Kind.UNRECORDED, 2),
        (Kind.UNRECORDED, 3),
    ]
    assert "the next export" in " ".join(discrepancy.text for discrepancy in found)


def test_a_message_without_a_row_in_a_settled_folder_waits_for_a_rebuild(path: Path) -> None:
    with Archive.write(path, "test") as archive:
        archive.database.execute("DELETE FROM messages WHERE uid = 2")

    (found,) = found_in(path)

    assert (found.kind, found.uid) == (Kind.UNRECORDED, 2)
    assert "--rebuild" in found.text


# Every other kind of file


def invert(file: Path, start: int = 0, length: int | None = None) -> None:
    content = bytearray(file.read_bytes())
    end = len(content) if length is None else start + length
    for at in range(start, end):
        content[at] ^= 0xFF
    file.write_bytes(content)


def test_an_inverted_sidecar_is_found_and_written_anew(path: Path) -> None:
    sidecar = path / "maildir" / "INBOX" / SIDECAR
    before = sidecar.read_bytes()
    invert(sidecar)

    (found,) = found_in(path)

    assert (found.kind, found.path) == (Kind.SIDECAR, f"maildir/INBOX/{SIDECAR}")
    assert mended(path) == 1
    assert sidecar.read_bytes() == before


@pytest.mark.parametrize("is_gone", [True, False])
def test_damaged_keywords_are_found_and_lettered_anew(path: Path, is_gone: bool) -> None:
    keywords = path / "maildir" / "INBOX" / KEYWORDS
    if is_gone:
        keywords.unlink()
    else:
        keywords.write_text("0 todo\n1 $Forwarded\n7 other\n")

    (found,) = found_in(path)

    assert (found.kind, found.path) == (Kind.SIDECAR, f"maildir/INBOX/{KEYWORDS}")
    assert "messages" in found.text
    assert mended(path) == 1
    assert found_in(path) == []
    assert sorted(keywords.read_text().split()) == ["$Forwarded", "0", "1", "todo"]


def test_an_inverted_description_is_no_archive(path: Path) -> None:
    invert(path / "archive.toml")

    with pytest.raises(NoArchiveError, match=r"archive\.toml"):
        found_in(path)


def test_an_inverted_index_is_no_database(path: Path) -> None:
    invert(path / "index.sqlite")

    with pytest.raises(IndexDamagedError, match="--rebuild"):
        found_in(path)


def test_an_inverted_page_of_the_index_is_found(path: Path) -> None:
    pages = (path / "index.sqlite").stat().st_size // 4096
    intact = (path / "index.sqlite").read_bytes()
    for page in range(1, pages):
        (path / "index.sqlite").write_bytes(intact)
        invert(path / "index.sqlite", page * 4096, 4096)

        try:
            found = found_in(path)
        except (IndexDamagedError, StorageError):
            continue
        assert found, f"page {page}"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("uid = uid + 100", Kind.ROW),
        ("uidvalidity = 2", Kind.ROW),
        ("size = size + 1", Kind.ROW),
        ("received = received + 1", Kind.ROW),
        ("internaldate = '2001-01-01T00:00:00+00:00'", Kind.ROW),
        ("internaldate = 'soon'", Kind.ROW),
        ("flags = '[]'", Kind.ROW),
        ("flags = 'x'", Kind.ROW),
        ("sha256 = 'x'", Kind.ALTERED),
        ("keywords = '[\"todo\"]'", Kind.SIDECAR),
        ("file = '../../../../etc/passwd'", Kind.MISSING),
        ("file = 'cur/other'", Kind.MISSING),
    ],
)
def test_a_changed_row_is_found(path: Path, change: str, kind: Kind) -> None:
    with Archive.write(path, "test") as archive:
        archive.database.execute(f"UPDATE messages SET {change} WHERE folder_id = 1 AND uid = 2")

    assert kind in {discrepancy.kind for discrepancy in found_in(path)}


def test_a_reader_may_check_while_a_writer_works(tmp_path: Path) -> None:
    with create(tmp_path / "a") as archive:
        inbox = archive.ensure_folder(("INBOX",), None)
        message = add(archive, inbox, remote(1))
        with archive.database.atomic():
            archive.plan_flags(inbox, message.id, ("\\Seen",), ())
        (_, directory, before, after) = archive.index.planned_renames()[0]

        assert found_in(tmp_path / "a") == []
        (archive.path / directory / before).rename(archive.path / directory / after)
        assert found_in(tmp_path / "a") == []
        archive.carry_out_renames()
        assert found_in(tmp_path / "a") == []


def test_repair_leaves_alone_what_it_cannot_mend(path: Path) -> None:
    message_file(path, 1).unlink()
    (path / "maildir" / "INBOX" / "cur" / "foreign").write_text("x")
    before = tree(path / "maildir")

    assert mended(path) == 0

    assert tree(path / "maildir") == before


def test_repair_of_what_has_gone_meanwhile_counts_nothing(path: Path) -> None:
    file = message_file(path, 2)
    renamed = file.rename(file.with_name(file.name + "T"))
    found = found_in(path)
    renamed.unlink()

    with Archive.write(path, "check --repair") as archive:
        assert repair(archive, found) == 0
        assert one(archive, archive.index.folders()[0], 2).state == "archived"


def test_dates_beyond_what_file_systems_hold_are_no_discrepancy(tmp_path: Path) -> None:
    with create(tmp_path / "a") as archive:
        inbox = archive.ensure_folder(("INBOX",), None)
        for uid, year in enumerate((1, 1850, 1969, 2100, 9999), 1):
            add(archive, inbox, remote(uid, internaldate=datetime(year, 1, 2, tzinfo=UTC)))
        settle(archive, inbox)

    assert found_in(tmp_path / "a") == []
