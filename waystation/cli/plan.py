"""``waystation plan``: what an import would do, told beforehand."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waystation.cli import choosing, house, options
from waystation.cli.connect import Doors, known_target, target_account
from waystation.cli.folder_map import UNKNOWN, FolderMapFile, read_folder_map
from waystation.cli.text import cell, count_text, duration_text, json_line, rate_text, size_text
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from importer.folders import TargetFolders
    from importer.foresee import Foreseen
    from importer.house import HouseRules
    from importer.plan import FolderPlan
    from store.archive import Archive
    from store.transfers import Target
    from waystation.cli.output import Listener
    from waystation.selection import Choice, Selection

_EXAMPLES = """\
\b
Examples:
  waystation plan alice --to imaps://alice@mail.example.net --offline
  waystation plan alice --to office365:alice@contoso.com --offline --format csv > plan.csv
"""
_USUAL_RATE = 50.0
"""Messages per second to reckon with towards a plain server, before anything was measured."""
_OFFICE_RATE = 4.0
"""The same towards Office 365, where nobody sets a ceiling."""
_COLUMNS = (
    "type", "folder", "target", "uidvalidity", "uid", "size", "fate", "what", "messages", "octets",
    "exists", "reasons",
)  # fmt: skip


class PlanFormat(StrEnum):
    """How the rows of a plan are written."""

    JSONL = "jsonl"
    CSV = "csv"


@dataclass(slots=True)
class _Held:
    """What of a folder is not sent, or not as it is."""

    messages: int = 0
    octets: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    octets_by_fate: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Plan:
    """Everything that is told."""

    folders: FolderPlan
    held: dict[int, _Held] = field(default_factory=dict)
    keywords: Counter[str] = field(default_factory=Counter)


Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        help="Do not even connect: assume that the target has only what import put there.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan", epilog=_EXAMPLES)(_plan)


@options.unpacked
def _plan(
    archive: options.ArchivePath,
    to: options.To = None,
    offline: Offline = False,
    format: Annotated[  # noqa: A002 - the option's name
        PlanFormat | None,
        typer.Option("--format", help="Rows for a program or a table, in place of the text."),
    ] = None,
    folder_map: FolderMapFile = None,
    rate: options.RateOfProvider = None,
    chosen: choosing.Chosen = choosing.ALL,
    treatment: house.House = house.USUAL,
    reach: options.Reach = options.USUAL_REACH,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Show what import would do: where folders go and why, what is to be sent. Sends nothing.

    For Office 365 every file is read: each message that would be repaired, set aside or lose
    keywords is named beforehand.
    """
    if voice.as_json and format is not None:
        raise UsageError("--json and --format are two things; leave one out.")
    listener = voice.listener("plan")
    doors = Doors(reach.passwords, reach.connection, sign_in)
    how = How(read_folder_map(folder_map), chosen.selection(), treatment.rules(rate), rate, offline)
    return run(archive, to, how, doors, listener, format)


@dataclass(frozen=True, slots=True)
class How:
    """What shall be planned for; see ``waystation.cli.importer.How``."""

    folder_map: Mapping[str, str]
    selection: Selection
    rules: HouseRules
    rate: float | None = None
    offline: bool = False


def run(
    archive: Path,
    to: str | None,
    how: How,
    doors: Doors,
    listener: Listener,
    format: PlanFormat | None = None,  # noqa: A002 - the option's name
) -> int:
    """Plan one import and tell what it would do; return the exit code.

    Raises:
        WaystationError: it cannot be planned.
    """
    from importer.excluded import choice_of
    from importer.plan import folder_map as plan_folders
    from store.archive import Archive

    offline, rules, rate = how.offline, how.rules, how.rate
    with ExitStack() as stack:
        opened = stack.enter_context(Archive.read(archive))
        account = doors.placed(target_account(opened, to, offline=offline))
        target = known_target(opened, account)
        is_exchange = account.takes_tokens_only
        limit: int | None = None
        if offline:
            there = _assumed(opened, target, is_exchange=is_exchange)
        else:
            sessions = stack.enter_context(doors.sessions(doors.login(account), listener))
            is_exchange = sessions.is_exchange
            mail_target = stack.enter_context(sessions.target())
            there = mail_target.folders()
            limit = mail_target.limit
        target_id = target.id if target else None
        choice = choice_of(opened, how.selection)
        planned = plan_folders(opened, target_id, there, how.folder_map, choice.left_out)
        if is_exchange:
            limit = rules.limits.largest
        for name in planned.unused:
            listener.alarm(name, UNKNOWN)
        for pattern in choice.unmatched:
            listener.alarm(pattern, "the archive has no folder that this pattern names")
        plan = _Plan(planned)
        house_rules = rules if is_exchange else None
        rows = _in_detail(opened, target_id, plan, limit, house_rules, choice)
        if format is not None:
            _write(format, plan, rows)
            return 0
        for row in rows:  # one by one: there may be as many as messages
            listener.row("message", row)
        apart = _set_apart(opened, target)
    _show(listener, plan, limit)
    values = _totals(plan, limit, rules.pace.most if is_exchange else rate, is_exchange=is_exchange)
    _tell(listener, account.name, values, plan, apart)
    listener.summary("done", 0, {"target": account.name, "offline": offline, **values, **apart})
    return 0


def _in_detail(
    archive: Archive,
    target_id: int | None,
    plan: _Plan,
    limit: int | None,
    rules: HouseRules | None,
    choice: Choice,
) -> Iterator[dict[str, Any]]:
    """Yield what becomes of each message that is not simply sent, and count it in the plan."""
    targets = {folder.folder_id: folder.target for folder in plan.folders.folders}
    for folder_id, each in _foreseen(archive, target_id, limit, rules, choice):
        message, fate = each.message, each.fate.value
        held = plan.held.setdefault(folder_id, _Held())
        held.fates[fate] += 1
        held.octets_by_fate[fate] += message.size or 0
        if each.is_held_back:
            held.messages += 1
            held.octets += message.size or 0
        if fate == "loses_keywords":
            plan.keywords.update(message.keywords)
        yield {
            "folder": message.folder,
            "target": targets.get(folder_id),
            "uidvalidity": message.uidvalidity,
            "uid": message.uid,
            "size": message.size,
            "fate": fate,
            "what": each.what,
        }


def _foreseen(
    archive: Archive,
    target_id: int | None,
    limit: int | None,
    rules: HouseRules | None,
    choice: Choice,
) -> Iterator[tuple[int, Foreseen]]:
    """Yield what is foreseen, with the archived folder's id."""
    from importer.foresee import foresee, foresee_plain

    ids = {folder.name: folder.id for folder in archive.index.folders()}
    if rules is not None:
        found = foresee(archive, target_id, rules, choice)
    else:
        found = foresee_plain(archive, target_id, limit, choice)
    for each in found:
        yield ids[each.message.folder], each


def _totals(
    plan: _Plan, limit: int | None, rate: float | None, *, is_exchange: bool
) -> dict[str, Any]:
    fates: Counter[str] = Counter()
    octets_by_fate: Counter[str] = Counter()
    for held in plan.held.values():
        fates += held.fates
        octets_by_fate += held.octets_by_fate
    messages = sum(folder.messages for folder in plan.folders.folders)
    messages -= sum(held.messages for held in plan.held.values())
    octets = sum(folder.octets for folder in plan.folders.folders)
    octets -= sum(held.octets for held in plan.held.values())
    rate = rate or (_OFFICE_RATE if is_exchange else _USUAL_RATE)
    seconds = messages / rate
    if is_exchange:
        from importer.pace import PaceLimits

        seconds = max(seconds, octets / PaceLimits().octets)
    return {
        "folders": len(plan.folders.folders),
        "folders_to_create": len(plan.folders.to_create),
        "messages": messages,
        "octets": octets,
        "excluded": fates["excluded"],
        "moved": fates["moved"],
        "repaired": fates["repaired"],
        "too_large": fates["too_large"],
        "too_large_octets": octets_by_fate["too_large"],
        "set_aside": fates["set_aside"],
        "damaged": fates["damaged"],
        "loses_keywords": fates["loses_keywords"],
        "keywords_lost": dict(plan.keywords.most_common()),
        "largest_taken": limit,
        "rate_expected": rate,
        "seconds_expected": round(seconds),
    }


def _assumed(archive: Archive, target: Target | None, *, is_exchange: bool) -> TargetFolders:
    """Return the folders that the target has as far as the ledger knows."""
    from importer.folders import TargetFolders
    from waystation.model import Folder, split_name

    names = archive.transfers.arrived_folders(target.id) if target is not None else {}
    folders = tuple(Folder(split_name(name), b"", "/") for name in names)
    return TargetFolders(folders, "/", is_exchange=is_exchange)


_APART = {
    "failed_at_source": "Failed at the source, cannot be sent",
    "skipped_at_source": "Left out of the archive, cannot be sent",
    "refused_before": "Refused by the target before, will be tried again",
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


def _show(listener: Listener, plan: _Plan, limit: int | None) -> None:
    """Show where the folders go."""
    nothing = _Held()
    rows = [(each, plan.held.get(each.folder_id, nothing)) for each in plan.folders.folders]
    for folder, held in rows:
        listener.row(
            "folder",
            {
                "folder": folder.source,
                "target": folder.target,
                "exists": folder.exists,
                "reasons": list(folder.reasons),
                "messages": folder.messages - held.messages,
                "octets": folder.octets - held.octets,
                "moved": held.fates["moved"],
                "too_large": held.fates["too_large"],
                "too_large_octets": held.octets_by_fate["too_large"],
            },
        )
    listener.table(
        ["folder", "goes to", "", "messages", "size", "because"],
        [
            [
                folder.source,
                folder.target,
                "" if folder.exists else "new",
                f"{folder.messages - held.messages:,}",
                size_text(folder.octets - held.octets),
                "; ".join(folder.reasons),
            ]
            for folder, held in rows
        ],
    )
    for folder, held in rows:
        if held.fates["too_large"] and limit is not None:
            listener.say(
                f"{plain(folder.source)}: {count_text(held.fates['too_large'], 'message')} "
                f"({size_text(held.octets_by_fate['too_large'])}) too large for the target, which "
                f"takes {size_text(limit)} each; cannot be sent."
            )


_FATES = {
    "excluded": "Left out by your filters",
    "repaired": "Will be changed on the way, so that the server takes it",
    "set_aside": "Will be set aside",
    "damaged": "Cannot be sent, the file no longer agrees with the index",
    "loses_keywords": "Will lose keywords",
    "moved": "Moved on the source, will be sent from the folder where they are now",
}


def _tell(
    listener: Listener, target: str, values: dict[str, Any], plan: _Plan, apart: dict[str, int]
) -> None:
    """Say the whole in words."""
    listener.say(
        f"{count_text(values['messages'], 'message')} ({size_text(values['octets'])}) would be "
        f"sent to {target} and {count_text(values['folders_to_create'], 'folder')} created; that "
        f"takes about {duration_text(values['seconds_expected'])} at "
        f"{rate_text(values['rate_expected'])}, and that much room in the mailbox."
    )
    for key, words in _FATES.items():
        if values[key]:
            listener.say(f"{words}: {count_text(values[key], 'message')}.")
    if plan.keywords:
        named = ", ".join(plain(word, 60) for word, _ in plan.keywords.most_common(_NAMED))
        more = f" and {len(plan.keywords) - _NAMED} more" if len(plan.keywords) > _NAMED else ""
        listener.say(f"Keywords that the server cannot keep: {named}{more}.")
    if any(values[key] for key in ("repaired", "set_aside", "too_large", "loses_keywords")):
        listener.say("'--format csv' lists each of these messages, and what is done to it.")
    for key, words in _APART.items():
        if apart[key]:
            listener.say(f"{words}: {count_text(apart[key], 'message')}.")


_NAMED = 10


def _write(
    format: PlanFormat,  # noqa: A002 - the option's name
    plan: _Plan,
    messages: Iterator[dict[str, Any]],
) -> None:
    folders: Iterator[dict[str, Any]] = (
        {
            "type": "folder",
            "folder": folder.source,
            "target": folder.target,
            "exists": folder.exists,
            "reasons": list(folder.reasons),
            "messages": folder.messages,
            "octets": folder.octets,
        }
        for folder in plan.folders.folders
    )
    rows = chain(folders, ({"type": "message", **row} for row in messages))
    if format is PlanFormat.JSONL:
        sys.stdout.writelines(json_line(row) for row in rows)
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow([cell(row.get(column)) for column in _COLUMNS])
