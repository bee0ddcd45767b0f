"""Texts as people read them, from octets in whatever charset, piece by piece.

There is always an answer: what is unknown or mislabelled is read as UTF-8, and as Windows text
where that fails, which is what most of it is.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from functools import partial
from typing import TYPE_CHECKING

from store.headers import codec_of

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPOSED_AT_ONCE = 1024
"""Characters at a block's end among which one of ASCII is looked for, to cut the text there."""


class TextDecoder:
    """Takes the octets of a text and returns the text, in NFC. It never fails."""

    def __init__(self, charset: str) -> None:
        self._codec = _text_codec(charset)
        self._decoder = self._codec()
        self._uncomposed = ""

    def decode(self, octets: bytes) -> str:
        """Return the next piece of the text, as far as it is certain; perhaps none."""
        return self._taken(self._decoded(octets), is_last=False)

    def end(self) -> str:
        """Return the rest of the text."""
        return self._taken(self._decoded(b"", is_last=True), is_last=True)

    def _decoded(self, octets: bytes, *, is_last: bool = False) -> str:
        try:
            return self._decoder.decode(octets, is_last)
        except ValueError:  # some codecs fail in spite of errors="replace"
            self._decoder = self._codec()
            return octets.decode("latin-1")

    def _taken(self, text: str, *, is_last: bool) -> str:
        if text.isascii() and not self._uncomposed:
            return text
        return self._composed(text, is_last=is_last)

    def _composed(self, text: str, *, is_last: bool) -> str:
        """Return the text in NFC, but for its end, which may go on."""
        if _NOT_TEXT.search(text):
            text = text.translate(_WINDOWS)
        text = self._uncomposed + text
        cut = len(text)
        if not is_last:
            # No ASCII character composes with what stands before it.
            found = _LAST_ASCII.search(text, max(0, cut - _COMPOSED_AT_ONCE))
            cut = found.start() if found else cut
        self._uncomposed = text[cut:]
        return unicodedata.normalize("NFC", text[:cut])


def _text_codec(charset: str) -> Callable[[], codecs.IncrementalDecoder]:
    """Return what decodes a charset; UTF-8, and Windows where that fails, if it is not known."""
    codec = codec_of(charset) if charset else None
    try:
        if codec is not None and codec not in _UNBOUNDED:
            b"a".decode(codec, "replace")  # refuses what makes no text
            errors = "surrogateescape" if codec == "utf-8" else "replace"
            return partial(codecs.getincrementaldecoder(codec), errors)
    except (LookupError, ValueError):
        pass
    return partial(codecs.getincrementaldecoder("utf-8"), "surrogateescape")


_UNBOUNDED = frozenset({"utf-7"})
"""Their decoders hold a shifted run whole, however long it is."""

_LAST_ASCII = re.compile(r"[\0-\x7f][^\0-\x7f]*\Z")

_NOT_TEXT = re.compile("[\x80-\x9f\ufeff\udc80-\udcff]")

# What is no UTF-8 is taken as Windows text, and so are the controls of ISO-8859-1 that no mail
# means. A byte order mark is no text.
_WINDOWS: dict[int, int | None] = {0xFEFF: None}
for _octet in range(0x80, 0x100):
    _as_windows = ord(bytes([_octet]).decode("cp1252", "ignore") or chr(_octet))
    _WINDOWS[0xDC00 + _octet] = _as_windows
    if _octet < 0xA0:
        _WINDOWS[_octet] = _as_windows
