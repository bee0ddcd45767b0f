"""What people type, and what it means."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.query import (
    EVERYTHING,
    And,
    Flag,
    HasAttachment,
    InFolder,
    MessageId,
    Not,
    Number,
    Or,
    QueryError,
    Received,
    Size,
    State,
    Words,
    parse,
    terms,
)

NOW = datetime(2024, 5, 15, 10, 30, tzinfo=UTC)
DAY = 86_400


def day(year: int, month: int, number: int) -> int:
    return int(datetime(year, month, number, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", EVERYTHING),
        ("  ", EVERYTHING),
        ("invoice", Words("invoice")),
        ("invoice march", And((Words("invoice"), Words("march")))),
        ("invoice AND march", And((Words("invoice"), Words("march")))),
        ("a OR b c", Or((Words("a"), And((Words("b"), Words("c")))))),
        ("(a OR b) c", And((Or((Words("a"), Words("b"))), Words("c")))),
        ('"dear ada"', Words("dear ada")),
        ("\u201edear ada\u201c", Words("dear ada")),
        ("-spam", Not(Words("spam"))),
        ("NOT spam", Not(Words("spam"))),
        ("-(a OR b)", Not(Or((Words("a"), Words("b"))))),
        ("re-use", Words("re-use")),
        ("inv*", Words("inv", is_prefix=True)),
        ('"inv*"', Words("inv*")),
        ("or and not", And((Words("or"), Words("and"), Words("not")))),
        ("from:ada@example.org", Words("ada@example.org", "sender")),
        ("FROM:ada", Words("ada", "sender")),
        ('from:"Ada Lovelace"', Words("Ada Lovelace", "sender")),
        ("from:(ada OR bob)", Or((Words("ada", "sender"), Words("bob", "sender")))),
        ("to:bob", Words("bob", "recipients")),
        ("subject:re:", Words("re:", "subject")),
        ("-subject:re", Not(Words("re", "subject"))),
        ("filename:*.pdf", Words("*.pdf", "names")),
        ("http://example.org", Words("http://example.org")),
        ("12:30", Words("12:30")),
        ('"form:ada"', Words("form:ada")),
        ("has:attachment", HasAttachment()),
        ("is:unread", Not(Flag("\\Seen"))),
        ("is:read", Flag("\\Seen")),
        ("-is:read", Not(Flag("\\Seen"))),
        ("is:flagged is:draft", And((Flag("\\Flagged"), Flag("\\Draft")))),
        ("flag:seen", Flag("\\Seen")),
        ("keyword:$Forwarded", Flag("$Forwarded")),
        ("folder:Sent*", InFolder("Sent*")),
        ('folder:"Sent Items"', InFolder("Sent Items")),
        ("larger:10M", Size(above=10 * 1024 * 1024)),
        ("smaller:500k", Size(below=500 * 1024)),
        ("id:4711", Number(4711)),
        ("id:<a@b>", MessageId("a@b")),
        ("message-id:a@b", MessageId("a@b")),
        ("state:refused", State("refused")),
        ("before:2024-05-01", Received(before=day(2024, 5, 1))),
        ("after:2024/5/1", Received(since=day(2024, 5, 1))),
        ("since:2024-05", Received(since=day(2024, 5, 1))),
        ("on:2024-05-01", Received(day(2024, 5, 1), day(2024, 5, 2))),
        ("on:2024", Received(day(2024, 1, 1), day(2025, 1, 1))),
        ("on:2023-12", Received(day(2023, 12, 1), day(2024, 1, 1))),
        ("on:yesterday", Received(day(2024, 5, 14), day(2024, 5, 15))),
        ("on:3d", Received(day(2024, 5, 12), day(2024, 5, 13))),
        ("after:30d", Received(since=int(NOW.timestamp()) - 30 * DAY)),
        ("after:2024-05-01T08:00+02:00", Received(since=day(2024, 5, 1) + 6 * 3600)),
    ],
)
def test_a_query_means_what_people_expect(text: str, meaning: object) -> None:
    assert parse(text, NOW) == meaning


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("invoice form:ada", 8, "did you mean from:?"),
        ("abracadabra:x", 0, "there are: from, to,"),
        ('an "open phrase', 3, "is not closed"),
        ("(a b", 0, "is not closed"),
        ("a b)", 3, "closes nothing"),
        ("a OR", 4, "something to look for is missing"),
        ("OR a", 0, "something to look for is missing"),
        ("a AND", 2, "AND stands between two things"),
        ("()", 1, "something to look for is missing"),
        ("from: ada", 0, "its value is missing"),
        ("from:", 0, "its value is missing"),
        ('from:""', 5, "no letter and no digit"),
        ("tom & jerry", 4, "no letter and no digit"),
        ("before:soon", 7, "is no date"),
        ("before:2024-13-01", 7, "is no date"),
        ("larger:big", 7, "is no size"),
        ("is:happy", 3, "There are: unread, read"),
        ("has:wings", 4, "there is has:attachment"),
        ("folder:@attic", 7, "is no special use"),
        ("state:lost", 6, "There are: archived"),
        ("from:(to:a)", 6, "one field stands in another"),
        ("a -", 2, "no letter and no digit"),
        ("NOT", 0, "what shall not be there is missing"),
        ("(" * 30 + "a" + ")" * 30, 21, "nested too deeply"),
        ("-" + "(-" * 30 + "a", 21, "nested too deeply"),
        ("a " * 201, 400, "more than 200 words"),
        ("a" * 5000, 4000, "more than 4,000 characters"),
    ],
)
def test_what_makes_no_sense_is_pointed_at(text: str, at: int, words: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text, NOW)

    assert words in str(caught.value)
    assert caught.value.at == at
    assert caught.value.query == text


def test_what_is_not_to_be_there_is_no_term_to_show() -> None:
    assert terms(parse("a (b OR -c) -d from:e is:read", NOW)) == [
        Words("a"),
        Words("b"),
        Words("e", "sender"),
    ]


PIECES = st.sampled_from(
    ["(", ")", '"', "-", "*", ":", " ", "OR", "AND", "NOT", "from:", "is:", "is:read", "a", "NEAR(",
     "^", "+", "{", "}", "'", ";", "--", "\0", "\ud800", "before:", "2024", "@", "\u201c", "é",
     "日本"]
)  # fmt: skip


@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=25).map("".join)))
def test_any_text_is_a_query_or_a_clear_error(text: str) -> None:
    with suppress(QueryError):
        parse(text, NOW)


@given(st.lists(PIECES, min_size=1, max_size=25).map("".join))
def test_an_error_is_one_line_and_points_into_the_query(text: str) -> None:
    caught = wrong(text)
    if caught is not None:
        assert 0 <= caught.at <= len(text)
        assert str(caught).isprintable()


def wrong(text: str) -> QueryError | None:
    try:
        parse(text, NOW)
    except QueryError as error:
        return error
    return None
