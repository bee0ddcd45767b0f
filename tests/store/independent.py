"""An archive's journal and roots, checked by nothing but FORMAT.md, chapter 13.

It knows the standard library alone, so that nothing of ours can make it agree with us.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def text(value: str) -> str:
    """RFC 8785, section 3.2.2.2: a string."""
    written = [
        _ESCAPES.get(char) or (f"\\u{ord(char):04x}" if char < " " else char) for char in value
    ]
    return f'"{"".join(written)}"'


def canonical(value: Any) -> str:
    """A value as a record has it: keys sorted, no blanks."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{text(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical(each) for each in value) + "]"
    if isinstance(value, str):
        return text(value)
    return json.dumps(value)


def content(row: tuple[Any, ...]) -> bytes:
    return canonical(list(row)).encode()


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def mth(leaves: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word, over leaves that are hashed already."""
    if not leaves:
        return sha()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha(b"\x01", mth(leaves[:k]), mth(leaves[k:]))


def root(rows: list[tuple[int, tuple[Any, ...]]]) -> str:
    blocks: dict[int, list[bytes]] = {}
    for number, row in sorted(rows):
        blocks.setdefault(number // 256, []).append(sha(b"\x00", content(row)))
    tops = [
        sha(b"\x00", number.to_bytes(8, "big"), mth(leaves))
        for number, leaves in sorted(blocks.items())
    ]
    return mth(tops).hex()


def roots(path: Path) -> dict[str, Any]:
    """The roots over all rows as they are now."""
    with contextlib.closing(sqlite3.connect(path / "index.sqlite")) as index:
        messages = index.execute("SELECT * FROM messages").fetchall()
        folders = index.execute("SELECT * FROM folders").fetchall()
        transfers = {
            key: root(
                [
                    (row[0], row)
                    for row in index.execute(
                        "SELECT * FROM transfers WHERE target_id = ?", (number,)
                    )
                ]
            )
            for number, key in index.execute("SELECT id, key FROM targets").fetchall()
        }
    return {
        "messages": root([(row[0], row) for row in messages]),
        "folders": root([(row[0], row) for row in folders]),
        "transfers": transfers,
    }


def complaints(path: Path) -> list[str]:
    """What is wrong with the journal, and with the rows against its last record."""
    found = []
    before, record = "0" * 64, {}
    for number, line in enumerate((path / "journal.jsonl").read_bytes().splitlines(), 1):
        record = json.loads(line)
        if canonical(record).encode() != line:
            found.append(f"record {number} is not written as it should be")
        if record["number"] != number or record["previous"] != before:
            found.append(f"record {number} does not follow")
        before = hashlib.sha256(line).hexdigest()
    if roots(path) != record["roots"]:
        found.append("the rows are not those of the last record")
    return found


def seal(path: Path) -> str:
    """The seal of the newest record."""
    last = (path / "journal.jsonl").read_bytes().splitlines()[-1]
    number = int(hashlib.sha256(last).hexdigest()[:40], 16)
    letters = "".join(_CROCKFORD[number >> shift & 31] for shift in range(155, -1, -5))
    return "-".join(letters[at : at + 4] for at in range(0, 32, 4))
