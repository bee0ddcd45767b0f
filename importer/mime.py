"""The decoded leaves of a message, known by their sha256, from octets that come piece by piece.

A server that keeps properties and not octets makes the MIME anew when it hands a message out: other
boundaries, other transfer encodings, other part headers. What is left are the decoded texts and
attachments. Any octets have an answer, the same one however they are cut into pieces, and some
hundred KB are held at the most.
"""

from __future__ import annotations

import codecs
import hashlib
import re
import unicodedata
from binascii import a2b_base64, a2b_qp
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import unquote_to_bytes

from store.headers import codec_of, decoded

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = 64 * 1024
_LONGEST_HEADER = 64 * 1024
_LONGEST_DELIMITER = 1000
"""Octets of a line that is looked at; RFC 2046 section 5.1.1 allows 70 for a boundary."""
_DEEPEST = 8
"""Messages in messages; what lies deeper is taken as it is."""
_MOST_MULTIPARTS = 100
_COMPOSED_AT_ONCE = 1024
"""Characters at a block's end among which one of ASCII is looked for, to cut the text there."""
_MOST_LEAVES = 10_000


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text or an attachment."""

    kind: Literal["text", "attachment"]
    name: str
    """The media type of a text; the file name of an attachment, or nothing."""
    sha256: str
    """Of the text in UTF-8, NFC, each run of white space taken as one space, none at the ends; of
    an attachment's octets, with CRLF as line end where the encoding knows lines."""
    size: int
    """Octets of what was hashed."""
    is_alternative: bool = False
    """Whether it is one of several ways to say the same (multipart/alternative)."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a message consists of, in order."""

    leaves: tuple[Leaf, ...]
    """After the first 10,000 one more stands for all others."""


class MimeDigest:
    """Takes a message piece by piece; also a ``Body`` for the wire."""

    def __init__(self, _size: int = 0, *, depth: int = 0) -> None:
        self._leaves = _Leaves()
        self._pending = bytearray()
        self._message = _Message(self._leaves, depth)
        self._likeness: Likeness | None = None

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

    def discard(self) -> None:
        """Nothing is kept anywhere."""

    @property
    def likeness(self) -> Likeness:
        """What was written, which ends the message."""
        if self._likeness is None:
            self._message.write(bytes(self._pending))
            self._pending.clear()
            self._message.close()
            self._likeness = Likeness(self._leaves.all)
        return self._likeness


class _Leaves:
    def __init__(self) -> None:
        self._first: list[Leaf] = []
        self._others = 0
        self._rolling = hashlib.sha256()

    def add(self, leaf: Leaf) -> None:
        if len(self._first) < _MOST_LEAVES:
            self._first.append(leaf)
            return
        self._others += 1
        self._rolling.update(f"{leaf.kind} {leaf.sha256}\n".encode())

    @property
    def all(self) -> tuple[Leaf, ...]:
        if not self._others:
            return tuple(self._first)
        sha256 = self._rolling.hexdigest()
        return (*self._first, Leaf("attachment", "all other parts", sha256, self._others))


class _Sink(Protocol):
    """Takes the encoded body of a part."""

    def write(self, octets: bytes) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Multipart:
    delimiter: bytes
    subtype: str
    preamble: _Sink | None
    """Becomes a text if no part ever begins."""


class _Message:
    """Cuts a message into its parts."""

    def __init__(self, leaves: _Leaves, depth: int) -> None:
        self._leaves = leaves
        self._depth = depth
        self._multiparts: list[_Multipart] = []
        self._head: _Head | None = _Head()
        self._sink: _Sink | None = None
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
        part = head.part("message/rfc822" if enclosing == "digest" else "text/plain")
        self._is_at_line_start, self._line_end = True, b""
        main, _, subtype = part.media_type.partition("/")
        if main == "multipart" and part.boundary and len(self._multiparts) < _MOST_MULTIPARTS:
            delimiter = b"--" + part.boundary
            preamble = _decoder("", _Text(self._leaves, "text/plain", "", is_alternative=False))
            self._multiparts.append(_Multipart(delimiter, subtype, preamble))
            self._look_for_delimiters()
            self._sink = None
            return
        is_alternative = enclosing == "alternative"
        content: _Sink
        if part.media_type in _MESSAGES and self._depth < _DEEPEST:
            content = _Nested(self._leaves, self._depth + 1)
        elif main in ("text", "multipart") and not part.is_attachment:
            media_type = part.media_type if main == "text" else "text/plain"
            content = _Text(self._leaves, media_type, part.charset, is_alternative=is_alternative)
        else:
            content = _Attachment(self._leaves, part.file_name, is_alternative=is_alternative)
            if part.encoding != "base64":
                content = _Crlf(content)
        self._sink = _decoder(part.encoding, content)

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
class _Part:
    media_type: str
    boundary: bytes
    charset: str
    encoding: str
    file_name: str
    is_attachment: bool


class _Head:
    """The header of a part, the beginning of it if it is too long."""

    def __init__(self) -> None:
        self._octets = bytearray()

    def add(self, octets: bytes) -> None:
        self._octets += octets[: _LONGEST_HEADER - len(self._octets)]

    def part(self, default: str) -> _Part:
        fields = fields_of(bytes(self._octets))
        value, type_parameters = _parameters(fields.get(b"content-type", b""))
        disposition, parameters = _parameters(fields.get(b"content-disposition", b""))
        encoding = fields.get(b"content-transfer-encoding", b"").strip().lower()
        file_name = parameters.get("filename") or type_parameters.get("name") or ""
        return _Part(
            media_type=value if _MEDIA_TYPE.fullmatch(value) else default,
            boundary=type_parameters.get("boundary", "").encode("latin-1", "replace").rstrip(),
            charset=type_parameters.get("charset", "").strip().lower(),
            encoding=encoding.decode("latin-1"),
            file_name=" ".join(file_name.split()),
            is_attachment=disposition == "attachment" or bool(file_name),
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

    def __init__(self, leaves: _Leaves, depth: int) -> None:
        self._leaves = leaves
        self._digest = MimeDigest(depth=depth)

    def write(self, octets: bytes) -> None:
        self._digest.write(octets)

    def close(self) -> None:
        for leaf in self._digest.likeness.leaves:
            self._leaves.add(leaf)


class _Attachment:
    def __init__(self, leaves: _Leaves, name: str, *, is_alternative: bool) -> None:
        self._leaves = leaves
        self._name = name
        self._is_alternative = is_alternative
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, octets: bytes) -> None:
        self._hash.update(octets)
        self._size += len(octets)

    def close(self) -> None:
        sha256 = self._hash.hexdigest()
        self._leaves.add(Leaf("attachment", self._name, sha256, self._size, self._is_alternative))


class _Text:
    def __init__(
        self, leaves: _Leaves, media_type: str, charset: str, *, is_alternative: bool
    ) -> None:
        self._leaves = leaves
        self._media_type = media_type
        self._is_alternative = is_alternative
        self._codec = _text_codec(charset)
        self._decoder = self._codec()
        self._uncomposed = ""
        self._has_words = False
        self._is_in_word = False
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, octets: bytes) -> None:
        self._take(self._decode(octets), is_last=False)

    def close(self) -> None:
        self._take(self._decode(b"", is_last=True), is_last=True)
        sha256 = self._hash.hexdigest()
        self._leaves.add(Leaf("text", self._media_type, sha256, self._size, self._is_alternative))

    def _decode(self, octets: bytes, *, is_last: bool = False) -> str:
        try:
            return self._decoder.decode(octets, is_last)
        except ValueError:  # some codecs fail in spite of errors="replace"
            self._decoder = self._codec()
            return octets.decode("latin-1")

    def _take(self, text: str, *, is_last: bool) -> None:
        if not text.isascii() or self._uncomposed:
            text = self._composed(text, is_last=is_last)
        words = text.split()
        if not words:
            self._is_in_word = self._is_in_word and not text
            return
        joined = " ".join(words)
        if self._has_words and (not self._is_in_word or text[0].isspace()):
            joined = " " + joined
        self._has_words = True
        self._is_in_word = not text[-1].isspace()
        octets = joined.encode("utf-8", "surrogatepass")
        self._hash.update(octets)
        self._size += len(octets)

    def _composed(self, text: str, *, is_last: bool) -> str:
        """Return the text in NFC, but for its end, which may go on."""
        if _NOT_TEXT.search(text):
            text = text.translate(_WINDOWS)
        text = self._uncomposed + text
        cut = len(text)
        if not is_last:
            # No ASCII character composes with what stands before it.
            found = _LAST_ASCII.search(text, max(0, cut - _COMPOSED_AT_ONCE))
            cut = found.start() if found else cut
        self._uncomposed = text[cut:]
        return unicodedata.normalize("NFC", text[:cut])


def _text_codec(charset: str) -> Callable[[], codecs.IncrementalDecoder]:
    """Return what decodes a charset; UTF-8, and Windows where that fails, if it is not known."""
    codec = codec_of(charset) if charset else None
    try:
        if codec is not None and codec not in _UNBOUNDED:
            b"a".decode(codec, "replace")  # refuses what makes no text
            errors = "surrogateescape" if codec == "utf-8" else "replace"
            return partial(codecs.getincrementaldecoder(codec), errors)
    except (LookupError, ValueError):
        pass
    return partial(codecs.getincrementaldecoder("utf-8"), "surrogateescape")


def _decoder(encoding: str, content: _Sink) -> _Sink:
    """Return what undoes a Content-Transfer-Encoding (RFC 2045 section 6)."""
    match encoding:
        case "base64":
            return _Base64(content)
        case "quoted-printable":
            return _QuotedPrintable(content)
        case _:
            return content


class _Crlf:
    """Makes every line end CRLF, as on the wire."""

    def __init__(self, content: _Sink) -> None:
        self._content = content
        self._held = b""

    def write(self, octets: bytes) -> None:
        octets = self._held + octets
        self._held = b"\r" if octets.endswith(b"\r") else b""
        octets = octets[: len(octets) - len(self._held)]
        self._content.write(octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    def close(self) -> None:
        self._content.write(self._held)
        self._content.close()


class _Base64:
    def __init__(self, content: _Sink) -> None:
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
    def __init__(self, content: _Sink) -> None:
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

_UNBOUNDED = frozenset({"utf-7"})
"""Their decoders hold a shifted run whole, however long it is."""

_MEDIA_TYPE = re.compile(r"[!-.0-~]+/[!-.0-~]+")

_FOLD = re.compile(rb"[\r\n]+")

_PARAMETER = re.compile(r';\s*([^\s=;"]{1,80})\s*=\s*("(?:[^"\\]|\\.)*"?|[^;]*)')

_NOT_BASE64 = bytes(
    octet
    for octet in range(256)
    if octet not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
)

_LAST_ASCII = re.compile(r"[\0-\x7f][^\0-\x7f]*\Z")

_NOT_TEXT = re.compile("[\x80-\x9f\ufeff\udc80-\udcff]")

# What is no UTF-8 is taken as Windows text, and so are the controls of ISO-8859-1 that no mail
# means. A byte order mark is no text.
_WINDOWS: dict[int, int | None] = {0xFEFF: None}
for _octet in range(0x80, 0x100):
    _as_windows = ord(bytes([_octet]).decode("cp1252", "ignore") or chr(_octet))
    _WINDOWS[0xDC00 + _octet] = _as_windows
    if _octet < 0xA0:
        _WINDOWS[_octet] = _as_windows
