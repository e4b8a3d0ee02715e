# SPDX-License-Identifier: Apache-2.0
"""LPIs as spans of words: all of them, no more, and short where the vCPUs take turns."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.kvm.lpi import NO_VCPU, Lpis
from gicmodel.kvm.lpi_words import LpiWords
from gicmodel.memory import PAGE_BYTES

VCPUS, ID_BITS = 3, 16
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


def spans_of(words):
    return list(
        zip(*(column.tolist() for column in (words.vcpus, words.words, words.counts, words.masks)), strict=True)
    )


@given(LPIS, st.booleans(), st.booleans())
def test_the_spans_hold_exactly_the_lpis_that_were_asked_for(lpis, forwarded, others):
    rows = rows_of(lpis)
    words = LpiWords.of(rows, VCPUS, ID_BITS, forwarded, others)
    wanted = [lpi for lpi in lpis if lpi[1] != NO_VCPU and (forwarded if lpi[2] else others)]
    found = []
    for vcpu, start, count, mask in spans_of(words):
        bits = np.unpackbits(words.targets[mask : mask + count].view(np.uint8), bitorder="little")
        found += [(vcpu, 64 * start + bit) for bit in np.flatnonzero(bits).tolist()]
    assert sorted(found) == sorted((vcpu, intid) for intid, vcpu, _ in wanted)
    assert sorted(rows["intid"][words.slots]) == sorted(intid for intid, _, _ in wanted)
    assert words.left_out == sum(vcpu != NO_VCPU for _, vcpu, _ in lpis) - len(wanted)
    assert words.complete


@given(LPIS)
def test_no_span_lies_on_two_pages_or_begins_or_ends_with_nothing(lpis):
    words = LpiWords.of(rows_of(lpis), VCPUS, ID_BITS, forwarded=True, others=True)
    page_words = PAGE_BYTES // 8
    for _, start, count, mask in spans_of(words):
        assert start // page_words == (start + count - 1) // page_words
        assert words.targets[mask]
        assert words.targets[mask + count - 1]


def test_vcpus_in_turn_need_a_quarter_of_a_page_each():
    rows = rows_of([(intid, intid % 4, True) for intid in range(8192, 16_384 + 8192)])
    words = LpiWords.of(rows, 4, ID_BITS, forwarded=True, others=False)
    assert len(words.targets) * 8 == 4 * PAGE_BYTES // 4
    assert [sum(count for vcpu, _, count, _ in spans_of(words) if vcpu == of) for of in range(4)] == [256] * 4


def test_an_intid_without_room():
    assert not LpiWords.of(rows_of([(1 << ID_BITS, 0, True)]), VCPUS, ID_BITS, forwarded=True, others=True).complete
    assert LpiWords.of(rows_of([(1 << ID_BITS, 0, True)]), VCPUS, ID_BITS, forwarded=False, others=True).complete
