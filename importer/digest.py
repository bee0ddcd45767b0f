"""The sha256 of a message as it is, and as it would be with CRLF at each line's end.

Many servers store bare LF as CRLF. Whoever compares content has to know both.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BARE_LF = re.compile(rb"(?<!\r)\n")
_BLOCK = 1024 * 1024


class Digest:
    """Takes octets piece by piece; also a ``Body`` for the wire."""

    def __init__(self, _size: int = 0) -> None:
        self.size = 0
        self.crlf_size = 0
        self._exact = hashlib.sha256()
        self._crlf = hashlib.sha256()
        self._last = b""

    def write(self, piece: memoryview | bytes) -> None:
        """Take the next octets."""
        self._exact.update(piece)
        self.size += len(piece)
        octets = bytes(piece)
        # Whether a LF at the border is bare depends on the octet before it.
        if octets.startswith(b"\n") and self._last == b"\r":
            normalised = b"\n" + _BARE_LF.sub(b"\r\n", octets[1:])
        else:
            normalised = _BARE_LF.sub(b"\r\n", octets)
        self._crlf.update(normalised)
        self.crlf_size += len(normalised)
        self._last = octets[-1:] or self._last

    def discard(self) -> None:
        """Nothing is kept anywhere."""

    @property
    def values(self) -> tuple[str, str]:
        """The sha256 of the octets as they are, and with CRLF line ends, in hex."""
        return self._exact.hexdigest(), self._crlf.hexdigest()


def digest_of(path: Path) -> Digest:
    """Return the digest of a file, which is never held whole."""
    digest = Digest()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.write(block)
    return digest
