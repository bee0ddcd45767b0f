"""What Exchange makes of a message: other octets, the same content."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.exchange_online.corpus import hostile_messages, ordinary_messages
from tests.exchange_online.mime import Part, decoded, parse
from tests.exchange_online.profile import EXO_2026
from tests.exchange_online.rewrite import rewriting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.exchange_online.conftest import Place

KEY = "0123456789abcdef" * 4
MESSAGE = (
    b"X-Own: kept\r\nSubject: Re: a subject that goes on and on so that it has to be folded"
    b" somewhere, but not here\r\nTo: bob@contoso.com\r\nFrom: ann@contoso.com\r\n"
    b"Received: from b\r\nReceived: from a\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="old"\r\n\r\npreamble\r\n'
    b"--old\r\nX-Part: dropped\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n"
    b"--old\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+\r\n"
    b"--old\r\nContent-Type: text/csv; name=x.csv\r\n\r\n1,2\n3,4\r\n--old--\r\nepilogue\r\n"
)


def shown(message: bytes, level: int = 1) -> bytes:
    """Return what a FETCH shows of a message."""
    assert level in (0, 1, 2)
    return b"".join(rewriting(message, KEY, level).pieces(message))


def leaves(octets: bytes) -> list[tuple[str, bytes]]:
    """Return type and decoded content of each part that has no parts, line ends made alike."""

    def content(part: Part) -> bytes:
        raw = octets[part.body : part.end]
        found = decoded(raw, part.encoding)
        found = raw if found is None else found
        if part.main == "text" and part.encoding != "base64":
            found = b"\r\n".join(found.splitlines()).rstrip()
        return found.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip()

    return [(part.kind, content(part)) for part in parse(octets).walk() if not part.children]


def test_a_message_is_made_anew() -> None:
    assert shown(MESSAGE) == (
        b"Received: from b\r\nReceived: from a\r\nFrom: ann@contoso.com\r\nTo: bob@contoso.com\r\n"
        b"Subject: Re: a subject that goes on and on so that it has to be folded\r\n"
        b" somewhere, but not here\r\n"
        b"Thread-Topic: a subject that goes on and on so that it has to be folded\r\n"
        b" somewhere, but not here\r\nThread-Index: ASNFZ4mrze8BI0VniavN7wEjRWeJqw==\r\n"
        b"X-Own: kept\r\n"
        b"Content-Type: multipart/mixed;\r\n"
        b' boundary="_000_0123456789abcdef0123456789abcdef01234567_"\r\n'
        b"X-MS-Exchange-Organization-SCL: -1\r\nX-MS-TNEF-Correlator:\r\nMIME-Version: 1.0\r\n"
        b"\r\n--_000_0123456789abcdef0123456789abcdef01234567_\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        b"R3LDvMOfZQ==\r\n\r\n--_000_0123456789abcdef0123456789abcdef01234567_\r\n"
        b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<b>\r\n"
        b"--_000_0123456789abcdef0123456789abcdef01234567_\r\n"
        b"Content-Type: text/csv; name=x.csv\r\n\r\n1,2\n3,4\r\n"
        b"--_000_0123456789abcdef0123456789abcdef01234567_--\r\n"
    )


def test_the_same_message_always_comes_out_the_same() -> None:
    for specimen in ordinary_messages(1, 30):
        assert shown(specimen.octets) == shown(specimen.octets)
        assert shown(specimen.octets) != specimen.octets


def test_content_stays_whatever_the_message() -> None:
    kept = 0
    for specimen in [*hostile_messages(1), *ordinary_messages(1, 100)]:
        kept += leaves(specimen.octets) == leaves(shown(specimen.octets))
        assert leaves(specimen.octets) == leaves(shown(specimen.octets)), specimen.name
    assert kept > 200


def test_another_reader_finds_the_same_content() -> None:
    for specimen in ordinary_messages(2, 60):
        before, after = (
            email.message_from_bytes(octets, policy=email.policy.default)
            for octets in (specimen.octets, shown(specimen.octets))
        )
        for name in ("From", "To", "Subject", "Date", "Message-ID", "X-Mailer"):
            assert before[name] == after[name]
        assert [part.get_content_type() for part in before.walk()] == [
            part.get_content_type() for part in after.walk()
        ]
        for one, other in zip(before.walk(), after.walk(), strict=True):
            if not one.is_multipart():
                first, second = one.get_payload(decode=True), other.get_payload(decode=True)
                assert isinstance(first, bytes)
                assert isinstance(second, bytes)
                assert first.replace(b"\r\n", b"\n") == second.replace(b"\r\n", b"\n")


def test_smime_is_kept_and_pgp_is_not() -> None:
    by_name = {specimen.name: specimen.octets for specimen in hostile_messages(1)}
    for name in ("S/MIME signed", "S/MIME opaque", "S/MIME encrypted"):
        octets = by_name[name]
        assert shown(octets).endswith(octets.partition(b"\r\n\r\n")[2])
    pgp = by_name["PGP/MIME signed"]
    assert b"8bit" in pgp
    assert b"8bit" not in shown(pgp)


def test_level_two_loses_more() -> None:
    by_name = {specimen.name: specimen.octets for specimen in hostile_messages(1)}
    encrypted = by_name["PGP/MIME encrypted"]
    assert parse(shown(encrypted)).kind == "multipart/encrypted"
    assert parse(shown(encrypted, 2)).kind == "multipart/mixed"
    invitation = by_name["invitation"]
    assert [part.kind for part in parse(shown(invitation, 2)).children] == ["text/calendar"]
    nameless = by_name["no Message-ID 0"]
    assert not parse(shown(nameless)).has("message-id")
    assert parse(shown(nameless, 2)).value("message-id").endswith(b".prod.exchangelabs.com>")


def test_nested_messages_are_made_anew_too() -> None:
    inner = b"To: b\r\nFrom: a\r\nX-Own: y\r\n\r\ninner \xc3\xa4\r\n"
    message = b"Subject: x\r\nContent-Type: message/rfc822\r\n\r\n" + inner

    [nested] = parse(shown(message)).children

    assert nested.value("from") == b"a"
    assert nested.encoding == "quoted-printable"
    kept = b"".join(rewriting(message, KEY, 1, nested=False).pieces(message))
    assert kept.endswith(b"\r\n\r\n" + inner)


def test_fetch_shows_the_new_octets_and_search_the_new_header(
    place: Callable[..., Place],
) -> None:
    here = place(replace(EXO_2026, rewriting=2))
    client = here.client()
    client.append(b"INBOX", MESSAGE)
    client.command(b"SELECT INBOX")

    fetched = client.command(b"FETCH 1 BODY.PEEK[]")[0]

    [(_, message)] = here.box.stored()
    assert message.original == MESSAGE
    new = b"".join(rewriting(MESSAGE, message.original_sha256, 2).pieces(MESSAGE))
    assert fetched == b"* 1 FETCH (BODY[] {%d}\r\n%b)" % (len(new), new)
    key = message.original_sha256[:32].encode()
    search = b"SEARCH HEADER Message-ID %b@" % key
    assert client.command(search)[0] == b"* SEARCH 1"


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_specimen_is_fetched_in_every_way(place: Callable[..., Place], level: int) -> None:
    profile = replace(
        EXO_2026,
        rewriting=level,  # type: ignore[arg-type]
        unconvertible_rules=frozenset(),
        longest_literal_line=None,
        throttles=False,
        size_error=0,
    )
    here = place(profile)
    client = here.client()
    for specimen in hostile_messages(1):
        answer = client.append(b"INBOX", specimen.octets, plus=True)
        assert answer[-1].startswith(b"OK "), specimen.name
    client.command(b"SELECT INBOX")

    lines = client.command(b"UID FETCH 1:* (RFC822.SIZE BODY.PEEK[])")
    structures = client.command(b"UID FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY.PEEK[1])")

    count = len(list(here.box.stored()))
    assert len(lines) == len(structures) == count + 1
    for line in lines[:-1]:
        head = line.partition(b"\r\n")[0]
        words = head.split()
        assert words[4] == words[6].strip(b"{}")
    if level == 0:
        bodies = [line.partition(b"\r\n")[2].rpartition(b" UID ")[0] for line in lines[:-1]]
        assert bodies == [message.original for _, message in here.box.stored()]
