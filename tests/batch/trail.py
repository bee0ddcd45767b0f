"""What a worker loads before it begins: it writes down when it takes and leaves a lease.

``dask worker --preload tests/batch/trail.py``: one file for each worker in ``TRAIL``, one line for
each event, with the time by the clock that all processes of a machine share.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path


class Trail(logging.Handler):
    """Appends each event to a file, at once."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one event."""
        line = f"{time.monotonic()} {os.getpid()} {record.getMessage()}\n"
        with (Path(os.environ["TRAIL"]) / str(os.getpid())).open("a") as file:
            file.write(line)


def dask_setup(_: object) -> None:
    """Begin to write; dask calls this in each worker."""
    log = logging.getLogger("waystation.batch.lease")
    log.setLevel(logging.INFO)
    log.addHandler(Trail())
