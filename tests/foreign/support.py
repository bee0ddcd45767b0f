"""Mail laid into Cyrus and Courier, and what stands in them afterwards."""

from __future__ import annotations

import imaplib
import socket
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from importer.verify import verify
from store.finding import Compared, Finding
from tests import corpus
from tests.compare import encode_name, quoted, snapshot, split_levels
from tests.export.support import Stage
from tests.export.support import connector as source_connector
from tests.importer.support import connector
from waystation.progress import Silent
from waystation.session import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from importer.target import MailTarget
    from store.archive import Archive
    from store.transfers import Target
    from tests.compare import Snapshot
    from tests.servers.overlay import Kind, Overlay

REFUSED: dict[Kind, dict[str, str]] = {
    "cyrus": {
        "no headers, no empty line": "invalid header",
        "one octet": "invalid header",
        "blank before the colon": "invalid header",
        "bare LF": "bare newlines",
        "NUL": "NUL characters",
        "nothing at all": "Zero-length",
    },
    "courier": {},
}
"""The hostile messages that a server does not store, and what it says then."""

Samples = list[tuple[str, corpus.Sample]]


def login(server: Overlay, user: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4(server.host, server.port)
    # imaplib sends a literal and its line end apart, which costs 40 ms a message otherwise
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.login(user, server.password)
    return client


def listed(client: imaplib.IMAP4) -> bytes:
    """Return the lines of LIST as they are."""
    return b"\n".join(line for line in client.list()[1] if isinstance(line, bytes))


def wire_name(server: Overlay, name: str) -> str:
    if name == "INBOX":
        return name
    return quoted(server.prefix + server.delimiter.join(map(encode_name, split_levels(name))))


def takes(server: Overlay, body: bytes) -> bool:
    """Tell whether the server stores such a message at all."""
    return body not in refused_bodies(server.kind)


@cache
def refused_bodies(kind: Kind) -> frozenset[bytes]:
    return frozenset(body for name, body in corpus.hostile() if name in REFUSED[kind])


def as_stored(server: Overlay, body: bytes) -> bytes:
    """Return what the server makes of a message: Courier keeps lines, and no CR apart."""
    if server.kind == "cyrus":
        return body
    text = body.replace(b"\r\n", b"\n").replace(b"\r", b"")
    return (text if text.endswith(b"\n") else text + b"\n").replace(b"\n", b"\r\n")


def expected(server: Overlay, laid: Samples) -> Snapshot:
    """Return what the server should hold of what was laid into it."""
    found: Snapshot = {}
    for name, sample in laid:
        stored = replace(sample, body=as_stored(server, sample.body))
        found.setdefault(name, []).append(stored.as_message())
    return found


def fill(server: Overlay, user: str, mail: Iterable[tuple[str, corpus.Sample]]) -> Samples:
    """Lay mail into a mailbox, and return what lies where.

    What the server refuses is left out; what has no folder there goes to INBOX.
    """
    laid: Samples = []
    places: dict[str, str] = {"INBOX": "INBOX"}
    with login(server, user) as client:
        for name, sample in mail:
            if name not in places:
                status, answer = client.create(wire_name(server, name))
                is_there = status == "OK" or b"exist" in (answer[0] or b"")
                places[name] = name if is_there else "INBOX"
            if takes(server, sample.body):
                corpus.append(client, wire_name(server, places[name]), sample)
                laid.append((places[name], sample))
    return laid


def stage(server: Overlay, user: str, path: Path) -> Stage:
    settings = Connection(server.ca_file, timeout=60)
    return Stage(path / user, source_connector(server.port, user, settings))


def target(server: Overlay, user: str) -> Callable[[], AbstractContextManager[MailTarget]]:
    return connector(server.port, user, server.password, ca_file=server.ca_file)


def held(
    server: Overlay, user: str, prefix: str = "", folders: Collection[str] | None = None
) -> Snapshot:
    return snapshot(server.host, server.port, user, server.password, prefix=prefix, folders=folders)


def plain(found: Snapshot) -> Snapshot:
    """Return the folders that hold something, without the namespace's prefix."""
    return {name.removeprefix("INBOX/"): each for name, each in found.items() if each}


def verified(
    archive: Archive,
    to: Target,
    connect: Callable[[], AbstractContextManager[MailTarget]],
    *,
    deep: bool,
) -> list[Finding]:
    with connect() as mail_target:
        return list(verify(archive, mail_target, to, Silent(), Compared(), deep=deep))
