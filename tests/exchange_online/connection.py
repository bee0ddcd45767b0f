"""What a session knows between two commands, and the ways in which it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from tests.exchange_online.answers import CLOSED, EXPIRED, INVALID_STATE, AnswerError, HangUpError
from tests.exchange_online.arguments import ArgumentError, in_set
from tests.exchange_online.fetch import Shown
from tests.exchange_online.mailbox import FLAGS_BY_KEY
from tests.exchange_online.wire import GoneError

if TYPE_CHECKING:
    from tests.exchange_online.mailbox import Folder, Mailbox, Stored
    from tests.exchange_online.server import ExchangeOnline
    from tests.exchange_online.wire import Link


class Connection:
    """The state of one connection; used by its own thread only."""

    def __init__(self, server: ExchangeOnline, link: Link, number: int) -> None:
        self.server = server
        self.profile = server.profile
        self.link = link
        self.number = number
        self.mailbox: Mailbox | None = None
        """Whose token was good; None before sign-in."""
        self.is_connected = False
        self.expires = 0.0
        self.folder: Folder | None = None
        """The open folder."""
        self.is_read_only = False
        self.view: list[Stored] = []
        """The messages of the open folder by sequence number, as the client knows them."""
        self.command = ""
        self.by_uid = False
        self.bads = 0
        self.out = bytearray()
        """What goes out with the next write."""
        self.shown = Shown(server.profile, server.directory)

    def event(self, text: bytes) -> None:
        """Log something that happened."""
        user = self.mailbox.address if self.mailbox else ""
        self.server.log.write(self.number, user, "-", text)

    def heard(self, octets: bytes) -> None:
        """Log what the client said."""
        user = self.mailbox.address if self.mailbox else ""
        self.server.log.write(self.number, user, "C", octets)

    def put(self, line: bytes) -> None:
        """Say a line with the next write."""
        user = self.mailbox.address if self.mailbox else ""
        self.server.log.write(self.number, user, "S", line)
        self.out += line + b"\r\n"

    def flush(self) -> None:
        """Send what was said."""
        octets = bytes(self.out)
        self.out.clear()
        if octets:
            self.link.send(octets)

    def last_words(self, line: bytes) -> None:
        """Say a line, if anybody still listens."""
        try:
            self.put(line)
            self.flush()
        except GoneError:
            return

    def ok(self, tag: bytes, text: str = "") -> None:
        """Answer a command by OK."""
        self.answered("OK")
        self.put(tag + b" OK " + (text or f"{self.command} completed.").encode())

    def no(self, tag: bytes, text: bytes) -> None:
        """Answer a command by NO."""
        self.answered("NO")
        self.put(tag + b" NO " + text)

    def bad(self, tag: bytes, text: bytes, *, counts: bool = True) -> None:
        """Answer a command by BAD; the third that counts ends the session."""
        self.answered("BAD")
        self.put(tag + b" BAD " + text)
        if not counts:
            return
        self.bads += 1
        limit = self.profile.bads_until_bye
        if limit is not None and self.bads >= limit:
            self.server.closed_for_bad(self.mailbox)
            self.put(CLOSED)
            self.flush()
            raise HangUpError

    def answered(self, word: str) -> None:
        """Count an answer."""
        if self.mailbox is not None:
            with self.mailbox.lock:
                self.mailbox.answers[f"{self.command} {word}"] += 1

    @property
    def idle_limit(self) -> float:
        """Seconds of silence after which the server hangs up."""
        profile = self.profile
        is_in = self.mailbox is not None
        limit = profile.idle_after_login if is_in else profile.idle_before_login
        return max(limit * self.server.scale, profile.shortest_idle)

    def check_expiry(self) -> None:
        """End the session if its token has expired."""
        if self.profile.token_expiry_cuts and self.server.clock() >= self.expires:
            self.cut_for_expiry()

    def cut_for_expiry(self) -> NoReturn:
        """End the session as one whose token has expired."""
        self.put(EXPIRED)
        self.flush()
        raise HangUpError

    def check_state(self) -> Folder:
        """Return the open folder, or refuse the command."""
        if self.folder is None:
            raise AnswerError(b"BAD " + INVALID_STATE)
        return self.folder

    @property
    def box(self) -> Mailbox:
        """The mailbox; without one the command is refused."""
        if self.mailbox is None:
            raise AnswerError(b"BAD " + INVALID_STATE)
        return self.mailbox

    def visible(self, folder: Folder) -> tuple[list[Stored], int]:
        """Return the messages that a folder shows now, and its UIDNEXT."""
        now = self.server.clock()
        if not self.profile.lag_hides_from_select:
            return list(folder.messages), folder.uidnext
        view = [message for message in folder.messages if message.shown_from <= now]
        late = [message.uid for message in folder.messages if message.shown_from > now]
        last = view[-1].uid if view else 0
        return view, max(min(late, default=folder.uidnext), last + 1)

    def update(self, *, may_expunge: bool) -> None:
        """Tell of what came into the open folder, and of what went."""
        if self.folder is None or self.mailbox is None:
            return
        with self.mailbox.lock:
            visible, _ = self.visible(self.folder)
        if may_expunge:
            there = set(map(id, self.folder.messages))
            for number in range(len(self.view), 0, -1):
                if id(self.view[number - 1]) not in there:
                    del self.view[number - 1]
                    self.put(b"* %d EXPUNGE" % number)
        known = set(map(id, self.view))
        last = self.view[-1].uid if self.view else 0
        # what shows late cannot come between messages that are numbered already
        new = [m for m in visible if id(m) not in known and m.uid > last]
        if new:
            self.view += new
            self.put(b"* %d EXISTS" % len(self.view))

    def writable(self) -> Folder:
        """Return the open folder if it may be changed."""
        folder = self.check_state()
        if self.is_read_only:
            raise AnswerError(b"NO Command is not allowed in a read-only folder.")
        return folder

    def chosen(self, numbers: bytes) -> list[tuple[int, Stored]]:
        """Return the messages of a set with their sequence numbers."""
        if self.by_uid:
            ranges = in_set(numbers, self.view[-1].uid if self.view else 0)
            return [
                (number, message)
                for number, message in enumerate(self.view, 1)
                if any(first <= message.uid <= last for first, last in ranges)
            ]
        ranges = in_set(numbers, len(self.view))
        if any(first < 1 or last > len(self.view) for first, last in ranges):
            raise AnswerError(b"NO The specified message set is invalid.")
        wanted = sorted({n for first, last in ranges for n in range(first, last + 1)})
        return [(number, self.view[number - 1]) for number in wanted]

    def flags(self, given: list[bytes]) -> set[str]:
        """Return flags as they are written in FLAGS; refuse the others."""
        found = set()
        for word in given:
            flag = FLAGS_BY_KEY.get(word.decode("latin-1").lower())
            if flag is not None:
                found.add(flag)
            elif self.profile.refuses_keywords:
                raise ArgumentError(11)
        return found
