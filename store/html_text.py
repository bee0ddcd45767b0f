"""The words of an HTML text, for a terminal and for a search; nothing of it is run or fetched.

Linear in its length and never failing, whatever the HTML is; it is no browser, and shows neither
tables as tables nor what a style sheet would hide.
"""

from __future__ import annotations

import re
from html import unescape
from string import ascii_lowercase, ascii_uppercase

_BLOCKS = re.compile(
    "address|article|aside|blockquote|body|center|dd|div|dl|dt|fieldset|figure|footer|form"
    "|h[1-6]|header|hr|html|li|main|nav|ol|p|pre|section|table|tr|ul"
)
_SPACED = re.compile("blockquote|h[1-6]|ol|p|pre|table|ul")
_UNREAD = frozenset(
    ("script", "style", "title", "template", "noscript", "svg", "math", "object", "iframe")
)
"""What stands between such a tag and its end is no text to be read."""


def text_of_html(html: str) -> str:
    """Return what a reader would see of an HTML text, with a line for each block.

    Links are followed by their address where that is another one; images by their description.
    """
    written = _Written()
    low = html.translate(_LOWER)
    last_end = html.rfind(">")
    # A tag may hold > between quotes; once that has led nowhere, the first > counts.
    heeds_quotes = True
    has_comment_end = True
    at = 0
    while True:
        start = html.find("<", at)
        if start < 0:
            written.text(html[at:])
            break
        written.text(html[at:start])
        if low.startswith("<!--", start):
            end = low.find("-->", start + 4) if has_comment_end else -1
            has_comment_end = end >= 0
            at = end + 3 if end >= 0 else start + 4
            continue
        name = _NAME.match(low, start)
        if name is None:  # a sign, or a declaration
            is_declared = low[start + 1 : start + 2] in ("!", "?")
            end = low.find(">", start) if is_declared and start < last_end else -1
            if end < 0:
                written.text("<")
            at = end + 1 if end >= 0 else start + 1
            continue
        whole = _TAG_END.match(html, name.end()) if heeds_quotes else None
        heeds_quotes = whole is not None
        end = whole.end() if whole is not None else html.find(">", name.end()) + 1
        if not end:
            break  # a tag that was cut off
        tag, is_end = name[2], bool(name[1])
        at = end
        if tag in _UNREAD and not is_end and html[end - 2 : end - 1] != "/":
            after = low.find(f"</{tag}", end)
            at = after if after >= 0 else len(html)
            continue
        written.tag(tag, html[name.end() : end - 1], is_end=is_end)
    return written.whole()


class _Written:
    """The text so far."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._line_ends = 2
        """How many line ends the text ends with; nothing stands before its beginning."""
        self._wants_blank = False
        self._kept: list[bool] = []
        self._link: tuple[str, int] | None = None

    def text(self, raw: str) -> None:
        """Add a text between two tags."""
        if not raw:
            return
        text = unescape(raw)
        if self._kept:
            self._add(text.replace("\r\n", "\n"))
            return
        words = text.split()
        if words:
            self._wants_blank = self._wants_blank or text[0].isspace()
            self._add(" ".join(words))
            self._wants_blank = text[-1].isspace()
        else:
            self._wants_blank = True

    def tag(self, tag: str, attributes: str, *, is_end: bool) -> None:
        """Take note of a tag."""
        if tag == "pre":
            if not is_end:
                self._kept.append(True)
            elif self._kept:
                self._kept.pop()
        if tag == "br":
            self._break(self._line_ends + 1)
        elif tag in ("td", "th"):
            self._wants_blank = True
        elif tag == "a":
            self._link_tag(attributes, is_end=is_end)
        elif tag == "img":
            described = _attribute("alt", attributes)
            if described.strip():
                self.text(f"[{described}]")
        elif _BLOCKS.fullmatch(tag):
            self._break(2 if _SPACED.fullmatch(tag) else 1)
            if not is_end and tag in ("li", "hr"):
                self._add("* " if tag == "li" else "-" * 20)

    def whole(self) -> str:
        """Return the text."""
        text = "".join(self._pieces)
        lines = (line.rstrip() for line in text.split("\n"))
        return "\n".join(lines).strip("\n")

    def _link_tag(self, attributes: str, *, is_end: bool) -> None:
        if is_end and self._link is not None:
            address, begun = self._link
            shown = "".join(self._pieces[begun:]).strip()
            if address.removeprefix("mailto:").rstrip("/") not in (shown, shown.rstrip("/")):
                self._add(f" <{address}>")
        address = "" if is_end else " ".join(_attribute("href", attributes).split())
        is_address = address.lower().startswith(("http://", "https://", "mailto:"))
        self._link = (address, len(self._pieces)) if is_address else None

    def _add(self, text: str) -> None:
        if self._wants_blank and not self._line_ends:
            text = " " + text
        self._wants_blank = False
        if text:
            self._pieces.append(text)
            self._line_ends = len(text) - len(text.rstrip("\n"))

    def _break(self, wanted: int) -> None:
        """Have the text end with so many line ends, two at the most."""
        self._wants_blank = False
        missing = min(wanted, 2) - self._line_ends
        if missing > 0:
            self._pieces.append("\n" * missing)
            self._line_ends += missing


def _attribute(name: str, attributes: str) -> str:
    for match in _ATTRIBUTE.finditer(attributes):
        if match[1].lower() == name:
            return unescape(match[2].strip("\"'"))
    return ""


_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
"""Not ``str.lower``, which makes some texts longer."""

_NAME = re.compile(r"<(/?)([a-z][^\s/>]{0,40})")

_TAG_END = re.compile(r"""(?>(?:[^>"']|"[^"]*"|'[^']*')*)>""")

_ATTRIBUTE = re.compile(r"""([^\s"'=<>/]{1,60})\s{0,20}=\s{0,20}("[^"]*"|'[^']*'|[^\s"'>]+)""")
