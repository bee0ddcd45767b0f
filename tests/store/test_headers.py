from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.headers import LONGEST_VALUE, Headers, fingerprint, header_end, parse

ORDINARY = (
    b"Received: from a.example (a.example [192.0.2.1])\r\n"
    b"\tby b.example with ESMTPS id 4711\r\n"
    b"\tfor <bob@b.example>; Wed, 1 May 2024 08:30:00 +0200\r\n"
    b"From: Alice <alice@a.example>\r\n"
    b"To: Bob <bob@b.example>,\r\n Carol <carol@c.example>\r\n"
    b"Cc: dave@d.example\r\n"
    b"Subject: Lunch\r\n"
    b"Date: Wed, 1 May 2024 08:29:58 +0200\r\n"
    b"Message-ID: <1@a.example>\r\n"
    b"\r\n"
    b"Subject: not this one\r\n"
)

PIECE = st.sampled_from(
    [
        *(b"Subject:", b"From: ", b"message-id:", b"TO :", b"Cc:", b"Date:", b"\r\n", b"\n", b"\r"),
        *(b" ", b"\t", b"=?", b"?=", b"=?utf-8?q?", b"=?utf-8?b?", b"=?x?b?", b"=?utf-7?q?"),
        *(b"=?unicode_escape?q?=5Cq?=", b"=?idna?q?x?=", b"=?utf-16?b?2AA=?=", b"=?hex?q?00?="),
        *(
            b"=E2=80=AE",
            b"=00",
            b"=0D=0A",
            b"\xe2\x80\xae",
            b"\xff",
            b"\x00",
            b"\x1b",
            b"w6Q=",
            b"x",
        ),
    ]
)
JUNK = st.binary(max_size=200) | st.lists(PIECE | st.binary(max_size=3), max_size=40).map(b"".join)


def subject(raw: bytes) -> str | None:
    return parse(b"Subject: " + raw + b"\r\n\r\n").subject


def test_the_headers_of_an_ordinary_message_are_read() -> None:
    assert parse(ORDINARY) == Headers(
        message_id="<1@a.example>",
        date="Wed, 1 May 2024 08:29:58 +0200",
        sender="Alice <alice@a.example>",
        recipients="Bob <bob@b.example>, Carol <carol@c.example>, dave@d.example",
        subject="Lunch",
    )


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\r\n"])
def test_line_ends_of_any_kind_are_read(end: bytes) -> None:
    assert parse(ORDINARY.replace(b"\r\n", end)) == parse(ORDINARY)


@pytest.mark.parametrize(
    "head", [b"", b"\r\n", b"\nSubject: body", b"Subject:\r\n\r\n", b"Subject: \n"]
)
def test_what_is_missing_or_empty_is_none(head: bytes) -> None:
    assert parse(head) == Headers(None, None, None, None, None)


def test_the_first_field_of_a_name_counts() -> None:
    assert parse(b"subject : one\nSUBJECT: two\n").subject == "one"


def test_a_field_name_inside_another_value_is_no_field() -> None:
    assert parse(b"X-To: a\nX: Subject: b\n Subject: c\n").subject is None


def test_only_one_of_to_and_cc_needs_no_comma() -> None:
    assert parse(b"Cc: a@x\n").recipients == "a@x"
    assert parse(b"To:\nCc: a@x\n").recipients == "a@x"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe_an_alle?=", "Grüße an alle"),
        (b"=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        (b"=?UTF-8?B?R3LDvMOfZQ?=", "Grüße"),
        (b"Re: =?iso-8859-1?Q?gr=FC=DFe?= =?iso-8859-1?Q?_an?= all", "Re: grüße an all"),
        (b"=?utf-8?q?a=C3?=\r\n =?utf-8?q?=BC?=", "aü"),
        (b"=?utf-8?q?a?= =?iso-8859-1?q?=FC?=", "aü"),
        (b"=?utf-8*de?q?a?=", "a"),
        (b"=?gb2312?B?1tDOxA==?=", "中文"),
        (b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
        (b"=?us-ascii?q?=C3=BC?=", "ü"),
        ("Größe =?utf-8?q?漢=C3=BC?= 漢字".encode(), "Größe 漢ü 漢字"),
        ("Grüße".encode(), "Grüße"),
        ("Grüße".encode("latin-1"), "Grüße"),
        ("10 €".encode("cp1252"), "10 €"),
        (b"caf\xe9 \x81", "café \ufffd"),
    ],
)
def test_a_subject_is_read_as_it_was_meant(raw: bytes, text: str) -> None:
    assert subject(raw) == text


@pytest.mark.parametrize(
    "raw",
    [
        "=?x-unknown?q?abc?=",
        "=?utf-8?q?=FF?=",
        "=?utf-8?b?A?=",
        "=?utf-8?b?ü?=",
        "=?unicode_escape?q?=5Cq?=",
        "=?idna?q?xn--a?=",
        "=?hex?q?00?=",
        "=?utf-8?x?abc?=",
        "=?utf-8?q?abc",
        "=?=?=?",
    ],
)
def test_a_broken_encoded_word_keeps_its_raw_text(raw: str) -> None:
    assert subject(raw.encode()) == raw


def test_an_encoded_word_cannot_forge_a_line_or_turn_the_text() -> None:
    raw = b"=?utf-8?q?a=0D=0ABcc:_x=00=1B[31m=E2=80=AEgpj=EF=BB=BF?="

    assert subject(raw) == "a Bcc: x\ufffd\ufffd[31m\ufffdgpj\ufffd"


def test_joined_emoji_and_soft_hyphens_stay() -> None:
    assert subject("👩\u200d🚀 Grö\u00adße".encode()) == "👩\u200d🚀 Grö\u00adße"


def test_a_message_id_is_taken_as_it_stands() -> None:
    head = b"Message-ID:\r\n <=?utf-8?q?a?=@x>\r\n\r\n"

    assert parse(head).message_id == "<=?utf-8?q?a?=@x>"


def test_every_value_is_cut() -> None:
    long = b"x" * 5000
    head = b"Message-ID: %b\nDate: %b\nFrom: %b\nTo: %b\nCc: %b\nSubject: %b\n" % ((long,) * 6)
    cut = "x" * LONGEST_VALUE

    assert parse(head) == Headers(cut, cut, cut, cut, cut)
    assert parse(b"To: a\nCc: " + long).recipients == ("a, " + cut)[:LONGEST_VALUE]


@pytest.mark.parametrize(
    ("head", "end"),
    [
        (b"A: b\r\n\r\nbody", 8),
        (b"A: b\n\nbody", 6),
        (b"A: b\r\rbody", 6),
        (b"A: b\n\r\nbody", 7),
        (b"A: b\r\r\n\r\r\nbody", 10),
        (b"A: b\r\r\nC: d", 11),
        (b"A: b\r\n \r\nC: d\n\n\n", 15),
        (b"\r\nbody", 2),
        (b"\rbody", 1),
        (b"A: b\n\nbody\r\n\r\n", 6),
        (b"A: b\r\rbody\r\n\r\n", 6),
        (b"A: b\n\rbody\r\n\r\n", 6),
        (b"\nbody\r\n\r\n", 1),
        (b"A: b\r\n", 6),
        (b"", 0),
    ],
)
def test_the_header_ends_after_the_first_empty_line(head: bytes, end: int) -> None:
    assert header_end(head) == end


@pytest.mark.parametrize(
    "head",
    [
        b"\r" * 65535 + b"\n",
        b"Subject:" + b"\r\n " * 20000,
        b"Subject: " + b"=?a?q?" * 10000,
        b"Subject: " + b"=?" * 30000,
        b"Subject: " + b"=?utf-8?q?a?= " * 4000,
        b"\nto" + b" \t" * 30000,
    ],
)
def test_a_header_made_to_be_slow_is_not(head: bytes) -> None:
    for _ in range(10):
        parse(head)
        fingerprint(head)


def test_a_fingerprint_survives_tidying() -> None:
    tidied = (
        b"MESSAGE-ID:<1@a.example>\n"
        b"subject:\n Lunch  \n"
        b"Date: Wed,  1 May 2024\n\t08:29:58 +0200\n"
        b"From:\tAlice\n <alice@a.example>\n\n"
    )

    assert fingerprint(tidied) == fingerprint(ORDINARY)


def test_an_empty_field_counts_as_none() -> None:
    assert fingerprint(b"Subject: \nDate: x\n") == fingerprint(b"Date: x\n\n")


def test_a_fingerprint_tells_messages_apart() -> None:
    heads = [b"", b"Subject: a", b"Subject: A", b"Date: a", b"From: a", b"From: -", b"Subject: a b"]
    heads += [b"Message-ID: a\nDate: b", b"Message-ID: b\nDate: a", b"Message-ID: a\n =b"]

    assert len({fingerprint(head) for head in heads}) == len(heads)


@given(JUNK)
def test_any_octets_give_text_that_can_be_stored_and_shown(head: bytes) -> None:
    found = parse(b"Subject: a" + head)
    values = (found.message_id, found.date, found.sender, found.recipients, found.subject)
    for value in values:
        if value is None:
            continue
        assert value.encode()
        assert len(value) <= LONGEST_VALUE
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", value)
        assert not {unicodedata.category(c) for c in value} & {"Cc", "Cs", "Zl", "Zp"}


@given(JUNK)
def test_the_body_never_changes_what_is_read(body: bytes) -> None:
    assert parse(ORDINARY[: header_end(ORDINARY)] + body) == parse(ORDINARY)
    assert fingerprint(ORDINARY[: header_end(ORDINARY)] + body) == fingerprint(ORDINARY)


@given(JUNK)
def test_the_header_end_lies_inside(head: bytes) -> None:
    assert 0 <= header_end(head) <= len(head)
    assert header_end(head[: header_end(head)]) == header_end(head)


@given(st.text("\r\na", max_size=12).map(str.encode))
def test_the_header_end_is_that_of_the_careful_search(head: bytes) -> None:
    blank = re.search(rb"\n(?:\r?\r?\n|\r)|\r(?!\r?\n)\r(?:\r\n)?|\A(?:\r?\r?\n|\r)", head)

    assert header_end(head) == (blank.end() if blank else len(head))


@given(st.permutations([b"Message-ID: <1@x>", b"Date: d", b"From: f", b"Subject: s", b"X: y"]))
def test_the_order_of_fields_does_not_change_the_fingerprint(fields: list[bytes]) -> None:
    wanted = fingerprint(b"Message-ID: <1@x>\nDate: d\nFrom: f\nSubject: s\n\n")

    assert fingerprint(b"\r\n".join(fields) + b"\r\n\r\n") == wanted
