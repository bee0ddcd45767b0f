"""The budget of a user: what it lets through, and what is said when it is used up."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.exchange_online.conftest import BOB
from tests.exchange_online.profile import EXO_2026

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.exchange_online.conftest import Place

MESSAGE = b"Subject: hello\r\n\r\nhello\r\n"
SMALL = replace(EXO_2026, bucket_burst=3, octets_per_unit=10**9)
"""Three commands, then four a second; at a scale of 0.001 four a millisecond."""


def backoff(line: bytes, word: bytes) -> int:
    """Return the milliseconds of a throttled answer."""
    match = re.fullmatch(
        word + rb" Request is throttled. Suggested Backoff Time: (\d+) milliseconds", line
    )
    assert match, line
    return int(match[1])


def test_an_empty_bucket_tells_how_long_to_wait(place: Callable[..., Place]) -> None:
    here = place(SMALL)
    client = here.client()
    for _ in range(3):
        assert client.append(b"INBOX", MESSAGE)[-1].startswith(b"OK ")

    first = backoff(client.append(b"INBOX", MESSAGE)[-1], b"NO")
    here.clock.now += 0.1
    second = backoff(client.append(b"INBOX", MESSAGE, plus=True)[-1], b"NO")
    here.clock.now += second / 1000
    after = client.append(b"INBOX", MESSAGE)[-1]

    # 299.9 s at a thousandth, falling with the clock
    assert 298 <= first <= 300
    assert 98 <= first - second <= 102
    assert after.startswith(b"OK ")
    assert len(list(here.box.stored())) == 4
    assert [each.milliseconds for each in here.box.throttles] == [first, second]


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (b"SELECT INBOX", b"NO"),
        (b"FETCH 1 FLAGS", b"NO"),
        (b"UID FETCH 1 FLAGS", b"NO"),
        (b"UID SEARCH ALL", b"BAD"),
        (b"CREATE x", b"BAD"),
        (b'LIST "" "*"', b"BAD"),
    ],
)
def test_others_are_throttled_with_bad(
    place: Callable[..., Place], command: bytes, word: bytes
) -> None:
    client = place(replace(SMALL, bucket_burst=1)).client()
    client.command(b"NAMESPACE")

    backoff(client.command(command)[-1], word)
    assert client.command(b"NOOP") == [b"OK NOOP completed."]
    assert client.command(b"CAPABILITY")[-1] == b"OK CAPABILITY completed."


def test_the_budget_is_the_users_and_not_the_connections(place: Callable[..., Place]) -> None:
    here = place(replace(SMALL, bucket_burst=1))
    here.server.add_mailbox("ann@contoso.com")
    here.client().command(b"NAMESPACE")
    ann = here.connect()
    ann.sign_in("ann@contoso.com", here.token())

    backoff(here.client().command(b"SELECT INBOX")[-1], b"NO")
    assert ann.command(b"NAMESPACE")[-1].startswith(b"OK ")


def test_what_is_sent_during_a_backoff_is_noticed(place: Callable[..., Place]) -> None:
    here = place(replace(SMALL, bucket_burst=1))
    client = here.client()
    client.command(b"NAMESPACE")
    wait = backoff(client.append(b"INBOX", MESSAGE)[-1], b"NO")
    client.command(b"NOOP")
    assert here.box.commands_during_backoff == []

    client.command(b"UID SEARCH ALL")
    here.connect().sign_in(BOB, here.token())

    seen = here.box.commands_during_backoff
    assert [each.command for each in seen] == ["UID SEARCH", "AUTHENTICATE"]
    assert seen[0].milliseconds_early <= wait
    here.clock.now += wait / 1000
    here.client().command(b"NAMESPACE")
    assert len(here.box.commands_during_backoff) == 2


def test_octets_cost_as_well(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, octets_per_unit=1000))
    client = here.client()

    client.append(b"INBOX", b"S: x\r\n\r\n" + b"y" * 9_992)
    assert 11 <= here.box.spent < 11.1
    client.command(b"SELECT INBOX")
    client.command(b"UID FETCH 1 BODY.PEEK[]")
    assert 22 < here.box.spent < 28


def test_the_allowance_grows_with_the_clock(place: Callable[..., Place]) -> None:
    here = place(SMALL)
    client = here.client()
    assert here.box.allowance_seen() == 3
    client.command(b"NAMESPACE")

    here.clock.now += 0.5

    # four a second, a thousand times as fast
    assert here.box.allowance_seen() == pytest.approx(3 + 4 * 500)
    assert here.box.spent < 1.1


def test_a_bye_may_be_glued_to_the_answer(place: Callable[..., Place]) -> None:
    here = place(replace(SMALL, bucket_burst=1, throttle_glues_bye=True))
    client = here.client()
    client.command(b"NAMESPACE")

    backoff(client.append(b"INBOX", MESSAGE)[-1], b"NO")

    assert client.rest() == [b"* BYE Connection closed. 14"]
    assert here.server.sessions_closed_for_bad == 0


def test_throttling_may_come_by_chance_or_not_at_all(place: Callable[..., Place]) -> None:
    by_chance = place(replace(EXO_2026, throttle_chance=1)).client()
    never = place(replace(SMALL, throttles=False)).client()

    backoff(by_chance.append(b"INBOX", MESSAGE)[-1], b"NO")
    answers = [never.append(b"INBOX", MESSAGE)[-1][:2] for _ in range(10)]
    assert answers == [b"OK"] * 10
