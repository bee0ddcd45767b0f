"""An import into the simulator in a process of its own, which can be killed.

``python -m tests.importer.exchange_child ARCHIVE HOST PORT CA LAPSE BEGAN FIRST``
"""

from __future__ import annotations

import sys
from pathlib import Path

from importer.house import HouseRules
from importer.job import Options
from importer.pace import PaceLimits
from importer.run import replay
from store.archive import Archive
from tests.importer.exchange import BOB, Client, Clock, Tokens
from waystation.progress import Silent


def main() -> None:
    """Import what is left to send, and say how much it was."""
    place, host, port, ca_file, lapse, began, first = sys.argv[1:]
    clock = Clock(float(lapse), float(began), float(first))
    client = Client(host, int(port), Path(ca_file), clock, Tokens(clock, 3600))
    with Archive.write(Path(place), "import") as archive:
        name = f"office365:{BOB}"
        result = replay(
            archive,
            client.connect,
            archive.transfers.target(name, name),
            Silent(),
            Options(house=HouseRules(pace=PaceLimits(most=0))),
            client.patience(Silent()),
        )
    print(result.appended)


if __name__ == "__main__":
    main()
