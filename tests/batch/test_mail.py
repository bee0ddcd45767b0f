"""Mail at the end of a batch, handed in at a real SMTP server."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.fakes.certificates import TestAuthority
from tests.servers.smtp import PASSWORD, USER, mailroom
from waystation.batch.letter import Ended, subject_of, text_of
from waystation.batch.mail import (
    Letter,
    MailError,
    Relay,
    checked_address,
    hand_in,
    octets_of,
    parse_relay,
)
from waystation.batch.run import Ending
from waystation.errors import UsageError

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path

# aiosmtpd does not count TLS from the start as TLS.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
LETTER = Letter(USER, ("ada@example.com", "bob@example.com"), "all done", "Fine.\n.\nFrom here\n")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("mail"))


def read(octets: bytes) -> EmailMessage:
    return email.message_from_bytes(octets, policy=email.policy.default)


def relay(port: int, scheme: str = "smtp", user: str | None = USER) -> Relay:
    return parse_relay(f"{scheme}://{'' if user is None else f'{user}@'}localhost:{port}")


def no_sleep(_: float) -> None:
    raise AssertionError("nothing here may pass")


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_mail_goes_over_verified_tls_by_whoever_signs_in(
    authority: TestAuthority, scheme: str
) -> None:
    context = authority.server_context()
    tls, starttls = (context, None) if scheme == "smtps" else (None, context)
    with mailroom(tls=tls, starttls=starttls, demands_sign_in=True) as room:
        there = relay(room.port, scheme)
        hand_in(there, PASSWORD, LETTER, NOW, ca_file=authority.ca_file, sleep=no_sleep)

    assert [(user, word) for user, word, _ in room.sign_ins] == [(USER, PASSWORD)]
    (octets,) = room.letters
    message = read(octets)
    assert (message["From"], message["To"]) == (USER, "ada@example.com, bob@example.com")
    assert message["Subject"] == "all done"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == NOW
    assert message["Message-ID"].endswith("@example.com>")
    assert message.get_content().replace("\r\n", "\n") == LETTER.text


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_server_that_is_not_proven_gets_neither_mail_nor_password(
    authority: TestAuthority, tmp_path: Path, scheme: str
) -> None:
    other = TestAuthority(tmp_path)
    context = other.server_context()
    tls, starttls = (context, None) if scheme == "smtps" else (None, context)
    with mailroom(tls=tls, starttls=starttls, demands_sign_in=True) as room:
        there = relay(room.port, scheme)
        with pytest.raises(MailError, match="certificate is not trusted"):
            hand_in(there, PASSWORD, LETTER, NOW, ca_file=authority.ca_file, sleep=no_sleep)

    assert (room.sign_ins, room.letters) == ([], [])


def test_without_starttls_nothing_is_sent_unless_plain_text_was_permitted() -> None:
    with mailroom(demands_sign_in=True) as room:
        with pytest.raises(MailError, match="no STARTTLS"):
            hand_in(relay(room.port), PASSWORD, LETTER, NOW, sleep=no_sleep)
        assert (room.sign_ins, room.letters) == ([], [])

        hand_in(relay(room.port), PASSWORD, LETTER, NOW, allow_plaintext=True, sleep=no_sleep)

    assert len(room.letters) == 1


def test_a_refused_password_is_told_and_not_repeated(authority: TestAuthority) -> None:
    wrong = "not the p4ssword"
    with (
        mailroom(starttls=authority.server_context(), demands_sign_in=True) as room,
        pytest.raises(MailError) as caught,
    ):
        hand_in(relay(room.port), wrong, LETTER, NOW, ca_file=authority.ca_file, sleep=no_sleep)

    assert "it refused the sign-in: 535" in str(caught.value)
    assert wrong not in str(caught.value)
    assert caught.value.__cause__ is None
    assert room.letters == []


def test_a_password_of_other_letters_is_not_told_by_the_error(authority: TestAuthority) -> None:
    with mailroom(starttls=authority.server_context(), demands_sign_in=True) as room:
        there = relay(room.port)
        with pytest.raises(MailError) as caught:
            hand_in(there, "pässwort", LETTER, NOW, ca_file=authority.ca_file, sleep=no_sleep)

    assert "ASCII" in str(caught.value)
    assert "sswort" not in str(caught.value)


def test_what_passes_is_tried_again_and_a_dead_server_three_times() -> None:
    pauses: list[float] = []
    with mailroom() as room:
        room.answers = ["451 4.7.1 come back later"]
        there = relay(room.port, user=None)
        hand_in(there, None, LETTER, NOW, allow_plaintext=True, sleep=pauses.append)
    assert (len(room.letters), pauses) == (1, [5.0])

    with pytest.raises(MailError, match=r"localhost: Connection refused"):
        hand_in(there, None, LETTER, NOW, allow_plaintext=True, sleep=pauses.append)
    assert pauses == [5.0, 5.0, 30.0]


def test_who_is_refused_is_named_and_the_others_get_it() -> None:
    with mailroom() as room:
        room.strangers = ("bob@example.com",)
        there = relay(room.port, user=None)
        with pytest.raises(MailError, match=r"it refused bob@example.com \(550.*for the others"):
            hand_in(there, None, LETTER, NOW, allow_plaintext=True, sleep=no_sleep)
        room.strangers = LETTER.recipients
        with pytest.raises(MailError, match=r"ada@example.com \(550"):
            hand_in(there, None, LETTER, NOW, allow_plaintext=True, sleep=no_sleep)

    assert len(room.letters) == 1


def test_no_name_of_a_mailbox_becomes_a_header_or_a_line_of_its_own() -> None:
    odd = "eve\r\nBcc: all@example.com\r\n\r\n.\r\nQUIT\r\n\u202e\x1b[31m"
    batch = Ended(
        "batch check",
        f"/srv/{odd}",
        "then",
        "now",
        "1 s",
        13,
        {odd: Ending(1, "failed", odd), "ada": Ending(0, "done", "")},
        {"new": 7},
    )

    letter = Letter(USER, ("ada@example.com",), subject_of(batch) + odd, text_of(batch))
    message = read(octets_of(letter, NOW))

    assert set(message.keys()) == {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
        *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
    }
    lines = message.get_content().splitlines()
    assert not [line for line in lines if line.startswith(("Bcc", ".", "QUIT"))]
    assert all(line.isprintable() for line in lines)
    assert message["Subject"].startswith("waystation batch check: 1 of 2 done, 1 failed")
    assert "  new: 7" in lines


def test_a_mail_names_so_many_mailboxes_and_counts_the_rest() -> None:
    endings = {f"u{number}": Ending(12, "failed", "no") for number in range(250)}
    batch = Ended("batch export", "/srv", "a", "b", "1 h", 12, endings, {})

    text = text_of(batch)

    assert "failed (250):" in text
    assert "and 150 more" in text


def test_a_server_is_named_as_elsewhere_and_never_with_a_password() -> None:
    assert parse_relay("smtps://bob@mail.example.com") == Relay(
        "smtps://bob@mail.example.com", "mail.example.com", 465, "tls", "bob"
    )
    assert parse_relay("smtp://mail.example.com:25").user is None
    gmail = parse_relay("gmail:bob@example.com")
    assert (gmail.host, gmail.port, gmail.security) == ("smtp.gmail.com", 465, "tls")
    assert gmail.password_key == "smtps://bob@example.com@smtp.gmail.com:465"
    icloud = parse_relay("icloud:bob@icloud.com")
    assert (icloud.port, icloud.security) == (587, "starttls")
    for wrong in ("smtps://bob:hunter2@mail.example.com", "smtps://bob:hunter2@"):
        with pytest.raises(UsageError) as caught:
            parse_relay(wrong)
        assert "hunter2" not in str(caught.value)
    for wrong in ("mail.example.com", "imaps://bob@x.org", "smtp://x:0", "nobody:bob@x.org"):
        with pytest.raises(UsageError):
            parse_relay(wrong)
    with pytest.raises(UsageError, match="takes no passwords"):
        parse_relay("office365:bob@contoso.com")


@pytest.mark.parametrize("text", ["ada", "a@b\r\nBcc: c@d", "Ada <a@b.c>", "a,b@c.d", "ä@b.c", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        checked_address(text)
