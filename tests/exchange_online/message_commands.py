"""Commands on an open folder and its messages."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.exchange_online import names
from tests.exchange_online.answers import FLAG_LIST, AnswerError
from tests.exchange_online.fetch import (
    Item,
    body_structure,
    envelope,
    malformed,
    read_items,
    section,
)
from tests.exchange_online.mailbox import SYSTEM_FLAGS, FolderError
from tests.exchange_online.mime import parse
from tests.exchange_online.search import CharsetError, Search

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from tests.exchange_online.arguments import Arguments
    from tests.exchange_online.blob import Buffer
    from tests.exchange_online.connection import Connection
    from tests.exchange_online.mailbox import Stored
    from tests.exchange_online.mime import Part

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _noop(c: Connection, tag: bytes, arguments: Arguments) -> None:
    if c.command == "CHECK":
        c.check_state()
    c.update(may_expunge=True)
    c.ok(tag)


def _select(c: Connection, tag: bytes, arguments: Arguments) -> None:
    raw = arguments.astring()
    arguments.end()
    c.folder, c.view = None, []
    with c.box.lock:
        folder = c.box.find(names.decode(raw))
        view, uidnext = c.visible(folder)
        unseen = next((n for n, m in enumerate(view, 1) if "\\Seen" not in m.flags), None)
    c.folder, c.view = folder, view
    c.is_read_only = c.command == "EXAMINE"
    c.put(b"* %d EXISTS" % len(view))
    c.put(b"* 0 RECENT")
    c.put(b"* FLAGS (%b)" % FLAG_LIST)
    c.put(b"* OK [PERMANENTFLAGS (%b)] Permanent flags" % FLAG_LIST)
    if unseen is not None:
        c.put(b"* OK [UNSEEN %d] Is the first unseen message" % unseen)
    c.put(b"* OK [UIDVALIDITY %d] UIDVALIDITY value" % folder.uidvalidity)
    c.put(b"* OK [UIDNEXT %d] The next unique identifier value" % uidnext)
    code = "[READ-ONLY]" if c.is_read_only else "[READ-WRITE]"
    c.ok(tag, f"{code} {c.command} completed.")


def _idle(c: Connection, tag: bytes, arguments: Arguments) -> None:
    arguments.end()
    c.put(b"+ IDLE accepted, awaiting DONE command.")
    c.flush()

    def watch() -> None:
        c.check_expiry()
        c.update(may_expunge=True)
        c.flush()

    line = c.link.line(1000, c.idle_limit, watch)
    c.heard(line.octets)
    if line.octets.upper() != b"DONE":
        raise AnswerError(b"BAD Command Argument Error. 12")
    c.ok(tag)


def _close(c: Connection, tag: bytes, arguments: Arguments) -> None:
    folder = c.check_state()
    if c.command == "CLOSE" and not c.is_read_only:
        with c.box.lock:
            gone = [m for m in c.view if "\\Deleted" in m.flags]
            c.box.remove(folder, gone)
    c.folder, c.view = None, []
    c.ok(tag)


def _expunge(c: Connection, tag: bytes, arguments: Arguments) -> None:
    folder = c.writable()
    chosen = c.view
    if c.by_uid:
        chosen = [message for _, message in c.chosen(arguments.numbers())]
    arguments.end()
    with c.box.lock:
        c.box.remove(folder, [m for m in chosen if "\\Deleted" in m.flags])
    c.update(may_expunge=True)
    c.ok(tag)


def _fetch(c: Connection, tag: bytes, arguments: Arguments) -> None:
    folder = c.check_state()
    numbers = arguments.numbers()
    arguments.space()
    items = read_items(arguments)
    arguments.end()
    if c.by_uid and not any(item.name == b"UID" for item in items):
        items.append(Item(b"UID", b"UID"))
    chosen = c.chosen(numbers)
    box = c.box
    if b"*" in numbers and chosen:
        chance = c.profile.fetch_repeats_uid_chance
        if c.server.chance.happens(chance, "repeat", box.address, box.count("fetch")):
            chosen.append(chosen[-1])
    marks_seen = any(item.marks_seen for item in items) and not c.is_read_only
    for number, message in chosen:
        if marks_seen and "\\Seen" not in message.flags:
            with box.lock:
                flags = message.flags | {"\\Seen"}
                box.set_flags(folder, message, flags, by_store=False)
            if not any(item.name == b"FLAGS" for item in items):
                items = [Item(b"FLAGS", b"FLAGS"), *items]
        _fetched(c, number, message, items)
    c.update(may_expunge=False)
    c.ok(tag)


def _fetched(c: Connection, number: int, message: Stored, items: list[Item]) -> None:
    c.out += b"* %d FETCH (" % number
    if not any(item.needs_octets for item in items):
        c.out += b" ".join(b"%b %b" % (item.label, _simple(c, item, message)) for item in items)
    else:
        with _opened(c, message, items) as (buffer, part):
            for place, item in enumerate(items):
                c.out += (b" " if place else b"") + item.label + b" "
                if item.name == b"BODY[]":
                    found = section(item, buffer, part)
                    if found is None:
                        c.out += b"NIL"
                        continue
                    c.out += b"{%d}\r\n" % found[0]
                    _pour(c, found[1])
                elif item.name == b"ENVELOPE":
                    c.out += envelope(part)
                elif item.name in (b"BODYSTRUCTURE", b"BODY"):
                    is_extended = item.name == b"BODYSTRUCTURE"
                    structure = body_structure(buffer, part, extended=is_extended)
                    c.out += _perhaps_malformed(c, structure, message)
                else:
                    c.out += _simple(c, item, message)
    c.out += b")\r\n"
    words = b" ".join(item.label for item in items)
    user = c.mailbox.address if c.mailbox else ""
    said = b"* %d FETCH (%b) of UID %d" % (number, words, message.uid)
    c.server.log.write(c.number, user, "S", said)
    if len(c.out) > 64 * 1024:
        c.flush()


@contextmanager
def _opened(c: Connection, message: Stored, items: list[Item]) -> Iterator[tuple[Buffer, Part]]:
    if all(item.needs_header_only for item in items):
        header = c.box.shown_header(message)
        yield header, parse(header)
    else:
        with c.shown.opened(message) as found:
            yield found


def _pour(c: Connection, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        c.out += piece
        if len(c.out) > 64 * 1024:
            c.flush()


def _perhaps_malformed(c: Connection, structure: bytes, message: Stored) -> bytes:
    chance, address = c.server.chance, c.box.address
    share = c.profile.malformed_bodystructure_chance
    if not chance.happens(share, "malformed", address, message.original_sha256):
        return structure
    return malformed(structure, chance.roll("malformation", message.original_sha256))


def _simple(c: Connection, item: Item, message: Stored) -> bytes:
    if item.name == b"UID":
        return b"%d" % message.uid
    if item.name == b"FLAGS":
        return _flag_list(message.flags)
    if item.name == b"INTERNALDATE":
        return _date_time(message.internaldate)
    return b"%d" % _size(c, message)


def _size(c: Connection, message: Stored) -> int:
    error = c.profile.size_error
    if error == 0:
        return c.shown.size(message)
    bounds = (1 - error, 1 + error)
    factor = c.server.chance.between(bounds, "size", message.original_sha256)
    return round(message.blob.size * factor)


def _store(c: Connection, tag: bytes, arguments: Arguments) -> None:
    folder = c.writable()
    numbers = arguments.numbers()
    arguments.space()
    mode = arguments.match(re.compile(rb"([+-]?)FLAGS(\.SILENT)?(?= )", re.IGNORECASE), 11)
    arguments.space()
    given = c.flags(arguments.flags())
    arguments.end()
    chosen = c.chosen(numbers)
    for number, message in chosen:
        with c.box.lock:
            flags = given
            if mode[1] == b"+":
                flags = message.flags | given
            elif mode[1] == b"-":
                flags = message.flags - given
            touches = mode[1] == b"" or "\\Flagged" in given
            c.box.set_flags(folder, message, set(flags), by_store=touches)
        if not mode[2]:
            uid = b"UID %d " % message.uid if c.by_uid else b""
            c.put(b"* %d FETCH (%bFLAGS %b)" % (number, uid, _flag_list(message.flags)))
    c.update(may_expunge=False)
    c.ok(tag)


def _copy(c: Connection, tag: bytes, arguments: Arguments) -> None:
    is_move = c.command == "MOVE"
    folder = c.writable() if is_move else c.check_state()
    numbers = arguments.numbers()
    arguments.space()
    name = names.decode(arguments.astring())
    arguments.end()
    box = c.box
    with box.lock:
        try:
            target = box.find(name)
        except FolderError as error:
            code = "[TRYCREATE] " if c.profile.trycreate else ""
            raise FolderError(f"{code}{error}") from None
        there = set(map(id, folder.messages))
        chosen = [message for _, message in c.chosen(numbers) if id(message) in there]
        copies = [box.copy(message, target) for message in chosen]
        if is_move:
            box.remove(folder, chosen, moved=True)
    code = ""
    if copies:
        pairs = (chosen, copies)
        old, new = (",".join(str(message.uid) for message in side) for side in pairs)
        chance = c.profile.copyuid_garbled_chance
        if c.server.chance.happens(chance, "copyuid", box.address, box.count("copy")):
            old = new = ""
        code = f"[COPYUID {target.uidvalidity} {old} {new}] "
    c.update(may_expunge=is_move)
    c.ok(tag, f"{code}{c.command} completed.")


def _search(c: Connection, tag: bytes, arguments: Arguments) -> None:
    c.check_state()
    c.update(may_expunge=c.by_uid)
    search = Search(c.box, c.server.clock(), c.view)
    try:
        matches = search.read(arguments)
    except CharsetError:
        raise AnswerError(
            b"NO [BADCHARSET (US-ASCII)] The specified charset is not supported."
        ) from None
    found = [
        message.uid if c.by_uid else number
        for number, message in enumerate(c.view, 1)
        if matches(number, message)
    ]
    c.put(" ".join(["* SEARCH", *map(str, found)]).encode())
    c.ok(tag)


def _flag_list(flags: Iterable[str]) -> bytes:
    ordered = [flag for flag in SYSTEM_FLAGS if flag in flags]
    return b"(" + " ".join(ordered).encode() + b")"


def _date_time(moment: datetime) -> bytes:
    month = _MONTHS[moment.month - 1]
    return f'"{moment.day:02d}-{month}-{moment.year:04d} {moment:%H:%M:%S} +0000"'.encode()


COMMANDS = {
    "NOOP": _noop,
    "CHECK": _noop,
    "SELECT": _select,
    "EXAMINE": _select,
    "IDLE": _idle,
    "CLOSE": _close,
    "UNSELECT": _close,
    "EXPUNGE": _expunge,
    "FETCH": _fetch,
    "STORE": _store,
    "COPY": _copy,
    "MOVE": _copy,
    "SEARCH": _search,
}
BY_UID = ("FETCH", "STORE", "COPY", "MOVE", "SEARCH", "EXPUNGE")
