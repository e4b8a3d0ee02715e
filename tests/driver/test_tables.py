# SPDX-License-Identifier: Apache-2.0
"""Tables: what GITS_BASER<n> holds after probing, and level 2 pages, byte by byte."""

from collections.abc import Callable
from typing import TypeAlias

import pytest

from gicmodel.driver import DriverError
from gicmodel.driver.tables import affinity_key, its_alloc_table_entry
from gicmodel.layouts.its_tables import DTE, LEVEL1, VPE_CONFIGURATION
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_BASER
from gicmodel.layouts.registers.redistributor import GICR_VPROPBASER
from tests.driver.host import Host

Restriction: TypeAlias = Callable[[dict[str, int]], dict[str, int]]


def test_small_tables_are_flat() -> None:
    """A flat table that fits two pages stays flat, though the hardware offers two levels."""
    baser = GITS_BASER.unpack(Host(device_id_bits=14).its("GITS_BASER0"))
    assert (baser["Valid"], baser["Indirect"], baser["Size"], baser["Page_Size"]) == (1, 0, 1, 2)
    assert (baser["Entry_Size"], baser["Type"]) == (DTE.bytes - 1, 1)
    assert (baser["InnerCache"], baser["OuterCache"], baser["Shareability"]) == (7, 0, 1)


def test_large_device_tables_have_two_levels_and_collection_tables_never() -> None:
    host = Host(device_id_bits=24)
    baser = GITS_BASER.unpack(host.its("GITS_BASER0"))
    assert (baser["Indirect"], baser["Size"]) == (1, 0), "2**24 DTEs of 8 bytes are 2048 pages, one level 1 page"
    assert GITS_BASER.unpack(host.its("GITS_BASER1"))["Indirect"] == 0
    assert GITS_BASER.unpack(host.its("GITS_BASER3")) == dict.fromkeys(GITS_BASER.fields, 0)


def test_a_level_2_page_appears_with_the_first_device_that_needs_it(host: Host) -> None:
    level1 = GITS_BASER.unpack(host.its("GITS_BASER0"))["Physical_Address"]
    per_page = 0x1_0000 // DTE.bytes
    assert host.memory.read(level1, 64) == bytes(64)
    device = host.driver.lpis.create_device(3 * per_page + 5, 8)
    entry = LEVEL1.unpack(host.memory.read_u64(level1 + 3 * 8))
    assert entry["Valid"] == 1
    assert host.memory.read(level1, 24) == bytes(24)
    page = entry["Physical_Address"]
    assert page % 0x1_0000 == 0
    dte = host.memory.read_u64(page + 5 * DTE.bytes)
    assert DTE.unpack(dte) == {"Valid": 1, "Size": 2, "ITT_addr": device.itt_addr}
    free = host.allocator.free_bytes
    host.driver.lpis.create_device(3 * per_page + 6, 8)
    assert host.allocator.free_bytes == free - 4096, "only an ITT more"


def test_vpe_tables_get_level_2_pages_before_vmapp() -> None:
    host = Host(svpet=0)
    level1 = GITS_BASER.unpack(host.its("GITS_BASER2"))["Physical_Address"]
    host.driver.vpes.ids.take(3 * 0x1_0000 // VPE_CONFIGURATION.bytes)
    vm = host.driver.vpes.create_vm(1)
    assert vm.vpes[0].vpe_id == 6144
    assert [LEVEL1.unpack(host.memory.read_u64(level1 + 8 * n))["Valid"] for n in range(4)] == [0, 0, 0, 1]
    table = host.driver.gic.redistributors[0].vpe_table
    assert table is not None
    assert [LEVEL1.unpack(host.memory.read_u64(table.address + 8 * n))["Valid"] for n in range(4)] == [0, 0, 0, 1]


@pytest.mark.parametrize("device_id", [1 << 16, (1 << 32) - 1])
def test_a_device_beyond_the_table_is_refused(host: Host, device_id: int) -> None:
    with pytest.raises(DriverError, match=r"EINVAL: DeviceID .* is beyond ITS 0's device table"):
        host.driver.lpis.create_device(device_id, 1)


@pytest.mark.parametrize(("levels", "key"), [(0, 0), (1, 0xAA00_0000), (2, 0xAABB_0000), (3, 0xAABB_CC00)])
def test_affinity_key(levels: int, key: int) -> None:
    assert affinity_key(0xAABB_CCDD, levels) == key


class Restricted:
    """A register face on which `restrict` replaces fields of what is written to some of the registers."""

    def __init__(self, real: object, layout: Layout, offsets: range, restrict: Restriction) -> None:
        self.real, self.layout, self.offsets, self.restrict = real, layout, offsets, restrict

    def read(self, offset: int, size: int) -> int:
        return int(self.real.read(offset, size))  # type: ignore[attr-defined]

    def write(self, offset: int, value: int, size: int) -> None:
        if offset in self.offsets:
            fields = self.layout.unpack(value)
            value = self.layout.pack(**(fields | self.restrict(fields)))
        self.real.write(offset, value, size)  # type: ignore[attr-defined]


def restricted(restrict: Restriction, **choices: object) -> Host:
    host = Host(boot=False, device_id_bits=13, **choices)
    host.gic.its[0] = Restricted(host.gic.its[0], GITS_BASER, range(0x100, 0x140), restrict)  # type: ignore[call-overload]
    host.driver = host.new_driver()
    host.driver.probe()
    return host


@pytest.mark.parametrize(("code", "pages", "indirect"), [(0, 1, 1), (1, 1, 1)])
def test_an_its_with_one_smaller_page_size(code: int, pages: int, indirect: int) -> None:
    baser = GITS_BASER.unpack(restricted(lambda _: {"Page_Size": code}).its("GITS_BASER0"))
    assert (baser["Page_Size"], baser["Size"] + 1, baser["Indirect"]) == (code, pages, indirect)


def test_an_its_without_two_levels_gets_a_flat_table() -> None:
    host = restricted(lambda _: {"Page_Size": 0, "Indirect": 0})
    baser = GITS_BASER.unpack(host.its("GITS_BASER0"))
    assert (baser["Size"] + 1, baser["Indirect"]) == (16, 0)
    vpes = GITS_BASER.unpack(host.its("GITS_BASER2"))
    assert (vpes["Size"] + 1, vpes["Indirect"]) == (256, 0), "as many pages as GITS_BASER can name"
    shared = GICR_VPROPBASER.unpack(host.rd("GICR_VPROPBASER"))
    assert shared["Physical_Address"] == vpes["Physical_Address"]
    assert shared["Size"] + 1 == 128, "as many pages as GICR_VPROPBASER can name"
    host.driver.vpes.ids.take(128 * 4096 // VPE_CONFIGURATION.bytes - 1)
    host.driver.vpes.create_vm(1)
    with pytest.raises(DriverError, match="EINVAL: vPEID 0x4000 is beyond the vPE table of CPU 0's redistributor"):
        host.driver.vpes.create_vm(1)


def test_a_flat_vpe_table_that_no_redistributor_shares() -> None:
    host = restricted(lambda _: {"Page_Size": 0, "Indirect": 0}, svpet=0)
    host.driver.vpes.ids.take(256 * 4096 // VPE_CONFIGURATION.bytes - 1)
    host.driver.vpes.create_vm(1)
    with pytest.raises(DriverError, match="EINVAL: vPEID 0x8000 is beyond ITS 0's vPE table"):
        host.driver.vpes.create_vm(1)


def test_a_redistributor_without_two_levels_gets_a_flat_table() -> None:
    host = Host(boot=False, svpet=0, redistributors=1)
    offset = register("GICR_VPROPBASER").offset
    flat = Restricted(
        host.gic.redistributors[0],
        GICR_VPROPBASER,
        range(offset, offset + 8),
        lambda _: {"Page_Size": 0, "Indirect": 0},
    )
    host.gic.redistributors[0] = flat  # type: ignore[call-overload]
    host.driver = host.new_driver()
    host.driver.probe()
    fields = GICR_VPROPBASER.unpack(host.rd("GICR_VPROPBASER"))
    assert (fields["Valid"], fields["Indirect"], fields["Page_Size"], fields["Size"]) == (1, 0, 0, 127)
    host.driver.vpes.create_vm(1)
    assert host.gic.errors == []
    host.driver.vpes.ids.take(128 * 4096 // VPE_CONFIGURATION.bytes - 1)
    with pytest.raises(DriverError, match="EINVAL: vPEID 0x4000 is beyond the vPE table of CPU 0's redistributor"):
        host.driver.vpes.create_vm(1)


def test_a_two_level_table_ends_with_its_level_1() -> None:
    host = Host(device_id_bits=16)
    table = host.driver.gic.its[0].tables[1]
    last = table.size // LEVEL1.bytes * (table.page_bytes // table.entry_bytes) - 1
    assert its_alloc_table_entry(table, last, host.allocator)
    assert not its_alloc_table_entry(table, last + 1, host.allocator)


def test_an_its_that_does_not_snoop_gets_non_cacheable_tables() -> None:
    baser = GITS_BASER.unpack(restricted(lambda _: {"Shareability": 0}).its("GITS_BASER0"))
    assert (baser["Valid"], baser["InnerCache"], baser["Shareability"]) == (1, 1, 0)


def test_a_baser_that_does_not_keep_what_is_written_is_fatal() -> None:
    with pytest.raises(DriverError, match="ENXIO: GITS_BASER0 reads"):
        restricted(lambda _: {"Physical_Address": 0})
    with pytest.raises(DriverError, match="ENXIO: GITS_BASER0 has none of the page sizes"):
        restricted(lambda fields: {"Page_Size": 3 ^ fields["Page_Size"]})
