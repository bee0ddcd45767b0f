"""One connection: commands in, answers out, in the words of Exchange Online."""

from __future__ import annotations

import base64
import re
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from tests.exchange_online import names
from tests.exchange_online.arguments import ArgumentError, Arguments, in_set
from tests.exchange_online.blob import Blob, BlobWriter
from tests.exchange_online.bucket import UNTHROTTLED
from tests.exchange_online.convertible import reasons
from tests.exchange_online.fetch import (
    Item,
    Shown,
    body_structure,
    envelope,
    malformed,
    read_items,
    section,
)
from tests.exchange_online.mailbox import FLAGS_BY_KEY, SYSTEM_FLAGS, Folder, FolderError, Stored
from tests.exchange_online.mime import parse
from tests.exchange_online.search import CharsetError, Search
from tests.exchange_online.sign_in import CHALLENGE, Refused, sign_in
from tests.exchange_online.wire import GoneError, IdleError, Link, LongLineError, first_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from tests.exchange_online.blob import Buffer
    from tests.exchange_online.mailbox import Mailbox
    from tests.exchange_online.mime import Part
    from tests.exchange_online.server import ExchangeOnline

_FRONT_END = "AM0PR01CA0001.eurprd01.prod.exchangelabs.com"
_LITERAL = re.compile(rb"\{(\d{1,12})(\+?)\}$")
_SIGNING_OFF = b"* BYE Microsoft Exchange Server IMAP4 server signing off."
_EXPIRED = b"* BYE Session invalidated - AccessTokenExpired"
_TIMED_OUT = b"* BYE Connection is closed. 13"
_CLOSED = b"* BYE Connection closed. 14"
_UNAVAILABLE = b"Server Unavailable. 15"
_NOT_CONNECTED = b"User is authenticated but not connected."
_TOO_LARGE = b"Maximum size of appendable message has been exceeded"
_GO_ON = b"+ Ready for additional command text."
_FLAG_LIST = " ".join(SYSTEM_FLAGS).encode()
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_THROTTLED_BY_NO = frozenset({"APPEND", "FETCH", "SELECT", "EXAMINE"})
_STATUS_ITEMS = frozenset({b"MESSAGES", b"RECENT", b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN"})
_SHORT_LITERAL = 10_240

_BEFORE_LOGIN = frozenset({"CAPABILITY", "NOOP", "LOGOUT", "ID", "LOGIN", "AUTHENTICATE"})


class _HangUpError(Exception):
    """The session ends here."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        self.broken = broken


class _AnswerError(Exception):
    """The command is answered by NO or BAD."""

    def __init__(self, octets: bytes, *, counts: bool = True) -> None:
        super().__init__()
        self.octets = octets
        self.counts = counts


@dataclass(frozen=True, slots=True)
class _Append:
    """An APPEND whose literal has been announced."""

    size: int
    is_synchronising: bool


@dataclass(frozen=True, slots=True)
class _Delivery:
    """An APPEND whose literal has come; ``flags`` is None where one of them is refused."""

    blob: Blob
    folder: Folder
    flags: set[str] | None
    internaldate: datetime | None
    number: int
    """Which APPEND to this mailbox it is."""


class Session:
    """A connection from greeting to end; ``run`` is the thread's work."""

    def __init__(self, server: ExchangeOnline, link: Link, number: int) -> None:
        self._server = server
        self._profile = server.profile
        self._link = link
        self._number = number
        self._mailbox: Mailbox | None = None
        self._is_connected = False
        self._expires = 0.0
        self._folder: Folder | None = None
        self._is_read_only = False
        self._view: list[Stored] = []
        self._bads = 0
        self._out = bytearray()
        self._shown = Shown(server.profile, server.directory)
        self._commands: dict[str, Callable[[bytes, Arguments], None]] = {
            "CAPABILITY": self._capability,
            "NOOP": self._noop,
            "CHECK": self._noop,
            "LOGOUT": self._logout,
            "ID": self._id,
            "LOGIN": self._login,
            "AUTHENTICATE": self._authenticate,
            "NAMESPACE": self._namespace,
            "ENABLE": self._enable,
            "LIST": self._list,
            "LSUB": self._lsub,
            "CREATE": self._create,
            "DELETE": self._delete,
            "RENAME": self._rename,
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._subscribe,
            "STATUS": self._status,
            "SELECT": self._select,
            "EXAMINE": self._select,
            "CLOSE": self._close,
            "UNSELECT": self._close,
            "EXPUNGE": self._expunge,
            "IDLE": self._idle,
            "FETCH": self._fetch,
            "STORE": self._store,
            "COPY": self._copy,
            "MOVE": self._copy,
            "SEARCH": self._search,
            "UID": self._uid,
            "APPEND": self._append_without_literal,
        }
        self._command = ""
        self._by_uid = False
        self._is_kept = False

    def run(self) -> None:
        """Speak until either side has had enough."""
        is_broken = False
        try:
            self._greet()
            while True:
                self._one_command()
        except IdleError:
            self._last_words(_TIMED_OUT)
        except _HangUpError as end:
            is_broken = end.broken
        except GoneError:
            self._event(b"the client is gone")
        finally:
            self._shown.forget()
            if self._mailbox is not None:
                self._server.left(self._mailbox)
            if is_broken:
                self._event(b"connection reset")
                self._link.reset()
            else:
                self._link.close()

    # Lines in and out

    def _event(self, text: bytes) -> None:
        user = self._mailbox.address if self._mailbox else ""
        self._server.log.write(self._number, user, "-", text)

    def _heard(self, octets: bytes) -> None:
        user = self._mailbox.address if self._mailbox else ""
        self._server.log.write(self._number, user, "C", octets)

    def _put(self, line: bytes) -> None:
        """Say a line with the next write."""
        user = self._mailbox.address if self._mailbox else ""
        self._server.log.write(self._number, user, "S", line)
        self._out += line + b"\r\n"

    def _flush(self) -> None:
        octets = bytes(self._out)
        self._out.clear()
        if octets:
            self._link.send(octets)

    def _last_words(self, line: bytes) -> None:
        try:
            self._put(line)
            self._flush()
        except GoneError:
            return

    def _ok(self, tag: bytes, text: str = "") -> None:
        self._answered("OK")
        self._put(tag + b" OK " + (text or f"{self._command} completed.").encode())

    def _no(self, tag: bytes, text: bytes) -> None:
        self._answered("NO")
        self._put(tag + b" NO " + text)

    def _bad(self, tag: bytes, text: bytes, *, counts: bool = True) -> None:
        self._answered("BAD")
        self._put(tag + b" BAD " + text)
        if not counts:
            return
        self._bads += 1
        limit = self._profile.bads_until_bye
        if limit is not None and self._bads >= limit:
            self._server.closed_for_bad(self._mailbox)
            self._put(_CLOSED)
            self._flush()
            raise _HangUpError

    def _answered(self, word: str) -> None:
        if self._mailbox is not None:
            with self._mailbox.lock:
                self._mailbox.answers[f"{self._command} {word}"] += 1

    @property
    def _idle_limit(self) -> float:
        profile = self._profile
        is_in = self._mailbox is not None
        limit = profile.idle_after_login if is_in else profile.idle_before_login
        return max(limit * self._server.scale, profile.shortest_idle)

    # Commands in

    def _greet(self) -> None:
        name = base64.b64encode(_FRONT_END.encode("utf-16-le"))
        if self._profile.greeting == "A":
            self._put(b"* OK The Microsoft Exchange IMAP4 service is ready. [%b]" % name)
        else:
            bits = self._server.chance.random("guid", self._number).getrandbits(128)
            words = "* OK Microsoft Exchange IMAP4 service ready. "
            front = f"{uuid.UUID(int=bits)} (tcpproxy/15.21.0406.000 BACKENDAUTHENTICATE) "
            self._put((words + front).encode() + b"[%b]" % name)
        self._flush()

    def _one_command(self) -> None:
        text, literals, announced = self._read_command()
        if text is None:
            self._flush()
            return
        tag, _, rest = text.partition(b" ")
        name, _, after = rest.partition(b" ")
        self._command = name.decode("latin-1").upper()
        if self._command == "UID":
            self._command += " " + after.partition(b" ")[0].decode("latin-1").upper()
        self._by_uid = False
        arguments = Arguments(rest, literals, len(name) + 1)
        before, user = self._link.sent, self._mailbox
        try:
            verdict = self._verdict(tag)
            if announced is not None:
                self._append(tag, arguments, announced, verdict)
            elif verdict is not None:
                raise verdict
            else:
                self._act(tag, arguments)
        except ArgumentError as error:
            self._bad(tag, str(error).encode())
        except FolderError as error:
            self._no(tag, names.encode(str(error)))
        except _AnswerError as error:
            self._refuse(tag, error)
        # before the answer goes out, so that whoever has it sees what it cost
        if user is not None and self._command not in UNTHROTTLED and verdict is None:
            octets = self._link.sent - before + len(self._out)
            user.bucket.charge(octets + (announced.size if announced else 0))
        self._flush()

    def _read_command(self) -> tuple[bytes | None, list[bytes], _Append | None]:
        text, literals, said = bytearray(), list[bytes](), 0
        limit = self._profile.longest_command or 2**30
        while True:
            line = self._link.line(limit - said, self._idle_limit)
            said += len(line.octets)
            if line.is_too_long or b"\0" in line.octets:
                self._heard(line.octets[:200])
                self._command = "?"
                self._bad(first_word(bytes(text) + line.octets) or b"*", b"Command Error. 10")
                return None, [], None
            match = _LITERAL.search(line.octets)
            text += line.octets[: match.start()] if match else line.octets
            if match is None:
                self._log_command(bytes(text))
                return bytes(text), literals, None
            size = int(match[1])
            words = bytes(text).split(b" ", 2)
            if len(words) == 3 and words[1].upper() == b"APPEND" and words[2]:
                self._heard(bytes(text) + match[0])
                return bytes(text), literals, _Append(size, not match[2])
            if size > _SHORT_LITERAL:
                self._command = "?"
                self._bad(first_word(bytes(text)) or b"*", b"Command Error. 10")
                return None, [], None
            if not match[2]:
                self._put(_GO_ON)
                self._flush()
            literal = bytearray()
            self._link.literal(size, literal.extend, self._idle_limit, None)
            text += b"\0%d\0" % len(literals)
            literals.append(bytes(literal))

    def _log_command(self, text: bytes) -> None:
        words = text.split(b" ", 3)
        name = words[1].upper() if len(words) > 1 else b""
        if name in (b"LOGIN", b"AUTHENTICATE"):
            kept = words[: 2 if name == b"LOGIN" else 3]
            text = b" ".join([*kept, b"<struck out>"])
        self._heard(text)

    def _act(self, tag: bytes, arguments: Arguments) -> None:
        command = self._commands.get(self._command.partition(" ")[0])
        if command is None or not tag:
            raise _AnswerError(b"BAD Command Error. 10")
        command(tag, arguments)

    def _refuse(self, tag: bytes, error: _AnswerError) -> None:
        kind, _, text = error.octets.partition(b" ")
        if kind == b"BAD":
            self._bad(tag or b"*", text, counts=error.counts)
        else:
            self._no(tag, text)
        if self._profile.throttle_glues_bye and text.startswith(b"Request is throttled"):
            self._put(_CLOSED)
            self._flush()
            raise _HangUpError

    def _verdict(self, tag: bytes) -> _AnswerError | None:
        """Return the answer that a command gets whatever it says, if there is one."""
        command, mailbox = self._command, self._mailbox
        if mailbox is None:
            first = command.partition(" ")[0]
            if first in self._commands and first not in _BEFORE_LOGIN:
                return _AnswerError(b"BAD Command received in Invalid state")
            return None
        self._check_expiry()
        mailbox.bucket.note(command)
        if not self._is_connected:
            if command in ("CAPABILITY", "LOGOUT"):
                return None
            return _AnswerError(b"BAD " + _NOT_CONNECTED)
        if command in ("LOGIN", "AUTHENTICATE"):
            return _AnswerError(b"BAD Command received in Invalid state")
        if command not in UNTHROTTLED and (answer := self._outage(mailbox)):
            return answer
        return self._throttle(mailbox)

    def _check_expiry(self) -> None:
        if self._profile.token_expiry_cuts and self._server.clock() >= self._expires:
            self._cut_for_expiry()

    def _cut_for_expiry(self) -> NoReturn:
        self._put(_EXPIRED)
        self._flush()
        raise _HangUpError

    def _outage(self, mailbox: Mailbox) -> _AnswerError | None:
        form = self._server.outage
        if form is None:
            number = mailbox.count("command")
            chance = self._profile.outage_chance
            if not self._server.chance.happens(chance, "outage", mailbox.address, number):
                return None
            form = self._profile.outage_form
        if form == "no":
            return _AnswerError(b"NO " + _UNAVAILABLE)
        self._put(_UNAVAILABLE if form == "bare line" else _TIMED_OUT)
        self._flush()
        raise _HangUpError

    def _throttle(self, mailbox: Mailbox) -> _AnswerError | None:
        command = self._command
        forced = False
        if command == "APPEND":
            number = mailbox.count("throttle")
            chance = self._profile.throttle_chance
            forced = self._server.chance.happens(chance, "throttle", mailbox.address, number)
        wait = mailbox.bucket.enter(command, forced=forced)
        if wait is None:
            return None
        kind = b"NO" if command.removeprefix("UID ") in _THROTTLED_BY_NO else b"BAD"
        words = b" Request is throttled. Suggested Backoff Time: %d milliseconds"
        return _AnswerError(kind + words % wait)

    # Any state

    def _capability(self, tag: bytes, arguments: Arguments) -> None:
        profile = self._profile
        words = ["CAPABILITY", "IMAP4", "IMAP4rev1"]
        if self._mailbox is None:
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
        self._put(b"* " + " ".join(words).encode())
        self._ok(tag)

    def _noop(self, tag: bytes, arguments: Arguments) -> None:
        if self._command == "CHECK":
            self._check_state()
        self._update(may_expunge=True)
        self._ok(tag)

    def _logout(self, tag: bytes, arguments: Arguments) -> None:
        self._put(_SIGNING_OFF)
        self._ok(tag)
        self._flush()
        raise _HangUpError

    def _id(self, tag: bytes, arguments: Arguments) -> None:
        version = self._profile.server_version
        words = f'("name" "Microsoft.Exchange.Imap4.Imap4Server" "version" "{version}")'
        self._put(b"* ID " + words.encode())
        self._ok(tag)

    # Before sign-in

    def _login(self, tag: bytes, arguments: Arguments) -> None:
        if self._profile.login_answer == "failed":
            raise _AnswerError(b"NO LOGIN failed.")
        self._no(tag, b"Basic authentication is disabled.")
        self._put(_SIGNING_OFF)
        self._flush()
        raise _HangUpError

    def _authenticate(self, tag: bytes, arguments: Arguments) -> None:
        mechanism = arguments.atom().upper()
        if mechanism != b"XOAUTH2":
            raise _AnswerError(b"NO AUTHENTICATE failed.")
        if arguments.at_end:
            self._put(b"+ ")
            self._flush()
            response = self._link.line(2**20, self._idle_limit).octets
            self._heard(b"<struck out>")
        else:
            arguments.space()
            response = arguments.text[arguments.at :]
        server = self._server
        result = sign_in(
            response, self._profile, server.verify, server.find_mailbox, server.clock()
        )
        if isinstance(result, Refused):
            self._event(b"sign-in refused: " + result.reason.encode("utf-8", "replace"))
            if self._profile.json_challenge:
                self._put(b"+ " + CHALLENGE)
                self._flush()
                self._link.line(2**20, self._idle_limit)
            raise _AnswerError(b"NO AUTHENTICATE failed.")
        self._mailbox, self._expires = result.mailbox, result.expires
        self._is_connected = server.entered(result.mailbox) and result.is_connected
        result.mailbox.bucket.note("AUTHENTICATE")
        self._ok(tag)

    # Signed in

    def _check_state(self) -> Folder:
        if self._folder is None:
            raise _AnswerError(b"BAD Command received in Invalid state")
        return self._folder

    @property
    def _box(self) -> Mailbox:
        if self._mailbox is None:
            raise _AnswerError(b"BAD Command received in Invalid state")
        return self._mailbox

    def _namespace(self, tag: bytes, arguments: Arguments) -> None:
        self._put(b'* NAMESPACE (("" "/")) NIL NIL')
        self._ok(tag)

    def _enable(self, tag: bytes, arguments: Arguments) -> None:
        number = b"Argument Error. 12" if self._profile.rev2_pilot else b"Error. 10"
        raise _AnswerError(b"BAD Command " + number)

    def _list(self, tag: bytes, arguments: Arguments) -> None:
        profile = self._profile
        if arguments.peek() == b"(" and profile.refuses_list_extended:
            raise ArgumentError(12)
        refuses = profile.refuses_escaped_quote
        reference = arguments.pattern(refuses_escaped_quote=refuses)
        arguments.space()
        wanted = arguments.pattern(refuses_escaped_quote=refuses)
        if not arguments.at_end and not (
            not profile.refuses_list_extended and arguments.skip(b" RETURN")
        ):
            raise ArgumentError(12)
        if not wanted:
            self._put(b'* LIST (\\Noselect) "/" ""')
            self._ok(tag)
            return
        matches = names.pattern(names.decode(reference), names.decode(wanted))
        with self._box.lock:
            for folder in self._box.all_folders():
                if matches.fullmatch(folder.name):
                    self._put(self._listed(folder, b"LIST"))
        self._ok(tag)

    def _listed(self, folder: Folder, word: bytes) -> bytes:
        box, profile = self._box, self._profile
        children = "\\HasChildren" if box.has_children(folder) else "\\HasNoChildren"
        attributes = [children]
        if self._server.chance.happens(profile.marked_chance, "marked", box.address, folder.name):
            attributes.insert(0, "\\Marked")
        if folder.attribute and profile.special_use_attributes:
            attributes.append(folder.attribute)
        name = names.written(folder.name, control_unquoted=profile.control_names_unquoted)
        return b'* %b (%b) "/" %b' % (word, " ".join(attributes).encode(), name)

    def _lsub(self, tag: bytes, arguments: Arguments) -> None:
        reference = arguments.astring()
        arguments.space()
        wanted = arguments.pattern(refuses_escaped_quote=False)
        arguments.end()
        matches = names.pattern(names.decode(reference), names.decode(wanted))
        with self._box.lock:
            for folder in self._box.all_folders():
                if folder.is_subscribed and matches.fullmatch(folder.name):
                    self._put(self._listed(folder, b"LSUB"))
        self._ok(tag)

    def _name(self, arguments: Arguments) -> str:
        return names.decode(arguments.astring())

    def _create(self, tag: bytes, arguments: Arguments) -> None:
        name = self._name(arguments)
        arguments.end()
        with self._box.lock:
            self._box.create(name)
        self._ok(tag)

    def _delete(self, tag: bytes, arguments: Arguments) -> None:
        name = self._name(arguments)
        arguments.end()
        with self._box.lock:
            self._box.delete(name)
        self._ok(tag)

    def _rename(self, tag: bytes, arguments: Arguments) -> None:
        old = self._name(arguments)
        arguments.space()
        new = self._name(arguments)
        arguments.end()
        with self._box.lock:
            self._box.rename(old, new)
        self._ok(tag)

    def _subscribe(self, tag: bytes, arguments: Arguments) -> None:
        name = self._name(arguments)
        arguments.end()
        with self._box.lock:
            self._box.find(name).is_subscribed = self._command == "SUBSCRIBE"
        self._ok(tag)

    def _status(self, tag: bytes, arguments: Arguments) -> None:
        raw = arguments.astring()
        arguments.space()
        arguments.expect(b"(")
        words = arguments.match(re.compile(rb"[A-Za-z ]*"))[0].upper().split()
        arguments.expect(b")")
        arguments.end()
        if not set(words) <= _STATUS_ITEMS or not words:
            raise ArgumentError(11)
        with self._box.lock:
            folder = self._box.find(names.decode(raw))
            view, uidnext = self._visible(folder)
            values = {
                b"MESSAGES": len(view),
                b"RECENT": 0,
                b"UIDNEXT": uidnext,
                b"UIDVALIDITY": folder.uidvalidity,
                b"UNSEEN": sum("\\Seen" not in message.flags for message in view),
            }
        items = b" ".join(b"%b %d" % (word, values[word]) for word in words)
        name = names.written(folder.name, control_unquoted=True)
        self._put(b"* STATUS %b (%b)" % (name, items))
        self._ok(tag)

    def _visible(self, folder: Folder) -> tuple[list[Stored], int]:
        """Return the messages that a folder shows now, and its UIDNEXT."""
        now = self._server.clock()
        if not self._profile.lag_hides_from_select:
            return list(folder.messages), folder.uidnext
        view = [message for message in folder.messages if message.shown_from <= now]
        late = [message.uid for message in folder.messages if message.shown_from > now]
        return view, min(late, default=folder.uidnext)

    def _select(self, tag: bytes, arguments: Arguments) -> None:
        raw = arguments.astring()
        arguments.end()
        self._folder, self._view = None, []
        with self._box.lock:
            folder = self._box.find(names.decode(raw))
            view, uidnext = self._visible(folder)
            unseen = next((n for n, m in enumerate(view, 1) if "\\Seen" not in m.flags), None)
        self._folder, self._view = folder, view
        self._is_read_only = self._command == "EXAMINE"
        self._put(b"* %d EXISTS" % len(view))
        self._put(b"* 0 RECENT")
        self._put(b"* FLAGS (%b)" % _FLAG_LIST)
        self._put(b"* OK [PERMANENTFLAGS (%b)] Permanent flags" % _FLAG_LIST)
        if unseen is not None:
            self._put(b"* OK [UNSEEN %d] Is the first unseen message" % unseen)
        self._put(b"* OK [UIDVALIDITY %d] UIDVALIDITY value" % folder.uidvalidity)
        self._put(b"* OK [UIDNEXT %d] The next unique identifier value" % uidnext)
        code = "[READ-ONLY]" if self._is_read_only else "[READ-WRITE]"
        self._ok(tag, f"{code} {self._command} completed.")

    def _idle(self, tag: bytes, arguments: Arguments) -> None:
        arguments.end()
        self._put(b"+ IDLE accepted, awaiting DONE command.")
        self._flush()

        def watch() -> None:
            self._check_expiry()
            self._update(may_expunge=True)
            self._flush()

        line = self._link.line(1000, self._idle_limit, watch)
        self._heard(line.octets)
        if line.octets.upper() != b"DONE":
            raise _AnswerError(b"BAD Command Argument Error. 12")
        self._ok(tag)

    # A folder is open

    def _update(self, *, may_expunge: bool) -> None:
        """Tell of what came into the open folder, and of what went."""
        if self._folder is None or self._mailbox is None:
            return
        with self._mailbox.lock:
            visible, _ = self._visible(self._folder)
        if may_expunge:
            there = set(map(id, self._folder.messages))
            for number in range(len(self._view), 0, -1):
                if id(self._view[number - 1]) not in there:
                    del self._view[number - 1]
                    self._put(b"* %d EXPUNGE" % number)
        known = set(map(id, self._view))
        last = self._view[-1].uid if self._view else 0
        # what shows late cannot come between messages that are numbered already
        new = [m for m in visible if id(m) not in known and m.uid > last]
        if new:
            self._view += new
            self._put(b"* %d EXISTS" % len(self._view))

    def _writable(self) -> Folder:
        folder = self._check_state()
        if self._is_read_only:
            raise _AnswerError(b"NO Command is not allowed in a read-only folder.")
        return folder

    def _chosen(self, numbers: bytes) -> list[tuple[int, Stored]]:
        """Return the messages of a set with their sequence numbers."""
        if self._by_uid:
            ranges = in_set(numbers, self._view[-1].uid if self._view else 0)
            return [
                (number, message)
                for number, message in enumerate(self._view, 1)
                if any(first <= message.uid <= last for first, last in ranges)
            ]
        ranges = in_set(numbers, len(self._view))
        if any(first < 1 or last > len(self._view) for first, last in ranges):
            raise _AnswerError(b"NO The specified message set is invalid.")
        wanted = sorted({n for first, last in ranges for n in range(first, last + 1)})
        return [(number, self._view[number - 1]) for number in wanted]

    def _uid(self, tag: bytes, arguments: Arguments) -> None:
        word = arguments.atom().decode("latin-1").upper()
        if word not in ("FETCH", "STORE", "COPY", "MOVE", "SEARCH", "EXPUNGE"):
            raise _AnswerError(b"BAD Command Argument Error. 12")
        arguments.skip(b" ")
        self._by_uid = True
        self._command = word
        self._act(tag, arguments)

    def _close(self, tag: bytes, arguments: Arguments) -> None:
        folder = self._check_state()
        if self._command == "CLOSE" and not self._is_read_only:
            with self._box.lock:
                gone = [m for m in self._view if "\\Deleted" in m.flags]
                self._box.remove(folder, gone)
        self._folder, self._view = None, []
        self._ok(tag)

    def _expunge(self, tag: bytes, arguments: Arguments) -> None:
        folder = self._writable()
        chosen = self._view
        if self._by_uid:
            chosen = [message for _, message in self._chosen(arguments.numbers())]
        arguments.end()
        with self._box.lock:
            self._box.remove(folder, [m for m in chosen if "\\Deleted" in m.flags])
        self._update(may_expunge=True)
        self._ok(tag)

    def _fetch(self, tag: bytes, arguments: Arguments) -> None:
        folder = self._check_state()
        numbers = arguments.numbers()
        arguments.space()
        items = read_items(arguments)
        arguments.end()
        if self._by_uid and not any(item.name == b"UID" for item in items):
            items.append(Item(b"UID", b"UID"))
        chosen = self._chosen(numbers)
        box = self._box
        if b"*" in numbers and chosen:
            chance = self._profile.fetch_repeats_uid_chance
            if self._server.chance.happens(chance, "repeat", box.address, box.count("fetch")):
                chosen.append(chosen[-1])
        marks_seen = any(item.marks_seen for item in items) and not self._is_read_only
        for number, message in chosen:
            if marks_seen and "\\Seen" not in message.flags:
                with box.lock:
                    flags = message.flags | {"\\Seen"}
                    box.set_flags(folder, message, flags, by_store=False)
                if not any(item.name == b"FLAGS" for item in items):
                    items = [Item(b"FLAGS", b"FLAGS"), *items]
            self._fetched(number, message, items)
        self._update(may_expunge=False)
        self._ok(tag)

    def _fetched(self, number: int, message: Stored, items: list[Item]) -> None:
        self._out += b"* %d FETCH (" % number
        if not any(item.needs_octets for item in items):
            self._out += b" ".join(
                b"%b %b" % (item.label, self._simple(item, message)) for item in items
            )
        else:
            with self._opened(message, items) as (buffer, part):
                for place, item in enumerate(items):
                    self._out += (b" " if place else b"") + item.label + b" "
                    if item.name == b"BODY[]":
                        found = section(item, buffer, part)
                        if found is None:
                            self._out += b"NIL"
                            continue
                        self._out += b"{%d}\r\n" % found[0]
                        self._pour(found[1])
                    elif item.name == b"ENVELOPE":
                        self._out += envelope(part)
                    elif item.name in (b"BODYSTRUCTURE", b"BODY"):
                        is_extended = item.name == b"BODYSTRUCTURE"
                        structure = body_structure(buffer, part, extended=is_extended)
                        self._out += self._perhaps_malformed(structure, message)
                    else:
                        self._out += self._simple(item, message)
        self._out += b")\r\n"
        words = b" ".join(item.label for item in items)
        user = self._mailbox.address if self._mailbox else ""
        said = b"* %d FETCH (%b) of UID %d" % (number, words, message.uid)
        self._server.log.write(self._number, user, "S", said)
        if len(self._out) > 64 * 1024:
            self._flush()

    @contextmanager
    def _opened(self, message: Stored, items: list[Item]) -> Iterator[tuple[Buffer, Part]]:
        if all(item.needs_header_only for item in items):
            header = self._box.shown_header(message)
            yield header, parse(header)
        else:
            with self._shown.opened(message) as found:
                yield found

    def _pour(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self._out += piece
            if len(self._out) > 64 * 1024:
                self._flush()

    def _perhaps_malformed(self, structure: bytes, message: Stored) -> bytes:
        chance, address = self._server.chance, self._box.address
        share = self._profile.malformed_bodystructure_chance
        if not chance.happens(share, "malformed", address, message.original_sha256):
            return structure
        return malformed(structure, chance.roll("malformation", message.original_sha256))

    def _simple(self, item: Item, message: Stored) -> bytes:
        if item.name == b"UID":
            return b"%d" % message.uid
        if item.name == b"FLAGS":
            return _flag_list(message.flags)
        if item.name == b"INTERNALDATE":
            return _date_time(message.internaldate)
        return b"%d" % self._size(message)

    def _size(self, message: Stored) -> int:
        error = self._profile.size_error
        if error == 0:
            return self._shown.size(message)
        bounds = (1 - error, 1 + error)
        factor = self._server.chance.between(bounds, "size", message.original_sha256)
        return round(message.blob.size * factor)

    def _store(self, tag: bytes, arguments: Arguments) -> None:
        folder = self._writable()
        numbers = arguments.numbers()
        arguments.space()
        mode = arguments.match(re.compile(rb"([+-]?)FLAGS(\.SILENT)?(?= )", re.IGNORECASE), 11)
        arguments.space()
        given = self._flags(arguments.flags())
        arguments.end()
        chosen = self._chosen(numbers)
        for number, message in chosen:
            with self._box.lock:
                flags = given
                if mode[1] == b"+":
                    flags = message.flags | given
                elif mode[1] == b"-":
                    flags = message.flags - given
                touches = mode[1] == b"" or "\\Flagged" in given
                self._box.set_flags(folder, message, set(flags), by_store=touches)
            if not mode[2]:
                uid = b"UID %d " % message.uid if self._by_uid else b""
                self._put(b"* %d FETCH (%bFLAGS %b)" % (number, uid, _flag_list(message.flags)))
        self._update(may_expunge=False)
        self._ok(tag)

    def _flags(self, given: list[bytes]) -> set[str]:
        found = set()
        for word in given:
            flag = FLAGS_BY_KEY.get(word.decode("latin-1").lower())
            if flag is not None:
                found.add(flag)
            elif self._profile.refuses_keywords:
                raise ArgumentError(11)
        return found

    def _copy(self, tag: bytes, arguments: Arguments) -> None:
        is_move = self._command == "MOVE"
        folder = self._writable() if is_move else self._check_state()
        numbers = arguments.numbers()
        arguments.space()
        name = self._name(arguments)
        arguments.end()
        box = self._box
        with box.lock:
            try:
                target = box.find(name)
            except FolderError as error:
                code = "[TRYCREATE] " if self._profile.trycreate else ""
                raise FolderError(f"{code}{error}") from None
            there = set(map(id, folder.messages))
            chosen = [message for _, message in self._chosen(numbers) if id(message) in there]
            copies = [box.copy(message, target) for message in chosen]
            if is_move:
                box.remove(folder, chosen, moved=True)
        code = ""
        if copies:
            pairs = (chosen, copies)
            old, new = (",".join(str(message.uid) for message in side) for side in pairs)
            chance = self._profile.copyuid_garbled_chance
            if self._server.chance.happens(chance, "copyuid", box.address, box.count("copy")):
                old = new = ""
            code = f"[COPYUID {target.uidvalidity} {old} {new}] "
        self._update(may_expunge=is_move)
        self._ok(tag, f"{code}{self._command} completed.")

    def _search(self, tag: bytes, arguments: Arguments) -> None:
        self._check_state()
        self._update(may_expunge=self._by_uid)
        search = Search(self._box, self._server.clock(), self._view)
        try:
            matches = search.read(arguments)
        except CharsetError:
            raise _AnswerError(
                b"NO [BADCHARSET (US-ASCII)] The specified charset is not supported."
            ) from None
        found = [
            message.uid if self._by_uid else number
            for number, message in enumerate(self._view, 1)
            if matches(number, message)
        ]
        self._put(" ".join(["* SEARCH", *map(str, found)]).encode())
        self._ok(tag)

    # APPEND

    def _append_without_literal(self, tag: bytes, arguments: Arguments) -> None:
        raise ArgumentError(12)

    def _append(
        self, tag: bytes, arguments: Arguments, announced: _Append, verdict: _AnswerError | None
    ) -> None:
        if verdict is not None:
            is_throttle = b"throttled" in verdict.octets
            self._swallow(announced, even_synchronising=is_throttle)
            raise verdict
        box = self._box
        number = box.count("append")
        try:
            folder, flags, internaldate = self._append_arguments(arguments)
        except (FolderError, ArgumentError) as error:
            # what is wrong with the flags shows only after the literal
            self._swallow(announced, even_synchronising=isinstance(error, ArgumentError))
            raise
        is_early = self._profile.size_refusal == "instead of +"
        is_too_large = announced.size > box.largest_message
        if is_too_large and is_early and announced.is_synchronising:
            raise _AnswerError(b"NO " + _TOO_LARGE)
        if announced.is_synchronising:
            self._put(_GO_ON)
            self._flush()
        if not is_too_large:
            self._perhaps_cut_in_literal(announced.size, number)
        blob = self._receive(announced.size)
        if blob is None:
            return
        self._is_kept = False
        try:
            self._conclude(tag, _Delivery(blob, folder, flags, internaldate, number), is_too_large)
        finally:
            if not self._is_kept:
                blob.discard()

    def _append_arguments(
        self, arguments: Arguments
    ) -> tuple[Folder, set[str] | None, datetime | None]:
        """Return folder, flags (None where one is refused) and date of an APPEND."""
        name = self._name(arguments)
        with self._box.lock:
            try:
                folder = self._box.find(name)
            except FolderError as error:
                code = "[TRYCREATE] " if self._profile.trycreate else ""
                raise FolderError(f"{code}{error}") from None
        if not folder.is_mail and not self._profile.non_mail_folders_accept:
            raise FolderError("The folder does not take messages.")
        arguments.space()
        flags: set[str] | None = set()
        if arguments.peek() == b"(":
            given = arguments.flags()
            try:
                flags = self._flags(given)
            except ArgumentError:
                flags = None
            arguments.skip(b" ")
        internaldate = None
        if arguments.peek() == b'"':
            internaldate = arguments.date_time()
            arguments.skip(b" ")
        arguments.end()
        return folder, flags, internaldate

    def _swallow(self, announced: _Append, *, even_synchronising: bool) -> None:
        """Take a literal whose command is refused, where the client will send it."""
        if announced.is_synchronising:
            if not even_synchronising:
                return
            self._put(_GO_ON)
            self._flush()
        self._link.literal(announced.size, lambda _: None, self._idle_limit, None)
        self._link.line(2**20, self._idle_limit)

    def _perhaps_cut_in_literal(self, size: int, number: int) -> None:
        chance, address = self._server.chance, self._box.address
        if chance.happens(self._profile.cut_in_literal_chance, "cut-in", address, number):
            share = chance.roll("cut-at", address, number)
            self._link.literal(int(size * share), lambda _: None, self._idle_limit, None)
            self._event(b"cut within the literal")
            raise _HangUpError(broken=True)

    def _receive(self, size: int) -> Blob | None:
        """Read a message; None where a line of it was too long, and it is read as commands."""
        writer = BlobWriter(self._server.directory)
        longest = self._profile.longest_literal_line
        try:
            self._link.literal(size, writer.write, self._idle_limit, longest)
        except LongLineError:
            writer.abandon()
            self._event(b"a line of the literal is too long; what follows is read as commands")
            return None
        except BaseException:
            writer.abandon()
            raise
        blob = writer.finish()
        shown = f"{{{size}}} sha256 {blob.sha256}".encode()
        self._heard(blob.octets if self._profile.logs_literals else shown)
        return blob

    def _conclude(self, tag: bytes, delivery: _Delivery, is_too_large: bool) -> None:
        """Store and answer an APPEND whose literal has come, or do what is worse."""
        refusal = self._refusal(delivery, is_too_large=is_too_large)
        profile = self._profile
        is_expired = profile.token_expiry_cuts and self._server.clock() >= self._expires
        if is_expired or self._happens(delivery, profile.token_cut_chance, "token-cut"):
            if self._happens(delivery, profile.token_cut_stores_chance, "token-cut-stores"):
                self._put_away(delivery, refusal)
            self._event(b"token expired within APPEND, kept: %d" % self._is_kept)
            self._cut_for_expiry()
        if self._happens(delivery, profile.cut_without_storing_chance, "cut-without"):
            self._event(b"cut after the literal, not stored")
            raise _HangUpError(broken=True)
        if self._happens(delivery, profile.cut_after_storing_chance, "cut-after"):
            self._put_away(delivery, refusal)
            self._event(b"cut after the literal, kept: %d" % self._is_kept)
            raise _HangUpError(broken=True)
        rest = self._link.line(2**20, self._idle_limit).octets
        if rest.strip() and profile.refuses_multiappend:
            match = _LITERAL.search(rest)
            if match and match[2]:
                self._link.literal(int(match[1]), lambda _: None, self._idle_limit, None)
                self._link.line(2**20, self._idle_limit)
            raise ArgumentError(12)
        if refusal is not None:
            raise refusal
        message = self._put_away(delivery, None)
        if self._happens(delivery, profile.late_answer_chance, "late"):
            key = (self._box.address, delivery.number)
            wait = self._server.chance.between(profile.late_answer_seconds, "late-by", *key)
            self._event(b"answers late")
            self._server.wait(wait)
        if self._happens(delivery, profile.exists_before_answer_chance, "exists"):
            self._update(may_expunge=False)
        self._ok(tag, f"{self._appenduid(delivery, message)}APPEND completed.")

    def _happens(self, delivery: _Delivery, probability: float, kind: str) -> bool:
        address = self._box.address
        return self._server.chance.happens(probability, kind, address, delivery.number)

    def _appenduid(self, delivery: _Delivery, message: Stored | None) -> str:
        profile = self._profile
        if message is None or self._happens(delivery, profile.appenduid_omitted_chance, "no-uid"):
            return ""
        if self._happens(delivery, profile.appenduid_garbled_chance, "garbled-uid"):
            return "[APPENDUID  ] "
        return f"[APPENDUID {delivery.folder.uidvalidity} {message.uid}] "

    def _put_away(self, delivery: _Delivery, refusal: _AnswerError | None) -> Stored | None:
        """Store a message, unless it is refused; another session may have moved the folder."""
        if refusal is not None or delivery.flags is None:
            return None
        profile, box, folder = self._profile, self._box, delivery.folder
        lag = 0.0
        if self._happens(delivery, profile.lag_chance, "lag"):
            key = (box.address, delivery.number)
            seconds = self._server.chance.between(profile.lag_seconds, "lag-by", *key)
            lag = seconds * self._server.scale
        with box.lock:
            if profile.drops_duplicates:
                digest = delivery.blob.sha256
                twins = (m for m in folder.messages if m.original_sha256 == digest)
                if (twin := next(twins, None)) is not None:
                    return twin
            self._is_kept = True
            return box.store(folder, delivery.blob, set(delivery.flags), delivery.internaldate, lag)

    def _refusal(self, delivery: _Delivery, *, is_too_large: bool) -> _AnswerError | None:
        """Return why a message is not taken, if it is not."""
        if is_too_large:
            return _AnswerError(b"NO " + _TOO_LARGE)
        if delivery.flags is None:
            return _AnswerError(b"BAD Command Argument Error. 11")
        if self._is_unconvertible(delivery.blob):
            counts = self._profile.unconvertible_counts_as_bad
            return _AnswerError(b"BAD Command Argument Error. 11", counts=counts)
        box = self._box
        if box.quota is not None:
            with box.lock:
                is_full = box.used() + delivery.blob.size > box.quota
            if is_full:
                return _AnswerError(b"NO " + _UNAVAILABLE)
        return None

    def _is_unconvertible(self, blob: Blob) -> bool:
        profile = self._profile
        if profile.unconvertible is not None and profile.unconvertible(blob.octets):
            return True
        with blob.opened() as buffer:
            broken = reasons(buffer)
        if "report" in broken & profile.unconvertible_rules:
            # by its hash, so that a second try fares no better
            roll = self._server.chance.roll("report", blob.sha256)
            if "report-by-name" in broken or roll < profile.report_chance:
                return True
        return bool(broken & (profile.unconvertible_rules - {"report"}))


def _flag_list(flags: Iterable[str]) -> bytes:
    ordered = [flag for flag in SYSTEM_FLAGS if flag in flags]
    return b"(" + " ".join(ordered).encode() + b")"


def _date_time(moment: datetime) -> bytes:
    month = _MONTHS[moment.month - 1]
    return f'"{moment.day:02d}-{month}-{moment.year:04d} {moment:%H:%M:%S} +0000"'.encode()
