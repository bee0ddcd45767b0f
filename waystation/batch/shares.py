"""What each worker may do of what all together may do in a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def shares(workers: Collection[str], at_work: Mapping[str, int]) -> dict[str, float]:
    """Return by worker the part of the whole, by how many mailboxes it works on; 1 in all.

    One that has none yet counts as if it had one, so that what it begins with is not refused.
    """
    weights = {worker: max(1, at_work.get(worker, 0)) for worker in workers}
    total = sum(weights.values())
    return {worker: weight / total for worker, weight in weights.items()}
