"""An open folder: FETCH, SEARCH, STORE, COPY, EXPUNGE, receipts, and flags that do not stick."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.exchange_online.profile import EXO_2026

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.exchange_online.client import LineClient
    from tests.exchange_online.conftest import Place

ERROR_11 = b"BAD Command Argument Error. 11"
ERROR_12 = b"BAD Command Argument Error. 12"
AS_IT_CAME = replace(EXO_2026, rewriting=0, size_error=0, bads_until_bye=None)
MESSAGE = (
    b"From: Ann <ann@contoso.com>\r\nTo: bob@contoso.com, =?utf-8?Q?J=C3=B6rg?= <j@x.de>\r\n"
    b"Subject: hello\r\nDate: Wed, 1 Jan 2020 10:00:00 +0000\r\nMessage-ID: <1@contoso.com>\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain\r\n\r\nhello world\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninside\r\n"
    b"--b\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Disposition: attachment; filename=x\r\n\r\nattached\r\n--b--\r\n"
)
HEADER, _, TEXT = MESSAGE.partition(b"\r\n\r\n")
DISARMED = b"Subject: x\r\nMessage-ID: <2@contoso.com>\r\n\r\nx\r\n"
RECEIPT = b"Disposition-Notification-To: eve@contoso.com\r\n" + DISARMED


def opened(here: Place, *messages: bytes, flags: bytes = b"") -> LineClient:
    """Return a client that has INBOX open, with these messages in it."""
    client = here.client()
    for message in messages:
        client.append(b"INBOX", message, flags)
    client.command(b"SELECT INBOX")
    return client


@pytest.mark.parametrize(
    ("item", "answer"),
    [
        (b"BODY.PEEK[]", b"BODY[] {%d}\r\n%b" % (len(MESSAGE), MESSAGE)),
        (b"BODY.PEEK[HEADER]", b"BODY[HEADER] {%d}\r\n%b\r\n\r\n" % (len(HEADER) + 4, HEADER)),
        (b"BODY.PEEK[TEXT]", b"BODY[TEXT] {%d}\r\n%b" % (len(TEXT), TEXT)),
        (b"BODY.PEEK[TEXT]<4.6>", b"BODY[TEXT]<4> {6}\r\n" + TEXT[4:10]),
        (b"BODY.PEEK[]<999999.5>", b"BODY[]<999999> {0}\r\n"),
        (
            b"BODY.PEEK[HEADER.FIELDS (subject X-None)]",
            b"BODY[HEADER.FIELDS (subject X-None)] {18}\r\nSubject: hello\r\n\r\n",
        ),
        (b"BODY.PEEK[1]", b"BODY[1] {11}\r\nhello world"),
        (b"BODY.PEEK[1.MIME]", b"BODY[1.MIME] {28}\r\nContent-Type: text/plain\r\n\r\n"),
        (b"BODY.PEEK[2.HEADER]", b"BODY[2.HEADER] {18}\r\nSubject: inner\r\n\r\n"),
        (b"BODY.PEEK[2.1]", b"BODY[2.1] {6}\r\ninside"),
        (b"BODY.PEEK[3]", b"BODY[3] {8}\r\nattached"),
        (b"BODY.PEEK[4]", b"BODY[4] NIL"),
        (b"RFC822.SIZE", b"RFC822.SIZE %d" % len(MESSAGE)),
        (b"FLAGS", b"FLAGS ()"),
        (
            b"ENVELOPE",
            b'ENVELOPE ("Wed, 1 Jan 2020 10:00:00 +0000" "hello" '
            b'(("Ann" NIL "ann" "contoso.com")) (("Ann" NIL "ann" "contoso.com")) '
            b'(("Ann" NIL "ann" "contoso.com")) ((NIL NIL "bob" "contoso.com")'
            b'("=?utf-8?Q?J=C3=B6rg?=" NIL "j" "x.de")) NIL NIL NIL "<1@contoso.com>")',
        ),
        (
            b"BODYSTRUCTURE",
            b'BODYSTRUCTURE (("text" "plain" NIL NIL NIL "7bit" 11 0 NIL NIL NIL NIL)'
            b'("message" "rfc822" NIL NIL NIL "7bit" 24 '
            b'(NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL) '
            b'("text" "plain" NIL NIL NIL "7bit" 6 0 NIL NIL NIL NIL) 2 NIL NIL NIL NIL)'
            b'("application" "octet-stream" NIL NIL NIL "7bit" 8 NIL '
            b'("attachment" ("filename" "x")) NIL NIL) "mixed" ("boundary" "b") NIL NIL NIL)',
        ),
    ],
)
def test_fetch_shows_each_part_of_a_message(
    place: Callable[..., Place], item: bytes, answer: bytes
) -> None:
    client = opened(place(AS_IT_CAME), MESSAGE)

    assert client.command(b"UID FETCH 1 " + item) == [
        b"* 1 FETCH (%b UID 1)" % answer,
        b"OK FETCH completed.",
    ]


def test_reading_without_peek_marks_as_seen(place: Callable[..., Place]) -> None:
    here = place(AS_IT_CAME)
    client = opened(here, DISARMED)

    assert client.command(b"FETCH 1 BODY[]<0.1>")[0] == (
        b"* 1 FETCH (FLAGS (\\Seen) BODY[]<0> {1}\r\nS)"
    )
    client.command(b"EXAMINE INBOX")
    client.command(b"STORE 1 -FLAGS (\\Seen)")
    assert [message.flags for _, message in here.box.stored()] == [{"\\Seen"}]


@pytest.mark.parametrize(
    "command",
    [
        b"UID FETCH 1 (X-GM-LABELS)",
        b"UID FETCH 1 (MODSEQ)",
        b"UID FETCH 1 EMAILID",
        b"UID FETCH 1 ()",
        b"UID SEARCH KEYWORD $Forwarded",
        b"UID SEARCH UNKEYWORD x",
        b"UID STORE 1 +FLAGS.SILENT ($Forwarded)",
        b"STORE 1 FLAGS (NonJunk)",
    ],
)
def test_what_is_new_or_unknown_is_refused(place: Callable[..., Place], command: bytes) -> None:
    here = place(AS_IT_CAME)

    assert opened(here, MESSAGE).command(command) == [ERROR_11]
    assert [message.flags for _, message in here.box.stored()] == [set()]


def test_search_has_no_results_to_return_and_no_charset(place: Callable[..., Place]) -> None:
    client = opened(place(AS_IT_CAME), MESSAGE)

    assert client.command(b"UID SEARCH RETURN (COUNT) ALL") == [ERROR_12]
    assert client.command(b"SEARCH CHARSET UTF-8 SUBJECT x")[0].startswith(b"NO ")
    assert client.command(b"SEARCH CHARSET US-ASCII SUBJECT HELLO")[0] == b"* SEARCH 1"


def test_sequence_numbers_must_exist_and_uids_need_not(place: Callable[..., Place]) -> None:
    client = opened(place(AS_IT_CAME), DISARMED)

    assert client.command(b"FETCH 2 FLAGS") == [b"NO The specified message set is invalid."]
    assert client.command(b"UID FETCH 7:9 FLAGS") == [b"OK FETCH completed."]
    assert client.command(b"UID FETCH 7:* (UID)")[0] == b"* 1 FETCH (UID 1)"


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        (b"ALL", b" 1 2"),
        (b"UID 2:9", b" 2"),
        (b"2", b" 2"),
        (b"FLAGGED", b" 1"),
        (b"NOT FLAGGED UNSEEN", b" 2"),
        (b"SINCE 2-Jan-2020", b" 2"),
        (b"BEFORE 2-Jan-2020", b" 1"),
        (b"ON 1-Jan-2020", b" 1"),
        (b'HEADER Message-ID "<2@contoso.com>"', b" 2"),
        (b'HEADER MESSAGE-ID ""', b" 1 2"),
        (b"OR SUBJECT hello UID 2", b" 1 2"),
        (b"(FROM ann TO bob)", b" 1"),
        (b"BODY inside", b" 1"),
        (b"TEXT Message-ID LARGER 400", b" 1"),
        (b"HEADER Subject nothing", b""),
        (b"SENTSINCE 1-Jan-2020", b" 1"),
    ],
)
def test_search_finds(place: Callable[..., Place], criteria: bytes, found: bytes) -> None:
    here = place()
    client = here.client()
    client.append(b"INBOX", MESSAGE, b' (\\Flagged) "01-Jan-2020 23:00:00 +0000"')
    client.append(b"INBOX", DISARMED, b' "02-Jan-2020 01:00:00 +0100"')
    client.append(b"INBOX", DISARMED, b' "02-Jan-2020 01:00:00 +0000"')
    client.command(b"SELECT INBOX")
    client.command(b"UID STORE 2 +FLAGS (\\Deleted)")
    client.command(b"EXPUNGE")
    found = found.replace(b"2", b"3")
    criteria = criteria.replace(b"UID 2", b"UID 3")

    assert client.command(b"UID SEARCH " + criteria) == [
        b"* SEARCH" + found,
        b"OK SEARCH completed.",
    ]


def test_store_changes_flags_and_says_so(place: Callable[..., Place]) -> None:
    here = place()
    client = opened(here, DISARMED, flags=b" (\\Answered)")

    assert client.command(b"UID STORE 1 +FLAGS (\\flagged $mdnsent)")[0] == (
        b"* 1 FETCH (UID 1 FLAGS (\\Answered \\Flagged $MDNSent))"
    )
    assert client.command(b"STORE 1 -FLAGS.SILENT \\Answered") == [b"OK STORE completed."]
    assert client.command(b"STORE 1 FLAGS (\\Seen)")[0] == b"* 1 FETCH (FLAGS (\\Seen))"


def test_a_draft_is_one_from_the_start_or_never(place: Callable[..., Place]) -> None:
    here = place()
    client = opened(here, DISARMED, flags=b" (\\Draft)")
    client.append(b"INBOX", DISARMED)
    client.command(b"NOOP")

    assert client.command(b"STORE 1 -FLAGS (\\Draft)")[0] == b"* 1 FETCH (FLAGS (\\Draft))"
    assert client.command(b"STORE 2 +FLAGS (\\Draft)")[0] == b"* 2 FETCH (FLAGS ())"
    assert [message.draft_at_creation for _, message in here.box.stored()] == [True, False]


def test_a_switch_lets_drafts_change(place: Callable[..., Place]) -> None:
    client = opened(place(replace(EXO_2026, draft_is_fixed=False)), DISARMED)

    assert client.command(b"STORE 1 +FLAGS (\\Draft)")[0] == b"* 1 FETCH (FLAGS (\\Draft))"


def test_outlook_shows_a_flag_only_after_store(place: Callable[..., Place]) -> None:
    here = place()
    client = opened(here, DISARMED, flags=b" (\\Flagged)")
    [(_, message)] = here.box.stored()

    assert client.command(b"FETCH 1 FLAGS")[0] == b"* 1 FETCH (FLAGS (\\Flagged))"
    assert not message.visible_in_outlook_as_flagged
    client.command(b"STORE 1 +FLAGS (\\Seen)")
    assert not message.visible_in_outlook_as_flagged
    client.command(b"STORE 1 +FLAGS (\\Flagged)")
    assert message.visible_in_outlook_as_flagged


def test_a_switch_makes_outlook_show_flags_at_once(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, flagged_append_bug=False))
    opened(here, DISARMED, flags=b" (\\Flagged)")

    assert [message.visible_in_outlook_as_flagged for _, message in here.box.stored()] == [True]


def test_reading_a_message_sends_its_receipt_once(place: Callable[..., Place]) -> None:
    here = place()
    client = opened(here, RECEIPT, DISARMED)
    assert len(here.box.pending_receipts()) == 1

    client.command(b"STORE 1:2 +FLAGS (\\Seen)")
    client.command(b"STORE 1:2 -FLAGS (\\Seen)")
    client.command(b"STORE 1:2 +FLAGS (\\Seen)")

    assert [(sent.kind, sent.uid) for sent in here.box.sent_receipts] == [("read", 1)]
    assert not here.box.pending_receipts()


def test_deleting_unread_mail_sends_a_notice(place: Callable[..., Place]) -> None:
    here = place()
    client = opened(here, RECEIPT)
    client.command(b"STORE 1 +FLAGS (\\Deleted)")
    client.command(b"CLOSE")

    assert [sent.kind for sent in here.box.sent_receipts] == ["deleted unread"]


@pytest.mark.parametrize("flags", [b" (\\Seen)", b" ($MDNSent)"])
def test_read_or_answered_mail_sends_nothing(place: Callable[..., Place], flags: bytes) -> None:
    here = place()
    opened(here, RECEIPT, flags=flags)

    here.box.user_reads_all()

    assert not here.box.sent_receipts


def test_in_the_end_the_user_reads_all(place: Callable[..., Place]) -> None:
    here = place()
    opened(here, RECEIPT, b"Return-Receipt-To: a@b\r\n\r\n", b"X-Confirm-Reading-To: a@b\r\n\r\n")

    here.box.user_reads_all()

    assert len(here.box.sent_receipts) == 3


def test_messages_are_copied_and_moved(place: Callable[..., Place]) -> None:
    here = place()
    client = opened(here, MESSAGE, DISARMED)
    archive = here.box.folders["Archive"].uidvalidity

    assert client.command(b"UID COPY 1:2 archive") == [
        b"OK [COPYUID %d 1,2 1,2] COPY completed." % archive
    ]
    assert client.command(b"UID MOVE 1 Archive") == [
        b"* 1 EXPUNGE",
        b"OK [COPYUID %d 1 3] MOVE completed." % archive,
    ]
    assert client.command(b"COPY 1 Nowhere") == [b"NO [TRYCREATE] Nowhere doesn't exist."]
    assert [name for name, _ in here.box.stored()].count("Archive") == 3


def test_the_code_of_a_copy_may_be_empty(place: Callable[..., Place]) -> None:
    client = opened(place(replace(EXO_2026, copyuid_garbled_chance=1)), MESSAGE)

    assert re.fullmatch(
        rb"OK \[COPYUID \d+  \] COPY completed\.", client.command(b"COPY 1 Archive")[0]
    )


def test_only_deleted_messages_are_expunged(place: Callable[..., Place]) -> None:
    here = place()
    client = opened(here, MESSAGE, DISARMED, DISARMED)
    client.command(b"STORE 1:2 +FLAGS (\\Deleted)")

    assert client.command(b"UID EXPUNGE 2:3") == [b"* 2 EXPUNGE", b"OK EXPUNGE completed."]
    assert client.command(b"EXPUNGE") == [b"* 1 EXPUNGE", b"OK EXPUNGE completed."]
    assert client.command(b"UNSELECT") == [b"OK UNSELECT completed."]
    assert client.command(b"FETCH 1 FLAGS") == [b"BAD Command received in Invalid state"]
    assert [message.uid for _, message in here.box.stored()] == [3]


def test_others_see_what_comes_and_goes(place: Callable[..., Place]) -> None:
    here = place()
    client, other = opened(here, MESSAGE), here.client()
    other.command(b"SELECT INBOX")
    client.append(b"INBOX", DISARMED)
    client.command(b"UID STORE 1 +FLAGS.SILENT (\\Deleted)")
    client.command(b"EXPUNGE")

    assert other.command(b"NOOP") == [b"* 1 EXPUNGE", b"* 1 EXISTS", b"OK NOOP completed."]


def test_sizes_are_estimates_that_stay(place: Callable[..., Place]) -> None:
    client = opened(place(), MESSAGE)

    first = client.command(b"FETCH 1 RFC822.SIZE")
    size = int(re.findall(rb"SIZE (\d+)", first[0])[0])

    assert first == client.command(b"FETCH 1 RFC822.SIZE")
    assert 0 < abs(size - len(MESSAGE)) <= len(MESSAGE) / 10 + 1


def test_a_fetch_may_name_a_uid_twice(place: Callable[..., Place]) -> None:
    client = opened(place(replace(EXO_2026, fetch_repeats_uid_chance=1)), MESSAGE, DISARMED)

    assert client.command(b"UID FETCH 1:* (UID)")[:-1] == [
        b"* 1 FETCH (UID 1)",
        b"* 2 FETCH (UID 2)",
        b"* 2 FETCH (UID 2)",
    ]
    assert len(client.command(b"UID FETCH 1:2 (UID)")) == 3


def test_a_bodystructure_may_be_malformed(place: Callable[..., Place]) -> None:
    profile = replace(EXO_2026, malformed_bodystructure_chance=1)
    client = opened(place(profile), MESSAGE)

    assert client.command(b"FETCH 1 BODYSTRUCTURE")[0] == (
        b'* 1 FETCH (BODYSTRUCTURE (NIL NIL NIL NIL NIL "7BIT" 0 NIL NIL NIL NIL))'
    )


def test_idle_tells_of_new_mail(place: Callable[..., Place]) -> None:
    here = place()
    client = opened(here)
    client.send(b"a IDLE\r\n")
    client.line()
    here.box.add_message("INBOX", DISARMED)

    assert client.line() == b"* 1 EXISTS"
    client.send(b"DONE\r\n")
    assert client.line() == b"a OK IDLE completed."


def test_the_log_is_a_file_of_json_lines(place: Callable[..., Place], tmp_path: Path) -> None:
    here = place()
    client = opened(here, MESSAGE, flags=b' (\\Seen) "01-Jan-2020 00:00:00 +0000"')
    client.command(b"LOGOUT")

    events = [json.loads(json.dumps(asdict(event))) for event in here.server.log]

    said = [(event["what"], event["text"]) for event in events]
    assert (
        "C",
        f't2 APPEND INBOX (\\Seen) "01-Jan-2020 00:00:00 +0000" {{{len(MESSAGE)}}}',
    ) in said
    assert ("S", "t4 OK LOGOUT completed.") in said
    assert {event["user"] for event in events} == {"", "bob@contoso.com"}


def test_internaldates_before_1970_are_kept(place: Callable[..., Place]) -> None:
    here = place()
    opened(here, DISARMED, flags=b' "01-Jan-1969 00:00:00 +0000"')

    assert [message.internaldate for _, message in here.box.stored()] == [
        datetime(1969, 1, 1, tzinfo=UTC)
    ]
