"""The stand of the bench leaves nothing behind, and keeps what it built where it is told to."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts.benchmark.bench import Bench
from scripts.benchmark.cells import replay
from scripts.benchmark.corpora import Corpus
from scripts.benchmark.peers import Peers
from scripts.benchmark.sizes import QUICK
from scripts.benchmark.stand import Stand, stand
from tests.benchmark.test_measure import has_ended
from tests.compare import snapshot
from tests.servers.dovecot import HOST, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server

TINY = replace(QUICK, small=60, folders=3, slow=10, crawling=5, rounds=1)


@pytest.fixture
def shelf() -> Iterator[Path]:
    """Where corpora are kept; open to the account that serves them."""
    directory = Path(tempfile.mkdtemp(prefix="wsshelf", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def test_nothing_is_left_behind_when_it_is_interrupted(shelf: Path) -> None:
    seen: list[Stand] = []
    pids: list[int | None] = []

    def interrupted_at_work() -> None:
        with stand(TINY, shelf) as place:
            seen.append(place)
            pids.append(place.server.pid)
            place.lay(Corpus("small", 20))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_at_work()

    assert pids[0] is not None
    assert has_ended(pids[0])
    assert not seen[0].work.exists()
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


@pytest.mark.parametrize("wanted", [Corpus("small", 30, 3), Corpus("tiny", 30)])
def test_a_corpus_from_the_shelf_is_what_was_laid_there(shelf: Path, wanted: Corpus) -> None:
    with stand(TINY, shelf) as place:
        place.lay(wanted)
        first = snapshot(HOST, place.port, wanted.user, PASSWORD)
    before = {each.name for each in shelf.iterdir()}

    with stand(TINY, shelf) as place:
        place.lay(wanted)
        second = snapshot(HOST, place.port, wanted.user, PASSWORD)

    assert first == second
    assert {each.name for each in shelf.iterdir()} == before == {wanted.user}
    held = sorted(message.sha256 for messages in first.values() for message in messages)
    assert held == sorted(sample.as_message().sha256 for _, sample in wanted.mail())


def test_a_large_message_is_among_the_others(shelf: Path) -> None:
    wanted = Corpus("large", 5, large=200_000)
    with stand(TINY, shelf) as place:
        place.lay(wanted)

        assert place.count(wanted.user) == 6


def test_a_cell_at_a_distance_says_whether_its_goals_are_met(shelf: Path) -> None:
    with stand(TINY, shelf) as place:
        (table,) = replay.distance(Bench(place, Peers(()), distances=(0.01,)))

    assert [each.name for each in table.series] == ["waystation import", "imaplib append loop"]
    assert all(each.runs for each in table.series)
    assert [goal.bound for goal in table.goals] == [200]


def test_a_command_can_be_asked_for_what_it_took(shelf: Path) -> None:
    with stand(TINY, shelf) as place:
        assert place.run(sys.executable, "-c", "").wall > 0
