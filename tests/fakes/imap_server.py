"""An IMAP4rev1 server inside the test process, which can misbehave on command.

It binds 127.0.0.1, serves the mailboxes it is given, records every line in both directions,
and follows a ``Script``. Without a script it behaves like a modern, well-mannered server::

    mailboxes = Mailboxes({"alice": "secret"})
    mailboxes["alice"].folder("INBOX").append(b"Subject: hello\\r\\n\\r\\nHello\\r\\n")
    with ImapServer(mailboxes) as server:
        client = imaplib.IMAP4("127.0.0.1", server.port)
"""

from __future__ import annotations

import re
import socket
import ssl
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from tests.fakes.imap_wire import (
    LITERAL_AT_END,
    ConnectionCutError,
    Ending,
    Literal,
    Value,
    Wire,
    astring,
    choose,
    decode_name,
    encode_name,
    format_date_time,
    is_date_time,
    list_of,
    parse_arguments,
    parse_date,
    parse_date_time,
    quoted,
    text_of,
)
from tests.fakes.mailbox import FakeFolder, FakeMessage, FakeUser, FolderNameError, Mailboxes

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from types import TracebackType

    from tests.fakes.certificates import TestAuthority

    Criterion: TypeAlias = Callable[[int, FakeMessage], bool]

# --- misbehaviour ---------------------------------------------------------------------------


class Greeting(Enum):
    """What a server does in place of greeting."""

    CLOSE = "close"
    SILENCE = "silence"


@dataclass(frozen=True)
class Answer:
    """Answers with this text, such as ``NO [LIMIT] slow down``; ``BYE …`` also hangs up."""

    text: bytes
    after: bool = False
    """Carry out the command first, and only then answer with the text in place of OK."""


@dataclass(frozen=True)
class Raw:
    """Sends these octets in place of an answer, as they are; ``%TAG%`` is the command's tag."""

    data: bytes


@dataclass(frozen=True)
class Cut:
    """Cuts the connection when the command has arrived, literals and all."""

    ending: Ending = Ending.RST
    after: bool = False
    """Carry out the command first, and cut in place of the tagged answer."""


@dataclass(frozen=True)
class Delay:
    """Waits before anything else happens."""

    seconds: float


@dataclass(frozen=True)
class CutInLiteral:
    """Cuts when so many octets of the command's literal have arrived."""

    octets: int
    ending: Ending = Ending.RST


@dataclass(frozen=True)
class AnswerLiteral:
    """Answers with this text in place of the ``+`` that asks for the literal."""

    text: bytes


Action: TypeAlias = Answer | Raw | Cut | Delay | CutInLiteral | AnswerLiteral


@dataclass
class _Rule:
    command: str
    action: Action
    first: int
    times: int | None
    containing: bytes
    seen: int = 0

    @property
    def is_for_literals(self) -> bool:
        return isinstance(self.action, CutInLiteral | AnswerLiteral)

    def applies(self, name: str, line: bytes) -> bool:
        if self.command not in ("*", name, name.removeprefix("UID ")):
            return False
        if self.containing not in line:
            return False
        self.seen += 1
        last = None if self.times is None else self.first + self.times - 1
        return self.seen >= self.first and (last is None or self.seen <= last)


@dataclass
class AppendFaults:
    """What goes wrong with APPEND."""

    appenduid: bytes | Callable[[int, int], bytes] | None = None
    """In place of ``[APPENDUID v u]``: this text (``b""`` for none), or what it makes of both."""
    refuse: Callable[[bytes], bytes | None] | None = None
    """Returns ``NO …`` or ``BAD …`` for a message that is refused, None for any other."""
    rewrite: Callable[[bytes], bytes] | None = None
    """Changes what is stored, as servers do that repair messages."""


class Body(Enum):
    """How FETCH sends message octets."""

    LITERAL = "literal"
    QUOTED = "quoted"
    NIL = "nil"


@dataclass
class FetchFaults:
    """What goes wrong with FETCH; each field by itself, or several together."""

    omit: set[int] = field(default_factory=set)
    """UIDs that are left out without a word."""
    twice: set[int] = field(default_factory=set)
    """UIDs that are sent two times."""
    reverse: bool = False
    """Sends the last message first."""
    only: set[int] | None = None
    """The UIDs that the fields below concern; None for all."""
    reverse_items: bool = False
    """Sends the items in reverse order: the body first, the UID last."""
    body: Body = Body.LITERAL
    """Sends message octets as a literal, a quoted string (legal or not) or NIL."""
    internaldate: bytes | None = None
    """Sends this in place of INTERNALDATE's value; ``b""`` leaves the item out."""
    size_error: int = 0
    """Is added to RFC822.SIZE."""
    interleave: list[bytes] = field(default_factory=list)
    """Untagged lines that follow the first response of every FETCH, such as ``* 9 EXISTS``."""
    announce: int | None = None
    """Announces a literal of so many octets, sends the true ones, then says nothing more."""
    cut_literal_after: int | None = None
    """Cuts the connection after so many octets of a message's literal."""
    cut_literal_times: int = 1
    """How many times ``cut_literal_after`` works."""
    ending: Ending = Ending.RST
    """How ``cut_literal_after`` cuts."""

    def concerns(self, uid: int) -> bool:
        """Tell whether the fields below ``only`` hold for this message."""
        return self.only is None or uid in self.only


@dataclass
class Script:
    """What the server does wrong. Every field may be changed while the server runs."""

    greeting: bytes | Greeting | None = None
    """Octets in place of the greeting (after ``* BYE`` it hangs up), or none at all."""
    greeting_times: int | None = None
    """How many connections get that greeting; None for all."""
    cut_after_sent: int | None = None
    """Cuts each connection after the server has sent so many octets."""
    cut_after_received: int | None = None
    """Cuts each connection after the server has received so many octets."""
    cut_connections: int | None = None
    """How many connections are cut that way, counted from when this is set; None for all."""
    cut_ending: Ending = Ending.RST
    """How they are cut."""
    append: AppendFaults = field(default_factory=AppendFaults)
    """See ``AppendFaults``."""
    fetch: FetchFaults = field(default_factory=FetchFaults)
    """See ``FetchFaults``."""
    hidden: set[int] = field(default_factory=set)
    """UIDs that SEARCH and FETCH leave out although EXISTS counts them."""
    search_omit: set[int] = field(default_factory=set)
    """UIDs that only SEARCH leaves out."""
    looks_empty: set[str] = field(default_factory=set)
    """Folders that show ``EXISTS 0`` while UIDNEXT and UIDVALIDITY stay."""
    refuse_select: dict[str, bytes] = field(default_factory=dict)
    """Folder names, and the ``NO …`` with which SELECT and EXAMINE answer."""
    list_names: list[bytes] = field(default_factory=list)
    """Further names in LIST as raw octets, quotes included: ``b'"../../etc/x"'``."""
    list_lines: list[bytes] = field(default_factory=list)
    """Further raw lines in LIST, such as ``b'* LIST () NIL flat'``."""
    list_literals: bool = False
    """Sends every folder name as a literal."""

    def __post_init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = Lock()

    def on(
        self,
        command: str,
        action: Action,
        *,
        first: int = 1,
        times: int | None = None,
        containing: bytes = b"",
    ) -> None:
        """Do this when a command comes; actions for one command happen in the order given.

        Args:
            command: Its name; ``FETCH`` also means ``UID FETCH``, ``*`` means every command.
            action: What to do.
            first: Which occurrence is the first that counts, from 1 on.
            times: How often; None for always.
            containing: Only commands whose line has these octets in it are counted.
        """
        with self._lock:
            self._rules.append(_Rule(command.upper(), action, first, times, containing))

    def clear(self) -> None:
        """Behave well from now on."""
        lock = self._lock
        with lock:
            self.__dict__.update(Script().__dict__)
            self._lock = lock

    def actions(self, name: str, line: bytes, *, for_literal: bool) -> list[Action]:
        """Return what to do about this command, and count it."""
        with self._lock:
            rules = [rule for rule in self._rules if rule.is_for_literals == for_literal]
            return [rule.action for rule in rules if rule.applies(name, line)]

    def take_greeting(self) -> bytes | Greeting | None:
        """Return the next connection's greeting, and count it."""
        with self._lock:
            if self.greeting is None or self.greeting_times == 0:
                return None
            if self.greeting_times is not None:
                self.greeting_times -= 1
            return self.greeting

    def take_cuts(self) -> tuple[int | None, int | None]:
        """Return the next connection's limits, sent and received, and count it."""
        with self._lock:
            limits = self.cut_after_sent, self.cut_after_received
            if limits == (None, None) or self.cut_connections == 0:
                return None, None
            if self.cut_connections is not None:
                self.cut_connections -= 1
            return limits

    def take_literal_cut(self) -> int | None:
        """Return after how many octets this literal is cut, and count it."""
        with self._lock:
            if self.fetch.cut_literal_after is None or self.fetch.cut_literal_times < 1:
                return None
            self.fetch.cut_literal_times -= 1
            return self.fetch.cut_literal_after


# --- the server -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Abilities:
    """What the server can do beyond IMAP4rev1."""

    condstore: bool = True
    uidplus: bool = True
    literal_plus: str | None = "LITERAL+"
    special_use: bool = True
    namespace: bool = True
    move: bool = True
    sasl_ir: bool = True
    xoauth2: bool = True
    plaintext_login: bool = True
    append_limit: int | None = None
    multiappend: bool = False
    gmail: bool = False
    extra: tuple[str, ...] = ()


class ImapServer:
    """The server; a context manager that leaves no thread and no socket behind."""

    host = "127.0.0.1"

    def __init__(
        self,
        mailboxes: Mailboxes,
        *,
        tls: TestAuthority | ssl.SSLContext | None = None,
        starttls: bool = False,
        condstore: bool = True,
        uidplus: bool = True,
        literal_plus: str | None = "LITERAL+",
        special_use: bool = True,
        namespace: bool = True,
        move: bool = True,
        sasl_ir: bool = True,
        xoauth2: bool = True,
        plaintext_login: bool = True,
        append_limit: int | None = None,
        multiappend: bool = False,
        gmail: bool = False,
        extra_capabilities: tuple[str, ...] = (),
        script: Script | None = None,
        port: int = 0,
    ) -> None:
        """Prepare a server.

        Args:
            mailboxes: What it serves.
            tls: Who certifies it; TLS from the first octet, unless ``starttls``.
            starttls: Begin in plaintext and offer STARTTLS.
            condstore: RFC 7162: MODSEQ, HIGHESTMODSEQ, CHANGEDSINCE.
            uidplus: RFC 4315: APPENDUID, COPYUID, UID EXPUNGE.
            literal_plus: ``LITERAL+``, ``LITERAL-`` or None.
            special_use: RFC 6154 attributes in LIST.
            namespace: RFC 2342.
            move: RFC 6851.
            sasl_ir: RFC 4959: AUTHENTICATE with an initial response.
            xoauth2: AUTHENTICATE XOAUTH2 with the users' tokens.
            plaintext_login: Allow to sign in before STARTTLS; else LOGINDISABLED.
            append_limit: RFC 7889: the largest message that APPEND takes.
            multiappend: RFC 3502: several messages in one APPEND, all or none.
            gmail: X-GM-EXT-1: X-GM-MSGID and X-GM-LABELS, the latter by the folders that hold it.
            extra_capabilities: Further words for CAPABILITY.
            script: How it misbehaves.
            port: Where it listens; 0 for any port that is free.
        """
        self.mailboxes = mailboxes
        self.script = script or Script()
        self.abilities = Abilities(
            condstore=condstore,
            uidplus=uidplus,
            literal_plus=literal_plus,
            special_use=special_use,
            namespace=namespace,
            move=move,
            sasl_ir=sasl_ir,
            xoauth2=xoauth2,
            plaintext_login=plaintext_login,
            append_limit=append_limit,
            multiappend=multiappend,
            gmail=gmail,
            extra=extra_capabilities,
        )
        self.has_starttls = starttls
        self.log: list[tuple[int, str, bytes]] = []
        """Connection number, ``C`` or ``S``, and the line; long literals are shortened."""
        self.port = port
        self.stopping = Event()
        self._tls = tls
        self._requests: list[tuple[int, str, bytes]] = []
        self._connections: list[tuple[Thread, Wire]] = []
        self._lock = Lock()

    def __enter__(self) -> ImapServer:
        self.tls_context = _context(self._tls)
        self._listener = socket.create_server((self.host, self.port), backlog=50)
        self._listener.settimeout(0.2)  # where closing does not wake accept
        self.port = self._listener.getsockname()[1]
        self._acceptor = Thread(target=self._accept, name="imap accept", daemon=True)
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for thread, wire in self._connections:
            while thread.is_alive():
                wire.wake()
                thread.join(0.05)

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        return len(self._connections)

    def drop_connections(self) -> None:
        """End every connection that is open now."""
        for _, wire in list(self._connections):
            wire.wake()

    def commands(self, name: str) -> int:
        """Return how often a command came; ``FETCH`` also counts ``UID FETCH``."""
        return len(self.requests(name))

    def requests(self, name: str = "*") -> list[bytes]:
        """Return the commands of this name as they came, without tag and literals."""
        wanted = name.upper()
        with self._lock:
            return [
                line
                for _, found, line in self._requests
                if wanted in ("*", found, found.removeprefix("UID "))
            ]

    def forget(self) -> None:
        """Empty the record of lines and commands."""
        with self._lock:
            self.log.clear()
            self._requests.clear()

    def record_request(self, connection: int, name: str, line: bytes) -> None:
        """Note a command."""
        with self._lock:
            self._requests.append((connection, name, line))

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire = Wire(connection)
            session = _Session(self, wire, len(self._connections) + 1)
            thread = Thread(target=session.run, name=f"imap {session.number}", daemon=True)
            self._connections.append((thread, wire))
            thread.start()


def _context(tls: TestAuthority | ssl.SSLContext | None) -> ssl.SSLContext | None:
    return tls if tls is None or isinstance(tls, ssl.SSLContext) else tls.server_context()


# --- a session ------------------------------------------------------------------------------


class _NoError(Exception):
    """The command cannot be done; the text follows ``NO``."""


class _BadError(Exception):
    """The command is not IMAP; the text follows ``BAD``."""


@dataclass(frozen=True)
class _Request:
    tag: bytes
    name: str
    line: bytes
    """Everything after the tag, without literals."""
    arguments: bytes
    literals: tuple[bytes, ...]


_COMMAND = re.compile(rb"(\S+) +(UID +\S+|\S+)(?: +|\Z)(.*)", re.DOTALL | re.IGNORECASE)
_BEFORE_LOGIN = {"LOGIN", "AUTHENTICATE", "STARTTLS"}
_ANY_TIME = {"CAPABILITY", "NOOP", "LOGOUT", "ID"}
_SELECTED = {
    *("CLOSE", "UNSELECT", "CHECK", "EXPUNGE", "UID EXPUNGE", "SEARCH", "UID SEARCH"),
    *("FETCH", "UID FETCH", "STORE", "UID STORE", "COPY", "UID COPY", "MOVE", "UID MOVE"),
}
_KEEPS_NUMBERS = {"FETCH", "STORE", "SEARCH"}
_SPECIAL_USES = {
    *("\\all", "\\archive", "\\drafts", "\\flagged", "\\important", "\\junk", "\\sent"),
    "\\trash",
}


class _Session:
    """One connection, from greeting to end."""

    def __init__(self, server: ImapServer, wire: Wire, number: int) -> None:
        self.number = number
        self._server = server
        self._script = server.script
        self._abilities = server.abilities
        self._mailboxes = server.mailboxes
        self._wire = wire
        self._has_tls = False
        self._user: FakeUser | None = None
        self._folder: FakeFolder | None = None
        self._uidvalidity = 0
        self._is_writable = False
        self._view: list[int] = []
        self._known_modseq = 0
        self._is_over = False
        self._tag = b"*"

    def run(self) -> None:
        """Serve until one side ends it."""
        try:
            self._begin()
            while not self._is_over and not self._server.stopping.is_set():
                self._serve()
            self._wire.hang_up()
        except (ConnectionCutError, EOFError, OSError):
            pass
        finally:
            self._wire.close()

    def _begin(self) -> None:
        self._wire.ending = self._script.cut_ending
        self._wire.cut_after_sent, self._wire.cut_after_received = self._script.take_cuts()
        if self._server.tls_context and not self._server.has_starttls:
            self._wire.start_tls(self._server.tls_context)
            self._has_tls = True
        greeting = self._script.take_greeting()
        if greeting is Greeting.SILENCE:
            self._wire.wait_for_end()
            self._is_over = True
        elif greeting is Greeting.CLOSE:
            self._is_over = True
        elif isinstance(greeting, bytes):
            self._line(greeting.removesuffix(b"\r\n"))
            self._is_over = greeting.upper().startswith(b"* BYE")
        else:
            self._line(b"* OK [CAPABILITY " + self._capabilities() + b"] ready")
        self._wire.flush()

    # --- requests and answers

    def _serve(self) -> None:
        request = self._receive()
        if request is None:
            return
        self._tag = request.tag
        self._server.record_request(self.number, request.name, request.line)
        actions = self._script.actions(request.name, request.line, for_literal=False)
        if not self._act_before(actions):
            completion = self._execute(request)
            for action in actions:
                match action:
                    case Answer(text, after=True):
                        completion = text
                    case Cut(ending, after=True):
                        self._wire.flush()
                        self._wire.cut(ending)
                    case _:
                        pass
            if completion:
                self._complete(completion)
        self._wire.flush()

    def _act_before(self, actions: list[Action]) -> bool:
        """Do what the script wants done first; True if that was the answer."""
        is_answered = False
        for action in actions:
            match action:
                case Delay(seconds):
                    self._wire.flush()
                    self._server.stopping.wait(seconds)
                case Raw(data):
                    self._record("S", data)
                    self._wire.write(data.replace(b"%TAG%", self._tag))
                    is_answered = True
                case Answer(text, after=False):
                    self._complete(text)
                    is_answered = True
                case Cut(ending, after=False):
                    self._wire.flush()
                    self._wire.cut(ending)
                case _:
                    pass
        return is_answered

    def _complete(self, text: bytes) -> None:
        if text.upper().startswith(b"BYE"):
            self._is_over = True
            self._line(b"* " + text)
        else:
            self._line(self._tag + b" " + text)

    def _receive(self) -> _Request | None:
        """Read one command and its literals; None if it has been answered already."""
        text = line = self._wire.readline()
        literals: list[bytes] = []
        self._record("C", line)
        while announced := LITERAL_AT_END.search(line):
            size = int(announced[1])
            refusal = self._before_literal(text, size, is_sync=not announced[2])
            if refusal is not None:
                if announced[2]:
                    self._wire.read(size)
                    self._wire.readline()
                self._complete(refusal)
                self._wire.flush()
                return None
            literals.append(self._wire.read(size))
            line = self._wire.readline()
            self._record("C", _shortened(literals[-1]) + line)
            text += b"\r\n" + line
        return self._parsed(text, tuple(literals))

    def _before_literal(self, text: bytes, size: int, *, is_sync: bool) -> bytes | None:
        """Ask for a literal; or return the answer that the client gets instead."""
        parts = _COMMAND.match(text)
        self._tag, name = (parts[1], _name(parts[2])) if parts else (b"*", "")
        cut = None
        for action in self._script.actions(name, text, for_literal=True):
            match action:
                case AnswerLiteral(reply):
                    return reply
                case CutInLiteral():
                    cut = action
                case _:
                    pass
        if cut is None and (refusal := self._refused_literal(name, size, is_sync=is_sync)):
            return refusal
        if is_sync:
            self._line(b"+ go ahead")
            self._wire.flush()
        if cut is not None:
            self._wire.read(min(cut.octets, size))
            self._wire.cut(cut.ending)
        return None

    def _refused_literal(self, name: str, size: int, *, is_sync: bool) -> bytes | None:
        kind = self._abilities.literal_plus
        if not is_sync and (kind is None or (kind == "LITERAL-" and size > 4096)):
            return b"BAD this literal must wait for a continuation"
        limit = self._abilities.append_limit
        if name == "APPEND" and limit is not None and size > limit:
            return b"NO [TOOBIG] message is too large"
        return None

    def _parsed(self, text: bytes, literals: tuple[bytes, ...]) -> _Request | None:
        parts = _COMMAND.match(text)
        if parts is None:
            self._line(b"* BAD cannot read this")
            self._wire.flush()
            return None
        tag, name, arguments = parts.groups()
        return _Request(tag, _name(name), text[len(tag) + 1 :], arguments, literals)

    def _execute(self, request: _Request) -> bytes:
        handler = self._handlers.get(request.name)
        if handler is None:
            return b"BAD unknown command"
        try:
            self._check_state(request.name)
            if request.name == "AUTHENTICATE":
                arguments: list[Value] = [*request.arguments.split()]
            else:
                arguments = parse_arguments(request.arguments, request.literals)
            completion = handler(self, arguments)
            self._report_changes(may_expunge=request.name not in _KEEPS_NUMBERS)
        except _NoError as error:
            return f"NO {error}".encode()
        except FolderNameError as error:
            return f"NO [CANNOT] {error}".encode("ascii", "replace")
        except (_BadError, ValueError, LookupError) as error:
            return f"BAD {type(error).__name__} {error}".encode("ascii", "replace")
        return completion

    def _check_state(self, name: str) -> None:
        if name in _ANY_TIME:
            return
        if (self._user is None) != (name in _BEFORE_LOGIN):
            raise _BadError("not in this state")
        if name in _SELECTED and self._folder is None:
            raise _BadError("no folder is selected")

    def _line(self, *parts: bytes) -> None:
        """Send a line whose parts may be literals."""
        self._record("S", b"".join(map(_shortened, parts)))
        for part in parts:
            if isinstance(part, Literal):
                self._wire.write(b"{%d}\r\n" % len(part))
            self._wire.write(part)
        self._wire.write(b"\r\n")

    def _record(self, direction: str, line: bytes) -> None:
        self._server.log.append((self.number, direction, line))

    # --- signing in

    def _capabilities(self) -> bytes:
        able = self._abilities
        may_sign_in = able.plaintext_login or self._has_tls
        words = ["IMAP4rev1", "ID", "ENABLE", "UNSELECT"]
        words += [able.literal_plus] if able.literal_plus else []
        words += ["SASL-IR"] if able.sasl_ir else []
        words += ["AUTH=PLAIN"] if may_sign_in else ["LOGINDISABLED"]
        words += ["AUTH=XOAUTH2"] if able.xoauth2 and may_sign_in else []
        words += ["STARTTLS"] if self._server.has_starttls and not self._has_tls else []
        words += ["NAMESPACE"] if able.namespace else []
        words += ["SPECIAL-USE"] if able.special_use else []
        words += ["UIDPLUS"] if able.uidplus else []
        words += ["CONDSTORE"] if able.condstore else []
        words += ["X-GM-EXT-1"] if able.gmail else []
        words += ["MOVE"] if able.move else []
        words += ["MULTIAPPEND"] if able.multiappend else []
        words += [f"APPENDLIMIT={able.append_limit}"] if able.append_limit else []
        return " ".join([*words, *able.extra]).encode()

    def _capability(self, arguments: list[Value]) -> bytes:
        self._line(b"* CAPABILITY ", self._capabilities())
        return b"OK done"

    def _noop(self, arguments: list[Value]) -> bytes:
        return b"OK done"

    def _logout(self, arguments: list[Value]) -> bytes:
        self._line(b"* BYE until next time")
        self._is_over = True
        self._folder = None
        return b"OK done"

    def _id(self, arguments: list[Value]) -> bytes:
        self._line(b'* ID ("name" "fake")')
        return b"OK done"

    def _enable(self, arguments: list[Value]) -> bytes:
        wanted = [text_of(word).upper() for word in arguments]
        known = [word for word in wanted if word == b"CONDSTORE" and self._abilities.condstore]
        self._line(b" ".join([b"* ENABLED", *known]))
        return b"OK done"

    def _starttls(self, arguments: list[Value]) -> bytes:
        context = self._server.tls_context
        if context is None or not self._server.has_starttls or self._has_tls:
            raise _BadError("no STARTTLS here")
        self._complete(b"OK begin TLS now")
        self._wire.flush()
        self._wire.start_tls(context)
        self._has_tls = True
        return b""

    def _login(self, arguments: list[Value]) -> bytes:
        name, password = map(text_of, arguments)
        return self._sign_in(name.decode(), lambda user: user.password == password.decode())

    def _authenticate(self, arguments: list[Value]) -> bytes:
        mechanism = text_of(arguments[0]).upper()
        if mechanism not in (b"PLAIN", b"XOAUTH2"):
            raise _NoError("unknown mechanism")
        if len(arguments) > 1 and not self._abilities.sasl_ir:
            raise _BadError("no initial response here")
        given = arguments[1] if len(arguments) > 1 else self._challenge(b"")
        response = b64decode(b"" if given == b"=" else text_of(given))
        if mechanism == b"PLAIN":
            _, name, password = response.decode().split("\0")
            return self._sign_in(name, lambda user: user.password == password)
        return self._xoauth2(response.decode())

    def _challenge(self, text: bytes) -> bytes:
        self._line(b"+ ", text)
        self._wire.flush()
        answer = self._wire.readline()
        self._record("C", b"<authentication>" if answer else b"")
        if answer == b"*":
            raise _BadError("given up")
        return answer

    def _xoauth2(self, response: str) -> bytes:
        fields = dict(item.split("=", 1) for item in response.split("\1") if "=" in item)
        token = fields["auth"].removeprefix("Bearer ")
        try:
            return self._sign_in(fields["user"], lambda user: user.takes(token))
        except _NoError:
            self._challenge(b64encode(b'{"status":"400","schemes":"Bearer"}'))
            raise

    def _sign_in(self, name: str, is_right: Callable[[FakeUser], bool]) -> bytes:
        if not self._abilities.plaintext_login and not self._has_tls:
            raise _NoError("[PRIVACYREQUIRED] not without TLS")
        user = self._mailboxes.get(name)
        if user is None or not is_right(user):
            raise _NoError("[AUTHENTICATIONFAILED] wrong user or password")
        self._user = user
        return b"OK [CAPABILITY " + self._capabilities() + b"] signed in"

    # --- folders

    @property
    def _owner(self) -> FakeUser:
        if self._user is None:
            raise _BadError("sign in first")
        return self._user

    def _wire_name(self, levels: tuple[str, ...]) -> bytes:
        name = (self._mailboxes.delimiter or "").join(levels)
        return encode_name(name if levels == ("INBOX",) else self._mailboxes.prefix + name)

    def _name_of(self, folder: FakeFolder) -> bytes:
        return folder.wire_name or self._wire_name(folder.levels)

    def _levels(self, argument: Value) -> tuple[str, ...]:
        name = decode_name(text_of(argument))
        if name.upper() == "INBOX":
            return ("INBOX",)
        if not name.startswith(self._mailboxes.prefix):
            raise _NoError("[CANNOT] outside the namespace")
        name = name.removeprefix(self._mailboxes.prefix)
        delimiter = self._mailboxes.delimiter
        return tuple(name.removesuffix(delimiter).split(delimiter)) if delimiter else (name,)

    def _find(self, argument: Value) -> FakeFolder | None:
        for folder in self._owner.folders:
            if folder.wire_name == argument:
                return folder
        return self._owner.find(self._levels(argument))

    def _existing(self, argument: Value) -> FakeFolder:
        folder = self._find(argument)
        if folder is None:
            raise _NoError("[NONEXISTENT] no such folder")
        return folder

    def _namespace(self, arguments: list[Value]) -> bytes:
        if not self._abilities.namespace:
            raise _BadError("unknown command")
        prefix = quoted(encode_name(self._mailboxes.prefix))
        self._line(b"* NAMESPACE ((" + prefix + b" " + self._delimiter + b")) NIL NIL")
        return b"OK done"

    @property
    def _delimiter(self) -> bytes:
        delimiter = self._mailboxes.delimiter
        return quoted(delimiter.encode()) if delimiter else b"NIL"

    def _list(self, arguments: list[Value]) -> bytes:
        only: set[bytes] = set()
        if isinstance(arguments[0], list):
            only = {option.upper() for option in list_of(arguments.pop(0))}
        reference, patterns = text_of(arguments[0]), list_of(arguments[1])
        if patterns == [b""]:
            self._line(b"* LIST (\\Noselect) " + self._delimiter + b' ""')
            return b"OK done"
        matching = [self._pattern(reference + pattern) for pattern in patterns]
        for folder in self._owner.folders:
            is_wanted = self._is_special(folder) or b"SPECIAL-USE" not in only
            is_wanted &= folder.is_listed
            is_wanted &= folder.is_subscribed or b"SUBSCRIBED" not in only
            name = self._name_of(folder)
            if is_wanted and any(pattern.fullmatch(name) for pattern in matching):
                self._list_line(b"LIST", folder, name)
        for name in self._script.list_names:
            self._line(b"* LIST () " + self._delimiter + b" " + name)
        for line in self._script.list_lines:
            self._line(line)
        return b"OK done"

    def _lsub(self, arguments: list[Value]) -> bytes:
        reference, pattern = map(text_of, arguments)
        matching = self._pattern(reference + pattern)
        for folder in self._owner.folders:
            name = self._name_of(folder)
            if folder.is_subscribed and matching.fullmatch(name):
                self._list_line(b"LSUB", folder, name)
        return b"OK done"

    def _list_line(self, kind: bytes, folder: FakeFolder, name: bytes) -> None:
        depth = len(folder.levels)
        has_children = any(
            len(other.levels) > depth and other.levels[:depth] == folder.levels
            for other in self._owner.folders
        )
        attributes = ["\\HasChildren" if has_children else "\\HasNoChildren"]
        attributes += [
            attribute
            for attribute in folder.attributes
            if self._abilities.special_use or attribute.lower() not in _SPECIAL_USES
        ]
        beginning = b"* %s (%s) %s " % (kind, " ".join(attributes).encode(), self._delimiter)
        self._line(beginning, Literal(name) if self._script.list_literals else astring(name))

    def _is_special(self, folder: FakeFolder) -> bool:
        return any(attribute.lower() in _SPECIAL_USES for attribute in folder.attributes)

    def _pattern(self, pattern: bytes) -> re.Pattern[bytes]:
        level = b"[^%s]*" % re.escape((self._mailboxes.delimiter or "\0").encode())
        pieces = re.split(rb"([*%])", pattern)
        wild = {b"*": b".*", b"%": level}
        expression = b"".join(wild.get(piece, re.escape(piece)) for piece in pieces)
        return re.compile(expression, re.DOTALL | re.IGNORECASE)

    def _create(self, arguments: list[Value]) -> bytes:
        if self._find(arguments[0]) is not None:
            raise _NoError("[ALREADYEXISTS] it is there already")
        self._owner.create(self._levels(arguments[0]))
        return b"OK done"

    def _delete(self, arguments: list[Value]) -> bytes:
        folder = self._existing(arguments[0])
        if folder.levels == ("INBOX",):
            raise _NoError("[CANNOT] INBOX stays")
        self._owner.delete(folder.levels)
        return b"OK done"

    def _rename(self, arguments: list[Value]) -> bytes:
        self._owner.rename(self._existing(arguments[0]).levels, self._levels(arguments[1]))
        return b"OK done"

    def _subscribe(self, arguments: list[Value]) -> bytes:
        self._existing(arguments[0]).is_subscribed = True
        return b"OK done"

    def _unsubscribe(self, arguments: list[Value]) -> bytes:
        self._existing(arguments[0]).is_subscribed = False
        return b"OK done"

    def _status(self, arguments: list[Value]) -> bytes:
        folder = self._existing(arguments[0])
        if not folder.is_selectable:
            raise _NoError("[CANNOT] not a folder for messages")
        values: list[bytes] = []
        with folder.lock:
            messages = self._visible(folder)
            unseen = sum("\\Seen" not in message.flags for message in messages)
            known = {
                b"MESSAGES": len(messages),
                b"RECENT": 0,
                b"UIDNEXT": folder.uidnext,
                b"UIDVALIDITY": folder.uidvalidity,
                b"UNSEEN": unseen,
                b"SIZE": sum(len(message.body) for message in messages),
            }
            if self._abilities.condstore:
                known[b"HIGHESTMODSEQ"] = folder.highestmodseq
        for item in list_of(arguments[1]):
            values += [item.upper(), b"%d" % known[item.upper()]]
        name = astring(self._name_of(folder))
        self._line(b"* STATUS ", name, b" (" + b" ".join(values) + b")")
        return b"OK done"

    def _visible(self, folder: FakeFolder) -> list[FakeMessage]:
        return [] if folder.name in self._script.looks_empty else folder.messages

    def _select(self, arguments: list[Value]) -> bytes:
        self._open(arguments)
        self._is_writable = True
        return b"OK [READ-WRITE] done"

    def _examine(self, arguments: list[Value]) -> bytes:
        self._open(arguments)
        self._is_writable = False
        return b"OK [READ-ONLY] done"

    def _open(self, arguments: list[Value]) -> None:
        self._folder = None
        folder = self._existing(arguments[0])
        refusal = self._script.refuse_select.get(folder.name)
        if refusal is not None:
            raise _NoError(refusal.decode().removeprefix("NO "))
        if not folder.is_selectable:
            raise _NoError("[CANNOT] not a folder for messages")
        with folder.lock:
            messages = list(self._visible(folder))
            self._folder, self._uidvalidity = folder, folder.uidvalidity
            self._view = [message.uid for message in messages]
            self._known_modseq = folder.highestmodseq
            uidnext = folder.uidnext
            keywords = {flag for message in messages for flag in message.flags}
            unseen = next(
                (n for n, m in enumerate(messages, start=1) if "\\Seen" not in m.flags), 0
            )
        system = {flag for flag in folder.permanent_flags if flag != "\\*"}
        permanent = " ".join(folder.permanent_flags)
        self._line(b"* FLAGS " + _flags(system | keywords))
        self._line(b"* OK [PERMANENTFLAGS (" + permanent.encode() + b")] kept")
        self._line(b"* %d EXISTS" % len(self._view))
        self._line(b"* 0 RECENT")
        if unseen:
            self._line(b"* OK [UNSEEN %d] first unseen" % unseen)
        self._line(b"* OK [UIDVALIDITY %d] valid" % self._uidvalidity)
        self._line(b"* OK [UIDNEXT %d] predicted" % uidnext)
        if self._abilities.condstore:
            self._line(b"* OK [HIGHESTMODSEQ %d] highest" % self._known_modseq)

    def _close(self, arguments: list[Value]) -> bytes:
        if self._is_writable:
            self._remove_deleted(None)
        return self._unselect(arguments)

    def _unselect(self, arguments: list[Value]) -> bytes:
        self._folder = None
        return b"OK done"

    # --- messages

    @property
    def _selected(self) -> FakeFolder:
        if self._folder is None:
            raise _BadError("no folder is selected")
        return self._folder

    def _writable(self) -> FakeFolder:
        if not self._is_writable:
            raise _NoError("[READ-ONLY] opened with EXAMINE")
        return self._selected

    def _report_changes(self, *, may_expunge: bool) -> None:
        """Tell the client what has changed in the selected folder since it last heard."""
        folder = self._folder
        if folder is None:
            return
        with folder.lock:
            if folder.uidvalidity != self._uidvalidity:
                self._line(b"* BYE the folder has been renumbered")
                self._wire.flush()
                self._wire.cut(Ending.FIN)
            messages = list(self._visible(folder))
            is_quiet = folder.highestmodseq == self._known_modseq
            if is_quiet and len(messages) == len(self._view):
                return
            there = {message.uid: message for message in messages}
            known = set(self._view)
            since, self._known_modseq = self._known_modseq, folder.highestmodseq
            changed = [m for m in messages if m.modseq > since and m.uid in known]
            flags = {message.uid: _flags(message.flags) for message in changed}
        if may_expunge:
            self._report_expunged(there.keys())
        number_of = {uid: number for number, uid in enumerate(self._view, start=1)}
        for uid, text in flags.items():
            self._line(b"* %d FETCH (UID %d FLAGS %s)" % (number_of[uid], uid, text))
        new = sorted(there.keys() - known)
        if new:
            self._view += new
            self._line(b"* %d EXISTS" % len(self._view))

    def _report_expunged(self, there: Container[int]) -> None:
        for index in range(len(self._view) - 1, -1, -1):
            if self._view[index] not in there:
                del self._view[index]
                self._line(b"* %d EXPUNGE" % (index + 1))

    def _chosen(self, argument: Value, *, by_uid: bool) -> list[tuple[int, FakeMessage]]:
        """Return the messages of a sequence set with their sequence numbers."""
        numbers = self._view if by_uid else range(1, len(self._view) + 1)
        chosen = choose(text_of(argument), numbers)
        return self._numbered(set(chosen), by_uid=by_uid)

    def _numbered(
        self, chosen: set[int] | None = None, *, by_uid: bool = True
    ) -> list[tuple[int, FakeMessage]]:
        folder = self._selected
        with folder.lock:
            there = {message.uid: message for message in folder.messages}
        return [
            (number, there[uid])
            for number, uid in enumerate(self._view, start=1)
            if uid in there and (chosen is None or (uid if by_uid else number) in chosen)
        ]

    def _fetch(self, arguments: list[Value], *, by_uid: bool = False) -> bytes:
        targets = self._chosen(arguments[0], by_uid=by_uid)
        items = _fetch_items(arguments[1])
        changed_since = self._changed_since(arguments[2:])
        if by_uid and b"UID" not in items:
            items.insert(0, b"UID")
        if changed_since is not None and b"MODSEQ" not in items:
            items.append(b"MODSEQ")
        faults = self._script.fetch
        left_out = faults.omit | self._script.hidden
        interleaved = list(faults.interleave)
        for number, message in reversed(targets) if faults.reverse else targets:
            if message.uid in left_out or message.modseq <= (changed_since or 0):
                continue
            for _ in range(2 if message.uid in faults.twice else 1):
                self._fetch_line(number, message, items)
            for line in interleaved:
                self._line(line)
            interleaved.clear()
        return b"OK done"

    def _uid_fetch(self, arguments: list[Value]) -> bytes:
        return self._fetch(arguments, by_uid=True)

    def _changed_since(self, modifiers: list[Value]) -> int | None:
        if not modifiers:
            return None
        name, modseq = list_of(modifiers[0])
        if name.upper() != b"CHANGEDSINCE" or not self._abilities.condstore:
            raise _BadError("unknown modifier")
        return int(modseq)

    def _fetch_line(self, number: int, message: FakeMessage, items: list[bytes]) -> None:
        with self._selected.lock:
            items = self._mark_seen(message, items)
            values = [(item, self._fetch_value(message, item)) for item in items]
        faults = self._script.fetch
        if faults.concerns(message.uid):
            values = _distorted(values, faults)
        parts = [b"* %d FETCH (" % number]
        for position, (item, value) in enumerate(values):
            parts += [b" " if position else b"", _label(item) + b" ", value]
        self._fail_in_literal(message, parts)
        self._line(*parts, b")")

    def _fail_in_literal(self, message: FakeMessage, parts: list[bytes]) -> None:
        """Break off within the first literal, if that is what the script says."""
        faults = self._script.fetch
        index = next((i for i, part in enumerate(parts) if isinstance(part, Literal)), None)
        if index is None or not faults.concerns(message.uid):
            return
        beginning, body = b"".join(parts[:index]), parts[index]
        if faults.announce is not None:
            self._wire.write(beginning + b"{%d}\r\n" % faults.announce + body)
            self._wire.flush()
            self._wire.wait_for_end()
            raise ConnectionCutError
        octets = self._script.take_literal_cut()
        if octets is not None:
            self._wire.write(beginning + b"{%d}\r\n" % len(body) + body[:octets])
            self._wire.flush()
            self._wire.cut(faults.ending)

    def _mark_seen(self, message: FakeMessage, items: list[bytes]) -> list[bytes]:
        is_read = any(item == b"RFC822" or item.startswith(b"BODY[") for item in items)
        if not (is_read and self._is_writable) or "\\Seen" in message.flags:
            return items
        message.flags.add("\\Seen")
        message.modseq = self._selected.next_modseq()
        self._known_modseq = message.modseq
        return items if b"FLAGS" in items else [*items, b"FLAGS"]

    def _fetch_value(self, message: FakeMessage, item: bytes) -> bytes:
        match item:
            case b"UID":
                return b"%d" % message.uid
            case b"FLAGS":
                return _flags(message.flags)
            case b"INTERNALDATE":
                return format_date_time(message.internaldate)
            case b"RFC822.SIZE":
                return b"%d" % len(message.body)
            case b"MODSEQ" if self._abilities.condstore:
                return b"(%d)" % message.modseq
            case b"X-GM-MSGID" if self._abilities.gmail:
                return b"%d" % message.gmail_id
            case b"X-GM-LABELS" if self._abilities.gmail:
                return self._labels(message)
            case b"RFC822":
                return Literal(message.body)
            case b"RFC822.HEADER":
                return Literal(_header(message.body))
            case _:
                return Literal(_section(message.body, item))

    def _labels(self, message: FakeMessage) -> bytes:
        """Return the labels besides the open folder; special ones by their attribute, as Gmail."""
        labels = []
        for folder in self._owner.folders:
            if folder is self._selected or "\\All" in folder.attributes:
                continue
            if any(each.gmail_id == message.gmail_id for each in folder.messages):
                special = [a for a in folder.attributes if a in _GMAIL_SPECIAL]
                inbox = ["\\Inbox"] if folder.levels == ("INBOX",) else []
                name = [*special, *inbox, encode_name("/".join(folder.levels)).decode()][0]
                labels.append(quoted(name.encode()))
        return b"(" + b" ".join(labels) + b")"

    def _search(self, arguments: list[Value], *, by_uid: bool = False) -> bytes:
        matches = self._criteria(arguments)
        left_out = self._script.hidden | self._script.search_omit
        found = [
            message.uid if by_uid else number
            for number, message in self._numbered()
            if message.uid not in left_out and matches(number, message)
        ]
        self._line(b" ".join([b"* SEARCH", *(b"%d" % number for number in found)]))
        return b"OK done"

    def _uid_search(self, arguments: list[Value]) -> bytes:
        return self._search(arguments, by_uid=True)

    def _criteria(self, arguments: list[Value]) -> Criterion:
        words = list(arguments)
        criteria: list[Criterion] = []
        while words:
            criteria.append(self._criterion(words))
        return lambda number, message: all(match(number, message) for match in criteria)

    def _criterion(self, words: list[Value]) -> Criterion:
        """Take one search key and its arguments off the words."""
        word = words.pop(0)
        if isinstance(word, list):
            return self._criteria(word)
        match word.upper():
            case b"CHARSET":
                words.pop(0)
                return lambda number, message: True
            case b"NOT":
                inner = self._criterion(words)
                return lambda number, message: not inner(number, message)
            case b"OR":
                one, other = self._criterion(words), self._criterion(words)
                return lambda number, message: one(number, message) or other(number, message)
            case b"UID":
                return self._among(words.pop(0), by_uid=True)
            case key if key[:1].isdigit() or key[:1] == b"*":
                return self._among(key, by_uid=False)
            case key:
                count = 2 if key == b"HEADER" else int(key in _SEARCHES_WITH_ARGUMENT)
                return _message_criterion(key, [text_of(words.pop(0)) for _ in range(count)])

    def _among(self, argument: Value, *, by_uid: bool) -> Criterion:
        uids = {message.uid for _, message in self._chosen(argument, by_uid=by_uid)}
        return lambda number, message: message.uid in uids

    def _store(self, arguments: list[Value], *, by_uid: bool = False) -> bytes:
        folder = self._writable()
        chosen = self._chosen(arguments.pop(0), by_uid=by_uid)
        limit = self._unchanged_since(arguments)
        operation, flags = text_of(arguments[0]).upper(), arguments[1:]
        given = flags[0] if len(flags) == 1 else flags
        names = folder.storable(flag.decode() for flag in list_of(given))
        left = [m.uid if by_uid else n for n, m in chosen if limit and m.modseq > limit]
        changed = [(n, m) for n, m in chosen if not (limit and m.modseq > limit)]
        with folder.lock:
            for _, message in changed:
                message.flags = _stored(operation, message.flags, names)
                message.modseq = folder.next_modseq()
            self._known_modseq = folder.highestmodseq
        if not operation.endswith(b".SILENT") or limit:
            items = [b"UID"] * by_uid + [b"FLAGS"] + [b"MODSEQ"] * bool(limit)
            for number, message in changed:
                self._fetch_line(number, message, items)
        if left:
            return b"OK [MODIFIED " + b",".join(b"%d" % n for n in left) + b"] done"
        return b"OK done"

    def _uid_store(self, arguments: list[Value]) -> bytes:
        return self._store(arguments, by_uid=True)

    def _unchanged_since(self, arguments: list[Value]) -> int | None:
        if not isinstance(arguments[0], list):
            return None
        name, modseq = list_of(arguments.pop(0))
        if name.upper() != b"UNCHANGEDSINCE" or not self._abilities.condstore:
            raise _BadError("unknown modifier")
        return int(modseq)

    def _expunge(self, arguments: list[Value]) -> bytes:
        self._writable()
        self._remove_deleted(None)
        return b"OK done"

    def _uid_expunge(self, arguments: list[Value]) -> bytes:
        if not self._abilities.uidplus:
            raise _BadError("unknown command")
        self._writable()
        self._remove_deleted({m.uid for _, m in self._chosen(arguments[0], by_uid=True)})
        return b"OK done"

    def _remove_deleted(self, among: set[int] | None) -> None:
        folder = self._selected
        with folder.lock:
            deleted = [m.uid for m in folder.messages if "\\Deleted" in m.flags]
            folder.expunge(*(uid for uid in deleted if among is None or uid in among))

    def _copy(self, arguments: list[Value], *, by_uid: bool = False) -> bytes:
        return b"OK " + self._copy_chosen(arguments, by_uid=by_uid)[1] + b"done"

    def _uid_copy(self, arguments: list[Value]) -> bytes:
        return self._copy(arguments, by_uid=True)

    def _move(self, arguments: list[Value], *, by_uid: bool = False) -> bytes:
        if not self._abilities.move:
            raise _BadError("unknown command")
        folder = self._writable()
        uids, code = self._copy_chosen(arguments, by_uid=by_uid)
        if code:
            self._line(b"* OK " + code + b"moved")
        folder.expunge(*uids)
        return b"OK done"

    def _uid_move(self, arguments: list[Value]) -> bytes:
        return self._move(arguments, by_uid=True)

    def _copy_chosen(self, arguments: list[Value], *, by_uid: bool) -> tuple[list[int], bytes]:
        chosen = [message for _, message in self._chosen(arguments[0], by_uid=by_uid)]
        target = self._find(arguments[1])
        if target is None:
            raise _NoError("[TRYCREATE] no such folder")
        copies = [target.append(m.body, m.flags, m.internaldate) for m in chosen]
        uids = [message.uid for message in chosen]
        if not self._abilities.uidplus or not uids:
            return uids, b""
        before = b",".join(b"%d" % uid for uid in uids)
        after = b",".join(b"%d" % copy.uid for copy in copies)
        return uids, b"[COPYUID %d %s %s] " % (target.uidvalidity, before, after)

    def _append(self, arguments: list[Value]) -> bytes:
        name, *rest = arguments
        mails = []
        while rest:
            flags = list_of(rest.pop(0)) if isinstance(rest[0], list) else []
            has_date = len(rest) > 1 and is_date_time(text_of(rest[0]))
            date = parse_date_time(text_of(rest.pop(0))) if has_date else datetime.now(UTC)
            mails.append((text_of(rest.pop(0)), [flag.decode() for flag in flags], date))
        if not mails or (len(mails) > 1 and not self._abilities.multiappend):
            raise _BadError("an argument too many")
        folder = self._find(name)
        if folder is None or not folder.is_selectable:
            raise _NoError("[TRYCREATE] no such folder")
        return self._deliver(folder, mails)

    def _deliver(self, folder: FakeFolder, mails: list[tuple[bytes, list[str], datetime]]) -> bytes:
        faults = self._script.append
        for body, _, _ in mails:
            refusal = faults.refuse(body) if faults.refuse else None
            if refusal is not None:
                return refusal
        with folder.lock:
            uids = [
                folder.append(
                    faults.rewrite(body) if faults.rewrite else body,
                    flags,
                    date.replace(microsecond=0),
                ).uid
                for body, flags, date in mails
            ]
            uidvalidity = folder.uidvalidity
        told = b",".join(b"%d" % uid for uid in uids)
        code = b"[APPENDUID %d %b]" % (uidvalidity, told) if self._abilities.uidplus else b""
        if callable(faults.appenduid):
            code = faults.appenduid(uidvalidity, uids[0])
        elif faults.appenduid is not None:
            code = faults.appenduid
        return b"OK " + code + b" done" if code else b"OK done"

    _handlers: ClassVar[dict[str, Callable[[_Session, list[Value]], bytes]]] = {
        "CAPABILITY": _capability,
        "NOOP": _noop,
        "CHECK": _noop,
        "LOGOUT": _logout,
        "ID": _id,
        "ENABLE": _enable,
        "STARTTLS": _starttls,
        "LOGIN": _login,
        "AUTHENTICATE": _authenticate,
        "NAMESPACE": _namespace,
        "LIST": _list,
        "LSUB": _lsub,
        "CREATE": _create,
        "DELETE": _delete,
        "RENAME": _rename,
        "SUBSCRIBE": _subscribe,
        "UNSUBSCRIBE": _unsubscribe,
        "STATUS": _status,
        "SELECT": _select,
        "EXAMINE": _examine,
        "CLOSE": _close,
        "UNSELECT": _unselect,
        "FETCH": _fetch,
        "UID FETCH": _uid_fetch,
        "SEARCH": _search,
        "UID SEARCH": _uid_search,
        "STORE": _store,
        "UID STORE": _uid_store,
        "EXPUNGE": _expunge,
        "UID EXPUNGE": _uid_expunge,
        "COPY": _copy,
        "UID COPY": _uid_copy,
        "MOVE": _move,
        "UID MOVE": _uid_move,
        "APPEND": _append,
    }


# --- pure pieces ----------------------------------------------------------------------------

_FLAG_SEARCHES = {
    **{f"{flag[1:].upper()}".encode(): flag for flag in ("\\Answered", "\\Deleted", "\\Draft")},
    **{f"{flag[1:].upper()}".encode(): flag for flag in ("\\Flagged", "\\Seen")},
}
_SEARCHES_WITH_ARGUMENT = {
    *(b"KEYWORD", b"UNKEYWORD", b"SINCE", b"BEFORE", b"ON", b"LARGER", b"SMALLER", b"MODSEQ"),
    *(b"SUBJECT", b"FROM", b"TO", b"CC"),
}


def _message_criterion(key: bytes, values: list[bytes]) -> Criterion:
    """Return the test for a search key that looks at one message."""
    match key, values:
        case b"ALL", _:
            return lambda number, message: True
        case (b"HEADER", [name, text]):
            return lambda number, message: _header_contains(message.body, name, text)
        case b"SUBJECT" | b"FROM" | b"TO" | b"CC", [text]:
            return lambda number, message: _header_contains(message.body, key, text)
        case b"KEYWORD", [flag]:
            return lambda number, message: flag.decode() in message.flags
        case b"UNKEYWORD", [flag]:
            return lambda number, message: flag.decode() not in message.flags
        case b"LARGER", [size]:
            return lambda number, message: len(message.body) > int(size)
        case b"SMALLER", [size]:
            return lambda number, message: len(message.body) < int(size)
        case b"MODSEQ", [modseq]:
            return lambda number, message: message.modseq >= int(modseq)
        case b"SINCE" | b"BEFORE" | b"ON", [text]:
            return _date_criterion(key, parse_date(text))
        case _:
            return _flag_criterion(key)


def _flag_criterion(key: bytes) -> Criterion:
    if key in _FLAG_SEARCHES:
        return lambda number, message: _FLAG_SEARCHES[key] in message.flags
    if key.removeprefix(b"UN") in _FLAG_SEARCHES:
        flag_name = _FLAG_SEARCHES[key.removeprefix(b"UN")]
        return lambda number, message: flag_name not in message.flags
    raise ValueError(f"unknown search key {key!r}")


def _date_criterion(key: bytes, day: datetime) -> Criterion:
    def local(message: FakeMessage) -> datetime:
        return message.internaldate.replace(tzinfo=UTC)  # RFC 3501: "disregarding timezone"

    if key == b"SINCE":
        return lambda number, message: local(message) >= day
    if key == b"BEFORE":
        return lambda number, message: local(message) < day
    return lambda number, message: day <= local(message) < day + timedelta(days=1)


def _fetch_items(argument: Value) -> list[bytes]:
    """Return what FETCH asks for, in upper case, macros resolved."""
    items: list[bytes] = []
    for item in list_of(argument):
        word = item.upper()
        items += [b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE"] if word == b"FAST" else [word]
    return items


def _label(item: bytes) -> bytes:
    """Return the name under which an item is answered: no PEEK, no length."""
    return re.sub(rb"<(\d+)\.\d+>\Z", rb"<\1>", item.replace(b"BODY.PEEK[", b"BODY["))


_GMAIL_SPECIAL = ("\\Sent", "\\Drafts", "\\Flagged", "\\Trash", "\\Junk", "\\Important")

_BODY_ITEM = re.compile(
    rb"BODY(?:\.PEEK)?\[(|TEXT|HEADER|HEADER\.FIELDS(?:\.NOT)? \([^)]*\))\](?:<(\d+)\.(\d+)>)?"
)


def _section(body: bytes, item: bytes) -> bytes:
    found = _BODY_ITEM.fullmatch(item)
    if found is None:
        raise _BadError(f"unknown item {item!r}")
    name, start, length = found.groups()
    if name == b"TEXT":
        data = body[len(_header(body)) :]
    elif name == b"HEADER":
        data = _header(body)
    elif name:
        data = _header_fields(body, name)
    else:
        data = body
    return data if start is None else data[int(start) :][: int(length)]


def _header(body: bytes) -> bytes:
    end = re.search(rb"\A\r?\n|\n\r?\n", body)
    return body[: end.end()] if end else body


def _header_fields(body: bytes, section: bytes) -> bytes:
    wanted = set(section[section.index(b"(") + 1 : -1].replace(b'"', b"").split())
    inverted = b".NOT" in section.split(b"(")[0]
    return b"".join(
        whole for name, whole in _fields(body) if (name.upper() in wanted) != inverted
    ) + (b"\r\n")


def _fields(body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the header's fields, name and whole text, folded lines included."""
    pattern = re.compile(rb"^([^\s:]+)[ \t]*:.*(?:\n[ \t].*)*\n?", re.MULTILINE)
    return [(found[1], found[0]) for found in pattern.finditer(_header(body))]


def _header_contains(body: bytes, name: bytes, text: bytes) -> bool:
    for field_name, whole in _fields(body):
        if field_name.upper() == name.upper():
            value = re.sub(rb"\r?\n(?=[ \t])", b"", whole.split(b":", 1)[1])
            if text.upper() in value.upper():
                return True
    return False


def _stored(operation: bytes, before: set[str], names: set[str]) -> set[str]:
    match operation.removesuffix(b".SILENT"):
        case b"FLAGS":
            return set(names)
        case b"+FLAGS":
            return before | names
        case b"-FLAGS":
            return before - names
        case _:
            raise ValueError(f"unknown operation {operation!r}")


def _distorted(values: list[tuple[bytes, bytes]], faults: FetchFaults) -> list[tuple[bytes, bytes]]:
    distorted: list[tuple[bytes, bytes]] = []
    for item, value in values:
        changed = value
        if item == b"INTERNALDATE" and faults.internaldate is not None:
            changed = faults.internaldate
        elif item == b"RFC822.SIZE":
            changed = b"%d" % (int(value) + faults.size_error)
        elif isinstance(value, Literal) and faults.body is not Body.LITERAL:
            changed = quoted(value) if faults.body is Body.QUOTED else b"NIL"
        if changed or isinstance(changed, Literal):
            distorted.append((item, changed))
    return distorted[::-1] if faults.reverse_items else distorted


def _flags(flags: set[str]) -> bytes:
    return b"(" + " ".join(sorted(flags)).encode() + b")"


def _name(words: bytes) -> str:
    return b" ".join(words.split()).upper().decode("ascii", "replace")


def _shortened(part: bytes) -> bytes:
    return b"<%d octets>" % len(part) if len(part) > 400 else part
