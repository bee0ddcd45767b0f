"""Several messages in one command (MULTIAPPEND, RFC 3502): all or none, and each exactly once."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from importer.gather import most_together
from importer.placing import open_folder
from importer.target import Window
from store.transfers import TransferState
from tests.compare import differences, snapshot
from tests.fakes.imap_server import Cut
from tests.fakes.memory_target import Crash, MemoryServer
from tests.importer.support import NOON, Mail, connector, mail, server
from tests.servers.dovecot import Dovecot
from waystation.errors import ConnectionLostError
from waystation.wire import Tagged

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.placing import OpenFolder
    from importer.target import MailTarget
    from waystation.imap import Selected

COUNT = 30


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a target that has answered nothing yet get many messages, as a fast one would."""
    monkeypatch.setattr("importer.flow._MESSAGES", 20)


@pytest.fixture
def gathering() -> MemoryServer:
    """A target that takes several messages in one command."""
    return MemoryServer(window=Window(100, 10**6), gathers=10_000)


def fill(archive: Mail, count: int = COUNT) -> None:
    """Put in messages of which some are equal, each with a date and flags of its own."""
    for number in range(count):
        flags = ("\\Seen",) if number % 2 else ()
        keywords = (f"k{number % 3}",)
        date = NOON + timedelta(minutes=number) if number % 4 else None
        archive.add(mail(number // 2), date=date, flags=flags, keywords=keywords)


def assert_each_once(archive: Mail, target: MemoryServer) -> None:
    assert target.everything() == archive.expected()
    uids = [archive.place_of(m)[2] for m in archive.archive.index.messages()]
    assert sorted(uids, key=str) == sorted(target.user.folder("INBOX").uids, key=str)


def test_many_messages_go_in_few_commands(mail_archive: Mail, gathering: MemoryServer) -> None:
    fill(mail_archive)

    result = mail_archive.replay(gathering.connect)

    assert (result.appended, gathering.appends) == (COUNT, COUNT)
    assert len(gathering.commands) < 8
    assert_each_once(mail_archive, gathering)


def test_each_message_of_a_command_keeps_its_own_flags_and_date(mail_archive: Mail) -> None:
    fill(mail_archive)
    with server(multiappend=True) as running:
        mail_archive.replay(connector(running.port))
        assert running.commands("APPEND") < 8
        held = {m.uid: m for m in running.mailboxes["bob"].folder("INBOX").messages}

    for message in mail_archive.archive.index.messages():
        there = held[mail_archive.place_of(message)[2] or 0]
        assert there.body == mail_archive.file_of(message).read_bytes()
        assert there.flags - {"\\Recent"} == {*message.flags, *message.keywords}
        if message.internaldate is not None:
            assert there.internaldate == message.internaldate


def test_one_message_that_is_refused_holds_up_none_of_its_command(
    mail_archive: Mail, gathering: MemoryServer
) -> None:
    fill(mail_archive)
    bad = mail_archive.add(mail("bad"))
    gathering.wrong.refuse = lambda body: "NO Message contains NUL" if body == mail("bad") else None

    result = mail_archive.replay(gathering.connect)

    assert (result.appended, result.refused) == (COUNT, 1)
    assert mail_archive.state_of(bad) is TransferState.REFUSED
    assert gathering.bodies("INBOX") == mail_archive.expected()["INBOX"] - Counter([mail("bad")])
    assert len(gathering.commands) < COUNT  # what was not beside it went together all the same


def test_what_a_target_stores_of_a_command_that_it_refuses_is_not_sent_again(
    mail_archive: Mail, gathering: MemoryServer
) -> None:
    fill(mail_archive)
    mail_archive.add(mail("bad"))
    gathering.wrong.refuse = lambda body: "NO Message contains NUL" if body == mail("bad") else None
    gathering.wrong.stores_refused = True

    mail_archive.replay(gathering.connect)

    assert gathering.bodies("INBOX") == mail_archive.expected()["INBOX"] - Counter([mail("bad")])


def test_a_target_that_refuses_every_such_command_gets_one_message_at_a_time(
    mail_archive: Mail, gathering: MemoryServer
) -> None:
    fill(mail_archive, 100)
    sent = gathering.commands
    gathering.wrong.refuse = lambda body: "BAD too many arguments" if sent[-1] > 1 else None

    result = mail_archive.replay(gathering.connect)

    assert (result.appended, result.refused) == (100, 0)
    # three in a row, and what was in flight by then
    assert 3 <= sum(count > 1 for count in sent) < 8
    assert_each_once(mail_archive, gathering)


@pytest.mark.parametrize("uidplus", [True, False])
@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("number", [1, 5, 10, 11, 15, 25, COUNT])
def test_a_line_that_breaks_at_a_command_costs_and_doubles_none_of_it(
    mail_archive: Mail, number: int, is_stored: bool, uidplus: bool
) -> None:
    fill(mail_archive)
    target = MemoryServer(uidplus=uidplus, window=Window(100, 10**6), gathers=10_000)
    (target.wrong.lose_after if is_stored else target.wrong.lose_before).add(number)

    result = mail_archive.replay(target.connect)

    assert result.is_complete
    assert_each_once(mail_archive, target)


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("number", [1, 5, 10, 11, 15, 25, COUNT])
def test_a_process_that_dies_at_a_command_costs_and_doubles_none_of_it(
    mail_archive: Mail, gathering: MemoryServer, number: int, is_stored: bool
) -> None:
    fill(mail_archive)
    (gathering.wrong.crash_after if is_stored else gathering.wrong.crash_before).add(number)
    with pytest.raises(Crash):
        mail_archive.replay(gathering.connect)

    mail_archive.replay(gathering.connect)

    assert_each_once(mail_archive, gathering)


def test_a_message_that_breaks_every_connection_holds_up_none_of_its_command(
    mail_archive: Mail, gathering: MemoryServer
) -> None:
    fill(mail_archive)
    bad = mail_archive.add(mail("bad"), date=NOON + timedelta(minutes=17))

    def collapse(body: bytes) -> str | None:
        if body == mail("bad"):
            raise ConnectionLostError("memory", "it fell over")
        return None

    gathering.wrong.refuse = collapse
    result = mail_archive.replay(gathering.connect)

    assert (result.appended, result.refused) == (COUNT, 1)
    assert mail_archive.reply_to(bad) == "the connection broke each time it was sent"


LIES: dict[str, Callable[[int, int], str]] = {
    "one UID for all": lambda v, u: f"[APPENDUID {v} {u}] done",
    "one too few": lambda v, u: f"[APPENDUID {v} {u}:{u + 8}] done",
    "one too many": lambda v, u: f"[APPENDUID {v} {u}:{u + 10}] done",
    "all there can be": lambda v, u: f"[APPENDUID {v} 1:4294967295] done",
    "falling": lambda v, u: f"[APPENDUID {v} {u + 9}:{u}] done",
    "another UIDVALIDITY": lambda v, u: f"[APPENDUID {v + 1} {u}:{u + 9}] done",
    "far too high": lambda v, u: f"[APPENDUID {v} {u + 1000}:{u + 1009}] done",
    "nothing": lambda v, u: "done",
    "nonsense": lambda v, u: "[APPENDUID x y] done",
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("lost", [None, 1, 15])
def test_an_appenduid_that_does_not_fit_the_command_neither_doubles_nor_loses(
    mail_archive: Mail, gathering: MemoryServer, lie: str, lost: int | None
) -> None:
    fill(mail_archive)
    gathering.wrong.appenduid = LIES[lie]
    gathering.wrong.lose_after = {lost} if lost else set()

    result = mail_archive.replay(gathering.connect)

    assert result.is_complete
    assert_each_once(mail_archive, gathering)


def test_what_an_answer_counts_wrong_is_looked_up_and_goes_by_itself_from_then_on(
    mail_archive: Mail, gathering: MemoryServer
) -> None:
    fill(mail_archive)
    gathering.wrong.appenduid = LIES["one too few"]

    result = mail_archive.replay(gathering.connect)

    together = sum(count for count in gathering.commands if count > 1)
    assert 0 < together < COUNT
    assert (result.settled, result.appended) == (together, COUNT - together)
    assert mail_archive.listener.advanced == COUNT


def test_a_busy_target_gets_the_messages_of_a_command_later(
    mail_archive: Mail, gathering: MemoryServer
) -> None:
    fill(mail_archive)
    answers = ["NO [LIMIT] too much at once"]
    gathering.wrong.refuse = lambda body: answers.pop() if answers else None

    result = mail_archive.replay(gathering.connect)

    assert (result.appended, result.refused) == (COUNT, 0)
    assert gathering.connections == 2
    assert_each_once(mail_archive, gathering)


def test_a_folder_that_is_removed_gets_the_messages_of_a_command_once_it_is_there_again(
    mail_archive: Mail, gathering: MemoryServer
) -> None:
    for number in range(COUNT):
        mail_archive.add(mail(number), "Projects")

    def remove(body: bytes) -> str | None:
        if gathering.user.find("Projects") is not None and gathering.appends < 11:
            gathering.user.delete("Projects")
        return None

    gathering.wrong.refuse = remove
    result = mail_archive.replay(gathering.connect)

    assert result.is_complete
    assert gathering.everything() == mail_archive.expected()


def test_a_large_message_and_an_empty_one_go_by_themselves(
    mail_archive: Mail, gathering: MemoryServer
) -> None:
    for number in range(10):
        mail_archive.add(mail(number), date=NOON - timedelta(minutes=number))
    mail_archive.add(mail("large", "x" * 20_000), date=NOON - timedelta(minutes=20))
    mail_archive.add(b"", date=NOON - timedelta(minutes=21))

    mail_archive.replay(gathering.connect)

    assert gathering.commands[-2:] == [1, 1]
    assert gathering.everything() == mail_archive.expected()


def test_a_command_holds_no_more_than_half_of_what_may_be_in_flight() -> None:
    assert [most_together(width) for width in (1, 2, 3, 20, 5000)] == [1, 1, 1, 10, 100]


def test_a_command_ends_at_its_octets(
    mail_archive: Mail, gathering: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importer.send.OCTETS", 1000)
    for number in range(9):
        mail_archive.add(mail(number, "x" * 400))

    mail_archive.replay(gathering.connect)

    assert gathering.commands == [2, 2, 2, 2, 1]


def test_a_rate_is_kept_message_by_message(mail_archive: Mail, gathering: MemoryServer) -> None:
    fill(mail_archive, 5)

    mail_archive.replay(gathering.connect, rate=1000.0)

    assert gathering.commands == [1] * 5


def test_only_where_it_is_offered_and_the_literals_wait_for_nothing_messages_go_together(
    mail_archive: Mail,
) -> None:
    for number in range(6):
        mail_archive.add(mail(number), date=NOON - timedelta(minutes=number))
        mail_archive.add(mail(f"{number} large", "x" * 5000), date=NOON - timedelta(hours=1))
    for literal, is_offered, fewest in (
        ("LITERAL+", True, 2),
        ("LITERAL-", True, 7),  # RFC 7888 section 5: only up to 4096 octets
        (None, True, 12),
        ("LITERAL+", False, 12),
    ):
        name = f"{literal} {is_offered}"
        mail_archive.target = mail_archive.archive.transfers.target(name, name)
        with server(literal_plus=literal, multiappend=is_offered) as running:
            mail_archive.replay(connector(running.port))
            assert running.commands("APPEND") == fewest, name
            assert len(running.mailboxes["bob"].folder("INBOX").bodies) == 12


def test_over_the_wire_a_command_without_an_answer_is_settled(mail_archive: Mail) -> None:
    fill(mail_archive)
    with server(multiappend=True) as running:
        running.script.on("APPEND", Cut(after=True), first=2, times=1)
        mail_archive.replay(connector(running.port))

        there = running.mailboxes["bob"].folder("INBOX").bodies
    assert sorted(there) == sorted(mail_archive.expected()["INBOX"].elements())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[APPENDUID 7 5] done", None),
        ("[APPENDUID 7 5:7] done", (7, [5, 6, 7])),
        ("[APPENDUID 7 5,7:8] done", (7, [5, 7, 8])),
        ("[appenduid 7 5,8,9]", (7, [5, 8, 9])),
        ("[APPENDUID 7 5,5,6]", None),
        ("[APPENDUID 7 7,6,5]", None),
        ("[APPENDUID 7 7:5]", None),
        ("[APPENDUID 0 5:7]", None),
        ("[APPENDUID 7 5:*]", None),
        ("[APPENDUID 7 1:4294967295]", None),
        ("done", None),
    ],
)
def test_uids_are_believed_where_they_are_as_many_as_messages(
    text: str, found: tuple[int, list[int]] | None
) -> None:
    assert Tagged(b"W1", "OK", text).appenduids(3) == found


@pytest.mark.server
@pytest.mark.parametrize("hide", [(), ("MULTIAPPEND",)], ids=["MULTIAPPEND", "without"])
def test_dovecot_gets_the_same_mail_with_and_without_it(
    mail_archive: Mail, hide: tuple[str, ...]
) -> None:
    for number in range(60):
        date = NOON + timedelta(minutes=number)
        flags = ("\\Seen",) if number % 2 else ()
        mail_archive.add(mail(number // 2), date=date, flags=flags, keywords=(f"k{number % 3}",))
    with Dovecot(hide=hide) as running:
        result = mail_archive.replay(
            connector(running.port, password=running.password, ca_file=running.ca_file)
        )
        assert (result.appended, result.refused) == (60, 0)
        held = snapshot(running.host, running.port, "bob", running.password)
        mail_archive.target = mail_archive.archive.transfers.target("carol", "carol")
        alone = connector(
            running.port, "carol", running.password, pipelined=False, ca_file=running.ca_file
        )
        mail_archive.replay(alone)
        one_by_one = snapshot(running.host, running.port, "carol", running.password)
    assert not differences(one_by_one, held)
    (inbox,) = [each for name, each in held.items() if name == "INBOX"]
    assert len(inbox) == 60


@pytest.mark.parametrize(("seconds", "times"), [(1000.0, 1), (0.0, 5)], ids=["fast", "slow"])
def test_a_folder_is_opened_anew_after_a_span_of_messages_that_took_its_time(
    mail_archive: Mail,
    gathering: MemoryServer,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    times: int,
) -> None:
    monkeypatch.setattr("importer.send._SPAN", 7)
    monkeypatch.setattr("importer.send._SPAN_SECONDS", seconds)
    for number in range(COUNT):
        mail_archive.add(mail(number))
    opened: list[str] = []

    def opening(target: MailTarget, name: str, selected: Selected | None) -> OpenFolder:
        opened.append(name)
        return open_folder(target, name, selected)

    monkeypatch.setattr("importer.send.open_folder", opening)
    mail_archive.replay(gathering.connect)

    assert opened == ["INBOX"] * times
    assert_each_once(mail_archive, gathering)
