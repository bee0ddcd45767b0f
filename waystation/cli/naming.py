"""From what the user wrote for a server to an account; a bare address is looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waystation.cli import state

if TYPE_CHECKING:
    from waystation.address import Account
    from waystation.discovery import Fetch, Names


def outside() -> tuple[Names, Fetch]:
    """Return how the DNS and the web are reached: by this machine's resolver, and by https."""
    # Loaded late: only a bare address needs them.
    from waystation.reach import Dns, Web
    from waystation.stream import tls_context

    return Dns(), Web(tls_context(None)).fetch


def named_account(text: str) -> Account:
    """Return the account that ``text`` names; where that is a bare address, say how it was found.

    Raises:
        UsageError: it names none, or nothing says where the mail of that address is.
    """
    from waystation.address import bare_domain, parse_account

    if bare_domain(text) is None:
        return parse_account(text)
    from waystation.discovery import discover

    found = discover(text, *outside())
    listener = state.current()
    if listener is not None:
        listener.say(f"{found.how}; this is {found.server}")
    return parse_account(found.server)
