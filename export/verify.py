"""The source against the archive, message by message."""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING

from export.plan import Listing, difference
from store.finding import Cause, Finding
from store.index import received_of, seconds_between
from waystation.errors import RefusedError
from waystation.model import split_name
from waystation.selection import EVERYTHING, Selection, choose
from waystation.wire import Fetched, uid_sets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from export.source import MailSource
    from store.archive import Archive
    from store.finding import Compared
    from store.index import ArchivedFolder, ArchivedMessage
    from waystation.progress import Progress
    from waystation.selection import Choice
    from waystation.wire import Described

_MESSAGES_A_COMMAND = 200


class _Hash:
    """Takes a body and keeps only its sha256."""

    def __init__(self, _size: int) -> None:
        self._hash = hashlib.sha256()

    def write(self, piece: memoryview) -> None:
        self._hash.update(piece)

    def discard(self) -> None:
        """Nothing is kept."""

    @property
    def value(self) -> str:
        return self._hash.hexdigest()


def verify(
    archive: Archive,
    source: MailSource,
    progress: Progress,
    compared: Compared,
    *,
    deep: bool = False,
    selection: Selection = EVERYTHING,
) -> Iterator[Finding]:
    """Yield every difference between what the source shows now and what is archived.

    What the ``selection`` leaves out by its folder, and of the archived messages by themselves, is
    not looked at. What the export left out is no difference.

    Headers (octet by octet), size, INTERNALDATE and flags are compared. Where the size is
    another one, and with ``deep`` always, the content is fetched and compared.
    """
    listed = {folder.name: folder for folder in source.folders() if folder.is_selectable}
    known = {folder.name: folder for folder in archive.index.folders()}
    uses = {split_name(name): folder.special_use for name, folder in known.items()}
    uses |= {folder.levels: folder.special_use for folder in listed.values()}
    choice = choose(selection, uses.items())
    for name, folder in known.items():
        if name in choice.left_out:
            continue
        if name not in listed and folder.last_seen is None:
            text = "the source no longer lists this folder"
            yield Finding(Cause.FOLDER, name, None, None, text, is_gone=True)
    for name, remote in listed.items():
        if name in choice.left_out:
            continue
        try:
            state = source.open(remote)
        except RefusedError as error:
            if error.retriable:
                raise
            yield Finding(Cause.FOLDER, name, None, None, str(error))
            continue
        archived = known.get(name)
        listing = Listing()
        if state.exists:
            for line in source.flags():
                listing.add(*line)
        progress.folder(name, len(listing))
        if archived is None:
            for uid, *_ in listing:
                compared.different += 1
                text = "not archived yet; run export"
                yield Finding(Cause.NOT_ARCHIVED, name, state.uidvalidity, uid, text)
            continue
        yield from _folder(archive, archived, state.uidvalidity, listing, compared, choice)
        yield from _messages(
            archive, source, archived, state.uidvalidity, progress, compared, choice, deep=deep
        )


def _folder(
    archive: Archive,
    folder: ArchivedFolder,
    uidvalidity: int,
    listing: Listing,
    compared: Compared,
    choice: Choice,
) -> Iterator[Finding]:
    """Compare which messages are there, and their flags."""
    if folder.state is not None and folder.state.uidvalidity != uidvalidity:
        text = f"UIDVALIDITY was {folder.state.uidvalidity}, is now {uidvalidity}; run export"
        yield Finding(Cause.FOLDER, folder.name, uidvalidity, None, text)
    found = difference(listing, archive.index.known(folder.id, uidvalidity))
    for uid in found.missing:
        row = archive.index.by_location(folder.id, uidvalidity, uid)
        reason = row.reason if row is not None else None
        compared.different += 1
        text = f"failed: {reason}" if reason else "not archived yet; run export"
        yield Finding(Cause.NOT_ARCHIVED, folder.name, uidvalidity, uid, text)
    for number in found.vanished:
        message = archive.index.message(number)
        if message is not None and _is_compared(choice, message):
            compared.different += 1
            text = "archived, and no longer on the source"
            yield Finding(Cause.VANISHED, folder.name, uidvalidity, message.uid, text)
    for number, flags, keywords in found.changed:
        message = archive.index.message(number)
        if message is not None and _is_compared(choice, message):
            compared.different += 1
            now = " ".join((*flags, *keywords)) or "none"
            before = " ".join((*message.flags, *message.keywords)) or "none"
            text = f"flags are {now}, archived {before}"
            there = tuple(sorted((*flags, *keywords)))
            yield Finding(Cause.FLAGS, folder.name, uidvalidity, message.uid, text, there=there)


def _is_compared(choice: Choice, message: ArchivedMessage) -> bool:
    """Whether a message was to be archived at all, and is to be compared now."""
    if message.state == "skipped":
        return False
    flags = (*message.flags, *message.keywords)
    return choice.reason(message.folder, message.size, message.internaldate, flags) is None


def _messages(
    archive: Archive,
    source: MailSource,
    folder: ArchivedFolder,
    uidvalidity: int,
    progress: Progress,
    compared: Compared,
    choice: Choice,
    *,
    deep: bool,
) -> Iterator[Finding]:
    """Compare headers, dates and content of what both have."""
    waiting = (
        message
        for message in archive.index.in_folder(folder.id)
        if message.uidvalidity == uidvalidity
        and message.state == "archived"
        and _is_compared(choice, message)
    )
    while group := list(islice(waiting, _MESSAGES_A_COMMAND)):
        there: dict[int, Described] = {}
        for uids in uid_sets((message.uid for message in group), _MESSAGES_A_COMMAND):
            there |= {found.message.uid: found for found in source.describe(uids)}
        compared.looked_at(message.id for message in group if message.uid in there)
        for message in group:
            found = there.get(message.uid)
            compared.messages += 1
            if found is None:
                continue  # vanished, and said so
            differences = list(_compare(archive, source, message, found, deep=deep))
            if differences:
                compared.different += 1
                yield from differences
            else:
                compared.equal += 1
            progress.advance(1, message.size or 0)


def _compare(
    archive: Archive,
    source: MailSource,
    message: ArchivedMessage,
    found: Described,
    *,
    deep: bool,
) -> Iterator[Finding]:
    # A date out of a header says nothing of the one that a server gave.
    is_comparable = found.message.date_from is None or message.date_from is not None
    if is_comparable and received_of(found.message.internaldate) != received_of(
        message.internaldate
    ):
        said = found.message.internaldate.isoformat() if found.message.internaldate else "none"
        ours = message.internaldate.isoformat() if message.internaldate else "none"
        text = f"INTERNALDATE is {said}, archived {ours}"
        shift = seconds_between(message.internaldate, found.message.internaldate)
        yield _about(message, Cause.DATE, text, shift=shift)
    if not _begins_with(archive, message, found.header):
        yield _about(message, Cause.HEADER, "the header differs")
    elif deep or found.size != message.size:
        digest = _digest(source, message.uid)
        if digest is None:
            yield _about(message, Cause.CONTENT, "the source does not hand it out")
        elif digest != message.sha256:
            text = f"the content differs (sha256 {digest}, archived {message.sha256})"
            yield _about(message, Cause.CONTENT, text)


def _begins_with(archive: Archive, message: ArchivedMessage, header: bytes) -> bool:
    try:
        with (archive.path / (message.path or "")).open("rb") as file:
            # Servers end a header that has no body with an empty line of their own.
            return file.read(len(header)).rstrip(b"\r\n") == header.rstrip(b"\r\n")
    except OSError:
        return False


def _digest(source: MailSource, uid: int) -> str | None:
    digest: str | None = None
    for answer in source.fetch([b"%d" % uid], _Hash, 1):
        # To the end: what is left unread would be taken for the answer to the next command.
        if isinstance(answer, Fetched) and answer.message.uid == uid and answer.body is not None:
            digest = answer.body.value
    return digest


def _about(
    message: ArchivedMessage, cause: Cause, text: str, *, shift: int | None = None
) -> Finding:
    location = (message.folder, message.uidvalidity, message.uid)
    return Finding(cause, *location, text, shift=shift)
