"""The options that say what to take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli.sizes import size_of
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from waystation.selection import Selection


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which folders and messages are taken."""

    folder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Only folders that this names; may be said several times. '*' stands for "
            "anything; @inbox, @sent, @drafts, @trash, @junk, @archive, @all, @flagged name "
            "folders by their use.",
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="No folder that this names, in the same way."),
    ] = None
    since: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Only what was received on this day (UTC) or later."),
    ] = None
    before: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Only what was received before this day (UTC)."),
    ] = None
    max_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Only messages of this size at the most: 500K, 35M."),
    ] = None

    def selection(self) -> Selection:
        """Return what these options mean.

        Raises:
            UsageError: one of them makes no sense.
        """
        from waystation.selection import Selection

        since, before = _day(self.since), _day(self.before)
        if since and before and since >= before:
            raise UsageError(f"nothing was received from {since} on and before {before}.")
        return Selection(
            tuple(self.folder or ()),
            tuple(self.exclude or ()),
            since,
            before,
            size_of(self.max_size) if self.max_size is not None else None,
        )


@dataclass(frozen=True, slots=True)
class ChosenFlags:
    """Which messages are taken by their flags."""

    flag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FLAG",
            help="Only messages with this flag or keyword, such as flagged or \\Flagged; may be "
            "said several times.",
        ),
    ] = None
    not_flag: Annotated[
        list[str] | None,
        typer.Option(metavar="FLAG", help="Only messages without it."),
    ] = None


ALL = Chosen()
ALL_FLAGS = ChosenFlags()


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        # Other forms of ISO 8601, such as 20240501, are taken for typing errors.
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a day, no time
    except ValueError:
        raise UsageError(f"{plain(text)!r} is no date. Write it as in 2024-05-01.") from None
