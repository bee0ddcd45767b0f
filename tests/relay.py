"""A TCP relay on the loopback interface that cuts and delays connections on command."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"

_CHUNK = 256 * 1024
_QUEUE_LIMIT = 1024 * 1024
_DELAYED_QUEUE_LIMIT = 64 * 1024 * 1024
_DRAIN_SECONDS = 5.0


class Direction(Enum):
    """Which way octets travel."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


@dataclass(frozen=True, slots=True)
class Cut:
    """Cut a connection as soon as `after` octets have passed in one direction.

    It hits the next `connections` connections (None: every one), each counted by itself;
    later ones pass. `is_reset` sends RST to both ends, otherwise each sees an orderly end.
    """

    direction: Direction
    after: int
    connections: int | None = 1
    is_reset: bool = False


@dataclass(slots=True)
class Traffic:
    """The octets that one connection has passed on so far."""

    to_server: int = 0
    to_client: int = 0
    was_cut: bool = False


class Relay:
    """Passes each connection to `port` on to the server, as a context manager.

    A delay is latency only: any number of octets may be on their way at once. One background
    thread does the work; it ends with the context.
    """

    def __init__(
        self,
        server_port: int,
        server_host: str = HOST,
        *,
        cut: Cut | None = None,
        delay_to_server: float = 0.0,
        delay_to_client: float = 0.0,
    ) -> None:
        self.host = HOST
        self.port = 0
        self.traffic: list[Traffic] = []
        self._server = (server_host, server_port)
        self._delays = {
            Direction.TO_SERVER: delay_to_server,
            Direction.TO_CLIENT: delay_to_client,
        }
        self._lock = threading.Lock()
        self._cut = cut
        self._cuts_left = cut.connections if cut else 0
        self._orders: deque[bool | None] = deque()
        self._connections: set[_Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._listener = socket.create_server((HOST, 0), backlog=128)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._order(None)
        self._thread.join()
        for each in (self._listener, self._wake_receiver, self._wake_sender, self._selector):
            each.close()

    @property
    def octets_to_server(self) -> int:
        """All octets passed on to the server, over all connections."""
        return sum(each.to_server for each in self.traffic)

    @property
    def octets_to_client(self) -> int:
        """All octets passed on to clients, over all connections."""
        return sum(each.to_client for each in self.traffic)

    @property
    def cuts(self) -> int:
        """How many connections were cut."""
        return sum(each.was_cut for each in self.traffic)

    def arm(self, cut: Cut | None) -> None:
        """Set what happens to the connections made from now on, and count afresh."""
        with self._lock:
            self._cut = cut
            self._cuts_left = cut.connections if cut else 0
            self.traffic = []

    def cut_now(self, *, is_reset: bool = False) -> None:
        """Cut every connection that is open."""
        self._order(is_reset)

    def _order(self, order: bool | None) -> None:
        self._orders.append(order)
        self._wake_sender.send(b"!")

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select(self._timeout()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_receiver:
                    self._wake_receiver.recv(1024)
                elif isinstance(key.data, _Pipe):
                    key.data.read()
            while self._orders:
                order = self._orders.popleft()
                if order is None:
                    for connection in self._connections:
                        connection.close()
                    return
                for connection in self._connections:
                    connection.cut(order)
            for connection in list(self._connections):
                connection.move()
                if connection.is_closed:
                    self._connections.remove(connection)

    def _timeout(self) -> float | None:
        moments = [moment for each in self._connections for moment in each.moments()]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._server, timeout=10)
        except OSError:
            client.close()
            return
        with self._lock:
            cut = self._cut if self._cuts_left is None or self._cuts_left > 0 else None
            if self._cuts_left:
                self._cuts_left -= 1
            traffic = Traffic()
            self.traffic.append(traffic)
        connection = _Connection(self._selector, client, server, traffic, cut, self._delays)
        self._connections.add(connection)


class _Connection:
    """The two directions between one client and the server."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        client: socket.socket,
        server: socket.socket,
        traffic: Traffic,
        cut: Cut | None,
        delays: dict[Direction, float],
    ) -> None:
        for each in (client, server):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector = selector
        self._traffic = traffic
        self._is_reset = cut is not None and cut.is_reset
        self._draining_until: float | None = None
        self.is_closed = False
        self._pipes = {
            direction: _Pipe(source, destination, delays[direction], _limit(cut, direction))
            for direction, source, destination in (
                (Direction.TO_SERVER, client, server),
                (Direction.TO_CLIENT, server, client),
            )
        }
        self._watched: dict[socket.socket, int] = {}
        self.move()

    def moments(self) -> Iterator[float]:
        """Yield when something is due without a socket saying so."""
        if self._draining_until is not None:
            yield self._draining_until
        for pipe in self._pipes.values():
            if pipe.queue and not pipe.is_blocked:
                yield pipe.queue[0].due

    def move(self) -> None:
        """Send what is due, cut where the limit is reached, and watch the right sockets."""
        if self.is_closed:
            return
        for pipe in self._pipes.values():
            pipe.write()
        self._traffic.to_server = self._pipes[Direction.TO_SERVER].passed
        self._traffic.to_client = self._pipes[Direction.TO_CLIENT].passed
        for pipe in self._pipes.values():
            pipe.end()  # after counting, so that whoever sees the end finds the count right
        if any(pipe.has_reached_limit for pipe in self._pipes.values()):
            self.cut(self._is_reset)
        if all(pipe.is_over for pipe in self._pipes.values()) or self._is_drained_long_enough():
            self.close()
        elif not self.is_closed:
            self._watch()

    def cut(self, is_reset: bool) -> None:
        """End the connection towards both ends."""
        if self.is_closed or self._draining_until is not None:
            return
        self._traffic.was_cut = True
        if is_reset:
            for pipe in self._pipes.values():
                # closing with this option sends RST
                linger = struct.pack("ii", 1, 0)
                pipe.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close()
            return
        # closing while octets are unread would send RST, so read and drop the rest
        self._draining_until = time.monotonic() + _DRAIN_SECONDS
        for pipe in self._pipes.values():
            pipe.drop()

    def close(self) -> None:
        """Let go of both sockets."""
        if self.is_closed:
            return
        self.is_closed = True
        for each in self._watched:
            self._selector.unregister(each)
        for pipe in self._pipes.values():
            pipe.source.close()

    def _is_drained_long_enough(self) -> bool:
        return self._draining_until is not None and time.monotonic() >= self._draining_until

    def _watch(self) -> None:
        to_server, to_client = self._pipes[Direction.TO_SERVER], self._pipes[Direction.TO_CLIENT]
        for pipe, other in ((to_server, to_client), (to_client, to_server)):
            events = selectors.EVENT_READ if pipe.wants_to_read else 0
            if other.is_blocked:
                events |= selectors.EVENT_WRITE
            watched = self._watched.get(pipe.source, 0)
            if events == watched:
                continue
            if not watched:
                self._selector.register(pipe.source, events, pipe)
            elif events:
                self._selector.modify(pipe.source, events, pipe)
            else:
                self._selector.unregister(pipe.source)
                del self._watched[pipe.source]
            if events:
                self._watched[pipe.source] = events


@dataclass(slots=True)
class _Piece:
    due: float
    octets: memoryview


@dataclass(slots=True)
class _Pipe:
    """One direction of one connection."""

    source: socket.socket
    destination: socket.socket
    delay: float
    limit: int | None
    queue: deque[_Piece] = field(default_factory=deque)
    taken: int = 0
    passed: int = 0
    has_ended: bool = False
    is_blocked: bool = False
    is_over: bool = False
    is_dropping: bool = False

    @property
    def has_reached_limit(self) -> bool:
        return self.limit is not None and self.passed >= self.limit

    @property
    def wants_to_read(self) -> bool:
        if self.has_ended:
            return False
        waiting = self.taken - self.passed
        has_room = waiting < (_DELAYED_QUEUE_LIMIT if self.delay else _QUEUE_LIMIT)
        return self.is_dropping or (has_room and self.taken != self.limit)

    def read(self) -> None:
        if not self.wants_to_read:
            return
        size = _CHUNK
        if self.limit is not None and not self.is_dropping:
            size = min(size, self.limit - self.taken)
        try:
            octets = self.source.recv(size)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self.has_ended = True
        elif not self.is_dropping:
            self.taken += len(octets)
            self.queue.append(_Piece(time.monotonic() + self.delay, memoryview(octets)))

    def write(self) -> None:
        self.is_blocked = False
        while self.queue and self.queue[0].due <= time.monotonic():
            piece = self.queue[0]
            try:
                sent = self.destination.send(piece.octets)
            except BlockingIOError:
                self.is_blocked = True
                return
            except OSError:
                self._give_up()
                return
            self.passed += sent
            if sent < len(piece.octets):
                piece.octets = piece.octets[sent:]
            else:
                self.queue.popleft()

    def end(self) -> None:
        """Hand the end of the stream on, once all before it has been."""
        if self.has_ended and not self.queue and not self.is_over:
            self.is_over = True
            self._end_destination()

    def drop(self) -> None:
        """Pass nothing on any more; read what still comes, so that the end stays orderly."""
        self.is_dropping = True
        self.queue.clear()
        self._end_destination()

    def _give_up(self) -> None:
        self.queue.clear()
        self.has_ended = self.is_over = True

    def _end_destination(self) -> None:
        try:
            self.destination.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other end has gone already


def _limit(cut: Cut | None, direction: Direction) -> int | None:
    return cut.after if cut is not None and cut.direction is direction else None
