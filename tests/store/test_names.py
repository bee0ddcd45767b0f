from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.names import LONGEST_LEVEL, LONGEST_PATH, Directories, levels_of

AWKWARD = [
    *("cur", "New", "TMP", "con", "Aux.txt", "COM1", "com¹", "LPT9.a.b", "CONIN$", "con .x"),
    *("", ".", "..", "...", " ", "a ", " a", "a.", ".a", "a\u3000", "~", "%", "%2F", "~deep"),
    *(
        "a",
        "A",
        "ä",
        "Ä",
        "a\u0308",
        "A\u0308",
        "ß",
        "ss",
        "SS",
        "\u0130",
        "i\u0307",
        "\u0131",
        "I",
        "ﬁ",
        "fi",
    ),
    *("a~2", "A~2", "cu\ufe0fr", "\x00", "\n", "\u202e", "\ud800", "\ufdd0", "\ue000", "dovecot-x"),
    *("x" * 121, "X" * 121, "ü" * 60, "ü" * 61, "\x01" * 41, "." * 300, "y" * 115),
]
LEVEL = st.sampled_from(AWKWARD) | st.text(max_size=6) | st.text("aAbB~2.", max_size=4)
LEVELS = st.lists(LEVEL, min_size=1, max_size=7).map(tuple)


def once(*levels: str) -> str:
    return Directories().place(levels)


def is_legal_everywhere(component: str) -> bool:
    stem = component.split(".")[0].rstrip().upper()
    devices = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    ports = {f"{port}{n}" for port in ("COM", "LPT") for n in "0123456789¹²³"}
    return (
        component not in {"", ".", ".."}
        and component.lower() not in {"cur", "new", "tmp"}
        and stem not in devices | ports
        and not set(component) & set('/\\:*?"<>|')
        and component[0] not in ". "
        and component[-1] not in ". "
        and all(unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co"} for c in component)
        and len(component.encode()) <= 255
    )


@pytest.mark.parametrize(
    "name",
    [
        "Inbox",
        "Größe",
        "受信トレイ",
        "🎉 Party",
        "R&D [2024] (alt)",
        "v1.2 final",
        "Sent Items",
        "a'b",
    ],
)
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert once("Projects", name) == f"Projects/{name}"


@pytest.mark.parametrize(
    ("level", "directory"),
    [
        ("cur", "%63ur"),
        ("TMP", "%54MP"),
        ("con", "%63on"),
        ("NUL.txt", "%4EUL.txt"),
        ("COM¹", "%43OM¹"),
        ("computer", "computer"),
        ("..", "%2E%2E"),
        ("...", "%2E.%2E"),
        (" a ", "%20a%20"),
        ("a/b", "a%2Fb"),
        ("100%", "100%25"),
        ("~me", "%7Eme"),
        ("tab\there", "tab%09here"),
        ("\u202egpj", "%E2%80%AEgpj"),
        ("\ud83d", "%ED%A0%BD"),
        ("", "%"),
        ("dovecot-keywords", "%64ovecot-keywords"),
    ],
)
def test_what_a_file_system_would_refuse_is_escaped(level: str, directory: str) -> None:
    assert once(level) == directory
    assert levels_of(directory) == (level,)


def test_a_hostile_name_does_not_climb_out() -> None:
    assert once("..", "..", "etc", "x") == "%2E%2E/%2E%2E/etc/x"
    assert once("../../etc/x") == "%2E.%2F..%2Fetc%2Fx"
    assert once("", "etc") == "%/etc"


@pytest.mark.parametrize(
    ("first", "second"), [("Work", "WORK"), ("ä", "a\u0308"), ("straße", "STRASSE"), ("ﬁn", "fin")]
)
def test_names_that_differ_only_in_case_or_form_get_a_suffix(first: str, second: str) -> None:
    directories = Directories()

    assert directories.place((first,)) == first
    assert directories.place((second,)) == f"{second}~2"
    assert levels_of(f"{second}~2") == (second,)


def test_a_third_of_the_same_name_counts_on() -> None:
    directories = Directories([(("a", "work"), "a/work"), (("a", "WORK"), "a/WORK~2")])

    assert directories.place(("a", "Work")) == "a/Work~3"


def test_the_children_of_a_suffixed_parent_lie_below_it() -> None:
    directories = Directories([(("work",), "work"), (("Work", "a"), "Work~2/a")])

    assert directories.place(("Work", "b")) == "Work~2/b"
    assert directories.place(("Work",)) == "Work~2"
    assert directories.place(("work", "b")) == "work/b"


def test_a_parent_without_messages_keeps_its_place_too() -> None:
    directories = Directories()
    directories.place(("work", "a"))

    assert directories.place(("WORK",)) == "WORK~2"


def test_a_long_level_is_cut_at_a_character_and_keeps_a_digest() -> None:
    directory = once("ü" * 61)

    assert directory.startswith("ü" * 53 + "~")
    assert len(directory.encode()) <= LONGEST_LEVEL
    assert levels_of(directory) is None
    assert levels_of(once("ü" * 60)) == ("ü" * 60,)


def test_an_escape_is_never_cut_in_half() -> None:
    assert once("\x01" * 100).startswith("%01" * 35 + "~")


def test_a_folder_whose_path_is_too_long_goes_deep_with_its_children() -> None:
    levels = tuple("x" * 100 for _ in range(6))
    directories = Directories()

    assert directories.place(levels).startswith("~deep/")
    assert directories.place((*levels, "a")).startswith("~deep/")
    assert directories.place(levels[:5]) == "/".join(levels[:5])
    assert levels_of(directories.place(levels)) is None


def test_a_child_of_an_archived_deep_folder_is_deep_itself() -> None:
    directories = Directories([(("a",), "~deep/0123456789abcdef01234567")])

    assert directories.place(("a", "b")).startswith("~deep/")


def test_a_thousand_levels_are_no_trouble() -> None:
    assert once(*("a",) * 5000).startswith("~deep/")


def test_a_folder_has_at_least_one_level() -> None:
    with pytest.raises(ValueError, match="at least one level"):
        Directories().place(())


@pytest.mark.parametrize(
    "foreign",
    [
        "a//b",
        "",
        "/a",
        "a/..",
        ".hidden",
        "cur",
        "a/new",
        "50%",
        "%e4",
        "%FF",
        "a~1",
        "a~x",
        "~deep/0",
    ],
)
def test_a_directory_that_is_not_ours_has_no_levels(foreign: str) -> None:
    assert levels_of(foreign) is None


@given(st.lists(LEVELS, max_size=12))
def test_every_component_is_legal_everywhere(folders: list[tuple[str, ...]]) -> None:
    directories = Directories()
    for levels in folders:
        directory = directories.place(levels)
        assert all(is_legal_everywhere(component) for component in directory.split("/"))
        assert len(directory.encode()) <= LONGEST_PATH


@given(st.lists(LEVELS, max_size=12))
def test_a_name_that_was_not_shortened_can_be_undone(folders: list[tuple[str, ...]]) -> None:
    directories = Directories()
    for levels in folders:
        assert levels_of(directories.place(levels)) in {levels, None}
        if sum(len(level) * 12 + 4 for level in levels) <= LONGEST_LEVEL:
            assert levels_of(directories.place(levels)) == levels


@given(st.lists(LEVELS, unique=True, max_size=12))
def test_no_two_folders_share_a_directory_even_where_case_is_ignored(
    folders: list[tuple[str, ...]],
) -> None:
    directories = Directories()
    placed = [directories.place(levels) for levels in folders]

    assert len(set(placed)) == len(folders)
    assert len({directory.casefold() for directory in placed}) == len(folders)
    assert len({directory.upper() for directory in placed}) == len(folders)
    assert len({unicodedata.normalize("NFD", name).casefold() for name in placed}) == len(folders)


@given(st.lists(LEVELS, max_size=8), st.lists(LEVELS, max_size=8))
def test_what_is_placed_stays_placed(
    before: list[tuple[str, ...]], after: list[tuple[str, ...]]
) -> None:
    first = Directories()
    placed = [(levels, first.place(levels)) for levels in before]
    again = Directories(placed)
    for levels in after:
        assert again.place(levels) == first.place(levels)

    assert [(levels, again.place(levels)) for levels in before] == placed
    assert Directories(reversed(placed)).place(("new one",)) == again.place(("new one",))
