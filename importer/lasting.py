"""A target to look at for longer than one connection lasts.

What only looks can be asked again: where the connection breaks, the token runs out or the server
wants a pause, a new one takes over, with the same folder open.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self, TypeVar

from waystation.errors import ProtocolError, SessionExpiredError, UnreachableError, WaystationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from importer.digest import Content
    from importer.folders import TargetFolders
    from importer.mime import Likeness
    from importer.target import MailTarget
    from waystation.imap import Selected
    from waystation.progress import Progress
    from waystation.retry import Patience
    from waystation.wire import Described

T = TypeVar("T")


class LastingTarget:
    """A ``LookingTarget`` of one connection after the other. A context manager.

    Every method raises what a new connection cannot mend.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[MailTarget]],
        progress: Progress,
        patience: Patience,
    ) -> None:
        self._connect = connect
        self._progress = progress
        self._patience = patience
        self._stack = ExitStack()
        self._target: MailTarget | None = None
        self._open: tuple[tuple[str, ...], bool] | None = None
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    def folders(self) -> TargetFolders:
        """See ``LookingTarget``."""
        return self._ask(lambda target: target.folders())

    def open(self, levels: tuple[str, ...], *, read_only: bool = False) -> Selected:
        """See ``LookingTarget``."""
        self._open = None
        selected = self._ask(lambda target: target.open(levels, read_only=read_only))
        self._open = (levels, read_only)
        return selected

    def describe(self, uids: bytes) -> Iterator[Described]:
        """See ``LookingTarget``. Of an open range, however long, only one is held at a time."""
        if not uids.endswith(b":*"):
            return iter(self._ask(lambda target: list(target.describe(uids))))
        return self._describe_from(int(uids[:-2]))

    def _describe_from(self, lowest: int) -> Iterator[Described]:
        """Yield what lies at a UID and above; a new connection goes on where the last one ended."""
        before = self._done
        while True:
            try:
                for described in self._connected().describe(b"%d:*" % lowest):
                    # RFC 9051 section 6.4.9: n:* holds the last message, however low its UID is.
                    if described.message.uid >= lowest:
                        lowest = described.message.uid + 1
                        self._done += 1
                        yield described
            except WaystationError as error:
                self._wait(error, has_progressed=self._done > before)
                before = self._done
            else:
                return

    def uids(self, among: bytes) -> list[int]:
        """See ``LookingTarget``."""
        return self._ask(lambda target: target.uids(among))

    def contents(self, uids: bytes) -> Iterator[tuple[int, Content]]:
        """See ``LookingTarget``."""
        return iter(self._ask(lambda target: list(target.contents(uids))))

    def likenesses(self, uids: bytes) -> Iterator[tuple[int, Likeness]]:
        """See ``LookingTarget``."""
        return iter(self._ask(lambda target: list(target.likenesses(uids))))

    def remove(self, uids: bytes) -> None:
        """See ``LookingTarget``; to remove what is gone already does nothing."""
        self._ask(lambda target: target.remove(uids))

    def _ask(self, question: Callable[[MailTarget], T]) -> T:
        before = self._done
        while True:
            try:
                answer = question(self._connected())
            except WaystationError as error:
                self._wait(error, has_progressed=self._done > before)
                before = self._done
            else:
                self._done += 1
                return answer

    def _connected(self) -> MailTarget:
        if self._target is not None and self._target.must_renew:
            self._drop()
        if self._target is None:
            target = self._stack.enter_context(self._connect())
            target.folders()  # so that folders are opened by the names the server gave them
            if self._open is not None:
                levels, read_only = self._open
                target.open(levels, read_only=read_only)
            self._target = target
        return self._target

    def _wait(self, error: WaystationError, *, has_progressed: bool) -> None:
        """Wait as the error demands, and give the connection up; raise what does not pass."""
        passes = error.retriable or isinstance(error, ProtocolError | UnreachableError)
        if not passes or not self._done:
            raise error
        self._drop()
        if error.backoff is not None:
            self._progress.waiting(error.backoff, str(error))
            self._patience.sleep(error.backoff)
        elif not (isinstance(error, SessionExpiredError) and has_progressed):
            self._patience.wait(error, has_progressed=has_progressed)

    def _drop(self) -> None:
        self._target = None
        stack, self._stack = self._stack, ExitStack()
        stack.close()
