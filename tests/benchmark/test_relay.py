"""The relay changes nothing but the time."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from scripts.benchmark.relay import HOST, relay

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def connected(
    round_trip: float, bandwidth: float | None = None
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield both ends of a connection through a relay."""
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(10)
        port = listener.getsockname()[1]
        with (
            relay(port, round_trip, bandwidth) as there,
            socket.create_connection((HOST, there), timeout=10) as client,
        ):
            server, _ = listener.accept()
            server.settimeout(10)
            with server:
                yield client, server


def received(end: socket.socket) -> bytes:
    """Return all that comes until the other side has said its last."""
    parts = []
    while part := end.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("round_trip", [0.0, 0.04])
def test_octets_pass_unchanged_both_ways_at_once(round_trip: float) -> None:
    rng = random.Random(1)
    there, back = rng.randbytes(3_000_000), rng.randbytes(2_000_000)
    with connected(round_trip) as (client, server):
        results: dict[str, bytes] = {}

        def say(end: socket.socket, octets: bytes) -> None:
            end.sendall(octets)
            end.shutdown(socket.SHUT_WR)

        def hear(name: str, end: socket.socket) -> None:
            results[name] = received(end)

        threads = [
            threading.Thread(target=say, args=(client, there)),
            threading.Thread(target=say, args=(server, back)),
            threading.Thread(target=hear, args=("server", server)),
            threading.Thread(target=hear, args=("client", client)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

    assert results == {"server": there, "client": back}


def test_one_side_may_end_and_still_listen() -> None:
    with connected(0.0) as (client, server):
        client.sendall(b"the question")
        client.shutdown(socket.SHUT_WR)

        assert received(server) == b"the question"
        server.sendall(b"the answer")
        server.shutdown(socket.SHUT_WR)

        assert received(client) == b"the answer"


def test_a_question_takes_the_round_trip_at_least() -> None:
    with connected(0.04) as (client, server):
        began = time.monotonic()
        client.sendall(b"?")
        server.recv(1)
        server.sendall(b"!")
        client.recv(1)

        assert time.monotonic() - began >= 0.04


def test_a_server_that_is_not_there_ends_the_connection() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    with relay(port, 0.0) as there, socket.create_connection((HOST, there), timeout=10) as client:
        assert client.recv(1) == b""


def test_a_client_that_goes_away_is_seen_by_the_server() -> None:
    with connected(0.0) as (client, server):
        client.close()

        assert server.recv(1) == b""
