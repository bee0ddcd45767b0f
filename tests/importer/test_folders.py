from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer.folders import (
    BY_YOUR_MAP,
    WELL_KNOWN,
    FolderMap,
    Mapped,
    SourceFolder,
    TargetFolders,
    map_folders,
    plainer_names,
    well_known_use,
)
from waystation.model import Folder, SpecialUse, is_inbox, join_levels, split_name

SENT, TRASH = SpecialUse.SENT, SpecialUse.TRASH


def source(*names: str, use: SpecialUse | None = None) -> list[SourceFolder]:
    return [SourceFolder(split_name(name), use) for name in names]


def on_target(name: str, *attributes: str) -> Folder:
    return Folder(split_name(name), name.encode(), "/", attributes)


def target(*folders: str | Folder, delimiter: str | None = "/", prefix: str = "") -> TargetFolders:
    listed = tuple(f if isinstance(f, Folder) else on_target(f) for f in folders)
    return TargetFolders(listed, delimiter, split_name(prefix) if prefix else ())


def names(folder_map: FolderMap) -> dict[str, str]:
    return {mapped.source: join_levels(mapped.target) for mapped in folder_map.folders}


def reasons(folder_map: FolderMap) -> dict[str, tuple[str, ...]]:
    return {mapped.source: mapped.reasons for mapped in folder_map.folders}


def test_an_ordinary_folder_keeps_its_name() -> None:
    found = map_folders(source("INBOX", "Projects/2024"), target("INBOX"))

    assert found.folders == (
        Mapped("INBOX", ("INBOX",), exists=True),
        Mapped("Projects/2024", ("Projects", "2024"), exists=False),
    )
    assert found.parents == (("Projects",),)
    assert found.to_create == (("Projects",), ("Projects", "2024"))


def test_prefixes_that_are_the_same_are_no_reason() -> None:
    found = map_folders(
        source("INBOX", "INBOX/a.b", "INBOX/c", "INBOX/C"),
        target("INBOX", delimiter=".", prefix="INBOX"),
        source_prefix=("INBOX",),
    )

    assert names(found)["INBOX/a.b"] == "INBOX/a_b"
    assert reasons(found)["INBOX/a.b"] == ('"." divides levels on the target',)
    assert reasons(found)["INBOX/C"] == ()
    assert not any("prefix" in text for each in reasons(found).values() for text in each)


def test_a_refused_name_becomes_a_plain_one_and_folders_below_go_along() -> None:
    odd = ('"x"', "50%")
    refused = {odd[:1], odd, ('"x"', "y"), ("plain",), ("🎉 ",), ("(...)",)}

    found = plainer_names(refused, refused, [("INBOX",)])

    assert found == {
        odd[:1]: ("_x_",),
        odd: ("_x_", "50_"),
        ('"x"', "y"): ("_x_", "y"),
        ("🎉 ",): ("_",),
        ("(...)",): ("_..._",),
    }


def test_a_plain_name_has_none_of_the_characters_that_cyrus_refuses() -> None:
    odd = '!"%;<>\\^`{|}'  # tried with Cyrus 3.6, one by one

    assert plainer_names([(odd,)], [(odd,)], []) == {(odd,): ("_" * len(odd),)}


def test_a_plain_name_that_is_taken_gets_a_number() -> None:
    found = plainer_names(
        [("a*",), ("A%",), ("*", "b")], [("a*",), ("A%",), ("*",), ("*", "b")], [("a_", "b")]
    )

    assert found == {("A%",): ("A_ (2)",), ("a*",): ("a_ (3)",), ("*", "b"): ("_", "b")}


def test_what_is_there_below_a_refused_name_stays() -> None:
    refused = [('"x"',), ('"x"', "y", "{z}")]

    found = plainer_names(refused, refused, [('"x"', "y")])

    assert found == {('"x"',): ("_x_",), ('"x"', "y", "{z}"): ('"x"', "y", "_z_")}


def test_a_folder_that_exists_is_not_created() -> None:
    found = map_folders(source("A", "A/B"), target("A"))

    assert [mapped.exists for mapped in found.folders] == [True, False]
    assert found.to_create == (("A", "B"),)


def test_a_folder_that_can_hold_no_messages_is_created_but_not_as_a_parent() -> None:
    bare = on_target("A", "\\noselect")

    assert map_folders(source("A"), target(bare)).to_create == (("A",),)
    assert map_folders(source("A/B"), target(bare)).to_create == (("A", "B"),)


def test_special_folders_go_by_the_attributes_of_the_target() -> None:
    archived = [*source("Postausgang alt", use=SENT), *source("Papierkorb")]
    there = target("Sent", on_target("Sendt post", "\\sent"), on_target("Slettet post", "\\trash"))
    found = map_folders(archived, there)

    assert names(found) == {"Postausgang alt": "Sendt post", "Papierkorb": "Slettet post"}
    assert reasons(found)["Papierkorb"] == ("the target keeps deleted mail there",)


@pytest.mark.parametrize(
    "name", ["Sent Items", "Gesendete Elemente", "ÉLÉMENTS ENVOYÉS", "Posta inviata", "Enviados"]
)
def test_a_well_known_name_finds_the_well_known_name_of_the_target(name: str) -> None:
    assert names(map_folders(source(name), target("SENT"))) == {name: "SENT"}


def test_a_target_without_a_special_folder_gets_the_same_name() -> None:
    found = map_folders(source("Gesendet", use=SENT), target("INBOX"))

    assert names(found) == {"Gesendet": "Gesendet"}


def test_only_one_folder_takes_the_special_folder() -> None:
    archived = [*source("Sent"), *source("Gesendet"), *source("Old/Out", use=SENT)]
    found = map_folders(archived, target(on_target("Sent Items", "\\sent")))

    assert names(found) == {"Old/Out": "Sent Items", "Sent": "Sent", "Gesendet": "Gesendet"}


def test_the_namesake_of_the_special_folder_takes_it() -> None:
    found = map_folders(source("Sent", "Sent Items"), target(on_target("Sent Items", "\\sent")))

    assert names(found) == {"Sent": "Sent", "Sent Items": "Sent Items"}
    assert reasons(found) == {"Sent": (), "Sent Items": ()}


def test_a_folder_that_loses_its_name_to_a_special_one_is_numbered() -> None:
    archived = [*source("Sent"), *source("Out", use=SENT)]
    found = map_folders(archived, target(on_target("Sent", "\\sent")))

    assert names(found) == {"Out": "Sent", "Sent": "Sent (2)"}


def test_a_well_known_name_far_down_is_only_a_name() -> None:
    archived = source("Projects/Archive", "INBOX/Trash", "[Gmail]/Drafts")
    found = map_folders(archived, target("Archive", "Trash", "Drafts"))

    assert names(found) == {
        "Projects/Archive": "Projects/Archive",
        "INBOX/Trash": "Trash",
        "[Gmail]/Drafts": "Drafts",
    }


def test_the_folders_below_a_special_folder_go_with_it() -> None:
    archived = source("Gesendet", "Gesendet/2023", "Gesendet/2023/a/b")
    found = map_folders(archived, target(on_target("Sent Items", "\\sent")))

    assert names(found)["Gesendet/2023/a/b"] == "Sent Items/2023/a/b"
    assert reasons(found)["Gesendet/2023"] == ('goes with its parent to "Sent Items"',)
    assert found.parents == (("Sent Items", "2023", "a"),)


def test_a_parent_that_the_target_does_not_list_is_there_all_the_same() -> None:
    found = map_folders(source("Work/a", "work/b"), target("Work/a"))

    assert found.to_create == (("Work", "b"),)


def test_a_folder_that_differs_only_in_case_is_used() -> None:
    found = map_folders(source("WORK", "projects/a", "inbox/x"), target("Work", "Projects"))

    assert names(found) == {"WORK": "Work", "projects/a": "Projects/a", "inbox/x": "INBOX/x"}
    assert reasons(found)["WORK"] == ("spelled as on the target",)


def test_the_second_of_two_names_that_differ_only_in_case_is_numbered() -> None:
    found = map_folders(source("Work", "work", "work/a", "Work (2)"), target())

    assert names(found) == {
        "Work": "Work",
        "Work (2)": "Work (2)",
        "work": "work (3)",
        "work/a": "work (3)/a",
    }
    assert "another archived folder has this name" in reasons(found)["work"][0]


def test_the_name_that_the_target_has_is_kept_by_its_namesake() -> None:
    found = map_folders(source("Work", "work"), target("work"))

    assert names(found) == {"Work": "Work (2)", "work": "work"}


def test_two_spellings_stay_where_the_target_has_both() -> None:
    found = map_folders(source("Work", "work"), target("Work", "work"))

    assert names(found) == {"Work": "Work", "work": "work"}


def test_a_second_plan_finds_what_the_first_one_made() -> None:
    archived = source("INBOX", "Work", "work", "work/a", "b\x07")
    first = map_folders([*archived, *source("Sent/mine", use=SENT)], target())
    made = target(*(join_levels(levels) for levels in first.to_create))
    second = map_folders([*archived, *source("Sent/mine", use=SENT)], made)

    assert names(second) == names(first)
    assert second.to_create == ()


def test_what_the_target_cannot_write_becomes_an_underscore() -> None:
    found = map_folders(source("a.b", "a_b", "c\td", "e//f"), target(delimiter="."))

    assert names(found) == {"a.b": "a_b", "a_b": "a_b (2)", "c\td": "c_d", "e//f": "e/_/f"}
    assert reasons(found)["a.b"] == ('"." divides levels on the target',)
    assert reasons(found)["c\td"] == ("a control character cannot be in a name",)
    assert reasons(found)["e//f"] == ("a level needs a name",)


def test_the_prefix_of_the_source_goes() -> None:
    archived = source("INBOX", "INBOX/Work", "INBOX/Sent", "INBOX/Sent/a", "Shared/x")
    found = map_folders(
        archived, target(on_target("Sent Items", "\\sent")), source_prefix=("INBOX",)
    )

    assert names(found) == {
        "INBOX": "INBOX",
        "INBOX/Work": "Work",
        "INBOX/Sent": "Sent Items",
        "INBOX/Sent/a": "Sent Items/a",
        "Shared/x": "Shared/x",
    }
    assert reasons(found)["INBOX/Work"] == ('"INBOX" is only the prefix of the source',)


def test_an_inbox_below_the_prefix_is_not_the_inbox() -> None:
    found = map_folders(source("INBOX", "INBOX/Inbox"), target(), source_prefix=("INBOX",))

    assert names(found) == {"INBOX": "INBOX", "INBOX/Inbox": "Inbox (2)"}
    assert "INBOX can only be the inbox" in reasons(found)["INBOX/Inbox"]


def test_the_prefix_of_the_target_comes_before_everything_but_inbox() -> None:
    there = target("INBOX/Sent", delimiter=".", prefix="INBOX")
    found = map_folders(source("INBOX", "Work", "Gesendet", "INBOX/a"), there)

    assert names(found) == {
        "INBOX": "INBOX",
        "INBOX/a": "INBOX/a",
        "Work": "INBOX/Work",
        "Gesendet": "INBOX/Sent",
    }
    assert reasons(found)["Work"] == ('the target wants its folders below "INBOX"',)


def test_a_folder_that_is_the_prefix_goes_below_it_and_never_into_inbox() -> None:
    there = target("My Mail", prefix="My Mail")
    found = map_folders(source("INBOX", "My Mail", "My Mail/a"), there, source_prefix=("My Mail",))

    assert names(found) == {
        "INBOX": "INBOX",
        "My Mail": "My Mail/My Mail",
        "My Mail/a": "My Mail/a",
    }


def test_equal_prefixes_change_nothing() -> None:
    there = target(delimiter=".", prefix="INBOX")
    found = map_folders(source("INBOX", "INBOX/a"), there, source_prefix=("INBOX",))

    assert reasons(found) == {"INBOX": (), "INBOX/a": ()}


def test_a_flat_target_gets_joined_names() -> None:
    archived = source("A", "A/B", "A_B", "Gesendet", "Gesendet/x", "INBOX/y")
    found = map_folders(archived, target(on_target("Sent", "\\sent"), delimiter=None))

    assert names(found) == {
        "A": "A",
        "A/B": "A_B (2)",
        "A_B": "A_B",
        "Gesendet": "Sent",
        "Gesendet/x": "Sent_x",
        "INBOX/y": "INBOX_y",
    }
    assert reasons(found)["INBOX/y"] == ("the target has no levels",)
    assert found.parents == ()


def test_your_folder_map_wins_over_everything() -> None:
    archived = [*source("INBOX", "Old", "Old/a", "Work"), *source("Gesendet", use=SENT)]
    there = target(on_target("Sent", "\\sent"))
    wishes = {"Gesendet": "Alt/Gesendet", "Old": "Work", "inbox": "Alt/Eingang", "Nope": "x"}
    found = map_folders(archived, there, override=wishes)

    assert names(found) == {
        "INBOX": "Alt/Eingang",
        "Gesendet": "Alt/Gesendet",
        "Old": "Work",
        "Old/a": "Work/a",
        "Work": "Work",
    }
    assert reasons(found)["Old"] == (BY_YOUR_MAP,)
    assert found.unused == ("Nope",)


def test_your_folder_map_moves_a_tree_by_its_top_even_special_folders() -> None:
    archived = [*source("[Gmail]/Wichtig"), *source("[Gmail]/Gesendet", use=SENT)]
    there = target(on_target("Sent", "\\sent"))
    found = map_folders(archived, there, override={"[Gmail]": "Gmail", "[Gmail]/Wichtig": ""})

    assert names(found) == {
        "[Gmail]/Wichtig": "Gmail/Wichtig",
        "[Gmail]/Gesendet": "Gmail/Gesendet",
    }
    assert found.unused == ()


def test_thousands_of_spellings_of_one_name_are_no_trouble() -> None:
    spellings = [
        "".join(c.upper() if n >> i & 1 else c for i, c in enumerate("abcdefghijk"))
        for n in range(2000)
    ]
    found = map_folders(source(*spellings), target())

    assert len({join_levels(mapped.target).lower() for mapped in found.folders}) == 2000


def test_no_name_is_known_for_two_uses() -> None:
    known = [(name, use) for use, usual in WELL_KNOWN.items() for name in usual]

    assert [(name, use) for name, use in known if well_known_use(name) is not use] == []
    assert len({name.casefold() for name, _ in known}) == len(known)
    assert well_known_use("Projects") is None


NAMES = st.sampled_from(
    [
        *("INBOX", "inbox", "A", "a", "ä", "a\u0308", "Ä", "A (2)", "Sent", "SENT", "Gesendet"),
        *("a.b", "a_b", "a/b", "", "\n", "_", "ß", "ss", "[Gmail]", "Archive", "Trash"),
    ]
)
LEVELS = st.lists(NAMES | st.text(max_size=2), min_size=1, max_size=3).map(tuple)
USES = st.none() | st.sampled_from(SpecialUse)
SOURCES = st.lists(st.builds(SourceFolder, LEVELS, USES), max_size=10)
PREFIXES = st.sampled_from([(), ("INBOX",), ("Mail",), ("A", "a")])
ATTRIBUTES = st.sampled_from([(), (), ("\\sent",), ("\\trash",), ("\\noselect",)])
FOLDERS = st.lists(
    st.builds(Folder, LEVELS, st.just(b""), st.just("/"), ATTRIBUTES), max_size=8
).map(tuple)
TARGETS = st.builds(TargetFolders, FOLDERS, st.sampled_from(["/", ".", None]), PREFIXES)
WISHES = st.dictionaries(LEVELS.map(join_levels), LEVELS.map(join_levels), max_size=3)


def folded(levels: tuple[str, ...]) -> str:
    return unicodedata.normalize("NFC", join_levels(levels)).casefold()


@given(SOURCES, TARGETS, PREFIXES, WISHES)
def test_the_order_of_the_lists_does_not_matter(
    archived: list[SourceFolder],
    there: TargetFolders,
    prefix: tuple[str, ...],
    wishes: dict[str, str],
) -> None:
    backwards = TargetFolders(there.folders[::-1], there.delimiter, there.prefix)
    one = map_folders(archived, there, source_prefix=prefix, override=wishes)
    other = map_folders(archived[::-1], backwards, source_prefix=prefix, override=wishes)

    assert names(one) == names(other)
    assert one.to_create == other.to_create


@given(SOURCES, TARGETS, PREFIXES)
def test_no_two_archived_folders_end_in_one(
    archived: list[SourceFolder], there: TargetFolders, prefix: tuple[str, ...]
) -> None:
    found = map_folders(archived, there, source_prefix=prefix).folders
    existing = {folder.levels for folder in there.folders} | {("INBOX",)}

    assert len({mapped.target for mapped in found}) == len(found)
    new = [folded(mapped.target) for mapped in found if mapped.target not in existing]
    old = {folded(mapped.target) for mapped in found if mapped.target in existing}
    assert len(set(new)) == len(new)
    assert not old & set(new)


@given(SOURCES, TARGETS, PREFIXES)
def test_inbox_goes_to_inbox_and_nothing_else_does(
    archived: list[SourceFolder], there: TargetFolders, prefix: tuple[str, ...]
) -> None:
    for mapped in map_folders(archived, there, source_prefix=prefix).folders:
        assert is_inbox(mapped.target) == is_inbox(split_name(mapped.source))


@given(SOURCES, TARGETS, PREFIXES, WISHES)
def test_a_parent_always_comes_before_its_children(
    archived: list[SourceFolder],
    there: TargetFolders,
    prefix: tuple[str, ...],
    wishes: dict[str, str],
) -> None:
    found = map_folders(archived, there, source_prefix=prefix, override=wishes)
    targets = [mapped.target for mapped in found.folders]
    for place, levels in enumerate(targets):
        assert not any(later == levels[: len(later)] != levels for later in targets[place:])

    listed = [folder.levels for folder in there.folders]
    there_by_now = {levels[:depth] for levels in listed for depth in range(1, len(levels) + 1)}
    there_by_now.add(("INBOX",))
    for levels in found.to_create:
        assert all(levels[:depth] in there_by_now for depth in range(1, len(levels)))
        there_by_now.add(levels)
    assert all(levels in there_by_now for levels in targets)


@given(SOURCES, TARGETS, PREFIXES, WISHES)
def test_every_change_has_a_reason_and_only_a_change_has(
    archived: list[SourceFolder],
    there: TargetFolders,
    prefix: tuple[str, ...],
    wishes: dict[str, str],
) -> None:
    for mapped in map_folders(archived, there, source_prefix=prefix, override=wishes).folders:
        source = split_name(mapped.source)
        is_same = source == mapped.target or is_inbox(mapped.target)
        # INBOX has no case, so another case of it may or may not be called a change.
        is_inbox_first = is_inbox(source[:1]) and is_inbox(mapped.target[:1])
        is_alike = is_inbox_first and source[1:] == mapped.target[1:]
        assert is_same or is_alike or mapped.reasons
        assert mapped.reasons == () or not is_same or mapped.reasons[0] == BY_YOUR_MAP


@given(SOURCES, TARGETS)
def test_a_new_name_can_be_created(archived: list[SourceFolder], there: TargetFolders) -> None:
    existing = {folder.levels for folder in there.folders}
    for levels in set(map_folders(archived, there).to_create) - existing:
        assert levels[-1]
        assert there.delimiter is not None or len(levels) == 1
        assert there.delimiter is None or there.delimiter not in levels[-1]
        assert not any(unicodedata.category(char) == "Cc" for char in levels[-1])


def test_a_name_below_an_odd_one_is_made_plain_where_there_are_no_levels() -> None:
    there = TargetFolders((Folder(("\x1f",), b"x", None, ("\\sent",)),), None)
    archived = [SourceFolder(("A",), SpecialUse.SENT), SourceFolder(("A", "B"))]

    found = map_folders(archived, there)

    assert {mapped.source: mapped.target for mapped in found.folders}["A/B"] == ("__B",)
