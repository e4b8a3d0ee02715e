# SPDX-License-Identifier: Apache-2.0
"""The memory that a register gives a table."""

import pytest

from gicmodel.layouts.registers.its import GITS_BASER
from gicmodel.layouts.registers.redistributor import GICR_VPROPBASER
from gicmodel.layouts.table import PAGE_SIZES, Table, baser_address, baser_field


@pytest.mark.parametrize(("code", "page"), [(0, 0x1000), (1, 0x4000), (2, 0x1_0000), (3, 0x1_0000)])
def test_a_flat_table_is_pages_of_entries(code, page):
    table = Table.of_baser(GITS_BASER.pack(Valid=1, Entry_Size=7, Page_Size=code, Size=2, Physical_Address=0x40000))
    assert table == Table(0x40000, 3 * page, 8, page, indirect=False, valid=True)
    assert table.capacity == 3 * page // 8


def test_a_table_of_two_levels_is_pages_of_level_1_entries():
    table = Table.of_baser(GITS_BASER.pack(Valid=1, Indirect=1, Entry_Size=31, Page_Size=0, Size=1))
    assert (table.per_page, table.capacity) == (0x1000 // 32, 2 * 0x1000 // 8 * (0x1000 // 32))


def test_address_bits_below_the_page_are_ignored():
    assert Table.of_baser(GITS_BASER.pack(Page_Size=1, Physical_Address=0x7000)).address == 0x4000
    assert Table.of_vpropbaser(GICR_VPROPBASER.pack(Page_Size=2, Physical_Address=0x2_F000)).address == 0x2_0000


def test_with_64_kib_pages_bits_15_to_12_of_a_baser_are_the_address_s_highest():
    assert Table.of_baser(GITS_BASER.pack(Page_Size=2, Physical_Address=0x8_5000)).address == 0x5_0000_0008_0000


def test_vpropbaser_counts_an_entry_in_doublewords():
    assert Table.of_vpropbaser(GICR_VPROPBASER.pack(Valid=1, Entry_Size=3, Page_Size=0)).entry_bytes == 32


def test_a_table_that_is_not_valid_says_so():
    assert not Table.of_baser(GITS_BASER.pack(Size=3)).valid


def test_page_sizes_are_4_16_and_64_kib():
    assert [size >> 10 for size in PAGE_SIZES] == [4, 16, 64, 64]


@pytest.mark.parametrize(
    ("page_bytes", "address", "field"),
    [
        (0x1000, 0xABCD_1234_5000, 0xABCD_1234_5000),
        (0x4000, 0xABCD_1234_4000, 0xABCD_1234_4000),
        (0x1_0000, 0xF_ABCD_1234_0000, 0xABCD_1234_F000),
        (0x1_0000, 0xABCD_1234_0000, 0xABCD_1234_0000),
    ],
)
def test_64_kib_pages_fold_the_top_of_a_52_bit_address(page_bytes, address, field):
    assert baser_field(address, page_bytes) == field
    assert baser_address(field, page_bytes) == address
