"""What a mail says of a batch that has ended. Pure: numbers and names in, words out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from waystation.batch.run import State
from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waystation.batch.run import Ending

_NAMED = 100
_ORDER = (State.FAILED, State.FOUND, State.INCOMPLETE)


@dataclass(frozen=True, slots=True)
class Ended:
    """A batch that has ended."""

    command: str
    """Such as ``batch import``."""
    root: str
    begun: str
    ended: str
    took: str
    code: int
    endings: Mapping[str, Ending]
    sums: Mapping[str, int]
    """Of all that the single summaries count."""


def subject_of(batch: Ended) -> str:
    """Return the subject: what to know without opening the mail."""
    counts = _counts(batch)
    parts = [f"{counts[State.DONE]:,} of {len(batch.endings):,} done"]
    parts += [f"{counts[state]:,} {state.value}" for state in _ORDER if counts[state]]
    return f"waystation {batch.command}: {', '.join(parts)}"


def text_of(batch: Ended) -> str:
    """Return the words; what others have written is one line at the most."""
    counts = _counts(batch)
    lines = [
        f"{batch.command} of {plain(batch.root, 1000)}",
        f"begun {batch.begun}, ended {batch.ended} ({batch.took}), exit code {batch.code}",
        "",
        f"{counts[State.DONE]:,} of {len(batch.endings):,} mailboxes are done.",
    ]
    for state in _ORDER:
        names = [name for name, ending in batch.endings.items() if ending.state is state]
        if not names:
            continue
        lines += ["", f"{state.value} ({len(names):,}):"]
        lines += [f"  {plain(name)}: {plain(batch.endings[name].text)}" for name in names[:_NAMED]]
        if len(names) > _NAMED:
            lines.append(f"  and {len(names) - _NAMED:,} more")
    sums = [f"  {plain(key).replace('_', ' ')}: {n:,}" for key, n in batch.sums.items() if n]
    if sums:
        lines += ["", "In all:", *sums]
    lines += ["", f"One page on all mailboxes: waystation batch report {plain(batch.root, 1000)}"]
    return "\n".join(lines) + "\n"


def _counts(batch: Ended) -> dict[State, int]:
    counts = dict.fromkeys(State, 0)
    for ending in batch.endings.values():
        counts[ending.state] += 1
    return counts
