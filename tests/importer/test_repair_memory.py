"""However large a message is, and however it is made, little of it is in memory."""

from __future__ import annotations

import tracemalloc
from itertools import chain, repeat
from typing import TYPE_CHECKING

import pytest

from importer.inspection import inspect
from importer.repair import Limits, Step, further, needed, repaired
from tests.importer.hostile_mail import HEAD

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MB = 1_000_000
MOST = 10 * MB


def nested() -> Iterable[bytes]:
    for level in range(2_000):
        yield b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (level, level)
    yield b"\r\n" + b"\0" * 20_000


SHAPES = {
    "a single line": [b"x" * MB] * 11,
    "a line of NUL in a text": [HEAD, b"\r\n", *[b"\0" * MB] * 4],
    "a line in base64": [
        HEAD,
        b"Content-Transfer-Encoding: base64\r\n\r\n",
        *[b"QUJD" * (MB // 4)] * 8,
    ],
    "a line in quoted-printable": [
        HEAD,
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n",
        *[b"=41=" * (MB // 4)] * 4,
    ],
    "a header field": [HEAD, b"X: ", *[b"x" * MB] * 11, b"\r\n\r\nx\r\n"],
    "a field of blanks": [HEAD, b"X: ", *[b" " * MB] * 8, b"\r\n\r\nx\r\n"],
    "many fields": [HEAD, *[b"To: \xe4 <x@y>\r\n" * 5_000], b"\0\r\n\r\nx\r\n"],
    "a folded field": [HEAD, b"To: a\r\n", *[b" <x@y>\r\n" * 15_000], b"\r\nx\r\n"],
    "many parts": chain(
        [HEAD, b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"],
        repeat(b"--b\r\n\r\na\0b\r\n", 3_000),
    ),
    "deep nesting": chain([HEAD], nested()),
    "empty lines": [b"\n" * MB] * 2,
    "bare CR": [HEAD, b"\r\n", b"\r" * (MB // 3)],
    "short lines": [HEAD, b"\n", b"ab\n" * (MB // 6)],
    "messages in messages": [HEAD, *[b"Content-Type: message/rfc822\r\n\r\n"] * 4_000],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_memory_stays_small(shape: str, tmp_path: Path) -> None:
    path = tmp_path / "message"
    with path.open("wb") as file:
        file.writelines(SHAPES[shape])
    limits = Limits()
    with path.open("rb", buffering=0) as file:
        tracemalloc.start()
        try:
            found = inspect(file)
            for steps in [needed(found, limits), *further(found, limits), (Step.ENVELOPE,)]:
                with repaired(file, steps, limits, tmp_path) as (mended, _, _):
                    assert needed(inspect(mended), limits) == ()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < MOST
