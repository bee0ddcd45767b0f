"""Where the mail of an address is, where its domain alone does not say it.

In this order, and the first that answers counts: the preset of the domain; the preset of its
mail exchangers (MX); RFC 6186, SRV records; Thunderbird's autoconfig, at the domain's own two
addresses and then in Thunderbird's database, to which the domain is told and nothing else.

Promises: no password is sent anywhere; what comes out is TLS or STARTTLS and nothing else. What
DNS says anyone on the way may have said: so a server outside the domain is taken from DNS only
where it is that of a preset, else it is named, and the user decides (RFC 6186 section 6).
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import quote

from waystation import autoconfig
from waystation.address import bare_domain
from waystation.errors import UsageError, plain
from waystation.provider import LoginName
from waystation.providers import by_domain, by_exchanger, by_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from waystation.provider import Provider

    Fetch = Callable[[str], bytes | None]
    """Returns what an https address holds; None where there is nothing, or too much."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})+")
_SERVICES = (
    ("_imaps._tcp", "imaps"),
    ("_imap._tcp", "imap"),
    ("_pop3s._tcp", "pop3s"),
    ("_pop3._tcp", "pop3"),
)
"""RFC 6186 section 3.2 and 3.3. Of those without an ``s`` STARTTLS is required here."""
_PORTS = {"imaps": 993, "imap": 143, "pop3s": 995, "pop3": 110}
_DATABASE = "https://autoconfig.thunderbird.net/v1.1/"


class Service(NamedTuple):
    """An SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    host: str


class Names(Protocol):
    """What the DNS is asked; an answer that does not come is an empty one."""

    def exchangers(self, domain: str) -> list[str]:
        """Return the mail exchangers of a domain, the preferred one first."""

    def services(self, name: str) -> list[Service]:
        """Return the SRV records of a name."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where the mail of an address is."""

    server: str
    """As SERVER is written."""
    how: str
    """In words, for the user: what said so."""


def discover(address: str, names: Names, fetch: Fetch) -> Found:
    """Return where the mail of an address is.

    Raises:
        UsageError: nothing says it, or nothing that can be trusted; the sentence says what to
            write.
    """
    domain = bare_domain(address)
    if domain is None:
        raise UsageError(f"{plain(address)!r} is no mail address.")
    if (preset := by_domain(domain)) is not None:
        return Found(f"{preset.name}:{address}", f"{domain} is {preset.title}")
    ascii_domain = _in_dns(domain)
    return (
        _by_exchanger(address, ascii_domain, names)
        or _by_service(address, ascii_domain, names)
        or _by_autoconfig(address, ascii_domain, fetch)
        or _nothing(address, domain)
    )


def _by_exchanger(address: str, domain: str, names: Names) -> Found | None:
    for host in names.exchangers(domain):
        preset = by_exchanger(host)
        if preset is not None:
            return _at_preset(address, preset, f"the mail exchanger of {domain} is {plain(host)}")
    return None


def _by_service(address: str, domain: str, names: Names) -> Found | None:
    for name, scheme in _SERVICES:
        records = [
            each for each in names.services(f"{name}.{domain}") if each.host not in ("", ".")
        ]
        if not records:
            continue
        best = min(records, key=lambda each: (each.priority, -each.weight))
        host = best.host.lower().rstrip(".")
        how = f"the SRV record {name}.{domain} names {plain(host)}"
        if (preset := by_host(host)) is not None:
            return _at_preset(address, preset, how)
        server = _server(scheme, address, host, best.port)
        if server is None:
            continue
        if host != domain and not host.endswith(f".{domain}"):
            raise UsageError(
                f"{how}, which is not below {domain}: DNS alone is no proof of that. If it is "
                f"your provider, write {server}"
            )
        return Found(server, how)
    return None


def _by_autoconfig(address: str, domain: str, fetch: Fetch) -> Found | None:
    places = (
        f"https://autoconfig.{domain}/mail/config-v1.1.xml",
        f"https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml",
        f"{_DATABASE}{quote(domain)}",
    )
    for place in places:
        text = fetch(place)
        if text is None:
            continue
        how = f"the settings at {place}"
        with suppress(autoconfig.UnreadableError):
            for offer in autoconfig.incoming(text, address):
                if (preset := by_host(offer.host)) is not None:
                    return _at_preset(address, preset, f"{how} name {offer.host}")
                server = _server(offer.scheme, offer.user, offer.host, offer.port)
                if server is not None and offer.takes_password:
                    return Found(server, f"{how} name {offer.host}")
    return None


def _at_preset(address: str, preset: Provider, why: str) -> Found:
    if preset.login is LoginName.LOCAL_PART:
        raise UsageError(
            f"{why}: that is {preset.title}, where you sign in by the name of your own address "
            f"there. Write {preset.name}:NAME@{preset.domains[0]}"
        )
    return Found(f"{preset.name}:{address}", f"{why}: {preset.title}")


def _server(scheme: str, user: str, host: str, port: int) -> str | None:
    """Return a SERVER, or None where host or port are none: they come from anyone."""
    if not _HOST.fullmatch(host) or not 0 < port < 65536 or not user or ":" in user:
        return None
    return f"{scheme}://{user}@{host}" + ("" if port == _PORTS[scheme] else f":{port}")


def _in_dns(domain: str) -> str:
    with suppress(UnicodeError):
        return domain.encode("idna").decode("ascii")
    raise UsageError(f"{plain(domain)} is no name of a domain.")


def _nothing(address: str, domain: str) -> Found:
    raise UsageError(
        f"nothing says where the mail of {plain(domain)} is: no known provider, no SRV record, no "
        f"autoconfig. Write imaps://{plain(address)}@HOST with the name of its server, or "
        f"PROVIDER:{plain(address)} with one of 'waystation providers'."
    )
