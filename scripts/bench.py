"""Measures both stages against a private Dovecot on the loopback interface.

Stage one runs beside mbsync, in turns, each run into a fresh directory; nothing is deleted
before the end, since a file system that has just deleted many files creates new ones slowly.
Each figure is told only after what arrived was counted. No figure is asserted.

Parts: `export` (a mailbox of 20,000, in one folder and in many, beside mbsync), `again` (a run
that finds nothing new), `import` (into a second mailbox, beside mbsync), `check` (beside
sha256sum), `memory` (a message of 200 MB; 200,000 messages in the index), `pop3` (stage one by
POP3, beside mpop and getmail where they are installed), `search` (200,000 messages: the index of
their words, and questions; in this process, no server).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import pwd
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import bench_search
from tests import corpus
from tests.compare import differences, snapshot
from tests.servers.dovecot import HOST, PASSWORD, Dovecot, has_pop3, is_available

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

INDEX = "index.sqlite"
ENVIRONMENT = {**os.environ, "BENCH_PASSWORD": PASSWORD}
WAYSTATION = (sys.executable, "-m", "waystation")
SIGN_IN = ("--allow-plaintext", "--password-env", "BENCH_PASSWORD")
CHECKOUT = Path(__file__).parents[1]

DURABLE = {
    "waystation export": "durable per batch of 700: one sync of all files, SQLite WAL with FULL",
    "mbsync": "durable per message: fsync of each file (its default)",
    "mbsync, FSync no": "not durable",
    "waystation export, POP3": "durable per batch, as with IMAP",
    "mpop": "durable per message: fsync of each file (its default); RETR pipelined",
    "getmail": "durable per message: fsync of each file and directory (its default)",
    "waystation import": "ledger durable per group (SQLite WAL, FULL); the server does not sync",
    "mbsync push": "journal with fsync (its default); the server does not sync",
}

WITHOUT_TLS = """
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
MPOP = """\
account default
host 127.0.0.1
port {port}
user {user}
password {password}
auth user
tls off
keep on
received_header off
uidls_file {state}/uidls
delivery maildir {maildir}
"""
GETMAIL = """\
[retriever]
type = SimplePOP3Retriever
server = 127.0.0.1
port = {port}
username = {user}
password = {password}
[destination]
type = Maildir
path = {maildir}/
user = {account}
[options]
read_all = true
delete = false
delivered_to = false
received = false
verbose = 0
"""
MBSYNC = """\
{globals}

IMAPAccount far
Host 127.0.0.1
Port {port}
User {user}
Pass {password}
SSLType None
AuthMechs LOGIN

IMAPStore far
Account far

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
SyncState {state}/
{what}
"""

# A process is born with the memory peak of its parent: so a small one measures, not this one.
MEASURE = """
import json, os, subprocess, sys, time
began = time.monotonic()
process = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
wall = time.monotonic() - began
with open(sys.argv[1], "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime,
               usage.ru_maxrss], file)
"""


class Incomplete(Exception):  # noqa: N818 - what makes a figure worthless
    """A run failed, or did not bring everything."""


@dataclass(frozen=True, slots=True)
class Run:
    """One process, measured."""

    wall: float
    cpu: float
    """Seconds of user and system time, children included."""
    rss: float
    """Peak of resident memory in MiB."""


@dataclass(slots=True)
class Cell:
    """The same work, done several times."""

    name: str
    messages: int = 0
    """How many each run had to do with; 0 where a rate says nothing."""
    runs: list[Run] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """The median time of a run."""
        return statistics.median(run.wall for run in self.runs)

    @property
    def cpu(self) -> float:
        """The median of the time spent computing."""
        return statistics.median(run.cpu for run in self.runs)

    @property
    def rss(self) -> float:
        """The highest peak of all runs."""
        return max(run.rss for run in self.runs)

    def row(self, first: Cell) -> list[str]:
        """Return this as a line of a table, compared with its first one."""
        walls = [run.wall for run in self.runs]
        return [
            self.name,
            f"{self.messages / self.wall:,.0f}" if self.messages else "",
            f"{self.wall:.2f}",
            f"{min(walls):.2f}-{max(walls):.2f}",
            f"{self.wall / first.wall:.2f}",
            f"{self.cpu:.2f}",
            f"{self.rss:.1f}",
            str(len(walls)),
        ]


TITLES = ("", "msgs/s", "wall s", "spread", "wall ratio", "CPU s", "RSS MiB", "runs")


@dataclass(slots=True)
class Table:
    """Cells that were measured in turns."""

    title: str
    cells: list[Cell]
    notes: list[str] = field(default_factory=list)

    def show(self) -> None:
        """Print it; ratios are against the first line."""
        rows = [list(TITLES), *(cell.row(self.cells[0]) for cell in self.cells)]
        print(f"\n{self.title}")
        print_columns(rows)
        for note in self.notes:
            print(f"  {note}")
        sys.stdout.flush()

    def as_json(self) -> dict[str, object]:
        """Return all there is to know of it."""
        cells = [
            {**asdict(cell), "wall": cell.wall, "cpu": cell.cpu, "rss_mib": cell.rss}
            for cell in self.cells
        ]
        return {"title": self.title, "cells": cells, "notes": self.notes}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    messages: int = 20_000
    folders: int = 20
    rounds: int = 5
    starts: int = 11
    """How often what takes no time is repeated."""
    large: int = 200_000_000
    many: int = 200_000
    few: int = 200
    slow: int = 2_000
    """Messages for what is slow."""
    slow_rounds: int = 3


QUICK = Sizes(
    messages=4_000, rounds=3, starts=5, large=50_000_000, many=20_000, slow=500, slow_rounds=1
)


class Bench:
    """All parts, on one server that offers no encryption, since mbsync is measured without."""

    def __init__(self, work: Path, server: Dovecot, sizes: Sizes) -> None:
        self.work = work
        self.server = server
        self.sizes = sizes
        self.tables: list[Table] = []
        self._numbers = itertools.count(1)
        self._archives: dict[str, Path] = {}
        self._has_mbsync = shutil.which("mbsync") is not None

    # Parts

    def export(self) -> None:
        """Stage one into an empty archive, beside mbsync into an empty Maildir."""
        for user, folders in (("flat", 1), ("tree", self.sizes.folders)):
            count = self._fill(user, folders)
            ours = Cell("waystation export", count)
            theirs = [Cell("mbsync", count), Cell("mbsync, FSync no", count)]
            for _ in range(self.sizes.rounds):
                self._archives[user] = self._export(ours, user)
                for cell in theirs if self._has_mbsync else ():
                    self._pull(cell, user)
            cells = [ours, *(cell for cell in theirs if cell.runs)]
            notes = [f"{cell.name}: {DURABLE[cell.name]}" for cell in cells]
            if self._has_mbsync:
                notes.append(f"mbsync / waystation: {theirs[0].wall / ours.wall:.2f}")
            title = f"export: {count:,} messages of 4-8 KB, {_folders(folders)}, no TLS"
            self._add(Table(title, cells, notes))

    def again(self) -> None:
        """A run that finds nothing new, beside a start that does nothing."""
        for user, folders in (("flat", 1), ("tree", self.sizes.folders)):
            count = self._fill(user, folders)
            archive = self._archive(user)
            title = f"again: nothing new, {count:,} messages, {_folders(folders)}"
            self._nothing_new(title, archive, user)
        many = self.sizes.many
        # not as the Maildir of `memory`: the server itself reads such a directory in each run
        self._import_into("flat-many", tiny_messages(many), many)
        title = f"again: nothing new, {many:,} messages, one folder"
        self._nothing_new(title, self._archive("flat-many"), "flat-many")

    def import_(self) -> None:
        """Stage two into an empty mailbox, beside mbsync from an equal Maildir."""
        for user, folders in (("flat", 1), ("tree", self.sizes.folders)):
            count = self._fill(user, folders)
            archive = self._archive(user)
            maildir = self._pull(Cell(""), user) if self._has_mbsync else None
            ours, theirs = Cell("waystation import", count), Cell("mbsync push", count)
            for _ in range(self.sizes.rounds):
                self._import(ours, archive, self._new_user(), count)
                if maildir is not None:
                    self._push(theirs, maildir, self._new_user(), count)
            last = self._new_user()
            self._import(Cell(""), archive, last, count)
            self._demand_equal(user, last)
            cells = [ours, *([theirs] if theirs.runs else [])]
            notes = [f"{cell.name}: {DURABLE[cell.name]}" for cell in cells]
            notes.append("one more import was compared message by message: equal")
            title = f"import: {count:,} messages of 4-8 KB, {_folders(folders)}, no TLS"
            self._add(Table(title, cells, notes))

    def check(self) -> None:
        """The archive against itself, beside sha256sum over the same files."""
        count = self._fill("flat", 1)
        archive = self._archive("flat")
        ours, theirs = Cell("waystation check", count), Cell("sha256sum", count)
        command = 'find "$0" -type f -path "*/cur/*" -print0 | xargs -0 sha256sum'
        for _ in range(self.sizes.rounds):
            self._measure(ours, *WAYSTATION, "check", str(archive))
            self._measure(theirs, "sh", "-c", command, str(archive / "maildir"))
        notes = [f"check / sha256sum: {ours.wall / theirs.wall:.2f}"]
        self._add(Table(f"check: {count:,} messages of 4-8 KB", [ours, theirs], notes))

    def memory(self) -> None:
        """The peaks of both stages with a large message and with many messages."""
        few, large, many = self.sizes.few, self.sizes.large, self.sizes.many
        self._lay("few", tiny_messages(few))
        self._lay("large", tiny_messages(few))
        corpus.deliver_large(
            self.server.mail_directory("large"), large, owner=(self.server.uid, self.server.gid)
        )
        self._lay("many", tiny_messages(many))
        exports, imports = [], []
        for user, count, name in (
            ("few", few, f"{few:,} messages"),
            ("large", few + 1, f"one of {large / 1e6:.0f} MB more"),
            ("many", many, f"{many:,} messages"),
        ):
            exports.append(Cell(f"export, {name}", count))
            self._archives[user] = self._export(exports[-1], user)
            imports.append(Cell(f"import, {name}", count))
            self._import(imports[-1], self._archives[user], f"{user}-copy", count)
        archive = self._archives["many"]
        exports.append(Cell("export, nothing new"))
        self._measure(exports[-1], *self._export_command(archive, "many"))
        self._deliver("many", 1)
        exports.append(Cell("export, one new"))
        self._measure(exports[-1], *self._export_command(archive, "many"))
        self._deliver("many", 9)
        self._measure(Cell(""), *self._export_command(archive, "many"))
        _demand(archived(archive) == many + 10, f"{archived(archive)} archived")
        imports.append(Cell("import, all but 10 sent"))
        self._import(imports[-1], archive, "many-copy", many + 10)
        for title, cells in (("export", exports), ("import", imports)):
            notes = [f"{cell.name}: {_change(cell.rss, cells[0].rss)}" for cell in cells[1:]]
            notes.append(f"many against large: {_change(cells[2].rss, cells[1].rss)}")
            self._add(Table(f"memory: {title}, no TLS", cells, notes))

    def pop3(self) -> None:
        """Stage one by POP3, beside mpop and getmail; the same mail by IMAP for comparison."""
        if not has_pop3():
            print("pop3: needs Dovecot's POP3 server (Debian: dovecot-pop3d)")
            return
        count = self._fill("flat", 1)
        ours, imap = Cell("waystation export, POP3", count), Cell("waystation export", count)
        mpop, getmail = Cell("mpop", count), Cell("getmail", min(count, self.sizes.slow))
        for number in range(self.sizes.rounds):
            self._archives["pop3"] = self._export(ours, "flat", "pop3")
            self._export(imap, "flat")
            if shutil.which("mpop"):
                self._mpop(mpop, "flat")
            if shutil.which("getmail") and number < self.sizes.slow_rounds:
                try:
                    self._getmail(getmail)
                except Incomplete as error:  # it gives up where the disk makes it wait
                    print(f"getmail: {error}", flush=True)
        cells = [ours, imap, *(cell for cell in (mpop, getmail) if cell.runs)]
        notes = [f"{cell.name}: {DURABLE[cell.name]}" for cell in cells]
        rate = ours.messages / ours.wall
        notes += [
            f"rate of waystation / rate of {cell.name}: {rate * cell.wall / cell.messages:.2f}"
            for cell in cells[2:]
        ]
        title = f"pop3: {count:,} messages of 4-8 KB (getmail: {getmail.messages:,}), no TLS"
        self._add(Table(title, cells, notes))
        again = Cell("waystation export, POP3, nothing new")
        before = archived(self._archives["pop3"])
        for _ in range(self.sizes.starts):
            self._measure(again, *self._export_command(self._archives["pop3"], "flat", "pop3"))
        _demand(archived(self._archives["pop3"]) == before, "something was archived again")
        self._add(Table(f"pop3 again: nothing new, {count:,} messages", [again]))
        few, large, many = self.sizes.few, self.sizes.large, self.sizes.many
        self._lay("few-pop3", tiny_messages(few))
        self._lay("large-pop3", tiny_messages(few))
        owner = (self.server.uid, self.server.gid)
        corpus.deliver_large(self.server.mail_directory("large-pop3"), large, owner=owner)
        self._lay("many-pop3", tiny_messages(many))
        cells = []
        for user, found, name in (
            ("few-pop3", few, f"{few:,} messages"),
            ("large-pop3", few + 1, f"one of {large / 1e6:.0f} MB more"),
            ("many-pop3", many, f"{many:,} messages"),
        ):
            cells.append(Cell(f"export by POP3, {name}", found))
            archive = self._export(cells[-1], user, "pop3")
        cells.append(Cell("export by POP3, nothing new"))
        self._measure(cells[-1], *self._export_command(archive, "many-pop3", "pop3"))
        notes = [f"{cell.name}: {_change(cell.rss, cells[0].rss)}" for cell in cells[1:]]
        self._add(Table("memory: export by POP3, no TLS", cells, notes))

    def search(self) -> None:
        """The words of many messages: how fast they are read, their size, what questions take."""
        archive = self.work / "search"
        count = self.sizes.many
        octets = bench_search.fill(archive, count)
        print(f"\nsearch: {count:,} messages, {octets / 1e6:.0f} MB", flush=True)
        cells = []
        for title, lines in bench_search.measured(archive, self.sizes.starts):
            print(f"  {title}", *lines, sep="\n    ", flush=True)
            cells += [f"{title.partition(' ')[0]} {line}" for line in lines]
        start = Cell("waystation search, process start included")
        for _ in range(self.sizes.starts):
            self._measure(start, *WAYSTATION, "search", str(archive), "w3000", "--limit", "50")
        self._add(Table(f"search: {count:,} messages, the whole command", [start], cells))

    # What the parts are made of

    def _fill(self, user: str, folders: int) -> int:
        """Let a user have the mailbox to measure with; return how many messages it holds."""
        count = self.sizes.messages
        if not self.server.home(user).exists():
            names = ["INBOX", *(f"Folder {number}" for number in range(1, folders))]
            self._import_into(user, small_messages(count, names), count)
        return count

    def _import_into(
        self, user: str, mail: Iterator[tuple[str, corpus.Sample]], count: int
    ) -> None:
        """Let a user have a mailbox in the server's own format."""
        laid = self.work / "source" / "home" / f"{user}-laid"
        corpus.fill_maildir(laid, mail, owner=(self.server.uid, self.server.gid))
        self.server.doveadm("import", "-u", user, f"maildir:{laid}", "", "ALL")
        # reads all of it, so that every measured run finds it in the server's memory
        self._demand_count(user, count)

    def _lay(self, user: str, mail: Iterator[tuple[str, corpus.Sample]]) -> None:
        """Let a user have a Maildir as its mailbox."""
        self.server.locate(user, "maildir:~/mail")
        owner = (self.server.uid, self.server.gid)
        corpus.fill_maildir(self.server.mail_directory(user), mail, owner=owner)
        self.server.give(self.server.home(user))

    def _new_user(self) -> str:
        return f"user{next(self._numbers)}"

    def _new_directory(self) -> Path:
        return self.work / f"run{next(self._numbers)}"

    def _measure(self, cell: Cell, *command: str) -> None:
        """Run a command and note what it took."""
        # what others have written must not be synced on this one's account
        os.sync()
        told = self.work / "told"
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", MEASURE, str(told), *command],
            env=ENVIRONMENT,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        code, wall, cpu, rss = json.loads(told.read_text())
        _demand(code == 0, f"{' '.join(command)} ended with {code}: {done.stderr[-2000:]}")
        cell.runs.append(Run(wall, cpu, rss / 1024))

    def _archive(self, user: str) -> Path:
        """Return a complete archive of a user's mailbox; make one, if no part has yet."""
        if user not in self._archives:
            self._archives[user] = self._export(Cell(""), user)
        return self._archives[user]

    def _export(self, cell: Cell, user: str, protocol: str = "imap") -> Path:
        archive = self._new_directory()
        self._measure(cell, *self._export_command(archive, user, protocol))
        there, files = archived(archive), count_files(archive)
        _demand(there == files, f"{there} rows, {files} files in {archive}")
        _demand(there == self._count(user), f"{there} of {self._count(user)} archived")
        return archive

    def _export_command(self, archive: Path, user: str, protocol: str = "imap") -> list[str]:
        port = self.server.pop3_port if protocol == "pop3" else self.server.port
        server = f"{protocol}://{user}@{HOST}:{port}"
        return [*WAYSTATION, "export", str(archive), "--from", server, *SIGN_IN]

    def _import(self, cell: Cell, archive: Path, user: str, count: int) -> None:
        server = f"imap://{user}@{HOST}:{self.server.port}"
        self._measure(cell, *WAYSTATION, "import", str(archive), "--to", server, *SIGN_IN)
        _demand(self._count(user) == count, f"{self._count(user)} of {count} in {user}")

    def _pull(self, cell: Cell, user: str) -> Path:
        """Let mbsync make a Maildir of a mailbox."""
        maildir = self._new_directory()
        fsync = "no" if cell.name.endswith("FSync no") else "yes"
        self._mbsync(cell, user, maildir, f"Sync Pull\nCreate Near\nFSync {fsync}")
        files = count_files(maildir)
        _demand(files == self._count(user), f"{files} of {self._count(user)} by mbsync")
        return maildir

    def _mpop(self, cell: Cell, user: str) -> None:
        """Let mpop make a Maildir of a maildrop."""
        maildir = self._maildir()
        config = self._new_directory()
        config.mkdir()
        file = config / "mpoprc"
        file.write_text(
            MPOP.format(
                port=self.server.pop3_port,
                user=user,
                password=PASSWORD,
                maildir=maildir,
                state=config,
            )
        )
        file.chmod(0o600)
        self._measure(cell, "mpop", "-q", "-C", str(file))
        files = count_files(maildir)
        _demand(files == self._count(user), f"{files} of {self._count(user)} by mpop")

    def _getmail(self, cell: Cell) -> None:
        """Let getmail make a Maildir of a smaller maildrop, since it is slow."""
        user = "slow"
        if not self.server.home(user).exists():
            self._lay(user, small_messages(cell.messages, ["INBOX"]))
        maildir = self._maildir()
        config = self._new_directory()
        config.mkdir()
        account = pwd.getpwuid(self.server.uid).pw_name
        for each in (config, maildir, *maildir.iterdir()):
            os.chown(each, self.server.uid, self.server.gid)
        file = config / "getmailrc"
        file.write_text(
            GETMAIL.format(
                port=self.server.pop3_port,
                user=user,
                password=PASSWORD,
                maildir=maildir,
                account=account,
            )
        )
        os.chown(file, self.server.uid, self.server.gid)
        # As root it refuses to deliver.
        become = ["setpriv", f"--reuid={self.server.uid}", f"--regid={self.server.gid}"]
        prefix = [*become, "--clear-groups"] if os.geteuid() == 0 else []
        self._measure(cell, *prefix, "getmail", f"--getmaildir={config}", f"--rcfile={file}")
        files = count_files(maildir)
        _demand(files == cell.messages, f"{files} of {cell.messages} by getmail")

    def _maildir(self) -> Path:
        maildir = self._new_directory()
        for name in ("cur", "new", "tmp"):
            (maildir / name).mkdir(parents=True)
        return maildir

    def _push(self, cell: Cell, maildir: Path, user: str, count: int) -> None:
        """Let mbsync fill a mailbox from a Maildir."""
        self._mbsync(cell, user, maildir, "Sync Push\nCreate Far")
        _demand(self._count(user) == count, f"{self._count(user)} of {count} in {user}")

    def _mbsync(self, cell: Cell, user: str, maildir: Path, what: str) -> None:
        state = self._new_directory()
        state.mkdir()
        maildir.mkdir(exist_ok=True)
        config = state / "mbsyncrc"
        # FSync is global, and has to stand before the first section
        lines = [line for line in what.splitlines() if line.startswith("FSync")]
        rest = [line for line in what.splitlines() if not line.startswith("FSync")]
        config.write_text(
            MBSYNC.format(
                globals="\n".join(lines),
                port=self.server.port,
                user=user,
                password=PASSWORD,
                maildir=maildir,
                state=state,
                what="\n".join(rest),
            )
        )
        self._measure(cell, "mbsync", "-q", "-c", str(config), "all")

    def _nothing_new(self, title: str, archive: Path, user: str) -> None:
        nothing, ours = Cell("waystation --version"), Cell("waystation export, nothing new")
        before = archived(archive)
        for _ in range(self.sizes.starts):
            self._measure(nothing, *WAYSTATION, "--version")
            self._measure(ours, *self._export_command(archive, user))
        _demand(archived(archive) == before, "something was new")
        notes = [f"{ours.wall - nothing.wall:.2f} s beyond --version"]
        self._add(Table(title, [nothing, ours], notes))

    def _deliver(self, user: str, count: int) -> None:
        """Let new mail arrive."""
        mail = (("INBOX", sample) for _, sample in tiny_messages(count, seed=next(self._numbers)))
        corpus.fill_by_append(HOST, self.server.port, user, PASSWORD, mail)

    def _count(self, user: str) -> int:
        """Return how many messages a mailbox holds, as its server says."""
        told = self.server.doveadm("mailbox", "status", "-u", user, "-t", "messages", "*")
        return int(told.removeprefix("messages="))

    def _demand_count(self, user: str, count: int) -> None:
        held = snapshot(HOST, self.server.port, user, PASSWORD)
        total = sum(map(len, held.values()))
        _demand(total == count, f"{total} of {count} messages in the source")

    def _demand_equal(self, user: str, other: str) -> None:
        first, second = (snapshot(HOST, self.server.port, u, PASSWORD) for u in (user, other))
        found = differences(first, second)
        _demand(not found, f"{user} and {other} differ: {'; '.join(found[:5])}")

    def _add(self, table: Table) -> None:
        table.show()
        self.tables.append(table)


# Mail, and what is there


def small_messages(count: int, folders: Sequence[str]) -> Iterator[tuple[str, corpus.Sample]]:
    """Yield plain messages of 4 to 8 KB, folder by folder."""
    rng = random.Random(1)
    for number in range(count):
        name = folders[number * len(folders) // count]
        yield name, _message(rng, number, rng.randint(4000, 8000))


def tiny_messages(count: int, seed: int = 0) -> Iterator[tuple[str, corpus.Sample]]:
    """Yield messages that are little more than their headers, all in one folder."""
    rng = random.Random(f"tiny {seed}")
    for number in range(count):
        yield "INBOX", _message(rng, number, 300)


def _message(rng: random.Random, number: int, size: int) -> corpus.Sample:
    date = datetime(2001, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    head = (
        f"Message-ID: <{number}.{rng.getrandbits(64):x}@example.org>\r\n"
        f"From: Alice Example <alice@example.org>\r\nTo: bob@example.com\r\n"
        f"Subject: message {number}\r\nDate: {date:%a, %d %b %Y %H:%M:%S +0000}\r\n\r\n"
    ).encode()
    lines = rng.randbytes(max(0, size - len(head)) * 36 // 74 + 1).hex("\n", 36).encode()
    body = lines.replace(b"\n", b"\r\n") + b"\r\n"
    return corpus.Sample(head + body, ("\\Seen",) if number % 4 else (), (), date)


def archived(archive: Path) -> int:
    """Return how many messages an archive's index holds."""
    with contextlib.closing(sqlite3.connect(archive / INDEX)) as database:
        ((count,),) = database.execute("SELECT count(*) FROM messages WHERE state = 'archived'")
    return int(count)


def count_files(directory: Path) -> int:
    """Return how many messages lie in Maildirs."""
    return sum(
        len(files) for folder, _, files in os.walk(directory) if Path(folder).name in ("cur", "new")
    )


# Words


def print_columns(rows: list[list[str]]) -> None:
    """Print a table; all but its first column are set to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        print(f"  {first:{widths[0]}}  {'  '.join(cells)}".rstrip())


def _folders(count: int) -> str:
    return "one folder" if count == 1 else f"{count} folders"


def _change(value: float, base: float) -> str:
    return f"{value:.1f} MiB, {(value / base - 1) * 100:+.1f} %"


def _demand(is_fine: bool, sentence: str) -> None:
    if not is_fine:
        raise Incomplete(sentence)


def _machine() -> dict[str, str | int | None]:
    mbsync = shutil.which("mbsync")
    words = mbsync and subprocess.run([mbsync, "--version"], capture_output=True, text=True).stdout
    return {
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "mbsync": (words or "").strip() or None,
    }


def main() -> int:
    words = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(prog="scripts/bench", description=words[0])
    names = ("export", "again", "import", "check", "memory", "pop3", "search")
    parser.add_argument("--quick", action="store_true", help="fewer messages, fewer runs")
    parser.add_argument("--only", choices=names, action="append", help="this part; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    options = parser.parse_args()
    if not is_available():
        parser.error("needs Dovecot 2.3 (Debian: dovecot-imapd)")
    machine = _machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items() if value), flush=True)
    # a short path: Dovecot's UNIX sockets lie in it, and its mail belongs to another account
    work = Path(tempfile.mkdtemp(prefix="ws", dir="/tmp"))
    work.chmod(0o755)
    with contextlib.ExitStack() as at_end:
        at_end.callback(shutil.rmtree, work)
        server = at_end.enter_context(
            Dovecot(
                work / "source",
                mail_format="sdbox",
                special_use={},
                pop3=has_pop3(),
                extra=WITHOUT_TLS,
            )
        )
        bench = Bench(work, server, QUICK if options.quick else Sizes())
        parts: dict[str, Callable[[], None]] = {
            "export": bench.export,
            "again": bench.again,
            "import": bench.import_,
            "check": bench.check,
            "memory": bench.memory,
            "pop3": bench.pop3,
            "search": bench.search,
        }
        for name in options.only or names:
            parts[name]()
        if options.json:
            figures = {
                "machine": machine,
                "sizes": asdict(bench.sizes),
                "tables": [table.as_json() for table in bench.tables],
            }
            options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
