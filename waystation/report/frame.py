"""What all pages of ours share: the templates, which escape whatever is put in, style and policy.

A page loads nothing: its policy forbids scripts, images, fonts, frames and forms, and allows
just the one style sheet in it, by its sha256.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from waystation.report import colours
from waystation.report.foreign import shown
from waystation.report.verdict import Tone

if TYPE_CHECKING:
    from waystation.report.words import Words

GENERATOR = "waystation report"
"""By this a page of ours is known again."""


@lru_cache(maxsize=2)
def environment(words: Words) -> Environment:
    """Return the templates, in these words; they are compiled once for many pages."""
    found = Environment(
        loader=PackageLoader("waystation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "shown": shown,
        "initial": _initial,
        "number": partial(_number, words),
        "size": words.size,
        "when": words.when,
        "received": words.received,
    }
    found.globals |= {
        "language": words.language,
        "generator": GENERATOR,
        "text": words.text,
        "plural": words.plural,
    }
    css = _css(found)
    found.globals |= {
        "css": Markup(css),  # noqa: S704 - our own file and colours, no foreign word
        "policy": _policy(css),
    }
    return found


def tone_text(tone: Tone, words: Words) -> str:
    """Return how a verdict is meant, in a sign and a few words."""
    sign, text = {
        Tone.GOOD: ("✓", words.text("All is well")),
        Tone.OPEN: ("◷", words.text("Not finished or not verified yet")),
        Tone.ATTENTION: ("!", words.text("Needs a look")),
        Tone.BAD: ("✗", words.text("Something is missing or wrong")),
    }[tone]
    return f"{sign} {text}"


def _css(templates: Environment) -> str:
    rules, _, _ = templates.loader.get_source(templates, "report.css")  # type: ignore[union-attr]
    return "\n".join(
        (
            f":root{{color-scheme:light dark;{colours.variables(0)}}}",
            "@media screen and (prefers-color-scheme:dark){:root{" + colours.variables(1) + "}}",
            colours.fills(is_resolved=False),
            rules,
        )
    )


def _policy(css: str) -> str:
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _number(words: Words, value: int | None) -> str:
    return "—" if value is None else words.number(value)


def _initial(text: str) -> str:
    return text[:1].upper() + text[1:]
