"""The two bulk paths of IMAP, read and written as a stream: FETCH of bodies, APPEND of files.

imapclient would hold each message several times in memory and walk each answer octet by octet.
Here the octets of a body go from the receive buffer to whoever takes them (a file, a hash) and
are never put together, and an APPEND is sent from its file. Folder lists and states are read
here too, because names must stay the octets they are, and so is the answer to a sign-in.

Grammar: RFC 9051 section 9, read tolerantly. Items of a FETCH may come in any order, strings
quoted or as literals, with answers in between that nobody asked for. An answer has an end, and
a number has a size: no server makes us hold more than ``_LARGEST_ANSWER``.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from waystation.errors import (
    ConnectionLostError,
    MessageTooLargeError,
    ProtocolError,
    RefusedError,
    StorageError,
    goodbye,
    plain,
)
from waystation.model import RemoteMessage, split_flags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from waystation.stream import Stream

LARGEST_MESSAGE = 1024**3
"""Octets of a message that are accepted unless told otherwise. Exchange Online ends at 150 MB."""

_BLOCK = 256 * 1024
_WHOLE = 64 * 1024  # up to this size an APPEND goes out in one piece
_LARGEST_ANSWER = 32 * 1024 * 1024
"""Octets of one answer, its literals included, but for bodies that go elsewhere."""
_LARGEST_UID = 2**32 - 1
_LARGEST_MODSEQ = 2**63 - 1

_COMMON_FETCH = re.compile(
    rb"\* \d+ FETCH \(UID ([1-9]\d{0,8}) FLAGS \(([^()]*)\) INTERNALDATE (\"[^\"]{26}\")"
    rb" BODY\[\] \{(\d{1,20})\}\r\n"
)
_COMMON_FLAGS = re.compile(
    rb"\* \d+ FETCH \(UID ([1-9]\d{0,8}) FLAGS \(([^()]*)\)(?: MODSEQ \(\d+\))?\)\r\n"
)
_GROWS = re.compile(rb"\* \d{1,20} (?:EXISTS|RECENT)\r\n")
_ENDS_IN_LITERAL = re.compile(rb"~?\{(\d{1,20})\+?\}\r?\n\Z")
_BEFORE_BODY = re.compile(rb"(?:BODY\[\](?:<0>)?|RFC822) \Z", re.IGNORECASE)
_BODY = (b"BODY[]", b"RFC822", b"BODY[]<0>")
_UID = r"[1-9]\d{0,9}"
_APPENDUIDS = re.compile(
    rf"\[APPENDUID ({_UID}) ({_UID}(?::{_UID})?(?:,{_UID}(?::{_UID})?)*)\]", re.IGNORECASE
)
_IS_TEXT = re.compile(rb"(?:\* )?(?:OK|NO|BAD|BYE|PREAUTH)\b|\+|\S+ (?:OK|NO|BAD)\b", re.IGNORECASE)
_UNTAGGED = re.compile(rb"\* (?:(\d{1,20}) )?([A-Za-z][A-Za-z0-9._/-]*)(?: |\r?\n)")
_TAGGED = re.compile(rb"(\S+) (OK|NO|BAD)(?: (.*))?\r?\n", re.IGNORECASE | re.DOTALL)
_UNAVAILABLE = re.compile(rb"Server Unavailable\b", re.IGNORECASE)
"""What Exchange Online says, without a tag, when the back end of a mailbox is away."""
_TOKEN = re.compile(
    rb'(?P<blank>[ \r\n]+)|(?P<open>\()|(?P<close>\))|"(?P<quoted>(?:[^"\\]++|\\.)*+)"'
    rb"|(?P<literal>~?\{\d+\+?\}\r?\n)|(?P<atom>BODY\[[^\]]*+\](?:<\d+>)?|[^ ()\"\r\n]+)",
    re.DOTALL | re.IGNORECASE,
)
_FLAG = re.compile(r"\\?[^\x00-\x20\x7f-\U0010ffff(){%*\"\\\]]+", re.ASCII)
_UNQUOTE = re.compile(rb"\\(.)", re.DOTALL)
_DATE = re.compile(
    rb"([ \d]?\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])([01]\d|2[0-3])([0-5]\d)"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = {name.lower().encode(): number for number, name in enumerate(_MONTHS, 1)}


class Body(Protocol):
    """Where the octets of one message go as they arrive."""

    def write(self, piece: memoryview) -> object:
        """Take the next octets; the view is void afterwards."""

    def discard(self) -> None:
        """Forget what was written: the message does not come to its end."""


B = TypeVar("B", bound=Body)
Token = bytes | None | Body | list["Token"]
"""An atom or a string, NIL, a body that went elsewhere, or a list in parentheses."""


@dataclass(frozen=True, slots=True)
class Fetched(Generic[B]):
    """One FETCH answer that carried a UID."""

    message: RemoteMessage
    body: B | None
    """None where the answer held no body, or NIL."""


@dataclass(frozen=True, slots=True)
class Described:
    """One message as its server describes it, without its body."""

    message: RemoteMessage
    size: int
    """RFC822.SIZE in octets, which some servers only estimate; -1 where it is missing."""
    header: bytes


@dataclass(frozen=True, slots=True)
class Identified:
    """One message with the number by which its server knows it in all its folders."""

    message: RemoteMessage
    source_id: str
    size: int | None
    """RFC822.SIZE in octets; None where it is missing."""
    labels: tuple[bytes, ...] = ()
    """Names of the labels that it bears besides the open folder, as they are on the wire; those
    of the server's own begin with a backslash."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message as an APPEND carries it, small enough to be held."""

    flags: Sequence[str]
    date: datetime | None
    octets: bytes


@dataclass(frozen=True, slots=True)
class Tagged:
    """The answer that ends a command."""

    tag: bytes
    status: str
    """``OK``, ``NO`` or ``BAD``."""
    text: str
    """Code and words, fit to be shown."""

    @property
    def is_ok(self) -> bool:
        """Whether the command was carried out."""
        return self.status == "OK"

    @property
    def reply(self) -> str:
        """Status and words, as the ledger keeps them."""
        return f"{self.status} {self.text}".rstrip()

    @property
    def appenduid(self) -> tuple[int, int] | None:
        """UIDVALIDITY and UID of APPENDUID (RFC 4315), or None where missing or garbled."""
        match = re.search(r"\[APPENDUID ([1-9]\d{0,9}) ([1-9]\d{0,9})\]", self.text, re.IGNORECASE)
        return (int(match[1]), int(match[2])) if match else None

    @property
    def has_appenduid(self) -> bool:
        """Whether there is an APPENDUID, whatever it says."""
        return "[APPENDUID " in self.text.upper()

    def appenduids(self, count: int) -> tuple[int, list[int]] | None:
        """Return UIDVALIDITY and UIDs of APPENDUID after MULTIAPPEND, in the order of messages.

        None where it is missing or garbled, or tells of more or fewer than ``count`` (RFC 4315
        section 3: ascending, one for each message).
        """
        match = _APPENDUIDS.search(self.text)
        if match is None:
            return None
        uids: list[int] = []
        for part in match[2].split(","):
            first, _, last = part.partition(":")
            low, high = int(first), int(last or first)
            # No server makes us hold more than what was sent.
            if low > high or len(uids) + high - low >= count or (uids and low <= uids[-1]):
                return None
            uids += range(low, high + 1)
        return (int(match[1]), uids) if len(uids) == count else None


class Wire:
    """Commands of our own on a signed-in connection that imapclient uses as well.

    The two take turns: no command of one is sent while one of the other is in flight.
    """

    def __init__(self, stream: Stream, largest_message: int = LARGEST_MESSAGE) -> None:
        self._stream = stream
        self._largest = largest_message
        self._count = 0
        self._ended: deque[Tagged] = deque()
        self.rejected = 0
        """How many commands were answered BAD."""
        self.last_tag = b""
        """The tag of the last APPEND that was begun, also where the connection broke in it."""

    def converse(
        self, command: bytes, *lines: bytes, asked: Callable[[bytes], object] | None = None
    ) -> None:
        """Send a command and, each time the server asks for more, the next of ``lines``.

        ``asked`` gets the words with which the server does so.

        Raises:
            RefusedError: the command was not carried out.
        """
        tag = self._send(command)
        waiting = deque(lines)
        while True:
            line = self._stream.readline()
            if line.startswith(b"+"):
                if asked is not None:
                    asked(line[1:].strip())
                # RFC 9051 section 6.2.2: a lone asterisk gives up; the server then says BAD.
                self._stream.send((waiting.popleft() if waiting else b"*") + b"\r\n")
                continue
            answer = self._parse(line, None)
            if isinstance(answer, Tagged):
                self._expect(answer, tag, plain(command.split(b" ", 1)[0]))
                return

    def untagged(self, *commands: bytes) -> Iterator[tuple[bytes, list[Token]]]:
        """Send ``commands`` in one go and yield name and tokens of every untagged answer.

        A number in front of the name (``* 3 EXISTS``) is the first token. Of ``OK`` and the
        like the whole text is the one token.

        Raises:
            RefusedError: a command was not carried out (after the answers of all were read).
        """
        tags = {self._send(command): command for command in commands}
        refused: RefusedError | None = None
        while tags:
            answer = self._parse(self._stream.readline(), None)
            if not isinstance(answer, Tagged):
                yield answer
                continue
            command = tags.pop(answer.tag, None)
            if command is None:
                raise self._not_asked(answer)
            if not answer.is_ok and refused is None:
                refused = RefusedError(plain(command.split(b" ", 1)[0]), answer.text)
        if refused is not None:
            raise refused

    def flags(self, command: bytes) -> Iterator[tuple[int, tuple[str, ...], tuple[str, ...]]]:
        """Send a UID FETCH of FLAGS and yield UID, flags and keywords as they come."""
        tag = self._send(command)
        while True:
            line = self._stream.readline()
            if match := _COMMON_FLAGS.fullmatch(line):
                yield int(match[1]), *_flags(match[2])
                continue
            answer = self._parse(line, None)
            if isinstance(answer, Tagged):
                self._expect(answer, tag, "FETCH")
                return
            fetched: Fetched[Body] | None
            fetched = _fetched(answer[1]) if answer[0] == b"FETCH" else None
            if fetched is not None:
                message = fetched.message
                yield message.uid, message.flags, message.keywords

    def fetch(
        self, sets: Iterable[bytes], new_body: Callable[[int], B], depth: int = 2
    ) -> Iterator[Fetched[B] | Tagged]:
        """Fetch the messages of each UID set with body, flags and INTERNALDATE.

        ``depth`` commands are in flight at a time, so that the line is never idle for a round
        trip. Yields each message as soon as it is complete, and the tagged answer of each
        command in the order of the sets; messages of the next may come before it. A body that
        does not come to its end is discarded before the error travels up.

        Raises:
            ConnectionLostError, ProtocolError: see ``Stream``.
            MessageTooLargeError: a body is announced larger than accepted.
        """
        waiting = iter(sets)
        in_flight: deque[bytes] = deque()
        ended: dict[bytes, Tagged] = {}
        bodies: list[B] = []

        def begin(size: int) -> B:
            if size > self._largest:
                raise MessageTooLargeError(size, self._largest)
            bodies.append(new_body(size))
            return bodies[-1]

        def ask() -> None:
            if (uids := next(waiting, None)) is not None:
                in_flight.append(
                    self._send(b"UID FETCH " + uids + b" (UID FLAGS INTERNALDATE BODY.PEEK[])")
                )

        for _ in range(depth):
            ask()
        while in_flight:
            try:
                answer = self._fetch_answer(begin)
            except BaseException:
                for body in bodies:
                    body.discard()
                raise
            for body in bodies:
                # A body that belongs to no message: there was no UID, or a second body.
                if isinstance(answer, Tagged | None) or answer.body is not body:
                    body.discard()
            bodies.clear()
            if isinstance(answer, Tagged):
                if answer.tag not in in_flight or answer.tag in ended:
                    raise self._not_asked(answer)
                ended[answer.tag] = answer
                # Commands that do not depend on each other may end in any order.
                while in_flight and in_flight[0] in ended:
                    ask()
                    yield ended.pop(in_flight.popleft())
            elif answer is not None:
                yield answer

    def _fetch_answer(self, begin: Callable[[int], B]) -> Fetched[B] | Tagged | None:
        """Read one answer to a FETCH; None is one that says nothing of a message."""
        line = self._stream.readline()
        if match := _COMMON_FETCH.fullmatch(line):
            uid, flags, date, size = match.groups()
            body = begin(int(size))
            self._stream.copy(int(size), body.write)
            tail = self._stream.readline()
            if tail == b")\r\n":
                return Fetched(RemoteMessage(int(uid), *_flags(flags), parse_date(date)), body)
            answer = self._parse(tail, begin, line, {len(line): body})
        else:
            answer = self._parse(line, begin)
        if isinstance(answer, Tagged):
            return answer
        if answer[0] != b"FETCH":
            return None
        fetched = _fetched(answer[1], begin)
        if fetched is not None and fetched.body is not None and not _has_pairs(answer[1]):
            raise self._no_answer(line)
        return fetched

    def describe(self, uids: bytes, section: bytes, most: int | None = None) -> Iterator[Described]:
        """Fetch flags, INTERNALDATE, size and one header section of each message of a UID set.

        ``section`` is ``HEADER`` or ``HEADER.FIELDS (…)``; of it no more than the first
        ``most`` octets. Headers are held in memory.
        """
        part = b"" if most is None else b"<0.%d>" % most
        items = b"(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[%b]%b)" % (section, part)
        for name, tokens in self.untagged(b"UID FETCH " + uids + b" " + items):
            fetched: Fetched[Body] | None = _fetched(tokens) if name == b"FETCH" else None
            if fetched is None:
                continue
            values = _values(tokens)
            size = number(values.get(b"RFC822.SIZE"), _LARGEST_MODSEQ)
            for key, header in values.items():
                # NIL is what some servers say in place of an empty string.
                if key.startswith(b"BODY[HEADER") and isinstance(header, bytes | None):
                    yield Described(fetched.message, -1 if size is None else size, header or b"")
                    break

    def outline(self, uids: bytes) -> Iterator[Described]:
        """Fetch flags, INTERNALDATE and size of each message of a UID set, and no header."""
        items = b" (UID FLAGS INTERNALDATE RFC822.SIZE)"
        for name, tokens in self.untagged(b"UID FETCH " + uids + items):
            fetched: Fetched[Body] | None = _fetched(tokens) if name == b"FETCH" else None
            if fetched is not None:
                size = number(_values(tokens).get(b"RFC822.SIZE"), _LARGEST_MODSEQ)
                yield Described(fetched.message, -1 if size is None else size, b"")

    def identify(self, uids: bytes) -> Iterator[Identified]:
        """Fetch what Gmail knows a message by, each of a UID set: X-GM-MSGID and X-GM-LABELS."""
        items = b" (UID FLAGS INTERNALDATE RFC822.SIZE X-GM-MSGID X-GM-LABELS)"
        for name, tokens in self.untagged(b"UID FETCH " + uids + items):
            fetched: Fetched[Body] | None = _fetched(tokens) if name == b"FETCH" else None
            if fetched is None:
                continue
            values = _values(tokens)
            # It is an unsigned number of 64 bits.
            source_id = number(values.get(b"X-GM-MSGID"), 2**64 - 1)
            if source_id is not None:
                size = number(values.get(b"RFC822.SIZE"), _LARGEST_MODSEQ)
                told = values.get(b"X-GM-LABELS")
                words = told if isinstance(told, list) else ()
                labels = tuple(word for word in words if isinstance(word, bytes))
                yield Identified(fetched.message, str(source_id), size, labels)

    def send_append(
        self,
        folder: bytes,
        flags: Iterable[str],
        date: datetime | None,
        message: BinaryIO,
        size: int,
        *,
        synchronising: bool,
    ) -> bytes:
        """Send one APPEND with exactly the octets of ``message``; return its tag.

        ``synchronising`` waits for the server's consent before the octets go out. The answer
        is for ``next_tagged``.

        Raises:
            ConnectionLostError: part of the command may have gone out, or all of it.
            StorageError: the message ended early; the connection is of no more use then.
            ValueError: a flag is none that could be sent, see ``is_flag``; nothing went out.
        """
        options = _append_options(flags, date, size, synchronising=synchronising)
        tag = self._next_append()
        head = b"%b APPEND %b%b" % (tag, quoted(folder), options)
        if synchronising:
            self._stream.send(head)
            if not self._consent(tag):
                return tag
            head = b""
        if head and size <= _WHOLE:
            self._stream.send(head + _exactly(message, size) + b"\r\n")
            return tag
        if head:
            self._stream.send(head)
        left = size
        while left:
            block = _exactly(message, min(left, _BLOCK))
            left -= len(block)
            self._stream.send_octets(block)
        self._stream.send_octets(b"\r\n")
        return tag

    def send_appends(self, folder: bytes, messages: Sequence[Outgoing]) -> bytes:
        """Send several messages in one APPEND, which is all or nothing; return its tag.

        RFC 3502, with literals that wait for no consent. The answer is for ``next_tagged``.

        Raises:
            ConnectionLostError: part of the command may have gone out, or all of it.
            ValueError: a flag is none that could be sent, see ``is_flag``; nothing went out.
        """
        options = [
            _append_options(each.flags, each.date, len(each.octets), synchronising=False)
            for each in messages
        ]
        tag = self._next_append()
        self._stream.send(b"%b APPEND %b%b" % (tag, quoted(folder), options[0]))
        pieces = [messages[0].octets]
        held = len(pieces[0])
        for option, message in zip(options[1:], messages[1:], strict=True):
            pieces += (option, message.octets)
            held += len(option) + len(message.octets)
            if held >= _BLOCK:
                self._stream.send_octets(b"".join(pieces))
                pieces, held = [], 0
        self._stream.send_octets(b"".join((*pieces, b"\r\n")))
        return tag

    def _next_append(self) -> bytes:
        self._count += 1
        self.last_tag = b"W%d" % self._count
        return self.last_tag

    def next_tagged(self) -> Tagged:
        """Return the next answer that ends a command of ``send_append``."""
        while not self._ended:
            line = self._stream.readline()
            if _GROWS.fullmatch(line):
                continue  # said after each APPEND to the open folder
            answer = self._parse(line, None)
            if isinstance(answer, Tagged):
                return answer
        return self._ended.popleft()

    def _send(self, command: bytes) -> bytes:
        self._count += 1
        tag = b"W%d" % self._count
        self._stream.send(tag + b" " + command + b"\r\n")
        return tag

    def _consent(self, tag: bytes) -> bool:
        while True:
            line = self._stream.readline()
            if line.startswith(b"+"):
                return True
            answer = self._parse(line, None)
            if isinstance(answer, Tagged):
                self._ended.append(answer)
                if answer.tag == tag:
                    return False

    def _expect(self, answer: Tagged, tag: bytes, what: str) -> None:
        if answer.tag != tag:
            raise self._not_asked(answer)
        if not answer.is_ok:
            raise RefusedError(what, answer.text)

    def _not_asked(self, answer: Tagged) -> ProtocolError:
        return ProtocolError(self._stream.host, "it answers what was not asked", answer.reply)

    def _parse(
        self,
        line: bytes,
        begin: Callable[[int], Body] | None,
        before: bytes = b"",
        literals: dict[int, bytes | Body] | None = None,
    ) -> Tagged | tuple[bytes, list[Token]]:
        """Read the rest of the answer that begins with ``before + line`` and take it apart.

        ``literals`` are those of ``before``, by where they stand. Returns the tagged answer, or
        name and tokens of an untagged one.
        """
        literals = literals or {}
        held = 0
        line = before + line
        while not _IS_TEXT.match(line) and (match := _ENDS_IN_LITERAL.search(line)):
            size = int(match[1])
            if begin is not None and _BEFORE_BODY.search(line, 0, match.start()):
                body = literals[len(line)] = begin(size)
                self._stream.copy(size, body.write)
            else:
                held += size
                if held + len(line) > _LARGEST_ANSWER:
                    raise ProtocolError(self._stream.host, "one of its answers does not end")
                literals[len(line)] = self._stream.read(size)
            line += self._stream.readline()
        if not line.startswith(b"* "):
            match = _TAGGED.fullmatch(line)
            if match is None:
                if _UNAVAILABLE.match(line):
                    raise ConnectionLostError(self._stream.host, self._stream.words(line, 80))
                raise self._no_answer(line)
            status = match[2].decode().upper()
            self.rejected += status == "BAD"
            return Tagged(match[1], status, self._stream.words(match[3] or b""))
        match = _UNTAGGED.match(line)
        if match is None:
            raise self._no_answer(line)
        name = match[2].upper()
        if name == b"BYE":
            raise goodbye(self._stream.host, self._stream.bye or "the server said goodbye")
        if name in (b"OK", b"NO", b"BAD", b"PREAUTH"):
            return name, [line[match.end() :].rstrip()]
        tokens = self._tokens(line, match.end(), literals)
        if tokens is None:
            # What its end should be may lie in a message that was announced too short.
            raise self._no_answer(line)
        return name, [match[1], *tokens] if match[1] else tokens

    def _no_answer(self, line: bytes) -> ProtocolError:
        return ProtocolError(
            self._stream.host, "it says what is no answer", self._stream.words(line, 80)
        )

    def _tokens(
        self, line: bytes, start: int, literals: dict[int, bytes | Body]
    ) -> list[Token] | None:
        """Return what a line holds, or None where brackets or quotes are not closed."""
        top: list[Token] = []
        stack = [top]
        position = start
        while position < len(line):
            match = _TOKEN.match(line, position)
            if match is None:
                return None  # a quoted string without an end
            position = match.end()
            kind = match.lastgroup
            if kind == "open":
                inner: list[Token] = []
                stack[-1].append(inner)
                stack.append(inner)
            elif kind == "close":
                stack.pop()
                if not stack:
                    return None
            elif kind == "quoted":
                stack[-1].append(_UNQUOTE.sub(rb"\1", match["quoted"]))
            elif kind == "literal":
                stack[-1].append(literals.get(position, match["literal"].strip()))
            elif kind == "atom":
                atom = match["atom"]
                stack[-1].append(None if atom.upper() == b"NIL" else atom)
        return top if len(stack) == 1 else None


def _append_options(
    flags: Iterable[str], date: datetime | None, size: int, *, synchronising: bool
) -> bytes:
    """Return what stands in an APPEND before the octets of one message."""
    flags = list(flags)
    if not all(map(is_flag, flags)):
        raise ValueError(f"a flag that no command can hold: {flags}")
    given = b"" if date is None else b' "' + format_date(date) + b'"'
    sign = b"" if synchronising else b"+"
    return b" (%b)%b {%d%b}\r\n" % (" ".join(flags).encode("ascii"), given, size, sign)


def quoted(name: bytes) -> bytes:
    """Return a folder's name as a quoted string (RFC 9051 section 4.3).

    Raises:
        ValueError: the name holds NUL, CR or LF, which no quoted string can.
    """
    if re.search(rb"[\0\r\n]", name):
        raise ValueError("a folder's name holds NUL, CR or LF")
    return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def words(tokens: list[Token]) -> list[str]:
    """Return the tokens that are atoms or strings, as text."""
    return [token.decode("utf-8", "replace") for token in tokens if isinstance(token, bytes)]


def is_flag(word: str) -> bool:
    """Whether a flag or keyword can be sent at all: an atom of RFC 9051 section 9."""
    return _FLAG.fullmatch(word) is not None


def number(token: Token, largest: int = _LARGEST_UID) -> int | None:
    """Return the number that a token is, or None where it is none, or none of that size."""
    if not isinstance(token, bytes) or len(token) > 20 or not token.isdigit():
        return None
    value = int(token)
    return value if value <= largest else None


def uid_sets(uids: Iterable[int], count: int, longest: int = 4000) -> Iterator[bytes]:
    """Yield UID sets of up to ``count`` ascending UIDs, runs as ``a:b``, of few octets each.

    Exchange takes command lines of 10,240 octets; ``longest`` stays well below.
    """
    parts: list[str] = []
    length = taken = 0
    first = last = -1

    def run() -> str:
        return str(first) if first == last else f"{first}:{last}"

    for uid in uids:
        if uid == last + 1 and taken < count and first >= 0:
            last = uid
            taken += 1
            continue
        if first >= 0:
            parts.append(run())
            length += len(parts[-1]) + 1
        if parts and (taken >= count or length >= longest):
            yield ",".join(parts).encode()
            parts, length, taken = [], 0, 0
        first = last = uid
        taken += 1
    if first >= 0:
        parts.append(run())
        yield ",".join(parts).encode()


def members(uids: bytes) -> list[int]:
    """Return the UIDs of a set that ``uid_sets`` made."""
    found: list[int] = []
    for part in uids.split(b","):
        first, _, last = part.partition(b":")
        found += range(int(first), int(last or first) + 1)
    return found


def parse_date(text: bytes | None) -> datetime | None:
    """Return an INTERNALDATE with its offset as sent, or None where it is no date."""
    match = _DATE.fullmatch((text or b"").strip(b'"'))
    if match is None:
        return None
    day, month, year, hour, minute, second, sign, hours, minutes = match.groups()
    try:
        return datetime(
            int(year),
            _MONTH[month.lower()],
            int(day),
            int(hour),
            int(minute),
            int(second),
            tzinfo=_zone(sign, int(hours), int(minutes)),
        )
    except (KeyError, ValueError):
        return None


def format_date(date: datetime) -> bytes:
    """Return a date as APPEND takes it: ``17-Jul-1996 02:44:25 -0700``, always in English."""
    month = _MONTHS[date.month - 1]
    # Not by strftime, which takes longer than all the rest of an APPEND.
    return (
        f"{date.day:02d}-{month}-{date.year:04d} {date.hour:02d}:{date.minute:02d}:"
        f"{date.second:02d} {_offset(date.utcoffset() or timedelta())}"
    ).encode()


@lru_cache(maxsize=512)
def _offset(offset: timedelta) -> str:
    sign = "-" if offset < timedelta() else "+"
    minutes = abs(offset) // timedelta(minutes=1)
    return f"{sign}{minutes // 60:02d}{minutes % 60:02d}"


@lru_cache(maxsize=512)
def _zone(sign: bytes, hours: int, minutes: int) -> timezone:
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if sign == b"-" else offset)


def _flags(text: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return _usual_flags(text) if len(text) < _LONGEST_USUAL else _split(text)


def _split(text: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return split_flags([word.decode("utf-8", "replace") for word in text.split()])


_LONGEST_USUAL = 500
_usual_flags = lru_cache(maxsize=4096)(_split)


def _has_pairs(tokens: list[Token]) -> bool:
    """Whether a FETCH answer is names and values, and nothing after them."""
    return len(tokens) == 2 and isinstance(tokens[1], list) and len(tokens[1]) % 2 == 0


def _values(tokens: list[Token]) -> dict[bytes, Token]:
    """Return the items of a FETCH answer by their names in upper case."""
    items = tokens[1] if len(tokens) > 1 and isinstance(tokens[1], list) else []
    return {
        name.upper(): value
        for name, value in zip(items[::2], items[1::2], strict=False)
        if isinstance(name, bytes)
    }


def _fetched(tokens: list[Token], begin: Callable[[int], B] | None = None) -> Fetched[B] | None:
    """Return what a FETCH answer says of a message, or None where it has no UID.

    Without a UID nobody can say which message this is; it will be asked for again.
    """
    values = _values(tokens)
    uid = number(values.get(b"UID"))
    if not uid:
        return None
    flags = values.get(b"FLAGS")
    # A keyword may be called NIL.
    words = [b"NIL" if word is None else word for word in flags] if isinstance(flags, list) else []
    date = values.get(b"INTERNALDATE")
    message = RemoteMessage(
        uid,
        *_flags(b" ".join(word for word in words if isinstance(word, bytes))),
        parse_date(date if isinstance(date, bytes) else None),
    )
    # A part is never asked for: what is said to begin at the first octet is the whole.
    body = next((values[name] for name in _BODY if name in values), None)
    if isinstance(body, bytes):
        return Fetched(message, _in_memory(body, begin))
    # Every body in an answer was made by ``begin``.
    return Fetched(message, None if isinstance(body, list) else cast("B | None", body))


def _in_memory(octets: bytes, begin: Callable[[int], B] | None) -> B | None:
    """Hand on a body that came as a quoted string, as Yahoo sends short ones."""
    if begin is None:
        return None
    body = begin(len(octets))
    body.write(memoryview(octets))
    return body


def _exactly(message: BinaryIO, size: int) -> bytes:
    block = message.read(size)
    if len(block) != size:
        # The size is announced; anything but as many octets would be run as a command.
        name = getattr(message, "name", "the message")
        raise StorageError(name, "the file became shorter while it was sent")
    return block
