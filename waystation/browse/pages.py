"""The answers: folders, lists, a message, its parts. Each opens the archive for itself, to read."""

from __future__ import annotations

import logging
import os
import re
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Response

from store.archive import Archive
from store.listing import counts, in_folder
from store.reading import MessageGoneError, file_name_of, open_message, part_octets, read
from waystation.browse.finding import find
from waystation.browse.gate import PAGE_POLICY
from waystation.browse.mail import harmless
from waystation.errors import WaystationError, plain
from waystation.model import split_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path
    from typing import BinaryIO

    from werkzeug.wrappers import Request

    from store.index import ArchivedMessage
    from store.reading import Piece, Reading
    from waystation.browse.words import Builder

_log = logging.getLogger(__name__)

_PAGE = 50
"""Messages in a list."""
_MOST_FIELDS = 500
_LONGEST_VALUE = 2000
_BLOCK = 256 * 1024
_HTML = "text/html"
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp")
"""Kinds of pictures that can hold no script."""
_USUAL = ("from", "reply-to", "to", "cc", "bcc", "date")

_MAP = Map(
    (
        Rule("/", endpoint="folders"),
        Rule("/folder/<int:number>", endpoint="folder"),
        Rule("/search", endpoint="search"),
        Rule("/message/<int:number>", endpoint="message"),
        Rule("/message/<int:number>/html", endpoint="html"),
        Rule("/message/<int:number>/raw", endpoint="raw"),
        Rule("/message/<int:number>/part/<string:part>", endpoint="part"),
        Rule("/message/<int:number>/image/<string:part>", endpoint="image"),
        Rule("/static/<string:name>", endpoint="static"),
    ),
    strict_slashes=False,
)

_STATIC = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


class WrongPageError(Exception):
    """What was asked for is not there."""


class Pages:
    """Answers requests that were let in, for one archive."""

    def __init__(self, path: Path, words: Builder) -> None:
        self._path = path
        self._words = words
        self._templates = Environment(
            loader=PackageLoader("waystation.browse"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "count": count_text,
            "person": person_text,
            "size": size_text,
            "time": time_text,
        }

    def answer(self, request: Request) -> Response:
        """Return the answer; whatever goes wrong is told on a page."""
        try:
            endpoint, values = _MAP.bind_to_environ(request.environ).match()
            view: Callable[..., Response] = getattr(self, f"_{endpoint}")
            return view(request, **values)
        except HTTPException as error:
            return self._wrong(request, "There is no such page.", error.code or 404)
        except WrongPageError as error:
            return self._wrong(request, str(error), 404)
        except MessageGoneError as error:
            return self._wrong(request, str(error), 404)
        except (WaystationError, OSError, MemoryError) as error:
            return self._wrong(request, plain(str(error), 1500), 503)
        except Exception as error:  # noqa: BLE001 - one bad message must not end the rest
            _log.debug("browse: %s", request.path, exc_info=error)
            return self._wrong(request, "This cannot be shown; the archive is not affected.", 503)

    # Lists

    def _folders(self, request: Request) -> Response:
        with Archive.read(self._path) as archive:
            numbers = counts(archive)
            folders = [
                {
                    "id": folder.id,
                    "levels": split_name(folder.name),
                    "use": (folder.special_use or "").removeprefix("\\"),
                    "count": numbers.get(folder.id, 0),
                    "is_gone": folder.last_seen is not None,
                }
                for folder in sorted(archive.index.folders(), key=lambda each: each.name != "INBOX")
            ]
            return self._page(
                request,
                "folders.html",
                folders=folders,
                total=sum(numbers.values()),
                targets=[target.name for target in archive.transfers.targets()],
                source=archive.description.source,
            )

    def _folder(self, request: Request, number: int) -> Response:
        before = request.args.get("before")
        with Archive.read(self._path) as archive:
            folder = next((each for each in archive.index.folders() if each.id == number), None)
            if folder is None:
                raise WrongPageError("There is no such folder.")
            messages = in_folder(archive, number, _PAGE + 1, before)
            return self._page(
                request,
                "folder.html",
                folder=folder,
                messages=messages[:_PAGE],
                after=messages[_PAGE - 1].cursor if len(messages) > _PAGE else None,
                is_first=before is None,
                is_sent=folder.special_use in ("\\Sent", "\\Drafts"),
            )

    def _search(self, request: Request) -> Response:
        query = request.args.get("q", "").strip()[:1000]
        before = request.args.get("before")
        with Archive.read(self._path) as archive:
            found = find(archive, query, _PAGE + 1, before, self._words.lack)
            if found.lacks_words:
                self._words.start()  # what another run has archived since the pages were opened
            messages = found.messages
            return self._page(
                request,
                "search.html",
                query=query,
                note=found.note,
                is_answer=found.is_answer,
                messages=messages[:_PAGE],
                after=messages[_PAGE - 1].cursor if len(messages) > _PAGE else None,
                is_first=before is None,
            )

    # One message

    def _message(self, request: Request, number: int) -> Response:
        with Archive.read(self._path) as archive:
            message = _found(archive, number)
            shown: dict[str, Any] = {
                "message": message,
                "transfers": _transfers(archive, message),
                "reading": None,
                "problem": None,
            }
            try:
                with open_message(archive, message) as file:
                    reading = read(file)
            except MessageGoneError as error:
                return self._page(request, "message.html", **shown | {"problem": str(error)})
        return self._page(request, "message.html", **shown | _shown(request, reading, message))

    def _html(self, request: Request, number: int) -> Response:
        """Answer with the message's text as a page of its own, which is in a sandbox."""
        reading = self._read(number)
        images = f"{request.root_url}message/{number}/image/"
        bodies = list(_bodies(reading, number, request.script_root))
        policy = (
            f"default-src 'none'; img-src {images} data:; style-src 'unsafe-inline';"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'self';"
            " sandbox allow-popups allow-popups-to-escape-sandbox"
        )
        return self._page(request, "mail.html", policy=policy, bodies=bodies)

    def _image(self, _request: Request, number: int, part: str) -> Response:
        """Answer with a picture that lies in the message."""
        piece = _piece(self._read(number), part)
        if piece.part.media_type not in _IMAGES:
            raise WrongPageError("This is no picture that is shown.")
        response = self._octets(number, part)
        response.content_type = piece.part.media_type
        return response

    def _part(self, _request: Request, number: int, part: str) -> Response:
        """Answer with a part as a file to be saved."""
        piece = _piece(self._read(number), part)
        response = self._octets(number, part)
        response.headers["Content-Disposition"] = _saved_as(file_name_of(piece))
        response.content_length = piece.size
        return response

    def _raw(self, _request: Request, number: int) -> Response:
        """Answer with the message itself, octet by octet, as a file to be saved."""
        file = self._file(number)
        response = Response(_blocks(file), content_type="application/octet-stream")
        response.call_on_close(file.close)
        response.content_length = os.fstat(file.fileno()).st_size
        response.headers["Content-Disposition"] = _saved_as(f"message-{number}.eml")
        return response

    def _static(self, _request: Request, name: str) -> Response:
        if name not in _STATIC:
            raise WrongPageError("There is no such page.")
        octets = resources.files("waystation.browse").joinpath("static", name).read_bytes()
        response = Response(octets, content_type=_STATIC[name])
        response.headers["Content-Security-Policy"] = PAGE_POLICY
        return response

    # What they have in common

    def _file(self, number: int) -> BinaryIO:
        with Archive.read(self._path) as archive:
            return open_message(archive, _found(archive, number))

    def _read(self, number: int) -> Reading:
        with self._file(number) as file:
            return read(file)

    def _octets(self, number: int, part: str) -> Response:
        file = self._file(number)
        response = Response(part_octets(file, part), content_type="application/octet-stream")
        response.call_on_close(file.close)
        return response

    def _page(
        self, request: Request, template: str, *, policy: str = PAGE_POLICY, **values: object
    ) -> Response:
        text = self._templates.get_template(template).render(
            base=request.script_root,
            archive=self._path.resolve().name,
            **{"query": ""} | values,
        )
        # Lone surrogates, should any have come so far, are no reason to show nothing.
        response = Response(
            text.encode("utf-8", "replace"), content_type="text/html; charset=utf-8"
        )
        response.headers["Content-Security-Policy"] = policy
        return response

    def _wrong(self, request: Request, text: str, code: int) -> Response:
        response = self._page(request, "wrong.html", text=text)
        response.status_code = code
        return response


def _found(archive: Archive, number: int) -> ArchivedMessage:
    message = archive.index.message(number) if number < 2**63 else None
    if message is None:
        raise WrongPageError("There is no such message.")
    return message


def _piece(reading: Reading, number: str) -> Piece:
    found = next((piece for piece in reading.pieces if piece.part.number == number), None)
    if found is None:
        raise WrongPageError("The message has no such part.")
    return found


def _transfers(archive: Archive, message: ArchivedMessage) -> list[dict[str, Any]]:
    """Return what became of a message at each target."""
    targets = {target.id: target.name for target in archive.transfers.targets()}
    known = {transfer.target_id: transfer for transfer in archive.transfers.of_message(message.id)}
    return [{"target": name, "transfer": known.get(number)} for number, name in targets.items()]


def _shown(request: Request, reading: Reading, message: ArchivedMessage) -> dict[str, Any]:
    """Return what the page of a message tells."""
    has_html = any(piece.is_html for piece in reading.texts(_HTML))
    as_html = has_html and request.args.get("view") != "text"
    blocked, is_cut, is_simplified = 0, False, False
    texts: list[dict[str, Any]] = []
    if as_html:
        for piece in reading.texts(_HTML):
            is_cut = is_cut or piece.is_cut
            clean = harmless(piece.text or "", lambda _: "") if piece.is_html else None
            if clean is not None:
                blocked += clean.blocked
                is_cut = is_cut or clean.is_cut
            elif piece.is_html:
                is_simplified = True
    else:
        texts = list(_texts(reading))
        is_cut = any(piece.is_cut for piece in reading.texts())
    usual = [field for field in reading.fields if field[0].lower() in _USUAL]
    return {
        "reading": reading,
        "subject": reading.value("subject"),
        "usual": sorted(usual, key=lambda field: _USUAL.index(field[0].lower()))[:_MOST_FIELDS],
        "fields": [(name, value[:_LONGEST_VALUE]) for name, value in reading.fields[:_MOST_FIELDS]],
        "more_fields": max(len(reading.fields) - _MOST_FIELDS, 0),
        "attachments": [
            {"piece": piece, "name": file_name_of(piece)} for piece in reading.attachments()
        ],
        "has_html": has_html,
        "as_html": as_html,
        "texts": texts,
        "blocked": blocked,
        "is_cut": is_cut,
        "is_simplified": is_simplified,
        "is_as_archived": reading.sha256 == message.sha256,
    }


def _texts(reading: Reading, preferred: str = "text/plain") -> Iterator[dict[str, Any]]:
    """Yield what is to be read, and the messages in the message as headings."""
    texts = {id(piece) for piece in reading.texts(preferred)}
    for piece in reading.pieces:
        if piece.part.is_message:
            fields = [
                (name, piece.value(name.lower())) for name in ("From", "To", "Date", "Subject")
            ]
            yield {"fields": [field for field in fields if field[1]], "piece": piece}
        elif id(piece) in texts:
            yield {"fields": [], "piece": piece}


def _bodies(reading: Reading, number: int, base: str) -> Iterator[dict[str, Any]]:
    """Yield the same for the page in the sandbox: HTML where it can be made harmless, else text."""

    def image(content_id: str) -> str | None:
        found = reading.with_content_id(content_id.strip())
        if found is None or found.part.media_type not in _IMAGES:
            return None
        return f"{base}/message/{number}/image/{found.part.number}"

    for body in _texts(reading, _HTML):
        piece: Piece = body["piece"]
        clean = harmless(piece.text or "", image) if piece.is_html else None
        body["html"] = Markup(clean.html) if clean is not None else None  # noqa: S704 - by nh3
        yield body


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _saved_as(name: str) -> str:
    """Return the field that has a browser save an answer under a name (RFC 6266)."""
    plainer = "".join(char if char.isascii() and char not in '"\\%' else "_" for char in name)
    return f"attachment; filename=\"{plainer}\"; filename*=UTF-8''{quote(name, safe='')}"


def person_text(field: str | None) -> str:
    """Return the name of a sender or of a single recipient without the address."""
    named = _NAMED.fullmatch(field or "")
    return named[1].strip() if named else field or "(nobody named)"


def size_text(octets: int | None) -> str:
    """Return a size as people read it, in powers of 1,000."""
    if octets is None:
        return "-"
    value = float(octets)
    for unit in ("B", "kB", "MB", "GB"):
        if round(value, 1) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def time_text(when: datetime | None) -> str:
    """Return a received date as people read it, in the offset that the server sent."""
    return when.strftime("%Y-%m-%d %H:%M") if when is not None else "-"


def count_text(count: int, noun: str) -> str:
    """Return a number with its noun, which takes an s where there are several."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


_NAMED = re.compile(r'"?([^"<>,@]*[^"<>,@\s][^"<>,@]*)"?\s*<[^<>,]*>')
