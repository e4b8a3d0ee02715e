# SPDX-License-Identifier: Apache-2.0
"""What holds for every layout, whatever it declares."""

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gicmodel.layouts.catalogue import CATALOGUE, KINDS, NAMES

each_layout = pytest.mark.parametrize("layout", KINDS, ids=lambda layout: layout.name)


def entries(layout):
    """The bytes of one entry, anything in its reserved bits."""
    return st.binary(min_size=layout.bytes, max_size=layout.bytes)


@each_layout
def test_every_bit_is_declared_exactly_once(layout):
    for word, width in enumerate(layout.word_bits):
        bits = [n for span in layout.spans.values() if span.word == word for n in range(span.low, span.high + 1)]
        assert sorted(bits) == list(range(width))


@each_layout
def test_declared_widths_are_construct_s_own(layout):
    assert layout.construct.sizeof() == layout.bytes
    assert sum(span.bits for span in layout.spans.values()) == layout.bits


@each_layout
def test_every_layout_and_every_named_field_has_a_line_of_meaning(layout):
    docs = [layout.doc, *(layout.spans[name].doc for name in layout.fields)]
    assert all(doc and doc.isascii() and "\n" not in doc for doc in docs)


@each_layout
def test_named_fields_cannot_be_taken_for_reserved_ones(layout):
    assert all(re.fullmatch(r"[A-Za-z]\w*", name) for name in layout.fields)


def test_names_are_unique_in_any_case():
    assert len({name.upper() for name in NAMES}) == len(NAMES)
    assert len({layout.name for layout in KINDS}) == sum(len(layouts) for layouts in CATALOGUE.values())


@each_layout
@settings(max_examples=10)
@given(data=st.data())
def test_construct_round_trip_keeps_every_bit(layout, data):
    octets = data.draw(entries(layout))
    assert layout.build(**layout.parse(octets)) == octets


@each_layout
@settings(max_examples=10)
@given(data=st.data())
def test_constants_read_what_construct_reads(layout, data):
    octets = data.draw(entries(layout))
    words = layout.words_of(octets).reshape(-1)
    parsed = layout.parse(octets)
    for name in layout.spans:
        word, shift, mask, scale = layout[name]
        assert ((words[word] >> shift) & mask) << scale == parsed[name]


@each_layout
@settings(max_examples=10)
@given(data=st.data())
def test_the_vectorised_decoder_reads_what_construct_reads(layout, data):
    drawn = data.draw(st.lists(entries(layout), max_size=5))
    rows = layout.decode(layout.words_of(b"".join(drawn)))
    parsed = [layout.parse(octets) for octets in drawn]
    assert [row.tolist() for row in rows] == [tuple(entry[name] for name in layout.fields) for entry in parsed]


@each_layout
@settings(max_examples=10)
@given(data=st.data())
def test_scalar_and_vectorised_builders_write_what_construct_writes(layout, data):
    fields = dict(layout.parse(data.draw(entries(layout))))
    octets = layout.build(**fields)
    words = layout.words_of(octets).reshape(-1).tolist()
    assert list(layout.pack_words(**fields)) == words
    assert layout.encode(**fields).tolist() == [words]
    assert layout.unpack(words) == {name: fields[name] for name in layout.fields}


@each_layout
def test_an_entry_of_ones_violates_every_res0_field(layout):
    ones = [(1 << width) - 1 for width in layout.word_bits]
    reserved = {name: (1 << span.bits) - 1 for name, span in layout.spans.items() if span.reserved == "RES0"}
    assert layout.res0_violations(ones) == reserved


@each_layout
def test_decode_has_one_dtype_a_layout(layout):
    assert layout.decode(np.empty((0, len(layout.word_bits)), np.uint64)).dtype == layout.dtype


def test_importing_layouts_brings_nothing_heavy():
    program = (
        "import sys, gicmodel.layouts.catalogue\n"
        "print([name for name in ('numba', 'hypothesis', 'rich', 'click', 'elftools') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
