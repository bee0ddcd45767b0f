"""How a server and a mailbox on it are named: ``imaps://USER@HOST[:PORT]`` (contract.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from waystation.errors import UsageError, plain

Security = Literal["tls", "starttls"]

_SCHEMES: dict[str, tuple[Security, int]] = {"imaps": ("tls", 993), "imap": ("starttls", 143)}
_LATER = {"pop3s", "pop3"}
_FORM = re.compile(
    r"(?P<scheme>[A-Za-z0-9+]+)://(?P<user>.+)@(?P<host>\[[0-9A-Fa-f:.%]+\]|[^@:/\[\]\s]+)(?::(?P<port>\d{1,5}))?/?",
    re.ASCII,
)
_PASSWORD = re.compile(r"(?:(?<=://)|^)([^:@/]*):.*@")


@dataclass(frozen=True, slots=True)
class Account:
    """One login at one server. Holds no secret."""

    name: str
    """The server as the user wrote it; the archive and the ledger show it so."""
    user: str
    host: str
    port: int
    security: Security
    key: str = field(default="", compare=False)
    """The same for every spelling of one account: host in lower case, port always there."""

    def __post_init__(self) -> None:
        scheme = "imaps" if self.security == "tls" else "imap"
        object.__setattr__(self, "key", f"{scheme}://{self.user}@{self.host.lower()}:{self.port}")


def parse_account(text: str) -> Account:
    """Return the account that ``text`` names.

    USER may hold an ``@``: the last one separates the host.

    Raises:
        UsageError: the text names no server in a form we know; the sentence says which are.
    """
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise UsageError(f"{plain(text)!r} holds control characters and is no server.")
    match = _FORM.fullmatch(text)
    if match is None:
        # A password where none may be must not get from here into a log.
        shown = plain(_PASSWORD.sub(r"\1:(password)@", text))
        raise UsageError(
            f"{shown!r} names no server. Write imaps://USER@HOST[:PORT] or imap://USER@HOST[:PORT]."
        )
    scheme = match["scheme"].lower()
    if scheme in _LATER:
        raise UsageError(f"{scheme}:// is not supported by this version; imaps:// and imap:// are.")
    if scheme not in _SCHEMES:
        raise UsageError(
            f"{plain(scheme)}:// is no protocol for mail that is known here. Write imaps://USER@HOST[:PORT]."
        )
    security, default_port = _SCHEMES[scheme]
    # A password must never stand in argv, where every user of the machine can read it.
    if ":" in match["user"]:
        raise UsageError(
            "the user name holds a ':'. A password is never part of the server's name: "
            "use --password-env NAME, --password-command CMD, the keyring or the prompt."
        )
    port = int(match["port"] or default_port)
    if not 0 < port < 65536:
        raise UsageError(f"{port} is no port number (1 to 65535).")
    return Account(text.rstrip("/"), match["user"], match["host"].strip("[]"), port, security)
