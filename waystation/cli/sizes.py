"""Sizes as people write them."""

from __future__ import annotations

import re

from waystation.errors import UsageError, plain

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_SIZE = re.compile(r"(\d{1,15}) ?([KMG]?)i?B?", re.IGNORECASE | re.ASCII)


def size_of(text: str) -> int:
    """Return the octets that a size such as ``35M`` means; K, M and G count in 1,024.

    Raises:
        UsageError: it is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or not int(match[1]):
        raise UsageError(f"{plain(text)!r} is no size. Write octets, or 500K, 35M, 1G.")
    return int(match[1]) * _UNITS[match[2].upper()]
