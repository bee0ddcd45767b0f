"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ArchivePath = Annotated[
    Path, typer.Argument(metavar="ARCHIVE", help="The archive's directory.", show_default=False)
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="SERVER",
        help="imaps://USER@HOST[:PORT] or imap://…; needed once, the archive remembers it.",
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="SERVER",
        help="imaps://USER@HOST[:PORT] or imap://…; needed once, the archive remembers it.",
    ),
]
PasswordEnv = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Take the password from this environment variable."),
]
PasswordCommand = Annotated[
    str | None,
    typer.Option(
        metavar="CMD", help="Take the password from the first line that this command prints."
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A further CA certificate to trust, for a private server."),
]
AllowPlaintext = Annotated[
    bool,
    typer.Option(
        "--allow-plaintext",
        help="With imap://: permit an unencrypted connection where the server has no STARTTLS.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=1,
        max=86_400,
        help="Give a connection up after so long without a sign of life.",
    ),
]
LargestMessage = Annotated[
    int,
    typer.Option(
        metavar="OCTETS", min=1, help="Refuse messages that a server announces larger than this."
    ),
]
Rate = Annotated[
    float,
    typer.Option(
        metavar="N",
        min=0,
        help="Messages per second at the most; 0 is no ceiling.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="JSON lines on standard output, the last one a summary.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but what went wrong.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show the conversation with the server, secrets struck out."),
]
