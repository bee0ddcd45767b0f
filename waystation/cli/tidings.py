"""Who hears of a batch besides the person at the terminal: by mail at its end, by metrics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli.secrets import PasswordSource, password_for
from waystation.errors import UsageError, WaystationError

if TYPE_CHECKING:
    from waystation.batch.letter import Ended
    from waystation.batch.mail import Relay
    from waystation.cli.batch_metrics import Metrics
    from waystation.cli.options import Reach


@dataclass(frozen=True, slots=True)
class Tidings:
    """The options for what is told elsewhere."""

    mail_to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS", help="Mail a summary there at the end; may be said several times."
        ),
    ] = None
    mail_server: Annotated[
        str | None,
        typer.Option(
            metavar="SERVER",
            help="Where mail is handed in: smtps://USER@HOST[:PORT], smtp://… (STARTTLS) or"
            " PROVIDER:USER; without USER@ nobody signs in.",
        ),
    ] = None
    mail_from: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Who it is from; USER unless said otherwise."),
    ] = None
    mail_password_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The environment variable with that server's password."),
    ] = None
    mail_password_command: Annotated[
        str | None,
        typer.Option(metavar="CMD", help="A command that prints it; else the keyring is asked."),
    ] = None
    metrics: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write how it goes there for Prometheus (textfile collector), every 15 seconds.",
        ),
    ] = None
    metrics_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Show the same at http://127.0.0.1:PORT/metrics; 0 is any free port.",
        ),
    ] = None

    def monitored(self) -> Metrics | None:
        """Return what tells a monitoring system; None where nobody wants that.

        Raises:
            UsageError: the library for it is not there.
        """
        if self.metrics is None and self.metrics_port is None:
            return None
        from waystation.cli.batch_metrics import Metrics

        return Metrics(self.metrics, self.metrics_port)

    def post(self, reach: Reach) -> Post | None:
        """Return how a summary is mailed; None where nobody wants one.

        Raises:
            UsageError: an option makes no sense.
            SignInError: there is no password.
        """
        if self.mail_to is None and self.mail_server is None:
            return None
        if not self.mail_to or self.mail_server is None:
            raise UsageError("--mail-to and --mail-server go together.")
        # Loaded late: only who asked for mail needs it.
        from waystation.batch.mail import checked_address, parse_relay

        relay = parse_relay(self.mail_server)
        sender = self.mail_from or relay.user or ""
        if self.mail_from is None and "@" not in sender:
            raise UsageError("--mail-from ADDRESS has to say who the mail is from.")
        source = PasswordSource(
            self.mail_password_env, self.mail_password_command, options="--mail-"
        )
        # Before anything begins: nobody wants to hear in the morning that there is none.
        password = None if relay.user is None else password_for(relay, source, may_ask=False)
        recipients = tuple(map(checked_address, self.mail_to))
        return Post(relay, password, checked_address(sender), recipients, reach)


SILENT = Tidings()


class Post:
    """Mails the summary of a batch."""

    def __init__(
        self,
        relay: Relay,
        password: str | None,
        sender: str,
        recipients: tuple[str, ...],
        reach: Reach,
    ) -> None:
        self._relay, self._password = relay, password
        self._sender, self._recipients = sender, recipients
        self._reach = reach

    def send(self, batch: Ended) -> str:
        """Send it; return why it was not sent, or nothing. Never raises what a server does."""
        from waystation.batch.letter import subject_of, text_of
        from waystation.batch.mail import Letter, hand_in

        letter = Letter(self._sender, self._recipients, subject_of(batch), text_of(batch))
        try:
            hand_in(
                self._relay,
                self._password,
                letter,
                datetime.now().astimezone(),
                ca_file=self._reach.ca_file,
                allow_plaintext=self._reach.allow_plaintext,
            )
        except WaystationError as error:
            return str(error)
        return ""
