# SPDX-License-Identifier: Apache-2.0
"""What Linux 6.12's KVM left in a guest's RAM: restored here, and saved again to the same bytes."""

from pathlib import Path

import pytest

from gicmodel.images.segments import memory_for, read_image
from gicmodel.images.sources import read_registers
from gicmodel.kvm import Vgic
from gicmodel.layouts.registers.by_name import register

CAPTURE = Path(__file__).parents[2] / "tables" / "linux-6.12-kvm-2vcpu"
ITS_ORDER = ("IIDR", "CBASER", "CREADR", "CWRITER", "BASER0", "BASER1")
"""QEMU's hw/intc/arm_gicv3_its_kvm.c: these, the tables, then CTLR."""


def words_of(name):
    """The offsets of a register's words of 32 bits, which is what KVM's userspace accesses a redistributor with."""
    described = register(name)
    return range(described.offset, described.offset + described.bits // 8, 4)


@pytest.fixture
def restored():
    """The VM after the resume path, as far as KVM goes, and the image it came from."""
    segments = read_image(CAPTURE / "guest-saved-tables.elf.xz")
    registers = read_registers(CAPTURE / "registers.toml")
    memory = memory_for(segments)
    image = memory.octets.copy()
    vgic = Vgic(memory, registers["guest"]["vcpus"])
    for vcpu, redistributor in enumerate(vgic.redistributors):
        for name in ("PROPBASER", "PENDBASER", "CTLR"):
            for half, offset in enumerate(words_of(f"GICR_{name}")):
                redistributor.user_write(offset, registers[f"GICR{vcpu}"][name] >> 32 * half & 0xFFFF_FFFF)
    its = vgic.its[0]
    for name in ITS_ORDER:
        its.user_write(register(f"GITS_{name}").offset, registers["GITS0"][name])
    its.restore_tables()
    its.user_write(register("GITS_CTLR").offset, registers["GITS0"]["CTLR"])
    return vgic, image, registers


def test_what_is_mapped(restored):
    vgic, _, _ = restored
    devices = vgic.its[0].devices
    assert sorted(devices) == [8, 16]
    assert {device.num_eventid_bits for device in devices.values()} == {2}
    assert [len(device.ites) for device in devices.values()] == [3, 3]
    assert vgic.lpis.rows["intid"][vgic.lpis.slots()].tolist() == [8192, 8193, 8194, 8196, 8197, 8198]
    assert list(vgic.its[0].collections.values()) == [0, 1]


def test_what_is_pending(restored):
    vgic, _, _ = restored
    assert [vgic.acknowledge_all(vcpu) for vcpu in (0, 1)] == [[8193], [8194]]


def test_restore_consumes_two_bits_and_save_puts_the_image_back(restored):
    vgic, image, _ = restored
    assert (vgic.memory.octets != image).sum() == 2
    vgic.its[0].save_tables()
    vgic.save_pending_tables()
    assert (vgic.memory.octets == image).all()


def test_registers_read_back(restored):
    vgic, _, registers = restored
    for name in (*ITS_ORDER, "CTLR", "TYPER"):
        assert vgic.its[0].user_read(register(f"GITS_{name}").offset) == registers["GITS0"][name], name
    for vcpu, redistributor in enumerate(vgic.redistributors):
        for name, value in registers[f"GICR{vcpu}"].items():
            words = [redistributor.user_read(offset) for offset in words_of(f"GICR_{name}")]
            assert sum(word << 32 * half for half, word in enumerate(words)) == value, name
