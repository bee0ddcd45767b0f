"""The parts of a message, decoded, from octets that come piece by piece.

Any octets have an answer, the same one however they are cut into pieces: what is broken is read as
mail programs read it, and nothing raises. Some hundred KB are held at the most, however large the
message or a part of it is.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, a2b_qp
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes

from store.headers import codec_of, decoded

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

_BLOCK = 64 * 1024
_LONGEST_HEADER = 64 * 1024
_LONGEST_DELIMITER = 1000
"""Octets of a line that is looked at; RFC 2046 section 5.1.1 allows 70 for a boundary."""
_DEEPEST = 8
"""Messages in messages; what lies deeper is taken as it is."""
_MOST_MULTIPARTS = 100


@dataclass(frozen=True, slots=True)
class Part:
    """A leaf of a message, or a message that is a part of it."""

    number: str
    """Such as ``2.1``, counted as IMAP counts sections (RFC 9051 section 6.4.5); with ``0`` at its
    end the text of a multipart whose parts never begin. No two parts have the same."""
    media_type: str
    """In lower case; ``text/plain`` where none is said. A multipart whose parts never begin counts
    as ``text/plain`` too."""
    charset: str
    """As said, in lower case; empty where none is: ``store.text.TextDecoder`` knows what then."""
    encoding: str
    """The Content-Transfer-Encoding, in lower case; it is undone already."""
    file_name: str
    """Decoded, on one line, else as hostile as the sender wants; empty where there is none."""
    content_id: str
    """Without angle brackets."""
    disposition: str
    """``inline``, ``attachment`` or whatever is said, in lower case."""
    multiparts: tuple[str, ...]
    """The subtypes of the multiparts of its message that it lies in, the outermost first."""
    depth: int
    """In how many messages it lies besides the whole."""

    @property
    def is_alternative(self) -> bool:
        """Whether it is one of several ways to say the same (multipart/alternative)."""
        return self.multiparts[-1:] == ("alternative",)

    @property
    def is_attachment(self) -> bool:
        """Whether it says that it is one, or has a file name."""
        return self.disposition == "attachment" or bool(self.file_name)

    @property
    def is_text(self) -> bool:
        """Whether it is a text to be read, and no attachment."""
        return self.media_type.startswith("text/") and not self.is_attachment

    @property
    def is_message(self) -> bool:
        """Whether it is a message, whose parts are told as well, unless it lies too deep."""
        return self.media_type in _MESSAGES and self.depth < _DEEPEST


class Sink(Protocol):
    """Takes the content of a part, its transfer encoding undone."""

    def write(self, octets: bytes) -> None:
        """Take the next octets; some 64 KB at the most, perhaps none."""

    def close(self) -> None:
        """The part is over. Parts of a message in it were closed before."""

    def discard(self) -> None:
        """What was written is no part after all; nothing more comes.

        Happens to the text in front of a multipart's first part, if that text is very long.
        """


class Taker(Protocol):
    """Is told of each part, in order."""

    def part(self, part: Part) -> Sink | None:
        """Return what takes the content of a part; None where nobody wants it.

        After a message (``part.is_message``) come the parts of it, wanted or not.
        """


def read_parts(file: BinaryIO, taker: Taker) -> None:
    """Tell of each part of a message in a file, read from where it stands.

    Raises:
        OSError: it cannot be read.
    """
    reader = MimeReader(taker)
    while block := file.read(_BLOCK):
        reader.write(block)
    reader.close()


class MimeReader:
    """Takes a message piece by piece and tells of its parts."""

    def __init__(self, taker: Taker) -> None:
        self._pending = bytearray()
        self._message = _Message(taker, "", 0)

    @classmethod
    def _inner(cls, taker: Taker, number: str, depth: int) -> MimeReader:
        reader = cls(taker)
        reader._message = _Message(taker, number, depth)
        return reader

    def write(self, piece: memoryview | bytes) -> None:
        """Take the next octets."""
        # Blocks of one size, so that the answer does not depend on the pieces.
        with memoryview(piece) as octets:
            start = 0
            while start < len(octets):
                end = start + _BLOCK - len(self._pending)
                self._pending += octets[start:end]
                start = end
                if len(self._pending) == _BLOCK:
                    block = bytes(self._pending)
                    self._pending.clear()
                    self._message.write(block)

    def close(self) -> None:
        """End the message; call it once."""
        self._message.write(bytes(self._pending))
        self._pending.clear()
        self._message.close()


class _Decoded(Protocol):
    """Takes the encoded body of a part."""

    def write(self, octets: bytes) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Multipart:
    delimiter: bytes
    subtype: str
    number: str
    """Empty: a whole message."""
    preamble: _Preamble | None
    """Becomes a text if no part ever begins."""
    parts: int = 0


class _Message:
    """Cuts a message into its parts."""

    def __init__(self, taker: Taker, number: str, depth: int) -> None:
        self._taker = taker
        self._number = number
        self._depth = depth
        self._multiparts: list[_Multipart] = []
        self._head: _Head | None = _Head()
        self._sink: _Decoded | None = None
        self._rest = b""
        self._line_end = b""
        self._is_at_line_start = True
        self._look_for_delimiters()

    def write(self, octets: bytes) -> None:
        self._rest += octets
        self._advance(is_last=False)

    def close(self) -> None:
        self._advance(is_last=True)
        if self._head is not None:
            if self._rest:
                self._head.add(self._rest)
            self._begin_body(self._head)
            self._head = None
        self._close_sink()
        while self._multiparts:
            self._pop()

    def _advance(self, *, is_last: bool) -> None:
        going = True
        while going:
            going = self._in_head() if self._head is not None else self._in_body(is_last=is_last)

    def _in_head(self) -> bool:
        """Take header lines; return whether the header is over."""
        head = self._head
        assert head is not None  # noqa: S101 - for the type checker
        start = 0
        while (end := self._rest.find(b"\n", start)) >= 0:
            line = self._rest[start : end + 1]
            starts_line, self._is_at_line_start = self._is_at_line_start, True
            start = end + 1
            if starts_line and not line.rstrip(b"\r\n"):
                self._rest = self._rest[start:]
                self._head = None
                self._begin_body(head)
                return True
            if starts_line and self._delimits(line):
                self._rest = self._rest[start:]
                self._head = None
                self._begin_body(head)  # a part that has no body at all
                self._delimited(line)
                return True
            head.add(line)
        self._rest = self._rest[start:]
        if len(self._rest) > _LONGEST_DELIMITER:
            head.add(self._rest)
            self._rest = b""
            self._is_at_line_start = False
        return False

    def _begin_body(self, head: _Head) -> None:
        enclosing = self._multiparts[-1].subtype if self._multiparts else ""
        fields = head.fields("message/rfc822" if enclosing == "digest" else "text/plain")
        self._is_at_line_start, self._line_end = True, b""
        main, _, subtype = fields.media_type.partition("/")
        if main == "multipart" and fields.boundary and len(self._multiparts) < _MOST_MULTIPARTS:
            number = self._next_number(is_multipart=True)
            # What has no parts is no alternative of anything.
            path = (*(multipart.subtype for multipart in self._multiparts), "mixed")
            own = _joined_number(number, 0)
            text = Part(own, "text/plain", "", "", "", "", "", path, self._depth)
            preamble = _Preamble(partial(self._taker.part, text))
            self._multiparts.append(_Multipart(b"--" + fields.boundary, subtype, number, preamble))
            self._look_for_delimiters()
            self._sink = None
            return
        is_attachment = fields.disposition == "attachment" or bool(fields.file_name)
        part = Part(
            number=self._next_number(is_multipart=False),
            media_type="text/plain"
            if main == "multipart" and not is_attachment
            else fields.media_type,
            charset=fields.charset,
            encoding=fields.encoding,
            file_name=fields.file_name,
            content_id=fields.content_id,
            disposition=fields.disposition,
            multiparts=tuple(multipart.subtype for multipart in self._multiparts),
            depth=self._depth,
        )
        content: _Decoded | None = self._taker.part(part)
        if part.is_message:
            content = _Nested(self._taker, part, content)
        self._sink = None if content is None else _decoder(part.encoding, content)

    def _next_number(self, *, is_multipart: bool) -> str:
        if self._multiparts:
            enclosing = self._multiparts[-1]
            enclosing.parts += 1
            return _joined_number(enclosing.number, enclosing.parts)
        return self._number if is_multipart else _joined_number(self._number, 1)

    def _in_body(self, *, is_last: bool) -> bool:
        """Take what belongs to the part; return whether another one begins."""
        if not self._multiparts:
            self._feed(self._rest)
            self._rest = b""
            return False
        rest = self._rest
        start = 0
        while True:
            if self._is_at_line_start and b"--".startswith(rest[start : start + 2]):
                end = rest.find(b"\n", start, start + _LONGEST_DELIMITER)
                is_short = len(rest) - start < _LONGEST_DELIMITER
                if end < 0 and is_short and not is_last:
                    self._rest = rest[start:]
                    return False
                line = rest[start : end + 1 if end >= 0 else start + _LONGEST_DELIMITER]
                if (end >= 0 or is_short) and self._delimits(line):
                    self._rest = rest[start + len(line) :]
                    self._delimited(line)
                    return True
            self._is_at_line_start = False
            delimiter = self._next_delimiter.search(rest, start)
            if delimiter is None:
                break
            found = delimiter.start()
            text_end = found - 1 if found > start and rest[found - 1] == 13 else found
            self._feed(rest[start:text_end])
            self._line_end += rest[text_end : found + 1]
            start = found + 1
            self._is_at_line_start = True
        stop = len(rest) if is_last else _end_of_text(rest, start)
        self._feed(rest[start:stop])
        self._rest = rest[stop:]
        if is_last:
            self._feed(b"")
        return False

    def _feed(self, octets: bytes) -> None:
        sink = self._sink or (self._multiparts[-1].preamble if self._multiparts else None)
        if sink is not None and (octets or self._line_end):
            sink.write(self._line_end + octets)
        self._line_end = b""

    def _delimits(self, line: bytes) -> bool:
        if not line.startswith(b"--"):
            return False
        line = line.rstrip()
        return any(line in (m.delimiter, m.delimiter + b"--") for m in self._multiparts)

    def _delimited(self, line: bytes) -> None:
        """End the part, and all that were open in it."""
        line = line.rstrip()
        self._close_sink()
        while line not in (self._multiparts[-1].delimiter, self._multiparts[-1].delimiter + b"--"):
            self._pop()
        multipart = self._multiparts[-1]
        self._line_end, self._is_at_line_start = b"", True
        if line == multipart.delimiter:
            if multipart.preamble is not None:
                multipart.preamble.discard()
                multipart.preamble = None
            self._head = _Head()
        else:
            self._pop()

    def _look_for_delimiters(self) -> None:
        delimiters = b"|".join(re.escape(multipart.delimiter) for multipart in self._multiparts)
        self._next_delimiter = re.compile(rb"\n(?:%s)" % delimiters)

    def _close_sink(self) -> None:
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    def _pop(self) -> None:
        multipart = self._multiparts.pop()
        self._look_for_delimiters()
        if multipart.preamble is not None:
            multipart.preamble.close()


def _end_of_text(octets: bytes, start: int) -> int:
    """Return where a delimiter may begin that is not all there yet, line end included."""
    line_end = octets.rfind(b"\n", max(start, len(octets) - _LONGEST_DELIMITER))
    if line_end < 0 or not b"--".startswith(octets[line_end + 1 : line_end + 3]):
        line_end = len(octets)
    return line_end - 1 if line_end > start and octets[line_end - 1] == 13 else line_end


@dataclass(frozen=True, slots=True)
class _Fields:
    media_type: str
    boundary: bytes
    charset: str
    encoding: str
    file_name: str
    content_id: str
    disposition: str


class _Head:
    """The header of a part, the beginning of it if it is too long."""

    def __init__(self) -> None:
        self._octets = bytearray()

    def add(self, octets: bytes) -> None:
        self._octets += octets[: _LONGEST_HEADER - len(self._octets)]

    def fields(self, default: str) -> _Fields:
        fields = fields_of(bytes(self._octets))
        value, type_parameters = _parameters(fields.get(b"content-type", b""))
        disposition, parameters = _parameters(fields.get(b"content-disposition", b""))
        encoding = fields.get(b"content-transfer-encoding", b"").strip().lower()
        file_name = parameters.get("filename") or type_parameters.get("name") or ""
        return _Fields(
            media_type=value if _MEDIA_TYPE.fullmatch(value) else default,
            boundary=type_parameters.get("boundary", "").encode("latin-1", "replace").rstrip(),
            charset=type_parameters.get("charset", "").strip().lower(),
            encoding=encoding.decode("latin-1"),
            file_name=" ".join(file_name.split()),
            content_id=_FOLD.sub(b"", fields.get(b"content-id", b""))
            .decode("latin-1")
            .strip()
            .removeprefix("<")
            .removesuffix(">"),
            disposition=disposition,
        )


def fields_of(head: bytes) -> dict[bytes, bytes]:
    """Return the raw values of a header by lower-case name; the first field of a name counts.

    Lines that are no field are passed over.
    """
    fields: dict[bytes, bytes] = {}
    name = b""
    for line in head.splitlines(keepends=True):
        if line[:1] in b" \t" and line.strip():
            if name:
                fields[name] += line
            continue
        if not line.strip():
            break
        found, colon, value = line.partition(b":")
        found = found.rstrip(b" \t").lower()
        name = b""
        if colon and found not in fields and not any(octet <= 32 for octet in found):
            name = found
            fields[name] = value
    return fields


def _parameters(raw: bytes) -> tuple[str, dict[str, str]]:
    """Return a value and its parameters, decoded by RFC 2231, or by RFC 2047 as many write."""
    text = _FOLD.sub(b"", raw).decode("latin-1")
    value = text.partition(";")[0].strip().lower()
    plain: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    for match in _PARAMETER.finditer(text, len(text.partition(";")[0])):
        name, given = match[1].lower(), match[2].strip()
        if given.startswith('"'):
            given = re.sub(r"\\(.)", r"\1", given[1:-1] if given.endswith('"') else given[1:])
        base, star, section = name.partition("*")
        if not star:
            plain.setdefault(name, given)
            continue
        number, _, extended = section.partition("*")
        is_extended = not section or section.endswith("*") or bool(extended)
        if not number or (number.isascii() and number.isdigit() and len(number) < 4):
            pieces.setdefault(base, {}).setdefault(int(number or 0), (given, is_extended))
    decoded_ones = {name: decoded(given.encode("latin-1")) for name, given in plain.items()}
    decoded_ones.update((name, _joined(numbered)) for name, numbered in pieces.items())
    if "boundary" in plain:
        decoded_ones["boundary"] = plain["boundary"]
    return value, decoded_ones


def _joined(numbered: dict[int, tuple[str, bool]]) -> str:
    """Return a value that came in sections (RFC 2231 section 3)."""
    charset = ""
    octets = b""
    for n, (number, (given, is_extended)) in enumerate(sorted(numbered.items())):
        if n == 0 and is_extended and given.count("'") >= 2 and number == 0:
            charset, _, given = given.split("'", 2)
        raw = given.encode("latin-1")
        octets += unquote_to_bytes(raw) if is_extended else raw
    codec = codec_of(charset.lower())
    try:
        return decoded(octets) if codec is None else octets.decode(codec, "replace")
    except (LookupError, ValueError):
        return decoded(octets)


class _Nested:
    """A message in a message."""

    def __init__(self, taker: Taker, part: Part, whole: _Decoded | None) -> None:
        self._whole = whole
        self._reader = MimeReader._inner(taker, part.number, part.depth + 1)

    def write(self, octets: bytes) -> None:
        if self._whole is not None:
            self._whole.write(octets)
        self._reader.write(octets)

    def close(self) -> None:
        self._reader.close()
        if self._whole is not None:
            self._whole.close()


class _Preamble:
    """The text in front of a multipart's parts, which is a part only if none ever comes."""

    def __init__(self, begin: Callable[[], Sink | None]) -> None:
        self._begin = begin
        self._held: list[bytes] | None = []
        self._size = 0
        self._sink: Sink | None = None

    def write(self, octets: bytes) -> None:
        if self._held is not None:
            self._held.append(octets)
            self._size += len(octets)
            if self._size > _BLOCK:
                self._open()
        elif self._sink is not None:
            self._sink.write(octets)

    def close(self) -> None:
        self._open()
        if self._sink is not None:
            self._sink.close()

    def discard(self) -> None:
        self._held = None
        if self._sink is not None:
            self._sink.discard()

    def _open(self) -> None:
        if self._held is not None:
            self._sink = self._begin()
            held, self._held = self._held, None
            for octets in held:
                self.write(octets)


def _joined_number(number: str, count: int) -> str:
    return f"{number}.{count}" if number else str(count)


def _decoder(encoding: str, content: _Decoded) -> _Decoded:
    """Return what undoes a Content-Transfer-Encoding (RFC 2045 section 6)."""
    match encoding:
        case "base64":
            return _Base64(content)
        case "quoted-printable":
            return _QuotedPrintable(content)
        case _:
            return content


class _Base64:
    def __init__(self, content: _Decoded) -> None:
        self._content = content
        self._rest = b""

    def write(self, octets: bytes) -> None:
        digits = self._rest + octets.translate(None, _NOT_BASE64)
        if b"=" in digits:  # the end, or two that were joined
            *ended, digits = digits.split(b"=")
            for each in ended:
                self._flush(each)
        whole = len(digits) - len(digits) % 4
        self._rest = digits[whole:]
        self._content.write(a2b_base64(digits[:whole]))

    def close(self) -> None:
        self._flush(self._rest)
        self._content.close()

    def _flush(self, digits: bytes) -> None:
        if len(digits) % 4 == 1:
            digits = digits[:-1]
        self._content.write(a2b_base64(digits + b"=" * (-len(digits) % 4)))


class _QuotedPrintable:
    def __init__(self, content: _Decoded) -> None:
        self._content = content
        self._rest = b""

    def write(self, octets: bytes) -> None:
        octets = self._rest + octets
        end = octets.rfind(b"\n") + 1
        if not end and len(octets) > _BLOCK:
            # An endless line is cut where no escape stands.
            places = range(len(octets), len(octets) - 8, -1)
            end = next((n for n in places if b"=" not in octets[n - 2 : n]), len(octets))
        self._rest = octets[end:]
        self._content.write(a2b_qp(octets[:end]))

    def close(self) -> None:
        self._content.write(a2b_qp(self._rest))
        self._content.close()


_MESSAGES = frozenset({"message/rfc822", "message/global"})

_MEDIA_TYPE = re.compile(r"[!-.0-~]+/[!-.0-~]+")

_FOLD = re.compile(rb"[\r\n]+")

_PARAMETER = re.compile(r';\s*([^\s=;"]{1,80})\s*=\s*("(?:[^"\\]|\\.)*"?|[^;]*)')

_NOT_BASE64 = bytes(
    octet
    for octet in range(256)
    if octet not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
)
