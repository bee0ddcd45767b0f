"""Questions for the cell `search`: an archive that is filled without a server, and questions.

Words are drawn as in a language, few of them often and most of them seldom, from a seed.
"""

from __future__ import annotations

import random
import statistics
import time
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING

from store import fulltext, search
from store.archive import Archive
from store.query import parse
from waystation.model import RemoteMessage
from waystation.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.search import Search

FOLDERS = ("INBOX", "Sent", *(f"Projects/{number}" for number in range(18)))
VOCABULARY = 60_000
BEGIN = datetime(2004, 1, 1, tzinfo=UTC)
DAYS = 20 * 365

QUERIES = {
    "one word": "w3000",
    "two words": "w300 w800",
    "common word": "w0",
    "rare word": "w59000",
    "prefix": "w59*",
    "phrase": '"w0 w1"',
    "from:": "from:person77",
    "from: and word": "from:person77 w20",
    "OR": "w3000 OR w5000",
    "-not": "w3000 -w20",
    "date range": "after:2015-03-01 before:2015-04-01",
    "date range, common word": "after:2010-03-01 before:2010-04-01 w0",
    "folder:": "folder:Projects/7",
    "folder:, common word": "folder:Projects/7 w0",
    "is:flagged": "is:flagged",
    "has:attachment": "has:attachment",
    "larger:, common word": "larger:5K w0",
    "message-id:": "message-id:nobody@example.org",
    "state:": "state:pending",
    "nothing": "w58123 w59123 w57123",
    "everything": "",
}


def fill(path: Path, count: int) -> int:
    """Make an archive of so many messages; return their octets."""
    rng = random.Random(7)
    cumulated = list(accumulate(1 / (rank + 2.7) for rank in range(VOCABULARY)))
    words = [f"w{rank}" for rank in range(VOCABULARY)]
    octets = 0
    with Archive.create(path, "imaps://a@example.org", "a@example.org:993") as archive:
        folders = [archive.ensure_folder(tuple(name.split("/")), None) for name in FOLDERS]
        batch = archive.batch()
        for number in range(count):
            body = _letter(rng, number, words, cumulated)
            octets += len(body)
            folder = folders[rng.randrange(len(folders)) if number % 2 else 0]
            date = BEGIN + timedelta(days=DAYS * number / count, seconds=rng.randrange(3600))
            flags = ("\\Flagged",) if number % 500 == 0 else ("\\Seen",) if number % 3 else ()
            maildir = archive.maildir(folder)
            draft = maildir.draft(len(body))
            draft.write(memoryview(body))
            remote = RemoteMessage(number + 1, flags, (), date.replace(microsecond=0))
            draft.finish(remote.internaldate)
            batch.add(folder, maildir, 1, remote, draft)
            if number % 500 == 499:
                batch.commit()
        batch.commit()
    return octets


def _letter(rng: random.Random, number: int, words: list[str], cumulated: list[float]) -> bytes:
    length = int(min(1500, rng.lognormvariate(4.6, 0.9)))
    drawn = rng.choices(words, cum_weights=cumulated, k=length + 6)
    text = "\r\n".join(" ".join(drawn[n : n + 12]) for n in range(6, len(drawn), 12))
    head = (
        f"From: Person {number % 997} <person{number % 997}@example{number % 89}.org>\r\n"
        f"To: me@example.net\r\nSubject: {' '.join(drawn[:6])}\r\n"
        f"Message-ID: <{number}.{rng.getrandbits(64):x}@example.org>\r\nMIME-Version: 1.0\r\n"
    )
    if number % 4 == 0:
        markup = text.replace("\r\n", "<br>\r\n")
        return (
            f"{head}Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n{text}\r\n"
            f"--b\r\nContent-Type: text/html\r\n\r\n<html><body><p>{markup}</p></body></html>\r\n"
            "--b--\r\n"
        ).encode()
    if number % 20 == 1:
        return (
            f"{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{text}\r\n"
            f'--b\r\nContent-Type: application/pdf; name="file{number}.pdf"\r\n'
            f"Content-Transfer-Encoding: base64\r\n\r\n{'QUJD' * 500}\r\n--b--\r\n"
        ).encode()
    return f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n".encode()


def measured(path: Path, rounds: int) -> Iterator[tuple[str, list[str]]]:
    """Build the words of an archive and ask; yield the title of each part and its lines."""
    with Archive.read(path) as archive:
        began = time.monotonic()
        done = fulltext.update(archive, Silent())
        seconds = time.monotonic() - began
        size = sum(
            file.stat().st_size for file in path.iterdir() if file.name.startswith("search.sqlite")
        )
        yield (
            "build",
            [
                f"{done.messages:,} messages in {seconds:.1f} s: {done.messages / seconds:,.0f}/s",
                f"{size / 1e6:.1f} MB, {size / max(done.messages, 1):,.0f} octets a message",
            ],
        )
        began = time.monotonic()
        fulltext.update(archive, Silent())
        yield "update that finds nothing new", [f"{(time.monotonic() - began) * 1000:.1f} ms"]
        with search.opened(archive) as searching:
            yield (
                "50 newest, and how many more up to 1,000 (ms: p50, max, p50 of CPU)",
                [_line(searching, name, query, rounds) for name, query in QUERIES.items()],
            )


def _line(searching: Search, name: str, text: str, rounds: int) -> str:
    query = parse(text, datetime.now(UTC))
    times, busy = [], []
    found = more = 0
    for _ in range(rounds):
        began, before = time.perf_counter(), time.process_time()
        found = len(list(searching.hits(query, limit=50)))
        more = searching.count(query, 1050) if found == 50 else found
        times.append((time.perf_counter() - began) * 1000)
        busy.append((time.process_time() - before) * 1000)
    middle, cpu = statistics.median(times), statistics.median(busy)
    return (
        f"{name:26} {middle:7.1f} {max(times):7.1f} {cpu:7.1f}"
        f"   {found} of {'more than 1,000' if more == 1050 else more}"
    )
