"""The peaks of both stages with a large message, and with many messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.benchmark import turns, us
from scripts.benchmark.bench import MOST_MEMORY
from scripts.benchmark.corpora import Corpus, tiny
from scripts.benchmark.goals import at_most
from scripts.benchmark.measure import demand
from scripts.benchmark.peers import pull_command, push
from scripts.benchmark.table import Table
from scripts.benchmark.turns import Contender, Series, measured_in_turns
from tests import corpus
from tests.servers.dovecot import HOST, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scripts.benchmark.bench import Bench


def memory(bench: Bench) -> Iterator[Table]:
    """One message of 200 MB among 200, and 200,000 messages; either stage."""
    sizes = bench.sizes
    few = Corpus("large", sizes.few)
    large = Corpus("large", sizes.few, large=sizes.large)
    many = Corpus("tiny", sizes.many)
    yield _large(bench, few, large)
    yield _many(bench, many)


def _large(bench: Bench, few: Corpus, large: Corpus) -> Table:
    stand, octets = bench.stand, f"{large.large / 1e6:.0f} MB"
    archives = {each.user: bench.archive(each) for each in (few, large)}
    contenders = []
    for wanted, name in ((few, f"{few.count} tiny"), (large, f"and {octets}")):
        contenders += [
            _export(bench, wanted, f"export, {name}"),
            _import(bench, archives[wanted.user], wanted.messages, f"import, {name}"),
        ]
    if (maildir := bench.maildir(large)) is not None:
        contenders += [
            Contender(
                f"mbsync, and {octets}",
                turns.FSYNC_PER_MESSAGE,
                lambda: stand.run(*pull_command(stand, large, stand.new_directory())),
                is_peer=True,
            ),
            Contender(
                f"mbsync push, and {octets}",
                turns.JOURNAL,
                lambda: push(stand, maildir, stand.new_user(), large.messages),
                is_peer=True,
            ),
        ]
    series = measured_in_turns(contenders, 1)
    table = Table("memory", f"one message of {octets} more", series)
    _judge(table, series[2:4], series[:2])
    return table


def _many(bench: Bench, many: Corpus) -> Table:
    """Messages arrive in a mailbox of its own, so that the corpus stays as its seed says."""
    stand = bench.stand
    archive = bench.archive(many)
    copy = stand.new_user()
    contenders = [
        _export(bench, many, "export, all new"),
        Contender(
            "import, all to send",
            turns.SYNC_PER_BATCH,
            lambda: us.replay(stand, archive, copy, many.messages),
        ),
    ]
    series = measured_in_turns(contenders, 1)
    # the copy is a mailbox that may change
    second = stand.new_directory()
    stand.run(*us.export_command(second, copy, stand.port))
    command = us.export_command(second, copy, stand.port)
    later = Series("export, nothing new", turns.SYNC_PER_BATCH)
    later.runs.append(stand.run(*command))
    _deliver(bench, copy, 1)
    one = Series("export, one new", turns.SYNC_PER_BATCH)
    one.runs.append(stand.run(*command))
    demand(us.archived(second) == many.messages + 1, f"{us.archived(second)} archived")
    target = stand.new_user()
    us.replay(stand, second, target, many.messages + 1)
    _deliver(bench, copy, 9)
    stand.run(*command)
    rest = Series("import, all but 9 sent", turns.SYNC_PER_BATCH)
    rest.runs.append(us.replay(stand, second, target, many.messages + 10))
    table = Table("memory", f"{many.messages:,} tiny messages", [*series, later, one, rest])
    _judge(table, table.series, [])
    return table


def by_pop3(bench: Bench) -> Table:
    """Return the peaks of stage one by POP3."""
    sizes = bench.sizes
    stand = bench.stand
    cases = (
        (Corpus("large", sizes.few), f"{sizes.few} tiny"),
        (Corpus("large", sizes.few, large=sizes.large), f"and {sizes.large / 1e6:.0f} MB"),
        (Corpus("tiny", sizes.many), f"{sizes.many:,} tiny"),
    )
    series, archive = [], stand.new_directory()
    for wanted, name in cases:
        stand.lay(wanted)
        archive = stand.new_directory()
        each = Series(f"export by POP3, {name}", turns.SYNC_PER_BATCH)
        each.runs.append(us.export(stand, archive, wanted, protocol="pop3"))
        series.append(each)
    again = Series("export by POP3, nothing new", turns.SYNC_PER_BATCH)
    command = us.export_command(archive, wanted.user, stand.server.pop3_port, protocol="pop3")
    again.runs.append(stand.run(*command))
    table = Table("pop3", "peaks of memory", [*series, again])
    _judge(table, table.series[1:], table.series[:1])
    return table


def _judge(table: Table, judged: list[Series], usual: list[Series]) -> None:
    for each in judged:
        what = f"peak memory, {each.name}"
        table.goals.append(at_most(what, each.peak / 1e6, MOST_MEMORY, "MB"))
    for each, base in zip(judged, usual, strict=False):
        change = (each.peak / base.peak - 1) * 100
        table.notes.append(f"{each.name}, against {base.name}: {change:+.1f} %")


def _export(bench: Bench, wanted: Corpus, name: str) -> Contender:
    stand = bench.stand
    return Contender(
        name,
        turns.SYNC_PER_BATCH,
        lambda: us.export(stand, stand.new_directory(), wanted),
    )


def _import(bench: Bench, archive: Path, count: int, name: str) -> Contender:
    stand = bench.stand
    return Contender(
        name,
        turns.SYNC_PER_BATCH,
        lambda: us.replay(stand, archive, stand.new_user(), count),
    )


def _deliver(bench: Bench, user: str, count: int) -> None:
    """Let new mail arrive."""
    mail = tiny(count, ["INBOX"], seed=count)
    corpus.fill_by_append(HOST, bench.stand.port, user, PASSWORD, mail)
