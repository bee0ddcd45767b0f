"""The documents say what the program does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from waystation.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import CommandLine, Server

ROOT = Path(__file__).resolve().parents[2]


def leaves(command: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        if hasattr(inner, "commands"):
            yield from leaves(inner, f"{before}{name} ")
        else:
            yield f"{before}{name}", inner


COMMANDS: dict[str, Any] = dict(leaves(typer.main.get_command(app)))


def options() -> Iterator[tuple[str, str]]:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("-"):
                    yield name, option


def test_the_commands_are_those_of_this_version() -> None:
    assert list(COMMANDS) == [
        *("export", "check", "seal", "diff", "plan", "import", "verify", "rollback", "status"),
        *("ledger", "report", "search", "show", "browse", "extract"),
        *("folders", "doctor", "login", "logout", "providers"),
        *("batch export", "batch import", "batch check", "batch plan", "batch verify"),
        *("batch status", "batch report", "batch template", "batch powershell"),
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_chapter(command: str) -> None:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")

    first = COMMANDS[command].params[0].metavar
    assert f"\n## waystation {command} {first}" in text


@pytest.mark.parametrize(("command", "option"), sorted(set(options())))
def test_every_option_is_documented_where_its_command_is(command: str, option: str) -> None:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    common, *chapters = re.split(r"\n## waystation ", text)
    chapter = next(chapter for chapter in chapters if chapter.startswith(f"{command} "))

    assert re.search(rf"`{option}\b", common + chapter.partition("\n## ")[0])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_shows_two_examples(waystation: CommandLine, command: str) -> None:
    shown = waystation(*command.split(), "--help")

    assert shown.code == 0
    assert "Examples:" in shown.out
    assert shown.out.count(f"\n    waystation {command} ") == 2
    assert max(len(line) for line in shown.out.splitlines()) <= 100


def test_every_key_of_a_summary_is_documented(
    waystation: CommandLine, exported: Path, old: Server
) -> None:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")

    shown = [
        waystation("check", exported, "--json"),
        waystation("seal", exported, "--json"),
        waystation("diff", exported, "--json"),
        waystation("diff", exported, 1, "--json"),
        waystation("status", exported, "--json"),
        waystation("ledger", exported, "--json"),
        waystation("show", exported, "1", "--json"),
        waystation("search", exported, "number", "--json"),
        waystation("extract", exported, exported / ".." / "out", "--format", "eml", "--json"),
        waystation("plan", exported, "--to", "imaps://a@b.example", "--offline", "--json"),
        waystation("doctor", old.name, *old.secret, "--json"),
        waystation("verify", exported, *old.secret, "--all", "--json"),
    ]

    keys = {key for result in shown for line in result.lines for key in line}
    assert {key for key in keys if f"`{key}`" not in text} <= {"command", "outcome", "exit_code"}


def test_the_readme_begins_with_the_demo_and_the_tests() -> None:
    text = (ROOT / "README.md").read_text("utf-8")

    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    commands = [line.partition("#")[0].strip() for line in blocks[0].splitlines()]
    assert commands == ["scripts/demo", "scripts/test"]
    assert all((ROOT / command).stat().st_mode & 0o111 for command in commands)


def test_the_readme_names_only_what_is_there(waystation: CommandLine) -> None:
    text = (ROOT / "README.md").read_text("utf-8")

    for command in re.findall(r"^waystation (\S+)", text, re.MULTILINE):
        assert command in {name.split()[0] for name in COMMANDS}
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / link).is_file()


def test_the_guide_to_office_365_names_only_options_that_there_are() -> None:
    text = (ROOT / "docs" / "office365.md").read_text("utf-8")

    known = {option for _, option in options()}
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    used = {option for block in blocks for option in re.findall(r"(?<![\w-])--[a-z-]+", block)}
    assert used <= known
    assert {"--client-secret-env", "--client-certificate", "--device-code", "--write"} <= used


def test_the_guide_to_office_365_has_each_command_that_a_refusal_names() -> None:
    text = (ROOT / "docs" / "office365.md").read_text("utf-8")

    for command in ("New-ServicePrincipal", "Add-MailboxPermission", "Set-CASMailbox"):
        assert command in text


def test_the_cookbook_names_only_commands_and_options_that_there_are() -> None:
    text = (ROOT / "docs" / "cookbook.md").read_text("utf-8")

    for command, rest in re.findall(r"^(?:.*&& )?waystation (\w+)(.*)", text, re.MULTILINE):
        if command in COMMANDS:
            known = {option for name, option in options() if name == command}
            assert set(re.findall(r"(?<![\w-])--[a-z-]+", re.split("[#|&]", rest)[0])) <= known
    commands = re.findall(r"^(?:.*&& )?waystation (\w+)", text, re.MULTILINE)
    assert {"search", "extract", "check"} <= set(commands)
