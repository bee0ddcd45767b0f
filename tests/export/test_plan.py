"""The planner by itself: nothing fetched twice, nothing missed, nothing concluded from lies."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from export.plan import (
    Emptied,
    ListAll,
    ListChanges,
    Listing,
    Renumbered,
    Unchanged,
    believed,
    changes,
    compare,
    difference,
)
from store.index import Known
from waystation.model import FolderState

Line = tuple[int, tuple[str, ...], tuple[str, ...]]

flags = st.sampled_from([(), ("\\Seen",), ("\\Flagged", "\\Seen")])
keywords = st.sampled_from([(), ("todo",)])
uids = st.integers(1, 40)
listings = st.dictionaries(uids, st.tuples(flags, keywords))
states = st.builds(
    FolderState,
    st.integers(1, 3),
    st.integers(0, 4),
    st.integers(0, 4),
    st.none() | st.integers(1, 4),
)


@st.composite
def indexes(draw: st.DrawFn) -> list[Known]:
    rows = draw(st.dictionaries(uids, st.tuples(flags, keywords, st.booleans(), st.booleans())))
    return [Known(1000 + uid, uid, *rows[uid]) for uid in sorted(rows)]


def listing_of(lines: list[Line]) -> Listing:
    listing = Listing()
    for line in lines:
        listing.add(*line)
    return listing


@given(listings, indexes())
def test_what_is_listed_and_not_archived_is_fetched_once_and_nothing_else(
    listed: dict[int, tuple[tuple[str, ...], tuple[str, ...]]], known: list[Known]
) -> None:
    listing = listing_of([(uid, *listed[uid]) for uid in listed])

    found = difference(listing, known)

    done = {row.uid for row in known if row.is_done}
    assert list(found.missing) == sorted(listed.keys() - done)
    assert found.newcomers == len(listed.keys() - {row.uid for row in known})
    rows = {row.id: row for row in known}
    gone = {row.id for row in known if row.uid not in listed and not row.has_vanished}
    back = {row.id for row in known if row.uid in listed and row.has_vanished}
    assert set(found.vanished) == gone
    assert set(found.returned) == back
    changed = {number: (now, words) for number, now, words in found.changed}
    assert changed == {
        row.id: listed[row.uid]
        for row in rows.values()
        if row.is_done and row.uid in listed and listed[row.uid] != (row.flags, row.keywords)
    }


@given(st.lists(st.tuples(uids, flags, keywords)))
def test_a_listing_counts_each_uid_once_and_keeps_its_last_word(lines: list[Line]) -> None:
    listing = listing_of(lines)

    last = {uid: (now, words) for uid, now, words in lines}
    assert len(listing) == len(last)
    assert list(listing) == [(uid, *last[uid]) for uid in sorted(last)]


@given(listings, indexes())
def test_a_listing_of_changes_says_nothing_of_what_it_leaves_out(
    listed: dict[int, tuple[tuple[str, ...], tuple[str, ...]]], known: list[Known]
) -> None:
    rows = {row.uid: row for row in known}
    lines = [(uid, *listed[uid]) for uid in sorted(listed)]

    found = changes((line, rows.get(line[0])) for line in lines)

    whole = difference(listing_of(lines), known)
    assert found.missing == whole.missing
    assert list(found.changed) == list(whole.changed)
    assert found.returned == whole.returned
    assert found.newcomers == whole.newcomers
    assert len(found.vanished) == 0


@given(states, states, st.booleans(), st.integers(0, 3), st.booleans())
def test_a_folder_is_left_alone_only_where_all_numbers_agree(
    found: FolderState, archived: FolderState, is_settled: bool, present: int, quick: bool
) -> None:
    plan = compare(found, archived, is_settled=is_settled, present=present, quick=quick)

    if isinstance(plan, Unchanged):
        assert is_settled
        assert (found.uidvalidity, found.uidnext, found.exists) == (
            archived.uidvalidity,
            archived.uidnext,
            archived.exists,
        )
        assert found.highestmodseq == archived.highestmodseq or quick or not found.exists
    if isinstance(plan, ListChanges):
        assert found.uidvalidity == archived.uidvalidity
        assert plan.since == archived.highestmodseq
        assert (found.highestmodseq or 0) >= plan.since
        assert is_settled
    if isinstance(plan, Emptied):
        assert present
        assert not found.exists
    if isinstance(plan, Renumbered):
        assert found.uidvalidity != archived.uidvalidity


@given(states)
def test_a_folder_never_seen_is_listed(found: FolderState) -> None:
    assert compare(found, None, is_settled=False, present=0) == ListAll()


@given(states, st.integers(1, 5))
def test_an_emptied_folder_is_an_alarm_unless_it_is_accepted(
    archived: FolderState, present: int
) -> None:
    empty = replace(archived, exists=0)

    plan = compare(empty, archived, is_settled=True, present=present)
    accepted = compare(empty, archived, is_settled=True, present=present, accept_emptied=True)

    assert plan == Emptied(present)
    assert not isinstance(accepted, Emptied)


def test_a_server_that_went_back_in_time_is_listed_anew() -> None:
    archived = FolderState(1, 10, 5, 100)

    plan = compare(replace(archived, highestmodseq=50), archived, is_settled=True, present=5)

    assert plan == ListAll()


@given(states, states)
def test_what_status_says_is_remembered_only_where_the_open_folder_agrees(
    status: FolderState, opened: FolderState
) -> None:
    found = believed(status, opened)

    assert (found.uidvalidity, found.exists) == (opened.uidvalidity, opened.exists)
    assert not opened.uidnext or found.uidnext == opened.uidnext
    assert believed(None, opened) == opened
    assert believed(opened, opened) == opened
