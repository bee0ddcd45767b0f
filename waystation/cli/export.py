"""``waystation export``: stage one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waystation.cli import choosing, options
from waystation.cli.connect import Doors, source_account
from waystation.cli.naming import named_account
from waystation.cli.recording import asked
from waystation.cli.sizes import size_of
from waystation.cli.text import count_text, size_text
from waystation.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from export.run import Options
    from waystation.address import Account
    from waystation.cli.output import Listener

_EXAMPLES = """\
\b
Examples:
  waystation export alice --from imaps://alice@example.com@mail.example.com
  waystation export alice --password-env OLD_PASSWORD
"""


Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="Where no message came or went, do not look for changed flags either"
        " (matters for servers without CONDSTORE).",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Fetch so much in 24 hours at the most, then stop; a later run goes on. 2300M for"
        " Gmail unless said otherwise (1150M by POP3); 'none' is no ceiling.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", epilog=_EXAMPLES)(_export)


@options.unpacked
def _export(
    archive: options.ArchivePath,
    source: options.From = None,
    reach: options.Reach = options.USUAL_REACH,
    accept_emptied: Annotated[
        bool,
        typer.Option(
            "--accept-emptied", help="A folder that suddenly shows nothing was emptied on purpose."
        ),
    ] = False,
    quick: Quick = False,
    new_source: Annotated[
        bool,
        typer.Option("--new-source", help="The same mailbox is now at another address."),
    ] = False,
    chosen: choosing.Chosen = choosing.ALL,
    flags: choosing.ChosenFlags = choosing.ALL_FLAGS,
    budget: Budget = None,
    mix_protocols: Annotated[
        bool,
        typer.Option(
            "--mix-protocols",
            help="The archive holds mail that came by IMAP, and this is POP3, or the other way"
            " round; put both together.",
        ),
    ] = False,
    largest_message: options.LargestMessage = 1024**3,
    rate: options.Rate = 0,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Stage one: archive a mailbox. Run again, it fetches what is new.

    Creates ARCHIVE when it is not there. The server is only read: no flag is set, nothing is
    deleted on either side. What has vanished from the server is noted and kept.
    """
    from export.run import Options

    listener = voice.listener("export")
    doors = Doors(
        reach.passwords, replace(reach.connection, largest_message=largest_message), sign_in
    )
    selection = replace(
        chosen.selection(),
        flags=tuple(flags.flag or ()),
        not_flags=tuple(flags.not_flag or ()),
    )
    how = Options(
        accept_emptied, quick, new_source, rate, selection, octets_a_day(budget), mix_protocols
    )
    return run(archive, source, how, doors, listener)


def run(archive: Path, source: str | None, how: Options, doors: Doors, listener: Listener) -> int:
    """Archive one mailbox and tell how it went; return the exit code.

    Raises:
        WaystationError: the run could not go on; the same call goes on from there.
    """
    from export.run import Exported, export, totals
    from store.archive import Archive
    from waystation.retry import DELAYS

    account, is_new = _account(archive, source, new_source=how.new_source, mix=how.mix_protocols)
    wishes = _asked(how)
    if how.budget is None and account.preset is not None:
        how = replace(how, budget=account.preset.daily.get(account.protocol))
    login = doors.login(account)
    numbers: dict[str, int] = {}
    result = Exported()
    with ExitStack() as stack:
        # Only when somebody lets us in does an archive come into being.
        sessions = stack.enter_context(doors.sessions(login, listener))
        opened = stack.enter_context(
            Archive.create(archive, account.name, account.key)
            if is_new
            else Archive.write(archive, "export")
        )
        with opened.run("export", account.name, numbers, asked=wishes):
            try:
                export(
                    opened,
                    partial(sessions.source, opened),
                    account.name,
                    account.key,
                    listener,
                    how,
                    doors.patience(listener, DELAYS),
                    result,
                )
            finally:
                # Also of a run that fails: what it has fetched counts toward the day's budget.
                numbers.update(totals(result))
    listener.close()
    listener.say(_sentence(numbers))
    code = 0 if result.is_complete else 3
    listener.summary("done" if result.is_complete else "incomplete", code, numbers)
    return code


def _account(
    archive: Path, named: str | None, *, new_source: bool, mix: bool
) -> tuple[Account, bool]:
    """Return the source, and whether the archive has yet to be made."""
    from store.archive import Archive, demand_same_source, read_description

    if Archive.exists(archive):
        known = read_description(archive)
        account = source_account(known, named)
        demand_same_source(known, account.name, account.key, new_source=new_source, mix=mix)
        return account, False
    # A wrong place shows before a password is asked for.
    Archive.ensure_creatable(archive)
    if named is None:
        raise UsageError("a new archive needs --from SERVER.")
    return named_account(named), True


def _asked(how: Options) -> dict[str, Any]:
    return asked(
        selection=how.selection,
        accept_emptied=how.accept_emptied,
        quick=how.quick,
        new_source=how.new_source,
        mix_protocols=how.mix_protocols,
        budget="none" if how.budget == 0 else how.budget,
        rate=how.rate,
    )


def octets_a_day(budget: str | None) -> int | None:
    """Return what ``--budget`` means: octets, 0 for no ceiling, None for what is usual."""
    if budget is None:
        return None
    return 0 if budget.lower() == "none" else size_of(budget)


def _sentence(numbers: dict[str, int]) -> str:
    parts = [f"{count_text(numbers['new'], 'new message')} ({size_text(numbers['octets'])})"]
    for key, words in (
        ("linked", "of them here already under another label"),
        ("renumbered", "renumbered"),
        ("flags_changed", "with other flags"),
        ("vanished", "vanished from the source, kept here"),
        ("returned", "back again"),
        ("skipped", "left out"),
        ("failed", "failed"),
    ):
        if numbers[key]:
            parts.append(f"{numbers[key]:,} {words}")
    text = f"{count_text(numbers['folders'], 'folder')}: {', '.join(parts)}."
    if numbers["out_of_budget"]:
        text += (
            " What may be fetched in 24 hours is fetched, and not everything is here: run the same"
            " command again tomorrow, it goes on where this run stopped."
        )
    if numbers["skipped"]:
        text += " 'waystation ledger --state skipped' says why each was left out."
    if numbers["failed"]:
        text += " The next run tries them again; 'waystation ledger --state failed' lists them."
    return text
