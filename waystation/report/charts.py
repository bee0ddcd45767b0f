"""Charts as inline SVG: the only door to pygal.

What pygal draws is taken over piece by piece: shapes and texts with their places, and nothing
else, so that a chart holds no script, no style of its own, no link and no id. Colours come from
the page by class, so that they follow light, dark and paper.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_WIDTH = 480
_ROW = 30
_ACROSS = 42
"""Letters that fit side by side below a chart."""
_LONGEST_LABEL = 22
_KEPT = {
    "g": ("transform",),
    "rect": ("x", "y", "width", "height"),
    "path": ("d",),
    "text": ("x", "y", "transform"),
}
_CLASSES = {"axis", "x", "y", "guides", "guide", "line", "major", "series", "bars", "bar", "plot"}
_CLASSES |= {"background", "horizontal", "vertical", *(f"color-{number}" for number in range(16))}
_NUMBER = re.compile(r"-?[0-9]+\.[0-9]+(?:e-?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Series:
    """One row of values, drawn in one colour."""

    name: str
    colour: str
    """A class of the page, such as ``verified``."""
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars for labels."""

    title: str
    description: str
    """The same in a sentence, for whoever does not see it."""
    labels: Sequence[str]
    series: Sequence[Series]
    say: Callable[[float], str]
    """A value in words."""
    is_sideways: bool = False
    """Bars from left to right, for labels that are names."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value for each in self.series for value in each.values)


def svg(chart: Chart, style: str = "") -> str:
    """Return a chart as an element for a page.

    ``style`` goes into it where the page's style is not seen.
    """
    drawn = _draw(chart)
    width, height = _WIDTH, int(drawn.get("viewBox", "0 0 0 0").split()[3])
    root = ET.Element("svg", viewBox=f"0 0 {width} {height}", role="img")
    root.set("class", "chart")
    root.set("xmlns", "http://www.w3.org/2000/svg")
    if style:
        root.set("width", str(width))
        root.set("height", str(height))
        ET.SubElement(root, "style").text = style
    ET.SubElement(root, "title").text = chart.title
    ET.SubElement(root, "desc").text = chart.description
    for child in drawn:
        _take_over(child, root, chart)
    return ET.tostring(root, encoding="unicode")


def _draw(chart: Chart) -> ET.Element:
    import pygal

    # It leaves a finder of modules behind, of a kind that Python no longer asks, and warns of.
    sys.meta_path[:] = [each for each in sys.meta_path if type(each).__module__ != "pygal"]
    kinds = {
        (True, True): pygal.HorizontalStackedBar,
        (True, False): pygal.HorizontalBar,
        (False, True): pygal.StackedBar,
        (False, False): pygal.Bar,
    }
    kind = kinds[chart.is_sideways, len(chart.series) > 1]
    labels = [_short(label) for label in chart.labels]
    if chart.is_sideways:  # pygal begins at the bottom
        labels.reverse()
    widest = max((len(label) for label in labels), default=0)
    every = max(1, -(-len(labels) // max(1, _ACROSS // max(1, widest))))
    drawing = kind(
        js=(),
        css=(),
        width=_WIDTH,
        height=(80 + _ROW * len(labels)) if chart.is_sideways else 250,
        margin=6,
        spacing=6,
        show_legend=False,
        print_values=False,
        disable_xml_declaration=True,
        value_formatter=chart.say,
        show_minor_x_labels=chart.is_sideways,
        truncate_label=-1,
        max_scale=5,
        min_scale=2,
        style=_style(),
    )
    drawing.x_labels = labels
    if not chart.is_sideways:
        drawing.x_labels_major = labels[::every]
    for each in chart.series:
        values = list(each.values)
        drawing.add(each.name, values[::-1] if chart.is_sideways else values)
    tree: ET.Element = drawing.render_tree()
    return tree


def _style() -> object:
    from pygal.style import Style

    # Only for the room that labels take: the page gives colours and fonts.
    return Style(label_font_size=13, major_label_font_size=13, font_family="sans-serif")


def _take_over(drawn: ET.Element, into: ET.Element, chart: Chart) -> None:
    name = _name(drawn)
    if name not in _KEPT:
        return
    classes = [each for each in (drawn.get("class") or "").split() if each in _CLASSES]
    if name == "g" and not len(drawn):
        return
    if name == "rect" and "background" in classes:
        return
    kept = ET.SubElement(into, name)
    for key in _KEPT[name]:
        value = drawn.get(key)
        if value is not None:
            kept.set(key, _NUMBER.sub(_rounded, value))
    if name == "rect" and not float(drawn.get("width") or 0):
        kept.set("width", "0")
    for number, each in enumerate(chart.series):
        if f"color-{number}" in classes:
            classes = [name for name in classes if not name.startswith("color-")]
            classes.append(f"is-{each.colour}")
            break
    if classes:
        kept.set("class", " ".join(classes))
    if name == "text":
        kept.text = drawn.text
    if "bar" in classes:
        ET.SubElement(kept, "title").text = _said(drawn)
    for child in drawn:
        _take_over(child, kept, chart)


def _name(drawn: ET.Element) -> str:
    tag: object = drawn.tag  # a function, of a comment
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _said(bar: ET.Element) -> str:
    """Return label and value of a bar, which a browser shows beside the pointer."""
    parts = {}
    for child in bar:
        if _name(child) == "desc":
            parts[child.get("class") or ""] = child.text or ""
    return ": ".join(text for key in ("x_label", "value") if (text := parts.get(key)))


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"


def _rounded(number: re.Match[str]) -> str:
    # A tenth of a pixel is enough, and half the size.
    return f"{float(number[0]):.1f}"
