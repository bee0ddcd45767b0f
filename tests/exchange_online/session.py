"""One connection: reads commands, and decides whether they are heard at all."""

from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING

from tests.exchange_online import entrance, folder_commands, message_commands, names
from tests.exchange_online.answers import (
    CLOSED,
    ERROR_10,
    GO_ON,
    INVALID_STATE,
    LITERAL,
    NOT_CONNECTED,
    TIMED_OUT,
    UNAVAILABLE,
    AnswerError,
    HangUpError,
)
from tests.exchange_online.appending import Announced, append
from tests.exchange_online.arguments import ArgumentError, Arguments
from tests.exchange_online.bucket import UNTHROTTLED
from tests.exchange_online.connection import Connection
from tests.exchange_online.mailbox import FolderError
from tests.exchange_online.wire import GoneError, IdleError, Link, first_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.exchange_online.mailbox import Mailbox
    from tests.exchange_online.server import ExchangeOnline

_FRONT_END = "AM0PR01CA0001.eurprd01.prod.exchangelabs.com"
_SHORT_LITERAL = 10_240
_THROTTLED_BY_NO = frozenset({"APPEND", "FETCH", "SELECT", "EXAMINE"})
_BEFORE_LOGIN = frozenset({"CAPABILITY", "NOOP", "LOGOUT", "ID", "LOGIN", "AUTHENTICATE"})
_COMMANDS: Mapping[str, Callable[[Connection, bytes, Arguments], None]] = {
    **entrance.COMMANDS,
    **folder_commands.COMMANDS,
    **message_commands.COMMANDS,
}
_KNOWN = frozenset({*_COMMANDS, "UID", "APPEND"})


class Session:
    """A connection from greeting to end; ``run`` is the thread's work."""

    def __init__(self, server: ExchangeOnline, link: Link, number: int) -> None:
        self._c = Connection(server, link, number)

    def run(self) -> None:
        """Speak until either side has had enough."""
        is_broken = False
        try:
            self._greet()
            while True:
                self._one_command()
        except IdleError:
            self._c.last_words(TIMED_OUT)
        except HangUpError as end:
            is_broken = end.broken
        except GoneError:
            self._c.event(b"the client is gone")
        finally:
            self._c.shown.forget()
            if self._c.mailbox is not None:
                self._c.server.left(self._c.mailbox)
            if is_broken:
                self._c.event(b"connection reset")
                self._c.link.reset()
            else:
                self._c.link.close()

    def _greet(self) -> None:
        name = base64.b64encode(_FRONT_END.encode("utf-16-le"))
        if self._c.profile.greeting == "A":
            self._c.put(b"* OK The Microsoft Exchange IMAP4 service is ready. [%b]" % name)
        else:
            bits = self._c.server.chance.random("guid", self._c.number).getrandbits(128)
            words = "* OK Microsoft Exchange IMAP4 service ready. "
            front = f"{uuid.UUID(int=bits)} (tcpproxy/15.21.0406.000 BACKENDAUTHENTICATE) "
            self._c.put((words + front).encode() + b"[%b]" % name)
        self._c.flush()

    def _one_command(self) -> None:
        text, literals, announced = self._read_command()
        if text is None:
            self._c.flush()
            return
        tag, _, rest = text.partition(b" ")
        name, _, after = rest.partition(b" ")
        self._c.command = name.decode("latin-1").upper()
        if self._c.command == "UID":
            self._c.command += " " + after.partition(b" ")[0].decode("latin-1").upper()
        self._c.by_uid = False
        arguments = Arguments(rest, literals, len(name) + 1)
        before, user = self._c.link.sent, self._c.mailbox
        try:
            verdict = self._verdict(tag)
            if announced is not None:
                append(self._c, tag, arguments, announced, verdict)
            elif verdict is not None:
                raise verdict
            else:
                self._act(tag, arguments)
        except ArgumentError as error:
            self._c.bad(tag, str(error).encode())
        except FolderError as error:
            self._c.no(tag, names.encode(str(error)))
        except AnswerError as error:
            self._refuse(tag, error)
        # before the answer goes out, so that whoever has it sees what it cost
        if user is not None and self._c.command not in UNTHROTTLED and verdict is None:
            octets = self._c.link.sent - before + len(self._c.out)
            user.bucket.charge(octets + (announced.size if announced else 0))
        self._c.flush()

    def _read_command(self) -> tuple[bytes | None, list[bytes], Announced | None]:
        text, literals, said = bytearray(), list[bytes](), 0
        limit = self._c.profile.longest_command or 2**30
        while True:
            line = self._c.link.line(limit - said, self._c.idle_limit)
            said += len(line.octets)
            if line.is_too_long or b"\0" in line.octets:
                self._c.heard(line.octets[:200])
                self._c.command = "?"
                self._c.bad(first_word(bytes(text) + line.octets) or b"*", ERROR_10)
                return None, [], None
            match = LITERAL.search(line.octets)
            text += line.octets[: match.start()] if match else line.octets
            if match is None:
                self._log_command(bytes(text))
                return bytes(text), literals, None
            size = int(match[1])
            words = bytes(text).split(b" ", 2)
            if len(words) == 3 and words[1].upper() == b"APPEND" and words[2]:
                self._c.heard(bytes(text) + match[0])
                return bytes(text), literals, Announced(size, not match[2])
            if size > _SHORT_LITERAL:
                self._c.command = "?"
                self._c.bad(first_word(bytes(text)) or b"*", ERROR_10)
                return None, [], None
            if not match[2]:
                self._c.put(GO_ON)
                self._c.flush()
            literal = bytearray()
            self._c.link.literal(size, literal.extend, self._c.idle_limit, None)
            text += b"\0%d\0" % len(literals)
            literals.append(bytes(literal))

    def _log_command(self, text: bytes) -> None:
        words = text.split(b" ", 3)
        name = words[1].upper() if len(words) > 1 else b""
        if name in (b"LOGIN", b"AUTHENTICATE"):
            kept = words[: 2 if name == b"LOGIN" else 3]
            text = b" ".join([*kept, b"<struck out>"])
        self._c.heard(text)

    def _act(self, tag: bytes, arguments: Arguments) -> None:
        word, _, by_uid = self._c.command.partition(" ")
        if tag and word == "UID":
            if by_uid not in message_commands.BY_UID:
                raise ArgumentError(12)
            arguments.skip(by_uid.encode())
            arguments.space()
            self._c.command, self._c.by_uid = by_uid, True
        elif tag and word == "APPEND":
            raise ArgumentError(12)  # without a literal
        command = _COMMANDS.get(self._c.command)
        if command is None or not tag:
            raise AnswerError(b"BAD " + ERROR_10)
        command(self._c, tag, arguments)

    def _refuse(self, tag: bytes, error: AnswerError) -> None:
        kind, _, text = error.octets.partition(b" ")
        if kind == b"BAD":
            self._c.bad(tag or b"*", text, counts=error.counts)
        else:
            self._c.no(tag, text)
        if self._c.profile.throttle_glues_bye and text.startswith(b"Request is throttled"):
            self._c.put(CLOSED)
            self._c.flush()
            raise HangUpError

    def _verdict(self, tag: bytes) -> AnswerError | None:
        """Return the answer that a command gets whatever it says, if there is one."""
        command, mailbox = self._c.command, self._c.mailbox
        if mailbox is None:
            first = command.partition(" ")[0]
            if first in _KNOWN and first not in _BEFORE_LOGIN:
                return AnswerError(b"BAD " + INVALID_STATE)
            return None
        self._c.check_expiry()
        mailbox.bucket.note(command)
        if not self._c.is_connected:
            if command in ("CAPABILITY", "LOGOUT"):
                return None
            return AnswerError(b"BAD " + NOT_CONNECTED)
        if command in ("LOGIN", "AUTHENTICATE"):
            return AnswerError(b"BAD " + INVALID_STATE)
        if command not in UNTHROTTLED and (answer := self._outage(mailbox)):
            return answer
        return self._throttle(mailbox)

    def _outage(self, mailbox: Mailbox) -> AnswerError | None:
        form = self._c.server.outage
        if form is None:
            number = mailbox.count("command")
            chance = self._c.profile.outage_chance
            if not self._c.server.chance.happens(chance, "outage", mailbox.address, number):
                return None
            form = self._c.profile.outage_form
        if form == "no":
            return AnswerError(b"NO " + UNAVAILABLE)
        self._c.put(UNAVAILABLE if form == "bare line" else TIMED_OUT)
        self._c.flush()
        raise HangUpError

    def _throttle(self, mailbox: Mailbox) -> AnswerError | None:
        command = self._c.command
        forced = False
        if command == "APPEND":
            number = mailbox.count("throttle")
            chance = self._c.profile.throttle_chance
            forced = self._c.server.chance.happens(chance, "throttle", mailbox.address, number)
        wait = mailbox.bucket.enter(command, forced=forced)
        if wait is None:
            return None
        kind = b"NO" if command.removeprefix("UID ") in _THROTTLED_BY_NO else b"BAD"
        words = b" Request is throttled. Suggested Backoff Time: %d milliseconds"
        return AnswerError(kind + words % wait)
