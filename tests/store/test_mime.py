"""The parts of a message, as whoever looks at one is told of them."""

from __future__ import annotations

import io
import tracemalloc
from email.message import EmailMessage

from store.headers import all_fields
from store.mime import MimeReader, Part, read_parts
from store.text import TextDecoder


class Kept:
    """Takes every part whole."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.contents: dict[str, bytes] = {}
        self.closed: list[str] = []
        self.discarded: list[str] = []

    def part(self, part: Part) -> _Keeping:
        self.parts.append(part)
        self.contents[part.number] = b""
        return _Keeping(self, part.number)

    @property
    def shape(self) -> list[tuple[str, str]]:
        return [(part.number, part.media_type) for part in self.parts]


class _Keeping:
    def __init__(self, kept: Kept, number: str) -> None:
        self._kept = kept
        self._number = number

    def write(self, octets: bytes) -> None:
        self._kept.contents[self._number] += octets

    def close(self) -> None:
        self._kept.closed.append(self._number)

    def discard(self) -> None:
        self._kept.discarded.append(self._number)


class Nobody:
    """Wants no part."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def part(self, part: Part) -> None:
        self.parts.append(part.number)


def read(octets: bytes) -> Kept:
    kept = Kept()
    read_parts(io.BytesIO(octets), kept)
    return kept


def letter() -> bytes:
    inner = EmailMessage()
    inner["Subject"] = "forwarded"
    inner.set_content("inner text")
    inner.add_attachment(b"inner", maintype="image", subtype="png", filename="inner.png")
    made = EmailMessage()
    made["Subject"] = "all of it"
    made.set_content("text")
    made.add_alternative("<p>text <img src=cid:logo>", subtype="html")
    html = made.get_payload()[1]  # type: ignore[index]
    html.add_related(b"logo", "image", "gif", cid="<logo>")  # type: ignore[union-attr]
    made.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="Köln.pdf")
    made.add_attachment(inner)
    return made.as_bytes()


def test_parts_have_the_numbers_that_imap_gives_them() -> None:
    kept = read(letter())

    assert kept.shape == [
        ("1.1", "text/plain"),
        ("1.2.1", "text/html"),
        ("1.2.2", "image/gif"),
        ("2", "application/pdf"),
        ("3", "message/rfc822"),
        ("3.1", "text/plain"),
        ("3.2", "image/png"),
    ]
    assert read(b"Subject: x\n\ntext").shape == [("1", "text/plain")]


def test_a_part_says_what_it_is_and_where_it_lies() -> None:
    text, html, logo, pdf, message, inner, _ = read(letter()).parts

    assert (text.charset, text.is_text, text.is_alternative) == ("utf-8", True, True)
    assert html.multiparts == ("mixed", "alternative", "related")
    assert not html.is_alternative
    assert (logo.content_id, logo.is_attachment) == ("logo", False)
    assert (pdf.file_name, pdf.disposition, pdf.is_attachment) == ("Köln.pdf", "attachment", True)
    assert message.is_message
    assert (inner.depth, inner.multiparts) == (1, ("mixed",))


def test_contents_come_decoded_and_a_message_is_over_after_its_parts() -> None:
    kept = read(letter())

    assert kept.contents["2"] == b"%PDF"
    assert kept.contents["1.2.2"] == b"logo"
    assert b"Subject: forwarded" in kept.contents["3"]
    assert kept.contents["3.2"] == b"inner"
    assert kept.closed == ["1.1", "1.2.1", "1.2.2", "2", "3.1", "3.2", "3"]
    assert not kept.discarded


def test_who_wants_no_content_is_still_told_of_every_part() -> None:
    nobody = Nobody()

    read_parts(io.BytesIO(letter()), nobody)

    assert nobody.parts == ["1.1", "1.2.1", "1.2.2", "2", "3", "3.1", "3.2"]


def test_a_multipart_whose_parts_never_begin_is_a_text() -> None:
    kept = read(b"Content-Type: multipart/alternative; boundary=b\n\nthe text\n--other\n")

    assert kept.shape == [("0", "text/plain")]
    assert kept.contents["0"] == b"the text\n--other\n"
    assert not kept.parts[0].is_alternative


def test_a_long_text_in_front_of_the_first_part_is_taken_back() -> None:
    front = b"front matter\n" * 10_000
    head = b"Content-Type: multipart/mixed; boundary=b\n\n"

    kept = read(head + front + b"--b\n\nthe part\n--b--\n")

    assert kept.discarded == ["0"]
    assert kept.closed == ["1"]
    assert [part.number for part in kept.parts] == ["0", "1"]


def test_a_message_of_any_size_takes_little_memory() -> None:
    class Counting:
        size = 0

        def part(self, part: Part) -> Counting:
            return self

        def write(self, octets: bytes) -> None:
            self.size += len(octets)

        def close(self) -> None:
            pass

        def discard(self) -> None:
            pass

    counting = Counting()
    reader = MimeReader(counting)
    line = b"QUJD" * 19 + b"\r\n"
    block = line * 800
    tracemalloc.start()
    reader.write(b"Content-Transfer-Encoding: base64\r\n\r\n")
    for _ in range(500):
        reader.write(block)
    reader.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert counting.size == 500 * 800 * 57
    assert peak < 2_000_000


def test_what_is_mislabelled_is_read_as_windows_text() -> None:
    for charset in ("", "utf-8", "no-such-charset", "utf-7"):
        decoder = TextDecoder(charset)
        assert decoder.decode(b"\x84Gr\xfc\xdfe\x93") + decoder.end() == "„Grüße“"


def test_all_fields_of_a_header_come_in_order_and_on_one_line() -> None:
    head = (
        b"Received: from a\r\n\tby b\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
        b"no field\r\nReceived : from c\r\nX-Evil: \x1b[2J\x07\r\nX-Empty:\r\n\r\nSubject: body\r\n"
    )

    assert all_fields(head) == [
        ("Received", "from a by b"),
        ("Subject", "Grüße"),
        ("Received", "from c"),
        ("X-Evil", "\ufffd[2J\ufffd"),
        ("X-Empty", ""),
    ]
