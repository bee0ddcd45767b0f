"""The colours of a report, on a light and on a dark ground.

States that are fine are green and blue, those that need a look are amber and red; each differs
from its neighbours in lightness too, for whoever sees no colours, and is named beside the chart.
"""

from __future__ import annotations

COLOURS = {
    "ground": ("#ffffff", "#14171c"),
    "raised": ("#f5f6f8", "#1d2229"),
    "line": ("#d5d9e0", "#343b46"),
    "ink": ("#1a1f27", "#e6e9ee"),
    "faint": ("#586172", "#a3adbb"),
    "link": ("#0b57b0", "#8ab8f5"),
    "good": ("#1a7f4b", "#4cc38a"),
    "open": ("#0b62b8", "#72aef5"),
    "attention": ("#96600a", "#e5b04c"),
    "bad": ("#b3261e", "#ff8a80"),
    "bar": ("#3c78c3", "#6ea6ec"),
    "archived": ("#3c78c3", "#6ea6ec"),
    "skipped": ("#a5adb9", "#6b7583"),
    "failed": ("#c0392b", "#ff7a6e"),
    "verified": ("#1d8a53", "#46b681"),
    "appended": ("#7cc49b", "#2b7a55"),
    "already_there": ("#4b9fa8", "#5bb9c4"),
    "pending": ("#c9ced6", "#4b5462"),
    "sending": ("#e3b505", "#f0cf4d"),
    "refused": ("#c0392b", "#ff7a6e"),
    "set_aside": ("#b9770e", "#d99a35"),
    "paused": ("#b9770e", "#d99a35"),
}
"""On light and on dark ground, by name. Text colours have a contrast of 4.5 and more there."""


def variables(ground: int) -> str:
    """Return the colours as custom properties of CSS; 0 is the light ground, 1 the dark one."""
    return "".join(f"--{name.replace('_', '-')}:{each[ground]};" for name, each in COLOURS.items())


def fills(*, is_resolved: bool) -> str:
    """Return the rules that colour bars; resolved, where custom properties are not seen."""
    rules = []
    for name, (light, _) in COLOURS.items():
        colour = light if is_resolved else f"var(--{name.replace('_', '-')})"
        rules.append(f".chart .is-{name} rect{{fill:{colour}}}")
        if not is_resolved:
            rules.append(f".legend .is-{name} i{{background:{colour}}}")
    return "\n".join(rules)


def on_paper() -> str:
    """Return the rules for a chart that stands for itself."""
    return (
        "text{font-family:sans-serif;font-size:12px;fill:#1a1f27}"
        ".axis.x text{text-anchor:middle}.axis.y text{text-anchor:end}"
        ".axis.x text[transform]{text-anchor:start}"
        ".guide,.line{stroke:#d5d9e0;stroke-width:1;fill:none}"
        ".horizontal .axis.y .guide{stroke:none}.vertical .axis.x path{stroke:none}"
        + fills(is_resolved=True).replace(".chart ", "")
    )
