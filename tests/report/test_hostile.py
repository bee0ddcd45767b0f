"""Nothing that mail or a server says does anything to a report."""

from __future__ import annotations

import csv
import sqlite3
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from store.archive import Archive
from store.transfers import Transfer, TransferState
from tests.report.reading import Page, text
from tests.store.filling import filled
from waystation.cli.text import cell as ledger_cell
from waystation.report.charts import Chart, Series, svg
from waystation.report.foreign import shown
from waystation.report.formats import ReportFormat
from waystation.report.sheet import cell
from waystation.report.words import Words
from waystation.report.writing import companion_of, write

if TYPE_CHECKING:
    from pathlib import Path

NOW = "2026-11-23T12:00:00+00:00"
ODD = (
    "<script>alert(1)</script>",
    "</style></title><img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)//",
    "\u202eevil\u2066",
    "a\x00b\x1b[31m\r\nSet: x",
    "=cmd|' /C calc'!A0",
    "&lt;script&gt;",
    "]]><![CDATA[",
    "\ud800",
    "%(n)s %s %",
    "http://evil.example/x.png",
)
words_of_others = st.one_of(
    st.sampled_from(ODD),
    st.text(max_size=40),
    st.text(alphabet="<>&\"'{}%/=\u202e\x07 a", max_size=40),
)


@given(words_of_others)
@example("x" * 5000)
@example("\u202e" * 400)
@example("   ")
def test_whatever_is_shown_stays_on_its_line_and_in_its_direction(foreign: str) -> None:
    seen = shown(foreign)

    assert seen.isprintable() or not seen
    assert len(seen) <= 300
    assert seen == seen.strip()
    assert not any("\u2028" <= char <= "\u202e" or "\u2066" <= char <= "\u2069" for char in seen)


@given(words_of_others)
def test_no_cell_is_a_formula_or_more_than_one_line(foreign: str) -> None:
    found = str(cell(foreign))

    assert not found.lstrip().startswith(("=", "+", "-", "@"))
    assert found.isprintable() or not found


@given(st.one_of(words_of_others, st.sampled_from((" =1+1", "\uff1d1", "\t-2"))))
def test_no_cell_of_the_ledger_is_a_formula_either(foreign: str) -> None:
    found = str(ledger_cell(foreign))

    assert not found.lstrip().startswith(
        ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
    )


@given(st.lists(words_of_others, min_size=1, max_size=4))
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_chart_is_nothing_but_shapes_and_words(labels: list[str]) -> None:
    seen = [shown(each) for each in labels]
    series = [Series("size", "bar", [float(at + 1) for at in range(len(seen))])]
    chart = Chart("title", "; ".join(seen), seen, series, "{:.0f}".format, is_sideways=True)

    page = Page.of(
        f"<!DOCTYPE html><html><head><title>x</title></head><body>{svg(chart)}</body></html>"
    )

    assert page.scripts() == []
    assert page.addresses() == []
    assert not any(each.get("id") or each.get("style") for each in page.root.iter())


def test_a_hostile_archive_gives_a_harmless_page(tmp_path: Path) -> None:
    archive = hostile(filled(tmp_path / "archive"))
    file = tmp_path / "report.html"

    with Archive.read(archive) as opened:
        write(opened, file, ReportFormat.HTML, Words.of("en"), NOW, with_subjects=True)

    page = Page.of(file.read_text("utf-8"))
    assert page.scripts() == []
    assert page.addresses() == []
    assert "\u202e" not in page.html
    assert "\x1b" not in page.html
    seen = text(page.root)
    for each in {*ODD} - {"\ud800"}:  # SQLite holds no lone surrogate
        assert " ".join(shown(each).split()) in seen, each


def test_the_page_loads_nothing_and_allows_just_its_own_style(tmp_path: Path) -> None:
    import base64
    import hashlib

    file = tmp_path / "report.html"
    with Archive.read(filled(tmp_path / "archive")) as opened:
        write(opened, file, ReportFormat.HTML, Words.of("en"), NOW)
    html = file.read_text("utf-8")

    style = html.partition("<style>")[2].partition("</style>")[0]

    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}';" in html.replace("&#39;", "'")
    assert html.count("<style") == 1
    assert " style=" not in html


def test_the_tables_are_read_back_word_for_word(tmp_path: Path) -> None:
    archive = hostile(filled(tmp_path / "archive"))
    file = tmp_path / "report.csv"

    with Archive.read(archive) as opened:
        write(opened, file, ReportFormat.CSV, Words.of("en"), NOW, with_subjects=True)

    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6 + len(ODD)
    assert None not in rows[0]
    assert {str(cell(each)) for each in ODD[:6]} <= {row["subject"] for row in rows}
    assert not companion_of(file).exists()


def hostile(path: Path) -> Path:
    """Have everything that others say be hostile in an archive."""
    with Archive.write(path, "test") as archive:
        target = archive.transfers.target("imaps://<b>bob</b>@example.net", "bob")
        messages = list(archive.index.messages("archived"))
        archive.transfers.record(
            [],
            [
                Transfer(each.id, target.id, TransferState.REFUSED, ODD[at], reply=ODD[at])
                for at, each in enumerate(messages)
                if at != ODD.index("\ud800")
            ],
        )
        folders = archive.index.folders()
        archive.transfers.map_folders(
            target.id, [(each.id, ODD[at], ODD[at:12:2][:3]) for at, each in enumerate(folders)]
        )
        for at, odd in enumerate(ODD):
            reason = odd.encode("utf-8", "replace").decode()
            archive.index.add_failed(folders[0].id, 9, at + 1, reason)
    index = sqlite3.connect(path / "index.sqlite")
    for at, each in enumerate(messages):
        index.execute(
            "UPDATE messages SET subject = ?, sender = ? WHERE id = ?", (ODD[at], ODD[-1], each.id)
        )
    index.execute("UPDATE runs SET server = ?", (ODD[0],))
    index.commit()
    index.close()
    return path
