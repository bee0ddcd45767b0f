"""The target against the archive, message by message."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from importer.excluded import choice_of, why_excluded
from importer.remade import (
    CONTENT,
    HEADERS,
    compare_remade,
    differing_headers,
    is_sampled,
)
from importer.settle import archived_content, fingerprint_of, settle
from store.finding import Cause, Finding
from store.headers import fingerprint
from store.index import received_of, seconds_between
from store.transfers import TransferState
from waystation.errors import RefusedError
from waystation.model import split_name
from waystation.selection import EVERYTHING, Selection
from waystation.wire import uid_sets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from importer.house import HouseRules
    from importer.target import LookingTarget
    from store.archive import Archive
    from store.finding import Compared
    from store.index import ArchivedMessage
    from store.transfers import Target, Transfer
    from waystation.progress import Progress
    from waystation.selection import Choice
    from waystation.wire import Described

_MESSAGES_A_COMMAND = 200


RECEIVED, FLAGS, SIZE = "received", "flags", "size"


@dataclass(frozen=True, slots=True)
class _Check:
    """One verification: what is compared with what, and how closely."""

    archive: Archive
    mail_target: LookingTarget
    target: Target
    progress: Progress
    compared: Compared
    house: HouseRules | None
    deep: bool
    choice: Choice


def verify(
    archive: Archive,
    mail_target: LookingTarget,
    target: Target,
    progress: Progress,
    compared: Compared,
    *,
    house: HouseRules | None = None,
    deep: bool = False,
    selection: Selection = EVERYTHING,
) -> Iterator[Finding]:
    """Yield every difference between what the ledger says arrived and what is there.

    Each message is looked up by its UID; headers, size, INTERNALDATE and flags are compared.
    Where size or headers seem to differ, and with ``deep`` always, the content is fetched and
    compared, CR, NUL and the last line end apart. A ``house`` makes its own MIME: there, decoded
    text and attachments are compared, of a sample, or with ``deep`` of all. What agrees becomes
    ``verified``. What the ``selection`` leaves out is not looked at.
    """
    choice = choice_of(archive, selection)
    check = _Check(archive, mail_target, target, progress, compared, house, deep, choice)
    mail_target.folders()  # so that folders are opened by the names the server gave them
    unsent = archive.transfers.unsent_totals(target.id)
    folders = archive.index.folders()
    names = archive.transfers.arrived_folders(target.id)
    progress.expect(sum(names.values()))
    for name, count in names.items():
        progress.folder(name, count)
        yield from _folder(check, name)
    for folder in folders:
        if folder.id in unsent:
            for number in archive.transfers.unsent(target.id, folder.id):
                yield from _not_sent(check, number)
    for transfer in archive.transfers.in_state(target.id, TransferState.SENDING):
        message = archive.index.message(transfer.message_id)
        if message is not None and why_excluded(choice, message) is None:
            compared.messages += 1
            compared.different += 1
            yield _about(message, Cause.NOT_SENT, "in doubt; run import to settle it")


def _folder(check: _Check, name: str) -> Iterator[Finding]:
    archive, target_id, mail_target = check.archive, check.target.id, check.mail_target
    compared = check.compared
    try:
        selected = mail_target.open(split_name(name), read_only=True)
        uidvalidity = selected.state.uidvalidity
        if strays := archive.transfers.strays(target_id, name, uidvalidity):
            # The folder was renumbered, or never said the UIDs: find them by what they are.
            settle(archive, mail_target, selected, target_id, name, strays, house=check.house)
    except RefusedError as error:
        if error.retriable:
            raise
        there = {folder.levels for folder in mail_target.folders().folders}
        is_gone = split_name(name) not in there
        yield from _unopened(archive, check.target, name, error, compared, is_gone=is_gone)
        return
    ours_there = 0
    waiting = iter(archive.transfers.arrived(target_id, name))
    while ids := list(islice(waiting, _MESSAGES_A_COMMAND)):
        group = archive.transfers.some(target_id, ids)
        here = {t.uid for t in group if t.uid is not None and t.uidvalidity == uidvalidity}
        shown = described(mail_target, sorted(here)) if selected.state.exists else {}
        ours_there += len(shown)
        verified: list[tuple[int, tuple[str, ...]]] = []
        differing: list[int] = []
        messages = {message.id: message for message in archive.index.some(ids)}
        compared.looked_at(ids)
        for transfer in group:
            message = messages[transfer.message_id]
            if why_excluded(check.choice, message) is not None:
                continue
            is_here = transfer.uidvalidity == uidvalidity
            found = shown.get(transfer.uid or 0) if is_here else None
            passed: list[str] = []
            differences = list(_compare(check, transfer, message, found, passed))
            compared.messages += 1
            for level in passed:
                compared.passed[level] += 1
            if differences:
                compared.different += 1
                differing.append(message.id)
                yield from differences
            else:
                compared.equal += 1
                verified.append((message.id, tuple(passed)))
            check.progress.advance(1, message.size or 0)
        archive.transfers.verified(target_id, verified)
        archive.transfers.differing(target_id, differing)
    compared.others += max(0, selected.state.exists - ours_there)


def _unopened(
    archive: Archive,
    target: Target,
    name: str,
    error: RefusedError,
    compared: Compared,
    *,
    is_gone: bool,
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
        yield Finding(Cause.FOLDER, source, None, None, text, is_gone=is_gone)


def described(mail_target: LookingTarget, uids: list[int]) -> dict[int, Described]:
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
    check: _Check,
    transfer: Transfer,
    message: ArchivedMessage,
    found: Described | None,
    passed: list[str],
) -> Iterator[Finding]:
    """Yield in what a message differs; note in ``passed`` in what it does not."""
    if found is None:
        place = f"{transfer.folder}, UID {transfer.uid}" if transfer.uid else transfer.folder
        yield _about(message, Cause.MISSING, f"not in the target any more ({place})")
        return
    there = found.message
    actual = {*there.flags, *there.keywords}
    # What the target cannot be given it may have had before.
    expected = {*message.flags, *message.keywords} - (set(transfer.lost) - actual)
    if expected == actual:
        passed.append(FLAGS)
    else:
        text = flags_text(expected, actual)
        yield _about(message, Cause.FLAGS, text, there=tuple(sorted(actual)))
    date = transfer.internaldate or message.internaldate
    if date is None or _is_same_time(date, there.internaldate, check.house):
        passed.append(RECEIVED)
    else:
        said = there.internaldate.isoformat() if there.internaldate else "none"
        text = f"INTERNALDATE is {said}, archived {date.isoformat()}"
        shift = seconds_between(date, there.internaldate)
        yield _about(message, Cause.DATE, text, shift=shift)
    if check.house is not None:
        for cause, text in compare_remade(
            check.archive,
            check.mail_target,
            check.house,
            transfer,
            message,
            found,
            passed,
            with_content=check.deep or is_sampled(message, transfer),
        ):
            yield _about(message, cause, text)
        return
    agrees = fingerprint(found.header) == fingerprint_of(check.archive, message)
    if check.deep or not agrees or found.size != message.size:
        yield from _compare_content(check, message, there.uid, passed, has_header=agrees)
    else:
        passed += (HEADERS, SIZE)


def _is_same_time(date: datetime, there: datetime | None, house: HouseRules | None) -> bool:
    """Whether two dates are one instant; a house may round the second."""
    first, second = received_of(date), received_of(there)
    if first is None or second is None:
        return False
    return abs(first - second) <= (0 if house is None else 1)


def _compare_content(
    check: _Check, message: ArchivedMessage, uid: int, passed: list[str], *, has_header: bool
) -> Iterator[Finding]:
    """Yield where the content differs, or the header if it is said to.

    Some servers do not find a field such as ``Subject : x`` in the header that they hold.
    """
    there = dict(check.mail_target.contents(b"%d" % uid)).get(uid)
    ours = archived_content(check.archive, message)
    if there is not None and (there.exact == ours.exact or there.tidy == ours.tidy):
        passed += (HEADERS, CONTENT)
        return
    if not has_header:
        yield _about(message, Cause.HEADER, "Message-ID, Date, From or Subject differ")
    elif there is None:
        passed.append(HEADERS)
        yield _about(message, Cause.CONTENT, "the target does not hand it out")
    else:
        passed.append(HEADERS)
        text = f"the content differs (sha256 {there.exact}, archived {ours.exact})"
        yield _about(message, Cause.CONTENT, text)


def _not_sent(check: _Check, number: int) -> Iterator[Finding]:
    message = check.archive.index.message(number)
    if message is None or why_excluded(check.choice, message) is not None:
        return
    transfer = check.archive.transfers.of(number, check.target.id)
    if transfer is not None and transfer.state is TransferState.SET_ASIDE:
        return  # the ledger gives our reason; nothing was to be there
    check.compared.messages += 1
    check.compared.different += 1
    state = transfer.state if transfer is not None else TransferState.PENDING
    reply = f": {transfer.reply}" if transfer is not None and transfer.reply else ""
    yield _about(message, Cause.NOT_SENT, f"{state}{reply}")


def is_as_sent(
    archive: Archive,
    mail_target: LookingTarget,
    transfer: Transfer,
    message: ArchivedMessage,
    found: Described,
    house: HouseRules | None,
    *,
    is_begun: bool,
) -> str | None:
    """Return in what a message in the target is not as it was sent; None where in nothing.

    Where its removal was begun, it may be marked as deleted.
    """
    sent = {*(transfer.flags or message.flags), *(transfer.keywords or message.keywords)}
    expected = sent - set(transfer.lost)
    actual = {*found.message.flags, *found.message.keywords}
    if is_begun:
        actual.discard("\\Deleted")
    if expected != actual:
        return flags_text(expected, actual)
    date = transfer.internaldate or message.internaldate
    if date is not None and not _is_same_time(date, found.message.internaldate, house):
        return "its received date is another one"
    if house is not None:
        differing = differing_headers(archive, house, transfer, message, found)
        return f"{', '.join(differing)} differ" if differing else None
    agrees = fingerprint(found.header) == fingerprint_of(archive, message)
    if agrees and found.size == message.size:
        return None
    # Some servers only estimate sizes, or do not find a field that is there.
    if _has_content(archive, mail_target, message, found.message.uid):
        return None
    return "its content is another one" if agrees else "Message-ID, Date, From or Subject differ"


def _has_content(
    archive: Archive, mail_target: LookingTarget, message: ArchivedMessage, uid: int
) -> bool:
    """Whether the open folder has at this UID what was archived, but for a server's tidying."""
    there = dict(mail_target.contents(b"%d" % uid)).get(uid)
    ours = archived_content(archive, message)
    return there is not None and (there.exact == ours.exact or there.tidy == ours.tidy)


def flags_text(expected: set[str], actual: set[str]) -> str:
    """Say in which flags two messages differ."""
    parts = []
    if missing := sorted(expected - actual):
        parts.append("lacks " + " ".join(missing))
    if extra := sorted(actual - expected):
        parts.append("has also " + " ".join(extra))
    return ", ".join(parts)


def _about(
    message: ArchivedMessage,
    cause: Cause,
    text: str,
    *,
    there: tuple[str, ...] | None = None,
    shift: int | None = None,
) -> Finding:
    location = (message.folder, message.uidvalidity, message.uid)
    return Finding(cause, *location, text, there=there, shift=shift)
