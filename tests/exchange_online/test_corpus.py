"""The corpus: each of its kinds meets the rule that it is made for."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from tests.exchange_online.corpus import Specimen, hostile_messages, ordinary_messages
from tests.exchange_online.profile import EXO_2026, MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.exchange_online.conftest import Place

END = b"\r\none\r\ntwo\r\nthree\r\n"
"""So that there are lines enough for the server to hang up once it takes them for commands."""

REFUSED = {
    "NUL in the body",
    "NUL in the header",
    "NUL in base64",
    "header line without colon",
    "first line without colon",
    "quoted mbox line first",
    "subject that swallowed a header",
    "marked unconvertible",
    "nested word, no base64",
    "nested word, unknown charset",
    "nested word, unknown encoding",
    "nested word, not in its charset",
    "nested word two deep, no base64",
    "nested word two deep, unknown charset",
    "nested word two deep, unknown encoding",
    "nested word two deep, not in its charset",
    "report, Read: the news",
    "report, Gelesen: die Post",
    "report, Disposition of your mail",
}
BREAKING = {
    "body line of 10240",
    "body line of 10241",
    "body line of 60000",
    "body line of words",
    "long header of words",
    "long header without blanks",
    "long subject",
    "base64 on one line",
    "html on one line",
    "quoted-printable on one line",
    "long line in a nested message",
    "long line without an end",
    "PGP/MIME signed with a long line",
    "S/MIME signed with a long line",
    "S/MIME opaque with a long line",
}


def test_a_seed_always_gives_the_same_mail() -> None:
    first, again = list(hostile_messages(1)), list(hostile_messages(1))

    assert first == again
    assert first != list(hostile_messages(2))
    assert list(ordinary_messages(3, 50)) == list(ordinary_messages(3, 50))


def test_one_message_is_larger_than_a_limit_by_an_octet() -> None:
    sizes = [len(specimen.octets) for specimen in hostile_messages(1, limit=5 * MIB)]

    assert sizes[-2:] == [5 * MIB, 5 * MIB + 1]
    assert max(sizes[:-2]) < 5 * MIB


def test_every_specimen_has_a_name_of_its_own() -> None:
    names = [specimen.name for specimen in hostile_messages(1)]

    assert len(names) == len(set(names))
    assert {*REFUSED, *BREAKING} < set(names)


def test_exchange_takes_the_rest_and_refuses_what_it_should(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, throttles=False, largest_message=3 * MIB))
    outcomes: dict[str, set[str]] = {"refused": set(), "too large": set(), "broke": set()}
    taken: list[Specimen] = []
    client = here.client()

    for specimen in hostile_messages(1):
        # folders and keywords are the importer's matter
        flags = " ".join(specimen.flags).encode()
        end = END if specimen.name in BREAKING else b""
        answer = client.append(b"INBOX", specimen.octets + end, b" (%b)" % flags)
        if answer[-1].startswith(b"OK "):
            taken.append(specimen)
        elif answer == [b"BAD Command Argument Error. 11"]:
            outcomes["refused"].add(specimen.name)
        elif answer[-1].startswith(b"NO Maximum size"):
            outcomes["too large"].add(specimen.name)
        else:
            outcomes["broke"].add(specimen.name)
            client.close()
            client = here.client()

    assert outcomes == {"refused": REFUSED, "too large": {"large"}, "broke": BREAKING}
    stored = [message.original for _, message in here.box.stored()]
    assert stored == [specimen.octets for specimen in taken]


def test_ordinary_mail_goes_in_without_a_word(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, throttles=False))
    client = here.client()

    answers = {
        client.append(b"INBOX", specimen.octets, plus=True)[-1][:2]
        for specimen in ordinary_messages(1, 200)
    }

    assert answers == {b"OK"}
    assert len(list(here.box.stored())) == 200


@pytest.mark.parametrize("seed", [1, 2])
def test_ordinary_mail_is_varied(seed: int) -> None:
    mail = list(islice(ordinary_messages(seed, 300), 300))

    assert len({specimen.octets for specimen in mail}) == 300
    assert len({specimen.folder for specimen in mail}) == 4
    assert min(len(specimen.octets) for specimen in mail) > 300
