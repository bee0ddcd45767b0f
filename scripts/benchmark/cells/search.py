"""The words of many messages: how fast they are read, their size, what questions take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.benchmark import questions, turns, us
from scripts.benchmark.stand import say
from scripts.benchmark.table import Table
from scripts.benchmark.turns import Contender, measured_in_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.benchmark.bench import Bench


def search(bench: Bench) -> Iterator[Table]:
    """200,000 messages, no server: the index of their words, and questions in this process."""
    stand, count = bench.stand, bench.sizes.many
    archive = stand.new_directory()
    say(f"an archive of {count:,} messages with words in them")
    octets = questions.fill(archive, count)
    details = []
    for title, lines in questions.measured(archive, bench.sizes.starts):
        details += [title, *(f"  {line}" for line in lines)]
    whole = Contender(
        "waystation search",
        turns.READS_ONLY,
        lambda: stand.run(*us.WAYSTATION, "search", str(archive), "w3000", "--limit", "50"),
    )
    series = measured_in_turns([whole], bench.sizes.starts)
    title = f"{count:,} messages, {octets / 1e6:.0f} MB; the whole command, then in one process"
    yield Table("search", title, series, details=details)
