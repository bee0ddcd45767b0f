"""The lines for Exchange Online PowerShell that go with a list of mailboxes.

They let one application into all of them, as in "Authenticate an IMAP, POP or SMTP connection using
OAuth" (Microsoft Learn), or have Microsoft pull from an IMAP server in front of the archives, as in
"New-MigrationEndpoint", "New-MigrationBatch" and "CSV files for IMAP migration batches" (the same).
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
_ROWS = 2_000
"""Mailboxes in one migration batch; 50,000 are allowed, and fewer are easier to watch."""
_LIST = "EmailAddress,UserName,Password"
_NEW = "[Collections.Generic.List[string]]::new()"


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


def pulled_from(mailboxes: Sequence[Mailbox]) -> list[tuple[str, str]]:
    """Return address and archive of each mailbox of a list whose target is in Office 365."""
    found = ((m.target.server or "", m.directory) for m in mailboxes)
    return [(server.partition(":")[2], name) for server, name in found if _is_office(server)]


def pull_commands(
    pairs: Sequence[tuple[str, str]], host: str, port: int, master: str
) -> Iterator[str]:
    """Yield the lines that have Microsoft pull each archive by the password of a master user.

    The password is asked for when they run, so that it stands in no file. USER*MASTER is how
    Dovecot takes an administrator's credentials.
    """
    yield "Connect-ExchangeOnline"
    yield (
        f"New-MigrationEndpoint -IMAP -Name 'waystation' -RemoteServer {quoted(host)} -Port {port}"
        " -Security Ssl"
    )
    ask = quoted(f"The password of {master}")
    yield f"$secret = Read-Host -AsSecureString {ask}"
    yield "$password = [Net.NetworkCredential]::new('', $secret).Password"
    yield """$password = '"' + $password.Replace('"', '""') + '"'"""
    for number, first in enumerate(range(0, len(pairs), _ROWS), 1):
        yield f"$rows = {_NEW}"
        yield f"$rows.Add('{_LIST}')"
        for address, name in pairs[first : first + _ROWS]:
            cells = f"{_cell(address)},{_cell(f'{name}*{master}')},"
            yield f"$rows.Add({quoted(cells)} + $password)"
        yield '$list = [Text.Encoding]::UTF8.GetBytes(($rows -join "`r`n") + "`r`n")'
        yield (
            f"New-MigrationBatch -Name 'waystation {number}' -SourceEndpoint 'waystation'"
            " -CSVData $list -AutoStart"
        )


def quoted(text: str) -> str:
    """Return a text as PowerShell takes it literally, whatever is in it."""
    return "'" + _QUOTES.sub(r"\1\1", text) + "'"


def _is_office(server: str) -> bool:
    return server.lower().startswith(_OFFICE)


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in '",') else text
