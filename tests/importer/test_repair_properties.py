"""Whatever a message is like, the ladder ends in something that a strict server can take."""

from __future__ import annotations

import email
import hashlib
from email import policy
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from importer.repair import Step, further, needed
from tests.importer.hostile_mail import (
    TIGHT,
    anything,
    around,
    leaves,
    look,
    mend,
    well_formed,
)

if TYPE_CHECKING:
    from store.transfers import Repair

rungs = st.sets(st.sampled_from(sorted(set(Step) - {Step.ENVELOPE})))
slow = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def is_a_chain(message: bytes, mended: bytes, repairs: tuple[Repair, ...]) -> bool:
    """Whether the hashes lead from the message to what it became, without a gap."""
    hashes = [hashlib.sha256(message).hexdigest(), *(repair.after for repair in repairs)]
    return [repair.before for repair in repairs] == hashes[:-1] and hashes[-1] == hashlib.sha256(
        mended
    ).hexdigest()


@slow
@given(st.one_of(anything, well_formed))
def test_what_is_needed_is_gone_after_the_repair(message: bytes) -> None:
    steps = needed(look(message), TIGHT)

    mended, repairs = mend(message, *steps)

    assert needed(look(mended), TIGHT) == ()
    # what is mended with long lines in the same part is done with
    assert {repair.step for repair in repairs} | {Step.NUL} == {*steps} | {Step.NUL}
    assert all(repair.what for repair in repairs)
    assert is_a_chain(message, mended, repairs)


@slow
@given(st.one_of(anything, well_formed))
def test_every_rung_leaves_what_is_legal_on_the_wire(message: bytes) -> None:
    for steps in further(look(message), TIGHT):
        mended, repairs = mend(message, *steps)

        found = look(mended)
        assert needed(found, TIGHT) == ()
        assert not found.has_broken_header
        assert not found.has_8bit_header
        assert is_a_chain(message, mended, repairs)


@slow
@given(st.one_of(anything, well_formed), rungs)
def test_any_steps_give_the_same_octets_each_time(message: bytes, steps: set[Step]) -> None:
    assert mend(message, *steps) == mend(message, *steps)


@slow
@given(st.one_of(anything, well_formed), rungs)
def test_what_was_repaired_is_not_repaired_again(message: bytes, steps: set[Step]) -> None:
    mended, _ = mend(message, Step.LINE_ENDS, *steps)

    again, repairs = mend(mended, *steps - {Step.MIME})

    assert again == mended
    assert repairs == ()


@slow
@given(anything)
def test_line_ends_are_what_the_inspection_foretold(message: bytes) -> None:
    found = look(message)

    mended, _ = mend(message, Step.LINE_ENDS)

    assert len(mended) == found.crlf_size
    assert found.is_crlf == (mended == message)
    assert max(map(len, mended.split(b"\r\n"))) == found.longest_line
    assert mended.replace(b"\r", b"").replace(b"\n", b"") == message.replace(b"\r", b"").replace(
        b"\n", b""
    )


@slow
@given(well_formed)
def test_the_parts_decode_to_the_same_octets_after_long_lines_and_nul(message: bytes) -> None:
    mended, _ = mend(message, Step.LONG_LINES, Step.NUL)

    assert leaves(mended) == leaves(message)
    assert around(mended) == around(message)


@slow
@given(st.one_of(anything, well_formed))
def test_an_envelope_holds_exactly_the_message(message: bytes) -> None:
    wrapped, (repair,) = mend(message, Step.ENVELOPE, Step.NUL, Step.MIME)

    parsed = email.message_from_bytes(wrapped, policy=policy.compat32)
    _, text, attachment = parsed.walk()
    assert attachment.get_payload(decode=True) == message
    assert attachment.get_filename() == "original.eml"
    assert attachment.get_content_type() == "application/octet-stream"
    assert hashlib.sha256(message).hexdigest() in str(text.get_payload())
    assert repair.step == Step.ENVELOPE
    assert len(wrapped) <= len(message) * 1.4 + 8192  # base64, and little beside it
    found = look(wrapped)
    assert needed(found, TIGHT) == ()
    assert not found.has_8bit_header
    assert not found.has_broken_header


@pytest.mark.parametrize("step", Step)
def test_nothing_at_all_can_be_inspected_and_mended(step: Step) -> None:
    mended, repairs = mend(b"", step)

    assert bool(repairs) == (step is Step.ENVELOPE)
    assert bool(mended) == (step is Step.ENVELOPE)
