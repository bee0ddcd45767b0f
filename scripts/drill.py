"""The SIGKILL drill: both stages killed at random moments, and every message accounted for.

A seeded mailbox lies in a private Dovecot. Stage one is started, killed and started again until
a run completes; then the archive has to be clean and to hold what the source holds, by a
comparison that shares no code with the product. Stage two likewise, into fresh mailboxes: what
lies there has to be the archive, nothing lost and nothing doubled. Between kills the source
changes, other mail reaches the target, and the target's server falls behind.

Exit code 1 when anything was wrong (the evidence is kept then), 3 when the time was over first.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import imaplib
import io
import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import corpus
from tests.compare import (
    Message,
    Snapshot,
    as_flag,
    differences,
    encode_name,
    quoted,
    snapshot,
    split_levels,
)
from tests.servers.dovecot import HOST, PASSWORD, Dovecot, is_available

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMAND = (sys.executable, "-m", "waystation")
ENVIRONMENT = {**os.environ, "DRILL_PASSWORD": PASSWORD}
OWNER = "alice"
FOLDERS = 12
INDEX = "index.sqlite"
ARRIVED = {"appended", "verified", "already_there"}
NO_ARCHIVE, DISCREPANCIES = 10, 13
HANGING = 120
"""Seconds after which a run counts as hanging."""
MOST_VIOLATIONS = 10
MOMENTS = {"start": 15, "commit": 25, "any": 60}
"""Kinds of moments to kill at, and how often each is taken."""


class DeadlineReached(Exception):  # noqa: N818 - no error
    """The drill has had its time."""


class Wrong(Exception):  # noqa: N818 - what the drill looks for
    """A promise was not kept."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that was not killed."""

    code: int
    lines: list[dict[str, Any]]
    errors: str

    @property
    def summary(self) -> dict[str, Any]:
        """The last line of what it said."""
        return self.lines[-1] if self.lines else {}

    def demand(self, code: int, what: str) -> None:
        """Raise unless it ended with this code."""
        if self.code != code:
            told = "; ".join(json.dumps(line) for line in self.lines[-5:])
            raise Wrong(f"{what} ended with {self.code}: {self.errors.strip()} {told}")


@dataclass(slots=True)
class Tally:
    """What happened in one stage."""

    name: str
    kills: int = 0
    completed: int = 0
    changes: int = 0
    stalls: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    after_kill: Counter[str] = field(default_factory=Counter)
    """What `check` said right after a kill."""
    violations: list[str] = field(default_factory=list)


class Runner:
    """Starts the command, and kills it when the moment has come."""

    def __init__(self, rng: random.Random, log: Path) -> None:
        self._rng = rng
        self._log = log
        self.deadline = float("inf")
        began = time.monotonic()
        self.run("--version").demand(0, "--version")
        self.startup = time.monotonic() - began

    def note(self, text: str) -> None:
        """Write down what is being done."""
        with self._log.open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def run(self, *arguments: str) -> Ended:
        """Run a command to its end."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=HANGING,
            check=False,
        )
        self.note(f"{arguments[0]} ended with {done.returncode}")
        return Ended(done.returncode, _json_lines(done.stdout), done.stderr)

    def run_until(
        self,
        tally: Tally,
        index: Path,
        usual: float,
        *arguments: str,
        before_kill: Callable[[], None] | None = None,
    ) -> Ended | None:
        """Run a command and kill it at some moment; return None, or how it ended before that.

        `before_kill` is called just before it is killed.
        """
        if time.monotonic() > self.deadline:
            raise DeadlineReached
        kind = self._rng.choices([*MOMENTS], [*MOMENTS.values()])[0]
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [*COMMAND, *arguments], env=ENVIRONMENT, stdout=output, stderr=errors
            )
            began = time.monotonic()
            try:
                self._wait(process, kind, index, usual)
                if process.poll() is None and before_kill is not None:
                    before_kill()
            finally:
                process.kill()  # does nothing where it has ended by itself
                process.wait()
            took = time.monotonic() - began
            if process.returncode == -signal.SIGKILL:
                tally.kills += 1
                tally.moments[kind] += 1
                self.note(f"{arguments[0]} killed ({kind}) after {took:.3f} s")
                return None
            self.note(f"{arguments[0]} ended with {process.returncode} after {took:.3f} s")
            output.seek(0)
            errors.seek(0)
            told = errors.read().decode()
            return Ended(process.returncode, _json_lines(output.read().decode()), told)

    def _wait(self, process: subprocess.Popen[bytes], kind: str, index: Path, usual: float) -> None:
        """Return when the moment has come, or the process has ended by itself."""
        rng = self._rng
        if kind == "commit":
            wal = index.with_name(f"{index.name}-wal")
            hanging = time.monotonic() + HANGING
            for _ in range(rng.randint(1, 12)):
                before = _size(wal)
                while process.poll() is None and _size(wal) == before:
                    time.sleep(0.0003)
                    if time.monotonic() > hanging:
                        raise Wrong(f"nothing is written for {HANGING} s")
            _wait_for(process, rng.uniform(0, 0.02))
        elif kind == "start":
            _wait_for(process, rng.uniform(0, self.startup * 1.3))
        else:
            share = rng.choice((1.6, 1.1, 0.5))
            _wait_for(process, rng.uniform(self.startup * 0.7, self.startup + usual * share))


class Drill:
    """Both stages of one drill, on servers of its own."""

    def __init__(
        self, work: Path, options: argparse.Namespace, source: Dovecot, target: Dovecot
    ) -> None:
        self.options = options
        self._work = work
        self._source = source
        self._target = target
        self._rng = random.Random(options.seed)
        self._began = time.monotonic()
        self._runner = Runner(self._rng, work / "log")
        self._numbers = itertools.count(1)
        self._told = 0.0
        self._archive = work
        self._timers: list[threading.Timer] = []
        self._held: Snapshot | None = None

    # Stage one

    def stage_one(self) -> Tally:
        """Kill export, and hold each archive that comes of it against the source."""
        tally = Tally("one")
        self._runner.deadline = self._began + self.options.minutes * 30
        archive = self._new_archive()
        began = time.monotonic()
        self._runner.run(*self._export(archive)).demand(0, "export without a kill")
        usual = time.monotonic() - began
        self._examine_archive(archive, Counter())
        print(f"an export that nobody kills takes {usual:.1f} s", flush=True)
        self._repeat(tally, lambda: self._archive_killed(tally, usual - self._runner.startup))
        return tally

    def _archive_killed(self, tally: Tally, usual: float) -> None:
        """Export into a new archive, killed again and again, and look at what came of it."""
        archive = self._new_archive()
        kept: Counter[tuple[str, str]] = Counter()
        for number in range(self._rng.choice((1, 1, 2, 3))):
            if number:
                # From here on the kills hit runs that find an archive, and little to do.
                for _ in range(self._rng.randint(1, 6)):
                    self._change_source(tally)
            ended = None
            while ended is None:
                ended = self._runner.run_until(
                    tally,
                    archive / INDEX,
                    0.3 if number else usual,
                    *self._export(archive),
                )
                self._tell(tally)
                if ended is None and self._rng.random() < 0.25:
                    self._check_after_kill(archive, tally)
                if ended is None and self._rng.random() < 0.2:
                    self._change_source(tally)
            ended.demand(0, "export")
            kept = self._examine_archive(archive, kept)
            tally.completed += 1

    def _export(self, archive: Path) -> list[str]:
        server = f"imaps://{OWNER}@{HOST}:{self._source.tls_port}"
        return ["export", str(archive), "--json", "--from", server, *_sign_in(self._source)]

    def _examine_archive(
        self, archive: Path, kept: Counter[tuple[str, str]]
    ) -> Counter[tuple[str, str]]:
        """Raise unless a completed archive is clean and holds what the source holds.

        Returns all that it has ever archived, which `kept` has to be a part of.
        """
        self._runner.run("check", str(archive), "--json").demand(0, "check after a completed run")
        there = held_by(archive)
        if self._held is None:
            self._held = snapshot(HOST, self._source.port, OWNER, PASSWORD)
        _demand_equal(self._held, there.present, "the source (first) and the archive (second)")
        if lost := kept - there.ever:
            raise Wrong(f"archived before, gone now: {sorted(lost)[:3]}")
        return there.ever

    def _check_after_kill(self, archive: Path, tally: Tally) -> None:
        """Note what `check` says of an archive right after a kill; no message may be damaged."""
        ended = self._runner.run("check", str(archive), "--json")
        if ended.code == NO_ARCHIVE:
            tally.after_kill["no archive yet"] += 1
            return
        if ended.code not in (0, DISCREPANCIES):
            ended.demand(0, "check after a kill")
        kinds = ended.summary["kinds"]
        tally.after_kill.update([*kinds] or ["clean"])
        if "altered" in kinds or "missing" in kinds:
            ended.demand(0, "check after a kill")

    def _change_source(self, tally: Tally) -> None:
        """Do to the source what its owner and the world do to a mailbox."""
        tally.changes += 1
        self._held = None
        kinds = {"mail": 8, "flags": 8, "expunge": 4, "move": 4, "copy": 4, "renumber": 1}
        kind = self._rng.choices([*kinds], [*kinds.values()])[0]
        name, other = self._rng.sample(corpus.folder_names(FOLDERS), 2)
        self._runner.note(f"source: {kind} in {name}")
        if kind == "mail":
            mail = [(name, sample) for sample in self._samples()]
            mail.append((other, mail[0][1]))
            corpus.fill_by_append(HOST, self._source.port, OWNER, PASSWORD, mail)
        elif kind == "renumber":
            number = str(self._rng.randrange(1 << 20, 1 << 31))
            # doveadm takes names as people write them, not in modified UTF-7.
            plain_name = name.replace("/", ".")
            self._source.doveadm(
                "mailbox", "update", "-u", OWNER, "--uid-validity", number, plain_name
            )
        else:
            self._change_some(kind, _wire(name), _wire(other))

    def _change_some(self, kind: str, wire_name: str, other: str) -> None:
        with imaplib.IMAP4(HOST, self._source.port) as client:
            client.login(OWNER, PASSWORD)
            client.select(wire_name)
            uids = client.uid("SEARCH", "ALL")[1][0].decode().split()
            some = ",".join(self._rng.sample(uids, min(len(uids), 7)))
            if not some:
                return
            if kind == "flags":
                flag = self._rng.choice(("\\Seen", "\\Flagged", "$Forwarded", "todo"))
                client.uid("STORE", some, self._rng.choice(("+FLAGS", "-FLAGS")), f"({flag})")
            elif kind == "expunge":
                client.uid("STORE", some, "+FLAGS", "(\\Deleted)")
                client.uid("EXPUNGE", some)
            else:
                client.uid(kind.upper(), some, other)

    # Stage two

    def stage_two(self) -> Tally:
        """Kill import, and hold each mailbox that comes of it against the archive."""
        tally = Tally("two")
        self._runner.deadline = self._began + self.options.minutes * 60
        pristine = self._new_archive()
        self._runner.run(*self._export(pristine)).demand(0, "export for stage two")
        archived = held_by(pristine)
        copy = self._copy(pristine)
        began = time.monotonic()
        self._runner.run(*self._import(copy, "first")).demand(0, "import without a kill")
        usual = time.monotonic() - began
        self._examine_target(copy, archived, "first", [])
        print(f"an import that nobody kills takes {usual:.1f} s", flush=True)
        work = usual - self._runner.startup
        self._repeat(tally, lambda: self._replay_killed(pristine, archived, tally, work))
        return tally

    def _replay_killed(self, pristine: Path, archived: Held, tally: Tally, usual: float) -> None:
        """Import into a new mailbox, killed again and again, and look at what came of it."""
        archive = self._copy(pristine)
        user = f"user{next(self._numbers)}"
        self._runner.note(f"target: {user}")
        others: list[Message] = []
        if self._rng.random() < 0.3:
            self._fill_beforehand(user, archived, others)
        ended = None
        while ended is None:
            is_late = self._rng.random() < self.options.stall
            ended = self._runner.run_until(
                tally,
                archive / INDEX,
                usual,
                *self._import(archive, user),
                before_kill=(lambda: self._stall(user, tally)) if is_late else None,
            )
            self._tell(tally)
            if ended is None and self._rng.random() < 0.15:
                self._check_after_kill(archive, tally)
            if ended is None and self._rng.random() < 0.1:
                self._deliver(user, others)
        ended.demand(0, "import")
        self._examine_target(archive, archived, user, others)
        tally.completed += 1

    def _import(self, archive: Path, user: str) -> list[str]:
        return ["import", str(archive), "--json", *self._to(user)]

    def _to(self, user: str) -> list[str]:
        return ["--to", f"imaps://{user}@{HOST}:{self._target.tls_port}", *_sign_in(self._target)]

    def _fill_beforehand(self, user: str, archived: Held, others: list[Message]) -> None:
        """Let the target hold some of the archive's messages already, and others besides."""
        self._runner.note(f"target: {user} has some of it beforehand")
        copies = [archived.sample("INBOX", n) for n in self._rng.sample(range(50), 20)]
        mail = [("INBOX", sample) for sample in copies]
        corpus.fill_by_append(HOST, self._target.port, user, PASSWORD, mail)
        self._deliver(user, others)

    def _deliver(self, user: str, others: list[Message]) -> None:
        """Let mail of another origin arrive in the target."""
        self._runner.note(f"target: other mail for {user}")
        mail = [("INBOX", sample) for sample in self._samples()]
        self._wait_for_target()
        held = corpus.fill_by_append(HOST, self._target.port, user, PASSWORD, mail)
        others += held["INBOX"]

    def _wait_for_target(self) -> None:
        """A server that was just stopped in the middle may hang up on the next one who calls."""
        for _ in range(20):
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                imaplib.IMAP4(HOST, self._target.port).logout()
                return
            time.sleep(0.5)

    def _stall(self, user: str, tally: Tally) -> None:
        """Let the server fall behind: it will do later what it was sent before the kill."""
        pids = [
            int(line.split()[-2])
            for line in self._target.doveadm("who", "-1", user).splitlines()[1:]
        ]
        stopped = [pid for pid in pids if _told(pid, signal.SIGSTOP)]
        if stopped:
            seconds = self._rng.uniform(0, 2)
            self._runner.note(f"target: falls {seconds:.1f} s behind with {user}")
            tally.stalls += 1
            timer = threading.Timer(
                seconds, lambda: [_told(pid, signal.SIGCONT) for pid in stopped]
            )
            timer.start()
            self._timers.append(timer)

    def _examine_target(
        self, archive: Path, archived: Held, user: str, others: list[Message]
    ) -> None:
        """Raise unless target, archive and ledger agree, and a further run finds nothing to do."""
        self._runner.run("check", str(archive), "--json").demand(0, "check after a completed run")
        expected: Snapshot = {"INBOX": list(others)}
        for name, messages in archived.present.items():
            expected.setdefault(place_of(archive, name), []).extend(messages)
        found = snapshot(HOST, self._target.port, user, PASSWORD)
        _demand_equal(
            {name: messages for name, messages in expected.items() if messages},
            {name: messages for name, messages in found.items() if messages},
            "the archive (first) and the target (second)",
        )
        verified = self._runner.run("verify", str(archive), "--target", "--json", *self._to(user))
        verified.demand(0, "verify --target")
        status = self._runner.run("status", str(archive), "--json")
        status.demand(0, "status")
        (states,) = status.summary["targets"].values()
        in_ledger = sum(count for state, count in states.items() if state in ARRIVED)
        total = sum(map(len, archived.present.values()))
        if not status.summary["adds_up"] or states.keys() - ARRIVED or in_ledger != total:
            raise Wrong(f"status: {total} messages in the archive, {json.dumps(status.summary)}")
        again = self._runner.run(*self._import(archive, user))
        again.demand(0, "import once more")
        if again.summary["appended"]:
            raise Wrong(f"a completed import sent more: {json.dumps(again.summary)}")

    # Both

    def _repeat(self, tally: Tally, step: Callable[[], None]) -> None:
        while tally.kills < self.options.kills and len(tally.violations) < MOST_VIOLATIONS:
            try:
                step()
            except DeadlineReached:
                break
            except (Wrong, subprocess.TimeoutExpired) as error:
                self._keep(tally, str(error))
            else:
                shutil.rmtree(self._archive)
        for timer in self._timers:
            timer.join()
        self._told = 0
        self._tell(tally)

    def _keep(self, tally: Tally, text: str) -> None:
        """Keep the archive as evidence, and say what is wrong with it."""
        self._runner.note(f"WRONG: {text}")
        tally.violations.append(
            f"stage {tally.name}, seed {self.options.seed}, after kill {tally.kills}: {text}\n"
            f"    archive: {self._archive}"
        )
        print(f"VIOLATION: {tally.violations[-1]}", flush=True)

    def _new_archive(self) -> Path:
        self._archive = self._work / f"archive{next(self._numbers)}"
        return self._archive

    def _copy(self, archive: Path) -> Path:
        return Path(shutil.copytree(archive, self._new_archive()))

    def _samples(self) -> list[corpus.Sample]:
        seed, count = self._rng.getrandbits(40), self._rng.randint(1, 8)
        return list(corpus.messages(seed, count, hostile_share=0))

    def _tell(self, tally: Tally) -> None:
        if time.monotonic() - self._told < 10:
            return
        self._told = time.monotonic()
        print(
            f"stage {tally.name}: {tally.kills} of {self.options.kills} kills, "
            f"{tally.completed} runs completed, {len(tally.violations)} violations, "
            f"{self._told - self._began:.0f} s",
            flush=True,
        )


# What is there, read by SQL and from the files, not by the product


@dataclass(frozen=True, slots=True)
class Held:
    """What an archive holds."""

    present: Snapshot
    """What the source showed when it was last looked at."""
    ever: Counter[tuple[str, str]]
    """Folder and sha256 of all that was ever archived."""
    files: dict[str, list[Path]]
    """The files of `present`, in the same order."""

    def sample(self, folder: str, number: int) -> corpus.Sample:
        """Return one message with its octets."""
        message = self.present[folder][number]
        return corpus.Sample(
            self.files[folder][number].read_bytes(),
            tuple(message.flags),
            tuple(message.keywords),
            message.internaldate,
        )


def held_by(archive: Path) -> Held:
    """Return what an archive holds; raise where a file is not what its row says."""
    held = Held({}, Counter(), {})
    with contextlib.closing(sqlite3.connect(archive / INDEX)) as database:
        for name, last_seen in database.execute("SELECT name, last_seen FROM folders"):
            if last_seen is None:
                held.present[name], held.files[name] = [], []
        rows = database.execute("""
            SELECT folders.name, directory, file, sha256, internaldate, flags, keywords,
                messages.last_seen IS NULL AND folders.last_seen IS NULL,
                messages.uidvalidity, uid, state
            FROM messages JOIN folders ON folders.id = folder_id ORDER BY messages.id
        """)
        for name, directory, file, sha256, date, flags, keywords, is_present, *place in rows:
            if place[-1] != "archived":
                raise Wrong(f"{name} {place}: not archived")
            path = archive / directory / file
            if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                raise Wrong(f"{path}: not the content that its row says")
            held.ever[name, sha256] += 1
            if is_present:
                instant = datetime.fromisoformat(date).astimezone(UTC)
                words = frozenset(map(as_flag, json.loads(flags)))
                message = Message(sha256, words, frozenset(json.loads(keywords)), instant)
                held.present[name].append(message)
                held.files[name].append(path)
    return held


def place_of(archive: Path, folder: str) -> str:
    """Return the one target's folder that a folder of the archive went into."""
    with contextlib.closing(sqlite3.connect(archive / INDEX)) as database:
        ((name,),) = database.execute(
            "SELECT target_folders.name FROM target_folders JOIN folders ON folders.id = folder_id"
            " WHERE folders.name = ?",
            (folder,),
        )
    return str(name)


def mailbox(seed: int, count: int) -> Iterator[tuple[str, corpus.Sample]]:
    """Yield varied mail, some of it in two folders, some of it large."""
    names = corpus.folder_names(FOLDERS)
    options = {"typical_size": 2500, "repeated_share": 0.03}
    for number, (name, sample) in enumerate(corpus.mailbox(seed, count, FOLDERS, **options)):
        yield name, sample
        if number % 40 == 0:
            yield names[number // 40 % FOLDERS], sample
        if number % 500 == 0:
            large = io.BytesIO()
            corpus.write_large(large, 700_000 + 1000 * number, number)
            yield name, corpus.Sample(large.getvalue(), (), (), sample.internaldate)


def _demand_equal(first: Snapshot, second: Snapshot, what: str) -> None:
    if found := differences(first, second):
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise Wrong(f"{what} differ: {'; '.join(found[:5])}{more}")


def _told(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _wait_for(process: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _sign_in(server: Dovecot) -> list[str]:
    return ["--ca-file", str(server.ca_file), "--password-env", "DRILL_PASSWORD"]


def _wire(name: str) -> str:
    return quoted(".".join(map(encode_name, split_levels(name))))


def _json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _summary(tallies: list[Tally], seconds: float) -> None:
    print(f"\n{'':28}{'stage one':>12}{'stage two':>12}")
    rows: dict[str, list[int]] = {
        "kills": [tally.kills for tally in tallies],
        **{f"  {kind}": [tally.moments[kind] for tally in tallies] for kind in MOMENTS},
        "runs completed, all examined": [tally.completed for tally in tallies],
        "changes of the source": [tally.changes for tally in tallies],
        "kills of a stalled server": [tally.stalls for tally in tallies],
    }
    kinds = sorted({kind for tally in tallies for kind in tally.after_kill})
    rows |= {
        f"check after a kill: {kind}": [tally.after_kill[kind] for tally in tallies]
        for kind in kinds
    }
    rows["violations"] = [len(tally.violations) for tally in tallies]
    for title, numbers in rows.items():
        print(f"{title:28}" + "".join(f"{number:>12}" for number in numbers))
    print(f"{seconds:.0f} s")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/drill", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="in each stage (200)")
    parser.add_argument("--seed", type=int, default=1, help="of the mail and the moments (1)")
    parser.add_argument("--minutes", type=float, default=20, help="for both stages (20)")
    parser.add_argument("--messages", type=int, default=3000, help="in the mailbox (3000)")
    parser.add_argument(
        "--stall", type=float, default=0.1, help="share of imports whose server falls behind (0.1)"
    )
    parser.add_argument("--only", choices=("one", "two"), help="one stage")
    options = parser.parse_args()
    if not is_available():
        parser.error("needs Dovecot 2.3 (Debian: dovecot-imapd)")
    print(f"seed {options.seed}, {options.messages:,} messages, {FOLDERS} folders", flush=True)
    began = time.monotonic()
    # a short path: Dovecot's UNIX sockets lie in it, and its mail belongs to another account
    work = Path(tempfile.mkdtemp(prefix="ws", dir="/tmp"))
    work.chmod(0o755)
    with contextlib.ExitStack() as at_end:
        at_end.callback(shutil.rmtree, work)
        tallies = _stages(work, options)
        violations = [text for tally in tallies for text in tally.violations]
        if violations:
            at_end.pop_all()
    _summary(tallies, time.monotonic() - began)
    if violations:
        print(f"{len(violations)} violations; the evidence is in {work}:")
        print("\n".join(violations))
        return 1
    if any(tally.kills < options.kills for tally in tallies):
        print("no violation, but the time was over before all kills: give it more --minutes")
        return 3
    print("no violation")
    return 0


def _stages(work: Path, options: argparse.Namespace) -> list[Tally]:
    with (
        Dovecot(work / "source", fsync=False) as source,
        Dovecot(work / "target", mail_format="sdbox", fsync=True) as target,
    ):
        mail = mailbox(options.seed, options.messages)
        owner = (source.uid, source.gid)
        corpus.fill_maildir(source.mail_directory(OWNER), mail, owner=owner)
        source.give(source.home(OWNER))
        drill = Drill(work, options, source, target)
        stages = {"one": drill.stage_one, "two": drill.stage_two}
        return [run() for name, run in stages.items() if options.only in (None, name)]


if __name__ == "__main__":
    sys.exit(main())
