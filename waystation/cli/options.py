"""The options that several commands share."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from waystation.cli import state
from waystation.cli.secrets import PasswordSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from waystation.cli.output import Listener
    from waystation.session import Connection

ArchivePath = Annotated[
    Path, typer.Argument(metavar="ARCHIVE", help="The archive's directory.", show_default=False)
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="SERVER",
        help="imaps://USER@HOST[:PORT], imap://…, PROVIDER:USER or an address; needed once, "
        "the archive remembers it.",
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="SERVER",
        help="imaps://USER@HOST[:PORT], imap://…, PROVIDER:USER or an address; needed once, "
        "the archive remembers it.",
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
Server = Annotated[
    str,
    typer.Argument(
        metavar="SERVER",
        help="imaps://USER@HOST[:PORT], imap://…, PROVIDER:USER or an address.",
        show_default=False,
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
RateOfProvider = Annotated[
    float | None,
    typer.Option(
        "--rate",
        metavar="N",
        min=0,
        help="Messages per second at the most; 0 is no ceiling, which is usual but for Office 365,"
        " where it is 4.",
    ),
]
ManifestToRead = Annotated[
    Path | None,
    typer.Option(
        "--manifest",
        metavar="FILE",
        help="Compare every message with a manifest that 'waystation seal' has written.",
    ),
]
ManifestToWrite = Annotated[
    Path | None,
    typer.Option(
        "--manifest",
        metavar="FILE",
        help="Write the sha256 of every archived file, for 'sha256sum -c' and 'check --manifest'.",
    ),
]
SigningKey = Annotated[
    Path | None,
    typer.Option(
        "--sign",
        metavar="KEY",
        help="Sign the manifest, else the seal's record, with this SSH or minisign key.",
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


@dataclass(frozen=True, slots=True)
class Reach:
    """The options of every command that connects: the password, TLS, and how long to wait."""

    password_env: PasswordEnv = None
    password_command: PasswordCommand = None
    ca_file: CaFile = None
    allow_plaintext: AllowPlaintext = False
    timeout: Timeout = 120

    @property
    def passwords(self) -> PasswordSource:
        """Where the password comes from.

        Raises:
            UsageError: two places were named.
        """
        return PasswordSource(self.password_env, self.password_command)

    @property
    def connection(self) -> Connection:
        """How to connect."""
        # Loaded late: whoever asks for help needs no TLS.
        from waystation.session import Connection

        return Connection(self.ca_file, self.allow_plaintext, self.timeout)


USUAL_REACH = Reach()


@dataclass(frozen=True, slots=True)
class Voice:
    """The options that say what is told, and to whom."""

    as_json: Json = False
    quiet: Quiet = False
    debug: Debug = False

    def listener(self, command: str) -> Listener:
        """Return the listener of a command, which begins with it."""
        return state.listen(command, as_json=self.as_json, quiet=self.quiet, debug=self.debug)


USUAL_VOICE = Voice()


@dataclass(frozen=True, slots=True)
class SignIn:
    """The options for where a mailbox is, the way to it, and who signs in how."""

    server: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="With PROVIDER:USER: where the mail is instead."),
    ] = None
    cloud: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="worldwide (usual), gcc-high, dod, 21vianet or consumers."
        ),
    ] = None
    client_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            envvar="WAYSTATION_CLIENT_ID",
            help="The application (client) ID of your own app registration (Microsoft), or of your"
            " own OAuth client (Google, Yandex).",
        ),
    ] = None
    tenant: Annotated[
        str | None,
        typer.Option(
            metavar="ID-OR-DOMAIN",
            envvar="WAYSTATION_TENANT",
            help="The tenant; usually the domain of USER.",
        ),
    ] = None
    client_secret_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Sign in as the application, with the secret in this environment variable; with"
            " Google and Yandex, the secret of the OAuth client.",
        ),
    ] = None
    client_certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Sign in as the application, with the private key and certificate in this PEM"
            " file.",
        ),
    ] = None
    client_certificate_passphrase_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The passphrase of that private key."),
    ] = None
    service_account: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With gmail:USER: an administrator's service account opens the mailbox, with the"
            " key in this JSON file.",
        ),
    ] = None
    sign_in_as: Annotated[
        str | None,
        typer.Option(
            metavar="USER",
            help="Who signs in, where the mailbox is not theirs: a delegate of Office 365, or an"
            " administrator with the password (SASL PLAIN).",
        ),
    ] = None
    authority: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where tokens come from: https://HOST[/TENANT]."),
    ] = None
    scope: Annotated[
        str | None, typer.Option(metavar="SCOPE", help="What tokens are asked for.")
    ] = None
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Reach the mail server through socks5://HOST:PORT or http://HOST:PORT; else the"
            " proxy of the environment (ALL_PROXY, HTTPS_PROXY, NO_PROXY), 'direct' is none.",
        ),
    ] = None
    fingerprint: Annotated[
        str | None,
        typer.Option(
            metavar="SHA256",
            help="Take the mail server's certificate with this fingerprint, and no other.",
        ),
    ] = None

    @property
    def is_app_only(self) -> bool:
        """Whether the application signs in as itself."""
        return self.client_secret_env is not None or self.client_certificate is not None

    @property
    def for_tokens_only(self) -> list[str]:
        """The options that were given and mean something where tokens open a mailbox.

        Those that may stand in the environment are left out: they may be meant for others.
        """
        others = ("client_id", "tenant", "server", "sign_in_as", "proxy", "fingerprint")
        names = [field.name for field in fields(self) if field.name not in others]
        return [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) is not None]


NO_SIGN_IN = SignIn()


def unpacked(command: Callable[..., int]) -> Callable[..., int]:
    """Return a command that takes one by one the options of each dataclass that it wants whole.

    Typer knows no groups of options; so a group is written once, and a command names it.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {
        name: kind
        for name, kind in hints.items()
        if name != "return" and isinstance(kind, type) and is_dataclass(kind)
    }
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(annotation=hints[name]))
            continue
        inner = get_type_hints(groups[name], include_extras=True)
        parameters += [
            inspect.Parameter(
                field.name, parameter.kind, default=field.default, annotation=inner[field.name]
            )
            for field in fields(groups[name])
        ]

    @wraps(command)
    def run(**given: Any) -> int:  # noqa: ANN401 - whatever the command takes
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        return command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run
