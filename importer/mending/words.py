"""Encoded words of RFC 2047: which cannot be decoded, and how unlabelled octets become some."""

from __future__ import annotations

import codecs
import re
from binascii import Error as BinasciiError
from binascii import a2b_base64, a2b_qp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 75
"""RFC 2047 section 2, delimiters included."""

_WORD = re.compile(rb"=\?([^?\s]{1,100})\?([^?\s]{1,10})\?([^?\s]*+)(\?=)?")

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
"""What may stand for itself in every kind of field: RFC 2047 section 5, rule 3."""

_NOT_CHARSETS = frozenset(
    # Python's own ways of writing, which no mail means; some are slow or warn
    {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "mbcs", "oem"}
)


def undecodable(text: bytes) -> Iterator[re.Match[bytes]]:
    """Yield what begins like an encoded word and cannot be decoded as one."""
    return (word for word in _WORD.finditer(text) if not _decodes(word))


def defused(text: bytes) -> bytes:
    """Return text in which nothing that looks like an encoded word is undecodable."""
    for word in reversed(list(undecodable(text))):
        text = text[: word.start()] + b"= ?" + text[word.start() + 2 :]
    return text


def _decodes(word: re.Match[bytes]) -> bool:
    charset, encoding, encoded, end = word.groups()
    if end is None:
        return False
    try:
        if encoding in {b"q", b"Q"}:
            octets = a2b_qp(encoded, header=True)
        elif encoding in {b"b", b"B"}:
            octets = a2b_base64(encoded, strict_mode=True)
        else:
            return False
        codec = codecs.lookup(charset.partition(b"*")[0].decode("ascii")).name
        if codec in _NOT_CHARSETS:
            return False
        octets.decode(codec)
    except (BinasciiError, LookupError, ValueError):
        return False
    return True


def encode(octets: bytes) -> list[bytes]:
    """Return encoded words that hold octets: as UTF-8 where they are, else as windows-1252.

    No word holds a part of a character.
    """
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        charset, characters = b"windows-1252", [bytes([octet]) for octet in octets]
    else:
        charset = b"utf-8"
        characters = [char.encode() for char in octets.decode("utf-8")]
    before, after = b"=?" + charset + b"?q?", b"?="
    room = _LONGEST - len(before) - len(after)
    words: list[bytes] = []
    word = b""
    for character in characters:
        encoded = b"".join(_Q[octet] for octet in character)
        if len(word) + len(encoded) > room:
            words.append(before + word + after)
            word = b""
        word += encoded
    words.append(before + word + after)
    return words


_Q = [bytes([octet]) if octet in _PLAIN else b"=%02X" % octet for octet in range(256)]
_Q[0x20] = b"_"
