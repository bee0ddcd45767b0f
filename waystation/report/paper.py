"""The page as PDF: the only door to WeasyPrint, which the extra ``waystation[pdf]`` brings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NoReturn

from waystation.errors import WaystationError

if TYPE_CHECKING:
    from pathlib import Path


MARK = b"% waystation report\n"
"""A comment behind the end, by which a file of ours is known again: all else is compressed."""


class NoPdfError(WaystationError):
    """What makes PDF files is not installed here."""

    def __init__(self) -> None:
        super().__init__(
            "PDF needs WeasyPrint and the library Pango: pip install 'waystation[pdf]' and, on"
            " Debian, apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0. Any"
            " browser prints the HTML report to PDF without them."
        )


def write_pdf(html: str, path: Path) -> None:
    """Write a page as PDF; nothing is fetched for it, from nowhere.

    Raises:
        NoPdfError: WeasyPrint, or a library that it needs, is missing.
    """
    for name in ("weasyprint", "fontTools"):
        # They warn of each rule that only screens know.
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        from weasyprint import HTML
    except (ImportError, OSError):
        raise NoPdfError from None
    HTML(string=html, url_fetcher=_fetch_nothing).write_pdf(path)
    with path.open("ab") as stream:
        stream.write(MARK)


def _fetch_nothing(url: str, *_: object, **__: object) -> NoReturn:
    raise ValueError(f"a report fetches nothing, and this asks for {url}")
