"""Exchange Online with many mailboxes and a bucket of its own, in a process of its own.

``python -m tests.batch.office_child CA_DIRECTORY STATE COUNT BURST RECHARGE BACKOFF``: prints one
line of JSON that says where it is; at SIGTERM it writes what each mailbox holds and has seen.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tests.exchange_online.profile import EXO_2026
from tests.exchange_online.server import ExchangeOnline
from tests.fakes.certificates import TestAuthority
from tests.servers.identity import IdentityProvider


def main() -> None:
    """Run the server until a signal comes."""
    directory, state = Path(sys.argv[1]), Path(sys.argv[2])
    count = int(sys.argv[3])
    burst, recharge, backoff = map(float, sys.argv[4:7])
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    profile = replace(
        EXO_2026, bucket_burst=burst, bucket_recharge=recharge, backoff_seconds=backoff
    )
    authority = TestAuthority(directory)
    with (
        IdentityProvider(directory, authority=authority) as provider,
        ExchangeOnline(profile, verify=provider.claims_of, authority=authority) as server,
    ):
        for number in range(count):
            server.add_mailbox(f"u{number}@contoso.com")
        where = {
            "port": server.port,
            "ca_file": str(authority.ca_file),
            "authority": provider.authority,
            "tenant": provider.tenant,
            "client_id": provider.client_id,
            "client_secret": provider.client_secret,
        }
        print(json.dumps(where), flush=True)
        stop.wait()
        server.stop()
        seen = {
            address: {
                "bodies": dict(Counter(m.original_sha256 for _, m in box.stored())),
                "intrusions": len(box.commands_during_backoff),
                "throttles": len(box.throttles),
                "peak_connections": box.peak_connections,
            }
            for address, box in server.mailboxes.items()
        }
        state.write_text(json.dumps({"tokens": len(provider.issued), "mailboxes": seen}))


if __name__ == "__main__":
    main()
