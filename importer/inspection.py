"""What there is about a message that a strict server may not take, found in one reading.

The work is done on whole blocks, not on lines: every message that is sent is inspected. The MIME
structure is looked at only where a word in the message makes it necessary.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from importer.mending.headers import NAME, RECEIPTS
from importer.mending.line_ends import LineEnds
from importer.mending.parts import Kind, regions
from importer.mending.source import Source
from store.dates import instant, received_instant

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a message is like."""

    size: int
    """Octets of the file."""
    longest_line: int
    """Octets of the longest line, header included, without its line end."""
    has_nul: bool
    is_crlf: bool
    """Whether every line ends in CRLF, the last one too."""
    crlf_size: int
    """Octets once every line ends in CRLF."""
    receipts: tuple[str, ...]
    """Names of the fields that ask for receipts, as written."""
    has_broken_header: bool
    """Whether a line of the header is neither a field nor the continuation of one."""
    has_8bit_header: bool
    is_signed: bool
    is_encrypted: bool
    received: datetime | None
    """The instant of the topmost Received field."""
    sent: datetime | None
    """The instant of the Date field."""


def inspect(file: BinaryIO) -> Inspection:
    """Return what a message is like; the file is read from its start and left anywhere.

    Raises:
        OSError: it cannot be read.
    """
    file.seek(0)
    ends = LineEnds()
    head = _Head()
    words = _Words()
    crlf_size = 0
    has_nul = False
    for block in ends.blocks(file):
        crlf_size += len(block)
        has_nul = has_nul or b"\0" in block
        words.look(block)
        if head.is_open:
            head.take(block)
    head.finish()
    is_signed, is_encrypted = words.is_signed, words.is_encrypted
    if words.may_be_protected:
        if ends.has_lone_cr:
            # few agree where the parts of such a message are: it is not to be touched
            is_signed, is_encrypted = True, is_encrypted
        else:
            parts = _protection(Source(file))
            is_signed, is_encrypted = is_signed or parts[0], is_encrypted or parts[1]
    return Inspection(
        size=ends.size,
        longest_line=ends.longest,
        has_nul=has_nul,
        is_crlf=ends.is_crlf,
        crlf_size=crlf_size,
        receipts=tuple(head.receipts),
        has_broken_header=head.has_broken,
        has_8bit_header=head.has_8bit,
        is_signed=is_signed,
        is_encrypted=is_encrypted,
        received=head.received,
        sent=head.sent,
    )


class _Words:
    """Words by which protected mail is known."""

    _BEFORE = 1024
    """Octets of the block before that are looked at again, for words that are cut in two."""

    def __init__(self) -> None:
        self.is_signed = False
        self.is_encrypted = False
        self.may_be_protected = False
        """Whether a name of a protected type stands anywhere."""
        self._tail = b"\n"

    def look(self, block: bytes) -> None:
        """Take the next block."""
        text = self._tail + block
        self._tail = text[-self._BEFORE :]
        if b"-" not in text:
            return  # nothing but base64
        if b"-----BEGIN PGP " in text:
            # RFC 9580 section 6.2; and section 7 for what is signed in clear
            self.is_signed = self.is_signed or b"\n-----BEGIN PGP SIGNED MESSAGE-----" in text
            self.is_encrypted = self.is_encrypted or b"\n-----BEGIN PGP MESSAGE-----" in text
        if not self.may_be_protected:
            text = text.lower()
            self.may_be_protected = b"content-type" in text and any(
                name in text for name in _PROTECTED_NAMES
            )


_PROTECTED_NAMES = (b"multipart/signed", b"multipart/encrypted", b"pkcs7-mime")
_PKCS7 = frozenset({b"application/pkcs7-mime", b"application/x-pkcs7-mime"})


def _protection(source: Source) -> tuple[bool, bool]:
    """Return whether anything in a message is signed, and whether anything is encrypted."""
    is_signed = is_encrypted = False
    for region in regions(source):
        if region.kind is not Kind.HEADER:
            continue
        entity = region.entity
        is_signed_type = entity.type == b"multipart/signed"
        if entity.type in _PKCS7:
            # RFC 8551 section 3.2.2: signed-data, enveloped-data, compressed-data, ...
            is_signed_type = b"signed-data" in entity.content_type.lower()
            is_encrypted = is_encrypted or not is_signed_type
        is_signed = is_signed or is_signed_type
        is_encrypted = is_encrypted or entity.type == b"multipart/encrypted"
    return is_signed, is_encrypted


class _Head:
    """Reads the header at the top, whose lines end in CRLF, in chunks of whole lines."""

    _ENOUGH = 256 * 1024

    def __init__(self) -> None:
        self.is_open = True
        self.receipts: list[str] = []
        self.has_broken = False
        self.has_8bit = False
        self.received: datetime | None = None
        self.sent: datetime | None = None
        self._seen: set[bytes] = set()
        self._waiting = b""
        self._is_first = True

    def take(self, block: bytes) -> None:
        """Take the next block; the header is over when ``is_open`` is false."""
        text = self._waiting + block
        if text.startswith(b"\r\n") and self._is_first:
            self.is_open, self._waiting = False, b""
            return
        end = text.find(b"\r\n\r\n")
        if end >= 0:
            self._read(text[: end + 2])
            self.is_open, self._waiting = False, b""
            return
        if len(text) < self._ENOUGH:
            self._waiting = text
            return
        # the last two octets may be the first half of what ends the header
        cut = text.rfind(b"\r\n", 0, len(text) - 2) + 2
        if cut > 1:
            self._read(text[:cut])
            self._waiting = text[cut:]
        else:
            # a line longer than a block: what follows is read as a continuation of it
            self._read(text[:-2] + b"\r\n")
            self._waiting = b" " + text[-2:]

    def finish(self) -> None:
        """Read what is left of a header that nothing ends."""
        if self.is_open and self._waiting:
            self._read(self._waiting)
        self.is_open = False

    def _read(self, text: bytes) -> None:
        if self._is_first and text[:1] in b" \t":
            self.has_broken = True
        self._is_first = False
        self.has_8bit = self.has_8bit or not text.isascii()
        self.has_broken = self.has_broken or _BROKEN.search(text) is not None
        if b"\0" in text:
            text = text.replace(b"\0", b"")  # as it is when it goes out
        for name, value in _FIELD.findall(text):
            key = name.lower()
            if key in RECEIPTS:
                if len(self.receipts) < _RECEIPTS_TOLD:
                    self.receipts.append(name.decode("ascii"))
            elif key not in self._seen:
                self._seen.add(key)
                if key == b"date":
                    self.sent = instant(value)
                else:
                    self.received = received_instant(value)


_RECEIPTS_TOLD = 100

_BROKEN = re.compile(rb"^(?!" + NAME + rb")[^ \t\r\n]", re.MULTILINE)

_FIELD = re.compile(
    rb"^(?=[rdx])(received|date|disposition-notification-to|return-receipt-to|x-confirm-reading-to)"
    rb"[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)",
    re.IGNORECASE | re.MULTILINE,
)
