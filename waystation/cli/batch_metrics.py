"""One door to prometheus-client: how a batch fares, for a monitoring system.

Names and units as in Prometheus, "Metric and label naming". Read from the board when asked, so
that it costs the work nothing.
"""

from __future__ import annotations

import time
from contextlib import suppress
from importlib.metadata import version
from threading import Event, Thread
from typing import TYPE_CHECKING

from waystation.batch.run import State
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prometheus_client.registry import Collector, CollectorRegistry

    from waystation.cli.board import Board

_EVERY = 15.0
"""Seconds between two writes; Prometheus asks every minute where nobody says otherwise."""
_LOOPBACK = "127.0.0.1"


class Metrics:
    """Tells how a batch fares, in a file, over HTTP on this machine, or both."""

    def __init__(self, file: Path | None, port: int | None) -> None:
        """Look whether the library is there.

        Raises:
            UsageError: it is not.
        """
        try:
            import prometheus_client  # noqa: F401 - only whether it is there
        except ImportError:
            raise UsageError(
                "metrics need prometheus-client: pip install 'waystation[metrics]'."
            ) from None
        self._file, self._port = file, port
        self._over = Event()
        self._writer: Thread | None = None
        self._stop: list[Callable[[], object]] = []
        self._registry: CollectorRegistry | None = None

    def open(self, board: Board) -> str:
        """Begin; return where it can be read over HTTP, or nothing.

        Raises:
            UsageError: the file cannot be written, or the port is taken.
        """
        from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

        self._registry = CollectorRegistry()
        self._registry.register(_collector(board))
        ProcessCollector(registry=self._registry)
        if self._file is not None:
            try:
                self._write(self._file)
            except OSError as error:
                file, self._file = self._file, None
                raise UsageError(f"--metrics {plain(str(file))}: {error.strerror}.") from None
            self._writer = Thread(target=self._keep, args=(self._file,), daemon=True)
            self._writer.name = "metrics"
            self._writer.start()
        if self._port is None:
            return ""
        try:
            server, thread = start_http_server(self._port, _LOOPBACK, registry=self._registry)
        except OSError as error:
            self.close()
            raise UsageError(f"--metrics-port {self._port}: {error.strerror}.") from None
        self._stop += [server.shutdown, server.server_close, thread.join]
        return f"http://{_LOOPBACK}:{server.server_port}/metrics"

    def close(self) -> str:
        """Write the last numbers; return why that was not possible, or nothing."""
        self._over.set()
        if self._writer is not None:
            self._writer.join()
        for each in self._stop:
            each()
        self._stop.clear()
        try:
            if self._file is not None:
                self._write(self._file)
        except OSError as error:
            return f"{plain(str(self._file))}: {error.strerror}"
        return ""

    def _keep(self, file: Path) -> None:
        while not self._over.wait(_EVERY):
            # What is wrong for a while must not end the work; the end tells what still is.
            with suppress(OSError):
                self._write(file)

    def _write(self, file: Path) -> None:
        from prometheus_client import write_to_textfile

        # Beside it, then renamed: whoever reads has the old or the new numbers.
        if self._registry is not None:
            write_to_textfile(str(file), self._registry)


def _collector(board: Board) -> Collector:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        InfoMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector

    begun = time.time()
    own = "waystation_batch"

    class Families(Collector):
        """The board as Prometheus wants it."""

        def collect(self) -> Iterator[Metric]:
            """Yield the families, all of one moment."""
            with board.lock:
                yield from list(self._all())
                yield from list(self._each())

        def _all(self) -> Iterator[Metric]:
            totals = board.totals()
            about = {"command": board.command, "version": version("waystation")}
            yield InfoMetricFamily(own, "The batch.", value=about)
            yield GaugeMetricFamily(f"{own}_start_time_seconds", "When it began.", value=begun)
            states = GaugeMetricFamily(f"{own}_mailboxes", "Mailboxes by state.", labels=["state"])
            for state in State:
                states.add_metric([state.value], totals.states[state.value])
            yield states
            yield CounterMetricFamily(f"{own}_messages", "Messages done.", value=totals.done)
            yield CounterMetricFamily(f"{own}_bytes", "Octets of these.", value=totals.octets)
            yield GaugeMetricFamily(
                f"{own}_expected_messages", "Messages to be done.", value=totals.expected
            )
            if board.exit_code is not None:
                yield GaugeMetricFamily(f"{own}_exit_code", "How it ended.", value=board.exit_code)
                yield GaugeMetricFamily(
                    f"{own}_end_time_seconds", "When it ended.", value=board.ended_at
                )

        def _each(self) -> Iterator[Metric]:
            label = ["mailbox"]
            done = CounterMetricFamily(f"{own}_mailbox_messages", "Messages done.", labels=label)
            octets = CounterMetricFamily(f"{own}_mailbox_bytes", "Octets of these.", labels=label)
            expected = GaugeMetricFamily(
                f"{own}_mailbox_expected_messages", "Messages to be done.", labels=label
            )
            state = GaugeMetricFamily(
                f"{own}_mailbox_state", "The state a mailbox is in.", labels=["mailbox", "state"]
            )
            for row in board.rows.values():
                # A directory's name need not be UTF-8; no two names become one.
                name = row.mailbox.name.encode("utf-8", "backslashreplace").decode()
                done.add_metric([name], row.done)
                octets.add_metric([name], row.octets)
                expected.add_metric([name], max(row.expected, row.done))
                state.add_metric([name, row.state.value], 1)
            yield from (done, octets, expected, state)

    return Families()
