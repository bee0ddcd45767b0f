"""An https service in the test's own process; who it plays is said by whoever answers."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from tests.fakes.certificates import TestAuthority


@dataclass(frozen=True, slots=True)
class Answer:
    body: dict[str, object] | str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def octets(self) -> bytes:
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()

    @property
    def kind(self) -> str:
        return "text/html" if isinstance(self.body, str) else "application/json"


class HttpsService:
    """A running service, as a context manager."""

    def __init__(self, authority: TestAuthority) -> None:
        self._tls = authority
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def answer(self, method: str, target: str, form: dict[str, str]) -> Answer:
        """Return the answer to one request."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._server = _Server(self, self._tls.server_context())
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def ca_file(self) -> Path:
        """The certificate that a client has to trust."""
        return self._tls.ca_file

    @property
    def base(self) -> str:
        """The address: ``https://localhost:PORT``."""
        assert self._server is not None
        return f"https://localhost:{self._server.server_address[1]}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, service: HttpsService, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = service
        # The handshake belongs to the handler's thread: a silent client must not stop the rest.
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust us, or hangs up, is no fault of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        form = parse_qs(self.rfile.read(length).decode(), keep_blank_values=True)
        self._answer({name: values[0] for name, values in form.items()})

    def _answer(self, form: dict[str, str]) -> None:
        answer = self.server.service.answer(self.command, self.path, form)
        octets = answer.octets
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(octets)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Nothing is logged: queries hold codes."""
