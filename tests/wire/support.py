"""A wire whose other end is in the test's hand."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from waystation.stream import Stream
from waystation.wire import Fetched, Tagged, Wire

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass
class Kept:
    """A body that stays in memory."""

    octets: bytearray = field(default_factory=bytearray)
    is_discarded: bool = False

    def write(self, piece: memoryview) -> None:
        self.octets += piece

    def discard(self) -> None:
        self.is_discarded = True


class Server:
    """The other end of a socket pair: says what it is told to, keeps what it hears."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        ours.settimeout(5)
        self.theirs.settimeout(5)
        self.stream = Stream(ours, "mail.example.org")
        self.wire = Wire(self.stream)
        self.bodies: list[Kept] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.theirs.close()
        for thread in self._threads:
            thread.join()

    def says(self, *lines: bytes, ends: bool = False) -> None:
        """Send lines, each with its line end; from a thread, so that none is too long."""
        data = b"".join(line + b"\r\n" for line in lines)

        def send() -> None:
            try:
                self.theirs.sendall(data)
                if ends:
                    self.theirs.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the client has hung up, which is what some tests are about

        self._threads.append(threading.Thread(target=send))
        self._threads[-1].start()

    def heard(self, size: int = 1 << 16) -> bytes:
        """Return what has been sent to the server."""
        return self.theirs.recv(size)

    def heard_in_all(self) -> bytes:
        """Return everything that is sent until the client hangs up."""
        parts = bytearray()
        while octets := self.theirs.recv(1 << 16):
            parts += octets
        return bytes(parts)

    def body(self, size: int) -> Kept:
        """Begin a body; ``bodies`` remembers it."""
        self.bodies.append(Kept())
        return self.bodies[-1]

    def fetch(self, *lines: bytes, sets: Iterable[bytes] = (b"1:9",)) -> list[Fetched[Kept]]:
        """Return what a FETCH makes of these lines and an OK."""
        self.says(*lines, b"W1 OK done")
        answers = list(self.wire.fetch(sets, self.body))
        return [answer for answer in answers if not isinstance(answer, Tagged)]
