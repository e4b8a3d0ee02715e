# SPDX-License-Identifier: Apache-2.0
"""The virtual redistributor's registers, and what EnableLPIs does."""

import pytest

from gicmodel.kvm import KvmError
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.redistributor import GICR_CTLR, GICR_PENDBASER, GICR_PROPBASER, GICR_TYPER
from tests.kvm.guest import CONFIGURATION, ITTS, RAM_BASE, RAM_END, Guest, offset_of, pending_table, read_words

CTLR, IIDR, TYPER = (offset_of(f"GICR_{name}") for name in ("CTLR", "IIDR", "TYPER"))
PROPBASER, PENDBASER = offset_of("GICR_PROPBASER"), offset_of("GICR_PENDBASER")


def enable(guest, vcpu, enabled, ptz=0):
    redistributor = guest.vgic.redistributors[vcpu]
    if enabled:
        redistributor.write(PENDBASER, GICR_PENDBASER.pack(PTZ=ptz, Physical_Address=pending_table(vcpu)))
    redistributor.write(CTLR, GICR_CTLR.pack(EnableLPIs=enabled), 4)


def test_typer():
    redistributors = Guest(nr_vcpus=18).vgic.redistributors
    typers = [GICR_TYPER.unpack(redistributor.read(TYPER)) for redistributor in redistributors]
    assert [typer["Processor_Number"] for typer in typers] == list(range(18))
    assert [typer["Last"] for typer in typers] == [0] * 17 + [1]
    assert (typers[17]["Aff1"], typers[17]["Aff0"]) == (1, 1)
    assert all(typer["PLPIS"] and not typer["VLPIS"] for typer in typers)


def test_ctlr(guest):
    assert GICR_CTLR.unpack(guest.vgic.redistributors[0].read(CTLR, 4)) == GICR_CTLR.unpack(
        GICR_CTLR.pack(EnableLPIs=1, CES=1, IR=1)
    )


def test_table_registers_are_closed_while_lpis_are_enabled(guest):
    redistributor = guest.vgic.redistributors[0]
    for offset in (PROPBASER, PENDBASER):
        value = redistributor.read(offset)
        redistributor.write(offset, 0)
        assert redistributor.read(offset) == value


def test_propbaser_is_one_register_and_open_to_a_vcpu_without_lpis(guest):
    enable(guest, 2, False)
    guest.vgic.redistributors[2].write(PROPBASER, GICR_PROPBASER.pack(Physical_Address=CONFIGURATION, IDbits=13))
    assert GICR_PROPBASER.unpack(guest.vgic.redistributors[0].read(PROPBASER))["IDbits"] == 13


def test_ptz_reads_as_zero_and_survives_a_write_of_the_other_half(guest):
    enable(guest, 1, False)
    redistributor = guest.vgic.redistributors[1]
    redistributor.write(PENDBASER, GICR_PENDBASER.pack(PTZ=1, Physical_Address=pending_table(1)))
    assert GICR_PENDBASER.unpack(redistributor.read(PENDBASER))["PTZ"] == 0
    redistributor.write(PENDBASER, 0, 4)
    assert GICR_PENDBASER.unpack(guest.vgic.dist.pendbaser(1))["PTZ"] == 1


def test_enabling_lpis_overwrites_the_latches_and_leaves_ram(setup1):
    setup1.mapti(2, 21, 8300, 3)
    setup1.command("INT", DeviceID=2, EventID=20)
    setup1.vgic.redistributors[3].write(CTLR, 0, 4)
    setup1.set_pending_bit(3, 8300)
    setup1.set_pending_bit(3, 8196)
    enable(setup1, 3, True)
    pending = {intid: setup1.vgic.lpis[intid].pending_latch for intid in (8195, 8196, 8300)}
    assert pending == {8195: False, 8196: False, 8300: True}
    assert setup1.pending_bit(3, 8300)


def test_ptz_spares_the_reading(setup1):
    enable(setup1, 3, False)
    setup1.set_pending_bit(3, 8195)
    enable(setup1, 3, True, ptz=1)
    assert not setup1.vgic.lpis[8195].pending_latch


def test_disabling_lpis_drops_what_is_queued(setup1):
    setup1.mapti(2, 21, 8300, 3)
    setup1.configure(8300, 0)
    setup1.command("INV", DeviceID=2, EventID=21)
    for event_id in (20, 21):
        setup1.command("INT", DeviceID=2, EventID=event_id)
    setup1.command("INT", DeviceID=7, EventID=255)
    enable(setup1, 3, False)
    pending = {intid: setup1.vgic.lpis[intid].pending_latch for intid in (8195, 8196, 8300)}
    assert pending == {8195: False, 8196: True, 8300: True}


def test_enabling_with_a_table_that_leaves_ram_loads_what_it_can(guest):
    guest.mapc(0, 0)
    guest.mapd(2, ITTS, bits=14)
    guest.mapti(2, 0, 8192, 0)
    guest.mapti(2, 1, 9000, 0)
    enable(guest, 0, False)
    table = RAM_END - 0x1_0000
    guest.memory.write_u8(table + FIRST_LPI // 8, 1)
    guest.vgic.redistributors[0].write(PENDBASER, GICR_PENDBASER.pack(Physical_Address=table))
    guest.vgic.redistributors[0].write(CTLR, 1, 4)
    assert guest.vgic.lpis[8192].pending_latch
    guest.vgic.redistributors[0].write(CTLR, 0, 4)
    guest.vgic.redistributors[0].write(PENDBASER, GICR_PENDBASER.pack(Physical_Address=RAM_END))
    guest.vgic.redistributors[0].write(CTLR, 1, 4)
    assert not guest.vgic.lpis[8192].pending_latch


def test_invalidation_registers(setup1):
    """GICR_CTLR.IR: the guest may reload configuration without a command."""
    setup1.mapti(2, 21, 8300, 3)
    for intid in (8195, 8196, 8300):
        setup1.configure(intid, 0x10)
    redistributor = setup1.vgic.redistributors[3]
    redistributor.write(offset_of("GICR_INVLPIR"), 8195)
    redistributor.write(offset_of("GICR_INVLPIR"), 8999)
    assert [setup1.vgic.lpis[intid].priority for intid in (8195, 8196, 8300)] == [0x10, 0xA0, 0xA0]
    redistributor.write(offset_of("GICR_INVALLR"), 0)
    assert [setup1.vgic.lpis[intid].priority for intid in (8195, 8196, 8300)] == [0x10, 0xA0, 0x10]
    assert redistributor.read(offset_of("GICR_SYNCR"), 4) == 0


@pytest.mark.parametrize("name", ["GICR_INVLPIR", "GICR_INVALLR"])
def test_the_upper_half_of_an_invalidation_register_is_nothing(setup1, name):
    """It is for vPEs. Linux vgic_mmio_write_invlpi and _invall drop a write of it alone."""
    setup1.configure(8195, 0x10)
    redistributor = setup1.vgic.redistributors[3]
    redistributor.write(offset_of(name) + 4, 8195, 4)
    redistributor.user_write(offset_of(name) + 4, 8195)
    assert setup1.vgic.lpis[8195].priority == 0xA0
    redistributor.user_write(offset_of(name), 8195)
    assert setup1.vgic.lpis[8195].priority == 0x10


def test_userspace_access(guest):
    """KVM_DEV_ARM_VGIC_GRP_REDIST_REGS is 32 bits wide: what is at 4 bytes further on is the upper word."""
    redistributor = guest.vgic.redistributors[1]
    for register in (PROPBASER, PENDBASER, TYPER):
        assert read_words(redistributor, register) == redistributor.read(register)
    assert redistributor.user_read(TYPER + 4) == 1
    redistributor.user_write(CTLR, 0)
    redistributor.user_write(PENDBASER + 4, 0xABC)
    redistributor.user_write(PENDBASER, RAM_BASE)
    assert GICR_PENDBASER.unpack(guest.vgic.dist.pendbaser(1))["Physical_Address"] == 0xABC << 32 | RAM_BASE
    redistributor.user_write(PENDBASER + 4, 0x4000_0001)
    assert guest.vgic.dist.pendbaser(1) >> 32 == 0x4000_0001
    assert redistributor.user_read(PENDBASER + 4) == 1
    redistributor.user_write(PENDBASER, 0)
    assert guest.vgic.dist.pendbaser(1) >> 32 == 0x4000_0001


@pytest.mark.parametrize("offset", [0x10, 0x14, 0x40, 0x44, 0xFFD0, 0xFFFC, 0x1_0F00, 0x71, 0xFFFF_FFF8])
def test_what_is_no_register_to_userspace(guest, offset):
    redistributor = guest.vgic.redistributors[1]
    redistributor.user_write(offset, 0xFFFF_FFFF)
    assert redistributor.user_read(offset) == 0


def test_identification(guest):
    redistributor = guest.vgic.redistributors[2]
    assert redistributor.read(IIDR, 4) == redistributor.user_read(IIDR) == 0x4B00_043B
    assert redistributor.user_read(offset_of("GICR_PIDR2")) == redistributor.read(offset_of("GICR_PIDR2"), 4) == 0x3B
    redistributor.user_write(IIDR, 0)
    assert redistributor.user_read(IIDR) == 0x4B00_043B


def test_userspace_access_while_a_vcpu_runs(guest):
    redistributor = guest.vgic.redistributors[0]
    guest.vgic.running.add(3)
    with pytest.raises(KvmError, match="EBUSY"):
        redistributor.user_write(CTLR, 0)
