"""The options that the commands of a batch share, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli.sizes import size_of

if TYPE_CHECKING:
    from waystation.batch.run import Limits

_AT_ONCE = 500
"""Mailboxes at work at once; a mailbox of Office 365 spends its time waiting."""
_PER_HOST = 10
"""The same of one host. Dovecot lets so many connections of a user in from one address
(mail_max_userip_connections), and no other server that is known lets in fewer."""


def _with_defaults(context: typer.Context, root: Path) -> Path:
    """Take the defaults of the other options from ROOT; what is said with the command counts."""
    # Loaded late: only a batch needs it.
    from waystation.cli.defaults import defaults_of

    options = {
        name.removeprefix("--"): str(parameter.name)
        for parameter in context.command.params
        for name in parameter.opts
        if name.startswith("--")
    }
    group = context.parent.command if context.parent is not None else None
    others = getattr(group, "commands", {})
    known = {
        name.removeprefix("--")
        for command in others.values()
        for parameter in command.params
        for name in parameter.opts
    }
    found = defaults_of(root, str(context.info_name), options, known, set(others))
    context.default_map = {**(context.default_map or {}), **found}
    return root


Root = Annotated[
    Path,
    typer.Argument(
        metavar="ROOT",
        is_eager=True,
        callback=_with_defaults,
        help="The directory that holds one archive per mailbox.",
        show_default=False,
    ),
]
List = Annotated[
    Path,
    typer.Option(
        "--list",
        metavar="FILE.csv",
        help="The mailboxes: our own form, Microsoft's or imapsync's; 'waystation batch template'"
        " shows each.",
        show_default=False,
    ),
]
ListFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE.csv", help="The mailboxes, as with 'batch import'.", show_default=False
    ),
]
ListOrAll = Annotated[
    Path | None,
    typer.Option(
        "--list",
        metavar="FILE.csv",
        help="Only the mailboxes of this list; all archives in ROOT unless said otherwise.",
    ),
]


@dataclass(frozen=True, slots=True)
class Together:
    """What all mailboxes together may do, and when."""

    connections: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=10_000,
            help="Mailboxes at work at once; one that pauses does not count.",
        ),
    ] = _AT_ONCE
    connections_per_host: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="The same of one server; 0 is no ceiling. Does not count for Office 365.",
        ),
    ] = _PER_HOST
    total_rate: Annotated[
        float,
        typer.Option(metavar="N", min=0, help="Messages per second in all; 0 is no ceiling."),
    ] = 0
    bandwidth: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Octets per second in all, such as 5M."),
    ] = None
    between: Annotated[
        str | None,
        typer.Option(
            metavar="HH:MM-HH:MM", help="Work in these hours of the local clock only: 20:00-06:00."
        ),
    ] = None
    retries: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=100,
            help="Try a mailbox so often again, after what may pass. A refused sign-in is not"
            " tried again.",
        ),
    ] = 3
    retry_after: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="So long after a failure; then five and fifteen times as long.",
        ),
    ] = 60

    def limits(self) -> Limits:
        """Return what these options mean.

        Raises:
            UsageError: one of them makes no sense.
        """
        from waystation.batch.run import Limits
        from waystation.batch.window import Window

        return Limits(
            self.connections,
            self.connections_per_host,
            self.total_rate,
            size_of(self.bandwidth) if self.bandwidth is not None else 0,
            None if self.between is None else Window.of(self.between),
            self.retries + 1,
            self.retry_after,
        )


USUAL = Together()
