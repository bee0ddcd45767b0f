"""The server: waitress on 127.0.0.1, which nobody beyond this machine reaches."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

from waystation.browse.gate import Gate, new_token
from waystation.browse.pages import Pages
from waystation.browse.words import Builder
from waystation.errors import WaystationError, plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_HOST = "127.0.0.1"
_THREADS = 4
_HELD_BACK = 1024 * 1024
"""Octets of an answer that wait for a slow reader."""


class CannotListenError(WaystationError):
    """The port is not to be had."""

    def __init__(self, port: int, why: str) -> None:
        super().__init__(
            f"cannot listen on port {port}: {plain(why)}. Without --port a free one is taken."
        )


def serve(archive: Path, port: int, ready: Callable[[str], None]) -> None:
    """Show an archive until Ctrl-C; ``ready`` gets the address, once it answers.

    What the search needs is built meanwhile.

    Port 0 stands for any that is free.

    Raises:
        CannotListenError
    """
    from waitress.server import create_server

    words = Builder(archive)
    gate = Gate(new_token(), Pages(archive, words).answer)
    logging.getLogger("waitress").setLevel(logging.CRITICAL)
    try:
        listening = socket.create_server((_HOST, port))
    except OSError as error:
        raise CannotListenError(port, error.strerror or "it is taken") from None
    with listening:
        place = f"{_HOST}:{listening.getsockname()[1]}"
        gate.hosts = frozenset((place, place.replace(_HOST, "localhost")))
        server = create_server(
            gate,
            sockets=[listening],
            threads=_THREADS,
            ident=None,
            outbuf_high_watermark=_HELD_BACK,
            max_request_header_size=32 * 1024,
            max_request_body_size=1024,
        )
        try:
            ready(f"http://{place}/{gate.token}/")
            words.start()
            server.run()
        finally:
            words.stop()
            server.close()
