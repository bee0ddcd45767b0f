"""A proxy on the loopback interface that speaks SOCKS5 (RFC 1928) and HTTP CONNECT.

It leads every name to this machine, so that a test can name servers that there are not.
"""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from threading import Thread
from typing import Self


class ProxyServer:
    """A context manager; ``asked`` are the hosts and ports that clients wanted to go to."""

    def __init__(self, password: tuple[str, str] | None = None, *, refuses: bool = False) -> None:
        self._password = password
        self._refuses = refuses
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.asked: list[tuple[str, int]] = []
        self._threads: list[Thread] = []

    def __enter__(self) -> Self:
        self._acceptor = Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            first = client.recv(1, socket.MSG_PEEK)
            port = self._socks(client) if first == b"\x05" else self._connect(client)
            if port is None:
                return
            with socket.create_connection(("127.0.0.1", port)) as server:
                _relay(client, server)

    def _socks(self, client: socket.socket) -> int | None:
        _, count = client.recv(2)
        client.recv(count)
        if self._password is None:
            client.sendall(b"\x05\x00")
        else:
            client.sendall(b"\x05\x02")  # RFC 1929
            user = client.recv(client.recv(2)[1])
            secret = client.recv(client.recv(1)[0])
            is_right = (user.decode(), secret.decode()) == self._password
            client.sendall(b"\x01\x00" if is_right else b"\x01\x01")
            if not is_right:
                return None
        _, _, _, kind = client.recv(4)
        if kind == 3:
            host = client.recv(client.recv(1)[0]).decode()
        else:
            host = socket.inet_ntop(
                *(
                    (socket.AF_INET, client.recv(4))
                    if kind == 1
                    else (socket.AF_INET6, client.recv(16))
                )
            )
        port = int.from_bytes(client.recv(2), "big")
        self.asked.append((host, port))
        client.sendall(b"\x05%c\x00\x01\x7f\x00\x00\x01\x00\x00" % (5 if self._refuses else 0))
        return None if self._refuses else port

    def _connect(self, client: socket.socket) -> int | None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += client.recv(1)
        host, _, port = request.split()[1].decode().rpartition(":")
        self.asked.append((host, int(port)))
        client.sendall(b"HTTP/1.1 %s\r\n\r\n" % (b"403 Forbidden" if self._refuses else b"200 OK"))
        return None if self._refuses else int(port)


def _relay(one: socket.socket, other: socket.socket) -> None:
    while True:
        for ready in select.select([one, other], [], [], 20)[0]:
            data = ready.recv(65536)
            if not data:
                return
            (other if ready is one else one).sendall(data)
