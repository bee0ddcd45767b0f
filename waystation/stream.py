"""One connection to a server: TLS, one receive buffer, limits, and the conversation log.

Everything that arrives passes through the one buffer here, whoever asks for it: imapclient and
poplib (by way of ``readline`` and ``read``) and our own bulk readers (by way of ``copy`` and
``copy_lines``). So nothing is lost when the two take turns on one connection.

Promises: TLS is verified or there is no connection; no answer, however long, is held whole
beyond a stated limit; what is logged at DEBUG or told in an error holds neither a secret, not
even where the server repeats it, nor the octets of a message.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from waystation.errors import (
    CertificateError,
    ConnectionLostError,
    NoEncryptionError,
    ProtocolError,
    UnreachableError,
    UsageError,
    WaystationError,
    goodbye,
    plain,
)
from waystation.way import PinnedContext, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from waystation.address import Account

    _Context = Callable[[], ssl.SSLContext]
    """Makes a context where one is needed: it takes longer than to connect."""

log = logging.getLogger(__name__)

_SMALL = 16 * 1024
"""Octets of the receive buffer at first; the largest record of TLS (RFC 8446 section 5.1)."""
_BUFFER = 256 * 1024
"""The same once the server sends faster than that is emptied."""
LONGEST_LINE = 16 * 1024 * 1024
"""Octets of one line without literals. A SEARCH answer of a million UIDs has 8 MB."""
_LARGEST_ANSWER = 16 * 1024 * 1024
"""Octets of one literal that is held in memory; bodies of messages never are."""
_TELLING = 6
_MOST_CAPABILITIES = 1000
_DOT, _CR, _LF = b".\r\n"
_LAST_BYE = re.compile(rb"(?:^|\n)\* BYE ([^\r\n]*)\r?\n", re.IGNORECASE)


class Stream:
    """A connected, possibly encrypted socket with a receive buffer. Use from one thread."""

    def __init__(self, sock: socket.socket, host: str, protocol: str = "IMAP") -> None:
        self.host = host
        self.protocol = protocol
        """``IMAP`` or ``POP3``, for the words of an error."""
        self.sock = sock
        self.bye = ""
        """The words of the server's last BYE, which explain an end of the connection."""
        # A connection that waits, or only sends, needs no more: many may be open at once.
        self._data = bytearray(_SMALL)
        self._view = memoryview(self._data)
        self._start = 0
        self._end = 0
        self._is_secret = False
        self._struck: tuple[bytes, ...] = ()
        self._talk = log.isEnabledFor(logging.DEBUG)

    def readline(self) -> bytes:
        """Return the next line with its line end.

        Raises:
            ConnectionLostError: the connection ended or timed out.
            ProtocolError: the line is longer than ``LONGEST_LINE``.
        """
        parts: list[bytes] = []
        length = 0
        while True:
            newline = self._data.find(b"\n", self._start, self._end)
            stop = newline + 1 if newline >= 0 else self._end
            piece = bytes(self._view[self._start : stop])
            self._start = stop
            if newline >= 0 and not parts:
                line = piece
                break
            parts.append(piece)
            length += len(piece)
            if newline >= 0:
                line = b"".join(parts)
                break
            if length > LONGEST_LINE:
                raise self.garbled(f"a line is longer than {LONGEST_LINE:,} octets")
            self._fill()
        if line[:6].upper() == b"* BYE ":
            self.bye = self.words(line[6:])
        if self._talk:
            log.debug("S: %s", self.words(line, 1000))
        return line

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` octets, which must not be many (see ``copy``)."""
        if size > _LARGEST_ANSWER:
            raise self.garbled(f"an answer announces {size:,} octets")
        parts = bytearray()
        self.copy(size, parts.extend)
        return bytes(parts)

    def copy(self, size: int, write: Callable[[memoryview], object]) -> None:
        """Hand the next ``size`` octets to ``write`` piece by piece, as they arrive.

        The pieces are views of the buffer: ``write`` must have done with one when it returns.
        """
        while size:
            if self._start == self._end:
                self._fill()
            stop = min(self._end, self._start + size)
            write(self._view[self._start : stop])
            size -= stop - self._start
            self._start = stop

    def copy_lines(self, write: Callable[[memoryview], object]) -> None:
        """Hand a multi-line answer of POP3 to ``write``, piece by piece, as it arrives.

        It ends at a line that is a dot alone; of a line that begins with another dot as well,
        the first is taken away (RFC 1939 section 3). What else there is stays as it was sent:
        lines end in CRLF, and nothing but CRLF ends one. ``write`` as with ``copy``.
        """
        is_line_start = True
        while True:
            if is_line_start:
                self._demand(1)
                if self._data[self._start] == _DOT:
                    self._demand(3)
                    data = self._data
                    if data[self._start + 1] == _CR and data[self._start + 2] == _LF:
                        self._start += 3
                        return
                    self._start += 1
            self._demand(1)
            data, view = self._data, self._view
            stop = data.find(b"\r\n.", self._start, self._end)
            if stop >= 0:
                stop += 2
                is_line_start = True
            else:
                stop = self._end
                is_line_start = data.endswith(b"\r\n", self._start, stop)
                if data[stop - 1] == _CR:
                    # Whether this ends a line is in what comes next.
                    stop -= 1
                    if stop == self._start:
                        self._demand(2)
                        continue
            write(view[self._start : stop])
            self._start = stop

    def lines(self) -> memoryview | None:
        """Return a multi-line answer that has arrived whole and needs no change, as most do.

        None stands for every other: see ``copy_lines``. The view is void after the next call.
        """
        start = self._start
        stop = self._data.find(b"\r\n.", start, self._end)
        if stop < 0 or not self._data.startswith(b"\r\n.\r\n", stop) or stop + 5 > self._end:
            return None
        if self._data[start] == _DOT:
            return None
        self._start = stop + 5
        return self._view[start : stop + 2]

    def _demand(self, size: int) -> None:
        """Receive until so many octets lie in the buffer."""
        while self._end - self._start < size:
            self._fill(bytes(self._view[self._start : self._end]))

    def garbled(self, what: str, received: str | bytes = b"") -> ProtocolError:
        """Return the error for what is no answer in this protocol."""
        return ProtocolError(self.host, what, received, self.protocol)

    @property
    def has_input(self) -> bool:
        """Whether something has arrived that nobody has read yet."""
        return self._start < self._end

    def send(self, line: bytes) -> None:
        """Send a line, and whatever octets follow it; only the line is logged.

        Raises:
            ConnectionLostError: the connection ended or timed out; part may have gone out.
        """
        if self._talk:
            self._log_sent(line)
        self.send_octets(line)

    def send_octets(self, data: bytes | memoryview) -> None:
        """Send octets of a message, which are nobody's business but the server's.

        Raises:
            ConnectionLostError: as with ``send``.
        """
        try:
            self.sock.sendall(data)
        except OSError as error:
            self._hear_out()
            raise self._lost(error) from error

    @contextmanager
    def secrets(self, *forms: bytes) -> Iterator[None]:
        """While this lasts, what is sent is struck out of the conversation log.

        ``forms`` are the spellings of the secret: where the server repeats one, then or later,
        that is struck out of the log and of every error.
        """
        self._is_secret = True
        self._struck = tuple(sorted(filter(None, forms), key=len, reverse=True))
        try:
            yield
        finally:
            self._is_secret = False
            # A short one occurs in innocent words and numbers as well.
            self._struck = tuple(form for form in self._struck if len(form) >= _TELLING)

    def words(self, octets: bytes, longest: int = 300) -> str:
        """Return the server's words fit to be shown, without secrets."""
        for form in self._struck:
            octets = octets.replace(form, b"(struck out)")
        return plain(octets, longest)

    def push_back(self, line: bytes) -> None:
        """Make ``line`` the next thing that is read."""
        rest = line + bytes(self._view[self._start : self._end])
        if len(rest) > _BUFFER:
            raise self.garbled("its greeting does not end")
        if len(rest) > len(self._data):
            self._enlarge()
        self._start, self._end = 0, len(rest)
        self._view[: self._end] = rest

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Turn the connection into TLS, after the server has agreed to STARTTLS.

        Raises:
            ProtocolError: the server said more before TLS began; that could come from anyone.
        """
        if self.has_input:
            raise self.garbled("it sent data between STARTTLS and TLS")
        self.sock = _encrypted(self.sock, context, self.host)

    def close(self) -> None:
        """Close the connection, without another word to the server."""
        with suppress(OSError):
            self.sock.close()

    def cut(self) -> None:
        """Break the connection, also from another thread; whoever reads finds its end."""
        with suppress(OSError):
            # Not SSLSocket's own: that takes the encryption away under whoever reads.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def _fill(self, rest: bytes = b"") -> None:
        """Receive more; of all that came before, only ``rest`` has not been read."""
        if self._end == len(self._data) < _BUFFER:
            # It was full: the server has much to say.
            self._enlarge()
        self._start, self._end = 0, len(rest)
        self._view[: self._end] = rest
        try:
            size = self.sock.recv_into(self._view[self._end :])
        except OSError as error:
            raise self._lost(error) from error
        if not size:
            raise goodbye(self.host, self.bye or "the server closed it")
        self._end += size

    def _enlarge(self) -> None:
        """Take a large buffer, with nothing in it; views of the old one stay as they are."""
        self._data = bytearray(_BUFFER)
        self._view = memoryview(self._data)

    def _hear_out(self) -> None:
        """Look for a BYE in what came before the connection broke; nothing of it is consumed."""
        rest = bytes(self._view[self._start : self._end])
        self._enlarge()
        self._start, self._end = 0, len(rest)
        self._view[: self._end] = rest
        with suppress(OSError):
            self.sock.settimeout(1)
            while self._end < _BUFFER and (more := self.sock.recv_into(self._view[self._end :])):
                self._end += more
        if match := _LAST_BYE.search(self._data, 0, self._end):
            self.bye = self.words(match[1])

    def _lost(self, error: OSError) -> ConnectionLostError:
        if self.bye:
            return goodbye(self.host, self.bye)
        if isinstance(error, TimeoutError):
            return ConnectionLostError(
                self.host, f"nothing came for {self.sock.gettimeout():.0f} seconds"
            )
        return ConnectionLostError(self.host, error.strerror or str(error))

    def _log_sent(self, data: bytes) -> None:
        line = data[: data.find(b"\n") + 1] or data
        if self._is_secret:
            # The tag and the name of the command tell what goes on; the rest is the secret.
            words = line.split(b" ", 2)
            is_command = len(words) > 1 and words[1].strip() in (b"LOGIN", b"AUTHENTICATE")
            line = b" ".join(words[:2]) + b" (struck out)" if is_command else b"(struck out)"
        log.debug("C: %s", self.words(line, 1000))


def open_stream(
    account: Account,
    *,
    ca_file: Path | None,
    allow_plaintext: bool,
    timeout: float,
    way: Way | None = None,
) -> Stream:
    """Connect and encrypt; the greeting is the next thing to be read.

    With STARTTLS the greeting was read already. What was said before TLS could come from anyone
    and counts for nothing; a greeting that says nothing is put in its place, so that whoever
    takes the stream over finds a fresh, encrypted connection in both cases.

    Raises:
        UnreachableError: no such host, or nothing listens there.
        UsageError: ``ca_file`` cannot be read.
        CertificateError: the server does not prove to be ``account.host``.
        NoEncryptionError: no STARTTLS (POP3: STLS), and plain text is not allowed.
        ProtocolError: what answers speaks no TLS, or not this protocol.
        ConnectionLostError: the connection ended while it was set up.
    """
    way = way or Way()
    pinned = way.fingerprint
    tls = partial(_context, ca_file) if pinned is None else partial(PinnedContext, pinned)
    if ca_file is not None:
        tls()  # a wrong file shows before anybody is connected to
    try:
        return _open(account, tls, way, allow_plaintext=allow_plaintext, timeout=timeout)
    except CertificateError as error:
        if pinned is not None:
            raise
        raise error.showing(_seen(account, way, timeout)) from None


def _seen(account: Account, way: Way, timeout: float) -> str | None:
    """Return the fingerprint of a server's certificate, by another look at it."""
    context = PinnedContext(None)
    with suppress(WaystationError):
        _open(account, lambda: context, way, allow_plaintext=False, timeout=timeout).close()
    return context.seen


def _open(
    account: Account, tls: _Context, way: Way, *, allow_plaintext: bool, timeout: float
) -> Stream:
    try:
        sock = way.connect(account.host, account.port, min(timeout, 30))
    except TimeoutError:
        why = f"no answer within {min(timeout, 30):.0f} seconds"
        raise UnreachableError(account.host, account.port, why) from None
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UnreachableError(account.host, account.port, why) from None
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(timeout)
        if account.security == "tls":
            sock = _encrypted(sock, tls(), account.host)
        stream = Stream(sock, account.host, account.protocol.upper())
        if account.security == "starttls" and account.protocol == "pop3":
            _stls(stream, tls, allow_plaintext=allow_plaintext)
        elif account.security == "starttls":
            _starttls(stream, tls, allow_plaintext=allow_plaintext)
    except BaseException:
        sock.close()
        raise
    return stream


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a new context that trusts the system's authorities, and the one of ``ca_file``.

    Raises:
        UsageError: ``ca_file`` cannot be read.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise UsageError(f"--ca-file {plain(str(ca_file))} cannot be used: {why}.") from None
    return context


_context = lru_cache(maxsize=4)(tls_context)
"""To load the system's certificates takes longer than to connect."""


def _encrypted(sock: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise CertificateError(host, error.verify_message or str(error)) from None
    except ssl.SSLError as error:
        raise ProtocolError(
            host,
            f"no TLS comes about ({plain(error.reason or str(error))}); is the port right?",
        ) from None
    except TimeoutError:
        raise ConnectionLostError(host, "nothing came in answer to the TLS handshake") from None
    except OSError as error:
        raise ConnectionLostError(
            host, error.strerror or "closed during the TLS handshake"
        ) from None


def _starttls(stream: Stream, tls: _Context, *, allow_plaintext: bool) -> None:
    greeting = stream.readline()
    if greeting[:4].upper() != b"* OK":
        # PREAUTH leaves no room for STARTTLS; BYE and garbage are for whoever reads next.
        if greeting[:9].upper() == b"* PREAUTH" and not allow_plaintext:
            raise NoEncryptionError(stream.host)
        stream.push_back(greeting)
        return
    if _offers_starttls(stream):
        stream.send(b"S2 STARTTLS\r\n")
        if not _reply(stream, b"S2").upper().startswith(b"OK"):
            raise NoEncryptionError(stream.host)
        stream.encrypt(tls())
        greeting = b"* OK TLS begins\r\n"
    elif not allow_plaintext:
        raise NoEncryptionError(stream.host)
    stream.push_back(greeting)


def _stls(stream: Stream, tls: _Context, *, allow_plaintext: bool) -> None:
    """Turn to TLS by STLS (RFC 2595 section 4)."""
    greeting = stream.readline()
    if greeting[:3].upper() != b"+OK":
        stream.push_back(greeting)
        return
    if _offers_stls(stream):
        stream.send(b"STLS\r\n")
        if stream.readline()[:3].upper() != b"+OK":
            raise NoEncryptionError(stream.host, stream.protocol)
        stream.encrypt(tls())
        # Without the time stamp of APOP, which was said before TLS and could be anyone's.
        greeting = b"+OK TLS begins\r\n"
    elif not allow_plaintext:
        raise NoEncryptionError(stream.host, stream.protocol)
    stream.push_back(greeting)


def _offers_stls(stream: Stream) -> bool:
    stream.send(b"CAPA\r\n")
    if stream.readline()[:3].upper() != b"+OK":
        return False
    offered = False
    for _ in range(_MOST_CAPABILITIES):
        line = stream.readline().strip().upper()
        if line == b".":
            return offered
        offered = offered or line == b"STLS"
    raise stream.garbled("its capabilities do not end")


def _offers_starttls(stream: Stream) -> bool:
    stream.send(b"S1 CAPABILITY\r\n")
    offered = False
    while not (line := stream.readline()).startswith(b"S1 "):
        offered = offered or bool(re.match(rb"\* CAPABILITY\b.*\bSTARTTLS\b", line, re.IGNORECASE))
    return offered


def _reply(stream: Stream, tag: bytes) -> bytes:
    while not (line := stream.readline()).startswith(tag + b" "):
        pass
    return line[len(tag) + 1 :]
