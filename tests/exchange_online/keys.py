"""A token issuer for tests of the simulator alone: no OpenID, a shared key, no expiry check."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

KEY = b"only for tests"


class StubIssuer:
    """Signs claims and checks signatures, as an identity provider would."""

    def issue(self, **claims: object) -> str:
        """Return a signed token; by default one of an app that may use IMAP, for an hour."""
        whole = {
            "aud": "https://outlook.office365.com",
            "roles": ["IMAP.AccessAsApp"],
            "appid": "app-1",
            "exp": time.time() + 3600,
        } | claims
        body = json.dumps({name: value for name, value in whole.items() if value is not None})
        packed = base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")
        return f"{packed}.{_signature(packed)}"

    def claims_of(self, token: str) -> dict[str, object]:
        """Return the claims of a token.

        Raises:
            ValueError: nobody here signed it.
        """
        packed, _, signature = token.partition(".")
        if not hmac.compare_digest(signature, _signature(packed)):
            raise ValueError("bad signature")
        padded = packed + "=" * (-len(packed) % 4)
        claims: dict[str, object] = json.loads(base64.urlsafe_b64decode(padded))
        return claims


def _signature(packed: str) -> str:
    return hmac.new(KEY, packed.encode(), hashlib.sha256).hexdigest()
