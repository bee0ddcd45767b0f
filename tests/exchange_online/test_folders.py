"""Folders: names, languages, attributes, limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.exchange_online.profile import EXO_2026
from tests.exchange_online.trees import TREES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.exchange_online.conftest import Place

ERROR_12 = [b"BAD Command Argument Error. 12"]
QUIET = replace(EXO_2026, marked_chance=0, bads_until_bye=None)


def test_special_folders_have_attributes_in_the_plain_list(place: Callable[..., Place]) -> None:
    lines = place(QUIET).client().command(b'LIST "" "*"')

    assert lines[-1] == b"OK LIST completed."
    assert {
        b'* LIST (\\HasNoChildren) "/" INBOX',
        b'* LIST (\\HasNoChildren \\Trash) "/" "Deleted Items"',
        b'* LIST (\\HasNoChildren \\Junk) "/" "Junk Email"',
        b'* LIST (\\HasNoChildren \\Sent) "/" "Sent Items"',
        b'* LIST (\\HasNoChildren \\Drafts) "/" Drafts',
        b'* LIST (\\HasNoChildren) "/" Archive',
        b'* LIST (\\HasChildren) "/" Calendar',
        b'* LIST (\\HasNoChildren) "/" Calendar/Birthdays',
        b'* LIST (\\HasNoChildren) "/" "Sync Issues/Local Failures"',
    } <= set(lines)


@pytest.mark.parametrize(
    ("locale", "line"),
    [
        ("de", b'* LIST (\\HasNoChildren \\Trash) "/" "Gel&APY-schte Elemente"'),
        ("fr", b'* LIST (\\HasNoChildren \\Sent) "/" "&AMk-l&AOk-ments envoy&AOk-s"'),
        ("da", b'* LIST (\\HasNoChildren) "/" Kalender/F&APg-dselsdage'),
        ("consumer", b'* LIST (\\HasNoChildren) "/" Inbox'),
    ],
)
def test_folders_keep_the_names_of_the_mailbox_language(
    place: Callable[..., Place], locale: str, line: bytes
) -> None:
    here = place(QUIET)
    here.server.add_mailbox("x@contoso.com", locale)
    client = here.connect()
    client.sign_in("x@contoso.com", here.token())

    assert line in client.command(b'LIST "" *')


def test_each_language_has_every_kind_of_folder() -> None:
    for locale, tree in TREES.items():
        attributes = {each.attribute for each in tree if each.attribute}
        assert attributes == {"\\Drafts", "\\Sent", "\\Trash", "\\Junk"}, locale
        assert len({each.name.casefold() for each in tree}) == len(tree), locale


def test_an_empty_pattern_asks_for_the_separator(place: Callable[..., Place]) -> None:
    assert place().client().command(b'LIST "" ""') == [
        b'* LIST (\\Noselect) "/" ""',
        b"OK LIST completed.",
    ]


def test_a_percent_sign_stops_at_the_separator(place: Callable[..., Place]) -> None:
    client = place(QUIET).client()

    top, below = client.command(b'LIST "" %'), client.command(b'LIST "Calendar/" %')

    assert b'* LIST (\\HasChildren) "/" Calendar' in top
    assert not any(b"Birthdays" in line for line in top)
    assert below == [b'* LIST (\\HasNoChildren) "/" Calendar/Birthdays', b"OK LIST completed."]


@pytest.mark.parametrize(
    "command",
    [
        b'LIST "" "*" RETURN (SPECIAL-USE)',
        b'LIST (SPECIAL-USE) "" "*"',
        b'LIST "" ("INBOX" "Drafts")',
        b'LIST "" "a\\"b"',
    ],
)
def test_list_takes_nothing_new_and_no_escaped_quote(
    place: Callable[..., Place], command: bytes
) -> None:
    assert place().client().command(command) == ERROR_12


def test_enable_is_no_command(place: Callable[..., Place]) -> None:
    assert place().client().command(b"ENABLE CONDSTORE") == [b"BAD Command Error. 10"]


def test_names_with_control_characters_come_unquoted(place: Callable[..., Place]) -> None:
    here = place(QUIET)
    here.box.add_folder("tab\there and there")

    assert b'* LIST (\\HasNoChildren) "/" tab\there and there' in here.client().command(
        b'LIST "" tab*'
    )


def test_folders_are_marked_now_and_then(place: Callable[..., Place]) -> None:
    client = place(replace(EXO_2026, marked_chance=1)).client()

    assert b'* LIST (\\Marked \\HasNoChildren) "/" INBOX' in client.command(b'LIST "" inbox')


def test_subscriptions_are_kept(place: Callable[..., Place]) -> None:
    client = place(QUIET).client()

    assert client.command(b"SUBSCRIBE Archive") == [b"OK SUBSCRIBE completed."]
    assert client.command(b'LSUB "" "*"') == [
        b'* LSUB (\\HasNoChildren) "/" Archive',
        b"OK LSUB completed.",
    ]
    assert client.command(b"UNSUBSCRIBE Archive") == [b"OK UNSUBSCRIBE completed."]
    assert client.command(b'LSUB "" "*"') == [b"OK LSUB completed."]


def test_create_makes_parents_and_knows_names_in_any_case(place: Callable[..., Place]) -> None:
    here = place(QUIET)
    client = here.client()

    assert client.command(b"CREATE Work/2026/May") == [b"OK CREATE completed."]
    for name in (b"Work", b"work/2026", b"WORK/2026/MAY", b"inbox", b'"sent items"'):
        assert client.command(b"CREATE " + name) == [b"NO Mailbox already exists."]
    assert client.command(b"CREATE work/2027") == [b"OK CREATE completed."]
    assert {"Work", "Work/2026", "Work/2026/May", "Work/2027"} <= set(here.box.folders)
    assert client.command(b"SELECT wOrK/2026/mAy")[-1] == b"OK [READ-WRITE] SELECT completed."


def test_some_names_cannot_be_created(place: Callable[..., Place]) -> None:
    client = place(QUIET).client()

    assert client.command(b"CREATE Files") == [b"NO Folder name is reserved."]
    assert client.command(b"CREATE files") == [b"NO Folder name is reserved."]
    assert client.command(b"CREATE Work/Files") == [b"OK CREATE completed."]
    assert client.command(b"CREATE " + b"x" * 255) == [b"OK CREATE completed."]
    assert client.command(b"CREATE " + b"x" * 256)[-1].startswith(b"NO ")
    assert client.command(b"CREATE " + b"/".join([b"d"] * 300)) == [b"OK CREATE completed."]
    assert client.command(b"CREATE " + b"/".join([b"e"] * 301))[-1].startswith(b"NO ")
    assert client.command(b'CREATE "a\tb"')[-1].startswith(b"NO ")
    assert client.command(b"CREATE a//b")[-1].startswith(b"NO ")


def test_a_name_may_be_a_literal(place: Callable[..., Place]) -> None:
    here = place()
    client = here.client()

    client.send(b"a CREATE {8}\r\n")
    assert client.line().startswith(b"+")
    client.send(b"&2D3cjA-\r\n")

    assert client.line() == b"a OK CREATE completed."
    assert "💌" in here.box.folders


def test_folders_are_renamed_and_deleted_with_all_below(place: Callable[..., Place]) -> None:
    here = place()
    client = here.client()
    client.command(b"CREATE a/b/c")

    assert client.command(b"RENAME a/b x/y") == [b"OK RENAME completed."]
    assert {"a", "x", "x/y", "x/y/c"} <= set(here.box.folders)
    assert client.command(b"DELETE x") == [b"OK DELETE completed."]
    assert not [name for name in here.box.folders if name.startswith("x")]
    assert client.command(b"DELETE x") == [b"NO x doesn't exist."]
    assert client.command(b"RENAME a Files") == [b"NO Folder name is reserved."]
    assert client.command(b"RENAME a a/b")[-1].startswith(b"NO ")
    assert client.command(b"DELETE INBOX")[-1].startswith(b"NO ")


def test_select_shows_flags_but_no_room_for_keywords(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, first_uidvalidity=14))
    here.box.add_message("INBOX", b"Subject: x\r\n\r\nx\r\n")
    number = here.box.folders["INBOX"].uidvalidity
    flags = b"(\\Seen \\Answered \\Flagged \\Deleted \\Draft $MDNSent)"
    block = [
        b"* 1 EXISTS",
        b"* 0 RECENT",
        b"* FLAGS " + flags,
        b"* OK [PERMANENTFLAGS " + flags + b"] Permanent flags",
        b"* OK [UNSEEN 1] Is the first unseen message",
        b"* OK [UIDVALIDITY %d] UIDVALIDITY value" % number,
        b"* OK [UIDNEXT 2] The next unique identifier value",
    ]
    client = here.client()

    assert number == 14
    assert client.command(b"SELECT INBOX") == [*block, b"OK [READ-WRITE] SELECT completed."]
    assert client.command(b"EXAMINE inbox") == [*block, b"OK [READ-ONLY] EXAMINE completed."]
    assert client.command(b"SELECT Nowhere") == [b"NO Nowhere doesn't exist."]


def test_uidvalidities_are_small_and_a_new_folder_has_a_new_one(
    place: Callable[..., Place],
) -> None:
    here = place()
    client = here.client()
    client.command(b"CREATE x")
    first = here.box.folders["x"].uidvalidity
    client.command(b"DELETE x")
    client.command(b"CREATE x")

    assert first < here.box.folders["x"].uidvalidity < 1000


def test_status_counts(place: Callable[..., Place]) -> None:
    here = place(QUIET)
    here.box.add_message("Archive", b"Subject: x\r\n\r\n")
    client = here.client()

    assert client.command(b"STATUS archive (MESSAGES UIDNEXT UNSEEN RECENT)") == [
        b"* STATUS Archive (MESSAGES 1 UIDNEXT 2 UNSEEN 1 RECENT 0)",
        b"OK STATUS completed.",
    ]
    assert client.command(b"STATUS Nowhere (MESSAGES)") == [b"NO Nowhere doesn't exist."]
    assert client.command(b"STATUS INBOX (HIGHESTMODSEQ)") == [b"BAD Command Argument Error. 11"]


def test_mail_among_contacts_is_noticed(place: Callable[..., Place]) -> None:
    here = place()
    client = here.client()

    answer = client.append(b"Contacts", b"Subject: x\r\n\r\n")

    assert answer[-1].endswith(b"APPEND completed.")
    assert [name for name, _ in here.box.in_non_mail_folders()] == ["Contacts"]


def test_non_mail_folders_may_refuse_mail(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, non_mail_folders_accept=False))

    assert here.client().append(b"Contacts", b"Subject: x\r\n\r\n")[-1].startswith(b"NO ")
