"""A client that sends the lines it is told to and shows the lines that come, octet by octet."""

from __future__ import annotations

import base64
import re
import socket
import ssl
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from pathlib import Path

    class Server(Protocol):
        """Where to connect."""

        @property
        def host(self) -> str: ...
        @property
        def port(self) -> int: ...
        @property
        def ca_file(self) -> Path: ...


_LITERAL = re.compile(rb"\{(\d+)\}\r\n$")


def xoauth2(user: str, token: str) -> bytes:
    """Return the SASL response for a user and a token."""
    return base64.b64encode(f"user={user}\x01auth=Bearer {token}\x01\x01".encode())


class LineClient:
    """One connection to the simulator; ``greeting`` is the first line."""

    def __init__(self, server: Server, timeout: float = 10) -> None:
        context = ssl.create_default_context(cafile=str(server.ca_file))
        raw = socket.create_connection((server.host, server.port), timeout=timeout)
        self._socket = context.wrap_socket(raw, server_hostname=server.host)
        self._file = self._socket.makefile("rb")
        self._tags = count(1)
        self.greeting = self.line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up without a word."""
        self._file.close()
        self._socket.close()

    def send(self, octets: bytes) -> None:
        """Send octets as they are; that the server hung up shows when an answer is read."""
        with suppress(ConnectionError, ssl.SSLError):
            self._socket.sendall(octets)

    def line(self) -> bytes:
        """Return the next line without its end; literals in it stay in their place."""
        try:
            line = self._file.readline()
            while match := _LITERAL.search(line):
                line += self._file.read(int(match[1])) + self._file.readline()
        except (ConnectionError, ssl.SSLError):
            return b""
        return line.removesuffix(b"\r\n")

    def rest(self) -> list[bytes]:
        """Return all lines until the server hangs up."""
        return list(iter(self.line, b""))

    def command(self, text: bytes) -> list[bytes]:
        """Send a command and return the lines up to its answer, without tag, or to the end."""
        tag = b"t%d" % next(self._tags)
        self.send(tag + b" " + text + b"\r\n")
        return self.until(tag)

    def until(self, tag: bytes) -> list[bytes]:
        """Return the lines up to the answer that has this tag; the tag is taken off."""
        lines: list[bytes] = []
        while line := self.line():
            if line.startswith(tag + b" "):
                return [*lines, line.removeprefix(tag + b" ")]
            lines.append(line)
        return lines

    def sign_in(self, user: str, token: str) -> bytes:
        """Sign in by XOAUTH2 and return the answer."""
        return self.command(b"AUTHENTICATE XOAUTH2 " + xoauth2(user, token))[-1]

    def append(
        self, folder: bytes, message: bytes, middle: bytes = b"", *, plus: bool = False
    ) -> list[bytes]:
        """Send an APPEND, waiting for ``+`` unless ``plus``, and return the lines that come."""
        tag = b"t%d" % next(self._tags)
        mark = b"+" if plus else b""
        head = tag + b" APPEND " + folder + middle + b" {%d%b}\r\n" % (len(message), mark)
        if plus:
            self.send(head + message + b"\r\n")
            return self.until(tag)
        self.send(head)
        line = self.line()
        if not line.startswith(b"+"):
            return [line.removeprefix(tag + b" ")]
        self.send(message + b"\r\n")
        return self.until(tag)
