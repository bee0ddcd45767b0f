"""Mailboxes changed at random on both sides: each message ends in the line that it has to."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from store.standing import Standing
from tests.cli.conftest import letter

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine, Server
    from tests.fakes.mailbox import FakeFolder

FOLDERS = ("INBOX", "Projects/2024", "Gesendet")
DEEP = ("--deep", "--json", "--all")


def gravest(causes: set[Standing]) -> Standing:
    return min(causes, key=list(Standing).index, default=Standing.EQUAL)


def change_source(folder: FakeFolder, uid: int, cause: Standing) -> None:
    if cause is Standing.VANISHED:
        folder.expunge(uid)
    elif cause is Standing.FLAGS:
        folder.set_flags(uid, ["\\Deleted"])
    elif cause is Standing.HEADER:
        message = folder.message(uid)
        message.body = message.body.replace(b"Subject: h", b"Subject: H")
    elif cause is Standing.CONTENT:
        message = folder.message(uid)
        message.body = message.body.replace(b"number", b"NUMBER")
    elif cause is Standing.DATE:
        folder.message(uid).internaldate += timedelta(hours=3)


def change_target(folder: FakeFolder, uid: int, cause: Standing) -> None:
    if cause is Standing.MISSING:
        folder.expunge(uid)
    elif cause is Standing.HEADER:
        message = folder.message(uid)
        message.body = message.body.replace(b"Subject: hello", b"Subject: adieu")
    else:
        change_source(folder, uid, cause)


AT_SOURCE = (Standing.VANISHED, Standing.FLAGS, Standing.HEADER, Standing.CONTENT, Standing.DATE)
AT_TARGET = (Standing.MISSING, Standing.FLAGS, Standing.HEADER, Standing.CONTENT, Standing.DATE)
HIDES = (Standing.VANISHED, Standing.MISSING)
"""What is not there differs in nothing else."""


@pytest.mark.parametrize("seed", range(4))
def test_each_message_ends_in_the_line_of_its_gravest_difference(
    waystation: CommandLine, archive: Path, old: Server, new: Server, seed: int
) -> None:
    chance = random.Random(seed)
    for number in range(100, 140):
        old.mailbox.folder(chance.choice(FOLDERS)).append(letter(number), ["\\Seen"])
    waystation("export", archive, *old.source)
    assert waystation("import", archive, *new.target).code == 0
    expected: dict[tuple[str, int], Standing] = {}
    for row in waystation("ledger", archive).lines:
        there = row["targets"][new.name]
        causes: set[Standing] = set()
        for server, folder, uid, kinds, change in (
            (old, row["folder"], row["uid"], AT_SOURCE, change_source),
            (new, there["folder"], there["uid"], AT_TARGET, change_target),
        ):
            chosen = chance.sample(kinds, chance.choice((0, 0, 1, 2)))
            chosen = [kind for kind in chosen if kind in HIDES] or chosen
            # A header that differs is told, and the content behind it is not looked at.
            if Standing.HEADER in chosen:
                chosen = [kind for kind in chosen if kind is not Standing.CONTENT]
            for kind in chosen:
                change(server.mailbox.folder(folder), uid, kind)
            causes.update(chosen)
        expected[row["folder"], row["uid"]] = gravest(causes)
    for number in range(140, 140 + chance.randrange(6)):
        folder = old.mailbox.folder(chance.choice(FOLDERS))
        expected[folder.name, folder.append(letter(number)).uid] = Standing.SOURCE_ONLY

    secret = ("--from-password-env", "OLD_PASSWORD", "--to-password-env", "NEW_PASSWORD")
    proof = waystation("verify", archive, *secret, *new.secret[2:], *DEEP)

    found = {(row["folder"], row["uid"]): row["cause"] for row in proof.of_type("message")}
    assert found == {place: standing.value for place, standing in expected.items()}
    assert proof.summary["table"] == Counter(found.values())
    assert proof.summary["adds_up"]
    assert len(set(found.values())) >= 6
