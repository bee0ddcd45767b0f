"""An import, told in stories: what arrives, what is in the ledger, what is not sent."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from importer.refusals import TargetFullError
from importer.target import Window
from store.transfers import TransferState
from tests.fakes.imap_server import Answer, AnswerLiteral, Cut, CutInLiteral, ImapServer, Raw
from tests.fakes.mailbox import Mailboxes
from tests.fakes.memory_target import Crash, MemoryServer
from tests.importer.support import NOON, Mail, connector, mail, server
from waystation.errors import ConnectionLostError, RefusedError
from waystation.model import SpecialUse
from waystation.retry import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

APPENDED = TransferState.APPENDED
TWIN = b"Message-ID: <twin@x>\r\nSubject: twin\r\n\r\nTwin.\r\n"
BARE = b"\r\nNo headers at all.\r\n"
BARE_LF = b"Subject: lf\n\nOne.\nTwo.\r\nThree.\n"


def fill(archive: Mail) -> None:
    """Put in a bit of everything that is hard to tell apart."""
    archive.add(TWIN)
    archive.add(TWIN)
    archive.add(b"Message-ID: <twin@x>\r\nSubject: twin\r\n\r\nTwim.\r\n")
    archive.add(BARE)
    archive.add(b"\r\nNo headers at ALL.\r\n")
    archive.add(BARE_LF)
    archive.add(mail("undated"), date=None)
    archive.add(mail(1), flags=("\\Seen",), keywords=("todo",))
    archive.add(TWIN, "Sent", special_use=SpecialUse.SENT)


# --- what arrives


def test_everything_arrives_with_its_flags_and_date(
    mail_archive: Mail, target: MemoryServer
) -> None:
    message = mail_archive.add(mail(1), flags=("\\Seen", "\\Flagged"), keywords=("todo",))

    result = mail_archive.replay(target.connect)

    (there,) = target.user.folder("INBOX").messages
    assert (there.body, there.flags) == (mail(1), {"\\Seen", "\\Flagged", "todo"})
    assert there.internaldate == NOON
    assert (result.appended, result.is_complete) == (1, True)
    assert mail_archive.place_of(message) == ("INBOX", there_uidvalidity(target), there.uid)


def there_uidvalidity(target: MemoryServer, name: str = "INBOX") -> int:
    return target.user.folder(name).uidvalidity


def test_a_second_run_sends_nothing(mail_archive: Mail, target: MemoryServer) -> None:
    fill(mail_archive)
    mail_archive.replay(target.connect)
    sent = target.appends

    result = mail_archive.replay(target.connect)

    assert target.appends == sent == 9
    assert (result.appended, result.already_there) == (0, 0)
    assert target.everything() == mail_archive.expected()


def test_what_is_archived_later_is_sent_by_the_next_run(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(TWIN)
    mail_archive.replay(target.connect)
    mail_archive.add(TWIN)
    mail_archive.add(mail(2), "Projects/2024")

    mail_archive.replay(target.connect)

    assert target.everything() == mail_archive.expected()


def test_flags_and_keywords_the_folder_does_not_keep_are_in_the_ledger(
    mail_archive: Mail, target: MemoryServer
) -> None:
    target.user.folder("INBOX").permanent_flags = ("\\Seen", "$MDNSent")
    message = mail_archive.add(
        mail(1), flags=("\\Flagged", "\\Seen"), keywords=("$MDNSent", "todo")
    )

    mail_archive.replay(target.connect)

    assert target.user.folder("INBOX").messages[0].flags == {"\\Seen", "$MDNSent"}
    assert mail_archive.lost_of(message) == ("\\Flagged", "todo")


@pytest.mark.parametrize("keyword", ["two words", "emoji🎉", "(x)", "é", ""])
def test_a_keyword_that_no_command_can_hold_is_lost_and_the_message_arrives(
    mail_archive: Mail, keyword: str
) -> None:
    message = mail_archive.add(mail(1), keywords=(keyword,))
    with server() as running:
        mail_archive.replay(connector(running.port))

        assert running.mailboxes["bob"].folder("INBOX").bodies == [mail(1)]
    assert mail_archive.lost_of(message) == (keyword,)


def test_what_is_lost_stays_in_the_ledger_when_the_answer_is_lost_too(
    mail_archive: Mail, target: MemoryServer
) -> None:
    target.user.folder("INBOX").permanent_flags = ("\\Seen",)
    message = mail_archive.add(mail(1), keywords=("todo",), date=None)
    target.wrong.lose_after = {1}

    mail_archive.replay(target.connect)

    assert mail_archive.state_of(message) is APPENDED
    assert mail_archive.lost_of(message) == ("todo", "INTERNALDATE")


def test_the_newest_messages_of_all_folders_come_first(
    mail_archive: Mail, target: MemoryServer
) -> None:
    target.window = Window(1, 0)
    order: list[bytes] = []
    target.wrong.refuse = lambda body: order.append(body)
    for days in (0, 10, 400, 2000):
        mail_archive.add(mail(days), date=NOON - timedelta(days=days))
        mail_archive.add(mail(f"p{days}"), "Projects", date=NOON - timedelta(days=days))

    mail_archive.replay(target.connect)

    wanted = ["0", "10", "p0", "p10", "400", "p400", "2000", "p2000"]
    assert order == [mail(name) for name in wanted]


def test_more_messages_than_fit_into_one_span_arrive_once(
    mail_archive: Mail, target: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importer.send._SPAN", 7)
    monkeypatch.setattr("importer.send._SPAN_SECONDS", 0.0)
    monkeypatch.setattr("importer.send._PAGE", 3)
    monkeypatch.setattr("importer.placing._PAGE", 3)
    for number in range(40):
        mail_archive.add(mail(number // 2))
    target.uidplus = False

    mail_archive.replay(target.connect)

    assert target.everything() == mail_archive.expected()
    uids = {mail_archive.place_of(m)[2] for m in mail_archive.archive.index.messages()}
    assert uids == set(target.user.folder("INBOX").uids)


def test_a_message_larger_than_memory_blocks_is_sent_octet_for_octet(
    mail_archive: Mail, target: MemoryServer
) -> None:
    body = mail(1) + b"x" * 3_000_000
    mail_archive.add(body)

    mail_archive.replay(target.connect)

    assert target.bodies("INBOX") == Counter([body])


# --- lost answers


@pytest.mark.parametrize("uidplus", [True, False])
@pytest.mark.parametrize("window", [1, 3, 100])
@pytest.mark.parametrize("number", range(1, 10))
def test_a_line_that_breaks_at_any_message_costs_and_doubles_none(
    mail_archive: Mail, number: int, window: int, uidplus: bool
) -> None:
    fill(mail_archive)
    for when in ("before", "after"):
        target = MemoryServer(uidplus=uidplus, window=Window(window, 10**6))
        setattr(target.wrong, f"lose_{when}", {number, number + 2})
        mail_archive.target = mail_archive.archive.transfers.target(when, when)

        result = mail_archive.replay(target.connect)

        assert target.everything() == mail_archive.expected()
        assert result.is_complete
        totals = mail_archive.archive.transfers.totals()
        states = {state for name, _, state, _, _ in totals if name == when}
        assert states == {"appended"}
        assert target.connections > 1


@pytest.mark.parametrize("number", range(1, 10))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_dies_at_any_message_costs_and_doubles_none(
    mail_archive: Mail, target: MemoryServer, number: int, when: str
) -> None:
    fill(mail_archive)
    setattr(target.wrong, f"crash_{when}", {number})
    with pytest.raises(Crash):
        mail_archive.replay(target.connect)
    assert mail_archive.states()["sending"]

    mail_archive.replay(target.connect)

    assert target.everything() == mail_archive.expected()
    assert mail_archive.states() == {"appended": 9}


def test_the_intent_is_recorded_before_the_message_goes_out(
    mail_archive: Mail, target: MemoryServer
) -> None:
    message = mail_archive.add(mail(1))
    seen = []
    target.wrong.refuse = lambda body: seen.append(mail_archive.state_of(message))

    mail_archive.replay(target.connect)

    assert seen == [TransferState.SENDING]


def test_ctrl_c_leaves_in_doubt_what_had_no_answer(
    mail_archive: Mail, target: MemoryServer
) -> None:
    fill(mail_archive)

    def interrupt(body: bytes) -> str | None:
        if body == BARE:
            raise KeyboardInterrupt
        return None

    target.wrong.refuse = interrupt
    with pytest.raises(KeyboardInterrupt):
        mail_archive.replay(target.connect)
    target.behave()

    mail_archive.replay(target.connect)

    assert target.everything() == mail_archive.expected()


def test_a_strangers_message_in_the_window_is_not_taken_for_ours(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1))
    target.wrong.crash_before = {1}
    with pytest.raises(Crash):
        mail_archive.replay(target.connect)
    inbox = target.user.folder("INBOX")
    inbox.append(mail("stranger"), internaldate=NOON)
    inbox.append(mail(1), internaldate=NOON + timedelta(seconds=1))
    inbox.append(mail(1, "Quite another text."), internaldate=NOON)

    mail_archive.replay(target.connect)

    assert target.bodies("INBOX")[mail(1)] == 2


def test_a_headerless_stranger_of_the_same_second_is_not_taken_for_ours(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(BARE, date=None)
    target.wrong.crash_before = {1}
    with pytest.raises(Crash):
        mail_archive.replay(target.connect)
    target.user.folder("INBOX").append(b"\r\nAnother text here.\r\n")

    mail_archive.replay(target.connect)

    assert target.bodies("INBOX")[BARE] == 1


def as_dovecot(body: bytes) -> bytes:
    return body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").replace(b"\0", b"\x80")


def with_a_header(body: bytes) -> bytes:
    return b"X-Scanned: yes\r\n" + body


@pytest.mark.parametrize("rewrite", [as_dovecot, with_a_header])
@pytest.mark.parametrize("uidplus", [True, False])
def test_a_server_that_tidies_messages_gets_each_once(
    mail_archive: Mail, rewrite: Callable[[bytes], bytes], uidplus: bool
) -> None:
    target = MemoryServer(uidplus=uidplus)
    bodies = [mail(1), mail(2, "nul \0 here"), BARE_LF, TWIN, TWIN]
    for body in bodies:
        mail_archive.add(body)
    target.wrong.rewrite = rewrite
    target.wrong.lose_after = {1, 2, 4}

    mail_archive.replay(target.connect)

    assert target.bodies("INBOX") == Counter(map(rewrite, bodies))


def test_a_server_that_rewrites_everything_is_known_by_its_habit(
    mail_archive: Mail, target: MemoryServer
) -> None:
    target.wrong.rewrite = lambda body: (
        body.upper()
        .replace(b"NUMBER", b"number")
        .replace(b"@EXAMPLE", b"@example")
        .replace(b".ORG", b".org")
        .replace(b"A@", b"a@")
        .replace(b"WED", b"Wed")
        .replace(b"MAY", b"May")
    )
    for number in range(8):
        mail_archive.add(mail(number))
    target.wrong.lose_after = {7}

    mail_archive.replay(target.connect)

    assert len(target.user.folder("INBOX").uids) == 8


# --- APPENDUID that is missing or lies

LIES: dict[str, Callable[[int, int], str]] = {
    "missing": lambda v, u: "done",
    "garbled": lambda v, u: "[APPENDUID x y] done",
    "other uidvalidity": lambda v, u: f"[APPENDUID {v + 1} {u}] done",
    "zero": lambda v, u: f"[APPENDUID {v} 0] done",
    "always the same": lambda v, u: f"[APPENDUID {v} 7] done",
    "one too high": lambda v, u: f"[APPENDUID {v} {u + 1}] done",
    "one too low": lambda v, u: f"[APPENDUID {v} {u - 1}] done",
    "far too high": lambda v, u: f"[APPENDUID {v} {u + 4000000}] done",
    "every second": lambda v, u: f"[APPENDUID {v} {u}] done" if u % 2 else "done",
    "too large": lambda v, u: f"[APPENDUID {v} 99999999999] done",
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("lost", range(1, 10))
def test_an_appenduid_that_lies_neither_doubles_nor_loses(
    mail_archive: Mail, target: MemoryServer, lie: str, lost: int
) -> None:
    target.user.folder("INBOX").append(b"Subject: older\r\n\r\nx\r\n")
    fill(mail_archive)
    target.wrong.appenduid = LIES[lie]
    target.wrong.lose_after = {lost}
    target.wrong.lose_before = {lost + 3}

    mail_archive.replay(target.connect)

    held = target.everything()
    held["INBOX"] -= Counter([b"Subject: older\r\n\r\nx\r\n"])
    assert held == mail_archive.expected()
    assert mail_archive.states() == {"appended": 9}


@pytest.mark.parametrize("lie", sorted(LIES.keys() - {"one too high"}))
def test_the_true_uid_is_looked_up(mail_archive: Mail, target: MemoryServer, lie: str) -> None:
    fill(mail_archive)
    target.wrong.appenduid = LIES[lie]

    mail_archive.replay(target.connect)

    places = {mail_archive.place_of(m) for m in mail_archive.archive.index.messages()}
    assert places == {
        (folder.name, folder.uidvalidity, uid)
        for folder in target.user.folders
        for uid in folder.uids
    }


# --- a target that has changed


def test_a_renumbered_folder_does_not_hide_a_message_that_was_not_stored(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(TWIN)
    mail_archive.replay(target.connect)
    mail_archive.add(TWIN)
    mail_archive.add(b"Message-ID: <twin@x>\r\nSubject: twin\r\n\r\nTwim.\r\n")
    target.wrong.crash_before = {2}
    with pytest.raises(Crash):
        mail_archive.replay(target.connect)
    target.user.folder("INBOX").renumber()

    mail_archive.replay(target.connect)

    assert target.everything() == mail_archive.expected()


def test_a_renumbered_folder_does_not_double_a_message_that_was_stored(
    mail_archive: Mail, target: MemoryServer
) -> None:
    fill(mail_archive)
    target.wrong.crash_after = {5}
    with pytest.raises(Crash):
        mail_archive.replay(target.connect)
    target.user.folder("INBOX").renumber()

    mail_archive.replay(target.connect)

    assert target.everything() == mail_archive.expected()


def test_a_folder_that_was_deleted_gets_what_was_not_sent_and_nothing_again(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1), "Projects")
    mail_archive.replay(target.connect)
    doubtful = mail_archive.add(mail(2), "Projects")
    target.wrong.crash_after = {2}
    with pytest.raises(Crash):
        mail_archive.replay(target.connect)
    target.user.delete("Projects")

    mail_archive.replay(target.connect)

    assert target.bodies("Projects") == Counter([mail(2)])
    assert mail_archive.state_of(doubtful) is APPENDED


def test_a_folder_that_is_removed_while_we_send_is_created_again(
    mail_archive: Mail, target: MemoryServer
) -> None:
    messages = [mail_archive.add(mail(number), "Projects") for number in range(5)]

    def remove(body: bytes) -> str | None:
        if body == mail(2) and target.connections == 1:
            target.user.delete("Projects")
        return None

    target.wrong.refuse = remove
    result = mail_archive.replay(target.connect)

    assert result.is_complete
    assert target.bodies("Projects") == Counter([mail(0), mail(1), mail(2)])
    assert {mail_archive.state_of(message) for message in messages} == {APPENDED}


def test_a_server_that_always_says_trycreate_gets_refused_messages(
    mail_archive: Mail, target: MemoryServer
) -> None:
    message = mail_archive.add(mail(1))
    target.wrong.refuse = lambda body: "NO [TRYCREATE] no"

    result = mail_archive.replay(target.connect)

    assert not result.is_complete
    assert mail_archive.state_of(message) is TransferState.REFUSED


def test_a_folder_that_cannot_be_opened_holds_up_no_other(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1), "Bad")
    mail_archive.add(mail(2), "Bad", date=NOON - timedelta(days=5000))
    mail_archive.add(mail(3), "Good")
    target.user.create("Bad", ["\\Noselect"])

    result = mail_archive.replay(target.connect)

    assert (result.folders_failed, result.appended) == (1, 1)
    assert [folder for folder, _, _ in mail_archive.listener.problems] == ["Bad"]
    assert mail_archive.states() == {"pending": 2, "appended": 1}


def test_a_folder_that_passes_for_full_of_work_is_looked_into_before_we_send(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1))
    target.user.folder("INBOX").append(mail(1), internaldate=NOON)
    target.wrong.refuse_open = {"INBOX": "[UNAVAILABLE] later"}
    mail_archive.slept = Sleeper(target)

    mail_archive.replay(target.connect)

    assert target.bodies("INBOX") == Counter([mail(1)])


class Sleeper(list[float]):
    """Time heals."""

    def __init__(self, target: MemoryServer) -> None:
        super().__init__()
        self._target = target

    def append(self, seconds: float) -> None:
        super().append(seconds)
        self._target.behave()


def test_what_is_in_doubt_in_a_folder_that_cannot_be_opened_stays_in_doubt(
    mail_archive: Mail, target: MemoryServer
) -> None:
    message = mail_archive.add(mail(1), "Projects")
    target.wrong.crash_after = {1}
    with pytest.raises(Crash):
        mail_archive.replay(target.connect)
    target.wrong.refuse_open = {"Projects": "[NOPERM] not yours"}

    assert not mail_archive.replay(target.connect).is_complete
    assert mail_archive.state_of(message) is TransferState.SENDING
    target.behave()
    assert mail_archive.replay(target.connect).settled == 1
    assert target.bodies("Projects") == Counter([mail(1)])


def test_a_message_that_fetch_leaves_out_is_not_sent_again(
    mail_archive: Mail, target: MemoryServer
) -> None:
    message = mail_archive.add(mail(1))
    target.wrong.crash_after = {1}
    with pytest.raises(Crash):
        mail_archive.replay(target.connect)
    target.wrong.hidden = {1}

    assert not mail_archive.replay(target.connect).is_complete
    assert mail_archive.state_of(message) is TransferState.SENDING
    assert target.bodies("INBOX") == Counter([mail(1)])


def without_end(body: bytes) -> bytes:
    """What Courier makes of a message whose last line has no end."""
    return body if body.endswith(b"\n") else body.removesuffix(b"\r") + b"\r\n"


@pytest.mark.parametrize("uidplus", [True, False])
@pytest.mark.parametrize("body", [b"x", b"Subject: x\r\n\r\nNo end", BARE + b"\r", b"Subject: x"])
def test_a_message_without_a_last_line_end_is_sent_once_when_its_answer_is_lost(
    mail_archive: Mail, body: bytes, uidplus: bool
) -> None:
    target = MemoryServer(uidplus=uidplus)
    mail_archive.add(body)
    mail_archive.add(mail(1))
    target.wrong.rewrite = without_end
    target.wrong.lose_after = {1, 2}

    mail_archive.replay(target.connect)

    assert target.bodies("INBOX") == Counter([without_end(body), mail(1)])


def no_headers(head: bytes) -> bytes:
    return b""


def not_the_odd_subject(head: bytes) -> bytes:
    return head.split(b"Subject :")[0]


def a_subject_more(head: bytes) -> bytes:
    return head.replace(b"Subject : ", b"Subject: ")


@pytest.mark.parametrize("header", [no_headers, not_the_odd_subject, a_subject_more])
@pytest.mark.parametrize("uidplus", [True, False])
@pytest.mark.parametrize("rewrite", [bytes, as_dovecot])
def test_headers_that_the_server_does_not_find_double_no_message(
    mail_archive: Mail,
    header: Callable[[bytes], bytes],
    uidplus: bool,
    rewrite: Callable[[bytes], bytes],
) -> None:
    target = MemoryServer(uidplus=uidplus)
    bodies = [
        b"Subject : odd\r\n\r\nOne.\n",
        b"Subject : odd\r\n\r\nTwo.\r\n",
        b"Subject : odd\r\n\r\nTwo.\r\n",
        mail(1),
        BARE_LF,
    ]
    for body in bodies:
        mail_archive.add(body)
    mail_archive.add(b"Subject : odd\r\n\r\nUndated.\r\n", date=None)
    target.wrong.header = header
    target.wrong.rewrite = rewrite
    target.wrong.lose_after = {2, 3, 5}

    mail_archive.replay(target.connect)

    wanted = [*bodies, b"Subject : odd\r\n\r\nUndated.\r\n"]
    assert target.bodies("INBOX") == Counter(map(rewrite, wanted))
    places = [mail_archive.place_of(m)[2] for m in mail_archive.archive.index.messages()]
    assert sorted(uid or 0 for uid in places) == [1, 2, 3, 4, 5, 6]


def test_a_strangers_message_with_other_headers_is_not_taken_for_ours(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1))
    target.wrong.crash_before = {1}
    with pytest.raises(Crash):
        mail_archive.replay(target.connect)
    inbox = target.user.folder("INBOX")
    inbox.append(mail(2, "Text."), internaldate=NOON)
    inbox.append(with_a_header(mail(1)), internaldate=NOON)
    inbox.append(mail(1), internaldate=NOON + timedelta(seconds=1))
    target.wrong.header = no_headers

    mail_archive.replay(target.connect)

    assert target.bodies("INBOX")[mail(1)] == 2


def test_over_the_wire_a_header_that_is_nil_doubles_no_message(mail_archive: Mail) -> None:
    mail_archive.add(mail(1))
    with server() as running:
        running.script.on("APPEND", Cut(after=True), times=1)
        described = b'* 1 FETCH (UID 1 FLAGS () INTERNALDATE "01-May-2024 12:00:00 +0200"'
        described += b" RFC822.SIZE 99 BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)] NIL)"
        running.script.on(
            "FETCH", Raw(described + b"\r\n%TAG% OK done\r\n"), containing=b"HEADER.FIELDS"
        )

        result = mail_archive.replay(connector(running.port))

        assert running.mailboxes["bob"].folder("INBOX").bodies == [mail(1)]
    assert (result.settled, result.appended) == (1, 0)


# --- what the target had before


def test_what_the_target_had_before_is_not_sent_copy_for_copy(
    mail_archive: Mail, target: MemoryServer
) -> None:
    inbox = target.user.folder("INBOX")
    for body in (TWIN, mail(1), mail("stranger"), as_dovecot(BARE_LF), BARE):
        inbox.append(body, internaldate=NOON)
    inbox.append(mail(2), internaldate=NOON + timedelta(hours=1))
    bodies = [TWIN, TWIN, mail(1), mail(2), BARE_LF, BARE, mail(1, "Tex2.")]
    for body in bodies:
        mail_archive.add(body)

    result = mail_archive.replay(target.connect)

    assert (result.already_there, result.appended) == (4, 3)
    wanted = Counter(bodies) + Counter([mail("stranger"), mail(2), as_dovecot(BARE_LF)])
    assert target.bodies("INBOX") == wanted - Counter([BARE_LF])


def test_an_archive_whose_transfer_log_is_lost_sends_nothing_again(
    mail_archive: Mail, target: MemoryServer
) -> None:
    fill(mail_archive)
    mail_archive.replay(target.connect)
    mail_archive.target = mail_archive.archive.transfers.target("again", "again")
    sent = target.appends

    result = mail_archive.replay(target.connect)

    # The server gave the message without INTERNALDATE one of its own.
    assert (target.appends, result.already_there) == (sent, 9)


def test_two_folders_that_go_into_one_keep_all_their_messages(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(TWIN, "One")
    mail_archive.add(TWIN, "Two")
    mail_archive.add(mail(1), "Two")
    target.wrong.lose_after = {1}

    mail_archive.replay(target.connect, folder_map={"One": "Both", "Two": "Both"})

    assert target.everything() == {"Both": Counter([TWIN, TWIN, mail(1)])}


def test_a_folder_map_that_changes_concerns_what_is_not_sent(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1), "Projects")
    mail_archive.add(mail(2), "Projects/2024")
    mail_archive.replay(target.connect)
    mail_archive.add(mail(3), "Projects")
    mail_archive.add(mail(4), "Projects/2024")

    mail_archive.replay(target.connect, folder_map={"Projects": "Old"})
    mail_archive.add(mail(5), "Projects/2024")
    mail_archive.replay(target.connect)

    assert target.everything() == {
        "Projects": Counter([mail(1)]),
        "Projects/2024": Counter([mail(2)]),
        "Old": Counter([mail(3)]),
        "Old/2024": Counter([mail(4), mail(5)]),
    }


def test_what_is_in_doubt_is_looked_for_where_it_was_sent_before_the_map_changed(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1), "Projects")
    target.wrong.crash_after = {1}
    with pytest.raises(Crash):
        mail_archive.replay(target.connect)

    mail_archive.replay(target.connect, folder_map={"Projects": "Old"})

    assert target.everything() == {"Projects": Counter([mail(1)])}


def test_a_folder_that_is_archived_later_does_not_go_where_another_went(
    mail_archive: Mail, target: MemoryServer
) -> None:
    target.user.create("Sent Items", ["\\Sent"])
    mail_archive.add(mail(1), "Alpha")
    mail_archive.add(mail(2), "Sent", special_use=SpecialUse.SENT)
    mail_archive.replay(target.connect, folder_map={"Mine": "Ours"})
    mail_archive.add(mail(3), "alpha")
    mail_archive.add(mail(4), "Sent Items")
    mail_archive.add(mail(5), "Gesendet")

    for _ in range(2):
        mail_archive.replay(target.connect)

    assert target.everything() == {
        "Alpha": Counter([mail(1)]),
        "Sent Items": Counter([mail(2)]),
        "alpha (2)": Counter([mail(3)]),
        "Sent Items (2)": Counter([mail(4)]),
        "Gesendet": Counter([mail(5)]),
    }


def test_a_folder_that_the_user_put_somewhere_shares_the_place_with_one_that_comes_later(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1), "Old")
    mail_archive.replay(target.connect, folder_map={"Old": "New"})
    mail_archive.add(mail(2), "New")

    mail_archive.replay(target.connect)

    assert target.everything() == {"New": Counter([mail(1), mail(2)])}


# --- folders that cannot be made


def cyrus(levels: tuple[str, ...]) -> str | None:
    return "Invalid mailbox name" if set("".join(levels)) & set('"\\%{}[]') else None


def test_a_name_that_the_target_refuses_becomes_a_plain_one_for_good(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1), 'The "best"')
    mail_archive.add(mail(2), 'The "best"/sub')
    mail_archive.add(mail(3), "Lists/[a] {b}")
    mail_archive.add(mail(4), "the _best_")
    target.wrong.refuse_create = cyrus

    result = mail_archive.replay(target.connect)

    assert (result.appended, result.is_complete) == (4, True)
    assert (mail_archive.listener.problems, mail_archive.listener.alarms) == ([], [])
    reason = 'the target refuses the name "The "best""'
    assert (
        'The "best"',
        f'goes to "The _best_ (2)": {reason}',
    ) in mail_archive.listener.notes
    assert target.everything() == {
        "The _best_ (2)": Counter([mail(1)]),
        "The _best_ (2)/sub": Counter([mail(2)]),
        "Lists/_a_ _b_": Counter([mail(3)]),
        "the _best_": Counter([mail(4)]),
    }
    known = mail_archive.archive.transfers.folder_map(mail_archive.target.id).values()
    assert {each.name: each.reasons for each in known}["The _best_ (2)"] == (reason,)

    mail_archive.listener.notes.clear()
    mail_archive.add(mail(5), 'The "best"')
    mail_archive.add(mail(6), 'The "best"/later')
    assert mail_archive.replay(target.connect).is_complete
    assert mail_archive.listener.notes == []
    assert target.bodies("The _best_ (2)") == Counter([mail(1), mail(5)])
    assert target.bodies("The _best_ (2)/later") == Counter([mail(6)])


def test_over_the_wire_a_refused_emoji_becomes_a_plain_name(mail_archive: Mail) -> None:
    mail_archive.add(mail(1), "🎉 party")
    with server() as running:
        running.script.on("CREATE", Answer(b"NO no such letters"), containing=b"&2Dzf")
        assert mail_archive.replay(connector(running.port)).is_complete
        assert running.mailboxes["bob"].folder("_ party").bodies == [mail(1)]


def test_a_folder_above_that_cannot_be_made_by_itself_is_no_trouble(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1), "[Lists]/a")
    target.wrong.refuse_create = lambda levels: "no" if len(levels) == 1 else None

    assert mail_archive.replay(target.connect).is_complete
    assert (mail_archive.listener.alarms, mail_archive.listener.notes) == ([], [])
    assert target.everything() == {"[Lists]/a": Counter([mail(1)])}


def test_messages_whose_folder_cannot_be_made_are_counted_and_the_way_out_is_told_once(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1), "A%2Fb")
    mail_archive.add(mail(2), "A%2Fb", date=NOON - timedelta(days=5000))
    moved = mail_archive.add(mail(3), "A%2Fb")
    mail_archive.add(mail(3))
    mail_archive.vanish(moved)
    mail_archive.archive.ensure_folder(("Empty/%",), None)
    target = MemoryServer(delimiter=".")
    target.wrong.refuse_create = lambda levels: "[NOPERM] no folders here"
    target.wrong.lose_before = {1}

    result = mail_archive.replay(target.connect)

    assert (result.appended, result.not_sent, result.folders_failed) == (1, 2, 1)
    assert not result.is_complete
    [(folder, uid, text)] = mail_archive.listener.problems
    assert (folder, uid) == ("A%2Fb", None)
    assert "no folders here" in text
    assert "--folder-map FILE.csv" in text
    assert "2 not sent" in text
    assert [folder for folder, _ in mail_archive.listener.alarms] == ["Empty%2F%25"]
    assert mail_archive.states() == {"pending": 3, "appended": 1}
    target.behave()
    assert mail_archive.replay(target.connect, folder_map={"A%2Fb": "Ab"}).appended == 2
    assert target.bodies("Ab") == Counter([mail(1), mail(2)])


def test_a_refused_name_that_the_user_wants_is_not_changed(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1), "A")
    mail_archive.add(mail(2), "A/b")
    target.wrong.refuse_create = cyrus

    result = mail_archive.replay(target.connect, folder_map={"A": "[A]"})

    assert (result.not_sent, result.folders_failed) == (2, 2)
    assert target.everything() == {}


def test_a_target_that_is_busy_when_folders_are_made_gets_the_same_names_later(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1), "[A]")
    target.wrong.refuse_create = lambda levels: "[UNAVAILABLE] later"
    mail_archive.slept = Sleeper(target)

    assert mail_archive.replay(target.connect).is_complete
    assert target.bodies("[A]") == Counter([mail(1)])


# --- refused, full, busy


@pytest.mark.parametrize("window", [Window(1, 0), Window(128, 10**6)])
def test_a_folder_that_refuses_everything_alike_is_left_after_ten(
    mail_archive: Mail, target: MemoryServer, window: Window
) -> None:
    target.window = window
    for number in range(200):
        mail_archive.add(mail(number), "Theirs", date=NOON - timedelta(days=number * 20))
        mail_archive.add(mail(number), "Ours")
    target.wrong.refuse = lambda body: (
        "NO Permission denied" if target.last_folder == ("Theirs",) else None
    )

    result = mail_archive.replay(target.connect)

    assert (result.refused, result.not_sent, result.appended) == (10, 190, 200)
    assert (result.folders_failed, result.is_complete, target.connections) == (1, False, 1)
    assert mail_archive.states() == {"appended": 200, "refused": 10, "pending": 190}
    assert [text for _, uid, text in mail_archive.listener.problems if uid is None] == [
        "the target's folder takes no messages: NO Permission denied (190 not sent)"
    ]
    target.behave()
    assert mail_archive.replay(target.connect).is_complete
    assert target.everything() == mail_archive.expected()


@pytest.mark.parametrize("window", [Window(1, 0), Window(8, 10**6)])
@pytest.mark.parametrize("words", ["NO [TOOBIG] x", "NO Message contains NUL characters", "other"])
def test_refusals_that_speak_of_the_message_do_not_end_its_folder(
    mail_archive: Mail, target: MemoryServer, window: Window, words: str
) -> None:
    target.window = window
    for number in range(30):
        mail_archive.add(mail(number), date=NOON - timedelta(days=number))
    bad = {mail(number): number for number in range(15)}
    target.wrong.refuse = lambda body: (
        None if body not in bad else f"NO number {bad[body]}" if words == "other" else words
    )

    result = mail_archive.replay(target.connect)

    assert (result.refused, result.appended, result.not_sent) == (15, 15, 0)


def test_a_folder_that_took_one_message_is_not_left(
    mail_archive: Mail, target: MemoryServer
) -> None:
    for number in range(40):
        mail_archive.add(mail(number), date=NOON - timedelta(days=number))
    target.wrong.refuse = lambda body: None if body in (mail(0), mail(39)) else "NO bad"

    result = mail_archive.replay(target.connect)

    assert (result.refused, result.appended, result.folders_failed) == (38, 2, 0)


@pytest.mark.parametrize("limit", [len(mail(2)), 0])
def test_what_the_target_says_is_too_large_is_set_aside_and_never_sent(
    mail_archive: Mail, limit: int
) -> None:
    large = mail_archive.add(mail(1) + b"x" * 10_000)
    mail_archive.add(mail(2))
    with server(extra_capabilities=(f"APPENDLIMIT={limit}",)) as running:
        result = mail_archive.replay(connector(running.port))
        sent = running.commands("APPEND")

    assert (result.too_large, result.set_aside, result.appended) == (
        (1, 1, 1) if limit else (2, 2, 0)
    )
    assert (sent, result.is_complete) == (result.appended, False)
    assert mail_archive.state_of(large) is TransferState.SET_ASIDE
    reason = f"too large for the target: {len(mail(1)) + 10_000:,} octets, it takes {limit:,}"
    assert mail_archive.reply_to(large) == reason
    assert ("INBOX", large.uid, reason) in mail_archive.listener.problems
    with server() as running:
        assert mail_archive.replay(connector(running.port)).is_complete


def test_a_refused_message_is_named_and_the_next_run_tries_it_again(
    mail_archive: Mail, target: MemoryServer
) -> None:
    fill(mail_archive)
    bad = mail_archive.add(mail("bad"))
    target.wrong.refuse = lambda body: "NO [CANNOT] bad line" if body == mail("bad") else None

    result = mail_archive.replay(target.connect)

    assert (result.refused, result.appended, result.is_complete) == (1, 9, False)
    assert mail_archive.reply_to(bad) == "NO [CANNOT] bad line"
    assert mail_archive.listener.problems == [("INBOX", bad.uid, "NO [CANNOT] bad line")]
    target.behave()
    assert mail_archive.replay(target.connect).is_complete
    assert target.everything() == mail_archive.expected()


def test_bad_is_the_refusal_of_one_message(mail_archive: Mail) -> None:
    mail_archive.add(mail(1))
    mail_archive.add(mail(2))
    with server() as running:
        running.script.append.refuse = lambda b: b"BAD what?" if b == mail(1) else None
        result = mail_archive.replay(connector(running.port))
        assert running.mailboxes["bob"].folder("INBOX").bodies == [mail(2)]
    assert (result.refused, result.appended) == (1, 1)


def test_a_full_target_ends_the_run_with_a_clear_word(
    mail_archive: Mail, target: MemoryServer
) -> None:
    for number in range(60):
        mail_archive.add(mail(number))
    target.wrong.refuse = lambda body: "NO [OVERQUOTA] Quota exceeded"

    with pytest.raises(TargetFullError, match="Make room"):
        mail_archive.replay(target.connect)

    states = mail_archive.states()
    assert states["sending"] == 0
    assert target.appends < 40
    target.behave()
    assert mail_archive.replay(target.connect).is_complete
    assert target.everything() == mail_archive.expected()


def test_one_message_too_large_for_the_quota_does_not_end_the_run(
    mail_archive: Mail, target: MemoryServer
) -> None:
    for number in range(60):
        mail_archive.add(mail(number))
    target.wrong.refuse = lambda body: "NO [OVERQUOTA] x" if body == mail(3) else None

    result = mail_archive.replay(target.connect)

    assert (result.refused, result.appended) == (1, 59)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "LIMIT", "INUSE"])
def test_a_busy_target_gets_the_same_message_later(
    mail_archive: Mail, target: MemoryServer, code: str
) -> None:
    fill(mail_archive)
    answers = [None, f"NO [{code}] later", f"NO [{code}] later"]
    target.window = Window(1, 0)
    target.wrong.refuse = lambda body: answers.pop(0) if answers else None

    result = mail_archive.replay(target.connect)

    assert result.is_complete
    assert mail_archive.slept == [1.0]
    assert target.everything() == mail_archive.expected()


def test_a_target_that_stays_busy_ends_the_run_and_refuses_nothing(
    mail_archive: Mail, target: MemoryServer
) -> None:
    fill(mail_archive)
    target.window = Window(1, 0)
    target.wrong.refuse = lambda body: "NO [UNAVAILABLE] down for the night"

    with pytest.raises(RefusedError, match="down for the night"):
        mail_archive.replay(target.connect)

    assert mail_archive.slept == [1.0, 3.0, 10.0, 30.0]
    assert mail_archive.states() == {"pending": 9}


def test_a_message_that_is_always_put_off_holds_up_no_other(
    mail_archive: Mail, target: MemoryServer
) -> None:
    fill(mail_archive)
    bad = mail_archive.add(mail("bad"), date=NOON + timedelta(days=1))
    target.wrong.refuse = lambda b: "NO [UNAVAILABLE] no" if b == mail("bad") else None

    result = mail_archive.replay(target.connect)

    assert (result.appended, result.refused) == (9, 1)
    assert mail_archive.state_of(bad) is TransferState.REFUSED


def test_a_message_that_breaks_every_connection_holds_up_no_other(
    mail_archive: Mail, target: MemoryServer
) -> None:
    fill(mail_archive)
    bad = mail_archive.add(mail("bad"), date=NOON + timedelta(days=1))

    def collapse(body: bytes) -> str | None:
        if body == mail("bad"):
            raise ConnectionLostError("memory", "it fell over")
        return None

    target.wrong.refuse = collapse
    result = mail_archive.replay(target.connect)

    assert (result.appended, result.refused) == (9, 1)
    assert mail_archive.reply_to(bad) == "the connection broke each time it was sent"


def test_a_line_that_is_dead_ends_the_run(mail_archive: Mail, target: MemoryServer) -> None:
    fill(mail_archive)
    target.wrong.lose_before = set(range(1, 100))

    with pytest.raises(ConnectionLostError):
        mail_archive.replay(target.connect)
    target.behave()
    mail_archive.replay(target.connect)

    assert target.everything() == mail_archive.expected()


# --- files that are not what they were


@pytest.mark.parametrize("harm", ["altered", "shorter", "gone"])
def test_a_file_that_is_not_what_was_archived_is_set_aside_and_named(
    mail_archive: Mail, target: MemoryServer, harm: str
) -> None:
    good = mail_archive.add(mail(1))
    bad = mail_archive.add(mail(2))
    file = mail_archive.file_of(bad)
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(mail(3) if harm == "altered" else mail(2)[:-1])

    result = mail_archive.replay(target.connect)

    assert (result.damaged, result.appended, result.is_complete) == (1, 1, False)
    assert target.bodies("INBOX") == Counter([mail(1)])
    assert mail_archive.state_of(good) is APPENDED
    assert mail_archive.state_of(bad) is TransferState.SET_ASIDE
    assert [(folder, uid) for folder, uid, _ in mail_archive.listener.problems] == [
        ("INBOX", bad.uid)
    ]
    file.write_bytes(mail(2))
    assert mail_archive.replay(target.connect).is_complete
    assert target.bodies("INBOX") == Counter([mail(1), mail(2)])


def test_a_file_that_a_mail_reader_renamed_is_sent(
    mail_archive: Mail, target: MemoryServer
) -> None:
    message = mail_archive.add(mail(1))
    file = mail_archive.file_of(message)
    file.rename(file.with_name(file.name + "FS"))

    assert mail_archive.replay(target.connect).is_complete
    assert target.bodies("INBOX") == Counter([mail(1)])


def test_an_altered_file_does_not_make_a_message_that_arrived_be_sent_again(
    mail_archive: Mail, target: MemoryServer
) -> None:
    message = mail_archive.add(mail(1))
    target.wrong.crash_after = {1}
    with pytest.raises(Crash):
        mail_archive.replay(target.connect)
    mail_archive.file_of(message).write_bytes(mail(1, "Not this."))

    mail_archive.replay(target.connect)

    assert mail_archive.state_of(message) is APPENDED
    assert target.bodies("INBOX") == Counter([mail(1)])


# --- what the source no longer shows


def test_what_the_source_moved_goes_from_its_new_folder_only(
    mail_archive: Mail, target: MemoryServer
) -> None:
    before = mail_archive.add(mail(1), "INBOX")
    mail_archive.add(mail(1), "Done")
    mail_archive.vanish(before)

    result = mail_archive.replay(target.connect)

    assert target.everything() == {"Done": Counter([mail(1)])}
    assert (result.set_aside, result.is_complete) == (1, True)
    assert "moved to Done" in mail_archive.reply_to(before)


def test_what_the_source_deleted_is_sent_all_the_same(
    mail_archive: Mail, target: MemoryServer
) -> None:
    gone = mail_archive.add(mail(1))
    twin = mail_archive.add(TWIN)
    mail_archive.add(TWIN)
    mail_archive.add(BARE, date=NOON)
    namesake = mail_archive.add(BARE, "Other", date=NOON + timedelta(days=1))
    for message in (gone, twin, namesake):
        mail_archive.vanish(message)

    mail_archive.replay(target.connect)

    assert target.everything() == mail_archive.expected()
    assert mail_archive.states() == {"appended": 5}


# --- names on either side


def test_prefix_and_delimiter_of_the_target_are_followed(mail_archive: Mail) -> None:
    mail_archive.archive.claim_source("imaps://alice@example.org", "alice", ("INBOX",))
    mail_archive.add(mail(1), "INBOX")
    mail_archive.add(mail(2), "INBOX/Grüße/2024")
    mail_archive.add(mail(3), "INBOX/Sent", special_use=SpecialUse.SENT)
    mailboxes = Mailboxes({"bob": "secret"}, delimiter=".", prefix="INBOX.")
    mailboxes["bob"].create("Gesendet", ["\\Sent"])
    with server(mailboxes) as running:
        assert mail_archive.replay(connector(running.port)).is_complete
        assert mail_archive.replay(connector(running.port)).appended == 0
        creates = running.requests("CREATE")
    held = {f.name: f.bodies for f in mailboxes["bob"].folders if f.messages}
    assert held == {"INBOX": [mail(1)], "Grüße/2024": [mail(2)], "Gesendet": [mail(3)]}
    assert creates[-1].startswith(b'CREATE "INBOX.')


def test_a_folder_the_target_has_in_other_case_is_used(
    mail_archive: Mail, target: MemoryServer
) -> None:
    target.user.create("projects")
    mail_archive.add(mail(1), "Projects")

    mail_archive.replay(target.connect)

    assert target.everything() == {"projects": Counter([mail(1)])}


def test_a_kept_folder_that_now_has_another_name_is_created_again(
    mail_archive: Mail, target: MemoryServer
) -> None:
    mail_archive.add(mail(1), "Projects")
    mail_archive.replay(target.connect)
    target.user.rename("Projects", "Renamed")
    mail_archive.add(mail(2), "Projects")

    mail_archive.replay(target.connect)

    assert target.everything() == {
        "Renamed": Counter([mail(1)]),
        "Projects": Counter([mail(2)]),
    }


def test_a_flat_target_without_uidnext_takes_everything_once(mail_archive: Mail) -> None:
    target = MemoryServer(delimiter=None, says_uidnext=False, uidplus=False)
    fill(mail_archive)
    mail_archive.add(mail(5), "a/b")
    target.wrong.lose_after = {3, 8}

    mail_archive.replay(target.connect)

    assert sum(target.everything().values(), Counter()) == sum(
        mail_archive.expected().values(), Counter()
    )


# --- over the wire


@pytest.mark.parametrize("literal", ["LITERAL+", "LITERAL-", None])
@pytest.mark.parametrize("uidplus", [True, False])
@pytest.mark.parametrize(
    "action",
    [Cut(after=True), Cut(), CutInLiteral(10), Answer(b"BYE good night"), Answer(b"BYE x", True)],
    ids=["stored", "not stored", "in the literal", "bye", "bye, stored"],
)
def test_over_the_wire_an_append_without_an_answer_is_settled(
    mail_archive: Mail, literal: str | None, uidplus: bool, action: Cut | CutInLiteral | Answer
) -> None:
    fill(mail_archive)
    with server(literal_plus=literal, uidplus=uidplus) as running:
        running.script.on("APPEND", action, first=3, times=1)
        running.script.on("APPEND", action, first=6, times=1)

        result = mail_archive.replay(connector(running.port))

        held = {f.name: Counter(f.bodies) for f in running.mailboxes["bob"].folders if f.messages}
    assert held == mail_archive.expected()
    assert result.is_complete
    assert mail_archive.states() == {"appended": 9}


@pytest.mark.parametrize("ends", [False, True], ids=["stays", "hangs up"])
@pytest.mark.parametrize("literal", ["LITERAL+", None])
def test_a_target_that_names_its_backoff_is_asked_nothing_until_it_is_over(
    mail_archive: Mail, literal: str | None, ends: bool
) -> None:
    fill(mail_archive)
    throttled = b"NO Request is throttled. Suggested Backoff Time: 9000 milliseconds"
    asked: list[bytes] = []
    slept: list[float] = []
    with server(literal_plus=literal, uidplus=False) as running:
        if ends:
            bye = b"%TAG% " + throttled + b"\r\n* BYE Connection closed. 14\r\n"
            running.script.on("APPEND", Raw(bye), first=3, times=1)
            running.script.on("APPEND", Cut(), first=3, times=1)
        else:
            running.script.on("APPEND", Answer(throttled), first=3, times=1)

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            asked.append(running.requests()[-1])

        patience = Patience(mail_archive.listener, sleep=sleep)
        result = mail_archive.replay(connector(running.port), patience)

        held = {f.name: Counter(f.bodies) for f in running.mailboxes["bob"].folders if f.messages}
    assert held == mail_archive.expected()
    assert (result.throttled, result.seconds_throttled) == (1, 9)
    assert slept[0] >= 9
    assert asked[0].startswith(b"APPEND ")


def test_of_twins_in_flight_the_one_that_did_not_arrive_is_sent_again(
    mail_archive: Mail,
) -> None:
    mail_archive.add(mail(1), flags=("\\Flagged",))
    mail_archive.add(mail(1), flags=("\\Seen",), keywords=("todo",))
    mail_archive.add(mail(1), flags=("\\Seen",))
    with server(literal_plus="LITERAL+") as running:
        running.script.on("APPEND", Cut(after=True), first=1, times=1)

        mail_archive.replay(connector(running.port))

        held = [m.flags for f in running.mailboxes["bob"].folders for m in f.messages]
    assert Counter(frozenset(each - {"\\Recent"}) for each in held) == Counter(
        [frozenset({"\\Flagged"}), frozenset({"\\Seen", "todo"}), frozenset({"\\Seen"})]
    )


def test_twins_of_which_no_uid_is_told_keep_their_own_flags_in_the_ledger(
    mail_archive: Mail,
) -> None:
    flags = [("\\Flagged",), ("\\Seen",), (), ("\\Answered", "\\Seen")]
    twins = [mail_archive.add(mail(1), flags=each) for each in flags]
    with server(uidplus=False) as running:
        mail_archive.replay(connector(running.port))
        held = {m.uid: m.flags for f in running.mailboxes["bob"].folders for m in f.messages}

    for twin in twins:
        transfer = mail_archive.archive.transfers.of(twin.id, mail_archive.target.id)
        assert transfer is not None
        assert set(held[transfer.uid or 0]) - {"\\Recent"} == set(twin.flags)


@pytest.mark.parametrize(
    ("literal", "asked"), [("LITERAL+", 0), ("LITERAL-", 1), (None, 2)], ids=str
)
def test_only_a_literal_that_the_server_does_not_take_unasked_waits_for_its_consent(
    mail_archive: Mail, literal: str | None, asked: int
) -> None:
    mail_archive.add(mail(1))
    mail_archive.add(mail(2, "x" * 5000))  # RFC 7888 section 5: LITERAL- ends at 4096 octets
    with server(literal_plus=literal) as running:
        mail_archive.replay(connector(running.port))

        assert running.mailboxes["bob"].folder("INBOX").bodies == [
            mail(2, "x" * 5000),
            mail(1),
        ]
        consents = [line for _, side, line in running.log if side == "S" and line[:1] == b"+"]
    assert len(consents) == asked


def test_without_pipelining_each_message_waits_for_the_answer_to_the_one_before() -> None:
    with server() as running, connector(running.port, pipelined=False)() as target:
        assert target.window.messages == 1
    with server() as running, connector(running.port)() as target:
        assert target.window.messages > 1


def test_a_message_refused_before_its_literal_does_not_disturb_the_next(
    mail_archive: Mail,
) -> None:
    for literal in ("LITERAL+", None):
        mail_archive.target = mail_archive.archive.transfers.target(str(literal), str(literal))
        large = mail(1) + b"x" * 10_000
        if not mail_archive.states():
            mail_archive.add(mail(2))
            mail_archive.add(large, date=NOON + timedelta(days=1))
        with server(literal_plus=literal) as running:
            action = AnswerLiteral(b"NO [TOOBIG] too large")
            running.script.on("APPEND", action, containing=b"{%d" % len(large))
            result = mail_archive.replay(connector(running.port))
            assert running.mailboxes["bob"].folder("INBOX").bodies == [mail(2)]
        assert (result.refused, result.appended) == (1, 1)


def test_nothing_but_appends_changes_the_target(mail_archive: Mail) -> None:
    fill(mail_archive)
    with server() as running:
        before = running.mailboxes["bob"].folder("INBOX").append(mail("mine"), [], None)
        mail_archive.replay(connector(running.port))
        assert before.flags == set()
        commands = {line.split()[0].upper() for line in running.requests()}
    assert not commands & {b"STORE", b"EXPUNGE", b"DELETE", b"RENAME", b"MOVE", b"CLOSE"}


def test_dates_before_1970_and_far_zones_arrive(mail_archive: Mail) -> None:
    dates = [datetime(1965, 1, 1, tzinfo=UTC), NOON.astimezone(UTC), NOON]
    for number, date in enumerate(dates):
        mail_archive.add(mail(number), date=date)
    with server() as running:
        mail_archive.replay(connector(running.port))
        messages = running.mailboxes["bob"].folder("INBOX").messages
        assert {m.body: m.internaldate for m in messages} == {
            mail(number): date for number, date in enumerate(dates)
        }


def test_the_fake_server_is_a_server(mail_archive: Mail) -> None:
    with server() as running:
        assert isinstance(running, ImapServer)
