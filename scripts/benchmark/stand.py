"""What every cell stands on: a private server, its mailboxes, fresh places, and distance.

Nothing is deleted before the end, since a file system that has just deleted many files creates
new ones slowly.
"""

from __future__ import annotations

import contextlib
import imaplib
import itertools
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmark.corpora import Corpus, Shelf
from scripts.benchmark.measure import Run, demand, measure
from scripts.benchmark.relay import relay
from tests.servers.dovecot import HOST, PASSWORD, Dovecot, has_pop3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.benchmark.sizes import Sizes

PASSWORD_VARIABLE = "BENCH_PASSWORD"

_PATIENCE = 50
"""Tenths of a second."""

# mbsync and the rest are measured without TLS, so nobody is to take it of himself
_WITHOUT_TLS = """
ssl = no
service imap-login {
  inet_listener imaps {
    port = 0
  }
}
service pop3-login {
  inet_listener pop3s {
    port = 0
  }
}
"""


class Stand:
    """One run of the bench; `port` is that of IMAP."""

    def __init__(self, work: Path, cache: Path, server: Dovecot, sizes: Sizes) -> None:
        """Take an empty directory with a short path, the shelf's, a server that runs."""
        self.work = work
        self.server = server
        self.sizes = sizes
        self.bandwidth: float | None = None
        """Octets per second, each way, of a line with a distance."""
        self._shelf = Shelf(cache, work, server)
        self._laid: set[str] = set()
        self._numbers = itertools.count(1)

    @property
    def port(self) -> int:
        """Where the server listens for IMAP."""
        return self.server.port

    def new_directory(self) -> Path:
        """Return where nothing is yet; it is not made."""
        return self.work / f"run{next(self._numbers)}"

    def new_user(self) -> str:
        """Return a user with an empty mailbox."""
        return f"user{next(self._numbers)}"

    def run(self, *command: str) -> Run:
        """Run a command and return what it took.

        Raises:
            Incomplete: the command did not end well.
        """
        env = {PASSWORD_VARIABLE: PASSWORD}
        return measure(list(command), self.work / "told", env, self.sizes.patience)

    def lay(self, wanted: Corpus) -> str:
        """Return the user with such a mailbox, which the server has in its memory."""
        if wanted.user not in self._laid:
            say(f"{wanted.messages:,} {wanted.kind} messages in {wanted.folders} folder(s)")
            self._shelf.lay(wanted)
            self._warm(wanted)
            self._laid.add(wanted.user)
        return wanted.user

    def count(self, user: str) -> int:
        """Return how many messages a mailbox holds, as its server says."""
        told = self.server.doveadm("mailbox", "status", "-u", user, "-t", "messages", "*")
        return int(told.removeprefix("messages="))

    def demand_count(self, user: str, count: int) -> None:
        """Demand that so many messages have arrived.

        Raises:
            Incomplete: there are more, or less.
        """
        held = self.count(user)
        demand(held == count, f"{held} of {count} messages in {user}")

    @contextlib.contextmanager
    def at(self, round_trip: float) -> Iterator[int]:
        """Yield a port of the server that is so many seconds away and back."""
        with relay(self.port, round_trip, self.bandwidth) as port:
            yield port

    def _warm(self, wanted: Corpus) -> None:
        """Let the server know what all clients ask for, so that the first one does not pay."""
        self.demand_count(wanted.user, wanted.messages)
        with imaplib.IMAP4(HOST, self.port) as client:
            client.login(wanted.user, PASSWORD)
            for line in client.list()[1]:
                assert isinstance(line, bytes)
                name = line.rpartition(b' "/" ')[2].decode()
                client.select(name, readonly=True)
                # BODY.PEEK[]<0.1> opens each file, and brings one octet of it
                client.fetch("1:*", "(RFC822.SIZE INTERNALDATE FLAGS BODY.PEEK[]<0.1>)")


def count_files(directory: Path) -> int:
    """Return how many messages lie in Maildirs."""
    return sum(
        len(files) for folder, _, files in os.walk(directory) if Path(folder).name in ("cur", "new")
    )


def say(sentence: str) -> None:
    """Tell what takes its time before anything is measured."""
    print(f"... {sentence}", flush=True)


def _remove(work: Path) -> None:
    """Remove all of it, though a server that has just been told to end may still write there."""
    for _ in range(_PATIENCE):
        shutil.rmtree(work, ignore_errors=True)
        if not work.exists():
            return
        time.sleep(0.1)
    shutil.rmtree(work)


@contextlib.contextmanager
def stand(sizes: Sizes, cache: Path | None) -> Iterator[Stand]:
    """Yield a stand with a server that runs; all of it is gone afterwards, but for the shelf."""
    # a short path: Dovecot's UNIX sockets lie in it, and its mail belongs to another account
    work = Path(tempfile.mkdtemp(prefix="ws", dir="/tmp"))
    with contextlib.ExitStack() as at_end:
        at_end.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        at_end.callback(_remove, work)
        work.chmod(0o755)
        shelf = cache or work / "shelf"
        shelf.mkdir(parents=True, exist_ok=True)
        server = at_end.enter_context(
            Dovecot(
                work / "source",
                mail_format="sdbox",
                special_use={},
                pop3=has_pop3(),
                extra=_WITHOUT_TLS,
            )
        )
        # one impatient key more must not leave half of it behind
        at_end.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)
        yield Stand(work, shelf.resolve(), server, sizes)
