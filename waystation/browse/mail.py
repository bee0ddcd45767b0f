"""HTML of strangers, made harmless: what is left runs nothing, sends nothing and fetches nothing.

nh3 (Ammonia) keeps what is known to be harmless and drops the rest. The page that shows it forbids
the browser the same once more (its policy and its sandbox), should anything ever slip through.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 500_000
"""Characters of HTML that are shown as HTML."""
_DEEPEST = 400
"""Elements in elements; beyond, a sanitiser takes long and a browser shows nothing more."""
_LONGEST_DATA = 100_000


@dataclass(frozen=True, slots=True)
class Harmless:
    """What may be shown of an HTML text."""

    html: str
    blocked: int
    """How many things would have been fetched from elsewhere."""
    is_cut: bool
    """Whether the text goes on."""


def harmless(html: str, image: Callable[[str], str | None]) -> Harmless | None:
    """Return what may be shown of an HTML text; None where it is nested beyond reason.

    ``image`` gives the address of a picture that lies in the message, by its Content-ID.
    """
    import nh3

    shown = html[:LONGEST]
    if _is_too_deep(shown):
        return None
    remote: list[str] = []
    clean = nh3.clean(
        shown,
        tags=_TAGS,
        clean_content_tags=_UNREAD,
        attributes=_ATTRIBUTES,
        attribute_filter=partial(_attribute, image, remote),
        url_schemes={"http", "https", "mailto", "tel", "cid", "data"},
        link_rel="noopener noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank"}, "img": {"loading": "lazy"}},
        filter_style_properties=_PROPERTIES,
    )
    # What stands where nothing is read at all: style sheets, and the tags that are dropped.
    blocked = len(remote) + sum(1 for _ in _FETCHING.finditer(shown))
    return Harmless(clean, blocked, len(html) > len(shown))


def _attribute(
    image: Callable[[str], str | None], remote: list[str], tag: str, name: str, value: str
) -> str | None:
    """Return what is left of an attribute."""
    if name == "style":
        if not _ADDRESS_IN_STYLE.search(value):
            return value
        remote.append(value[:100])
        kept = (each for each in value.split(";") if not _ADDRESS_IN_STYLE.search(each))
        return ";".join(kept) or None
    if name == "href":
        return value if _LINK.match(value) else None
    if name == "src" and tag == "img":
        if value[:4].lower() == "cid:":
            return image(value[4:])
        if _DATA.match(value) and len(value) <= _LONGEST_DATA:
            return value
    if name in _FETCHED:
        remote.append(value[:100])
        return None
    return value


def _is_too_deep(html: str) -> bool:
    """Whether more elements may be open at once than a page needs."""
    open_ones: dict[str, int] = {}
    depth = 0
    for match in _TAG.finditer(html):
        tag = match[2].lower()
        if tag in _ENDING_THEMSELVES:
            continue
        if not match[1]:
            open_ones[tag] = open_ones.get(tag, 0) + 1
            depth += 1
            if depth > _DEEPEST:
                return True
        elif open_ones.get(tag):
            open_ones[tag] -= 1
            depth -= 1
    return False


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TAGS = _words("""
    a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code col
    colgroup dd del details dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header
    hr i img ins kbd li main mark ol p pre q rp rt ruby s samp section small span strike strong sub
    summary sup table tbody td tfoot th thead tr tt u ul var wbr
""")

_UNREAD = _words("""
    script style title template noscript noembed noframes iframe object svg math select textarea
    audio video
""")

_FETCHED = _words("src srcset background poster lowsrc dynsrc")

_EVERYWHERE = _words("""
    align bgcolor border color dir height lang style title valign width background
""")

_ATTRIBUTES = {
    "*": set(_EVERYWHERE),
    "a": {"href", "name"},
    "font": {"face", "size"},
    "img": {"alt", "src", "srcset", "lowsrc", "dynsrc"},
    "ol": {"start", "type"},
    "table": {"cellpadding", "cellspacing"},
    "td": {"colspan", "rowspan", "nowrap"},
    "th": {"colspan", "rowspan", "nowrap"},
    "ul": {"type"},
}

_PROPERTIES = _words("""
    background background-color border border-bottom border-collapse border-color border-left
    border-radius border-right border-spacing border-style border-top border-width clear color
    direction display float font font-family font-size font-style font-variant font-weight height
    letter-spacing line-height list-style-type margin margin-bottom margin-left margin-right
    margin-top max-width min-width padding padding-bottom padding-left padding-right padding-top
    table-layout text-align text-decoration text-indent text-transform vertical-align white-space
    width word-break word-wrap
""")

_ENDING_THEMSELVES = _words("""
    p li td th tr dt dd option thead tbody tfoot colgroup br hr img input meta link col area base
    wbr source html head body param track embed
""")
"""Elements without an end tag, or whose end may be left out (HTML Standard, 13.1.2.4)."""

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]{0,40})")

_LINK = re.compile(r"\s*(?:https?://|mailto:|tel:)", re.IGNORECASE)

_DATA = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,", re.IGNORECASE)

_ADDRESS_IN_STYLE = re.compile(r"url\s*\(|image-set\s*\(|@import|expression\s*\(", re.IGNORECASE)

_FETCHING = re.compile(
    r"<style[^>]{0,200}>[^<]{0,200000}?(?:@import|url\s*\()"
    r"|<(?:link|iframe|embed|object|video|audio|source|script)\b[^>]{0,200}?\b(?:href|src|data)\s*=",
    re.IGNORECASE,
)
