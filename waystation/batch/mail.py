"""One door to smtplib: how a mail is handed in, and where.

TLS is verified or there is no mail, but where somebody has permitted plain text. No error holds
the password, not even where the server repeats it.
"""

from __future__ import annotations

import base64
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from waystation.errors import UsageError, WaystationError, plain
from waystation.providers import by_name

if TYPE_CHECKING:
    import smtplib
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from waystation.provider import Security

_SCHEMES: dict[str, tuple[Security, int]] = {"smtps": ("tls", 465), "smtp": ("starttls", 587)}
"""Security and usual port (RFC 8314 sections 3.3 and 7.3)."""
_FORM = re.compile(
    r"(?P<scheme>smtps?)://(?:(?P<user>.+)@)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^@:/\[\]\s]+)"
    r"(?::(?P<port>\d{1,5}))?/?",
    re.ASCII | re.IGNORECASE,
)
_PRESET = re.compile(r"(?P<provider>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<user>[^/\s].*)", re.ASCII)
_ADDRESS = re.compile(r"[!#-'*+/-9=?A-Z^-~.-]+@[A-Za-z0-9.-]+", re.ASCII)
"""An address without quotes, comments or a name (RFC 5322 section 3.4.1, dot-atom)."""
_PASSWORD = re.compile(r"(?<=://)([^:@/]*):.*@")
_TIMEOUT = 60.0
_PAUSES = (5.0, 30.0)
"""Seconds before each new try, after what may pass."""


class MailError(WaystationError):
    """A mail was not handed in."""

    def __init__(self, relay: Relay, why: str, *, passes: bool = False) -> None:
        super().__init__(f"{plain(relay.host)}: {why}")
        self._passes = passes

    @property
    def retriable(self) -> bool:
        """Whether the same mail may be taken later."""
        return self._passes


@dataclass(frozen=True, slots=True)
class Relay:
    """A server that takes mail, and who signs in there. Holds no secret."""

    name: str
    """As the user wrote it."""
    host: str
    port: int
    security: Security
    user: str | None
    """None: it takes mail from whoever reaches it."""

    @property
    def password_key(self) -> str:
        """By what name the keyring has the password."""
        scheme = "smtps" if self.security == "tls" else "smtp"
        return f"{scheme}://{self.user}@{self.host.lower()}:{self.port}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail of words alone."""

    sender: str
    recipients: tuple[str, ...]
    subject: str
    text: str


def parse_relay(text: str) -> Relay:
    """Return the server that ``smtps://[USER@]HOST[:PORT]`` or ``PROVIDER:USER`` names.

    Raises:
        UsageError: it names none, or one that takes no passwords.
    """
    if not text.isprintable():
        raise UsageError(f"{plain(text)!r} holds control characters and is no server.")
    if "://" not in text and (preset := _PRESET.fullmatch(text)) is not None:
        return _preset(text, preset["provider"].lower(), preset["user"])
    match = _FORM.fullmatch(text)
    if match is None:
        shown = plain(_PASSWORD.sub(r"\1:(password)@", text))
        raise UsageError(
            f"{shown!r} names no server for mail. Write smtps://USER@HOST[:PORT] (TLS), "
            "smtp://USER@HOST[:PORT] (STARTTLS) or PROVIDER:USER."
        )
    if match["user"] is not None and ":" in match["user"]:
        raise UsageError(
            "the user name holds a ':'. A password is never part of the server's name: use "
            "--mail-password-env NAME, --mail-password-command CMD or the keyring."
        )
    security, usual = _SCHEMES[match["scheme"].lower()]
    port = int(match["port"] or usual)
    if not 0 < port < 65536:
        raise UsageError(f"{port} is no port number (1 to 65535).")
    return Relay(text, match["host"].strip("[]"), port, security, match["user"])


def checked_address(text: str) -> str:
    """Return an address, without blanks around it.

    Raises:
        UsageError: it is none that could stand in a header as it is.
    """
    found = text.strip()
    if _ADDRESS.fullmatch(found) is None:
        raise UsageError(f"{plain(text)!r} is no address, such as admin@example.com.")
    return found


def hand_in(
    relay: Relay,
    password: str | None,
    letter: Letter,
    now: datetime,
    *,
    ca_file: Path | None = None,
    allow_plaintext: bool = False,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Hand a letter in; what may pass is tried again.

    Raises:
        MailError: nobody took it.
        UsageError: ``ca_file`` cannot be read.
    """
    for pause in (*_PAUSES, None):
        try:
            _once(relay, password, letter, now, ca_file, allow_plaintext=allow_plaintext)
        except MailError as error:
            if pause is None or not error.retriable:
                raise
            sleep(pause)
        else:
            return


def octets_of(letter: Letter, now: datetime) -> bytes:
    """Return a letter as it goes over the wire (RFC 5322)."""
    # Loaded late: only whoever asked for mail needs them.
    from email.message import EmailMessage
    from email.policy import SMTP
    from email.utils import format_datetime, make_msgid

    message = EmailMessage(policy=SMTP)
    message["From"] = letter.sender
    message["To"] = ", ".join(letter.recipients)
    # Foreign words may be in it; a line end would begin another header.
    message["Subject"] = plain(letter.subject, 200)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid(domain=letter.sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notice shall answer it
    message.set_content(letter.text)
    return message.as_bytes()


def _once(
    relay: Relay,
    password: str | None,
    letter: Letter,
    now: datetime,
    ca_file: Path | None,
    *,
    allow_plaintext: bool,
) -> None:
    import smtplib
    import ssl

    def failed(why: str, *, passes: bool = False) -> MailError:
        return MailError(relay, _struck(why, relay, password), passes=passes)

    octets = octets_of(letter, now)
    try:
        with _connected(relay, ca_file, allow_plaintext=allow_plaintext) as client:
            if relay.user is not None and password is not None:
                client.login(relay.user, password)
            refused = client.sendmail(letter.sender, letter.recipients, octets)
    except smtplib.SMTPAuthenticationError as error:
        raise failed(f"it refused the sign-in: {_words(error)}") from None
    except smtplib.SMTPRecipientsRefused as error:
        raise failed(f"it refused {_each(error.recipients)}") from None
    except smtplib.SMTPResponseException as error:
        passes = 400 <= error.smtp_code < 500
        raise failed(f"it said {_words(error)}", passes=passes) from None
    except smtplib.SMTPServerDisconnected as error:
        raise failed(f"the connection ended: {plain(str(error))}", passes=True) from None
    except smtplib.SMTPException as error:
        raise failed(plain(str(error))) from None
    except ssl.SSLCertVerificationError as error:
        raise failed(f"its certificate is not trusted: {plain(error.verify_message)}") from None
    except UnicodeError:
        # Without its words, which hold the password.
        raise failed("user and password have to be ASCII for its way to sign in") from None
    except OSError as error:
        raise failed(plain(error.strerror or str(error)), passes=True) from None
    if refused:
        raise failed(f"it refused {_each(refused)}, and took it for the others")


def _connected(relay: Relay, ca_file: Path | None, *, allow_plaintext: bool) -> smtplib.SMTP:
    import smtplib

    from waystation.stream import tls_context

    context = tls_context(ca_file)
    # The name of this machine is nobody's business (RFC 5321 section 4.1.3 has the literal).
    own = "[127.0.0.1]"
    if relay.security == "tls":
        return smtplib.SMTP_SSL(relay.host, relay.port, own, timeout=_TIMEOUT, context=context)
    client = smtplib.SMTP(relay.host, relay.port, own, timeout=_TIMEOUT)
    try:
        client.ehlo_or_helo_if_needed()
        if client.has_extn("starttls"):
            client.starttls(context=context)
        elif not allow_plaintext:
            _refuse_plaintext(relay)
    except BaseException:
        client.close()
        raise
    return client


def _refuse_plaintext(relay: Relay) -> NoReturn:
    raise MailError(
        relay,
        "it offers no STARTTLS, and nothing is sent unencrypted. smtps:// may be open, or say"
        " --allow-plaintext",
    )


def _preset(text: str, name: str, user: str) -> Relay:
    preset = by_name(name)
    if preset is None:
        # What follows may be a password: it is not repeated.
        raise UsageError(f"{plain(name)}: is no provider that 'waystation providers' lists.")
    if preset.smtp is None:
        raise UsageError(f"of {preset.title} no server for mail is known: write smtps://USER@HOST.")
    if preset.takes_tokens_only:
        raise UsageError(
            f"{preset.title} takes no passwords. Name another server that does, or a relay of your"
            " own: smtp://HOST with --mail-from."
        )
    return Relay(text, preset.smtp.host, preset.smtp.port, preset.smtp.security, user)


def _words(error: smtplib.SMTPResponseException) -> str:
    said = error.smtp_error
    words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return f"{error.smtp_code} {plain(words.replace(chr(10), ' '))}"


def _each(refused: dict[str, tuple[int, bytes]]) -> str:
    return ", ".join(
        f"{plain(who)} ({code} {plain(words)})" for who, (code, words) in refused.items()
    )


def _struck(text: str, relay: Relay, password: str | None) -> str:
    if not password:
        return text
    forms: Sequence[str] = (
        base64.b64encode(f"\0{relay.user}\0{password}".encode()).decode(),
        base64.b64encode(password.encode()).decode(),
        password,
    )
    for form in forms:
        text = text.replace(form, "(struck out)")
    return text
