"""What the commands of a batch do to one mailbox, as plain data: here, or on another machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from waystation.batch.mailboxes import Side
from waystation.cli import check as check_command
from waystation.cli import export as export_command
from waystation.cli import importer as import_command
from waystation.cli import plan as plan_command
from waystation.cli import verify as verify_command
from waystation.cli.batch_doors import MailboxDoors

if TYPE_CHECKING:
    from pathlib import Path

    from export.run import Options
    from waystation.batch.mailboxes import Mailbox
    from waystation.batch.turn import Turn
    from waystation.cli import options
    from waystation.cli.batch_doors import Keys
    from waystation.cli.output import Listener
    from waystation.selection import Selection


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the archives are, and how the work on a mailbox gets to its server."""

    root: Path
    reach: options.Reach
    sign_in: options.SignIn
    side: Side | None
    keys: Keys

    def place(self, mailbox: Mailbox) -> Path:
        """Return where the archive of a mailbox is."""
        return self.root / mailbox.directory

    def doors(self, mailbox: Mailbox, turn: Turn) -> MailboxDoors:
        """Return how the work on a mailbox gets to its server."""
        return MailboxDoors(
            self.reach.passwords,
            self.reach.connection,
            self.sign_in,
            end=mailbox.target if self.side is Side.TARGET else mailbox.source,
            keys=self.keys,
            turn=turn,
        )


class Work(Protocol):
    """What is done to each mailbox; tells the listener how it ended, or raises."""

    def __call__(self, desk: Desk, mailbox: Mailbox, turn: Turn, listener: Listener) -> None:
        """Do it."""


@dataclass(frozen=True, slots=True)
class Export:
    """Stage one."""

    how: Options
    selection: Selection

    def __call__(self, desk: Desk, mailbox: Mailbox, turn: Turn, listener: Listener) -> None:
        """See ``Work``."""
        how = replace(self.how, selection=selection_of(mailbox, self.selection))
        doors = desk.doors(mailbox, turn)
        export_command.run(desk.place(mailbox), mailbox.source.server, how, doors, listener)


@dataclass(frozen=True, slots=True)
class Import:
    """Stage two."""

    how: import_command.How

    def __call__(self, desk: Desk, mailbox: Mailbox, turn: Turn, listener: Listener) -> None:
        """See ``Work``."""
        how = replace(self.how, selection=selection_of(mailbox, self.how.selection))
        doors = desk.doors(mailbox, turn)
        import_command.run(desk.place(mailbox), mailbox.target.server, how, doors, listener)


@dataclass(frozen=True, slots=True)
class Check:
    """Every file proven."""

    def __call__(self, desk: Desk, mailbox: Mailbox, turn: Turn, listener: Listener) -> None:  # noqa: ARG002
        """See ``Work``."""
        check_command.run(desk.place(mailbox), listener)


@dataclass(frozen=True, slots=True)
class Plan:
    """What stage two would do."""

    how: plan_command.How

    def __call__(self, desk: Desk, mailbox: Mailbox, turn: Turn, listener: Listener) -> None:
        """See ``Work``."""
        how = replace(self.how, selection=selection_of(mailbox, self.how.selection))
        doors = desk.doors(mailbox, turn)
        plan_command.run(desk.place(mailbox), mailbox.target.server, how, doors, listener)


@dataclass(frozen=True, slots=True)
class Verify:
    """An archive compared with one of its servers."""

    side: Literal["source", "target"]
    deep: bool
    selection: Selection

    def __call__(self, desk: Desk, mailbox: Mailbox, turn: Turn, listener: Listener) -> None:
        """See ``Work``."""
        wishes = verify_command.Wishes(
            (self.side,),
            must_reach=True,
            from_=mailbox.source.server if self.side == "source" else None,
            to=mailbox.target.server if self.side == "target" else None,
            deep=self.deep,
            selection=selection_of(mailbox, self.selection),
        )
        doors = desk.doors(mailbox, turn)
        verify_command.run(desk.place(mailbox), wishes, lambda _: {self.side: doors}, listener)


def selection_of(mailbox: Mailbox, usual: Selection) -> Selection:
    """Return what is taken of a mailbox: what the list says, else what the options say."""
    return replace(
        usual,
        folders=mailbox.folders or usual.folders,
        exclude=(*usual.exclude, *mailbox.exclude),
    )
