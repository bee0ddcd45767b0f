"""What a person can get wrong on the command line, and what it costs to ask for help."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine, Server


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("imaps://a@b.example:0", "no port number"),
        ("imaps://a@b.example:65536", "no port number"),
        ("imaps://a@b.example:99999", "no port number"),
        ("imaps://a@b.example:x", "names no server"),
        ("ftp://a@b.example", "no protocol for mail"),
        ("smtp://a@b.example", "no protocol for mail"),
        ("a@b.example", "nothing says where the mail of b.example is"),
        ("imaps://b.example", "names no server"),
        ("", "names no server"),
        ("imaps://a\x1b[2J@b.example", "control characters"),
    ],
)
def test_a_server_that_is_named_wrongly(
    waystation: CommandLine, archive: Path, server: str, words: str
) -> None:
    result = waystation("export", archive, "--from", server)

    assert result.code == 2
    assert words in result.one_error
    assert not archive.exists()


def test_pop3_is_no_target_and_shares_no_archive_unasked(
    waystation: CommandLine, exported: Path
) -> None:
    server = "pop3s://a@b.example"

    refused = waystation("import", exported, "--to", server)
    another = waystation("export", exported, "--from", server, "--new-source")
    written = waystation("doctor", server, "--write")
    preset = waystation("import", exported, "--to", "gmail+pop3:a@gmail.com")

    assert (refused.code, another.code, written.code, preset.code) == (2, 1, 2, 2)
    assert "POP3 takes no messages" in refused.one_error
    assert "POP3 takes no messages" in preset.one_error
    assert "--mix-protocols" in another.one_error
    assert "leave --write out" in written.one_error


def test_a_new_archive_needs_a_source(waystation: CommandLine, archive: Path) -> None:
    result = waystation("export", archive)

    assert result.code == 2
    assert "--from SERVER" in result.one_error


def test_a_first_import_needs_a_target(waystation: CommandLine, exported: Path) -> None:
    result = waystation("import", exported)

    assert result.code == 2
    assert "--to SERVER" in result.one_error


def test_with_several_targets_one_has_to_be_named(
    waystation: CommandLine, new: Server, old: Server, exported: Path
) -> None:
    waystation("import", exported, *new.target)
    waystation("import", exported, *old.target)

    result = waystation("import", exported, *new.secret)

    assert result.code == 2
    assert new.name in result.one_error
    assert old.name in result.one_error


def test_what_was_never_imported_cannot_be_verified(
    waystation: CommandLine, new: Server, exported: Path
) -> None:
    result = waystation("verify", exported, "--target", *new.target)

    assert result.code == 2
    assert "waystation import" in result.one_error


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "ARCHIVE", "--source", "--to", "imaps://a@b.example"),
        ("ledger", "ARCHIVE", "--state", "lost"),
        ("ledger", "ARCHIVE", "--format", "xml"),
        ("import", "ARCHIVE", "--rate", "nan"),
        ("import", "ARCHIVE", "--rate", "-1"),
        ("export", "ARCHIVE", "--timeout", "0"),
        ("export", "ARCHIVE", "--timeout", "nan"),
        ("export",),
        ("status", "ARCHIVE", "another"),
        ("exprt", "ARCHIVE"),
    ],
    ids=" ".join,
)
def test_a_command_that_makes_no_sense(
    waystation: CommandLine, exported: Path, words: tuple[str, ...]
) -> None:
    words = tuple(str(exported) if word == "ARCHIVE" else word for word in words)

    told = waystation(*words)
    as_json = waystation(*words, "--json")

    assert told.code == as_json.code == 2
    assert told.one_error
    assert told.out == ""
    assert as_json.one_error
    assert [line["type"] for line in as_json.lines] == ["error", "summary"]
    assert (as_json.summary["outcome"], as_json.summary["exit_code"]) == ("failed", 2)


def test_every_problem_of_a_folder_map_is_told_at_once(
    waystation: CommandLine, exported: Path, tmp_path: Path
) -> None:
    file = tmp_path / "folders.csv"
    file.write_text("source,target\nINBOX\nA,B\nA,C\nD,E,F\nG,x//y\n# a remark\n\n")

    result = waystation("plan", exported, "--offline", "--folder-map", file)

    assert result.code == 2
    for words in ("line 2 is not", "line 4 names A again", "line 5 is not", "line 6 gives"):
        assert words in result.one_error


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b'a,"b\nc'])
def test_a_folder_map_that_cannot_be_read(
    waystation: CommandLine, exported: Path, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "folders.csv"
    if content is not None:
        file.write_bytes(content)

    result = waystation("plan", exported, "--offline", "--folder-map", file)

    assert result.code == 2
    assert "folders.csv cannot be read" in result.one_error


def test_help_and_version_load_nothing_heavy() -> None:
    heavy = {"imapclient", "sqlite_utils", "sqlite3", "ssl", "keyring", "rich"}
    script = (
        "import sys; from waystation import cli\n"
        "codes = [cli.run(['--version']), cli.run(['--help']), cli.run(['export', '--help'])]\n"
        f"sys.exit(0 if codes == [0, 0, 0] and not {heavy!r} & sys.modules.keys() else 1)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_status_loads_nothing_that_only_others_need(exported: Path) -> None:
    heavy = {"imapclient", "sqlite_utils", "ssl", "keyring", "requests", "msal", "authlib"}
    script = (
        "import sys; from waystation import cli\n"
        f"code = cli.run(['status', {str(exported)!r}, '--json'])\n"
        f"sys.exit(code or ' '.join({heavy!r} & sys.modules.keys()) or 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_list_of_commands_loads_none_of_them() -> None:
    script = (
        "import sys; from waystation import cli\n"
        "before = set(sys.modules); code = cli.run(['--help'])\n"
        "loaded = {name for name in set(sys.modules) - before if name.startswith('waystation')}\n"
        "sys.exit(f'{code} {loaded}' if code or loaded else 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "  login      Sign in by OAuth" in done.stdout


def test_a_command_that_is_mistyped_is_guessed(waystation: CommandLine) -> None:
    result = waystation("exprt", "archive")

    assert result.code == 2
    assert "No such command 'exprt'. Did you mean 'export'" in result.one_error


def test_without_a_word_the_help_is_shown(waystation: CommandLine) -> None:
    result = waystation()

    assert result.code == 2
    assert "Usage: waystation" in result.err


def test_the_shell_completes_commands_and_states() -> None:
    def complete(line: str) -> list[str]:
        words = line.split(" ")
        done = subprocess.run(
            [sys.executable, "-m", "waystation"],
            env={
                "_WAYSTATION_COMPLETE": "complete_bash",
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(words) - 1),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert complete("waystation ver") == ["verify"]
    assert complete("waystation ledger A --state already") == ["already_there"]
