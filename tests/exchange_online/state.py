"""What a server holds and has seen, as plain values for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.exchange_online.mailbox import Mailbox, Stored
    from tests.exchange_online.server import ExchangeOnline


def state_of(server: ExchangeOnline) -> dict[str, object]:
    """Return the state of a server and of each mailbox, without the messages' octets."""
    return {
        "profile": server.profile.name,
        "seed": server.seed,
        "scale": server.scale,
        "connections": server.connections,
        "sessions_closed_for_bad": server.sessions_closed_for_bad,
        "failures": list(server.failures),
        "mailboxes": {
            address: mailbox_state(mailbox) for address, mailbox in server.mailboxes.items()
        },
    }


def mailbox_state(box: Mailbox) -> dict[str, object]:
    """Return what a mailbox holds, and what happened in it."""
    with box.lock:
        folders = {
            name: {
                "uidvalidity": folder.uidvalidity,
                "uidnext": folder.uidnext,
                "is_mail": folder.is_mail,
                "is_default": folder.is_default,
                "is_subscribed": folder.is_subscribed,
                "messages": [_message(message) for message in folder.messages],
            }
            for name, folder in box.folders.items()
        }
        return {
            "folders": folders,
            "in_non_mail_folders": len(box.in_non_mail_folders()),
            "sent_receipts": [asdict(receipt) for receipt in box.sent_receipts],
            "pending_receipts": len(box.pending_receipts()),
            "commands_during_backoff": [asdict(each) for each in box.commands_during_backoff],
            "throttles": [asdict(each) for each in box.throttles],
            "allowance_seen": box.allowance_seen(),
            "spent": box.spent,
            "peak_connections": box.peak_connections,
            "sessions_closed_for_bad": box.sessions_closed_for_bad,
            "answers": dict(sorted(box.answers.items())),
        }


def _message(message: Stored) -> dict[str, object]:
    return {
        "uid": message.uid,
        "size": message.blob.size,
        "sha256": message.original_sha256,
        "flags": sorted(message.flags),
        "internaldate": message.internaldate.isoformat(),
        "draft_at_creation": message.draft_at_creation,
        "visible_in_outlook_as_flagged": message.visible_in_outlook_as_flagged,
    }
