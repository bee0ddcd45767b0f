"""An import into Exchange Online, killed again and again, and all mail accounted for in the end."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from tests.exchange_online.profile import EXO_2026, EXO_HOSTILE
from tests.importer.examine import violations
from tests.importer.exchange import BOB, tenant
from tests.importer.support import Mail
from tests.importer.test_exchange_soak import fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.transfers import Target
    from tests.exchange_online.profile import Profile
    from tests.importer.exchange import Client

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Opened:
    archive: Archive
    target: Target


def start(path: Path, client: Client) -> subprocess.Popen[str]:
    clock = client.clock
    words = [path, client.host, client.port, client.ca_file, clock.lapse, clock.began, clock.first]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.importer.exchange_child", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def killed(
    path: Path, profile: Profile, seed: int, messages: int, kills: int
) -> Iterator[list[str]]:
    """Import with so many kills in between, run to the end, and give what was not kept."""
    filled = Mail(path)
    with filled.archive:
        fill(filled, seed, messages)
    chance = random.Random(seed)
    with tenant(profile, seed=seed, lapse=0.0005) as exo:
        for _ in range(kills):
            child = start(path, exo.client)
            try:
                child.wait(chance.uniform(0.7, 4))
            except subprocess.TimeoutExpired:
                child.kill()
            child.communicate()
        last = start(path, exo.client)
        _, complaints = last.communicate(timeout=600)
        assert last.returncode == 0, complaints
        with Archive.read(path) as archive:
            (target,) = (t for t in archive.transfers.targets() if t.name.endswith(BOB))
            yield violations(exo, Opened(archive, target))


@pytest.mark.parametrize("profile", [EXO_2026, EXO_HOSTILE], ids=lambda profile: profile.name)
def test_a_killed_import_goes_on_where_it_was(tmp_path: Path, profile: Profile) -> None:
    with killed(tmp_path / "archive", profile, seed=7, messages=50, kills=4) as found:
        assert found == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_hostile_tenant_and_many_kills_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    with killed(tmp_path / "archive", EXO_HOSTILE, seed, 5000, kills=20) as found:
        assert found == []
