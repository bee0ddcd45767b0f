"""``waystation verify``: the archive against a live server."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waystation.cli import choosing, house, options, state
from waystation.cli.connect import Doors, known_target, source_account, target_account
from waystation.cli.secrets import PasswordSource
from waystation.cli.text import sum_text
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.archive import Archive
    from store.finding import Compared, Finding
    from waystation.address import Account
    from waystation.cli.connect import Sessions
    from waystation.cli.output import Listener
    from waystation.selection import Selection

_EXAMPLES = """\
\b
Examples:
  waystation verify alice --source
  waystation verify alice --target --deep
"""
_FOUND_SOMETHING = 13


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "verify", epilog=_EXAMPLES, short_help="Compare archive and server, message by message."
    )(_verify)


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
    deep: Annotated[
        bool, typer.Option("--deep", help="Fetch and compare the content of every message.")
    ] = False,
    chosen: choosing.Chosen = choosing.ALL,
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
    """Compare the archive with the live server, message by message; name each difference.

    Exit code 13 when anything differs. What arrived as it should becomes 'verified' in the
    ledger.
    """
    from waystation.imap import Connection

    listener = state.listen("verify", as_json=as_json, quiet=quiet, debug=debug)
    if source == target:
        raise UsageError("say --source or --target: with which of the two shall be compared?")
    if (source and to is not None) or (target and from_ is not None):
        raise UsageError("--from goes with --source, --to with --target.")
    selection = chosen.selection()
    passwords = PasswordSource(password_env, password_command)
    doors = Doors(passwords, Connection(ca_file, allow_plaintext, timeout), sign_in)
    how = How(selection, is_source=source, deep=deep)
    return run(archive, from_ if source else to, how, doors, listener)


@dataclass(frozen=True, slots=True)
class How:
    """What shall be compared, and how thoroughly."""

    selection: Selection
    is_source: bool
    deep: bool = False


def run(archive: Path, server: str | None, how: How, doors: Doors, listener: Listener) -> int:
    """Compare one archive and tell what was found; return the exit code.

    Raises:
        WaystationError: it could not be compared to the end.
    """
    from store.archive import Archive
    from store.finding import Compared

    compared = Compared()
    causes: dict[str, int] = {}
    with ExitStack() as stack:
        # What is found in the target goes into the ledger; of the source nothing is recorded.
        opened = stack.enter_context(
            Archive.read(archive) if how.is_source else Archive.write(archive, "verify")
        )
        account = (
            source_account(opened.description, server)
            if how.is_source
            else _account(opened, server)
        )
        sessions = stack.enter_context(doors.sessions(doors.login(account), listener))
        findings = (
            _with_source(stack, opened, sessions, listener, compared, how)
            if how.is_source
            else _with_target(stack, opened, sessions, account, listener, compared, how, doors)
        )
        for finding in findings:
            causes[finding.cause.value] = causes.get(finding.cause.value, 0) + 1
            listener.finding(_values(finding), _text(finding))
    listener.close()
    listener.say(_sentence(compared, causes, account.name))
    code = _FOUND_SOMETHING if causes else 0
    listener.summary(
        "differences" if causes else "equal",
        code,
        {
            "server": account.name,
            "messages": compared.messages,
            "equal": compared.equal,
            "different": compared.different,
            "others": compared.others,
            "passed": dict(sorted(compared.passed.items())),
            "causes": causes,
        },
    )
    return code


def _account(archive: Archive, named: str | None) -> Account:
    account = target_account(archive, named)
    if known_target(archive, account) is None:
        raise UsageError(
            f"nothing was ever imported into {plain(account.name)} from this archive; "
            "'waystation import ARCHIVE --to SERVER' does that."
        )
    return account


def _with_source(
    stack: ExitStack,
    archive: Archive,
    sessions: Sessions,
    listener: Listener,
    compared: Compared,
    how: How,
) -> Iterator[Finding]:
    from export.verify import verify

    totals = archive.index.totals()
    listener.expect(
        sum(count for _, reached, _, gone, count, _ in totals if reached == "archived" and not gone)
    )
    mail_source = stack.enter_context(sessions.source(archive, is_reading=True))
    return verify(archive, mail_source, listener, compared, deep=how.deep, selection=how.selection)


def _with_target(
    stack: ExitStack,
    archive: Archive,
    sessions: Sessions,
    account: Account,
    listener: Listener,
    compared: Compared,
    how: How,
    doors: Doors,
) -> Iterator[Finding]:
    from importer.lasting import LastingTarget
    from importer.verify import verify
    from waystation.retry import DELAYS, Patience

    patience = doors.patience(listener, DELAYS) or Patience(listener)
    lasting = LastingTarget(sessions.target, listener, patience)
    mail_target = stack.enter_context(lasting)
    target = archive.transfers.target(account.name, account.key)
    rules = house.USUAL.rules(None) if sessions.is_exchange else None
    return verify(
        archive,
        mail_target,
        target,
        listener,
        compared,
        house=rules,
        deep=how.deep,
        selection=how.selection,
    )


def _values(found: Finding) -> dict[str, Any]:
    return {
        "type": "difference",
        "cause": found.cause.value,
        "folder": found.folder,
        "uidvalidity": found.uidvalidity,
        "uid": found.uid,
        "text": found.text,
    }


def _text(found: Finding) -> str:
    uid = f" UID {found.uid}" if found.uid is not None else ""
    return f"{found.cause.value.replace('_', ' ')}: {plain(found.folder)}{uid}: {found.text}"


def _sentence(compared: Compared, causes: dict[str, int], server: str) -> str:
    text = f"{compared.equal:,} of {compared.messages:,} messages are the same at {server}"
    if compared.others:
        text += f" ({compared.others:,} others there are none of this archive's)"
    text += f"; found: {sum_text(causes)}." if causes else "."
    if compared.passed:
        text += f" The same in: {sum_text(compared.passed)}."
    return text
