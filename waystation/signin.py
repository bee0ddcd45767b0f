"""How a connection becomes a session of somebody: PLAIN, LOGIN, or XOAUTH2 with a token.

It is ours, because imapclient would put user names on the wire unquoted, refuse passwords that
are not ASCII, and keep both in a log of its last commands. No secret gets into the log or an
error, not even where the server repeats it. A password is never sent to Office 365.
"""

from __future__ import annotations

import base64
import logging
import re
from typing import TYPE_CHECKING

from waystation.errors import RefusedError, SignInError, plain
from waystation.provider import SignInKind
from waystation.refusals import switched_off
from waystation.token import Token, TokenSource
from waystation.wire import words
from waystation.xoauth2 import xoauth2

if TYPE_CHECKING:
    from waystation.address import Account
    from waystation.stream import Stream
    from waystation.wire import Wire

log = logging.getLogger(__name__)

Credential = str | TokenSource
"""A password, or where tokens come from."""


def capabilities(wire: Wire) -> frozenset[str]:
    """Return what the server says that it can, in upper case."""
    return frozenset(
        word.upper()
        for name, tokens in wire.untagged(b"CAPABILITY")
        if name == b"CAPABILITY"
        for word in words(tokens)
    )


def sign_in(
    wire: Wire, stream: Stream, account: Account, credential: Credential, token: Token | None
) -> None:
    """Sign in; ``token`` is the one to be used where the credential is a source of tokens.

    Raises:
        SignInError: the server does not take it, or takes nothing of that kind.
        RefusedError: it cannot say at the moment; ``retriable``.
    """
    if isinstance(credential, str):
        _by_password(wire, stream, account, credential)
    elif token is not None:
        _by_token(wire, stream, account, credential, token)


def _by_password(wire: Wire, stream: Stream, account: Account, password: str) -> None:
    """Sign in by PLAIN where offered, else by LOGIN; both carry every password but one with NUL."""
    if account.takes_tokens_only:
        raise SignInError("Office 365 takes no passwords; run 'waystation login'.")
    offered = capabilities(wire)
    user, secret = account.login.encode(), password.encode("utf-8", "surrogateescape")
    # RFC 4616: whose mailbox it shall be, then whose password it is.
    acting, owner = (
        (b"", user) if account.sign_in_as is None else (user, account.sign_in_as.encode())
    )
    if b"\0" in acting + owner + secret:
        raise SignInError("a user name or password cannot hold the character NUL.")
    response = base64.b64encode(b"\0".join((acting, owner, secret)))
    forms = (secret, _quoted_text(secret)[1:-1], base64.b64encode(secret), response)
    try:
        with stream.secrets(*forms):
            if "AUTH=PLAIN" in offered:
                # RFC 4959: with SASL-IR the response goes along, and a round trip is saved.
                initial = b" " + response if "SASL-IR" in offered else b""
                wire.converse(b"AUTHENTICATE PLAIN" + initial, response)
            elif acting:
                raise SignInError(
                    f"{plain(account.host)} offers no AUTH=PLAIN, the only way to sign in for "
                    "somebody else (--sign-in-as).",
                    ("Dovecot also takes USER*MASTER as the user name, where it is set up so",),
                )
            elif "LOGINDISABLED" in offered:
                raise SignInError(
                    f"{plain(account.host)} takes no password on this connection (LOGINDISABLED)."
                )
            else:
                wire.converse(*_login(user, secret))
    except RefusedError as error:
        if error.retriable:
            raise
        who = plain(account.login)
        if account.sign_in_as is not None:
            who = f"{plain(account.sign_in_as)} for {who}"
        raise SignInError(
            f"{plain(account.host)} refused the sign-in of {who}: "
            f"{error.reply.rstrip('.') or '(no words)'}. {_advice(account, error.reply)}"
        ) from None


def _advice(account: Account, reply: str) -> str:
    """Return what would help where a password was refused."""
    preset = account.preset
    if (off := switched_off(preset, reply)) is not None:
        return f"{off[0][:1].upper()}{off[0][1:]}. {off[1]}."
    if account.sign_in_as is not None:
        return "Check the administrator's name and password, and that it may open other mailboxes."
    if preset is not None and SignInKind.PASSWORD not in preset.sign_in:
        return f"{preset.title} wants an app password, which is made at {preset.where}."
    if preset is not None and preset.switch_on:
        return f"Check the password. To be switched on there: {preset.switch_on}"
    return "Check user name and password; many providers want an app password."


def _by_token(
    wire: Wire, stream: Stream, account: Account, source: TokenSource, token: Token
) -> None:
    """Sign in by XOAUTH2 ("Authenticate an IMAP … connection using OAuth", Microsoft Learn)."""
    offered = capabilities(wire)
    if "AUTH=XOAUTH2" not in offered:
        raise SignInError(
            f"{plain(account.host)} takes no tokens (XOAUTH2 is not offered).",
            ("Check --server: is this the mail server of that provider?",),
        )
    # RFC 4959. A challenge after the response is the reason of a refusal, and wants an empty
    # line; Google sends one, Exchange refuses at once.
    is_initial = "SASL-IR" in offered
    with xoauth2(stream, account.user, source, token) as response:
        wire.converse(
            b"AUTHENTICATE XOAUTH2" + (b" " + response if is_initial else b""),
            *((b"",) if is_initial else (response, b"")),
            asked=lambda why: log.debug("which means: %s", stream.words(_decoded(why))),
        )


def _decoded(challenge: bytes) -> bytes:
    try:
        return base64.b64decode(challenge, validate=True)
    except ValueError:
        return challenge


def _login(user: bytes, secret: bytes) -> tuple[bytes, ...]:
    """Return the lines of a LOGIN: quoted strings where they can be, else literals."""
    lines = [b"LOGIN"]
    for text in (user, secret):
        if text.isascii() and not re.search(rb"[\r\n]", text):
            lines[-1] += b" " + _quoted_text(text)
        else:
            lines[-1] += b" {%d}" % len(text)
            lines.append(text)
    return tuple(lines)


def _quoted_text(text: bytes) -> bytes:
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
