"""Commands of any state, and those from the greeting to a connected mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.exchange_online.answers import SIGNING_OFF, AnswerError, HangUpError
from tests.exchange_online.sign_in import CHALLENGE, Refused, sign_in

if TYPE_CHECKING:
    from tests.exchange_online.arguments import Arguments
    from tests.exchange_online.connection import Connection

LONGEST_RESPONSE = 2**20


def _capability(c: Connection, tag: bytes, arguments: Arguments) -> None:
    profile = c.profile
    words = ["CAPABILITY", "IMAP4", "IMAP4rev1"]
    if c.mailbox is None:
        plain = ["AUTH=PLAIN"] if profile.offers_plain_before_login else []
        words += [*plain, "AUTH=XOAUTH2", *([] if plain else ["LOGINDISABLED"])]
        words += ["SASL-IR", "UIDPLUS", *(["MOVE"] if profile.rev2_pilot else [])]
        words += ["ID", "UNSELECT"]
    else:
        words += ["AUTH=PLAIN"] if profile.offers_plain_after_login else []
        words += ["AUTH=XOAUTH2", "SASL-IR", "UIDPLUS", "MOVE", "ID", "UNSELECT"]
        words += ["ENABLE", "IMAP4rev2"] if profile.rev2_pilot else []
        words += ["CLIENTACCESSRULES", "CLIENTNETWORKPRESENCELOCATION", "BACKENDAUTHENTICATE"]
        words += ["BACKENDAUTHENTICATE-IR"] if profile.rev2_pilot else []
    words += ["CHILDREN", "IDLE", "NAMESPACE", "LITERAL+"]
    c.put(b"* " + " ".join(words).encode())
    c.ok(tag)


def _logout(c: Connection, tag: bytes, arguments: Arguments) -> None:
    c.put(SIGNING_OFF)
    c.ok(tag)
    c.flush()
    raise HangUpError


def _id(c: Connection, tag: bytes, arguments: Arguments) -> None:
    version = c.profile.server_version
    words = f'("name" "Microsoft.Exchange.Imap4.Imap4Server" "version" "{version}")'
    c.put(b"* ID " + words.encode())
    c.ok(tag)


def _login(c: Connection, tag: bytes, arguments: Arguments) -> None:
    if c.profile.login_answer == "failed":
        raise AnswerError(b"NO LOGIN failed.")
    c.no(tag, b"Basic authentication is disabled.")
    c.put(SIGNING_OFF)
    c.flush()
    raise HangUpError


def _authenticate(c: Connection, tag: bytes, arguments: Arguments) -> None:
    mechanism = arguments.atom().upper()
    if mechanism != b"XOAUTH2":
        raise AnswerError(b"NO AUTHENTICATE failed.")
    if arguments.at_end:
        c.put(b"+ ")
        c.flush()
        response = c.link.line(LONGEST_RESPONSE, c.idle_limit).octets
        c.heard(b"<struck out>")
    else:
        arguments.space()
        response = arguments.text[arguments.at :]
    server = c.server
    result = sign_in(response, c.profile, server.verify, server.find_mailbox, server.clock())
    if isinstance(result, Refused):
        c.event(b"sign-in refused: " + result.reason.encode("utf-8", "replace"))
        if c.profile.json_challenge:
            c.put(b"+ " + CHALLENGE)
            c.flush()
            c.link.line(LONGEST_RESPONSE, c.idle_limit)
        raise AnswerError(b"NO AUTHENTICATE failed.")
    c.mailbox, c.expires = result.mailbox, result.expires
    c.is_connected = server.entered(result.mailbox) and result.is_connected
    result.mailbox.bucket.note("AUTHENTICATE")
    c.ok(tag)


def _namespace(c: Connection, tag: bytes, arguments: Arguments) -> None:
    c.put(b'* NAMESPACE (("" "/")) NIL NIL')
    c.ok(tag)


def _enable(c: Connection, tag: bytes, arguments: Arguments) -> None:
    number = b"Argument Error. 12" if c.profile.rev2_pilot else b"Error. 10"
    raise AnswerError(b"BAD Command " + number)


COMMANDS = {
    "CAPABILITY": _capability,
    "LOGOUT": _logout,
    "ID": _id,
    "LOGIN": _login,
    "AUTHENTICATE": _authenticate,
    "NAMESPACE": _namespace,
    "ENABLE": _enable,
}
