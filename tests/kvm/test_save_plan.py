# SPDX-License-Identifier: Apache-2.0
"""LPIs as spans of words: all of them, no more, and short where the vCPUs take turns."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.kvm.lpi import NO_VCPU, Lpis
from gicmodel.kvm.save_plan import APART, SavePlan, Spans, find_lpis
from gicmodel.memory import PAGE_BYTES, GuestMemory

VCPUS = 3
# The ends of the table, of one of its pages, and of a quarter of a page.
INTIDS = (
    st.integers(8192, 8400) | st.integers(32_700, 32_800) | st.integers(24_500, 24_700) | st.integers(65_400, 65_535)
)
LPIS = st.lists(
    st.tuples(INTIDS, st.integers(NO_VCPU, VCPUS - 1), st.booleans()), unique_by=lambda lpi: lpi[0], max_size=40
)


def rows_of(lpis):
    mapped = Lpis()
    slots = [mapped.allocate(intid, vcpu, 0, True, False) for intid, vcpu, _ in lpis]
    mapped.set_hw(np.array([slot for slot, lpi in zip(slots, lpis, strict=True) if lpi[2]], np.int64), True)
    return mapped.rows


def spans_in_vpts_and_in_software(lpis, vcpus=VCPUS, reads_vpts=True):
    """Those of forwarded LPIs, and those of all others."""
    bits = np.zeros((2, vcpus * APART), np.uint64)
    latched = any(vcpu != NO_VCPU and not (hw and reads_vpts) for _, vcpu, hw in lpis)
    assert find_lpis(rows_of(lpis), reads_vpts, *bits) == (True, latched)
    return [Spans.of(tables) for tables in bits]


def spans_of(spans):
    return list(
        zip(*(column.tolist() for column in (spans.vcpus, spans.words, spans.counts, spans.masks)), strict=True)
    )


def possible(lpi):
    """Whether there is a plan for one LPI, in tables that have room."""
    memory, mapped = GuestMemory(0, VCPUS << 16), Lpis()
    mapped.allocate(*lpi, 0, True, False)
    return SavePlan(memory, mapped, [vcpu << 16 for vcpu in range(VCPUS)], None).possible


def lpis_of(spans):
    found = []
    for vcpu, start, count, mask in spans_of(spans):
        bits = np.unpackbits(spans.targets[mask : mask + count].view(np.uint8), bitorder="little")
        found += [(vcpu, 64 * start + bit) for bit in np.flatnonzero(bits).tolist()]
    return sorted(found)


@given(LPIS, st.booleans())
def test_the_spans_hold_exactly_the_lpis_that_were_asked_for(lpis, reads_vpts):
    in_vpts, in_software = spans_in_vpts_and_in_software(lpis, reads_vpts=reads_vpts)
    targeted = [lpi for lpi in lpis if lpi[1] != NO_VCPU]
    assert lpis_of(in_vpts) == sorted((vcpu, intid) for intid, vcpu, hw in targeted if hw and reads_vpts)
    assert lpis_of(in_software) == sorted((vcpu, intid) for intid, vcpu, hw in targeted if not (hw and reads_vpts))


@given(LPIS)
def test_no_span_lies_on_two_pages_or_begins_or_ends_with_nothing(lpis):
    page_words = PAGE_BYTES // 8
    for spans in spans_in_vpts_and_in_software(lpis):
        for _, start, count, mask in spans_of(spans):
            assert start // page_words == (start + count - 1) // page_words
            assert spans.targets[mask]
            assert spans.targets[mask + count - 1]


SPAN, TABLE = 128, 1024
"""Words of a quarter of a page, and of a table."""
FORMS = [{}, {0: 1}, {127: 1 << 63}, {0: 1, 127: 1}, {5: 3}, {5: 3, 6: 3}]
"""Spans by word, few, so that many are alike."""


def spans_one_by_one(pieces):
    """`Spans.of`, piece after piece: what each says, and the words that it shares with the one before."""
    rows, targets = [], []
    for number, piece in enumerate(pieces):
        used = [word for word in range(SPAN) if piece[word]]
        if used:
            if targets[-SPAN:] != piece:
                targets += piece
            vcpu, word = divmod(number * SPAN, TABLE)
            rows.append((vcpu, word + used[0], used[-1] - used[0] + 1, len(targets) - SPAN + used[0]))
    return rows, targets


@given(st.lists(st.lists(st.sampled_from(FORMS), min_size=8, max_size=8), max_size=3))
def test_spans_that_follow_one_another_and_are_alike_share_their_words(tables):
    bits = np.zeros(len(tables) * APART, np.uint64)
    for vcpu, forms in enumerate(tables):
        for piece, form in enumerate(forms):
            for word, value in form.items():
                bits[vcpu * APART + piece * SPAN + word] = value
    pieces = [[form.get(word, 0) for word in range(SPAN)] for forms in tables for form in forms]
    spans = Spans.of(bits)
    assert (spans_of(spans), spans.targets.tolist()) == spans_one_by_one(pieces)


def test_vcpus_in_turn_need_a_quarter_of_a_page_each():
    lpis = [(intid, intid % 4, True) for intid in range(8192, 16_384 + 8192)]
    spans, _ = spans_in_vpts_and_in_software(lpis, 4)
    assert len(spans.targets) * 8 == 4 * PAGE_BYTES // 4
    assert [sum(count for vcpu, _, count, _ in spans_of(spans) if vcpu == of) for of in range(4)] == [256] * 4


def test_an_intid_without_room():
    assert possible(((1 << 16) - 1, 0))
    assert not possible((1 << 16, 0))
    assert possible((1 << 16, NO_VCPU))
