"""The content of a message does not depend on how its octets arrive."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from importer.digest import Content, Digest, content_of

if TYPE_CHECKING:
    from pathlib import Path

octets = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b"\x80", b"a", b"Subject: x", b"\n\n"])
).map(b"".join)


def digest(*pieces: bytes) -> Content:
    taken = Digest()
    for piece in pieces:
        taken.write(memoryview(piece))
    taken.discard()
    return taken.content


@given(octets, st.lists(st.integers(0, 40)))
def test_chunking_does_not_matter(message: bytes, cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(message)]
    pieces = [message[a:b] for a, b in pairwise(ends)]

    assert digest(*pieces) == digest(message)


@given(octets)
def test_exact_is_the_sha256(message: bytes) -> None:
    assert digest(message).exact == hashlib.sha256(message).hexdigest()


@given(octets)
def test_line_ends_and_nul_make_no_difference_to_tidy(message: bytes) -> None:
    tidied = message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").replace(b"\0", b"\x80")

    assert digest(tidied).tidy == digest(message).tidy
    assert digest(tidied).body == digest(message).body


@given(octets, st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\n\r\n"]))
def test_a_line_end_at_the_end_makes_no_difference_to_tidy(message: bytes, end: bytes) -> None:
    assert digest(message + end).tidy == digest(message).tidy
    assert digest(message + end).body == digest(message).body
    assert digest(message + end).exact != digest(message).exact


@given(octets, st.integers(1, 3))
def test_line_ends_before_the_end_do_make_a_difference(message: bytes, more: int) -> None:
    assert digest(b"a" + b"\n" * more + b"b").tidy != digest(b"ab").tidy
    assert digest(message + b"\n" * more + b"b").tidy != digest(message).tidy


def test_many_line_ends_in_a_row_are_not_held_in_memory() -> None:
    many = b"\n" * 3_000_000

    assert digest(b"\n\na", many, b"b").body == hashlib.sha256(b"\na" + many + b"b").hexdigest()


def test_a_header_more_makes_no_difference_to_the_body() -> None:
    message = b"Subject: x\r\n\r\nText.\r\n"

    assert digest(b"X-New: 1\r\n" + message).body == digest(message).body
    assert digest(b"X-New: 1\r\n" + message).tidy != digest(message).tidy
    assert digest(message + b"More.\r\n").body != digest(message).body


def test_a_message_that_begins_with_an_empty_line_is_all_body() -> None:
    assert digest(b"\r\nText.").body == hashlib.sha256(b"Text.").hexdigest()


def test_a_file_has_the_content_of_its_octets(tmp_path: Path) -> None:
    message = b"Subject: x\n\n" + b"line\r\n" * 500_000
    (tmp_path / "file").write_bytes(message)

    assert content_of(tmp_path / "file") == digest(message)
