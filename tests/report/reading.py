"""A report's page, read back by somebody else's parser."""

from __future__ import annotations

import ctypes.util
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import html5lib
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree import ElementTree as ET

needs_pango = pytest.mark.skipif(
    ctypes.util.find_library("pango-1.0") is None, reason="no Pango here, which PDF needs"
)

_XHTML = "{http://www.w3.org/1999/xhtml}"
_NAMESPACES = ("http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg")


@dataclass(frozen=True)
class Page:
    """A page of a report."""

    html: str
    root: ET.Element

    @classmethod
    def of(cls, html: str) -> Page:
        """Parse a page that has to be well-formed: html5lib bears no error."""
        return cls(html, html5lib.HTMLParser(strict=True).parse(html))

    @property
    def sentence(self) -> str:
        """The verdict."""
        (found,) = (each for each in self._all("p") if each.get("class") == "sentence")
        return text(found)

    @property
    def tone(self) -> str:
        """The class of the verdict."""
        return (self.by_id("verdict").get("class") or "").split()[-1]

    def by_id(self, wanted: str) -> ET.Element:
        """Return the one element with an id."""
        (found,) = (each for each in self.root.iter() if each.get("id") == wanted)
        return found

    def rows(self, table: ET.Element) -> dict[str, dict[str, str]]:
        """Return the rows of a table by their heads, each by the names of its columns."""
        return {
            text(cells[0]): {each.get("data-label") or "": text(each) for each in cells[1:]}
            for row in table.iter(f"{_XHTML}tr")
            if (cells := list(row)) and len(cells) > 1 and cells[1].tag == f"{_XHTML}td"
        }

    def targets(self) -> list[dict[str, dict[str, str]]]:
        """Return the tables of the targets."""
        return [self.rows(each) for each in self._all("table") if each.get("class") == "target"]

    def case(self, title: str) -> ET.Element:
        """Return what is said of one kind of case."""
        (found,) = (each for each in self._all("article") if text(each[0]).startswith(f"{title}: "))
        return found

    def cases(self) -> dict[str, int]:
        """Return how many messages are named for what."""
        found = [each for each in self.root.iter() if each.get("id") == "kinds"]
        return {
            what: int(cells["Messages"].replace(",", ""))
            for what, cells in (self.rows(found[0]) if found else {}).items()
        }

    def cases_in_all(self) -> list[int]:
        """Return how many messages each case names, target by target."""
        return [
            int(text(row[2]).replace(",", ""))
            for row in self.by_id("kinds").iter(f"{_XHTML}tr")
            if row[1].tag == f"{_XHTML}td"
        ]

    def charts(self) -> dict[str, ET.Element]:
        """Return the charts by title."""
        return {
            text(each[0]): each
            for each in self.root.iter("{http://www.w3.org/2000/svg}svg")
            if each.get("class") == "chart"
        }

    def addresses(self) -> list[str]:
        """Return everything that looks as if it led elsewhere."""
        links = [
            value
            for each in self.root.iter()
            for key, value in each.attrib.items()
            if key.rpartition("}")[2] in ("href", "src", "action", "data", "poster", "srcset")
            and not value.startswith("#")
        ]
        attributes = [
            value
            for each in self.root.iter()
            for key, value in each.attrib.items()
            if "//" in value and value not in _NAMESPACES
        ]
        return links + attributes + re.findall(r"url\([^)]*\)|@import[^;]*", self.html)

    def scripts(self) -> list[str]:
        """Return everything that a browser might run."""
        return [
            each.tag
            for each in self.root.iter()
            if str(each.tag).rpartition("}")[2]
            in ("script", "iframe", "object", "embed", "img", "image", "form", "base", "link")
        ] + [
            key for each in self.root.iter() for key in each.attrib if key.lower().startswith("on")
        ]

    def _all(self, tag: str) -> Iterator[ET.Element]:
        return self.root.iter(f"{_XHTML}{tag}")


def text(element: ET.Element) -> str:
    """Return the text of an element as people see it."""
    return " ".join("".join(element.itertext()).split())
