"""What a message's octets are, told so that it can be known again after a server's tidying.

Many servers store bare LF as CRLF, drop a stray CR, or keep NUL as 0x80; Courier ends the last
line of a message that leaves it open; some servers add a header. Whoever compares content has to
know what is left of it then.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 1024 * 1024
_NUL_AS_0X80 = bytes.maketrans(b"\0", b"\x80")


@dataclass(frozen=True, slots=True)
class Content:
    """Three sha256 in hex, each of which forgives more than the one before."""

    exact: str
    tidy: str
    """Without any CR, without the line ends at its end, and with 0x80 in place of NUL."""
    body: str
    """The same of what follows the header."""


class Digest:
    """Takes octets piece by piece; also a ``Body`` for the wire."""

    def __init__(self, _size: int = 0) -> None:
        self._exact = hashlib.sha256()
        self._tidy = _WithoutEnd()
        self._body = _WithoutEnd()
        # The header ends at an empty line, which may be the first one.
        self._before: bytes | None = b"\n"

    def write(self, piece: memoryview | bytes) -> None:
        """Take the next octets."""
        self._exact.update(piece)
        tidy = bytes(piece).translate(_NUL_AS_0X80, b"\r")
        self._tidy.update(tidy)
        if self._before is not None:
            joined = self._before + tidy
            end = joined.find(b"\n\n")
            if end < 0:
                self._before = joined[-1:]
                return
            self._before = None
            tidy = joined[end + 2 :]
        self._body.update(tidy)

    def discard(self) -> None:
        """Nothing is kept anywhere."""

    @property
    def content(self) -> Content:
        """What was written so far."""
        return Content(self._exact.hexdigest(), self._tidy.hexdigest(), self._body.hexdigest())


class _WithoutEnd:
    """A sha256 of text but for the line ends at its end."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._held_back = 0

    def update(self, text: bytes) -> None:
        """Take the next octets; line ends wait until something follows them."""
        rest = text.rstrip(b"\n")
        if rest:
            while self._held_back:
                some = min(self._held_back, _BLOCK)
                self._hash.update(b"\n" * some)
                self._held_back -= some
            self._hash.update(rest)
        self._held_back += len(text) - len(rest)

    def hexdigest(self) -> str:
        """Return the hash of what was taken so far."""
        return self._hash.hexdigest()


def content_of(path: Path) -> Content:
    """Return the content of a file, which is never held whole.

    Raises:
        OSError: it cannot be read.
    """
    digest = Digest()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.write(block)
    return digest.content
