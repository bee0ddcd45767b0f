"""The pages, asked for without a browser: who gets in, what is told, and what is never an error."""

from __future__ import annotations

import html
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from store.fulltext import is_current, update
from store.fulltext import place as fulltext_place
from store.listing import in_folder
from store.lock import Lock
from tests.browse.support import FILE, PNG, client_of, number_of, shelf
from tests.store.filling import add, create, mail, put, remote
from waystation.browse.mail import harmless
from waystation.browse.words import Builder
from waystation.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from werkzeug.test import Client

GOOD = ("/token/", "/token/folder/1", "/token/search?q=e", "/token/message/1", "/token/message/2")


@pytest.mark.parametrize("path", ["/", "/wrong/", "/token", "/toke/", "/tokenx/", "/\xff/", "//"])
def test_who_does_not_know_the_token_is_told_nothing(client: Client, path: str) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.data) == (403, b"Forbidden\n")


@pytest.mark.parametrize("host", ["evil.example", "localhost:1", "localhost.evil.example", ""])
def test_who_comes_by_another_name_is_told_nothing(client: Client, host: str) -> None:
    answer = client.get("/token/", headers={"Host": host})

    assert (answer.status_code, answer.data) == (403, b"Forbidden\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_pages_are_only_read(client: Client, method: str) -> None:
    assert client.open("/token/", method=method).status_code == 403


@pytest.mark.parametrize("path", [*GOOD, "/token/message/2/html", "/token/nothing", "/wrong"])
def test_every_answer_forbids_what_no_page_needs(client: Client, path: str) -> None:
    headers = client.get(path).headers

    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "script" not in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", GOOD)
def test_every_link_leads_to_these_pages(client: Client, path: str) -> None:
    text = client.get(path).text

    links = re.findall(r'(?:href|src|action)="([^"]*)"', text)
    assert links
    assert all(link.startswith("/token/") for link in links)
    assert "<script" not in text
    assert client.head(path).status_code == 200


def test_the_page_of_a_mail_is_in_a_sandbox(client: Client) -> None:
    policy = client.get("/token/message/2/html").headers["Content-Security-Policy"]

    assert "img-src http://localhost/token/message/2/image/ data:;" in policy
    assert policy.endswith("sandbox allow-popups allow-popups-to-escape-sandbox")
    page = client.get("/token/message/2").text
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page


def test_links_of_a_mail_say_nothing_of_where_they_stood(client: Client) -> None:
    text = client.get("/token/message/2/html").text

    links = re.findall(r"<a [^>]*href=[^>]*>", text)
    assert links
    assert all('rel="noopener noreferrer"' in link for link in links)
    assert all('target="_blank"' in link for link in links)


def test_files_are_saved_and_never_shown(client: Client) -> None:
    pdf = client.get("/token/message/1/part/2", buffered=True)
    page = client.get("/token/message/2/part/2", buffered=True)
    picture = client.get("/token/message/2/part/3", buffered=True)

    assert pdf.data == FILE
    assert pdf.headers["Content-Length"] == str(len(FILE))
    for answer in (pdf, page, picture):
        assert answer.content_type == "application/octet-stream"
        assert answer.headers["Content-Security-Policy"].endswith("sandbox")
    assert "filename*=UTF-8''Bericht%20K%C3%B6ln.pdf" in pdf.headers["Content-Disposition"]
    assert 'filename="_.._evil.html"' in page.headers["Content-Disposition"]
    assert page.headers["Content-Disposition"].startswith("attachment;")


def test_only_pictures_without_scripts_are_shown(client: Client) -> None:
    shown = client.get("/token/message/2/image/1.2.2", buffered=True)

    assert (shown.content_type, shown.data) == ("image/png", PNG)
    for number in ("2", "3", "1.1", "9", "x"):
        assert client.get(f"/token/message/2/image/{number}", buffered=True).status_code == 404


def test_a_message_is_saved_octet_by_octet(client: Client, alice: Path) -> None:
    number = number_of(alice, 6)
    with Archive.read(alice) as archive:
        message = archive.index.message(number)
        assert message is not None
        file = archive.find(message)
    assert file is not None

    answer = client.get(f"/token/message/{number}/raw", buffered=True)

    assert answer.data == file.read_bytes()
    assert answer.headers["Content-Disposition"].startswith("attachment;")


@pytest.mark.parametrize("view", ["", "/html", "?view=text", "/raw", "/part/1", "/image/1"])
def test_no_message_is_an_error(client: Client, alice: Path, view: str) -> None:
    with Archive.read(alice) as archive:
        ids = [message.id for message in archive.index.messages()]

    for number in ids:
        answer = client.get(f"/token/message/{number}{view}", buffered=True)
        assert answer.status_code in (200, 404)


@pytest.mark.parametrize(
    "path",
    [
        *("message/0", "message/99", "message/99999999999999999999", "message/x", "folder/99"),
        *("static/../gate.py", "static/x", "nothing", "message/1/part/99", "message/1/html/x"),
    ],
)
def test_what_is_not_there_is_said_on_a_page(client: Client, path: str) -> None:
    answer = client.get(f"/token/{path}")

    assert answer.status_code == 404
    assert "All folders" in answer.text


@pytest.mark.parametrize("before", ["", "x", ":", "1:1", "-5:3", "9" * 30 + ":1", "1:-1", "\x00"])
@pytest.mark.parametrize("path", ["folder/1", "search?q=e"])
def test_any_place_to_go_on_from_is_answered(client: Client, path: str, before: str) -> None:
    sign = "&" if "?" in path else "?"

    assert client.get(f"/token/{path}{sign}before={before}").status_code == 200


@pytest.mark.parametrize("query", ["", "%", "_", "'", '"', "\\", "a b c", "<b>", "x" * 5000, "%00"])
def test_any_query_is_answered(client: Client, query: str) -> None:
    assert client.get("/token/search", query_string={"q": query}).status_code == 200


@contextmanager
def _building_by_another(place: Path) -> Iterator[None]:
    lock = Lock(place / "search.lock")
    lock.take("search")
    try:
        yield
    finally:
        lock.release()


def test_a_search_takes_the_words_as_soon_as_they_are_built(tmp_path: Path) -> None:
    place = shelf(tmp_path / "built")
    words = Builder(place)
    pages = client_of(place, words)
    with _building_by_another(place):
        words.start()
        words.join()
        before = pages.get("/token/search?q=Bericht").text
        asked = pages.get("/token/search?q=has:attachment").text
        words.join()
    pages.get("/token/search?q=liegt")
    words.join()
    after = pages.get("/token/search?q=liegt").text

    assert "Another process is building the search index." in before
    assert "subject, sender and recipients only" in before
    assert "Bericht für März" in before
    assert "Only with it can this be answered." in asked
    assert "Nothing matches" not in asked
    assert "Bericht für März" in after
    assert "search index" not in after
    assert "Bericht für März" in pages.get("/token/search?q=has:attachment").text
    assert "Bericht für März" in pages.get("/token/search?q=from:asa+before:2025").text
    assert "makes no sense" in pages.get('/token/search?q="open').text


def test_what_was_archived_after_the_pages_were_opened_is_found_soon(tmp_path: Path) -> None:
    place = shelf(tmp_path / "grows")
    words = Builder(place)
    pages = client_of(place, words)
    words.start()
    words.join()
    with Archive.write(place, "test") as archive:
        inbox = archive.index.folder("INBOX")
        assert inbox is not None
        batch = archive.batch()
        put(archive, batch, inbox, remote(99), b"Subject: late\r\n\r\nan afterthought\r\n")
        batch.commit()
    first = pages.get("/token/search?q=afterthought").text
    words.join()

    assert "not found by its words" in first
    assert ">late<" in pages.get("/token/search?q=afterthought").text


def test_where_no_words_can_be_built_the_page_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shelf(tmp_path / "full")
    (place / "search.sqlite").mkdir()  # what no index can be written to
    words = Builder(place)
    pages = client_of(place, words)
    words.start()
    words.join()

    shown = pages.get("/token/search?q=has:attachment").text

    assert "The search index cannot be built: " in shown
    assert pages.get("/token/").status_code == 200


def test_the_end_of_the_pages_ends_the_building(tmp_path: Path) -> None:
    place = shelf(tmp_path / "ended")
    words = Builder(place)
    words.stop()
    words.start()
    words.join()

    assert words.lack.startswith("The search index is being built")
    with Archive.read(place) as archive:
        assert not is_current(archive, fulltext_place(archive))


def test_pages_of_what_was_found_tell_each_message_once(tmp_path: Path) -> None:
    with create(tmp_path / "a") as archive:
        inbox = archive.ensure_folder(("INBOX",), None)
        batch = archive.batch()
        for uid in range(1, 121):
            put(archive, batch, inbox, remote(uid), mail(uid))
        batch.commit()
        update(archive, Silent())
    pages = client_of(tmp_path / "a")
    seen: list[str] = []
    there: str | None = "/token/search?q=number"
    while there is not None:
        text = pages.get(there).text
        seen += re.findall(r'/message/(\d+)"', text)
        more = re.search(r'rel="next" href="([^"]+)"', text)
        there = html.unescape(more[1]) if more else None

    assert len(seen) == len(set(seen)) == 120


def test_a_message_that_is_not_archived_shows_why(client: Client, alice: Path) -> None:
    with Archive.read(alice) as archive:
        failed = next(archive.index.messages("failed"))

    text = client.get(f"/token/message/{failed.id}").text

    assert "the server said &lt;no&gt;" in text


def test_a_file_that_was_altered_is_told(tmp_path: Path) -> None:
    place = shelf(tmp_path / "altered")
    number = number_of(place, 1)
    with Archive.read(place) as archive:
        message = archive.index.message(number)
        assert message is not None
        file = archive.find(message)
    assert file is not None
    file.chmod(0o600)
    file.write_bytes(b"Subject: forged\r\n\r\n")

    text = client_of(place).get(f"/token/message/{number}").text

    assert "not the one that was archived" in text


def test_pages_of_a_list_tell_each_message_once(tmp_path: Path) -> None:
    with create(tmp_path / "a") as archive:
        inbox = archive.ensure_folder(("INBOX",), None)
        for uid in range(1, 12):
            add(archive, inbox, remote(uid, internaldate=None) if uid % 3 else remote(uid))
        seen: list[int] = []
        before = None
        while page := in_folder(archive, inbox.id, 2, before):
            seen += [each.message.uid for each in page]
            before = page[-1].cursor

    assert seen == [9, 6, 3, 11, 10, 8, 7, 5, 4, 2, 1]


def test_what_is_left_of_html_is_harmless() -> None:
    def image(content_id: str) -> str:
        return f"/image/{content_id}"

    clean = harmless(
        '<p style="color:red;background:url(http://e/x);position:fixed" onclick=x>a'
        '<img src="cid:1"><img src="http://e/y"><a href="javascript:x">b</a>'
        '<a href="HTTPS://e/">c</a><style>@import url(x)</style><script>d</script>'
        '<img src="data:image/svg+xml;base64,AA"><img src="data:image/gif;base64,AA">',
        image,
    )

    assert clean is not None
    assert re.sub(r' (?:rel|target|loading)="[^"]*"', "", clean.html) == (
        '<p style="color:red">a<img src="/image/1"><img>'
        '<a>b</a><a href="HTTPS://e/">c</a><img><img src="data:image/gif;base64,AA"></p>'
    )
    assert clean.blocked == 4


@pytest.mark.parametrize("unit", ["<div>", "<b><p>", "<font color={}>", "<a href={}>", "<x{}>"])
def test_html_that_is_nested_beyond_reason_is_not_tried(unit: str) -> None:
    text = "".join(unit.format(number) for number in range(1000))

    assert harmless(text, lambda _: None) is None
