"""``waystation plan`` and ``import``: stage two."""

from __future__ import annotations

import csv
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli import options, state
from waystation.cli.connect import Login, Sessions, known_target, target_account
from waystation.cli.secrets import PasswordSource
from waystation.cli.text import count_text, duration_text, rate_text, size_text
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from importer.folders import TargetFolders
    from importer.plan import FolderPlan, HeldBack
    from store.archive import Archive
    from store.transfers import Target
    from waystation.cli.output import Listener

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
_USUAL_RATE = 50.0
"""Messages per second to reckon with before anything was measured, for a plan."""
_TOLD = 20
_UNKNOWN = "the folder map names it, the archive does not have it"

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
    app.command("plan", epilog=_PLAN, short_help="Show what import would do; send nothing.")(_plan)
    app.command("import", epilog=_IMPORT, short_help="Replay an archive into a server.")(_import)


@options.unpacked
def _plan(
    archive: options.ArchivePath,
    to: options.To = None,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Do not even connect: assume that the target has only what import put there.",
        ),
    ] = False,
    folder_map: FolderMapFile = None,
    rate: options.Rate = 0,
    password_env: options.PasswordEnv = None,
    password_command: options.PasswordCommand = None,
    ca_file: options.CaFile = None,
    allow_plaintext: options.AllowPlaintext = False,
    timeout: options.Timeout = 120,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Show what import would do: where folders go and why, what is to be sent. Sends nothing."""
    from importer.plan import folder_map as plan_folders
    from importer.plan import held_back
    from store.archive import Archive
    from waystation.imap import Connection

    listener = state.listen("plan", as_json=as_json, quiet=quiet, debug=debug)
    passwords = PasswordSource(password_env, password_command)
    wishes = _wishes(folder_map)
    connection = Connection(ca_file, allow_plaintext, timeout)
    with Archive.read(archive) as opened:
        account = target_account(opened, to)
        target = known_target(opened, account)
        there = _assumed(opened, target)
        limit: int | None = None
        if not offline:
            with (
                Sessions(Login.ask(account, passwords, connection, sign_in)) as sessions,
                sessions.target() as mail_target,
            ):
                there = mail_target.folders()
                limit = mail_target.limit
        target_id = target.id if target else None
        planned = plan_folders(opened, target_id, there, wishes)
        held = held_back(opened, target_id, limit)
        apart = _set_apart(opened, target)
    apart["moved"] = sum(each.moved for each in held.values())
    too_large = sum(each.too_large for each in held.values())
    _show_folders(listener, planned, held)
    for name in planned.unused:
        listener.alarm(name, _UNKNOWN)
    messages = sum(folder.messages for folder in planned.folders)
    messages -= sum(each.messages for each in held.values())
    octets = sum(folder.octets for folder in planned.folders)
    octets -= sum(each.octets for each in held.values())
    seconds = messages / (rate or _USUAL_RATE)
    listener.say(
        f"{count_text(messages, 'message')} ({size_text(octets)}) would be sent to {account.name} "
        f"and {count_text(len(planned.to_create), 'folder')} created; that takes about "
        f"{duration_text(seconds)} at {rate_text(rate or _USUAL_RATE)}."
    )
    _tell_too_large(listener, planned, held, limit)
    for key, words in _APART.items():
        if apart[key]:
            listener.say(f"{words}: {count_text(apart[key], 'message')}.")
    listener.summary(
        "done",
        0,
        {
            "target": account.name,
            "offline": offline,
            "folders": len(planned.folders),
            "folders_to_create": len(planned.to_create),
            "messages": messages,
            "octets": octets,
            **apart,
            "too_large": too_large,
            "too_large_octets": sum(each.too_large_octets for each in held.values()),
            "largest_taken": limit,
            "seconds_expected": round(seconds),
        },
    )
    return 0


def _assumed(archive: Archive, target: Target | None) -> TargetFolders:
    """Return the folders that the target has as far as the ledger knows."""
    from importer.folders import TargetFolders
    from waystation.model import Folder, split_name

    names = archive.transfers.arrived_folders(target.id) if target is not None else {}
    return TargetFolders(tuple(Folder(split_name(name), b"", "/") for name in names), "/")


_APART = {
    "failed_at_source": "Failed at the source, cannot be sent",
    "skipped_at_source": "Skipped at the source, cannot be sent",
    "refused_before": "Refused by the target before, will be tried again",
    "moved": "Moved on the source, will be sent from the folder where they are now",
    "in_doubt": "In doubt, will be looked up in the target and sent only if not there",
    "arrived": "Arrived already, will not be sent again",
}


def _set_apart(archive: Archive, target: Target | None) -> dict[str, int]:
    """Return how many messages are no plain case, by why."""
    from store.transfers import ARRIVED, TransferState

    counts = dict.fromkeys(_APART, 0)
    for _, at_source, _, _, count, _ in archive.index.totals():
        if at_source != "archived":
            counts[f"{at_source}_at_source"] += count
    for name, _, reached, _, count in archive.transfers.totals():
        if target is None or name != target.name:
            continue
        if reached == TransferState.REFUSED:
            counts["refused_before"] += count
        elif reached == TransferState.SENDING:
            counts["in_doubt"] += count
        elif reached in ARRIVED:
            counts["arrived"] += count
    return counts


def _tell_too_large(
    listener: Listener, planned: FolderPlan, held: Mapping[int, HeldBack], limit: int | None
) -> None:
    for folder in planned.folders:
        each = held.get(folder.folder_id)
        if each is not None and each.too_large and limit is not None:
            listener.say(
                f"{plain(folder.source)}: {count_text(each.too_large, 'message')} "
                f"({size_text(each.too_large_octets)}) too large for the target, which takes "
                f"{size_text(limit)} each; cannot be sent."
            )


def _show_folders(listener: Listener, planned: FolderPlan, held: Mapping[int, HeldBack]) -> None:
    from importer.plan import HeldBack

    nothing = HeldBack()
    rows = [(folder, held.get(folder.folder_id, nothing)) for folder in planned.folders]
    for folder, back in rows:
        listener.row(
            "folder",
            {
                "folder": folder.source,
                "target": folder.target,
                "exists": folder.exists,
                "reasons": list(folder.reasons),
                "messages": folder.messages - back.messages,
                "octets": folder.octets - back.octets,
                "moved": back.moved,
                "too_large": back.too_large,
                "too_large_octets": back.too_large_octets,
            },
        )
    listener.table(
        ["folder", "goes to", "", "messages", "size", "because"],
        [
            [
                folder.source,
                folder.target,
                "" if folder.exists else "new",
                f"{folder.messages - back.messages:,}",
                size_text(folder.octets - back.octets),
                "; ".join(folder.reasons),
            ]
            for folder, back in rows
        ],
    )


@options.unpacked
def _import(
    archive: options.ArchivePath,
    to: options.To = None,
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
    sign_in: options.SignIn = options.NO_SIGN_IN,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Stage two: replay the archive into a server. Run again, it goes on where it stopped.

    Nothing is sent twice and nothing is left out, wherever it is cut off. Nothing is ever
    deleted on the target.
    """
    from importer.job import Options, totals
    from importer.run import replay
    from store.archive import Archive
    from waystation.imap import Connection

    listener = state.listen("import", as_json=as_json, quiet=quiet, debug=debug)
    passwords = PasswordSource(password_env, password_command)
    wishes = _wishes(folder_map)
    connection = Connection(ca_file, allow_plaintext, timeout)
    numbers: dict[str, int] = {}
    with ExitStack() as stack:
        opened = stack.enter_context(Archive.write(archive, "import"))
        account = target_account(opened, to)
        _tell_unknown(opened, wishes, listener)
        # Only where somebody lets us in is it remembered as a target.
        login = Login.ask(account, passwords, connection, sign_in)
        sessions = stack.enter_context(Sessions(login))
        target = opened.transfers.target(account.name, account.key)
        with opened.run("import", account.name, numbers):
            result = replay(
                opened,
                partial(sessions.target, pipelined=not one_by_one),
                target,
                listener,
                Options(newest_first=not oldest_first, rate=rate, folder_map=wishes),
            )
            numbers.update(totals(result))
    listener.close()
    listener.say(_sentence(numbers, account.name))
    code = 0 if result.is_complete else 3
    values = {"target": account.name, **numbers}
    listener.summary("done" if result.is_complete else "incomplete", code, values)
    return code


def _wishes(file: Path | None) -> Mapping[str, str]:
    """Return the user's folder map out of a CSV file; every problem is told at once."""
    if file is None:
        return {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            wishes, problems = _read_wishes(csv.reader(lines, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{plain(str(file))} cannot be read: {plain(why or '')}.") from None
    if problems:
        raise UsageError(f"{plain(str(file))}: {_listed(problems)}.")
    return wishes


def _read_wishes(rows: Iterable[list[str]]) -> tuple[dict[str, str], list[str]]:
    wishes: dict[str, str] = {}
    problems = []
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if number == 1 and [cell.lower() for cell in cells] == ["source", "target"]:
            continue
        if len(cells) != 2 or not all(cells):
            problems.append(f"line {number} is not SOURCE,TARGET")
        elif cells[0] in wishes:
            problems.append(f"line {number} names {plain(cells[0], 60)} again")
        elif not all(cells[1].split("/")):
            problems.append(f"line {number} gives an empty level in {plain(cells[1], 60)}")
        else:
            wishes[cells[0]] = cells[1]
    return wishes, problems


def _tell_unknown(archive: Archive, wishes: Mapping[str, str], listener: Listener) -> None:
    """Name what the folder map names and the archive does not have; it may be a slip."""
    known = {folder.name for folder in archive.index.folders()}
    known |= {name.rpartition("/")[0] for name in known}
    for name in wishes:
        if name not in known and name.upper() != "INBOX":
            listener.alarm(name, _UNKNOWN)


def _listed(problems: list[str]) -> str:
    more = f"; and {len(problems) - _TOLD:,} more" if len(problems) > _TOLD else ""
    return "; ".join(problems[:_TOLD]) + more


def _sentence(numbers: dict[str, int], target: str) -> str:
    if not any(numbers.values()):
        return f"Nothing was left to send to {target}."
    sent = f"{count_text(numbers['appended'], 'message')} ({size_text(numbers['octets'])})"
    parts = [f"{sent} sent to {target}"]
    for key, words in (
        ("settled", "found there after a lost answer"),
        ("already_there", "were there before"),
        ("set_aside", "set aside"),
        ("too_large", "of them too large for it"),
        ("refused", "refused"),
        ("not_sent", "not sent: their folder cannot be made or used"),
    ):
        if numbers[key]:
            parts.append(f"{numbers[key]:,} {words}")
    text = ", ".join(parts) + "."
    if numbers["refused"]:
        text += " The next run tries these again; 'waystation ledger --state refused' lists them."
    return text
