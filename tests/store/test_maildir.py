from __future__ import annotations

import mailbox
import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from store.maildir import (
    KEYWORDS,
    READ,
    Maildir,
    base_of,
    flags_of,
    is_within,
    make_directory,
    parse_name,
    read_small,
    write_durably,
)
from tests.store.filling import NOON, filled
from waystation.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    made = Maildir(tmp_path / "INBOX")
    made.make()
    return made


def test_a_name_says_what_the_index_needs(maildir: Maildir) -> None:
    file = maildir.name_for(7, 42, 4711, NOON, ("\\Seen", "\\Draft"), ("todo",))

    said = parse_name(file.removeprefix("cur/"))

    assert said is not None
    assert (said.uidvalidity, said.uid, said.size) == (7, 42, 4711)
    assert said.received == NOON.timestamp()
    assert flags_of(said.letters) == ["\\Draft", "\\Seen"]
    assert maildir.keywords_of(said.letters) == ["todo"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1.V1.waystation,U=1,S=1:2,S\n",
        "1.V1.waystation,U=1:2,S",
        "1714557600.M1P1.host,S=3:2,S",
        "1.V1.waystation,U=99999999999999999999,S=1:2,",
        "\u0661.V1.waystation,U=1,S=1:2,",
        "1.V1.waystation,U=1,S=1:2,S/../x",
    ],
)
def test_other_names_are_none_of_ours(name: str) -> None:
    assert parse_name(name) is None


@pytest.mark.parametrize("separator", [":", "!", ";"])
def test_a_name_is_known_by_any_separator(separator: str) -> None:
    said = parse_name(f"1.V2.waystation,U=3,S=4{separator}2,FS")

    assert said is not None
    assert said.base == base_of(f"1.V2.waystation,U=3,S=4{separator}2,FS")
    assert said.letters == "FS"


def test_a_message_before_1970_has_the_time_0_in_its_name(maildir: Maildir) -> None:
    file = maildir.name_for(1, 2, 3, datetime(1965, 1, 1, tzinfo=UTC), (), ())

    assert file.startswith("cur/0.V1.")


def test_what_is_made_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = filled(tmp_path / "deeper" / "archive")
    finally:
        os.umask(before)

    for each in (path, *path.rglob("*")):
        wanted = 0o700 if each.is_dir() else 0o600
        assert stat.S_IMODE(each.stat().st_mode) == wanted, each


def test_a_date_that_no_file_system_holds_does_not_lose_the_message(maildir: Maildir) -> None:
    for year in (1, 1800, 9999):
        draft = maildir.draft()
        draft.write(memoryview(b"x"))

        draft.finish(datetime(year, 1, 1, tzinfo=UTC))

        assert (maildir.path / "tmp" / draft.path).read_bytes() == b"x"


def test_a_draft_that_is_discarded_leaves_nothing(maildir: Maildir) -> None:
    draft = maildir.draft()
    draft.write(memoryview(b"half a mess"))

    draft.discard()
    draft.discard()

    assert os.listdir(maildir.path / "tmp") == []


def test_keywords_get_letters_in_the_order_they_come_and_keep_them(maildir: Maildir) -> None:
    assert maildir.letters((), ("$Forwarded", "todo")) == "ab"
    assert maildir.letters(("\\Seen",), ("todo",)) == "Sb"
    assert Maildir(maildir.path).letters((), ("todo", "new")) == "bc"
    assert (maildir.path / KEYWORDS).read_text() == "0 $Forwarded\n1 todo\n2 new\n"


def test_keywords_that_differ_in_case_share_a_letter(maildir: Maildir) -> None:
    assert maildir.letters((), ("$Forwarded",)) == maildir.letters((), ("$FORWARDED",)) == "a"


def test_the_27th_keyword_and_what_would_break_a_line_get_no_letter(maildir: Maildir) -> None:
    assert maildir.letters((), ("", "two words", "line\nbreak", "\u2028")) == ""
    assert len(maildir.letters((), [f"k{number}" for number in range(30)])) == 26


def test_a_letter_that_a_mail_reader_freed_is_given_again(maildir: Maildir) -> None:
    (maildir.path / KEYWORDS).write_text("0 first\n2 third\n")

    assert maildir.letters((), ("second",)) == "b"
    assert maildir.keywords_of("abc") == ["first", "second", "third"]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"99 x\n-1 y\n", b"9" * 5000 + b" x\n", b"x" * 100_000]
)
def test_a_damaged_keyword_file_gives_no_keywords(maildir: Maildir, content: bytes) -> None:
    (maildir.path / KEYWORDS).write_bytes(content)

    assert maildir.keywords_of("abc") == []


def test_a_link_in_place_of_a_keyword_file_is_not_followed(
    maildir: Maildir, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("0 secret\n")
    (maildir.path / KEYWORDS).symlink_to(outside)

    assert maildir.keywords_of("a") == []
    assert maildir.letters((), ("todo",)) == "a"
    assert outside.read_text() == "0 secret\n"


def test_a_directory_behind_a_link_is_not_made_use_of(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "link").symlink_to(tmp_path / "outside")

    with pytest.raises(StorageError, match="symbolic link"):
        make_directory(tmp_path / "archive" / "link")
    assert not is_within(tmp_path / "archive", "link/INBOX")
    assert not is_within(tmp_path / "archive", "../outside")
    assert is_within(tmp_path / "archive", "INBOX/not/there")


def test_a_file_in_place_of_a_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "INBOX").write_text("in the way")

    with pytest.raises(StorageError, match="INBOX"):
        Maildir(tmp_path / "INBOX").make()


def test_a_small_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("untouched")
    (tmp_path / "file.waystation-part").symlink_to(elsewhere)

    write_durably(tmp_path / "file", "one")
    write_durably(tmp_path / "file", "two")

    assert (tmp_path / "file").read_text() == "two"
    assert elsewhere.read_text() == "untouched"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "file"]


def test_a_small_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()

    with pytest.raises(StorageError):
        write_durably(tmp_path / "file", "text")

    assert os.listdir(tmp_path) == ["file"]


def test_a_pipe_in_place_of_a_small_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge").write_bytes(b"x" * 100_000)

    assert read_small(tmp_path / "pipe") is None
    assert read_small(tmp_path / "huge") is None
    assert read_small(tmp_path) is None
    assert READ & os.O_NOFOLLOW


def test_the_standard_library_reads_each_folder_with_the_same_bytes(tmp_path: Path) -> None:
    path = filled(tmp_path / "archive")

    for folder, count in (("INBOX", 4), ("Sent/2024%3A ä", 2)):
        box = mailbox.Maildir(path / "maildir" / folder, create=False)
        read = sorted(box.get_bytes(key) for key in box.keys())  # noqa: SIM118 - not a dict
        files = (path / "maildir" / folder / "cur").iterdir()
        assert read == sorted(file.read_bytes() for file in files)
        assert len(read) == count
        assert all(message.get_subdir() == "cur" for message in box)
