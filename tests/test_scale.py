"""The arithmetic of docs/scale.md is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parent.parent / "docs" / "scale.md").read_text("utf-8")
LINES = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```arithmetic\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("line", LINES)
def test_what_stands_on_the_right_comes_out_on_the_left(line: str) -> None:
    left, _, right = line.partition("=")
    result, *rest = left.split()
    value = float(result)
    terms = [value]
    for sign, number in zip(rest[::2], rest[1::2], strict=True):
        match sign:
            case "×":  # noqa: RUF001 - that is the sign
                terms[-1] *= float(number)
            case "÷":
                terms[-1] /= float(number)
            case "+":
                terms.append(float(number))
            case _:
                pytest.fail(f"{sign} is no sign")

    shown = right.strip()
    digits = len(shown.partition(".")[2])
    assert abs(sum(terms) - float(shown)) <= 0.5 * 10**-digits + 1e-9


def test_there_is_something_to_recalculate() -> None:
    assert len(LINES) > 30
    assert "\n## The dask engine\n" in TEXT
