"""How discovery reaches the outside: the DNS by dnspython, the web by https and nothing else."""

from __future__ import annotations

import http.client
import logging
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dns.exception
import dns.rdtypes.ANY.MX
import dns.rdtypes.IN.SRV
import dns.resolver

from waystation.autoconfig import LARGEST
from waystation.discovery import Service
from waystation.errors import plain

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from http.client import HTTPMessage
    from typing import IO

log = logging.getLogger(__name__)

_PATIENCE = 8.0
"""Seconds for one question; a domain without autoconfig costs up to three."""
_PIECE = 16 * 1024


class Dns:
    """Answers from the DNS, by this machine's resolver; no answer is an empty one."""

    def __init__(
        self, resolver: dns.resolver.Resolver | None = None, timeout: float = _PATIENCE
    ) -> None:
        self._resolver = resolver or _of_this_machine()
        self._timeout = timeout

    def exchangers(self, domain: str) -> list[str]:
        """See ``waystation.discovery.Names``."""
        records = [
            (each.preference, each.exchange.to_text(omit_final_dot=True))
            for each in self._ask(domain, "MX")
            if isinstance(each, dns.rdtypes.ANY.MX.MX)
        ]
        return [host for _, host in sorted(records)]

    def services(self, name: str) -> list[Service]:
        """See ``waystation.discovery.Names``."""
        return [
            Service(each.priority, each.weight, each.port, each.target.to_text(omit_final_dot=True))
            for each in self._ask(name, "SRV")
            if isinstance(each, dns.rdtypes.IN.SRV.SRV)
        ]

    def _ask(self, name: str, kind: str) -> list[object]:
        try:
            return list(self._resolver.resolve(name, kind, search=False, lifetime=self._timeout))
        except (dns.exception.DNSException, OSError) as error:
            log.debug("DNS, %s %s: %s", kind, plain(name), plain(str(error), 120))
            return []


def _of_this_machine() -> dns.resolver.Resolver:
    try:
        return dns.resolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        # Nobody to ask: then each answer is an empty one.
        return dns.resolver.Resolver(configure=False)


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    max_redirections = 3

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        # To http would be to take settings from anyone on the way.
        if urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError("it leads to an address without TLS")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Web:
    """Fetches small files by https; a proxy of the environment is used."""

    def __init__(
        self,
        context: ssl.SSLContext,
        timeout: float = _PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = timeout
        self._clock = clock
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
            _HttpsOnly(),
        ):
            self._opener.add_handler(handler)

    def fetch(self, url: str) -> bytes | None:
        """Return what is at an https address; None where it is not there, or too large."""
        if urlsplit(url).scheme != "https":
            return None
        until = self._clock() + self._timeout
        found = bytearray()
        try:
            answer = self._opener.open(url, timeout=self._timeout)
            if answer is None:
                return None
            with answer:
                # Piece by piece, so that neither a long nor a slow answer holds us up.
                while piece := answer.read1(_PIECE):
                    found += piece
                    if len(found) > LARGEST or self._clock() > until:
                        return None
        except (OSError, http.client.HTTPException, ValueError) as error:
            log.debug("%s: %s", plain(url), plain(str(error), 120))
            return None
        return bytes(found)
