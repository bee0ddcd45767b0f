"""An import into Exchange Online, told in stories, against the simulator."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from store.transfers import TransferState
from tests.exchange_online.profile import EXO_2026, Profile
from tests.importer.examine import violations
from tests.importer.exchange import Tenant, tenant
from tests.importer.support import NOON, Mail, mail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = b"Subject: long\r\nMessage-ID: <long@x>\r\n\r\n" + b"word " * 4000 + b"\r\n"


@pytest.fixture
def start() -> Iterator[Callable[..., Tenant]]:
    from contextlib import ExitStack

    with ExitStack() as stack:

        def begin(profile: Profile = EXO_2026, **more: object) -> Tenant:
            changes = {k: v for k, v in more.items() if k in Profile.__dataclass_fields__}
            rest = {k: v for k, v in more.items() if k not in changes}
            return stack.enter_context(
                tenant(replace(profile, **changes), **rest)  # type: ignore[arg-type]
            )

        yield begin


def test_what_arrives_is_what_was_archived(
    mail_archive: Mail, start: Callable[..., Tenant]
) -> None:
    exo = start()
    message = mail_archive.add(mail(1), flags=("\\Seen",))
    mail_archive.add(mail(2), "Projects/2024")

    result = exo.replay(mail_archive)

    (there,) = exo.there()
    assert (there.original, there.flags) == (mail(1), {"\\Seen"})
    assert there.internaldate == NOON.astimezone(UTC)
    assert mail_archive.place_of(message)[2] == there.uid
    assert [each.original for each in exo.there("Projects/2024")] == [mail(2)]
    assert (result.appended, result.is_complete) == (2, True)
    assert exo.replay(mail_archive).appended == 0


def test_a_line_that_breaks_the_session_is_mended_before_it_is_sent(
    mail_archive: Mail, start: Callable[..., Tenant]
) -> None:
    exo = start()
    message = mail_archive.add(LONG)

    result = exo.replay(mail_archive)

    (there,) = exo.there()
    assert max(map(len, there.original.split(b"\r\n"))) <= 9900
    found = mail_archive.archive.transfers.of(message.id, mail_archive.target.id)
    assert found is not None
    (repair,) = found.repairs
    assert (repair.step, repair.before) == ("long-lines", message.sha256)
    assert repair.after == there.original_sha256
    assert (result.appended, result.repaired) == (1, 1)
    assert mail_archive.file_of(message).read_bytes() == LONG


def test_a_message_that_cannot_be_converted_is_sent_wrapped_at_last(
    mail_archive: Mail, start: Callable[..., Tenant]
) -> None:
    body = b"X-Sim-Unconvertible: yes\r\n" + mail(1)
    exo = start()
    message = mail_archive.add(body, flags=("\\Seen", "\\Flagged"))
    mail_archive.add(mail(2))

    result = exo.replay(mail_archive)

    assert result.is_complete
    assert exo.server.sessions_closed_for_bad == 0
    assert mail_archive.state_of(message) is TransferState.APPENDED
    found = mail_archive.archive.transfers.of(message.id, mail_archive.target.id)
    assert found is not None
    assert [repair.step for repair in found.repairs] == ["envelope"]


def test_flagged_is_stored_once_more_so_that_outlook_shows_it(
    mail_archive: Mail, start: Callable[..., Tenant]
) -> None:
    exo = start()
    mail_archive.add(mail(1), flags=("\\Flagged", "\\Seen"))

    exo.replay(mail_archive)

    (there,) = exo.there()
    assert there.flags == {"\\Flagged", "\\Seen"}
    assert there.visible_in_outlook_as_flagged


def test_no_mail_goes_where_there_is_no_mail(
    mail_archive: Mail, start: Callable[..., Tenant]
) -> None:
    exo = start(locale="de")
    for name in ("Calendar", "Kalender", "Notizen", "Files", "Kontakte/Alt", "Sent", "Trash"):
        mail_archive.add(mail(name), name)

    exo.replay(mail_archive)

    assert exo.box.in_non_mail_folders() == []
    assert sorted({name for name, _ in exo.box.stored()}) == [
        "Calendar (imported)",
        "Files (imported)",
        "Gelöschte Elemente",
        "Gesendete Elemente",
        "Kalender (imported)",
        "Kontakte (imported)/Alt",
        "Notizen (imported)",
    ]


def test_nothing_is_sent_before_a_backoff_is_over(
    mail_archive: Mail, start: Callable[..., Tenant]
) -> None:
    exo = start(throttle_chance=0.2)
    for number in range(40):
        mail_archive.add(mail(number))

    result = exo.replay(mail_archive)

    assert result.throttled > 0
    assert exo.box.commands_during_backoff == []
    assert sorted(each.original for each in exo.there()) == sorted(mail(n) for n in range(40))


@pytest.mark.parametrize("glued", [False, True])
def test_a_throttle_is_waited_out_whatever_ends_the_session(
    mail_archive: Mail, start: Callable[..., Tenant], glued: bool
) -> None:
    exo = start(throttle_chance=0.2, throttle_glues_bye=glued)
    for number in range(30):
        mail_archive.add(mail(number))

    assert exo.replay(mail_archive).is_complete
    assert exo.box.commands_during_backoff == []
    assert len(exo.there()) == 30


@pytest.mark.parametrize(
    "trouble",
    [
        "cut_in_literal_chance",
        "cut_after_storing_chance",
        "cut_without_storing_chance",
        "late_answer_chance",
        "token_cut_chance",
        "appenduid_omitted_chance",
        "appenduid_garbled_chance",
        "outage_chance",
    ],
)
@pytest.mark.parametrize("lag", [0.0, 0.5])
def test_whatever_goes_wrong_each_message_arrives_once(
    mail_archive: Mail, start: Callable[..., Tenant], trouble: str, lag: float
) -> None:
    chance = 0.03 if trouble == "outage_chance" else 0.2
    exo = start(**{trouble: chance}, lag_chance=lag, lag_hides_from_select=True, rewriting=2)
    for number in range(30):
        mail_archive.add(mail(number))
    mail_archive.add(b"\r\nNo headers at all.\r\n")
    mail_archive.add(b"Subject: no id\r\n\r\nText.\r\n", date=NOON + timedelta(hours=1))

    result = exo.replay(mail_archive)

    assert result.is_complete
    assert len(exo.there()) == 32
    assert len({each.original for each in exo.there()}) == 32
    assert exo.server.sessions_closed_for_bad == 0


@pytest.mark.parametrize("rewriting", [0, 1, 2])
def test_what_lies_there_from_an_earlier_move_is_known_again(
    mail_archive: Mail, start: Callable[..., Tenant], rewriting: int
) -> None:
    exo = start(rewriting=rewriting)
    bodies = [b"MIME-Version: 1.0\r\n" + mail(n, f"Text {n}. " * 20) for n in range(5)]
    other = b"MIME-Version: 1.0\r\n" + mail(4, "Another text under the same headers.")
    for body in bodies[:3]:
        exo.box.add_message("INBOX", body, internaldate=NOON)
    exo.box.add_message("INBOX", other, internaldate=NOON)
    for body in bodies:
        mail_archive.add(body)

    result = exo.replay(mail_archive)

    assert (result.already_there, result.appended) == (3, 2)
    assert sorted(each.original for each in exo.there()) == sorted([*bodies, other])


@pytest.mark.parametrize("vague_first", [False, True])
def test_a_message_with_little_to_be_known_by_is_not_taken_for_another(
    mail_archive: Mail, start: Callable[..., Tenant], vague_first: bool
) -> None:
    exo = start(appenduid_omitted_chance=1.0, rewriting=2)
    bodies = [
        b"\r\nNo headers at all.\r\n",
        b"Message-ID:\r\nSubject: x\r\n\r\nx\r\n",
        b"Message-ID: <odd@x>\r\nSubject: x\r\n\r\ny\r\n",
    ]
    for body in bodies if vague_first else reversed(bodies):
        mail_archive.add(body)

    exo.replay(mail_archive)

    assert violations(exo, mail_archive) == []


def test_dates_are_clamped_and_the_ledger_says_to_what(
    mail_archive: Mail, start: Callable[..., Tenant]
) -> None:
    exo = start()
    early = mail_archive.add(mail(1), date=datetime(1965, 1, 1, tzinfo=UTC))
    mail_archive.add(mail(2), date=datetime(2099, 1, 1, tzinfo=UTC))
    none = mail_archive.add(mail(3), date=None)

    exo.replay(mail_archive)

    dates = {each.original: each.internaldate for each in exo.there()}
    assert dates[mail(1)] == datetime(1970, 1, 2, tzinfo=UTC)
    assert dates[mail(2)] < datetime.now(UTC) + timedelta(minutes=1)
    assert dates[mail(3)] == NOON  # out of its header Date
    transfers = mail_archive.archive.transfers
    sent = transfers.some(mail_archive.target.id, [early.id, none.id])
    assert [each.internaldate for each in sent] == [datetime(1970, 1, 2, tzinfo=UTC), NOON]
