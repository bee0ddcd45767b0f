"""Many messages of every hostile kind into Exchange Online, by seed: each of them accounted for."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from tests.exchange_online.corpus import hostile_messages, ordinary_messages
from tests.exchange_online.profile import EXO_2026, EXO_HOSTILE
from tests.importer.examine import violations
from tests.importer.exchange import tenant
from waystation.model import join_levels

if TYPE_CHECKING:
    from tests.exchange_online.profile import Profile
    from tests.importer.support import Mail


def fill(archive: Mail, seed: int, count: int) -> None:
    """Archive the whole hostile corpus and ordinary mail beside it."""
    for specimen in chain(hostile_messages(seed), ordinary_messages(seed, count)):
        archive.add(
            specimen.octets,
            join_levels(specimen.folder),
            date=specimen.internaldate,
            flags=specimen.flags,
            keywords=specimen.keywords,
        )


@pytest.mark.parametrize("profile", [EXO_2026, EXO_HOSTILE], ids=lambda profile: profile.name)
def test_hostile_mail_is_all_accounted_for(mail_archive: Mail, profile: Profile) -> None:
    fill(mail_archive, 1, 100)
    with tenant(profile, lapse=0.001) as exo:
        exo.replay(mail_archive)

        assert violations(exo, mail_archive) == []
        assert exo.replay(mail_archive).appended == 0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.parametrize("profile", [EXO_2026, EXO_HOSTILE], ids=lambda profile: profile.name)
def test_five_thousand_messages_are_all_accounted_for(
    mail_archive: Mail, profile: Profile, seed: int
) -> None:
    fill(mail_archive, seed, 5000)
    with tenant(profile, seed=seed, lapse=0.0005) as exo:
        exo.replay(mail_archive)

        assert violations(exo, mail_archive) == []


@pytest.mark.long
def test_most_of_what_a_throttling_server_would_let_through_is_used(mail_archive: Mail) -> None:
    for specimen in ordinary_messages(1, 4000):
        mail_archive.add(specimen.octets, date=specimen.internaldate)
    profile = replace(EXO_2026, bucket_burst=60, bucket_recharge=1, backoff_seconds=60)
    with tenant(profile, lapse=0.04) as exo:
        exo.replay(mail_archive)

        used = exo.box.spent / exo.box.allowance_seen()
        print(f"{used:.1%} of the budget, {len(exo.box.throttles)} throttles")
        assert used >= 0.95
        assert violations(exo, mail_archive) == []
