"""The simulator: a TLS server on the loopback interface, with a thread for each connection."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from tests.exchange_online.chance import Chance
from tests.exchange_online.journal import Journal
from tests.exchange_online.mailbox import Mailbox
from tests.exchange_online.profile import EXO_2026, Profile
from tests.exchange_online.session import Session
from tests.exchange_online.wire import Link
from tests.fakes.certificates import TestAuthority

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

__all__ = ["ExchangeOnline", "Mailbox", "SimulatorError"]

HOST = "127.0.0.1"
_HANDSHAKE_TIMEOUT = 30.0


class SimulatorError(Exception):
    """The simulator itself failed; carries the traceback."""


class ExchangeOnline:
    """A running server, as a context manager.

    ``verify`` returns the claims of a token whose signature is good, else raises ValueError.
    ``clock`` gives seconds since 1970: token expiry, throttling and lag go by it. ``scale``
    multiplies every duration that the server acts out or announces;
    ``lapse`` is how many real seconds pass while the clock goes on by one, where the client lives
    by that clock too. With an ``authority`` the
    certificate is one of its own, so that a client trusts one file for several servers.

    A fault of the simulator itself is raised when the context ends. Ask for the octets of large
    messages before that; all else of a mailbox can be asked after it too.
    """

    def __init__(
        self,
        profile: Profile = EXO_2026,
        *,
        seed: int = 1,
        scale: float = 1.0,
        lapse: float = 1.0,
        verify: Callable[[str], Mapping[str, object]],
        clock: Callable[[], float] = time.time,
        log_file: Path | None = None,
        authority: TestAuthority | None = None,
    ) -> None:
        self.profile = profile
        self.seed = seed
        self.scale = scale
        self._lapse = lapse
        self.verify = verify
        self.clock = clock
        self.chance = Chance(seed)
        self.host = HOST
        self.port = 0
        self.mailboxes: dict[str, Mailbox] = {}
        """By address in lower case."""
        self.log = Journal(clock, log_file)
        self.outage: Literal["no", "bare line", "bye"] | None = None
        """Set it, and the back end is away until it is None again."""
        self.connections = 0
        """Connections taken since the start."""
        self.sessions_closed_for_bad = 0
        self.failures: list[str] = []
        self._authority = authority
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: set[threading.Thread] = set()
        self._links: set[Link] = set()
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            name = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="exchange-", ignore_cleanup_errors=True)
            )
            self.directory = Path(name)
            authority = self._authority or TestAuthority(self.directory)
            self.ca_file = authority.ca_file
            self._context = authority.server_context()
            self._listener = stack.enter_context(socket.create_server((HOST, 0), backlog=128))
            self.port = self._listener.getsockname()[1]
            stack.callback(self.log.close)
            self._acceptor = threading.Thread(target=self._accept, name="exchange", daemon=True)
            self._acceptor.start()
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        self._cleanup.close()
        if self.failures and kind is None:
            raise SimulatorError("\n".join(self.failures))

    def stop(self) -> None:
        """End all connections; the mailboxes stay to be asked."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            # closing alone does not wake a thread that waits in accept
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self.drop_all()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(timeout=30)

    def add_mailbox(self, address: str, locale: str = "en") -> Mailbox:
        """Give the tenant a mailbox with the default folders of a language.

        Locales are ``en``, ``de``, ``fr``, ``da`` and ``consumer``.
        """
        mailbox = Mailbox(
            address,
            locale,
            profile=self.profile,
            scale=self.scale,
            clock=self.clock,
            chance=self.chance,
            directory=self.directory,
        )
        self.mailboxes[address.lower()] = mailbox
        return mailbox

    def find_mailbox(self, address: str) -> Mailbox | None:
        """Return the mailbox of an address, in whatever case."""
        return self.mailboxes.get(address.lower())

    def drop_all(self) -> None:
        """Break all connections as a network does; the server goes on."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.abort()

    def wait(self, seconds: float) -> None:
        """Wait a duration of the profile's, scaled; ends early when the server stops."""
        self._stopping.wait(seconds * self.scale * self._lapse)

    # What sessions report

    def entered(self, mailbox: Mailbox) -> bool:
        """Note a sign-in; return False where there are too many, at once or in a minute."""
        now = self.clock()
        per_minute = self.profile.connects_per_minute
        with mailbox.lock:
            mailbox.connections += 1
            mailbox.peak_connections = max(mailbox.peak_connections, mailbox.connections)
            mailbox.connects = [at for at in mailbox.connects if at > now - 60 * self.scale]
            mailbox.connects.append(now)
            is_storm = per_minute is not None and len(mailbox.connects) > per_minute
            return not is_storm and mailbox.connections <= self.profile.connections_per_user

    def left(self, mailbox: Mailbox) -> None:
        """Note the end of a signed-in session."""
        with mailbox.lock:
            mailbox.connections -= 1

    def closed_for_bad(self, mailbox: Mailbox | None) -> None:
        """Note a session that ended by too many rejected commands."""
        with self._lock:
            self.sessions_closed_for_bad += 1
            if mailbox is not None:
                mailbox.sessions_closed_for_bad += 1

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(
                target=self._serve, args=(raw, self.connections), name="exchange-session"
            )
            thread.daemon = True
            with self._lock:
                self._threads.add(thread)
            thread.start()

    def _serve(self, raw: socket.socket, number: int) -> None:
        link: Link | None = None
        try:
            sock = self._handshake(raw)
            if sock is None:
                return
            link = Link(sock, self._stopping.is_set)
            with self._lock:
                self._links.add(link)
            if self._stopping.is_set():
                link.reset()
                return
            Session(self, link, number).run()
        except Exception:  # noqa: BLE001 - told when the context ends
            self.failures.append(traceback.format_exc())
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
                if link is not None:
                    self._links.discard(link)

    def _handshake(self, raw: socket.socket) -> ssl.SSLSocket | None:
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.settimeout(_HANDSHAKE_TIMEOUT)
            return self._context.wrap_socket(raw, server_side=True)
        except (OSError, ValueError):
            raw.close()
            return None
