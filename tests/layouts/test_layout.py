# SPDX-License-Identifier: Apache-2.0
"""The Layout class on declarations of the test's own."""

import subprocess
import sys

import construct
import numpy as np
import pytest

from gicmodel.layouts.declaration import IMPDEF, RES0, RES1, Address, Bits, Flag
from gicmodel.layouts.layout import Field, Layout

ENTRY = Layout(
    "ENTRY",
    *(Flag("Valid", "It is there"), RES0(11), Address("Base", 51, 12), RES1(2), IMPDEF(2), Bits("Size", 8)),
    *(RES0(8), Bits("Number", 24, default=5)),
    words=(64, 32),
)
FIRST_WORD = 0x8000_8000_1234_5C03
RES1_BITS = 0xC00


def test_fields_are_placed_from_the_most_significant_bit_of_each_word():
    places = {name: (span.word, span.high, span.low, span.scale) for name, span in ENTRY.spans.items()}
    assert places == {
        "Valid": (0, 63, 63, 0),
        "_res0_dw0_62_52": (0, 62, 52, 0),
        "Base": (0, 51, 12, 12),
        "_res1_dw0_11_10": (0, 11, 10, 0),
        "_impdef_dw0_9_8": (0, 9, 8, 0),
        "Size": (0, 7, 0, 0),
        "_res0_dw1_31_24": (1, 31, 24, 0),
        "Number": (1, 23, 0, 0),
    }


def test_reserved_fields_of_a_single_word_are_named_by_their_bits():
    assert list(Layout("ONE", RES0(63), Flag("V")).spans) == ["_res0_63_1", "V"]


def test_a_field_constant_is_uint64_throughout():
    assert ENTRY["Base"] == Field(0, np.uint64(12), np.uint64((1 << 40) - 1), np.uint64(12))
    assert [type(part) for part in ENTRY["Base"]] == [int, np.uint64, np.uint64, np.uint64]


def test_named_fields_are_in_order_without_the_reserved_ones():
    assert list(ENTRY.fields) == ["Valid", "Base", "Size", "Number"]


def test_the_bits_of_named_fields_of_a_register():
    register = Layout("REGISTER", Flag("Valid"), RES0(11), Address("Base", 51, 12), RES1(2), IMPDEF(2), Bits("Size", 8))
    assert register.field_mask() == 0x800F_FFFF_FFFF_F0FF
    assert register.field_mask(without=("Valid", "Size")) == 0xF_FFFF_FFFF_F000


def test_sizes():
    assert (ENTRY.bits, ENTRY.bytes) == (96, 12)


def test_a_field_not_given_has_its_default():
    assert ENTRY.pack_words() == (RES1_BITS, 5)
    assert ENTRY.build() == RES1_BITS.to_bytes(8, "little") + (5).to_bytes(4, "little")


def test_pack_build_and_encode_agree():
    fields = {"Valid": 1, "Base": 0x8000_1234_5000, "Size": 3, "Number": 9}
    words = ENTRY.pack_words(**fields)
    assert words == (FIRST_WORD, 9)
    assert ENTRY.build(**fields) == FIRST_WORD.to_bytes(8, "little") + (9).to_bytes(4, "little")
    assert ENTRY.encode(**fields).tolist() == [list(words)]


def test_a_reserved_field_can_be_given_by_its_hidden_name():
    assert ENTRY.pack_words(_res0_dw0_62_52=1, _res1_dw0_11_10=0) == (1 << 52, 5)


def test_unpack_and_parse_read_the_whole_value_of_an_address():
    assert ENTRY.unpack((FIRST_WORD, 9)) == {"Valid": 1, "Base": 0x8000_1234_5000, "Size": 3, "Number": 9}
    assert ENTRY.parse(ENTRY.build(Base=0x5000)).Base == 0x5000


def test_unpack_takes_an_integer_or_an_array():
    layout = Layout("ONE", RES0(56), Bits("Low", 8))
    assert layout.unpack(7) == layout.unpack(np.uint64(7)) == layout.unpack(np.array([7], np.uint64)) == {"Low": 7}


def test_violations_are_the_res0_fields_that_are_not_zero():
    words = (1 << 60 | 3 << 8, 0xFF << 24)
    assert ENTRY.res0_violations(words) == {"_res0_dw0_62_52": 1 << 8, "_res0_dw1_31_24": 0xFF}
    assert ENTRY.res0_violations(ENTRY.pack_words()) == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Size": 256}, "ENTRY.Size: 0x100 is not a value of 8 bits"),
        ({"Size": -1}, "ENTRY.Size: -0x1 is not a value of 8 bits"),
        ({"Valid": 2}, "ENTRY.Valid: 0x2 is not a value of 1 bits"),
        ({"Base": 1 << 52}, "ENTRY.Base: 0x10000000000000 is not a value of 52 bits"),
        ({"Base": 0x1234}, "ENTRY.Base: 0x1234 is not a multiple of 0x1000"),
        ({"Sise": 1}, "ENTRY has no field Sise"),
    ],
)
@pytest.mark.parametrize("build", [ENTRY.pack_words, ENTRY.build, ENTRY.encode])
def test_a_value_that_a_field_cannot_hold_is_refused(build, fields, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build(**fields)


def test_encode_refuses_one_wrong_value_among_many():
    with pytest.raises(ValueError, match="0x100"):
        ENTRY.encode(Size=np.array([1, 256, 3]))


def test_encode_broadcasts_scalars():
    assert ENTRY.encode(Size=np.arange(3), Number=7).tolist() == [[RES1_BITS + n, 7] for n in range(3)]


def test_encode_of_no_entries():
    assert ENTRY.encode(Size=np.array([], np.int64)).shape == (0, 2)


def test_decode_gives_flags_as_bool_so_that_they_select_rows():
    rows = ENTRY.decode(ENTRY.encode(Valid=[0, 1, 1], Number=[1, 2, 3]))
    assert rows["Valid"].dtype == np.bool_
    assert rows[rows["Valid"]]["Number"].tolist() == [2, 3]
    assert rows["Number"].dtype == np.uint64


def test_a_column_is_as_wide_as_the_bits_up_to_its_field():
    words = ENTRY.encode(Valid=[0, 1], Base=[0x5000, 0xF_FFFF_FFFF_F000], Size=[255, 1], Number=[0xFF_FFFF, 1])
    columns = {name: ENTRY.column(words, name) for name in ENTRY.fields}
    assert {name: column.tolist() for name, column in columns.items()} == {
        "Valid": [0, 1],
        "Base": [0x5000, 0xF_FFFF_FFFF_F000],
        "Size": [255, 1],
        "Number": [0xFF_FFFF, 1],
    }
    assert [column.itemsize for column in columns.values()] == [8, 8, 1, 4]


def test_words_of_memory():
    data = ENTRY.build(Size=1) + ENTRY.build(Size=2)
    assert ENTRY.words_of(data).tolist() == [[RES1_BITS + 1, 5], [RES1_BITS + 2, 5]]
    octets = np.frombuffer(bytes([1, 2, 3]), np.uint8)
    assert Layout("BYTE", Bits("All", 8), words=(8,)).words_of(octets).tolist() == [1, 2, 3]


def test_words_of_a_partial_entry_are_refused():
    with pytest.raises(ValueError, match="size"):
        ENTRY.words_of(bytes(13))


def test_pack_is_for_one_word_only():
    with pytest.raises(ValueError, match="too many values"):
        ENTRY.pack(Size=1)


def test_wrong_number_of_words_or_bytes():
    with pytest.raises(ValueError, match="ENTRY: 1 words where an entry has 2"):
        ENTRY.unpack(5)
    with pytest.raises(ValueError, match="ENTRY: 8 bytes where an entry has 12"):
        ENTRY.parse(bytes(8))


def test_an_unknown_field():
    with pytest.raises(KeyError):
        ENTRY["Sise"]


@pytest.mark.parametrize(
    ("subcons", "message"),
    [
        ([RES0(63)], r"bits \[0:0\] of word 0 are not declared"),
        ([RES0(60), Bits("Wide", 5)], r"bits \[3:0\] of word 0 are not declared"),
        ([RES0(64), Flag("More")], "more bits are declared than the 64"),
        ([RES0(62), Flag("Same"), Flag("Same")], "a field name occurs twice"),
    ],
)
def test_a_declaration_that_does_not_fill_its_words_is_refused(subcons, message):
    with pytest.raises(ValueError, match=message):
        Layout("WRONG", *subcons)


def test_a_field_may_be_any_named_construct():
    size, valid = "Size" / construct.BitsInteger(5) * "Its size", "V" / construct.Flag
    layout = Layout("BY_HAND", size, RES0(2), valid, words=(8,))
    assert layout.pack(Size=3, V=1) == 3 << 3 | 1
    assert layout.build(Size=3, V=1) == bytes([3 << 3 | 1])
    assert (layout.spans["Size"].doc, layout.unpack(0xFF)) == ("Its size", {"Size": 31, "V": 1})


def test_no_layout_without_construct():
    program = "import sys; sys.modules['construct'] = None; import gicmodel.layouts.its_tables"
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ModuleNotFoundError: import of construct halted" in outcome.stderr
