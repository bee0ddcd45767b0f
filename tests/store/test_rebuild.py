from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from store.maildir import KEYWORDS, SIDECAR, Maildir
from store.rebuild import rebuild
from tests.compare import Message, differences, snapshot
from tests.servers.dovecot import HOST, PASSWORD, Dovecot, archive_location
from tests.store.filling import NOON, create, filled, found_in, mail, put, remote, settle, tree
from waystation.errors import ArchiveLockedError, NewerFormatError, NoArchiveError
from waystation.model import SpecialUse
from waystation.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

Facts = dict[tuple[str, int, int], tuple[object, ...]]


class Told(Silent):
    """A listener that remembers what it was told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def alarm(self, folder: str, text: str) -> None:
        self.texts.append(f"{folder}: {text}")

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        self.texts.append(f"{folder} {uid}: {text}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return filled(tmp_path / "archive")


def facts(path: Path) -> Facts:
    """Return all that a new index must say as the old one did."""
    with Archive.read(path) as archive:
        uses = {folder.id: folder.special_use for folder in archive.index.folders()}
        return {
            (message.folder, message.uidvalidity, message.uid): (
                message.path,
                message.sha256,
                message.size,
                message.internaldate,
                message.flags,
                message.keywords,
                message.message_id,
                uses[message.folder_id],
            )
            for message in archive.index.messages()
        }


def test_a_new_index_says_what_the_old_one_said(path: Path) -> None:
    before = facts(path)
    files = tree(path / "maildir")
    (path / "index.sqlite").unlink()

    assert rebuild(path, Silent()) == (6, 2)

    assert facts(path) == before
    assert tree(path / "maildir") == files
    assert found_in(path) == []


def test_a_new_index_does_not_need_the_times_of_the_files(path: Path) -> None:
    before = facts(path)
    for file in path.glob("maildir/**/cur/*"):
        if not file.name.startswith("0."):
            os.utime(file)

    rebuild(path, Silent())

    assert facts(path) == before


def test_the_old_index_is_kept_with_what_only_it_knew(path: Path) -> None:
    with Archive.write(path, "test") as archive:
        archive.transfers.target("bob", "bob@example.com")
    old = (path / "index.sqlite").read_bytes()

    rebuild(path, Silent())
    rebuild(path, Silent())

    kept = sorted(path.glob("index.sqlite.old-*"))
    assert len(kept) == 2
    assert old in [file.read_bytes() for file in kept]
    with Archive.read(path) as archive:
        assert archive.transfers.targets() == []


def test_the_log_of_the_old_index_goes_with_it(path: Path) -> None:
    kept_open = sqlite3.connect(path / "index.sqlite")
    kept_open.execute("INSERT INTO targets (name, key) VALUES ('bob', 'bob')")
    kept_open.commit()
    shutil.copytree(path, path.parent / "killed")
    kept_open.close()

    rebuild(path.parent / "killed", Silent())

    (kept,) = (path.parent / "killed").glob("index.sqlite.old-*[0-9]")
    with sqlite3.connect(kept) as old:
        assert old.execute("SELECT name FROM targets").fetchall() == [("bob",)]
    old.close()
    assert found_in(path.parent / "killed") == []


def test_an_index_of_any_rubbish_is_replaced(path: Path) -> None:
    before = facts(path)
    for content in (b"", b"rubbish" * 1000):
        (path / "index.sqlite").write_bytes(content)

        rebuild(path, Silent())

        assert facts(path) == before


def test_a_rebuild_that_was_cut_off_is_begun_anew(path: Path) -> None:
    (path / "index.sqlite.new").write_bytes(b"half a database")
    (path / "index.sqlite.new-wal").write_bytes(b"half a log")

    assert rebuild(path, Silent()) == (6, 2)
    assert found_in(path) == []


def test_an_archive_in_use_or_of_a_newer_format_is_not_rebuilt(path: Path) -> None:
    with Archive.write(path, "export"), pytest.raises(ArchiveLockedError):
        rebuild(path, Silent())
    text = (path / "archive.toml").read_text()
    (path / "archive.toml").write_text(text.replace("format = 1", "format = 2"))
    with pytest.raises(NewerFormatError):
        rebuild(path, Silent())
    (path / "archive.toml").unlink()
    with pytest.raises(NoArchiveError):
        rebuild(path, Silent())


def test_flags_that_a_mail_reader_set_are_taken_over(path: Path) -> None:
    (file,) = (path / "maildir" / "INBOX" / "cur").glob("*,U=2,*")
    file.rename(path / "maildir" / "INBOX" / "new" / file.name.replace(":2,FR", ":2,Sb"))

    rebuild(path, Silent())

    with Archive.read(path) as archive:
        (message,) = [m for m in archive.index.messages() if m.uid == 2]
    assert (message.flags, message.keywords) == (("\\Seen",), ("todo",))
    assert found_in(path) == []


def test_folders_without_messages_come_back(tmp_path: Path) -> None:
    with create(tmp_path / "a") as archive:
        archive.ensure_folder(("Empty", "100%"), SpecialUse.TRASH)
        archive.ensure_folder(("y" * 300,), None)
        archive.ensure_folder(tuple("x" * 100 for _ in range(9)), None)
        names = [folder.name for folder in archive.index.folders()]
        directories = [folder.directory for folder in archive.index.folders()]
    for cur in (tmp_path / "a" / "maildir").rglob("cur"):
        cur.rmdir()  # as a copy does that leaves out empty directories

    assert rebuild(tmp_path / "a", Silent()) == (0, 3)

    with Archive.read(tmp_path / "a") as archive:
        assert [folder.name for folder in archive.index.folders()] == names
        assert [folder.directory for folder in archive.index.folders()] == directories


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"name": "' + b"x" * 100_000 + b'"}',
        b'{"name": 5, "special_use": []}',
        b'{"name": "../../etc/passwd"}',
        b'{"name": "\\ud800"}',
        b'{"name": "Sent"}',
        b"[]",
    ],
)
def test_a_sidecar_that_makes_no_sense_is_not_believed(path: Path, content: bytes) -> None:
    (path / "maildir" / "INBOX" / SIDECAR).write_bytes(content)
    shutil.rmtree(path / "maildir" / "Sent")

    assert rebuild(path, Silent()) == (4, 1)

    assert {folder for folder, _, _ in facts(path)} == {"INBOX"}


def test_a_sidecar_that_is_a_link_or_a_directory_is_not_believed(
    path: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").write_text('{"name": "INBOX", "special_use": "\\\\Trash"}')
    inbox, sent = path / "maildir" / "INBOX", path / "maildir" / "Sent" / "2024%3A ä"
    for folder in (inbox, sent):
        (folder / SIDECAR).unlink()
    (inbox / SIDECAR).symlink_to(tmp_path / "outside")
    (sent / SIDECAR).mkdir()

    rebuild(path, Silent())

    with Archive.read(path) as archive:
        named = [(folder.name, folder.special_use) for folder in archive.index.folders()]
    assert named == [("INBOX", None), ("Sent/2024: ä", None)]


def test_a_copied_folder_keeps_the_name_of_its_directory(path: Path) -> None:
    shutil.copytree(path / "maildir" / "INBOX", path / "maildir" / "INBOX copy")
    shutil.copytree(path / "maildir" / "INBOX", path / "maildir" / "INBOX~2")
    told = Told()

    assert rebuild(path, told) == (14, 4)

    assert {folder for folder, _, _ in facts(path)} == {
        "INBOX",
        "INBOX copy",
        "INBOX~2",
        "Sent/2024: ä",
    }
    assert told.texts == ["INBOX: two directories claim this name; maildir/INBOX~2 is now INBOX~2"]


def test_what_is_no_message_of_ours_is_left_out_and_told(path: Path, tmp_path: Path) -> None:
    cur = path / "maildir" / "INBOX" / "cur"
    (original,) = cur.glob("*,U=2,*")
    shutil.copy2(original, cur / (original.name + "T"))
    shutil.copy2(original, path / "maildir" / "INBOX" / "new" / original.name)
    (tmp_path / "outside").write_bytes(mail(9))
    base = f"1.V1.waystation,U={{}},S={len(mail(9))}:2,"
    (cur / base.format(9)).symlink_to(tmp_path / "outside")
    (cur / base.format(10)).mkdir()
    os.mkfifo(cur / base.format(11))
    (cur / base.format(12)).write_bytes(b"short")
    (cur / base.format("9" * 30)).write_bytes(mail(9))
    (cur / os.fsdecode(b"\xff")).write_bytes(b"foreign")
    (path / "maildir" / "link").symlink_to(tmp_path)
    (path / "maildir" / os.fsdecode(b"\xff")).mkdir()
    (path / "maildir" / os.fsdecode(b"\xff") / "cur").mkdir()
    (path / "maildir" / "file").write_bytes(b"foreign")
    told = Told()

    assert rebuild(path, told) == (6, 2)

    assert len(told.texts) == 8
    assert {text.split(":")[0] for text in told.texts} == {
        "link None",
        "maildir/? None",
        *(f"INBOX {uid}" for uid in (2, 9, 10, 11, 12)),
    }
    assert all(discrepancy.kind != "missing" for discrepancy in found_in(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_left_out_and_told(path: Path) -> None:
    (file,) = (path / "maildir" / "INBOX" / "cur").glob("*,U=2,*")
    file.chmod(0)
    told = Told()

    assert rebuild(path, told) == (5, 2)
    assert told.texts == [f"INBOX 2: cur/{file.name} cannot be read: Permission denied"]


def test_folders_nested_beyond_all_reason_are_walked(path: Path) -> None:
    deep = path / "maildir" / "/".join("d" for _ in range(300))
    os.makedirs(deep)

    assert rebuild(path, Silent()) == (6, 2)


# Other programs read the same


@pytest.mark.server
def test_dovecot_serves_an_archive_as_it_is(dovecot: Dovecot, user: str, tmp_path: Path) -> None:
    with create(tmp_path / "archive") as archive:
        batch = archive.batch()
        expected: dict[str, list[Message]] = {}
        for levels, name in ((("INBOX",), "INBOX"), (("Büro", "cur"), "Büro/%2563ur")):
            folder = archive.ensure_folder(levels, None)
            expected[name] = []
            for uid in range(1, 20):
                flags = ("\\Seen",) if uid % 2 else ("\\Answered", "\\Flagged")
                keywords = ("$Forwarded", f"k{uid}") if uid % 3 else ()
                message, body = remote(uid, flags, keywords), mail(uid) * uid
                put(archive, batch, folder, message, body)
                expected[name].append(_as_read(body, flags, keywords))
        batch.commit()
    copy = dovecot.copy_in(tmp_path / "archive", f"archive-{user}")
    before = tree(copy / "maildir")
    dovecot.locate(user, archive_location(copy))

    served = snapshot(HOST, dovecot.port, user, PASSWORD, folders=expected)

    assert differences(expected, served) == []
    after = tree(copy / "maildir")
    assert {name: after.get(name) for name in before} == before
    added = {name.rpartition("/")[2] for name in after.keys() - before.keys()}
    assert all(name.startswith(("dovecot", "maildirfolder")) for name in added)
    assert found_in(copy) == []


def _as_read(body: bytes, flags: tuple[str, ...], keywords: tuple[str, ...]) -> Message:
    return Message(hashlib.sha256(body).hexdigest(), frozenset(flags), frozenset(keywords), NOON)


@pytest.mark.server
def test_keywords_that_dovecot_adds_and_flags_that_it_sets_are_undone(
    dovecot: Dovecot, user: str, path: Path
) -> None:
    copy = dovecot.copy_in(path, f"archive-{user}")
    dovecot.locate(user, archive_location(copy))
    dovecot.doveadm("flags", "add", "-u", user, "\\Deleted new", "mailbox", "INBOX", "all")
    before = facts(path)

    found = found_in(copy)

    assert [discrepancy.kind for discrepancy in found] == ["renamed"] * 4
    rebuild(copy, Silent())
    assert {row[5] for row in facts(copy).values() if "INBOX" in str(row[0])} == {
        ("$Forwarded", "new", "todo"),
        ("new",),
        ("new", "todo"),
    }
    assert before.keys() == facts(copy).keys()
    assert json.loads((copy / "maildir" / "INBOX" / SIDECAR).read_text())["name"] == "INBOX"
    assert Maildir(copy / "maildir" / "INBOX").keywords() == ["$Forwarded", "todo", "new"]
    assert (copy / "maildir" / "INBOX" / KEYWORDS).exists()


def test_a_settled_folder_is_looked_through_after_a_rebuild(tmp_path: Path) -> None:
    with create(tmp_path / "a") as archive:
        settle(archive, archive.ensure_folder(("INBOX",), None))

    rebuild(tmp_path / "a", Silent())

    with Archive.read(tmp_path / "a") as archive:
        (folder,) = archive.index.folders()
    assert (folder.state, folder.is_settled) == (None, False)
