"""Mail for tests: varied, hostile and large, the same for the same seed, and ways to lay it down.

A mailbox is a stream of `(folder, Sample)`. Folder names are texts whose levels are joined by
`/`, a `/` or `%` inside a level being percent-encoded. Whatever lays mail down returns what a
server should then hold, in the form of `tests.compare.Snapshot`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import imaplib
import itertools
import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.header import Header
from email.utils import format_datetime
from typing import TYPE_CHECKING, BinaryIO, Literal

from tests.compare import (
    Message,
    Snapshot,
    encode_name,
    quoted,
    split_levels,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

KEYWORDS = ("$Forwarded", "NonJunk", "Junk", "$MDNSent", "$label1", "todo", "Project-X")

ALTERED_BY_SERVERS = frozenset({"bare LF", "CR CR LF", "CR at the end", "NUL", "nothing at all"})
"""The hostile messages that a server may refuse or hand out with other octets."""

IMPOSSIBLE_FOLDER_NAMES = (
    "..",
    "..%2F..%2Fetc%2Fx",
    "a/../b",
    ".",
    "line\nbreak",
    "bell\x07",
    "~home",
    "nul\x00",
    "a/" + "long" * 75,
)
"""Names that no Dovecot has, for servers that are made up."""

_FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Draft", "\\Deleted")
_FLAG_CHANCES = (0.75, 0.2, 0.08, 0.02, 0.01)
_MAILDIR_LETTERS = {
    "\\Draft": "D",
    "\\Flagged": "F",
    "\\Answered": "R",
    "\\Seen": "S",
    "\\Deleted": "T",
}
_MAILDIR_KEYWORD_LIMIT = 26
_ZONES = (0, 60, 120, -480, -300, 330, 345, -210, 540, 570, 765, 840, -720, -570, 1, -60)
_FIRST = int(datetime(1971, 1, 1, tzinfo=UTC).timestamp())
_LAST = int(datetime(2026, 6, 30, tzinfo=UTC).timestamp())
_PEOPLE = (
    "Alice Example <alice@example.org>",
    '"Bob, from Sales" <bob@example.com>',
    "=?UTF-8?Q?J=C3=BCrgen_M=C3=BCller?= <juergen@example.net>",
    "=?ISO-2022-JP?B?GyRCOzNFRBsoQg==?= <yamada@example.jp>",
    "news@lists.example.org",
)
_SUBJECTS = (
    "Minutes of the meeting",
    "Re: Re: Fwd: invoice",
    "Grüße aus Köln",
    "Отчёт за квартал",
    "会議の議事録",
    "🎉 you are invited 🎉",
    "",
    "A subject that goes on and on, " * 6,
)
_WORDS = (
    "the quick brown fox jumps over a lazy dog while nobody in this office reads mail about "
    "quarterly figures meeting room invoices holiday plans and the coffee machine again"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A message and what a server knows about it besides."""

    body: bytes
    flags: tuple[str, ...]
    keywords: tuple[str, ...]
    internaldate: datetime

    def as_message(self) -> Message:
        """Return what `tests.compare` would read of it from a server."""
        return Message(
            hashlib.sha256(self.body).hexdigest(),
            frozenset(self.flags),
            frozenset(self.keywords),
            self.internaldate.astimezone(UTC),
        )


def messages(
    seed: int,
    count: int,
    *,
    typical_size: int = 3000,
    largest: int = 100_000,
    hostile_share: float = 0.02,
    repeated_share: float = 0.01,
) -> Iterator[Sample]:
    """Yield varied messages, some of them hostile and some repeated octet by octet.

    A server hands out all of them as they are: hostile ones that it would alter are left out.
    """
    rng = random.Random(seed)
    odd = [body for name, body in hostile() if name not in ALTERED_BY_SERVERS and len(body) < 1e5]
    earlier: list[bytes] = []
    for number in range(count):
        internaldate = _date(rng)
        chance = rng.random()
        if chance < hostile_share:
            body = rng.choice(odd)
        elif chance < hostile_share + repeated_share and earlier:
            body = rng.choice(earlier)
        else:
            size = min(int(rng.lognormvariate(0, 0.9) * typical_size), largest)
            body = _ordinary(rng, f"{seed}.{number}", internaldate, size)
        if number % 50 == 0:
            earlier = [*earlier[-20:], body]
        yield Sample(body, _some_flags(rng), _some_keywords(rng), internaldate)


def mailbox(
    seed: int, count: int, folders: Sequence[str] | int = 25, **options: float
) -> Iterator[tuple[str, Sample]]:
    """Yield a whole mailbox, message by message; a quarter of it is in the first folder.

    `options` are those of `messages`.
    """
    names = folder_names(folders) if isinstance(folders, int) else list(folders)
    rng = random.Random(f"folders {seed}")
    weights = [max(1.0, len(names) / 3), *(rng.uniform(0.2, 1.5) for _ in names[1:])]
    samples = messages(seed, count, **options)  # type: ignore[arg-type]  # sizes are ints
    for number, sample in enumerate(samples):
        # every folder gets one first, so that none is empty
        name = names[number] if number < len(names) else rng.choices(names, weights)[0]
        yield name, sample


def folder_names(count: int) -> list[str]:
    """Return names of many kinds, INBOX first, that a Maildir++ can hold."""
    names = ["INBOX", "Sent", "Drafts", "Projects", "Projects/2024", "Projects/2024/Büro", *_KINDS]
    more = (f"Archive/{year}" for year in itertools.count(1971))
    return [*names, *itertools.islice(more, max(0, count - len(names)))][:count]


def hostile_folder_names() -> list[str]:
    """Return names that are hard to put on a disk; Dovecot's sdbox with separator `/` bears them.

    The names in `folder_names` are among them; those no server bears are in
    `IMPOSSIBLE_FOLDER_NAMES`.
    """
    return [
        *folder_names(6 + len(_KINDS)),
        "cur",
        "new/tmp",
        "Projects/cur",
        "dots.in.the.name",
        ".hidden",
        "trailing dot.",
        "...",
        "trailing blank ",
        " leading blank",
        "CON",
        "aux.txt",
        "back\\slash",
        "100%25 sure",
        "q?<>|:;*",
        "/".join("deeper" for _ in range(12)),
        "INBOX/below",
        "e\N{COMBINING ACUTE ACCENT}",
        "\N{LATIN SMALL LETTER E WITH ACUTE}",
    ]


_KINDS = [
    "Entwürfe",
    "受信箱",
    "Ελληνικά/Почта",
    "🎉 party 🎉",
    "A & B",
    'quote"d',
    "it's",
    "case",
    "CASE",
    "Case/below",
    "l" * 200,
    "1/2/3/4/5/6/7/8",
    "[brackets] {n} (x)",
    "#shared",
    "ÄÖÜ äöü &-",
]


def hostile() -> list[tuple[str, bytes]]:
    """Return messages that break tools, each with a telling name."""
    head = b"From: a@example.org\r\nTo: b@example.org\r\nDate: Mon, 1 Jan 2001 00:00:00 +0000\r\n"
    same_id = b"Message-ID: <same@example.org>\r\n" + head
    boundary = b'Content-Type: multipart/mixed; boundary="x"\r\n'
    odd_bytes = bytes(range(1, 256)).replace(b"\r", b"").replace(b"\n", b"")
    return [
        ("no Message-ID", head + b"Subject: no id\r\n\r\nHello.\r\n"),
        ("equal Message-ID, first body", same_id + b"Subject: x\r\n\r\nOne.\r\n"),
        ("equal Message-ID, second body", same_id + b"Subject: x\r\n\r\nTwo.\r\n"),
        ("identical, first copy", same_id + b"Subject: twin\r\n\r\nTwin.\r\n"),
        ("identical, second copy", same_id + b"Subject: twin\r\n\r\nTwin.\r\n"),
        ("two Message-IDs", b"Message-ID: <a@b>\r\nMessage-ID: <c@d>\r\n" + head + b"\r\nx\r\n"),
        ("folded Message-ID", b"Message-ID:\r\n <folded@example.org>\r\n" + head + b"\r\nx\r\n"),
        ("no Date", b"Message-ID: <nodate@x>\r\nSubject: when?\r\n\r\nNever.\r\n"),
        ("impossible Date", b"Date: Thu, 32 Foo 99999 25:61:61 +9999\r\n\r\nx\r\n"),
        ("two-digit year", b"Date: 1 Jan 70 00:00 EST\r\nSubject: old\r\n\r\nx\r\n"),
        ("8-bit headers", "Subject: Grüße\r\nFrom: Jürgen\r\n\r\nx\r\n".encode("latin-1")),
        ("UTF-8 headers", "Subject: 会議 🎉\r\nFrom: Jürgen <j@ü.example>\r\n\r\nx\r\n".encode()),
        ("encoded words", head + _ENCODED_WORDS + b"\r\nx\r\n"),
        ("unknown charset", b"Subject: =?x-unknown?B?////?=\r\n\r\nx\r\n"),
        ("long lines", head + b"Subject: long\r\n\r\n" + b"x" * 20_000 + b"\r\n"),
        ("long header", b"Subject: " + b"word " * 10_000 + b"\r\n\r\nx\r\n"),
        ("many headers", b"".join(b"X-%d: y\r\n" % n for n in range(2000)) + b"\r\nx\r\n"),
        ("no last line end", head + b"Subject: x\r\n\r\nno line end"),
        ("empty body", head + b"Subject: empty\r\n\r\n"),
        ("header only", head + b"Subject: header only\r\n"),
        ("no headers at all", b"\r\nOnly text, after an empty line.\r\n"),
        ("no headers, no empty line", b"This is just a line of text\r\nand another one\r\n"),
        ("one octet", b"x"),
        ("only line ends", b"\r\n\r\n\r\n\r\n"),
        (
            "mbox From_ line",
            b"From a@example.org Mon Jan  1 00:00:00 2001\r\n" + head + b"\r\nx\r\n",
        ),
        ("From_ in the body", head + b"\r\nFrom here on\r\n>From there\r\n.\r\n..\r\n"),
        ("IMAP in the body", head + b"\r\n)\r\nA1 OK done\r\n* BYE\r\n{10}\r\n+ go\r\n"),
        ("MIME without an end", head + boundary + b"\r\n--x\r\n\r\nx\r\n--x\r\n\r\n"),
        ("MIME without a boundary", b"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\nx\r\n"),
        ("MIME nested deeply", head + _nested(60)),
        ("broken base64", b"Content-Transfer-Encoding: base64\r\n\r\n!!!!=x==\r\n"),
        ("message in a message", b"Content-Type: message/rfc822\r\n\r\n" + head + b"\r\nx\r\n"),
        ("every octet but NUL", head + b"\r\n" + odd_bytes + b"\r\n"),
        ("blank before the colon", b"Subject : x\r\n: no name\r\nno colon\r\n\r\nx\r\n"),
        ("bare CR", head + b"Subject: cr\r\n\r\nOne.\rTwo.\rThree.\r\n"),
        ("attachment of 1 MB", head + _attachment(1_000_000)),
        ("bare LF", b"Subject: lf\n\nOne.\nTwo.\r\nThree.\n"),
        ("CR CR LF", head + b"Subject: crcrlf\r\r\n\r\nOne.\r\r\n"),
        ("CR at the end", head + b"Subject: cr\r\n\r\nOne.\r"),
        ("NUL", head + b"Subject: nul\x00nul\r\n\r\na\x00b\r\n"),
        ("nothing at all", b""),
    ]


def write_large(file: BinaryIO, size: int, seed: int = 0) -> str:
    """Write one message of exactly so many octets, piece by piece; return its sha256."""
    rng = random.Random(seed)
    digest = hashlib.sha256()
    piece = _base64_lines(rng.randbytes(57 * 1000))
    head = (
        f"Message-ID: <large.{seed}.{size}@example.org>\r\nFrom: a@example.org\r\n"
        f"Subject: {size} octets\r\nDate: Mon, 1 Jan 2001 00:00:00 +0000\r\n"
        "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\n"
    ).encode()
    written = 0
    for octets in itertools.chain([head], itertools.repeat(piece)):
        part = octets[: size - 2 - written]
        file.write(part)
        digest.update(part)
        written += len(part)
        if written == size - 2:
            break
    file.write(b"\r\n")
    digest.update(b"\r\n")
    return digest.hexdigest()


Layout = Literal["maildir++", "fs"]


def fill_maildir(
    directory: Path,
    mail: Iterable[tuple[str, Sample]],
    *,
    layout: Layout = "maildir++",
    owner: tuple[int, int] | None = None,
) -> Snapshot:
    """Lay mail straight into a Dovecot Maildir that is new, and return what a server will hold.

    `owner` is the uid and gid that the server reads it with, where that is not our own.
    """
    held: Snapshot = {}
    letters: dict[str, dict[str, str]] = {}
    folders: dict[str, Path] = {}
    for number, (name, sample) in enumerate(mail):
        if name not in folders:
            folders[name] = _new_maildir(directory, name, layout)
            held[name], letters[name] = [], {}
        message = sample.as_message()
        file_name = _file_name(
            number,
            len(sample.body),
            message.internaldate,
            sample.flags,
            sample.keywords,
            letters[name],
        )
        path = folders[name] / "cur" / file_name
        path.write_bytes(sample.body)
        seconds = message.internaldate.timestamp()
        os.utime(path, (seconds, seconds))
        held[name].append(message)
    for name, folder in folders.items():
        lines = "".join(f"{ord(letter) - 97} {word}\n" for word, letter in letters[name].items())
        (folder / "dovecot-keywords").write_text(lines)
    if owner is not None:
        _give(directory, owner)
    return held


def deliver_large(
    directory: Path,
    size: int,
    *,
    folder: str = "INBOX",
    layout: Layout = "maildir++",
    internaldate: datetime = datetime(2001, 1, 1, 12, tzinfo=UTC),
    owner: tuple[int, int] | None = None,
) -> Message:
    """Add one message of any size to a Dovecot Maildir, never holding it in memory."""
    maildir = _new_maildir(directory, folder, layout)
    path = maildir / "cur" / _file_name(size, size, internaldate, (), (), {})
    with path.open("wb") as file:
        digest = write_large(file, size)
    os.utime(path, (internaldate.timestamp(), internaldate.timestamp()))
    if owner is not None:
        _give(directory, owner)
    return Message(digest, frozenset(), frozenset(), internaldate.astimezone(UTC))


def fill_by_append(
    host: str,
    port: int,
    user: str,
    password: str,
    mail: Iterable[tuple[str, Sample]],
    *,
    tls: ssl.SSLContext | None = None,
    prefix: str = "",
) -> Snapshot:
    """Put mail into a mailbox by APPEND, making its folders, and return what it should hold."""
    client = (
        imaplib.IMAP4(host, port) if tls is None else imaplib.IMAP4_SSL(host, port, ssl_context=tls)
    )
    held: Snapshot = {}
    with client:
        client.login(user, password)
        delimiter = _delimiter(client)
        for name, sample in mail:
            wire_name = quoted(prefix + delimiter.join(map(encode_name, split_levels(name))))
            if name not in held:
                client.create(wire_name)  # INBOX and the like are there already
                held[name] = []
            append(client, wire_name, sample)
            held[name].append(sample.as_message())
    return held


def append(client: imaplib.IMAP4, wire_name: str, sample: Sample) -> None:
    """Append exactly these octets; `imaplib.IMAP4.append` would rewrite line ends."""
    flags = f"({' '.join((*sample.flags, *sample.keywords))})"
    date = imaplib.Time2Internaldate(sample.internaldate)
    client.literal = sample.body  # type: ignore[assignment]  # bytes at run time
    status, answer = client._simple_command("APPEND", wire_name, flags, date)
    if status != "OK":
        raise AssertionError(f"APPEND to {wire_name}: {answer!r}")


def _ordinary(rng: random.Random, number: str, date: datetime, size: int) -> bytes:
    subject = rng.choice(_SUBJECTS)
    if not subject.isascii():
        subject = _encoded_subject(subject)
    sent = date - timedelta(seconds=rng.randrange(900))
    head = (
        f"Return-Path: <bounce.{number}@example.org>\r\n"
        f"Received: from mx.example.org by mail.example.com; {format_datetime(date)}\r\n"
        f"Message-ID: <{number}.{rng.getrandbits(64):x}@example.org>\r\n"
        f"From: {rng.choice(_PEOPLE)}\r\nTo: {rng.choice(_PEOPLE)}\r\n"
        f"Subject: {subject}\r\nDate: {format_datetime(sent)}\r\n"
        "MIME-Version: 1.0\r\n"
    ).encode()
    make = rng.choice(_SHAPES)
    return head + make(rng, max(20, size - len(head)))


def _plain(rng: random.Random, size: int) -> bytes:
    return b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + _text(rng, size)


def _eight_bit(rng: random.Random, size: int) -> bytes:
    head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    return head + "Schöne Grüße, 你好 🎉\r\n".encode() + _text(rng, size)


def _alternative(rng: random.Random, size: int) -> bytes:
    boundary = f"b{rng.getrandbits(40):x}".encode()
    text = _text(rng, size // 2)
    return (
        b'Content-Type: multipart/alternative; boundary="' + boundary + b'"\r\n\r\n--' + boundary
        + b"\r\nContent-Type: text/plain\r\n\r\n" + text + b"--" + boundary
        + b"\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>" + text + b"</p>\r\n--"
        + boundary + b"--\r\n"
    )  # fmt: skip


def _with_attachment(rng: random.Random, size: int) -> bytes:
    return _attachment(size, rng)


def _attachment(size: int, rng: random.Random | None = None) -> bytes:
    octets = (rng or random.Random(size)).randbytes(size * 57 // 78)
    return (
        b'Content-Type: multipart/mixed; boundary="attach"\r\n\r\n--attach\r\n\r\nSee there.\r\n'
        b'--attach\r\nContent-Type: application/pdf; name="=?UTF-8?Q?=C3=BCber.pdf?="\r\n'
        b"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\n"
        + _base64_lines(octets)
        + b"--attach--\r\n"
    )


_SHAPES: tuple[Callable[[random.Random, int], bytes], ...] = (
    _plain,
    _plain,
    _eight_bit,
    _alternative,
    _with_attachment,
)

_ENCODED_WORDS = (
    b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?iso-8859-1?B?R3L832U=?=\r\n"
    b" =?utf-8?B?8J+OiQ==?= =?utf-8?Q?broken=?= =?utf-8?B?w?= half=?utf-8?Q?=C3?=\r\n"
)


def _nested(depth: int) -> bytes:
    opening = b"".join(
        b'Content-Type: multipart/mixed; boundary="n%d"\r\n\r\n--n%d\r\n' % (n, n)
        for n in range(depth)
    )
    closing = b"".join(b"\r\n--n%d--\r\n" % n for n in reversed(range(depth)))
    return opening + b"\r\nDeep down.\r\n" + closing


def _text(rng: random.Random, size: int) -> bytes:
    block = _text_block()
    start = block.index(b"\r\n", rng.randrange(len(block) // 2)) + 2
    whole, rest = divmod(size, len(block) // 2 - 1000)
    text = block[start : start + (len(block) // 2 - 1000)] * whole + block[start : start + rest]
    return text.rstrip(b"\r\n") + b"\r\n"


@functools.cache
def _text_block() -> bytes:
    rng, words = random.Random("text"), _WORDS.split()
    lines = (" ".join(rng.choices(words, k=rng.randrange(1, 14))) for _ in range(4000))
    return "\r\n".join(lines).encode()


def _base64_lines(octets: bytes) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")


@functools.cache
def _encoded_subject(subject: str) -> str:
    return Header(subject, "utf-8", header_name="Subject").encode(linesep="\r\n")


def _date(rng: random.Random) -> datetime:
    zone = timezone(timedelta(minutes=rng.choice(_ZONES)))
    return datetime.fromtimestamp(rng.randrange(_FIRST, _LAST), zone)


def _some_flags(rng: random.Random) -> tuple[str, ...]:
    return tuple(
        sorted(
            flag
            for flag, chance in zip(_FLAGS, _FLAG_CHANCES, strict=True)
            if rng.random() < chance
        )
    )


def _some_keywords(rng: random.Random) -> tuple[str, ...]:
    if rng.random() < 0.7:
        return ()
    return tuple(sorted(rng.sample(KEYWORDS, rng.randint(1, 3))))


def _new_maildir(directory: Path, name: str, layout: Layout) -> Path:
    levels = [encode_name(level) for level in split_levels(name)]
    if layout == "fs":
        folder = directory.joinpath(*levels)
    elif levels == ["INBOX"]:
        folder = directory
    else:
        if any("." in level for level in levels):
            raise ValueError(f"{name}: Maildir++ has no folder with a dot in its name")
        folder = directory / ("." + ".".join(levels))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "maildirfolder").touch()
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    return folder


def _file_name(
    number: int,
    size: int,
    internaldate: datetime,
    flags: Iterable[str],
    keywords: Iterable[str],
    letters: dict[str, str],
) -> str:
    marks = {_MAILDIR_LETTERS[flag] for flag in flags}
    for keyword in keywords:
        if keyword not in letters and len(letters) == _MAILDIR_KEYWORD_LIMIT:
            raise ValueError("a Maildir file name can say 26 keywords of a folder, not more")
        marks.add(letters.setdefault(keyword, chr(97 + len(letters))))
    seconds = int(internaldate.timestamp())
    return f"{seconds}.M{number}P1.corpus,S={size},W={size}:2,{''.join(sorted(marks))}"


def _give(directory: Path, owner: tuple[int, int]) -> None:
    os.chown(directory, *owner)
    for parent, folders, files in os.walk(directory):
        for name in (*folders, *files):
            os.chown(os.path.join(parent, name), *owner)


def _delimiter(client: imaplib.IMAP4) -> str:
    line = client.list('""', '""')[1][0]  # (\\Noselect) "/" ""
    assert isinstance(line, bytes)
    word = line.decode().split(") ", 1)[1].split(" ", 1)[0]
    return "" if word == "NIL" else word[1:-1].replace("\\\\", "\\")
