# SPDX-License-Identifier: Apache-2.0
"""The registers that travel beside RAM, and the order in which they are restored."""

import pytest

from gicmodel.kvm import KvmError, Vgic
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CBASER, GITS_CREADR, GITS_CTLR, GITS_IIDR
from gicmodel.layouts.registers.redistributor import GICR_CTLR
from gicmodel.migration import state
from tests.migration.machines import new_vm


@pytest.fixture
def source():
    """A guest whose virtual ITS tables and pending tables are in its RAM."""
    vm = new_vm(vcpus=3, devices=2, vectors=3)
    vm.devices[1].fire([1])
    vm.vgic.its[0].save_tables()
    vm.vgic.save_pending_tables()
    return vm


@pytest.fixture
def registers(source):
    return state.guest_registers(source.vgic)


@pytest.fixture
def vgic(source):
    """A vgic without GICv4 over the same RAM, as after a reset."""
    return Vgic(source.memory, source.vcpus)


def restore(vgic, registers):
    state.restore_redistributors(vgic, registers)
    state.restore_its_registers(vgic, registers)
    state.restore_its_tables(vgic, registers)


def test_every_register_reads_back(vgic, registers):
    restore(vgic, registers)
    assert state.guest_registers(vgic) == registers


def test_mappings_come_back(vgic, source, registers):
    restore(vgic, registers)
    assert sorted(vgic.its[0].devices) == sorted(source.vgic.its[0].devices) == [8, 16]
    assert vgic.lpis.rows["intid"][vgic.lpis.slots()].tolist() == [8192, 8193, 8194, 8196, 8197, 8198]
    targets = list(vgic.its[0].collections.values())
    assert targets == [0, 1, 2]


def test_pending_state_comes_back(vgic, registers):
    """8197 is event 1 of the second device: event 4 of all, on vCPU 4 modulo 3."""
    restore(vgic, registers)
    assert [vgic.acknowledge_all(vcpu) for vcpu in range(3)] == [[], [8197], []]


def test_the_queue_position_survives_the_write_of_cbaser(vgic, registers):
    """A CBASER write clears CREADR and CWRITER, so they come after it."""
    position = GITS_CREADR.unpack(registers["GITS0"]["CREADR"])["Offset"]
    assert position > 0
    state.restore_its_registers(vgic, registers)
    assert vgic.its[0].user_read(register("GITS_CREADR").offset) == position
    assert vgic.its[0].user_read(register("GITS_CWRITER").offset) == position


def test_tables_come_before_the_its_is_enabled(vgic, registers):
    state.restore_redistributors(vgic, registers)
    state.restore_its_registers(vgic, registers)
    ctlr = register("GITS_CTLR").offset
    assert not GITS_CTLR.unpack(vgic.its[0].user_read(ctlr))["Enabled"]
    state.restore_its_tables(vgic, registers)
    assert GITS_CTLR.unpack(vgic.its[0].user_read(ctlr))["Enabled"]


def test_lpis_of_a_vcpu_stay_disabled_if_they_were(vgic, registers):
    registers["GICR1"]["CTLR"] = GICR_CTLR.pack(**(GICR_CTLR.unpack(registers["GICR1"]["CTLR"]) | {"EnableLPIs": 0}))
    restore(vgic, registers)
    assert vgic.dist.lpis_enabled == [True, False, True]


def test_an_unknown_table_revision_is_refused_before_any_table_is_read(vgic, registers):
    registers["GITS0"]["IIDR"] = GITS_IIDR.pack(**(GITS_IIDR.unpack(registers["GITS0"]["IIDR"]) | {"Revision": 1}))
    with pytest.raises(KvmError) as refusal:
        restore(vgic, registers)
    assert refusal.value.errno == "EINVAL"
    assert len(vgic.lpis) == 0


def test_a_queue_position_beyond_the_queue_is_refused(vgic, registers):
    fields = GITS_CBASER.unpack(registers["GITS0"]["CBASER"])
    registers["GITS0"]["CBASER"] = GITS_CBASER.pack(**(fields | {"Size": 0}))
    registers["GITS0"]["CREADR"] = 0x1000
    with pytest.raises(KvmError, match="GITS_CREADR: offset 0x1000 is beyond the queue of 0x1000"):
        restore(vgic, registers)


def test_registers_of_an_older_file_may_lack_what_resets_to_zero(vgic, registers):
    for name in ("CREADR", "CWRITER", "IIDR", *(f"BASER{n}" for n in range(2, 8))):
        del registers["GITS0"][name]
    restore(vgic, registers)
    assert len(vgic.lpis) == 6
