"""The browser of a person who agrees to everything: it opens a page and sends the form on it.

For a program that opens a browser: set ``BROWSER`` to ``command()`` in its environment.
"""

from __future__ import annotations

import html
import re
import ssl
import sys
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

_FORM = re.compile(r'<form method="POST" action="([^"]+)">(.*)</form>', re.DOTALL)
_FIELD = re.compile(r'name="([^"]+)" value="([^"]*)"')


def command(ca_file: Path) -> str:
    """Return what to put into ``BROWSER``; the ``&`` lets the one who opens it go on."""
    return f"{sys.executable} {Path(__file__)} {ca_file} %s &"


def visit(url: str, ca_file: Path) -> str:
    """Open a page, send its form, and return what then is shown."""
    context = ssl.create_default_context(cafile=str(ca_file))
    with urlopen(url, context=context, timeout=20) as answer:
        page = answer.read().decode()
    form = _FORM.search(page)
    if form is None:
        return str(page)
    fields = {name: html.unescape(value) for name, value in _FIELD.findall(form[2])}
    with urlopen(html.unescape(form[1]), urlencode(fields).encode(), timeout=20) as answer:
        return str(answer.read().decode())


if __name__ == "__main__":
    visit(sys.argv[2], Path(sys.argv[1]))
