"""The options that say how Office 365 is to be treated, and what they make of its rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli.sizes import size_of

if TYPE_CHECKING:
    from importer.house import HouseRules


class ProtectedMail(StrEnum):
    """What becomes of signed or encrypted mail that cannot be sent as it is."""

    WRAP = "wrap"
    SET_ASIDE = "set-aside"


@dataclass(frozen=True, slots=True)
class House:
    """How Office 365 is treated; of no meaning for other servers."""

    largest: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Office 365: set larger messages aside. 35M (35 MiB) unless said otherwise; more "
            "where the mailbox's MaxReceiveSize was raised.",
        ),
    ] = None
    with_deleted: Annotated[
        bool,
        typer.Option("--with-deleted", help="Office 365: also send what is marked \\Deleted."),
    ] = False
    with_mdn_sent: Annotated[
        bool,
        typer.Option(
            "--with-mdn-sent",
            help="Office 365: send the keyword $MDNSent, which Outlook shows as a category.",
        ),
    ] = False
    keep_receipts: Annotated[
        bool,
        typer.Option(
            "--keep-receipts",
            help="Office 365: leave requests for read receipts; senders may then get receipts.",
        ),
    ] = False
    protected: Annotated[
        ProtectedMail,
        typer.Option(
            help="Office 365: signed or encrypted mail that it cannot take as it is is sent in a "
            "wrapper, or set aside."
        ),
    ] = ProtectedMail.WRAP
    patience: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=3600,
            help="Office 365: after a lost answer, so long is looked for the message before it is "
            "sent again.",
        ),
    ] = 60

    def rules(self, rate: float | None) -> HouseRules:
        """Return the rules by which Office 365 is treated.

        Raises:
            UsageError: an option makes no sense.
        """
        from importer.house import HouseRules, Protected

        rules = HouseRules(
            protected=Protected(self.protected.value),
            takes_deleted=self.with_deleted,
            takes_mdn_sent=self.with_mdn_sent,
            lateness=self.patience,
        )
        limits = replace(rules.limits, disarm_receipts=not self.keep_receipts)
        if self.largest is not None:
            limits = replace(limits, largest=size_of(self.largest))
        pace = rules.pace
        if rate is not None:
            pace = replace(pace, most=rate, start=min(pace.start, rate) if rate else pace.start)
        return replace(rules, limits=limits, pace=pace)


USUAL = House()
