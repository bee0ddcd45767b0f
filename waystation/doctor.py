"""Can we get in? From the server's name to a folder, step by step, each with its cause and mend.

The steps are those of a real session, in the same order and by the same code. With ``write`` a
message is put into a folder and taken out again: that very message, by its UID, and no other.
"""

from __future__ import annotations

import io
import socket
import ssl
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import uuid4

from waystation.errors import (
    NotConnectedError,
    RefusedError,
    ServerError,
    SignInError,
    UnreachableError,
    WaystationError,
    plain,
)
from waystation.imap import ImapSession
from waystation.mends import visible_faults
from waystation.model import SpecialUse
from waystation.pop3 import Pop3Session
from waystation.stream import open_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from waystation.address import Account
    from waystation.model import Folder
    from waystation.session import Connection
    from waystation.signin import Credential
    from waystation.token import Token, TokenSource


class Outcome(StrEnum):
    """How a step ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way into a mailbox."""

    name: str
    outcome: Outcome
    text: str
    """What was found; where the step failed, its cause."""
    mends: tuple[str, ...] = ()
    """What would help, each whole in itself."""
    facts: dict[str, object] = field(default_factory=dict)
    exit_code: int = 0
    """Of a command that ends with this step."""


def examine(
    account: Account,
    credential: Callable[[], Credential],
    connection: Connection,
    *,
    write: bool = False,
    by_token: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[Step]:
    """Yield the steps into a mailbox, up to the first that fails; the rest are skipped.

    ``by_token`` says that a token opens it though a password could.
    """
    is_token = by_token or account.takes_tokens_only
    with ExitStack() as stack:
        visit = _Visit(account, credential, connection, stack, now)
        steps = [
            ("name", visit.name),
            ("tls", visit.tls),
            ("token" if is_token else "password", visit.credential),
            ("authenticate", visit.authenticate),
        ]
        if account.protocol == "pop3":
            steps.append(("list", visit.maildrop))
        else:
            steps += [("namespace", visit.namespace), ("list", visit.folders)]
        if write:
            steps.append(("write", visit.write))
        failed = ""
        for name, act in steps:
            if failed:
                yield Step(name, Outcome.SKIPPED, f"not tried, since {failed} failed")
                continue
            try:
                text, facts, mends = act()
            except WaystationError as error:
                failed = name
                yield _failure(name, error)
            else:
                yield Step(name, Outcome.OK, text, mends, facts)


Found = tuple[str, dict[str, object], tuple[str, ...]]
"""What a step found, in words and as values, and advice that is no failure."""


class _Visit:
    """One visit to one mailbox."""

    def __init__(
        self,
        account: Account,
        credential: Callable[[], Credential],
        connection: Connection,
        stack: ExitStack,
        now: Callable[[], datetime],
    ) -> None:
        self._account = account
        self._ask = credential
        self._connection = connection
        self._stack = stack
        self._now = now
        self._credential: Credential = ""
        self._session: ImapSession | None = None
        self._pop3: Pop3Session | None = None
        self._shut: NotConnectedError | None = None
        self._folders: list[Folder] = []

    def name(self) -> Found:
        host, port = self._account.host, self._account.port
        if (proxy := self._connection.way.shown(host)) is not None:
            text = f"{plain(host)} port {port}, looked up by the proxy {proxy}"
            return text, {"host": host, "port": port, "proxy": proxy}, ()
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UnreachableError(host, port, why) from None
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        text = f"{plain(host)} port {port} is {', '.join(addresses[:4])}"
        return text, {"host": host, "port": port, "addresses": addresses}, ()

    def tls(self) -> Found:
        stream = open_stream(
            self._account,
            ca_file=self._connection.ca_file,
            allow_plaintext=self._connection.allow_plaintext,
            timeout=self._connection.timeout,
            way=self._connection.way,
        )
        try:
            sock = stream.sock
            if not isinstance(sock, ssl.SSLSocket):
                return "not encrypted, as --allow-plaintext permits", {"tls": None}, ()
            version, cipher = sock.version(), (sock.cipher() or ("",))[0]
        finally:
            stream.close()
        text = f"{version}, {cipher}; the certificate is good for {plain(self._account.host)}"
        return text, {"tls": version, "cipher": cipher}, ()

    def credential(self) -> Found:
        self._credential = self._ask()
        if isinstance(self._credential, str):
            return "there is a password", {"kind": "password"}, ()
        return _token_text(self._credential.token(), self._credential, self._now())

    def authenticate(self) -> Found:
        with_token = not isinstance(self._credential, str)
        try:
            if self._account.protocol == "pop3":
                self._pop3 = Pop3Session.open(self._account, self._credential, self._connection)
                self._stack.enter_context(self._pop3)
            else:
                self._session = ImapSession.open(self._account, self._credential, self._connection)
                self._stack.enter_context(self._session)
        except NotConnectedError as error:
            # The sign-in itself was taken: it is the next step that fails.
            self._shut = error
        how = "with the token" if with_token else "with the password"
        text = f"{plain(self._account.host)} lets {plain(self._account.user)} in {how}"
        return text, {"user": self._account.user}, ()

    def namespace(self) -> Found:
        if self._shut is not None:
            raise self._shut
        session = self._open()
        found = session.namespace
        kind = "Exchange Online" if session.is_exchange else "a server of another kind"
        prefix = "/".join(found.prefix)
        text = f"the mailbox is open; {kind}, levels are parted by {plain(found.delimiter or '-')}"
        facts: dict[str, object] = {"prefix": prefix, "delimiter": found.delimiter}
        return text, facts | {"is_exchange": session.is_exchange}, ()

    def folders(self) -> Found:
        self._folders = self._open().folders()
        special = sorted(
            f"{folder.special_use.value} is {folder.name}"
            for folder in self._folders
            if folder.special_use not in (None, SpecialUse.INBOX)
        )
        text = f"{len(self._folders):,} folders" + (f" ({', '.join(special)})" if special else "")
        return text, {"folders": len(self._folders)}, ()

    def maildrop(self) -> Found:
        if self._pop3 is None:
            raise ServerError("there is no session")
        count = self._pop3.count()
        unique: set[str] = set()
        advice: list[str] = []
        try:
            unique.update(name for _, name in self._pop3.names())
        except RefusedError as error:
            if error.retriable:
                raise
        if len(unique) < count:
            advice.append(
                f"{count - len(unique):,} messages have no unique-id of their own: each export "
                "reads them in full and knows them by their content; IMAP is better here"
            )
        is_pipelined = self._pop3.has("PIPELINING")
        text = f"{count:,} messages, {len(unique):,} unique-ids" + (
            "" if is_pipelined else "; no PIPELINING, so each message waits for the one before"
        )
        facts: dict[str, object] = {"messages": count, "unique_ids": len(unique)}
        return text, facts | {"pipelining": is_pipelined}, tuple(advice)

    def write(self) -> Found:
        session = self._open()
        folder = self._place()
        subject = f"waystation doctor {uuid4().hex[:8]}: a test message, to be removed at once"
        message_id = f"<{uuid4()}@waystation.invalid>"
        message = _message(self._account.user, subject, message_id, self._now())
        uid = self._append(session, folder, message)
        where = f"{plain(folder.name)} (subject {subject!r})"
        facts: dict[str, object] = {"folder": folder.name, "removed": False}
        try:
            session.select(folder.wire_name, read_only=False)
            if uid is None:
                uid = self._find(session, message_id)
            facts["uid"] = uid
            if uid is None or not session.has("UIDPLUS"):
                # EXPUNGE would take with it whatever else is marked as deleted.
                why = "cannot be found again" if uid is None else "the server has no UID EXPUNGE"
                return f"a test message was put into {where} and stays there: {why}", facts, ()
            session.wire.converse(b"UID STORE %d +FLAGS.SILENT (\\Deleted)" % uid)
            session.wire.converse(b"UID EXPUNGE %d" % uid)
            if session.uids(b"UID %d" % uid):
                raise ServerError(f"a test message in {where} was removed, and is still there")
        except RefusedError as error:
            raise ServerError(f"{error}; a test message stays in {where}") from None
        return (
            f"a test message was put into {plain(folder.name)} and removed again",
            facts | {"removed": True},
            (),
        )

    def _open(self) -> ImapSession:
        if self._session is None:
            raise ServerError("there is no session")
        return self._session

    def _place(self) -> Folder:
        """Return the folder where a message that is seen for a moment alarms nobody."""
        for wanted in (SpecialUse.DRAFTS, SpecialUse.INBOX):
            for folder in self._folders:
                if folder.special_use == wanted and folder.is_selectable:
                    return folder
        raise ServerError("there is no INBOX to put a test message into")

    def _append(self, session: ImapSession, folder: Folder, message: bytes) -> int | None:
        flags = ["\\Seen"]
        if folder.special_use == SpecialUse.DRAFTS:
            flags.append("\\Draft")  # Exchange keeps it only when it comes with the APPEND
        session.wire.send_append(
            folder.wire_name,
            flags,
            self._now(),
            io.BytesIO(message),
            len(message),
            synchronising=True,
        )
        answer = session.wire.next_tagged()
        if not answer.is_ok:
            raise RefusedError("APPEND", answer.text)
        return answer.appenduid[1] if answer.appenduid is not None else None

    def _find(self, session: ImapSession, message_id: str) -> int | None:
        with suppress(RefusedError):
            found = session.uids(b'HEADER Message-ID "%b"' % message_id.encode())
            if len(found) == 1:
                return found[0]
        return None


def _token_text(token: Token, source: TokenSource, now: datetime) -> Found:
    minutes = (token.expires_at - now.timestamp()) / 60
    expires = datetime.fromtimestamp(token.expires_at, UTC)
    facts: dict[str, object] = {
        "kind": "token",
        "audience": token.audience,
        "roles": list(token.roles),
        "scopes": list(token.scopes),
        "tenant": token.tenant,
        "app_id": token.app_id,
        "user": token.user,
        "object_id": token.object_id,
        "expires_at": expires.isoformat(timespec="seconds"),
    }
    until = f"expires {expires:%Y-%m-%d %H:%M} UTC, in {minutes:.0f} min"
    if token.provider:
        by = "the service account" if source.is_app_only else f"client {plain(token.app_id, 90)}"
        scope = plain(", ".join(token.scopes), 120)
        host = plain(source.tenant, 90)
        text = f"{host} gives a token for {plain(token.user, 120)} by {by}; scope {scope}; {until}"
        return text, facts, ()
    if not token.claims:
        return f"a token that cannot be read (a personal account's?), {until}", facts, ()
    if token.is_app_only:
        who = f"application {plain(token.app_id, 60)} as itself"
        may = f"roles {plain(', '.join(token.roles), 200) or 'none'}"
    else:
        who = f"{plain(token.user, 120)} by application {plain(token.app_id, 60)}"
        may = f"scopes {plain(', '.join(token.scopes), 200) or 'none'}"
    faults = visible_faults(token, source.tenant, is_expired=source.is_expired(token))
    parts = [
        f"audience {plain(token.audience, 120)}",
        who,
        may,
        f"tenant {plain(token.tenant, 60)}",
        until,
        *(f"but {cause}" for cause, _ in faults),
    ]
    return "; ".join(parts), facts, tuple(mend for _, mend in faults)


def _failure(name: str, error: WaystationError) -> Step:
    if isinstance(error, SignInError):
        return Step(name, Outcome.FAILED, error.cause, error.mends, {}, error.exit_code)
    return Step(name, Outcome.FAILED, str(error), (), {}, error.exit_code)


def _message(user: str, subject: str, message_id: str, now: datetime) -> bytes:
    address = user if user.isascii() and "@" in user else "waystation@waystation.invalid"
    return (
        f"From: {address}\r\nTo: {address}\r\nSubject: {subject}\r\n"
        f"Date: {now:%a, %d %b %Y %H:%M:%S} +0000\r\nMessage-ID: {message_id}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
        "waystation doctor --write put this here, and removes it at once.\r\n"
    ).encode("ascii")
