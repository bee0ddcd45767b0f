"""A long run into Exchange Online: tokens that end, outages, a full mailbox, a shut one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from importer.lasting import LastingTarget
from importer.pace import PaceLimits
from importer.refusals import TargetFullError
from importer.verify import verify
from store.finding import Compared
from store.transfers import TransferState
from tests.exchange_online.profile import EXO_2026
from tests.importer.examine import violations
from tests.importer.exchange import Tenant, tenant
from tests.importer.support import Mail, mail
from waystation.errors import NotConnectedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.finding import Finding

Start = Callable[..., Tenant]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(lasts: float = 3600, lapse: float = 0.001, **changes: object) -> Tenant:
            profile = replace(EXO_2026, **changes)  # type: ignore[arg-type]  # as in Profile
            return stack.enter_context(tenant(profile, lasts=lasts, lapse=lapse))

        yield begin


def verified(archive: Mail, exo: Tenant, compared: Compared, *, deep: bool) -> list[Finding]:
    patience = exo.client.patience(archive.listener)
    with LastingTarget(exo.client.connect, archive.listener, patience) as target:
        return list(
            verify(
                archive.archive,
                target,
                archive.target,
                archive.listener,
                compared,
                house=exo.house,
                deep=deep,
            )
        )


def test_a_run_over_many_token_lifetimes_ends_without_an_error(
    mail_archive: Mail, start: Start
) -> None:
    exo = start(lasts=300, lapse=0.005)
    for number in range(250):
        mail_archive.add(mail(number))
    began = exo.client.clock()

    result = exo.replay(mail_archive, pace=PaceLimits(start=0.25, most=0.25))

    assert exo.client.clock() - began > 3 * 300
    assert exo.client.tokens.issued > 3
    assert (result.appended, result.is_complete) == (250, True)
    assert (mail_archive.listener.problems, mail_archive.listener.alarms) == ([], [])
    assert violations(exo, mail_archive) == []


def test_a_server_that_ends_the_session_at_any_moment_is_no_failure_either(
    mail_archive: Mail, start: Start
) -> None:
    exo = start(token_cut_chance=0.3)
    for number in range(40):
        mail_archive.add(mail(number))

    assert exo.replay(mail_archive).is_complete
    assert violations(exo, mail_archive) == []


def test_verification_goes_on_over_tokens_and_says_what_it_compared(
    mail_archive: Mail, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    exo = start()
    for number in range(60):
        mail_archive.add(b"MIME-Version: 1.0\r\n" + mail(number))
    exo.replay(mail_archive)
    issued = exo.client.tokens.issued
    questions = count(1)
    monkeypatch.setattr(exo.client.tokens, "must_renew", lambda _: next(questions) % 20 == 0)
    compared = Compared()

    assert verified(mail_archive, exo, compared, deep=True) == []
    assert compared.passed == {"headers": 60, "received": 60, "flags": 60, "content": 60}
    assert exo.client.tokens.issued > issued
    assert mail_archive.states() == {TransferState.VERIFIED: 60}


def test_verification_names_what_somebody_has_changed(mail_archive: Mail, start: Start) -> None:
    exo = start()
    for number in range(3):
        mail_archive.add(b"MIME-Version: 1.0\r\n" + mail(number))
    exo.replay(mail_archive)
    gone, changed, _ = exo.there()
    folder = exo.box.folders["INBOX"]
    folder.messages.remove(gone)
    folder.messages.remove(changed)
    other = exo.box.add_message(
        "INBOX", changed.original.replace(b"Text.", b"Test."), internaldate=changed.internaldate
    )
    other.uid = changed.uid

    found = verified(mail_archive, exo, Compared(), deep=True)

    assert sorted(each.cause.value for each in found) == ["content", "missing"]


def test_an_outage_is_waited_out(mail_archive: Mail, start: Start) -> None:
    exo = start()
    for number in range(5):
        mail_archive.add(mail(number))
    listener = mail_archive.listener

    def advance(messages: int, _: int) -> None:
        listener.advanced += messages
        if listener.advanced == 2:
            exo.server.outage = "no"

    def waiting(seconds: float, _: str) -> None:
        listener.waits.append(seconds)
        if len(listener.waits) == 3:
            exo.server.outage = None

    listener.advance = advance  # type: ignore[method-assign,assignment]
    listener.waiting = waiting  # type: ignore[method-assign,assignment]

    assert exo.replay(mail_archive).is_complete
    assert len(listener.waits) >= 3
    assert violations(exo, mail_archive) == []


@pytest.mark.parametrize("form", ["no", "bare line", "bye"])
def test_an_outage_that_meets_the_first_connection_is_waited_out_too(
    mail_archive: Mail, start: Start, form: str
) -> None:
    exo = start()
    mail_archive.add(mail(1))
    listener = mail_archive.listener
    exo.server.outage = form  # type: ignore[assignment]

    def waiting(seconds: float, _: str) -> None:
        listener.waits.append(seconds)
        if len(listener.waits) == 2:
            exo.server.outage = None

    listener.waiting = waiting  # type: ignore[method-assign,assignment]

    assert exo.replay(mail_archive).is_complete
    assert len(listener.waits) == 2
    assert violations(exo, mail_archive) == []


def test_a_full_mailbox_is_told_as_what_it_is_and_nothing_is_lost(
    mail_archive: Mail, start: Start
) -> None:
    exo = start(quota=5 * len(mail(1)))
    for number in range(10):
        mail_archive.add(mail(number))

    with pytest.raises(TargetFullError, match="full"):
        exo.replay(mail_archive)

    assert mail_archive.states() == {"appended": 5, "pending": 5}
    exo.box.quota = None
    assert exo.replay(mail_archive).appended == 5
    assert violations(exo, mail_archive) == []


def test_a_mailbox_that_is_shut_in_the_middle_is_tried_three_more_times(
    mail_archive: Mail, start: Start
) -> None:
    exo = start(token_cut_chance=1.0, token_cut_stores_chance=1.0)
    mail_archive.add(mail(1))
    exo.box.imap_enabled = True
    connect = exo.client.connect
    opened = 0

    def shut_after_the_first() -> object:
        nonlocal opened
        opened += 1
        exo.box.imap_enabled = opened == 1
        return connect()

    with pytest.raises(NotConnectedError):
        mail_archive.replay(
            shut_after_the_first,  # type: ignore[arg-type]  # what connect gives
            exo.client.patience(mail_archive.listener),
            house=exo.house,
        )

    assert mail_archive.listener.waits == [60.0, 300.0, 900.0]
    exo.box.imap_enabled = True
    exo.replay(mail_archive)
    assert [each.original for each in exo.there()] == [mail(1)]
