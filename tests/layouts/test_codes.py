# SPDX-License-Identifier: Apache-2.0
import pytest

from gicmodel.layouts.registers import PAGE_SIZES, baser_address, baser_field


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
