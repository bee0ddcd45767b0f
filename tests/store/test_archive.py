from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive, read_description
from store.maildir import KEYWORDS, PART, SIDECAR
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
from waystation.errors import (
    ArchiveLockedError,
    IndexDamagedError,
    NewerFormatError,
    NoArchiveError,
    OtherSourceError,
    StorageError,
)
from waystation.model import SpecialUse

if TYPE_CHECKING:
    from pathlib import Path

    from store.index import ArchivedFolder


# Creating and opening


def test_an_archive_says_what_it_is(tmp_path: Path) -> None:
    path = filled(tmp_path / "a")

    assert "alice@example.org" in (path / "README").read_text()
    assert (path / "FORMAT.md").read_text().startswith("# The archive format, version 1\n")
    assert read_description(path).format == 1


def test_an_archive_is_not_made_where_something_else_lies(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "README").write_text("mine")

    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(NoArchiveError):
            create(path)
    assert tree(tmp_path).keys() == {"file", "README"}


def test_a_second_creation_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "a")
    before = tree(tmp_path / "a")

    with pytest.raises(NoArchiveError, match="other things"):
        create(tmp_path / "a")
    assert tree(tmp_path / "a") == before


@pytest.mark.parametrize("name", ["archive.toml", "README", "FORMAT.md", "index.sqlite"])
def test_a_creation_that_was_cut_off_is_begun_anew(tmp_path: Path, name: str) -> None:
    create(tmp_path / "a").close()
    order = ["archive.toml", "README", "FORMAT.md", "index.sqlite"]
    for later in order[: order.index(name) + 1]:
        (tmp_path / "a" / later).unlink()
    (tmp_path / "a" / f"README{PART}").write_text("half")

    create(tmp_path / "a").close()

    assert found_in(tmp_path / "a") == []


def test_messages_without_a_description_are_not_written_over(tmp_path: Path) -> None:
    path = filled(tmp_path / "a")
    (path / "archive.toml").unlink()

    with pytest.raises(NoArchiveError, match="other things"):
        create(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "makes no sense"),
        (b"\xff\x00", "makes no sense"),
        (b"format = 'one'\nid = ''\ncreated = ''", "makes no sense"),
        (b"format = 0\nid = ''\ncreated = ''", "makes no sense"),
        (b"format = 1\nid = ''\ncreated = ''\nsource = 3", "makes no sense"),
        (b"a = " + b"[" * 100_000, "makes no sense"),
        (b"#" * 2_000_000, "cannot be read"),
    ],
)
def test_a_description_that_makes_no_sense_is_told(
    tmp_path: Path, content: bytes, words: str
) -> None:
    create(tmp_path / "a").close()
    (tmp_path / "a" / "archive.toml").write_bytes(content)

    for opened in (Archive.read, lambda path: Archive.write(path, "export")):
        with pytest.raises(NoArchiveError, match=words):
            opened(tmp_path / "a")


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    for name, words in (("missing", "nothing"), ("file", "a file"), ("", "archive.toml")):
        assert not Archive.exists(tmp_path / name)
        with pytest.raises(NoArchiveError, match=words):
            Archive.read(tmp_path / name)


def test_a_newer_format_is_read_and_not_written(tmp_path: Path) -> None:
    path = filled(tmp_path / "a")
    text = (path / "archive.toml").read_text()
    (path / "archive.toml").write_text(text.replace("format = 1", "format = 2"))

    with pytest.raises(NewerFormatError):
        Archive.write(path, "export")
    assert found_in(path) == []


def test_an_archive_without_its_index_says_how_to_get_one(tmp_path: Path) -> None:
    path = filled(tmp_path / "a")
    (path / "index.sqlite").unlink()

    with pytest.raises(IndexDamagedError, match="--rebuild"):
        Archive.write(path, "export")
    # the lock is free again
    with pytest.raises(IndexDamagedError, match="--rebuild"):
        Archive.write(path, "export")


def test_an_archive_is_written_by_one_at_a_time(archive: Archive) -> None:
    with pytest.raises(ArchiveLockedError, match="export"):
        Archive.write(archive.path, "import")


def test_an_archive_belongs_to_one_source(archive: Archive) -> None:
    archive.claim_source("alice", "alice@imap.example.org:993", ("INBOX",))
    with pytest.raises(OtherSourceError, match="bob"):
        archive.claim_source("bob", "bob@imap.example.org:993", ())

    archive.claim_source("bob", "bob@imap.example.org:993", (), new_source=True)

    assert archive.description.source == "bob"


def test_a_source_of_any_spelling_is_read_back(archive: Archive) -> None:
    name, prefix = 'a"b\\c\x7f\n\u2028🎉', ("INBOX\x7f", "\x00")

    archive.claim_source(name, "alice@imap.example.org:993", prefix)

    description = read_description(archive.path)
    assert (description.source, description.source_prefix) == (name, prefix)


# Folders


def test_a_folder_gets_a_directory_and_says_its_name_there(archive: Archive) -> None:
    folder = archive.ensure_folder(("..", "a/b"), SpecialUse.SENT)

    assert folder.name == "../a%2Fb"
    assert folder.directory == "maildir/%2E%2E/a%2Fb"
    assert (archive.path / folder.directory / "cur").is_dir()
    assert '"../a%2Fb"' in (archive.path / folder.directory / SIDECAR).read_text()


def test_a_folder_keeps_its_directory(archive: Archive) -> None:
    first = archive.ensure_folder(("Work",), None)
    second = archive.ensure_folder(("WORK",), None)

    assert second.directory == "maildir/WORK~2"
    assert archive.ensure_folder(("Work",), None) == first
    with_use = archive.ensure_folder(("WORK",), SpecialUse.SENT)
    assert (with_use.id, with_use.special_use) == (second.id, SpecialUse.SENT)
    assert found_in(archive.path) == []


def test_a_folder_called_like_our_files_does_not_meet_them(archive: Archive) -> None:
    parent = archive.ensure_folder(("A",), None)
    for name in (KEYWORDS, "DOVECOT", "dovecotx", "MaildirFolder.x", "subscriptions"):
        archive.ensure_folder(("A", name), None)
    message = add(archive, parent, remote(1, (), ("todo",)))

    assert message.keywords == ("todo",)
    assert (archive.path / parent.directory / KEYWORDS).is_file()


def test_a_folder_behind_a_link_is_not_written_to(archive: Archive, tmp_path: Path) -> None:
    folder = archive.ensure_folder(("A", "B"), None)
    (tmp_path / "outside").mkdir()
    (archive.path / "maildir" / "A").rename(tmp_path / "outside" / "A")
    (archive.path / "maildir" / "A").symlink_to(tmp_path / "outside" / "A")
    before = tree(tmp_path / "outside")

    for levels in (("A",), ("A", "B"), ("A", "new")):
        with pytest.raises(StorageError, match="symbolic link"):
            archive.ensure_folder(levels, None)
    assert tree(tmp_path / "outside") == before
    assert folder.directory == "maildir/A/B"


# Flags and numbers


def change_flags(
    archive: Archive, folder: ArchivedFolder, uid: int, flags: tuple[str, ...], *keywords: str
) -> None:
    with archive.database.atomic():
        archive.plan_flags(folder, one(archive, folder, uid).id, flags, keywords)


def test_new_flags_rename_the_file(archive: Archive, inbox: ArchivedFolder) -> None:
    before = file_of(archive, add(archive, inbox, remote(1, ("\\Seen",))))

    change_flags(archive, inbox, 1, ("\\Answered",), "todo")
    archive.carry_out_renames()

    message = one(archive, inbox, 1)
    assert (message.flags, message.keywords) == (("\\Answered",), ("todo",))
    assert file_of(archive, message).name.endswith(":2,Ra")
    assert file_of(archive, message).read_bytes() == mail(1)
    assert not before.exists()


def test_flags_that_go_back_before_the_rename_leave_the_name(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    before = add(archive, inbox, remote(1))

    change_flags(archive, inbox, 1, ("\\Seen",))
    change_flags(archive, inbox, 1, ())
    archive.carry_out_renames()

    assert one(archive, inbox, 1).path == before.path
    assert found_in(archive.path) == []


def test_a_renumbered_message_with_new_flags_gets_a_name_with_both(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    old = add(archive, inbox, remote(1))

    with archive.database.atomic():
        archive.plan_renumber(inbox, old, 2, 77)
        archive.plan_flags(inbox, old.id, ("\\Seen",), ())
    archive.carry_out_renames()

    message = one(archive, inbox, 77, 2)
    assert message.id == old.id
    assert file_of(archive, message).name.endswith(".V2.waystation,U=77,S=59:2,S")
    assert found_in(archive.path) == []


@pytest.mark.parametrize("done", [0, 1, 2])
def test_renames_that_a_crash_left_are_completed_at_the_next_opening(
    tmp_path: Path, done: int
) -> None:
    with create(tmp_path / "a") as archive:
        inbox = archive.ensure_folder(("INBOX",), None)
        for uid in (1, 2):
            add(archive, inbox, remote(uid))
            change_flags(archive, inbox, uid, ("\\Seen",))
        settle(archive, inbox)
        for _, directory, before, after in archive.index.planned_renames()[:done]:
            (archive.path / directory / before).rename(archive.path / directory / after)
        message = one(archive, inbox, 1)
        found = archive.find(message)
        assert found is not None
        assert found.read_bytes() == mail(1)
    assert found_in(tmp_path / "a") == []  # a reader knows what is planned

    with Archive.write(tmp_path / "a", "export") as archive:
        assert archive.index.planned_renames() == []
        for uid in (1, 2):
            assert file_of(archive, one(archive, inbox, uid)).name.endswith(":2,S")
    assert found_in(tmp_path / "a") == []


def test_a_planned_rename_finds_the_file_that_a_mail_reader_renamed(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    old = add(archive, inbox, remote(1))
    path = file_of(archive, old)
    path.rename(path.parent.parent / "new" / path.name.removesuffix(":2,"))

    with archive.database.atomic():
        archive.plan_renumber(inbox, old, 2, 5)
    archive.carry_out_renames()

    assert file_of(archive, one(archive, inbox, 5, 2)).read_bytes() == mail(1)


def test_where_case_makes_no_difference_a_rename_does_not_lose_the_file(
    archive: Archive, inbox: ArchivedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    keywords = [f"k{number}" for number in range(19)]
    archive.maildir(inbox).letters((), keywords)
    add(archive, inbox, remote(1, ("\\Seen",)))
    replace = os.replace

    def replace_without_case(source: Path, target: Path) -> None:
        replace(source, target)
        os.link(target, source)  # as if the old name found the file still

    monkeypatch.setattr(os, "replace", replace_without_case)
    change_flags(archive, inbox, 1, (), "k18")
    archive.carry_out_renames()

    path = file_of(archive, one(archive, inbox, 1))
    assert path.name.endswith(":2,s")
    assert path.with_name(path.name[:-1] + "S").exists()


def test_a_message_that_a_mail_reader_renamed_is_found(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    message = add(archive, inbox, remote(1))
    path = file_of(archive, message)
    path.rename(path.with_name(path.name + "FS"))

    assert archive.find(message) == path.with_name(path.name + "FS")
    path.with_name(path.name + "FS").unlink()
    assert archive.find(message) is None


# What a cut-off run leaves


def test_what_is_half_written_is_cleared_at_the_next_opening(tmp_path: Path) -> None:
    path = filled(tmp_path / "a")
    parts = [
        path / "maildir" / "INBOX" / "tmp" / f"1-2-3{PART}",
        path / "maildir" / "INBOX" / f"{KEYWORDS}{PART}",
        path / f"archive.toml{PART}",
        path / "index.sqlite.new",
    ]
    for part in parts:
        part.write_text("half")
    (path / "maildir" / "INBOX" / "tmp" / "1.M1P1.mutt").write_text("another program's")

    Archive.write(path, "export").close()

    assert not [part for part in parts if part.exists()]
    assert (path / "maildir" / "INBOX" / "tmp" / "1.M1P1.mutt").exists()


def test_a_file_that_was_not_recorded_is_taken_in(tmp_path: Path) -> None:
    with create(tmp_path / "a") as archive:
        inbox = archive.ensure_folder(("INBOX",), None)
        lost = add(archive, inbox, remote(1, ("\\Seen",), ("todo",)))
        archive.database.execute("DELETE FROM messages")

        assert archive.adopt(inbox) == 1

        again = one(archive, inbox, 1)
        assert (again.path, again.sha256, again.flags, again.keywords) == (
            lost.path,
            lost.sha256,
            lost.flags,
            lost.keywords,
        )
        assert again.internaldate == lost.internaldate
        assert again.last_seen is not None
        assert archive.adopt(inbox) == 0
    assert found_in(tmp_path / "a") == []


def test_a_double_under_the_old_letters_is_removed_only_if_it_is_one(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    path = file_of(archive, add(archive, inbox, remote(1, ("\\Seen",))))
    double, other = path.with_name(path.name[:-1]), path.with_name(path.name + "T")
    double.write_bytes(mail(1))
    other.write_bytes(mail(1)[::-1])

    assert archive.adopt(inbox) == 0

    assert (path.exists(), double.exists(), other.exists()) == (True, False, True)


def test_what_is_no_whole_message_of_ours_is_not_taken_in(
    archive: Archive, inbox: ArchivedFolder, tmp_path: Path
) -> None:
    cur = archive.path / inbox.directory / "cur"
    (cur / "1.V1.waystation,U=1,S=9:2,").write_bytes(b"short")
    (cur / "1.V1.waystation,U=2,S=5:2,").mkdir()
    (cur / "1.M1P1.mutt:2,S").write_bytes(b"foreign")
    (tmp_path / "out").write_bytes(b"12345")
    (cur / "1.V1.waystation,U=3,S=5:2,").symlink_to(tmp_path / "out")

    assert archive.adopt(inbox) == 0
    assert len(list(cur.iterdir())) == 4


def test_a_run_is_recorded_with_its_outcome(archive: Archive) -> None:
    with archive.run("export", "alice", {"new": 3}):
        pass
    with pytest.raises(KeyboardInterrupt), archive.run("export", "alice", {}):
        raise KeyboardInterrupt
    with pytest.raises(KeyError), archive.run("export", "alice", {}):
        raise KeyError

    rows = archive.database.rows("SELECT outcome, totals FROM runs ORDER BY id")
    assert list(rows) == [("done", '{"new": 3}'), ("interrupted", "{}"), ("failed", "{}")]


def test_a_batch_of_another_folder_is_not_disturbed_by_renames(
    archive: Archive, inbox: ArchivedFolder
) -> None:
    add(archive, inbox, remote(1))
    batch = archive.batch()
    put(archive, batch, inbox, remote(2), mail(2))
    change_flags(archive, inbox, 1, ("\\Seen",))
    archive.carry_out_renames()
    batch.commit()
    settle(archive, inbox)

    assert found_in(archive.path) == []
