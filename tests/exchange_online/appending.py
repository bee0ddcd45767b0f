"""APPEND: a literal that is taken, refused, read as commands, or lost on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.exchange_online import names
from tests.exchange_online.answers import (
    ERROR_11,
    GO_ON,
    LITERAL,
    TOO_LARGE,
    UNAVAILABLE,
    AnswerError,
    HangUpError,
)
from tests.exchange_online.arguments import ArgumentError, Arguments
from tests.exchange_online.blob import Blob, BlobWriter
from tests.exchange_online.convertible import reasons
from tests.exchange_online.mailbox import Folder, FolderError, Stored
from tests.exchange_online.wire import LongLineError

if TYPE_CHECKING:
    from datetime import datetime

    from tests.exchange_online.connection import Connection

_LONGEST_REST = 2**20


@dataclass(frozen=True, slots=True)
class Announced:
    """A literal that an APPEND has announced."""

    size: int
    is_synchronising: bool


@dataclass(slots=True)
class Delivery:
    """An APPEND whose literal has come; ``flags`` is None where one of them is refused."""

    blob: Blob
    folder: Folder
    flags: set[str] | None
    internaldate: datetime | None
    number: int
    """Which APPEND to this mailbox it is."""
    is_kept: bool = False
    """Whether a folder holds the blob now."""


def append(
    c: Connection,
    tag: bytes,
    arguments: Arguments,
    announced: Announced,
    verdict: AnswerError | None,
) -> None:
    """Act on an APPEND up to the mark of its literal; ``verdict`` is an answer that it gets anyway.

    Raises:
        AnswerError, ArgumentError, FolderError: the answer, once the literal is out of the way.
        HangUpError: the session ends.
    """
    if verdict is not None:
        is_throttle = b"throttled" in verdict.octets
        _swallow(c, announced, even_synchronising=is_throttle)
        raise verdict
    box = c.box
    number = box.count("append")
    try:
        folder, flags, internaldate = _append_arguments(c, arguments)
    except (FolderError, ArgumentError) as error:
        # what is wrong with the flags shows only after the literal
        _swallow(c, announced, even_synchronising=isinstance(error, ArgumentError))
        raise
    is_early = c.profile.size_refusal == "instead of +"
    is_too_large = announced.size > box.largest_message
    if is_too_large and is_early and announced.is_synchronising:
        raise AnswerError(b"NO " + TOO_LARGE)
    if announced.is_synchronising:
        c.put(GO_ON)
        c.flush()
    if not is_too_large:
        _perhaps_cut_in_literal(c, announced.size, number)
    blob = _receive(c, announced.size)
    if blob is None:
        return
    delivery = Delivery(blob, folder, flags, internaldate, number)
    try:
        _conclude(c, tag, delivery, is_too_large=is_too_large)
    finally:
        if not delivery.is_kept:
            blob.discard()


def _append_arguments(
    c: Connection, arguments: Arguments
) -> tuple[Folder, set[str] | None, datetime | None]:
    """Return folder, flags (None where one is refused) and date of an APPEND."""
    name = names.decode(arguments.astring())
    with c.box.lock:
        try:
            folder = c.box.find(name)
        except FolderError as error:
            code = "[TRYCREATE] " if c.profile.trycreate else ""
            raise FolderError(f"{code}{error}") from None
    if not folder.is_mail and not c.profile.non_mail_folders_accept:
        raise FolderError("The folder does not take messages.")
    arguments.space()
    flags: set[str] | None = set()
    if arguments.peek() == b"(":
        given = arguments.flags()
        try:
            flags = c.flags(given)
        except ArgumentError:
            flags = None
        arguments.skip(b" ")
    internaldate = None
    if arguments.peek() == b'"':
        internaldate = arguments.date_time()
        arguments.skip(b" ")
    arguments.end()
    return folder, flags, internaldate


def _swallow(c: Connection, announced: Announced, *, even_synchronising: bool) -> None:
    """Take a literal whose command is refused, where the client will send it."""
    if announced.is_synchronising:
        if not even_synchronising:
            return
        c.put(GO_ON)
        c.flush()
    c.link.literal(announced.size, lambda _: None, c.idle_limit, None)
    c.link.line(_LONGEST_REST, c.idle_limit)


def _perhaps_cut_in_literal(c: Connection, size: int, number: int) -> None:
    chance, address = c.server.chance, c.box.address
    if chance.happens(c.profile.cut_in_literal_chance, "cut-in", address, number):
        share = chance.roll("cut-at", address, number)
        c.link.literal(int(size * share), lambda _: None, c.idle_limit, None)
        c.event(b"cut within the literal")
        raise HangUpError(broken=True)


def _receive(c: Connection, size: int) -> Blob | None:
    """Read a message; None where a line of it was too long, and it is read as commands."""
    writer = BlobWriter(c.server.directory)
    longest = c.profile.longest_literal_line
    try:
        c.link.literal(size, writer.write, c.idle_limit, longest)
    except LongLineError:
        writer.abandon()
        c.event(b"a line of the literal is too long; what follows is read as commands")
        return None
    except BaseException:
        writer.abandon()
        raise
    blob = writer.finish()
    shown = f"{{{size}}} sha256 {blob.sha256}".encode()
    c.heard(blob.octets if c.profile.logs_literals else shown)
    return blob


def _conclude(c: Connection, tag: bytes, delivery: Delivery, *, is_too_large: bool) -> None:
    """Store and answer an APPEND whose literal has come, or do what is worse."""
    refusal = _refusal(c, delivery, is_too_large=is_too_large)
    profile = c.profile
    is_expired = profile.token_expiry_cuts and c.server.clock() >= c.expires
    if is_expired or _happens(c, delivery, profile.token_cut_chance, "token-cut"):
        if _happens(c, delivery, profile.token_cut_stores_chance, "token-cut-stores"):
            _put_away(c, delivery, refusal)
        c.event(b"token expired within APPEND, kept: %d" % delivery.is_kept)
        c.cut_for_expiry()
    if _happens(c, delivery, profile.cut_without_storing_chance, "cut-without"):
        c.event(b"cut after the literal, not stored")
        raise HangUpError(broken=True)
    if _happens(c, delivery, profile.cut_after_storing_chance, "cut-after"):
        _put_away(c, delivery, refusal)
        c.event(b"cut after the literal, kept: %d" % delivery.is_kept)
        raise HangUpError(broken=True)
    rest = c.link.line(_LONGEST_REST, c.idle_limit).octets
    if rest.strip() and profile.refuses_multiappend:
        match = LITERAL.search(rest)
        if match and match[2]:
            c.link.literal(int(match[1]), lambda _: None, c.idle_limit, None)
            c.link.line(_LONGEST_REST, c.idle_limit)
        raise ArgumentError(12)
    if refusal is not None:
        raise refusal
    message = _put_away(c, delivery, None)
    if _happens(c, delivery, profile.late_answer_chance, "late"):
        key = (c.box.address, delivery.number)
        wait = c.server.chance.between(profile.late_answer_seconds, "late-by", *key)
        c.event(b"answers late")
        c.server.wait(wait)
    if _happens(c, delivery, profile.exists_before_answer_chance, "exists"):
        c.update(may_expunge=False)
    c.ok(tag, f"{_appenduid(c, delivery, message)}APPEND completed.")


def _happens(c: Connection, delivery: Delivery, probability: float, kind: str) -> bool:
    address = c.box.address
    return c.server.chance.happens(probability, kind, address, delivery.number)


def _appenduid(c: Connection, delivery: Delivery, message: Stored | None) -> str:
    profile = c.profile
    if message is None or _happens(c, delivery, profile.appenduid_omitted_chance, "no-uid"):
        return ""
    if _happens(c, delivery, profile.appenduid_garbled_chance, "garbled-uid"):
        return "[APPENDUID  ] "
    return f"[APPENDUID {delivery.folder.uidvalidity} {message.uid}] "


def _put_away(c: Connection, delivery: Delivery, refusal: AnswerError | None) -> Stored | None:
    """Store a message, unless it is refused.

    Raises:
        FolderError: another session has deleted the folder meanwhile.
    """
    if refusal is not None or delivery.flags is None:
        return None
    profile, box, folder = c.profile, c.box, delivery.folder
    lag = 0.0
    if _happens(c, delivery, profile.lag_chance, "lag"):
        key = (box.address, delivery.number)
        seconds = c.server.chance.between(profile.lag_seconds, "lag-by", *key)
        lag = seconds * c.server.scale
    with box.lock:
        box.find(folder.name)
        if profile.drops_duplicates:
            digest = delivery.blob.sha256
            twins = (m for m in folder.messages if m.original_sha256 == digest)
            if (twin := next(twins, None)) is not None:
                return twin
        delivery.is_kept = True
        return box.store(folder, delivery.blob, set(delivery.flags), delivery.internaldate, lag)


def _refusal(c: Connection, delivery: Delivery, *, is_too_large: bool) -> AnswerError | None:
    """Return why a message is not taken, if it is not."""
    if is_too_large:
        return AnswerError(b"NO " + TOO_LARGE)
    if delivery.flags is None:
        return AnswerError(b"BAD " + ERROR_11)
    if _is_unconvertible(c, delivery.blob):
        counts = c.profile.unconvertible_counts_as_bad
        return AnswerError(b"BAD " + ERROR_11, counts=counts)
    box = c.box
    if box.quota is not None:
        with box.lock:
            is_full = box.used() + delivery.blob.size > box.quota
        if is_full:
            return AnswerError(b"NO " + UNAVAILABLE)
    return None


def _is_unconvertible(c: Connection, blob: Blob) -> bool:
    profile = c.profile
    if profile.unconvertible is not None and profile.unconvertible(blob.octets):
        return True
    with blob.opened() as buffer:
        broken = reasons(buffer)
    if "report" in broken & profile.unconvertible_rules:
        # by its hash, so that a second try fares no better
        roll = c.server.chance.roll("report", blob.sha256)
        if "report-by-name" in broken or roll < profile.report_chance:
            return True
    return bool(broken & (profile.unconvertible_rules - {"report"}))
