"""What is read of a message to find it by."""

from __future__ import annotations

import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.words import MOST_TEXT, content_of, spaced, text_of_html
from tests import corpus


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("plain", ["plain"]),
        ("<p>one</p><p>two</p>", ["one", "two"]),
        ("one<br>two", ["one", "two"]),
        ("o<b>n</b>e", ["one"]),
        ("a &amp; b&nbsp;c &eacute;", ["a", "&", "b", "c", "é"]),
        ("a<script>x < y > z</script>b", ["ab"]),
        ("a <style>x</style> b", ["a", "b"]),
        ("a <!-- x <b> y --> b", ["a", "b"]),
        ("a <!-- never closed <b> y", ["a"]),
        ("a <script> never closed <b> y", ["a"]),
        ("a < b and b > c", ["a", "c"]),
        ("<html", []),
    ],
)
def test_html_becomes_words(markup: str, words: list[str]) -> None:
    assert text_of_html(markup).split() == words


@pytest.mark.parametrize("piece", ["<script", "<!--", "<", "<a ", "&", "<style>", "<p>", "</"])
def test_hostile_html_costs_no_more_than_other(piece: str) -> None:
    began = time.process_time()

    text_of_html(piece * (1024 * 1024 // len(piece)))

    assert time.process_time() - began < 5


@given(st.text())
def test_any_markup_has_an_answer(markup: str) -> None:
    text_of_html(markup)


def test_a_message_is_read_up_to_a_bound() -> None:
    long = b"Subject: long\r\n\r\n" + b"word " * 200_000 + b"end\r\n"

    content = content_of(io.BytesIO(long))

    assert len(content.body) == MOST_TEXT
    assert content.subject == "long"


@pytest.mark.parametrize(("name", "body"), corpus.hostile())
def test_any_message_has_an_answer(name: str, body: bytes) -> None:
    content = content_of(io.BytesIO(body))

    assert len(content.body) <= MOST_TEXT + 10_000


def test_pictures_that_a_text_shows_are_no_attachments() -> None:
    related = (
        b"Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n"
        b"<img src=cid:x>\r\n--b\r\nContent-Type: image/png; name=x.png\r\nContent-ID: <x>\r\n"
        b"\r\nx\r\n--b--\r\n"
    )
    mixed = related.replace(b"related", b"mixed")

    assert content_of(io.BytesIO(related)).attachments == 0
    assert content_of(io.BytesIO(mixed)).attachments == 1
    assert content_of(io.BytesIO(mixed)).names == "x.png"


def test_chinese_and_japanese_characters_stand_alone() -> None:
    assert spaced("請求 abc é").split() == ["請", "求", "abc", "é"]
