"""A list of mailboxes, in each of its forms, and everything that can be wrong with it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from waystation.batch.faults import FaultKind, ListError
from waystation.batch.form import Form
from waystation.batch.mailboxes import End, Mailbox, Side, Surroundings, read_list

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD = "mailbox,from,from_password_env,to,to_password_env\n"
ROW = "{0}@x.org,imaps://{0}@mail.x.org,OLD,office365:{0}@contoso.com,\n"
ENVIRONMENT = {"OLD": "secret", "EMPTY": ""}
EXPORT = Surroundings(Side.SOURCE, environment=ENVIRONMENT)
IMPORT = Surroundings(Side.TARGET, environment=ENVIRONMENT)
ANY = Surroundings()


def read(text: str, around: Surroundings = EXPORT) -> tuple[Mailbox, ...]:
    return read_list(text.encode(), around).mailboxes


def faults(text: str | bytes, around: Surroundings = EXPORT) -> list[tuple[int, str | None, str]]:
    octets = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ListError) as caught:
        read_list(octets, around)
    return [(fault.line, fault.column, fault.kind.value) for fault in caught.value.faults]


def test_our_own_list_says_who_moves_from_where_to_where() -> None:
    text = (
        "mailbox,from,from_password_command,to,to_password_keyring,priority,folder,exclude\n"
        '# the boss first\nada@x.org,imaps://ada@mail.x.org,"pass ""ada""",'
        "office365:ada@contoso.com,,5,INBOX|Sent*,@trash\n"
        "\nbob@x.org,pop3s://bob@mail.x.org,,imaps://bob@new.example,new/bob,,,\n"
    )

    ada, bob = read(text)

    assert ada.name == ada.directory == "ada@x.org"
    assert ada.source == End("imaps://ada@mail.x.org", password_command='pass "ada"')
    assert ada.target == End("office365:ada@contoso.com")
    assert (ada.line, ada.priority, ada.folders, ada.exclude) == (
        3, 5, ("INBOX", "Sent*"), ("@trash",),
    )  # fmt: skip
    assert bob.target == End("imaps://bob@new.example", password_keyring="new/bob")
    assert (bob.line, bob.priority) == (5, 0)


def test_microsofts_list_names_the_target_and_the_command_line_the_source() -> None:
    text = (
        "EmailAddress,UserName,Password,UserRoot\r\n"
        "ada@contoso.com,ada,s3cret,\r\nbob@contoso.com,admin,s3cret,/users/bob\r\n"
    )

    ada, bob = read(text, Surroundings(Side.SOURCE, server="mail.x.org:1993"))

    assert ada.source == End("imaps://ada@mail.x.org:1993", password="s3cret")
    assert ada.target == End("office365:ada@contoso.com")
    assert bob.folders == ("users/bob", "users/bob/*")
    assert faults(text) == [(1, None, "no_source")]


def test_imapsyncs_list_is_told_by_its_six_fields() -> None:
    text = (
        "# host1;user1;password1;host2;user2;password2;\n"
        'old.example;ada@x.org;"quoted;new.example:1993;ada;p2;\n'
        "old.example;bob;p1;outlook.office365.com;bob@contoso.com;ignored;\n"
    )

    found = read_list(text.encode(), EXPORT)
    ada, bob = found.mailboxes

    assert (found.form, found.passwords) == (Form.IMAPSYNC, 2)
    assert ada.source == End("imaps://ada@x.org@old.example", password='"quoted')
    assert ada.target == End("imaps://ada@new.example:1993", password="p2")
    assert bob.name == "bob@old.example"
    assert bob.target == End("office365:bob@contoso.com")


WRITTEN = HEAD + ROW.format("ä")


@pytest.mark.parametrize(
    "octets",
    [
        WRITTEN.encode(),
        WRITTEN.encode("utf-8-sig"),
        WRITTEN.replace("\n", "\r\n").encode("utf-16"),
        ("sep=;\n" + WRITTEN).replace(",", ";").encode(),
        (WRITTEN + ",,,,\n").replace(",", "\t").encode("utf-16"),
        (HEAD.upper() + '"ä@x.org"," imaps://ä@mail.x.org ",OLD,office365:a@contoso.com,').encode(),
    ],
)
def test_a_list_reads_the_same_however_a_spreadsheet_wrote_it(octets: bytes) -> None:
    (mailbox,) = read_list(octets, EXPORT).mailboxes

    assert mailbox.name == "ä@x.org"
    assert mailbox.source == End("imaps://ä@mail.x.org", password_env="OLD")


def test_a_password_in_a_list_is_shown_nowhere() -> None:
    text = (
        "mailbox,from,from_password,from_password_env\n"
        "ada,imaps://ada:hunter2@x.org,hunter3,\nbob,imaps://bob@x.org,,hunter-4!\n"
        "eve,nonsense:hunter5@x,,\n"
    )

    with pytest.raises(ListError) as caught:
        read_list(text.encode(), EXPORT)

    said = f"{caught.value} {caught.value.faults} {[str(f) for f in caught.value.faults]}"
    assert "hunter" not in said
    assert "hunter" not in repr(End(password="hunter6"))


FAULTY: list[tuple[str, str | None, str, Surroundings]] = [
    ('a@x.org,"imaps://a@x.org,OLD,,', None, "quoting", EXPORT),
    ('a@x.org,"imaps://a"@x.org,OLD,,', None, "quoting", EXPORT),
    ("a@x.org,imaps://a@x.org,OLD", None, "too_few_fields", EXPORT),
    ("a@x.org,imaps://a@x.org,OLD,,,x", None, "too_many_fields", EXPORT),
    ("a\x1b@x.org,imaps://a@x.org,OLD,,", "mailbox", "control_character", EXPORT),
    ("a\u202e@x.org,imaps://a@x.org,OLD,,", "mailbox", "control_character", EXPORT),
    (",imaps://a@x.org,OLD,,", "mailbox", "no_mailbox", EXPORT),
    ("../a@x.org,imaps://a@x.org,OLD,,", "mailbox", "outside_of_root", EXPORT),
    ("..,imaps://a@x.org,OLD,,", "mailbox", "outside_of_root", EXPORT),
    ("C:\\a,imaps://a@x.org,OLD,,", "mailbox", "outside_of_root", EXPORT),
    ("Status.json,imaps://a@x.org,OLD,,", "mailbox", "reserved_name", EXPORT),
    ("first@x.org,imaps://a@x.org,OLD,,", "mailbox", "doubled_mailbox", EXPORT),
    ("First@X.org,imaps://a@x.org,OLD,,", "mailbox", "same_folder", EXPORT),
    ("THERE@x.org,imaps://a@x.org,OLD,,", "mailbox", "same_folder", EXPORT),
    ("a@x.org,,,,", "from", "no_source", EXPORT),
    ("a@x.org,mail.x.org,OLD,,", "from", "bad_server", EXPORT),
    ("a@x.org,imaps://a@x.org:99999,OLD,,", "from", "bad_server", EXPORT),
    ("a@x.org,gopher://a@x.org,OLD,,", "from", "bad_server", EXPORT),
    ("a@x.org,imaps://a:b@x.org,OLD,,", "from", "bad_server", EXPORT),
    ("a@x.org,gmial:a@x.org,OLD,,", "from", "unknown_provider", EXPORT),
    ("a@x.org,imaps://a@x.org,OLD,pop3s://a@y.org,", "to", "target_by_pop3", EXPORT),
    ("a@x.org,imaps://a@x.org,OLD,office365:FIRST@contoso.com,", "to", "doubled_target", EXPORT),
    ("a@x.org,imaps://a@x.org,NOT_SET,,", "from_password_env", "variable_not_set", EXPORT),
    ("a@x.org,imaps://a@x.org,EMPTY,,", "from_password_env", "variable_not_set", EXPORT),
    ("a@x.org,imaps://a@x.org,no name,,", "from_password_env", "bad_variable", EXPORT),
    ("a@x.org,imaps://a@x.org,OLD,,", "to", "no_target", IMPORT),
    ("a@x.org,,,office365:a@y.org,OLD", "to_password_env", "password_for_tokens", IMPORT),
]  # fmt: skip


@pytest.mark.parametrize(("row", "column", "kind", "around"), FAULTY)
def test_a_fault_is_named_with_its_line(
    row: str, column: str | None, kind: str, around: Surroundings
) -> None:
    there = Surroundings(around.side, environment=ENVIRONMENT, there=("there@x.org", "notes"))

    found = faults(HEAD + ROW.format("first") + "\n" + row + "\n", there)

    assert found == [(4, column, kind)]


def test_the_first_line_is_looked_at_too() -> None:
    assert faults("") == [(1, None, "no_list")]
    assert faults("name,server\nada,x\n") == [(1, None, "no_list")]
    assert faults("mailbox,from\n") == [(1, None, "no_list")]
    assert faults("from,to\nimaps://a@x.org,\n")[0] == (1, "mailbox", "missing_column")
    assert faults("mailbox,from,form\na,imaps://a@x.org,\n") == [(1, "form", "unknown_column")]
    assert faults("mailbox,from,from\na,,imaps://a@x.org\n") == [(1, "from", "doubled_column")]
    assert faults("EmailAddress,Password\na@x.org,p\n", ANY)[0] == (
        1, "username", "missing_column",
    )  # fmt: skip


def test_what_is_no_text_is_named_line_by_line() -> None:
    octets = (HEAD + ROW.format("a")).encode() + b"\xff\xfe\n" + ROW.format("b").encode()

    assert faults(octets) == [(3, None, "encoding")]
    assert faults(b"\xff\xfea") == [(1, None, "encoding"), (1, None, "no_list")]


def test_two_places_for_a_password_are_one_too_many() -> None:
    text = "mailbox,from,from_password_env,from_password_command\na,imaps://a@x.org,OLD,pass a\n"

    assert faults(text) == [(2, "from", "two_passwords")]


def test_a_priority_is_a_whole_number() -> None:
    assert faults("mailbox,from,priority\na,imaps://a@x.org,high\n") == [
        (2, "priority", "bad_priority")
    ]


def test_a_pattern_that_means_nothing_is_named() -> None:
    assert faults("mailbox,from,exclude\na,imaps://a@x.org,Old*|@rubbish\n") == [
        (2, "exclude", "bad_pattern")
    ]


def test_the_other_two_forms_have_faults_of_their_own() -> None:
    around = Surroundings(Side.SOURCE, server="mail.x.org")
    microsoft = "EmailAddress,UserName,Password\nada,ada,p\nb@x.org,b,\nc@x.org,,p\n"
    imapsync = "a b;u;p;h2;u2;p2\nh1;;p;h2;u2;p2\nh1;u;;h2;u3;p2\nh1;u4;p\nh1;v;p;h2;w;p;--ssl1\n"

    assert faults(microsoft, around) == [
        (2, "EmailAddress", "bad_address"),
        (3, "Password", "empty_password"),
        (4, "UserName", "bad_address"),
    ]
    assert [(line, kind) for line, _, kind in faults(imapsync)] == [
        (1, "bad_server"),
        (2, "no_mailbox"),
        (2, "bad_address"),
        (2, "doubled_target"),
        (3, "empty_password"),
        (4, "too_few_fields"),
        (5, "too_many_fields"),
    ]


def test_what_an_archive_remembers_need_not_be_in_the_list() -> None:
    around = Surroundings(Side.SOURCE, environment=ENVIRONMENT, there=("ada",))

    (ada,) = read("mailbox\nada\n", around)
    (bob,) = read("mailbox\nbob\n", Surroundings(Side.TARGET, has_target=lambda _: True))

    assert (ada.source, bob.target) == (End(), End())


def broken(rows: int, every: int) -> Iterable[str]:
    """Rows of a long list, each of a set one wrong in the next way."""
    others = ("first", "there", "status")  # wrong only beside others, or not when renamed
    ways = [
        row
        for row, _, _, around in FAULTY
        if around is EXPORT and not any(other in row.lower() for other in others)
    ]
    for number in range(rows):
        if number % every == 0:
            row = ways[number // every % len(ways)]
            yield row.replace("a@x.org,", f"m{number}@x.org,", 1) + "\n"
        else:
            yield ROW.format(f"user{number}")


def test_five_thousand_rows_with_three_hundred_faults_are_told_in_five_seconds() -> None:
    rows = [*broken(4992, 17), *(ROW.format(f"user{number}") for number in range(1, 5))]
    rows += [ROW.format(f"USER{number}") for number in range(5, 9)]
    begun = time.perf_counter()

    found = faults(HEAD + "".join(rows))

    assert time.perf_counter() - begun < 5
    wrong = {number + 2 for number in range(0, 4992, 17)} | set(range(4994, 5002))
    assert {line for line, _, _ in found} == wrong
    assert len(found) >= 300
    assert len({kind for _, _, kind in found}) >= 15


def test_each_kind_of_fault_is_shown_here() -> None:
    text = Path(__file__).read_text("utf-8")

    assert [kind for kind in FaultKind if f'"{kind.value}"' not in text] == []
