"""A signed-in connection, whatever it speaks: how it comes about, and how it ends.

Each protocol says in ``_begin`` how it greets and signs in, and in ``close`` how it says goodbye.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from waystation.errors import NotConnectedError, SessionExpiredError, SignInError
from waystation.stream import open_stream
from waystation.way import Way
from waystation.wire import LARGEST_MESSAGE

if TYPE_CHECKING:
    from pathlib import Path

    from waystation.address import Account
    from waystation.signin import Credential
    from waystation.stream import Stream
    from waystation.token import Token, TokenSource


@dataclass(frozen=True, slots=True)
class Connection:
    """How to connect, apart from where to and as whom."""

    ca_file: Path | None = None
    allow_plaintext: bool = False
    timeout: float = 120
    """Seconds without a sign of life after which a connection counts as lost."""
    largest_message: int = LARGEST_MESSAGE
    way: Way = field(default_factory=Way)


class Session(ABC):
    """One signed-in connection. A context manager; use from one thread."""

    def __init__(
        self,
        account: Account,
        stream: Stream,
        token: Token | None = None,
        source: TokenSource | None = None,
    ) -> None:
        self.account = account
        self._stream = stream
        self._token = token
        self._source = source

    @classmethod
    def open(cls, account: Account, credential: Credential, connection: Connection) -> Self:
        """Connect, encrypt and sign in, by a password or with a token.

        A token that was kept from earlier and is not taken is replaced once by a new one.

        Raises:
            UnreachableError, CertificateError, NoEncryptionError: no connection comes about.
            SignInError: the server does not take this user and password, or this token.
            NotConnectedError: it does, and yet does not open the mailbox.
            RefusedError: it cannot let us in at the moment; ``retriable``.
            IdentityBusyError: there is no token to be had at the moment.
            ProtocolError, ConnectionLostError: what answers speaks another protocol, or hangs up.
        """
        if isinstance(credential, str):
            return cls._open(account, credential, None, connection)
        token = credential.token()
        try:
            return cls._open(account, credential, token, connection)
        except SessionExpiredError:
            credential.discard(token)
            raise
        except SignInError as error:
            credential.discard(token)
            # The mailbox stays shut to a new token too, and each connection counts there.
            if token.is_fresh or isinstance(error, NotConnectedError):
                raise
        return cls._open(account, credential, credential.token(), connection)

    @classmethod
    def _open(
        cls, account: Account, credential: Credential, token: Token | None, connection: Connection
    ) -> Self:
        stream = open_stream(
            account,
            ca_file=connection.ca_file,
            allow_plaintext=connection.allow_plaintext,
            timeout=connection.timeout,
            way=connection.way,
        )
        try:
            return cls._begin(account, stream, credential, token, connection)
        except BaseException:
            stream.close()
            raise

    @classmethod
    @abstractmethod
    def _begin(
        cls,
        account: Account,
        stream: Stream,
        credential: Credential,
        token: Token | None,
        connection: Connection,
    ) -> Self:
        """Greet the server and sign in; ``token`` is the one to use, None with a password."""

    @abstractmethod
    def close(self) -> None:
        """Say goodbye and close; an answer is not insisted on."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.drop()

    def drop(self) -> None:
        """Close without a word: the connection is broken, or its state unknown."""
        self._stream.close()

    def cut(self) -> None:
        """Break the connection, from any thread: whoever waits for an answer shall not."""
        self._stream.cut()

    @property
    def must_renew(self) -> bool:
        """Whether the token is about to expire: time for a new connection between two messages."""
        if self._source is None or self._token is None:
            return False
        return self._source.must_renew(self._token)
