"""``waystation providers``: what is known of the providers that people leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from waystation.cli import options, state
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from waystation.cli.output import Listener
    from waystation.provider import Endpoint, Provider

_EXAMPLES = """\
\b
Examples:
  waystation providers gmail
  waystation providers --json
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("providers", epilog=_EXAMPLES)(_providers)


def _providers(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A provider, or an address or domain of one.",
            show_default=False,
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Show the providers that PROVIDER:USER may name, or all that is known of one. Offline."""
    from waystation.providers import PROVIDERS, by_domain, by_name

    listener = state.listen("providers", as_json=as_json)
    shown: Iterable[Provider] = PROVIDERS.values()
    if name is not None:
        found = by_name(name) or by_domain(name.rpartition("@")[2])
        if found is None:
            raise UsageError(
                f"{plain(name)} is no provider that is known here. Known are "
                f"{', '.join(PROVIDERS)}."
            )
        shown = (found,)
        _describe(listener, found)
    else:
        listener.table(
            ("provider", "IMAP", "POP3", "SMTP", "sign-in", "login"),
            [_cells(provider) for provider in shown],
        )
    count = 0
    for provider in shown:
        count += 1
        listener.row("provider", _values(provider))
    listener.summary("done", 0, {"providers": count})
    return 0


def _cells(provider: Provider) -> tuple[str, ...]:
    return (
        provider.name,
        _text(provider.imap),
        _text(provider.pop3),
        _text(provider.smtp),
        " or ".join(provider.sign_in),
        provider.login.value,
    )


def _text(endpoint: Endpoint | None) -> str:
    return "-" if endpoint is None else str(endpoint)


def _describe(listener: Listener, provider: Provider) -> None:
    listener.heading(provider.title)
    usual: list[tuple[str, Iterable[str]]] = [
        ("write", _written(provider)),
        ("IMAP", [_text(provider.imap)]),
        ("POP3", [_text(provider.pop3)]),
        ("SMTP", [_text(provider.smtp)]),
        ("sign-in", [" or ".join(provider.sign_in)]),
        ("login", [provider.login.value]),
        ("switch on", [provider.switch_on] if provider.switch_on else []),
        ("where", [provider.where]),
        ("OAuth", _oauth_lines(provider)),
        ("target", [str(provider.target)] if provider.target is not None else []),
        ("limit", provider.limits),
        ("quirk", provider.quirks),
        ("domains", [", ".join(provider.domains)] if provider.domains else []),
        ("source", provider.sources),
        ("source", provider.oauth.sources if provider.oauth is not None else ()),
    ]
    for title, lines in usual:
        for line in lines:
            listener.heading(f"  {title:<10}{line}")


def _oauth_lines(provider: Provider) -> list[str]:
    if provider.oauth is None:
        return []
    return [
        f"by a client of your own, registered at {provider.oauth.clients}",
        f"consents are listed at {provider.oauth.consents}",
    ]


def _written(provider: Provider) -> list[str]:
    if provider.imap is None:
        return ["imaps://USER@HOST[:PORT]"]
    names = [f"{provider.name}:USER"]
    if provider.pop3 is not None:
        names.append(f"{provider.name}+pop3:USER")
    return [" or ".join(names)]


def _values(provider: Provider) -> dict[str, Any]:
    return {
        "name": provider.name,
        "title": provider.title,
        "aliases": list(provider.aliases),
        "imap": _endpoint(provider.imap),
        "pop3": _endpoint(provider.pop3),
        "smtp": _endpoint(provider.smtp),
        "sign_in": [kind.value for kind in provider.sign_in],
        "login": provider.login.value,
        "where": provider.where,
        "switch_on": provider.switch_on,
        "limits": list(provider.limits),
        "quirks": list(provider.quirks),
        "domains": list(provider.domains),
        "clouds": list(provider.clouds),
        "target": _endpoint(provider.target),
        "oauth": _oauth(provider),
        "sources": list(provider.sources),
    }


def _oauth(provider: Provider) -> dict[str, Any] | None:
    found = provider.oauth
    if found is None:
        return None
    return {
        "authorization": found.authorization,
        "token": found.token,
        "revocation": found.revocation,
        "scope": found.scope,
        "protocols": sorted(found.protocols),
        "clients": found.clients,
        "consents": found.consents,
        "service_accounts": found.has_service_accounts,
        "sources": list(found.sources),
    }


def _endpoint(endpoint: Endpoint | None) -> dict[str, Any] | None:
    if endpoint is None:
        return None
    return {"host": endpoint.host, "port": endpoint.port, "security": endpoint.security}
