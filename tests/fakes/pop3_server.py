"""A POP3 server inside the test process, which can misbehave on command.

It binds 127.0.0.1, serves one maildrop, records every command, and follows a ``Script``::

    with Pop3Server([Mail("a1", b"Subject: hello\\r\\n\\r\\nHello\\r\\n")]) as server:
        client = poplib.POP3("127.0.0.1", server.port)
"""

from __future__ import annotations

import hashlib
import socket
from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

USER = "alice"
PASSWORD = "secret"
MODERN = ("TOP", "UIDL", "USER", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING")


@dataclass
class Mail:
    """One message of the maildrop."""

    uidl: str
    octets: bytes


@dataclass
class Script:
    """What a server can and what it gets wrong; may be changed between connections."""

    capabilities: tuple[str, ...] | None = MODERN
    """None: it does not know CAPA."""
    stamp: str = ""
    """The time stamp of its greeting, with which APOP is offered."""
    token: str = ""
    """What XOAUTH2 lets in."""
    has_uidl: bool = True
    unlisted: set[int] = field(default_factory=set)
    """Numbers that UIDL leaves out."""
    refuses: dict[int, str] = field(default_factory=dict)
    """Numbers whose RETR is answered -ERR, with these words."""
    cuts: list[int] = field(default_factory=list)
    """Numbers in the middle of which the line breaks; each entry once."""
    garbage: set[int] = field(default_factory=set)
    """Numbers whose RETR is answered with what is no answer."""
    counted_too_many: int = 0
    """By how many STAT is wrong."""
    has_list: bool = True
    listed_too_many: int = 0
    """By how many octets the answer to LIST is wrong."""
    announced_too_many: int = 0
    """By how many octets the answer to RETR is wrong."""
    announces: bool = True
    """Whether the answer to RETR has a size at all."""
    unended: set[int] = field(default_factory=set)
    """Numbers whose last line lacks its CRLF, so that the dot after it ends nothing."""
    endless: str = ""
    """A command that is answered by a line without an end."""
    sign_in: list[str] = field(default_factory=list)
    """What the next sign-ins are answered instead."""


class Pop3Server:
    """A running server, as a context manager."""

    def __init__(self, mails: list[Mail], script: Script | None = None) -> None:
        self.mails = mails
        self.script = script or Script()
        self.commands: list[str] = []
        """Every command line that came, secrets included."""
        self.connections = 0
        self.most_waiting = 0
        """How many commands lay there at a time before the first of them was answered."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads: list[Thread] = []

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._accept)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A connection of our own wakes the thread that waits for one.
        self._is_over = True
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            pass
        self._thread.join()
        self._listener.close()
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    _is_over = False

    def count(self, name: str) -> int:
        """Return how many commands of a name came."""
        return sum(command.split(" ", 1)[0].upper() == name for command in self.commands)

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._is_over:
                sock.close()
                return
            self.connections += 1
            self._open.append(sock)
            thread = Thread(target=_Connection(self, sock).serve)
            self._threads.append(thread)
            thread.start()


class _Cut(Exception):  # noqa: N818
    """The line is cut on purpose."""


class _Connection:
    def __init__(self, server: Pop3Server, sock: socket.socket) -> None:
        self._server = server
        self._script = server.script
        self._sock = sock
        self._incoming = b""
        self._user = ""
        self._is_in = False

    def serve(self) -> None:
        with self._sock, suppress(OSError, EOFError, _Cut):
            self._say(f"+OK ready {self._script.stamp}".rstrip())
            while True:
                line = self._line()
                self._server.commands.append(line)
                self._server.most_waiting = max(
                    self._server.most_waiting, 1 + self._incoming.count(b"\n")
                )
                name, _, rest = line.partition(" ")
                if name.upper() == self._script.endless:
                    self._endless()
                self._answer(name.upper(), rest)
                if name.upper() == "QUIT":
                    return

    def _answer(self, name: str, rest: str) -> None:
        script = self._script
        if name == "CAPA" and script.capabilities is not None:
            self._say("+OK", *script.capabilities, ".")
        elif name == "QUIT":
            self._say("+OK bye")
        elif name == "USER":
            self._user = rest
            self._say("+OK")
        elif name == "PASS":
            self._let_in(self._user == USER and rest == PASSWORD)
        elif name == "APOP" and script.stamp:
            wanted = hashlib.md5((script.stamp + PASSWORD).encode()).hexdigest()
            self._let_in(rest == f"{USER} {wanted}")
        elif name == "AUTH":
            self._auth(*rest.split(" "))
        elif not self._is_in:
            self._say("-ERR unknown command, or not now")
        else:
            self._transact(name, rest)

    def _transact(self, name: str, rest: str) -> None:
        mails = self._server.mails
        if name == "STAT":
            octets = sum(len(mail.octets) for mail in mails)
            self._say(f"+OK {len(mails) + self._script.counted_too_many} {octets}")
        elif name == "UIDL" and self._script.has_uidl:
            lines = [
                f"{number} {mail.uidl}"
                for number, mail in enumerate(mails, 1)
                if number not in self._script.unlisted
            ]
            self._say("+OK", *lines, ".")
        elif name == "LIST" and not self._script.has_list:
            self._say("-ERR there is no LIST here")
        elif name == "LIST" and not rest:
            more = self._script.listed_too_many
            sizes = (f"{number} {len(mail.octets) + more}" for number, mail in enumerate(mails, 1))
            self._say("+OK", *sizes, ".")
        elif name in ("RSET", "NOOP"):
            self._say("+OK")
        elif name in ("RETR", "TOP", "LIST"):
            number = int(rest.split(" ")[0])
            if not 0 < number <= len(mails):
                self._say("-ERR no such message")
            elif name == "LIST":
                self._say(f"+OK {number} {len(mails[number - 1].octets)}")
            elif name == "TOP":
                header, blank, _ = mails[number - 1].octets.partition(b"\r\n\r\n")
                self._say("+OK")
                self._send(_stuffed(header + blank) + b".\r\n")
            else:
                self._retrieve(number, mails[number - 1].octets)
        else:
            self._say("-ERR unknown command")

    def _retrieve(self, number: int, octets: bytes) -> None:
        script = self._script
        if number in script.refuses:
            self._say(f"-ERR {script.refuses[number]}")
            return
        if number in script.garbage:
            self._say("* 1 FETCH (UID 1)")
            return
        announced = f" {len(octets) + script.announced_too_many} octets" if script.announces else ""
        answer = f"+OK{announced}\r\n".encode() + _stuffed(octets)
        if number in script.cuts:
            script.cuts.remove(number)
            self._send(answer[: len(answer) // 2])
            raise _Cut
        if number in script.unended:
            answer = answer.removesuffix(b"\r\n")
        self._send(answer + b".\r\n")

    def _auth(self, mechanism: str, initial: str = "") -> None:
        if not initial:
            self._say("+ ")
            initial = self._line()
            self._server.commands.append(initial)
        response = b64decode(initial)
        if mechanism == "PLAIN":
            self._let_in(response == f"\0{USER}\0{PASSWORD}".encode())
            return
        wanted = f"user={USER}\1auth=Bearer {self._script.token}\1\1".encode()
        if response != wanted:
            self._say("+ eyJzdGF0dXMiOiI0MDEifQ==")
            self._line()
        self._let_in(response == wanted)

    def _let_in(self, is_right: bool) -> None:
        if self._script.sign_in:
            self._say(self._script.sign_in.pop(0))
        elif is_right:
            self._is_in = True
            self._say("+OK you are in")
        else:
            self._say("-ERR [AUTH] wrong name or password")

    def _endless(self) -> None:
        while True:
            self._send(b"x" * 65536)

    def _line(self) -> str:
        while b"\n" not in self._incoming:
            if not (more := self._sock.recv(65536)):
                raise EOFError
            self._incoming += more
        line, _, self._incoming = self._incoming.partition(b"\n")
        return line.removesuffix(b"\r").decode("utf-8", "replace")

    def _say(self, *lines: str) -> None:
        self._send("".join(f"{line}\r\n" for line in lines).encode())

    def _send(self, octets: bytes) -> None:
        self._sock.sendall(octets)


def _stuffed(octets: bytes) -> bytes:
    """Return octets as the lines of an answer; the last one gets its CRLF, as RFC 1939 wants."""
    if octets and not octets.endswith(b"\r\n"):
        octets += b"\r\n"
    lines = octets.split(b"\r\n")[:-1]
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
