"""Commands on folders: LIST, CREATE, STATUS and their kin."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.exchange_online import names
from tests.exchange_online.arguments import ArgumentError

if TYPE_CHECKING:
    from tests.exchange_online.arguments import Arguments
    from tests.exchange_online.connection import Connection
    from tests.exchange_online.mailbox import Folder

_STATUS_ITEMS = frozenset({b"MESSAGES", b"RECENT", b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN"})


def _list(c: Connection, tag: bytes, arguments: Arguments) -> None:
    profile = c.profile
    if arguments.peek() == b"(" and profile.refuses_list_extended:
        raise ArgumentError(12)
    refuses = profile.refuses_escaped_quote
    reference = arguments.pattern(refuses_escaped_quote=refuses)
    arguments.space()
    wanted = arguments.pattern(refuses_escaped_quote=refuses)
    if not arguments.at_end and not (
        not profile.refuses_list_extended and arguments.skip(b" RETURN")
    ):
        raise ArgumentError(12)
    if not wanted:
        c.put(b'* LIST (\\Noselect) "/" ""')
        c.ok(tag)
        return
    matches = names.pattern(names.decode(reference), names.decode(wanted))
    with c.box.lock:
        for folder in c.box.all_folders():
            if matches.fullmatch(folder.name):
                c.put(_listed(c, folder, b"LIST"))
    c.ok(tag)


def _listed(c: Connection, folder: Folder, word: bytes) -> bytes:
    box, profile = c.box, c.profile
    children = "\\HasChildren" if box.has_children(folder) else "\\HasNoChildren"
    attributes = [children]
    if c.server.chance.happens(profile.marked_chance, "marked", box.address, folder.name):
        attributes.insert(0, "\\Marked")
    if folder.attribute and profile.special_use_attributes:
        attributes.append(folder.attribute)
    name = names.written(folder.name, control_unquoted=profile.control_names_unquoted)
    return b'* %b (%b) "/" %b' % (word, " ".join(attributes).encode(), name)


def _lsub(c: Connection, tag: bytes, arguments: Arguments) -> None:
    reference = arguments.astring()
    arguments.space()
    wanted = arguments.pattern(refuses_escaped_quote=False)
    arguments.end()
    matches = names.pattern(names.decode(reference), names.decode(wanted))
    with c.box.lock:
        for folder in c.box.all_folders():
            if folder.is_subscribed and matches.fullmatch(folder.name):
                c.put(_listed(c, folder, b"LSUB"))
    c.ok(tag)


def _name(c: Connection, arguments: Arguments) -> str:
    return names.decode(arguments.astring())


def _create(c: Connection, tag: bytes, arguments: Arguments) -> None:
    name = _name(c, arguments)
    arguments.end()
    with c.box.lock:
        c.box.create(name)
    c.ok(tag)


def _delete(c: Connection, tag: bytes, arguments: Arguments) -> None:
    name = _name(c, arguments)
    arguments.end()
    with c.box.lock:
        c.box.delete(name)
    c.ok(tag)


def _rename(c: Connection, tag: bytes, arguments: Arguments) -> None:
    old = _name(c, arguments)
    arguments.space()
    new = _name(c, arguments)
    arguments.end()
    with c.box.lock:
        c.box.rename(old, new)
    c.ok(tag)


def _subscribe(c: Connection, tag: bytes, arguments: Arguments) -> None:
    name = _name(c, arguments)
    arguments.end()
    with c.box.lock:
        c.box.find(name).is_subscribed = c.command == "SUBSCRIBE"
    c.ok(tag)


def _status(c: Connection, tag: bytes, arguments: Arguments) -> None:
    raw = arguments.astring()
    arguments.space()
    arguments.expect(b"(")
    words = arguments.match(re.compile(rb"[A-Za-z ]*"))[0].upper().split()
    arguments.expect(b")")
    arguments.end()
    if not set(words) <= _STATUS_ITEMS or not words:
        raise ArgumentError(11)
    with c.box.lock:
        folder = c.box.find(names.decode(raw))
        view, uidnext = c.visible(folder)
        values = {
            b"MESSAGES": len(view),
            b"RECENT": 0,
            b"UIDNEXT": uidnext,
            b"UIDVALIDITY": folder.uidvalidity,
            b"UNSEEN": sum("\\Seen" not in message.flags for message in view),
        }
    items = b" ".join(b"%b %d" % (word, values[word]) for word in words)
    name = names.written(folder.name, control_unquoted=True)
    c.put(b"* STATUS %b (%b)" % (name, items))
    c.ok(tag)


COMMANDS = {
    "LIST": _list,
    "LSUB": _lsub,
    "CREATE": _create,
    "DELETE": _delete,
    "RENAME": _rename,
    "SUBSCRIBE": _subscribe,
    "UNSUBSCRIBE": _subscribe,
    "STATUS": _status,
}
