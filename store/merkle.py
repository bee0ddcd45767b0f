"""Pure: the Merkle tree over the rows of the index (FORMAT.md, chapter 13.2).

Leaves and nodes are hashed as in RFC 9162, section 2.1.1, each kind with a prefix of its own, so
that no node can be passed off as a leaf. The tree has two levels of trees: rows are gathered in
blocks by their number, so that a change costs its block and the list of blocks, not all rows.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ROWS = 256
"""Rows of a block: those whose number, divided by this, has the same whole part.

A scattered change costs the hashes of one block, so blocks are small; the list of blocks of a
million messages still has only 4,000.
"""


def leaf_hash(content: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\0" + content).digest()


def tree_hash(leaves: list[bytes]) -> bytes:
    """Return the Merkle Tree Hash of leaves that are hashed already.

    Pairs from the left; what is left over goes up as it is. That is the tree of RFC 9162,
    section 2.1.1, which splits at the largest power of two below the number of leaves.
    """
    if not leaves:
        return sha256().digest()
    level = leaves
    while len(level) > 1:
        over = level[-1:] if len(level) % 2 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [sha256(b"\1" + left + right).digest() for left, right in pairs]
        level += over
    return level[0]


def root_hash(blocks: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the root over blocks: number and tree hash of each that has leaves, ascending."""
    return tree_hash([leaf_hash(number.to_bytes(8, "big") + digest) for number, digest in blocks])
