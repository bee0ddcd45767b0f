"""APPEND: what is stored, what is refused and how, and what stays open."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.exchange_online.conftest import BOB
from tests.exchange_online.profile import EXO_2026, MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.exchange_online.conftest import Place

MESSAGE = b"Subject: hello\r\nMessage-ID: <1@contoso.com>\r\n\r\nhello\r\n"
ERROR_10 = b"BAD Command Error. 10"
ERROR_11 = b"BAD Command Argument Error. 11"
ERROR_12 = b"BAD Command Argument Error. 12"
CLOSED = b"* BYE Connection closed. 14"
EXPIRED = b"* BYE Session invalidated - AccessTokenExpired"
TOO_LARGE = b"NO Maximum size of appendable message has been exceeded"
UNAVAILABLE = b"NO Server Unavailable. 15"


def contents(here: Place) -> list[bytes]:
    """Return what is stored, in all folders."""
    return [message.original for _, message in here.box.stored()]


def with_line_of(octets: int) -> bytes:
    """Return a message with a line of so many octets, its CR and LF not counted."""
    return b"Subject: x\r\n\r\n" + b"a" * octets + b"\r\nthis is\r\nthe tail\r\n"


@pytest.mark.parametrize("plus", [False, True])
def test_a_message_is_stored_as_it_came(place: Callable[..., Place], plus: bool) -> None:
    here = place()

    answer = here.client().append(
        b"INBOX", MESSAGE, b' (\\Seen $MDNSent) " 1-Mar-2020 10:00:00 +0530"', plus=plus
    )

    number = here.box.folders["INBOX"].uidvalidity
    assert answer == [b"OK [APPENDUID %d 1] APPEND completed." % number]
    [(folder, message)] = here.box.stored()
    assert (folder, message.uid, message.original) == ("INBOX", 1, MESSAGE)
    assert message.original_sha256 == hashlib.sha256(MESSAGE).hexdigest()
    assert message.flags == {"\\Seen", "$MDNSent"}
    assert message.internaldate == datetime(2020, 3, 1, 4, 30, tzinfo=UTC)


def test_dates_come_back_as_instants_in_utc(place: Callable[..., Place]) -> None:
    here = place()
    client = here.client()
    client.append(b"INBOX", MESSAGE, b' "31-Dec-2019 23:30:00 -0800"')
    client.append(b"INBOX", MESSAGE)
    client.command(b"SELECT INBOX")

    assert client.command(b"FETCH 1:2 INTERNALDATE")[:2] == [
        b'* 1 FETCH (INTERNALDATE "01-Jan-2020 07:30:00 +0000")',
        b'* 2 FETCH (INTERNALDATE "21-Sep-2026 14:13:20 +0000")',
    ]


def test_old_servers_ignore_the_date(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, internaldate_ignored=True))

    here.client().append(b"INBOX", MESSAGE, b' "31-Dec-2019 23:30:00 -0800"')

    [(_, message)] = here.box.stored()
    assert message.internaldate == datetime.fromtimestamp(here.clock.now, UTC)


def test_the_same_message_twice_is_two_messages(place: Callable[..., Place]) -> None:
    here = place()
    client = here.client()
    client.append(b"INBOX", MESSAGE)
    client.append(b"INBOX", MESSAGE)

    assert contents(here) == [MESSAGE, MESSAGE]


def test_a_switch_drops_duplicates(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, drops_duplicates=True))
    client = here.client()

    assert client.append(b"INBOX", MESSAGE)[-1] == client.append(b"INBOX", MESSAGE)[-1]
    assert contents(here) == [MESSAGE]


@pytest.mark.parametrize("flags", [b"($Forwarded)", b"(\\Seen NonJunk)", b"(\\Recent)"])
def test_a_keyword_is_refused_after_the_literal(place: Callable[..., Place], flags: bytes) -> None:
    here = place()

    assert here.client().append(b"INBOX", MESSAGE, b" " + flags) == [ERROR_11]
    assert not contents(here)


def test_a_missing_folder_is_refused_instead_of_the_literal(place: Callable[..., Place]) -> None:
    here = place()
    client = here.client()

    assert client.append(b"Nowhere", MESSAGE) == [b"NO [TRYCREATE] Nowhere doesn't exist."]
    assert client.append(b"Nowhere", MESSAGE, plus=True) == [
        b"NO [TRYCREATE] Nowhere doesn't exist."
    ]
    assert client.command(b"NOOP") == [b"OK NOOP completed."]


def test_the_third_bad_closes_the_session(place: Callable[..., Place]) -> None:
    here = place()
    client = here.client()

    assert client.command(b"NONSENSE") == [ERROR_10]
    assert client.append(b"INBOX", MESSAGE, b" ($Forwarded)") == [ERROR_11]
    assert client.command(b'LIST "" "*" RETURN (CHILDREN)') == [ERROR_12]
    assert client.rest() == [CLOSED]
    assert here.server.sessions_closed_for_bad == here.box.sessions_closed_for_bad == 1


def test_an_old_server_bears_ten(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, bads_until_bye=10))
    client = here.client()

    assert [client.command(b"NONSENSE") for _ in range(9)] == [[ERROR_10]] * 9
    assert client.command(b"NONSENSE") == [ERROR_10]
    assert client.rest() == [CLOSED]


def test_a_command_line_may_not_be_too_long(place: Callable[..., Place]) -> None:
    client = place().client()

    assert client.command(b"NOOP" + b" " * 10_300) == [ERROR_10]
    assert client.command(b"UID SEARCH UID " + b"1," * 20_000 + b"1") == [ERROR_10]
    assert client.command(b"NOOP") == [b"OK NOOP completed."]


@pytest.mark.parametrize("plus", [False, True])
def test_the_rest_of_a_long_line_is_read_as_commands(
    place: Callable[..., Place], plus: bool
) -> None:
    here = place()

    # of a line of 10,245 octets and CR, the last five and CR are left over
    answer = here.client().append(b"INBOX", with_line_of(10_245), plus=plus)

    assert answer == [
        b"aaaaa " + ERROR_10,
        b"this " + ERROR_10,
        b"the " + ERROR_10,
        CLOSED,
    ]
    assert not contents(here)
    assert here.server.sessions_closed_for_bad == 1


def test_lines_up_to_the_limit_are_stored(place: Callable[..., Place]) -> None:
    here = place()
    client = here.client()

    # the limit is 10,240 octets without LF, of which CR is one
    assert b"OK" in client.append(b"INBOX", with_line_of(10_239))[-1]
    assert client.append(b"INBOX", with_line_of(10_240))[0] == b"* " + ERROR_10
    assert contents(here) == [with_line_of(10_239)]


def test_a_long_header_line_is_no_better(place: Callable[..., Place]) -> None:
    here = place()
    message = b"Subject: " + b"x" * 10_300 + b"\r\nFrom: a\r\n\r\nb\r\n"

    answer = here.client().append(b"INBOX", message)

    assert answer[1] == b"From: " + ERROR_10
    assert not contents(here)


def test_long_lines_may_be_no_trouble(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, longest_literal_line=None))

    here.client().append(b"INBOX", with_line_of(200_000))

    assert contents(here) == [with_line_of(200_000)]


NESTED = (
    b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: %b\r\n\r\ninner\r\n--b--\r\n"
)
REPORT = (
    b"Subject: %b\r\nContent-Type: multipart/report; report-type=disposition-notification;\r\n"
    b" boundary=b\r\n\r\n--b\r\n\r\nread\r\n--b\r\n"
    b"Content-Type: message/disposition-notification\r\n\r\nDisposition: x\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    "message",
    [
        NESTED % b"=?utf-8?B?????=",
        NESTED % b"=?utf-8?B?/w==?=",
        NESTED % b"=?x-unknown?Q?abc?=",
        NESTED % b"=?utf-8?X?abc?=",
        REPORT % b"Done",
        b"Subject: x\r\nno colon here\r\n\r\nbody\r\n",
        b"Subject: x\r\n\r\nNUL \0\r\n",
        b"X-Sim-Unconvertible: yes\r\n\r\nbody\r\n",
    ],
)
def test_an_unconvertible_message_is_refused_and_the_session_goes_on(
    place: Callable[..., Place], message: bytes
) -> None:
    here = place()
    client = here.client()

    answers = [client.append(b"INBOX", message) for _ in range(4)]

    assert answers == [[ERROR_11]] * 4
    assert client.append(b"INBOX", MESSAGE)[-1].startswith(b"OK ")
    assert contents(here) == [MESSAGE]


@pytest.mark.parametrize(
    "message",
    [
        NESTED % b"=?utf-8?Q?gr=C3=BCn?= and plain",
        b"Subject: =?utf-8?B?????=\r\n\r\nonly nested messages matter\r\n",
        b"Subject: x\r\n\tfolded\r\n\r\nno colon in the body\r\n",
        b"X-Sim-Unconvertible: no\r\n\r\nbody\r\n",
        b"",
        b"\r\n",
    ],
)
def test_what_only_looks_alike_is_stored(place: Callable[..., Place], message: bytes) -> None:
    here = place()

    assert here.client().append(b"INBOX", message)[-1].startswith(b"OK ")
    assert contents(here) == [message]


def test_reports_may_be_refused_by_their_name_alone(place: Callable[..., Place]) -> None:
    client = place(replace(EXO_2026, report_chance=0)).client()

    assert client.append(b"INBOX", REPORT % b"Done")[-1].startswith(b"OK ")
    assert client.append(b"INBOX", REPORT % b"Read: the news") == [ERROR_11]
    assert client.append(b"INBOX", REPORT % b"Gelesen: die Post") == [ERROR_11]


def test_tests_have_a_rule_of_their_own(place: Callable[..., Place]) -> None:
    profile = replace(EXO_2026, unconvertible=lambda octets: b"hello" in octets)

    assert place(profile).client().append(b"INBOX", MESSAGE) == [ERROR_11]


def test_unconvertible_messages_may_count_as_well(place: Callable[..., Place]) -> None:
    profile = replace(EXO_2026, unconvertible_counts_as_bad=True)
    client = place(profile).client()
    message = b"X-Sim-Unconvertible: yes\r\n\r\n"

    assert [client.append(b"INBOX", message) for _ in range(3)] == [[ERROR_11]] * 3
    assert client.rest() == [CLOSED]


def test_a_large_message_is_refused_before_it_is_sent(place: Callable[..., Place]) -> None:
    client = place(replace(EXO_2026, largest_message=100)).client()

    client.send(b"a APPEND INBOX {101}\r\n")

    assert client.line() == b"a " + TOO_LARGE
    assert client.append(b"INBOX", b"S: " + b"x" * 98, plus=True) == [TOO_LARGE]
    assert client.append(b"INBOX", b"S: " + b"x" * 97)[-1].startswith(b"OK ")


def test_a_large_message_may_be_refused_after_it_is_sent(place: Callable[..., Place]) -> None:
    profile = replace(EXO_2026, largest_message=100, size_refusal="after the literal")
    client = place(profile).client()

    client.send(b"a APPEND INBOX {101}\r\n")
    assert client.line().startswith(b"+ ")
    client.send(b"S: " + b"x" * 98 + b"\r\n")

    assert client.line() == b"a " + TOO_LARGE


def test_a_very_large_message_goes_to_a_file(place: Callable[..., Place]) -> None:
    here = place()
    message = b"Subject: x\r\n\r\n" + (b"y" * 74 + b"\r\n") * (3 * MIB // 76)

    answer = here.client().append(b"INBOX", message)

    assert answer[-1].startswith(b"OK ")
    assert contents(here) == [message]


def test_a_full_mailbox_says_only_that_the_server_is_unavailable(
    place: Callable[..., Place],
) -> None:
    here = place(replace(EXO_2026, quota=len(MESSAGE)))
    client = here.client()

    assert client.append(b"INBOX", MESSAGE)[-1].startswith(b"OK ")
    assert client.append(b"INBOX", MESSAGE) == [UNAVAILABLE]
    assert client.command(b"NOOP") == [b"OK NOOP completed."]


def test_a_back_end_may_be_away_in_three_ways(place: Callable[..., Place]) -> None:
    here = place()
    client, second, third = here.client(), here.client(), here.client()

    here.server.outage = "no"
    assert client.append(b"INBOX", MESSAGE) == [UNAVAILABLE]
    here.server.outage = "bare line"
    assert second.command(b"SELECT INBOX") == [b"Server Unavailable. 15"]
    here.server.outage = "bye"
    assert third.command(b"SELECT INBOX") == [b"* BYE Connection is closed. 13"]
    here.server.outage = None
    assert client.append(b"INBOX", MESSAGE)[-1].startswith(b"OK ")


def test_outages_come_by_chance(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, outage_chance=1))

    assert here.client().command(b"NAMESPACE") == [UNAVAILABLE]


def test_the_code_may_be_missing_or_broken(place: Callable[..., Place]) -> None:
    without = place(replace(EXO_2026, appenduid_omitted_chance=1)).client()
    broken = place(replace(EXO_2026, appenduid_garbled_chance=1)).client()

    assert without.append(b"INBOX", MESSAGE) == [b"OK APPEND completed."]
    assert broken.append(b"INBOX", MESSAGE) == [b"OK [APPENDUID  ] APPEND completed."]


@pytest.mark.parametrize("mark", [b"", b"+"])
def test_two_messages_in_one_append_are_refused(place: Callable[..., Place], mark: bytes) -> None:
    here = place()
    client = here.client()
    client.send(b"a APPEND INBOX {%d+}\r\n%b (\\Seen) {3%b}\r\n" % (len(MESSAGE), MESSAGE, mark))
    client.send(b"xxx\r\n" if mark else b"")

    assert client.line() == b"a " + ERROR_12
    assert not contents(here)
    assert client.command(b"NOOP") == [b"OK NOOP completed."]


def test_an_append_without_a_message_is_refused(place: Callable[..., Place]) -> None:
    assert place().client().command(b"APPEND INBOX") == [ERROR_12]


def test_a_connection_may_break_within_the_literal(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, cut_in_literal_chance=1))

    assert here.client().append(b"INBOX", MESSAGE, plus=True) == []
    assert not contents(here)


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_connection_may_break_after_the_literal(
    place: Callable[..., Place], is_stored: bool
) -> None:
    field = "cut_after_storing_chance" if is_stored else "cut_without_storing_chance"
    here = place(replace(EXO_2026, **{field: 1}))  # type: ignore[arg-type]

    assert here.client().append(b"INBOX", MESSAGE) == []
    assert contents(here) == ([MESSAGE] if is_stored else [])


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_token_may_expire_during_an_append(place: Callable[..., Place], is_stored: bool) -> None:
    here = place(replace(EXO_2026, token_cut_stores_chance=float(is_stored)))
    client = here.client()
    client.send(b"a APPEND INBOX {%d}\r\n" % len(MESSAGE))
    assert client.line().startswith(b"+")
    here.clock.now += 3601
    client.send(MESSAGE + b"\r\n")

    assert client.rest() == [EXPIRED]
    assert contents(here) == ([MESSAGE] if is_stored else [])


def test_a_session_may_be_called_expired_by_chance(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, token_cut_chance=1, token_cut_stores_chance=0))

    assert here.client().append(b"INBOX", MESSAGE) == [EXPIRED]


def test_an_answer_may_come_late(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, late_answer_chance=1))
    client = here.client()

    started = time.monotonic()
    answer = client.append(b"INBOX", MESSAGE)

    # 30 to 120 seconds at a thousandth
    assert 0.03 <= time.monotonic() - started < 5
    assert answer[-1].startswith(b"OK ")


def test_a_new_message_is_not_searched_at_once(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, lag_chance=1, lag_seconds=(60, 60)))
    client = here.client()
    client.append(b"INBOX", MESSAGE)
    search = b"UID SEARCH HEADER Message-ID <1@contoso.com>"

    assert client.command(b"SELECT INBOX")[0] == b"* 1 EXISTS"
    assert client.command(search)[0] == b"* SEARCH"
    here.clock.now += 0.061
    assert client.command(search)[0] == b"* SEARCH 1"


def test_a_new_message_may_not_be_seen_at_once(place: Callable[..., Place]) -> None:
    profile = replace(EXO_2026, lag_chance=1, lag_seconds=(60, 60), lag_hides_from_select=True)
    here = place(profile)
    client = here.client()
    client.append(b"INBOX", MESSAGE)

    first = client.command(b"SELECT INBOX")
    here.clock.now += 0.061
    later = client.command(b"NOOP")

    assert first[0] == b"* 0 EXISTS"
    assert b"* OK [UIDNEXT 1] The next unique identifier value" in first
    assert later == [b"* 1 EXISTS", b"OK NOOP completed."]


@pytest.mark.parametrize("comes_first", [True, False])
def test_exists_may_come_before_the_answer(place: Callable[..., Place], comes_first: bool) -> None:
    client = place(replace(EXO_2026, exists_before_answer_chance=float(comes_first))).client()
    client.command(b"SELECT INBOX")

    lines = client.append(b"INBOX", MESSAGE)

    assert lines[:-1] == ([b"* 1 EXISTS"] if comes_first else [])


def test_the_same_seed_brings_the_same_accidents(place: Callable[..., Place]) -> None:
    profile = replace(
        EXO_2026,
        appenduid_omitted_chance=0.3,
        cut_after_storing_chance=0.2,
        cut_without_storing_chance=0.2,
        late_answer_chance=0.1,
    )

    def run(seed: int, *, reconnects: bool) -> list[bytes]:
        here = place(profile, seed)
        answers = []
        client = here.client()
        for _ in range(20):
            lines = client.append(b"INBOX", MESSAGE)
            if reconnects or not lines:
                client = here.client()
            answers.append(lines[-1][:14] if lines else b"")
        return [*answers, b"%d" % len(contents(here))]

    first = run(1, reconnects=False)

    assert first == run(1, reconnects=True)
    assert first != run(2, reconnects=False)


def test_clients_may_die_and_come_back(place: Callable[..., Place]) -> None:
    here = place()
    for _ in range(5):
        client = here.client()
        client.send(b"a APPEND INBOX {1000}\r\nhalf")
        client.close()
    here.client().append(b"INBOX", MESSAGE)
    here.server.drop_all()

    assert here.client().append(b"INBOX", MESSAGE)[-1].startswith(b"OK ")
    assert contents(here) == [MESSAGE, MESSAGE]
    assert here.connect().sign_in(BOB, here.token()).startswith(b"OK ")
