# SPDX-License-Identifier: Apache-2.0
"""SAVE_PENDING_TABLES against Linux's LPI by LPI loop, byte for byte and error for error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.kvm import KvmError
from gicmodel.kvm.lpi import NO_VCPU
from gicmodel.kvm.pending_tables import write_pending_tables
from gicmodel.layouts.lpi_tables import bit_of, byte_of
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER
from gicmodel.memory import ExternalAbort
from tests.kvm.guest import ITTS, PENDING, RAM_END, Guest, pending_table
from tests.kvm.host import Host


def save_lpi_by_lpi(guest, vpt_bit=None):
    """Linux `vgic_v3_save_pending_tables` as it is written; `vpt_bit` reads the state of a forwarded LPI (GICv4.1)."""
    rows, last_address, octet = guest.vgic.lpis.rows, None, 0
    for slot in guest.vgic.lpis.slots():
        row = rows[slot]
        if row["target_vcpu"] == NO_VCPU:
            continue
        intid = int(row["intid"])
        address = guest.vgic.dist.pending_tables[row["target_vcpu"]] + byte_of(intid)
        if address != last_address:
            octet, last_address = guest.memory.read_u8(address), address
        mask = 1 << bit_of(intid)
        pending = vpt_bit(slot) if row["hw"] and vpt_bit else bool(row["pending_latch"])
        if bool(octet & mask) != pending:
            octet ^= mask
            guest.memory.write_u8(address, octet)


def save_as_linux(guest):
    guest.vgic.save_pending_tables(lpi_by_lpi=True)


def save_words(guest):
    guest.vgic.save_pending_tables()


def ram(guest):
    return guest.memory.octets.copy()


def test_bits_lie_where_the_architecture_says(guest):
    guest.mapd(0)
    guest.mapc(1, 1)
    for event_id, intid in enumerate((8192, 8195, 8200, 8447)):
        guest.mapti(0, event_id, intid, 1)
        guest.command("INT", DeviceID=0, EventID=event_id)
    guest.vgic.save_pending_tables()
    table = guest.memory.read(pending_table(1), 0x1_0000)
    assert {index: octet for index, octet in enumerate(table) if octet} == {1024: 0x09, 1025: 0x01, 1055: 0x80}


def test_two_vcpus_in_one_byte(guest):
    """Linux ca185b260951: the byte of the vCPU before was written to the other one's table."""
    guest.mapd(0)
    guest.mapc(0, 0)
    guest.mapc(1, 1)
    guest.mapti(0, 0, 8192, 0)
    guest.mapti(0, 1, 8193, 1)
    guest.command("INT", DeviceID=0, EventID=0)
    guest.vgic.save_pending_tables()
    assert [guest.memory.read_u8(pending_table(vcpu) + 1024) for vcpu in (0, 1)] == [1, 0]


def test_other_bits_stay_and_zeros_are_written(setup1):
    setup1.memory.write(pending_table(3), b"\xff" * 0x2000)
    setup1.vgic.save_pending_tables()
    expected = bytearray(b"\xff" * 0x2000)
    expected[byte_of(8195)] &= ~(1 << bit_of(8195))
    assert setup1.memory.read(pending_table(3), 0x2000) == expected


def test_saving_changes_nothing_else_and_a_second_time_writes_nothing(setup1):
    setup1.command("INT", DeviceID=2, EventID=20)
    setup1.vgic.save_pending_tables()
    setup1.memory.clear_dirty()
    setup1.vgic.save_pending_tables()
    assert not len(setup1.memory.dirty_pages())
    assert setup1.vgic.acknowledge(3) == 8195


def test_pages_that_change_are_dirty(setup1):
    setup1.memory.clear_dirty()
    setup1.command("INT", DeviceID=7, EventID=255)
    setup1.memory.clear_dirty()
    setup1.vgic.save_pending_tables()
    assert setup1.memory.dirty_pages().tolist() == [pending_table(2)]


def test_a_save_follows_the_mapping_of_the_moment(setup1):
    setup1.vgic.save_pending_tables()
    setup1.command("INT", DeviceID=2, EventID=20)
    setup1.command("MOVI", DeviceID=2, EventID=20, ICID=2)
    setup1.mapti(2, 21, 8300, 3)
    setup1.command("INT", DeviceID=2, EventID=21)
    setup1.command("DISCARD", DeviceID=7, EventID=255)
    setup1.set_pending_bit(2, 8196)
    setup1.vgic.save_pending_tables()
    bits = {(vcpu, intid): setup1.pending_bit(vcpu, intid) for vcpu in (2, 3) for intid in (8195, 8196, 8300)}
    assert {place for place, bit in bits.items() if bit} == {(2, 8195), (2, 8196), (3, 8300)}


def test_a_save_follows_a_table_that_moves(setup1):
    setup1.command("INT", DeviceID=2, EventID=20)
    setup1.vgic.save_pending_tables()
    redistributor = setup1.vgic.redistributors[3]
    redistributor.write(0, 0, 4)
    redistributor.write(register("GICR_PENDBASER").offset, GICR_PENDBASER.pack(Physical_Address=pending_table(5)), 8)
    setup1.vgic.lpis.rows["pending_latch"][setup1.vgic.lpis.find(8195)] = True
    setup1.vgic.save_pending_tables()
    assert setup1.memory.read_u8(pending_table(5) + byte_of(8195)) == 1 << bit_of(8195)


def test_an_lpi_without_a_target_is_not_saved(guest):
    guest.mapd(0)
    guest.mapti(0, 0, 8192, 7)
    guest.vgic.lpis.rows["pending_latch"] = True
    before = ram(guest)
    guest.vgic.save_pending_tables()
    assert (ram(guest) == before).all()


def test_refused_while_a_vcpu_runs(setup1):
    setup1.vgic.load(1, cpu=0)
    with pytest.raises(KvmError, match="EBUSY"):
        setup1.vgic.save_pending_tables()
    setup1.vgic.put(1)
    setup1.vgic.save_pending_tables()


def test_its_pending_migration():
    """kvm-unit-tests arm/gic.c, its-pending-migration: 256 LPIs made pending in RAM, on two vCPUs by turns."""
    guest = Guest()
    guest.mapd(2)
    for vcpu in (2, 3):
        guest.mapc(vcpu, vcpu)
        guest.vgic.redistributors[vcpu].write(0, 0, 4)
    for event_id in range(256):
        vcpu = 3 if event_id % 2 else 2
        guest.mapti(2, event_id, 8192 + event_id, vcpu)
        guest.set_pending_bit(vcpu, 8192 + event_id)
    for vcpu in (2, 3):
        guest.vgic.redistributors[vcpu].write(0, 1, 4)
    guest.its.save_tables()
    guest.vgic.save_pending_tables()
    guest.restart_its()
    guest.its.restore_tables()
    guest.enable_its()
    assert [len(guest.vgic.acknowledge_all(vcpu)) for vcpu in range(4)] == [0, 0, 128, 128]


@st.composite
def vms(draw):
    """LPIs of random targets and latches over tables that may overlap or leave RAM, their old contents random."""
    intids = draw(st.lists(st.integers(8192, 8192 + 200), unique=True, max_size=40))
    lpis = [(intid, draw(st.integers(NO_VCPU, 2)), draw(st.booleans())) for intid in intids]
    near = st.integers(0, 2).map(lambda page: PENDING + 0x1_0000 * page)
    tables = [draw(near | st.sampled_from([RAM_END, 0])) for _ in range(3)]
    return lpis, tables, draw(st.integers(0, 2**32 - 1))


@given(vms())
def test_same_bytes_and_errors_as_lpi_by_lpi(vm):
    lpis, tables, seed = vm
    # Two LPIs 0x8_0000 apart share a bit where their tables are 64 KiB apart.
    lpis += [(intid + 0x8_0000, target, not pending) for intid, target, pending in lpis[:5]]
    images, errors = [], []
    for save in (save_lpi_by_lpi, save_as_linux, save_words):
        guest = Guest(nr_vcpus=3)
        for vcpu, table in enumerate(tables):
            guest.vgic.dist.pending_tables[vcpu] = table
        for intid, target, pending in lpis:
            guest.vgic.lpis.allocate(intid, target, 0, True, pending)
        window = guest.memory.view(PENDING + 0x400, 64, np.uint8)
        window[:] = np.random.default_rng(seed).integers(0, 256, 64)
        guest.memory.clear_dirty()
        try:
            save(guest)
            errors.append(None)
        except ExternalAbort as abort:
            errors.append(f"EFAULT: LPI pending table byte at {abort.address:#x} is outside guest RAM")
        except KvmError as error:
            errors.append(str(error))
        images.append((guest.memory.read(PENDING, 0x4_0000), guest.memory.dirty_pages().tolist()))
    assert errors[0] == errors[1] == errors[2]
    assert images[0] == images[1] == images[2]


# Both ends of a pending table, and where one of its pages ends.
INTIDS = st.integers(8192, 8192 + 200) | st.integers((1 << 15) - 80, (1 << 15) + 80) | st.integers(65_400, 65_535)


@st.composite
def forwarded_vms(draw):
    """LPIs of random targets, some forwarded, on three vCPUs whose tables lie in any order; a seed for RAM."""
    intids = draw(st.lists(INTIDS, unique=True, max_size=40))
    lpi = st.tuples(st.integers(NO_VCPU, 2), st.booleans(), st.booleans())
    lpis = [(intid, *draw(lpi)) for intid in intids]
    return lpis, draw(st.permutations(range(3))), draw(st.booleans()), draw(st.integers(0, 2**32 - 1))


@pytest.fixture(scope="module")
def unmapped():
    """A guest on GICv4.1 without LPIs, its vPEs unmapped."""
    guest = Guest(nr_vcpus=3, driver=Host().driver)
    guest.vgic.unmap_all_vpes()
    return guest


@given(vm=forwarded_vms())
def test_same_bytes_and_pages_as_lpi_by_lpi_where_vpts_are_read(unmapped, vm):
    lpis, order, reads_vpts, seed = vm
    dist, rng = unmapped.vgic.dist, np.random.default_rng(seed)
    dist.pending_tables[:] = [pending_table(place) for place in order]
    slots = [dist.lpis.allocate(intid, target, 0, True, latch) for intid, target, latch, _ in lpis]
    dist.lpis.set_hw(np.array([slot for slot, lpi in zip(slots, lpis, strict=True) if lpi[3]], np.int64), True)
    for vpe in unmapped.vgic.its_vm.vpes:
        dist.vlpis.driver.gic.memory.write(vpe.vpt_page, rng.bytes(0x2000))
    before, images = rng.bytes(0x6_0000), []
    for lpi_by_lpi in (True, False):
        unmapped.memory.write(PENDING, before)
        unmapped.memory.clear_dirty()
        write_pending_tables(dist, dist.vlpis if reads_vpts else None, lpi_by_lpi)
        images.append((unmapped.memory.read(PENDING, 0x6_0000), unmapped.memory.dirty_pages().tolist()))
    for slot in slots:
        dist.lpis.release([slot])
    assert images[0] == images[1]


def test_vpts_of_mapped_vpes_are_not_read():
    """The second time all else is known already."""
    guest = Guest(nr_vcpus=3, driver=Host().driver)
    dist = guest.vgic.dist
    guest.vgic.unmap_all_vpes()
    write_pending_tables(dist, dist.vlpis, lpi_by_lpi=False)
    guest.vgic.map_all_vpes()
    for lpi_by_lpi in (True, False):
        with pytest.raises(KvmError, match="EACCES: vPE 0 is mapped"):
            write_pending_tables(dist, dist.vlpis, lpi_by_lpi)


def test_the_whole_lpi_space(guest):
    """57344 LPIs: as many as 16 bits of INTID have."""
    guest.memory.write(ITTS, bytes(0x1000))
    rng = np.random.default_rng(5)
    for intid in range(8192, 1 << 16):
        guest.vgic.lpis.allocate(intid, intid % 4, 0, True, False)
    guest.vgic.lpis.rows["pending_latch"][guest.vgic.lpis.slots()] = rng.random(57344) < 0.3
    guest.vgic.save_pending_tables()
    intids = np.arange(8192, 1 << 16)
    bits = np.array(
        [np.unpackbits(guest.memory.view(pending_table(vcpu), 8192, np.uint8), bitorder="little") for vcpu in range(4)]
    )
    assert (bits[intids % 4, intids] == guest.vgic.lpis.rows["pending_latch"][guest.vgic.lpis.slots()]).all()
    assert bits.sum() == guest.vgic.lpis.rows["pending_latch"].sum()
