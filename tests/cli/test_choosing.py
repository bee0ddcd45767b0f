"""Taking a part, by the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine, Server


def test_an_export_of_a_part_says_what_it_left_out_and_why(
    waystation: CommandLine, old: Server, archive: Path
) -> None:
    part = ("--exclude", "@sent", "--max-size", "1M", "--not-flag", "flagged")
    exported = waystation("export", archive, *old.source, *part)
    status = waystation("status", archive, "--json")
    rows = waystation("ledger", archive, "--state", "skipped", "--json").of_type("message")

    assert exported.code == 0
    assert "3 left out. 'waystation ledger --state skipped' says why" in exported.err + exported.out
    assert (status.summary["archived"], status.summary["skipped"]) == (4, 3)
    assert status.summary["adds_up"]
    assert {row["reason"] for row in rows} == {
        "in a folder left out by --exclude @sent",
        "with flagged (--not-flag)",
    }
    assert all(row["size"] and row["internaldate"] and not row["path"] for row in rows)
    assert waystation("verify", archive, "--source", *old.secret).code == 0

    whole = waystation("export", archive, *old.secret, "--json").summary
    assert (whole["new"], whole["skipped"]) == (3, 0)


def test_an_import_of_a_part_is_planned_done_and_verified(
    waystation: CommandLine, exported: Path, new: Server
) -> None:
    part = ("--folder", "INBOX", "--folder", "@sent", "--json")
    plan = waystation("plan", exported, *new.target, *part)
    sent = waystation("import", exported, *new.target, *part)
    verified = waystation("verify", exported, "--target", *new.secret, *part)
    status = waystation("status", exported, "--json").summary

    assert (plan.summary["messages"], plan.summary["excluded"]) == (6, 1)
    assert [(row["fate"], row["what"]) for row in plan.of_type("message")] == [
        ("excluded", "excluded: in a folder not named by --folder INBOX, @sent")
    ]
    assert plan.summary["folders_to_create"] == 0
    assert (sent.code, sent.summary["appended"], sent.summary["excluded"]) == (0, 6, 1)
    assert verified.code == 0
    assert status["targets"][new.name] == {"verified": 6, "set_aside": 1}
    assert waystation("import", exported, *new.secret, "--json").summary["appended"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--since", "yesterday"), "'yesterday' is no date. Write it as in 2024-05-01."),
        (("--before", "20240501"), "'20240501' is no date"),
        (("--max-size", "big"), "'big' is no size"),
        (("--exclude", "@bin"), "'@bin' is no special use"),
        (("--since", "2024-05-02", "--before", "2024-05-02"), "nothing was received from"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(
    waystation: CommandLine, old: Server, archive: Path, options: tuple[str, ...], words: str
) -> None:
    result = waystation("export", archive, *old.source, *options)

    assert result.code == 2
    assert words in result.one_error
    assert not archive.exists()


def test_an_export_that_has_used_up_its_budget_says_so_and_goes_on_later(
    waystation: CommandLine, old: Server, archive: Path
) -> None:
    first = waystation("export", archive, *old.source, "--budget", "1")
    again = waystation("export", archive, *old.secret, "--budget", "1", "--json")
    whole = waystation("export", archive, *old.secret, "--budget", "none", "--json")

    assert first.code == again.code == 3
    assert "run the same command again tomorrow" in first.err + first.out
    assert (again.summary["outcome"], again.summary["out_of_budget"]) == ("incomplete", True)
    assert (again.summary["new"], again.summary["fetched"]) == (0, 0)
    assert (whole.code, whole.summary["out_of_budget"]) == (0, False)
    assert waystation("status", archive, "--json").summary["archived"] == 7
