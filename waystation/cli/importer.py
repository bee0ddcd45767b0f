"""``waystation import``: stage two."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli import choosing, house, options
from waystation.cli.connect import Doors, target_account
from waystation.cli.folder_map import FolderMapFile, read_folder_map, tell_unknown
from waystation.cli.recording import asked
from waystation.cli.text import count_text, duration_text, size_text
from waystation.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from importer.house import HouseRules
    from waystation.address import Account
    from waystation.cli.output import Listener
    from waystation.selection import Selection

_AUTOMATIC = 3
"""Connections unless told otherwise: one less than the smallest limit that servers are known to
have (Courier: MAXPERIP=4), so that the owner's mail program still gets in."""
_AUTOMATIC_OF_PROVIDER = 2
"""The same towards a provider of many people's mail, who may take more for an attack."""

_IMPORT = """\
\b
Examples:
  waystation import alice --to imaps://alice@mail.example.net --password-env NEW_PASSWORD
  waystation import alice --to office365:alice@contoso.com --client-secret-env APP_SECRET
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import", epilog=_IMPORT)(_import)


@dataclass(frozen=True, slots=True)
class How:
    """How an import shall go about it."""

    folder_map: Mapping[str, str]
    selection: Selection
    treatment: house.House
    """As it was asked for; ``rules`` is what follows from it."""
    rules: HouseRules
    """Of meaning for Office 365 only."""
    rate: float = 0
    newest_first: bool = True
    pipelined: bool = True
    connections: int | None = 1
    """How many may be open at once at the most; None is as many as usually are of use."""

    def most_connections(self, account: Account, *, is_exchange: bool) -> int:
        """Return how many connections may be open at once.

        Raises:
            UsageError: more were asked for than such a target is sent to.
        """
        if is_exchange and (self.connections or 1) > 1:
            raise UsageError(
                "--connections: Office 365 is sent to over one connection, at its own pace; leave "
                "it out."
            )
        if self.connections is not None:
            return self.connections
        if is_exchange or self.rate or not self.pipelined:
            return 1
        return _AUTOMATIC if account.preset is None else _AUTOMATIC_OF_PROVIDER


@dataclass(frozen=True, slots=True)
class Manner:
    """The options that say how an import goes about it, for one archive or for many."""

    folder_map: FolderMapFile = None
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="Send in the order of age, oldest first.")
    ] = False
    one_by_one: Annotated[
        bool,
        typer.Option("--one-by-one", help="Send no message before the one before is answered."),
    ] = False
    rate: options.RateOfProvider = None

    def how(self, chosen: choosing.Chosen, treatment: house.House) -> How:
        """Return what these options mean, together with the others.

        Raises:
            UsageError: one of them makes no sense.
        """
        return How(
            read_folder_map(self.folder_map),
            chosen.selection(),
            treatment,
            treatment.rules(self.rate),
            self.rate or 0,
            newest_first=not self.oldest_first,
            pipelined=not self.one_by_one,
        )


USUAL = Manner()


@options.unpacked
def _import(
    archive: options.ArchivePath,
    to: options.To = None,
    manner: Manner = USUAL,
    connections: Annotated[
        int | None,
        typer.Option(
            "--connections",
            metavar="N",
            min=1,
            max=20,
            help="Send over up to N connections, each with a folder to itself; usually as many as "
            "are of use, up to 3, and 1 to Office 365.",
        ),
    ] = None,
    chosen: choosing.Chosen = choosing.ALL,
    treatment: house.House = house.USUAL,
    reach: options.Reach = options.USUAL_REACH,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Stage two: replay the archive into a server. Run again, it goes on where it stopped.

    Nothing is sent twice and nothing is left out, wherever it is cut off. Nothing is ever
    deleted on the target.
    """
    listener = voice.listener("import")
    doors = Doors(reach.passwords, reach.connection, sign_in)
    how = replace(manner.how(chosen, treatment), connections=connections)
    return run(archive, to, how, doors, listener)


def run(archive: Path, to: str | None, how: How, doors: Doors, listener: Listener) -> int:
    """Replay one archive and tell how it went; return the exit code.

    Raises:
        WaystationError: the run could not go on; the same call goes on from there.
    """
    from importer.job import Options, totals
    from importer.run import DELAYS, replay
    from store.archive import Archive

    numbers: dict[str, int] = {}
    with ExitStack() as stack:
        opened = stack.enter_context(Archive.write(archive, "import"))
        account = target_account(opened, to)
        tell_unknown(opened, how.folder_map, listener)
        # Only where somebody lets us in is it remembered as a target.
        login = doors.login(account)
        sessions = stack.enter_context(doors.sessions(login, listener))
        connections = how.most_connections(account, is_exchange=sessions.is_exchange)
        target = opened.transfers.target(account.name, account.key)
        asked_for = asked(
            selection=how.selection,
            folder_map=how.folder_map,
            oldest_first=not how.newest_first,
            one_by_one=not how.pipelined,
            rate=how.rate,
            connections=how.connections if how.connections != 1 else None,
            house=how.treatment,
        )
        with opened.run("import", account.name, numbers, asked=asked_for):
            result = replay(
                opened,
                partial(sessions.target, pipelined=how.pipelined),
                target,
                listener,
                Options(
                    newest_first=how.newest_first,
                    rate=how.rate,
                    connections=connections,
                    folder_map=how.folder_map,
                    selection=how.selection,
                    house=how.rules if sessions.is_exchange else None,
                ),
                doors.patience(listener, DELAYS),
            )
            numbers.update(totals(result))
    listener.close()
    listener.say(_sentence(numbers, account.name))
    code = 0 if result.is_complete else 3
    values = {"target": account.name, **numbers}
    listener.summary("done" if result.is_complete else "incomplete", code, values)
    return code


def _sentence(numbers: dict[str, int], target: str) -> str:
    if not any(numbers.values()):
        return f"Nothing was left to send to {target}."
    sent = f"{count_text(numbers['appended'], 'message')} ({size_text(numbers['octets'])})"
    parts = [f"{sent} sent to {target}"]
    for key, words in (
        ("settled", "found there after a lost answer"),
        ("already_there", "were there before"),
        ("repaired", "of them changed on the way, see 'waystation ledger'"),
        ("flags_carried", "brought up to changed flags"),
        ("set_aside", "set aside"),
        ("excluded", "of them left out by your filters"),
        ("too_large", "of them too large for it"),
        ("refused", "refused"),
        ("not_sent", "not sent: their folder cannot be made or used"),
    ):
        if numbers[key]:
            parts.append(f"{numbers[key]:,} {words}")
    text = ", ".join(parts) + "."
    if numbers["refused"]:
        text += " The next run tries these again; 'waystation ledger --state refused' lists them."
    if numbers["throttled"]:
        text += (
            f" The server asked for {count_text(numbers['throttled'], 'pause')}, "
            f"{duration_text(numbers['seconds_throttled'])} in all."
        )
    return text
