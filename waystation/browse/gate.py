"""Who gets in, and what every answer forbids the browser.

The address holds a token that is made at each start; without it, or under another name than this
machine's own (DNS rebinding), nothing is told. A cookie would be shared with every other server on
this machine, and not be sent from the sandbox that mail is shown in; so the token is in the path.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

_TOKEN_OCTETS = 24
_METHODS = ("GET", "HEAD")

PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
"""What our own pages may load (Content Security Policy Level 3)."""

NOTHING_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; sandbox"
"""For files of strangers."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
    "X-Robots-Tag": "noindex",
}


def new_token() -> str:
    """Return a token that nobody can guess (RFC 4086)."""
    return secrets.token_urlsafe(_TOKEN_OCTETS)


class Gate:
    """A WSGI application that lets in who knows the token, and gives answers their headers."""

    def __init__(self, token: str, answer: Callable[[Request], Response]) -> None:
        self.token = token
        self._answer = answer
        self.hosts: frozenset[str] = frozenset()
        """What may stand in the Host field; set once the port is known."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        # Made anew: a request knows from the beginning where the pages' root is.
        is_let_in = self._lets_in(Request(environ))
        response = self._answer(Request(environ)) if is_let_in else _forbidden()
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Content-Security-Policy", NOTHING_POLICY)
        return response(environ, start_response)

    def _lets_in(self, request: Request) -> bool:
        """Whether host, token and method are right; the token is taken off the path."""
        path = request.environ.get("PATH_INFO", "")
        token, slash, rest = path.removeprefix("/").partition("/")
        is_known = hmac.compare_digest(token.encode("latin-1", "replace"), self.token.encode())
        is_ours = request.environ.get("HTTP_HOST", "").lower() in self.hosts
        if not (is_known and is_ours and slash and request.method in _METHODS):
            return False
        request.environ["SCRIPT_NAME"] = f"/{token}"
        request.environ["PATH_INFO"] = f"/{rest}"
        return True


def _forbidden() -> Response:
    return Response("Forbidden\n", 403, content_type="text/plain; charset=utf-8")
