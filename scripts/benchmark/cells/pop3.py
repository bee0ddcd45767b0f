"""Stage one by POP3, beside others who speak it; the same mail by IMAP for comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.benchmark import turns, us
from scripts.benchmark.cells.export import described
from scripts.benchmark.cells.memory import by_pop3
from scripts.benchmark.measure import demand
from scripts.benchmark.table import Table
from scripts.benchmark.turns import Contender, measured_in_turns, times_as_fast
from tests.servers.dovecot import has_pop3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.benchmark.bench import Bench


def pop3(bench: Bench) -> Iterator[Table]:
    """The same mail by POP3, against mpop and getmail; its second run, its memory."""
    if not has_pop3():
        yield Table("pop3", "needs Dovecot's POP3 server (Debian: dovecot-pop3d)", [])
        return
    wanted, stand, rounds = bench.flat, bench.stand, bench.sizes.rounds
    stand.lay(wanted)
    # the server works out what POP3 asks for when it is asked for the first time
    archive = stand.new_directory()
    us.export(stand, archive, wanted, protocol="pop3")
    contenders = [
        Contender(
            "waystation export, POP3",
            turns.SYNC_PER_BATCH,
            lambda: us.export(stand, stand.new_directory(), wanted, protocol="pop3"),
            wanted.messages,
        ),
        Contender(
            "waystation export, IMAP",
            turns.SYNC_PER_BATCH,
            lambda: us.export(stand, stand.new_directory(), wanted),
            wanted.messages,
        ),
        *bench.peers.pulling_by_pop3(stand, wanted),
    ]
    series = measured_in_turns(contenders, rounds)
    table = Table("pop3", f"{described(wanted)}; {turns.in_words(rounds)}", series)
    for each in series[2:]:
        if each.runs:
            ratio = times_as_fast(series[0], each)
            table.notes.append(f"rate by POP3, against {each.name}: {ratio} x")
    yield table
    before = us.archived(archive)
    command = us.export_command(archive, wanted.user, stand.server.pop3_port, protocol="pop3")
    again = Contender("export by POP3, again", turns.SYNC_PER_BATCH, lambda: stand.run(*command))
    series = measured_in_turns([again], bench.sizes.starts)
    demand(us.archived(archive) == before, "something was archived again")
    yield Table("pop3", f"{described(wanted)}, nothing new", series)
    yield by_pop3(bench)
