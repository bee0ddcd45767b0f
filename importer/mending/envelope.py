"""The last rung: a plain new message that carries the old one, octet by octet, as a file."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from importer.mending.encodings import write_base64
from importer.mending.folding import line_end, write_folded
from importer.mending.headers import encoded_addresses, encoded_text, field_name, header_lines
from importer.mending.parts import regions
from importer.mending.words import defused
from store.dates import instant, received_instant

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.mending.output import Output
    from importer.mending.source import Source

_LONGEST = 900
"""Octets of a field's value in an envelope."""

_READ = 8 * 1024

_CONTROLS = re.compile(rb"[\x00-\x20\x7f]+")

_TEXT = b"""\
The message in the attachment "original.eml" was moved here by waystation. The
mail server did not take it in the form in which it was archived, so it was
wrapped into this message and left as it was. To read it, save the attachment
and open it in a mail program.

SHA-256 of the attachment: %s
""".replace(b"\n", b"\r\n")


def write_envelope(source: Source, output: Output, longest: int) -> None:
    """Write a new message with the old one attached.

    From, To, Cc, Date, Subject and Message-ID are the old ones as far as they are legal.
    """
    values = _values(source)
    for name, of in _FIELDS.items():
        value = of(values.get(name.lower(), b""))
        if value:
            write_folded([name + b": " + value + b"\r\n"], output, longest, 76)
        elif name == b"Date" and (moment := received_instant(values.get(b"received", b""))):
            text = moment.strftime("%d %b %Y %H:%M:%S +0000") if moment.year > 999 else ""
            output.write(b"Date: " + text.encode() + b"\r\n" if text else b"")
    digest = hashlib.sha256()
    for block in source.blocks(0, source.size):
        digest.update(block)
    sha256 = digest.hexdigest().encode()
    boundary = b"=_waystation_" + sha256[:40]
    output.write(
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n'
        b"\r\n"
        b"--" + boundary + b"\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\n"
        b"\r\n" + _TEXT % sha256 + b"\r\n"
        b"--" + boundary + b"\r\n"
        b'Content-Type: application/octet-stream; name="original.eml"\r\n'
        b'Content-Disposition: attachment; filename="original.eml"\r\n'
        b"Content-Transfer-Encoding: base64\r\n"
        b"\r\n"
    )
    write_base64(source.blocks(0, source.size), output)
    output.write(b"\r\n--" + boundary + b"--\r\n")
    output.changed("put the whole message as original.eml into a new one")


def _values(source: Source) -> dict[bytes, bytes]:
    """Return the first octets of each field that counts, unfolded, by lower-case name."""
    values: dict[bytes, bytes] = {}
    name = b""
    for _, _, line in header_lines(source, next(regions(source))):
        text = line[: len(line) - len(line_end(line))]
        if line[:1] not in b" \t":
            found = field_name(line).lower()
            name = found if found in _READ_FIELDS and found not in values else b""
            if name:
                values[name] = text.partition(b":")[2][:_READ]
        elif name and len(values[name]) < _READ:
            values[name] += text
    return {key: _CONTROLS.sub(b" ", value).strip() for key, value in values.items()}


def _subject(value: bytes) -> bytes:
    text = defused(encoded_text(value))
    return text if len(text) <= _LONGEST else defused(_shortened(text, b" ") + b" ...")


def _addresses(value: bytes) -> bytes:
    text = defused(encoded_addresses(value))
    if len(text) > _LONGEST:
        text = _shortened(text, b",")
    if text.count(b'"') % 2:
        text = text[: text.rindex(b'"')]
    return defused(text.strip(b" ,"))


def _shortened(text: bytes, at: bytes) -> bytes:
    end = text.rfind(at, 0, _LONGEST - 8)
    return text[: end if end > 0 else _LONGEST - 8]


def _message_id(value: bytes) -> bytes:
    token = value.partition(b" ")[0] if b">" not in value else value.partition(b">")[0] + b">"
    return token.replace(b" ", b"") if token.isascii() and len(token) <= _LONGEST else b""


def _date(value: bytes) -> bytes:
    is_legal = value.isascii() and len(value) <= 100 and instant(value) is not None
    return value if is_legal else b""


_FIELDS: dict[bytes, Callable[[bytes], bytes]] = {
    b"From": _addresses,
    b"To": _addresses,
    b"Cc": _addresses,
    b"Date": _date,
    b"Subject": _subject,
    b"Message-ID": _message_id,
}
_READ_FIELDS = frozenset({*(name.lower() for name in _FIELDS), b"received"})
