"""A person with a real browser, and mail that means harm."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browse.support import FILE, Elsewhere, evil_html, number_of, serving, unguarded
from waystation.browse import pages
from waystation.browse.mail import Harmless

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext, Dialog, Page, Request


class Watched:
    """A page, and what it did."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        page.on("dialog", self._dialog)

    def _dialog(self, dialog: Dialog) -> None:
        from playwright.sync_api import Error

        self.dialogs.append(dialog.message)
        with suppress(Error):  # its page may be gone
            dialog.dismiss()

    def asked(self, request: Request) -> None:
        self.requests.append(request.url)

    def strangers(self, address: str) -> list[str]:
        """What was asked of others than the pages."""
        assert self.requests
        return [url for url in self.requests if not url.startswith((address, "data:"))]


@contextmanager
def watched(chromium: BrowserContext) -> Iterator[Watched]:
    page = chromium.new_page()
    watched = Watched(page)
    chromium.on("request", watched.asked)
    try:
        yield watched
    finally:
        chromium.remove_listener("request", watched.asked)
        page.close()


@pytest.fixture(scope="module")
def address(alice: Path) -> Iterator[str]:
    """Where ``waystation browse`` shows the archive."""
    command = [sys.executable, "-m", "waystation", "browse", str(alice), "--no-open", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            assert told["type"] == "address"
            yield told["address"]
            process.send_signal(signal.SIGINT)
            last = json.loads(process.communicate(timeout=20)[0].splitlines()[-1])
        finally:
            process.kill()  # where it does not end, this test fails and the others go on
    assert (process.returncode, last["outcome"]) == (0, "done")


def test_a_person_walks_from_the_list_to_the_search_to_a_message_to_its_file(
    chromium: BrowserContext, address: str, elsewhere: Elsewhere
) -> None:
    with watched(chromium) as person:
        page = person.page
        page.goto(address)
        page.get_by_role("link", name="INBOX").click()
        assert page.locator(".messages li").count() == 7
        page.get_by_role("searchbox").fill("bericht")
        page.keyboard.press("Enter")
        page.locator(".messages a", has_text="Bericht für März").click()
        assert page.locator("h1").inner_text() == "Bericht für März"
        assert "der Bericht liegt bei." in page.locator(".text").inner_text()
        with page.expect_download() as download:
            page.get_by_role("link", name="Bericht Köln.pdf").click()

        assert Path(download.value.path()).read_bytes() == FILE
        assert download.value.suggested_filename == "Bericht Köln.pdf"
        assert page.viewport_size is not None
        assert not person.strangers(address)
        assert not elsewhere.connections


def test_a_hostile_message_does_nothing(
    chromium: BrowserContext, address: str, alice: Path, elsewhere: Elsewhere
) -> None:
    number = number_of(alice, 2)
    with watched(chromium) as person:
        page = person.page
        page.goto(f"{address}message/{number}", wait_until="networkidle")
        mail = page.frame_locator("iframe.mail")
        assert "words of the mail" in mail.locator("body").inner_text()
        assert mail.locator("script, form, iframe, object, link, meta[http-equiv]").count() == 0
        assert page.locator("h1").inner_text().startswith('"><script>alert')
        assert "Remote content was not loaded" in page.locator("#blocked").inner_text()
        # The picture that lies in the message is shown all the same.
        assert mail.get_by_alt_text("logo").evaluate("image => image.naturalWidth") == 10
        mail.get_by_text("script", exact=True).click()
        page.goto(f"{address}message/{number}/html", wait_until="networkidle")
        page.get_by_text("script", exact=True).click()
        page.goto(f"{address}message/{number}?view=text", wait_until="networkidle")

        assert page.title().startswith('"><script>alert("owned")</script>')
        assert not person.dialogs
        assert not person.strangers(address)
        assert not elsewhere.asked
        assert not elsewhere.connections


def test_on_an_open_page_the_same_mail_does_harm(chromium: BrowserContext) -> None:
    with Elsewhere() as victim, watched(chromium) as person:
        page = person.page
        # The page stays where it does its harm.
        page.route(re.compile("/(refresh|onerror)$"), lambda route: route.abort())
        answered = page.expect_request_finished(lambda it: it.url.startswith(victim.url))
        with unguarded(evil_html(victim.url)) as address, answered, page.expect_event("dialog"):
            page.goto(address, wait_until="commit")

        assert "owned" in person.dialogs
        assert victim.asked


def test_nothing_happens_even_where_the_sanitiser_would_let_everything_through(
    chromium: BrowserContext, alice: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "harmless", lambda html, _: Harmless(html, 0, is_cut=False))
    number = number_of(alice, 2)
    with serving(alice) as address, watched(chromium) as person:
        page = person.page
        page.goto(f"{address}message/{number}", wait_until="networkidle")
        mail = page.frame_locator("iframe.mail")
        assert mail.locator("script").count()
        mail.locator("#send").dispatch_event("click")
        page.goto(f"{address}message/{number}/html", wait_until="networkidle")
        page.locator("#send").dispatch_event("click")

        # The browser tells what it would have asked for; none of it left.
        assert page.url == f"{address}message/{number}/html"
        assert page.title() == "Message"
        assert not person.dialogs
        assert not elsewhere.asked


def test_huge_deep_wrong_and_broken_mail_is_shown(
    chromium: BrowserContext, address: str, alice: Path
) -> None:
    with watched(chromium) as person:
        page = person.page
        page.goto(f"{address}message/{number_of(alice, 3)}")
        assert "longer than what is shown" in page.locator("#cut").inner_text()
        page.goto(f"{address}message/{number_of(alice, 4)}")
        assert "nested beyond reason" in page.locator("main").inner_text()
        assert "at the bottom" in page.frame_locator("iframe.mail").locator("pre").inner_text()
        page.goto(f"{address}message/{number_of(alice, 5)}")
        body = page.frame_locator("iframe.mail").locator("body").inner_text()
        assert body.startswith("Grüße „an alle“")
        for uid in (6, 7):
            answer = page.goto(f"{address}message/{number_of(alice, uid)}")
            assert answer is not None
            assert answer.status == 200


def test_pages_fit_a_phone_and_need_no_script(chromium: BrowserContext, address: str) -> None:
    with watched(chromium) as person:
        page = person.page
        page.set_viewport_size({"width": 390, "height": 844})
        for place in ("", "folder/1", "search?q=e", "message/1", "message/2", "folder/2"):
            page.goto(address + place)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 390, place
            assert page.locator("script").count() == 0
