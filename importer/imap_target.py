"""A target over IMAP4rev1: SELECT, APPEND with the archived octets, and looking up."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from importer.digest import Digest
from importer.folders import TargetFolders
from importer.mime import MimeDigest
from importer.target import Window
from waystation.errors import ConnectionLostError, MessageTooLargeError, ProtocolError, RefusedError
from waystation.wire import Body, Fetched, Tagged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from typing import BinaryIO, Literal

    from importer.digest import Content
    from importer.mime import Likeness
    from waystation.imap import ImapSession, Selected
    from waystation.wire import Described, Outgoing

B = TypeVar("B", bound=Body)

_STREAMING = Window(messages=2000, octets=16_000_000)
_BY_CONSENT = Window(messages=2, octets=8_000_000)
"""Where each message waits for a consent, the answer to the one before comes in the meantime."""
_ONE_BY_ONE = Window(messages=1, octets=0)
_LITERAL_MINUS = 4096
_GATHERED = 64 * 1024
"""A larger message gains nothing by going with others."""
_WITHOUT_CONSENT = 1024 * 1024
"""Octets that are sent without asking first. A server that takes no larger message says so
before the upload, and does not have to hang up to be rid of it."""
_SMALL = 16 * 1024
"""The same towards a house with rules: what is refused shall not have cost its upload."""
_FIELDS = b"HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)"


class ImapTarget:
    """See ``MailTarget``."""

    def __init__(
        self, session: ImapSession, *, pipelined: bool = True, is_careful: bool = False
    ) -> None:
        self._session = session
        self._is_careful = is_careful
        self._without_consent = _SMALL if is_careful else _WITHOUT_CONSENT
        self._wire_names: dict[tuple[str, ...], bytes] = {}
        self._open = b""
        has_plus = session.has("LITERAL+")
        if not pipelined or is_careful:
            self._window = _ONE_BY_ONE
        elif has_plus or session.has("LITERAL-"):
            self._window = _STREAMING
        else:
            self._window = _BY_CONSENT
        if not has_plus:
            # RFC 7888 section 5
            self._without_consent = _LITERAL_MINUS if session.has("LITERAL-") else 0
        gathers = self._window is _STREAMING and session.has("MULTIAPPEND")
        self._gathers = min(_GATHERED, self._without_consent) if gathers else 0

    def cut(self) -> None:
        """See ``MailTarget``."""
        self._session.cut()

    @property
    def window(self) -> Window:
        """See ``MailTarget``."""
        return self._window

    @property
    def gathers(self) -> int:
        """See ``MailTarget``."""
        return self._gathers

    def append_all(self, messages: Sequence[Outgoing]) -> bytes:
        """See ``MailTarget``."""
        return self._session.wire.send_appends(self._open, messages)

    @property
    def limit(self) -> int | None:
        """See ``MailTarget``."""
        return self._session.append_limit

    @property
    def must_renew(self) -> bool:
        """See ``MailTarget``."""
        return self._session.must_renew

    @property
    def rejected(self) -> int:
        """See ``MailTarget``."""
        return self._session.wire.rejected

    def folders(self) -> TargetFolders:
        """See ``MailTarget``."""
        folders = self._session.folders()
        self._wire_names = {folder.levels: folder.wire_name for folder in folders}
        namespace = self._session.namespace
        return TargetFolders(
            tuple(folders), namespace.delimiter, namespace.prefix, self._is_careful
        )

    def create(self, levels: tuple[str, ...]) -> None:
        """See ``MailTarget``."""
        self._session.create(self._wire_name(levels))

    def open(self, levels: tuple[str, ...], *, read_only: bool = False) -> Selected:
        """See ``MailTarget``."""
        self._open = self._wire_name(levels)
        return self._session.select(self._open, read_only=read_only)

    def describe(self, uids: bytes) -> Iterator[Described]:
        """See ``MailTarget``."""
        return self._session.wire.describe(uids, _FIELDS)

    def uids(self, among: bytes) -> list[int]:
        """See ``MailTarget``."""
        return self._session.uids(b"UID " + among)

    def contents(self, uids: bytes) -> Iterator[tuple[int, Content]]:
        """See ``MailTarget``."""
        for uid, digest in self._bodies(uids, Digest):
            yield uid, digest.content

    def likenesses(self, uids: bytes) -> Iterator[tuple[int, Likeness]]:
        """See ``MailTarget``."""
        for uid, digest in self._bodies(uids, lambda _: MimeDigest()):
            yield uid, digest.likeness

    def remove(self, uids: bytes) -> None:
        """See ``MailTarget``."""
        if not self._session.has("UIDPLUS"):
            raise RefusedError("UID EXPUNGE", "the server has no UIDPLUS (RFC 4315)")
        self.store(uids, "+", "\\Deleted")
        self._session.wire.converse(b"UID EXPUNGE " + uids)

    def _bodies(self, uids: bytes, begin: Callable[[int], B]) -> Iterator[tuple[int, B]]:
        try:
            for answer in self._session.wire.fetch([uids], begin, 1):
                if isinstance(answer, Fetched) and answer.body is not None:
                    yield answer.message.uid, answer.body
                elif isinstance(answer, Tagged) and not answer.is_ok:
                    refused = RefusedError("FETCH", answer.text)
                    if refused.retriable:
                        raise refused
        except MessageTooLargeError as error:
            # What is larger than anything we send is none of ours; the line is of no more use.
            raise ConnectionLostError(self._session.account.host, str(error)) from None

    def append(
        self,
        flags: Iterable[str],
        date: datetime | None,
        message: BinaryIO,
        size: int,
    ) -> bytes:
        """See ``MailTarget``."""
        return self._session.wire.send_append(
            self._open, flags, date, message, size, synchronising=size > self._without_consent
        )

    def store(self, uids: bytes, sign: Literal["+", "-"], flag: str) -> None:
        """See ``MailTarget``."""
        command = b"UID STORE %b %bFLAGS.SILENT (%b)"
        self._session.wire.converse(command % (uids, sign.encode(), flag.encode("ascii")))

    @property
    def last_tag(self) -> bytes:
        """See ``MailTarget``."""
        return self._session.wire.last_tag

    def answer(self) -> Tagged:
        """See ``MailTarget``."""
        return self._session.wire.next_tagged()

    def _wire_name(self, levels: tuple[str, ...]) -> bytes:
        try:
            return self._wire_names.get(levels) or self._session.wire_name(levels)
        except UnicodeError:
            host = self._session.account.host
            raise ProtocolError(host, "a folder's name cannot be written in UTF-7") from None
