"""``waystation plan``, ``import`` and ``verify``: what has to do with a target."""

from __future__ import annotations

import csv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waystation.cli import options, state
from waystation.cli.output import duration, size_text
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from export.source import MailSource
    from importer.folders import TargetFolders
    from importer.target import MailTarget
    from store.archive import Archive
    from store.finding import Compared, Finding
    from store.transfers import Target
    from waystation.address import Account
    from waystation.imap import Connection

_PLAN = """\
\b
Examples:
  waystation plan alice --to imaps://alice@example.com@mail.example.net
  waystation plan alice --to imaps://alice@mail.example.net --offline
"""
_IMPORT = """\
\b
Examples:
  waystation import alice --to imaps://alice@mail.example.net --password-env NEW_PASSWORD
  waystation import alice --folder-map folders.csv --rate 5
"""
_VERIFY = """\
\b
Examples:
  waystation verify alice --source
  waystation verify alice --target --deep
"""
_FOUND_SOMETHING = 13
_USUAL_RATE = 50.0
"""Messages per second to reckon with before anything was measured, for a plan."""

To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="SERVER",
        help="imaps://USER@HOST[:PORT] or imap://…; needed once, an archive remembers it.",
    ),
]
FolderMapFile = Annotated[
    Path | None,
    typer.Option(
        "--folder-map",
        metavar="FILE.csv",
        help="Lines of SOURCE,TARGET: folders that shall go elsewhere.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("plan", epilog=_PLAN)(_plan)
    app.command("import", epilog=_IMPORT)(_import)
    app.command("verify", epilog=_VERIFY)(_verify)


def _plan(
    archive: options.ArchivePath,
    to: To = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not even connect: assume an empty target.")
    ] = False,
    folder_map: FolderMapFile = None,
    rate: options.Rate = 0,
    password_env: options.PasswordEnv = None,
    password_command: options.PasswordCommand = None,
    ca_file: options.CaFile = None,
    allow_plaintext: options.AllowPlaintext = False,
    timeout: options.Timeout = 120,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Show what import would do: where folders go and why, what is to be sent. Sends nothing."""
    from importer.folders import TargetFolders
    from importer.imap_target import ImapTarget
    from importer.plan import folder_map as plan_folders
    from store.archive import Archive
    from waystation.cli.secrets import password_for
    from waystation.imap import Connection, ImapSession

    listener = state.listen(as_json=as_json, quiet=quiet, debug=debug)
    wishes = _wishes(folder_map)
    with Archive.read(archive) as opened:
        account = _account(opened, to)
        known = {target.key: target for target in opened.transfers.targets()}
        target = known.get(account.key)
        there: TargetFolders = TargetFolders((), "/")
        if not offline:
            password = password_for(account, password_env, password_command)
            connection = Connection(ca_file, allow_plaintext, timeout)
            with ImapSession.open(account, password, connection) as session:
                there = ImapTarget(session).folders()
        planned = plan_folders(opened, target.id if target else None, there, wishes)
        failed = sum(1 for _ in opened.index.messages("failed"))
    to_create = {"/".join(levels) for levels in planned.to_create}
    for folder in planned.folders:
        listener.row(
            {
                "type": "folder",
                "folder": folder.source,
                "target": folder.target,
                "exists": folder.exists,
                "reasons": list(folder.reasons),
                "messages": folder.messages,
                "octets": folder.octets,
            }
        )
    listener.table(
        ["folder", "goes to", "", "messages", "size", "because"],
        [
            [
                folder.source,
                folder.target,
                "" if folder.exists else "new",
                f"{folder.messages:,}",
                size_text(folder.octets),
                "; ".join(folder.reasons),
            ]
            for folder in planned.folders
        ],
    )
    messages = sum(folder.messages for folder in planned.folders)
    octets = sum(folder.octets for folder in planned.folders)
    seconds = messages / (rate or _USUAL_RATE)
    for name in planned.unused:
        listener.alarm(name, "the folder map names it, the archive does not have it")
    listener.say(
        f"{messages:,} messages ({size_text(octets)}) would be sent to {account.name}, "
        f"{len(to_create):,} folders created; about {duration(seconds)} at "
        f"{rate or _USUAL_RATE:,.0f} messages a second."
    )
    if failed:
        listener.say(f"{failed:,} messages failed at the source and cannot be sent.")
    listener.summary(
        {
            "command": "plan",
            "outcome": "done",
            "exit_code": 0,
            "target": account.name,
            "offline": offline,
            "folders": len(planned.folders),
            "folders_to_create": len(to_create),
            "messages": messages,
            "octets": octets,
            "failed_at_source": failed,
            "seconds_expected": round(seconds),
        }
    )
    return 0


def _import(
    archive: options.ArchivePath,
    to: To = None,
    folder_map: FolderMapFile = None,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="Send in the order of age, oldest first.")
    ] = False,
    one_by_one: Annotated[
        bool,
        typer.Option("--one-by-one", help="Send no message before the one before is answered."),
    ] = False,
    rate: options.Rate = 0,
    password_env: options.PasswordEnv = None,
    password_command: options.PasswordCommand = None,
    ca_file: options.CaFile = None,
    allow_plaintext: options.AllowPlaintext = False,
    timeout: options.Timeout = 120,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Stage two: replay the archive into a server. Run again, it goes on where it stopped.

    Nothing is sent twice and nothing is left out, wherever it is cut off. Nothing is ever
    deleted on the target.
    """
    from importer.run import Options, replay, totals
    from store.archive import Archive
    from waystation.cli.secrets import password_for
    from waystation.imap import Connection

    listener = state.listen(as_json=as_json, quiet=quiet, debug=debug)
    wishes = _wishes(folder_map)
    with Archive.write(archive, "import") as opened:
        account = _account(opened, to)
        password = password_for(account, password_env, password_command)
        connection = Connection(ca_file, allow_plaintext, timeout)

        @contextmanager
        def connect() -> Iterator[MailTarget]:
            with _target(account, password, connection, pipelined=not one_by_one) as target:
                yield target

        target = opened.transfers.target(account.name, account.key)
        numbers: dict[str, int] = {}
        with opened.run("import", account.name, numbers):
            result = replay(
                opened,
                connect,
                target,
                listener,
                Options(newest_first=not oldest_first, rate=rate, folder_map=wishes),
            )
            numbers.update(totals(result))
    listener.close()
    code = 0 if result.is_complete else 3
    listener.summary(
        {
            "command": "import",
            "outcome": "done" if result.is_complete else "incomplete",
            "exit_code": code,
            "target": account.name,
            **numbers,
        }
    )
    listener.say(_import_sentence(numbers, account.name))
    return code


def _verify(
    archive: options.ArchivePath,
    source: Annotated[
        bool, typer.Option("--source", help="Compare with the source as it is now.")
    ] = False,
    target: Annotated[
        bool, typer.Option("--target", help="Compare with the target as it is now.")
    ] = False,
    to: To = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="SERVER", help="The source, where it has a new address."),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Fetch and compare the content of every message.")
    ] = False,
    password_env: options.PasswordEnv = None,
    password_command: options.PasswordCommand = None,
    ca_file: options.CaFile = None,
    allow_plaintext: options.AllowPlaintext = False,
    timeout: options.Timeout = 120,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Compare the archive with the live server, message by message; name each difference.

    Exit code 13 when anything differs. What arrived as it should becomes 'verified' in the
    ledger.
    """
    from store.archive import Archive
    from store.finding import Compared
    from waystation.address import parse_account
    from waystation.cli.secrets import password_for
    from waystation.imap import Connection

    if source == target:
        raise UsageError("say --source or --target: which of the two shall be compared?")
    listener = state.listen(as_json=as_json, quiet=quiet, debug=debug)
    compared = Compared()
    causes: dict[str, int] = {}
    connection = Connection(ca_file, allow_plaintext, timeout)
    with Archive.read(archive) if source else Archive.write(archive, "verify") as opened:
        if source:
            named = from_ or opened.description.source
            if named is None:
                raise UsageError("this archive does not know its source; give --from SERVER.")
            account = parse_account(named)
        else:
            account = _account(opened, to)
        password = password_for(account, password_env, password_command)
        findings = (
            _source_findings(opened, account, password, connection, compared, deep=deep)
            if source
            else _target_findings(opened, account, password, connection, compared, deep=deep)
        )
        for finding in findings:
            causes[finding.cause] = causes.get(finding.cause, 0) + 1
            listener.finding(_finding(finding), _finding_text(finding))
    listener.close()
    code = _FOUND_SOMETHING if causes else 0
    listener.summary(
        {
            "command": "verify",
            "outcome": "differences" if causes else "equal",
            "exit_code": code,
            "server": account.name,
            "messages": compared.messages,
            "equal": compared.equal,
            "different": compared.different,
            "others": compared.others,
            "causes": causes,
        }
    )
    listener.say(_verify_sentence(compared, causes, account.name))
    return code


def _source_findings(
    archive: Archive,
    account: Account,
    password: str,
    connection: Connection,
    compared: Compared,
    *,
    deep: bool,
) -> Iterator[Finding]:
    from export.imap_source import ImapSource
    from export.verify import verify
    from waystation.imap import ImapSession

    with ImapSession.open(account, password, connection) as session:
        mail_source: MailSource = ImapSource(session)
        yield from verify(archive, mail_source, _listener(), compared, deep=deep)


def _target_findings(
    archive: Archive,
    account: Account,
    password: str,
    connection: Connection,
    compared: Compared,
    *,
    deep: bool,
) -> Iterator[Finding]:
    from importer.verify import verify

    target = _known_target(archive, account)
    with _target(account, password, connection, pipelined=True) as mail_target:
        yield from verify(archive, mail_target, target, _listener(), compared, deep=deep)


@contextmanager
def _target(
    account: Account, password: str, connection: Connection, *, pipelined: bool
) -> Iterator[MailTarget]:
    from importer.imap_target import ImapTarget
    from waystation.imap import ImapSession

    with ImapSession.open(account, password, connection) as session:
        yield ImapTarget(session, pipelined=pipelined)


def _account(archive: Archive, to: str | None) -> Account:
    """Return the target that was named, or the only one the archive knows."""
    from waystation.address import parse_account

    if to is not None:
        return parse_account(to)
    targets = archive.transfers.targets()
    if len(targets) == 1:
        return parse_account(targets[0].name)
    if not targets:
        raise UsageError("this archive has no target yet; give --to SERVER.")
    names = ", ".join(plain(target.name) for target in targets)
    raise UsageError(f"this archive has several targets ({names}); say which with --to SERVER.")


def _known_target(archive: Archive, account: Account) -> Target:
    for target in archive.transfers.targets():
        if target.key == account.key:
            return target
    raise UsageError(f"nothing was ever imported into {plain(account.name)} from this archive.")


def _wishes(file: Path | None) -> Mapping[str, str]:
    """Return the user's folder map out of a CSV file; every problem is told at once."""
    if file is None:
        return {}
    wishes: dict[str, str] = {}
    problems = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            for number, row in enumerate(csv.reader(lines), 1):
                cells = [cell.strip() for cell in row]
                if not any(cells) or cells[0].startswith("#"):
                    continue
                if number == 1 and [cell.lower() for cell in cells] == ["source", "target"]:
                    continue
                if len(cells) != 2 or not all(cells):
                    problems.append(f"line {number} is not SOURCE,TARGET")
                elif cells[0] in wishes:
                    problems.append(f"line {number} names {plain(cells[0])} again")
                else:
                    wishes[cells[0]] = cells[1]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{plain(str(file))} cannot be read: {plain(str(error))}") from None
    if problems:
        raise UsageError(f"{plain(str(file))}: {'; '.join(problems)}.")
    return wishes


def _listener() -> Any:  # noqa: ANN401 - the listener of this command
    return state.listener


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "type": "difference",
        "cause": found.cause.value,
        "folder": found.folder,
        "uidvalidity": found.uidvalidity,
        "uid": found.uid,
        "text": found.text,
    }


def _finding_text(found: Finding) -> str:
    uid = f" UID {found.uid}" if found.uid is not None else ""
    return f"{found.cause}: {found.folder}{uid}: {found.text}"


def _import_sentence(numbers: dict[str, int], target: str) -> str:
    parts = [f"{numbers['appended']:,} messages ({size_text(numbers['octets'])}) sent to {target}"]
    for key, words in (
        ("settled", "found there after a lost answer"),
        ("already_there", "were there before"),
        ("set_aside", "set aside"),
        ("refused", "refused"),
    ):
        if numbers[key]:
            parts.append(f"{numbers[key]:,} {words}")
    return ", ".join(parts) + "."


def _verify_sentence(compared: Compared, causes: dict[str, int], server: str) -> str:
    text = f"{compared.equal:,} of {compared.messages:,} messages are the same at {server}"
    if not causes:
        return f"{text}."
    parts = ", ".join(f"{count:,} {cause}" for cause, count in sorted(causes.items()))
    return f"{text}; found: {parts}."
