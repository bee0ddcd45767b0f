"""The simulator on its own, to be tried by hand: ``python -m tests.exchange_online``.

It prints one line of JSON that says where it is and how to sign in, and runs until SIGTERM or
SIGINT. Then it writes its state to ``--state-file``.
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
import threading
from pathlib import Path

from tests.exchange_online.profile import PROFILES
from tests.exchange_online.server import ExchangeOnline
from tests.exchange_online.state import state_of
from tests.exchange_online.trees import TREES
from tests.fakes.certificates import TestAuthority
from tests.servers.identity import USER, IdentityProvider


def main() -> None:
    """Run the server until a signal comes."""
    options = _options()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory(prefix="exchange-") as name:
        authority = TestAuthority(Path(name))
        with (
            IdentityProvider(
                Path(name), authority=authority, expires_in=options.token_seconds
            ) as provider,
            ExchangeOnline(
                PROFILES[options.profile],
                seed=options.seed,
                scale=options.scale,
                verify=provider.claims_of,
                log_file=options.log_file,
                authority=authority,
            ) as server,
        ):
            for address in options.mailbox or [USER]:
                server.add_mailbox(address, options.locale)
            provider.approves_after = 1
            where = {
                "host": server.host,
                "port": server.port,
                "ca_file": str(authority.ca_file),
                "authority": provider.authority,
                "tenant": provider.tenant,
                "client_id": provider.client_id,
                "client_secret_env": "WAYSTATION_CLIENT_SECRET",
                "client_secret": provider.client_secret,
                "mailboxes": sorted(server.mailboxes),
            }
            print(json.dumps(where), flush=True)
            stop.wait()
            server.stop()
            if options.state_file is not None:
                options.state_file.write_text(json.dumps(state_of(server), indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.exchange_online", description=__doc__)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="exo-2026")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of all durations")
    parser.add_argument("--mailbox", action="append", metavar="ADDRESS", help=f"default: {USER}")
    parser.add_argument("--locale", choices=sorted(TREES), default="en")
    parser.add_argument("--token-seconds", type=float, default=3600)
    parser.add_argument("--state-file", type=Path, help="JSON, written at the end")
    parser.add_argument("--log-file", type=Path, help="JSON lines of all that is said")
    return parser.parse_args()


if __name__ == "__main__":
    main()
