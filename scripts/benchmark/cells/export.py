"""Stage one: a mailbox into an empty archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.benchmark import reference, turns, us
from scripts.benchmark.corpora import Corpus
from scripts.benchmark.goals import at_least, ratio_at_most
from scripts.benchmark.peers import MBSYNC, MBSYNC_NO_FSYNC
from scripts.benchmark.table import Table
from scripts.benchmark.turns import Contender, measured_in_turns, times_as_fast, wall_ratio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from scripts.benchmark.bench import Bench

OURS = "waystation export"
FOUR = "waystation export, 4 conn."
DRAIN = "C drain"


def small(bench: Bench) -> Iterator[Table]:
    """20,000 small messages in one folder, against mbsync with its default and every other peer."""
    yield _against(bench, bench.flat, "export-small", 4.5, MBSYNC)
    yield _against(bench, bench.tree, "export-small", None, MBSYNC)


def small_nosync(bench: Bench) -> Iterator[Table]:
    """The same, in time: we are durable, and mbsync syncs nothing."""
    wanted, stand = bench.flat, bench.stand
    stand.lay(wanted)
    theirs = [each for each in bench.peers.pulling(stand, wanted) if each.name == MBSYNC_NO_FSYNC]
    table = _table(bench, wanted, "export-small-nosync", [_ours(bench, wanted), *theirs])
    if (ours := table.named(OURS)) and (peer := table.named(MBSYNC_NO_FSYNC)):
        what = "wall, against mbsync with FSync no"
        table.goals.append(ratio_at_most(what, wall_ratio(ours, peer), 1.4))
    yield table


def drain(bench: Bench) -> Iterator[Table]:
    """The same against a C program that receives all and keeps nothing."""
    wanted, stand = bench.flat, bench.stand
    stand.lay(wanted)
    contenders = [_ours(bench, wanted)]
    if (program := reference.compiled_drain(stand)) is not None:
        octets = sum(len(sample.body) for _, sample in wanted.mail())
        contenders.append(_drain(bench, program, wanted, octets))
    table = _table(bench, wanted, "export-drain", contenders)
    if program is None:
        table.notes.append("C drain: no compiler here (Debian: gcc, libc6-dev)")
    if (ours := table.named(OURS)) and (limit := table.named(DRAIN)):
        what = "rate, against a C program that only drains the FETCH"
        table.goals.append(at_least(what, times_as_fast(ours, limit), 0.28))
    yield table


def mixed(bench: Bench) -> Iterator[Table]:
    """5,000 messages of all sizes over 20 folders, some 390 MB, against mbsync with its default."""
    wanted = Corpus("mixed", bench.sizes.mixed, bench.sizes.folders)
    yield _against(bench, wanted, "export-mixed", 2.0, MBSYNC)


def distance(bench: Bench) -> Iterator[Table]:
    """One folder, one connection, far away, against our own rate at no distance."""
    wanted, stand = bench.flat, bench.stand
    stand.lay(wanted)
    one = us.with_connections("export", 1)
    for far in bench.distances:
        with stand.at(0.0) as near_port, stand.at(far) as far_port:
            names = ["at 0 ms, no relay", "at 0 ms", f"at {far * 1000:.0f} ms"]
            contenders = [
                _ours(bench, wanted, *one, name=f"export {name}", port=port)
                for name, port in zip(names, (stand.port, near_port, far_port), strict=True)
            ]
            table = _table(bench, wanted, "export-distance", contenders)
        _, at_none, at_distance = table.series
        what = f"rate at {far * 1000:.0f} ms, against that at 0 ms through the same relay"
        table.goals.append(at_least(what, times_as_fast(at_distance, at_none), 0.85))
        table.notes.append("the relay itself takes processor time from both: see its first row")
        table.notes.append(_line(bench))
        yield table


def _against(bench: Bench, wanted: Corpus, cell: str, bound: float | None, opponent: str) -> Table:
    stand = bench.stand
    stand.lay(wanted)
    contenders = [_ours(bench, wanted)]
    if wanted.folders > 1 and (four := us.with_connections("export", 4)):
        contenders.append(_ours(bench, wanted, *four, name=FOUR))
    contenders += bench.peers.pulling(stand, wanted)
    table = _table(bench, wanted, cell, contenders)
    if (ours := table.named(OURS)) and (peer := table.named(opponent)):
        ratio = times_as_fast(ours, peer)
        if bound is None:
            table.notes.append(f"rate, against mbsync's default: {ratio} x")
        else:
            table.goals.append(at_least("rate, against mbsync's default", ratio, bound))
    return table


def _table(bench: Bench, wanted: Corpus, cell: str, contenders: Sequence[Contender]) -> Table:
    series = measured_in_turns(contenders, bench.sizes.rounds)
    return Table(cell, f"{described(wanted)}; {turns.in_words(bench.sizes.rounds)}", series)


def described(wanted: Corpus) -> str:
    """Return what a corpus is, in words."""
    where = "one folder" if wanted.folders == 1 else f"{wanted.folders} folders"
    return f"{wanted.messages:,} {wanted.kind} messages in {where}"


def _ours(bench: Bench, wanted: Corpus, *more: str, name: str = OURS, port: int = 0) -> Contender:
    stand = bench.stand
    return Contender(
        name,
        turns.SYNC_PER_BATCH,
        lambda: us.export(stand, stand.new_directory(), wanted, *more, port=port),
        wanted.messages,
    )


def _drain(bench: Bench, program: Path, wanted: Corpus, octets: int) -> Contender:
    return Contender(
        DRAIN,
        turns.NOTHING,
        lambda: reference.drain(bench.stand, program, wanted, octets),
        wanted.messages,
    )


def _line(bench: Bench) -> str:
    width = bench.stand.bandwidth
    limit = "no limit of bandwidth" if width is None else f"{width * 8 / 1e6:g} Mbit/s"
    return f"line: {limit}, no loss, no slow start"
