"""A message as people read it, whatever it is."""

from __future__ import annotations

import io
import tracemalloc
from email.message import EmailMessage
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.file_names import NewFile, safe_name
from store.html_text import text_of_html
from store.reading import Reading, file_name_of, part_octets, read, save_parts
from waystation.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path


def reading(octets: bytes, longest_text: int = 1000) -> Reading:
    return read(io.BytesIO(octets), longest_text)


def related() -> bytes:
    made = EmailMessage()
    made.set_content("plain")
    made.add_alternative("<p>html", subtype="html")
    made.get_payload()[1].add_related(b"logo", "image", "gif", cid="<logo>")  # type: ignore[index,union-attr]
    made.add_attachment("a file\n", filename="a.txt")
    return made.as_bytes()


def test_of_several_ways_to_say_the_same_one_is_read() -> None:
    read_one = reading(related())

    assert [piece.text for piece in read_one.texts()] == ["plain\n"]
    assert [piece.readable for piece in read_one.texts("text/html")] == ["html"]
    assert [piece.part.number for piece in read_one.attachments()] == ["1.2.2", "2"]
    logo = read_one.with_content_id("logo")
    assert logo is not None
    assert b"".join(part_octets(io.BytesIO(related()), logo.part.number)) == b"logo"


def test_where_the_preferred_way_is_missing_the_last_text_is_read() -> None:
    octets = (
        b"Content-Type: multipart/alternative; boundary=b\n\n"
        b"--b\nContent-Type: text/enriched\n\n1\n"
        b"--b\nContent-Type: text/x-web\n\n2\n--b\nContent-Type: image/png\n\n3\n--b--\n"
    )

    assert [piece.text for piece in reading(octets).texts()] == ["2"]


def test_long_texts_are_cut_and_counted_whole() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nabcdefgh\n" * 300

    read_one = reading(octets)

    assert sum(len(piece.text or "") for piece in read_one.pieces) == 1000
    assert {piece.size for piece in read_one.pieces[:-1]} == {8}
    assert read_one.pieces[200].is_cut
    assert not read_one.pieces[100].is_cut


def test_a_thousand_parts_are_told_and_the_others_counted() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 1500

    assert (len(reading(octets).pieces), reading(octets).others) == (1000, 500)


@given(st.binary(max_size=300), st.sampled_from(["html", "plain", "calendar"]))
def test_any_octets_are_read(octets: bytes, kind: str) -> None:
    for head in (
        b"",
        b"Content-Type: text/%s\n\n" % kind.encode(),
        b"Content-Type: message/rfc822\n\n",
    ):
        read_one = reading(head + octets)
        assert read_one.size == len(head + octets)
        assert all(piece.readable is not None for piece in read_one.texts())


def test_a_large_message_takes_little_memory() -> None:
    class Endless(io.RawIOBase):
        left = 100_000_000

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            count = min(len(buffer), self.left)
            buffer[:count] = b"x" * count
            self.left -= count
            return count

    tracemalloc.start()
    read_one = read(Endless())  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert read_one.size == 100_000_000
    assert peak < 8_000_000


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Bericht Köln.pdf", "Bericht Köln.pdf"),
        ("../../etc/passwd", "_._etc_passwd"),
        ("..", "part"),
        ("", "part"),
        ("/", "part"),
        ("C:\\autoexec.bat", "C__autoexec.bat"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("a\nb\x1b.txt", "a_b_.txt"),
        ("-rf", "_rf"),
        (".bashrc", "bashrc"),
        ("name. ", "name"),
        ("gpj.\u202eexe", "gpj._exe"),
        ("x" * 300 + ".pdf", "x" * 116 + ".pdf"),
        ("ü" * 300, "ü" * 60),
        ("a." + "x" * 300, "a." + "x" * 118),
    ],
)
def test_names_of_senders_become_names_of_ordinary_files(name: str, safe: str) -> None:
    assert safe_name(name, "part") == safe


@given(st.text(max_size=300))
def test_any_name_is_made_safe(name: str) -> None:
    safe = safe_name(name, "part")

    assert safe not in ("", ".", "..")
    assert not set(safe) & set('/\\:*?"<>|\0')
    assert len(safe.encode()) <= 121
    assert safe.isprintable()


def test_a_new_file_replaces_nothing_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"mine")
    (tmp_path / "a (2).txt").symlink_to(tmp_path / "elsewhere")

    new = NewFile(tmp_path, "a.txt")
    new.write(b"theirs")
    new.close()

    assert new.path == tmp_path / "a (3).txt"
    assert (tmp_path / "a.txt").read_bytes() == b"mine"
    assert not (tmp_path / "elsewhere").exists()


def test_what_cannot_be_saved_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    made = EmailMessage()
    made.set_content("text")
    made.add_attachment(b"x" * 3_000_000, maintype="image", subtype="png", filename="a.png")

    class Torn(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 2_000_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    read_one = reading(made.as_bytes())
    with pytest.raises(OSError, match="Input/output error"):
        save_parts(Torn(made.as_bytes()), read_one.attachments(), tmp_path)
    with pytest.raises(StorageError):
        save_parts(io.BytesIO(made.as_bytes()), read_one.attachments(), tmp_path / "missing")

    assert not list(tmp_path.iterdir())


def test_a_part_without_a_name_is_named_by_its_kind_or_subject() -> None:
    inner = EmailMessage()
    inner["Subject"] = "So: what?"
    inner.set_content("x")
    made = EmailMessage()
    made.set_content("text")
    made.add_attachment(inner)
    made.add_attachment(b"x", maintype="image", subtype="png")
    made.add_attachment(b"x", maintype="x", subtype="y")

    names = [file_name_of(piece) for piece in reading(made.as_bytes()).attachments()]

    assert names == ["So_ what_.eml", "part-3.png", "part-4.bin"]


def test_html_is_read_without_its_tags() -> None:
    html = (
        "<html><head><title>no</title><style>p {}</style></head><body><h1>Hi &amp; you</h1>"
        "<p>One <b>two</b>,\n three<br>four<ul><li>a<li>b</ul>"
        '<p>See <a href="https://e.org/x?a=1&amp;b=2">here</a>'
        '<script>alert("</p>")</script><pre>  a\n   b</pre>3 < 4 <img alt="Logo" src=x>'
    )

    assert text_of_html(html) == (
        "Hi & you\n\nOne two, three\nfour\n\n* a\n* b\n\n"
        "See here <https://e.org/x?a=1&b=2>\n\n  a\n   b\n\n3 < 4 [Logo]"
    )


@given(st.text(alphabet="<>!-/ab\"'= &;İ\n", max_size=200))
def test_any_html_has_a_text(html: str) -> None:
    assert isinstance(text_of_html(html), str)


@pytest.mark.parametrize(
    "unit",
    ["<", "<!", "<!--", '<a "', '<a "<b>"', "<script>", "<b>", "<title></title", "&", "<a ="],
)
def test_hostile_html_takes_time_in_proportion(unit: str) -> None:
    assert len(text_of_html(unit * (300_000 // len(unit)))) <= 300_000
