"""Where passwords come from, and that they go nowhere else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import NEW_PASSWORD, OLD, OLD_PASSWORD, Server, start, tree
from waystation.address import parse_account

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from tests.cli.conftest import CommandLine, FakeKeyring


def test_a_command_gives_the_password(waystation: CommandLine, old: Server, archive: Path) -> None:
    ca = old.secret[2:]

    result = waystation(
        "export", archive, "--from", old.name, *ca, "--password-command", f"echo {OLD_PASSWORD}"
    )

    assert result.code == 0


@pytest.mark.parametrize("command", ["exit 3", "true", "no-such-program-anywhere 2>/dev/null"])
def test_a_command_that_gives_no_password_is_named(
    waystation: CommandLine, old: Server, archive: Path, command: str
) -> None:
    result = waystation(
        "export", archive, "--from", old.name, *old.secret[2:], "--password-command", command
    )

    assert result.code == 12
    assert "the password command ended with code" in result.one_error


def test_the_keyring_gives_the_password(
    waystation: CommandLine, old: Server, archive: Path, own_keyring: FakeKeyring
) -> None:
    own_keyring.set_password("waystation", parse_account(old.name).key, OLD_PASSWORD)

    assert waystation("export", archive, "--from", old.name, *old.secret[2:]).code == 0


def test_a_person_at_a_terminal_is_asked(
    waystation: CommandLine, old: Server, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return OLD_PASSWORD

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", ask)

    assert waystation("export", archive, "--from", old.name, *old.secret[2:]).code == 0
    assert asked == [f"Password for {old.name}: "]


def test_where_nobody_can_be_asked_the_ways_are_named(
    waystation: CommandLine, old: Server, archive: Path
) -> None:
    result = waystation("export", archive, "--from", old.name, *old.secret[2:])

    assert result.code == 12
    assert "--password-env NAME" in result.one_error
    assert f"keyring set waystation {parse_account(old.name).key}" in result.one_error
    assert not archive.exists()


def test_an_empty_variable_is_named(waystation: CommandLine, old: Server, archive: Path) -> None:
    result = waystation("export", archive, "--from", old.name, "--password-env", "NOT_THERE")

    assert result.code == 12
    assert "NOT_THERE holds no password" in result.one_error


def test_two_ways_at_once_are_a_mistake(waystation: CommandLine, archive: Path) -> None:
    result = waystation(
        *("export", archive, "--from", "imaps://a@b.example"),
        *("--password-env", "A", "--password-command", "b"),
    )

    assert result.code == 2


def test_a_wrong_password_makes_no_archive(
    waystation: CommandLine, old: Server, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLD_PASSWORD", "wrong")

    result = waystation("export", archive, *old.source)

    assert result.code == 12
    assert "wrong" not in result.one_error.replace("user or password is wrong", "")
    assert not archive.exists()


def test_a_wrong_password_makes_no_target(
    waystation: CommandLine, new: Server, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEW_PASSWORD", "wrong")

    result = waystation("import", exported, *new.target)

    assert result.code == 12
    assert waystation("status", exported, "--json").summary["targets"] == {}


def test_a_password_in_the_servers_name_is_refused_and_not_repeated(
    waystation: CommandLine, archive: Path
) -> None:
    result = waystation("export", archive, "--from", f"imaps://{OLD}:{OLD_PASSWORD}@localhost")

    assert result.code == 2
    assert OLD_PASSWORD not in result.one_error
    assert "--password-env" in result.one_error


def test_the_conversation_is_shown_without_the_password(
    waystation: CommandLine, old: Server, new: Server, archive: Path
) -> None:
    exported = waystation("export", archive, *old.source, "--debug")
    imported = waystation("import", archive, *new.target, "--debug")

    assert "C: " in exported.err
    assert "EXAMINE" in exported.err
    assert "APPEND" in imported.err
    assert "struck out" in exported.err
    assert OLD_PASSWORD not in exported.err
    assert NEW_PASSWORD not in imported.err
    assert "This is number" not in exported.err + imported.err


def test_no_file_of_an_archive_holds_a_password(
    waystation: CommandLine, old: Server, new: Server, exported: Path
) -> None:
    waystation("import", exported, *new.target)
    waystation("verify", exported, "--target", *new.secret)

    content = b"".join(tree(exported).values())

    assert OLD_PASSWORD.encode() not in content
    assert NEW_PASSWORD.encode() not in content


def test_no_process_shows_the_password_in_its_arguments(
    old: Server, archive: Path, processes: ExitStack
) -> None:
    process = start(processes, "export", archive, *old.source)
    out, err = process.communicate(timeout=30)

    assert process.returncode == 0
    assert OLD_PASSWORD not in out + err + " ".join(map(str, process.args))  # type: ignore[arg-type]
