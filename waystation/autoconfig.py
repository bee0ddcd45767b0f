"""Thunderbird's autoconfig: the servers that an XML file of a domain names.

The file comes from outside. No document type is taken, and so no entity can be declared; a file
has a largest size (``LARGEST``); of what it holds only hosts, ports and names are used. Format:
"Autoconfig: file format" (Thunderbird), draft-ietf-mailmaint-autoconfig.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

from waystation.errors import WaystationError

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST = 256 * 1024
"""Octets of a file; the largest in Thunderbird's database has about 10,000."""
_LONGEST = 1000
"""Characters of a value, and levels of elements."""
_SCHEMES = {
    ("imap", "SSL"): "imaps",
    ("imap", "STARTTLS"): "imap",
    ("pop3", "SSL"): "pop3s",
    ("pop3", "STARTTLS"): "pop3",
}
"""``plain`` is left out: no password goes over an open line."""
_BY_PASSWORD = frozenset({"password-cleartext", "plain", "password-encrypted", "secure"})


class UnreadableError(WaystationError):
    """The file is no autoconfig, or more than that."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A server for incoming mail that a file names."""

    scheme: str
    """``imaps``, ``imap`` (STARTTLS), ``pop3s`` or ``pop3`` (STLS)."""
    host: str
    port: int
    user: str
    takes_password: bool


def incoming(text: bytes, address: str) -> list[Offer]:
    """Return the encrypted servers that a file names for an address: IMAP first, TLS first.

    Raises:
        UnreadableError: it is no well-formed XML, or holds what no such file has to.
    """
    if len(text) > LARGEST:
        raise UnreadableError("it is too large")
    local, _, domain = address.rpartition("@")
    words = {
        "%EMAILADDRESS%": address,
        "%EMAILLOCALPART%": local,
        "%EMAILDOMAIN%": domain,
    }
    offers = [_offer(server, words) for server in _Reader().servers(text)]
    order = list(_SCHEMES.values())
    return sorted(filter(None, offers), key=lambda offer: order.index(offer.scheme))


def _offer(server: _Server, words: Mapping[str, str]) -> Offer | None:
    values = {name: _filled(value, words) for name, value in server.values.items()}
    scheme = _SCHEMES.get((server.kind, values.get("socketType", "")))
    host, port = values.get("hostname", "").lower(), values.get("port", "")
    if scheme is None or not host or not (port.isascii() and port.isdigit() and len(port) < 6):
        return None
    user = values.get("username", words["%EMAILADDRESS%"])
    return Offer(scheme, host, int(port), user, bool(server.authentication & _BY_PASSWORD))


def _filled(value: str, words: Mapping[str, str]) -> str:
    for word, meant in words.items():
        value = value.replace(word, meant)
    return value


@dataclass(slots=True)
class _Server:
    kind: str
    values: dict[str, str] = field(default_factory=dict)
    authentication: set[str] = field(default_factory=set)


class _Reader:
    """Reads a file by expat, with nothing on that could reach out or grow."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._text = ""
        self._server: _Server | None = None
        self._found: list[_Server] = []

    def servers(self, text: bytes) -> list[_Server]:
        parser = expat.ParserCreate()
        # Without a document type there are no entities: neither bombs nor files of this machine.
        parser.StartDoctypeDeclHandler = _refuse
        parser.EntityDeclHandler = _refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        try:
            parser.Parse(text, True)
        except (expat.ExpatError, ValueError, LookupError) as error:  # also unknown encodings
            raise UnreadableError(str(error)) from None
        return self._found

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._path.append(name)
        if len(self._path) > _LONGEST:
            raise UnreadableError("it is nested too deep")
        self._text = ""
        if self._path == ["clientConfig", "emailProvider", "incomingServer"]:
            self._server = _Server(attributes.get("type", ""))

    def _end(self, name: str) -> None:
        self._path.pop()
        server = self._server
        if server is None:
            return
        if name == "incomingServer":
            self._found.append(server)
            self._server = None
        elif self._path[-1] == "incomingServer":
            if name == "authentication":
                server.authentication.add(self._text.strip())
            else:
                server.values.setdefault(name, self._text.strip())

    def _characters(self, text: str) -> None:
        if self._server is not None and len(self._text) < _LONGEST:
            self._text += text[:_LONGEST]


def _refuse(*_: object) -> NoReturn:
    raise UnreadableError("it declares a document type")
