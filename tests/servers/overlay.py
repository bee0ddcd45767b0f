"""Debian's Cyrus or Courier on the loopback interface, for tests; the host stays as it is.

Both packages shut out Dovecot's, so each is installed into an overlay of the root file system
whose upper layer is in memory, in a mount and a PID namespace of its own. What is in there ends
with the one process that holds it, whatever becomes of the tests. Needs root and a registry of
Debian's packages.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from tests.servers.ca import CertificateAuthority
from tests.servers.inside import READY, UNAVAILABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
PASSWORD = "secret"
ROOT = Path(__file__).parents[2]

Kind = Literal["cyrus", "courier"]


class OverlayError(RuntimeError):
    """The server did not start; carries what was said inside."""


class UnavailableError(OverlayError):
    """This machine cannot have such a server; says why in one line."""


class Overlay:
    """A running Cyrus or Courier, as a context manager.

    `port` is IMAP: STARTTLS is offered, plaintext permitted. `delimiter` and `prefix` are those
    of the one personal namespace. A client that trusts `ca_file` finds a valid certificate.
    The mailboxes of `users`, all with the password `PASSWORD`, are empty.

    Raises:
        UnavailableError: not root, no overlay, or no packages.
    """

    def __init__(self, kind: Kind, *, users: int = 40) -> None:
        self.kind = kind
        self.host = HOST
        self.port = 0
        self.password = PASSWORD
        self.users = [f"user{number:02d}" for number in range(users)]
        self.delimiter = {"cyrus": "/", "courier": "."}[kind]
        self.prefix = f"INBOX{self.delimiter}"
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if reason := _obstacle():
            raise UnavailableError(reason)
        with contextlib.ExitStack() as on_failure:
            folder = on_failure.enter_context(tempfile.TemporaryDirectory(prefix="overlay-"))
            authority = CertificateAuthority(Path(folder))
            certificate = authority.issue()
            chain = Path(folder, "chain.pem")
            chain.write_bytes(
                certificate.key_file.read_bytes() + certificate.cert_file.read_bytes()
            )
            self.ca_file = authority.ca_file
            self.port = _free_port()
            on_failure.enter_context(self._running(Path(folder), chain))
            self._cleanup = on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @contextlib.contextmanager
    def _running(self, folder: Path, chain: Path) -> Iterator[None]:
        base = folder / "base"
        base.mkdir()
        namespaces = "--mount --propagation private --pid --fork --kill-child=SIGKILL"
        process = subprocess.Popen(
            [
                *("unshare", *namespaces.split(), sys.executable, "-m", "tests.servers.inside"),
                *(self.kind, str(base), str(self.port), str(chain), PASSWORD, *self.users),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            _await_ready(process.stdout)
            yield
        finally:
            # the end of its input is the end of the namespace and of all in it
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_ready(said: Iterator[str]) -> None:
    lines = []
    for line in said:
        if line.startswith(READY):
            return
        if line.startswith(UNAVAILABLE):
            raise UnavailableError(line.removeprefix(UNAVAILABLE).strip())
        lines.append(line)
    raise OverlayError("".join(lines[-40:]))


def _obstacle() -> str | None:
    if os.geteuid() != 0:
        return "an overlay for Cyrus and Courier needs root"
    missing = [name for name in ("unshare", "mount", "apt-get") if shutil.which(name) is None]
    if missing:
        return f"an overlay for Cyrus and Courier needs {' and '.join(missing)}"
    if "overlay" not in Path("/proc/filesystems").read_text().split():
        return "an overlay for Cyrus and Courier needs a kernel with overlayfs"
    return None


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
