"""The one door to imapclient: a signed-in session with typed answers and our own errors.

imapclient takes the connection up and ends it; ``wire`` speaks on it in between, and
``signin`` before that. Exchange Online is taken for plain IMAP4rev1, whatever it announces:
what goes beyond that it answers with BAD (MailKit issue 2016). What comes in is checked here,
since servers lie: outside this module there are only our types, and no exception of imapclient,
imaplib, ssl or socket.
"""

from __future__ import annotations

import imaplib
import logging
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import imapclient
from imapclient import imap_utf7

from waystation.errors import (
    ProtocolError,
    RefusedError,
    SessionExpiredError,
    UnusableFolderError,
    WaystationError,
    goodbye,
    plain,
)
from waystation.mends import not_connected
from waystation.model import SYSTEM_FLAGS, Folder, FolderState, SpecialUse
from waystation.no_mail import is_for_no_mail
from waystation.providers import window
from waystation.session import Connection, Session
from waystation.signin import capabilities, sign_in
from waystation.wire import Wire, number, quoted, words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from waystation.address import Account
    from waystation.signin import Credential
    from waystation.stream import Stream
    from waystation.token import Token as AccessToken
    from waystation.token import TokenSource
    from waystation.wire import Token

log = logging.getLogger(__name__)

_GROUP = 64
_PIECE = 10_000
_UID = 2**32 - 1
_MODSEQ = 2**63 - 1
_NUMBER_CODE = re.compile(rb"\[(UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ) (\d{1,20})\]", re.IGNORECASE)
_EXCHANGE = frozenset({"CLIENTACCESSRULES", "BACKENDAUTHENTICATE"})
"""Announced after the sign-in by Exchange Online and nobody else (its greeting changes)."""
_EXCHANGE_CAN = frozenset(
    {"IMAP4REV1", "UIDPLUS", "MOVE", "UNSELECT", "IDLE", "NAMESPACE", "CHILDREN", "ID"}
    | {"SASL-IR", "LITERAL+"}
)
_SHUT = re.compile(r"authenticated but not connected", re.IGNORECASE)
_HEAD = re.compile(rb"(\*|\S+)( (?:\d+ )?)([A-Za-z]+)( ?)")
_PERMANENT_CODE = re.compile(rb"\[PERMANENTFLAGS \(([^)]*)\)\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where a user's own folders begin (RFC 2342), and what parts the levels."""

    prefix: tuple[str, ...] = ()
    """Its levels: ``("INBOX",)`` on Courier, none on most servers."""
    delimiter: str | None = None
    foreign: tuple[bytes, ...] = ()
    """How the names of other users' and of shared folders begin."""


@dataclass(frozen=True, slots=True)
class Selected:
    """What SELECT or EXAMINE says of a folder."""

    state: FolderState
    permanent_flags: frozenset[str]
    """System flags and keywords in lower case that may be stored for good."""
    takes_keywords: bool
    """Whether ``\\\\*`` is among PERMANENTFLAGS: any keyword may be stored."""


class _Imaplib(imaplib.IMAP4):
    """imaplib on a stream of ours: the four methods that its documentation lets one replace."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        super().__init__(stream.host, 0)

    def open(self, host: str = "", port: int = 0, timeout: float | None = None) -> None:  # noqa: ARG002
        self.host = host
        self.port = port
        self.sock = self._stream.sock

    def read(self, size: int) -> bytes:
        return self._stream.read(size)

    def readline(self) -> bytes:
        return _as_imaplib_reads(self._stream.readline())

    def send(self, data: bytes) -> None:  # type: ignore[override]
        self._stream.send(data)

    def shutdown(self) -> None:
        self._stream.close()


class _Client(imapclient.IMAPClient):
    """imapclient on a stream of ours."""

    def __init__(self, stream: Stream) -> None:
        self._waystation_stream = stream
        # Without the timeout, imapclient would take away the one the socket has.
        super().__init__(stream.host, ssl=False, timeout=stream.sock.gettimeout())
        # imapclient formats every line for a log of its own; ours is written by the stream.
        self._imap.debug = 0
        # Names are encoded here, once; imapclient would encode them again.
        self.folder_encode = False

    def _create_IMAP4(self) -> imaplib.IMAP4:  # noqa: N802 - imapclient's name
        return _Imaplib(self._waystation_stream)


class ImapSession(Session):
    """One signed-in connection. A context manager; use from one thread."""

    def __init__(
        self,
        account: Account,
        wire: Wire,
        stream: Stream,
        client: imapclient.IMAPClient,
        token: AccessToken | None = None,
        source: TokenSource | None = None,
    ) -> None:
        super().__init__(account, stream, token, source)
        self.wire = wire
        self._client = client
        # Always asked for: what a server says it can differs before and after the sign-in.
        announced = capabilities(wire)
        is_known = account.preset is not None and account.preset.is_exchange
        self.is_exchange = is_known or bool(announced & _EXCHANGE)
        """Whether this is Exchange Online."""
        self.leaves_out_no_mail = False
        """Whether folders that Exchange keeps for what is no mail are left out, as of a source."""
        self._capabilities = _believed(announced) if self.is_exchange else announced
        self.namespace = self._namespace()

    @classmethod
    def _begin(
        cls,
        account: Account,
        stream: Stream,
        credential: Credential,
        token: AccessToken | None,
        connection: Connection,
    ) -> Self:
        with _errors_of(stream, "connecting"):
            client: imapclient.IMAPClient = _Client(stream)
        wire = Wire(stream, connection.largest_message)
        if client._imap.state != "AUTH":  # PREAUTH: the server knows us already
            sign_in(wire, stream, account, credential, token)
            client._imap.state = "AUTH"
        source = None if isinstance(credential, str) else credential
        return cls(account, wire, stream, client, token, source)

    def close(self) -> None:
        """Say goodbye and close; an answer is not insisted on."""
        with suppress(WaystationError, OSError):
            self._stream.sock.settimeout(5)
            with _errors_of(self._stream, "LOGOUT"):
                self._client.logout()
        self.drop()

    def drop(self) -> None:
        """Close without a word: the connection is broken, or its state unknown."""
        super().drop()
        # Whatever our clock says: with this token nobody is let in any more.
        ended = isinstance(goodbye(self._stream.host, self._stream.bye), SessionExpiredError)
        if ended and self._source is not None and self._token is not None:
            self._source.discard(self._token)

    @property
    def token(self) -> AccessToken | None:
        """The token of this session; None where a password opened it."""
        return self._token

    def has(self, capability: str) -> bool:
        """Whether the server announced this capability, and can be believed."""
        return capability in self._capabilities

    @property
    def append_limit(self) -> int | None:
        """Octets of the largest message that APPEND takes (RFC 7889), where it is one for all."""
        limits = (
            number(value.encode(), _MODSEQ)
            for name, _, value in (word.partition("=") for word in self._capabilities)
            if name == "APPENDLIMIT"
        )
        return min((limit for limit in limits if limit is not None), default=None)

    def folders(self) -> list[Folder]:
        """Return every folder the server lists, in its order, each once and under its own name."""
        found: dict[bytes, Folder] = {}
        for folder in self._list_all():
            found.setdefault(folder.wire_name, folder)
        own = [folder for folder in found.values() if not self._is_foreign(folder)]
        if len(own) < len(found):
            log.warning(
                "%d folders of other users, or shared ones, are left out: %s is another mailbox",
                len(found) - len(own),
                plain(next(f.name for f in found.values() if self._is_foreign(f))),
            )
        return self._of_mail(_told_apart(own))

    def _of_mail(self, folders: list[Folder]) -> list[Folder]:
        if not (self.is_exchange and self.leaves_out_no_mail):
            return folders
        others = [
            folder
            for folder in folders
            if folder.special_use is None and is_for_no_mail(folder.levels[0])
        ]
        if others:
            top = sorted({folder.levels[0] for folder in others})
            log.warning(
                "left out, since Exchange keeps them for what is no mail: %s. Where one does hold "
                "mail, give it another name first",
                plain(", ".join(top), 600),
            )
        return [folder for folder in folders if folder not in others]

    def states(self, folders: Iterable[Folder]) -> dict[bytes, FolderState]:
        """Return the state of each folder by its wire name, asked for without waiting between.

        A folder that the server refuses to speak of is missing from the answer.
        """
        folders = list(folders)
        items = b"MESSAGES UIDNEXT UIDVALIDITY"
        if self.has("CONDSTORE"):
            items += b" HIGHESTMODSEQ"
        found: dict[bytes, FolderState] = {}
        commands = [
            b"STATUS %b (%b)" % (quoted(folder.wire_name), items)
            for folder in folders
            if _can_be_named(folder.wire_name)
        ]
        # In groups, so that neither side's send buffer can fill up while nobody reads.
        for start in range(0, len(commands), _GROUP):
            try:
                for name, tokens in self.wire.untagged(*commands[start : start + _GROUP]):
                    if name == b"STATUS" and (status := _status(tokens)) is not None:
                        found[status[0]] = status[1]
            except RefusedError as error:
                if error.retriable:
                    raise
        self._tell_of_window(folders, found)
        return found

    def _tell_of_window(
        self, folders: Collection[Folder], states: Mapping[bytes, FolderState]
    ) -> None:
        """Warn where a folder is as full as this provider shows folders at the most."""
        most = window(self.account.host, self.account.preset)
        if most is None:
            return
        for folder in folders:
            state = states.get(folder.wire_name)
            if state is not None and state.exists >= most:
                log.warning(
                    "%s: %s shows the newest %d messages of a folder; what is older is not to be "
                    "had here. Move mail to other folders there, and run again",
                    plain(folder.name),
                    self.account.host,
                    most,
                )

    def sizes(self, folders: Iterable[Folder]) -> dict[bytes, int]:
        """Return the octets in each folder by its wire name, where the server keeps count.

        That is STATUS=SIZE (RFC 8438); empty where it is not offered.
        """
        if not self.has("STATUS=SIZE"):
            return {}
        commands = [
            b"STATUS %b (SIZE)" % quoted(folder.wire_name)
            for folder in folders
            if _can_be_named(folder.wire_name)
        ]
        found: dict[bytes, int] = {}
        for start in range(0, len(commands), _GROUP):
            with _unless_it_passes():
                for name, tokens in self.wire.untagged(*commands[start : start + _GROUP]):
                    if name == b"STATUS" and (one := _status_numbers(tokens)) is not None:
                        found |= {one[0]: one[1][b"SIZE"]} if b"SIZE" in one[1] else {}
        return found

    def size(self, folder: Folder) -> int:
        """Return the octets in a folder by asking for those of each message; nothing changes.

        Raises:
            RefusedError, UnusableFolderError: as with ``select``.
        """
        total = 0
        exists = self.select(folder.wire_name, read_only=True).state.exists
        # In pieces, so that the answers for a million messages are never all in memory.
        for first in range(1, exists + 1, _PIECE):
            last = min(first + _PIECE - 1, exists)
            for name, tokens in self.wire.untagged(b"FETCH %d:%d (RFC822.SIZE)" % (first, last)):
                if name == b"FETCH":
                    total += _rfc822_size(tokens)
        return total

    def select(self, wire_name: bytes, *, read_only: bool) -> Selected:
        """Open a folder, by EXAMINE when ``read_only``, so that nothing in it can change.

        Raises:
            RefusedError: the server says NO, or says neither UIDVALIDITY nor EXISTS.
            UnusableFolderError: no command can hold the folder's name.
        """
        if not _can_be_named(wire_name):
            # To send it would be to send commands that nobody meant.
            raise UnusableFolderError("its name holds NUL or line ends")
        command = (b"EXAMINE " if read_only else b"SELECT ") + quoted(wire_name)
        numbers: dict[bytes, int] = {}
        flags: list[str] = list(SYSTEM_FLAGS)
        permanent: list[str] | None = None
        for name, tokens in self.wire.untagged(command):
            if name == b"EXISTS" and tokens and (exists := number(tokens[0])) is not None:
                numbers[name] = exists
            elif name == b"FLAGS" and tokens and isinstance(tokens[0], list):
                flags = words(tokens[0])
            elif name == b"OK" and isinstance(tokens[0], bytes):
                if match := _NUMBER_CODE.match(tokens[0]):
                    code = match[1].upper()
                    largest = _MODSEQ if code == b"HIGHESTMODSEQ" else _UID
                    numbers[code] = number(match[2], largest) or 0
                elif match := _PERMANENT_CODE.match(tokens[0]):
                    permanent = match[1].decode("utf-8", "replace").split()
        if not numbers.get(b"UIDVALIDITY") or b"EXISTS" not in numbers:
            raise UnusableFolderError("it opens without UIDVALIDITY or EXISTS")
        state = FolderState(
            numbers[b"UIDVALIDITY"],
            # A server need not say UIDNEXT (RFC 3501 section 6.3.1); 0 equals no real one.
            numbers.get(b"UIDNEXT", 0),
            numbers[b"EXISTS"],
            # Without CONDSTORE nobody may ask what has changed since.
            (self.has("CONDSTORE") and numbers.get(b"HIGHESTMODSEQ")) or None,
        )
        # Without PERMANENTFLAGS all FLAGS can be kept (RFC 3501 section 6.3.1).
        kept = flags if permanent is None else permanent
        return Selected(
            state,
            frozenset(word.lower() for word in kept if word != "\\*"),
            takes_keywords="\\*" in kept,
        )

    def create(self, wire_name: bytes) -> None:
        """Create a folder and subscribe to it; one that exists already is success.

        Raises:
            RefusedError: the folder is not there afterwards.
        """
        try:
            self.wire.converse(b"CREATE " + quoted(wire_name))
        except RefusedError as error:
            if error.retriable:
                raise  # who is told to wait asks nothing more
            # RFC 5530 ALREADYEXISTS is not said by all: look instead of reading words.
            if not any(self._is_same(folder.wire_name, wire_name) for folder in self.folders()):
                raise
        with _unless_it_passes():
            self.wire.converse(b"SUBSCRIBE " + quoted(wire_name))

    def _is_same(self, one: bytes, other: bytes) -> bool:
        """Whether two names are one folder; to Exchange, names that differ in case are."""
        if one == other or not self.is_exchange:
            return one == other
        return decoded_name(one).casefold() == decoded_name(other).casefold()

    def uids(self, criteria: bytes = b"ALL") -> list[int]:
        """Return the UIDs in the open folder that meet IMAP search criteria, ascending."""
        found: set[int] = set()
        for name, tokens in self.wire.untagged(b"UID SEARCH " + criteria):
            if name == b"SEARCH":
                found.update(number(token) or 0 for token in tokens)
            elif name == b"ESEARCH":  # some servers answer so although nobody asked for it
                found.update(_esearch(tokens))
        return sorted(found - {0})

    def wire_name(self, levels: tuple[str, ...]) -> bytes:
        """Return the octets by which a folder of these levels is named on this server."""
        return imap_utf7.encode((self.namespace.delimiter or "/").join(levels))

    def _is_foreign(self, folder: Folder) -> bool:
        """Whether a folder lies in a namespace of other users, or in a shared one."""
        return folder.special_use != SpecialUse.INBOX and any(
            folder.wire_name.startswith(prefix) for prefix in self.namespace.foreign
        )

    def _list_all(self) -> list[Folder]:
        if self.has("SPECIAL-USE"):
            # RFC 6154 section 2: some servers say what a folder is for only when asked.
            try:
                return self._list(b'LIST "" "*" RETURN (SPECIAL-USE)')
            except RefusedError as error:
                if error.retriable:
                    raise
        return self._list(b'LIST "" "*"')

    def _list(self, command: bytes) -> list[Folder]:
        answers = self.wire.untagged(command)
        return [
            folder
            for name, tokens in answers
            if name == b"LIST" and (folder := _folder(tokens)) is not None
        ]

    def _namespace(self) -> Namespace:
        namespace: Namespace | None = None
        if self.has("NAMESPACE"):
            # Exchange takes a sign-in to a mailbox that it does not open: this is how it shows.
            with _unless_it_passes(), self._mailbox_opens():
                for name, tokens in self.wire.untagged(b"NAMESPACE"):
                    if name == b"NAMESPACE":
                        namespace = _personal(tokens)
        if namespace is None:
            with self._mailbox_opens():
                # RFC 9051 section 6.3.9: an empty name asks for the delimiter alone.
                for name, tokens in self.wire.untagged(b'LIST "" ""'):
                    if name == b"LIST" and len(tokens) > 1:
                        namespace = Namespace(delimiter=_delimiter(tokens[1]))
            namespace = namespace or Namespace()
        return namespace

    @contextmanager
    def _mailbox_opens(self) -> Iterator[None]:
        try:
            yield
        except RefusedError as error:
            if _SHUT.search(error.reply):
                raise not_connected(self._token, self.account.user, error.reply) from None
            raise


def _as_imaplib_reads(line: bytes) -> bytes:
    """Return an answer whose first word is in upper case, with a blank after a status.

    Case means nothing there (RFC 9051 section 9), and some servers leave out the words after a
    status with the blank before them; imaplib takes neither.
    """
    match = _HEAD.match(line)
    if match is None:
        return line
    begin, between, word, _ = match.groups()
    after = b" " if begin != b"*" else match[4]
    return begin + between + word.upper() + after + line[match.end() :]


def _can_be_named(wire_name: bytes) -> bool:
    """Whether a command can hold this name: NUL, CR and LF would end or break it."""
    try:
        quoted(wire_name)
    except ValueError:
        return False
    return True


def _believed(announced: frozenset[str]) -> frozenset[str]:
    """Return what Exchange Online announces and also does: plain IMAP4rev1 and little more."""
    return frozenset(
        word for word in announced if word in _EXCHANGE_CAN or word.startswith("AUTH=")
    )


@contextmanager
def _unless_it_passes() -> Iterator[None]:
    """Go on without a command that was refused, unless the server asks to wait with all."""
    try:
        yield
    except RefusedError as error:
        if error.retriable:
            raise


@contextmanager
def _errors_of(stream: Stream, what: str) -> Iterator[None]:
    """Turn every exception of imapclient and imaplib into one of ours."""
    try:
        yield
    except WaystationError:
        raise
    except (imaplib.IMAP4.error, OSError) as error:
        if stream.bye:
            raise goodbye(stream.host, stream.bye) from None
        heard = stream.words(str(error).encode(), 80)
        raise ProtocolError(stream.host, f"{what} failed", heard) from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError) as error:
        heard = stream.words(str(error).encode(), 80)
        raise ProtocolError(stream.host, f"{what} failed", heard) from None


def _folder(tokens: list[Token]) -> Folder | None:
    """Return the folder of one LIST answer, or None where the answer names none."""
    if len(tokens) < 3 or not isinstance(tokens[0], list) or isinstance(tokens[1], list):
        log.warning("the server lists a folder in a way that makes no sense; it is left out")
        return None
    delimiter = _delimiter(tokens[1])
    # A folder may be called NIL, sent as an atom: only here is that a name.
    wire_name = b"NIL" if tokens[2] is None else tokens[2]
    if not isinstance(wire_name, bytes) or not wire_name:
        return None  # the root, which is no folder
    name = decoded_name(wire_name)
    levels = tuple(name.split(delimiter)) if delimiter else (name,)
    if len(levels) > 1 and levels[-1] == "":
        levels = levels[:-1]  # some servers end the name of a folder that only has children so
    if levels[0].upper() == "INBOX":
        levels = ("INBOX", *levels[1:])
    attributes = tuple(sorted({word.lower() for word in words(tokens[0])}))
    return Folder(levels, wire_name, delimiter, attributes)


def _delimiter(token: Token) -> str | None:
    return token.decode("utf-8", "replace") or None if isinstance(token, bytes) else None


def _told_apart(folders: list[Folder]) -> list[Folder]:
    """Return the folders with names that differ, whatever order the server lists them in.

    Broken servers list INBOX twice in different case, or one name in two encodings: each is a
    folder of its own there, and must not become one here.
    """
    owners: dict[str, bytes] = {}
    for folder in sorted(folders, key=lambda folder: folder.wire_name):
        owners.setdefault(folder.name, folder.wire_name)
    return [
        folder
        if owners[folder.name] == folder.wire_name
        else replace(folder, levels=(f"{folder.levels[0]} ({folder.wire_name.hex()})",))
        for folder in folders
    ]


def decoded_name(wire_name: bytes) -> str:
    """Return a folder's name out of modified UTF-7, or UTF-8, or else the octets as they are."""
    if wire_name.isascii():
        with suppress(UnicodeError, ValueError):
            name = imap_utf7.decode(wire_name)
            name.encode()  # half a surrogate pair is no name that could be stored
            # What does not come back the same was none; two names must not fall together.
            if imap_utf7.encode(name) == wire_name:
                return name
        return wire_name.decode("ascii")
    with suppress(UnicodeDecodeError):
        return wire_name.decode("utf-8")
    return wire_name.decode("latin-1")


def _status(tokens: list[Token]) -> tuple[bytes, FolderState] | None:
    one = _status_numbers(tokens)
    if one is None or not {b"UIDVALIDITY", b"MESSAGES"} <= one[1].keys():
        return None
    wire_name, numbers = one
    if not 0 < numbers[b"UIDVALIDITY"] <= _UID:
        return None
    return wire_name, FolderState(
        numbers[b"UIDVALIDITY"],
        numbers.get(b"UIDNEXT", 0),
        numbers[b"MESSAGES"],
        # 0 says that this folder keeps no modification sequences (RFC 7162 section 3.1.2.2).
        numbers.get(b"HIGHESTMODSEQ") or None,
    )


def _status_numbers(tokens: list[Token]) -> tuple[bytes, dict[bytes, int]] | None:
    """Return the folder and the items of a STATUS answer; None where it makes no sense."""
    if len(tokens) < 2 or not isinstance(tokens[-1], list):
        return None
    wire_name = b"NIL" if tokens[0] is None else tokens[0]
    return (wire_name, _numbers(tokens[-1])) if isinstance(wire_name, bytes) else None


def _numbers(items: list[Token]) -> dict[bytes, int]:
    return {
        key.upper(): value
        for key, token in zip(items[::2], items[1::2], strict=False)
        if isinstance(key, bytes) and (value := number(token, _MODSEQ)) is not None
    }


def _rfc822_size(tokens: list[Token]) -> int:
    items = next((token for token in tokens if isinstance(token, list)), [])
    return _numbers(items).get(b"RFC822.SIZE", 0)


def _personal(tokens: list[Token]) -> Namespace | None:
    """Return the first personal namespace of a NAMESPACE answer (RFC 2342 section 5)."""
    match tokens:
        case [[[bytes(prefix), (bytes() | None) as delimiter, *_], *_], *foreign]:
            mark = _delimiter(delimiter)
            levels = decoded_name(prefix).split(mark) if mark else [decoded_name(prefix)]
            others = tuple(other for other in _prefixes(foreign) if other and other != prefix)
            return Namespace(tuple(level for level in levels if level), mark, others)
        case _:
            return None


def _prefixes(namespaces: list[Token]) -> Iterator[bytes]:
    """Yield the prefixes of other users' and shared namespaces."""
    for namespace in namespaces:
        for each in namespace if isinstance(namespace, list) else ():
            if isinstance(each, list) and each and isinstance(each[0], bytes):
                yield each[0]


def _esearch(tokens: list[Token]) -> Iterator[int]:
    """Yield the UIDs of an ESEARCH answer (RFC 4731): ``… UID ALL 1:3,7``."""
    for key, value in pairwise(tokens):
        if isinstance(key, bytes) and key.upper() == b"ALL" and isinstance(value, bytes):
            for part in value.split(b","):
                first, _, last = part.partition(b":")
                low, high = number(first), number(last or first)
                if low is not None and high is not None:
                    low, high = sorted((low, high))
                    yield from range(low, min(high, low + 10_000_000) + 1)
