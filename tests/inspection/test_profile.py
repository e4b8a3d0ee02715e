# SPDX-License-Identifier: Apache-2.0
"""Entries decoded by column, beside the same entries one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gicmodel.inspection import PROFILES
from gicmodel.inspection.profiles import ALL, NONE

ENTRIES = {
    entry.layout.name: entry for profile in PROFILES.values() for entry in profile.entries.values() if entry is not None
}
each_entry = pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)


def check(entry, drawn):
    """`drawn` has each entry's bytes."""
    layout = entry.layout
    decoded = entry.decode(np.frombuffer(b"".join(drawn), np.uint8).reshape(-1, layout.bytes))
    parsed = [layout.parse(octets) for octets in drawn]
    reserved = [name for name, span in layout.spans.items() if span.reserved == "RES0"]
    rows = np.arange(len(drawn))
    assert rows[decoded.used].tolist() == [n for n, values in enumerate(parsed) if values[entry.used]]
    assert rows[decoded.reserved].tolist() == [n for n, values in enumerate(parsed) if any(values[k] for k in reserved)]
    assert {name: column.tolist() for name, column in decoded.columns.items()} == {
        name: [values[known] for values in parsed if values[entry.used]] for name, known in entry.fields.items()
    }
    return decoded


def drawn_fields(entry, *, used, broken):
    """An entry's bytes: in use or not, with RES0 bits set or not."""
    spans = entry.layout.spans
    # Multiples of its scale, as an address is.
    fields = {
        name: st.integers(0, (1 << spans[name].bits) - 1).map(lambda value, scale=spans[name].scale: value << scale)
        for name in entry.layout.fields
    }
    fields[entry.used] = st.integers(1, (1 << spans[entry.used].bits) - 1) if used else st.just(0)
    reserved = [name for name, span in spans.items() if span.reserved == "RES0"]
    fields |= dict.fromkeys(reserved if broken else (), st.just(1))
    return st.fixed_dictionaries(fields).map(lambda values: entry.layout.build(**values))


@each_entry
@settings(max_examples=10)
@given(data=st.data())
def test_columns_have_what_construct_reads(entry, data):
    one = st.one_of(
        drawn_fields(entry, used=True, broken=False),
        drawn_fields(entry, used=False, broken=False),
        drawn_fields(entry, used=True, broken=True),
        st.binary(min_size=entry.layout.bytes, max_size=entry.layout.bytes),
    )
    check(entry, data.draw(st.lists(one, max_size=6)))


@each_entry
def test_entries_that_are_all_in_use_and_have_no_reserved_bit_need_no_mask(entry):
    ones = {
        name: (1 << entry.layout.spans[name].bits) - 1 << entry.layout.spans[name].scale for name in entry.layout.fields
    }
    decoded = check(entry, [entry.layout.build(**ones)] * 3)
    assert (decoded.used, decoded.reserved) == (ALL, NONE)


@each_entry
def test_entries_in_use_that_have_no_bit_in_common(entry):
    bits = range(entry.layout.spans[entry.used].bits)
    check(entry, [entry.layout.build(**{entry.used: 1 << bit}) for bit in bits])


@each_entry
@pytest.mark.parametrize("place", range(3))
def test_one_entry_with_one_reserved_bit_is_found(entry, place):
    plain = entry.layout.build(**{entry.used: 1})
    for name, span in entry.layout.spans.items():
        for bit in {0, span.bits - 1} if span.reserved == "RES0" else ():
            drawn = [plain] * 3
            drawn[place] = entry.layout.build(**{entry.used: 1, name: 1 << bit})
            check(entry, drawn)


@each_entry
@pytest.mark.parametrize("place", range(3))
def test_one_entry_that_is_not_in_use_is_left_out(entry, place):
    drawn = [entry.layout.build(**{entry.used: 1})] * 3
    drawn[place] = bytes(entry.layout.bytes)
    check(entry, drawn)
