"""The words of a message, as they are searched: decoded headers, texts, names of attachments.

What comes out is bounded, whatever the message is; nothing raises but the file that cannot be
read. The same preparation is done to what people ask for, so that both meet.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.headers import LONGEST_HEAD, all_fields
from store.mime import read_parts
from store.text import TextDecoder

if TYPE_CHECKING:
    from typing import BinaryIO

    from store.mime import Part

MOST_TEXT = 256 * 1024
"""Characters of a message's texts together that are searched."""

MOST_HEADER = 16 * 1024
"""Characters of all values of a field together."""

_MOST_NAMES = 4 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says."""

    body: str
    """Its texts, one after the other, HTML without its marks."""
    subject: str
    sender: str
    recipients: str
    """To, Cc and Bcc."""
    names: str
    """The file names of its attachments, one on each line."""
    attachments: int
    """How many parts are no text to be read and none that only belongs to one."""


def content_of(file: BinaryIO) -> Content:
    """Return what the message in a file says.

    Raises:
        OSError: it cannot be read.
    """
    fields: dict[str, list[str]] = {}
    for name, value in all_fields(file.read(LONGEST_HEAD)):
        fields.setdefault(name.lower(), []).append(value)

    def said(*names: str) -> str:
        return "\n".join(value for name in names for value in fields.get(name, ()))[:MOST_HEADER]

    file.seek(0)
    reader = _Reader()
    read_parts(file, reader)
    return Content(
        body="\n".join(reader.texts),
        subject=said("subject"),
        sender=said("from"),
        recipients=said("to", "cc", "bcc"),
        names="\n".join(reader.names)[:_MOST_NAMES],
        attachments=reader.attachments,
    )


def spaced(text: str) -> str:
    """Return a text in which each Chinese or Japanese character stands alone.

    These are written without blanks, and SQLite's unicode61 would take a whole clause for one word.
    """
    return text if text.isascii() else _UNSPACED.sub(r" \g<0> ", text)


class _Reader:
    """Takes the texts of a message, and notes what else there is."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.names: list[str] = []
        self.attachments = 0
        self.room = MOST_TEXT

    def part(self, part: Part) -> _TextSink | None:
        if part.file_name:
            self.names.append(part.file_name)
        if part.is_attachment or not (part.is_text or part.is_message or part.content_id):
            # A picture that the text shows is none that hangs on it.
            belongs = part.disposition != "attachment" and part.multiparts[-1:] == ("related",)
            self.attachments += not belongs
        if not part.is_text or self.room <= 0:
            return None
        return _TextSink(self, part)


class _TextSink:
    def __init__(self, reader: _Reader, part: Part) -> None:
        self._reader = reader
        self._decoder = TextDecoder(part.charset)
        self._is_html = part.media_type == "text/html"
        # Marks take room that words do not need.
        self._room = reader.room * (4 if self._is_html else 1)
        self._pieces: list[str] = []

    def write(self, octets: bytes) -> None:
        if self._room > 0:
            self._take(self._decoder.decode(octets))

    def close(self) -> None:
        if self._room > 0:
            self._take(self._decoder.end())
        text = "".join(self._pieces)
        text = (text_of_html(text) if self._is_html else text)[: self._reader.room]
        self._reader.room -= len(text)
        if text:
            self._reader.texts.append(text)

    def discard(self) -> None:
        self._pieces.clear()

    def _take(self, text: str) -> None:
        self._pieces.append(text[: self._room])
        self._room -= len(text)


def text_of_html(markup: str) -> str:
    """Return the words of HTML: no marks, no scripts and styles, entities resolved.

    For search, not for show: it is done in one pass over the marks, however broken they are.
    """
    # Not html_text.text_of_html, which lays out lines and names links: that takes 2.7 to 4.2
    # times as long (a newsletter, many spans, long lines), and a search reads every message.
    words: list[str] = []
    hidden = ""
    for number, piece in enumerate(markup.split("<")):
        if not number:
            words.append(piece)
            continue
        mark, _, text = piece.partition(">")
        if hidden:
            if hidden == "!--":
                _, end, text = piece.partition("-->")
                if not end:
                    continue
            elif mark[: len(hidden) + 1].lower() != f"/{hidden}":
                continue
            hidden = ""
        elif piece.startswith("!--"):
            _, end, text = piece[3:].partition("-->")
            hidden = "" if end else "!--"
            if hidden:
                continue
        else:
            name = _TAG.match(mark)
            hidden = name[0].lower() if name and name[0].lower() in _HIDDEN else ""
            if hidden:
                continue
            if name is None or name[0].lower() not in _INLINE:
                words.append(" ")
        words.append(text)
    return html.unescape("".join(words))


_TAG = re.compile(r"/?[A-Za-z][A-Za-z0-9]*")
_HIDDEN = frozenset({"script", "style", "head", "template"})
_INLINE = frozenset(
    name
    for tag in ("a", "b", "i", "u", "em", "strong", "span", "font", "sub", "sup", "wbr", "code")
    for name in (tag, f"/{tag}")
)  # fmt: skip

_UNSPACED = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
