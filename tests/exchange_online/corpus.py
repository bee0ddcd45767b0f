"""Mail that Exchange Online takes badly, each kind by name, and ordinary mail by the thousand.

All of it is fixed by the seed. Folder names are as a source has them: texts whose levels are a
tuple, so that a name may hold the separator.
"""

from __future__ import annotations

import base64
import quopri
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WHEN = datetime(2021, 5, 4, 12, 0, 0, tzinfo=UTC)
INBOX = ("INBOX",)

ODD_FOLDERS: tuple[tuple[str, ...], ...] = (
    ("Calendar",),
    ("calendar",),
    ("Calendar", "Birthdays"),
    ("Contacts",),
    ("Notes",),
    ("Files",),
    ("Tasks",),
    ("Journal",),
    ("Outbox",),
    ("Sync Issues",),
    ("Sync Issues", "Conflicts"),
    ("Conversation History",),
    ("RSS Feeds",),
    ("Recoverable Items",),
    ("Work", "Files"),
    ("Work", "Calendar"),
    ("either/or",),
    ("back\\slash",),
    ('quo"te',),
    ("star*",),
    ("100%",),
    ("#hash",),
    ("bell\x07",),
    ("tab\there",),
    ("trailing blank ",),
    (" leading blank",),
    ("trailing dot.",),
    ("...",),
    ("Case",),
    ("CASE",),
    ("case",),
    ("Case", "Below"),
    ("CASE", "below"),
    ("trash",),
    ("deleted items",),
    ("n" * 300,),
    ("ü" * 260,),
    tuple(f"level {number}" for number in range(1, 41)),
    ("emoji 📬",),
    ("family 👨\u200d👩\u200d👧",),
    ("rtl \u202eaudit\u202c",),
    ("שלום",),
    ("e\u0301 composed",),
    ("\u00e9 composed",),
    ("A & B",),
    ("&AOQ-",),
    ("either_or",),
    ("NIL",),
    ("{12}",),
)
"""Names that must be changed, or must not fall together, on the way."""


@dataclass(frozen=True, slots=True)
class Specimen:
    """A message, what a source knows of it, and what is bad about it."""

    name: str
    octets: bytes = field(repr=False)
    folder: tuple[str, ...] = INBOX
    flags: tuple[str, ...] = ("\\Seen",)
    keywords: tuple[str, ...] = ()
    internaldate: datetime | None = WHEN


def hostile_messages(seed: int, *, limit: int | None = None) -> Iterator[Specimen]:
    """Yield each kind of hostile message at least once; another seed has other words and keys.

    With ``limit`` there is one message that is larger by an octet, and one that just fits.
    """
    make = _Maker(seed)
    yield from _long_lines(make)
    yield from _broken_octets(make)
    yield from _nested(make)
    yield from _receipts(make)
    yield from _sizes_and_shapes(make)
    yield from _identities(make)
    yield from _dates(make)
    yield from _flags(make)
    yield from _signed(make)
    yield from _encodings(make)
    yield from _folders(make)
    if limit is not None:
        for name, size in (("just within the limit", limit), ("over the limit", limit + 1)):
            octets = make.head(name) + b"\r\n"
            octets += (b"f" * 74 + b"\r\n") * ((size - len(octets)) // 76)
            yield Specimen(name, octets + b"g" * (size - len(octets)))


def ordinary_messages(seed: int, count: int, *, typical_size: int = 3000) -> Iterator[Specimen]:
    """Yield everyday mail: text, HTML, attachments, a few folders, most of it read."""
    make = _Maker(seed)
    rng = make.rng
    folders = (INBOX, INBOX, INBOX, ("Sent",), ("Archive", "2021"), ("Projekte", "Größe"))
    for number in range(count):
        size = max(100, int(rng.lognormvariate(0, 0.8) * typical_size))
        kind = rng.random()
        when = WHEN + timedelta(minutes=rng.randrange(3_000_000))
        head = make.head(f"Ordinary {number}", when)
        if kind < 0.5:
            octets = head + _plain(make.text(size))
        elif kind < 0.75:
            octets = head + make.alternative(make.text(size))
        else:
            octets = head + make.mixed(
                [_plain(make.text(size // 2)), make.attachment(rng.randbytes(size // 2))]
            )
        flags = tuple(
            flag
            for flag, chance in (("\\Seen", 0.8), ("\\Answered", 0.2), ("\\Flagged", 0.05))
            if rng.random() < chance
        )
        yield Specimen(f"ordinary {number}", octets, rng.choice(folders), flags, (), when)


class _Maker:
    """Makes the pieces of messages; counts, so that no two are alike by accident."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"exchange {seed}")
        self._seed = seed
        self._number = 0
        words = b"the minutes of our meeting say that nobody knows when mail moves".split()
        self._lines = [b" ".join(self.rng.choices(words, k=12)) + b"\r\n" for _ in range(500)]

    def key(self) -> str:
        """Return a word that no other message of this seed has."""
        self._number += 1
        return f"{self._seed}.{self._number}.{self.rng.getrandbits(32):08x}"

    def head(self, subject: str, when: datetime | None = WHEN, *, extra: bytes = b"") -> bytes:
        """Return header fields, the empty line not yet."""
        lines = [
            b"Received: from mx.example.org by imap.example.org; Tue, 4 May 2021 12:00:01 +0000",
            b"X-Mailer: example 1.0",
            b"Message-ID: <%b@example.org>" % self.key().encode(),
            b"From: Ann Example <ann@example.org>",
            b"To: Bob <bob@example.org>",
            b"Subject: " + subject.encode(),
        ]
        if when is not None:
            lines.append(b"Date: " + format_datetime(when).encode())
        return b"\r\n".join(lines) + b"\r\n" + extra

    def text(self, size: int) -> bytes:
        """Return lines of words, of about so many octets."""
        out = bytearray()
        while len(out) < size:
            out += self.rng.choice(self._lines)
        return bytes(out)

    def mixed(self, parts: list[bytes], kind: bytes = b"mixed", extra: bytes = b"") -> bytes:
        """Return Content-Type, the empty line, and parts; ends a header."""
        boundary = b"=_" + self.key().encode()
        start = b'MIME-Version: 1.0\r\nContent-Type: multipart/%b;%b\r\n boundary="%b"\r\n\r\n'
        out = start % (kind, extra, boundary)
        for part in parts:
            out += b"--" + boundary + b"\r\n" + part + b"\r\n"
        return out + b"--" + boundary + b"--\r\n"

    def alternative(self, text: bytes) -> bytes:
        """Return the same text as plain text and as HTML."""
        html = b"<html><body><p>" + text.replace(b"\r\n", b"<br>\r\n") + b"</p></body></html>\r\n"
        return self.mixed([_plain(text), _typed(b"text/html; charset=utf-8", html)], b"alternative")

    def attachment(self, octets: bytes, width: int = 76) -> bytes:
        """Return a part with a file in it."""
        packed = base64.b64encode(octets)
        lines = [packed[at : at + width] for at in range(0, len(packed), width)]
        return (
            b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
            b'Content-Disposition: attachment; filename="data.bin"\r\n\r\n' + b"\r\n".join(lines)
        )


def _plain(text: bytes) -> bytes:
    return _typed(b"text/plain; charset=utf-8", text)


def _typed(kind: bytes, body: bytes, encoding: bytes = b"8bit") -> bytes:
    return b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (kind, encoding, body)


def _long_lines(make: _Maker) -> Iterator[Specimen]:
    for octets in (998, 9_899, 9_900, 9_901, 10_238, 10_239, 10_240, 10_241, 60_000):
        line = b"w" * octets + b"\r\nand more\r\nof it\r\n"
        yield Specimen(f"body line of {octets}", make.head("long line") + _plain(line))
    words = b"word " * 3000
    yield Specimen("body line of words", make.head("long words") + _plain(words + b"\r\n"))
    yield Specimen(
        "long header of words",
        make.head("x", extra=b"References: " + b" <a.b@example.org>" * 900 + b"\r\n")
        + _plain(b"x\r\n"),
    )
    yield Specimen(
        "long header without blanks",
        make.head("x", extra=b"X-Blob: " + b"z" * 12_000 + b"\r\n") + _plain(b"x\r\n"),
    )
    yield Specimen("long subject", make.head("s" * 11_000) + _plain(b"x\r\n"))
    data = make.rng.randbytes(30_000)
    yield Specimen(
        "base64 on one line",
        make.head("one line") + make.mixed([_plain(b"x"), make.attachment(data, 10**6)]),
    )
    html = b"<html>" + b"<td>cell</td>" * 2000 + b"</html>\r\n"
    yield Specimen("html on one line", make.head("html") + _typed(b"text/html", html))
    quoted = quopri.encodestring("ä".encode() * 4000).replace(b"=\n", b"") + b"\r\n"
    yield Specimen(
        "quoted-printable on one line",
        make.head("qp") + _typed(b"text/plain; charset=utf-8", quoted, b"quoted-printable"),
    )
    yield Specimen(
        "long line in a nested message",
        make.head("nested long")
        + make.mixed([b"Content-Type: message/rfc822\r\n\r\nSubject: i\r\n\r\n" + b"n" * 11_000]),
    )
    yield Specimen("long line without an end", make.head("end") + b"\r\n" + b"e" * 10_500)


def _broken_octets(make: _Maker) -> Iterator[Specimen]:
    head = make.head
    yield Specimen("NUL in the body", head("nul") + b"\r\na\0b\r\n")
    yield Specimen("NUL in the header", head("n\0l") + b"\r\nx\r\n")
    yield Specimen("NUL in base64", head("nul") + _typed(b"text/plain", b"YWJj\0\r\n", b"base64"))
    yield Specimen("bare CR in the body", head("cr") + b"\r\nold\rmac\rlines\r\n")
    yield Specimen("bare CR in the header", head("c\rr") + b"\r\nx\r\n")
    yield Specimen("bare LF", head("lf").replace(b"\r\n", b"\n") + b"\nunix\nlines\n")
    yield Specimen("mixed line ends", head("mixed") + b"\r\none\ntwo\r\nthree\rfour\r\n")
    yield Specimen("CR CR LF", head("crcrlf") + b"\r\none\r\r\ntwo\r\n")
    yield Specimen("no final line end", head("open") + b"\r\nthe end")
    yield Specimen("ends with CR", head("cr") + b"\r\nthe end\r")
    latin = "Subject: Grüße aus Köln\r\n".encode("latin-1")
    yield Specimen("8-bit header in Latin-1", latin + head("x")[:-14] + b"\r\n\r\nx\r\n")
    yield Specimen("8-bit header in UTF-8", head("Grüße 会議 🎉") + b"\r\nx\r\n")
    yield Specimen(
        "invalid UTF-8 in the header", head("x", extra=b"X-A: \xff\xfe\r\n") + b"\r\nx\r\n"
    )
    yield Specimen("8-bit body without charset", head("x") + b"\r\ngr\xfc\xdfe\r\n")
    yield Specimen(
        "header line without colon", head("x", extra=b"this is no field\r\n") + b"\r\nx\r\n"
    )
    yield Specimen("first line without colon", b"no field\r\n" + head("x") + b"\r\nx\r\n")
    yield Specimen("subject that swallowed a header", head("x\r\nTo eve at contoso") + b"\r\nx\r\n")
    yield Specimen("continuation first", b" folded\r\n" + head("x") + b"\r\nx\r\n")
    yield Specimen("colon without name", head("x", extra=b": nothing\r\n") + b"\r\nx\r\n")
    yield Specimen("blank before colon", head("x", extra=b"X-Blank : y\r\n") + b"\r\nx\r\n")
    yield Specimen(
        "marked unconvertible", head("x", extra=b"X-Sim-Unconvertible: yes\r\n") + b"\r\n"
    )
    yield Specimen(
        "broken encoded words",
        head("=?utf-8?B?????= =?x-none?Q?abc?= =?utf-8?Q?=FF?=") + b"\r\nx\r\n",
    )


def _nested(make: _Maker) -> Iterator[Specimen]:
    words = {
        "no base64": b"=?utf-8?B?????=",
        "unknown charset": b"=?x-unknown?Q?abc?=",
        "unknown encoding": b"=?utf-8?X?abc?=",
        "not in its charset": b"=?utf-8?B?//79?=",
        "good": b"=?utf-8?Q?gr=C3=BCn?=",
    }
    for name, word in words.items():
        inner = b"Subject: " + word + b"\r\nFrom: eve@example.org\r\n\r\ninside\r\n"
        part = b"Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n" + inner
        outer = [_plain(b"see attached\r\n"), part]
        yield Specimen(f"nested word, {name}", make.head("forward") + make.mixed(outer))
        deep = b"Content-Type: message/rfc822\r\n\r\n" + make.head("middle") + make.mixed(outer)
        yield Specimen(f"nested word two deep, {name}", make.head("deep") + make.mixed([deep]))
    yield Specimen(
        "digest",
        make.head("digest")
        + make.mixed(
            [b"\r\nSubject: one\r\n\r\n1\r\n", b"\r\nSubject: two\r\n\r\n2\r\n"], b"digest"
        ),
    )


def _receipts(make: _Maker) -> Iterator[Specimen]:
    asks = (
        b"Disposition-Notification-To: eve@example.org\r\n",
        b"Return-Receipt-To: eve@example.org\r\n",
        b"X-Confirm-Reading-To: eve@example.org\r\n",
        b"disposition-notification-to:\r\n eve@example.org\r\nRETURN-RECEIPT-TO: eve@x.org\r\n",
    )
    for ask in asks:
        name = ask.split(b":")[0].decode()
        for flags in ((), ("\\Seen",)):
            octets = make.head("please confirm", extra=ask) + _plain(b"did you read this?\r\n")
            yield Specimen(f"{name}, {'seen' if flags else 'unseen'}", octets, flags=flags)
    for subject in ("Read: the news", "Gelesen: die Post", "Disposition of your mail"):
        parts = [
            _plain(b"Your message was read.\r\n"),
            b"Content-Type: message/disposition-notification\r\n\r\n"
            b"Final-Recipient: rfc822;bob@example.org\r\nDisposition: manual-action; displayed\r\n",
        ]
        body = make.mixed(parts, b"report", b" report-type=disposition-notification;")
        yield Specimen(f"report, {subject}", make.head(subject) + body)
    status = [
        _plain(b"bounced\r\n"),
        b"Content-Type: message/delivery-status\r\n\r\nAction: failed\r\n",
    ]
    yield Specimen(
        "bounce",
        make.head("Undeliverable")
        + make.mixed(status, b"report", b" report-type=delivery-status;"),
    )
    yield Specimen(
        "answered with $MDNSent",
        make.head("x", extra=asks[0]) + b"\r\nx\r\n",
        flags=(),
        keywords=("$MDNSent",),
    )


def _sizes_and_shapes(make: _Maker) -> Iterator[Specimen]:
    yield Specimen("empty", b"")
    yield Specimen("only line ends", b"\r\n\r\n\r\n")
    yield Specimen("no headers", b"\r\nonly a body\r\n")
    yield Specimen("header only", make.head("header only"))
    yield Specimen("header without a last line end", make.head("header only")[:-2])
    yield Specimen(
        "mbox line first", b"From ann Tue May  4 12:00:00 2021\r\n" + make.head("x") + b"\r\nx"
    )
    yield Specimen(
        "quoted mbox line first", b">From ann Tue May  4\r\n" + make.head("x") + b"\r\nx\r\n"
    )
    many = b"".join(b"X-Field-%d: %b\r\n" % (n, b"v" * 60) for n in range(1000))
    yield Specimen("header of 70 KiB", make.head("x", extra=many) + b"\r\nx\r\n")
    nested = _plain(b"the innermost\r\n")
    for _ in range(300):
        nested = make.mixed([nested])
    yield Specimen("300 levels of parts", make.head("deep") + nested)
    parts = [_plain(b"part %d\r\n" % number) for number in range(300)]
    yield Specimen("300 parts", make.head("wide") + make.mixed(parts))
    broken = make.mixed([_plain(b"one\r\n"), _plain(b"two\r\n")])
    yield Specimen(
        "no closing boundary", make.head("open") + broken.rpartition(b"--\r\n")[0] + b"\r\n"
    )
    yield Specimen(
        "boundary that never comes", make.head("none") + broken.replace(b"\r\n--", b"\r\n++")
    )
    yield Specimen(
        "multipart without boundary",
        make.head("bare", extra=b"Content-Type: multipart/mixed\r\n")
        + b"\r\n--x\r\n\r\ny\r\n--x--\r\n",
    )
    yield Specimen(
        "empty boundary",
        make.head("empty", extra=b'Content-Type: multipart/mixed; boundary=""\r\n') + b"\r\n--\r\n",
    )
    yield Specimen(
        "two content types",
        make.head("two", extra=b"Content-Type: text/html\r\n") + _plain(b"which?\r\n"),
    )
    yield Specimen(
        "nonsense content type", make.head("x", extra=b"Content-Type: ;;;=\r\n") + b"\r\nx\r\n"
    )
    yield Specimen("no octets in multipart", make.head("x") + make.mixed([]))
    # three and a half mebibytes: too large for a limit that tests set, small enough to be quick
    big = make.rng.randbytes(2_700_000)
    yield Specimen("large", make.head("large") + make.mixed([_plain(b"x"), make.attachment(big)]))


def _identities(make: _Maker) -> Iterator[Specimen]:
    head = make.head("x")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Message-ID")]
    for number in range(3):
        body = b"\r\n".join(lines) + b"\r\nwithout an id, %d\r\n" % number
        yield Specimen(f"no Message-ID {number}", body)
    for number in range(3):
        yield Specimen(f"same Message-ID {number}", head + b"\r\nother words %d\r\n" % number)
    yield Specimen("same Message-ID, other folder", head + b"\r\nmore\r\n", ("Archive",))
    yield Specimen("empty Message-ID", b"Message-ID:\r\nSubject: x\r\n\r\nx\r\n")
    yield Specimen(
        "odd Message-ID", b'Message-ID: "a b"(c\\) no brackets\r\nSubject: x\r\n\r\nx\r\n'
    )
    yield Specimen("Message-ID of 1000", b"Message-ID: <" + b"i" * 1000 + b"@x>\r\n\r\nx\r\n")
    twin = make.head("twins") + _plain(b"exactly the same\r\n")
    for number in range(3):
        yield Specimen(f"twin {number}", twin)
    yield Specimen("twin elsewhere", twin, ("Archive",))
    yield Specimen("twin, another date", twin, internaldate=WHEN + timedelta(days=1))
    nameless = b"Subject: nameless twins\r\n\r\nsame\r\n"
    yield Specimen("nameless twin 0", nameless)
    yield Specimen("nameless twin 1", nameless)


def _dates(make: _Maker) -> Iterator[Specimen]:
    zone = timezone(timedelta(hours=5, minutes=45))
    dates = {
        "1969": datetime(1969, 7, 20, 20, 17, tzinfo=UTC),
        "1970": datetime(1970, 1, 1, tzinfo=UTC),
        "1985": datetime(1985, 10, 26, 1, 21, tzinfo=UTC),
        "2038": datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
        "the future": datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC),
        "a day of one figure": datetime(2020, 1, 1, 0, 0, 0, tzinfo=UTC),
        "an odd zone": datetime(2020, 2, 29, 23, 59, 59, tzinfo=zone),
    }
    for name, when in dates.items():
        body = make.head(f"dated {name}", when) + b"\r\nx\r\n"
        yield Specimen(f"date in {name}", body, internaldate=when)
    yield Specimen("no Date", make.head("undated", None) + b"\r\nx\r\n")
    yield Specimen("no INTERNALDATE", make.head("undated") + b"\r\nx\r\n", internaldate=None)
    bad = make.head("x", None, extra=b"Date: 31 Foo 20x1 99:99\r\n")
    yield Specimen("nonsense Date", bad + b"\r\nx\r\n")


def _flags(make: _Maker) -> Iterator[Specimen]:
    kinds: tuple[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
        ("deleted", INBOX, ("\\Deleted",), ()),
        ("deleted and seen", INBOX, ("\\Seen", "\\Deleted"), ()),
        ("draft in Drafts", ("Drafts",), ("\\Draft",), ()),
        ("no draft in Drafts", ("Drafts",), (), ()),
        ("draft elsewhere", INBOX, ("\\Draft",), ()),
        ("flagged", INBOX, ("\\Flagged",), ()),
        ("flagged and seen", INBOX, ("\\Flagged", "\\Seen"), ()),
        ("all flags", INBOX, ("\\Seen", "\\Answered", "\\Flagged", "\\Draft"), ()),
        ("no flags", INBOX, (), ()),
        ("keywords", INBOX, ("\\Seen",), ("$Forwarded", "NonJunk", "$label1", "Project-X")),
        ("$MDNSent", INBOX, ("\\Seen",), ("$MDNSent",)),
        ("many keywords", INBOX, (), tuple(f"kw{number}" for number in range(20))),
    )
    for name, folder, flags, keywords in kinds:
        octets = make.head(name) + _plain(b"with flags\r\n")
        yield Specimen(name, octets, folder, flags, keywords)


def _signed(make: _Maker) -> Iterator[Specimen]:
    long = b"l" * 12_000 + b"\r\n"
    pgp = b"-----BEGIN PGP SIGNATURE-----\r\n\r\niQ==\r\n-----END PGP SIGNATURE-----\r\n"
    for suffix, text in (("", b"signed text\r\n"), (" with a long line", long)):
        yield Specimen(
            f"PGP/MIME signed{suffix}",
            make.head("signed")
            + make.mixed(
                [_plain(text), _typed(b"application/pgp-signature; name=s.asc", pgp, b"7bit")],
                b"signed",
                b' micalg=pgp-sha256; protocol="application/pgp-signature";',
            ),
        )
        yield Specimen(
            f"S/MIME signed{suffix}",
            make.head("signed")
            + make.mixed(
                [
                    _plain(text),
                    _typed(b"application/pkcs7-signature; name=smime.p7s", b"MIIB", b"base64"),
                ],
                b"signed",
                b' micalg=sha-256; protocol="application/pkcs7-signature";',
            ),
        )
        width = 20_000 if suffix else 76
        packed = base64.b64encode(make.rng.randbytes(18_000))
        lines = b"\r\n".join(packed[at : at + width] for at in range(0, len(packed), width))
        kind = b"application/pkcs7-mime; smime-type=signed-data; name=smime.p7m"
        yield Specimen(
            f"S/MIME opaque{suffix}", make.head("opaque") + _typed(kind, lines, b"base64")
        )
    kind = b"application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m"
    yield Specimen(
        "S/MIME encrypted", make.head("enc") + _typed(kind, b"MIIBAgMEBQYH\r\n", b"base64")
    )
    control = _typed(b"application/pgp-encrypted", b"Version: 1\r\n", b"7bit")
    secret = b"-----BEGIN PGP MESSAGE-----\r\n\r\nhQ==\r\n-----END PGP MESSAGE-----\r\n"
    yield Specimen(
        "PGP/MIME encrypted",
        make.head("enc")
        + make.mixed(
            [control, _typed(b"application/octet-stream; name=e.asc", secret, b"7bit")],
            b"encrypted",
            b' protocol="application/pgp-encrypted";',
        ),
    )
    inline = b"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\nclear text\r\n" + pgp
    yield Specimen("PGP inline", make.head("inline") + _plain(inline))
    dkim = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=x; h=from:to; b=abcd\r\n"
    yield Specimen("DKIM signed", make.head("dkim", extra=dkim) + _plain(b"x\r\n"))


def _encodings(make: _Maker) -> Iterator[Specimen]:
    tnef = base64.b64encode(b"\x78\x9f\x3e\x22" + make.rng.randbytes(200))
    kind = b"application/ms-tnef; name=winmail.dat"
    yield Specimen(
        "TNEF",
        make.head("tnef")
        + make.mixed([_plain(b"see\r\n"), _typed(kind, tnef + b"\r\n", b"base64")]),
    )
    uu = b"begin 644 cat.txt\r\n#0V%T\r\n`\r\nend\r\n"
    yield Specimen("uuencode", make.head("uu") + b"\r\ntext\r\n" + uu)
    yield Specimen("x-uuencode", make.head("uu") + _typed(b"text/plain", uu, b"x-uuencode"))
    yield Specimen(
        "unknown charset",
        make.head("x") + _typed(b"text/plain; charset=x-klingon", b"\xf8\xd0\r\n"),
    )
    yield Specimen("unknown encoding", make.head("x") + _typed(b"text/plain", b"abc\r\n", b"rot13"))
    yield Specimen(
        "broken base64", make.head("x") + _typed(b"text/plain", b"abc*!!=d\r\n", b"base64")
    )
    broken = b"100=% and =ZZ\r\n"
    yield Specimen(
        "broken quoted-printable",
        make.head("x") + _typed(b"text/plain", broken, b"quoted-printable"),
    )
    wide = base64.b64encode("wide\r\ntext ☃\r\n".encode("utf-16-le"))
    yield Specimen(
        "UTF-16",
        make.head("x") + _typed(b"text/plain; charset=utf-16le", wide + b"\r\n", b"base64"),
    )
    japanese = "会議の議事録\r\n".encode("iso-2022-jp")
    yield Specimen(
        "ISO-2022-JP",
        make.head("x") + _typed(b"text/plain; charset=iso-2022-jp", japanese, b"7bit"),
    )
    flowed = (
        b"a paragraph that \r\nflows on \r\nand ends.\r\n\r\n> quoted \r\n> too\r\n-- \r\nAnn\r\n"
    )
    yield Specimen(
        "format=flowed", make.head("x") + _typed(b"text/plain; format=flowed", flowed, b"7bit")
    )
    yield Specimen("dots", make.head("dots") + _plain(b".\r\n..\r\n.x\r\n"))
    yield Specimen("trailing blanks", make.head("blanks") + _plain(b"a  \r\n\t\r\nb\t\r\n"))
    name = b"Content-Disposition: attachment; filename*0*=utf-8''%E2%82%AC; filename*1=.txt\r\n"
    yield Specimen(
        "RFC 2231 name",
        make.head("x") + make.mixed([_plain(b"x"), name + _typed(b"text/plain", b"file\r\n")]),
    )
    calendar = b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
    yield Specimen(
        "invitation",
        make.head("meet")
        + make.mixed(
            [_plain(b"x"), _typed(b"text/calendar; method=REQUEST", calendar)], b"alternative"
        ),
    )
    quoted = quopri.encodestring("Grüße = gut \n".encode()).replace(b"\n", b"\r\n")
    yield Specimen(
        "quoted-printable",
        make.head("x") + _typed(b"text/plain; charset=utf-8", quoted, b"quoted-printable"),
    )


def _folders(make: _Maker) -> Iterator[Specimen]:
    for number, folder in enumerate(ODD_FOLDERS):
        octets = make.head(f"in folder {number}") + _plain(b"filed\r\n")
        yield Specimen(f"folder {'/'.join(folder)[:60]!r}", octets, folder)
