"""The one door to requests: how an identity provider is reached by https.

Tokens of Microsoft (``oauth``) and of everybody else (``grants``) are asked for in the same
manner: TLS is verified, nothing is redirected, and a provider without time is busy, which is no
refusal.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from waystation.errors import CertificateError, IdentityBusyError, UsageError, plain
from waystation.stream import tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

LONGEST_WAIT = 60.0
"""Seconds for one request to the identity provider."""
_TIMES = (1.0, 3.0)
"""Seconds before a request is tried again that found the identity provider without time."""
_PATIENT = 10.0
"""A longer Retry-After is for whoever asked for the token."""


@dataclass(frozen=True, slots=True)
class Web:
    """How to reach the identity provider."""

    ca_file: Path | None = None
    timeout: float = LONGEST_WAIT
    sleep: Callable[[float], None] = time.sleep


class _Adapter(HTTPAdapter):
    """Trusts the system's authorities and one more, through a proxy as well.

    To set ``verify`` would not do: REQUESTS_CA_BUNDLE in the environment takes its place, and
    it would be instead of the usual authorities, not in addition.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, ssl_context=self._context)


class Session(requests.Session):
    """One https session; without time or reach, the provider is busy, not refusing.

    A request that finds the provider without time is sent again after 1 and after 3 seconds.
    """

    def __init__(self, web: Web) -> None:
        super().__init__()
        self._web = web
        self.mount("https://", _Adapter(tls_context(web.ca_file)))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request; see the class.

        Raises:
            IdentityBusyError: the provider has no time, or cannot be reached.
            CertificateError: it does not prove to be the one that was named.
        """
        for pause in _TIMES:
            try:
                return self._once(request, **options)
            except IdentityBusyError as error:
                if (error.backoff or 0.0) > _PATIENT:
                    raise
                log.debug("the identity provider: %s", error)
                self._web.sleep(max(pause, error.backoff or 0.0))
        return self._once(request, **options)

    def _once(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        url = urlsplit(request.url or "")
        host = url.hostname or ""
        try:
            answer = super().send(
                request,
                # A redirected form would carry the secret to wherever the answer says.
                **options | {"timeout": self._web.timeout, "allow_redirects": False},
            )
        except requests.exceptions.SSLError as error:
            raise CertificateError(host, _reason(error)) from None
        except requests.exceptions.Timeout:
            raise IdentityBusyError(host, "it does not answer in time") from None
        except requests.exceptions.RequestException as error:
            raise IdentityBusyError(host, f"it cannot be reached: {_reason(error)}") from None
        except OSError as error:  # a bundle of certificates that is not there
            raise UsageError(f"no TLS to {plain(host)}: {plain(str(error))}.") from None
        log.debug("%s https://%s%s: %d", request.method, url.netloc, url.path, answer.status_code)
        # 429 and 5xx: "Handle errors and exceptions in MSAL for Python" (Microsoft Learn).
        if answer.status_code == 429 or answer.status_code >= 500:
            after = answer.headers.get("Retry-After", "")
            why = f"it answers with status {answer.status_code}"
            raise IdentityBusyError(host, why, float(after) if after.isdecimal() else None)
        return answer


def _reason(error: BaseException) -> str:
    """Return the innermost words of an exception of requests; they hold no secret."""
    found = re.search(r"(?:certificate verify failed: |Errno -?\d+\] |: )([^:()'\"]+)", str(error))
    return plain(found[1] if found else type(error).__name__, 120)
