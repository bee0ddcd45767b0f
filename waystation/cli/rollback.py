"""``waystation rollback``: takes back what this archive put into a target."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli import house, options
from waystation.cli.connect import Login, Sessions, known_target, target_account
from waystation.cli.text import count_text
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from importer.rollback import RolledBack
    from waystation.cli.output import Listener

_EXAMPLES = """\
\b
Examples:
  waystation rollback alice --to office365:alice@contoso.com --client-secret-env APP_SECRET
  waystation rollback alice --yes
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rollback", epilog=_EXAMPLES)(_rollback)


@options.unpacked
def _rollback(
    archive: options.ArchivePath,
    to: options.To = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask; remove what is shown at once.")
    ] = False,
    reach: options.Reach = options.USUAL_REACH,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Remove from a target exactly the messages that this archive's ledger put there.

    What somebody has read, flagged or changed since stays and is named, and so does what was
    there before. The count is shown first, and asked about. The archive keeps everything; the
    next import sends it again.
    """
    from importer.lasting import LastingTarget
    from importer.rollback import remove, survey
    from store.archive import Archive
    from waystation.retry import Patience

    listener = voice.listener("rollback")
    passwords = reach.passwords
    if not yes and not sys.stdin.isatty():
        raise UsageError("there is nobody to ask; --yes removes without asking.")
    with ExitStack() as stack:
        opened = stack.enter_context(Archive.write(archive, "rollback"))
        account = target_account(opened, to)
        target = known_target(opened, account)
        if target is None:
            raise UsageError(f"nothing of this archive was ever sent to {plain(account.name)}.")
        login = Login.ask(account, passwords, reach.connection, sign_in)
        sessions = stack.enter_context(Sessions(login, listener))
        lasting = LastingTarget(sessions.target, listener, Patience(listener))
        mail_target = stack.enter_context(lasting)
        rules = house.USUAL.rules(None) if sessions.is_exchange else None
        numbers: dict[str, int] = {}
        with opened.run("rollback", account.name, numbers):
            result, removable = survey(opened, mail_target, target, listener, rules)
            listener.close()
            _show(listener, result, account.name)
            wanted = sum(result.folders.values())
            is_agreed = wanted == 0 or yes or _ask(wanted, account.name)
            if is_agreed:
                remove(opened, mail_target, target, listener, rules, removable, result)
            numbers.update({name: n for name, n in asdict(result).items() if isinstance(n, int)})
    listener.close()
    if not is_agreed:
        listener.say("Nothing was removed.")
    else:
        listener.say(f"{count_text(result.removed, 'message')} removed from {account.name}.")
    code = 3 if result.changed or result.in_doubt else 0
    outcome = "done" if is_agreed else "declined"
    listener.summary(outcome, code, {"target": account.name, **numbers})
    return code


def _show(listener: Listener, result: RolledBack, target: str) -> None:
    """Show what would be removed, and what stays."""
    listener.table(
        ["folder", "to remove"], [[name, f"{count:,}"] for name, count in result.folders.items()]
    )
    for count, words in (
        (result.changed, "stay: they are not as they were sent any more"),
        (result.gone, "are not there any more"),
        (result.there_before, "stay: they were there before"),
        (result.in_doubt, "stay: whether they arrived is in doubt; 'waystation import' settles it"),
    ):
        if count:
            listener.say(f"{count_text(count, 'message')} {words}.")
    if not result.folders:
        listener.say(f"There is nothing to remove from {target}.")


def _ask(count: int, target: str) -> bool:
    return typer.confirm(
        f"Remove {count_text(count, 'message')} from {plain(target)} for good?", err=True
    )
