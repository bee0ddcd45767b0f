"""The decoded leaves of a message, known by their sha256, from octets that come piece by piece.

A server that keeps properties and not octets makes the MIME anew when it hands a message out: other
boundaries, other transfer encodings, other part headers. What is left are the decoded texts and
attachments. Any octets have an answer, the same one however they are cut into pieces, and some
hundred KB are held at the most.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from store.mime import MimeReader
from store.text import TextDecoder

if TYPE_CHECKING:
    from store.mime import Part, Sink

_MOST_LEAVES = 10_000


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text or an attachment."""

    kind: Literal["text", "attachment"]
    name: str
    """The media type of a text; the file name of an attachment, or nothing."""
    sha256: str
    """Of the text in UTF-8, NFC, each run of white space taken as one space, none at the ends; of
    an attachment's octets, with CRLF as line end where the encoding knows lines."""
    size: int
    """Octets of what was hashed."""
    is_alternative: bool = False
    """Whether it is one of several ways to say the same (multipart/alternative)."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a message consists of, in order."""

    leaves: tuple[Leaf, ...]
    """After the first 10,000 one more stands for all others."""


class MimeDigest:
    """Takes a message piece by piece; also a ``Body`` for the wire."""

    def __init__(self, _size: int = 0) -> None:
        self._leaves = _Leaves()
        self._reader = MimeReader(_Digester(self._leaves))
        self._likeness: Likeness | None = None

    def write(self, piece: memoryview | bytes) -> None:
        """Take the next octets."""
        self._reader.write(piece)

    def discard(self) -> None:
        """Nothing is kept anywhere."""

    @property
    def likeness(self) -> Likeness:
        """What was written, which ends the message."""
        if self._likeness is None:
            self._reader.close()
            self._likeness = Likeness(self._leaves.all)
        return self._likeness


class _Digester:
    """Makes a leaf of each part."""

    def __init__(self, leaves: _Leaves) -> None:
        self._open = [leaves]
        """Of the message and of those in it that are not over."""

    def part(self, part: Part) -> Sink:
        """Return what hashes a part."""
        if part.is_message:
            self._open.append(_Leaves())
            return _Enclosed(self._open)
        leaves = self._open[-1]
        if part.is_text:
            return _Text(leaves, part)
        attachment = _Attachment(leaves, part)
        return attachment if part.encoding == "base64" else _Crlf(attachment)


class _Leaves:
    def __init__(self) -> None:
        self._first: list[Leaf] = []
        self._others = 0
        self._rolling = hashlib.sha256()

    def add(self, leaf: Leaf) -> None:
        if len(self._first) < _MOST_LEAVES:
            self._first.append(leaf)
            return
        self._others += 1
        self._rolling.update(f"{leaf.kind} {leaf.sha256}\n".encode())

    @property
    def all(self) -> tuple[Leaf, ...]:
        if not self._others:
            return tuple(self._first)
        sha256 = self._rolling.hexdigest()
        return (*self._first, Leaf("attachment", "all other parts", sha256, self._others))


class _Enclosed:
    """A message in a message, which is what its parts are."""

    def __init__(self, open_ones: list[_Leaves]) -> None:
        self._open = open_ones

    def write(self, octets: bytes) -> None:
        pass

    def close(self) -> None:
        inner = self._open.pop()
        for leaf in inner.all:
            self._open[-1].add(leaf)

    def discard(self) -> None:
        self._open.pop()


class _Attachment:
    def __init__(self, leaves: _Leaves, part: Part) -> None:
        self._leaves = leaves
        self._part = part
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, octets: bytes) -> None:
        self._hash.update(octets)
        self._size += len(octets)

    def close(self) -> None:
        sha256 = self._hash.hexdigest()
        part = self._part
        self._leaves.add(
            Leaf("attachment", part.file_name, sha256, self._size, part.is_alternative)
        )

    def discard(self) -> None:
        pass


class _Text:
    def __init__(self, leaves: _Leaves, part: Part) -> None:
        self._leaves = leaves
        self._part = part
        self._decoder = TextDecoder(part.charset)
        self._has_words = False
        self._is_in_word = False
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, octets: bytes) -> None:
        self._take(self._decoder.decode(octets))

    def close(self) -> None:
        self._take(self._decoder.end())
        sha256 = self._hash.hexdigest()
        part = self._part
        self._leaves.add(Leaf("text", part.media_type, sha256, self._size, part.is_alternative))

    def discard(self) -> None:
        pass

    def _take(self, text: str) -> None:
        words = text.split()
        if not words:
            self._is_in_word = self._is_in_word and not text
            return
        joined = " ".join(words)
        if self._has_words and (not self._is_in_word or text[0].isspace()):
            joined = " " + joined
        self._has_words = True
        self._is_in_word = not text[-1].isspace()
        octets = joined.encode("utf-8", "surrogatepass")
        self._hash.update(octets)
        self._size += len(octets)


class _Crlf:
    """Makes every line end CRLF, as on the wire."""

    def __init__(self, content: Sink) -> None:
        self._content = content
        self._held = b""

    def write(self, octets: bytes) -> None:
        octets = self._held + octets
        self._held = b"\r" if octets.endswith(b"\r") else b""
        octets = octets[: len(octets) - len(self._held)]
        self._content.write(octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    def close(self) -> None:
        self._content.write(self._held)
        self._content.close()

    def discard(self) -> None:
        self._content.discard()
