"""Messages out of an archive again, read by somebody else's programs."""

from __future__ import annotations

import json
import mailbox
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import fulltext, search
from store.archive import Archive
from store.extract import MARK, Extracted, Format, eml_name, extract
from store.mboxrd import Quoted, from_line
from store.query import parse
from tests import corpus
from tests.servers.dovecot import Dovecot
from tests.store.filling import NOON, create, file_of, one, put, remote
from waystation.errors import StorageError, UsageError
from waystation.model import SpecialUse
from waystation.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2024, 6, 1, tzinfo=UTC)
AWKWARD = [
    b"Subject: plain\r\n\r\nhello\r\n",
    b"Subject: from\r\n\r\nFrom here on\r\n>From there\r\n>>From\r\nfrom x\r\n",
    b"From me: no header\r\nSubject: odd\r\n\r\n\r\n\r\nFrom \r\n",
    b"Subject: no end",
    b"Subject: end\r\n\r\nFrom",
    b"Subject: \xff\x00raw\n\nlf only\nFrom lf\n",
    b"",
]


@dataclass
class Telling(Silent):
    """Remembers what it was told."""

    said: list[str]

    def problem(self, folder: str, uid: int | None, text: str) -> None:
        self.said.append(f"{folder} {uid}: {text}")

    def alarm(self, folder: str, text: str) -> None:
        self.said.append(f"{folder}: {text}")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Awkward mail and a corpus in three folders."""
    path = tmp_path / "archive"
    with create(path) as made:
        inbox = made.ensure_folder(("INBOX",), SpecialUse.INBOX)
        sent = made.ensure_folder(("Sent", "2024: ä"), SpecialUse.SENT)
        made.ensure_folder(("Sent",), None)
        made.ensure_folder(("empty",), None)
        batch = made.batch()
        for number, body in enumerate(AWKWARD, 1):
            when = NOON + timedelta(days=number)
            put(made, batch, inbox, remote(number, ("\\Seen",), ("todo",), when), body)
        put(made, batch, inbox, remote(50, internaldate=None), b"Subject: undated\r\n\r\nx\r\n")
        put(made, batch, sent, remote(1, ("\\Flagged",)), AWKWARD[0])
        put(made, batch, sent, remote(2), AWKWARD[0])
        for number, sample in enumerate(corpus.messages(3, 30, hostile_share=0.3), 100):
            put(made, batch, sent, remote(number), sample.body)
        batch.commit()
    return path


def run(
    path: Path, destination: Path, form: Format, query: str = "", said: list[str] | None = None
) -> Extracted:
    with Archive.read(path) as archive:
        if query:
            fulltext.update(archive, Silent())
        with search.opened(archive) as searching:
            asked = parse(query, NOW)
            progress = Telling([] if said is None else said)
            return extract(archive, searching, asked, query, destination, form, progress)


def bodies(path: Path, folder: str) -> list[bytes]:
    with Archive.read(path) as archive:
        found = archive.index.folder(folder)
        assert found is not None
        return [
            file_of(archive, message).read_bytes() for message in archive.index.in_folder(found.id)
        ]


def as_mbox(body: bytes) -> bytes:
    """What an mbox file keeps of a message: LF, and a line end at the end."""
    body = body.replace(b"\r\n", b"\n")
    return body if body.endswith(b"\n") or not body else body + b"\n"


def unquoted(body: bytes) -> bytes:
    return re.sub(rb"(?m)^>(>*From )", rb"\1", body)


def test_mbox_files_are_read_by_python(archive: Path, tmp_path: Path) -> None:
    done = run(archive, tmp_path / "out", Format.MBOX)

    assert (done.messages, done.failed, done.folders) == (40, 0, 2)
    for folder, name in (("INBOX", "INBOX.mbox"), ("Sent/2024: ä", "Sent/2024%3A ä.mbox")):
        box = mailbox.mbox(tmp_path / "out" / name, create=False)
        read = [unquoted(box.get_bytes(key)) for key in box.keys()]  # noqa: SIM118
        box.close()
        assert read == [as_mbox(body) for body in bodies(archive, folder)]
    first = (tmp_path / "out" / "INBOX.mbox").read_bytes().split(b"\n")[0]
    assert first == b"From MAILER-DAEMON Thu May  2 10:00:00 2024"


def test_a_maildir_is_read_by_python_with_flags_times_and_every_octet(
    archive: Path, tmp_path: Path
) -> None:
    done = run(archive, tmp_path / "out", Format.MAILDIR)

    assert (done.messages, done.failed) == (40, 0)
    for folder, name in (("INBOX", "INBOX"), ("Sent/2024: ä", "Sent/2024%3A ä")):
        box = mailbox.Maildir(tmp_path / "out" / name, create=False)
        assert sorted(box.get_bytes(key) for key in box.keys()) == sorted(bodies(archive, folder))  # noqa: SIM118
        box.close()
    inbox = mailbox.Maildir(tmp_path / "out" / "INBOX", create=False)
    message = next(message for message in inbox if message["Subject"] == "plain")
    inbox.close()
    assert message.get_flags() == "Sa"
    assert message.get_date() == (NOON + timedelta(days=1)).timestamp()
    assert (tmp_path / "out" / "INBOX" / "dovecot-keywords").read_text() == "0 todo\n"
    assert (tmp_path / "out" / "empty" / "cur").is_dir()


def test_eml_files_hold_every_octet_and_have_names_for_every_system(
    archive: Path, tmp_path: Path
) -> None:
    run(archive, tmp_path / "out", Format.EML)

    files = sorted((tmp_path / "out" / "INBOX").iterdir())
    assert sorted(file.read_bytes() for file in files) == sorted(bodies(archive, "INBOX"))
    assert files[0].name == "2024-05-02 12.00 - plain (1).eml"
    assert files[-1].name == "undated - undated (8).eml"
    assert files[0].stat().st_mtime == (NOON + timedelta(days=1)).timestamp()
    assert files[0].stat().st_mode & 0o077 == 0


@given(st.text(max_size=200), st.integers(1, 10**12))
def test_no_subject_makes_a_bad_file_name(subject: str, number: int) -> None:
    name = eml_name(message_of(number), subject)

    assert len(name.encode("utf-8")) < 250
    assert not set(name) & set('\\/:*?"<>|\0')
    assert name.isprintable()
    assert name.endswith(f" ({number}).eml")


def message_of(number: int):  # type: ignore[no-untyped-def]  # noqa: ANN201
    from store.index import ArchivedMessage

    return ArchivedMessage(
        number, 1, "INBOX", 1, 1, "archived", None, "p", "0" * 64, 1, NOON, (), (), None, None
    )


@given(
    st.lists(
        st.sampled_from(
            [b"From ", b"From", b">", b"\r", b"\n", b"\r\n", b"x", b" ", b"Fro", b"m "]
        ),
        max_size=30,
    ).map(b"".join),
    st.lists(st.integers(1, 7), max_size=30),
)
def test_quoting_does_not_depend_on_the_pieces_and_is_undone_by_a_reader(
    body: bytes, cuts: list[int]
) -> None:
    quoted = Quoted()
    written = b""
    rest = body
    for cut in cuts:
        written += quoted.write(rest[:cut])
        rest = rest[cut:]
    written += quoted.write(rest) + quoted.end()

    assert not re.search(rb"(?m)^From ", written)
    assert unquoted(written) == as_mbox(body) + b"\n"


def test_the_line_before_a_message_tells_sender_and_date_and_nothing_hostile() -> None:
    when = datetime(2024, 5, 1, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))

    assert (
        from_line("Ada <ada@example.org>", when)
        == b"From ada@example.org Tue Apr 30 23:02:03 2024\n"
    )
    assert from_line("a\nFrom b@c\n", None) == b"From b@c Thu Jan  1 00:00:00 1970\n"
    assert from_line(None, datetime.max.replace(tzinfo=timezone(timedelta(hours=-9)))).startswith(
        b"From MAILER-DAEMON Thu Jan  1 "
    )


@pytest.mark.parametrize("form", list(Format))
def test_the_same_command_again_writes_nothing(archive: Path, tmp_path: Path, form: Format) -> None:
    run(archive, tmp_path / "out", form)
    before = tree(tmp_path / "out")

    again = run(archive, tmp_path / "out", form)

    assert (again.messages, again.already_there, again.failed) == (0, 40, 0)
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("form", list(Format))
def test_what_is_new_is_added(archive: Path, tmp_path: Path, form: Format) -> None:
    run(archive, tmp_path / "out", form)
    with Archive.write(archive, "test") as opened:
        inbox = opened.ensure_folder(("INBOX",), None)
        batch = opened.batch()
        put(opened, batch, inbox, remote(60), b"Subject: new\r\n\r\nnew\r\n")
        batch.commit()

    again = run(archive, tmp_path / "out", form)

    assert again.already_there + again.messages == 41
    assert again.messages == (9 if form is Format.MBOX else 1)


@pytest.mark.parametrize("form", list(Format))
def test_a_query_chooses(archive: Path, tmp_path: Path, form: Format) -> None:
    assert run(archive, tmp_path / "rows", form, "is:flagged").messages == 1
    assert run(archive, tmp_path / "words", form, "hello folder:INBOX").messages == 1


def test_rows_are_chosen_without_a_search_index(archive: Path, tmp_path: Path) -> None:
    with Archive.read(archive) as opened, search.opened(opened) as searching:
        query = parse("folder:INBOX after:2024-05-04", NOW)
        done = extract(opened, searching, query, "", tmp_path / "out", Format.EML, Silent())

    assert done.messages == 5
    assert not (archive / "search.sqlite").exists()


@pytest.mark.parametrize("form", list(Format))
def test_a_directory_with_other_things_is_left_alone(
    archive: Path, tmp_path: Path, form: Format
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thing").write_text("x")

    with pytest.raises(UsageError, match="holds other things"):
        run(archive, tmp_path / "mine", form)

    assert tree(tmp_path / "mine") == {"thing": b"x"}


def test_an_extract_of_another_kind_is_left_alone(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out", Format.MBOX)

    (tmp_path / "file").write_text("x")

    with pytest.raises(UsageError, match="in another format"):
        run(archive, tmp_path / "out", Format.EML)
    with pytest.raises(UsageError, match="another query"):
        run(archive, tmp_path / "out", Format.MBOX, "is:flagged")
    with pytest.raises(UsageError, match="lies in the archive"):
        run(archive, archive / "maildir", Format.EML)
    with pytest.raises(UsageError, match="no directory"):
        run(archive, tmp_path / "file", Format.EML)


def test_what_somebody_changed_is_not_written_over(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "eml", Format.EML)
    run(archive, tmp_path / "mbox", Format.MBOX)
    changed = next((tmp_path / "eml" / "INBOX").iterdir())
    changed.write_bytes(b"mine")
    with (tmp_path / "mbox" / "INBOX.mbox").open("ab") as file:
        file.write(b"From a Thu Jan  1 00:00:00 1970\n\nmine\n\n")
    said: list[str] = []

    files = run(archive, tmp_path / "eml", Format.EML, said=said)
    boxes = run(archive, tmp_path / "mbox", Format.MBOX, said=said)

    assert changed.read_bytes() == b"mine"
    assert (tmp_path / "mbox" / "INBOX.mbox").read_bytes().endswith(b"mine\n\n")
    assert (files.failed, boxes.failed) == (1, 8)
    assert len(said) == 2


@pytest.mark.parametrize("form", list(Format))
def test_damage_in_the_archive_is_told_and_not_passed_on(
    archive: Path, tmp_path: Path, form: Format
) -> None:
    with Archive.read(archive) as opened:
        inbox = opened.index.folder("INBOX")
        assert inbox is not None
        file_of(opened, one(opened, inbox, 1)).write_bytes(b"tampered")
        file_of(opened, one(opened, inbox, 2)).unlink()
    said: list[str] = []

    done = run(archive, tmp_path / "out", form, said=said)

    assert (done.messages, done.failed) == (38, 2)
    assert said == [
        "INBOX 1: its file in the archive is damaged; it is not extracted",
        "INBOX 2: its file is missing in the archive, or cannot be read",
    ]
    assert not any(b"tampered" in content for content in tree(tmp_path / "out").values())
    assert not any(name.endswith("part") for name in tree(tmp_path / "out"))


class Stopping(Silent):
    """Interrupts after some messages."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, messages: int, size: int) -> None:
        self.left -= 1
        if self.left <= 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("form", list(Format))
def test_an_extract_that_was_interrupted_goes_on(
    archive: Path, tmp_path: Path, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.extract._PAGE", 3)
    out = tmp_path / "out"
    with (
        Archive.read(archive) as opened,
        search.opened(opened) as searching,
        pytest.raises(KeyboardInterrupt),
    ):
        extract(opened, searching, parse("", NOW), "", out, form, Stopping(20))

    rest = run(archive, out, form)
    whole = run(archive, tmp_path / "whole", form)

    assert rest.messages + rest.already_there == 40
    assert whole.messages == 40
    names = set(tree(out)) - {MARK}
    assert names == set(tree(tmp_path / "whole")) - {MARK}


def test_a_link_in_the_destination_leads_nowhere(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out", Format.EML, "folder:empty")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "INBOX").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StorageError, match="symbolic link"):
        run(archive, tmp_path / "out", Format.EML)

    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_full_disk_is_told_and_the_same_command_goes_on(
    archive: Path, small_disk: Path, tmp_path: Path
) -> None:
    with Archive.write(archive, "test") as opened:
        inbox = opened.ensure_folder(("INBOX",), None)
        batch = opened.batch()
        put(opened, batch, inbox, remote(90), b"x" * 2_000_000)
        batch.commit()

    with pytest.raises(StorageError):
        run(archive, small_disk / "out", Format.EML)


def tree(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


@pytest.mark.server
@pytest.mark.parametrize("form", [Format.MBOX, Format.MAILDIR])
def test_dovecot_shows_an_extract(archive: Path, tmp_path: Path, form: Format) -> None:
    run(archive, tmp_path / "out", form)
    with Dovecot(separator="/", special_use={}) as dovecot:
        copy = dovecot.copy_in(tmp_path / "out", "copy")
        end = ".mbox" if form is Format.MBOX else ""
        layout = "mbox:{0}:INBOX={0}/INBOX.mbox" if end else "maildir:{0}:LAYOUT=fs:INBOX={0}/INBOX"
        dovecot.locate("user", f"{layout.format(copy)}:UTF-8")

        for name, folder in (("INBOX", "INBOX"), (f"Sent/2024%3A ä{end}", "Sent/2024: ä")):
            text = dovecot.doveadm("-f", "json", "fetch", "-u", "user", "text", "mailbox", name)
            shown = [entry["text"].encode() for entry in json.loads(text)]
            if form is Format.MBOX:
                shown = [unquoted(body) for body in shown]  # Dovecot shows them as they stand
            kept = [body.decode("utf-8", "replace").encode() for body in bodies(archive, folder)]
            assert sorted(map(norm, shown)) == sorted(map(norm, kept))


def norm(body: bytes) -> bytes:
    return body.replace(b"\r\n", b"\n").rstrip(b"\n")


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {name})")
    return found


def test_mutt_reads_mbox_and_maildir(archive: Path, tmp_path: Path) -> None:
    mutt = program("mutt")
    (tmp_path / "Mail").mkdir()  # else it asks whether to make one
    for form, name in ((Format.MBOX, "INBOX.mbox"), (Format.MAILDIR, "INBOX")):
        run(archive, tmp_path / form, form)
        words = [mutt, "-n", "-F", "/dev/null", "-R", "-f", str(tmp_path / form / name)]
        subprocess.run(
            [program("script"), "-qefc", shlex.join([*words, "-e", "push x"]), tmp_path / "screen"],
            env={**os.environ, "TERM": "xterm", "HOME": str(tmp_path)},
            stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert b"Msgs:8" in (tmp_path / "screen").read_bytes()


def test_notmuch_indexes_a_maildir(archive: Path, tmp_path: Path) -> None:
    notmuch = program("notmuch")
    run(archive, tmp_path / "out", Format.MAILDIR)
    config = tmp_path / "notmuch-config"
    config.write_text(
        f"[database]\npath={tmp_path / 'out'}\n[new]\nignore=.waystation-extract.json\n"
    )
    environment = {**os.environ, "NOTMUCH_CONFIG": str(config), "HOME": str(tmp_path)}
    subprocess.run([notmuch, "new"], env=environment, capture_output=True, check=True)

    def count(what: str, query: str) -> int:
        done = subprocess.run(
            [notmuch, "count", f"--output={what}", query],
            env=environment, capture_output=True, check=True, text=True,
        )  # fmt: skip
        return int(done.stdout)

    assert count("files", "subject:plain") == 3
    assert count("messages", "tag:flagged") == 1
