"""What folders are called in Exchange: never what is kept for no mail, never what it refuses."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer.folders import SourceFolder, TargetFolders, map_folders
from importer.house_names import LONGEST_LEVEL, MOST_LEVELS, fitting, is_for_no_mail, shortened
from waystation.model import Folder, join_levels

EMPTY = TargetFolders((), "/", is_exchange=True)


def place_of(*levels: str, target: TargetFolders = EMPTY) -> tuple[str, ...]:
    (mapped,) = map_folders([SourceFolder(levels)], target).folders
    return mapped.target


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Projects", "Projects"),
        ("a/b", "a_b"),
        ('say "hi"', "say _hi_"),
        ("100% #1*", "100_ _1_"),
        ("back\\slash", "back_slash"),
        (" blanks. ", "blanks"),
        ("tab\there", "tab_here"),
        ("e\u0301", "é"),
        ("\u202eright", "_right"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("...", "_"),
    ],
)
def test_a_name_loses_what_exchange_does_not_take(name: str, expected: str) -> None:
    assert place_of(name) == (expected,)


@pytest.mark.parametrize(
    "name", ["Calendar", "kalender", "NOTES", "Boîte d'envoi", "予定表", "Files"]
)
def test_mail_never_goes_where_there_is_no_mail(name: str) -> None:
    assert is_for_no_mail(name)
    assert place_of(name) == (f"{name} (imported)",)
    assert place_of("Work", name) == ("Work", name)


def test_folders_below_go_along() -> None:
    folders = [SourceFolder(("Calendar",)), SourceFolder(("Calendar", "Birthdays"))]

    places = [mapped.target for mapped in map_folders(folders, EMPTY).folders]

    assert places == [("Calendar (imported)",), ("Calendar (imported)", "Birthdays")]


def test_not_even_the_persons_own_map_puts_mail_among_events() -> None:
    mapped = map_folders([SourceFolder(("Old",))], EMPTY, override={"Old": "Calendar"}).folders

    assert mapped[0].target == ("Calendar (imported)",)


def test_a_name_that_has_the_suffix_already_keeps_out_of_the_way() -> None:
    folders = [SourceFolder(("Calendar",)), SourceFolder(("Calendar (imported)",))]

    places = {mapped.source: mapped.target for mapped in map_folders(folders, EMPTY).folders}

    assert places["Calendar"] != places["Calendar (imported)"]


def test_what_the_mailbox_has_under_a_usual_name_is_used() -> None:
    there = (Folder(("Gesendete Elemente",), b"x", "/", ("\\sent",)),)
    target = TargetFolders(there, "/", is_exchange=True)

    assert place_of("Sent", target=target) == ("Gesendete Elemente",)


def test_deep_and_long_paths_are_brought_within_bounds() -> None:
    assert len(place_of(*(f"level {n}" for n in range(80)))) <= MOST_LEVELS
    assert place_of("ü" * 150, "ä" * 150, "ö" * 150)[0]
    assert len(place_of("x" * 300)[0]) == LONGEST_LEVEL


@given(st.text(max_size=300))
def test_every_name_becomes_one_that_fits_and_then_stays(name: str) -> None:
    fit = fitting(name)

    assert fit == fitting(fit)
    assert fit == fit.strip(" .")
    assert fit
    assert len(fit.encode("utf-16-le", "replace")) <= 2 * LONGEST_LEVEL
    assert not set(fit) & set('/\\"*%#')
    assert all(unicodedata.category(char) not in ("Cc", "Cs") for char in fit)


@given(st.lists(st.text(min_size=1, max_size=120), min_size=1, max_size=70))
def test_every_path_becomes_short_enough(levels: list[str]) -> None:
    path = shortened(tuple(fitting(level) for level in levels))

    assert 1 <= len(path) <= MOST_LEVELS
    assert len(join_levels(path)) <= 1000
