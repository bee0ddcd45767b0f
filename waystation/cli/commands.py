"""Which commands there are. A command's module is loaded when that command is asked for.

To load all of them takes longer than most commands do; the list of ``--help`` needs none.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    Loaded = Any
    """A command as Typer builds it; the class is none of Typer's public names."""


class _Named(NamedTuple):
    module: str
    """Below ``waystation.cli``; its ``register`` adds the command to a Typer."""
    purpose: str


_COMMANDS = {
    "export": _Named("export", "Archive a mailbox, or bring it up to date."),
    "check": _Named("check", "Prove an archive against itself and its seal."),
    "seal": _Named("seal", "Show the seal to note; write and sign a manifest."),
    "diff": _Named("diff", "Show what changed between two runs."),
    "plan": _Named("plan", "Show what import would do; send nothing."),
    "import": _Named("importer", "Replay an archive into a server."),
    "verify": _Named("verify", "Compare source, archive and target, message by message."),
    "rollback": _Named("rollback", "Take back from a target what import put there."),
    "status": _Named("status", "Show the totals, folder by folder."),
    "ledger": _Named("ledger", "Write one row for each message."),
    "report": _Named("report", "Write the audit report."),
    "search": _Named("search", "Find messages by words, people, dates and more."),
    "show": _Named("show", "Show one message."),
    "browse": _Named("browse", "Look through an archive in a browser."),
    "extract": _Named("extract", "Write messages out as mbox, .eml files or a Maildir."),
    "folders": _Named("folders", "Show what is on a server."),
    "doctor": _Named("servers", "Find out why a server does not let us in."),
    "login": _Named("servers", "Sign in by OAuth, and stay signed in."),
    "logout": _Named("servers", "Forget such a sign-in."),
    "providers": _Named("providers", "Show the providers known by name."),
    "batch": _Named("batch", "The same for many mailboxes, by a list."),
}


class _Lazily(MutableMapping[str, "Loaded"]):
    """The commands by name, each loaded when it is looked up."""

    def __init__(self) -> None:
        self._loaded: dict[str, Loaded] = {}

    def __getitem__(self, name: str) -> Loaded:
        if name not in self._loaded:
            holder = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
            import_module(f"waystation.cli.{_COMMANDS[name].module}").register(holder)
            self._loaded |= typer.main.get_group(holder).commands
        return self._loaded[name]

    def __setitem__(self, name: str, command: Loaded) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)

    def __contains__(self, name: object) -> bool:
        return name in _COMMANDS


class Commands(TyperGroup):
    """The root of the command line."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - what Typer hands to a group
        super().__init__(**settings)
        self.commands = _Lazily()

    def format_commands(self, _context: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the list of ``--help``."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, named.purpose) for name, named in _COMMANDS.items()])
