"""docs/benchmarks.md tells of the cells that there are."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.benchmark.__main__ import parser
from scripts.benchmark.catalogue import CELLS, ONLY_WHEN_NAMED

TEXT = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text("utf-8")


def test_every_cell_is_explained_in_their_order() -> None:
    chapter = TEXT.partition("## The cells")[2].partition("\n## ")[0]

    assert re.findall(r"^\| `([a-z0-9-]+)` \|", chapter, re.MULTILINE) == list(CELLS)


def test_every_option_in_the_document_is_one() -> None:
    shown = set(re.findall(r"(?<![\w-])--[a-z]+\b", TEXT.replace("--version", "")))

    assert shown <= set(re.findall(r"--[a-z]+", parser().format_help()))


def test_what_takes_very_long_is_a_cell() -> None:
    assert set(CELLS) >= ONLY_WHEN_NAMED
