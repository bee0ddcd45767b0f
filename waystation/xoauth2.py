"""XOAUTH2, the same in IMAP and POP3: what is said, unseen, and what a refusal means."""

from __future__ import annotations

import base64
from contextlib import contextmanager
from typing import TYPE_CHECKING

from waystation.errors import RefusedError
from waystation.mends import refused_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waystation.stream import Stream
    from waystation.token import Token, TokenSource


@contextmanager
def xoauth2(stream: Stream, user: str, source: TokenSource, token: Token) -> Iterator[bytes]:
    """Yield the response to send, in base64; while this lasts, it is struck out of the log.

    "Authenticate an IMAP, POP or SMTP connection using OAuth" (Microsoft Learn).

    Raises:
        SignInError: in place of a RefusedError that does not pass; it says what to do.
    """
    secret = token.secret.encode()
    response = base64.b64encode(b"user=%b\x01auth=Bearer %b\x01\x01" % (user.encode(), secret))
    try:
        with stream.secrets(secret, response):
            yield response
    except RefusedError as error:
        if error.retriable:
            raise
        raise refused_session(
            token, user, source.tenant, error.reply, is_expired=source.is_expired(token)
        ) from None
