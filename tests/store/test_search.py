"""Looking for messages in an archive."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import fulltext, search
from store.archive import Archive
from store.lock import Lock
from store.query import QueryError, parse
from store.rebuild import rebuild
from store.search import NoWordsError, around
from store.transfers import Transfer, TransferState
from tests.store.filling import NOON, add, create, put, remote
from tests.store.test_query import PIECES
from waystation.errors import StorageError
from waystation.model import SpecialUse
from waystation.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

    from store.search import Order

NOW = datetime(2024, 6, 1, tzinfo=UTC)
SILENT = Silent()

PLAIN = """\
From: Ada Lovelace <ada@example.org>
To: Bob <bob@example.com>
Cc: carol@example.net
Subject: =?utf-8?q?Caf=C3=A9_invoice?=
Message-ID: <one@example.org>
Content-Type: text/plain; charset=utf-8

The analytical engine weaves algebraical patterns.
"""
MIXED = """\
From: bob@example.com
To: ada@example.org
Subject: Report
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/html; charset=utf-8

<html><head><title>hiddentitle</title><style>p {color: hiddenstyle}</style></head>
<body><p>Dear&nbsp;Ada,</p><p>see the <b>quart</b>erly fig&uuml;res</p><script>hiddenscript</script>
--b
Content-Type: application/pdf
Content-Disposition: attachment; filename="quarter 3.pdf"
Content-Transfer-Encoding: base64

aGlkZGVuIGRhdGE=
--b--
"""
JAPANESE = """\
From: yuki@example.jp
Subject: =?utf-8?b?6KuL5rGC5pu444Gr44Gk44GE44Gm?=
Content-Type: text/plain; charset=utf-8

請求書を送りました。
"""


def letter(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def days(number: int) -> datetime:
    return NOON + timedelta(days=number)


def sample(path: Path) -> Archive:
    """One mailbox: ids 1 to 5 in INBOX, 6 and 7 in Sent."""
    archive = create(path)
    inbox = archive.ensure_folder(("INBOX",), SpecialUse.INBOX)
    sent = archive.ensure_folder(("Sent Items",), SpecialUse.SENT)
    add(archive, inbox, remote(1, ("\\Seen",), internaldate=days(0)), letter(PLAIN))
    add(archive, inbox, remote(2, ("\\Flagged",), internaldate=days(1)), letter(MIXED))
    add(archive, inbox, remote(3, (), ("$Forwarded",), days(-30)), letter(JAPANESE))
    add(archive, inbox, remote(4, internaldate=None), b"Subject: undated\r\n\r\nengine\r\n")
    add(archive, inbox, remote(5, internaldate=days(2)), b"")
    add(archive, sent, remote(1, ("\\Seen",), internaldate=days(0)), letter(PLAIN))
    add(archive, sent, remote(2, ("\\Draft",), internaldate=days(3)), letter("x: y\n\nengines\n"))
    return archive


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search") / "archive"
    with sample(path) as archive:
        archive.index.add_failed(1, 1, 8, "NO such thing")
        target = archive.transfers.target("imaps://new@example.net", "new@example.net:993")
        refused = Transfer(1, target.id, TransferState.REFUSED, "INBOX", reply="NO")
        archive.transfers.record([], [refused])
        fulltext.update(archive, SILENT)
    return path


def found(path: Path, query: str, order: Order = "newest") -> list[int]:
    with Archive.read(path) as archive, search.opened(archive) as asked:
        return [hit.message.id for hit in asked.hits(parse(query, NOW), order=order)]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [7, 5, 2, 6, 1, 3, 4]),
        ("engine", [6, 1, 4]),
        ("engine*", [7, 6, 1, 4]),
        ("ENGINE analytical", [6, 1]),
        ('"analytical engine"', [6, 1]),
        ('"engine analytical"', []),
        ("cafe", [6, 1]),
        ("café -folder:@sent", [1]),
        ("engine -analytical", [4]),
        ("-engine", [7, 5, 2, 3]),
        ("(engines OR quarterly)", [7, 2]),
        ("engines OR is:flagged", [7, 2]),
        ("from:ada", [6, 1]),
        ("from:ada@example.org", [6, 1]),
        ("from:bob", [2]),
        ("to:bob", [6, 1]),
        ("to:carol", [6, 1]),
        ("-from:ada engine", [4]),
        ("subject:report", [2]),
        ("body:report", []),
        ("figüres", [2]),
        ('"dear ada"', [2]),
        ("hiddentitle OR hiddenstyle OR hiddenscript OR hidden", []),
        ("filename:pdf", [2]),
        ("filename:*.pdf", [2]),
        ('"quarter 3"', [2]),
        ("has:attachment", [2]),
        ("-has:attachment engine", [6, 1, 4]),
        ("請求書", [3]),
        ("求書", [3]),
        ("書求", []),
        ("is:unread", [7, 5, 2, 3, 4]),
        ("is:read", [6, 1]),
        ("is:flagged", [2]),
        ("is:draft", [7]),
        ("keyword:$forwarded", [3]),
        ("folder:INBOX", [5, 2, 1, 3, 4]),
        ("folder:inbox", [5, 2, 1, 3, 4]),
        ("folder:Sent*", [7, 6]),
        ("folder:@sent engine", [6]),
        ("before:2024-05-01", [3]),
        ("after:2024-05-02", [7, 5, 2]),
        ("on:2024-05-01", [6, 1]),
        ("engine on:2024-05-01", [6, 1]),
        ("engine before:2024-05-04 after:2024-05-01", [6, 1]),
        ("on:2024-05-01 OR quarterly", [2, 6, 1]),
        ("-after:2024", [4]),
        ("after:30d", [7, 5, 2]),
        ("larger:400", [2]),
        ("smaller:10", [5]),
        ("id:2", [2]),
        ("id:<one@example.org>", [6, 1]),
        ("message-id:one@example.org", [6, 1]),
        ("state:refused", [1]),
        ("state:pending", [7, 5, 2, 6, 3, 4]),
        ("state:failed", [8]),
        ("state:failed OR engine", [6, 1, 8, 4]),
        ("state:archived has:attachment", [2]),
        ("state:archived engine on:2024-05-01", [6, 1]),
    ],
)
def test_a_query_finds_what_people_expect_the_newest_first(
    mailbox: Path, query: str, ids: list[int]
) -> None:
    assert found(mailbox, query) == ids


def test_the_best_match_comes_first_where_that_is_asked_for(mailbox: Path) -> None:
    assert found(mailbox, "engine", "relevance")[0] == 4  # the shortest text
    assert sorted(found(mailbox, "engine after:2024", "relevance")) == [1, 6]


@pytest.mark.parametrize("query", ["", "engine*", "state:archived", "folder:INBOX"])
def test_pages_one_after_the_other_are_the_whole(mailbox: Path, query: str) -> None:
    asked = parse(query, NOW)
    with Archive.read(mailbox) as archive, search.opened(archive) as searching:
        whole = [hit.message.id for hit in searching.hits(asked)]
        pages: list[int] = []
        before = None
        while page := list(searching.hits(asked, limit=1, before=before)):
            pages += [hit.message.id for hit in page]
            before = page[-1].cursor

        assert pages == whole
        assert searching.count(asked, 100) == len(whole)
        assert searching.count(asked, 2) == min(2, len(whole))


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=20).map("".join)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_nothing_that_is_typed_becomes_a_wrong_question_to_the_database(
    mailbox: Path, text: str
) -> None:
    with (
        suppress(QueryError),
        Archive.read(mailbox) as archive,
        search.opened(archive) as searching,
    ):
        query = parse(text, NOW)
        ids = {hit.message.id for hit in searching.hits(query)}
        assert searching.count(query, 100) == len(ids)
        assert {number for _, number in searching.located(query)} == ids


@given(
    st.recursive(
        st.sampled_from(["engine", "from:ada", "is:read", "on:2024-05-01", "folder:INBOX"]),
        lambda inner: st.one_of(
            st.tuples(inner, inner).map(" ".join),
            st.tuples(inner, inner).map(lambda pair: f"({pair[0]} OR {pair[1]})"),
            inner.map(lambda query: f"-({query})"),
        ),
        max_leaves=6,
    )
)  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_found_and_what_is_not_are_everything(mailbox: Path, text: str) -> None:
    ids = found(mailbox, text)

    assert sorted([*ids, *found(mailbox, f"-({text})")]) == [1, 2, 3, 4, 5, 6, 7]
    assert sorted(found(mailbox, f"({text}) state:archived")) == sorted(ids)


def test_an_update_takes_in_only_what_is_new(tmp_path: Path) -> None:
    with sample(tmp_path / "archive") as archive:
        first = fulltext.update(archive, SILENT)
        again = fulltext.update(archive, SILENT)
        inbox = archive.ensure_folder(("INBOX",), None)
        add(archive, inbox, remote(9, internaldate=days(9)), letter("Subject: s\n\nengine\n"))
        later = fulltext.update(archive, SILENT)

    assert (first.messages, first.read) == (7, 6)  # the copy in Sent is the same file
    assert (again.messages, again.read) == (0, 0)
    assert (later.messages, later.read) == (1, 1)
    assert found(tmp_path / "archive", "engine") == [8, 6, 1, 4]


def test_new_numbers_and_flags_cost_no_reading(tmp_path: Path) -> None:
    with sample(tmp_path / "archive") as archive:
        fulltext.update(archive, SILENT)
        inbox = archive.ensure_folder(("INBOX",), None)
        message = archive.index.message(1)
        assert message is not None
        with archive.database.atomic():
            archive.plan_renumber(inbox, message, 2, 77)
            archive.plan_flags(inbox, 2, ("\\Answered",), ())
        archive.carry_out_renames()
        with archive.run("export", None, {}):
            pass
        later = fulltext.update(archive, SILENT)

    assert later.read == 0
    assert found(tmp_path / "archive", "engine is:read") == [6, 1]
    assert found(tmp_path / "archive", "is:answered") == [2]


def test_a_rebuilt_index_finds_its_words_again(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    with sample(path) as archive:
        fulltext.update(archive, SILENT)
    rebuild(path, SILENT)

    with Archive.read(path) as archive:
        later = fulltext.update(archive, SILENT)
        with search.opened(archive) as searching:
            hits = list(searching.hits(parse('"analytical engine"', NOW)))

    assert later.read <= 1  # its date is not in the file's name
    assert sorted(hit.message.folder for hit in hits) == ["INBOX", "Sent Items"]


class Stopping(Silent):
    """Interrupts when a batch is done."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, messages: int, size: int) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_a_build_that_was_interrupted_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fulltext, "_BATCH", 2)
    path = tmp_path / "archive"
    with sample(path) as archive:
        with pytest.raises(KeyboardInterrupt):
            fulltext.update(archive, Stopping(2))
        so_far = found(path, "")
        rest = fulltext.update(archive, SILENT)

    assert len(so_far) == 4
    assert rest.messages == 3
    assert found(path, "engine") == [6, 1, 4]


DYING = """
import os, signal, sys
from pathlib import Path
from store import fulltext
from store.archive import Archive
from waystation.progress import Silent

class Dying(Silent):
    left = 3

    def advance(self, messages, size):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

fulltext._BATCH = 1
with Archive.read(Path(sys.argv[1])) as archive:
    fulltext.update(archive, Dying())
"""


def test_a_build_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    sample(path).close()
    killed = subprocess.run([sys.executable, "-c", DYING, path], check=False)

    with Archive.read(path) as archive:
        rest = fulltext.update(archive, SILENT)

    assert killed.returncode == -signal.SIGKILL
    assert rest.messages == 4
    assert found(path, "engine") == [6, 1, 4]


def test_who_reads_while_somebody_builds_sees_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    with sample(path) as archive:
        fulltext.update(archive, SILENT)
        with Archive.read(path) as other, search.opened(other) as reading:
            hits = reading.hits(parse("engine", NOW))
            first = next(hits)
            inbox = archive.ensure_folder(("INBOX",), None)
            add(archive, inbox, remote(9, internaldate=days(9)), letter("\nengine\n"))
            fulltext.update(archive, SILENT)
            rest = [hit.message.id for hit in hits]

    assert [first.message.id, *rest] == [6, 1, 4]
    assert found(path, "engine") == [8, 6, 1, 4]


def test_two_do_not_build_at_once_and_the_second_says_what_is_missing(tmp_path: Path) -> None:
    with sample(tmp_path / "archive") as archive:
        other = Lock(archive.path / "search.lock")
        other.take("search")
        done = fulltext.update(archive, SILENT)
        other.release()

    assert (done.messages, done.missing) == (0, 7)


@pytest.mark.parametrize("damage", ["rubbish", "cut", "foreign"])
def test_a_broken_search_index_is_made_again(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "archive"
    with sample(path) as archive:
        fulltext.update(archive, SILENT)
        words = path / "search.sqlite"
        if damage == "rubbish":
            words.write_bytes(b"rubbish" * 1000)
        elif damage == "cut":
            os.truncate(words, words.stat().st_size // 2)
            with archive.run("export", None, {}):
                pass
        else:
            words.unlink()
            with sqlite3.connect(words) as foreign:
                foreign.execute("CREATE TABLE t (x)")
            foreign.close()
        done = fulltext.update(archive, SILENT)

    assert done.messages == 7
    assert found(path, "engine") == [6, 1, 4]


def test_damage_that_a_question_meets_is_told_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    with sample(path) as archive:
        fulltext.update(archive, SILENT)
        words = path / "search.sqlite"
        with words.open("r+b") as file:
            file.seek(words.stat().st_size // 2)
            file.write(b"\xff" * (words.stat().st_size // 2))

        with pytest.raises(StorageError, match="--rebuild"):
            found(path, "engine")
        fulltext.update(archive, SILENT, anew=True)

    assert found(path, "engine") == [6, 1, 4]


def test_where_the_archive_cannot_be_written_the_words_lie_in_the_users_cache(
    tmp_path: Path, read_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sample(tmp_path / "writable" / "archive").close()

    with Archive.read(read_only / "archive") as archive:
        done = fulltext.update(archive, SILENT)
        with search.opened(archive) as searching:
            hits = [hit.message.id for hit in searching.hits(parse("engine", NOW))]
        again = fulltext.update(archive, SILENT)

    assert done.path.parent == tmp_path / "cache" / "waystation" / "search"
    assert done.path.stat().st_mode & 0o077 == 0
    assert hits == [6, 1, 4]
    assert again.messages == 0


@pytest.fixture
def no_cache(tmp_path: Path, read_only: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the directory for what is temporary, where the user's cache cannot be written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(read_only / "cache"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return temporary


def test_without_a_cache_of_the_user_the_words_lie_with_what_is_temporary(
    tmp_path: Path, read_only: Path, no_cache: Path
) -> None:
    sample(tmp_path / "writable" / "archive").close()

    with Archive.read(read_only / "archive") as archive:
        done = fulltext.update(archive, SILENT)

    assert done.path.is_relative_to(no_cache)
    assert done.path.parent.stat().st_mode & 0o077 == 0
    assert found(read_only / "archive", "engine") == [6, 1, 4]


def test_a_directory_that_others_can_read_is_not_used_for_words(
    tmp_path: Path, read_only: Path, no_cache: Path
) -> None:
    sample(tmp_path / "writable" / "archive").close()
    (no_cache / f"waystation-search-{os.getuid()}").mkdir(mode=0o755)

    with (
        Archive.read(read_only / "archive") as archive,
        pytest.raises(StorageError, match="somebody else"),
    ):
        fulltext.update(archive, SILENT)


def test_complete_words_on_a_read_only_medium_are_used_as_they_are(
    tmp_path: Path, read_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with sample(tmp_path / "writable" / "archive") as archive:
        fulltext.update(archive, SILENT)

    assert found(read_only / "archive", "engine") == [6, 1, 4]
    assert not (tmp_path / "cache").exists()


def test_a_full_disk_is_told(tmp_path: Path, small_disk: Path) -> None:
    with create(small_disk / "archive") as archive:
        inbox = archive.ensure_folder(("INBOX",), None)
        for number in range(30):
            text = "".join(f"word{number}x{n} " for n in range(1500))
            with suppress(StorageError):
                add(archive, inbox, remote(number + 1), letter(f"\n{text}"))
        with pytest.raises(StorageError):
            fulltext.update(archive, SILENT)


def test_a_file_that_is_gone_is_found_by_the_headers_of_its_row(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    with sample(path) as archive:
        message = archive.index.message(2)
        assert message is not None
        assert message.path is not None
        (path / message.path).unlink()
        done = fulltext.update(archive, SILENT)

    assert done.unreadable == 1
    assert found(path, "subject:report") == [2]
    assert found(path, "quarterly") == []


def test_rows_answer_without_words_and_words_do_not(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    sample(path).close()

    assert found(path, "is:flagged OR folder:@sent after:2024") == [7, 2, 6]
    assert not (path / "search.sqlite").exists()
    with pytest.raises(NoWordsError):
        found(path, "engine")


def test_more_messages_of_one_second_than_have_room_are_all_found(tmp_path: Path) -> None:
    with create(tmp_path / "archive") as archive:
        inbox = archive.ensure_folder(("INBOX",), None)
        batch = archive.batch()
        for number in range(1100):
            put(archive, batch, inbox, remote(number + 1), letter(f"\nword {number}\n"))
        put(archive, batch, inbox, remote(2000, internaldate=NOON + timedelta(seconds=1)), b"")
        batch.commit()
        fulltext.update(archive, SILENT)

    noon = int(NOON.timestamp())
    path = tmp_path / "archive"
    assert len(found(path, "word")) == 1100
    stamp = datetime.fromtimestamp(noon + 1, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    assert len(found(path, f"before:{stamp}")) == 1100
    assert len(found(path, f"after:{stamp}")) == 1
    assert len(found(path, f"word before:{stamp}")) == 1100
    assert found(path, f"word after:{stamp}") == []


def test_a_snippet_shows_the_first_word_that_was_asked_for() -> None:
    text = "a " * 200 + "the Café is open " + "b " * 200

    line = around(text, ["nothing", "cafe"])

    assert "the Café is open" in line
    assert line.startswith("…")
    assert line.endswith("…")
    assert len(line) < 170
    assert around("short", ["x"]) == "short"
    assert around("", ["x"]) == ""
