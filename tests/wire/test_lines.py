"""The multi-line answers of POP3: their dots are undone, and nothing else is changed."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from waystation.stream import Stream

if TYPE_CHECKING:
    import socket


PIECES = st.lists(
    st.sampled_from([b".", b"..", b"\r\n", b"\r", b"\n", b"a", b".\r", b"\r\r\n", b".\n", b"\0"])
)


@given(PIECES, st.lists(st.integers(1, 5) | st.just(1000), min_size=1))
def test_an_answer_of_lines_is_undone_exactly_however_it_is_cut(
    pieces: list[bytes], sizes: list[int]
) -> None:
    body = b"".join(pieces)
    body += b"" if not body or body.endswith(b"\r\n") else b"\r\n"
    lines = body.split(b"\r\n")[:-1]
    sent = b"".join((b"." if line[:1] == b"." else b"") + line + b"\r\n" for line in lines)
    stream = Stream(
        cast("socket.socket", InPieces(b"+OK\r\n" + sent + b".\r\n+OK next\r\n", sizes)), "host"
    )
    found = bytearray()

    assert stream.readline() == b"+OK\r\n"
    if (whole := stream.lines()) is not None:
        found += whole
    else:
        stream.copy_lines(found.extend)

    assert bytes(found) == body
    assert stream.readline() == b"+OK next\r\n"


class InPieces:
    """What receives octets as a line delivers them: in pieces of any size."""

    def __init__(self, octets: bytes, sizes: list[int]) -> None:
        self._octets = octets
        self._sizes = cycle(sizes)

    def recv_into(self, buffer: memoryview) -> int:
        piece = self._octets[: min(next(self._sizes), len(buffer))]
        self._octets = self._octets[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)
