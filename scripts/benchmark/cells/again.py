"""The second run: nothing is new."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from scripts.benchmark import turns, us
from scripts.benchmark.bench import MOST_MEMORY
from scripts.benchmark.cells.export import described
from scripts.benchmark.corpora import Corpus
from scripts.benchmark.goals import at_least, at_most
from scripts.benchmark.measure import Run, demand
from scripts.benchmark.peers import MBSYNC, pull_command
from scripts.benchmark.stand import say
from scripts.benchmark.table import Table
from scripts.benchmark.turns import Contender, measured_in_turns, times_as_fast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scripts.benchmark.bench import Bench

VERSION = "waystation --version"
OURS = "waystation export, again"
STATUS = "waystation status"
THEIRS = "mbsync, again"


def nothing_new(bench: Bench) -> Iterator[Table]:
    """Mailboxes that have not changed, beyond the time that a start alone takes."""
    for wanted in (bench.flat, bench.tree, Corpus("tiny", bench.sizes.many)):
        table = _table(bench, wanted, "again", bench.sizes.starts)
        start, ours = table.series[:2]
        beyond = ours.wall - start.wall
        if wanted.kind == "small":
            table.goals.append(at_most("time beyond that of --version", beyond, 0.3, "s"))
        else:
            table.notes.append(f"time beyond that of --version: {beyond:.2f} s")
        yield table


def million(bench: Bench) -> Iterator[Table]:
    """1,000,000 messages that have not changed, against mbsync; takes long, and much disk."""
    wanted = Corpus("tiny", bench.sizes.million)
    table = _table(bench, wanted, "again-million", bench.sizes.rounds)
    ours, theirs, status = table.named(OURS), table.named(THEIRS), table.named(STATUS)
    if ours and theirs:
        what = "time, against mbsync's"
        table.goals.append(at_least(what, times_as_fast(ours, theirs), 3.0))
    if ours and status:
        table.goals.append(at_most("peak memory", ours.peak / 1e6, MOST_MEMORY, "MB"))
        table.goals.append(at_most("status", status.wall, 1.0, "s"))
        table.goals.append(at_most("peak memory of status", status.peak / 1e6, MOST_MEMORY, "MB"))
    yield table


def _table(bench: Bench, wanted: Corpus, cell: str, rounds: int) -> Table:
    stand = bench.stand
    began = time.monotonic()
    archive = bench.archive(wanted)
    took = time.monotonic() - began
    before = us.archived(archive)
    contenders = [
        Contender(VERSION, "", lambda: stand.run(*us.VERSION)),
        Contender(OURS, turns.SYNC_PER_BATCH, lambda: _again(bench, archive, wanted)),
        Contender(
            STATUS, turns.READS_ONLY, lambda: stand.run(*us.WAYSTATION, "status", str(archive))
        ),
    ]
    if MBSYNC in bench.peers.present:
        say(f"mbsync's copy of {wanted.user}")
        # the state of the pull is part of the command, so it is the same command again
        command = pull_command(stand, wanted, stand.new_directory(), "no")
        stand.run(*command)
        contenders.append(
            Contender(THEIRS, turns.NOTHING, lambda: stand.run(*command), is_peer=True)
        )
    series = measured_in_turns(contenders, rounds)
    demand(us.archived(archive) == before, "something was new")
    table = Table(cell, f"{described(wanted)}, nothing new; {turns.in_words(rounds)}", series)
    if took > 1:
        table.notes.append(f"before: mailbox and archive made in {took:.0f} s, not in turns")
    return table


def _again(bench: Bench, archive: Path, wanted: Corpus) -> Run:
    return bench.stand.run(*us.export_command(archive, wanted.user, bench.stand.port))
