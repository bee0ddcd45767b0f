"""When a run that lost its connection takes up a new one, and when it gives up."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from importer.routine import NewConnectionError
from waystation.errors import (
    ConnectionLostError,
    IdentityBusyError,
    NotConnectedError,
    ProtocolError,
    RefusedError,
    SessionExpiredError,
    UnreachableError,
    WaystationError,
)

if TYPE_CHECKING:
    from importer.job import Job

_MINUTE = 60.0
_NOT_CONNECTED = (1.0, 5.0, 15.0)
"""Waits for a mailbox that lets us in and does not open, in units of ``HouseRules.lateness``:
1, 5 and 15 minutes. Too many connections in a short time have this end, and it passes."""


@dataclass(slots=True)
class Connecting:
    """The connections of one run, one after the other."""

    job: Job
    has_connected: bool = False
    """What fails before we were in for the first time fails for good, unless it is Exchange that
    says that it passes: its back ends are away for moments at any time."""
    _steps_before: int = 0
    _begun: deque[float] = field(default_factory=deque)
    _not_connected: int = 0

    def begin(self) -> None:
        """Wait until a connection may be taken up."""
        job, house = self.job, self.job.options.house
        if house is not None and len(self._begun) >= house.connections_a_minute:
            rest = self._begun.popleft() + _MINUTE - job.patience.clock()
            if rest > 0:
                job.wait(rest, "so many connections in a minute are not taken well")
        self._begun.append(job.patience.clock())
        self._steps_before = job.steps

    def failed(self, error: WaystationError) -> None:
        """Wait as long as the end of a connection demands; return to take up the next.

        Raises:
            WaystationError: ``error`` itself, where a new connection is no use.
        """
        job, house = self.job, self.job.options.house
        has_progressed = job.steps > self._steps_before
        if has_progressed:
            self._not_connected = 0
        if isinstance(error, NewConnectionError):
            return
        if not self.has_connected and not (house is not None and _passes(error)):
            raise error
        if isinstance(error, NotConnectedError) and house is not None:
            if self._not_connected >= len(_NOT_CONNECTED):
                raise error
            job.wait(_NOT_CONNECTED[self._not_connected] * house.lateness, str(error))
            self._not_connected += 1
        elif error.backoff is not None and not isinstance(error, IdentityBusyError):
            job.obey(error.backoff, str(error))
        elif error.backoff is not None:
            job.wait(error.backoff, str(error))  # it says nothing of the mailbox's budget
        elif isinstance(error, SessionExpiredError) and has_progressed:
            return  # routine: a token has come to its end
        elif error.retriable or isinstance(error, ProtocolError | UnreachableError):
            job.patience.wait(error, has_progressed=has_progressed)
        else:
            raise error


def _passes(error: WaystationError) -> bool:
    """Return whether the server itself, having been reached, gives a reason that passes."""
    return error.retriable and isinstance(error, ConnectionLostError | RefusedError)
