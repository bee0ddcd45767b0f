"""The options that say where the mailboxes of a batch are worked on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True, slots=True)
class Engine:
    """In this process, or on the workers of a dask scheduler."""

    engine: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="dask://HOST:PORT: work on the workers of this dask scheduler; in this process "
            "unless said otherwise.",
        ),
    ] = None
    worker_root: Annotated[
        str | None,
        typer.Option(metavar="ROOT", help="ROOT as the workers see it, where that differs."),
    ] = None
    own_storage: Annotated[
        bool,
        typer.Option(
            "--own-storage",
            help="With --engine: each machine has a ROOT of its own, and goes on with the mailboxes"
            " in it.",
        ),
    ] = False
    lease: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=1,
            max=3600,
            help="With --engine: a mailbox whose worker shows no sign of life for so long goes on "
            "elsewhere.",
        ),
    ] = 60


EMBEDDED = Engine()
