"""How a server and a mailbox on it are named: ``imaps://USER@HOST[:PORT]``, ``PROVIDER:USER``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from waystation.errors import UsageError, plain
from waystation.providers import PROVIDERS

Security = Literal["tls", "starttls"]

_SCHEMES: dict[str, tuple[Security, int]] = {"imaps": ("tls", 993), "imap": ("starttls", 143)}
_LATER = {"pop3s", "pop3"}
_FORM = re.compile(
    r"(?P<scheme>[A-Za-z0-9+]+)://(?P<user>.+)@(?P<host>\[[0-9A-Fa-f:.%]+\]|[^@:/\[\]\s]+)(?::(?P<port>\d{1,5}))?/?",
    re.ASCII,
)
_PRESET = re.compile(r"(?P<provider>[A-Za-z0-9]+):(?P<user>[^/\s].*)", re.ASCII)
_SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^@:/\[\]\s]+):(?P<port>\d{1,5})", re.ASCII)
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
    """The same for every spelling of one account: host in lower case, port always there.

    Of a provider's account it is ``PROVIDER:USER`` in lower case, whatever its host is today.
    """
    provider: str | None = None
    """The name of the preset, or None where host and port were named."""

    def __post_init__(self) -> None:
        if self.provider is not None:
            object.__setattr__(self, "key", f"{self.provider}:{self.user.lower()}")
            return
        scheme = "imaps" if self.security == "tls" else "imap"
        object.__setattr__(self, "key", f"{scheme}://{self.user}@{self.host.lower()}:{self.port}")

    def at(self, host: str, port: int) -> Self:
        """Return the same account at another address."""
        return replace(self, host=host, port=port)


def parse_account(text: str) -> Account:
    """Return the account that ``text`` names.

    USER may hold an ``@``: the last one separates the host. Of a preset, the account is at the
    address where most accounts of that provider are.

    Raises:
        UsageError: the text names no server in a form we know; the sentence says which are.
    """
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise UsageError(f"{plain(text)!r} holds control characters and is no server.")
    if "://" not in text and (preset := _PRESET.fullmatch(text)) is not None:
        return _preset_account(text, preset["provider"].lower(), preset["user"])
    match = _FORM.fullmatch(text)
    if match is None:
        # A password where none may be must not get from here into a log.
        shown = plain(_PASSWORD.sub(r"\1:(password)@", text))
        raise UsageError(
            f"{shown!r} names no server. Write imaps://USER@HOST[:PORT], imap://USER@HOST[:PORT] "
            f"or {_presets()}."
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
    port = _port(match["port"] or default_port)
    return Account(text.rstrip("/"), match["user"], match["host"].strip("[]"), port, security)


def parse_server(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; an IPv6 address stands in brackets.

    Raises:
        UsageError: it is neither.
    """
    match = _SERVER.fullmatch(text)
    if match is None:
        raise UsageError(f"--server {plain(text)!r} is not HOST:PORT.")
    return match["host"].strip("[]"), _port(match["port"])


def _preset_account(text: str, provider: str, user: str) -> Account:
    preset = PROVIDERS.get(provider)
    if preset is None:
        # What follows may be a password: it is not repeated.
        raise UsageError(
            f"{plain(provider)}: is no provider that is known here. Known are {_presets()}; any "
            "other server is imaps://USER@HOST[:PORT]."
        )
    local, at, domain = user.rpartition("@")
    if not (local and at and "." in domain) or re.search(r"[\s:]", user):
        raise UsageError(
            f"after {provider}: comes the mailbox's address, such as {provider}:bob@contoso.com."
        )
    return Account(text, user, preset.usual_cloud.imap_host, preset.port, "tls", provider=provider)


def _presets() -> str:
    return " or ".join(f"{name}:USER" for name in PROVIDERS)


def _port(text: str | int) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise UsageError(f"{port} is no port number (1 to 65535).")
    return port
