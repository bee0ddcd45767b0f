"""What a selection means, by itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from waystation.errors import UsageError
from waystation.model import SpecialUse
from waystation.selection import Choice, Selection, choose

FOLDERS: list[tuple[tuple[str, ...], SpecialUse | None]] = [
    (("INBOX",), SpecialUse.INBOX),
    (("INBOX", "Lists"), None),
    (("Papierkorb",), SpecialUse.TRASH),
    (("Papierkorb", "Alt"), None),
    (("Projects",), None),
    (("Projects", "2024"), None),
    (("Entwürfe",), SpecialUse.DRAFTS),
    (("A/B",), None),
]


def taken(*folders: str, exclude: tuple[str, ...] = ()) -> list[str]:
    choice = choose(Selection(folders, exclude), FOLDERS)
    names = ["/".join(level.replace("/", "%2F") for level in levels) for levels, _ in FOLDERS]
    return [name for name in names if name not in choice.left_out]


def by_message(selection: Selection, **said: object) -> str | None:
    values: dict[str, object] = {"size": 10, "internaldate": None, "flags": ()}
    return Choice(selection).reason("INBOX", **(values | said))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (("Projects",), ["Projects"]),
        (("Projects*",), ["Projects", "Projects/2024"]),
        (("*/2024", "inbox"), ["INBOX", "Projects/2024"]),
        (("@TRASH",), ["Papierkorb", "Papierkorb/Alt"]),
        (("@inbox",), ["INBOX"]),
        (("Inbox/L?sts",), ["INBOX/Lists"]),
        (("Entwu\u0308rfe",), ["Entwürfe"]),
        (("A%2FB",), ["A%2FB"]),
        (("projects",), []),
    ],
)
def test_a_pattern_names_folders_by_name_or_use(
    patterns: tuple[str, ...], names: list[str]
) -> None:
    assert taken(*patterns) == names


def test_what_is_excluded_is_left_out_although_it_is_named() -> None:
    assert taken("Projects*", exclude=("*2024",)) == ["Projects"]


def test_a_pattern_that_names_nothing_is_told() -> None:
    choice = choose(Selection(("Projects", "Porjects"), ("@junk", "*")), FOLDERS)

    assert choice.unmatched == ("Porjects", "@junk")


def test_an_unknown_special_use_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"'@bin' is no special use.*@trash.*\[@\]"):
        Selection(exclude=("@bin",))


def test_days_begin_at_midnight_utc_whatever_the_offset_says() -> None:
    selection = Selection(since=date(2024, 5, 2), before=date(2024, 5, 3))
    east = timezone(timedelta(hours=14))

    assert by_message(selection, internaldate=datetime(2024, 5, 2, tzinfo=UTC)) is None
    assert by_message(selection, internaldate=datetime(2024, 5, 3, 13, 59, tzinfo=east)) is None
    early = by_message(selection, internaldate=datetime(2024, 5, 2, 13, 59, tzinfo=east))
    late = by_message(selection, internaldate=datetime(2024, 5, 3, tzinfo=UTC))
    assert early == "received before 2024-05-02 (--since)"
    assert late == "received on 2024-05-03 or later (--before)"


def test_what_is_not_known_of_a_message_leaves_it_in() -> None:
    selection = Selection(since=date(2024, 5, 2), before=date(2024, 5, 3), max_size=5)

    assert by_message(selection, size=None) is None
    assert by_message(selection, size=5) is None
    assert by_message(selection, size=6) == "larger than 5 octets (--max-size)"


def test_flags_have_no_case_and_system_flags_need_no_backslash() -> None:
    selection = Selection(flags=("flagged", "TODO"), not_flags=("\\seen",))

    assert by_message(selection, flags=("\\Flagged", "todo")) is None
    assert by_message(selection, flags=("\\Flagged",)) == "without TODO (--flag)"
    seen = by_message(selection, flags=("\\Flagged", "todo", "\\Seen"))
    assert seen == "with \\seen (--not-flag)"
