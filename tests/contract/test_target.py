"""What every ``MailTarget`` does: the twin, the fake server in its kinds, and Dovecot."""

from __future__ import annotations

import io
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from importer.digest import Digest
from tests.fakes.memory_target import MemoryServer
from tests.importer.support import connector, mail, server
from tests.servers.dovecot import PASSWORD
from waystation.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.target import MailTarget

DATE = datetime(2019, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=-8)))
LARGE = mail("large") + b"0123456789abcde\n" * 20_000

FAKES: dict[str, dict[str, object]] = {
    "plain": {},
    "literal-minus": {"literal_plus": "LITERAL-"},
    "no literal-plus": {"literal_plus": None},
    "no uidplus": {"uidplus": False},
    "bare": {"uidplus": False, "literal_plus": None, "namespace": False, "condstore": False},
}


@pytest.fixture(
    params=[
        "twin",
        *FAKES,
        pytest.param("dovecot", marks=pytest.mark.server),
        "one by one",
        "careful",
    ]
)
def target(request: pytest.FixtureRequest) -> Iterator[MailTarget]:
    """One target of each kind, signed in, with an empty INBOX."""
    with ExitStack() as stack:
        if request.param == "twin":
            yield stack.enter_context(MemoryServer().connect())
        elif request.param == "dovecot":
            dovecot = request.getfixturevalue("dovecot")
            user = request.getfixturevalue("user")
            connect = connector(dovecot.port, user, PASSWORD, ca_file=dovecot.ca_file)
            yield stack.enter_context(connect())
        else:
            running = stack.enter_context(server(None, **FAKES.get(request.param, {})))
            pipelined, is_careful = request.param != "one by one", request.param == "careful"
            connect = connector(running.port, pipelined=pipelined, is_careful=is_careful)
            yield stack.enter_context(connect())


def send(target: MailTarget, *bodies: bytes, flags: tuple[str, ...] = ()) -> list[str]:
    """Send messages as the window allows, and return how each was answered."""
    waiting: list[bytes] = []
    answers = []
    for body in bodies:
        waiting.append(target.append(flags, DATE, io.BytesIO(body), len(body)))
        if len(waiting) >= target.window.messages:
            answers.append(target.answer())
            assert answers[-1].tag == waiting.pop(0)
    answers += [target.answer() for _ in waiting]
    return [answer.status for answer in answers]


def test_the_inbox_is_there_and_can_be_opened(target: MailTarget) -> None:
    there = target.folders()
    assert ("INBOX",) in {folder.levels for folder in there.folders}

    selected = target.open(("INBOX",))

    assert (selected.state.exists, selected.state.uidnext) == (0, 1)
    assert selected.state.uidvalidity > 0
    assert selected.takes_keywords
    assert "\\seen" in selected.permanent_flags


def test_the_largest_message_is_what_the_server_says() -> None:
    with MemoryServer(limit=100).connect() as twin:
        assert twin.limit == 100
    said = {"APPENDLIMIT=4711": 4711, "APPENDLIMIT": None, "APPENDLIMIT=x": None, "X=1": None}
    for word, limit in said.items():
        with (
            server(None, extra_capabilities=(word,)) as running,
            connector(running.port)() as target,
        ):
            assert target.limit == limit


def test_a_folder_is_created_once_and_again_without_complaint(target: MailTarget) -> None:
    for _ in range(2):
        target.create(("Grüße",))
        target.create(("Grüße", "2024"))

    levels = [folder.levels for folder in target.folders().folders]

    assert levels.count(("Grüße", "2024")) == levels.count(("Grüße",)) == 1
    assert target.open(("Grüße", "2024")).state.exists == 0


def test_a_folder_that_is_not_there_is_refused(target: MailTarget) -> None:
    target.folders()
    with pytest.raises(RefusedError):
        target.open(("Nowhere",))


def test_what_is_appended_is_there_octet_for_octet(target: MailTarget) -> None:
    bodies = [mail(1), b"\r\nNo headers.\r\n", mail(2) * 3, b"x", mail(1)]
    target.open(("INBOX",))

    assert send(target, *bodies, flags=("\\Seen", "todo")) == ["OK"] * 5

    assert target.open(("INBOX",), read_only=True).state.exists == 5
    assert target.uids(b"1:*") == [1, 2, 3, 4, 5]
    contents = dict(target.contents(b"1:*"))
    for uid, body in enumerate(bodies, 1):
        digest = Digest()
        digest.write(body)
        assert contents[uid] == digest.content
    for described in target.describe(b"1:*"):
        message = described.message
        assert (message.flags, message.keywords) == (("\\Seen",), ("todo",))
        assert message.internaldate == DATE
        assert described.size == len(bodies[message.uid - 1])
        assert b"example.org" in described.header or message.uid in (2, 4)


def test_a_large_message_arrives_whole(target: MailTarget) -> None:
    target.open(("INBOX",))

    assert send(target, LARGE, mail(2)) == ["OK", "OK"]

    digest = Digest()
    digest.write(LARGE)
    target.open(("INBOX",))
    content = dict(target.contents(b"1"))[1]
    assert (content.tidy, content.body) == (digest.content.tidy, digest.content.body)


def test_an_appenduid_says_where_the_message_is(target: MailTarget) -> None:
    uidvalidity = target.open(("INBOX",)).state.uidvalidity
    target.append((), DATE, io.BytesIO(mail(1)), len(mail(1)))

    assert target.answer().appenduid in ((uidvalidity, 1), None)


def test_a_message_without_a_date_gets_one(target: MailTarget) -> None:
    target.open(("INBOX",))
    target.append((), None, io.BytesIO(mail(1)), len(mail(1)))
    assert target.answer().is_ok
    target.open(("INBOX",))

    (described,) = target.describe(b"1:*")

    assert described.message.internaldate is not None
    assert described.message.internaldate > datetime(2024, 1, 1, tzinfo=UTC)


def test_uids_and_contents_of_what_is_not_there_are_nothing(target: MailTarget) -> None:
    target.open(("INBOX",))
    send(target, mail(1), mail(2))
    target.open(("INBOX",))

    assert target.uids(b"2,7:9") == [2]
    assert [uid for uid, _ in target.contents(b"2,7:9")] == [2]
    assert [each.message.uid for each in target.describe(b"7:9")] == []


def test_many_small_messages_stream_without_a_deadlock(target: MailTarget) -> None:
    bodies = [mail(number) for number in range(300)]
    target.open(("INBOX",))

    assert Counter(send(target, *bodies)) == {"OK": 300}

    assert target.open(("INBOX",)).state.exists == 300
