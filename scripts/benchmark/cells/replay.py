"""Stage two: an archive into an empty mailbox of a server that syncs nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.benchmark import reference, turns, us
from scripts.benchmark.cells.export import described
from scripts.benchmark.corpora import Corpus
from scripts.benchmark.goals import at_least
from scripts.benchmark.measure import demand
from scripts.benchmark.peers import PUSH, imapsync
from scripts.benchmark.table import Table
from scripts.benchmark.turns import Contender, measured_in_turns, times_as_fast
from tests.compare import differences, snapshot
from tests.servers.dovecot import HOST, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scripts.benchmark.bench import Bench

OURS = "waystation import"
FOUR = "waystation import, 4 conn."
LOOP = "imaplib append loop"


def small(bench: Bench) -> Iterator[Table]:
    """20,000 small messages into one folder, against mbsync's push."""
    wanted, stand = bench.flat, bench.stand
    archive, maildir = bench.archive(wanted), bench.maildir(wanted)
    contenders = [
        _ours(bench, wanted, archive),
        *bench.peers.pushing(stand, maildir, wanted.messages),
    ]
    table = _table(bench, wanted, "import-small", contenders)
    if (ours := table.named(OURS)) and (peer := table.named(PUSH)):
        table.goals.append(at_least("rate, against mbsync's push", times_as_fast(ours, peer), 0.95))
    table.notes.append(_compared(bench, wanted, archive))
    yield table


def folders(bench: Bench) -> Iterator[Table]:
    """The same over 20 folders, with four connections."""
    wanted, stand = bench.tree, bench.stand
    archive, maildir = bench.archive(wanted), bench.maildir(wanted)
    four = us.with_connections("import", 4)
    contenders = [_ours(bench, wanted, archive, *us.with_connections("import", 1))]
    if four:
        contenders.append(_ours(bench, wanted, archive, *four, name=FOUR))
    contenders += bench.peers.pushing(stand, maildir, wanted.messages)
    table = _table(bench, wanted, "import-folders", contenders)
    if not four:
        table.notes.append("this waystation import has no --connections: one connection only")
    if (peer := table.named(PUSH)) and (ours := table.named(FOUR) or table.named(OURS)):
        what = f"rate with {4 if four else 'ONE, not 4,'} connections, against mbsync's push"
        table.goals.append(at_least(what, times_as_fast(ours, peer), 1.25))
    table.notes.append(_compared(bench, wanted, archive, *four))
    yield table


def distance(bench: Bench) -> Iterator[Table]:
    """One folder, one connection, far away, against mbsync's push and a loop of appends."""
    wanted, stand = bench.flat, bench.stand
    archive, maildir = bench.archive(wanted), bench.maildir(wanted)
    files, slow_rounds = archive / "maildir" / "INBOX" / "cur", bench.sizes.slow_rounds
    few = min(bench.sizes.crawling, wanted.count)
    for far in bench.distances:
        with stand.at(far) as port:
            contenders = [
                _ours(bench, wanted, archive, *us.with_connections("import", 1), port=port),
                *bench.peers.pushing(stand, maildir, wanted.messages, port),
                _loop(bench, files, few, port, slow_rounds),
            ]
            if (program := bench.peers.imapsync) is not None:
                contenders.append(_imapsync(bench, program, few, port, slow_rounds))
            table = _table(bench, wanted, "import-distance", contenders)
        table.title += f", {far * 1000:.0f} ms away"
        ours, peer, loop = table.named(OURS), table.named(PUSH), table.named(LOOP)
        if ours and peer:
            what = "rate, against mbsync's push"
            table.goals.append(at_least(what, times_as_fast(ours, peer), 1.2))
        if ours and loop:
            what = "rate, against an imaplib append loop"
            table.goals.append(at_least(what, times_as_fast(ours, loop), 200))
            table.notes.append(f"{LOOP}: the rate of {few:,} messages, not of all of them")
        yield table


def _ours(
    bench: Bench, wanted: Corpus, archive: Path, *more: str, name: str = OURS, port: int = 0
) -> Contender:
    stand, count = bench.stand, wanted.messages
    return Contender(
        name,
        turns.SYNC_PER_BATCH,
        lambda: us.replay(stand, archive, stand.new_user(), count, *more, port=port),
        count,
    )


def _loop(bench: Bench, files: Path, count: int, port: int, rounds: int) -> Contender:
    stand = bench.stand
    return Contender(
        LOOP,
        turns.NOTHING,
        lambda: reference.append_loop(stand, files, stand.new_user(), count, port),
        count,
        rounds,
    )


def _imapsync(bench: Bench, program: Path, count: int, port: int, rounds: int) -> Contender:
    stand, fewer = bench.stand, Corpus("small", count)
    stand.lay(fewer)
    return Contender(
        "imapsync, target far",
        turns.NOTHING,
        lambda: imapsync(stand, program, fewer, port),
        count,
        rounds,
        is_peer=True,
    )


def _table(bench: Bench, wanted: Corpus, cell: str, contenders: list[Contender]) -> Table:
    series = measured_in_turns(contenders, bench.sizes.rounds)
    title = f"{described(wanted)} into an empty mailbox; {turns.in_words(bench.sizes.rounds)}"
    return Table(cell, title, series)


def _compared(bench: Bench, wanted: Corpus, archive: Path, *more: str) -> str:
    """Import once more, and compare each message with what the source holds.

    Raises:
        Incomplete: something differs.
    """
    user = bench.stand.new_user()
    us.replay(bench.stand, archive, user, wanted.messages, *more)
    first, second = (
        snapshot(HOST, bench.stand.port, each, PASSWORD) for each in (wanted.user, user)
    )
    found = differences(first, second)
    demand(not found, f"{wanted.user} and its copy differ: {'; '.join(found[:5])}")
    return "one more import was compared message by message: equal"
