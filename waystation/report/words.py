"""The language and the country of a report: texts, plurals, numbers, dates, sizes, spans of time.

The only door to Babel. Texts are there in English and German; numbers and dates follow any
locale that the Unicode CLDR knows.
"""

from __future__ import annotations

import gettext
import io
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING

from babel import Locale, UnknownLocaleError, default_locale
from babel.dates import format_date, format_skeleton, format_time
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit

from waystation.errors import UsageError, plain
from waystation.report.foreign import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

TRANSLATED = ("de",)
"""Languages with a catalogue beside English, in which the texts are written."""

_SIZES = ("", "k", "M", "G", "T")
_SPANS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


class Words:
    """How a report speaks."""

    def __init__(self, locale: Locale) -> None:
        self.locale = locale
        self.language = locale.language if locale.language in TRANSLATED else "en"
        self._texts = _texts(self.language)

    @classmethod
    def of(cls, wanted: str | None) -> Words:
        """Return the words of a locale, such as ``de-AT``; None is that of the environment.

        Raises:
            UsageError: nobody knows such a locale.
        """
        if wanted is None:
            return cls(_of_environment())
        try:
            return cls(Locale.parse(wanted.replace("-", "_")))
        except (UnknownLocaleError, ValueError):
            raise UsageError(
                f"{plain(wanted)!r} is no locale. Such are: en, en-GB, de, de-AT, fr."
            ) from None

    def text(self, message: str) -> str:
        """Return a text in the report's language."""
        return self._texts.gettext(message)

    def plural(self, one: str, many: str, count: int, **others: str) -> str:
        """Return a text in the form that goes with a number, which stands for ``%(n)s``."""
        return self._texts.ngettext(one, many, count) % {"n": self.number(count), **others}

    def number(self, value: float) -> str:
        """Return a number with the marks of the locale."""
        return str(format_decimal(value, locale=self.locale))

    def share(self, part: float, whole: float) -> str:
        """Return a part of a whole in percent; never 100 % where anything is left."""
        share = part / whole if whole else 0.0
        if 0.999 <= share < 1:
            share = 0.999
        return str(format_percent(share, format="#,##0.0 %", locale=self.locale))

    def size(self, octets: float) -> str:
        """Return a size as people read it, in powers of 1,000."""
        value = float(octets)
        unit = 0
        while round(value, 1) >= 1000 and unit < len(_SIZES) - 1:
            value /= 1000
            unit += 1
        pattern = "#,##0" if not unit or value >= 100 else "#,##0.#"
        number = format_decimal(value, format=pattern, locale=self.locale)
        # CLDR has other words for exactly one, such as Mbyte, which nobody wants in a column.
        octet = "o" if self.locale.language == "fr" else "B"
        return f"{number}\N{NO-BREAK SPACE}{_SIZES[unit]}{octet}"

    def span(self, seconds: float) -> str:
        """Return a span of time as people read it: two units at the most."""
        rest = round(seconds)
        parts: list[tuple[int, str]] = []
        for unit, length in _SPANS:
            count, rest = divmod(rest, length)
            if count or (parts and unit != "second") or (unit == "second" and not parts):
                parts.append((count, unit))
            if len(parts) == 2:
                break
        return " ".join(
            str(format_unit(count, f"duration-{unit}", length="short", locale=self.locale))
            for count, unit in parts
            if count or len(parts) == 1
        )

    def when(self, moment: str | None) -> str:
        """Return a moment of ours with date and time in UTC; what makes no sense as it is."""
        found = _in_utc(moment)
        if found is None:
            return shown(moment)
        return f"{self._day(found)}, {self._time(found)} UTC"

    def received(self, moment: str | None) -> str:
        """Return a received date in the zone in which it was given."""
        found = _moment(moment)
        if found is None:
            return shown(moment)
        zone = f"{found:%z}" if found.tzinfo is not None else ""
        zone = f" {zone[:3]}:{zone[3:5]}" if zone else ""
        return f"{self._day(found)}, {self._time(found)}{zone}"

    def day(self, moment: str | None) -> str:
        """Return the day of a moment in UTC."""
        found = _in_utc(moment)
        return shown(moment) if found is None else self._day(found)

    def listing(self, parts: Iterable[str]) -> str:
        """Return parts of a sentence put together: one, two and three."""
        return str(format_list(list(parts), locale=self.language))

    def minute(self, moment: str | None) -> str:
        """Return day, month, hour and minute of a moment in UTC: short, for a chart."""
        found = _in_utc(moment)
        if found is None:
            return shown(moment)
        day = format_skeleton("MMMd", found, locale=self.locale)
        return f"{day}, {found:%H:%M}"

    def hour(self, moment: str | None) -> str:
        """Return day, month and hour of a moment in UTC: shorter."""
        found = _moment(moment)
        if found is None:
            return shown(moment)
        return f"{format_skeleton('Md', found, locale=self.locale)} {found:%H}h"

    def _day(self, moment: datetime) -> str:
        return str(format_date(moment.date(), "medium", locale=self.locale))

    def _time(self, moment: datetime) -> str:
        return str(format_time(moment.time(), "short", locale=self.locale))


def _of_environment() -> Locale:
    name = default_locale(("LC_ALL", "LC_TIME", "LANG"))
    try:
        # The locale of C and POSIX puts no marks into numbers; nobody chose it for a report.
        return Locale.parse("en" if name is None or name.endswith("POSIX") else name)
    except (UnknownLocaleError, ValueError):
        return Locale("en")


def _texts(language: str) -> gettext.NullTranslations:
    if language not in TRANSLATED:
        return gettext.NullTranslations()
    source = resources.files("waystation.report").joinpath(f"{language}.po").read_bytes()
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO(source), locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _in_utc(text: str | None) -> datetime | None:
    found = _moment(text)
    try:
        return None if found is None else found.astimezone(UTC)
    except OverflowError:  # in the year 1 or 9999
        return None


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
