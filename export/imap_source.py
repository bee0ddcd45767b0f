"""A source over IMAP: EXAMINE and BODY.PEEK only, so that nothing changes on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from export.source import B, KnownAgain
    from waystation.imap import ImapSession
    from waystation.model import Folder, FolderState, RemoteMessage
    from waystation.wire import Described, Fetched, Identified, Tagged


_LONGEST_HEADER = 64 * 1024
"""Octets of a header by which a message is known again; more of it must not fill the memory."""


class ImapSource:
    """See ``MailSource``."""

    def __init__(self, session: ImapSession) -> None:
        self._session = session

    @property
    def prefix(self) -> tuple[str, ...]:
        """See ``MailSource``."""
        return self._session.namespace.prefix

    @property
    def has_message_ids(self) -> bool:
        """See ``MailSource``; only Gmail has them."""
        return self._session.has("X-GM-EXT-1")

    def folders(self) -> list[Folder]:
        """See ``MailSource``."""
        return self._session.folders()

    def states(self, folders: Iterable[Folder]) -> dict[bytes, FolderState]:
        """See ``MailSource``."""
        return self._session.states(folders)

    def open(self, folder: Folder) -> FolderState:
        """See ``MailSource``."""
        return self._session.select(folder.wire_name, read_only=True).state

    def flags(
        self, changed_since: int | None = None
    ) -> Iterator[tuple[int, tuple[str, ...], tuple[str, ...]]]:
        """See ``MailSource``."""
        command = b"UID FETCH 1:* (UID FLAGS)"
        if changed_since is not None:
            command += b" (CHANGEDSINCE %d)" % changed_since
        return self._session.wire.flags(command)

    def uids(self, among: bytes = b"1:*") -> list[int]:
        """See ``MailSource``."""
        return self._session.uids(b"UID " + among)

    def describe(self, uids: bytes) -> Iterator[Described]:
        """See ``MailSource``."""
        return self._session.wire.describe(uids, b"HEADER", _LONGEST_HEADER)

    def outline(self, uids: bytes) -> Iterator[Described]:
        """See ``MailSource``."""
        return self._session.wire.outline(uids)

    def identify(self, uids: bytes) -> Iterator[Identified]:
        """See ``MailSource``."""
        return self._session.wire.identify(uids)

    def fetch(
        self, sets: Iterable[bytes], new_body: Callable[[int], B], depth: int
    ) -> Iterator[Fetched[B] | Tagged]:
        """See ``MailSource``."""
        return self._session.wire.fetch(sets, new_body, depth)

    def knows_again(self, message: RemoteMessage, digest: Callable[[], str]) -> KnownAgain | None:  # noqa: ARG002
        """See ``MailSource``: IMAP's UIDs are the server's own."""
        return None

    def known_by_header(self, uids: Iterable[int]) -> Iterator[tuple[int, KnownAgain]]:  # noqa: ARG002
        """See ``MailSource``; the UIDs are the server's own."""
        return iter(())
