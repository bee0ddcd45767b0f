"""Over how many connections an import sends, by the options and by the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import letter
from waystation.address import parse_account
from waystation.cli.house import USUAL
from waystation.cli.importer import How
from waystation.selection import EVERYTHING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine, Server


def how(connections: int | None, *, rate: float = 0, pipelined: bool = True) -> How:
    rules = USUAL.rules(None)
    return How({}, EVERYTHING, USUAL, rules, rate, pipelined=pipelined, connections=connections)


@pytest.mark.parametrize(
    ("asked", "server", "most"),
    [
        (how(None), "imaps://bob@example.net", 3),
        (how(None), "gmail:bob@gmail.com", 2),
        (how(None, rate=5), "imaps://bob@example.net", 1),
        (how(None, pipelined=False), "imaps://bob@example.net", 1),
        (how(7), "gmail:bob@gmail.com", 7),
        (how(2, rate=5), "imaps://bob@example.net", 2),
    ],
)
def test_as_many_as_are_asked_for_or_as_the_target_bears(
    asked: How, server: str, most: int
) -> None:
    assert asked.most_connections(parse_account(server), is_exchange=False) == most


def test_office_365_gets_one() -> None:
    account = parse_account("office365:bob@example.org")
    assert how(None).most_connections(account, is_exchange=True) == 1


def test_an_import_takes_up_the_connections_that_it_is_told(
    waystation: CommandLine, old: Server, new: Server, archive: Path
) -> None:
    for number in range(10, 700):
        folders = ("INBOX", "Gesendet", "Projects/2024")
        old.mailbox.folder(folders[number % 3]).append(letter(number))
    assert waystation("export", archive, *old.source).code == 0

    def wait_for_two(body: bytes) -> bytes | None:
        while new.fake.connections < 2:
            new.fake.stopping.wait(0.01)
        return None

    new.script.append.refuse = wait_for_two
    done = waystation("import", archive, *new.target, "--connections", "2", "--json")
    again = waystation("import", archive, *new.secret, "--json")

    assert (done.code, done.summary["appended"]) == (0, 697)
    assert (again.code, again.summary["appended"]) == (0, 0)
    assert new.fake.connections == 3
    assert sum(len(folder.bodies) for folder in new.mailbox.folders) == 697
    assert waystation("verify", archive, "--target", *new.secret).code == 0


@pytest.mark.parametrize("number", ["0", "21", "many"])
def test_a_number_that_makes_no_sense_is_named(
    waystation: CommandLine, archive: Path, number: str
) -> None:
    done = waystation("import", archive, "--connections", number)

    assert done.code == 2
    assert "--connections" in done.err
