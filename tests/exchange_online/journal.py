"""The log of all that went over the wire, without secrets."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MOST = 200_000
_JWT = re.compile(rb"ey[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]+)*")
_STRUCK_OUT = b"<struck out>"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; octets of the wire are shown as Latin-1."""

    at: float
    connection: int
    user: str
    what: str
    """``C`` from the client, ``S`` from the server, ``-`` an event."""
    text: str


class Journal:
    """A list of events, the oldest given up after 200,000, and a file of JSON lines if wished."""

    def __init__(self, clock: Callable[[], float], file: Path | None = None) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=_MOST)
        self._file = file.open("a", encoding="utf-8") if file else None

    def __iter__(self) -> Iterator[Event]:
        with self._lock:
            return iter(list(self._events))

    def __len__(self) -> int:
        return len(self._events)

    def write(self, connection: int, user: str, what: str, octets: bytes) -> None:
        """Add an event; what looks like a token is struck out."""
        text = _JWT.sub(_STRUCK_OUT, octets).decode("latin-1")
        event = Event(self._clock(), connection, user, what, text)
        with self._lock:
            self._events.append(event)
            if self._file is not None and not self._file.closed:
                self._file.write(json.dumps(asdict(event)) + "\n")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
