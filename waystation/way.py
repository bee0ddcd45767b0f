"""The way to a server: directly or through a proxy, and whose certificate is taken there.

A proxy is one that the user named, or one of the environment (``ALL_PROXY``, else
``HTTPS_PROXY``; ``NO_PROXY`` names hosts that need none). This machine is never reached through
one. The proxy looks the name up, so the DNS need not work here.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from waystation.errors import CertificateError, UnreachableError, UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEMES = {"socks5": "socks5", "socks5h": "socks5", "socks4": "socks4", "http": "http"}
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class Way:
    """How to get to servers."""

    proxy: str | None = field(default=None, repr=False)
    """``socks5://``, ``socks4://`` or ``http://`` (CONNECT); it may hold a password."""
    without: str = ""
    """Hosts that are reached without the proxy, as in ``NO_PROXY``."""
    fingerprint: str | None = None
    """SHA-256 of the one certificate that is taken, in hexadecimal; None: the usual rules."""

    @classmethod
    def of(
        cls,
        proxy: str | None,
        fingerprint: str | None,
        environment: Mapping[str, str] = os.environ,
    ) -> Way:
        """Return the way that options and environment describe.

        Raises:
            UsageError: one of them makes no sense.
        """
        pinned = None if fingerprint is None else _fingerprint(fingerprint)
        if proxy == _DIRECT:
            return cls(fingerprint=pinned)
        if proxy is not None:
            if "@" in proxy:
                # A password must never stand in argv, where every user can read it.
                raise UsageError(
                    "--proxy holds a name or a password; put such an address into the environment "
                    "variable ALL_PROXY."
                )
            return cls(_proxy(proxy, "--proxy"), fingerprint=pinned)
        for name in ("all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY"):
            if found := environment.get(name):
                without = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
                return cls(_proxy(found, name), without, pinned)
        return cls(fingerprint=pinned)

    def proxy_for(self, host: str) -> str | None:
        """Return the proxy for a host; None where it is reached directly."""
        if self.proxy is None or _is_loopback(host) or _is_among(host, self.without):
            return None
        return self.proxy

    def shown(self, host: str) -> str | None:
        """Return the proxy for a host without its password; None where there is none."""
        proxy = self.proxy_for(host)
        return None if proxy is None else _without_password(proxy)

    def connect(self, host: str, port: int, timeout: float) -> socket.socket:
        """Return a connection to a server.

        Raises:
            OSError: there is none.
            UnreachableError: the proxy gives none.
        """
        proxy = self.proxy_for(host)
        if proxy is None:
            return socket.create_connection((host, port), timeout=timeout)
        # Loaded late: few need it.
        from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError
        from python_socks.sync import Proxy

        try:
            return Proxy.from_url(proxy, rdns=True).connect(host, port, timeout=timeout)
        except (ProxyTimeoutError, TimeoutError):
            why = f"no answer within {timeout:.0f} seconds"
        except ProxyConnectionError:
            why = "the proxy cannot be reached"
        except (ProxyError, OSError) as error:
            why = plain(str(error), 120)
        raise UnreachableError(host, port, f"through the proxy {_without_password(proxy)}: {why}")


class PinnedContext(ssl.SSLContext):
    """Takes one certificate and no other, whoever signed it, or shows which one there is."""

    expected: str | None
    seen: str | None

    def __new__(cls, expected: str | None) -> PinnedContext:
        """Expect the certificate of this fingerprint; None takes any, for a look at it."""
        context = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.expected = expected
        context.seen = None
        return context

    def __init__(self, expected: str | None) -> None:  # noqa: ARG002 - ``__new__`` has it
        super().__init__()

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:  # noqa: ANN401
        """See ``ssl.SSLContext.wrap_socket``.

        Raises:
            CertificateError: it is another certificate.
        """
        sock = super().wrap_socket(*args, **options)
        self.seen = hashlib.sha256(sock.getpeercert(binary_form=True) or b"").hexdigest()
        if self.expected is not None and self.seen != self.expected:
            sock.close()
            raise CertificateError(
                str(options.get("server_hostname", "")),
                f"it is not the one of --fingerprint, its SHA-256 fingerprint is {self.seen}",
            )
        return sock


def _proxy(text: str, name: str) -> str:
    """Return a proxy's address with a scheme that is known."""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        is_sound = bool(parts.hostname and parts.port)
    except ValueError:
        is_sound = False
    if not is_sound or parts.scheme.lower() not in _SCHEMES:
        raise UsageError(
            f"{name} is no proxy that is known here: write socks5://HOST:PORT or http://HOST:PORT; "
            "--proxy direct does without."
        )
    return f"{_SCHEMES[parts.scheme.lower()]}://{parts.netloc}"


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{plain(rest.rpartition('@')[2])}"


def _fingerprint(text: str) -> str:
    found = text.replace(":", "").replace(" ", "").lower()
    if not _FINGERPRINT.fullmatch(found):
        raise UsageError("--fingerprint is no SHA-256 fingerprint: 64 hexadecimal digits.")
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def _is_among(host: str, without: str) -> bool:
    """Whether NO_PROXY names a host: by itself, by a domain above it, by a network, by ``*``."""
    name = host.lower().rstrip(".")
    for each in without.lower().split(","):
        end = each.strip().lstrip(".")
        if end and (end == "*" or name == end or name.endswith(f".{end}")):
            return True
        with suppress(ValueError):
            if ip_address(name) in ip_network(end, strict=False):
                return True
    return False
