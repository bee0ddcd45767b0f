"""Providers of mail that are known by name, and how to find the one of an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waystation.presets import CLOUDS, PRESETS
from waystation.provider import Cloud, Endpoint, LoginName, OAuth, Provider, SignInKind

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "PROVIDERS",
    "Cloud",
    "Endpoint",
    "LoginName",
    "OAuth",
    "Provider",
    "SignInKind",
    "audiences",
    "by_domain",
    "by_exchanger",
    "by_host",
    "by_name",
    "microsoft_server",
    "window",
]

PROVIDERS: Mapping[str, Provider] = {provider.name: provider for provider in PRESETS}
"""Each by its own name."""


def by_name(name: str) -> Provider | None:
    """Return the provider that is called so, in any case, by its own name or by another."""
    wanted = name.lower()
    return next((p for p in PRESETS if wanted == p.name or wanted in p.aliases), None)


def by_domain(domain: str) -> Provider | None:
    """Return the provider that all addresses of this domain belong to."""
    wanted = domain.lower().rstrip(".")
    return next((p for p in PRESETS if wanted in p.domains), None)


def by_exchanger(host: str) -> Provider | None:
    """Return the provider that a mail exchanger of this name belongs to."""
    name = f".{host.lower().rstrip('.')}"
    found = [(len(end), p) for p in PRESETS for end in p.mx if name.endswith(f".{end}")]
    # The longest end says most: Outlook.com's is longer than Office 365's.
    return max(found, key=lambda each: each[0])[1] if found else None


def by_host(host: str) -> Provider | None:
    """Return the provider whose mailboxes are read at this host."""
    wanted = host.lower().rstrip(".")
    for provider in PRESETS:
        places = (provider.imap, provider.pop3, provider.target, *provider.own_domains.values())
        known = {each.host for each in places if each is not None}
        if wanted in known | set(provider.hosts) and not _is_loopback(wanted):
            return provider
    return None


def window(host: str, preset: Provider | None = None) -> int | None:
    """Return how many messages of a folder are shown at the most at this host; None if all.

    At an address that is not known, as with --server, it is what the preset's own host shows.
    """
    wanted = host.lower().rstrip(".")
    for provider in PRESETS:
        if wanted in provider.windows:
            return provider.windows[wanted]
    if preset is None or preset.imap is None or by_host(wanted) is not None:
        return None
    return preset.windows.get(preset.imap.host)


def microsoft_server(user: str) -> str:
    """Return how SERVER is written for a user at Microsoft, with a personal account or at work."""
    preset = by_domain(user.rpartition("@")[2])
    is_personal = preset is not None and preset.name == "outlook"
    return f"{'outlook' if is_personal else 'office365'}:{user}"


def audiences() -> frozenset[str]:
    """Return every name of Exchange Online that may stand in a token as its audience.

    The one that is no address is the number of the application *Office 365 Exchange Online*
    itself, the same in all tenants ("Verify first-party Microsoft applications in sign-in reports",
    Microsoft Learn).
    """
    named = {cloud.audience for cloud in CLOUDS}
    named |= {cloud.user_audience for cloud in CLOUDS if cloud.user_audience}
    return frozenset(named | {"00000002-0000-0ff1-ce00-000000000000"})


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"
