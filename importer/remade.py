"""A message against what a house has made of it: new MIME out of the decoded parts.

Octets and sizes say nothing there. What is compared is what a reader gets: the headers that
identify, decoded, and, of a sample or of all, the decoded text and each decoded attachment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.letter import sent_head, sent_likeness
from importer.likeness import Level, compare, same_headers
from store.finding import Cause
from store.headers import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.house import HouseRules
    from importer.target import LookingTarget
    from store.archive import Archive
    from store.index import ArchivedMessage
    from store.transfers import Transfer
    from waystation.wire import Described

HEADERS, CONTENT = "headers", "content"
_IDENTIFYING = frozenset({"Message-ID", "Date", "From", "Subject"})
_SAMPLE = 20
"""One message in so many has its content compared; which ones is decided by its hash."""


def is_sampled(message: ArchivedMessage, transfer: Transfer) -> bool:
    """Whether a message belongs to the sample; one that was changed on the way always does."""
    return bool(transfer.repairs) or int((message.sha256 or "0")[:8], 16) % _SAMPLE == 0


def differing_headers(
    archive: Archive,
    house: HouseRules,
    transfer: Transfer,
    message: ArchivedMessage,
    found: Described,
) -> list[str]:
    """Return which of the headers that identify a message are not as they were sent."""
    head = sent_head(archive, message, transfer.repairs, house)
    if head is None:
        return ["all headers (its file cannot be read)"]
    differing = _IDENTIFYING & set(same_headers(head, found.header))
    if parse(head).message_id is None:
        differing -= {"Message-ID"}  # a house may invent one
    return sorted(differing)


def compare_remade(
    archive: Archive,
    mail_target: LookingTarget,
    house: HouseRules,
    transfer: Transfer,
    message: ArchivedMessage,
    found: Described,
    passed: list[str],
    *,
    with_content: bool,
) -> Iterator[tuple[Cause, str]]:
    """Yield in what a message differs; note in ``passed`` in what it does not."""
    differing = differing_headers(archive, house, transfer, message, found)
    if differing:
        yield Cause.HEADER, f"{', '.join(differing)} differ"
    else:
        passed.append(HEADERS)
    if not with_content:
        return
    ours = sent_likeness(archive, message, transfer.repairs, house)
    theirs = dict(mail_target.likenesses(b"%d" % found.message.uid)).get(found.message.uid)
    if ours is None or theirs is None:
        yield Cause.CONTENT, "the target does not hand it out"
        return
    level, differences = compare(ours, theirs)
    if level is Level.DIFFERENT:
        yield Cause.CONTENT, "; ".join(differences)
    else:
        passed.append(CONTENT)
