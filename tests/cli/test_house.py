"""Sizes as people write them."""

from __future__ import annotations

import pytest

from waystation.cli.house import USUAL
from waystation.cli.sizes import size_of
from waystation.errors import UsageError


@pytest.mark.parametrize(
    ("text", "octets"),
    [("500", 500), ("500K", 512_000), ("35M", 36_700_160), ("1 GiB", 2**30), ("2gb", 2**31)],
)
def test_a_size_is_octets_or_has_a_unit(text: str, octets: int) -> None:
    assert size_of(text) == octets


@pytest.mark.parametrize("text", ["", "0", "-1", "1T", "x", "1.5M", "9" * 30])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no size"):
        size_of(text)


def test_a_rate_is_the_ceiling_and_the_start_is_never_above_it() -> None:
    assert (USUAL.rules(None).pace.most, USUAL.rules(None).pace.start) == (4.0, 2.0)
    assert (USUAL.rules(1).pace.most, USUAL.rules(1).pace.start) == (1, 1)
    assert (USUAL.rules(0).pace.most, USUAL.rules(0).pace.start) == (0, 2.0)
