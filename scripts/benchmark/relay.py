"""A relay on the loopback interface that adds distance; a process of its own.

It takes no interpreter's lock of anything measured. It ends with its standard input, so that it
does not outlive the bench, however that ends. It models latency and bandwidth alone: no slow
start, no loss and no receive window, so that a bulk stream over it is flattered, and the cost of
each question and answer is true.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from scripts.benchmark.line import Line
from scripts.benchmark.measure import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOST = "127.0.0.1"

_PIECE = 256 * 1024
_MOST_UNDER_WAY = 256 * 1024 * 1024
_BUFFER = 1024 * 1024
"""What waits before a line of a given bandwidth, besides what is on it."""


@contextlib.contextmanager
def relay(port: int, round_trip: float, bandwidth: float | None = None) -> Iterator[int]:
    """Run a relay to a port of this machine; yield the port at which it listens.

    `round_trip` is in seconds, `bandwidth` in octets per second, for each direction.
    """
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "scripts.benchmark.relay"),
            *(str(port), str(round_trip), str(bandwidth or 0)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


class Relay:
    """Passes each connection on; `clock` says the time in seconds."""

    def __init__(
        self,
        port: int,
        delay: float,
        bandwidth: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the port to pass on to, the seconds one way, and octets per second."""
        self._port = port
        self._delay = delay
        self._bandwidth = bandwidth
        self._clock = clock
        # select() knows microseconds, where epoll() waits for whole milliseconds
        self._selector = selectors.SelectSelector()
        self._ways: list[_Way] = []
        self._listener = socket.create_server((HOST, 0))
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self.port: int = self._listener.getsockname()[1]

    def serve(self, ends_with: socket.socket | int) -> None:
        """Pass octets on until the other end of `ends_with` is closed."""
        self._selector.register(ends_with, selectors.EVENT_READ, None)
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.data is None:
                    self._close()
                    return
                key.data()
            for way in self._ways:
                way.move()
            self._ways = [way for way in self._ways if not self._is_over(way)]

    def _patience(self) -> float | None:
        dues = [due for way in self._ways if (due := way.next_due()) is not None]
        return max(0.0, min(dues) - self._clock()) if dues else None

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection((HOST, self._port))
        except OSError:
            client.close()
            return
        for each in (client, server):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there, back = (
            _Way(source, sink, Line(self._delay, self._bandwidth), self._limit(), self._clock)
            for source, sink in ((client, server), (server, client))
        )
        there.other, back.other = back, there
        for way in (there, back):
            self._ways.append(way)
            way.selector = self._selector
            way.listen()

    def _limit(self) -> int:
        if self._bandwidth is None:
            return _MOST_UNDER_WAY
        return int(self._bandwidth * self._delay) + _BUFFER

    def _is_over(self, way: _Way) -> bool:
        if not way.is_over:
            return False
        if way.other is not None and way.other.is_over:
            for each in (way.source, way.sink):
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(each)
                each.close()
        return True

    def _close(self) -> None:
        for way in self._ways:
            way.source.close()
            way.sink.close()
        self._selector.close()
        self._listener.close()


class _Way:
    """One direction of a connection: what came from `source` goes to `sink`, after its time."""

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        line: Line,
        limit: int,
        clock: Callable[[], float],
    ) -> None:
        self.source = source
        self.sink = sink
        self.other: _Way | None = None
        self.selector: selectors.BaseSelector | None = None
        self.is_over = False
        self._line = line
        self._limit = limit
        self._clock = clock
        self._out = memoryview(b"")
        self._has_ended = False
        """Whether the source has said its last."""

    def next_due(self) -> float | None:
        """Return when there is something to do that no socket will tell."""
        return None if self._out or self.is_over else self._line.next_due()

    def listen(self) -> None:
        """Wait for what there is to wait for: at each socket for both ways that touch it."""
        for end in (self.source, self.sink):
            self._wait_at(end)

    def _wait_at(self, end: socket.socket) -> None:
        assert self.selector is not None
        assert self.other is not None
        reader = self if end is self.source else self.other
        writer = self.other if end is self.source else self
        events = selectors.EVENT_READ if reader.is_hungry else 0
        events |= selectors.EVENT_WRITE if writer.is_waiting_to_write else 0
        is_known = end in self.selector.get_map()
        if events and is_known:
            self.selector.modify(end, events, reader.read)
        elif events:
            self.selector.register(end, events, reader.read)
        elif is_known:
            self.selector.unregister(end)

    @property
    def is_hungry(self) -> bool:
        """Whether there is room on the line, and more to come."""
        return not (self._has_ended or self.is_over) and self._line.octets < self._limit

    @property
    def is_waiting_to_write(self) -> bool:
        """Whether the sink did not take all of what has come out."""
        return bool(self._out) and not self.is_over

    def read(self) -> None:
        """Take what the source says; it may be the other way for which we were woken."""
        if not self.is_hungry:
            return
        try:
            piece = self.source.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._has_ended = not piece
        self._line.put(self._clock(), piece)

    def move(self) -> None:
        """Give the sink all that has come out, as far as it takes it."""
        while not self.is_over:
            if not self._out:
                piece = self._line.take(self._clock())
                if piece is None:
                    break
                if not piece:
                    self._end()
                    break
                self._out = memoryview(piece)
            try:
                self._out = self._out[self.sink.send(self._out) :]
            except BlockingIOError:
                break
            except OSError:
                # nobody is there to hear it: whoever speaks has to learn that
                self._abandon()
        self.listen()

    def _end(self) -> None:
        self.is_over = True
        with contextlib.suppress(OSError):
            self.sink.shutdown(socket.SHUT_WR)

    def _abandon(self) -> None:
        self.is_over = True
        for end in (self.source, self.sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def main() -> None:
    port, round_trip, bandwidth = sys.argv[1:]
    passing = Relay(int(port), float(round_trip) / 2, float(bandwidth) or None)
    print(passing.port, flush=True)
    passing.serve(sys.stdin.fileno())


if __name__ == "__main__":
    main()
