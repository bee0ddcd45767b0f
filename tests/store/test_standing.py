"""In which line of the table a message stands, by what the three sides say of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.finding import Cause, Finding
from store.index import ArchivedMessage
from store.standing import (
    OTHERS,
    Facts,
    Look,
    Shut,
    Standing,
    Table,
    Verdict,
    judge,
    shift_text,
)
from store.transfers import ARRIVED, Repair, Transfer, TransferState

if TYPE_CHECKING:
    from store.tallies import MessageState

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
SEEN = Look(was_seen=True)
LOOKED = "2024-05-02T00:00:00+00:00"


def message(
    state: MessageState = "archived",
    reason: str | None = None,
    flags: tuple[str, ...] = (),
    last_seen: str | None = None,
) -> ArchivedMessage:
    return ArchivedMessage(
        1, 1, "INBOX", 1, 7, state, reason, "maildir/INBOX/cur/x", "00", 1, NOON, flags, (), None,
        last_seen,
    )  # fmt: skip


def transfer(
    state: TransferState = TransferState.VERIFIED,
    reply: str | None = None,
    flags: tuple[str, ...] | None = None,
    lost: tuple[str, ...] = (),
    repairs: tuple[str, ...] = (),
) -> Transfer:
    done = tuple(Repair(step, "what", "00", "11") for step in repairs)
    return Transfer(
        1, 1, state, "INBOX", reply=reply, flags=flags, keywords=(), lost=lost, repairs=done
    )


def found(
    cause: Cause, there: tuple[str, ...] | None = None, shift: int | None = None, text: str = "x"
) -> Look:
    return Look(True, (Finding(cause, "INBOX", 1, 7, text, there, shift),))


def stands(facts: Facts) -> tuple[Standing, str]:
    verdict = judge(facts)
    return verdict.standing, verdict.text


def test_what_is_the_same_on_all_sides_is_equal() -> None:
    assert stands(Facts(message(), SEEN, SEEN, transfer())) == (Standing.EQUAL, "")


def test_what_nobody_has_looked_at_is_never_called_equal() -> None:
    for source, target in ((Look(), SEEN), (SEEN, Look()), (Look(), None), (None, Look())):
        verdict = judge(Facts(message(), source, target, transfer()))

        assert (verdict.standing, verdict.differs) == (Standing.UNSEEN, True)


def test_a_repaired_message_names_its_repairs() -> None:
    sent = transfer(repairs=("long-lines", "read-receipts", "long-lines"))

    verdict = judge(Facts(message(), SEEN, SEEN, sent))

    assert verdict.standing is Standing.REPAIRED
    assert verdict.text == "repaired: long-lines, read-receipts"
    assert not verdict.differs
    assert judge(Facts(message(), SEEN, None, sent)).standing is Standing.EQUAL


def test_what_only_the_source_has_says_since_when() -> None:
    verdict = judge(Facts(None, found(Cause.NOT_ARCHIVED), looked=LOOKED))

    assert verdict.standing is Standing.SOURCE_ONLY
    assert verdict.text == f"only in the source, since {LOOKED}; run export"
    assert "never looked through" in judge(Facts(None, SEEN)).text


def test_what_vanished_is_news_only_where_no_export_has_noted_it() -> None:
    noted = judge(Facts(message(last_seen=LOOKED), Look(), SEEN, transfer()))
    new = judge(Facts(message(), Look(False, found(Cause.VANISHED).findings), looked=LOOKED))
    with_folder = judge(Facts(message(), Look(shut=Shut("gone", is_gone=True)), looked=LOOKED))

    assert (noted.standing, noted.differs) == (Standing.VANISHED, False)
    assert noted.text == f"vanished from the source since {LOOKED}"
    assert (new.standing, new.differs) == (Standing.VANISHED, True)
    assert new.text == f"vanished from the source, since {LOOKED}; run export"
    assert with_folder.standing is Standing.VANISHED


def test_a_folder_that_is_gone_from_the_target_misses_its_messages() -> None:
    gone, shut = (Look(shut=Shut("words", is_gone=is_gone)) for is_gone in (True, False))

    assert judge(Facts(message(), SEEN, gone, transfer())).standing is Standing.MISSING
    assert stands(Facts(message(), SEEN, shut, transfer())) == (
        Standing.UNSEEN,
        "could not be looked at in the target: words",
    )


@pytest.mark.parametrize(
    ("state", "reply", "standing", "text", "differs"),
    [
        (None, None, Standing.NOT_SENT, "not sent yet", True),
        (TransferState.PENDING, "later", Standing.NOT_SENT, "not sent yet: later", True),
        (TransferState.SENDING, None, Standing.IN_DOUBT, "in doubt; run import", True),
        (TransferState.REFUSED, "NO odd", Standing.REFUSED, "refused: NO odd", True),
        (TransferState.SET_ASIDE, "too large", Standing.SET_ASIDE, "set aside: too large", False),
    ],
)
def test_what_did_not_arrive_says_why(
    state: TransferState | None, reply: str | None, standing: Standing, text: str, differs: bool
) -> None:
    sent = None if state is None else transfer(state, reply)

    verdict = judge(Facts(message(), SEEN, Look(), sent))

    assert (verdict.standing, verdict.differs) == (standing, differs)
    assert verdict.text.startswith(text)


def test_what_is_not_in_the_archive_says_why() -> None:
    left_out = judge(Facts(message("skipped", "larger than 1"), SEEN, SEEN))
    failed = judge(Facts(message("failed", "NO broken"), SEEN, SEEN))

    assert (left_out.standing, left_out.kind) == (Standing.LEFT_OUT, "larger than 1")
    assert not left_out.differs
    assert (failed.standing, failed.text) == (Standing.FAILED, "failed: NO broken")
    assert failed.differs


def test_flags_say_who_has_what_and_who_changed_them() -> None:
    archived = message(flags=("\\Seen",))
    of_source, of_target = found(Cause.FLAGS, ("\\Flagged",)), found(Cause.FLAGS, ())
    brought = transfer(flags=("\\Seen",))

    assert stands(Facts(archived, of_source, SEEN, brought)) == (
        Standing.FLAGS,
        "source has \\Flagged, archive has \\Seen: changed at the source since the last export",
    )
    assert stands(Facts(archived, SEEN, of_target, brought)) == (
        Standing.FLAGS,
        "archive has \\Seen, target has none: changed in the target since it was sent",
    )
    assert judge(Facts(archived, of_source, of_target, brought)).text.endswith(
        "changed at the source since the last export; changed in the target since it was sent"
    )


def test_flags_that_the_next_import_carries_are_not_taken_for_the_users_doing() -> None:
    verdict = judge(
        Facts(
            message(flags=("\\Seen", "todo")),
            SEEN,
            found(Cause.FLAGS, ()),
            transfer(flags=("todo",), lost=("todo",)),
        )
    )

    assert verdict.text == (
        "archive has \\Seen todo, target has none, which does not keep todo: "
        "changed at the source since it was sent; the next import carries it"
    )
    assert verdict.kind == "changed at the source since it was sent"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (86_400, "1 day later"),
        (-2 * 86_400, "2 days earlier"),
        (86_401, "1 day later"),
        (3600, "1 hour later, as by another time zone"),
        (-7200, "2 hours earlier, as by another time zone"),
        (19_800, "5 hours 30 minutes later, as by another time zone"),
        (14 * 3600, "14 hours later, as by another time zone"),
        (15 * 3600, "15 hours later"),
        (1, "1 second later"),
        (-61, "1 minute 1 second earlier"),
        (3601, "1 hour later, as by another time zone"),
        (3602, "1 hour 2 seconds later"),
        (100 * 86_400 + 3 * 3600 + 5, "100 days 3 hours later"),
    ],
)
def test_how_far_a_date_is_off_is_told_as_people_say_it(seconds: int, words: str) -> None:
    assert shift_text(seconds) == words


@given(st.integers(-(10**10), 10**10).filter(bool))
def test_both_directions_of_a_shift_are_told_alike(seconds: int) -> None:
    words = shift_text(seconds)

    assert ("later" in words) == (seconds > 0)
    assert words.replace("earlier", "later") == shift_text(abs(seconds))
    assert re.match(r"[1-9]", words)


def test_a_date_says_where_and_by_how_much() -> None:
    look = found(Cause.DATE, shift=86_400, text="INTERNALDATE is a, archived b")

    verdict = judge(Facts(message(), SEEN, look, transfer()))

    assert verdict.text == "date in the target is 1 day later: INTERNALDATE is a, archived b"
    assert verdict.kind == "in the target, 1 day later"
    unknown = judge(Facts(message(), found(Cause.DATE), None))
    assert unknown.text == "x (in the source)"


def test_a_table_holds_few_kinds_however_many_words_a_server_has() -> None:
    table = Table()
    for number in range(1000):
        table.add(judge(Facts(message("failed", f"NO number {number}"), SEEN)))

    assert table.total == 1000
    rows = list(table.rows())
    assert len(rows) == 21
    assert (Standing.FAILED, OTHERS, 980) in rows


looks = st.one_of(
    st.none(),
    st.builds(
        Look,
        st.booleans(),
        st.lists(
            st.builds(
                Finding,
                st.sampled_from([c for c in Cause if c not in (Cause.FOLDER, Cause.NOT_SENT)]),
                st.just("INBOX"),
                st.just(1),
                st.just(7),
                st.text(max_size=3),
                st.none() | st.lists(st.sampled_from(["a", "b"])).map(tuple),
                st.none() | st.integers(-100_000, 100_000),
            ),
            max_size=4,
        ).map(tuple),
        st.none() | st.builds(Shut, st.text(max_size=3), st.booleans()),
    ),
)
messages = st.none() | st.builds(
    message,
    st.sampled_from(["archived", "skipped", "failed"]),
    st.none() | st.just("why"),
    st.sampled_from([(), ("a",)]),
    st.none() | st.just(LOOKED) | st.just(""),
)
transfers = st.none() | st.builds(
    transfer,
    st.sampled_from(TransferState),
    st.none() | st.just("reply"),
    st.none() | st.just(("b",)),
    st.sampled_from([(), ("a",)]),
    st.sampled_from([(), ("long-lines",)]),
)


@given(st.lists(st.builds(Facts, messages, looks, looks, transfers), max_size=30))
def test_every_message_stands_in_one_line_and_the_table_adds_up(facts: list[Facts]) -> None:
    table = Table()
    verdicts = [judge(each) for each in facts]
    for verdict in verdicts:
        table.add(verdict)

    assert table.total == len(facts) == sum(count for *_, count in table.rows())
    assert table.differing == sum(verdict.differs for verdict in verdicts)
    for standing in Standing:
        of_it = sum(count for each, _, count in table.rows() if each is standing)
        assert of_it == table.lines[standing]


@given(st.builds(Facts, messages, looks, looks, transfers))
def test_a_message_is_counted_by_the_gravest_of_all_that_is_told(facts: Facts) -> None:
    verdict = judge(facts)

    gravity = [list(Standing).index(reason.standing) for reason in verdict.reasons]
    assert all(one <= other for one, other in pairwise(gravity))
    assert (verdict.standing.is_fine, verdict.differs) in {
        (True, False),
        (False, True),
        (False, False),
    }
    assert all(reason.text in verdict.text for reason in verdict.reasons)


@given(st.builds(Facts, messages, looks, looks, transfers))
def test_equal_means_archived_looked_at_and_nothing_found(facts: Facts) -> None:
    verdict: Verdict = judge(facts)

    if not verdict.standing.is_fine:
        return
    assert facts.message is not None
    assert facts.message.state == "archived"
    assert facts.source is None or (facts.source.was_seen and not facts.source.findings)
    if facts.target is not None:
        assert facts.target.was_seen
        assert not facts.target.findings
        assert facts.transfer is not None
        assert facts.transfer.state in ARRIVED
