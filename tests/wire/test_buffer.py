"""The receive buffer: small while a connection waits, large for whoever receives much."""

from __future__ import annotations

import socket
import tracemalloc
from contextlib import ExitStack, closing
from random import Random
from typing import cast

import pytest

from tests.wire.test_lines import InPieces
from waystation.stream import Stream


def stream(octets: bytes, sizes: list[int]) -> Stream:
    return Stream(cast("socket.socket", InPieces(octets, sizes)), "host")


SIZES = [[1 << 20], [16_384], [16_383, 1, 16_384], [5, 70_000], [4_096]]


@pytest.mark.parametrize("sizes", SIZES)
def test_a_long_body_comes_whole_while_the_buffer_grows(sizes: list[int]) -> None:
    body = Random(1).randbytes(700_000)
    found = bytearray()
    connection = stream(b"* 1 FETCH {700000}\r\n" + body + b")\r\nA1 OK done\r\n", sizes)

    assert connection.readline() == b"* 1 FETCH {700000}\r\n"
    connection.copy(len(body), found.extend)

    assert found == body
    assert connection.readline() == b")\r\n"
    connection.push_back(b"first\r\n" + b"x" * 20_000 + b"\r\n")
    assert connection.readline() == b"first\r\n"
    assert len(connection.readline()) == 20_002
    assert connection.readline() == b"A1 OK done\r\n"


@pytest.mark.parametrize("sizes", SIZES)
def test_long_lines_of_pop3_come_whole_while_the_buffer_grows(sizes: list[int]) -> None:
    chance = Random(2)
    lines = [b"." * chance.randrange(3) + b"a" * chance.randrange(400) for _ in range(3_000)]
    sent = b"".join((b"." if line[:1] == b"." else b"") + line + b"\r\n" for line in lines)
    found = bytearray()
    connection = stream(sent + b".\r\n+OK next\r\n", sizes)

    connection.copy_lines(found.extend)

    assert found == b"".join(line + b"\r\n" for line in lines)
    assert connection.readline() == b"+OK next\r\n"


def test_a_connection_that_waits_holds_little_memory() -> None:
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(50)]
        for end in (each for pair in pairs for each in pair):
            stack.enter_context(closing(end))
        tracemalloc.start()
        waiting = [Stream(ours, "host") for ours, _ in pairs]
        for (_, theirs), each in zip(pairs, waiting, strict=True):
            theirs.sendall(b"* OK ready\r\n")
            each.readline()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert held < 50 * 20_000
