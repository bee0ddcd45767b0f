"""From what the user wrote for a server to an account; a bare address is looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waystation.cli import state

if TYPE_CHECKING:
    from waystation.address import Account


def named_account(text: str) -> Account:
    """Return the account that ``text`` names; where that is a bare address, say how it was found.

    Raises:
        UsageError: it names none, or nothing says where the mail of that address is.
    """
    from waystation.address import bare_domain, parse_account

    if bare_domain(text) is None:
        return parse_account(text)
    # Loaded late: only a bare address needs the DNS and the web.
    from waystation import reach
    from waystation.discovery import discover
    from waystation.stream import tls_context

    found = discover(text, reach.Dns(), reach.Web(tls_context(None)).fetch)
    listener = state.current()
    if listener is not None:
        listener.say(f"{found.how}; this is {found.server}")
    return parse_account(found.server)
