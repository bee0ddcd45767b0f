"""The target against the archive, message by message."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from importer.settle import archived_content, fingerprint_of, settle
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
    Where size or headers seem to differ, and with ``deep`` always, the content is fetched and
    compared, CR, NUL and the last line end apart. What agrees becomes ``verified``.
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
        uidvalidity = selected.state.uidvalidity
        if strays := archive.transfers.strays(target.id, name, uidvalidity):
            # The folder was renumbered, or never said the UIDs: find them by what they are.
            settle(archive, mail_target, selected, target.id, name, strays)
    except RefusedError as error:
        if error.retriable:
            raise
        yield from _unopened(archive, target, name, error, compared)
        return
    ours_there = 0
    waiting = iter(archive.transfers.arrived(target.id, name))
    while ids := list(islice(waiting, _MESSAGES_A_COMMAND)):
        group = archive.transfers.some(target.id, ids)
        here = {t.uid for t in group if t.uid is not None and t.uidvalidity == uidvalidity}
        there = _described(mail_target, sorted(here)) if selected.state.exists else {}
        ours_there += len(there)
        verified: list[int] = []
        differing: list[int] = []
        messages = {message.id: message for message in archive.index.some(ids)}
        for transfer in group:
            message = messages[transfer.message_id]
            is_here = transfer.uidvalidity == uidvalidity
            found = there.get(transfer.uid or 0) if is_here else None
            differences = list(_compare(archive, mail_target, transfer, message, found, deep=deep))
            compared.messages += 1
            if differences:
                compared.different += 1
                differing.append(message.id)
                yield from differences
            else:
                compared.equal += 1
                verified.append(message.id)
            progress.advance(1, message.size or 0)
        archive.transfers.verified(target.id, verified)
        archive.transfers.differing(target.id, differing)
    compared.others += max(0, selected.state.exists - ours_there)


def _unopened(
    archive: Archive, target: Target, name: str, error: RefusedError, compared: Compared
) -> Iterator[Finding]:
    """Yield, for each archived folder, how much of it is in a folder that cannot be looked at."""
    lost: dict[str, int] = {}
    waiting = iter(archive.transfers.arrived(target.id, name))
    while ids := list(islice(waiting, _MESSAGES_A_COMMAND)):
        for message in archive.index.some(ids):
            lost[message.folder] = lost.get(message.folder, 0) + 1
        archive.transfers.differing(target.id, ids)
    for source, count in lost.items():
        compared.messages += count
        compared.different += count
        text = (
            f"{name} cannot be looked at in the target ({error}); {count} messages should lie there"
        )
        yield Finding(Cause.FOLDER, source, None, None, text)


def _described(mail_target: MailTarget, uids: list[int]) -> dict[int, Described]:
    """Return what the open folder shows of these UIDs.

    Exchange answers NO and a part where one is gone, others leave some out: what did not come
    is asked for once more, by itself.
    """
    found: dict[int, Described] = {}

    def ask(among: bytes) -> None:
        try:
            found.update((each.message.uid, each) for each in mail_target.describe(among))
        except RefusedError as error:
            if error.retriable:
                raise

    for among in uid_sets(uids, _MESSAGES_A_COMMAND):
        ask(among)
    for among in uid_sets([uid for uid in uids if uid not in found], _MESSAGES_A_COMMAND):
        for uid in mail_target.uids(among):
            ask(b"%d" % uid)
    return {uid: found[uid] for uid in uids if uid in found}


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
        said = there.internaldate.isoformat() if there.internaldate else "none"
        text = f"INTERNALDATE is {said}, archived {message.internaldate.isoformat()}"
        yield _about(message, Cause.DATE, text)
    agrees = fingerprint(found.header) == fingerprint_of(archive, message)
    if deep or not agrees or found.size != message.size:
        yield from _compare_content(archive, mail_target, message, there.uid, has_header=agrees)


def _compare_content(
    archive: Archive,
    mail_target: MailTarget,
    message: ArchivedMessage,
    uid: int,
    *,
    has_header: bool,
) -> Iterator[Finding]:
    """Yield where the content differs, or the header if it is said to.

    Some servers do not find a field such as ``Subject : x`` in the header that they hold.
    """
    there = dict(mail_target.contents(b"%d" % uid)).get(uid)
    ours = archived_content(archive, message)
    if there is not None and (there.exact == ours.exact or there.tidy == ours.tidy):
        return
    if not has_header:
        yield _about(message, Cause.HEADER, "Message-ID, Date, From or Subject differ")
    elif there is None:
        yield _about(message, Cause.CONTENT, "the target does not hand it out")
    else:
        text = f"the content differs (sha256 {there.exact}, archived {ours.exact})"
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
