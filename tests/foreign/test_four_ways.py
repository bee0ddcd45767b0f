"""One mailbox of 5,000 messages, archived four ways: where octets differ, it is known why."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests import corpus
from tests.compare import differences
from tests.export.support import Stage, connector, pop3_stage
from tests.foreign.support import as_stored, expected, fill, plain, stage, takes
from tests.servers.dovecot import Dovecot, has_pop3
from waystation.session import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.servers.overlay import Kind, Overlay

pytestmark = [
    pytest.mark.foreign,
    pytest.mark.server,
    pytest.mark.skipif(not has_pop3(), reason="no POP3 here (Debian: dovecot-pop3d)"),
]

MAIL = list(corpus.mailbox(31, 5000, ["INBOX"], typical_size=1500, hostile_share=0.1))


@pytest.fixture(scope="module")
def dovecot_with_pop3() -> Iterator[Dovecot]:
    with Dovecot(pop3=True) as running:
        yield running


def hashes(bodies: Iterable[bytes]) -> Counter[str]:
    return Counter(hashlib.sha256(body).hexdigest() for body in bodies)


def archived(export: Stage) -> list[bytes]:
    """Return the octets of all that is archived, after the archive was proven to be whole."""
    result = export.run()
    assert (result.failed, result.alarms) == (0, 0)
    assert export.discrepancies() == []
    return list(export.bodies("INBOX").values())


def test_one_mailbox_from_dovecot_by_imap_and_pop3_from_cyrus_and_from_courier(
    servers: Callable[[Kind], Overlay], dovecot_with_pop3: Dovecot, tmp_path: Path
) -> None:
    here = dovecot_with_pop3
    owner = (here.uid, here.gid)
    corpus.fill_maildir(here.mail_directory("alice"), MAIL, owner=owner)
    settings = Connection(here.ca_file, timeout=60)
    by_imap = Stage(tmp_path / "imap", connector(here.port, "alice", settings))
    bodies = archived(by_imap)
    # Dovecot keeps every octet.
    assert hashes(bodies) == hashes(sample.body for _, sample in MAIL)
    assert (
        differences({"INBOX": [s.as_message() for _, s in MAIL]}, plain(by_imap.snapshot())) == []
    )

    # POP3 has no message without a last line end: one is added (RFC 1939 section 3).
    by_pop3 = pop3_stage(tmp_path / "pop3", here.pop3_port, "alice", settings)
    ended = [body if not body or body.endswith(b"\r\n") else body + b"\r\n" for body in bodies]
    assert hashes(archived(by_pop3)) == hashes(ended)
    assert 0 < sum(not body.endswith(b"\r\n") for body in bodies) < 300
    # It has no flags, and its dates come from the header.
    rows = by_pop3.rows()
    assert {(row.flags, row.keywords) for row in rows} == {((), ())}
    assert all((row.internaldate is None) == (row.date_from is None) for row in rows)

    # Cyrus keeps every octet of what it stores, and stores no message without a header.
    cyrus = servers("cyrus")
    user = cyrus.users.pop()
    laid = fill(cyrus, user, MAIL)
    refused = [sample.body for _, sample in MAIL if not takes(cyrus, sample.body)]
    from_cyrus = stage(cyrus, user, tmp_path)
    assert hashes(archived(from_cyrus)) == hashes(bodies) - hashes(refused)
    assert 0 < len(refused) < 300
    assert differences(expected(cyrus, laid), plain(from_cyrus.snapshot())) == []

    # Courier keeps lines: a CR that ends none is gone, and the last line gets its end.
    courier = servers("courier")
    user = courier.users.pop()
    laid = fill(courier, user, MAIL)
    from_courier = stage(courier, user, tmp_path)
    assert hashes(archived(from_courier)) == hashes(as_stored(courier, body) for body in bodies)
    assert 0 < sum(as_stored(courier, body) != body for body in bodies) < 300
    assert differences(expected(courier, laid), plain(from_courier.snapshot())) == []
