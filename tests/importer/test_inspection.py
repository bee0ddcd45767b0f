"""An inspection finds what strict servers stumble over."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer.inspection import inspect
from importer.mending import source
from tests.importer.hostile_mail import HEAD, anything, look

if TYPE_CHECKING:
    from importer.inspection import Inspection


def test_ordinary_mail_has_nothing_to_mend() -> None:
    message = (
        b"Received: from x by y; Mon, 1 Jan 2024 10:00:00 +0100 (CET)\r\n" + HEAD + b"\r\nx\r\n"
    )

    found = look(message)

    assert found.size == found.crlf_size == len(message)
    assert found.longest_line == 59
    assert found.is_crlf
    assert found.receipts == ()
    assert not (found.has_nul or found.has_broken_header or found.has_8bit_header)  # noqa: PT018
    assert not (found.is_signed or found.is_encrypted)  # noqa: PT018
    assert found.received == datetime(2024, 1, 1, 9, tzinfo=UTC)
    assert found.sent == datetime(2001, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (b"A: b\n\nx\n", 11),
        (b"A: b\r\rx\r", 11),
        (b"A: b\r\r\n\r\r\nx\r\r\n", 11),
        (b"A: b\r\n\r\nx", 11),
        (b"A: b\r\n\nx\r", 11),
    ],
)
def test_every_kind_of_line_end_counts_as_one(message: bytes, size: int) -> None:
    found = look(message)

    assert not found.is_crlf
    assert found.crlf_size == size
    assert found.longest_line == 4


def test_a_message_of_no_octets_is_whole() -> None:
    found = look(b"")

    assert found.is_crlf
    assert found.crlf_size == found.longest_line == 0


def test_the_longest_line_may_be_in_the_header() -> None:
    assert look(b"References: " + b"x" * 12_000 + b"\r\n\r\nshort\r\n").longest_line == 12_012


def test_the_longest_line_may_cross_blocks() -> None:
    line = b"x" * (3 * source.BLOCK + 5)

    assert look(b"A: b\r\n\r\nx\r\n" + line + b"\r\nx\r\n").longest_line == len(line)
    assert look(b"A: b\n\nx\n" + line).longest_line == len(line)


def test_fields_that_ask_for_receipts_are_named_as_written() -> None:
    found = look(
        b"DISPOSITION-Notification-To: a@b\r\nSubject: Return-Receipt-To: no\r\n"
        b" X-Confirm-Reading-To: no\r\nReturn-Receipt-To : a@b\r\nX-Confirm-Reading-To: a@b\r\n\r\n"
        b"Return-Receipt-To: in the body\r\n"
    )

    assert found.receipts == (
        "DISPOSITION-Notification-To",
        "Return-Receipt-To",
        "X-Confirm-Reading-To",
    )


@pytest.mark.parametrize(
    "header",
    [
        b"Subject: x\r\nno colon here\r\nTo: b\r\n",
        b"From a@b Mon Jan  1 00:00:00 2001\r\nSubject: x\r\n",
        b">From a@b Mon Jan  1 00:00:00 2001\r\nSubject: x\r\n",
        b" begins with a continuation\r\nSubject: x\r\n",
        b": no name\r\n",
        b"x" * 300 + b": name without an end\r\n",
        b"Betr\xe9ff: x\r\n",
    ],
)
def test_a_line_that_is_no_field_breaks_the_header(header: bytes) -> None:
    assert look(header + b"\r\nbody\r\n").has_broken_header


@pytest.mark.parametrize(
    "header", [b"Subject: x\r\n folded\r\n\tagain\r\n", b"Subject : x\r\n", b"", b"X:\r\n"]
)
def test_a_legal_header_is_not_broken(header: bytes) -> None:
    assert not look(header + b"\r\nno colon in the body\r\n").has_broken_header


def test_octets_beyond_ascii_count_in_the_header_alone() -> None:
    assert look(b"Subject: \xe4\r\n\r\nx\r\n").has_8bit_header
    assert not look(b"Subject: x\r\n\r\n\xe4\r\n").has_8bit_header


def test_a_header_longer_than_a_block_is_read_to_its_end() -> None:
    fields = b"X-Field: something of no interest\r\n" * (source.BLOCK // 20)

    assert look(fields + b"Return-Receipt-To: a@b\r\n\r\n").receipts == ("Return-Receipt-To",)
    assert look(fields + b"broken\r\n\r\n").has_broken_header
    long = look(
        b"X: " + b"x" * (3 * source.BLOCK) + b"\xe4\r\nReturn-Receipt-To: a@b\r\n\r\n-- \r\n"
    )
    assert long.receipts == ("Return-Receipt-To",)
    assert long.has_8bit_header
    assert not long.has_broken_header


SIGNED = (
    b'Content-Type: multipart/signed; protocol="x/y";\r\n boundary=s\r\n'
    b"\r\n--s\r\n\r\nx\r\n--s--\r\n"
)


def protection(found: Inspection) -> tuple[bool, bool]:
    return found.is_signed, found.is_encrypted


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (SIGNED, (True, False)),
        (SIGNED.replace(b"signed", b"encrypted"), (False, True)),
        (SIGNED.replace(b"\r\n", b"\n"), (True, False)),
        (
            b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\nx\r\n",
            (True, False),
        ),
        (b"Content-Type: application/X-PKCS7-MIME; name=smime.p7m\r\n\r\nx\r\n", (False, True)),
        (b"\r\nx\r\n-----BEGIN PGP MESSAGE-----\r\n", (False, True)),
        (b"\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n", (True, False)),
        (b"\r\n> -----BEGIN PGP SIGNED MESSAGE-----\r\n", (False, False)),
        (b"\r\nSomeone wrote of Content-Type: multipart/signed.\r\n", (False, False)),
        (
            b"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n" + SIGNED + b"--m--\r\n",
            (True, False),
        ),
        (b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n" + SIGNED, (True, False)),
    ],
)
def test_signed_and_encrypted_mail_is_known(rest: bytes, expected: tuple[bool, bool]) -> None:
    assert protection(look(HEAD + rest)) == expected


def test_a_word_cut_in_two_by_a_block_is_found() -> None:
    for back in range(1, 40):
        filling = b"x\r\n" * ((source.BLOCK - len(HEAD) - 2) // 3)
        start = HEAD + b"\r\n" + filling
        start += b"y" * (source.BLOCK - len(start) - back) + b"\r\n"
        assert look(start + b"-----BEGIN PGP MESSAGE-----\r\n").is_encrypted


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        (b"Mon, 1 Jan 2024 10:00:00 +0100", datetime(2024, 1, 1, 9, tzinfo=UTC)),
        (b"1 Jan 2024 10:00:00 -0130 (comment)", datetime(2024, 1, 1, 11, 30, tzinfo=UTC)),
        (b"Mon,\r\n 1 Jan 2024 10:00 EST", datetime(2024, 1, 1, 15, tzinfo=UTC)),
        (b"1 Jan 70 00:00 GMT", datetime(1970, 1, 1, tzinfo=UTC)),
        (b"Mon, 1 Jan 2024 10:00:00", datetime(2024, 1, 1, 10, tzinfo=UTC)),
        (b"Sat, 31 Dec 2016 23:59:60 +0000", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (b"Thu, 32 Foo 99999 25:61:61 +9999", None),
        (b"Mon, 31 Feb 2024 10:00:00 +0000", None),
        (b"Mon, 1 Jan 0001 00:00:00 +1400", None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_dates_are_instants_or_nothing(date: bytes, expected: datetime | None) -> None:
    assert look(b"Date: " + date + b"\r\n\r\n").sent == expected
    assert look(b"Received: by x (a; b); " + date + b"\r\n\r\n").received == expected


def test_the_topmost_of_several_received_fields_counts() -> None:
    found = look(
        b"Received: by a; Mon, 1 Jan 2024 10:00:00 +0000\r\n"
        b"Received: by b; Mon, 1 Jan 2018 10:00:00 +0000\r\n\r\n"
    )

    assert found.received == datetime(2024, 1, 1, 10, tzinfo=UTC)


@given(st.binary(max_size=60))
def test_no_date_raises(date: bytes) -> None:
    for found in (look(b"Date: " + date), look(b"Received: ;" + date)):
        for moment in (found.sent, found.received):
            assert moment is None or moment.tzinfo is not None


class Trickle(io.BytesIO):
    """A file that gives few octets at a time."""

    def __init__(self, octets: bytes, most: int) -> None:
        super().__init__(octets)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(self._most, size) if size is not None and size >= 0 else size)


@given(anything, st.integers(1, 50))
def test_how_the_octets_arrive_makes_no_difference(message: bytes, most: int) -> None:
    assert inspect(Trickle(message, most)) == look(message)
