"""``waystation export``."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli import options, state
from waystation.cli.output import size_text
from waystation.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from export.source import MailSource

_EPILOG = """\
\b
Examples:
  waystation export alice --from imaps://alice@example.com@mail.example.com
  waystation export alice --password-env OLD_PASSWORD
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", epilog=_EPILOG)(_export)


def _export(
    archive: options.ArchivePath,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SERVER",
            help="imaps://USER@HOST[:PORT] or imap://…; an archive remembers it.",
        ),
    ] = None,
    password_env: options.PasswordEnv = None,
    password_command: options.PasswordCommand = None,
    ca_file: options.CaFile = None,
    allow_plaintext: options.AllowPlaintext = False,
    accept_emptied: Annotated[
        bool,
        typer.Option(
            "--accept-emptied", help="A folder that suddenly shows nothing was emptied on purpose."
        ),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Without CONDSTORE: where no message came or went, do not look for new flags.",
        ),
    ] = False,
    new_source: Annotated[
        bool,
        typer.Option("--new-source", help="The same mailbox is now at another address."),
    ] = False,
    largest_message: options.LargestMessage = 1024**3,
    timeout: options.Timeout = 120,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Stage one: archive a mailbox. Run again, it fetches what is new.

    Creates ARCHIVE when it is not there. The server is only read: no flag is set, nothing is
    deleted on either side. What has vanished from the server is noted and kept.
    """
    from export.run import Options, export, totals
    from store.archive import Archive, read_description
    from waystation.address import parse_account
    from waystation.cli.secrets import password_for
    from waystation.imap import Connection, ImapSession

    listener = state.listen(as_json=as_json, quiet=quiet, debug=debug)
    is_new = not Archive.exists(archive)
    if source is None:
        if is_new:
            raise UsageError("a new archive needs --from SERVER.")
        source = read_description(archive).source
        if source is None:
            raise UsageError("this archive does not know its source; give --from SERVER.")
    account = parse_account(source)
    if is_new:
        Archive.ensure_creatable(archive)
    password = password_for(account, password_env, password_command)
    connection = Connection(ca_file, allow_plaintext, timeout, largest_message)

    first: list[ImapSession] = []

    @contextmanager
    def connect() -> Iterator[MailSource]:
        from export.imap_source import ImapSource

        session = first.pop() if first else ImapSession.open(account, password, connection)
        with session:
            yield ImapSource(session)

    with ExitStack() as stack:
        if is_new:
            # Only when somebody lets us in does an archive come into being.
            first.append(ImapSession.open(account, password, connection))
            stack.callback(first[0].drop)
            opened = stack.enter_context(Archive.create(archive, account.name, account.key))
        else:
            opened = stack.enter_context(Archive.write(archive, "export"))
        numbers: dict[str, int] = {}
        with opened.run("export", account.name, numbers):
            result = export(
                opened,
                connect,
                account.name,
                account.key,
                listener,
                Options(accept_emptied, quick, new_source),
            )
            numbers.update(totals(result))
    listener.close()
    code = 0 if result.is_complete else 3
    outcome = "done" if result.is_complete else "incomplete"
    listener.summary({"command": "export", "outcome": outcome, "exit_code": code, **numbers})
    listener.say(_sentence(numbers))
    return code


def _sentence(numbers: dict[str, int]) -> str:
    parts = [f"{numbers['new']:,} new messages ({size_text(numbers['octets'])})"]
    for key, words in (
        ("renumbered", "renumbered"),
        ("flags_changed", "with other flags"),
        ("vanished", "vanished from the source, kept here"),
        ("returned", "back again"),
        ("failed", "failed"),
    ):
        if numbers[key]:
            parts.append(f"{numbers[key]:,} {words}")
    folders = f"{numbers['folders']:,} folders"
    return f"{folders}: {', '.join(parts)}."
