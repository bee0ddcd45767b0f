"""Searching and extracting, as a person types it."""

from __future__ import annotations

import json
import mailbox
import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest

from store.lock import Lock
from tests.cli.conftest import CommandLine, start, tree

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path


def test_a_search_shows_a_table(waystation: CommandLine, exported: Path) -> None:
    shown = waystation("search", exported, "number", "folder:@sent")

    assert shown.code == 0
    assert shown.out.splitlines()[0].split() == ["id", "received", "from", "subject", "folder"]
    assert [line.split()[-1] for line in shown.out.splitlines()[1:]] == ["Gesendet", "Gesendet"]
    assert "search index: 7 messages taken in" in shown.err
    assert shown.err.endswith("2 messages\n")


def test_a_program_gets_one_line_for_each_hit(waystation: CommandLine, exported: Path) -> None:
    shown = waystation("search", exported, '"number 6"', "--json")

    (hit,) = shown.of_type("hit")
    assert hit["subject"] == "hello 6"
    assert hit["from"] == "ada@example.org"
    assert hit["flags"] == ["\\Flagged"]
    assert hit["snippet"] == "This is number 6."
    assert (exported / hit["path"]).read_bytes().endswith(b"This is number 6.\r\n")
    assert shown.summary["hits"] == 1


def test_a_minus_is_a_part_of_the_query_and_options_stay_options(
    waystation: CommandLine, exported: Path
) -> None:
    shown = waystation("search", exported, "hello", "-folder:INBOX", "-quarterly", "-q", "--json")

    assert shown.summary["hits"] == 3
    assert waystation("search", exported, "-nothing").code == 0
    assert waystation("search", exported, "x", "--nothing").code == 2


def test_a_limit_tells_how_many_more_there_are(waystation: CommandLine, exported: Path) -> None:
    few = waystation("search", exported, "hello", "--limit", "2", "--json").summary
    people = waystation("search", exported, "hello", "--limit", "2")

    assert (few["hits"], few["more"]) == (2, 5)
    assert "2 shown; 5 more (--limit 0 shows all)" in people.err
    assert "nothing matches" in waystation("search", exported, "absent").err


def test_the_best_match_may_come_first(waystation: CommandLine, exported: Path) -> None:
    shown = waystation("search", exported, "hello", "--sort", "relevance", "--json")

    assert shown.summary["hits"] == 7


def test_a_wrong_query_is_pointed_at(waystation: CommandLine, exported: Path) -> None:
    shown = waystation("search", exported, "hello", "form:ada")

    assert shown.code == 2
    query, mark, error = shown.err.splitlines()
    assert query == "  hello form:ada"
    assert mark.index("^") == query.index("form")
    assert "did you mean from:?" in error
    told = waystation("search", exported, "hello", "form:ada", "--json")
    assert told.of_type("error")[0]["text"].startswith("the query makes no sense at character 7")


def test_a_hostile_query_forges_nothing(waystation: CommandLine, exported: Path) -> None:
    shown = waystation("search", exported, "\x1b[31m\nx:y")

    assert shown.code == 2
    assert "\x1b" not in shown.err
    assert len(shown.err.splitlines()) == 3


def test_a_folder_that_is_not_there_is_told(waystation: CommandLine, exported: Path) -> None:
    shown = waystation("search", exported, "folder:Sentt")

    assert "folder:Sentt names no folder" in shown.err


def test_the_search_index_can_be_thrown_away_and_built_anew(
    waystation: CommandLine, exported: Path
) -> None:
    waystation("search", exported, "hello")
    (exported / "search.sqlite").write_bytes(b"")

    anew = waystation("search", exported, "hello", "--json")
    again = waystation("search", exported, "hello", "--rebuild", "--json")

    assert anew.summary["hits"] == again.summary["hits"] == 7


def test_a_search_beside_a_build_says_what_it_cannot_find_yet(
    waystation: CommandLine, exported: Path
) -> None:
    other = Lock(exported / "search.lock")
    other.take("search")
    shown = waystation("search", exported, "hello", "--json")
    other.release()

    assert shown.code == 1
    assert "its search index is not built" in shown.err
    waystation("search", exported, "hello")
    with sqlite3.connect(exported / "search.sqlite") as words:
        words.execute("DELETE FROM places WHERE message_id > 4")
        words.execute("DELETE FROM facts WHERE name = 'stamp'")
    words.close()
    other.take("search")
    partly = waystation("search", exported, "hello", "--json")
    other.release()
    assert partly.summary | {"hits": 4, "not_indexed": 3, "outcome": "incomplete"} == partly.summary
    assert waystation("search", exported, "hello", "--json").summary["hits"] == 7


def test_check_and_export_do_not_mind_a_search_index(
    waystation: CommandLine, exported: Path
) -> None:
    waystation("search", exported, "hello")

    assert waystation("check", exported).code == 0
    assert waystation("check", exported, "--rebuild").code == 0
    assert waystation("search", exported, "hello", "--json").summary["hits"] == 7


@pytest.mark.parametrize("form", ["mbox", "eml", "maildir"])
def test_messages_are_extracted(
    waystation: CommandLine, exported: Path, tmp_path: Path, form: str
) -> None:
    before = tree(exported)

    first = waystation("extract", exported, tmp_path / "out", "--format", form, "--json")
    again = waystation("extract", exported, tmp_path / "out", "--format", form)

    assert first.code == again.code == 0
    assert first.summary["messages"] == 7
    assert first.summary["folders"] == 3
    assert again.err.endswith("0 messages of 0 B written, 7 were there already\n")
    assert tree(exported) == before


def test_a_query_chooses_what_is_extracted(
    waystation: CommandLine, exported: Path, tmp_path: Path
) -> None:
    words = ("number", "-folder:INBOX", "is:read")
    shown = waystation("extract", exported, tmp_path / "out", "--format", "mbox", *words)

    assert "2 messages" in shown.err
    box = mailbox.mbox(tmp_path / "out" / "Gesendet.mbox", create=False)
    assert [message["Subject"] for message in box] == ["hello 4", "hello 5"]
    box.close()


def test_a_damaged_message_is_not_extracted(
    waystation: CommandLine, exported: Path, tmp_path: Path
) -> None:
    next(exported.glob("maildir/INBOX/cur/*")).write_bytes(b"x")

    shown = waystation("extract", exported, tmp_path / "out", "--format", "eml", "--json")

    assert shown.code == 3
    assert shown.summary | {"messages": 6, "failed": 1, "outcome": "incomplete"} == shown.summary
    assert "damaged" in shown.of_type("problem")[0]["text"]


def test_extract_has_to_be_told_the_format_and_a_place(
    waystation: CommandLine, exported: Path, tmp_path: Path
) -> None:
    assert waystation("extract", exported, tmp_path / "out").code == 2
    assert waystation("extract", exported, exported, "--format", "eml").code == 2
    assert waystation("extract", exported, tmp_path, "--format", "eml").code == 2
    assert waystation("search", tmp_path, "x").code == 10


def test_a_search_that_is_killed_while_it_builds_goes_on(
    waystation: CommandLine, exported: Path, processes: ExitStack
) -> None:
    process = start(processes, "search", exported, "hello", "--json")
    process.send_signal(signal.SIGKILL)
    process.wait()

    shown = waystation("search", exported, "hello", "--json")

    assert shown.code == 0
    assert shown.summary["hits"] == 7
    assert json.dumps(shown.summary)
