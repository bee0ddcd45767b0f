"""What is known of a provider of mail: its servers, how one signs in there, what to expect."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

Security = Literal["tls", "starttls"]
Protocol = Literal["imap", "pop3"]
"""How mail is read from a server."""


class SignInKind(StrEnum):
    """By what a provider lets a program in."""

    PASSWORD = "password"  # noqa: S105 - the word, not one of them
    APP_PASSWORD = "app password"  # noqa: S105
    """A password for one program, made on the provider's pages."""
    OAUTH = "OAuth"


class LoginName(StrEnum):
    """By what name a provider knows a mailbox."""

    ADDRESS = "full address"
    LOCAL_PART = "local part"
    """What stands before the ``@``."""
    ANY = "as the server wants it"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one protocol is spoken."""

    host: str
    port: int
    security: Security = "tls"

    def __str__(self) -> str:
        return f"{self.host}:{self.port} {'TLS' if self.security == 'tls' else 'STARTTLS'}"


@dataclass(frozen=True, slots=True)
class Cloud:
    """One of the separate worlds in which Microsoft runs Office 365."""

    name: str
    imap_host: str
    authority: str
    """Where tokens come from, without the tenant."""
    audience: str
    """Whom the tokens are for: the address before the name of a permission."""
    user_audience: str | None = None
    """The same where a user signs in, if that has another name there."""
    tenant: str | None = None
    """Where all accounts have one tenant: its name."""

    @property
    def app_scope(self) -> str:
        """What an application asks for that signs in as itself."""
        return f"{self.audience}/.default"

    def user_scope_of(self, protocol: Protocol) -> str:
        """Return what an application asks for on behalf of a user."""
        permission = "IMAP.AccessAsUser.All" if protocol == "imap" else "POP.AccessAsUser.All"
        return f"{self.user_audience or self.audience}/{permission}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """How tokens are had from a provider other than Microsoft (RFC 6749), by one's own client."""

    authorization: str
    """Where a person consents."""
    token: str
    """Where a consent becomes tokens."""
    revocation: str | None = None
    """Where a token is taken back (RFC 7009); None where only the person can, at ``consents``."""
    scope: str
    """What opens the mailbox."""
    protocols: frozenset[Protocol] = frozenset({"imap"})
    """By which protocols a token opens it."""
    client_id: str
    """A regular expression: what its client IDs look like, and no other's."""
    clients: str
    """Where a client is registered."""
    consents: str
    """Where a person sees what they have consented to, and takes it back."""
    redirect: str | None = None
    """The page that shows the code where no browser comes back to this machine."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further parameters of the address where a person consents."""
    has_service_accounts: bool = False
    """Whether an administrator's service account opens every mailbox (RFC 7523)."""
    is_on_one_line: bool = False
    """Whether POP3's AUTH XOAUTH2 takes the token on its own line, however long that is."""
    sources: tuple[str, ...]
    """Where the values are from."""

    def at(self, host: str) -> OAuth:
        """Return the same at another host, such as one of a test."""
        moved = {
            name: None if address is None else urlsplit(address)._replace(netloc=host).geturl()
            for name, address in (
                ("authorization", self.authorization),
                ("token", self.token),
                ("revocation", self.revocation),
            )
        }
        return replace(self, **moved)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider of mail, by the name that stands before the colon, or a kind of server."""

    name: str
    title: str
    imap: Endpoint | None = None
    """None of a kind of server: that is anywhere, and is named ``imaps://USER@HOST``."""
    pop3: Endpoint | None = None
    smtp: Endpoint | None = None
    target: Endpoint | None = None
    """Where mail is put in, if that is not where it is read by IMAP."""
    own_domains: Mapping[Protocol, Endpoint] = field(default_factory=dict)
    """Where mailboxes of domains are read that are not the provider's own, if elsewhere."""
    sign_in: tuple[SignInKind, ...]
    login: LoginName = LoginName.ADDRESS
    where: str
    """Where the app password is made, the consent given, or IMAP switched on."""
    switch_on: str = ""
    """What has to be switched on there before a program can read the mail."""
    limits: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()
    sources: tuple[str, ...]
    """Where the values are from."""
    aliases: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    """Domains of addresses that are at this provider for certain."""
    mx: tuple[str, ...] = ()
    """Ends of the names of its mail exchangers."""
    hosts: tuple[str, ...] = ()
    """Further hosts where the same mailboxes are read."""
    daily: Mapping[Protocol, int] = field(default_factory=dict)
    """Octets that may be fetched in 24 hours before the mailbox is shut."""
    windows: Mapping[str, int] = field(default_factory=dict)
    """By host: so many messages of a folder are shown, the newest, and not one more."""
    oauth: OAuth | None = None
    """How tokens are had where a password of some kind opens the mailbox as well."""
    clouds: Mapping[str, Cloud] = field(default_factory=dict)
    """Of Microsoft's: by name; the first one is meant where none is named."""

    @property
    def port(self) -> int:
        """The port of its IMAP server."""
        return 993 if self.imap is None else self.imap.port

    @property
    def takes_tokens_only(self) -> bool:
        """Whether no password of any kind opens a mailbox there."""
        return self.sign_in == (SignInKind.OAUTH,)

    @property
    def is_exchange(self) -> bool:
        """Whether the mailboxes are in Exchange Online."""
        return bool(self.clouds)

    def endpoint(self, protocol: Protocol, domain: str | None = None) -> Endpoint | None:
        """Return where the protocol is spoken, for mailboxes of this domain; None for nowhere."""
        usual = self.imap if protocol == "imap" else self.pop3
        if domain is None or domain.lower() in self.domains:
            return usual
        return self.own_domains.get(protocol, usual)

    def login_name(self, user: str) -> str:
        """Return the name by which the servers know the mailbox of this address."""
        return user.rpartition("@")[0] if self.login is LoginName.LOCAL_PART else user

    @property
    def usual_cloud(self) -> Cloud:
        """The cloud that is meant where none is named."""
        return next(iter(self.clouds.values()))

    def cloud(self, name: str | None) -> Cloud:
        """Return the cloud of this name.

        Raises:
            UsageError: there is none; the sentence names those that are.
        """
        if name is None:
            return self.usual_cloud
        found = self.clouds.get(name.lower())
        if found is None:
            known = ", ".join(self.clouds)
            raise UsageError(f"{plain(name)} is no cloud of {self.title}. Known are {known}.")
        return found
