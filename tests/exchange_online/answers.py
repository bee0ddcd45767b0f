"""What Exchange Online says, word by word, and the exceptions by which handlers say it."""

from __future__ import annotations

import re

from tests.exchange_online.mailbox import SYSTEM_FLAGS

SIGNING_OFF = b"* BYE Microsoft Exchange Server IMAP4 server signing off."
EXPIRED = b"* BYE Session invalidated - AccessTokenExpired"
TIMED_OUT = b"* BYE Connection is closed. 13"
CLOSED = b"* BYE Connection closed. 14"
UNAVAILABLE = b"Server Unavailable. 15"
NOT_CONNECTED = b"User is authenticated but not connected."
INVALID_STATE = b"Command received in Invalid state"
TOO_LARGE = b"Maximum size of appendable message has been exceeded"
ERROR_10 = b"Command Error. 10"
ERROR_11 = b"Command Argument Error. 11"
GO_ON = b"+ Ready for additional command text."
FLAG_LIST = " ".join(SYSTEM_FLAGS).encode()
LITERAL = re.compile(rb"\{(\d{1,12})(\+?)\}$")
"""How a line ends that a literal follows."""


class HangUpError(Exception):
    """The session ends here; ``broken`` is as a network breaks, without a word."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        self.broken = broken


class AnswerError(Exception):
    """The command is answered by NO or BAD; ``counts`` if a BAD is one of the three."""

    def __init__(self, octets: bytes, *, counts: bool = True) -> None:
        super().__init__()
        self.octets = octets
        self.counts = counts
