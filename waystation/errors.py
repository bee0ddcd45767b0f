"""Every failure a person can meet, as a class with facts, a sentence and an exit code.

    WaystationError                     1
    ├── UsageError                      2   the command line makes no sense
    ├── ArchiveError                    1
    │   ├── NoArchiveError             10   nothing there, or not an archive
    │   ├── ArchiveLockedError         11   another run works on it
    │   ├── NewerFormatError            1   made by a later version
    │   ├── IndexDamagedError           1   index.sqlite is no database, or a broken one
    │   ├── OtherSourceError            1   this archive belongs to another mailbox
    │   ├── OtherProtocolError          1   it holds mail that came by the other protocol
    │   └── StorageError                1   disk full, read-only, input/output error
    ├── SignInError                    12   refused, or a secret is missing
    │   └── NotConnectedError          12   let in, and yet the mailbox stays shut
    └── ServerError                     1
        ├── UnreachableError                no such host, nothing listens, no TLS there
        ├── CertificateError                TLS, but not proven to be that server
        ├── NoEncryptionError               the server has no STARTTLS, or no STLS
        ├── ProtocolError                   the answer is no IMAP, or no POP3
        ├── MessageTooLargeError            one message is announced larger than accepted
        ├── IdentityBusyError           *   no token for now: the identity provider is not there
        ├── ConnectionLostError         *   the line broke, or nothing came in time
        │   └── SessionExpiredError     *   the token of the session ran out; routine
        └── RefusedError                *   NO, BAD or -ERR to a command  (* may be tried again)
            └── UnusableFolderError         a folder opens without UIDVALIDITY

The sentences hold no secret, and foreign words in them pass through ``plain``.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST = 300
_BACKOFF = re.compile(r"Request is throttled.*?Backoff Time[:=\s]+(\d+)", re.IGNORECASE)
_LONGEST_BACKOFF = 600.0
_EXPIRED = re.compile(r"AccessTokenExpired|Session expired, please login", re.IGNORECASE)
"""Exchange Online's words, and Gmail's."""


def plain(text: str | bytes, longest: int = _LONGEST) -> str:
    """Return foreign words fit for one line of a log, a terminal or a report.

    Control characters, line ends, direction marks and what is not a character become ``?``, so
    that an answer of a server cannot forge a second line or an escape sequence.
    """
    if isinstance(text, bytes):
        text = text[: 4 * longest].decode("utf-8", "replace")
    text = text.strip()
    if not text.isascii() or not text.isprintable():
        text = "".join(
            "?" if unicodedata.category(char)[0] in "CZ" and char != " " else char for char in text
        )
    return text if len(text) <= longest else text[: longest - 1] + "…"


def backoff_of(text: str) -> float | None:
    """Return the seconds that a throttling server asks for, or None where it asks for none.

    Exchange Online says ``Request is throttled. Suggested Backoff Time: 299609 milliseconds``,
    with NO, BAD or BYE alike. Ten minutes at the most are believed; five are the most that was
    ever reported (imapsync issue 198).
    """
    match = _BACKOFF.search(text)
    return min(int(match[1][:9]) / 1000, _LONGEST_BACKOFF) if match else None


class WaystationError(Exception):
    """Anything that ends a run or a part of it, told in one sentence."""

    exit_code = 1
    backoff: float | None = None
    """Seconds that the other side asks us to wait before the next try; None: it says nothing."""

    @property
    def retriable(self) -> bool:
        """Whether the same step may succeed after a pause and a new connection."""
        return False


class UsageError(WaystationError):
    """The command line makes no sense."""

    exit_code = 2


class ArchiveError(WaystationError):
    """Something about the archive itself."""


class NoArchiveError(ArchiveError):
    """There is no archive at that place."""

    exit_code = 10

    def __init__(self, path: object, why: str = "there is nothing there") -> None:
        super().__init__(
            f"{plain(str(path))} is not an archive: {why}. "
            "'waystation export ARCHIVE --from SERVER' creates one."
        )


class ArchiveLockedError(ArchiveError):
    """Another run holds the archive."""

    exit_code = 11

    def __init__(self, path: object, holder: str) -> None:
        super().__init__(
            f"{plain(str(path))} is in use by another run ({plain(holder)}). "
            "Wait until that has ended."
        )


class NewerFormatError(ArchiveError):
    """The archive was written by a later version."""

    def __init__(self, path: object, found: int, known: int) -> None:
        super().__init__(
            f"{plain(str(path))} has format {found}, this version writes format {known}. "
            "Use a newer waystation; this one only reads it."
        )


class IndexDamagedError(ArchiveError):
    """The index cannot be read as a database."""

    def __init__(self, path: object, why: str) -> None:
        super().__init__(
            f"{plain(str(path))} cannot be read: {plain(why)}. The messages are not affected; "
            "'waystation check ARCHIVE --rebuild' makes a new index from them."
        )


class OtherSourceError(ArchiveError):
    """The archive holds another mailbox than the one named."""

    def __init__(self, archived: str, asked: str) -> None:
        super().__init__(
            f"this archive holds {plain(archived)}, not {plain(asked)}. Give each mailbox an "
            "archive of its own, or say --new-source if this is the same mailbox at a new address."
        )


class OtherProtocolError(ArchiveError):
    """The archive holds mail that came by IMAP, and POP3 was named, or the other way round."""

    def __init__(self, archived: str, asked: str) -> None:
        super().__init__(
            f"this archive holds {plain(archived)}; {plain(asked)} is another protocol. POP3 knows "
            "no folders, flags and dates, so give its mail an archive of its own; --mix-protocols "
            "puts both into this one."
        )


class StorageError(ArchiveError):
    """The disk does not take what must be written."""

    def __init__(self, path: object, error: OSError | str) -> None:
        why = error if isinstance(error, str) else (error.strerror or type(error).__name__)
        super().__init__(
            f"{plain(str(path))}: {plain(why)}. Nothing recorded is lost; mend that and run the "
            "same command again."
        )


class SignInError(WaystationError):
    """The server does not let us in, or a secret is missing.

    ``mends`` are the steps that would help, each whole in itself, such as a line for PowerShell.
    """

    exit_code = 12

    def __init__(self, cause: str, mends: Sequence[str] = ()) -> None:
        self.cause = cause
        self.mends = tuple(mends)
        steps = self.mends
        if len(steps) > 1:
            steps = tuple(f"({number}) {step}" for number, step in enumerate(steps, 1))
        super().__init__(" ".join((cause, *steps)))


class NotConnectedError(SignInError):
    """The server took the sign-in, and yet does not open the mailbox."""


class ServerError(WaystationError):
    """Something between us and a server."""


class UnreachableError(ServerError):
    """No connection comes about."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(
            f"cannot reach {plain(host)} port {port}: {plain(why)}. "
            "Check the name, the port and the network."
        )


class CertificateError(ServerError):
    """The server does not prove to be the one that was named."""

    def __init__(self, host: str, why: str, fingerprint: str | None = None) -> None:
        self.host = host
        self.why = why
        pin = (
            f" or, once you have compared it with the server's own, "
            f"its fingerprint with --fingerprint {fingerprint}"
        )
        super().__init__(
            f"the certificate of {plain(host)} is not accepted: {plain(why)}. If the server is "
            f"your own, give its CA certificate with --ca-file FILE{pin if fingerprint else ''}."
        )

    def showing(self, fingerprint: str | None) -> CertificateError:
        """Return the error with the SHA-256 fingerprint of the certificate that was shown."""
        return CertificateError(self.host, self.why, fingerprint)


class NoEncryptionError(ServerError):
    """The connection would be open to read for everyone on the way."""

    def __init__(self, host: str, protocol: str = "IMAP") -> None:
        command, scheme = ("STLS", "pop3s") if protocol == "POP3" else ("STARTTLS", "imaps")
        super().__init__(
            f"{plain(host)} offers no {command}. Use {scheme}:// if it has that; --allow-plaintext "
            "permits an unencrypted connection, password included."
        )


class ProtocolError(ServerError):
    """What came is not what the protocol allows."""

    def __init__(
        self, host: str, what: str, received: str | bytes = b"", protocol: str = "IMAP"
    ) -> None:
        heard = f" (received: {plain(received, 80)})" if received else ""
        kind = "a POP3" if protocol == "POP3" else "an IMAP"
        super().__init__(f"{plain(host)} does not answer as {kind} server: {what}{heard}.")


class MessageTooLargeError(ServerError):
    """A message is announced with more octets than we accept."""

    def __init__(self, size: int, largest: int) -> None:
        self.size = size
        super().__init__(
            f"the server announces a message of {size:,} octets; the largest accepted is "
            f"{largest:,} (--largest-message)"
        )


class IdentityBusyError(ServerError):
    """The identity provider cannot be reached, or has no time; that says nothing of our rights."""

    retriable = True

    def __init__(self, host: str, why: str, backoff: float | None = None) -> None:
        self.backoff = None if backoff is None else min(backoff, _LONGEST_BACKOFF)
        super().__init__(
            f"no token from {plain(host)} for now: {plain(why)}. "
            "Nothing is wrong with the sign-in; the same command goes on later."
        )


class ConnectionLostError(ServerError):
    """The line broke in the middle, or nothing came in time."""

    retriable = True

    def __init__(self, host: str, why: str) -> None:
        self.backoff = backoff_of(why)
        super().__init__(
            f"the connection to {plain(host)} broke: {plain(why)}. "
            "The same command goes on where it stopped."
        )


class SessionExpiredError(ConnectionLostError):
    """The server ended the session because its token ran out: routine, connect anew at once."""


def goodbye(host: str, words: str) -> ConnectionLostError:
    """Return the error for a connection that the server ended with these words in its BYE."""
    kind = SessionExpiredError if _EXPIRED.search(words) else ConnectionLostError
    return kind(host, words)


class RefusedError(ServerError):
    """The server answered NO or BAD; POP3: -ERR."""

    # RFC 5530 section 3: these say that the same command may work later. SERVERBUG does not:
    # Dovecot says it of a single damaged message, each time. POP3's are of RFC 2449 section 8
    # and RFC 3206.
    _PASSING = re.compile(
        r"\[(UNAVAILABLE|INUSE|LIMIT|IN-USE|LOGIN-DELAY|SYS/TEMP)\b"
        r"|try again|throttled|unavailable",
        re.IGNORECASE,
    )

    def __init__(self, what: str, reply: str | bytes) -> None:
        self.reply = plain(reply)
        self.backoff = backoff_of(self.reply)
        super().__init__(f"{what} was refused: {self.reply or '(no words)'}")

    @property
    def retriable(self) -> bool:
        """Whether the reply says that this passes."""
        return bool(self._PASSING.search(self.reply))


class UnusableFolderError(RefusedError):
    """A folder opens, and says too little of itself to be worked with."""

    def __init__(self, what: str) -> None:
        super().__init__("to open the folder", "")
        self.args = (f"the folder cannot be worked with: {what}",)
