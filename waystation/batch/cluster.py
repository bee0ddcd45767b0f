"""One door to dask.distributed, which the extra ``waystation[dask]`` brings.

For whoever hands work out (``Cluster``) and for whoever does it (``Here``). Tasks are handed out
and begun again elsewhere when a worker dies by the scheduler; what they tell on their way are its
events (``log_event``, ``subscribe_topic``); a word to them is ``Client.run``.
"""

from __future__ import annotations

import re
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from waystation.errors import UnreachableError, UsageError, WaystationError, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from distributed import Client, Future, Security, Worker

_ENGINE = re.compile(r"dask(\+tls|\+tcp)?://((?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5}))/?")
_AT_WORK = ("executing", "long-running")
MISSING = (
    "--engine dask://… needs dask.distributed, here and on every worker: "
    "pip install 'waystation[dask]'"
)


class NobodyThereError(UnreachableError):
    """No scheduler answers, or it has no worker."""


def scheduler_of(engine: str) -> str:
    """Return the scheduler's address as dask writes it.

    Without ``+tls`` or ``+tcp`` the scheme is dask's own ``distributed.comm.default-scheme``
    (dask.org: Configuration reference).

    Raises:
        UsageError: it is no address of a scheduler.
    """
    match = _ENGINE.fullmatch(engine.strip())
    if match is None or not 0 < int(match[3]) < 65536:
        raise UsageError(
            f"--engine {plain(engine, 90)!r} is none: write dask://HOST:PORT of the scheduler, or "
            "dask+tls://HOST:PORT."
        )
    return match[2] if match[1] is None else f"{match[1][1:]}://{match[2]}"


def _usual_scheme() -> str:
    import dask

    return str(dask.config.get("distributed.comm.default-scheme"))


def _demand_sense(address: str, security: Security) -> None:
    """See that dask's settings go with the address; dask itself would say so late.

    Raises:
        UsageError: they do not.
    """
    if not address.startswith("tls://"):
        if security.require_encryption:
            raise UsageError(
                "dask's settings demand encryption (distributed.comm.require-encryption): write "
                "dask+tls://HOST:PORT."
            )
        return
    try:
        context = security.get_connection_args("client").get("ssl_context")
    except (OSError, ValueError) as error:
        raise UsageError(f"dask's settings for TLS: {plain(str(error))}.") from None
    if context is None:
        raise UsageError(
            "dask+tls://: dask's settings name no CA certificate and no certificate of this client "
            "(distributed.comm.tls.ca-file, distributed.comm.tls.client.cert and key)."
        )


def machine_of(worker: str) -> str:
    """Return the machine of a worker's address, as ``hand_out`` takes it."""
    return worker.rpartition("//")[2].rpartition(":")[0].strip("[]")


class Errand:
    """One task that was handed out."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def when_over(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called, from a thread of dask's, once nothing more is to be expected."""
        self._future.add_done_callback(lambda _: tell())

    def cancel(self) -> None:
        """Take it back: who has not begun does not, who has ends at a safe point."""
        with suppress(OSError, RuntimeError):
            self._future.cancel()

    @property
    def failure(self) -> str:
        """Why it came to nothing, in words; empty where nothing went wrong."""
        status = str(self._future.status)
        if status in ("pending", "finished"):
            return ""
        if status != "error":
            return "the dask scheduler has gone, or has lost this mailbox"
        error = self._future.exception()
        # Without its words: they may hold anything.
        name = type(error).__name__
        if name == "KilledWorker":
            return "every worker that took it has died"
        return f"the worker could not begin with it ({name})"


class Cluster:
    """The workers behind a scheduler, and a way to hand work to them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = Lock()

    @classmethod
    def connect(cls, engine: str, seconds: float = 10.0) -> Self:
        """Connect to a scheduler, and wait until it has a worker.

        How to encrypt and whom to trust comes from dask's own configuration (``Security()``).

        Raises:
            UsageError: this is no engine, or dask.distributed is not installed.
            NobodyThereError: there is no scheduler, or no worker.
        """
        address = scheduler_of(engine)
        try:
            # Loaded late, and in no other module: it is an extra.
            from distributed import Client, Security
        except ImportError:
            raise UsageError(MISSING) from None
        if "://" not in address:
            address = f"{_usual_scheme()}://{address}"
        security = Security()
        _demand_sense(address, security)
        host, _, port = address.rpartition("//")[2].rpartition(":")
        try:
            client = Client(
                address,
                timeout=seconds,
                set_as_default=False,
                security=security,
                name="waystation",
            )
        except (OSError, TimeoutError, ValueError) as error:
            why = str(error) or "no answer"
            raise NobodyThereError(host, int(port), f"{why} (dask scheduler)") from None
        try:
            client.wait_for_workers(1, timeout=seconds)
        except (OSError, TimeoutError):
            client.close()
            raise NobodyThereError(host, int(port), "the scheduler has no workers") from None
        return cls(client)

    @property
    def workers(self) -> list[str]:
        """The addresses of the workers that are there now; none while the scheduler is away."""
        try:
            return sorted(self._client.scheduler_info(n_workers=-1).get("workers", ()))
        except (OSError, RuntimeError, TimeoutError):
            return []

    def listen(self, topic: str, tell: Callable[[str], None]) -> None:
        """Have ``tell`` called, in one thread of dask's, with each text told on a topic."""
        self._client.subscribe_topic(topic, lambda event: tell(str(event[1])))

    def hand_out(
        self,
        function: Callable[..., object],
        *given: object,
        key: str,
        priority: int,
        machine: str | None = None,
    ) -> Errand:
        """Have a function called by some worker, with ``Here.now()`` to be had there.

        With a ``machine`` by one of its workers, and nobody else.

        Raises:
            SchedulerGoneError: nobody hands anything out any more.
        """
        # Of a scheduler that is away dask waits a while for its return, and then gives it up.
        if self._client.status in ("closing", "closed"):
            raise SchedulerGoneError
        # Batches hand out from many threads.
        with self._lock:
            future = self._client.submit(
                function,
                *given,
                key=key,
                priority=priority,
                workers=None if machine is None else [machine],
                pure=False,
                retries=0,
            )
        return Errand(future)

    def ask(
        self, function: Callable[..., Any], *given: object, workers: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Call a function at once on each worker, as ``function(here, *given)``; return by worker.

        What it raises there is returned, not raised.
        """
        try:
            found: dict[str, Any] = self._client.run(
                _answer,
                function,
                given,
                workers=None if workers is None else list(workers),
                on_error="return",
            )
        except (OSError, RuntimeError, TimeoutError):
            return {}  # whoever has died meanwhile needs no word any more
        return found

    def close(self) -> None:
        """Leave; what is still handed out is taken back by the scheduler."""
        with suppress(OSError, RuntimeError, TimeoutError):
            self._client.close()


class Here:
    """The worker that calls: what a task may ask of it, from whatever thread."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.address = str(worker.address)

    @classmethod
    def now(cls) -> Here:
        """Return the worker that the calling task runs on."""
        from distributed import get_worker

        return cls(get_worker())

    def tell(self, topic: str, text: str) -> None:
        """Tell whoever listens to a topic; nobody may."""
        with suppress(OSError, RuntimeError):
            self._worker.log_event(topic, text)

    def wants(self, key: str) -> bool:
        """Whether a task that runs here is still wanted: not once its client has gone, say."""
        task = self._worker.state.tasks.get(key)
        is_running = self._worker.status.name in ("running", "paused")
        return is_running and task is not None and task.state in _AT_WORK

    def leave_pool(self) -> None:
        """Let another task have this thread's place in the worker."""
        from distributed import secede

        secede()

    def rejoin_pool(self) -> None:
        """Wait for a place in the worker."""
        from distributed import rejoin

        rejoin()


def _answer(
    function: Callable[..., Any], given: tuple[object, ...], *, dask_worker: Worker
) -> object:
    return function(Here(dask_worker), *given)


class LostError(WaystationError):
    """A mailbox came back from the workers without an end."""

    retriable = True

    def __init__(self, why: str) -> None:
        super().__init__(f"{plain(why)}. What is recorded stays; the same command goes on.")


class SchedulerGoneError(WaystationError):
    """The scheduler has gone and not come back."""

    def __init__(self) -> None:
        super().__init__(
            "the dask scheduler has gone. Start it and its workers again; the same command goes on."
        )
