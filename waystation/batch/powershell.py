"""The lines for Exchange Online PowerShell that let one application into all mailboxes of a list.

As in "Authenticate an IMAP, POP or SMTP connection using OAuth" (Microsoft Learn).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from waystation.batch.mailboxes import Mailbox

_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")
"""What PowerShell takes for the end of a text in single quotes ("about_Quoting_Rules")."""
_OFFICE = "office365:"


def addresses_of(mailboxes: Sequence[Mailbox]) -> list[str]:
    """Return the mailboxes of Office 365 in a list, targets and sources, each once."""
    servers = (server for m in mailboxes for server in (m.target.server, m.source.server))
    found = (server.partition(":")[2] for server in servers if server and _is_office(server))
    return list(dict.fromkeys(found))


def commands(addresses: Sequence[str], app_id: str, object_id: str) -> Iterator[str]:
    """Yield the lines: once for the application, then two for each mailbox."""
    yield "Connect-ExchangeOnline"
    yield (
        f"New-ServicePrincipal -AppId {quoted(app_id)} -ObjectId {quoted(object_id)}"
        " -DisplayName 'waystation'"
    )
    for address in addresses:
        yield (
            f"Add-MailboxPermission -Identity {quoted(address)} -User {quoted(object_id)}"
            " -AccessRights FullAccess -AutoMapping $false"
        )
        yield f"Set-CASMailbox -Identity {quoted(address)} -ImapEnabled $true"


def quoted(text: str) -> str:
    """Return a text as PowerShell takes it literally, whatever is in it."""
    return "'" + _QUOTES.sub(r"\1\1", text) + "'"


def _is_office(server: str) -> bool:
    return server.lower().startswith(_OFFICE)
