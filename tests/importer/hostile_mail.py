"""Messages that break strict servers, and ways to look at what became of one."""

from __future__ import annotations

import email
import io
import re
from email import policy
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from importer.inspection import Inspection, inspect
from importer.repair import Limits, Step, repaired

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import Message

    from store.transfers import Repair

TIGHT = Limits(longest_line=500)
"""Lines that are too long are short enough here to be made by the thousand."""

HEAD = (
    b"From: Anna <a@example.org>\r\nTo: b@example.org\r\nSubject: Hello\r\n"
    b"Date: Mon, 1 Jan 2001 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n"
)


def look(message: bytes) -> Inspection:
    return inspect(io.BytesIO(message))


def mend(message: bytes, *steps: Step, limits: Limits = TIGHT) -> tuple[bytes, tuple[Repair, ...]]:
    with repaired(io.BytesIO(message), steps, limits) as (file, size, repairs):
        assert file.tell() == 0
        mended = file.read()
        assert len(mended) == size
        return mended, repairs


def leaves(message: bytes) -> list[tuple[str, bytes]]:
    """Return type and decoded octets of each part, as Python's own parser sees them."""
    parsed: Message = email.message_from_bytes(message, policy=policy.compat32)
    found: list[tuple[str, bytes]] = []
    for part in parsed.walk():
        if part.is_multipart():
            continue
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        found.append((part.get_content_type(), payload))
    return found


def around(message: bytes) -> list[str | None]:
    """Return the texts before and after the parts."""
    parsed = email.message_from_bytes(message, policy=policy.compat32)
    return [text for part in parsed.walk() for text in (part.preamble, part.epilogue)]


def unfolded(message: bytes, name: str) -> str:
    value = email.message_from_bytes(message, policy=policy.compat32)[name]
    return re.sub(r"[\r\n]+[ \t]", " ", value)


# Mail that is well-formed but for long lines, NUL and octets beyond ASCII

_words = st.sampled_from(
    [b"word ", b"=", b"=3D", b"--", b"-", b".", b"From ", b"\t", b"  ", b"\xc3\xa4", b"\xff", b"x"]
)
_long = st.builds(
    lambda word, count: word * count,
    st.sampled_from([b"x", b"word ", b"\xc3\xa4", b"a=", b"\xfe\xff", b"-", b" ", b"--x-", b"=41"]),
    st.integers(200, 1500),
)
_line = st.one_of(
    st.lists(_words, max_size=6).map(b"".join),
    _long,
    st.just(b"a\0b"),
    st.binary(max_size=30).map(lambda octets: octets.replace(b"\r", b"").replace(b"\n", b"")),
)
_text = st.lists(_line, max_size=6).map(b"\r\n".join)


def _as_base64(octets: bytes, *, is_wrapped: bool) -> bytes:
    import base64

    encoded = base64.b64encode(octets)
    if not is_wrapped:
        return encoded
    return b"\r\n".join(encoded[n : n + 76] for n in range(0, len(encoded), 76))


def _leaf(kind: bytes, encoding: bytes, text: bytes, *, is_wrapped: bool) -> bytes:
    fields = [b"Content-Type: " + kind] if kind else []
    if encoding:
        fields.append(b"Content-Transfer-Encoding: " + encoding)
    if encoding == b"base64":
        text = _as_base64(text, is_wrapped=is_wrapped)
    elif encoding == b"quoted-printable":
        octets = re.sub(rb"[^ -<>-~\r\n]", lambda match: b"=%02X" % match[0][0], text)
        text = re.sub(rb"[ \t]+(?=\r|\Z)", b"", octets)
    return b"".join(field + b"\r\n" for field in fields) + b"\r\n" + text


_leaves = st.builds(
    _leaf,
    st.sampled_from(
        [b"", b"text/plain; charset=utf-8", b"text/html", b"application/pdf", b"image/png"]
    ),
    st.sampled_from([b"", b"7bit", b"8BIT", b"binary", b"base64", b"quoted-printable"]),
    _text,
    is_wrapped=st.booleans(),
)


def _multipart(parts: Sequence[bytes], kind: bytes, preamble: bytes, *, depth: int) -> bytes:
    boundary = b"=_%d_%d" % (depth, len(parts))
    delimiter = b"\r\n--" + boundary
    return (
        b"Content-Type: multipart/"
        + kind
        + b'; boundary="'
        + boundary
        + b'"\r\n\r\n'
        + preamble
        + b"".join(delimiter + b"\r\n" + part for part in parts)
        + delimiter
        + b"--\r\n"
    )


def _message(part: bytes) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n" + part


_entities = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(
            _multipart,
            st.lists(inner, min_size=1, max_size=3),
            st.sampled_from([b"mixed", b"alternative", b"related"]),
            st.sampled_from([b"", b"This is MIME."]),
            depth=st.integers(0, 10**9),
        ),
        st.builds(_message, inner),
    ),
    max_leaves=5,
)

_fields = st.lists(
    st.one_of(
        st.builds(lambda word, n: b"X-Long: " + word * n + b"\r\n", _words, st.integers(1, 900)),
        st.builds(
            lambda n: b"References:" + b" <some.message.id@example.org>" * n + b"\r\n",
            st.integers(1, 60),
        ),
        st.just(b"Disposition-Notification-To: a@example.org\r\n"),
    ),
    max_size=3,
).map(b"".join)

well_formed = st.builds(
    lambda fields, entity: HEAD + fields + entity + (b"" if entity.endswith(b"\n") else b"\r\n"),
    _fields,
    _entities,
)

# Octets of any kind, from what readers of mail give a meaning to

_tokens = st.sampled_from(
    [
        b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b"\xe4", b" ", b"\t", b":", b"=", b"--",
        b"--x", b"--x--", b"--y", b"--y--", b"From a@b Mon Jan  1 00:00:00 2001", b"no colon here",
        b"Subject: ", b"Subject: x\r\n", b"From: \"J\xfcrgen\" <j@x>\r\n", b"To: \xc3\xa4 <b@x>, ",
        b"Content-Type: multipart/mixed; boundary=x\r\n", b"Content-Type: message/rfc822\r\n",
        b"Content-Type: multipart/digest; boundary=\"y\"\r\n", b"Content-Type: text/html\r\n",
        b"Content-Type: multipart/report; report-type=disposition-notification; boundary=x\r\n",
        b"Content-Type: message/disposition-notification\r\n", b"Content-Type: multipart/mixed\r\n",
        b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: foo\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n", b"=?x-none?b?////?=", b"=?utf-8?q?a?=",
        b"Disposition-Notification-To: x@y\r\n", b"Return-receipt-to : x@y\r\n",
        b"Date: 99 Foo 99999 99:99:99 +9999\r\n", b"Received: x; 1 Jan 0000 00:00:00 -9999\r\n",
        b"x" * 600, b"word " * 200, b" " * 700, b"=41" * 300, b"," * 700, b"\xc3\xa4" * 300,
        b"=?utf-8?q?" + b"a" * 60 + b"?=", b"\r" * 3, b"-----BEGIN PGP MESSAGE-----",
    ]
)  # fmt: skip
anything = st.lists(_tokens, max_size=25).map(b"".join)
