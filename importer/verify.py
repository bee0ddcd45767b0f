"""The target against the archive, message by message."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from importer.digest import digest_of
from importer.settle import head_of, settle
from store.finding import Cause, Finding
from store.headers import fingerprint
from store.index import received_of
from store.transfers import TransferState
from waystation.errors import RefusedError
from waystation.model import split_name
from waystation.wire import uid_sets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.target import MailTarget
    from store.archive import Archive
    from store.finding import Compared
    from store.index import ArchivedMessage
    from store.transfers import Target, Transfer
    from waystation.progress import Progress
    from waystation.wire import Described

_MESSAGES_A_COMMAND = 200


def verify(
    archive: Archive,
    mail_target: MailTarget,
    target: Target,
    progress: Progress,
    compared: Compared,
    *,
    deep: bool = False,
) -> Iterator[Finding]:
    """Yield every difference between what the ledger says arrived and what is there.

    Each message is looked up by its UID; headers, size, INTERNALDATE and flags are compared.
    Where the size is another one, and with ``deep`` always, the content is fetched and
    compared, line ends apart. What agrees becomes ``verified``.
    """
    mail_target.folders()  # so that folders are opened by the names the server gave them
    unsent = archive.transfers.unsent_totals(target.id)
    folders = archive.index.folders()
    names = archive.transfers.arrived_folders(target.id)
    progress.expect(sum(names.values()))
    for name, count in names.items():
        progress.folder(name, count)
        yield from _folder(archive, mail_target, target, name, progress, compared, deep=deep)
    for folder in folders:
        if folder.id in unsent:
            for number in archive.transfers.unsent(target.id, folder.id):
                yield from _not_sent(archive, target, number, compared)
    for transfer in archive.transfers.in_state(target.id, TransferState.SENDING):
        message = archive.index.message(transfer.message_id)
        if message is not None:
            compared.messages += 1
            compared.different += 1
            yield _about(message, Cause.NOT_SENT, "in doubt; run import to settle it")


def _folder(
    archive: Archive,
    mail_target: MailTarget,
    target: Target,
    name: str,
    progress: Progress,
    compared: Compared,
    *,
    deep: bool,
) -> Iterator[Finding]:
    try:
        selected = mail_target.open(split_name(name), read_only=True)
    except RefusedError as error:
        if error.retriable:
            raise
        lost = len(archive.transfers.arrived(target.id, name))
        compared.messages += lost
        compared.different += lost
        text = f"{name} cannot be opened in the target ({error.reply}); {lost} messages are missing"
        yield Finding(Cause.FOLDER, name, None, None, text)
        return
    uidvalidity = selected.state.uidvalidity
    if strays := archive.transfers.strays(target.id, name, uidvalidity):
        # The folder was renumbered, or never said the UIDs: find them by what they are.
        archive.transfers.record((), settle(archive, mail_target, selected, strays))
    arrived = archive.transfers.arrived(target.id, name)
    compared.others += max(0, selected.state.exists - len(arrived))
    waiting = iter(arrived)
    while ids := list(islice(waiting, _MESSAGES_A_COMMAND)):
        found_rows = (archive.transfers.of(number, target.id) for number in ids)
        group = [transfer for transfer in found_rows if transfer is not None]
        here = {t.uid: t for t in group if t.uid is not None and t.uidvalidity == uidvalidity}
        there: dict[int, Described] = {}
        if here and selected.state.exists:
            for uids in uid_sets(sorted(here), _MESSAGES_A_COMMAND):
                there |= {found.message.uid: found for found in mail_target.describe(uids)}
        verified = []
        for transfer in group:
            message = archive.index.message(transfer.message_id)
            if message is None:
                continue
            found = there.get(transfer.uid or 0) if transfer.uid in here else None
            differences = list(_compare(archive, mail_target, transfer, message, found, deep=deep))
            compared.messages += 1
            if differences:
                compared.different += 1
                yield from differences
            else:
                compared.equal += 1
                verified.append(transfer.message_id)
            progress.advance(1, message.size or 0)
        archive.transfers.verified(target.id, verified)


def _compare(
    archive: Archive,
    mail_target: MailTarget,
    transfer: Transfer,
    message: ArchivedMessage,
    found: Described | None,
    *,
    deep: bool,
) -> Iterator[Finding]:
    if found is None:
        place = f"{transfer.folder}, UID {transfer.uid}" if transfer.uid else transfer.folder
        yield _about(message, Cause.MISSING, f"not in the target any more ({place})")
        return
    there = found.message
    lost = set(transfer.lost)
    expected = {*message.flags, *message.keywords} - lost
    actual = {*there.flags, *there.keywords}
    if expected != actual:
        yield _about(message, Cause.FLAGS, flags_text(expected, actual))
    if message.internaldate is not None and received_of(there.internaldate) != received_of(
        message.internaldate
    ):
        is_date = there.internaldate is not None
        said = there.internaldate.isoformat() if is_date and there.internaldate else "none"
        text = f"INTERNALDATE is {said}, archived {message.internaldate.isoformat()}"
        yield _about(message, Cause.DATE, text)
    if fingerprint(found.header) != fingerprint(head_of(archive, message)):
        yield _about(message, Cause.HEADER, "Message-ID, Date, From or Subject differ")
    elif deep or found.size != message.size:
        yield from _compare_content(archive, mail_target, message, there.uid)


def _compare_content(
    archive: Archive, mail_target: MailTarget, message: ArchivedMessage, uid: int
) -> Iterator[Finding]:
    hashes = mail_target.digest(uid)
    ours = digest_of(archive.path / (message.path or ""))
    if hashes is None:
        yield _about(message, Cause.CONTENT, "the target does not hand it out")
    elif not set(hashes) & set(ours.values):
        text = f"the content differs (sha256 {hashes[0]}, archived {message.sha256})"
        yield _about(message, Cause.CONTENT, text)


def _not_sent(
    archive: Archive, target: Target, number: int, compared: Compared
) -> Iterator[Finding]:
    message = archive.index.message(number)
    if message is None:
        return
    transfer = archive.transfers.of(number, target.id)
    if transfer is not None and transfer.state is TransferState.SET_ASIDE:
        return  # the ledger gives our reason; nothing was to be there
    compared.messages += 1
    compared.different += 1
    state = transfer.state if transfer is not None else TransferState.PENDING
    reply = f": {transfer.reply}" if transfer is not None and transfer.reply else ""
    yield _about(message, Cause.NOT_SENT, f"{state}{reply}")


def flags_text(expected: set[str], actual: set[str]) -> str:
    """Say in which flags two messages differ."""
    parts = []
    if missing := sorted(expected - actual):
        parts.append("lacks " + " ".join(missing))
    if extra := sorted(actual - expected):
        parts.append("has also " + " ".join(extra))
    return ", ".join(parts)


def _about(message: ArchivedMessage, cause: Cause, text: str) -> Finding:
    return Finding(cause, message.folder, message.uidvalidity, message.uid, text)
