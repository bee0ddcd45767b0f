"""The mailboxes to measure with, the same for the same seed, and the shelf where they are kept."""

from __future__ import annotations

import math
import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from tests import corpus
from tests.corpus import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.dovecot import Dovecot

Form = Literal["sdbox", "mdbox"]

VERSION = 1
"""To be raised when a seed comes to mean other mail: what lies on a shelf is then not taken."""

_MIXED_MEDIAN = 8_200
_MIXED_SIGMA = 2.13
_MIXED_MOST = 21_000_000
_PLAIN_MOST = 30_000
"""Octets up to which mail has no attachment."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """A seeded mailbox: its name says all that is in it."""

    kind: Literal["small", "mixed", "tiny", "large"]
    count: int
    folders: int = 1
    large: int = 0
    """Octets of one more message; 0 for none."""

    @property
    def user(self) -> str:
        """Whose mailbox it is on the server; also its name on the shelf."""
        size = f"-{self.large}" if self.large else ""
        return f"{self.kind}-{self.count}-{self.folders}{size}-v{VERSION}"

    @property
    def messages(self) -> int:
        """How many messages there are."""
        return self.count + bool(self.large)

    @property
    def form(self) -> Form:
        """How the server keeps it: a file per message would not do for a million."""
        return "mdbox" if self.kind == "tiny" else "sdbox"

    def mail(self) -> Iterator[tuple[str, Sample]]:
        """Yield it folder by folder, but for the large message."""
        make = {"small": small, "mixed": mixed, "tiny": tiny, "large": tiny}[self.kind]
        return make(self.count, folder_names(self.folders))


def folder_names(count: int) -> list[str]:
    """Return names of folders, INBOX first."""
    return ["INBOX", *(f"Folder {number}" for number in range(1, count))]


def small(count: int, folders: list[str]) -> Iterator[tuple[str, Sample]]:
    """Yield plain messages of 4 to 8 KB, folder by folder."""
    rng = random.Random(1)
    for number in range(count):
        name = folders[number * len(folders) // count]
        yield name, _message(rng, number, rng.randint(4000, 8000))


def mixed(count: int, folders: list[str]) -> Iterator[tuple[str, Sample]]:
    """Yield messages as people have them: half below 8 KB, a few of many MB; 80 KB on average."""
    rng = random.Random(3)
    for number in range(count):
        size = int(rng.lognormvariate(math.log(_MIXED_MEDIAN), _MIXED_SIGMA))
        name = folders[number * len(folders) // count]
        yield name, _message(rng, number, min(max(size, 800), _MIXED_MOST))


def tiny(count: int, folders: list[str], seed: int = 0) -> Iterator[tuple[str, Sample]]:
    """Yield messages that are little more than their headers."""
    rng = random.Random(f"tiny {seed}")
    for number in range(count):
        yield folders[number * len(folders) // count], _message(rng, number, 300)


def _message(rng: random.Random, number: int, size: int) -> Sample:
    date = datetime(2001, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    kind = "text/plain" if size <= _PLAIN_MOST else "application/octet-stream; name=file.bin"
    head = (
        f"Message-ID: <{number}.{rng.getrandbits(64):x}@example.org>\r\n"
        f"From: Alice Example <alice@example.org>\r\nTo: bob@example.com\r\n"
        f"Subject: message {number}\r\nDate: {date:%a, %d %b %Y %H:%M:%S +0000}\r\n"
        f"MIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n"
    ).encode()
    lines = rng.randbytes(max(0, size - len(head)) * 36 // 74 + 1).hex("\n", 36).encode()
    body = lines.replace(b"\n", b"\r\n") + b"\r\n"
    return Sample(head + body, ("\\Seen",) if number % 4 else (), (), date)


class Shelf:
    """Keeps built mailboxes in a directory, for a later run of the bench as well.

    A mailbox is served where it lies, since a copy of it would take the time that is saved: two
    benches may use one shelf, as two servers may use one mailbox.
    """

    def __init__(self, directory: Path, work: Path, server: Dovecot) -> None:
        """Take the shelf, a place for what is in the way, and the server that serves it."""
        self._directory = directory
        self._work = work
        self._server = server

    def lay(self, wanted: Corpus) -> bool:
        """Let the corpus' user have its mailbox; return whether it had to be built."""
        place = self._directory / wanted.user
        is_new = not place.exists()
        if is_new:
            unfinished = self._directory / f"{wanted.user}.{os.getpid()}"
            self._build(wanted, unfinished)
            unfinished.rename(place)
        self._server.locate(wanted.user, f"{wanted.form}:{place}")
        return is_new

    def _build(self, wanted: Corpus, place: Path) -> None:
        place.mkdir()
        os.chown(place, self._server.uid, self._server.gid)
        # It is deleted with all else at the end: after a deletion files are created slowly.
        laid = self._work / f"{wanted.user}-laid"
        if wanted.kind == "tiny":
            written = f"mbox:{laid}:INBOX={laid}/INBOX"
            _write_mbox(laid, wanted.mail())
            self._server.give(laid)
        else:
            written = f"maildir:{laid}"
            owner = (self._server.uid, self._server.gid)
            corpus.fill_maildir(laid, wanted.mail(), owner=owner)
            if wanted.large:
                corpus.deliver_large(laid, wanted.large, owner=owner)
        builder = f"builder-{wanted.user}"
        self._server.locate(builder, f"{wanted.form}:{place}")
        self._server.doveadm("import", "-u", builder, written, "", "ALL")


def _write_mbox(directory: Path, mail: Iterator[tuple[str, Sample]]) -> None:
    """Write folders as mboxes: a file per folder, where a million messages are many files."""
    directory.mkdir(parents=True)
    last, file = "", None
    try:
        for name, sample in mail:
            if name != last or file is None:
                if file is not None:
                    file.close()
                last, file = name, (directory / name).open("wb")
            status = b"Status: RO\n" if "\\Seen" in sample.flags else b""
            body = sample.body.replace(b"\r\n", b"\n").replace(b"\n\n", b"\n" + status + b"\n", 1)
            date = f"{sample.internaldate:%a %b %d %H:%M:%S %Y}"
            file.write(f"From alice@example.org {date}\n".encode() + body + b"\n")
    finally:
        if file is not None:
            file.close()
