"""Which messages in a target are ours."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from importer.digest import Content
from importer.match import Matched, Ours, There, match

A, B = Content("a", "a", "a"), Content("b", "b", "b")
A_WITH_CRLF, A_WITH_HEADER = Content("a2", "a", "a"), Content("a3", "a3", "a")


def compare(
    ours: list[Ours],
    there: list[There],
    *,
    has_headers: bool = True,
    is_rewriting: bool = False,
) -> Matched:
    return match(ours, there, has_headers=has_headers, is_rewriting=is_rewriting)


def test_of_two_with_equal_headers_each_finds_its_own_content() -> None:
    found = compare([Ours(1, 5, A), Ours(2, 5, B)], [There(7, 5, B), There(8, 5, A)])

    assert found.pairs == {1: 8, 2: 7}


def test_the_same_headers_with_another_body_are_another_message() -> None:
    assert compare([Ours(1, 5, A)], [There(7, 5, B)]) == Matched({}, 1)


def test_a_server_known_to_rewrite_is_believed_by_headers_and_date() -> None:
    ours = [Ours(1, 10, A), Ours(2, 99, B)]
    there = [There(7, 100, Content("x", "x", "x")), There(8, 11, Content("y", "y", "y"))]

    assert compare(ours, there, is_rewriting=True).pairs == {1: 8, 2: 7}


def test_an_exact_copy_is_preferred_to_a_tidied_one() -> None:
    there = [There(6, 5, A_WITH_HEADER), There(7, 5, A_WITH_CRLF), There(8, 5, A)]

    assert compare([Ours(1, 5, A)], there).pairs == {1: 8}
    assert compare([Ours(1, 5, A)], there[:2]).pairs == {1: 7}
    assert compare([Ours(1, 5, A)], there[:1]).pairs == {1: 6}


def test_without_headers_only_the_whole_content_tells() -> None:
    found = compare(
        [Ours(1, 5, A)], [There(6, 5, A_WITH_HEADER)], has_headers=False, is_rewriting=True
    )

    assert found == Matched({}, 0)


def test_a_copy_below_the_lowest_uid_is_not_ours() -> None:
    assert compare([Ours(1, 5, A, lowest_uid=9)], [There(8, 5, A)]).pairs == {}
    assert compare([Ours(1, 5, A, lowest_uid=8)], [There(8, 5, A)]).pairs == {1: 8}


def test_of_equal_copies_each_keeps_the_uid_it_is_said_to_have() -> None:
    ours = [Ours(1, 5, A, uid=8), Ours(2, 5, A)]

    assert compare(ours, [There(7, 5, A), There(8, 5, A)]).pairs == {1: 8, 2: 7}


def test_twins_are_told_apart_by_their_flags() -> None:
    ours = [Ours(1, 5, A, marks="\\Seen"), Ours(2, 5, A), Ours(3, 5, A, marks="\\Flagged")]
    there = [There(7, 5, A), There(8, 5, A, "\\Flagged"), There(9, 5, A, "\\Seen")]

    assert compare(ours, there).pairs == {1: 9, 2: 7, 3: 8}


def test_flags_never_cost_a_twin_its_place() -> None:
    ours = [Ours(1, 5, A, 5, marks="\\Seen"), Ours(2, 5, A, 8)]
    there = [There(6, 5, A), There(8, 5, A, "\\Seen")]

    assert compare(ours, there).pairs == {1: 6, 2: 8}


def test_of_twins_in_doubt_the_one_with_the_flags_has_arrived() -> None:
    ours = [Ours(1, 5, A, rank=1), Ours(2, 5, A, marks="\\seen", rank=1)]

    assert compare(ours, [There(7, 5, A, "\\seen")]).pairs == {2: 7}


def test_what_was_taken_goes_before_what_has_the_flags() -> None:
    ours = [Ours(1, 5, A), Ours(2, 5, A, marks="\\seen", rank=1)]

    assert compare(ours, [There(7, 5, A, "\\seen")]).pairs == {1: 7}


def test_a_place_that_was_told_is_not_given_away_for_flags() -> None:
    ours = [Ours(1, 5, A, uid=8), Ours(2, 5, A, marks="\\Seen")]
    there = [There(7, 5, A), There(8, 5, A, "\\Seen")]

    assert compare(ours, there).pairs == {1: 8, 2: 7}


flag_words = st.sampled_from(["", "\\Seen", "\\Flagged"])


@given(
    st.lists(st.tuples(flag_words, st.integers(0, 8))),
    st.lists(flag_words, max_size=8),
)
def test_with_flags_as_many_twins_are_found_as_without(
    mine: list[tuple[str, int]], theirs: list[str]
) -> None:
    plain = [Ours(n, 5, A, lowest) for n, (_, lowest) in enumerate(mine)]
    flagged = [Ours(n, 5, A, lowest, marks=f) for n, (f, lowest) in enumerate(mine)]
    there = [There(uid, 5, A, f) for uid, f in enumerate(theirs, 1)]
    without = compare(plain, there).pairs

    pairs = compare(flagged, there).pairs

    assert sorted(pairs.values()) == sorted(without.values())
    assert all(mine[number][1] <= uid for number, uid in pairs.items())
    own = dict(enumerate(theirs, 1))
    assert sum(own[u] == mine[n][0] for n, u in pairs.items()) >= sum(
        own[u] == mine[n][0] for n, u in without.items()
    )


def test_what_cannot_be_read_is_nobody() -> None:
    assert compare([Ours(1, 5, None)], [There(7, 5, A)]).pairs == {}
    assert compare([Ours(1, 5, A)], [There(7, 5, None)]).pairs == {}


contents = st.sampled_from([A, B, A_WITH_CRLF, A_WITH_HEADER, None])


@given(st.lists(contents), st.lists(contents), st.booleans(), st.booleans())
def test_nobody_is_matched_twice(
    mine: list[Content | None], theirs: list[Content | None], has_headers: bool, rewrites: bool
) -> None:
    ours = [Ours(number, 5, content) for number, content in enumerate(mine)]
    there = [There(uid, 5, content) for uid, content in enumerate(theirs, 100)]

    pairs = compare(ours, there, has_headers=has_headers, is_rewriting=rewrites).pairs

    assert len(set(pairs.values())) == len(pairs)
    assert pairs.keys() <= set(range(len(mine)))
    exact = Counter(c.exact for c in mine if c) & Counter(c.exact for c in theirs if c)
    assert len(pairs) >= exact.total()
