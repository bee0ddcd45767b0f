"""The archive against itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.benchmark import turns, us
from scripts.benchmark.cells.export import described
from scripts.benchmark.table import Table
from scripts.benchmark.turns import Contender, measured_in_turns, wall_ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.benchmark.bench import Bench

_SHA256SUM = 'find "$0" -type f -path "*/cur/*" -print0 | xargs -0 sha256sum'


def check(bench: Bench) -> Iterator[Table]:
    """All that is to be known of the files, beside sha256sum over the same ones."""
    wanted, stand, rounds = bench.flat, bench.stand, bench.sizes.rounds
    archive = bench.archive(wanted)
    files = str(archive / "maildir")
    contenders = [
        Contender(
            "waystation check",
            turns.READS_ONLY,
            lambda: stand.run(*us.WAYSTATION, "check", str(archive)),
            wanted.messages,
        ),
        Contender(
            "sha256sum",
            turns.READS_ONLY,
            lambda: stand.run("sh", "-c", _SHA256SUM, files),
            wanted.messages,
        ),
    ]
    ours, theirs = series = measured_in_turns(contenders, rounds)
    table = Table("check", f"{described(wanted)}; {turns.in_words(rounds)}", series)
    table.notes.append(f"wall, against sha256sum: {wall_ratio(ours, theirs)} x")
    yield table
