"""Both stages with Debian's Cyrus and Courier, and what these two do otherwise than Dovecot."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from export.run import Options
from importer.rollback import remove, survey
from importer.run import replay
from store.archive import Archive
from tests import corpus
from tests.compare import differences
from tests.export.support import Stage
from tests.export.support import connector as source_connector
from tests.foreign.losing import LosingRelay
from tests.foreign.support import (
    REFUSED,
    as_stored,
    expected,
    fill,
    held,
    listed,
    login,
    plain,
    stage,
    takes,
    target,
    verified,
    wire_name,
)
from tests.importer.support import Mail, connector, mail
from waystation.errors import ServerError
from waystation.model import SpecialUse
from waystation.progress import Silent
from waystation.retry import Patience
from waystation.session import Connection

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.dovecot import Dovecot
    from tests.servers.overlay import Overlay

pytestmark = pytest.mark.foreign

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
REFUSED_NAMES = {
    "cyrus": {"100%25 sure", "[brackets] {n} (x)", "back\\slash", 'quote"d', "q?<>|:;*"},
    "courier": {"🎉 party 🎉"},  # nothing above U+FFFF
}
FOLDERS = corpus.folder_names(21)


def from_dovecot(dovecot: Dovecot, user: str, path: Path) -> Stage:
    settings = Connection(dovecot.ca_file, timeout=60)
    return Stage(path / f"dovecot-{user}", source_connector(dovecot.port, user, settings))


def test_each_hostile_message_is_stored_as_expected_or_refused_with_these_words(
    foreign: Overlay, someone: str
) -> None:
    laid = []
    with login(foreign, someone) as client:
        for name, body in corpus.hostile():
            sample = corpus.Sample(body, ("\\Seen",), ("todo",), NOON)
            if words := REFUSED[foreign.kind].get(name):
                with pytest.raises(AssertionError, match=words):
                    corpus.append(client, "INBOX", sample)
            else:
                corpus.append(client, "INBOX", sample)
                laid.append(("INBOX", sample))

    assert differences(expected(foreign, laid), plain(held(foreign, someone))) == []


@pytest.mark.parametrize("count", [300, 5000])
def test_a_mailbox_comes_over_whole_and_a_second_export_has_nothing_to_do(
    foreign: Overlay, someone: str, tmp_path: Path, count: int
) -> None:
    laid = fill(foreign, someone, corpus.mailbox(7, count, FOLDERS, typical_size=1500))
    export = stage(foreign, someone, tmp_path)

    result = export.run()

    assert (result.new, result.failed, result.alarms) == (len(laid), 0, 0)
    found = held(foreign, someone)
    assert differences(found, export.snapshot()) == []
    assert export.discrepancies() == []
    assert differences(expected(foreign, laid), plain(found)) == []
    assert all(name.startswith("INBOX") for name in found)
    with Archive.read(export.path) as archive:
        assert archive.description.source_prefix == ("INBOX",)

    again = export.run()

    assert (again.new, again.octets, again.flags_changed) == (0, 0, 0)
    # without CONDSTORE only the flags themselves tell whether they have changed
    assert again.unchanged == (again.folders if foreign.kind == "cyrus" else 0)
    assert export.run(Options(quick=True)).unchanged == again.folders


@pytest.mark.server
def test_the_same_mailbox_in_dovecot_gives_the_same_archive_but_for_what_courier_alters(
    foreign: Overlay, someone: str, dovecot: Dovecot, user: str, tmp_path: Path
) -> None:
    laid = fill(foreign, someone, corpus.mailbox(8, 300, FOLDERS, hostile_share=0.3))
    corpus.fill_by_append(dovecot.host, dovecot.port, user, dovecot.password, laid)
    here, there = stage(foreign, someone, tmp_path), from_dovecot(dovecot, user, tmp_path)

    assert here.run().is_complete
    assert there.run().is_complete

    first, second = plain(there.snapshot()), plain(here.snapshot())
    assert differences(expected(foreign, laid), second) == []
    same = {name: [m for m in each if m in second[name]] for name, each in first.items()}
    altered = [s for _, s in laid if as_stored(foreign, s.body) != s.body]
    assert sum(map(len, first.values())) - sum(map(len, same.values())) == len(altered)
    assert (len(altered) > 0) == (foreign.kind == "courier")


@pytest.mark.server
def test_an_archive_is_replayed_whole_verified_and_not_sent_twice(
    foreign: Overlay, someone: str, dovecot: Dovecot, user: str, tmp_path: Path
) -> None:
    mailbox = list(corpus.mailbox(9, 400, FOLDERS, hostile_share=0.1))
    corpus.fill_by_append(dovecot.host, dovecot.port, user, dovecot.password, mailbox)
    laid = [(name, sample) for name, sample in mailbox if takes(foreign, sample.body)]
    export = from_dovecot(dovecot, user, tmp_path)
    export.run()
    connect = target(foreign, someone)

    with export.archive() as archive:
        to = archive.transfers.target("imap://to", "to")
        result = replay(archive, connect, to, Silent())

        assert (result.appended, result.refused) == (len(laid), len(mailbox) - len(laid))
        for deep in (False, True):
            findings = verified(archive, to, connect, deep=deep)
            assert len(findings) == result.refused
            assert all("NO Message contains invalid header" in each.text for each in findings)
        assert replay(archive, connect, to, Silent()).appended == 0
        names = {folder.id: folder.name for folder in archive.index.folders()}
        moved = {row.name: names[n] for n, row in archive.transfers.folder_map(to.id).items()}

    there = {moved.get(name, name): each for name, each in held(foreign, someone).items() if each}
    assert differences(expected(foreign, laid), there) == []


@pytest.mark.parametrize("is_one_run", [True, False], ids=["reconnects", "run again"])
def test_a_lost_answer_never_makes_a_second_copy(
    foreign: Overlay, someone: str, mail_archive: Mail, is_one_run: bool
) -> None:
    bodies = {
        name: body
        for name, body in corpus.hostile()
        if takes(foreign, body) and name != "nothing at all"  # no archive has that
    }
    patience = Patience(Silent(), lambda _: None, (0.0,) * 5 if is_one_run else ())
    with LosingRelay(foreign.port) as relay:
        connect = connector(relay.port, someone, foreign.password)
        for number, body in enumerate(bodies.values()):
            mail_archive.add(body, f"Case {number}")
            relay.lose_next()
            with nullcontext() if is_one_run else pytest.raises(ServerError):
                mail_archive.replay(connect, patience)
            mail_archive.replay(connect, patience)
        assert relay.lost == len(bodies)

    found = held(foreign, someone, foreign.prefix)
    counts = {name: len(found[f"Case {number}"]) for number, name in enumerate(bodies)}
    assert counts == dict.fromkeys(bodies, 1)
    assert mail_archive.states() == {"appended": len(bodies)}


def test_names_that_the_server_refuses_become_plainer_ones(
    foreign: Overlay, someone: str, mail_archive: Mail
) -> None:
    names = corpus.hostile_folder_names()
    for number, name in enumerate(names):
        mail_archive.add(mail(number), name)
    connect = target(foreign, someone)

    result = mail_archive.replay(connect)

    assert (result.appended, result.is_complete) == (len(names), True)
    assert verified(mail_archive.archive, mail_archive.target, connect, deep=True) == []
    bodies = Counter(m.sha256 for each in held(foreign, someone).values() for m in each)
    assert bodies == Counter(hashlib.sha256(mail(n)).hexdigest() for n in range(len(names)))
    noted = {name for name, text in mail_archive.listener.notes if "the target refuses" in text}
    assert noted == REFUSED_NAMES[foreign.kind]


def test_sent_mail_of_cyrus_is_known_and_finds_its_folder(
    cyrus: Overlay, mail_archive: Mail, tmp_path: Path
) -> None:
    user = cyrus.users.pop()
    with login(cyrus, user) as client:
        assert b"\\sent" in listed(client)  # RFC 6154 writes \Sent
    mail_archive.add(mail(1), "Gesendet", special_use=SpecialUse.SENT)

    mail_archive.replay(target(cyrus, user))

    export = stage(cyrus, user, tmp_path)
    export.run()
    assert list(export.bodies("INBOX/Sent").values()) == [mail(1)]
    with Archive.read(export.path) as archive:
        uses = {folder.name: folder.special_use for folder in archive.index.folders()}
    assert uses["INBOX/Sent"] is SpecialUse.SENT


def test_folders_that_others_share_are_left_out(cyrus: Overlay, tmp_path: Path) -> None:
    owner, guest = cyrus.users.pop(), cyrus.users.pop()
    with login(cyrus, owner) as client:
        client.create('"INBOX/Shared"')
        assert client.setacl('"INBOX/Shared"', guest, "lrs")[0] == "OK"
    with login(cyrus, guest) as client:
        assert f"user/{owner}/Shared".encode() in listed(client)
    export = stage(cyrus, guest, tmp_path)

    assert export.run().is_complete

    assert [name for name in export.snapshot() if "Shared" in name] == []


def test_flags_that_change_after_the_import_are_carried(
    foreign: Overlay, someone: str, mail_archive: Mail
) -> None:
    message = mail_archive.add(mail(1), flags=("\\Flagged",), keywords=("todo",))
    connect = target(foreign, someone)
    mail_archive.replay(connect)
    mail_archive.archive.index.set_flags(message.id, ("\\Answered", "\\Seen"), ("done",))

    result = mail_archive.replay(connect)

    [there] = held(foreign, someone)["INBOX"]
    assert sorted(there.flags | there.keywords) == ["\\Answered", "\\Seen", "done"]
    assert (result.flags_carried, result.appended) == (1, 0)
    assert verified(mail_archive.archive, mail_archive.target, connect, deep=True) == []


def test_a_rollback_takes_back_what_we_sent_and_nothing_else(
    foreign: Overlay, someone: str, mail_archive: Mail
) -> None:
    theirs = corpus.Sample(mail("theirs"), (), (), NOON)
    rubbish = corpus.Sample(mail("rubbish"), ("\\Deleted",), (), NOON)
    with login(foreign, someone) as client:
        corpus.append(client, wire_name(foreign, "INBOX"), theirs)
        corpus.append(client, wire_name(foreign, "INBOX"), rubbish)
    for name, body in corpus.hostile():
        if name not in corpus.ALTERED_BY_SERVERS and takes(foreign, body):
            mail_archive.add(body, flags=("\\Seen",), keywords=("todo",))
    connect = target(foreign, someone)
    mail_archive.replay(connect)

    with connect() as there:
        order = (mail_archive.archive, there, mail_archive.target, mail_archive.listener, None)
        result, removable = survey(*order)
        remove(*order, removable, result)

    assert mail_archive.listener.problems == []
    assert held(foreign, someone)["INBOX"] == [theirs.as_message(), rubbish.as_message()]
    assert (result.removed, result.changed) == (sum(result.folders.values()), 0)
