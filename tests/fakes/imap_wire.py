"""How IMAP looks on the wire: the socket, command arguments, strings, sets, dates, names.

The functions are pure and know nothing of mailboxes. ``Wire`` owns the socket, counts octets
and can hang up in every way that a real line does.
"""

from __future__ import annotations

import re
import socket
import struct
from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

Value: TypeAlias = "bytes | list[Value]"

LITERAL_AT_END = re.compile(rb"\{(\d+)(\+?)\}\Z")
_TOKEN = re.compile(
    rb"""[ ]*(?:
      (?P<open>\() | (?P<close>\))
    | "(?P<quoted>(?:[^"\\\r\n]|\\["\\])*)"
    | \{(?P<size>\d+)\+?\}\r\n
    | (?P<atom>(?:\[[^\]\r\n]*\]|[^ ()"{\r\n])+)
    )""",
    re.VERBOSE,
)
_ATOM = re.compile(rb"[A-Za-z0-9_./&+,:;<>=@!$'|~-]+")
_QUOTABLE = re.compile(rb"[\x20-\x7e]*")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE_TIME = re.compile(
    r" ?(\d{1,2})-([A-Z][a-z]{2})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"
)


class Literal(bytes):
    """Octets that go out as a literal: ``{n}``, a line break, the octets."""


class Ending(Enum):
    """How a connection comes to its end."""

    FIN = "fin"
    RST = "rst"


class ConnectionCutError(Exception):
    """The fake server has cut the line on purpose."""


class Wire:
    """One connection's octets in both directions."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self.received = 0
        self.sent = 0
        self.cut_after_received: int | None = None
        self.cut_after_sent: int | None = None
        self.ending = Ending.FIN

    def readline(self) -> bytes:
        """Return the next line without its end; ``EOFError`` when there is none."""
        searched = 0
        while (end := self._incoming.find(b"\n", searched)) < 0:
            searched = len(self._incoming)
            self._fill()
        return self._take(end + 1).removesuffix(b"\n").removesuffix(b"\r")

    def read(self, size: int) -> bytes:
        """Return exactly so many octets; ``EOFError`` when the client goes before that."""
        while len(self._incoming) < size:
            self._fill()
        return self._take(size)

    def write(self, data: bytes) -> None:
        """Send octets, sooner or later."""
        self._outgoing += data
        if len(self._outgoing) > 1 << 16:
            self.flush()

    def flush(self) -> None:
        """Send what has been written so far."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        limit = self.cut_after_sent
        if limit is not None and self.sent + len(data) >= limit:
            data = data[: max(0, limit - self.sent)]
            self._socket.sendall(data)
            self.sent += len(data)
            self.cut()
        self._socket.sendall(data)
        self.sent += len(data)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS from here on; what the client sent too early is thrown away."""
        self._incoming.clear()
        protected = context.wrap_socket(
            self._socket, server_side=True, do_handshake_on_connect=False
        )
        self._socket = protected
        protected.do_handshake()

    def cut(self, ending: Ending | None = None) -> None:
        """End the connection at once; always raises ``ConnectionCutError``."""
        if (ending or self.ending) is Ending.RST:
            linger = struct.pack("ii", 1, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._socket.close()
        else:
            self.hang_up()
        raise ConnectionCutError

    def hang_up(self) -> None:
        """End the connection politely: a FIN, and nothing that turns it into a reset."""
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
        self.wait_for_end()
        self._socket.close()

    def wait_for_end(self) -> None:
        """Say nothing and hear nothing until the client goes or the server stops."""
        with suppress(OSError):
            while self._socket.recv(1 << 16):
                pass

    def wake(self) -> None:
        """Make whoever waits on this connection see its end; for another thread."""
        with suppress(OSError):
            # past SSLSocket.shutdown, which would pull the TLS layer from under its reader
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def _fill(self) -> None:
        room = 1 << 16
        if self.cut_after_received is not None:
            room = min(room, self.cut_after_received - self.received)
            if room <= 0:
                self.cut()
        data = self._socket.recv(room)
        if not data:
            raise EOFError
        self.received += len(data)
        self._incoming += data
        if self.received == self.cut_after_received:
            self.cut()

    def _take(self, size: int) -> bytes:
        taken = bytes(self._incoming[:size])
        del self._incoming[:size]
        return taken


def parse_arguments(text: bytes, literals: Sequence[bytes]) -> list[Value]:
    """Return a command's arguments; ``ValueError`` if they are not IMAP.

    In ``text`` each literal is its ``{n}`` and a line break; the octets are in ``literals``.
    """
    waiting = iter(literals)
    stack: list[list[Value]] = [[]]
    position = 0
    text = text.rstrip(b" ")
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise ValueError(f"cannot read {text[position : position + 20]!r}")
        position = token.end()
        match token.lastgroup:
            case "open":
                stack.append([])
            case "close" if len(stack) > 1:
                inner = stack.pop()
                stack[-1].append(inner)
            case "quoted":
                stack[-1].append(re.sub(rb"\\(.)", rb"\1", token["quoted"]))
            case "size":
                stack[-1].append(next(waiting))
            case "atom":
                stack[-1].append(token["atom"])
            case _:
                raise ValueError("a bracket too many")
    if len(stack) != 1:
        raise ValueError("a bracket is missing")
    return stack[0]


def text_of(value: Value) -> bytes:
    """Return an argument that must not be a list."""
    if isinstance(value, list):
        raise ValueError("a list where a string belongs")  # noqa: TRY004 - the client's mistake
    return value


def list_of(value: Value) -> list[bytes]:
    """Return an argument as a list of strings, whether or not it came in brackets."""
    return [text_of(item) for item in value] if isinstance(value, list) else [value]


def quoted(data: bytes) -> bytes:
    """Return a quoted string, legal or not."""
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def astring(data: bytes) -> bytes:
    """Return the plainest of atom, quoted string and literal that can carry the octets."""
    if _ATOM.fullmatch(data) and data.upper() != b"NIL":
        return data
    return quoted(data) if _QUOTABLE.fullmatch(data) else Literal(data)


def choose(sequence_set: bytes, numbers: Sequence[int]) -> list[int]:
    """Return those of the numbers that a sequence set names, ascending."""
    numbers = sorted(numbers)  # no server should need it, and one is played that does
    largest = numbers[-1] if numbers else 0
    chosen: set[int] = set()
    for part in sequence_set.split(b","):
        ends = [largest if end == b"*" else int(end) for end in part.split(b":")]
        if len(ends) > 2 or (min(ends) < 1 and numbers):
            raise ValueError(f"{part!r} is no sequence set")
        low, high = bisect_left(numbers, min(ends)), bisect_right(numbers, max(ends))
        chosen.update(numbers[low:high])
    return sorted(chosen)


def encode_name(name: str) -> bytes:
    """Return a folder name in modified UTF-7 (RFC 3501 section 5.1.3)."""
    encoded = bytearray()
    for piece in re.findall(r"&|[\x20-\x25\x27-\x7e]+|[^\x20-\x7e]+", name):
        if piece == "&":
            encoded += b"&-"
        elif " " <= piece[0] <= "~":
            encoded += piece.encode("ascii")
        else:
            base64 = b64encode(piece.encode("utf-16-be"), b"+,").rstrip(b"=")
            encoded += b"&" + base64 + b"-"
    return bytes(encoded)


def decode_name(name: bytes) -> str:
    """Return a folder name from modified UTF-7; ``ValueError`` if it is not that."""

    def plain(found: re.Match[str]) -> str:
        base64 = found[1]
        if not base64:
            return "&"
        return b64decode(base64 + "=" * (-len(base64) % 4), "+,").decode("utf-16-be")

    return re.sub(r"&([^-]*)-", plain, name.decode("ascii"))


def format_date_time(moment: datetime) -> bytes:
    """Return INTERNALDATE's quoted form; month names are English in every locale."""
    month = _MONTHS[moment.month - 1]
    return f'"{moment:%d}-{month}-{moment.year:04d} {moment:%H:%M:%S %z}"'.encode("ascii")


def is_date_time(text: bytes) -> bool:
    """Tell whether this is a date-time as APPEND names it."""
    return _DATE_TIME.fullmatch(text.decode("latin-1")) is not None


def parse_date_time(text: bytes) -> datetime:
    """Return the moment that APPEND names; ``ValueError`` if it is not a date-time."""
    found = _DATE_TIME.fullmatch(text.decode("ascii"))
    if found is None:
        raise ValueError(f"{text!r} is no date-time")
    day, month, *rest = found.groups()
    year, hour, minute, second = (int(number) for number in rest[:4])
    sign, hours, minutes = rest[4:]
    offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
    return datetime(
        year, _MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=timezone(offset)
    )


def parse_date(text: bytes) -> datetime:
    """Return midnight of SEARCH's date in UTC; ``ValueError`` if it is not a date."""
    return parse_date_time(text + b" 00:00:00 +0000")
