"""The reader and the writer of our own, word for word."""

from __future__ import annotations

import io
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.support import Kept, Server
from waystation.errors import (
    ConnectionLostError,
    MessageTooLargeError,
    ProtocolError,
    RefusedError,
    StorageError,
)
from waystation.wire import (
    Tagged,
    format_date,
    is_flag,
    members,
    number,
    parse_date,
    quoted,
    uid_sets,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

DATE = b'INTERNALDATE "01-May-2024 08:30:00 +0200"'


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


# --- FETCH


@pytest.mark.parametrize(
    "line",
    [
        b"* 1 FETCH (UID 7 FLAGS (\\Seen todo) " + DATE + b" BODY[] {5}\r\nhello)",
        b"* 1 FETCH (BODY[] {5}\r\nhello UID 7 FLAGS (\\Seen todo) " + DATE + b")",
        b"* 1 FETCH (BODY[] ~{5}\r\nhello " + DATE + b" FLAGS (todo \\SEEN) UID 7)",
        b"* 1 fetch (uid 7 flags (\\seen todo) " + DATE + b' body[] "hello")',
        b"* 1 FETCH (UID 7 FLAGS (\\Seen todo) " + DATE + b" BODY[]<0> {5}\r\nhello)",
        b"* 1 FETCH (UID 7 FLAGS (\\Seen todo) " + DATE + b' BODY[]<0> "hello")',
        b"* 1 FETCH (RFC822 {5}\r\nhello UID 7 FLAGS (\\Seen todo) " + DATE + b")",
        b"* 1 FETCH (UID 7 MODSEQ (12) X-NEW ((a (b)) {2}\r\n)) c) FLAGS (todo \\Seen \\Recent) "
        + DATE
        + b" BODY[] {5}\r\nhello)",
        b"* 1 FETCH (UID 7 FLAGS (\\Seen todo) " + DATE + b" BODY[] {5}\r\nhello X-AFTER {1}\r\n))",
        b'* 1 FETCH (ENVELOPE ("\\"(" NIL ((NIL NIL "a" "b"))) UID 7 FLAGS (\\Seen todo) '
        + DATE
        + b" BODY[] {5}\r\nhello)",
    ],
)
def test_a_message_is_read_whatever_the_order_and_form_of_its_items(
    server: Server, line: bytes
) -> None:
    [fetched] = server.fetch(line)

    message = fetched.message
    assert message.uid == 7
    assert (message.flags, message.keywords) == (("\\Seen",), ("todo",))
    assert message.internaldate == datetime(2024, 5, 1, 6, 30, tzinfo=UTC)
    assert fetched.body is not None
    assert bytes(fetched.body.octets) == b"hello"
    assert not fetched.body.is_discarded


def test_answers_that_nobody_asked_for_do_no_harm(server: Server) -> None:
    found = server.fetch(
        b"* 12 EXISTS",
        b"* OK [ALERT] the roof is on fire {7}",
        b"* 3 FETCH (FLAGS (\\Seen))",
        b"* VANISHED (EARLIER) 1:4",
        b"* SEARCH",
        b"* X-GM-NOTE {3}\r\n\r\n)",
        b"* 1 FETCH (UID 7 FLAGS () " + DATE + b" BODY[] {0}\r\n)",
        b"* 1 EXPUNGE",
    )

    assert [f.message.uid for f in found if f.body is not None] == [7]


@pytest.mark.parametrize(
    "line",
    [
        b"* 1 FETCH (FLAGS () BODY[] {5}\r\nhello)",
        b"* 1 FETCH (UID 0 BODY[] {5}\r\nhello)",
        b"* 1 FETCH (UID 99999999999999999999999 BODY[] {5}\r\nhello)",
        b"* 1 FETCH (UID 7 (BODY[] {5}\r\nhello))",
        b"* 1 OTHER (UID 7 BODY[] {5}\r\nhello)",
        b"* OTHER BODY[] {5}\r\nhello",
    ],
)
def test_a_body_that_belongs_to_no_message_is_put_away(server: Server, line: bytes) -> None:
    found = server.fetch(line)

    assert all(fetched.body is None for fetched in found)
    assert [body.is_discarded for body in server.bodies] == [True]


def test_the_first_of_two_bodies_in_one_answer_is_put_away(server: Server) -> None:
    [fetched] = server.fetch(b"* 1 FETCH (UID 7 BODY[] {1}\r\na BODY[] {1}\r\nb)")

    assert [body.is_discarded for body in server.bodies] == [True, False]
    assert fetched.body is server.bodies[1]


def test_nil_is_no_body(server: Server) -> None:
    [fetched] = server.fetch(b"* 1 FETCH (UID 7 FLAGS () " + DATE + b" BODY[] NIL)")

    assert fetched.body is None


@pytest.mark.parametrize(
    "lines",
    [
        [b"* 1 FETCH (UID 7 FLAGS () " + DATE + b" BODY[] {50}", b"hel"],
        [b"* 1 FETCH (UID 7 FLAGS () " + DATE + b" BODY[] {3}", b"hel"],
        [b"* 1 FETCH (BODY[] {3}", b"hel UID 7 X {50}", b"..."],
    ],
)
def test_a_body_that_does_not_come_to_its_end_is_put_away(
    server: Server, lines: list[bytes]
) -> None:
    server.says(*lines, ends=True)

    with pytest.raises((ConnectionLostError, ProtocolError)):
        list(server.wire.fetch([b"1:9"], server.body))

    assert [body.is_discarded for body in server.bodies] == [True]


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"",
        b"*",
        b"* ",
        b"* 1",
        b"* {5}",
        b"+ go on",
        b"W1",
        b"W1 MAYBE",
        b"\xff\xfe",
        b"* 1 FETCH (UID 7 BODY[] {1}\r\na\r\nW1 OK half a line",
        b"* %s FETCH (UID 7)" % (b"9" * 5000),
    ],
)
def test_garbage_is_a_protocol_error(server: Server, line: bytes) -> None:
    server.says(line, b"again and again", ends=True)

    with pytest.raises(ProtocolError, match="does not answer as an IMAP server"):
        list(server.wire.fetch([b"1"], server.body))

    assert all(body.is_discarded for body in server.bodies)


def test_the_bare_line_of_an_exchange_whose_back_end_is_away_is_a_lost_connection(
    server: Server,
) -> None:
    for call in (
        lambda: list(server.wire.fetch([b"1"], server.body)),
        lambda: list(server.wire.flags(b"UID FETCH 1 FLAGS")),
        lambda: list(server.wire.untagged(b"NAMESPACE")),
        lambda: server.wire.converse(b"NOOP"),
    ):
        server.says(b"Server Unavailable. 15")
        with pytest.raises(ConnectionLostError, match="Server Unavailable"):
            call()


def test_an_answer_to_another_tag_is_a_protocol_error(server: Server) -> None:
    for call in (
        lambda: list(server.wire.fetch([b"1"], server.body)),
        lambda: list(server.wire.flags(b"UID FETCH 1 FLAGS")),
        lambda: list(server.wire.untagged(b"NOOP")),
        lambda: server.wire.converse(b"NOOP"),
    ):
        server.says(b"X9 OK what was it?")
        with pytest.raises(ProtocolError, match="what was not asked"):
            call()


def test_ten_gigabytes_are_refused_when_they_are_announced(server: Server) -> None:
    server.says(b"* 1 FETCH (UID 7 FLAGS () " + DATE + b" BODY[] {10000000000}")

    with pytest.raises(MessageTooLargeError, match="10,000,000,000"):
        list(server.wire.fetch([b"1"], server.body))

    assert server.bodies == []


@pytest.mark.parametrize(
    "line",
    [
        b"* 1 FETCH (UID 7 BODY[HEADER] {10000000000}",
        b"* LIST () NIL {10000000000}",
        b"* LIST () NIL {%s}" % (b"9" * 20),
    ],
)
def test_no_other_literal_fills_the_memory(server: Server, line: bytes) -> None:
    server.says(line)

    with pytest.raises(ProtocolError):
        list(server.wire.untagged(b"NOOP"))


def test_an_answer_of_endless_literals_is_given_up(server: Server) -> None:
    piece = b"{1000000}\r\n" + b"x" * 1_000_000
    server.says(b"* LIST " + piece * 40)

    with pytest.raises(ProtocolError, match="does not end"):
        list(server.wire.untagged(b"NOOP"))


def test_a_line_without_end_is_given_up(server: Server) -> None:
    server.says(b"* SEARCH" + b" 1" * 10_000_000)

    with pytest.raises(ProtocolError, match="longer than"):
        list(server.wire.untagged(b"NOOP"))


def test_a_long_line_is_read(server: Server) -> None:
    server.says(b"* SEARCH" + b" 12345" * 200_000, b"W1 OK")

    [(name, tokens)] = list(server.wire.untagged(b"UID SEARCH ALL"))

    assert (name, len(tokens)) == (b"SEARCH", 200_000)


def test_a_quote_that_is_never_closed_costs_no_time(server: Server) -> None:
    server.says(b'* LIST () "/" "' + b'\\"' * 1_000_000, b"W1 OK")

    with pytest.raises(ProtocolError):
        list(server.wire.untagged(b"LIST"))


@pytest.mark.parametrize("tail", [b"lo)", b" lo)", b"lo", b"lo))", b'lo "X)', b"lo) Y", b"(lo)"])
def test_a_message_announced_too_short_is_not_taken_for_whole(server: Server, tail: bytes) -> None:
    head = b"* 1 FETCH (UID 7 FLAGS () " + DATE + b" BODY[] {3}\r\n"
    server.says(head + b"hel" + tail, b"W1 OK")

    with pytest.raises(ProtocolError):
        list(server.wire.fetch([b"7"], server.body))

    assert [body.is_discarded for body in server.bodies] == [True]


def test_goodbye_words_are_in_the_error(server: Server) -> None:
    server.says(b"* BYE [UNAVAILABLE] back at noon")

    with pytest.raises(ConnectionLostError, match="back at noon"):
        list(server.wire.fetch([b"1"], server.body))


def test_two_commands_are_in_flight_and_the_third_waits(server: Server) -> None:
    server.says(b"W1 OK", b"W2 NO [LIMIT] slower", b"W3 BAD never")

    answers = list(server.wire.fetch([b"1", b"2", b"3"], server.body, depth=2))

    tagged = [answer for answer in answers if isinstance(answer, Tagged)]
    assert [(t.status, t.text) for t in tagged] == [
        ("OK", ""),
        ("NO", "[LIMIT] slower"),
        ("BAD", "never"),
    ]
    assert tagged[1].reply == "NO [LIMIT] slower"
    assert server.heard().count(b"\r\n") == 3


def test_commands_that_end_in_another_order_are_told_in_theirs(server: Server) -> None:
    server.says(b"W2 NO second", b"W1 OK first", b"W3 OK third")

    answers = list(server.wire.fetch([b"1", b"2", b"3"], server.body, depth=2))

    assert [a.text for a in answers if isinstance(a, Tagged)] == ["first", "second", "third"]


def test_flags_are_listed_as_they_come(server: Server) -> None:
    server.says(
        b"* 1 FETCH (UID 1 FLAGS (\\Seen))",
        b"* 2 FETCH (UID 2 FLAGS (a NIL b) MODSEQ (7))",
        b"* 3 FETCH (MODSEQ (8) FLAGS (NIL) UID 4294967295)",
        b"* 4 FETCH (FLAGS ())",
        b"* 5 FETCH (UID 4294967296 FLAGS ())",
        b"W1 OK",
    )

    assert list(server.wire.flags(b"UID FETCH 1:* (UID FLAGS)")) == [
        (1, ("\\Seen",), ()),
        (2, (), ("NIL", "a", "b")),
        (4294967295, (), ("NIL",)),
    ]


def test_a_refused_listing_is_an_error_after_all_answers(server: Server) -> None:
    server.says(b"* 1 FETCH (UID 1 FLAGS ())", b"W1 NO [NOPERM] not yours")
    lines = server.wire.flags(b"UID FETCH 1:* (UID FLAGS)")

    assert next(lines)[0] == 1
    with pytest.raises(RefusedError, match="not yours") as caught:
        next(lines)
    assert not caught.value.retriable


def test_messages_are_described_by_size_and_header(server: Server) -> None:
    rest = b" FLAGS () " + DATE
    server.says(
        b"* 1 FETCH (UID 1" + rest + b" RFC822.SIZE 12 BODY[HEADER]<0> {3}\r\na\r\n)",
        b"* 2 FETCH (BODY[HEADER.FIELDS (DATE FROM)] {2}\r\n\r\n UID 2 RFC822.SIZE soon"
        + rest
        + b")",
        b'* 3 FETCH (UID 3 BODY[HEADER.FIELDS ("DATE")] "x" RFC822.SIZE 3)',
        b"* 4 FETCH (UID 4 BODY[HEADER] NIL RFC822.SIZE 3)",
        b"* 5 FETCH (UID 5 RFC822.SIZE 3)",
        b"W1 OK",
    )

    found = [(d.message.uid, d.size, d.header) for d in server.wire.describe(b"1:4", b"HEADER", 99)]

    assert found == [(1, 12, b"a\r\n"), (2, -1, b"\r\n"), (3, 3, b"x"), (4, 3, b"")]
    assert b"BODY.PEEK[HEADER]<0.99>" in server.heard()


# --- APPEND


EVIL = bytes(range(256)) + b"\nbare\rends\r\r\n\x00W1 LOGOUT\r\n"


@pytest.mark.parametrize("size", [0, 1, 300, 70_000, 1_000_000])
@pytest.mark.parametrize("synchronising", [False, True])
def test_exactly_the_octets_of_the_file_are_sent(
    server: Server, size: int, synchronising: bool
) -> None:
    message = (EVIL * (size // len(EVIL) + 1))[:size]
    if synchronising:
        server.says(b"* 1 EXISTS", b"+ go on")
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(server.heard_in_all()))
    reader.start()

    tag = server.wire.send_append(
        b'a "b"',
        ["\\Seen", "$Forwarded"],
        datetime(2024, 5, 1, 8, 30, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
        io.BytesIO(message),
        size,
        synchronising=synchronising,
    )
    server.stream.close()
    reader.join()

    sign = b"" if synchronising else b"+"
    head = b'W1 APPEND "a \\"b\\"" (\\Seen $Forwarded) "01-May-2024 08:30:00 -0330" {%d%b}\r\n'
    assert tag == b"W1"
    assert heard == [head % (size, sign) + message + b"\r\n"]


def test_a_message_refused_before_its_octets_is_not_sent(server: Server) -> None:
    server.says(b"W1 NO [TOOBIG] too big")

    tag = server.wire.send_append(b"x", [], None, io.BytesIO(b"hello"), 5, synchronising=True)

    assert server.heard() == b'W1 APPEND "x" () {5}\r\n'
    assert server.wire.next_tagged() == Tagged(tag, "NO", "[TOOBIG] too big")


def test_answers_to_pipelined_messages_come_in_order(server: Server) -> None:
    for body in (b"one", b"two"):
        server.wire.send_append(b"x", [], None, io.BytesIO(body), 3, synchronising=False)
    server.says(b"W1 OK [APPENDUID 5 6] done", b"* 2 EXISTS", b"W2 NO [OVERQUOTA] full", b"+ go")
    server.wire.send_append(b"x", [], None, io.BytesIO(b"3"), 1, synchronising=True)
    server.says(b"W3 OK")

    answers = [server.wire.next_tagged() for _ in range(3)]

    assert [(a.tag, a.is_ok, a.appenduid) for a in answers] == [
        (b"W1", True, (5, 6)),
        (b"W2", False, None),
        (b"W3", True, None),
    ]


def test_a_file_that_became_shorter_is_no_message(server: Server) -> None:
    with pytest.raises(StorageError, match="shorter"):
        server.wire.send_append(b"x", [], None, io.BytesIO(b"hel"), 5, synchronising=False)


@pytest.mark.parametrize("flag", ["a b", "a)", "a\r\nb", 'a"b', "ü", "🎉", "", "\\", "a{5}", "a\0"])
def test_a_flag_that_no_command_can_hold_is_not_sent(server: Server, flag: str) -> None:
    assert not is_flag(flag)
    with pytest.raises(ValueError, match="flag"):
        server.wire.send_append(b"x", [flag], None, io.BytesIO(b""), 0, synchronising=False)


@pytest.mark.parametrize("flag", ["\\Seen", "$Forwarded", "NonJunk", "a.b-c_d/e:f", "NIL", "[x"])
def test_an_ordinary_flag_can_be_sent(flag: str) -> None:
    assert is_flag(flag)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[APPENDUID 38505 3955] APPEND completed", (38505, 3955)),
        ("[appenduid 1 2]", (1, 2)),
        ("done", None),
        ("[APPENDUID 1] x", None),
        ("[APPENDUID 1 2:3] x", None),
        ("[APPENDUID 0 5]", None),
        ("[APPENDUID -1 5]", None),
        ("[APPENDUID 12345678901 5]", None),
        ("APPENDUID 1 2", None),
    ],
)
def test_appenduid_is_taken_only_where_it_makes_sense(
    text: str, expected: tuple[int, int] | None
) -> None:
    assert Tagged(b"W1", "OK", text).appenduid == expected


# --- names, dates, sets, numbers


@pytest.mark.parametrize("name", [b"a\rb", b"a\nb", b"a\0b"])
def test_a_name_that_would_end_the_command_is_never_sent(name: bytes) -> None:
    with pytest.raises(ValueError, match="NUL, CR or LF"):
        quoted(name)


@given(
    st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9998, 1, 1)),  # noqa: DTZ001
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_a_date_survives_the_way_out_and_back(moment: datetime, minutes: int) -> None:
    date = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))

    found = parse_date(b'"' + format_date(date) + b'"')

    assert found == date
    assert found is not None
    assert found.utcoffset() == date.utcoffset()


@pytest.mark.parametrize(
    "text",
    [
        *(None, b"", b"NIL", b"01-May-2024", b"01-Foo-2024 08:30:00 +0000"),
        *(b"00-May-2024 08:30:00 +0000", b"31-Feb-2024 08:30:00 +0000"),
        *(b"01-May-2024 24:30:00 +0000", b"01-May-2024 08:30:00 +9999"),
        *(b"01-May-0000 08:30:00 +0000", b"01-May-2024 08:30:00"),
    ],
)
def test_what_is_no_date_is_none(text: bytes | None) -> None:
    assert parse_date(text) is None


@pytest.mark.parametrize("text", [b'" 1-May-2024 08:30:00 +0000"', b"1-may-2024 08:30:00 +0000"])
def test_a_date_with_a_short_day_is_read(text: bytes) -> None:
    assert parse_date(text) == datetime(2024, 5, 1, 8, 30, tzinfo=UTC)


@given(st.data())
def test_any_octets_are_a_date_or_none(data: st.DataObject) -> None:
    parse_date(data.draw(st.binary(max_size=40)))


@given(
    st.sets(st.integers(1, 2**32 - 1) | st.integers(1, 300), max_size=1200),
    st.integers(1, 500),
)
def test_sets_name_each_uid_once_and_stay_short(uids: set[int], count: int) -> None:
    sets = list(uid_sets(sorted(uids), count))

    assert [uid for each in sets for uid in members(each)] == sorted(uids)
    assert all(len(members(each)) <= count for each in sets)
    assert all(len(each) <= 8000 for each in sets)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        *((b"0", 0), (b"4294967295", 2**32 - 1), (b"4294967296", None), (b"9" * 5000, None)),
        *((b"-1", None), (b"", None), (None, None), (b"1.5", None)),
    ],
)
def test_a_number_has_a_size(token: bytes | None, expected: int | None) -> None:
    assert number(token) == expected


@given(st.binary(max_size=300))
def test_no_answer_whatever_it_is_raises_anything_but_ours(octets: bytes) -> None:
    with Server() as server:
        server.says(octets, b"W1 OK", ends=True)
        try:
            for _ in server.wire.fetch([b"1"], server.body):
                pass
        except (ProtocolError, ConnectionLostError, MessageTooLargeError):
            assert all(isinstance(body, Kept) for body in server.bodies)
