"""What is done on the disk beside the thread that receives, in the order it was asked for.

To create a file costs the kernel as much time as it takes us to read the message: so small ones
are handed over here, and the two go on at once. No more than a mebibyte waits at a time.
"""

from __future__ import annotations

from collections import deque
from threading import Condition, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST = 64 * 1024
"""Octets of a message that may be handed over; what is larger is written as it arrives."""
_GROUP = 192 * 1024
_MOST = 100
"""A group is handed over when it has so many octets or jobs: to wake a thread costs as well."""
_GROUPS = 3
"""How many may wait or be worked on. With the one that is filled: a mebibyte."""


class Writer:
    """A thread that does one job after the other; it begins with the first. Use from one thread."""

    def __init__(self) -> None:
        self._group: list[Callable[[], object]] = []
        self._octets = 0
        self._thread: Thread | None = None
        # What follows belongs to both threads.
        self._changed = Condition()
        self._groups: deque[list[Callable[[], object]]] = deque()
        self._is_busy = False
        self._is_over = False
        self._error: BaseException | None = None

    def do(self, job: Callable[[], object], octets: int = 0) -> None:
        """Have a job done that holds so many octets, after all that was asked for before.

        Raises:
            StorageError: an earlier one failed; it and all after it, this one included, will
                not be done.
        """
        self._group.append(job)
        self._octets += octets
        if self._octets >= _GROUP or len(self._group) >= _MOST:
            self.hand_over()

    def flush(self) -> None:
        """Wait until all is done.

        Raises:
            StorageError: a job failed; it and all after it will not be done.
        """
        if self._group:
            self.hand_over()
        with self._changed:
            self._changed.wait_for(lambda: not self._groups and not self._is_busy)
            self._raise_once()

    def close(self) -> None:
        """End the thread; what waits is not done any more."""
        with self._changed:
            self._is_over = True
            self._groups.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def hand_over(self) -> None:
        """Have what was asked for begun, without waiting for more.

        Raises:
            StorageError: as with ``do``.
        """
        group, self._group, self._octets = self._group, [], 0
        if self._thread is None:
            self._thread = Thread(target=self._work, name="waystation writer", daemon=True)
            self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: len(self._groups) + self._is_busy < _GROUPS)
            self._raise_once()
            self._groups.append(group)
            self._changed.notify_all()

    def _raise_once(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            self._groups.clear()
            raise error

    def _work(self) -> None:
        while True:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._groups or self._is_over)
                if self._is_over:
                    return
                group = self._groups.popleft()
                self._is_busy = True
            try:
                for job in group:
                    job()
            except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
                with self._changed:
                    self._error = error
                    self._groups.clear()
