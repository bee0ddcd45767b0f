"""What two verifications found, compared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from store.findings import KEPT
from tests.cli.conftest import letter

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine, Server

BOTH = ("--from-password-env", "OLD_PASSWORD", "--to-password-env", "NEW_PASSWORD")


@pytest.fixture
def moved(waystation: CommandLine, new: Server, exported: Path) -> Path:
    """An archive that was imported into the new mailbox."""
    assert waystation("import", exported, *new.target).code == 0
    return exported


@pytest.fixture
def both(new: Server) -> tuple[str, ...]:
    """The options that open both mailboxes."""
    return (*BOTH, *new.secret[2:])


def newest(archive: Path) -> int:
    """The number of the newest record."""
    lines = (archive / "journal.jsonl").read_text("utf-8").splitlines()
    return int(json.loads(lines[-1])["number"])


def test_two_verifications_tell_which_findings_came_went_and_changed(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], old: Server, new: Server
) -> None:
    there, inbox = new.mailbox.folder("INBOX"), old.mailbox.folder("INBOX")
    lies_at = {
        (row["folder"], row["uid"]): row["targets"][new.name]["uid"]
        for row in waystation("ledger", moved).lines
    }
    there.set_flags(lies_at["INBOX", 1], {"\\Flagged"})
    there.set_flags(lies_at["INBOX", 3], {"\\Draft"})
    mended = inbox.append(letter(20)).uid
    assert waystation("verify", moved, *both).code == 13
    first = newest(moved)
    inbox.expunge(mended)
    there.set_flags(lies_at["INBOX", 3], {"\\Answered"})
    new.mailbox.folder("Projects/2024").expunge(1)
    assert waystation("verify", moved, *both).code == 13

    told = waystation("diff", moved, first, "--json")
    shown = waystation("diff", moved, first)

    found = {(row["folder"], row["uid"]): row for row in told.of_type("finding")}
    came, went = found["Projects/2024", 1], found["INBOX", mended]
    changed = found["INBOX", 3]
    assert len(found) == 3
    assert (came["what"], came["before"]) == ("came", None)
    assert (came["after"]["cause"], came["after"]["side"]) == ("missing", "target")
    assert (went["what"], went["before"]["cause"], went["after"]) == ("went", "source_only", None)
    assert changed["what"] == "changed"
    assert {changed[when]["cause"] for when in ("before", "after")} == {"flags"}
    assert changed["before"]["text"] != changed["after"]["text"]
    assert told.summary["findings"] == {"came": 1, "went": 1, "changed": 1, "same": 1}
    assert told.summary["findings_not_compared"] is None
    assert "finding came: Projects/2024 UID 1: not in the target any more" in shown.out
    assert f"finding went: INBOX UID {mended}: " in shown.out
    assert "finding changed: INBOX UID 3: " in shown.out
    assert "Findings of the verifications: 1 came, 1 changed, 1 went." in shown.err


def test_findings_are_compared_only_where_both_runs_looked_at_the_same(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], old: Server
) -> None:
    waystation("verify", moved, "--source", *old.secret)
    one_side = newest(moved)
    waystation("verify", moved, *both)
    waystation("verify", moved, *both, "--exclude", "Gesendet")
    waystation("verify", moved, *both, "--deep")

    sides = waystation("diff", moved, one_side, one_side + 1, "--json").summary
    parts = waystation("diff", moved, one_side + 1, one_side + 2, "--json").summary
    deep = waystation("diff", moved, one_side + 1, one_side + 3)
    no_verification = waystation("diff", moved, 1, one_side, "--json").summary

    reason = f"only record {one_side + 1} looked at the target"
    assert (sides["findings"], sides["findings_not_compared"]) == (None, reason)
    assert parts["findings_not_compared"] == "they looked at other parts of the mailbox"
    assert f"Only record {one_side + 3} compared contents" in deep.err
    assert no_verification["findings"] is no_verification["findings_not_compared"] is None


def test_findings_that_are_gone_are_said_to_be_gone(
    waystation: CommandLine, moved: Path, old: Server
) -> None:
    source = ("verify", moved, "--source", *old.secret, "--quiet")
    waystation(*source)
    first = newest(moved)
    for _ in range(KEPT - 1):
        waystation(*source)
    last = newest(moved)
    kept = waystation("diff", moved, first, last, "--json").summary
    waystation(*source)

    gone = waystation("diff", moved, first, "--json").summary

    assert kept["findings"] == {"came": 0, "went": 0, "changed": 0, "same": 0}
    assert gone["findings"] is None
    assert gone["findings_not_compared"] == (
        f"those of record {first} are gone, only the last {KEPT} are kept"
    )
