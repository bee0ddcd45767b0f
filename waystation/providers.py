"""Providers of mail that are known by name: their addresses, as data.

Office 365 is Exchange Online; its IMAP server is the same for all tenants of a cloud, and only
OAuth opens it. Where the values are from:

* worldwide: "Authenticate an IMAP, POP or SMTP connection using OAuth" (Microsoft Learn), for
  host, scopes and the scope of applications; the host also in Thunderbird's ISPDB
  (office365.com.xml).
* consumers (Outlook.com, Hotmail): the same host (ISPDB, outlook.com.xml); personal accounts
  sign in below ``/consumers`` ("Microsoft identity platform and OAuth 2.0 authorization code
  flow", Microsoft Learn).
* gcc-high, dod: "National clouds" (Microsoft Learn) for the authority, "Office 365 U.S.
  Government GCC High endpoints" and "… DoD endpoints" for the host. The plain GCC uses the
  worldwide addresses.
* 21vianet: "National clouds" for the authority, "URLs and IP address ranges for Office 365
  operated by 21Vianet" for the host (also email-oauth2-proxy, issue 255).

Each of host, authority and scope can be replaced by an option, should one be wrong or change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Mapping


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

    @property
    def user_scope(self) -> str:
        """What an application asks for on behalf of a user."""
        return f"{self.user_audience or self.audience}/IMAP.AccessAsUser.All"


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider of mail, by the name that stands before the colon."""

    name: str
    title: str
    port: int
    clouds: Mapping[str, Cloud]
    """By name; the first one is meant where none is named."""

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


_WORLDWIDE = "https://login.microsoftonline.com"
_CLOUDS = (
    Cloud(
        "worldwide",
        "outlook.office365.com",
        _WORLDWIDE,
        "https://outlook.office365.com",
        "https://outlook.office.com",
    ),
    Cloud(
        "gcc-high",
        "outlook.office365.us",
        "https://login.microsoftonline.us",
        "https://outlook.office365.us",
    ),
    Cloud(
        "dod",
        "outlook-dod.office365.us",
        "https://login.microsoftonline.us",
        "https://outlook-dod.office365.us",
    ),
    Cloud(
        "21vianet",
        "partner.outlook.cn",
        "https://login.partner.microsoftonline.cn",
        "https://partner.outlook.cn",
    ),
    Cloud(
        "consumers",
        "outlook.office365.com",
        _WORLDWIDE,
        "https://outlook.office365.com",
        "https://outlook.office.com",
        tenant="consumers",
    ),
)

PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider("office365", "Office 365", 993, {cloud.name: cloud for cloud in _CLOUDS}),
    )
}


def audiences() -> frozenset[str]:
    """Return every name of Exchange Online that may stand in a token as its audience.

    The one that is no address is the number of the application *Office 365 Exchange Online*
    itself, the same in all tenants ("Verify first-party Microsoft applications in sign-in reports",
    Microsoft Learn).
    """
    named = {cloud.audience for cloud in _CLOUDS}
    named |= {cloud.user_audience for cloud in _CLOUDS if cloud.user_audience}
    return frozenset(named | {"00000002-0000-0ff1-ce00-000000000000"})
