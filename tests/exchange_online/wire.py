"""One TLS connection as lines and literals, and the end of it in all its forms."""

from __future__ import annotations

import re
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

_CHUNK = 64 * 1024
_SEND_TIMEOUT = 120.0
_TICK = 0.05


class GoneError(Exception):
    """The client is gone, or the server stops."""


class IdleError(Exception):
    """Nothing came for too long."""


class LongLineError(Exception):
    """A literal has a line that the server cannot read; what follows are commands to it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end."""

    octets: bytes
    is_too_long: bool


class Link:
    """A connection. Used by one thread, but ``abort`` may be called by any."""

    def __init__(self, sock: ssl.SSLSocket, is_stopping: Callable[[], bool]) -> None:
        self._sock = sock
        self._is_stopping = is_stopping
        self._buffer = bytearray()
        self.sent = 0

    def line(self, limit: int, idle: float, watch: Callable[[], None] | None = None) -> Line:
        """Return the next line; what is beyond the limit is read and forgotten.

        ``watch`` is called now and then while nothing comes.
        """
        kept = bytearray()
        while True:
            end = self._buffer.find(b"\n")
            taken = self._buffer[: end + 1] if end >= 0 else self._buffer[:]
            del self._buffer[: len(taken)]
            if len(kept) <= limit + 2:
                kept += taken
            if end >= 0:
                octets = bytes(kept).removesuffix(b"\n").removesuffix(b"\r")
                return Line(octets[: limit + 1], len(octets) > limit)
            self._fill(idle, watch)

    def literal(
        self, size: int, take: Callable[[bytes], None], idle: float, longest_line: int | None
    ) -> None:
        """Hand over the octets of a literal as they come.

        Raises:
            LongLineError: a line is longer than the server can bear. The octets up to there
                are read, what follows is not.
        """
        left, run = size, 0
        while left:
            if not self._buffer:
                self._fill(idle, None)
            chunk = bytes(self._buffer[:left])
            if longest_line is not None:
                lines = chunk.split(b"\n")
                lengths = [len(line) for line in lines]
                lengths[0] += run
                if max(lengths) > longest_line:
                    good = _good_octets(lengths, run, longest_line)
                    del self._buffer[:good]
                    raise LongLineError
                run = lengths[-1]
            del self._buffer[: len(chunk)]
            left -= len(chunk)
            take(chunk)

    def send(self, octets: bytes) -> None:
        """Send octets in one write."""
        self.sent += len(octets)
        try:
            self._sock.settimeout(_SEND_TIMEOUT)
            self._sock.sendall(octets)
        except (OSError, ValueError) as error:
            raise GoneError from error

    def send_all(self, pieces: Iterable[bytes]) -> None:
        """Send many octets, some at a time."""
        held = bytearray()
        for piece in pieces:
            held += piece
            if len(held) >= _CHUNK:
                self.send(bytes(held))
                held.clear()
        if held:
            self.send(bytes(held))

    @property
    def has_input(self) -> bool:
        """Whether the client has sent more than was read."""
        return bool(self._buffer)

    def close(self) -> None:
        """End the connection in good order."""
        try:
            self._sock.settimeout(0.2)
            self._sock.unwrap().close()
        except (OSError, ValueError):
            pass
        finally:
            self._sock.close()

    def reset(self) -> None:
        """End the connection as a broken network does."""
        try:
            linger = struct.pack("ii", 1, 0)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        except OSError:
            pass
        finally:
            self._sock.close()

    def abort(self) -> None:
        """Wake up the thread that reads, from another one."""
        try:
            # not SSLSocket.shutdown, which would take the layer of TLS away under a reader
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        except OSError:
            return

    def _fill(self, idle: float, watch: Callable[[], None] | None) -> None:
        deadline = time.monotonic() + idle
        while True:
            if self._is_stopping():
                raise GoneError
            left = deadline - time.monotonic()
            if left <= 0:
                raise IdleError
            try:
                self._sock.settimeout(min(left, _TICK) if watch else left)
                octets = self._sock.recv(_CHUNK)
            except TimeoutError:
                if watch:
                    watch()
                continue
            except (OSError, ValueError) as error:
                raise GoneError from error
            if not octets:
                raise GoneError
            self._buffer += octets
            return


_WORD = re.compile(rb"[^ \r\n]*")


def first_word(line: bytes) -> bytes:
    """Return what stands where a tag should."""
    match = _WORD.match(line)
    return match[0] if match else b""


def _good_octets(lengths: list[int], run: int, longest: int) -> int:
    """Return how many octets of a chunk are read before its first line gets too long."""
    good = 0
    for number, length in enumerate(lengths):
        if length > longest:
            return good + longest - (run if number == 0 else 0)
        good += length + 1 - (run if number == 0 else 0)
    return good
