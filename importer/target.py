"""What a target can be asked. IMAP answers it today; the twin in the tests answers it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from importer.digest import Content
    from importer.folders import TargetFolders
    from importer.mime import Likeness
    from waystation.imap import Selected
    from waystation.wire import Described, Outgoing, Tagged


@dataclass(frozen=True, slots=True)
class Window:
    """How many messages, and octets of them, may be sent before their answers are in."""

    messages: int
    octets: int


class LookingTarget(Protocol):
    """A mailbox that is looked into; ``remove`` is for a rollback alone.

    One folder is open at a time.
    """

    def folders(self) -> TargetFolders:
        """Return what is there, and how names are built."""

    def open(self, levels: tuple[str, ...], *, read_only: bool = False) -> Selected:
        """Open a folder.

        Raises:
            RefusedError: the server does not open it.
        """

    def describe(self, uids: bytes) -> Iterator[Described]:
        """Yield the description of each message of a UID set in the open folder."""

    def uids(self, among: bytes) -> list[int]:
        """Return which of a UID set the open folder holds, ascending."""

    def contents(self, uids: bytes) -> Iterator[tuple[int, Content]]:
        """Yield UID and content of the messages of a UID set, as far as they are handed out."""

    def likenesses(self, uids: bytes) -> Iterator[tuple[int, Likeness]]:
        """Yield UID and decoded content of the messages of a UID set, as far as handed out."""

    def remove(self, uids: bytes) -> None:
        """Remove exactly the messages of a UID set from the open folder, for good.

        Raises:
            RefusedError: the server does not do it, or cannot without removing others.
        """


class MailTarget(LookingTarget, Protocol):
    """A mailbox that messages are appended to.

    Every method may raise ``ConnectionLostError`` or ``ProtocolError``; the target is then of
    no more use, and a new one is opened.
    """

    def cut(self) -> None:
        """Break the connection, from any thread: whoever waits for an answer shall not."""

    @property
    def window(self) -> Window:
        """What this target bears; one message means: send, wait, send."""

    @property
    def limit(self) -> int | None:
        """Octets of the largest message it takes (RFC 7889); None where it does not say."""

    @property
    def must_renew(self) -> bool:
        """Whether what we signed in with is about to expire: time for a new connection."""

    @property
    def rejected(self) -> int:
        """How many commands were answered BAD on this connection."""

    def create(self, levels: tuple[str, ...]) -> None:
        """Create a folder; that it exists already is success.

        Raises:
            RefusedError: it is not there afterwards.
        """

    @property
    def gathers(self) -> int:
        """Octets of the largest message that may go with others in one command.

        0 where each message is a command of its own.
        """

    def append_all(self, messages: Sequence[Outgoing]) -> bytes:
        """Begin to append several messages to the open folder, all or none; return the tag."""

    def append(
        self,
        flags: Iterable[str],
        date: datetime | None,
        message: BinaryIO,
        size: int,
    ) -> bytes:
        """Begin to append exactly these octets to the open folder; return the command's tag."""

    def store(self, uids: bytes, sign: Literal["+", "-"], flag: str) -> None:
        """Give a flag to the messages of a UID set in the open folder, or take it away.

        Raises:
            RefusedError: the server does not do it.
        """

    @property
    def last_tag(self) -> bytes:
        """The tag of the last ``append`` or ``append_all`` that was begun.

        Also where the connection broke in it.
        """

    def answer(self) -> Tagged:
        """Return the next answer to an ``append`` or an ``append_all``."""
