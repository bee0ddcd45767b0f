"""``waystation show``: one message, as people read it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.ledger import Rows
from waystation.cli import options, state
from waystation.cli.text import line_text, size_text
from waystation.errors import StorageError, UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.archive import Archive
    from store.index import ArchivedMessage
    from store.reading import Piece, Reading
    from waystation.cli.output import Listener

_EXAMPLES = """\
\b
Examples:
  waystation show alice INBOX:17
  waystation show alice 4711 --attachments out
"""
_SHOWN = ("From", "Reply-To", "To", "Cc", "Bcc", "Date", "Subject", "Message-ID")
_LONGEST = 2000
_BLOCK = 256 * 1024
_ALTERED = 13
"""The exit code where the file is not the one that was archived."""

MessageName = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The id that ledger and search print, FOLDER:UID, FOLDER:UIDVALIDITY:UID, a"
        " Message-ID, or the beginning of a sha256.",
        show_default=False,
    ),
]

Directory = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Save what is attached into this directory, replacing nothing."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("show", epilog=_EXAMPLES)(_show)


def _show(
    archive: options.ArchivePath,
    name: MessageName,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the message's exact octets, and nothing else.")
    ] = False,
    headers: Annotated[
        bool, typer.Option("--headers", help="Show every header field, not only the usual ones.")
    ] = False,
    attachments: Directory = None,
    as_json: options.Json = False,
) -> int:
    """Show a message: header, where it lies, what became of it, its text, what is attached."""
    from store.archive import Archive
    from store.pointing import UnclearMessageError, pointed_at

    listener = state.listen("show", as_json=as_json)
    if raw and (as_json or headers or attachments is not None):
        raise UsageError("--raw writes the message alone; leave the other options out.")
    with Archive.read(archive) as opened:
        try:
            message = pointed_at(opened, name)
        except UnclearMessageError as error:
            _tell_candidates(listener, opened, error.candidates)
            raise
        if raw:
            return _write_raw(listener, opened, message)
        if attachments is not None:
            return _save(listener, opened, message, attachments)
        return _tell(listener, opened, message, all_fields=headers)


def _tell_candidates(
    listener: Listener, archive: Archive, messages: tuple[ArchivedMessage, ...]
) -> None:
    rows = Rows(archive)
    for message in messages:
        listener.row("candidate", rows.of(message))
    listener.table(
        ["id", "folder", "uidvalidity", "uid", "received", "message-id"],
        [
            [
                str(message.id),
                message.folder,
                str(message.uidvalidity),
                str(message.uid),
                str(message.internaldate or "-"),
                message.message_id or "-",
            ]
            for message in messages
        ],
    )


def _write_raw(listener: Listener, archive: Archive, message: ArchivedMessage) -> int:
    from hashlib import sha256

    from store.reading import open_message

    whole = sha256()
    sys.stdout.flush()
    with open_message(archive, message) as file:
        while block := file.read(_BLOCK):
            whole.update(block)
            sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()
    return _verdict(listener, message, whole.hexdigest())


def _verdict(listener: Listener, message: ArchivedMessage, sha256: str) -> int:
    if sha256 == message.sha256:
        return 0
    listener.warning(
        f"{plain(message.folder)} UID {message.uid}: the file is not the one that was archived; "
        "'waystation check ARCHIVE' looks at all of them"
    )
    return _ALTERED


# Attachments


def _save(listener: Listener, archive: Archive, message: ArchivedMessage, directory: Path) -> int:
    from store.reading import open_message, read, save_parts

    with open_message(archive, message) as file:
        reading = read(file)
        pieces = reading.attachments()
        if pieces:
            _make(directory)
        file.seek(0)
        paths = save_parts(file, pieces, directory)
    for piece, path in zip(pieces, paths, strict=True):
        listener.row("attachment", {**_piece_row(piece), "path": str(path), "size": piece.size})
        listener.heading(f"{path} ({size_text(piece.size)})")
    code = _verdict(listener, message, reading.sha256)
    if not pieces:
        listener.say("nothing is attached")
    if reading.others:
        listener.warning(f"{reading.others:,} more parts are left out")
    outcome = "altered" if code else "done"
    listener.summary(outcome, code, {"id": message.id, "attachments": len(pieces)})
    return code


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(directory, error) from None


# The message


def _tell(
    listener: Listener, archive: Archive, message: ArchivedMessage, *, all_fields: bool
) -> int:
    from store.reading import MessageGoneError, open_message, read

    row = Rows(archive).of(message)
    try:
        with open_message(archive, message) as file:
            reading = read(file)
    except MessageGoneError:
        _write(listener, _place_lines(row))
        listener.row("message", row)
        if message.state == "archived":
            raise
        listener.summary("done", 0, {"id": message.id})
        return 0
    listener.row("message", row | _reading_row(reading, message))
    _write(listener, _lines(reading, row, all_fields=all_fields))
    code = _verdict(listener, message, reading.sha256)
    listener.summary("altered" if code else "done", code, {"id": message.id})
    return code


def _write(listener: Listener, lines: Iterator[str]) -> None:
    """Write lines for people; programs got their row."""
    from waystation.cli.output import Text

    if isinstance(listener, Text):
        sys.stdout.writelines(f"{line}\n" for line in lines)
        sys.stdout.flush()


def _reading_row(reading: Reading, message: ArchivedMessage) -> dict[str, Any]:
    texts = reading.texts()
    return {
        "headers": [{"name": name, "value": value} for name, value in reading.fields],
        "text": "\n\n".join(piece.readable for piece in texts),
        "text_is_cut": any(piece.is_cut for piece in texts),
        "attachments": [
            {**_piece_row(piece), "size": piece.size} for piece in reading.attachments()
        ],
        "is_as_archived": reading.sha256 == message.sha256,
    }


def _piece_row(piece: Piece) -> dict[str, Any]:
    part = piece.part
    return {
        "number": part.number,
        "media_type": part.media_type,
        "file_name": part.file_name or None,
        "content_id": part.content_id or None,
    }


def _lines(reading: Reading, row: dict[str, Any], *, all_fields: bool) -> Iterator[str]:
    fields = reading.fields
    if not all_fields:
        known = [name.lower() for name in _SHOWN]
        usual = [each for each in fields if each[0].lower() in known]
        fields = sorted(usual, key=lambda each: known.index(each[0].lower()))
    for name, value in fields:
        longest = len(value) if all_fields else _LONGEST
        yield f"{plain(name) + ':':11} {plain(value, max(longest, 1))}"
    yield ""
    yield from _place_lines(row)
    yield from _text_lines(reading)
    attachments = reading.attachments()
    if attachments:
        yield ""
        yield "Attached:"
        width = max(len(piece.part.number) for piece in attachments)
        for piece in attachments:
            named = plain(piece.part.file_name or piece.value("subject") or "without a name")
            kind = plain(piece.part.media_type, 60)
            yield f"  {piece.part.number:{width}}  {named} ({kind}, {size_text(piece.size)})"
    if reading.others:
        yield f"  and {reading.others:,} more parts"


def _place_lines(row: dict[str, Any]) -> Iterator[str]:
    place = f"{plain(row['folder'])}, UIDVALIDITY {row['uidvalidity']}, UID {row['uid']}"
    yield f"Archived:   {place} (id {row['id']})"
    if row["state"] != "archived":
        yield f"State:      {row['state']}: {plain(row['reason'] or '')}"
    if row["internaldate"]:
        told = f" (by the field {row['date_from'].capitalize()})" if row["date_from"] else ""
        yield f"Received:   {row['internaldate']}{told}"
    if row["flags"] or row["keywords"]:
        yield f"Flags:      {plain(' '.join((*row['flags'], *row['keywords'])), _LONGEST)}"
    if row["size"] is not None:
        yield f"Size:       {row['size']:,} octets"
    if row["sha256"]:
        yield f"SHA-256:    {row['sha256']}"
    if row["last_seen"]:
        yield f"Gone:       the source no longer shows it; last seen {plain(row['last_seen'])}"
    for name, target in row["targets"].items():
        yield f"Target:     {plain(name)}: {_target_text(target)}"
        for repair in target["repairs"]:
            yield f"            mended on the way: {plain(repair['what'])}"
        if target["lost"]:
            yield f"            not kept there: {plain(' '.join(target['lost']))}"
        if target["reply"]:
            yield f"            its words: {plain(target['reply'])}"


def _target_text(target: dict[str, Any]) -> str:
    text = str(target["state"]).replace("_", " ")
    if target["folder"]:
        text += f", {plain(target['folder'])}"
    if target["uid"] is not None:
        text += f", UID {target['uid']}"
    return text


def _text_lines(reading: Reading) -> Iterator[str]:
    texts = {id(piece) for piece in reading.texts()}
    for piece in reading.pieces:
        if piece.part.is_message:
            yield ""
            yield f"--- message {piece.part.number} ---"
            for name in ("From", "To", "Date", "Subject"):
                if value := piece.value(name.lower()):
                    yield f"{name + ':':11} {plain(value, _LONGEST)}"
        elif id(piece) in texts:
            yield ""
            yield from map(line_text, piece.readable.splitlines())
            if piece.is_cut:
                yield ""
                yield "[the text goes on; --raw writes all of it]"
