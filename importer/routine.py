"""Reasons to change the connection that are no failures."""

from __future__ import annotations

from waystation.errors import WaystationError


class NewConnectionError(WaystationError):
    """It is time for a new connection, between two messages."""

    def __init__(self, why: str) -> None:
        super().__init__(f"a new connection is due: {why}")

    @property
    def retriable(self) -> bool:
        """A new connection is what is wanted."""
        return True
