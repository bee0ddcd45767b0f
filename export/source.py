"""What a source can be asked. IMAP and POP3 answer it; the twin in the tests does so too."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from waystation.wire import Body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from store.index import ArchivedMessage
    from waystation.model import Folder, FolderState, RemoteMessage
    from waystation.wire import Described, Fetched, Identified, Tagged

B = TypeVar("B", bound=Body)


class KnownAgain(NamedTuple):
    """A message that was fetched as new, and is archived already."""

    row: ArchivedMessage
    has_new_name: bool
    """Whether the source will from now on name it so; else it never names it at all."""


class MailSource(Protocol):
    """A mailbox that is only ever read: no flag is set, nothing is taken, nothing removed.

    Every method may raise ``ConnectionLostError`` or ``ProtocolError``; the source is then of
    no more use, and a new one is opened. One folder is open at a time.
    """

    @property
    def prefix(self) -> tuple[str, ...]:
        """The levels of the namespace prefix in front of every folder but INBOX."""

    @property
    def has_message_ids(self) -> bool:
        """Whether a message in several folders can be known as one (``identify``)."""

    def folders(self) -> list[Folder]:
        """Return every folder that is listed, those without messages included."""

    def states(self, folders: Iterable[Folder]) -> dict[bytes, FolderState]:
        """Return the state of folders by their wire names; a refused one is missing."""

    def open(self, folder: Folder) -> FolderState:
        """Open a folder for reading only.

        Raises:
            RefusedError: the server does not open it.
        """

    def flags(
        self, changed_since: int | None = None
    ) -> Iterator[tuple[int, tuple[str, ...], tuple[str, ...]]]:
        """Yield UID, flags and keywords of the open folder's messages.

        With ``changed_since`` only of those changed after that HIGHESTMODSEQ (RFC 7162).
        """

    def uids(self, among: bytes = b"1:*") -> list[int]:
        """Return which of a UID set the open folder holds."""

    def describe(self, uids: bytes) -> Iterator[Described]:
        """Yield the description of each message of a UID set, with its header's beginning."""

    def outline(self, uids: bytes) -> Iterator[Described]:
        """Yield flags, INTERNALDATE and size of each message of a UID set; the header is empty."""

    def identify(self, uids: bytes) -> Iterator[Identified]:
        """Yield each message of a UID set with the number that it has in all its folders."""

    def fetch(
        self, sets: Iterable[bytes], new_body: Callable[[int], B], depth: int
    ) -> Iterator[Fetched[B] | Tagged]:
        """Yield each message of the UID sets with its body (see ``Wire.fetch``)."""

    def knows_again(self, message: RemoteMessage, digest: Callable[[], str]) -> KnownAgain | None:
        """Return the archived message that this is, fetched just now, under another name.

        Only where UIDs are not the server's own: POP3's unique-ids may change, or be missing.
        ``digest`` gives its sha256, in hex. Each archived message is given once in a session.
        """

    def known_by_header(self, uids: Iterable[int]) -> Iterator[tuple[int, KnownAgain]]:
        """Yield which of these UIDs are archived messages under another name; none is fetched.

        Only where ``knows_again`` means something; what stays in doubt is left to it.
        """
