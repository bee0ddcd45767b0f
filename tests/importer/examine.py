"""What must hold in a tenant after an import, whatever went wrong on the way."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from store.transfers import ARRIVED, TransferState

if TYPE_CHECKING:
    from tests.importer.exchange import Ledger, Tenant

FINAL = (*ARRIVED, TransferState.REFUSED, TransferState.SET_ASIDE)


def violations(exo: Tenant, ledger: Ledger) -> list[str]:
    """Return each promise that was not kept; the tenant's user reads all mail for it."""
    archive, target = ledger.archive, ledger.target
    found: list[str] = []
    there = {(name, message.uid): message for name, message in exo.box.stored()}
    accounted: Counter[tuple[str, int]] = Counter()
    for message in archive.index.messages("archived"):
        name = f"{message.folder} UID {message.uid}"
        transfer = archive.transfers.of(message.id, target.id)
        if transfer is None or transfer.state not in FINAL:
            state = transfer.state if transfer else "pending"
            found.append(f"{name}: is {state}, which is no end ({transfer and transfer.reply})")
            continue
        if transfer.state not in ARRIVED:
            continue
        place = (transfer.folder, transfer.uid or 0)
        accounted[place] += 1
        stored = there.get(place)
        if stored is None:
            found.append(f"{name}: lost, not at {place}")
            continue
        sent = transfer.repairs[-1].after if transfer.repairs else message.sha256
        if stored.original_sha256 != sent:
            found.append(f"{name}: altered, and the ledger does not say so")
        if transfer.repairs and transfer.repairs[0].before != message.sha256:
            found.append(f"{name}: its repairs do not begin with what was archived")
        flags = {*message.flags, *message.keywords} - set(transfer.lost)
        if stored.flags != flags:
            found.append(f"{name}: flags {stored.flags}, not {flags}")
        if "\\Flagged" in stored.flags and not stored.visible_in_outlook_as_flagged:
            found.append(f"{name}: Outlook does not show the flag")
        date = transfer.internaldate or message.internaldate
        if date is not None and int(stored.internaldate.timestamp()) != int(date.timestamp()):
            found.append(f"{name}: received {stored.internaldate}, not {date}")
    found += [f"{place}: is the copy of {n} messages" for place, n in accounted.items() if n > 1]
    found += [f"{place}: nobody accounts for it" for place in there.keys() - accounted.keys()]
    found += [f"{name}: mail where there is none" for name, _ in exo.box.in_non_mail_folders()]
    found += [f"{each.command} inside a backoff" for each in exo.box.commands_during_backoff]
    if exo.server.sessions_closed_for_bad:
        found.append(f"{exo.server.sessions_closed_for_bad} sessions closed for three BADs")
    exo.box.user_reads_all()
    found += [f"{each.folder}: a receipt went out" for each in exo.box.sent_receipts]
    return found
