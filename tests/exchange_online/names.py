"""Folder names on the wire: modified UTF-7 (RFC 3501 section 5.1.3), atoms and quotes."""

from __future__ import annotations

import base64
import re

_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_ENCODED = re.compile(rb"&([^-]*)-")


def encode(name: str) -> bytes:
    """Return a name in modified UTF-7."""
    out, run = bytearray(), ""

    def flush() -> None:
        nonlocal run
        if run:
            packed = base64.b64encode(run.encode("utf-16-be", "surrogatepass")).rstrip(b"=")
            out.extend(b"&" + packed.replace(b"/", b",") + b"-")
            run = ""

    for character in name:
        # control characters are sent as they are: Exchange does so
        if ord(character) < 0x7F:
            flush()
            out.extend(b"&-" if character == "&" else character.encode())
        else:
            run += character
    flush()
    return bytes(out)


def decode(name: bytes) -> str:
    """Return the name that modified UTF-7 stands for; what is none is taken as it is."""

    def one(match: re.Match[bytes]) -> bytes:
        if not match[1]:
            return b"&"
        packed = match[1].replace(b",", b"/")
        padded = packed + b"=" * (-len(packed) % 4)
        return base64.b64decode(padded, validate=True).decode("utf-16-be").encode()

    try:
        return _ENCODED.sub(one, name).decode()
    except ValueError:
        return name.decode("latin-1")


def written(name: str, *, control_unquoted: bool) -> bytes:
    """Return a name as LIST shows it: an atom where it can be, else quoted."""
    octets = encode(name)
    is_bug = control_unquoted and re.search(rb"[\x00-\x1f\x7f]", octets)
    if is_bug or (_ATOM.fullmatch(octets) and octets.upper() != b"NIL"):
        return octets
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def pattern(reference: str, wildcard: str) -> re.Pattern[str]:
    """Return what a LIST pattern matches: ``*`` all, ``%`` one level, letters of either case."""
    parts = (
        {"*": ".*", "%": "[^/]*"}.get(character, re.escape(character))
        for character in reference + wildcard
    )
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)
