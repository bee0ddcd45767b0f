"""A message as people read it: its header, its texts, and what is attached.

One pass over the file, whatever its size: texts are kept up to a length, the rest is counted. Any
octets have an answer; what is broken is read as mail programs read it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from store.archive import is_message_path
from store.file_names import NewFile, safe_name
from store.headers import all_fields
from store.html_text import text_of_html
from store.maildir import READ, is_within
from store.mime import MimeReader, Part
from store.text import TextDecoder
from waystation.errors import ArchiveError, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from store.archive import Archive
    from store.index import ArchivedMessage
    from store.mime import Sink

LONGEST_TEXT = 1_000_000
"""Characters of one text, and of all texts of a message together, that are kept."""
MOST_PARTS = 1000
"""Parts that are told one by one."""
_LONGEST_HEAD = 1024 * 1024
_LONGEST_INNER_HEAD = 16 * 1024
_BLOCK = 256 * 1024
_PLAIN = "text/plain"
_HTML = "text/html"


class MessageGoneError(ArchiveError):
    """A message's file is not where the archive says."""

    def __init__(self, message: ArchivedMessage, why: str) -> None:
        super().__init__(
            f"{plain(message.folder)} UID {message.uid}: {plain(why)}. "
            "'waystation check ARCHIVE' tells what else is missing."
        )


@dataclass(slots=True)
class Piece:
    """A part of a message, and what is kept of it."""

    part: Part
    size: int = 0
    """Octets, the transfer encoding undone."""
    text: str | None = None
    """Of a text part, as far as it is kept; HTML as it is written."""
    is_cut: bool = False
    """Whether the text is longer than what is kept of it."""
    fields: list[tuple[str, str]] = field(default_factory=list)
    """Of a message in the message: its header, or the beginning of it."""

    @property
    def is_html(self) -> bool:
        """Whether it is HTML."""
        return self.part.media_type == _HTML

    @property
    def readable(self) -> str:
        """The text as people read it, HTML without its tags."""
        return text_of_html(self.text or "") if self.is_html else self.text or ""

    def value(self, name: str) -> str:
        """Return the first field of this name, in lower case, of a message in the message."""
        return _value(self.fields, name)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message says."""

    fields: list[tuple[str, str]]
    """The whole header, in order, decoded; of one beyond 1 MiB the beginning."""
    pieces: list[Piece]
    others: int
    """Parts beyond those."""
    size: int
    """Octets of the file."""
    sha256: str
    """Of the file, in hex."""

    def value(self, name: str) -> str:
        """Return the first field of this name, in lower case; empty where there is none."""
        return _value(self.fields, name)

    def texts(self, preferred: str = _PLAIN) -> list[Piece]:
        """Return what is to be read, in order.

        Of several ways to say the same there is one: that with a text of the media type
        ``preferred``, else the last that has a text at all (RFC 2046 section 5.1.4).
        """
        return [piece for piece in _of_one_way(self.pieces, preferred) if piece.part.is_text]

    def attachments(self) -> list[Piece]:
        """Return what is no text to be read, in order: files, images, messages."""
        return [piece for piece in self.pieces if not piece.part.is_text]

    def with_content_id(self, content_id: str) -> Piece | None:
        """Return the part that others refer to by this id (RFC 2392), or None."""
        return next((each for each in self.pieces if each.part.content_id == content_id), None)


def open_message(archive: Archive, message: ArchivedMessage) -> BinaryIO:
    """Open a message's file, wherever it lies now; nothing outside the archive is opened.

    Raises:
        MessageGoneError: it is not there, or cannot be opened.
    """
    if message.state != "archived":
        reason = f" ({message.reason})" if message.reason else ""
        raise MessageGoneError(message, f"the message is not archived, but {message.state}{reason}")
    path = archive.find(message)
    if path is None:
        raise MessageGoneError(message, "its file is missing")
    folder, sub, name = path.parent.parent, path.parent.name, path.name
    try:
        directory = folder.relative_to(archive.path).as_posix()
    except ValueError:
        directory = ".."
    if not is_within(archive.path, directory) or not is_message_path(f"{sub}/{name}"):
        raise MessageGoneError(message, "its row leads out of the archive")
    try:
        number = os.open(path, READ)
    except OSError as error:
        raise MessageGoneError(message, error.strerror or "it cannot be opened") from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise MessageGoneError(message, "something else lies in its place")
    return os.fdopen(number, "rb", buffering=0)


def read(file: BinaryIO, longest_text: int = LONGEST_TEXT) -> Reading:
    """Read a message from the beginning of its file.

    Raises:
        OSError: it cannot be read.
    """
    reader = _Reader(longest_text)
    mime = MimeReader(reader)
    whole = sha256()
    head = bytearray()
    size = 0
    while block := file.read(_BLOCK):
        if len(head) < _LONGEST_HEAD:
            head += block[: _LONGEST_HEAD - len(head)]
        whole.update(block)
        size += len(block)
        mime.write(block)
    mime.close()
    fields = all_fields(bytes(head))
    return Reading(fields, reader.pieces, reader.others, size, whole.hexdigest())


def part_octets(file: BinaryIO, number: str) -> Iterator[bytes]:
    """Yield the octets of one part, its transfer encoding undone, as the file is read.

    Raises:
        OSError: it cannot be read.
    """
    wanted = _Wanted(number)
    mime = MimeReader(wanted)
    while not wanted.is_over and (block := file.read(_BLOCK)):
        mime.write(block)
        yield from wanted.taken()
    if not wanted.is_over:
        mime.close()
        yield from wanted.taken()


def save_parts(file: BinaryIO, pieces: Sequence[Piece], directory: Path) -> list[Path]:
    """Save parts as new files, in one pass over the message's file; return where, in order.

    Raises:
        StorageError: one cannot be written; it leaves no half of itself.
        OSError: the message cannot be read.
    """
    saving = _Saving({piece.part.number: file_name_of(piece) for piece in pieces}, directory)
    mime = MimeReader(saving)
    try:
        while block := file.read(_BLOCK):
            mime.write(block)
        mime.close()
    except BaseException:
        saving.give_up()
        raise
    return [saving.files[piece.part.number].path for piece in pieces]


def file_name_of(piece: Piece) -> str:
    """Return a harmless name for a part as a file."""
    end = _ENDS.get(piece.part.media_type, "")
    otherwise = f"part-{piece.part.number}{end or '.bin'}"
    if piece.part.file_name:
        return safe_name(piece.part.file_name, otherwise)
    subject = piece.value("subject")
    return safe_name(f"{subject[:80]}{end}", otherwise) if subject else otherwise


class _Reader:
    """Keeps the beginning of the texts, and counts the rest."""

    def __init__(self, longest_text: int) -> None:
        self.pieces: list[Piece] = []
        self.others = 0
        self.room = longest_text

    def part(self, part: Part) -> Sink | None:
        if len(self.pieces) >= MOST_PARTS:
            self.others += 1
            return None
        piece = Piece(part)
        self.pieces.append(piece)
        if part.is_text:
            return _Text(self, piece)
        return _Counted(self, piece)

    def forget(self, piece: Piece) -> None:
        self.pieces.remove(piece)


class _Counted:
    def __init__(self, reader: _Reader, piece: Piece) -> None:
        self._reader = reader
        self._piece = piece
        self._head = bytearray()

    def write(self, octets: bytes) -> None:
        self._piece.size += len(octets)
        if self._piece.part.is_message:
            self._head += octets[: _LONGEST_INNER_HEAD - len(self._head)]

    def close(self) -> None:
        self._piece.fields = all_fields(bytes(self._head))

    def discard(self) -> None:
        self._reader.forget(self._piece)


class _Text:
    def __init__(self, reader: _Reader, piece: Piece) -> None:
        self._reader = reader
        self._piece = piece
        self._decoder = TextDecoder(piece.part.charset)
        self._texts: list[str] = []

    def write(self, octets: bytes) -> None:
        self._piece.size += len(octets)
        if not self._piece.is_cut:
            self._take(self._decoder.decode(octets))

    def close(self) -> None:
        if not self._piece.is_cut:
            self._take(self._decoder.end())
        self._piece.text = "".join(self._texts)

    def discard(self) -> None:
        self._reader.room += sum(map(len, self._texts))
        self._reader.forget(self._piece)

    def _take(self, text: str) -> None:
        if len(text) > self._reader.room:
            text = text[: self._reader.room]
            self._piece.is_cut = True
        self._reader.room -= len(text)
        self._texts.append(text)


class _Wanted:
    """Takes one part only."""

    def __init__(self, number: str) -> None:
        self._number = number
        self._pieces: list[bytes] = []
        self.is_over = False

    def part(self, part: Part) -> Sink | None:
        return self if part.number == self._number and not self.is_over else None

    def write(self, octets: bytes) -> None:
        self._pieces.append(octets)

    def close(self) -> None:
        self.is_over = True

    def discard(self) -> None:
        self._pieces.clear()

    def taken(self) -> list[bytes]:
        taken, self._pieces = self._pieces, []
        return taken


class _Saving:
    """Writes the parts that have a name to files."""

    def __init__(self, names: dict[str, str], directory: Path) -> None:
        self.files: dict[str, NewFile] = {}
        self._names = names
        self._directory = directory
        self._open: list[_Saved] = []

    def part(self, part: Part) -> Sink | None:
        name = self._names.get(part.number)
        if name is None or part.is_text:
            return None
        new = self.files[part.number] = NewFile(self._directory, name)
        self._open.append(_Saved(new, self._open))
        return self._open[-1]

    def give_up(self) -> None:
        for saved in self._open:
            saved.file.discard()


class _Saved:
    def __init__(self, file: NewFile, open_ones: list[_Saved]) -> None:
        self.file = file
        self._open = open_ones

    def write(self, octets: bytes) -> None:
        self.file.write(octets)

    def close(self) -> None:
        self.file.close()
        self._open.remove(self)

    def discard(self) -> None:
        self.file.discard()
        self._open.remove(self)


def _value(fields: Sequence[tuple[str, str]], name: str) -> str:
    return next((value for found, value in fields if found.lower() == name), "")


def _of_one_way(pieces: list[Piece], preferred: str) -> list[Piece]:
    """Return the pieces without those that say the same in another way."""
    chosen: dict[str, tuple[bool, str]] = {}
    for piece in pieces:
        if piece.part.is_text:
            is_preferred = piece.part.media_type == preferred
            for alternatives, way in _ways(piece.part):
                if not chosen.get(alternatives, (False, ""))[0]:
                    chosen[alternatives] = (is_preferred, way)
    return [
        piece
        for piece in pieces
        if all(chosen.get(group, (True, way))[1] == way for group, way in _ways(piece.part))
    ]


def _ways(part: Part) -> Iterator[tuple[str, str]]:
    """Yield the number of each multipart/alternative around a part, and which way it is of."""
    components = part.number.split(".")
    outside = len(components) - len(part.multiparts)
    for level, subtype in enumerate(part.multiparts, outside):
        if subtype == "alternative":
            yield ".".join(components[:level]), components[level]


_ENDS = {
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "message/global": ".eml",
    "message/rfc822": ".eml",
    "text/calendar": ".ics",
    "text/html": ".html",
    "text/plain": ".txt",
    "text/vcard": ".vcf",
}
"""How the names of files end that have none."""
