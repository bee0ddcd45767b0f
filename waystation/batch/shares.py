"""What each worker may do of what all together may do, and which mailboxes are whose."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


def shares(workers: Collection[str], at_work: Mapping[str, int]) -> dict[str, float]:
    """Return by worker the part of the whole, by how many mailboxes it works on; 1 in all.

    One that has none yet counts as if it had one, so that what it begins with is not refused.
    """
    weights = {worker: max(1, at_work.get(worker, 0)) for worker in workers}
    total = sum(weights.values())
    return {worker: weight / total for worker, weight in weights.items()}


def owners(directories: Iterable[str], kept: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Return by mailbox the machine that keeps its archive; ``kept`` says what each has now.

    A mailbox that none has yet is given to the one with the fewest.

    Raises:
        ValueError: two machines have it, as its words say.
    """
    found: dict[str, str] = {}
    counts = dict.fromkeys(sorted(kept), 0)
    new = []
    for directory in directories:
        having = [machine for machine in counts if directory in kept[machine]]
        if len(having) > 1:
            raise ValueError(f"{directory} lies on {' and on '.join(having)}")
        if having:
            found[directory] = having[0]
            counts[having[0]] += 1
        else:
            new.append(directory)
    for directory in new:
        machine = min(counts, key=lambda name: counts[name])
        found[directory] = machine
        counts[machine] += 1
    return found
