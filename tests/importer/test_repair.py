"""A mended copy means what the original means."""

from __future__ import annotations

import email
import io
import re
from email import policy
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from importer.inspection import inspect
from importer.repair import (
    Limits,
    Step,
    further,
    needed,
    needs_altering,
    repaired,
)
from tests.corpus import hostile
from tests.importer.hostile_mail import HEAD, TIGHT, leaves, look, mend, unfolded

if TYPE_CHECKING:
    from pathlib import Path

USUAL = Limits()

LONG = b"x" * 20_000
MIXED = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def mixed(*parts: bytes) -> bytes:
    return MIXED + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def mended_as_needed(message: bytes) -> tuple[bytes, list[str]]:
    mended, repairs = mend(message, *needed(look(message), USUAL), limits=USUAL)
    assert needed(look(mended), USUAL) == ()
    return mended, [repair.what for repair in repairs]


# Which steps


def test_ordinary_mail_goes_out_as_it_is() -> None:
    file = io.BytesIO(HEAD + b"\r\nHello.\r\n")

    assert needed(inspect(file), USUAL) == ()
    with repaired(file, needed(inspect(file), USUAL), USUAL) as (given, size, repairs):
        assert given is file
        assert (given.tell(), size, repairs) == (0, len(file.getvalue()), ())


def test_steps_that_find_nothing_give_the_original_back() -> None:
    file = io.BytesIO(HEAD + b"\r\nHello.\r\n")

    with repaired(file, [step for step in Step if step != Step.ENVELOPE], USUAL) as given:
        assert given == (file, len(file.getvalue()), ())


def test_what_would_break_the_session_is_mended_before_the_first_try() -> None:
    message = b"Return-Receipt-To: a@b\n\nnul \0\n" + LONG

    assert needed(look(message), USUAL) == (
        Step.LINE_ENDS,
        Step.RECEIPTS,
        Step.LONG_LINES,
        Step.NUL,
    )


def test_receipts_may_be_left_armed() -> None:
    found = look(b"Return-Receipt-To: a@b\r\n\r\nx\r\n")

    assert needed(found, USUAL) == (Step.RECEIPTS,)
    assert needed(found, Limits(disarm_receipts=False)) == ()


def test_the_ladder_rises_from_the_header_to_the_envelope() -> None:
    found = look(b"Subject: \xe4\n\nx\n")

    assert further(found, USUAL) == (
        (Step.LINE_ENDS, Step.HEADERS),
        (Step.LINE_ENDS, Step.HEADERS, Step.MIME),
        (Step.ENVELOPE,),
    )


def test_a_rung_that_would_change_nothing_is_left_out() -> None:
    assert further(look(HEAD + b"\r\nx\r\n"), USUAL) == (
        (Step.HEADERS, Step.MIME),
        (Step.ENVELOPE,),
    )


SIGNED = HEAD + b"Content-Type: multipart/signed; boundary=b\r\n"


def test_signed_mail_is_wrapped_rather_than_altered() -> None:
    found = look(SIGNED + b"\r\n--b\r\n\r\n" + LONG + b"\r\n--b--\r\n")

    assert needs_altering(found, USUAL)
    assert needed(found, USUAL) == (Step.ENVELOPE,)
    assert further(found, USUAL) == ()


def test_signed_mail_is_otherwise_touched_in_its_header_and_line_ends_alone() -> None:
    found = look(SIGNED + b"Return-Receipt-To: a@b\n\n--b\n\nx\n--b--\n")

    assert not needs_altering(found, USUAL)
    assert needed(found, USUAL) == (Step.LINE_ENDS, Step.RECEIPTS)
    assert further(found, USUAL) == ((Step.ENVELOPE,),)


# Line ends and receipts


def test_cr_cr_lf_is_one_line_end() -> None:
    mended, (what,) = mended_as_needed(b"Subject: a\r\r\nTo: b\r\r\n\r\r\nx\ry\r\r\n")

    assert mended == b"Subject: a\r\nTo: b\r\n\r\nx\r\ny\r\n"
    assert what == "made every line end CRLF"


def test_line_ends_cut_in_two_by_a_block_stay_one() -> None:
    for back in range(4):
        text = b"x" * (64 * 1024 - 2 - back)
        mended, _ = mend(b"\n" + text + b"\r\r\ny\r\n", Step.LINE_ENDS)

        assert mended.replace(text, b"") == b"\r\n\r\ny\r\n"


def test_a_disarmed_field_keeps_its_name_and_value() -> None:
    mended, whats = mended_as_needed(
        b"Disposition-Notification-To: a@b,\r\n c@d\r\nReturn-Receipt-To : e@f\r\n\r\n"
        b"Return-Receipt-To: in the body\r\n"
    )

    assert mended == (
        b"X-Disarmed-Disposition-Notification-To: a@b,\r\n c@d\r\n"
        b"X-Disarmed-Return-Receipt-To : e@f\r\n\r\nReturn-Receipt-To: in the body\r\n"
    )
    assert whats == [
        "renamed Disposition-Notification-To to X-Disarmed-Disposition-Notification-To; "
        "renamed Return-Receipt-To to X-Disarmed-Return-Receipt-To"
    ]


def test_a_renamed_field_that_becomes_too_long_is_folded() -> None:
    message = b"Return-Receipt-To: " + b"a@b, " * 1975 + b"c@d\r\n\r\nx\r\n"
    assert look(message).longest_line <= USUAL.longest_line

    mended, _ = mended_as_needed(message)

    assert unfolded(mended, "X-Disarmed-Return-Receipt-To") == unfolded(
        message, "Return-Receipt-To"
    )


# Long header lines


def test_references_are_folded_at_blanks_and_mean_the_same() -> None:
    message = b"References: " + b" ".join([b"<id@example.org>"] * 900) + b"\r\n\r\nx\r\n"

    mended, (what,) = mended_as_needed(message)

    assert what == "folded the header References, 15,313 octets long"
    assert max(map(len, mended.split(b"\r\n"))) <= 998
    assert mended.replace(b"\r\n <", b" <") == message


def test_a_field_without_a_blank_is_folded_after_a_comma_or_cut() -> None:
    commas, _ = mended_as_needed(b"To: " + b"a@example.org," * 900 + b"b@c\r\n\r\nx\r\n")
    solid, _ = mended_as_needed(b"X-Blob: " + LONG + b"\r\n\r\nx\r\n")

    assert b"a@example.org,\r\n a@example.org," in commas
    assert unfolded(solid, "X-Blob").replace(" ", "") == LONG.decode()


def test_encoded_words_stay_whole() -> None:
    word = b"=?utf-8?q?" + b"=C3=A4" * 9 + b"?="
    message = b"Subject: " + word * 400 + b"\r\n\r\nx\r\n"

    mended, _ = mended_as_needed(message)

    assert mended.count(word) == 400
    assert re.fullmatch(rb"Subject: (\r\n )*\r\n\r\nx\r\n", mended.replace(word, b""))


def test_a_line_of_blanks_does_not_end_the_header() -> None:
    mended, _ = mended_as_needed(b"Subject: a" + b" " * 20_000 + b"b\r\nTo: c@d\r\n\r\nx\r\n")

    assert email.message_from_bytes(mended)["To"] == "c@d"
    assert unfolded(mended, "Subject").split() == ["a", "b"]

    mended, _ = mended_as_needed(b"X: " + b"a " * 5_000 + b" " * 90 + b"\r\nTo: c@d\r\n\r\nx\r\n")

    assert all(line.strip() for line in mended.partition(b"\r\n\r\n")[0].split(b"\r\n"))


# Long lines and NUL in parts


@pytest.mark.parametrize(
    ("fields", "line", "encoding"),
    [
        (b"Content-Type: text/plain; charset=utf-8", LONG, "quoted-printable"),
        (b"Content-Type: text/html\r\nContent-Transfer-Encoding: 8bit", LONG, "quoted-printable"),
        (b"Content-Type: text/plain; charset=koi8-r", b"\xc1" * 20_000, "base64"),
        (b"Content-Type: application/json", LONG, "base64"),
        (b"Content-Type: application/json\r\nContent-Transfer-Encoding: x-none", LONG, "base64"),
        (
            b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64",
            b"QUJD" * 9000,
            "base64",
        ),
        (
            b"Content-Transfer-Encoding: quoted-printable",
            b"=C3=A4 =\r\n" + b"=C3=A4b=3D" * 3000 + b"=\r\nx =41 ",
            "quoted-printable",
        ),
        (b"X-No: type", b"two\r\nlines  \r\n" + b" " * 20_000, "quoted-printable"),
        (b"Content-Type: text/plain; charset=utf-16", b"a\0b\0" * 3000, "base64"),
    ],
)
def test_exactly_the_part_with_the_long_line_is_encoded_anew(
    fields: bytes, line: bytes, encoding: str
) -> None:
    before = b"Content-Type: text/html\r\n\r\nbefore "
    after = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ=="
    message = mixed(before, fields + b"\r\n\r\n" + line, after)

    mended, whats = mended_as_needed(message)

    assert leaves(mended) == leaves(message)
    _, first, second, third = email.message_from_bytes(mended).walk()
    assert second["Content-Transfer-Encoding"] == encoding
    assert second["Content-Type"] == email.message_from_bytes(fields)["Content-Type"]
    assert b"--b\r\n" + before + b"\r\n--b\r\n" in mended
    assert mended.endswith(b"--b\r\n" + after + b"\r\n--b--\r\n")
    assert first.items() + third.items()
    assert len(whats) == 1
    assert f"a line of {max(map(len, line.splitlines())):,} octets" in whats[0]


def test_a_text_alone_becomes_quoted_printable_and_says_that_it_is_mime() -> None:
    mended, (what,) = mended_as_needed(b"Subject: x\r\n\r\n" + LONG + b"\r\nend\r\n")

    assert mended.startswith(
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nxxx"
    )
    assert leaves(mended) == [("text/plain", LONG + b"\r\nend\r\n")]
    assert what == "encoded a text/plain part that had a line of 20,000 octets as quoted-printable"


def test_quoted_printable_has_no_blanks_at_the_ends_of_lines() -> None:
    mended, _ = mended_as_needed(b"Subject: x\r\n\r\nblank \r\ntab\t\r\n" + LONG + b"\r\n")

    assert b"\r\nblank=20\r\ntab=09\r\n" in mended
    assert max(map(len, mended.split(b"\r\n"))) <= 76


def test_a_part_in_a_message_in_a_message_is_found() -> None:
    inner = b"Subject: inner\r\nContent-Type: image/gif\r\n\r\n" + LONG
    message = mixed(b"Content-Type: message/rfc822\r\n\r\n" + mixed(inner, inner))

    mended, _ = mended_as_needed(message)

    assert leaves(mended) == leaves(message)


def test_nul_is_kept_in_parts_and_dropped_from_headers() -> None:
    message = HEAD + b"X-Odd: a\0b\r\n\0\r\nContent-Type: image/gif\r\n\r\na\0b\r\n"

    mended, (what,) = mended_as_needed(message)

    assert leaves(mended) == [("image/gif", b"a\0b\r\n")]
    assert email.message_from_bytes(mended)["X-Odd"] == "ab"
    assert "removed NUL from the header X-Odd" in what
    assert "encoded an image/gif part that had NUL in it as base64" in what


def test_text_around_the_parts_is_cut_as_a_last_resort() -> None:
    message = MIXED + LONG + b"\r\n--b\r\n\r\nx\r\n--b--\r\n" + LONG + b"\r\n"

    mended, (what,) = mended_as_needed(message)

    assert (
        what
        == "cut long lines in text outside of the parts, as nothing better can be done (2 times)"
    )
    assert mended.replace(b"\r\n", b"") == message.replace(b"\r\n", b"")
    assert leaves(mended) == leaves(message)


def test_a_boundary_with_blanks_after_it_stays_one() -> None:
    message = MIXED + b"--b" + b" " * 30_000 + b"\r\n\r\nx\r\n--b--\r\n"

    mended, (what,) = mended_as_needed(message)

    assert what == "removed blanks after a boundary"
    assert mended == MIXED + b"--b\r\n\r\nx\r\n--b--\r\n"


def test_a_long_line_in_a_delivery_report_is_folded() -> None:
    report = b"Content-Type: message/delivery-status\r\n\r\n"
    message = mixed(report + b"Diagnostic-Code: smtp;" + b" 550 no" * 3000)

    mended, (what,) = mended_as_needed(message)

    assert what == "folded long lines of a message/delivery-status part"
    assert mended.replace(b"\r\n 550", b" 550") == message


def test_a_boundary_in_the_way_of_rfc_2231_is_understood() -> None:
    for written in (
        b"boundary*=us-ascii'en'%62",
        b'boundary*0="b"; boundary*1=""',
        b'Boundary = "\\b"',
    ):
        message = mixed(b"\r\nx", b"Content-Type: image/gif\r\n\r\n" + LONG).replace(
            b"boundary=b", written
        )

        _, (what,) = mended_as_needed(message)

        assert "an image/gif part" in what


def test_a_multipart_without_a_boundary_is_cut() -> None:
    message = HEAD + b"Content-Type: multipart/mixed\r\n\r\n" + LONG + b"\r\n"

    _, (what,) = mended_as_needed(message)

    assert (
        what
        == "cut long lines in broken MIME, a multipart/mixed part, as nothing better can be done"
    )


# Headers


def test_broken_header_lines_are_kept_under_a_name() -> None:
    mended, (repair,) = mend(
        b"From a@b Mon Jan  1 00:00:00 2001\r\nSubject: x\r\nno field\r\n of two lines\r\n"
        b"To: a@b\r\n\r\nno field in the body\r\n",
        Step.HEADERS,
    )

    assert mended == (
        b"X-Waystation-Broken-Header: From a@b Mon Jan  1 00:00:00 2001\r\nSubject: x\r\n"
        b"X-Waystation-Broken-Header: no field\r\n of two lines\r\n"
        b"To: a@b\r\n\r\nno field in the body\r\n"
    )
    assert repair.what == (
        "kept a header line that is no field as X-Waystation-Broken-Header (2 times)"
    )


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Subject: Grüße aus Köln".encode(), "Grüße aus Köln"),
        ("Subject: Grüße aus Köln €".encode("cp1252"), "Grüße aus Köln €"),
        ("Subject: all plain but größer, and plain".encode(), "all plain but größer, and plain"),
        (
            "Subject: 会議 🎉 会議 🎉 会議 🎉 会議 🎉 会議 🎉 会議 🎉".encode(),
            "会議 🎉 " * 5 + "会議 🎉",
        ),
        ("From: Jürgen <j@x.org>".encode(), "Jürgen <j@x.org>"),
        ('From: "Müller, Jürgen" <j@x.org>'.encode(), '"Müller, Jürgen" <j@x.org>'),
        ('To: "A, B" <a@b.org>, Jürgen <j@x.org>'.encode(), '"A, B" <a@b.org>, Jürgen <j@x.org>'),
    ],
)
def test_octets_beyond_ascii_become_encoded_words(field: bytes, expected: str) -> None:
    mended, _ = mend(
        HEAD.replace(b"From", b"X-F").replace(b"To", b"X-T").replace(b"Subject", b"X-S")
        + field
        + b"\r\n\r\n\xe4\r\n",
        Step.HEADERS,
    )

    name = field.partition(b":")[0].decode()
    assert str(email.message_from_bytes(mended, policy=policy.default)[name]) == expected
    assert mended.endswith(b"\r\n\r\n\xe4\r\n")
    assert not look(mended).has_8bit_header


# MIME


def test_a_message_whose_header_cannot_be_decoded_becomes_a_file() -> None:
    good = b"Subject: =?utf-8?q?=C3=A4?=\r\n\r\ngood\r\n"
    bad = b"Subject: =?x-none?b?////?=\r\nTo: a@b\r\n\r\nbad\r\n"
    inside = b"Content-Type: message/rfc822\r\n\r\n"

    mended, (repair,) = mend(mixed(inside + good, inside + bad, b"\r\nend"), Step.MIME)

    _, first, _, second, third = email.message_from_bytes(mended).walk()
    assert first.get_content_type() == "message/rfc822"
    assert second.get_content_type() == "application/octet-stream"
    assert second.get_filename() == "message-1.eml"
    assert second.get_payload(decode=True) == bad
    assert third.get_payload() == "end"
    assert repair.what == "made a message in the message the file message-1.eml"


def test_every_message_becomes_a_file_when_nothing_else_is_wrong() -> None:
    inside = b"Content-Type: message/rfc822\r\n\r\n"
    nested = mixed(b"\r\none", inside + b"Subject: deep\r\n\r\ndeep")

    mended, _ = mend(mixed(inside + nested, inside + b"Subject: two\r\n\r\n"), Step.MIME)

    _, first, second = email.message_from_bytes(mended).walk()
    assert first.get_payload(decode=True) == nested
    assert second.get_payload(decode=True) == b"Subject: two\r\n\r\n"
    assert second.get_filename() == "message-2.eml"


def test_a_receipt_becomes_an_ordinary_message() -> None:
    message = HEAD + (
        b"Content-Type: multipart/report; report-type=disposition-notification;\r\n"
        b' boundary="b c"\r\n\r\n--b c\r\n\r\nYour message was read.\r\n--b c\r\n'
        b"Content-Type: message/disposition-notification\r\n\r\n"
        b"Reporting-UA: x\r\nDisposition: manual-action/MDN-sent-manually; displayed\r\n--b c--\r\n"
    )

    mended, (repair,) = mend(message, Step.MIME)

    whole, text, notification = email.message_from_bytes(mended).walk()
    assert whole.get_content_type() == "multipart/mixed"
    assert text.get_payload() == "Your message was read."
    assert notification.get_content_type() == "text/plain"
    assert notification.get_payload() == (
        "Reporting-UA: x\r\nDisposition: manual-action/MDN-sent-manually; displayed"
    )
    assert repair.what == (
        "made a receipt an ordinary multipart; made the notification of a receipt a text"
    )


def test_multiparts_are_closed() -> None:
    inner = b"Content-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nx"
    message = MIXED + b"--b\r\n" + inner + b"\r\n--b\r\n\r\ny\r\n"

    mended, (repair,) = mend(message, Step.MIME)

    assert mended == MIXED + b"--b\r\n" + inner + b"\r\n--i--\r\n--b\r\n\r\ny\r\n--b--\r\n"
    assert leaves(mended) == leaves(message)
    assert repair.what == "closed a multipart whose last boundary was missing (2 times)"


def test_a_part_in_an_unknown_encoding_keeps_its_octets() -> None:
    part = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: gzip64\r\n\r\n\x01\xff x"

    mended, (repair,) = mend(mixed(part), Step.MIME)

    assert leaves(mended) == [("text/plain", b"\x01\xff x")]
    assert b"gzip64" not in mended
    assert repair.what == "encoded as base64 what was in the encoding gzip64"


# The envelope


def test_an_envelope_looks_like_the_message_in_a_list() -> None:
    message = HEAD.replace(b"Hello", "Grüße".encode()) + b"Cc: \xe4 <c@d>\nbroken\n\nNUL \0" + LONG

    wrapped, (repair,) = mend(message, Step.ENVELOPE, limits=USUAL)

    parsed = email.message_from_bytes(wrapped, policy=policy.default)
    assert parsed["From"] == "Anna <a@example.org>"
    assert parsed["To"] == "b@example.org"
    assert parsed["Cc"] == "ä <c@d>"
    assert parsed["Subject"] == "Grüße"
    assert parsed["Date"] == "Mon, 01 Jan 2001 00:00:00 +0000"
    assert parsed["Message-ID"] == "<1@example.org>"
    assert repair.what == "put the whole message as original.eml into a new one"


def test_an_envelope_has_legal_fields_whatever_the_message_had() -> None:
    message = (
        b'From: "unclosed <a@b>\r\nTo: ' + b"someone@example.org, " * 500 + b"\r\n"
        b"Subject: =?x-none?b?////?= " + b"\xe4" * 2000 + b"\r\nDate: yesterday\r\n"
        b"Received: by x; Tue, 2 Jan 2001 00:00:00 +0000\r\nMessage-ID: \xff\r\n\r\nx\r\n"
    )

    wrapped, _ = mend(message, Step.ENVELOPE, limits=USUAL)

    header = wrapped.partition(b"\r\n\r\n")[0]
    assert len(header) < 5_000
    assert header.isascii()
    assert b"=?x-none" not in header
    parsed = email.message_from_bytes(wrapped)
    assert parsed["Date"] == "02 Jan 2001 00:00:00 +0000"
    assert parsed["Message-ID"] is None
    assert parsed["To"].endswith("someone@example.org")


# All there is


@pytest.mark.parametrize(("name", "message"), hostile(), ids=[name for name, _ in hostile()])
def test_the_hostile_corpus_climbs_the_whole_ladder(name: str, message: bytes) -> None:
    for steps in [needed(look(message), USUAL), *further(look(message), USUAL)]:
        mended, _ = mend(message, *steps, limits=USUAL)
        assert needed(look(mended), USUAL) == ()


def samples() -> list[bytes]:
    try:
        data = resources.files("test.test_email") / "data"
    except ModuleNotFoundError:
        return []
    return [
        file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        for file in sorted(data.iterdir(), key=lambda file: file.name)
        if re.fullmatch(r"msg_\d+\.txt", file.name)
    ]


def is_defective(message: bytes) -> bool:
    parts = email.message_from_bytes(message).walk()
    return any(part.defects or "\0" in str(part.items()) for part in parts)


@pytest.mark.parametrize("sample", samples())
def test_the_samples_of_python_keep_their_parts(sample: bytes) -> None:
    longer = re.sub(
        rb"(?m)^(\w[^:\r\n]*) ([^:\r\n]*\r)$", rb"\1\0 " + b"long " * 150 + rb"\2", sample
    )

    mended, _ = mend(longer, Step.LINE_ENDS, Step.LONG_LINES, Step.NUL)

    assert needed(look(mended), TIGHT) == ()
    if not is_defective(longer) and b"external-body" not in sample.lower():
        assert leaves(mended) == leaves(longer if longer.endswith(b"\n") else longer + b"\r\n")


def test_a_copy_lies_in_the_directory_that_is_given_and_is_gone_after_it(tmp_path: Path) -> None:
    file = io.BytesIO(HEAD + b"\n" + b"x\n" * 1_000_000)

    with repaired(file, [Step.LINE_ENDS], USUAL, tmp_path) as (copy, size, _):
        assert copy is not file
        assert size > 3_000_000
    assert copy.closed
    assert not file.closed
    assert list(tmp_path.iterdir()) == []
    with (
        pytest.raises(OSError, match="No such file"),
        repaired(file, [Step.LINE_ENDS], USUAL, tmp_path / "gone"),
    ):
        pass
