"""Stage one by POP3: identity by unique-ids, by content where they fail, and nothing deleted."""

from __future__ import annotations

import hashlib
from datetime import date
from typing import TYPE_CHECKING

import pytest

from export.pop3_source import Pop3Source
from export.run import Options
from export.verify import verify
from store.archive import Archive
from store.finding import Compared
from store.rebuild import rebuild
from store.uidls import UIDVALIDITY
from tests.export.support import Pop3, pop3_stage
from tests.fakes.pop3_server import MODERN, Mail, Pop3Server
from waystation.address import parse_account
from waystation.errors import OtherProtocolError, OtherSourceError, ProtocolError, RefusedError
from waystation.pop3 import Pop3Session
from waystation.progress import Silent
from waystation.selection import Selection
from waystation.session import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from export.run import Exported
    from store.finding import Finding
    from tests.export.support import Stage

WITHOUT_TOP = tuple(word for word in MODERN if word != "TOP")
RECEIVED = (
    b"Received: from b by c; Wed, 01 May 2024 10:30:00 +0200\r\n"
    b"Received: from a by b; Wed, 01 May 2024 10:00:00 +0200\r\n"
)
SENT = b"Date: Tue, 30 Apr 2024 08:00:00 +0000\r\n"


def octets(number: int, size: int = 300) -> bytes:
    head = b"Message-ID: <%d@x>\r\nSubject: message %d\r\n" % (number, number)
    return RECEIVED + SENT + head + b"\r\n" + b"..line\r\n" * (size // 8)


def mails(count: int) -> list[Mail]:
    return [Mail(f"a{number}", octets(number)) for number in range(1, count + 1)]


@pytest.fixture
def server() -> Iterator[Pop3Server]:
    with Pop3Server(mails(5)) as running:
        yield running


@pytest.fixture
def stage(server: Pop3Server, tmp_path: Path) -> Stage:
    return pop3_stage(tmp_path / "archive", server.port)


def archived(stage: Stage) -> dict[int, bytes]:
    return stage.bodies("INBOX")


def contents(stage: Stage) -> list[bytes]:
    return [body for _, body in sorted(archived(stage).items())]


def held(server: Pop3Server) -> list[bytes]:
    return [mail.octets for mail in server.mails]


def verified(stage: Stage, server: Pop3Server) -> tuple[list[Finding], Compared]:
    account = parse_account(f"pop3://alice@127.0.0.1:{server.port}")
    compared = Compared()
    connection = Connection(allow_plaintext=True, timeout=20)
    with (
        Archive.read(stage.path) as archive,
        Pop3Session.open(account, "secret", connection) as session,
    ):
        source = Pop3Source(session, archive, is_reading=True)
        return list(verify(archive, source, Silent(), compared, deep=True)), compared


def same(result: Exported) -> bool:
    return (result.new, result.vanished, result.failed, result.alarms) == (0, 0, 0, 0)


def test_messages_come_octet_by_octet_and_nothing_is_deleted(
    stage: Stage, server: Pop3Server
) -> None:
    server.mails += [
        Mail("dots", b"\r\n.\r\n..\r\n...\r\n.x\r\n"),
        Mail("dot first", b".\r\n"),
        Mail("lone", b"a\r.\r\n\n.\r\nb\n.\r\n"),
        Mail("nothing", b""),
        Mail("8 bit", bytes(range(256)) * 3000 + b"\r\n"),
    ]
    for mail in server.mails:
        mail.uidl = mail.uidl.replace(" ", "-")

    result = stage.run()

    assert (result.new, result.failed, result.alarms) == (10, 0, 0)
    assert contents(stage) == held(server)
    assert {row.uidvalidity for row in stage.rows()} == {UIDVALIDITY}
    assert server.count("DELE") == 0
    assert server.commands[-2:] == ["RSET", "QUIT"]
    assert stage.discrepancies() == []


def test_a_run_that_finds_nothing_new_costs_one_listing(stage: Stage, server: Pop3Server) -> None:
    stage.run()
    server.commands.clear()

    assert same(stage.run())

    # The first one asks for STLS.
    assert " ".join(server.commands) == (
        "CAPA CAPA USER alice PASS secret CAPA STAT UIDL RSET QUIT"
    )


def test_what_is_new_is_fetched_and_what_is_gone_stays_here(
    stage: Stage, server: Pop3Server
) -> None:
    stage.run()
    gone = server.mails.pop(1)
    server.mails.append(Mail("new", octets(99)))

    result = stage.run()

    assert (result.new, result.vanished, server.count("RETR")) == (1, 1, 6)
    assert contents(stage) == held(server)
    assert stage.vanished("INBOX") == [2]
    assert [row.sha256 for row in stage.rows() if row.uid == 2] == [
        hashlib.sha256(gone.octets).hexdigest()
    ]


def test_dates_come_from_the_top_received_field_then_from_date_and_are_marked_so(
    stage: Stage, server: Pop3Server
) -> None:
    server.mails[:] = [
        Mail("1", RECEIVED + SENT + b"\r\nx\r\n"),
        Mail("2", b"Received: by a; nonsense\r\n" + SENT + b"\r\nx\r\n"),
        Mail("3", b"Subject: none\r\n\r\nDate: Tue, 30 Apr 2024 08:00:00 +0000\r\n"),
    ]

    stage.run()

    found = [
        (row.internaldate and row.internaldate.isoformat(), row.date_from) for row in stage.rows()
    ]
    assert found == [
        ("2024-05-01T08:30:00+00:00", "received"),
        ("2024-04-30T08:00:00+00:00", "date"),
        (None, None),
    ]
    assert verified(stage, server) == ([], Compared(messages=3, equal=3))


def test_several_messages_are_on_their_way_at_a_time_where_the_server_can_do_that(
    stage: Stage, server: Pop3Server
) -> None:
    server.mails[:] = mails(300)

    stage.run()

    assert server.most_waiting > 10
    assert contents(stage) == held(server)


@pytest.mark.parametrize("what", ["no CAPA", "no PIPELINING", "no sizes"])
def test_one_after_the_other_where_it_cannot(what: str, stage: Stage, server: Pop3Server) -> None:
    server.mails[:] = mails(50)
    if what == "no CAPA":
        server.script.capabilities = None
    elif what == "no PIPELINING":
        server.script.capabilities = ("TOP", "UIDL", "USER")
    else:
        server.script.announces = False

    stage.run()

    assert server.most_waiting == 1
    assert contents(stage) == held(server)
    assert verified(stage, server)[0] == []


def test_wrong_sizes_only_make_it_slow(stage: Stage, server: Pop3Server) -> None:
    server.mails[:] = mails(50)
    server.script.announced_too_many = 7

    stage.run()

    assert contents(stage) == held(server)
    assert server.most_waiting == 1


# Names that fail


def test_without_uidl_messages_are_known_by_their_content(
    stage: Stage, server: Pop3Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.script.has_uidl = False
    server.mails.append(Mail("", octets(1)))  # a copy of the first
    assert stage.run().new == 6
    assert "6 messages are without a unique-id" in caplog.text
    ids = [(row.id, row.uid, row.path) for row in stage.rows()]

    again = stage.run()

    assert same(again)
    assert again.renumbered == 0
    assert [(row.id, row.uid, row.path) for row in stage.rows()] == ids
    assert verified(stage, server)[0] == []
    del server.mails[2]
    server.mails.append(Mail("", octets(77)))
    third = stage.run()
    assert (third.new, third.vanished) == (1, 1)
    assert sorted(contents(stage)) == sorted(held(server))


@pytest.mark.parametrize("capabilities", [MODERN, WITHOUT_TOP])
def test_a_message_that_uidl_leaves_out_is_fetched_once_where_there_is_top(
    capabilities: tuple[str, ...], stage: Stage, server: Pop3Server
) -> None:
    server.script.capabilities = capabilities
    server.script.unlisted = {2, 5}

    assert stage.run().new == 5

    assert sorted(contents(stage)) == held(server)
    assert same(stage.run())
    assert server.count("RETR") == 5 + (2 if capabilities is WITHOUT_TOP else 0)


def test_messages_that_share_their_name_are_told_apart_by_content(
    stage: Stage, server: Pop3Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.script.capabilities = WITHOUT_TOP
    server.mails[3].uidl = server.mails[0].uidl

    assert stage.run().new == 5
    assert "2 messages have the unique-id of another one" in caplog.text
    assert sorted(contents(stage)) == held(server)
    assert same(stage.run())
    # The first of the two goes; the name is now that of the other one.
    del server.mails[0]
    result = stage.run()

    assert (result.new, result.vanished, result.renumbered) == (0, 1, 1)
    assert sorted(contents(stage)) == held(server)
    assert server.count("RETR") == 5 + 2 + 1
    assert same(stage.run())


def test_a_name_that_once_was_good_and_then_doubles_loses_no_message(
    stage: Stage, server: Pop3Server
) -> None:
    stage.run()
    server.mails.append(Mail("a1", octets(50)))

    result = stage.run()

    assert (result.new, result.vanished) == (1, 0)
    assert sorted(contents(stage)) == sorted(held(server))
    assert same(stage.run())


def rename(server: Pop3Server) -> None:
    """Give every message another unique-id, as a server does that was set up anew."""
    for number, mail in enumerate(server.mails):
        mail.uidl = f"new-{number}"


@pytest.mark.parametrize("capabilities", [MODERN, WITHOUT_TOP])
def test_new_names_for_all_messages_double_nothing(
    capabilities: tuple[str, ...],
    stage: Stage,
    server: Pop3Server,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.script.capabilities = capabilities
    server.mails.append(Mail("copy", octets(1)))
    stage.run()
    before = [(row.id, row.uid, row.path) for row in stage.rows()]
    rename(server)
    server.commands.clear()

    result = stage.run()

    assert same(result)
    assert result.renumbered == 6
    assert [(row.id, row.uid, row.path) for row in stage.rows()] == before
    if capabilities is MODERN:
        assert (server.count("TOP"), server.count("RETR")) == (6, 0)
        assert "6 messages with a new unique-id are here already" in caplog.text
    else:
        assert (server.count("TOP"), server.count("RETR")) == (0, 6)
    server.commands.clear()
    assert same(stage.run())
    assert server.count("RETR") + server.count("TOP") == 0


def test_with_new_names_only_what_stays_in_doubt_is_read_again(
    stage: Stage, server: Pop3Server
) -> None:
    twin = octets(1).replace(b"..line", b"..lime")  # the same header and size
    plain = [Mail("p", b"Subject: no id\r\n\r\nx\r\n"), Mail("q", b"\r\nno header\r\n")]
    server.mails += [Mail("twin", twin), *plain]
    stage.run()
    before = [(row.id, row.uid, row.path) for row in stage.rows()]
    rename(server)
    server.mails += [Mail("new", octets(9)), Mail("another", octets(2, 500))]
    server.commands.clear()

    result = stage.run()

    assert (result.new, result.renumbered, result.vanished) == (2, 8, 0)
    # Both twins, the two without a Message-ID, the two that are new.
    assert server.count("RETR") == 6
    assert [(row.id, row.uid, row.path) for row in stage.rows()][:8] == before
    assert contents(stage) == held(server)


def test_more_messages_with_a_header_than_are_archived_are_read(
    stage: Stage, server: Pop3Server
) -> None:
    stage.run()
    rename(server)
    server.mails.append(Mail("other", octets(1).replace(b"..line", b"..lime")))

    result = stage.run()

    assert (result.new, result.renumbered) == (1, 5)
    assert contents(stage) == held(server)


@pytest.mark.parametrize("is_refused", [True, False])
def test_with_new_names_a_list_that_is_wrong_or_refused_costs_only_time(
    is_refused: bool, stage: Stage, server: Pop3Server
) -> None:
    stage.run()
    rename(server)
    server.script.listed_too_many = 7
    server.script.has_list = not is_refused
    server.commands.clear()

    result = stage.run()

    assert (result.new, result.renumbered, server.count("RETR")) == (0, 5, 5)


def test_a_message_that_comes_back_under_another_name_keeps_its_row(
    stage: Stage, server: Pop3Server
) -> None:
    stage.run()
    back = server.mails.pop(0)
    assert stage.run().vanished == 1
    server.mails.append(Mail("back", back.octets))

    result = stage.run()

    assert (result.new, result.renumbered) == (0, 1)
    assert stage.vanished("INBOX") == []
    assert len(stage.rows()) == 5


def test_verify_finds_messages_by_content_whatever_they_are_called(
    stage: Stage, server: Pop3Server
) -> None:
    stage.run()
    for mail in server.mails:
        mail.uidl = f"x{mail.uidl}"

    assert verified(stage, server) == ([], Compared(messages=5, equal=5))

    server.mails[1].octets = server.mails[1].octets.replace(b"..line", b"..liar")
    del server.mails[4]
    causes = sorted(finding.cause.value for finding in verified(stage, server)[0])
    assert causes == ["not_archived", "vanished", "vanished"]


def test_verify_names_what_differs_under_the_same_name(stage: Stage, server: Pop3Server) -> None:
    stage.run()
    server.mails[1].octets = server.mails[1].octets.replace(b"..line", b"..liar")
    server.mails[2].octets = server.mails[2].octets.replace(b"message", b"massage")
    before = (stage.path / "index.sqlite").read_bytes()

    findings, _ = verified(stage, server)

    assert [(found.cause.value, found.uid) for found in findings] == [("content", 2), ("header", 3)]
    assert (stage.path / "index.sqlite").read_bytes() == before


def test_a_new_index_takes_the_names_over_and_fetches_nothing(
    stage: Stage, server: Pop3Server
) -> None:
    server.mails[2].octets = SENT + server.mails[2].octets.removeprefix(RECEIVED + SENT)
    server.mails[3].octets = b"Subject: no date\r\n\r\nx\r\n"
    stage.run()
    before = [(row.uid, row.path, row.date_from) for row in stage.rows()]
    assert [date_from for *_, date_from in before] == [
        *("received", "received", "date", None, "received")
    ]
    rebuild(stage.path, Silent())
    server.commands.clear()

    result = stage.run()

    assert same(result)
    assert result.renumbered == 0
    assert [(row.uid, row.path, row.date_from) for row in stage.rows()] == before
    assert server.count("RETR") + server.count("TOP") == 0
    server.mails.append(Mail("one more", octets(6)))
    assert stage.run().new == 1


@pytest.mark.parametrize("damage", ["gone", "garbage", "page"])
def test_where_the_old_index_cannot_be_believed_headers_give_the_names_back(
    damage: str, stage: Stage, server: Pop3Server
) -> None:
    stage.run()
    before = [(row.uid, row.path) for row in stage.rows()]
    index = stage.path / "index.sqlite"
    if damage == "gone":
        index.unlink()
    elif damage == "garbage":
        index.write_bytes(b"x" * 8192)
    else:
        octets = bytearray(index.read_bytes())
        octets[4096:] = b"\xff" * (len(octets) - 4096)
        index.write_bytes(octets)
    rebuild(stage.path, Silent())
    server.commands.clear()

    result = stage.run()

    assert same(result)
    assert result.renumbered == 5
    assert [(row.uid, row.path) for row in stage.rows()] == before
    assert (server.count("TOP"), server.count("RETR")) == (5, 0)


def test_a_new_index_knows_the_messages_by_their_content_where_there_is_no_top(
    stage: Stage, server: Pop3Server
) -> None:
    server.script.capabilities = WITHOUT_TOP
    stage.run()
    before = [(row.uid, row.path) for row in stage.rows()]
    (stage.path / "index.sqlite").unlink()
    rebuild(stage.path, Silent())

    result = stage.run()

    assert same(result)
    assert result.renumbered == 5
    assert [(row.uid, row.path) for row in stage.rows()] == before


# Servers that fail


def test_a_message_that_is_refused_is_told_and_tried_again(
    stage: Stage, server: Pop3Server
) -> None:
    server.script.refuses[2] = "this one is damaged"

    result = stage.run()

    assert (result.new, result.failed) == (4, 1)
    assert [row.reason for row in stage.rows() if row.state == "failed"] == ["this one is damaged"]
    server.script.refuses.clear()
    assert (stage.run().new, stage.run().new) == (1, 0)
    assert contents(stage) == held(server)


def test_a_message_without_a_name_that_is_refused_fails_once(
    stage: Stage, server: Pop3Server
) -> None:
    server.script.has_uidl = False
    server.script.refuses[2] = "damaged"

    assert [stage.run().failed for _ in range(3)] == [1, 1, 1]

    assert [row.state for row in stage.rows()].count("failed") == 1


def test_a_refusal_that_passes_ends_the_run_for_a_moment_only(
    stage: Stage, server: Pop3Server
) -> None:
    server.script.refuses[3] = "[SYS/TEMP] the disk is busy"

    result = stage.run()

    assert (result.new, result.alarms) == (4, 1)
    server.script.refuses.clear()
    assert stage.run().new == 1


def test_a_line_that_breaks_in_a_message_is_taken_up_again(
    stage: Stage, server: Pop3Server
) -> None:
    server.mails[:] = mails(40)
    server.script.cuts = [3, 20, 37]

    result = stage.run()

    assert (result.new, result.failed, server.connections) == (40, 0, 4)
    assert contents(stage) == held(server)
    assert list(stage.path.rglob("*.waystation-part")) == []


def test_a_message_that_always_breaks_the_line_is_left_at_last(
    stage: Stage, server: Pop3Server
) -> None:
    server.script.cuts = [3] * 50

    result = stage.run()

    assert (result.new, result.failed) == (4, 1)


def test_garbage_in_place_of_a_message_is_left_at_last(stage: Stage, server: Pop3Server) -> None:
    server.script.garbage = {2}

    result = stage.run()

    assert (result.new, result.failed) == (4, 1)
    [reason] = [row.reason for row in stage.rows() if row.state == "failed"]
    assert reason is not None
    assert "does not answer as a POP3 server" in reason


def test_a_message_that_does_not_end_swallows_no_other(tmp_path: Path, server: Pop3Server) -> None:
    server.mails[:] = mails(60)
    server.script.unended = {30}
    settings = Connection(allow_plaintext=True, timeout=1)
    stage = pop3_stage(tmp_path / "archive", server.port, connection=settings)

    result = stage.run()

    assert (result.new, result.failed) == (59, 1)
    assert contents(stage) == [body for number, body in enumerate(held(server), 1) if number != 30]


def test_a_count_that_is_wrong_is_an_alarm_and_nothing_is_taken_for_vanished(
    stage: Stage, server: Pop3Server
) -> None:
    stage.run()
    server.mails.pop()
    server.script.counted_too_many = 3

    result = stage.run()

    assert (result.alarms, result.vanished) == (1, 0)
    assert "says it holds 7 messages and lists 4" in stage.heard.alarms[0][1]


def test_a_maildrop_that_is_suddenly_empty_is_an_alarm(stage: Stage, server: Pop3Server) -> None:
    stage.run()
    server.mails.clear()

    assert (stage.run().alarms, stage.vanished("INBOX")) == (1, [])
    assert stage.run(Options(accept_emptied=True)).vanished == 5


@pytest.mark.parametrize("command", ["CAPA", "STAT", "UIDL"])
def test_an_answer_without_an_end_is_not_held(
    command: str, stage: Stage, server: Pop3Server
) -> None:
    server.script.endless = command

    with pytest.raises(ProtocolError, match="POP3 server"):
        stage.run()


def test_a_maildrop_that_another_session_holds_is_waited_for(
    stage: Stage, server: Pop3Server
) -> None:
    server.mails[:] = mails(9)
    server.script.cuts = [5]
    waits: list[float] = []
    stage.sleep = waits.append

    class Once(Pop3):
        def __enter__(self) -> Pop3Source:
            source = super().__enter__()
            if server.connections == 1:
                server.script.sign_in = ["-ERR [IN-USE] locked", "-ERR [LOGIN-DELAY] wait"]
            return source

    account = parse_account(f"pop3://alice@127.0.0.1:{server.port}")
    stage.connect = lambda: Once(stage, account, Connection(allow_plaintext=True, timeout=20))

    result = stage.run()

    assert (result.new, server.connections) == (9, 4)
    assert waits == [1, 10, 3, 60]  # what the server wants comes to our own patience


def test_a_refused_sign_in_that_passes_says_how_long_to_wait(
    stage: Stage, server: Pop3Server
) -> None:
    server.script.capabilities = ("UIDL", "USER", "LOGIN-DELAY 45")
    server.script.sign_in = ["-ERR [LOGIN-DELAY] not yet", "-ERR [IN-USE] locked"]
    for pause in (45.0, 10.0):
        with pytest.raises(RefusedError) as caught:
            stage.run()
        assert caught.value.retriable
        assert caught.value.backoff == pause


# One archive


def test_pop3_and_imap_share_an_archive_only_if_asked_for(stage: Stage, server: Pop3Server) -> None:
    stage.run()
    stage.name = "imap://alice@127.0.0.1"

    with pytest.raises(OtherSourceError):
        stage.run()
    with pytest.raises(OtherProtocolError, match="--mix-protocols"):
        stage.run(Options(new_source=True))
    assert same(stage.run(Options(mix_protocols=True)))


def test_at_another_address_it_is_the_same_mailbox(stage: Stage) -> None:
    stage.run()
    stage.name = "pop3s://alice@pop.example.org:995"

    assert same(stage.run(Options(new_source=True)))


def test_a_provider_by_pop3_is_told_from_the_same_by_imap(stage: Stage, server: Pop3Server) -> None:
    stage.name = "gmail+pop3:alice@gmail.com"
    stage.run()
    stage.name = "gmail:alice@gmail.com"

    with pytest.raises(OtherProtocolError, match="--mix-protocols"):
        stage.run(Options(new_source=True))
    stage.name = "pop3s://alice@pop.example.org:995"
    assert same(stage.run(Options(new_source=True)))


# Filters and a day's budget


def left_out(stage: Stage) -> dict[int, tuple[str | None, str | None]]:
    return {row.uid: (row.reason, row.date_from) for row in stage.rows() if row.state == "skipped"}


def test_filters_leave_out_by_size_and_derived_date_without_a_body(
    stage: Stage, server: Pop3Server
) -> None:
    server.mails += [
        Mail("large", octets(6, 3000)),
        Mail("new", octets(7).replace(b"2024", b"2025")),
        Mail("undated", b"Subject: none\r\n\r\n"),
    ]
    wanted = Selection(since=date(2024, 5, 2), max_size=2000)

    result = stage.run(Options(selection=wanted))

    assert (result.new, result.skipped, server.count("RETR")) == (2, 6, 2)
    assert sorted(archived(stage)) == [7, 8]
    assert left_out(stage)[1] == ("received before 2024-05-02 (--since)", "received")
    server.commands.clear()
    assert same(stage.run(Options(selection=wanted)))
    assert (server.count("RETR"), server.count("TOP")) == (0, 0)
    everything = stage.run()
    assert (everything.new, everything.vanished, everything.skipped) == (6, 0, 0)
    assert contents(stage) == held(server)
    assert stage.discrepancies() == []


def test_what_was_left_out_and_is_gone_is_not_asked_for_when_it_would_be_wanted(
    stage: Stage, server: Pop3Server
) -> None:
    stage.run(Options(selection=Selection(max_size=1)))
    del server.mails[1]

    result = stage.run()

    assert (result.new, result.vanished, result.failed, result.alarms) == (4, 0, 0, 0)
    assert contents(stage) == held(server)


def test_what_has_no_name_is_left_out_once(stage: Stage, server: Pop3Server) -> None:
    server.script.has_uidl = False
    nothing = Options(selection=Selection(max_size=1))

    results = [stage.run(nothing) for _ in range(3)]

    assert [(each.new, each.skipped, each.vanished) for each in results] == [(0, 5, 0)] * 3
    assert len(stage.rows()) == 5
    assert stage.run().new == 5


def test_a_run_that_stops_at_its_budget_takes_nothing_for_vanished(
    stage: Stage, server: Pop3Server
) -> None:
    server.script.capabilities = WITHOUT_TOP
    server.mails[:] = mails(150)
    stage.run()
    for number, mail in enumerate(server.mails):
        mail.uidl = f"b{number}"

    stopped = stage.run(Options(budget=1))

    assert (stopped.out_of_budget, stopped.renumbered, stopped.vanished) == (True, 100, 0)
    whole = stage.run()
    assert (whole.renumbered, whole.vanished, whole.new) == (50, 0, 0)
    assert len(archived(stage)) == 150
