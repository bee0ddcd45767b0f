"""``waystation verify``: source, archive and target compared, message by message."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waystation.cli import choosing, house, options, sides
from waystation.cli.connect import Doors, known_target, source_account, target_account
from waystation.cli.onward import Onward
from waystation.cli.recording import asked
from waystation.cli.text import count_text, sum_text
from waystation.errors import (
    ArchiveError,
    NoArchiveError,
    ServerError,
    StorageError,
    UsageError,
    WaystationError,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from store.account import Account as Counted
    from store.account import Judged
    from store.archive import Archive
    from store.evidence import Evidence, Side
    from store.finding import Compared, Finding
    from store.findings import FoundBefore
    from waystation.address import Account
    from waystation.cli.connect import Sessions
    from waystation.cli.output import Listener
    from waystation.progress import Progress
    from waystation.selection import Selection

_EXAMPLES = """\
\b
Examples:
  waystation verify alice --target --deep
  waystation verify alice --from-password-env OLD_PASSWORD --to-password-env NEW_PASSWORD
"""
_FOUND_SOMETHING = 13
_NAMED = 50
"""So many messages are named to people; programs get all."""
_AT_ONCE = 500
_NOT_RECORDED = "This verification is not recorded: {}"


Deep = Annotated[
    bool, typer.Option("--deep", help="Fetch and compare the content of every message.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify", epilog=_EXAMPLES)(_verify)


@options.unpacked
def _verify(
    archive: options.ArchivePath,
    source: Annotated[
        bool, typer.Option("--source", help="Compare with the source as it is now.")
    ] = False,
    target: Annotated[
        bool, typer.Option("--target", help="Compare with the target as it is now.")
    ] = False,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="SERVER", help="The source, where it has a new address."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="SERVER", help="Which target, where there are several."),
    ] = None,
    deep: Deep = False,
    every: Annotated[
        bool, typer.Option("--all", help="Name every message, also where all is well.")
    ] = False,
    chosen: choosing.Chosen = choosing.ALL,
    own: sides.OwnPasswords = sides.NO_OWN,
    reach: options.Reach = options.USUAL_REACH,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Compare source, archive and target, message by message; name each difference.

    Without --source and --target: with all that is known and can be reached. Exit code 13 when
    anything differs. What arrived as it should becomes 'verified' in the ledger.
    """
    listener = voice.listener("verify")
    is_alone = source != target
    if is_alone and ((source and to is not None) or (target and from_ is not None)):
        raise UsageError("--from goes with --source, --to with --target.")
    wishes = Wishes(
        asked=("source",)
        if source and not target
        else ("target",)
        if target and not source
        else ("source", "target"),
        must_reach=source or target,
        from_=from_,
        to=to,
        deep=deep,
        selection=chosen.selection(),
    )
    common, connection = reach.passwords, reach.connection

    def doors_to(accounts: dict[Side, Account]) -> dict[Side, Doors]:
        passwords = sides.password_sources(accounts, common, own)
        sign_ins = sides.sign_ins(accounts, sign_in)
        return {side: Doors(passwords[side], connection, sign_ins[side]) for side in accounts}

    return run(archive, wishes, doors_to, listener, every=every, quiet=voice.quiet)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be compared."""

    asked: tuple[Side, ...]
    must_reach: bool
    """Whether a side was asked for by name, so that not reaching it is an error."""
    from_: str | None
    to: str | None
    deep: bool
    selection: Selection


def run(
    archive: Path,
    wishes: Wishes,
    doors_to: Callable[[dict[Side, Account]], dict[Side, Doors]],
    listener: Listener,
    *,
    every: bool = False,
    quiet: bool = False,
) -> int:
    """Compare one archive, record that, and tell what was found; return the exit code.

    Args:
        archive: where it is.
        wishes: what is to be compared.
        doors_to: says how to get to each side, once it is known who they are.
        listener: is told.
        every: name every message, also where all is well.
        quiet: show no table where nothing was found.

    Raises:
        WaystationError: it could not be compared to the end.
    """
    from store.evidence import Evidence
    from store.finding import Compared

    with ExitStack() as stack:
        evidence = stack.enter_context(Evidence())
        is_alone = len(wishes.asked) == 1
        work = _Work(archive, wishes, listener, evidence, Compared(), tells_each=is_alone)
        work.open(stack)
        work.doors = doors_to(work.accounts)
        work.sign_in(stack)
        return _all_of_it(work, stack, every=every, quiet=quiet)


@dataclass(slots=True)
class _Work:
    """One verification, and how far it has come."""

    path: Path
    wishes: Wishes
    listener: Listener
    evidence: Evidence
    compared: Compared
    tells_each: bool
    """Whether each difference is told as it is found: one side alone is compared."""
    causes: dict[str, int] = field(default_factory=dict)
    accounts: dict[Side, Account] = field(default_factory=dict)
    doors: dict[Side, Doors] = field(default_factory=dict)
    sessions: dict[Side, Sessions] = field(default_factory=dict)
    unreached: dict[Side, str] = field(default_factory=dict)
    began: str = ""
    is_writer: bool = False
    run: int | None = None
    """The run's number in the archive, where it was recorded."""
    _archive: Archive | None = None

    @property
    def asked_for(self) -> dict[str, Any]:
        """The options that matter, for the journal."""
        wishes = self.wishes
        return asked(sides=wishes.asked, deep=wishes.deep, selection=wishes.selection)

    @property
    def archive(self) -> Archive:
        if self._archive is None:
            raise AssertionError("open() comes first")
        return self._archive

    def open(self, stack: ExitStack) -> None:
        """Open the archive, and find out who is to be asked."""
        from store.archive import Archive, now

        self.began = now()
        asked = self.wishes.asked
        if self.wishes.must_reach:
            # What is found in the target goes into the ledger.
            self.is_writer = "target" in asked
        else:
            with Archive.read(self.path) as known:
                self.is_writer = bool(known.transfers.targets()) or self.wishes.to is not None
        if self.is_writer:
            try:
                self._archive = stack.enter_context(Archive.write(self.path, "verify"))
            except StorageError as error:
                if self.wishes.must_reach:
                    raise
                self.is_writer = False
                self._leave("target", f"the archive cannot be written ({error})")
        if self._archive is None:
            self._archive = stack.enter_context(Archive.read(self.path))
        if "source" in asked and self._is_known("source"):
            self.accounts["source"] = source_account(self.archive.description, self.wishes.from_)
        if "target" in asked and self._is_known("target"):
            self.accounts["target"] = _account(self.archive, self.wishes.to)

    def _is_known(self, side: Side) -> bool:
        """Whether there is such a side; one that was asked for by name has to be."""
        if self.wishes.must_reach:
            return True
        if side == "source":
            if self.wishes.from_ is None and self.archive.description.source is None:
                self._leave("source", "the archive does not know it; give --from SERVER")
                return False
        elif self.wishes.to is None and not self.archive.transfers.targets():
            self._leave("target", "nothing was imported from this archive yet")
            return False
        return True

    def sign_in(self, stack: ExitStack) -> None:
        """Open a session on each side; where one cannot be reached, say so and leave it out."""
        first: WaystationError | None = None
        for side, account in self.accounts.items():
            if side in self.unreached:
                continue
            doors = self.doors[side]
            try:
                # Whoever is asked for a password is asked only now.
                sessions = doors.sessions(doors.login(account), self.listener)
            except (UsageError, ArchiveError):
                raise
            except WaystationError as error:
                if self.wishes.must_reach:
                    raise
                first = first or error
                self._leave(side, str(error))
            else:
                self.sessions[side] = stack.enter_context(sessions)
                self.evidence.ask(side)
        if not self.sessions and first is not None:
            raise first
        if len(self.sessions) > 1:
            self.sessions["target"].rest()  # its turn comes after the source's
        if not self.sessions:
            raise UsageError("; ".join(f"{side}: {why}" for side, why in self.unreached.items()))

    def _leave(self, side: Side, why: str) -> None:
        self.unreached[side] = why
        self.listener.warning(f"the {side} is not compared: {why}")

    def look(self) -> None:
        """Compare the archive with each side."""
        onward = Onward(self.listener)
        if "source" in self.sessions:
            self._listen("source", partial(_with_source, self, onward))
        if "target" in self.sessions:
            self._listen("target", partial(_with_target, self, onward))

    def _listen(self, side: Side, findings: Callable[[ExitStack], Iterator[Finding]]) -> None:
        self.compared.looked_at = partial(self.evidence.looked_at, side)
        try:
            self._note(side, findings)
        except ServerError as error:
            # What was compared so far holds; of the rest is said that nobody has seen it.
            if self.wishes.must_reach or len(self.sessions) == 1:
                raise
            self.unreached[side] = str(error)
            self.listener.warning(f"the {side} is not compared to the end: {error}")

    def _note(self, side: Side, findings: Callable[[ExitStack], Iterator[Finding]]) -> None:
        with ExitStack() as stack:  # a side's connection ends with its turn
            for finding in findings(stack):
                cause = finding.cause.value
                self.causes[cause] = self.causes.get(cause, 0) + 1
                self.evidence.found(side, finding)
                if self.tells_each:
                    self.listener.finding(_values(finding), _text(finding))


def _all_of_it(work: _Work, stack: ExitStack, *, every: bool, quiet: bool) -> int:
    """Look, judge, record and tell; return the exit code."""
    from store.account import Account as Counted

    counted = Counted()
    numbers: dict[str, int] = {}
    server = " and ".join(work.accounts[side].name for side in work.sessions)
    if work.is_writer:
        recorder = work.archive
        number = stack.enter_context(recorder.run("verify", server, numbers, asked=work.asked_for))
        work.look()
        told = _judge(work, counted, recorder, number, every=every)
    else:
        work.look()
        with _recorder(work, server, numbers) as (another, its_number):
            told = _judge(work, counted, another, its_number, every=every)
            numbers.update(_numbers(work, counted))
    numbers.update(_numbers(work, counted))
    work.listener.close()
    code = _code(work, counted)
    if not (quiet and not code):
        told.show(counted)
    work.listener.say(_sentence(work, counted, server))
    _summarise(work, counted, code, server)
    return code


@contextmanager
def _recorder(
    work: _Work, server: str, numbers: dict[str, int]
) -> Iterator[tuple[Archive | None, int | None]]:
    """Open the archive once more, to record; where that cannot be, say so."""
    from store.archive import Archive

    with ExitStack() as stack:
        try:
            archive = stack.enter_context(Archive.write(work.path, "verify"))
            number = stack.enter_context(
                archive.run("verify", server, numbers, work.began, asked=work.asked_for)
            )
        except NoArchiveError:
            raise
        except ArchiveError as error:
            work.listener.say(_NOT_RECORDED.format(error))
            yield None, None
        else:
            yield archive, number


@dataclass(slots=True)
class _Told:
    """What people are shown at the end: the first messages, and how many there are."""

    listener: Listener
    differing: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    """What the ledger says already; it must not crowd out the rest."""
    count: int = 0

    def add(self, line: str, *, differs: bool) -> None:
        self.count += 1
        lines = self.differing if differs else self.known
        if len(lines) < _NAMED:
            lines.append(line)

    def show(self, counted: Counted) -> None:
        rows = [
            [f"{standing.words}: {kind}" if kind else standing.words, f"{count:,}"]
            for standing, kind, count in counted.table.rows()
        ]
        rows.append(["all messages", f"{counted.table.total:,}"])
        self.listener.table(["cause", "messages"], rows)
        lines = [*self.differing, *self.known][:_NAMED]
        for line in lines:
            self.listener.heading(line)
        if self.count > len(lines):
            more = self.count - len(lines)
            self.listener.heading(f"and {more:,} more; --json shows all of them")


def _judge(
    work: _Work, counted: Counted, recorder: Archive | None, run: int | None, *, every: bool
) -> _Told:
    """Judge every message by what all sides say; record and tell what is not simply fine."""
    from store.account import account_for
    from store.findings import FOLDER, FoundBefore
    from store.standing import Standing

    target = None
    if "target" in work.sessions:
        account = work.accounts["target"]
        target = work.archive.transfers.target(account.name, account.key)
    told = _Told(work.listener)
    record = _Record(work, recorder, run)
    for side, finding in work.evidence.folder_findings():
        record.add(
            FoundBefore(finding.folder, finding.uidvalidity, None, FOLDER, side, finding.text)
        )
        if not work.tells_each:
            work.listener.row("folder_difference", {"side": side, **_values(finding, kind=False)})
            told.add(f"{plain(finding.folder)}: {finding.text}", differs=True)
    judgements = account_for(work.archive, work.evidence, target, counted, work.wishes.selection)
    for judged in judgements:
        verdict = judged.verdict
        if not verdict.standing.is_fine and verdict.standing is not Standing.LEFT_OUT:
            record.add(_found(judged))
        if every or (not work.tells_each and not verdict.standing.is_fine):
            work.listener.row("message", _message_values(judged))
            told.add(_message_text(judged), differs=verdict.differs)
    record.write(is_last=True)
    work.run = record.run
    return told


@dataclass(slots=True)
class _Record:
    """What is kept of a verification, where it can be; a few rows at a time."""

    work: _Work
    archive: Archive | None
    run: int | None
    waiting: list[FoundBefore] = field(default_factory=list)

    def add(self, finding: FoundBefore) -> None:
        self.waiting.append(finding)
        if len(self.waiting) >= _AT_ONCE:
            self.write()

    def write(self, *, is_last: bool = False) -> None:
        if self.archive is not None and self.run is not None:
            try:
                self.archive.findings.add(self.run, self.waiting)
                if is_last:
                    self.archive.findings.forget_old()
            except StorageError as error:
                # Where nothing but this was to be written, its loss is not worth the result.
                if self.work.is_writer:
                    raise
                self.archive = self.run = None
                self.work.listener.say(_NOT_RECORDED.format(error))
        self.waiting.clear()


def _found(judged: Judged) -> FoundBefore:
    from store.findings import FoundBefore

    verdict = judged.verdict
    return FoundBefore(
        judged.folder,
        judged.uidvalidity,
        judged.uid,
        verdict.standing.value,
        verdict.side,
        verdict.text,
    )


def _account(archive: Archive, named: str | None) -> Account:
    account = target_account(archive, named)
    if known_target(archive, account) is None:
        raise UsageError(
            f"nothing was ever imported into {plain(account.name)} from this archive; "
            "'waystation import ARCHIVE --to SERVER' does that."
        )
    return account


def _with_source(work: _Work, progress: Progress, stack: ExitStack) -> Iterator[Finding]:
    from export.verify import verify

    archive = work.archive
    totals = archive.index.totals()
    progress.expect(
        sum(count for _, reached, _, gone, count, _ in totals if reached == "archived" and not gone)
    )
    source = stack.enter_context(work.sessions["source"].source(archive, is_reading=True))
    wishes = work.wishes
    return verify(
        archive, source, progress, work.compared, deep=wishes.deep, selection=wishes.selection
    )


def _with_target(work: _Work, progress: Progress, stack: ExitStack) -> Iterator[Finding]:
    from importer.lasting import LastingTarget
    from importer.verify import verify
    from waystation.retry import DELAYS, Patience

    archive, account = work.archive, work.accounts["target"]
    sessions = work.sessions["target"]
    patience = work.doors["target"].patience(progress, DELAYS) or Patience(progress)
    lasting = LastingTarget(sessions.target, progress, patience)
    mail_target = stack.enter_context(lasting)
    target = archive.transfers.target(account.name, account.key)
    rules = house.USUAL.rules(None) if sessions.is_exchange else None
    return verify(
        archive,
        mail_target,
        target,
        progress,
        work.compared,
        house=rules,
        deep=work.wishes.deep,
        selection=work.wishes.selection,
    )


def _values(found: Finding, *, kind: bool = True) -> dict[str, Any]:
    values: dict[str, Any] = {"type": "difference"} if kind else {}
    return values | {
        "cause": found.cause.value,
        "folder": found.folder,
        "uidvalidity": found.uidvalidity,
        "uid": found.uid,
        "text": found.text,
    }


def _text(found: Finding) -> str:
    uid = f" UID {found.uid}" if found.uid is not None else ""
    return f"{found.cause.value.replace('_', ' ')}: {plain(found.folder)}{uid}: {found.text}"


def _message_values(judged: Judged) -> dict[str, Any]:
    verdict = judged.verdict
    return {
        "folder": judged.folder,
        "uidvalidity": judged.uidvalidity,
        "uid": judged.uid,
        "cause": verdict.standing.value,
        "side": verdict.side,
        "differs": verdict.differs,
        "text": verdict.text,
        "differences": [
            {"cause": each.standing.value, "side": each.side, "text": each.text}
            for each in verdict.reasons
        ],
    }


def _message_text(judged: Judged) -> str:
    words = judged.verdict.standing.words
    text = f"{words}: {plain(judged.folder)} UID {judged.uid}"
    # The line begins with its cause; to say it twice tells nothing.
    said = judged.verdict.text.removeprefix(words).lstrip(" ,:")
    return f"{text}: {said}" if said else text


def _code(work: _Work, counted: Counted) -> int:
    from store.standing import Standing

    if work.causes or not counted.adds_up or counted.table.lines[Standing.UNSEEN]:
        return _FOUND_SOMETHING
    is_different = not work.tells_each and counted.table.differing
    return _FOUND_SOMETHING if is_different else 0


def _numbers(work: _Work, counted: Counted) -> dict[str, int]:
    return {
        "messages": counted.table.total,
        **{standing.value: count for standing, count in sorted(counted.table.lines.items())},
        "differing": counted.table.differing,
        "unselected": counted.unselected,
        "with_source": int("source" in work.sessions),
        "with_target": int("target" in work.sessions),
        "deep": int(work.wishes.deep),
    }


def _sentence(work: _Work, counted: Counted, server: str) -> str:
    if not counted.adds_up:
        return (
            f"The numbers do not add up: {counted.rows:,} rows in the index, {counted.walked:,} of "
            "them judged. The archive changed meanwhile; verify it again."
        )
    compared, causes = work.compared, work.causes
    if work.tells_each:
        text = f"{compared.equal:,} of {compared.messages:,} messages are the same at {server}"
    else:
        table = counted.table
        fine = sum(table.lines[standing] for standing in table.lines if standing.is_fine)
        where = "source, archive and target"
        if len(work.sessions) == 1:
            where = "the archive and " + "".join(f"the {side}" for side in work.sessions)
        total = count_text(table.total, "message")
        text = f"{fine:,} of {total} are there and the same in {where}"
    if compared.others:
        text += f" ({compared.others:,} others there are none of this archive's)"
    text += f"; found: {sum_text(causes)}." if causes and work.tells_each else "."
    if compared.passed:
        text += f" The same in: {sum_text(compared.passed)}."
    return text


def _summarise(work: _Work, counted: Counted, code: int, server: str) -> None:
    from store.standing import Standing

    compared, table = work.compared, counted.table
    numbers = {
        "messages": compared.messages,
        "equal": compared.equal,
        "different": compared.different,
    }
    if not work.tells_each:
        numbers = {
            "messages": table.total,
            "equal": sum(table.lines[each] for each in Standing if each.is_fine),
            "different": table.differing,
        }
    named = {side: work.accounts[side].name for side in work.sessions}
    work.listener.summary(
        "differences" if code else "equal",
        code,
        {
            "server": server,
            "source": named.get("source"),
            "target": named.get("target"),
            "not_compared": dict(work.unreached),
            "run": work.run,
            **numbers,
            "others": compared.others,
            "passed": dict(sorted(compared.passed.items())),
            "causes": work.causes,
            "table": {each.value: table.lines[each] for each in Standing if table.lines[each]},
            "kinds": [
                {"cause": each.value, "kind": kind, "messages": count}
                for each, kind, count in table.rows()
            ],
            "unselected": counted.unselected,
            "adds_up": counted.adds_up,
        },
    )
