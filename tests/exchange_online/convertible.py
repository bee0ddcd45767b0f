"""Which messages Exchange cannot make MAPI items of, as far as public reports tell."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from typing import TYPE_CHECKING

from tests.exchange_online.mime import LARGEST_HEADER, Part, header_of, parse

if TYPE_CHECKING:
    from tests.exchange_online.blob import Buffer

_WORD = re.compile(rb"=\?([^?\s]+)\?([BbQq])\?([^?\s]*)\?=")
_LOOKS_LIKE_WORD = re.compile(rb"=\?\S*?\?=")
_READ = re.compile(rb"(read|gelesen):", re.IGNORECASE)


def reasons(buffer: Buffer) -> set[str]:
    """Return the names of the rules that this message breaks.

    ``report`` is a report of a reading, ``report-by-name`` one that its subject gives away.
    """
    message = parse(buffer)
    found = set()
    if buffer.find(b"\0") >= 0:
        found.add("nul")
    header = bytes(buffer[: min(message.body, LARGEST_HEADER)])
    if _has_line_without_colon(header):
        found.add("header-line")
    if message.value("x-sim-unconvertible").lower() == b"yes":
        found.add("marked")
    if _is_report(message):
        found.add("report")
        if _READ.match(message.value("subject")):
            found.add("report-by-name")
    if any(
        _has_undecodable_word(bytes(header_of(buffer, nested)))
        for part in message.walk()
        if part.kind == "message/rfc822"
        for nested in part.children
    ):
        found.add("nested-word")
    return found


def _is_report(message: Part) -> bool:
    return message.kind == "multipart/report" and any(
        part.kind == "message/disposition-notification" for part in message.children
    )


def _has_line_without_colon(header: bytes) -> bool:
    lines = [line.rstrip(b"\r") for line in header.split(b"\n")]
    return any(line and line[:1] not in (b" ", b"\t") and b":" not in line for line in lines)


def _has_undecodable_word(header: bytes) -> bool:
    unfolded = re.sub(rb"\r?\n(?=[ \t])", b"", header)
    if any(not _decodes(*match.groups()) for match in _WORD.finditer(unfolded)):
        return True
    # a word that is not even of the form, such as one with blanks or an unknown encoding
    return bool(_LOOKS_LIKE_WORD.search(_WORD.sub(b"", unfolded)))


def _decodes(charset: bytes, encoding: bytes, text: bytes) -> bool:
    try:
        name = charset.partition(b"*")[0].decode("ascii")
        codecs.lookup(name)
        if encoding in b"Bb":
            octets = base64.b64decode(text, validate=True)
        else:
            octets = binascii.a2b_qp(text, header=True)
        octets.decode(name)
    except (ValueError, LookupError):
        return False
    return True
