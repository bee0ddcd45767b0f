"""The languages of a report."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

import waystation.report
from waystation.errors import UsageError
from waystation.report.words import TRANSLATED, Words

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(waystation.report.__file__).parent
_KEYWORDS: dict[str, tuple[int, ...] | None] = {"text": None, "plural": (1, 2)}
_PLACE = re.compile(r"%\((\w+)\)s")


def texts() -> Iterator[str | tuple[str, ...]]:
    """Yield every text that the report may say, as the catalogues name it."""
    for file in sorted(PACKAGE.rglob("*.py")):
        with file.open("rb") as stream:
            for _, message, _, _ in extract("python", stream, keywords=_KEYWORDS):
                yield message if isinstance(message, str) else tuple(filter(None, message))
    for template in sorted((PACKAGE / "templates").glob("*.html")):
        with template.open("rb") as stream:
            for _, _, found, _ in babel_extract(stream, list(_KEYWORDS), [], {}):
                message = (found,) if isinstance(found, str) else tuple(filter(None, found or ()))
                yield message[0] if len(message) == 1 else message[:2]


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_is_translated_with_the_same_places_for_numbers(language: str) -> None:
    with (PACKAGE / f"{language}.po").open("rb") as stream:
        catalogue = read_po(stream, locale=language)
    translated = {each.id: each.string for each in catalogue if each.id}
    said = set(texts())

    assert {str(each) for each in said} == {str(each) for each in translated}
    for message, translation in translated.items():
        originals = message if isinstance(message, (tuple, list)) else (message,)
        others = translation if isinstance(translation, (tuple, list)) else (translation,)
        for original, other in zip(originals, others, strict=True):
            assert other
            assert sorted(_PLACE.findall(original)) == sorted(_PLACE.findall(other)), original


def test_no_text_hides_in_an_f_string() -> None:
    for file in PACKAGE.glob("*.py"):
        assert not re.search(r"\{words\.(text|plural)\(", file.read_text("utf-8")), file


@pytest.mark.parametrize(
    ("locale", "number", "size", "span", "share", "when"),
    [
        ("en", "12,345", "1.2 MB", "1 hr 5 min", "50.0 %", "May 1, 2024, 8:30 AM UTC"),
        ("de", "12.345", "1,2 MB", "1 Std. 5 Min.", "50,0 %", "01.05.2024, 08:30 UTC"),
        ("fr", "12 345", "1,2 Mo", "1 h 5 min", "50,0 %", "1 mai 2024, 08:30 UTC"),
    ],
)
def test_numbers_and_dates_are_those_of_the_locale(
    locale: str, number: str, size: str, span: str, share: str, when: str
) -> None:
    words = Words.of(locale)

    said = (
        words.number(12345),
        words.size(1_234_567),
        words.span(3900),
        words.share(1, 2),
        words.when("2024-05-01T10:30:00+02:00"),
    )

    # CLDR has blanks of several widths.
    assert tuple(re.sub(r"\s", " ", each) for each in said) == (number, size, span, share, when)


def test_all_but_one_is_never_all() -> None:
    words = Words.of("en")

    assert words.share(99_999, 100_000) == "99.9 %"
    assert words.share(100_000, 100_000) == "100.0 %"
    assert words.share(0, 0) == "0.0 %"


def test_one_megabyte_is_written_like_two() -> None:
    words = Words.of("de")

    assert [words.size(each) for each in (0, 999, 1_000_000, 2_000_000, 999_960)] == [
        "0\xa0B",
        "999\xa0B",
        "1\xa0MB",
        "2\xa0MB",
        "1\xa0MB",
    ]


def test_one_is_not_several() -> None:
    words = Words.of("de")

    one, several = (
        words.plural("%(n)s was refused", "%(n)s were refused", count) for count in (1, 2000)
    )

    assert (one, several) == ("1 wurde abgelehnt", "2.000 wurden abgelehnt")


def test_a_date_that_is_none_is_shown_as_it_is() -> None:
    words = Words.of("en")

    assert words.when("yesterday") == "yesterday"
    assert words.received(None) == ""
    assert words.received("0001-01-01T00:00:00+14:00").endswith("+14:00")
    assert words.when("9999-12-31T23:59:59-12:00") == "9999-12-31T23:59:59-12:00"


@pytest.mark.parametrize(
    ("environment", "language"),
    [("C", "en"), ("POSIX", "en"), ("de_AT.UTF-8", "de"), ("xx_YY", "en"), ("en_GB", "en")],
)
def test_the_environment_says_which(
    environment: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANGUAGE", raising=False)
    monkeypatch.setenv("LC_ALL", environment)

    words = Words.of(None)

    assert words.language == language
    assert words.number(1000) in ("1,000", "1.000", "1\xa0000")


@pytest.mark.parametrize("locale", ["", "xx", "../../etc", "de_", "1"])
def test_what_is_no_locale_is_said(locale: str) -> None:
    with pytest.raises(UsageError, match="is no locale"):
        Words.of(locale)
