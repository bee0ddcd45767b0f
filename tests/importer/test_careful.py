"""The careful sender against a server that answers whatever it is told to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from importer.house import HouseRules, Protected
from importer.pace import PaceLimits
from importer.refusals import TargetFullError
from importer.repair import Limits
from importer.verdict import Verdict, verdict
from importer.verify import verify
from store.finding import Compared
from store.transfers import TransferState
from tests.fakes.imap_server import Answer, Cut, ImapServer, Raw
from tests.importer.support import Mail, connector, mail, server
from tests.importer.test_exchange_soak import fill
from tests.servers.dovecot import PASSWORD
from waystation.retry import Patience
from waystation.wire import Tagged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.job import Imported
    from tests.servers.dovecot import Dovecot

REFUSED = b"BAD Command Argument Error. 11"


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def running() -> Iterator[ImapServer]:
    with server() as there:
        yield there


def send(archive: Mail, running: ImapServer, **rules: object) -> Imported:
    house = HouseRules(pace=PaceLimits(most=0))
    house = replace(house, **rules)  # type: ignore[arg-type]  # named as in HouseRules
    clock = Clock()
    patience = Patience(archive.listener, clock.sleep, (1.0,) * 5, clock)
    connect = connector(running.port, is_careful=True)
    return archive.replay(connect, patience, house=house, newest_first=False)


def there(running: ImapServer, name: str = "INBOX") -> list[bytes]:
    return running.mailboxes["bob"].folder(name).bodies


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        ("OK", "[APPENDUID 1 2] APPEND completed.", Verdict.TAKEN),
        ("NO", "Request is throttled. Suggested Backoff Time: 5 milliseconds", Verdict.THROTTLED),
        ("BAD", "Request is throttled.", Verdict.THROTTLED),
        ("NO", "Server Unavailable. 15", Verdict.UNAVAILABLE),
        ("BAD", "Server Unavailable. 15", Verdict.UNAVAILABLE),
        ("NO", "[OVERQUOTA] Quota exceeded", Verdict.FULL),
        ("NO", "[TRYCREATE] no such folder", Verdict.GONE),
        ("NO", "Old doesn't exist.", Verdict.GONE),
        ("NO", "Maximum size of appendable message has been exceeded", Verdict.TOO_LARGE),
        ("BAD", "Command Argument Error. 11", Verdict.UNACCEPTABLE),
        ("BAD", "User is authenticated but not connected.", Verdict.PASSING),
        ("NO", "never heard of", Verdict.PASSING),
    ],
)
def test_an_answer_means(status: str, text: str, expected: Verdict) -> None:
    assert verdict(Tagged(b"A1", status, text)) is expected


def test_a_message_refused_in_every_form_is_refused_with_the_servers_words(
    mail_archive: Mail, running: ImapServer
) -> None:
    bad = mail_archive.add(mail(1), flags=("\\Answered",))
    mail_archive.add(mail(2))
    running.script.on("APPEND", Answer(REFUSED), times=3)

    result = send(mail_archive, running)

    assert there(running) == [mail(2)]
    assert mail_archive.state_of(bad) is TransferState.REFUSED
    assert mail_archive.reply_to(bad) == REFUSED.decode()
    assert (result.refused, result.appended, result.is_complete) == (1, 1, False)

    assert send(mail_archive, running).appended == 1, "the next run tries it as it is again"
    assert sorted(there(running)) == [mail(1), mail(2)]


def test_flags_are_left_out_before_octets_are_changed_and_stored_afterwards(
    mail_archive: Mail, running: ImapServer
) -> None:
    message = mail_archive.add(mail(1), flags=("\\Answered", "\\Seen"))
    running.script.on("APPEND", Answer(REFUSED), times=1)

    send(mail_archive, running)

    (stored,) = running.mailboxes["bob"].folder("INBOX").messages
    assert (stored.body, stored.flags) == (mail(1), {"\\Answered", "\\Seen"})
    found = mail_archive.archive.transfers.of(message.id, mail_archive.target.id)
    assert found is not None
    assert (found.repairs, found.lost) == ((), ())


def test_the_connection_is_changed_after_two_rejected_commands(
    mail_archive: Mail, running: ImapServer
) -> None:
    for number in range(6):
        mail_archive.add(mail(number))
    running.script.on("APPEND", Answer(REFUSED), times=1)
    running.script.on("APPEND", Answer(REFUSED), first=3, times=1)

    assert send(mail_archive, running).is_complete
    assert running.connections == 2


def test_an_answer_that_nobody_knows_is_tried_on_new_connections_first(
    mail_archive: Mail, running: ImapServer
) -> None:
    message = mail_archive.add(mail(1))
    running.script.on("APPEND", Answer(b"NO the moon is full"), times=2)

    assert send(mail_archive, running).appended == 1
    assert running.connections == 3
    found = mail_archive.archive.transfers.of(message.id, mail_archive.target.id)
    assert found is not None
    assert found.repairs == ()


def test_a_backoff_is_waited_out_and_the_message_is_looked_for_first(
    mail_archive: Mail, running: ImapServer
) -> None:
    mail_archive.add(mail(1))
    told = b"NO Request is throttled. Suggested Backoff Time: 90000 milliseconds"
    running.script.on("APPEND", Answer(told), times=1)

    result = send(mail_archive, running)

    assert (result.appended, result.throttled) == (1, 1)
    assert 90 <= mail_archive.listener.waits[0] <= 93
    assert there(running) == [mail(1)]


def test_a_server_that_stays_unavailable_for_three_messages_is_taken_for_full(
    mail_archive: Mail, running: ImapServer
) -> None:
    for number in range(5):
        mail_archive.add(mail(number))
    running.script.on("APPEND", Answer(b"NO Server Unavailable. 15"))

    with pytest.raises(TargetFullError, match="seems to be full"):
        send(mail_archive, running)

    assert mail_archive.listener.waits == [30.0, 120.0, 300.0]
    assert mail_archive.states() == {"pending": 5}


def test_one_message_for_which_the_server_is_away_does_not_stop_the_others(
    mail_archive: Mail, running: ImapServer
) -> None:
    for number in range(3):
        mail_archive.add(mail(number))
    running.script.on("APPEND", Answer(b"NO Server Unavailable. 15"), times=4)

    result = send(mail_archive, running)

    assert (result.appended, result.not_sent, result.is_complete) == (2, 1, False)
    assert send(mail_archive, running).appended == 1


def test_a_folder_that_is_gone_is_made_again(mail_archive: Mail, running: ImapServer) -> None:
    mail_archive.add(mail(1), "Old")
    running.script.on("APPEND", Answer(b"NO [TRYCREATE] Old doesn't exist."), times=1)

    assert send(mail_archive, running).is_complete
    assert there(running, "Old") == [mail(1)]


def test_what_the_server_finds_too_large_is_refused_with_the_mend(
    mail_archive: Mail, running: ImapServer
) -> None:
    message = mail_archive.add(mail(1))
    words = b"NO Maximum size of appendable message has been exceeded"
    running.script.on("APPEND", Answer(words), times=1)

    result = send(mail_archive, running)

    assert (result.refused, result.too_large) == (1, 1)
    assert "MaxReceiveSize" in mail_archive.reply_to(message)


def test_a_file_that_was_altered_is_not_sent(mail_archive: Mail, running: ImapServer) -> None:
    message = mail_archive.add(mail(1))
    mail_archive.file_of(message).write_bytes(mail(2))

    result = send(mail_archive, running)

    assert (result.damaged, there(running)) == (1, [])


def test_a_message_that_the_source_has_moved_goes_from_where_it_is_now(
    mail_archive: Mail, running: ImapServer
) -> None:
    gone = mail_archive.add(mail(1))
    mail_archive.add(mail(1), "Done")
    mail_archive.vanish(gone)

    send(mail_archive, running)

    assert (there(running), there(running, "Done")) == ([], [mail(1)])


def test_deleted_mail_is_sent_only_where_that_is_wanted(
    mail_archive: Mail, running: ImapServer
) -> None:
    message = mail_archive.add(mail(1), flags=("\\Deleted",))

    assert send(mail_archive, running).set_aside == 1
    assert "--with-deleted" in mail_archive.reply_to(message)
    assert send(mail_archive, running, takes_deleted=True).appended == 1
    (stored,) = running.mailboxes["bob"].folder("INBOX").messages
    assert stored.flags == {"\\Deleted"}


def test_signed_mail_that_is_refused_is_wrapped_or_refused_but_never_altered(
    mail_archive: Mail, running: ImapServer
) -> None:
    signed = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n"
        b"Message-ID: <s@x>\r\n\r\n--b\r\n\r\nText.\r\n--b\r\n\r\nx\r\n--b--\r\n"
    )
    message = mail_archive.add(signed)
    running.script.on("APPEND", Answer(REFUSED), times=2)

    assert send(mail_archive, running, protected=Protected.SET_ASIDE).refused == 1
    assert send(mail_archive, running).appended == 1

    found = mail_archive.archive.transfers.of(message.id, mail_archive.target.id)
    assert found is not None
    assert [repair.step for repair in found.repairs] == ["envelope"]


def test_an_envelope_that_would_be_too_large_is_not_tried(
    mail_archive: Mail, running: ImapServer
) -> None:
    message = mail_archive.add(mail(1, "x" * 900))
    running.script.on("APPEND", Answer(REFUSED))

    send(mail_archive, running, limits=Limits(largest=1200))

    assert mail_archive.state_of(message) is TransferState.REFUSED


def test_a_message_that_breaks_the_connection_each_time_is_given_up(
    mail_archive: Mail, running: ImapServer
) -> None:
    message = mail_archive.add(mail(1))
    running.script.on("APPEND", Cut())

    assert send(mail_archive, running).refused == 1
    assert "the connection broke each time" in mail_archive.reply_to(message)

    running.script.clear()
    assert send(mail_archive, running).is_complete
    assert there(running) == [mail(1)]


def test_who_is_throttled_again_and_again_is_told_to_ask_for_a_lift(
    mail_archive: Mail, running: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = b"NO Request is throttled. Suggested Backoff Time: 200000 milliseconds"
    reasons: list[str] = []
    monkeypatch.setattr(mail_archive.listener, "waiting", lambda _, why: reasons.append(why))
    for number in range(20):
        mail_archive.add(mail(number))
    for first in range(2, 20, 3):
        running.script.on("APPEND", Answer(told), first=first, times=1)

    send(mail_archive, running)

    assert "support" not in reasons[0]
    assert "ask Microsoft's support" in reasons[-1]


def test_no_more_connections_begin_in_a_minute_than_are_taken_well(
    mail_archive: Mail, running: ImapServer
) -> None:
    for number in range(8):
        mail_archive.add(mail(number))
    for first in range(1, 60, 3):
        running.script.on("APPEND", Answer(b"NO not like this"), first=first, times=2)

    send(mail_archive, running, connections_a_minute=5)

    assert running.connections > 10
    assert 50 < mail_archive.listener.waits[0] <= 60


def test_an_answer_to_something_else_leaves_the_message_in_doubt_until_it_was_looked_for(
    mail_archive: Mail, running: ImapServer
) -> None:
    mail_archive.add(mail(1))
    running.script.on("APPEND", Raw(b"<body BAD Command Error. 10\r\n"), times=1)

    assert send(mail_archive, running).is_complete
    assert there(running) == [mail(1)]


@pytest.mark.server
def test_hostile_mail_arrives_in_a_real_server_as_the_ledger_says(
    mail_archive: Mail, dovecot: Dovecot, user: str
) -> None:
    fill(mail_archive, 1, 20)
    connect = connector(dovecot.port, user, PASSWORD, is_careful=True, ca_file=dovecot.ca_file)
    house = HouseRules(pace=PaceLimits(most=0))
    clock = Clock()
    patience = Patience(mail_archive.listener, clock.sleep, (1.0,) * 5, clock)

    result = mail_archive.replay(connect, patience, house=house)

    # Names of 200 letters beyond ASCII are more than a file system can hold.
    too_long = {folder for folder, _, _ in mail_archive.listener.problems}
    assert all(len(name.encode()) > 255 for name in too_long), mail_archive.listener.problems
    assert (result.refused, result.not_sent) == (0, len(too_long))
    with connect() as target:
        compared = Compared()
        found = list(
            verify(
                mail_archive.archive,
                target,
                mail_archive.target,
                mail_archive.listener,
                compared,
                house=house,
                deep=True,
            )
        )
    assert {each.folder for each in found} == too_long
    assert compared.equal == result.appended
