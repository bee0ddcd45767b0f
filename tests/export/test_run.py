"""Stage one against a server in the test's own process, well-mannered or not."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from export.run import Options
from tests.corpus import IMPOSSIBLE_FOLDER_NAMES, hostile_folder_names
from tests.export.support import Stage, connector
from tests.fakes.imap_server import Answer, Body, Cut, Greeting, ImapServer, Raw
from tests.fakes.mailbox import FakeFolder, FakeUser, Mailboxes
from waystation.errors import (
    ConnectionLostError,
    OtherSourceError,
    ProtocolError,
    RefusedError,
    SignInError,
)
from waystation.session import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_numbers = itertools.count(1)


def mail(text: str = "") -> bytes:
    """Return a message unlike all others."""
    number = next(_numbers)
    return f"Message-ID: <{number}@x>\r\nSubject: {text}\r\n\r\nNumber {number}.\r\n".encode()


@pytest.fixture
def mailboxes() -> Mailboxes:
    return Mailboxes({"alice": "secret"})


@pytest.fixture
def alice(mailboxes: Mailboxes) -> FakeUser:
    return mailboxes["alice"]


@pytest.fixture
def inbox(alice: FakeUser) -> FakeFolder:
    folder = alice.folder("INBOX")
    for _ in range(5):
        folder.append(mail())
    return folder


@pytest.fixture(params=[True, False], ids=["condstore", "no condstore"])
def server(request: pytest.FixtureRequest, mailboxes: Mailboxes) -> Iterator[ImapServer]:
    with ImapServer(mailboxes, condstore=request.param) as running:
        yield running


@pytest.fixture
def modern(mailboxes: Mailboxes) -> Iterator[ImapServer]:
    with ImapServer(mailboxes) as running:
        yield running


@pytest.fixture
def old(mailboxes: Mailboxes) -> Iterator[ImapServer]:
    with ImapServer(mailboxes, condstore=False) as running:
        yield running


@pytest.fixture
def stage(tmp_path: Path) -> Callable[[ImapServer], Stage]:
    return lambda server: Stage(tmp_path / "archive", connector(server.port))


def by_uid(folder: FakeFolder) -> dict[int, bytes]:
    return {message.uid: message.body for message in folder.messages}


def test_everything_is_archived_octet_for_octet(
    server: ImapServer, alice: FakeUser, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    odd = [b"a\rb\nc\r\n\x00\xff", b"", b"x", b"{5}\r\n", b")\r\nW3 OK done\r\n"]
    for body in odd:
        alice.create(f"Odd{odd.index(body)}").append(body, {"\\Seen", "$Forwarded"})
    export = stage(server)

    result = export.run()

    assert (result.new, result.failed, result.alarms) == (10, 0, 0)
    assert result.is_complete
    assert export.bodies("INBOX") == by_uid(inbox)
    assert [export.bodies(f"Odd{n}")[1] for n in range(5)] == odd
    assert export.rows("Odd0")[0].keywords == ("$Forwarded",)
    assert export.discrepancies() == []
    assert export.heard.done == 10
    assert export.heard.expected[0] == export.heard.expected[-1] == 10


def test_the_source_is_only_examined_and_peeked_at(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    before = [(m.uid, set(m.flags), m.modseq) for m in inbox.messages]

    stage(server).run()
    inbox.append(mail())
    inbox.renumber()
    stage(server).run()

    commands = {line.split()[0].upper() for line in server.requests()}
    assert commands <= {
        *(b"CAPABILITY", b"AUTHENTICATE", b"NAMESPACE", b"LIST", b"STATUS"),
        *(b"EXAMINE", b"UID", b"LOGOUT"),
    }
    fetches = server.requests("FETCH")
    assert all(b"BODY" not in line or b"BODY.PEEK[" in line for line in fetches)
    assert [flags for _, flags, _ in before] == [set(m.flags) for m in inbox.messages[:5]]


def test_a_second_run_with_nothing_new_costs_no_message_work(
    modern: ImapServer, alice: FakeUser, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    alice.create("Empty")
    export = stage(modern)
    export.run()
    modern.forget()

    result = export.run()

    assert (result.unchanged, result.folders, result.new) == (2, 2, 0)
    assert modern.commands("EXAMINE") == modern.commands("FETCH") == 0


def test_without_condstore_a_second_run_costs_one_listing_of_flags(
    mailboxes: Mailboxes, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    with ImapServer(mailboxes, condstore=False) as server:
        export = stage(server)
        export.run()
        server.forget()
        export.run()
        listings = server.requests("FETCH")
        server.forget()
        export.run(Options(quick=True))
        quick = server.requests("FETCH")

    assert listings == [b"UID FETCH 1:* (UID FLAGS)"]
    assert quick == []


def test_a_second_run_fetches_only_what_is_new(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    export = stage(server)
    export.run()
    server.forget()
    inbox.append(mail())
    inbox.append(mail(), uid=40)

    result = export.run()

    bodies = [line for line in server.requests("FETCH") if b"BODY" in line]
    assert bodies == [b"UID FETCH 6,40 (UID FLAGS INTERNALDATE BODY.PEEK[])"]
    assert result.new == 2
    assert export.bodies("INBOX") == by_uid(inbox)


def test_flag_changes_arrive_without_fetching_again(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    export = stage(server)
    export.run()
    server.forget()
    inbox.set_flags(2, {"\\Seen", "\\Flagged", "Project-X"})

    result = export.run()

    [listing] = server.requests("FETCH")
    assert (b"CHANGEDSINCE" in listing) is server.abilities.condstore
    assert (result.flags_changed, result.new) == (1, 0)
    row = export.rows("INBOX")[1]
    assert (row.flags, row.keywords) == (("\\Flagged", "\\Seen"), ("Project-X",))
    assert (row.path or "").endswith("2,FSa")
    assert export.discrepancies() == []


def test_a_vanished_message_is_noted_and_kept_and_may_return(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    export = stage(server)
    export.run()
    gone = inbox.message(3)
    inbox.expunge(3)

    vanished = export.run().vanished
    kept = export.vanished("INBOX")
    inbox.messages.insert(2, gone)
    inbox.next_modseq()
    returned = export.run().returned

    assert (vanished, kept, returned) == (1, [3], 1)
    assert export.vanished("INBOX") == []
    assert export.bodies("INBOX") == by_uid(inbox)


def test_a_folder_that_is_deleted_is_noted_and_its_mail_kept(
    server: ImapServer, alice: FakeUser, stage: Callable[[ImapServer], Stage]
) -> None:
    alice.create("Old").append(mail())
    export = stage(server)
    export.run()
    alice.delete("Old")

    result = export.run()

    assert export.heard.alarms == [
        ("Old", "the server no longer lists this folder; its messages are kept")
    ]
    assert export.vanished("Old") == [1]
    assert result.is_complete
    assert export.discrepancies() == []


def test_a_renumbered_folder_is_matched_without_fetching_bodies_again(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    twin = mail("twin")
    date = inbox.message(1).internaldate
    inbox.append(twin, internaldate=date)
    inbox.append(twin, internaldate=date)
    export = stage(server)
    export.run()
    ids = sorted(row.id for row in export.rows())
    server.forget()
    inbox.expunge(2)
    inbox.renumber()
    inbox.set_flags(1, {"\\Seen"})
    new = inbox.append(mail("new"))

    result = export.run()

    bodies = [line for line in server.requests("FETCH") if b"BODY.PEEK[]" in line]
    assert bodies == [b"UID FETCH %d (UID FLAGS INTERNALDATE BODY.PEEK[])" % new.uid]
    assert (result.renumbered, result.new, result.vanished) == (6, 1, 1)
    assert export.bodies("INBOX") == by_uid(inbox)
    assert sorted(row.id for row in export.rows())[: len(ids)] == ids
    assert len(export.rows()) == len(ids) + 1
    assert export.rows("INBOX")[1].flags == ("\\Seen",)
    names = {(row.path or "").rpartition("/")[2] for row in export.rows() if not row.last_seen}
    assert all(f".V{inbox.uidvalidity}." in name for name in names)
    assert export.discrepancies() == []
    server.forget()
    export.run()
    assert not [line for line in server.requests("FETCH") if b"BODY" in line]


def test_renumbered_messages_without_a_header_are_known_by_their_content(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    for body in (b"\r\nno header\r\n", b"\r\nno header\r\n", b"\r\n", b""):
        inbox.append(body)
    export = stage(server)
    export.run()
    files = len(list(export.files()))
    inbox.renumber()

    result = export.run()

    assert (result.renumbered, result.new, result.vanished) == (9, 0, 0)
    assert len(export.rows()) == 9
    assert len(list(export.files())) == files
    assert export.bodies("INBOX") == by_uid(inbox)
    assert export.discrepancies() == []


def test_equal_headers_with_other_content_are_told_apart(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    date = inbox.message(1).internaldate
    for body in (b"Subject: a\r\n\r\n1\r\n", b"Subject: a\r\n\r\n2\r\n"):
        inbox.append(body, internaldate=date)
    export = stage(server)
    export.run()
    inbox.messages.reverse()
    inbox.renumber()

    result = export.run()

    assert (result.renumbered, result.new) == (7, 0)
    assert export.bodies("INBOX") == by_uid(inbox)


def test_a_size_that_is_a_guess_costs_a_fetch_and_nothing_else(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    server.script.fetch.size_error = 17
    export = stage(server)
    export.run()
    inbox.renumber()

    result = export.run()

    assert (result.renumbered, result.new) == (5, 0)
    assert export.bodies("INBOX") == by_uid(inbox)


def test_refused_headers_cost_a_fetch_and_nothing_else(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    export = stage(server)
    export.run()
    inbox.renumber()
    server.script.on("FETCH", Answer(b"BAD no such thing"), containing=b"HEADER")

    result = export.run()

    assert (result.renumbered, result.new, result.is_complete) == (5, 0, True)
    assert export.bodies("INBOX") == by_uid(inbox)


def test_a_folder_that_suddenly_shows_nothing_is_an_alarm(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    export = stage(server)
    export.run()
    server.script.looks_empty = {"INBOX"}

    result = export.run()
    again = export.run()

    assert result.alarms == again.alarms == 1
    assert "suddenly shows no message" in export.heard.alarms[0][1]
    assert export.vanished("INBOX") == []
    server.script.looks_empty = set()
    assert export.run().is_complete


def test_a_folder_that_was_emptied_on_purpose_is_accepted(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    export = stage(server)
    export.run()
    inbox.expunge(*inbox.uids)

    result = export.run(Options(accept_emptied=True))

    assert (result.vanished, result.is_complete) == (5, True)
    assert len(list(export.files())) == 5
    assert export.run().is_complete


def test_fewer_listed_than_exist_is_an_alarm_and_nothing_has_vanished(
    old: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    server, export = old, stage(old)
    export.run()
    inbox.append(mail())
    server.script.hidden = {2, 3}

    result = export.run()

    assert (result.alarms, result.vanished, result.new) == (1, 0, 1)
    assert "lists 4 of them" in export.heard.alarms[0][1]
    assert export.vanished("INBOX") == []
    server.script.hidden = set()
    assert export.run().is_complete


def test_a_uid_listed_twice_does_not_hide_that_another_is_missing(
    old: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    server, export = old, stage(old)
    export.run()
    inbox.append(mail())
    server.script.hidden = {2}
    server.script.fetch.twice = {3}

    result = export.run()

    assert (result.alarms, result.vanished) == (1, 0)


def test_a_message_that_comes_twice_is_archived_once(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    server.script.fetch.twice = {1, 5}
    export = stage(server)

    result = export.run()

    assert (result.new, result.alarms) == (5, 0)
    assert export.bodies("INBOX") == by_uid(inbox)
    assert len(list(export.files())) == 5


def test_uids_that_do_not_ascend_are_each_archived_once(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    server.script.fetch.reverse = True
    inbox.messages.reverse()
    for message in inbox.messages:
        message.uid *= 10
    inbox.uidnext = 51
    run = stage(server)
    run.run()
    assert run.bodies("INBOX") == dict(zip(inbox.uids, inbox.bodies, strict=True))

    # Against RFC 9051 section 2.3.1.1: a new message below those that were there before.
    late = inbox.append(mail("late"))
    late.uid = 25
    again = run.run()

    assert (again.new, again.vanished, again.alarms) == (1, 0, 0)
    assert run.bodies("INBOX") == dict(zip(inbox.uids, inbox.bodies, strict=True))


@pytest.mark.parametrize(
    "line",
    [
        b'* ESEARCH (TAG "A1") UID ALL 1:3',
        b'* ESEARCH (TAG "zz") UID MIN 9 MAX 3 COUNT 99999999999 ALL 7,1:4000000000',
        b"* ESEARCH UID",
    ],
)
def test_an_esearch_that_nobody_asked_for_is_no_answer(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage], line: bytes
) -> None:
    server.script.fetch.interleave = [line]
    server.script.search_omit = {4}
    run = stage(server)

    result = run.run()
    inbox.append(mail())
    again = run.run()

    assert (result.new, again.new, again.vanished, again.alarms) == (5, 1, 0, 0)
    assert run.bodies("INBOX") == dict(zip(inbox.uids, inbox.bodies, strict=True))


def test_two_messages_under_one_uid_are_an_alarm_and_the_first_stays(
    modern: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    inbox.expunge(2, 3, 4, 5)
    other = b'* 1 FETCH (UID 1 FLAGS () INTERNALDATE "01-May-2024 08:31:00 +0000" BODY[] {%d}\r\n'
    modern.script.fetch.interleave = [other % 1 + b"x)"]
    export = stage(modern)

    result = export.run()

    assert result.alarms == 1
    assert "two different messages as UID 1" in export.heard.alarms[0][1]
    assert export.bodies("INBOX") == by_uid(inbox)
    assert export.discrepancies() == []


def test_a_message_that_nobody_asked_for_is_not_taken(
    modern: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    export = stage(modern)
    export.run()
    inbox.append(mail())
    line = b"* 1 FETCH (UID 1 FLAGS () BODY[] {1}\r\nx)"
    modern.script.fetch.interleave = [line, b"* 3 FETCH (BODY[] {2}\r\nno)", b"* 5 EXISTS"]

    export.run()

    assert export.bodies("INBOX") == by_uid(inbox)
    assert list(export.path.rglob("*part*")) == []


def test_a_message_that_does_not_come_fails_and_heals_later(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    server.script.fetch.only = {3}
    server.script.fetch.body = Body.NIL
    export = stage(server)

    result = export.run()

    assert (result.new, result.failed, result.is_complete) == (4, 1, False)
    [problem] = export.heard.problems
    assert problem == ("INBOX", 3, "the server lists it and does not send it")
    assert export.rows()[2].state == "failed"
    server.script.clear()
    healed = export.run()
    assert (healed.new, healed.failed) == (1, 0)
    assert export.bodies("INBOX") == by_uid(inbox)
    assert {row.state for row in export.rows()} == {"archived"}


@pytest.mark.parametrize("answer", [b"NO [SERVERBUG] Internal error occurred", b"BAD what?"])
def test_one_refused_message_does_not_cost_the_others(
    server: ImapServer,
    inbox: FakeFolder,
    stage: Callable[[ImapServer], Stage],
    answer: bytes,
) -> None:
    server.script.on("FETCH", Answer(answer), containing=b"FETCH 1:5 (UID FLAGS INTERNALDATE")
    server.script.on("FETCH", Answer(answer), containing=b"FETCH 4 (UID FLAGS INTERNALDATE")
    export = stage(server)

    result = export.run()

    assert (result.new, result.failed) == (4, 1)
    words = answer.partition(b" ")[2].decode()
    assert export.heard.problems == [("INBOX", 4, words)]
    assert export.heard.waits == []


@pytest.mark.parametrize("code", [b"NO [UNAVAILABLE] later", b"NO [LIMIT] slow down"])
def test_a_throttled_fetch_is_tried_again_after_a_pause(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage], code: bytes
) -> None:
    server.script.on("FETCH", Answer(code), containing=b"BODY.PEEK[]", times=2)
    export = stage(server)

    result = export.run()

    assert (result.new, result.failed, result.is_complete) == (5, 0, True)
    assert export.heard.waits == [1.0]


def test_a_named_backoff_is_waited_for_however_often_and_no_other_folder_is_asked_meanwhile(
    server: ImapServer, alice: FakeUser, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    alice.create("Zoo").append(mail())
    throttled = b"NO Request is throttled. Suggested Backoff Time: 7000 milliseconds"
    server.script.on("FETCH", Answer(throttled), containing=b"BODY.PEEK[]", times=4)
    export = stage(server)

    result = export.run()

    assert (result.new, result.alarms, result.is_complete) == (6, 0, True)
    assert export.heard.waits.count(7.0) == 4
    opened = [line for line in server.requests("EXAMINE") if b"Zoo" in line]
    assert len(opened) == 1


def test_a_folder_that_is_refused_again_and_again_does_not_stop_the_others(
    server: ImapServer, alice: FakeUser, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    alice.create("Zoo").append(mail())
    server.script.refuse_select = {"INBOX": b"NO [UNAVAILABLE] its disk is away"}
    export = stage(server)

    result = export.run()

    assert (result.new, result.alarms) == (1, 1)
    assert export.heard.problems[0][:2] == ("INBOX", None)
    assert export.heard.waits == [1.0]


@pytest.mark.parametrize(
    ("command", "containing"), [("EXAMINE", b"INBOX"), ("FETCH", b"1:* (UID FLAGS)")]
)
def test_a_refused_folder_does_not_stop_the_others(
    server: ImapServer,
    alice: FakeUser,
    inbox: FakeFolder,
    stage: Callable[[ImapServer], Stage],
    command: str,
    containing: bytes,
) -> None:
    alice.create("Zoo").append(mail())
    server.script.on(command, Answer(b"NO [NOPERM] no"), containing=containing, times=1)
    export = stage(server)

    result = export.run()

    assert (result.new, result.alarms, result.is_complete) == (1, 1, False)
    assert export.heard.problems[0][:2] == ("INBOX", None)
    assert export.run().new == 5


def test_a_folder_without_uidvalidity_does_not_stop_the_others(
    server: ImapServer, alice: FakeUser, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    alice.create("Zoo").append(mail())
    server.script.on("EXAMINE", Raw(b"* 5 EXISTS\r\n%TAG% OK done\r\n"), containing=b"INBOX")
    export = stage(server)

    result = export.run()

    assert (result.new, result.alarms) == (1, 1)
    assert "UIDVALIDITY" in export.heard.problems[0][2]


def test_a_refused_changedsince_is_answered_by_a_whole_listing(
    modern: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    export = stage(modern)
    export.run()
    inbox.append(mail())
    modern.script.on("FETCH", Answer(b"BAD unknown"), containing=b"CHANGEDSINCE")

    assert export.run().new == 1


def test_a_literal_of_ten_gigabytes_costs_one_message(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    server.script.fetch.only = {2}
    server.script.fetch.announce = 10_000_000_000
    export = stage(server)

    result = export.run()

    assert (result.new, result.failed) == (4, 1)
    assert "10,000,000,000" in export.heard.problems[0][2]
    assert export.heard.waits == []
    server.script.clear()
    assert export.run().new == 1
    assert export.discrepancies() == []


@pytest.mark.parametrize("uid", [1, 3, 5])
def test_a_message_that_breaks_the_connection_each_time_costs_only_itself(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage], uid: int
) -> None:
    server.script.fetch.only = {uid}
    server.script.fetch.cut_literal_after = 10
    server.script.fetch.cut_literal_times = 100
    export = stage(server)

    result = export.run()

    assert (result.new, result.failed) == (4, 1)
    assert export.heard.problems[0][1] == uid
    server.script.clear()
    assert export.run().is_complete
    assert export.bodies("INBOX") == by_uid(inbox)


def test_a_connection_that_breaks_once_is_mended_by_the_run_itself(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    server.script.fetch.cut_literal_after = 10
    export = stage(server)

    result = export.run()

    assert (result.new, result.failed, result.is_complete) == (5, 0, True)
    assert export.discrepancies() == []


@pytest.mark.parametrize("code", [b"BYE [UNAVAILABLE] closing down", b"BYE"])
def test_after_a_goodbye_amid_the_fetch_nothing_durable_is_fetched_again(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage], code: bytes
) -> None:
    server.script.on("FETCH", Answer(code), containing=b"BODY.PEEK[]", first=3, times=1)
    export = stage(server)

    result = export.run(Options(rate=2))  # two messages a command

    assert (result.new, result.failed, result.is_complete) == (5, 0, True)
    assert result.fetched == sum(map(len, inbox.bodies))
    assert export.bodies("INBOX") == by_uid(inbox)


def test_an_esearch_that_nobody_asked_for_is_understood(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    server.script.fetch.only = {3}
    server.script.fetch.body = Body.NIL
    found = b'* ESEARCH (TAG "%TAG%") UID ALL 2:3,5\r\n%TAG% OK done\r\n'
    server.script.on("SEARCH", Raw(found))
    export = stage(server)

    export.run()

    # Without UID 3 among the answers it would be told as gone.
    assert export.heard.problems == [("INBOX", 3, "the server lists it and does not send it")]


def test_a_line_that_is_dead_for_good_ends_the_run_with_one_sentence(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    server.script.on("LIST", Cut())
    export = stage(server)

    with pytest.raises(ConnectionLostError, match="goes on where it stopped"):
        export.run()

    assert export.heard.waits == [1.0, 3.0, 10.0, 30.0]


@pytest.mark.parametrize("date", [b"", b'"soon"', b'"32-Foo-2024 25:00:00 +9999"', b"NIL"])
def test_an_internaldate_that_is_none_costs_the_date_alone(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage], date: bytes
) -> None:
    server.script.fetch.internaldate = date
    export = stage(server)

    result = export.run()

    assert (result.new, result.is_complete) == (5, True)
    assert [row.internaldate for row in export.rows()] == [None] * 5
    assert export.discrepancies() == []


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("body", [Body.LITERAL, Body.QUOTED])
def test_items_come_in_any_order_and_bodies_in_any_form(
    modern: ImapServer,
    inbox: FakeFolder,
    stage: Callable[[ImapServer], Stage],
    reverse: bool,
    body: Body,
) -> None:
    inbox.expunge(*inbox.uids)
    for text in (b"short", b'with "quotes" and \\', b""):
        inbox.append(text)
    modern.script.fetch.reverse_items = reverse
    modern.script.fetch.body = body
    modern.script.fetch.interleave = [
        b"* 9 EXISTS",
        b"* 2 FETCH (FLAGS (\\Seen))",
        b"* OK [ALERT] hello {3}",
        b"* X-UNHEARD-OF (1 2 {2}\r\n)) )",
    ]
    export = stage(modern)

    export.run()

    assert export.bodies("INBOX") == by_uid(inbox)


def test_odd_keywords_are_kept(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    odd = {"NIL", "$MDNSent", "[odd", "a]b", "x{3}", "\\Answered", "ü-\u2028", "100%"}
    inbox.append(mail(), odd)
    export = stage(server)

    export.run()

    row = export.rows("INBOX")[-1]
    assert {*row.flags, *row.keywords} == odd
    assert export.discrepancies() == []
    assert export.run().flags_changed == 0


def test_folder_names_cannot_reach_outside_the_archive(
    modern: ImapServer, alice: FakeUser, tmp_path: Path, stage: Callable[[ImapServer], Stage]
) -> None:
    bodies = {}
    for name in {*hostile_folder_names(), *IMPOSSIBLE_FOLDER_NAMES, "../../etc/x", "cur", "CUR"}:
        if "%2F" in name or "\x00" in name or "\n" in name or alice.find(name) is not None:
            continue
        alice.create(name)
    for folder in alice.folders:
        bodies[folder.name] = folder.append(mail(folder.name.encode().hex())).body
    modern.script.list_names = [b'"nul\0"', b'"../outside"', b'""']
    export = stage(modern)

    result = export.run()

    assert {path.name for path in tmp_path.iterdir()} == {"archive"}
    assert result.new == len(bodies)
    assert {name: export.bodies(name)[1] for name in bodies} == bodies
    assert export.discrepancies() == []


def test_names_that_a_broken_server_lists_twice_stay_apart(
    modern: ImapServer, alice: FakeUser, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    alice.create("Other", wire_name=b"inbox").append(mail())
    alice.create("Büro").append(mail())
    alice.create("Third", wire_name="Büro".encode()).append(mail())
    export = stage(modern)

    result = export.run()

    assert result.new == 8
    assert len(export.bodies("INBOX")) == 5
    assert export.run().unchanged == result.folders


def test_a_prefix_and_another_delimiter_are_understood(
    tmp_path: Path,
) -> None:
    courier = Mailboxes({"alice": "secret"}, delimiter=".", prefix="INBOX.")
    courier["alice"].create("Projects/2024/a%2Fb").append(mail())
    with ImapServer(courier) as server:
        export = Stage(tmp_path / "archive", connector(server.port))
        export.run()

    assert export.bodies("INBOX/Projects/2024/a%2Fb") == by_uid(
        courier["alice"].folder("Projects/2024/a%2Fb")
    )
    with export.archive() as archive:
        assert archive.description.source_prefix == ("INBOX",)


def test_another_mailbox_is_refused(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    export = stage(server)
    export.run()
    export.name = "imap://bob@127.0.0.1"

    with pytest.raises(OtherSourceError, match="alice"):
        export.run()

    assert export.run(Options(new_source=True)).is_complete


def test_a_noselect_folder_is_left_alone(
    server: ImapServer, alice: FakeUser, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    alice.create("Parent", ["\\Noselect"])
    export = stage(server)

    assert export.run().folders == 1


def test_a_status_that_is_refused_or_wrong_is_made_good_by_opening_the_folder(
    modern: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    lie = b"* STATUS INBOX (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 1001)\r\n%TAG% OK\r\n"
    modern.script.on("STATUS", Raw(lie), times=1)
    modern.script.on("STATUS", Answer(b"NO not now"), first=2)
    export = stage(modern)

    first = export.run()
    inbox.append(mail())
    second = export.run()
    third = export.run()

    assert (first.new, second.new, third.new) == (5, 1, 0)
    assert third.unchanged == 1


@pytest.mark.parametrize(
    ("greeting", "error"),
    [
        (Greeting.CLOSE, ConnectionLostError),
        (b"* BYE [UNAVAILABLE] too many connections\r\n", ConnectionLostError),
        (b"220 mail.example.org ESMTP\r\n", ProtocolError),
        (b"\xff\xfe\x00\r\n", ProtocolError),
    ],
)
def test_a_server_that_is_none_ends_the_first_try(
    server: ImapServer,
    stage: Callable[[ImapServer], Stage],
    greeting: bytes | Greeting,
    error: type[Exception],
) -> None:
    server.script.greeting = greeting
    export = stage(server)

    with pytest.raises(error):
        export.run()

    assert server.connections == 1


def test_a_server_that_lists_no_folder_is_not_believed(
    server: ImapServer, inbox: FakeFolder, stage: Callable[[ImapServer], Stage]
) -> None:
    export = stage(server)
    export.run()
    server.script.on("LIST", Answer(b"OK nothing here"))

    with pytest.raises(ProtocolError, match="lists no folder"):
        export.run()

    assert export.vanished("INBOX") == []


def test_a_refused_list_ends_the_run_with_the_servers_words(
    server: ImapServer, stage: Callable[[ImapServer], Stage]
) -> None:
    server.script.on("LIST", Answer(b"NO no such right"))

    with pytest.raises(RefusedError, match="no such right"):
        stage(server).run()


def test_a_wrong_password_is_told_as_such(
    server: ImapServer, alice: FakeUser, stage: Callable[[ImapServer], Stage]
) -> None:
    alice.password = "another"

    with pytest.raises(SignInError, match="wrong user or password"):
        stage(server).run()


def test_a_largest_message_of_ones_own_is_kept_to(
    server: ImapServer, inbox: FakeFolder, tmp_path: Path
) -> None:
    inbox.append(b"Subject: big\r\n\r\n" + b"x" * 5000)
    settings = Connection(allow_plaintext=True, timeout=20, largest_message=4000)
    export = Stage(tmp_path / "archive", connector(server.port, connection=settings))

    result = export.run()

    assert (result.new, result.failed) == (5, 1)
    assert "5,016 octets" in export.heard.problems[0][2]


def test_a_rate_is_a_ceiling_for_what_is_fetched(
    server: ImapServer, inbox: FakeFolder, tmp_path: Path
) -> None:
    slept: list[float] = []
    stage = Stage(tmp_path / "slow", connector(server.port), sleep=slept.append)

    result = stage.run(Options(rate=2))

    assert result.new == 5
    # Five messages at two a second: the last may come two seconds after the first. This sleep
    # lets no time go by.
    assert len(slept) == 4
    assert 1.5 < slept[-1] <= 2
