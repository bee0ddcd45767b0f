"""The one door to poplib: a signed-in POP3 session with typed answers and our own errors.

poplib has the conversation, on a stream of ours; listings and messages are read here, since it
would hold each of them whole in memory. Nothing is ever deleted on the server: there is no DELE
here, and a session ends with RSET before QUIT. RFC 1939, RFC 2449 (CAPA), RFC 2595 (STLS),
RFC 5034 (AUTH).
"""

from __future__ import annotations

import base64
import logging
import poplib
import re
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from ssl import SSLSocket
from typing import TYPE_CHECKING, Generic, Self, cast

from waystation.errors import (
    MessageTooLargeError,
    RefusedError,
    SignInError,
    WaystationError,
    plain,
)
from waystation.session import Session
from waystation.wire import LARGEST_MESSAGE, B
from waystation.xoauth2 import xoauth2

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator

    from waystation.address import Account
    from waystation.session import Connection
    from waystation.signin import Credential
    from waystation.stream import Stream
    from waystation.token import Token, TokenSource
    from waystation.wire import Body

log = logging.getLogger(__name__)

_LARGEST_ANSWER = 1024 * 1024
"""Octets of one answer that poplib holds in memory."""
_LARGEST_NUMBER = 2**31 - 1
_LONGEST_LINE = 4096
"""Octets of a line in a listing. RFC 1939: a unique-id has 70 octets at the most."""
_LONGEST_COMMAND = 255
"""RFC 2449 section 4, line end included."""
IN_FLIGHT = 128
"""Commands on their way at a time where the server has PIPELINING (RFC 2449 section 6.6)."""
_HEAD = 64 * 1024
"""Octets of a message's beginning that are kept for its header."""
_BUSY = 10.0
"""Seconds to wait for a maildrop that another session still has open."""
_ANNOUNCED = re.compile(rb"\+OK (\d{1,15}) (?:octets|bytes)\b", re.IGNORECASE)
_NUMBERS = re.compile(rb"(\d{1,10})[ \t]+(\d{1,15})(?:[ \t].*)?\r?\n", re.DOTALL)
_NAMES = re.compile(rb"(\d{1,10})[ \t]+([^ \t\r\n]+)[ \t]*\r?\n")
_STAMP = re.compile(rb"<[^<>@ ]+@[^<>@ ]+>")
_ONE_LINE_HOSTS = ("gmail.com", "googlemail.com", "google.com")
"""Where XOAUTH2 is on one line whatever its length ("OAuth 2.0 Mechanism", Google)."""


@dataclass(frozen=True, slots=True)
class Retrieved(Generic[B]):
    """One message that came whole."""

    number: int
    body: B
    head: bytes
    """The first octets of it, 64 KiB at the most."""
    size: int


@dataclass(frozen=True, slots=True)
class NotRetrieved:
    """One message that the server does not hand out."""

    number: int
    reply: str


class _Socket:
    """What poplib takes for a socket and a file: our stream, with a limit for each answer."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._received = 0

    def sendall(self, data: bytes) -> None:
        self._received = 0
        self._stream.send(data)

    def makefile(self, _mode: str) -> _Socket:
        return self

    def readline(self, _longest: int) -> bytes:
        line = self._stream.readline()
        self._received += len(line)
        if self._received > _LARGEST_ANSWER:
            raise self._stream.garbled("one of its answers does not end")
        return line

    def close(self) -> None:
        self._stream.close()


class _Client(poplib.POP3):
    """poplib on a stream of ours."""

    def __init__(self, stream: Stream) -> None:
        self._waystation_socket = _Socket(stream)
        super().__init__(stream.host)

    def _create_socket(self, _timeout: object) -> socket.socket:
        return cast("socket.socket", self._waystation_socket)


class Pop3Session(Session):
    """One signed-in connection. A context manager; use from one thread."""

    def __init__(
        self,
        account: Account,
        stream: Stream,
        client: poplib.POP3,
        largest_message: int = LARGEST_MESSAGE,
        token: Token | None = None,
        source: TokenSource | None = None,
    ) -> None:
        super().__init__(account, stream, token, source)
        self._client = client
        self._largest = largest_message
        # Asked again: what a server says it can differs before and after the sign-in.
        self._capabilities = _capabilities(stream, client)
        self._is_pipelined = "PIPELINING" in self._capabilities
        self._has_proven_sizes = False

    @classmethod
    def _begin(
        cls,
        account: Account,
        stream: Stream,
        credential: Credential,
        token: Token | None,
        connection: Connection,
    ) -> Self:
        with _errors_of(stream, "connecting"):
            client = _Client(stream)
        offered = _capabilities(stream, client)
        try:
            if isinstance(credential, str):
                _by_password(stream, client, account, credential, offered)
            elif token is not None:
                _by_token(stream, account, credential, token)
        except RefusedError as error:
            error.backoff = error.backoff or _pause(error.reply, offered)
            raise
        source = None if isinstance(credential, str) else credential
        return cls(account, stream, client, connection.largest_message, token, source)

    def close(self) -> None:
        """Take back every mark for deletion, say goodbye and close.

        Where the server announces that it deletes what was read (EXPIRE 0, RFC 2449 section
        6.7), it is left without a goodbye: it then must not delete anything (RFC 1939 section 6).
        """
        if self._capabilities.get("EXPIRE", [""])[0] == "0":
            log.warning(
                "%s deletes what was read when a session ends (EXPIRE 0); it is left without QUIT",
                plain(self._stream.host),
            )
        else:
            with suppress(WaystationError, OSError):
                self._stream.sock.settimeout(5)
                with _errors_of(self._stream, "QUIT"):
                    self._client.rset()
                    self._client.quit()
        self.drop()

    def has(self, capability: str) -> bool:
        """Whether the server announced this capability."""
        return capability in self._capabilities

    def count(self) -> int:
        """Return how many messages the server says that it holds (STAT)."""
        with _errors_of(self._stream, "STAT"):
            count = self._client.stat()[0]
        if not 0 <= count <= _LARGEST_NUMBER:
            raise self._stream.garbled("it counts messages in a way that makes no sense")
        return count

    def names(self) -> Iterator[tuple[int, str]]:
        """Yield number and unique-id of each message (UIDL); lines without either are left out.

        Raises:
            RefusedError: the server has no UIDL.
        """
        for line in self._listing(b"UIDL"):
            if (match := _NAMES.fullmatch(line)) and int(match[1]) <= _LARGEST_NUMBER:
                yield int(match[1]), match[2].decode("latin-1")

    def sizes(self) -> Iterator[tuple[int, int]]:
        """Yield number and size of each message as the server says it (LIST)."""
        for line in self._listing(b"LIST"):
            if (match := _NUMBERS.fullmatch(line)) and int(match[1]) <= _LARGEST_NUMBER:
                yield int(match[1]), int(match[2])

    def headers(self, numbers: Iterable[int]) -> Iterator[tuple[int, int, bytes] | NotRetrieved]:
        """Yield number, size and header of each message, or that it is not to be had.

        By LIST and TOP; where the server has no TOP, the whole message is read, and its size is
        exact. LIST may say what the message would take on a disk; -1 where it says nothing.
        """
        if not self.has("TOP"):
            for found in self.retrieve(numbers, _Nowhere):
                if isinstance(found, NotRetrieved):
                    yield found
                else:
                    yield found.number, found.size, header_of(found.head)
            return
        waiting = iter(numbers)
        in_flight: deque[int] = deque()
        top = b"TOP %d 0\r\n"
        command = b"LIST %d\r\n" + (top if self._is_pipelined else b"")
        while self._ask(in_flight, waiting, command, IN_FLIGHT):
            number = in_flight.popleft()
            match = _NUMBERS.fullmatch(self._stream.readline().removeprefix(b"+OK "))
            if not self._is_pipelined:
                self._stream.send(top % number)
            reply = self._answer()
            if reply[:3] != b"+OK":
                yield NotRetrieved(number, self._words(reply))
                continue
            head = _Head()
            self._stream.copy_lines(head.write)
            self._has_proven_sizes = True  # of headers nobody says any; they are only compared
            yield number, int(match[2]) if match else -1, header_of(bytes(head.octets))

    def retrieve(
        self, numbers: Iterable[int], new_body: Callable[[int], B], ahead: int = IN_FLIGHT
    ) -> Iterator[Retrieved[B] | NotRetrieved]:
        """Yield each message of these numbers, in order, as soon as it has come whole.

        Up to ``ahead`` RETR are in flight where the server has PIPELINING, and as long as the
        sizes that it announces come true: so a message that the server ends wrongly cannot
        swallow the next one unseen. Where one does not, those in flight are asked for again,
        one after the other.

        A body that does not come to its end is discarded before the error travels up.

        Raises:
            ConnectionLostError, ProtocolError: see ``Stream``.
            MessageTooLargeError: a message is larger than accepted.
        """
        waiting = iter(numbers)
        in_flight: deque[int] = deque()
        while self._ask(in_flight, waiting, b"RETR %d\r\n", ahead):
            number = in_flight.popleft()
            found, is_as_announced = self._retrieve(number, new_body)
            if is_as_announced or not in_flight:
                yield found
                continue
            self._is_pipelined = False
            if isinstance(found, Retrieved):
                found.body.discard()
            for each in in_flight:
                self._retrieve(each, _Nowhere)
            waiting = chain([number, *in_flight], waiting)
            in_flight.clear()

    def _ask(
        self, in_flight: deque[int], waiting: Iterator[int], command: bytes, ahead: int
    ) -> bool:
        """Send commands for the next numbers; say whether an answer is due."""
        most = max(1, ahead) if self._is_pipelined and self._has_proven_sizes else 1
        # In groups: a packet for each command would cost more than the command.
        if len(in_flight) <= most // 2:
            group = list(islice(waiting, most - len(in_flight)))
            if group:
                arguments = command.count(b"%d")
                self._stream.send(b"".join(command % ((each,) * arguments) for each in group))
                in_flight.extend(group)
        return bool(in_flight)

    def _retrieve(
        self, number: int, new_body: Callable[[int], B]
    ) -> tuple[Retrieved[B] | NotRetrieved, bool]:
        """Read the answer to a RETR; say whether its size is the one that was announced."""
        reply = self._answer()
        if reply[:3] != b"+OK":
            return NotRetrieved(number, self._words(reply)), True
        match = _ANNOUNCED.match(reply)
        announced = int(match[1]) if match else None
        if announced is not None and announced > self._largest:
            raise MessageTooLargeError(announced, self._largest)
        body = new_body(announced or 0)
        head, size = self._copy(body)
        is_as_announced = announced == size
        self._has_proven_sizes = is_as_announced
        return Retrieved(number, body, head, size), is_as_announced

    def _copy(self, body: Body) -> tuple[bytes, int]:
        """Hand a message to ``body`` as it arrives; return its first octets and its size."""
        head = _Head()
        take = body.write
        largest = self._largest

        def write(piece: memoryview) -> None:
            head.write(piece)
            if head.size > largest:
                raise MessageTooLargeError(head.size, largest)
            take(piece)

        try:
            if (whole := self._stream.lines()) is not None:
                write(whole)
            else:
                self._stream.copy_lines(write)
        except BaseException:
            body.discard()
            raise
        return bytes(head.octets), head.size

    def _listing(self, command: bytes) -> Iterator[bytes]:
        self._stream.send(command + b"\r\n")
        reply = self._answer()
        if reply[:3] != b"+OK":
            raise RefusedError(command.decode(), self._words(reply))
        while (line := self._stream.readline()).rstrip(b"\r\n") != b".":
            if len(line) > _LONGEST_LINE:
                raise self._stream.garbled("it lists what makes no sense", line[:80])
            yield line

    def _answer(self) -> bytes:
        reply = self._stream.readline()
        if reply[:3].upper() == b"+OK":
            return b"+OK" + reply[3:]
        if reply[:4].upper() != b"-ERR":
            raise self._stream.garbled("it says what is no answer", self._stream.words(reply, 80))
        return reply

    def _words(self, reply: bytes) -> str:
        return self._stream.words(reply[4:])


class _Head:
    """Counts octets, and keeps the first ones."""

    __slots__ = ("octets", "size")

    def __init__(self) -> None:
        self.octets = bytearray()
        self.size = 0

    def write(self, piece: memoryview) -> None:
        if self.size < _HEAD:
            self.octets += piece[: _HEAD - self.size]
        self.size += len(piece)


class _Nowhere:
    """A body that nobody wants."""

    def __init__(self, _size: int) -> None:
        pass

    def write(self, piece: memoryview) -> None:
        """Nothing is kept."""

    def discard(self) -> None:
        """Nothing is kept."""


def header_of(head: bytes) -> bytes:
    """Return a message's beginning up to its first empty line."""
    if head.startswith(b"\r\n"):
        return head[:2]
    end = head.find(b"\r\n\r\n")
    return head if end < 0 else head[: end + 4]


def _capabilities(stream: Stream, client: poplib.POP3) -> dict[str, list[str]]:
    """Return what the server says that it can; nothing where it has no CAPA."""
    try:
        with _errors_of(stream, "CAPA"):
            found = client.capa()
    except RefusedError:
        return {}
    return {name.upper(): words for name, words in found.items()}


def _by_password(
    stream: Stream,
    client: poplib.POP3,
    account: Account,
    password: str,
    offered: dict[str, list[str]],
) -> None:
    """Sign in by PLAIN where offered, else by USER and PASS, which every server has.

    APOP keeps the password off the line: it is taken where that is open to read, which only
    ``allow_plaintext`` permits, and where nothing else is offered. Its MD5 is no reason to do
    without TLS. A refusal is final: another way in would be one failure more, or a password
    in the clear that APOP was to spare.
    """
    if account.takes_tokens_only:
        raise SignInError("Office 365 takes no passwords; run 'waystation login'.")
    user, secret = account.login.encode(), password.encode("utf-8", "surrogateescape")
    # RFC 4616: whose mailbox it shall be, then whose password it is.
    acting, owner = b"", user
    if account.sign_in_as is not None:
        acting, owner = user, account.sign_in_as.encode()
    if re.search(rb"[\0\r\n]", acting + owner + secret):
        raise SignInError("a user name or password cannot hold NUL or line ends.")
    response = base64.b64encode(b"\0".join((acting, owner, secret)))
    has_plain = "PLAIN" in map(str.upper, offered.get("SASL", []))
    if acting and not has_plain:
        raise SignInError(
            f"{plain(account.host)} offers no SASL PLAIN, the only way to sign in for somebody "
            "else (--sign-in-as)."
        )
    has_user = "USER" in offered or not offered
    stamp = None if acting else _STAMP.search(client.getwelcome())
    is_open = not isinstance(stream.sock, SSLSocket)
    try:
        with stream.secrets(secret, response):
            if stamp is not None and (is_open or not (has_plain or has_user)):
                from hashlib import md5  # RFC 1939 section 7 wants it

                digest = md5(stamp[0] + secret, usedforsecurity=False).hexdigest()
                _command(stream, b"APOP %b %b" % (user, digest.encode()))
            elif has_plain:
                _authenticate(stream, b"PLAIN", response, is_initial=False)
            else:
                _command(stream, b"USER " + user)
                _command(stream, b"PASS " + secret)
    except RefusedError as error:
        if error.retriable:
            raise
        raise SignInError(
            f"{plain(account.host)} refused the sign-in of {plain(account.user)}: "
            f"{error.reply.rstrip('.') or '(no words)'}. Check user name and password; many "
            "providers want an app password, and POP3 to be switched on first."
        ) from None


def _by_token(stream: Stream, account: Account, source: TokenSource, token: Token) -> None:
    """Sign in by XOAUTH2 ("Authenticate an IMAP … connection using OAuth", Microsoft Learn).

    Microsoft takes the response on a line of its own. Others take it with the command (RFC 5034
    section 4), unless that is longer than a command may be.
    """
    preset = account.preset
    is_exchange = preset is not None and preset.is_exchange
    is_on_one_line = account.host.lower().endswith(_ONE_LINE_HOSTS) or (
        preset is not None and preset.oauth is not None and preset.oauth.is_on_one_line
    )
    with xoauth2(stream, account.user, source, token) as response:
        length = len(b"AUTH XOAUTH2 ") + len(response) + 2
        is_initial = not is_exchange and (length <= _LONGEST_COMMAND or is_on_one_line)
        _authenticate(stream, b"XOAUTH2", response, is_initial=is_initial)


def _authenticate(stream: Stream, mechanism: bytes, response: bytes, *, is_initial: bool) -> None:
    """Carry out an AUTH (RFC 5034); a challenge after the response tells why it is refused."""
    lines = deque([b""] if is_initial else [response, b""])
    stream.send(b"AUTH " + mechanism + (b" " + response if is_initial else b"") + b"\r\n")
    while (reply := stream.readline()).startswith((b"+ ", b"+\r")):
        if len(lines) == 1 and reply.strip() != b"+":
            with suppress(ValueError):
                why = base64.b64decode(reply[2:].strip(), validate=True)
                log.debug("which means: %s", stream.words(why))
        stream.send((lines.popleft() if lines else b"*") + b"\r\n")
    _demand_ok(stream, "AUTH", reply)


def _command(stream: Stream, command: bytes) -> None:
    stream.send(command + b"\r\n")
    _demand_ok(stream, command.split(b" ", 1)[0].decode(), stream.readline())


def _demand_ok(stream: Stream, what: str, reply: bytes) -> None:
    if reply[:4].upper() == b"-ERR":
        raise RefusedError(what, stream.words(reply[4:]))
    if reply[:3].upper() != b"+OK":
        raise stream.garbled("it says what is no answer", stream.words(reply, 80))


def _pause(reply: str, offered: dict[str, list[str]]) -> float | None:
    """Return the seconds after which a sign-in that was put off may be tried again."""
    code = reply.upper()
    if code.startswith("[LOGIN-DELAY]"):
        # RFC 2449 section 6.5: seconds; "USER" after them says that they differ by user.
        said = offered.get("LOGIN-DELAY", [""])[0]
        return min(float(said), 600.0) if said.isdigit() and len(said) < 10 else 60.0
    return _BUSY if code.startswith(("[IN-USE]", "[SYS/TEMP]")) else None


@contextmanager
def _errors_of(stream: Stream, what: str) -> Iterator[None]:
    """Turn every exception of poplib into one of ours."""
    try:
        yield
    except WaystationError:
        raise
    except poplib.error_proto as error:
        reply = error.args[0] if error.args else b""
        octets = reply if isinstance(reply, bytes) else str(reply).encode()
        if octets[:4].upper() == b"-ERR":
            raise RefusedError(what, stream.words(octets[4:])) from None
        raise stream.garbled(f"{what} failed", stream.words(octets, 80)) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        heard = stream.words(str(error).encode(), 80)
        raise stream.garbled(f"{what} failed", heard) from None
