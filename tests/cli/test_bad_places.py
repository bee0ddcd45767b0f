"""Archives that are none, disks that are full: one clear line, and nothing else touched."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import IS_ROOT, Server, start, tree
from tests.fakes.imap_server import Delay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from tests.cli.conftest import CommandLine

READING = (("check",), ("status",), ("ledger",), ("plan", "--offline"), ("verify", "--source"))


@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_a_place_where_nothing_is(
    waystation: CommandLine, tmp_path: Path, words: tuple[str, ...]
) -> None:
    result = waystation(words[0], tmp_path / "nothing", *words[1:])

    assert result.code == 10
    assert "is not an archive" in result.one_error
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("words", [*READING, ("export",), ("import",)], ids=lambda words: words[0])
def test_a_place_that_is_a_file(
    waystation: CommandLine, tmp_path: Path, words: tuple[str, ...]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")

    result = waystation(words[0], file, *words[1:])

    assert result.code == 10
    assert "it is a file" in result.one_error
    assert file.read_text() == "mine"


@pytest.mark.parametrize("words", [*READING, ("import",)], ids=lambda words: words[0])
def test_an_empty_directory_is_no_archive(
    waystation: CommandLine, tmp_path: Path, words: tuple[str, ...]
) -> None:
    result = waystation(words[0], tmp_path, *words[1:])

    assert result.code == 10
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_other_things_is_left_alone(
    waystation: CommandLine, tmp_path: Path, old: Server
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")

    result = waystation("export", tmp_path, *old.source)

    assert result.code == 10
    assert "holds other things" in result.one_error
    assert tree(tmp_path) == {"thesis.txt": b"mine"}
    assert old.fake.connections == 0


def test_an_empty_directory_can_become_an_archive(
    waystation: CommandLine, archive: Path, old: Server
) -> None:
    archive.mkdir()

    assert waystation("export", archive, *old.source).code == 0


def test_a_creation_that_was_killed_can_be_done_again(
    waystation: CommandLine, archive: Path, exported: Path, old: Server, tmp_path: Path
) -> None:
    cut_off = tmp_path / "cut-off"
    cut_off.mkdir()
    (cut_off / "maildir").mkdir()
    for name in ("lock", "index.sqlite", "README", "FORMAT.md"):
        (cut_off / name).write_bytes((exported / name).read_bytes())

    assert waystation("status", cut_off).code == 10
    assert waystation("export", cut_off, *old.source).code == 0
    assert waystation("check", cut_off).code == 0


@pytest.mark.parametrize("content", [b"no database at all", b"", b"SQLite format 3\0" + bytes(99)])
@pytest.mark.parametrize("words", [("check",), ("status",), ("ledger",), ("export",)])
def test_an_index_that_is_no_database(
    waystation: CommandLine, exported: Path, words: tuple[str, ...], content: bytes
) -> None:
    (exported / "index.sqlite").write_bytes(content)
    messages = tree(exported / "maildir")

    secret = ("--password-env", "OLD_PASSWORD") if words == ("export",) else ()
    result = waystation(*words, exported, *secret, *_nowhere(words))

    assert result.code == 1
    assert tree(exported / "maildir") == messages


def _nowhere(words: tuple[str, ...]) -> tuple[str, ...]:
    return ("--timeout", "1") if words == ("export",) else ()


@pytest.mark.parametrize(
    "content",
    ["garbage", "", "format = 'one'", "format = 1", "format = -1\nid = 'x'\ncreated = ''"],
)
def test_a_description_that_makes_no_sense(
    waystation: CommandLine, exported: Path, content: str
) -> None:
    (exported / "archive.toml").write_text(content)

    result = waystation("status", exported)

    assert result.code == 10
    assert "archive.toml" in result.one_error


def test_a_newer_format_is_read_and_not_written(
    waystation: CommandLine, exported: Path, old: Server
) -> None:
    description = exported / "archive.toml"
    description.write_text(description.read_text().replace("format = 1", "format = 2"))

    written = waystation("export", exported, *old.secret)

    assert written.code == 1
    assert "format 2" in written.one_error
    assert waystation("status", exported).code == 0


def test_an_archive_of_another_mailbox_is_not_mixed_up(
    waystation: CommandLine, exported: Path, new: Server
) -> None:
    result = waystation("export", exported, *new.source[:2], *new.secret)

    assert result.code == 1
    assert "this archive holds" in result.one_error
    assert "--new-source" in result.one_error
    assert new.fake.connections == 0


def test_a_second_run_waits_for_the_first(
    waystation: CommandLine, exported: Path, old: Server, processes: ExitStack
) -> None:
    old.script.on("LIST", Delay(20))
    first = start(processes, "export", exported, *old.secret)
    _wait_for(old, "LIST", first)

    second = waystation("export", exported, *old.secret)
    reader = waystation("status", exported)
    first.kill()

    assert second.code == 11
    assert "is in use by another run" in second.one_error
    assert reader.code == 0


def _wait_for(server: Server, command: str, process: subprocess.Popen[str]) -> None:
    before = server.fake.commands(command)
    while server.fake.commands(command) == before and process.poll() is None:
        server.fake.stopping.wait(0.02)
    assert process.poll() is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    if not IS_ROOT:
        pytest.skip("only root can mount a small disk")
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", directory], check=False
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


def test_a_full_disk_ends_the_run_and_loses_nothing(
    waystation: CommandLine, old: Server, small_disk: Path
) -> None:
    big = b"Subject: big\r\n\r\n" + b"x" * 3_000_000 + b"\r\n"
    old.mailbox.folder("INBOX").append(big)
    archive = small_disk / "alice"

    full = waystation("export", archive, *old.source)
    status = waystation("status", archive)
    old.mailbox.folder("INBOX").expunge(5)
    again = waystation("export", archive, *old.secret)
    checked = waystation("check", archive)

    assert full.code == 1
    assert "No space left" in full.err
    assert "run the same command again" in full.err
    assert status.code == 0
    assert again.code == 0
    assert checked.code == 0


@pytest.fixture
def read_only(exported: Path) -> Iterator[Path]:
    """An archive on a file system that takes no change."""
    if not IS_ROOT:
        pytest.skip("only root can mount read-only")
    commands = (
        ["mount", "--bind", str(exported), str(exported)],
        ["mount", "-o", "remount,bind,ro", str(exported)],
    )
    for command in commands:
        if subprocess.run(command, check=False).returncode:
            pytest.skip("nothing can be mounted here")
    yield exported
    subprocess.run(["umount", "-l", exported], check=True)


def test_a_read_only_archive_can_be_looked_at_and_not_changed(
    waystation: CommandLine, old: Server, new: Server, read_only: Path
) -> None:
    before = tree(read_only)

    looked = [waystation(name, read_only).code for name in ("check", "status", "ledger")]
    exported = waystation("export", read_only, *old.secret)
    imported = waystation("import", read_only, *new.target)

    assert looked == [0, 0, 0]
    assert (exported.code, imported.code) == (1, 1)
    assert "Read-only file system" in exported.one_error
    assert "Read-only file system" in imported.one_error
    assert tree(read_only) == before


def test_a_read_only_archive_is_compared_with_its_source_and_not_recorded(
    waystation: CommandLine,
    old: Server,
    new: Server,
    exported: Path,
    request: pytest.FixtureRequest,
) -> None:
    waystation("import", exported, *new.target)
    archive = request.getfixturevalue("read_only")
    before = tree(archive)

    verified = waystation("verify", archive, "--source", *old.secret)
    of_all = waystation("verify", archive, "--from-password-env", *old.secret[1:], "--json")
    whose = waystation("verify", archive, *old.secret)
    of_target = waystation("verify", archive, "--target", *new.secret)

    assert (verified.code, of_all.code, of_target.code) == (0, 0, 1)
    assert "This verification is not recorded: " in verified.err
    assert whose.code == 2
    assert "the target is not compared: the archive cannot be written" in of_all.err
    assert (of_all.summary["run"], of_all.summary["table"]) == (None, {"equal": 7})
    assert tree(archive) == before


def test_a_full_disk_does_not_take_the_result_of_a_verification_away(
    waystation: CommandLine, old: Server, small_disk: Path
) -> None:
    archive = small_disk / "alice"
    assert waystation("export", archive, *old.source).code == 0
    for number in range(3000):
        old.mailbox.folder("INBOX").append(b"Subject: %d\r\n\r\n" % number)
    with (small_disk / "full").open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(4096))
        # Enough for the record to begin, and for no more.
        file.truncate(file.tell() - 200_000)

    verified = waystation("verify", archive, "--source", *old.secret)

    assert verified.code == 13
    assert "This verification is not recorded: " in verified.err
    assert "found: 3,000 not archived" in verified.err
    assert waystation("status", archive).code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("export", "new", "--from", "gmail:a@gmail.com"), "no password"),
        (("login", "office365:a@b.example", "--client-id", "x", "--device-code"), "no home"),
    ],
)
def test_a_user_without_a_home_gets_a_sentence(
    waystation: CommandLine, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    def nobody_knows() -> Path:
        raise RuntimeError("Could not determine home directory.")

    # As with an unknown user id in a container; HOME alone does not make it so.
    monkeypatch.setattr(Path, "home", nobody_knows)

    result = waystation(*words)

    assert result.code == 12
    assert told in result.one_error
