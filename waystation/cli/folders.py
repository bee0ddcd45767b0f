"""``waystation folders``: what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli import options
from waystation.cli.connect import Login
from waystation.cli.naming import named_account
from waystation.cli.text import count_text, size_text
from waystation.errors import RefusedError, UnusableFolderError, UsageError, plain

if TYPE_CHECKING:
    from waystation.cli.output import Listener
    from waystation.imap import ImapSession
    from waystation.model import Folder

_EXAMPLES = """\
\b
Examples:
  waystation folders imaps://alice@mail.example.net
  waystation folders yahoo:alice@yahoo.com --sizes
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("folders", epilog=_EXAMPLES)(_folders)


@options.unpacked
def _folders(
    named: options.Server,
    sizes: Annotated[
        bool,
        typer.Option(
            "--sizes",
            help="Where the server keeps no count of octets, ask for each message's size.",
        ),
    ] = False,
    reach: options.Reach = options.USUAL_REACH,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Show each folder of a mailbox: its name, what it is for, messages, octets. Changes nothing.

    Exit code 3 where the server does not say how many messages a folder has.
    """
    listener = voice.listener("folders")
    passwords = reach.passwords
    account = named_account(named)
    if account.protocol != "imap":
        raise UsageError("POP3 knows no folders; name the server by imaps:// or PROVIDER:USER.")
    with Login.ask(account, passwords, reach.connection, sign_in).imap_session() as session:
        return _show(listener, session, by_message=sizes)


def _show(listener: Listener, session: ImapSession, *, by_message: bool) -> int:
    folders = session.folders()
    open_to_us = [folder for folder in folders if folder.is_selectable]
    states = session.states(open_to_us)
    octets: dict[bytes, int | None] = dict(session.sizes(open_to_us))
    rows = []
    messages = total = unknown = 0
    for folder in folders:
        state_of = states.get(folder.wire_name)
        size = octets.get(folder.wire_name)
        if size is None and state_of is not None and by_message:
            size = _size(session, folder)
        count = None if state_of is None else state_of.exists
        messages += count or 0
        total += size or 0
        unknown += folder.is_selectable and size is None
        use = folder.special_use
        values = {
            "folder": folder.name,
            "special_use": None if use is None else use.value,
            "is_selectable": folder.is_selectable,
            "messages": count,
            "octets": size,
        }
        listener.row("folder", values)
        rows.append(
            (
                folder.name,
                "" if use is None else use.value,
                "-" if count is None else f"{count:,}",
                "-" if size is None else size_text(size),
            )
        )
    listener.table(("folder", "special-use", "messages", "size"), rows)
    silent = [folder for folder in open_to_us if folder.wire_name not in states]
    for folder in silent:
        listener.warning(f"{plain(folder.name)}: the server does not say what is in it")
    size_words = size_text(total) if not unknown else "sizes unknown, see --sizes"
    listener.say(
        f"{count_text(len(folders), 'folder')}, {count_text(messages, 'message')}, {size_words}."
    )
    code = 3 if silent else 0
    listener.summary(
        "incomplete" if silent else "done",
        code,
        {
            "server": session.account.name,
            "folders": len(folders),
            "messages": messages,
            "octets": None if unknown else total,
        },
    )
    return code


def _size(session: ImapSession, folder: Folder) -> int | None:
    try:
        return session.size(folder)
    except (RefusedError, UnusableFolderError) as error:
        if error.retriable:
            raise
        return None
