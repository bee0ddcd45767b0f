"""A real SMTP server on the loopback interface: aiosmtpd, in a thread."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

USER = "admin@example.com"
PASSWORD = "s3cret-of-the-mail"


@dataclass
class Mailroom:
    """What the server was told, and how it answers."""

    port: int = 0
    sign_ins: list[tuple[str, str, bool]] = field(default_factory=list)
    """Who, with what, and whether inside TLS."""
    letters: list[bytes] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    """To the next mails, in place of an acceptance."""
    strangers: tuple[str, ...] = ()
    """Recipients whom it refuses."""

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address in self.strangers:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answers:
            return self.answers.pop(0)
        self.senders.append(envelope.mail_from)
        self.letters.append(envelope.content)
        return "250 OK"

    def authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        user, password = data.login.decode(), data.password.decode()
        self.sign_ins.append(
            (user, password, session.ssl is not None or server._tls_handshake_okay)
        )
        is_right = (user, password) == (USER, PASSWORD)
        # Some servers repeat what they were told.
        message = None if is_right else f"535 5.7.8 {password} is wrong for {user}"
        return AuthResult(success=is_right, handled=is_right or message is None, message=message)


@contextmanager
def mailroom(
    *,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    demands_sign_in: bool = False,
) -> Iterator[Mailroom]:
    """Run the server, with STARTTLS, with TLS from the start, or with neither."""
    room = Mailroom(_free_port())
    controller = Controller(
        room,
        hostname="127.0.0.1",
        port=room.port,
        ssl_context=tls,
        tls_context=starttls,
        require_starttls=starttls is not None,
        auth_required=demands_sign_in,
        auth_require_tls=starttls is not None,
        authenticator=room.authenticate if demands_sign_in else None,
        ident="mailroom",
    )
    controller.start()
    try:
        yield room
    finally:
        controller.stop()


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
