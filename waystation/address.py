"""How a server and a mailbox on it are named.

``imaps://USER@HOST[:PORT]``, ``pop3s://USER@HOST[:PORT]``, ``PROVIDER:USER``. Of a preset,
``PROVIDER+pop3:USER`` is the same mailbox by POP3. A bare address names a preset where its domain
says enough; to find out about other domains is for ``waystation.discovery``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from waystation.errors import UsageError, plain
from waystation.providers import PROVIDERS, by_domain, by_name

if TYPE_CHECKING:
    from waystation.provider import Protocol, Provider, Security

_SCHEMES: dict[str, tuple[Protocol, Security, int]] = {
    "imaps": ("imap", "tls", 993),
    "imap": ("imap", "starttls", 143),
    "pop3s": ("pop3", "tls", 995),
    "pop3": ("pop3", "starttls", 110),
}
_FORM = re.compile(
    r"(?P<scheme>[A-Za-z0-9+]+)://(?P<user>.+)@(?P<host>\[[0-9A-Fa-f:.%]+\]|[^@:/\[\]\s]+)(?::(?P<port>\d{1,5}))?/?",
    re.ASCII,
)
_PRESET = re.compile(
    r"(?P<provider>[A-Za-z0-9][A-Za-z0-9.-]*)(?P<pop3>\+pop3)?:(?P<user>[^/\s].*)", re.ASCII
)
_BARE = re.compile(r"[^@\s:/]+@(?P<domain>[^@\s:/.\[\]]+(?:\.[^@\s:/.\[\]]+)+)\.?")
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
    protocol: Protocol = "imap"
    sign_in_as: str | None = None
    """Who signs in with a password of their own, where that is an administrator."""

    def __post_init__(self) -> None:
        if self.provider is not None:
            by = "" if self.protocol == "imap" else f"+{self.protocol}"
            object.__setattr__(self, "key", f"{self.provider}{by}:{self.user.lower()}")
            return
        scheme = f"{self.protocol}s" if self.security == "tls" else self.protocol
        host = self.host.lower() if ":" not in self.host else f"[{self.host.lower()}]"
        object.__setattr__(self, "key", f"{scheme}://{self.user}@{host}:{self.port}")

    def at(self, host: str, port: int) -> Self:
        """Return the same account at another address."""
        return replace(self, host=host, port=port)

    def opened_by(self, user: str) -> Self:
        """Return the same account, to be opened by an administrator's password."""
        return replace(self, sign_in_as=user)

    def as_target(self) -> Self:
        """Return the same account where it takes mail, if that is not where it is read."""
        place = None if self.preset is None else self.preset.target
        return self if place is None else self.at(place.host, place.port)

    @property
    def preset(self) -> Provider | None:
        """What is known of the provider; None where host and port were named."""
        return None if self.provider is None else PROVIDERS[self.provider]

    @property
    def login(self) -> str:
        """The name by which the server knows the mailbox."""
        return self.user if self.preset is None else self.preset.login_name(self.user)

    @property
    def takes_tokens_only(self) -> bool:
        """Whether no password opens it."""
        return self.preset is not None and self.preset.takes_tokens_only

    @property
    def password_key(self) -> str:
        """By what name the keyring has the password: an administrator's serves all mailboxes."""
        if self.sign_in_as is None:
            return self.key
        if self.provider is not None:
            return f"{self.provider}:{self.sign_in_as.lower()}"
        return replace(self, user=self.sign_in_as, sign_in_as=None).key


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
        protocol: Protocol = "pop3" if preset["pop3"] else "imap"
        return _preset_account(text, preset["provider"].lower(), preset["user"], protocol)
    if (domain := bare_domain(text)) is not None:
        return _bare_account(text, domain)
    match = _FORM.fullmatch(text)
    if match is None:
        # A password where none may be must not get from here into a log.
        shown = plain(_PASSWORD.sub(r"\1:(password)@", text))
        raise UsageError(
            f"{shown!r} names no server. Write imaps://USER@HOST[:PORT], imap://USER@HOST[:PORT], "
            "pop3s://USER@HOST[:PORT], pop3://USER@HOST[:PORT] or PROVIDER:USER; 'waystation "
            "providers' lists the providers."
        )
    scheme = match["scheme"].lower()
    if scheme not in _SCHEMES:
        raise UsageError(
            f"{plain(scheme)}:// is no protocol for mail that is known here. Write imaps://USER@HOST[:PORT]."
        )
    protocol, security, default_port = _SCHEMES[scheme]
    # A password must never stand in argv, where every user of the machine can read it.
    if ":" in match["user"]:
        raise UsageError(
            "the user name holds a ':'. A password is never part of the server's name: "
            "use --password-env NAME, --password-command CMD, the keyring or the prompt."
        )
    port = _port(match["port"] or default_port)
    return Account(
        text.rstrip("/"),
        match["user"],
        match["host"].strip("[]"),
        port,
        security,
        protocol=protocol,
    )


def parse_server(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; an IPv6 address stands in brackets.

    Raises:
        UsageError: it is neither.
    """
    match = _SERVER.fullmatch(text)
    if match is None:
        raise UsageError(f"--server {plain(text)!r} is not HOST:PORT.")
    return match["host"].strip("[]"), _port(match["port"])


def bare_domain(text: str) -> str | None:
    """Return the domain where ``text`` is an address and nothing else; None otherwise."""
    match = _BARE.fullmatch(text)
    return None if match is None else match["domain"].lower()


def _bare_account(text: str, domain: str) -> Account:
    preset = by_domain(domain)
    if preset is None:
        raise UsageError(
            f"nothing here says where the mail of {plain(domain)} is. Write "
            f"imaps://{plain(text)}@HOST with the name of its server, or PROVIDER:{plain(text)} "
            "with one of 'waystation providers'."
        )
    return _preset_account(f"{preset.name}:{text}", preset.name, text, "imap")


def _preset_account(text: str, name: str, user: str, protocol: Protocol) -> Account:
    preset = by_name(name)
    if preset is None:
        # What follows may be a password: it is not repeated.
        raise UsageError(
            f"{plain(name)}: is no provider that is known here. Known are "
            f"{', '.join(_presets())}; any other server is imaps://USER@HOST[:PORT]."
        )
    if preset.imap is None:
        raise UsageError(
            f"{preset.title} is a kind of server and can be anywhere: write imaps://USER@HOST."
        )
    local, at, domain = user.rpartition("@")
    endpoint = preset.endpoint(protocol, domain)
    if endpoint is None:
        raise UsageError(f"{preset.title} has no POP3; write {preset.name}:USER.")
    if not (local and at and "." in domain) or re.search(r"[\s:]", user):
        like = preset.domains[0] if preset.domains and preset.name != "office365" else "contoso.com"
        raise UsageError(
            f"after {name}: comes the mailbox's address, such as {preset.name}:bob@{like}."
        )
    return Account(
        text,
        user,
        endpoint.host,
        endpoint.port,
        endpoint.security,
        provider=preset.name,
        protocol=protocol,
    )


def _presets() -> list[str]:
    return [f"{name}:USER" for name, preset in PROVIDERS.items() if preset.imap is not None]


def _port(text: str | int) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise UsageError(f"{port} is no port number (1 to 65535).")
    return port
